//! What an app has to ask before it can open the browser, at its first start ever and at every later one.

use std::sync::Arc;

use gatepass::test_server::{Endpoint, Par, TestServer};
use gatepass::{Client, MemoryStorage, SecureStorage, SignInOptions};
use tokio::runtime::Runtime;

use crate::bed::{self, DELAY, REDIRECT, requests_of_the_app};
use crate::contest::{Contender, run};
use crate::peers;
use crate::verdict::Verdicts;

pub(crate) fn run_all(runtime: &Runtime, verdicts: &mut Verdicts) {
    println!("\nrequests before the browser opens");
    let server = bed::server(false);
    let (cold, warm) = runtime.block_on(of_gatepass(&server));
    let pushing = TestServer::builder()
        .par(Par::Required)
        .start()
        .expect("the test server");
    let (cold_par, warm_par) = runtime.block_on(of_gatepass(&pushing));
    let (oidc, huskarl) = runtime.block_on(async {
        let before = requests_of_the_app(&server);
        peers::oidc_discover(&peers::oidc_http(), server.issuer(), server.client_id()).await;
        let between = requests_of_the_app(&server);
        let http = peers::huskarl_http().await;
        peers::huskarl_discover(&http, server.issuer(), server.client_id(), REDIRECT).await;
        (between - before, requests_of_the_app(&server) - between)
    });
    for (name, cold, warm) in [
        ("openidconnect 4", oidc, oidc),
        ("huskarl 0.11", huskarl, huskarl),
        ("gatepass", cold, warm),
        ("gatepass, pushed authorization request", cold_par, warm_par),
    ] {
        println!("  {name:<58} first start {cold}, later starts {warm}");
    }
    verdicts.exactly("requests before the browser, first start", 1, cold);
    verdicts.exactly("requests before the browser, later starts", 0, warm);
    verdicts.exactly("requests before the browser, first start, PAR", 2, cold_par);
    verdicts.exactly("requests before the browser, later starts, PAR", 1, warm_par);

    let slow = bed::server(true);
    let stored: Arc<dyn SecureStorage> = Arc::new(MemoryStorage::default());
    runtime.block_on(bed::signed_in(&client(&slow, &stored), &slow));
    let (server, stored) = (&slow, &stored);
    run(
        &format!(
            "start of an app to authorization URL, {} ms more per request",
            DELAY.as_millis()
        ),
        1,
        vec![
            Contender::awaited("openidconnect 4", runtime, || async {
                peers::oidc_discover(&peers::oidc_http(), server.issuer(), server.client_id()).await
            }),
            Contender::awaited("huskarl 0.11", runtime, || async {
                let http = peers::huskarl_http().await;
                peers::huskarl_discover(&http, server.issuer(), server.client_id(), REDIRECT).await
            }),
            Contender::awaited("gatepass, first start", runtime, || async {
                let nothing: Arc<dyn SecureStorage> = Arc::new(MemoryStorage::default());
                begin(&client(server, &nothing)).await
            }),
            Contender::awaited("gatepass, later starts", runtime, || async {
                begin(&client(server, stored)).await
            }),
        ],
    );
}

fn client(server: &TestServer, storage: &Arc<dyn SecureStorage>) -> Client {
    let builder = bed::builder(server).storage(Arc::clone(storage));
    builder.build().expect("a client")
}

async fn begin(client: &Client) {
    let begun = client.begin_sign_in(SignInOptions::default()).await;
    begun.expect("a sign-in").cancel();
}

/// At the first start and at a later one. The keys are held back until the URL is there, which shows that nobody waits for
/// them, and are not counted: they are fetched while the user is in the browser.
async fn of_gatepass(server: &TestServer) -> (usize, usize) {
    let storage: Arc<dyn SecureStorage> = Arc::new(MemoryStorage::default());
    let keys = server.fault(Endpoint::JwkSet).every().hold().expect("a gate");
    let asked = |path: &str| {
        let requests = server.requests();
        requests.iter().filter(|request| request.path() == path).count()
    };
    let before = requests_of_the_app(server) - asked("/jwks");
    let first = client(server, &storage);
    let pending = first.begin_sign_in(SignInOptions::default()).await;
    let pending = pending.expect("a sign-in");
    let cold = requests_of_the_app(server) - asked("/jwks") - before;
    keys.release();
    let redirect = bed::browse(server, pending.authorization_url()).await;
    first.resume_sign_in(&redirect).await.expect("a session");
    let before = requests_of_the_app(server);
    begin(&client(server, &storage)).await;
    (cold, requests_of_the_app(server) - before)
}
