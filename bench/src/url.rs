//! The authorization URL. Not quite the same work: Gatepass also stores the pending sign-in, for a redirect into another
//! process, and hands the work to its own thread; `oauth2` leaves state, nonce and PKCE verifier with its caller.

use gatepass::{Client, SignInOptions};
use oauth2::basic::BasicClient;
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};
use tokio::runtime::Runtime;

use crate::contest::{contender, run};

pub(crate) fn run_on(runtime: &Runtime, client: &Client) {
    let peer = BasicClient::new(ClientId::new("gatepass-test".to_owned()))
        .set_auth_uri(AuthUrl::new("http://127.0.0.1:9400/authorize".to_owned()).expect("a URL"))
        .set_redirect_uri(RedirectUrl::new("com.example.app:/callback".to_owned()).expect("a URL"));
    run(
        "authorization URL",
        500,
        vec![
            contender("oauth2 5, URL only", || {
                let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
                let scopes =
                    ["openid", "profile", "offline_access"].map(|scope| Scope::new(scope.to_owned()));
                let request = peer.authorize_url(CsrfToken::new_random).add_scopes(scopes);
                (request.set_pkce_challenge(challenge).url(), verifier)
            }),
            contender("gatepass, whole begin_sign_in", || {
                runtime
                    .block_on(client.begin_sign_in(SignInOptions::default()))
                    .expect("a sign-in")
            }),
        ],
    );
}
