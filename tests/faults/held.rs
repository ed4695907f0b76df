//! Tokens that storage refuses to take: held by the process, whichever client got them, and written as soon as that can
//! be (STANDARDS RR-10, RR-15, RR-23, RR-36).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use gatepass::{
    Client, EndReason, ErrorKind, LockFailure, LockGuard, ProcessLock, Session, SessionState, SignOut,
};
use serde_json::{Value, json};

use crate::world::{World, granted, oauth_error, refreshed_elsewhere, session_record, sign_in};

/// `R2` was granted, storage does not take it, and no pause of more than a second is jumped over.
async fn holding(world: &World) -> (Client, Session) {
    holding_with(world, world.client()).await
}

async fn holding_with(world: &World, client: Client) -> (Client, Session) {
    let session = client.session().await.unwrap().unwrap();
    world.clock.jump_at_most(1_000);
    world.disk.refuse("\"R2\"");
    world.net.answer([granted("R2", "A2")]);
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageWriteFailed, "{error:?}");
    (client, session)
}

/// Lets time pass until this is so.
async fn until(world: &World, mut is_so: impl FnMut() -> bool) {
    while !is_so() {
        world.clock.advance(1_000);
        tokio::task::yield_now().await;
    }
}

fn signed_out_elsewhere() -> Value {
    json!({ "v": 1, "epoch": 2, "generation": 2, "ended": "signed_out" })
}

#[tokio::test]
async fn rr_10_rr_15_no_other_client_of_the_process_sends_the_old_token() {
    let world = World::signed_in();
    let (first, session) = holding(&world).await;
    let second = world.client();
    let other = second.session().await.unwrap().unwrap();
    let error = other.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageWriteFailed, "{error:?}");
    drop((first, session));
    other.refresh().await.unwrap_err();
    assert_eq!(world.net.refreshes(), ["R1"]);
    world.disk.behave();
    other.refresh().await.unwrap();
    assert_eq!(other.peek().unwrap().expose(), "A2");
    assert_eq!(world.disk.session()["refresh_token"], "R2");
    assert_eq!(world.net.refreshes(), ["R1"], "what was held is the refresh");
}

#[tokio::test]
async fn rr_10_what_is_held_outlives_the_client_that_holds_it() {
    let world = World::signed_in();
    drop(holding(&world).await);
    let session = world.session().await;
    world.disk.behave();
    session.refresh().await.unwrap();
    assert_eq!(session.peek().unwrap().expose(), "A2");
    assert_eq!(world.net.refreshes(), ["R1"]);
}

#[tokio::test]
async fn rr_10_what_is_held_is_written_without_anybody_asking() {
    let world = World::signed_in();
    let _client_and_session = holding(&world).await;
    // It is tried for as long as it takes.
    world.clock.advance(3_600_000);
    world.disk.behave();
    until(&world, || world.disk.session()["refresh_token"] == "R2").await;
    world.events.are(&["StorageWriteFailed", "Refreshed"]).await;
    assert_eq!(world.net.refreshes(), ["R1"]);
}

#[tokio::test]
async fn rr_10_drain_tries_once_more_and_does_not_wait_for_storage_that_refuses() {
    let world = World::signed_in();
    let (client, session) = holding(&world).await;
    client.drain().await;
    assert_eq!(world.disk.session()["refresh_token"], "R1");
    world.disk.behave();
    client.drain().await;
    assert_eq!(world.disk.session()["refresh_token"], "R2");
    assert_eq!(session.peek().unwrap().expose(), "A2");
}

/// A lock among all who have this.
#[derive(Clone, Debug, Default)]
struct Names(Arc<Mutex<BTreeSet<String>>>);

struct Taken(Names, String);

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.0.lock().unwrap().remove(&self.1);
    }
}

impl ProcessLock for Names {
    fn try_lock(&self, name: &str) -> Result<Option<LockGuard>, LockFailure> {
        let is_free = self.0.lock().unwrap().insert(name.to_owned());
        Ok(is_free.then(|| Box::new(Taken(self.clone(), name.to_owned())) as LockGuard))
    }
}

impl Names {
    fn is_taken(&self) -> bool {
        !self.0.lock().unwrap().is_empty()
    }
}

#[tokio::test]
async fn rr_10_r_8_3_the_lock_is_kept_with_what_is_held_for_one_lease() {
    let world = World::signed_in();
    let names = Names::default();
    let client = || world.client_with(|builder| builder.process_lock(Arc::new(names.clone())));
    let (client_that_holds, session) = holding_with(&world, client()).await;
    assert!(names.is_taken(), "another process would send the old token");
    let other = client().session().await.unwrap().unwrap();
    for session in [&session, &other] {
        let error = session.refresh().await.unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::StorageWriteFailed,
            "it is in nobody's way here: {error:?}"
        );
    }
    assert!(names.is_taken());
    world.clock.advance(30_000);
    tokio::task::yield_now().await;
    assert!(names.is_taken());
    until(&world, || !names.is_taken()).await;
    world.disk.behave();
    // Now or in the background, whichever comes first: a caller who wanted a newer token would ask the server.
    client_that_holds.drain().await;
    assert_eq!(world.disk.session()["refresh_token"], "R2");
    assert_eq!(session.peek().unwrap().expose(), "A2");
    assert!(!names.is_taken());
}

#[tokio::test]
async fn rr_10_the_lock_goes_with_the_write() {
    let world = World::signed_in();
    let names = Names::default();
    let client = world.client_with(|builder| builder.process_lock(Arc::new(names.clone())));
    let (client, _session) = holding_with(&world, client).await;
    world.disk.behave();
    client.drain().await;
    assert_eq!(world.disk.session()["refresh_token"], "R2");
    assert!(!names.is_taken());
}

#[tokio::test]
async fn rr_23_signing_out_by_another_client_gives_back_what_is_held() {
    let world = World::signed_in();
    let (_client, session) = holding(&world).await;
    let other = world.client().session().await.unwrap().unwrap();
    other.sign_out(SignOut::Revoke).await.unwrap();
    assert!(world.net.sent_to("/revoke")[0].contains("token=R2"));
    world.disk.behave();
    world.clock.advance(600_000);
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SignedOut));
    assert!(world.client().session().await.unwrap().is_none());
    assert_eq!(world.net.refreshes(), ["R1"]);
}

#[tokio::test]
async fn rr_23_signing_out_in_another_process_gives_back_what_is_held() {
    let world = World::signed_in();
    let (client, session) = holding(&world).await;
    world.disk.write(&signed_out_elsewhere());
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SignedOut));
    world.disk.behave();
    client.drain().await;
    let revoked = world.net.sent_to("/revoke");
    assert!(
        revoked.len() == 1 && revoked[0].contains("token=R2"),
        "{revoked:?}"
    );
    assert_eq!(world.disk.session(), signed_out_elsewhere());
}

#[tokio::test]
async fn rr_23_signing_out_where_storage_lost_the_session_keeps_what_is_held_from_coming_back() {
    let world = World::signed_in();
    let (client, session) = holding(&world).await;
    world.disk.lose();
    session.sign_out(SignOut::Revoke).await.unwrap();
    assert!(world.net.sent_to("/revoke")[0].contains("token=R2"));
    world.disk.behave();
    world.clock.advance(600_000);
    client.drain().await;
    assert!(world.client().session().await.unwrap().is_none());
    assert_eq!(client.state().get(), SessionState::SignedOut);
}

#[tokio::test]
async fn rr_36_what_is_held_gives_way_to_a_later_attempt_and_to_nothing_else() {
    for (their_attempt, left) in [(2, "R2-elsewhere"), (0, "R2")] {
        let world = World::signed_in();
        let (client, session) = holding(&world).await;
        let mut theirs = refreshed_elsewhere();
        theirs["attempt"] = their_attempt.into();
        world.disk.write(&theirs);
        world.disk.behave();
        client.drain().await;
        assert_eq!(world.disk.session()["refresh_token"], left);
        assert!(
            world.net.sent_to("/revoke").is_empty(),
            "revoking one would end both"
        );
        session.access_token().await.unwrap();
        assert_eq!(session.peek().unwrap().expose(), left.replace('R', "A"));
        assert_eq!(world.net.refreshes(), ["R1"]);
    }
}

#[tokio::test]
async fn rr_36_what_is_held_keeps_the_journal_of_a_later_attempt() {
    let world = World::signed_in();
    let (client, _session) = holding(&world).await;
    let mut theirs = session_record();
    theirs["journal"] = json!({ "attempt_id": "theirs", "uncertain": true, "number": 2 });
    world.disk.write(&theirs);
    world.disk.behave();
    client.drain().await;
    let left = world.disk.session();
    assert_eq!(left["refresh_token"], "R2");
    assert_eq!(left["journal"]["attempt_id"], "theirs");
}

/// What another process wrote that took the attempt over and was refused.
fn ended_elsewhere(reason: &str) -> Value {
    json!({ "v": 1, "epoch": 1, "generation": 2, "ended": reason, "login_hint": "alice@example.com" })
}

#[tokio::test]
async fn rr_08_rr_36_tokens_bring_back_a_session_that_another_process_took_for_lost() {
    for reason in ["rotation_lost", "expired_or_revoked"] {
        let world = World::signed_in();
        let client = world.client();
        let session = client.session().await.unwrap().unwrap();
        let answer = world.net.answer_later();
        let refresh = tokio::spawn({
            let session = session.clone();
            async move { session.refresh().await }
        });
        world.net.until_sent("/token", 1).await;
        world.disk.write(&ended_elsewhere(reason));
        answer.send(granted("R2", "A2")).ok().unwrap();
        refresh.await.unwrap().unwrap();
        assert_eq!(session.peek().unwrap().expose(), "A2", "{reason}");
        assert_eq!(client.state().get(), SessionState::SignedIn, "{reason}");
        let left = world.disk.session();
        assert_eq!(
            (&left["refresh_token"], &left["generation"]),
            (&json!("R2"), &json!(3))
        );
        assert!(left["ended"].is_null(), "{left}");
        world.net.answer([granted("R3", "A3")]);
        session.refresh().await.unwrap();
        assert_eq!(world.net.refreshes(), ["R1", "R2"], "{reason}");
        assert!(world.net.sent_to("/revoke").is_empty(), "{reason}");
    }
}

#[tokio::test]
async fn rr_08_what_is_held_brings_back_a_session_that_another_process_took_for_lost() {
    let world = World::signed_in();
    let (client, session) = holding(&world).await;
    world.disk.write(&ended_elsewhere("rotation_lost"));
    // Seen here before storage has space again.
    session.refresh().await.unwrap_err();
    world.disk.behave();
    client.drain().await;
    assert_eq!(client.state().get(), SessionState::SignedIn);
    assert_eq!(session.peek().unwrap().expose(), "A2");
    assert_eq!(world.disk.session()["refresh_token"], "R2");
    world.net.answer([oauth_error(400, "invalid_grant")]);
    let error = session.refresh().await.unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::SessionEnded(EndReason::ExpiredOrRevoked),
        "if those are no good either, that is the end"
    );
}

#[tokio::test]
async fn rr_23_tokens_do_not_bring_back_a_session_of_another_user_or_one_signed_out_of() {
    // On another device the grant lives on.
    for (reason, is_revoked) in [("subject_changed", true), ("device_changed", false), ("", true)] {
        let world = World::signed_in();
        let client = world.client();
        let session = client.session().await.unwrap().unwrap();
        let answer = world.net.answer_later();
        let refresh = tokio::spawn({
            let session = session.clone();
            async move { session.refresh().await }
        });
        world.net.until_sent("/token", 1).await;
        if reason.is_empty() {
            // It ended elsewhere, and here the user wants it gone.
            world.disk.write(&ended_elsewhere("rotation_lost"));
            session.sign_out(SignOut::Revoke).await.unwrap();
        } else {
            world.disk.write(&ended_elsewhere(reason));
        }
        answer.send(granted("R2", "A2")).ok().unwrap();
        let error = refresh.await.unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::SessionEnded(_)), "{error:?}");
        assert!(session.peek().is_none());
        assert!(!world.disk.session()["ended"].is_null());
        client.drain().await;
        let revoked = world.net.sent_to("/revoke");
        assert_eq!(revoked.len(), usize::from(is_revoked), "{reason}: {revoked:?}");
        assert!(
            revoked.iter().all(|body| body.contains("token=R2")),
            "{revoked:?}"
        );
    }
}

#[tokio::test]
async fn rr_24_a_new_sign_in_is_not_overwritten_by_what_is_held() {
    let world = World::signed_in();
    let (client, old) = holding(&world).await;
    world.net.answer([granted("R9", "A9")]);
    let new = sign_in(&world.client()).await.unwrap();
    world.disk.behave();
    client.drain().await;
    assert_eq!(world.disk.session()["refresh_token"], "R9");
    assert_eq!(new.peek().unwrap().expose(), "A9");
    assert!(old.access_token().await.is_err());
    let revoked = world.net.sent_to("/revoke").join(" ");
    assert!(
        revoked.contains("token=R2") && !revoked.contains("token=R9"),
        "{revoked}"
    );
}
