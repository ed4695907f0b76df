//! Side-by-side benchmarks: every contender of a row runs in one process, taking turns, and the table shows ratios.
//!
//! `cargo run --release -p gatepass-bench`. Times vary from machine to machine and from hour to hour; ratios of one run
//! vary less. Nothing here passes or fails.

// A benchmark prints its table, and stops at the first surprise.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used)]

mod contest;
mod token_read;
mod url;

use gatepass::test_server::TestServer;
use gatepass::{AllowHttpOnLoopback, Client, Session, SignInOptions};

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let server = TestServer::start().expect("the test server");
    let client = Client::builder(server.issuer(), server.client_id())
        .redirect("com.example.app:/callback")
        .scopes(["openid", "profile", "offline_access"])
        .allow_http_on_loopback(AllowHttpOnLoopback)
        .build()
        .expect("a client");
    let session = runtime.block_on(signed_in(&client, &server));
    contest::print_header();
    token_read::run_on(&session);
    url::run_on(&runtime, &client);
}

async fn signed_in(client: &Client, server: &TestServer) -> Session {
    let pending = client
        .begin_sign_in(SignInOptions::default())
        .await
        .expect("a sign-in");
    let user = server.users().first().expect("a test user");
    let redirect = server
        .browser()
        .sign_in(pending.authorization_url(), user)
        .await
        .expect("a redirect");
    client.resume_sign_in(&redirect).await.expect("a session")
}
