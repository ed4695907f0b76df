//! The app comes back to the foreground: what an attempt of before left open is finished, and nothing else is asked for.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gatepass::{
    Delivery, EndReason, ErrorKind, LockFailure, LockGuard, OnUnknownOutcome, ProcessLock, Revocation,
    SessionState, SignOut,
};

use crate::world::{Answer, Fate, World, granted, html, oauth_error, refreshed_elsewhere, session_record};

/// One answer for each time that a token is sent in one attempt.
fn never_a_whole_answer() -> impl Iterator<Item = Answer> {
    std::iter::repeat_with(|| html(200)).take(6)
}

#[tokio::test]
async fn rr_13_a_return_to_the_foreground_tries_again_what_is_open_and_nothing_else() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    client.catch_up().await.unwrap();
    assert!(world.net.refreshes().is_empty(), "a good token stays as it is");
    world.let_access_token_expire();
    client.catch_up().await.unwrap();
    assert!(
        world.net.refreshes().is_empty(),
        "nobody has asked for a token: nothing is open"
    );

    world.net.answer(never_a_whole_answer());
    session.access_token().await.unwrap_err();
    assert_eq!(world.net.refreshes().len(), 6);
    world.clock.advance(60_000);
    world.net.answer([granted("R2", "A2")]);
    client.catch_up().await.unwrap();
    assert_eq!(world.net.refreshes(), ["R1"; 7]);
    assert_eq!(session.peek().unwrap().expose(), "A2");
    assert!(world.disk.session()["journal"].is_null());
    client.catch_up().await.unwrap();
    assert_eq!(world.net.refreshes().len(), 7);
}

#[tokio::test]
async fn rr_13_a_process_that_was_killed_after_it_sent_is_caught_up_with_in_the_foreground() {
    let world = World::signed_in();
    let mut record = session_record();
    record["journal"] =
        serde_json::json!({ "attempt_id": "gp-killed", "uncertain": false, "number": 1, "begun": null });
    world.disk.write(&record);
    // The next start looks, and asks nobody: not while the app is being loaded.
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    assert!(world.net.refreshes().is_empty());
    // A server with a grace period answers the same token.
    world.net.answer([granted("R2", "A2")]);
    client.catch_up().await.unwrap();
    assert_eq!(world.net.refreshes(), ["R1"]);
    assert_eq!(session.peek().unwrap().expose(), "A2");
    world.events.are(&["Refreshed"]).await;
}

#[tokio::test]
async fn rr_13_rr_32_however_often_it_is_called_the_server_is_not_asked_more() {
    let world = World::signed_in();
    let mut record = session_record();
    record["journal"] =
        serde_json::json!({ "attempt_id": "gp-killed", "uncertain": false, "number": 1, "begun": null });
    world.disk.write(&record);
    let client = world.client();
    client.session().await.unwrap().unwrap();
    // An answer that leaves open what was open before.
    world.net.answer([oauth_error(400, "invalid_client")]);
    let error = client.catch_up().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server, "{error:?}");
    for _ in 0..20 {
        // As many apps do: at every sign of life.
        client.catch_up().await.unwrap();
        world.clock.advance(100);
    }
    assert_eq!(world.net.refreshes(), ["R1"], "once in five seconds");
    world.clock.advance(5_000);
    world.net.answer([granted("R2", "A2")]);
    client.catch_up().await.unwrap();
    assert_eq!(world.net.refreshes(), ["R1", "R1"]);
    assert_eq!(world.disk.session()["refresh_token"], "R2");
    assert_eq!(client.state().get(), SessionState::SignedIn);
}

#[tokio::test]
async fn rr_11_without_a_network_it_says_so_and_loses_nothing() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world.net.answer(never_a_whole_answer());
    session.refresh().await.unwrap_err();
    world.clock.advance(60_000);
    world.net.offline.store(true, Ordering::SeqCst);
    let error = client.catch_up().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network(Delivery::NotSent));
    assert!(
        world.disk.session()["journal"].is_object(),
        "what was open before still is"
    );
    world.net.offline.store(false, Ordering::SeqCst);
    world.clock.advance(5_000);
    world.net.answer([granted("R2", "A2")]);
    client.catch_up().await.unwrap();
    assert_eq!(world.disk.session()["refresh_token"], "R2");
}

#[tokio::test]
async fn rr_35_where_the_app_chose_to_wait_the_foreground_does_not_hasten_it() {
    let world = World::signed_in();
    let client = world.client_with(|b| b.on_unknown_outcome(OnUnknownOutcome::RetryWhenExpired));
    let session = client.session().await.unwrap().unwrap();
    world.net.answer([html(200)]);
    session.refresh().await.unwrap_err();
    for _ in 0..3 {
        world.clock.advance(60_000);
        client.catch_up().await.unwrap();
    }
    assert_eq!(
        world.net.refreshes(),
        ["R1"],
        "while the access token lives, nothing more"
    );
    world.let_access_token_expire();
    world.net.answer([granted("R2", "A2")]);
    client.catch_up().await.unwrap();
    assert_eq!(world.net.refreshes(), ["R1", "R1"]);
    assert_eq!(session.peek().unwrap().expose(), "A2");
}

#[tokio::test]
async fn rr_18_an_end_that_the_foreground_finds_is_told_by_the_state() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world.net.answer(never_a_whole_answer());
    session.refresh().await.unwrap_err();
    world.clock.advance(60_000);
    world.net.answer([oauth_error(400, "invalid_grant")]);
    client.catch_up().await.unwrap();
    assert_eq!(client.state().get(), SessionState::Ended(EndReason::RotationLost));
    assert!(session.peek().is_none());
    world.events.are(&["RefreshFailed", "Ended"]).await;
}

#[tokio::test]
async fn rr_10_what_storage_did_not_take_is_written_in_the_foreground() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world.disk.refuse("\"R2\"");
    world.net.answer([granted("R2", "A2")]);
    session.refresh().await.unwrap_err();
    let error = client.catch_up().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageWriteFailed);
    world.disk.behave();
    client.catch_up().await.unwrap();
    assert_eq!(world.disk.session()["refresh_token"], "R2");
    assert_eq!(session.peek().unwrap().expose(), "A2");
    assert_eq!(world.net.refreshes(), ["R1"]);
}

#[tokio::test]
async fn rr_03_what_others_did_meanwhile_is_seen() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world.disk.write(&refreshed_elsewhere());
    client.catch_up().await.unwrap();
    assert_eq!(session.peek().unwrap().expose(), "A2-elsewhere");

    let mut over = serde_json::json!({ "v": 1, "epoch": 2, "generation": 3, "ended": "signed_out" });
    over["at_unix_millis"] = 0.into();
    world.disk.write(&over);
    client.catch_up().await.unwrap();
    assert!(session.peek().is_none());
    assert_eq!(client.state().get(), SessionState::SignedOut);
    assert!(world.net.refreshes().is_empty());
}

#[tokio::test]
async fn a_record_that_is_gone_is_told_once_a_second_read_confirms_it() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world.disk.lose();
    client.catch_up().await.unwrap();
    assert_eq!(client.state().get(), SessionState::Ended(EndReason::StorageLost));
    assert!(session.peek().is_none());
    client.catch_up().await.unwrap();
    client.drain().await;
    world.events.are(&["Ended"]).await;
}

#[tokio::test]
async fn rr_29_storage_that_is_locked_is_told_and_ends_nothing() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world
        .disk
        .plan(|_, _, _| Fate::Fails(gatepass::StorageFailure::Locked));
    let error = client.catch_up().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageLocked);
    assert_eq!(session.peek().unwrap().expose(), "A1");
    assert_eq!(client.state().get(), SessionState::SignedIn);
    world.disk.behave();
    client.catch_up().await.unwrap();
}

#[tokio::test]
async fn what_is_forgotten_does_not_come_back_from_memory() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world.disk.refuse("\"R2\"");
    world.net.answer([granted("R2", "A2")]);
    session.refresh().await.unwrap_err();
    // The tokens are in memory only, and what was on the disk is gone too.
    world.disk.behave();
    world.disk.lose();
    client.forget_everything().await.unwrap();
    session.access_token().await.unwrap_err();
    client.catch_up().await.unwrap();
    let left = world.disk.text("session").unwrap_or_default();
    assert!(!left.contains("R2") && !left.contains("A2"), "{left}");
    assert!(client.session().await.unwrap().is_none());
}

#[tokio::test]
async fn rv_11_what_could_not_be_revoked_is_revoked_when_the_network_is_back() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world.net.offline.store(true, Ordering::SeqCst);
    let signed_out = session.sign_out(SignOut::Revoke).await.unwrap();
    assert!(matches!(signed_out.revocation, Revocation::Queued(_)));
    client.catch_up().await.unwrap();
    client.drain().await;
    world.net.offline.store(false, Ordering::SeqCst);
    for _ in 0..3 {
        client.catch_up().await.unwrap();
        client.drain().await;
    }
    let revoked = world.net.sent_to("/revoke");
    assert_eq!(revoked.len(), 1);
    assert!(revoked[0].contains("token=R1"));
    assert_eq!(client.state().get(), SessionState::SignedOut);
}

/// Another process of the app is at it, and stays there.
#[derive(Debug)]
struct Elsewhere;

impl ProcessLock for Elsewhere {
    fn try_lock(&self, _name: &str) -> Result<Option<LockGuard>, LockFailure> {
        Ok(None)
    }
}

#[tokio::test]
async fn rr_02_what_another_process_is_busy_with_is_left_to_it() {
    let world = World::signed_in();
    let mut record = session_record();
    record["journal"] = serde_json::json!({
        "attempt_id": "gp-other", "uncertain": false, "number": 1,
        "begun": { "boot_millis": 3_600_000, "boot_id": "boot", "unix_millis": 0 },
    });
    world.disk.write(&record);
    let client = world.client_with(|builder| builder.process_lock(Arc::new(Elsewhere)));
    client.session().await.unwrap().unwrap();
    client.catch_up().await.unwrap();
    assert!(world.net.refreshes().is_empty(), "its answer is still to come");
}
