//! Ten thousand callers want a token at the moment when it has expired.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatepass::test_server::{TestClock, TestServer};
use gatepass::{Clock as _, Session};
use huskarl::cache::{
    GrantTokenSource, InMemoryRefreshTokenStore, InMemoryTokenCache, NoSource, TokenSource as _,
};
use huskarl::core::time::ManualTime;
use huskarl::grant::authorization_code::{CompleteInput, StartInput};
use std::str::FromStr as _;
use tokio::runtime::Runtime;

use crate::bed::{self, REDIRECT};
use crate::contest::{Contender, run};
use crate::peers;
use crate::verdict::Verdicts;

const CALLERS: usize = 10_000;
/// Longer than an access token of the test server lives.
const A_WHILE: Duration = Duration::from_secs(2 * 3600);

fn refreshes(server: &TestServer) -> usize {
    let requests = server.requests();
    let refreshes = requests
        .iter()
        .filter(|request| request.form_value("grant_type") == Some("refresh_token"));
    refreshes.count()
}

type HuskarlCache = InMemoryTokenCache<
    GrantTokenSource<huskarl::grant::authorization_code::AuthorizationCodeGrant, InMemoryRefreshTokenStore>,
>;

/// A signed-in huskarl client whose clock is moved by hand.
async fn huskarl(server: &TestServer, time: &ManualTime) -> HuskarlCache {
    let http = peers::huskarl_http().await;
    let metadata = huskarl::core::server_metadata::AuthorizationServerMetadata::oidc_fetch()
        .http_client(&http)
        .issuer(server.issuer())
        .call()
        .await
        .expect("the metadata");
    let grant = huskarl::grant::authorization_code::AuthorizationCodeGrant::builder_from_metadata(&metadata)
        .expect("the metadata")
        .clock(time.clone())
        .client_id(server.client_id())
        .http_client(http)
        .client_auth(huskarl::core::client_auth::NoAuth)
        .redirect_uri(REDIRECT)
        .build()
        .await
        .expect("a grant");
    let scope = ["openid", "offline_access"].map(str::to_owned).to_vec();
    let started = grant.start(StartInput::scope(scope)).await.expect("a URL");
    let url = format!("{}&prompt=consent", started.authorization_url);
    let redirect = bed::browse(server, &url).await;
    let input = CompleteInput::from_str(&redirect).expect("a callback");
    let complete = grant
        .complete(&started.pending_state, input)
        .await
        .expect("tokens");
    let source = GrantTokenSource::builder()
        .grant(grant)
        .grant_parameters(NoSource)
        .refresh_store(InMemoryRefreshTokenStore::default())
        .build();
    source.prime(complete.token_response).await.expect("the tokens");
    let cache = InMemoryTokenCache::builder().source(source).build();
    cache.token().await.expect("a token");
    cache
}

async fn all_at_once<F: Future<Output = bool> + Send + 'static>(caller: impl Fn() -> F) -> Duration {
    let start = Instant::now();
    let callers: Vec<_> = (0..CALLERS).map(|_| tokio::spawn(caller())).collect();
    for caller in callers {
        assert!(caller.await.expect("a caller"), "everybody gets a token");
    }
    start.elapsed()
}

pub(crate) fn run_all(runtime: &Runtime, verdicts: &mut Verdicts) {
    let clock = Arc::new(TestClock::default());
    let server = TestServer::builder()
        .clock(clock.clone())
        .refresh_token_lifetime(Duration::from_secs(3650 * 24 * 3600))
        .start()
        .expect("the test server");
    let client = bed::builder(&server)
        .clock(clock.clone())
        .build()
        .expect("a client");
    let session: Session = runtime.block_on(bed::signed_in(&client, &server));

    let peer_clock = Arc::new(TestClock::default());
    let peer_server = TestServer::builder()
        .clock(peer_clock.clone())
        .refresh_token_lifetime(Duration::from_secs(3650 * 24 * 3600))
        .start()
        .expect("the test server");
    let now = jiff::Timestamp::from_millisecond(peer_clock.unix_millis()).expect("a time");
    let time = ManualTime::new(now);
    let cache = Arc::new(runtime.block_on(huskarl(&peer_server, &time)));

    let (mut own_most, mut peer_most) = (0, 0);
    run(
        &format!("{CALLERS} callers at expiry (oauth2, openidconnect: keep no token)"),
        1,
        vec![
            Contender::timed("huskarl 0.11, InMemoryTokenCache", |_| {
                time.advance(A_WHILE).expect("a time");
                peer_clock.advance(A_WHILE);
                let before = refreshes(&peer_server);
                let took = runtime.block_on(all_at_once(|| {
                    let cache = Arc::clone(&cache);
                    async move { cache.token().await.is_ok() }
                }));
                peer_most = peer_most.max(refreshes(&peer_server) - before);
                took
            }),
            Contender::timed("gatepass, Session::access_token", |_| {
                clock.advance(A_WHILE);
                let before = refreshes(&server);
                let took = runtime.block_on(all_at_once(|| {
                    let session = session.clone();
                    async move { session.access_token().await.is_ok() }
                }));
                own_most = own_most.max(refreshes(&server) - before);
                took
            }),
        ],
    );
    println!("  refreshes, at most in any round: huskarl {peer_most}, gatepass {own_most}");
    verdicts.exactly("refreshes for 10,000 callers at expiry", 1, own_most);
}
