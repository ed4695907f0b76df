//! How an app tests its own sign-in: a function of the app, run against the test server through lost answers, an outage and
//! a year of time. In your app each part is a `#[tokio::test]`.
//!
//! ```sh
//! cargo run --example test_your_app --features test-server
//! ```

#![allow(clippy::print_stdout, reason = "an example says what it does")]

use std::sync::Arc;
use std::time::Duration;

use gatepass::test_server::{CannedAnswer, Endpoint, Rotation, TestClock, TestServer};
use gatepass::{AllowHttpOnLoopback, Client, MemoryStorage, NextStep, Session, SessionState, SignInOptions};

/// The part of the app under test: what it shows of the user's account.
async fn greeting(session: &Session, url: &str) -> String {
    match session.http().get(url).send().await {
        Ok(answer) if answer.status().is_success() => "Hello".to_owned(),
        Ok(answer) => format!("The service answered {}", answer.status()),
        Err(error) => match error.next_step() {
            NextStep::SignInAgain => "Please sign in again".to_owned(),
            NextStep::Retry | NextStep::RetryAfter(_) => "No connection; trying again".to_owned(),
            _ => format!("Something is wrong ({})", error.code()),
        },
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // One clock for both sides. Nothing below sleeps.
    let clock = Arc::new(TestClock::hurried());
    let server = TestServer::builder()
        .clock(clock.clone())
        .rotation(Rotation::Grace(Duration::from_secs(60)))
        .start()?;
    let client = Client::builder(server.issuer(), server.client_id())
        .scopes(["openid", "profile", "offline_access"])
        .api(server.issuer())
        .allow_http_on_loopback(AllowHttpOnLoopback)
        .clock(clock.clone())
        .storage(Arc::new(MemoryStorage::default()))
        .build()?;
    let alice = server.users().first().ok_or("nobody is there")?;
    let pending = client.begin_sign_in(SignInOptions::default()).await?;
    let redirect = server
        .browser()
        .sign_in(pending.authorization_url(), alice)
        .await?;
    server.browser().deliver(&redirect).await?;
    let session = pending.wait().await?;
    assert_eq!(greeting(&session, &server.api_url()).await, "Hello");
    println!("signed in");

    for _week in 0..52 {
        clock.advance(Duration::from_secs(7 * 24 * 3600));
        assert_eq!(greeting(&session, &server.api_url()).await, "Hello");
    }
    println!("a year later the session lives");

    clock.advance(Duration::from_secs(7 * 24 * 3600));
    let lost = server.fault(Endpoint::Token).next(1).drop_after_processing()?;
    let shown = greeting(&session, &server.api_url()).await;
    assert_eq!((lost.fired(), shown.as_str()), (1, "Hello"));
    println!("the answer to a refresh was lost, and nobody was signed out");

    clock.advance(Duration::from_secs(7 * 24 * 3600));
    let outage = server
        .fault(Endpoint::Any)
        .every()
        .answer(CannedAnswer::status(503))?;
    let shown = greeting(&session, &server.api_url()).await;
    assert_ne!(shown, "Please sign in again");
    outage.lift();
    assert_eq!(greeting(&session, &server.api_url()).await, "Hello");
    println!("an outage was shown as one: {shown:?}");

    server.revoke_everything();
    clock.advance(Duration::from_secs(7 * 24 * 3600));
    assert_eq!(
        greeting(&session, &server.api_url()).await,
        "Please sign in again"
    );
    assert!(matches!(client.state().get(), SessionState::Ended(_)));
    println!("the server took the grant back: {:?}", client.state().get());
    client.drain().await;
    Ok(())
}
