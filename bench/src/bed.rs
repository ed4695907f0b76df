//! A server that takes its time, and what a sign-in at it costs.

use std::time::Duration;

use gatepass::test_server::{Endpoint, TestServer};
use gatepass::{AllowHttpOnLoopback, Client, ClientBuilder, Session, SignInOptions};

/// As private-use schemes are on phones: nothing listens there, so the bench delivers the redirect.
pub(crate) const REDIRECT: &str = "com.example.app:/callback";
/// What every request of an app takes longer.
pub(crate) const DELAY: Duration = Duration::from_millis(50);

/// A server; with `slow`, every request of an app takes [`DELAY`] longer.
pub(crate) fn server(slow: bool) -> TestServer {
    let server = TestServer::start().expect("the test server");
    if slow {
        for endpoint in [Endpoint::Metadata, Endpoint::JwkSet, Endpoint::Token] {
            server.fault(endpoint).every().delay(DELAY).expect("a delay");
        }
    }
    server
}

/// How many requests the app itself has sent so far: not those of the browser.
pub(crate) fn requests_of_the_app(server: &TestServer) -> usize {
    let of_the_browser = ["/authorize", "/sign-in", "/login", "/consent"];
    let requests = server.requests();
    let of_the_app = requests
        .iter()
        .filter(|request| !of_the_browser.iter().any(|path| request.path().starts_with(path)));
    of_the_app.count()
}

/// What a browser does with the URL; gives the redirect.
pub(crate) async fn browse(server: &TestServer, url: &str) -> String {
    let user = server.users().first().expect("a test user");
    server.browser().sign_in(url, user).await.expect("a redirect")
}

pub(crate) fn builder(server: &TestServer) -> ClientBuilder {
    Client::builder(server.issuer(), server.client_id())
        .redirect(REDIRECT)
        .scopes(["openid", "profile", "email", "offline_access"])
        .allow_http_on_loopback(AllowHttpOnLoopback)
}

pub(crate) async fn signed_in(client: &Client, server: &TestServer) -> Session {
    let pending = client.begin_sign_in(SignInOptions::default()).await;
    let pending = pending.expect("a sign-in");
    let redirect = browse(server, pending.authorization_url()).await;
    client.resume_sign_in(&redirect).await.expect("a session")
}
