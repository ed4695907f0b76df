//! These tests can fail: leaks are planted, one of each kind, and each is found.

use gatepass::{SignInOptions, SignOut};

use crate::ears::{self, Ears, canaries};
use crate::world::World;

/// What somebody writes who is in a hurry.
#[derive(Debug)]
#[allow(dead_code, reason = "only Debug reads it")]
struct Careless<'a> {
    token: &'a str,
}

#[tokio::test]
async fn a_planted_leak_of_every_kind_is_found() {
    let ears = Ears::open();
    let world = World::new();
    let client = world.client();
    let session = world.sign_in(&client).await.unwrap();
    let token = session.access_token().await.unwrap();
    world.learn();
    ears.nothing_secret("before");
    let token = token.expose();
    type Leak<'a> = Box<dyn Fn() + 'a>;
    let leaks: [(&str, Leak<'_>); 8] = [
        ("an event", Box::new(|| tracing::trace!("{token}"))),
        (
            "a field of an event",
            Box::new(|| tracing::trace!(target: "h2::frame", token, "x")),
        ),
        (
            "a span",
            Box::new(|| drop(tracing::trace_span!("request", token))),
        ),
        (
            "a record of log",
            Box::new(|| log::trace!(target: "reqwest", "{token}")),
        ),
        (
            "a derived Debug",
            Box::new(|| ears::print("it", &Careless { token })),
        ),
        ("bytes", Box::new(|| ears::print("it", &token.as_bytes()))),
        (
            "an error",
            Box::new(|| ears::say("it", &std::io::Error::other(token.to_owned()))),
        ),
        (
            "a panic",
            Box::new(|| {
                let panics = std::panic::AssertUnwindSafe(|| panic!("expected by this test: {token}"));
                assert!(std::panic::catch_unwind(panics).is_err());
            }),
        ),
    ];
    for (what, leak) in leaks {
        leak();
        assert!(!ears.hits().is_empty(), "{what} leaks, and nobody noticed");
    }
    // The URL of a sign-in holds state and nonce, and is for the browser only.
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    ears::say("url", &pending.authorization_url());
    assert!(!ears.hits().is_empty());
    pending.cancel();
    drop(pending.wait().await);
    drop(session.sign_out(SignOut::Local).await);
    world.finish_up(&client).await;
    ears.nothing_secret("after");
    assert!(canaries().len() > 10);
}
