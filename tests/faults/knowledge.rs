//! Metadata and keys that cannot be had: a client in a loop is no attack on its server, and nobody waits for long
//! (STANDARDS RR-11, RR-14, RR-32, BI-87).

use std::sync::atomic::Ordering;
use std::time::Duration;

use gatepass::{Clock as _, Delivery, Error, ErrorKind, NextStep, SignInOptions};
use serde_json::json;

use crate::refresh::SAMPLE_ID_TOKEN;
use crate::world::{Answer, JWKS, World, html, json_answer, session_record};

const METADATA: &str = "/.well-known/openid-configuration";
const OTHER_PLACE: &str = "/.well-known/oauth-authorization-server";
const DAY: u64 = 24 * 3_600_000;

fn wait_of(error: &Error) -> Option<u64> {
    match error.next_step() {
        NextStep::RetryAfter(wait) => Some(u64::try_from(wait.as_millis()).unwrap()),
        _ => None,
    }
}

#[tokio::test]
async fn rr_32_a_loop_of_sign_ins_is_no_attack_on_a_server_that_fails() {
    for (case, answer) in [
        ("failing", html(503)),
        ("too busy", html(429)),
        ("a captive portal", html(200)),
        ("cut off", Answer::Fails(Delivery::UnknownOutcome)),
    ] {
        let world = World::new();
        let client = world.client();
        world.net.answer_always(METADATA, answer);
        world.net.answer_always(OTHER_PLACE, html(404));
        let begun = world.clock.boot_millis();
        let mut longest = 0;
        while world.clock.boot_millis() < begun + 600_000 {
            let error = client.begin_sign_in(SignInOptions::default()).await.unwrap_err();
            longest = longest.max(wait_of(&error).unwrap_or(0));
            world.clock.advance(100);
        }
        let asked = world.net.sent_to(METADATA).len();
        assert!(
            (10..=30).contains(&asked),
            "{case}: {asked} requests in ten minutes"
        );
        assert!(
            longest <= 30_000,
            "{case}: a user was told to wait for {longest} ms"
        );
        world.net.answer_as_ever(METADATA);
        world.clock.advance(30_000);
        let pending = client.begin_sign_in(SignInOptions::default()).await;
        pending.expect("the server is back").cancel();
    }
}

#[tokio::test]
async fn rr_32_the_first_failure_holds_nobody_up() {
    let world = World::new();
    let client = world.client();
    world.net.answer_always(METADATA, html(503));
    let error = client.authorization_server().await.unwrap_err();
    assert_eq!((error.code(), wait_of(&error)), ("metadata_unavailable", None));
    let error = client.authorization_server().await.unwrap_err();
    assert_eq!(world.net.sent_to(METADATA).len(), 2);
    assert_eq!(
        (error.code(), wait_of(&error)),
        ("metadata_unavailable", Some(1_000))
    );
    world.net.answer_as_ever(METADATA);
    world.clock.advance(400);
    let error = client.authorization_server().await.unwrap_err();
    assert_eq!(
        (error.code(), wait_of(&error)),
        ("metadata_unavailable", Some(600))
    );
    world.clock.advance(600);
    client.authorization_server().await.unwrap();
    // And the count begins anew.
    world.clock.advance(DAY);
    assert_eq!(world.net.sent_to(METADATA).len(), 3);
}

#[tokio::test]
async fn rr_14_bi_87_a_server_that_says_when_is_asked_then_but_a_minute_is_the_most() {
    for (seconds, wait) in [(20, 20_000), (3_600, 60_000)] {
        let world = World::new();
        let client = world.client();
        world.net.answer_always(METADATA, Answer::Busy(503, seconds));
        let error = client.authorization_server().await.unwrap_err();
        assert_eq!(wait_of(&error), Some(wait), "{seconds}");
        world.net.answer_as_ever(METADATA);
        world.clock.advance(wait - 1);
        client.authorization_server().await.unwrap_err();
        assert_eq!(world.net.sent_to(METADATA).len(), 1, "{seconds}");
        world.clock.advance(1);
        client.authorization_server().await.unwrap();
    }
}

#[tokio::test]
async fn rr_11_without_a_network_there_is_nothing_to_wait_for() {
    let world = World::new();
    let client = world.client();
    world.net.offline.store(true, Ordering::SeqCst);
    for _ in 0..10 {
        let error = client.authorization_server().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network(Delivery::NotSent));
        assert_eq!(wait_of(&error), None);
    }
    world.net.offline.store(false, Ordering::SeqCst);
    client.authorization_server().await.unwrap();
}

#[tokio::test]
async fn rr_32_old_metadata_is_used_without_asking_a_failing_server_at_each_call() {
    let world = World::new();
    let client = world.client();
    client.authorization_server().await.unwrap();
    world.clock.advance(DAY);
    world.net.answer_always(METADATA, html(503));
    for _ in 0..50 {
        client.authorization_server().await.expect("the old copy will do");
    }
    assert_eq!(world.net.sent_to(METADATA).len(), 3);
}

/// A session whose refreshes bring an ID token, which needs keys.
fn with_id_tokens() -> World {
    let world = World::signed_in();
    let mut record = session_record();
    record["claims"] = json!({ "sub": "248289761001", "nonce": "n-0S6_WzA2Mj" });
    world.disk.write(&record);
    let tokens = json!({
        "access_token": "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y", "token_type": "Bearer",
        "refresh_token": "R2", "expires_in": 3600, "id_token": SAMPLE_ID_TOKEN,
    });
    world.net.answer([json_answer(200, tokens)]);
    world
}

#[tokio::test]
async fn rr_14_rr_32_keys_are_not_asked_for_at_each_need() {
    for (answer, after) in [(html(503), 30_000), (Answer::Busy(503, 40), 40_000)] {
        let world = with_id_tokens();
        let session = world.session().await;
        world.net.answer_always("/jwks", answer);
        for _ in 0..50 {
            session.refresh().await.unwrap_err();
        }
        let asked = world.net.sent_to("/jwks").len();
        assert!(asked <= 2, "{asked}");
        world.net.answer_as_ever("/jwks");
        world.clock.advance(after);
        session.refresh().await.expect("the keys are there");
        assert_eq!(world.net.refreshes(), ["R1"], "the tokens waited for them");
    }
}

#[tokio::test]
async fn keys_that_come_late_do_not_hold_up_what_is_to_be_forgotten() {
    let world = World::new();
    let client = world.client_with(|builder| builder.scopes(["openid", "profile"]));
    let keys = world.net.answer_document_later("/jwks");
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    world.net.until_sent("/jwks", 1).await;
    let forgotten = client.forget_everything();
    // Should it wait for the keys, it does so until the test is over.
    let forgotten = tokio::time::timeout(Duration::from_secs(20), forgotten).await;
    forgotten.expect("it does not wait").unwrap();
    let found = Answer::Http(200, "application/json", JWKS.to_owned());
    keys.send(found).ok().unwrap();
    drop(pending);
    client.drain().await;
    assert!(world.disk.kinds().iter().all(|kind| !kind.starts_with("server")));
    // What came late was for the time before.
    client
        .begin_sign_in(SignInOptions::default())
        .await
        .unwrap()
        .cancel();
    client.drain().await;
    assert_eq!(world.net.sent_to("/jwks").len(), 2);
    assert!(world.disk.kinds().iter().any(|kind| kind.starts_with("server")));
}
