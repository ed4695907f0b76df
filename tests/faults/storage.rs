//! Storage that refuses, locks, loses and lies (STANDARDS RR-10, RR-29, BI-95).

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use gatepass::{EndReason, ErrorKind, NextStep, SessionState, SignOut, StorageFailure};
use serde_json::json;

use crate::world::{Ask, Fate, World, granted, oauth_error, refused, session_record, sign_in};

#[tokio::test]
async fn rr_10_refused_tokens_are_held_and_the_old_one_is_never_sent_again() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world.let_access_token_expire();
    world.disk.refuse("\"R2\"");
    world.net.answer([granted("R2", "A2")]);
    for _ in 0..3 {
        let error = session.access_token().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.next_step()),
            (ErrorKind::StorageWriteFailed, NextStep::Retry)
        );
        assert_eq!(world.net.refreshes(), ["R1"], "the old token is not sent again");
    }
    assert_eq!(client.state().get(), SessionState::SignedIn);
    world.events.are(&["StorageWriteFailed"; 3]).await;
    world.disk.behave();
    assert_eq!(session.access_token().await.unwrap().expose(), "A2");
    assert_eq!(world.disk.session()["refresh_token"], "R2");
    assert_eq!(world.net.refreshes(), ["R1"], "the held tokens are the refresh");
    world.net.answer([granted("R3", "A3")]);
    session.refresh().await.unwrap();
    assert_eq!(world.net.refreshes(), ["R1", "R2"]);
}

#[tokio::test]
async fn rr_10_a_conflict_that_cannot_be_looked_into_does_not_drop_the_tokens() {
    let world = World::signed_in();
    let session = world.session().await;
    let answer = world.net.answer_later();
    let refresh = tokio::spawn({
        let session = session.clone();
        async move { session.refresh().await }
    });
    world.net.until_sent("/token", 1).await;
    // Another process touches the record, then the device is locked.
    world.disk.write(&session_record());
    world.disk.plan(|_, ask, _| match ask {
        Ask::Load => Fate::Fails(StorageFailure::Locked),
        _ => Fate::Done,
    });
    answer.send(granted("R2", "A2")).ok().unwrap();
    let error = refresh.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageLocked, "{error:?}");
    world.disk.behave();
    session.refresh().await.unwrap();
    assert_eq!(
        world.net.refreshes(),
        ["R1"],
        "R2 was held, written, and is the newer token"
    );
    assert_eq!(world.disk.session()["refresh_token"], "R2");
}

#[tokio::test]
async fn a_write_that_failed_but_happened_is_found_to_be_ours() {
    let world = World::signed_in();
    let session = world.session().await;
    let mut failed = false;
    world.disk.plan(move |_, ask, _| {
        if ask.writes("\"R2\"") && !failed {
            failed = true;
            return Fate::DoneButFails;
        }
        Fate::Done
    });
    world.net.answer([granted("R2", "A2")]);
    session.refresh().await.expect("the tokens are on disk");
    assert_eq!(session.peek().unwrap().expose(), "A2");
    assert_eq!(world.disk.session()["refresh_token"], "R2");
}

#[tokio::test]
async fn rr_10_what_is_read_back_after_its_write_failed_is_written_again() {
    let world = World::signed_in();
    let session = world.session().await;
    // Whether the first of the two would outlive a crash, nobody knows.
    let writes = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&writes);
    world.disk.plan(move |_, ask, _| {
        if ask.writes("\"R2\"") && count.fetch_add(1, Ordering::Relaxed) == 0 {
            return Fate::DoneButFails;
        }
        Fate::Done
    });
    world.net.answer([granted("R2", "A2")]);
    session.refresh().await.unwrap();
    assert!(writes.load(Ordering::Relaxed) >= 2);
}

#[tokio::test]
async fn rr_17_a_token_that_was_refused_is_not_sent_again_where_storage_did_not_take_the_end() {
    for locked in [false, true] {
        let world = World::signed_in();
        let session = world.session().await;
        let sent = Arc::clone(&world.net);
        world.disk.plan(move |kind, ask, _| match ask {
            _ if kind != "session" || sent.refreshes().is_empty() => Fate::Done,
            _ if locked => Fate::Fails(StorageFailure::Locked),
            Ask::Commit(_) => refused(),
            _ => Fate::Done,
        });
        world.net.answer([oauth_error(400, "invalid_grant")]);
        let error = session.refresh().await.unwrap_err();
        assert!(
            matches!(
                error.kind(),
                ErrorKind::StorageLocked | ErrorKind::StorageWriteFailed
            ),
            "{error:?}"
        );
        session.refresh().await.unwrap_err();
        world.disk.behave();
        let error = session.refresh().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::ExpiredOrRevoked));
        assert_eq!(world.net.refreshes(), ["R1"], "locked: {locked}");
    }
}

#[tokio::test]
async fn rr_29_locked_storage_is_not_a_missing_session() {
    let world = World::signed_in();
    let client = world.client();
    world.disk.plan(|_, _, _| Fate::Fails(StorageFailure::Locked));
    let error = client.session().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.next_step()),
        (ErrorKind::StorageLocked, NextStep::AskUser)
    );
    assert_eq!(client.state().get(), SessionState::StorageLocked);
    world.disk.behave();
    let session = client
        .session()
        .await
        .unwrap()
        .expect("it was there all the time");
    assert_eq!(client.state().get(), SessionState::SignedIn);

    world
        .disk
        .plan(|_, _, _| Fate::Fails(StorageFailure::Failed("keychain error -25308".into())));
    assert_eq!(
        session.refresh().await.unwrap_err().kind(),
        ErrorKind::StorageLocked
    );
    assert_eq!(
        session.sign_out(SignOut::Local).await.unwrap_err().kind(),
        ErrorKind::StorageLocked
    );
    assert_eq!(client.state().get(), SessionState::SignedIn);
    assert_eq!(session.peek().unwrap().expose(), "A1");
    assert_eq!(world.net.refreshes(), [] as [&str; 0]);
}

#[tokio::test]
async fn one_read_that_finds_nothing_is_not_believed() {
    let world = World::signed_in();
    let session = world.session().await;
    let record = session_record();
    let mut reads = 0;
    world.disk.lose();
    world.disk.plan(move |_, ask, records| {
        reads += usize::from(matches!(ask, Ask::Load));
        if reads == 2 {
            records.write("session", &record);
            reads += 1;
        }
        Fate::Done
    });
    world.net.answer([granted("R2", "A2")]);
    session.refresh().await.expect("the second read found it");
}

#[tokio::test]
async fn rr_10_tokens_of_a_record_that_storage_lost_meanwhile_are_written_over_it() {
    let world = World::signed_in();
    let session = world.session().await;
    let mut lost = false;
    let mut written = false;
    world.disk.plan(move |kind, ask, records| match ask {
        Ask::Commit(text) if kind == "session" && text.contains("A2") => {
            written = lost;
            if !lost {
                lost = true;
                records.lose("session");
            }
            Fate::Done
        }
        Ask::Load if kind == "session" && lost && !written => {
            Fate::Fails(StorageFailure::Lost("its file is not whole".into()))
        }
        _ => Fate::Done,
    });
    world.net.answer([granted("R2", "A2")]);
    session.refresh().await.unwrap();
    assert_eq!(world.disk.session()["refresh_token"], "R2");
}

#[tokio::test]
async fn a_lost_session_ends_and_the_next_sign_in_is_another_one() {
    let world = World::signed_in();
    let client = world.client();
    let old = client.session().await.unwrap().unwrap();
    world.disk.lose();
    let error = old.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::StorageLost));
    assert_eq!(client.state().get(), SessionState::Ended(EndReason::StorageLost));
    assert!(old.peek().is_none());
    world.net.answer([granted("R9", "A9")]);
    let new = sign_in(&client).await.unwrap();
    assert_eq!(client.state().get(), SessionState::SignedIn);
    assert_eq!(new.peek().unwrap().expose(), "A9");
    assert!(
        old.peek().is_none(),
        "the lost session does not come alive with the tokens of the new one"
    );
    assert_eq!(
        old.access_token().await.unwrap_err().kind(),
        ErrorKind::SessionEnded(EndReason::SignedOut)
    );
}

#[tokio::test]
async fn rr_23_signing_out_of_a_session_of_before_does_nothing_to_a_record_that_cannot_be_read() {
    let world = World::signed_in();
    let client = world.client();
    let old = client.session().await.unwrap().unwrap();
    world.net.answer([granted("R9", "A9")]);
    sign_in(&client).await.unwrap();
    world.disk.write_text("{");
    old.sign_out(SignOut::Revoke).await.unwrap();
    // It may be mended, by whoever has a copy, and it is not for this one to say that its user signed out.
    assert_eq!(world.disk.text("session").unwrap(), "{");
    assert!(world.net.sent_to("/revoke").is_empty());
}

#[tokio::test]
async fn bi_95_a_record_that_cannot_be_read_is_lost_and_can_be_signed_in_over() {
    for broken in [
        "",
        "{",
        "\0\0\0\0",
        r#"{"v":1,"epoch":1}"#,
        r#"{"v":1,"epoch":1,"generation":1,"ended":"x"}"#,
    ] {
        let world = World::new();
        world.disk.write_text(broken);
        let client = world.client();
        let error = client.session().await.unwrap_err();
        assert_eq!(
            (error.kind(), error.next_step()),
            (ErrorKind::StorageLost, NextStep::SignInAgain),
            "{broken}"
        );
        assert_eq!(
            client.state().get(),
            SessionState::Ended(EndReason::StorageLost),
            "{broken}"
        );
        world.net.answer([granted("R9", "A9")]);
        let session = sign_in(&client)
            .await
            .unwrap_or_else(|error| panic!("{broken}: {error:?}"));
        assert_eq!(session.peek().unwrap().expose(), "A9", "{broken}");
        assert_eq!(client.state().get(), SessionState::SignedIn);
    }
}

#[tokio::test]
async fn a_record_that_breaks_under_a_session_ends_it() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world.disk.write_text("{");
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::StorageLost));
    assert_eq!(client.state().get(), SessionState::Ended(EndReason::StorageLost));
    world.events.are(&["Ended"]).await;
}

#[tokio::test]
async fn bi_95_a_record_of_a_newer_version_is_left_alone() {
    let newer = json!({ "v": 2, "epoch": 7, "generation": 7, "tokens": "elsewhere" });
    let world = World::new();
    world.disk.write(&newer);
    let client = world.client();
    let error = client.session().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Configuration, "record_newer")
    );
    assert_ne!(client.state().get(), SessionState::SignedOut);
    world.net.answer([granted("R9", "A9")]);
    assert_eq!(sign_in(&client).await.unwrap_err().code(), "record_newer");
    assert_eq!(world.disk.session(), newer);

    let world = World::signed_in();
    let session = world.session().await;
    world.disk.write(&newer);
    assert_eq!(session.refresh().await.unwrap_err().code(), "record_newer");
    assert_eq!(
        session.sign_out(SignOut::Local).await.unwrap_err().code(),
        "record_newer"
    );
    assert_eq!(world.disk.session(), newer);
    assert_eq!(world.net.refreshes(), [] as [&str; 0]);
}

#[tokio::test]
async fn signing_out_with_held_tokens_revokes_the_newest() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world.disk.refuse("\"R2\"");
    world.net.answer([granted("R2", "A2")]);
    session.refresh().await.unwrap_err();
    session.sign_out(SignOut::Revoke).await.unwrap();
    // By the sign-out, or by who was about to write it and found that it is over.
    client.drain().await;
    let revoked = world.net.sent_to("/revoke");
    assert!(
        revoked.iter().any(|form| form.contains("token=R2")),
        "{revoked:?}"
    );
    world.disk.behave();
    assert!(world.client().session().await.unwrap().is_none());
    assert!(
        session.access_token().await.is_err(),
        "what was held does not bring it back"
    );
    assert!(world.client().session().await.unwrap().is_none());
}
