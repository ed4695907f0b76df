//! Tokens that wait for the server's keys, sign-ins that a dead process left behind, and what is known of the server
//! across starts.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use gatepass::test_server::{
    CannedAnswer, ClockOffset, Endpoint, Mistake, PlannedFault, TestClock, TestServer,
};
use gatepass::{
    AllowHttpOnLoopback, Client, Clock as _, EndReason, ErrorKind, EventSink, Generation, NextStep,
    SecureStorage as _, SessionEvent, SessionId, SessionState, SignInOptions, SignOut, Stage, WaitingSignIn,
};

use crate::support::reached::Reached;
use crate::support::{TestBed, paths, token_requests, until};

const REDIRECT: &str = "com.example.app:/callback";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn app(bed: &TestBed) -> Client {
    bed.client_with(|builder| builder.redirect(REDIRECT))
}

/// The redirect of a sign-in that the process that began it does not live to see.
async fn redirect_for_another_process(bed: &TestBed) -> String {
    let pending = app(bed).begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    // As if the process had been killed before the keys were stored.
    bed.keys_are_stored().await;
    bed.forget_keys();
    redirect
}

#[tokio::test]
async fn a_code_is_not_wasted_on_keys_that_cannot_be_had() {
    let bed = TestBed::new();
    let redirect = redirect_for_another_process(&bed).await;
    let down = bed
        .server
        .fault(Endpoint::JwkSet)
        .every()
        .answer(CannedAnswer::status(503))
        .unwrap();

    let client = app(&bed);
    let error = client.resume_sign_in(&redirect).await.unwrap_err();
    assert_eq!((error.code(), error.stage()), ("sign_in_unverified", Stage::Jwks));
    assert!(
        error.is_retryable() && error.next_step() != NextStep::SignInAgain,
        "{error:?}"
    );
    assert!(down.fired() > 1, "it was tried again");
    assert_ne!(
        client.state().get(),
        SessionState::SignedIn,
        "nothing unverified is published"
    );
    assert_eq!(client.session().await.unwrap_err().code(), "sign_in_unverified");

    // The process dies; the next one finishes it, without the browser and without a second exchange.
    drop(client);
    down.lift();
    let restarted = app(&bed);
    let session = restarted.session().await.unwrap().expect("it is finished now");
    assert_eq!(
        session.claims().unwrap().subject(),
        bed.server.users()[0].subject()
    );
    assert_eq!(token_requests(&bed.server).len(), 1);
    assert!(!paths(&bed.server).contains(&"/revoke".to_owned()));
    session.refresh().await.unwrap();
    assert!(
        !bed.everything_stored().contains("verifier"),
        "nothing is left of the sign-in"
    );
}

#[tokio::test]
async fn the_caller_waits_for_keys_that_come_late() {
    let bed = TestBed::new();
    let redirect = redirect_for_another_process(&bed).await;
    let slow = bed
        .server
        .fault(Endpoint::JwkSet)
        .next(3)
        .answer(CannedAnswer::captive_portal())
        .unwrap();
    let session = app(&bed).resume_sign_in(&redirect).await.unwrap();
    assert_eq!(slow.fired(), 3);
    assert!(session.peek().is_some());
}

#[tokio::test]
async fn oc_38_a_second_roll_over_within_a_minute_does_not_lose_the_sign_in() {
    let bed = TestBed::new();
    let client = app(&bed);
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    bed.keys_are_stored().await;
    // The keys were fetched this very minute, and the token will name a newer one.
    bed.server.rotate_keys();
    bed.server.rotate_keys();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    let before = bed.key_requests();
    let session = client.resume_sign_in(&redirect).await.unwrap();
    assert!(session.peek().is_some());
    assert_eq!(bed.key_requests(), before + 1, "once the minute is over");
}

#[tokio::test]
async fn bi_59_a_key_that_does_not_exist_ends_the_sign_in_and_the_grant() {
    let bed = TestBed::new();
    bed.server.misbehave(Mistake::IdTokenKidUnknown);
    let redirect = redirect_for_another_process(&bed).await;
    let client = app(&bed);
    let error = client.resume_sign_in(&redirect).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.stage()),
        (ErrorKind::Protocol, Stage::IdToken),
        "{error:?}"
    );
    until(|| paths(&bed.server).contains(&"/revoke".to_owned())).await;
    assert!(client.session().await.unwrap().is_none());
}

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<String>>);

impl EventSink for Heard {
    fn event(&self, _session: Option<&SessionId>, event: SessionEvent) {
        if let SessionEvent::SignInInterrupted { diagnostic_id } = event {
            self.0.lock().unwrap().push(diagnostic_id);
        }
    }
}

#[tokio::test]
async fn bi_99_a_sign_in_that_died_with_its_process_is_told_once() {
    let bed = TestBed::new();
    // To this one no time passes any more, as to a process that was stopped for good.
    let stopped = bed.client_with(|b| b.redirect(REDIRECT).clock(Arc::new(TestClock::default())));
    let pending = stopped.begin_sign_in(SignInOptions::default()).await.unwrap();
    let id = pending.diagnostic_id().to_owned();
    let heard = Arc::new(Heard::default());
    let start = || bed.client_with(|builder| builder.redirect(REDIRECT).event_sink(heard.clone()));
    // It may yet come to an end elsewhere.
    assert!(start().session().await.unwrap().is_none());
    assert!(heard.0.lock().unwrap().is_empty());
    // Nor does it end by a clock that somebody sets while the browser is open.
    bed.clock.set_unix_millis(bed.now_unix_millis() + 16 * 60 * 1000);
    assert!(start().session().await.unwrap().is_none());
    assert!(heard.0.lock().unwrap().is_empty());
    bed.clock.advance(Duration::from_secs(16 * 60));
    assert!(start().session().await.unwrap().is_none());
    assert!(start().session().await.unwrap().is_none());
    assert_eq!(*heard.0.lock().unwrap(), [id]);
    assert!(!bed.everything_stored().contains("verifier"));
}

#[tokio::test]
async fn am_19_a_warm_start_needs_no_request_before_the_browser() {
    let bed = TestBed::new();
    bed.sign_in(&bed.client()).await.unwrap();
    bed.keys_are_stored().await;
    let before = bed.server.requests().len();
    let client = bed.client();
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    pending.cancel();
    client.drain().await;
    assert_eq!(paths(&bed.server)[before..], [] as [&str; 0]);
}

#[tokio::test]
async fn am_19_what_is_a_day_old_is_asked_for_again_and_will_do_meanwhile() {
    let bed = TestBed::new();
    bed.sign_in(&bed.client()).await.unwrap();
    bed.keys_are_stored().await;
    bed.clock.advance(DAY + Duration::from_secs(1));
    let down = bed
        .server
        .fault(Endpoint::Metadata)
        .every()
        .answer(CannedAnswer::captive_portal())
        .unwrap();
    let client = bed.client();
    client
        .begin_sign_in(SignInOptions::default())
        .await
        .unwrap()
        .cancel();
    assert!(down.fired() > 0, "it was asked for");
    down.lift();
    let before = bed.server.requests().len();
    bed.client()
        .begin_sign_in(SignInOptions::default())
        .await
        .unwrap()
        .cancel();
    assert!(
        paths(&bed.server)[before..]
            .iter()
            .any(|path| path.contains("well-known"))
    );
}

#[tokio::test]
async fn an_issuer_that_became_somebody_else_is_not_believed_from_the_cache() {
    let bed = TestBed::new();
    bed.sign_in(&bed.client()).await.unwrap();
    bed.clock.advance(DAY + Duration::from_secs(1));
    bed.server.misbehave(Mistake::WrongIssuerInMetadata);
    let error = bed
        .client()
        .begin_sign_in(SignInOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "issuer_mismatch");
}

#[tokio::test]
async fn an_endpoint_that_moved_is_looked_up_anew() {
    let bed = TestBed::new();
    let session = bed.sign_in(&bed.client()).await.unwrap();
    bed.server
        .fault(Endpoint::Token)
        .nth(1)
        .answer(CannedAnswer::status(404))
        .unwrap();
    session.refresh().await.unwrap_err();
    let before = bed.server.requests().len();
    session.refresh().await.unwrap();
    assert!(
        paths(&bed.server)[before].contains("well-known"),
        "{:?}",
        &paths(&bed.server)[before..]
    );
}

#[tokio::test]
async fn refreshed_tokens_that_wait_for_keys_are_verified_later_not_asked_for_again() {
    let bed = TestBed::new();
    let session = bed.sign_in(&bed.client()).await.unwrap();
    let old = session.access_token().await.unwrap();
    bed.clock.advance(Duration::from_secs(120));
    bed.server.rotate_keys();
    let down = bed
        .server
        .fault(Endpoint::JwkSet)
        .every()
        .answer(CannedAnswer::status(503))
        .unwrap();
    let error = session.refresh().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    down.lift();
    let asked = token_requests(&bed.server).len();
    session.refresh().await.unwrap();
    let new = session.access_token().await.unwrap();
    assert_ne!(new.expose(), old.expose());
    assert_eq!(
        token_requests(&bed.server).len(),
        asked,
        "the tokens were there already"
    );
}

/// A sign-in whose tokens wait for keys, and the fault that keeps them away.
async fn waiting(bed: &TestBed) -> PlannedFault {
    let redirect = redirect_for_another_process(bed).await;
    let down = bed
        .server
        .fault(Endpoint::JwkSet)
        .every()
        .answer(CannedAnswer::status(503))
        .unwrap();
    app(bed).resume_sign_in(&redirect).await.unwrap_err();
    let listed = WaitingSignIn::all(&*bed.storage).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].issuer, bed.server.issuer());
    down
}

#[tokio::test]
async fn a_sign_in_that_waited_does_not_take_the_place_of_a_later_one() {
    let bed = TestBed::new();
    let down = waiting(&bed).await;
    down.lift();
    bed.clock.advance(Duration::from_secs(1));
    // Not through `session`, which would finish the one that waits: the user simply signs in again, as somebody else.
    let client = app(&bed);
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let bob = bed.server.users()[1].clone();
    let redirect = bed
        .server
        .browser()
        .sign_in(pending.authorization_url(), &bob)
        .await
        .unwrap();
    let session = client.resume_sign_in(&redirect).await.unwrap();
    assert_eq!(session.claims().unwrap().subject(), bob.subject());

    let found = app(&bed).session().await.unwrap().unwrap();
    assert_eq!(found.claims().unwrap().subject(), bob.subject());
    until(|| paths(&bed.server).contains(&"/revoke".to_owned())).await;
    session.refresh().await.unwrap();
    assert!(WaitingSignIn::all(&*bed.storage).unwrap().is_empty());
}

#[tokio::test]
async fn a_sign_in_that_waited_does_not_undo_a_sign_out() {
    let bed = TestBed::new();
    let before = bed.sign_in(&bed.client()).await.unwrap();
    let down = waiting(&bed).await;
    bed.clock.advance(Duration::from_secs(1));
    before.sign_out(SignOut::Local).await.unwrap();
    down.lift();
    assert!(app(&bed).session().await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_that_ended_by_itself_gives_way_to_the_sign_in_that_waits() {
    let bed = TestBed::new();
    let before = bed.sign_in(&bed.client()).await.unwrap();
    let down = waiting(&bed).await;
    bed.clock.advance(Duration::from_secs(1));
    bed.server.revoke_everything();
    before.refresh().await.unwrap_err();
    down.lift();
    // Its grant is gone as well, but it is a session: the server will say.
    assert!(app(&bed).session().await.unwrap().is_some());
}

#[tokio::test]
async fn forgetting_everything_during_the_exchange_leaves_nobody_signed_in() {
    let bed = TestBed::new();
    let client = app(&bed);
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    let gate = bed.server.fault(Endpoint::Token).nth(1).hold_answer().unwrap();
    let forget = async {
        gate.arrived(1).await;
        client.forget_everything().await.unwrap();
        gate.release();
    };
    let (outcome, ()) = tokio::join!(client.resume_sign_in(&redirect), forget);
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(client.session().await.unwrap().is_none());
    until(|| paths(&bed.server).contains(&"/revoke".to_owned())).await;
}

#[tokio::test]
async fn a_sign_in_of_a_newer_version_is_left_alone() {
    let bed = TestBed::new();
    waiting(&bed).await;
    let key = bed.storage.list("flow.").unwrap().remove(0);
    let stored = bed.storage.load(&key).unwrap().unwrap();
    let newer = String::from_utf8(stored.bytes.to_vec())
        .unwrap()
        .replace("\"v\":1", "\"v\":2");
    bed.storage
        .commit(&key, stored.generation, newer.as_bytes())
        .unwrap();
    assert!(app(&bed).session().await.unwrap().is_none());
    assert_eq!(bed.storage.list("flow.").unwrap(), [key]);
}

#[tokio::test]
async fn whoever_looks_while_a_sign_in_waits_for_keys_does_not_end_it() {
    let bed = TestBed::new();
    let redirect = redirect_for_another_process(&bed).await;
    let gate = bed.server.fault(Endpoint::JwkSet).next(1).hold().unwrap();
    let signing_in = tokio::spawn({
        let client = app(&bed);
        async move { client.resume_sign_in(&redirect).await }
    });
    gate.arrived(1).await;
    // Another process of the app has the keys sooner, and finishes what it finds.
    let other = app(&bed);
    let found = other.session().await.unwrap().expect("it is finished");
    gate.release();
    let session = signing_in.await.unwrap().expect("and so it is here");
    assert_eq!(session.id(), found.id());
    other.drain().await;
    assert!(!paths(&bed.server).contains(&"/revoke".to_owned()));
    session.refresh().await.unwrap();
    assert!(app(&bed).session().await.unwrap().is_some());
    assert_eq!(token_requests(&bed.server).len(), 2);
}

#[tokio::test]
async fn a_running_process_finds_the_sign_in_that_another_left() {
    let bed = TestBed::new();
    let running = app(&bed);
    assert!(running.session().await.unwrap().is_none());
    let down = waiting(&bed).await;
    down.lift();
    assert!(running.session().await.unwrap().is_some());
}

#[tokio::test]
async fn rr_50_a_wrong_device_clock_and_a_restart_do_not_cost_a_sign_in() {
    for offset in [
        ClockOffset::Ahead(Duration::from_secs(2 * 3600)),
        ClockOffset::Behind(Duration::from_secs(2 * 3600)),
    ] {
        let bed = TestBed::with(|server| server.clock_offset(offset));
        let down = waiting(&bed).await;
        down.lift();
        let session = app(&bed).session().await.unwrap();
        assert!(session.is_some(), "{offset:?}");
        assert!(!paths(&bed.server).contains(&"/revoke".to_owned()), "{offset:?}");
    }
}

/// What is left of a sign-in when the process dies after its session was stored and before its record was removed.
async fn leftover(bed: &TestBed) -> (gatepass::RecordKey, gatepass::Stored) {
    let down = waiting(bed).await;
    let key = bed.storage.list("flow.").unwrap().remove(0);
    let left = bed.storage.load(&key).unwrap().unwrap();
    down.lift();
    (key, left)
}

#[tokio::test]
async fn what_is_left_of_a_sign_in_does_not_bring_back_a_session_that_is_over() {
    for by_the_user in [true, false] {
        let bed = TestBed::new();
        let (key, left) = leftover(&bed).await;
        let client = app(&bed);
        let session = client.session().await.unwrap().unwrap();
        if by_the_user {
            session.sign_out(SignOut::Local).await.unwrap();
        } else {
            bed.server.revoke_everything();
            session.refresh().await.unwrap_err();
        }
        let over = client.state().get();
        assert_ne!(over, SessionState::SignedIn);
        bed.storage.commit(&key, Generation::ABSENT, &left.bytes).unwrap();
        let restarted = app(&bed);
        assert!(
            restarted.session().await.unwrap().is_none(),
            "by the user: {by_the_user}"
        );
        assert_eq!(restarted.state().get(), over);
        assert!(bed.storage.list("flow.").unwrap().is_empty());
    }
}

#[tokio::test]
async fn what_is_left_of_a_sign_in_does_not_end_the_session_that_it_became() {
    // By a clock that jumps a tick or a day; as the session that it became, or one that came after it.
    for (passed, again) in [(0, false), (25, false), (0, true), (25, true)] {
        let bed = TestBed::new();
        let (key, left) = leftover(&bed).await;
        let client = app(&bed);
        client.session().await.unwrap().unwrap();
        if again {
            let session = client.session().await.unwrap().unwrap();
            session.sign_out(SignOut::Local).await.unwrap();
            let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
            let redirect = bed.browser_sign_in(pending.authorization_url()).await;
            client.resume_sign_in(&redirect).await.unwrap();
        }
        bed.storage.commit(&key, Generation::ABSENT, &left.bytes).unwrap();
        bed.clock.advance(Duration::from_secs(passed * 3600));
        let restarted = app(&bed);
        let session = restarted.session().await.unwrap().unwrap();
        restarted.drain().await;
        assert!(
            !paths(&bed.server).contains(&"/revoke".to_owned()),
            "{passed} {again}"
        );
        assert!(bed.storage.list("flow.").unwrap().is_empty());
        session.refresh().await.unwrap();
    }
}

#[tokio::test]
async fn a_newer_sign_in_of_the_same_user_is_not_followed_by_a_revocation() {
    let bed = TestBed::new();
    let down = waiting(&bed).await;
    down.lift();
    bed.clock.advance(Duration::from_secs(1));
    let client = app(&bed);
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    client.resume_sign_in(&redirect).await.unwrap();
    let restarted = app(&bed);
    let session = restarted.session().await.unwrap().unwrap();
    assert!(bed.storage.list("flow.").unwrap().len() <= 1);
    restarted.drain().await;
    assert!(!paths(&bed.server).contains(&"/revoke".to_owned()));
    session.refresh().await.unwrap();
}

#[tokio::test]
async fn what_waited_for_more_than_a_day_is_given_back_and_told() {
    let bed = TestBed::new();
    let down = waiting(&bed).await;
    down.lift();
    bed.clock.advance(DAY + Duration::from_secs(1));
    assert!(app(&bed).session().await.unwrap().is_none());
    until(|| paths(&bed.server).contains(&"/revoke".to_owned())).await;
    assert!(WaitingSignIn::all(&*bed.storage).unwrap().is_empty());
    // What tells of it to a process that was stopped in the midst of it goes as well, in the end.
    bed.clock.advance(DAY + Duration::from_secs(1));
    assert!(app(&bed).session().await.unwrap().is_none());
    assert!(bed.storage.list("flow.").unwrap().is_empty());
}

#[tokio::test]
async fn a_sign_in_that_was_forgotten_elsewhere_ends_when_its_redirect_comes() {
    let bed = TestBed::new();
    let client = app(&bed);
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    app(&bed).forget_everything().await.unwrap();
    client.resume_sign_in(&redirect).await.unwrap_err();
    let error = pending.wait().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Interrupted, "sign_in_gone")
    );
}

#[tokio::test]
async fn forgetting_everything_while_a_sign_in_of_before_is_finished_leaves_nobody_signed_in() {
    let bed = TestBed::new();
    let down = waiting(&bed).await;
    down.lift();
    let gate = bed.server.fault(Endpoint::JwkSet).next(1).hold_answer().unwrap();
    let client = app(&bed);
    let looking = tokio::spawn({
        let client = client.clone();
        async move { client.session().await }
    });
    gate.arrived(1).await;
    // It waits for no answer. What comes after it is given back; what was a session before it would only be forgotten.
    client.forget_everything().await.unwrap();
    gate.release();
    assert!(looking.await.unwrap().unwrap().is_none());
    assert_ne!(client.state().get(), SessionState::SignedIn);
    assert!(app(&bed).session().await.unwrap().is_none());
    until(|| paths(&bed.server).contains(&"/revoke".to_owned())).await;
    client.drain().await;
    assert!(!bed.everything_stored().contains(bed.server.issuer()));
}

/// As if a process had been about to finish this sign-in, and everything was forgotten before it stored the session: it
/// dies, or is stopped, before it looks whether it may.
async fn stored_too_late(bed: &TestBed, forgets: &Client) {
    let (key, left) = leftover(bed).await;
    let client = app(bed);
    client.session().await.unwrap().unwrap();
    let session = bed.storage.list("session.").unwrap().remove(0);
    let too_late = bed.storage.load(&session).unwrap().unwrap().bytes;
    // The last part of what that process did comes after the first part of what this one does.
    bed.storage.commit(&key, Generation::ABSENT, &left.bytes).unwrap();
    forgets.forget_everything().await.unwrap();
    let over = bed.storage.load(&session).unwrap().unwrap();
    bed.storage.commit(&session, over.generation, &too_late).unwrap();
}

#[tokio::test]
async fn a_session_that_is_stored_after_everything_was_forgotten_does_not_stay() {
    let bed = TestBed::new();
    stored_too_late(&bed, &app(&bed)).await;
    let next = app(&bed);
    assert!(next.session().await.unwrap().is_none());
    assert_ne!(next.state().get(), SessionState::SignedIn);
    until(|| paths(&bed.server).contains(&"/revoke".to_owned())).await;
    let session = bed.storage.list("session.").unwrap().remove(0);
    let session = bed.storage.load(&session).unwrap().unwrap();
    assert!(!String::from_utf8_lossy(&session.bytes).contains(bed.server.issuer()));
    // The user can sign in again, and what is left of before does nothing to that.
    let pending = next.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    next.resume_sign_in(&redirect).await.unwrap();
    for passed in [0, 1, 25] {
        bed.clock.advance(Duration::from_secs(passed * 3600));
        assert!(app(&bed).session().await.unwrap().is_some(), "{passed} hours");
    }
    assert!(bed.storage.list("flow.").unwrap().is_empty());
}

#[tokio::test]
async fn forgetting_everything_twice_is_forgetting_it_once() {
    let bed = TestBed::new();
    stored_too_late(&bed, &app(&bed)).await;
    // What tells of the sign-in stays: whoever was about to finish it may still be at it.
    app(&bed).forget_everything().await.unwrap();
    assert_eq!(bed.storage.list("flow.").unwrap().len(), 1);
    assert!(app(&bed).session().await.unwrap().is_none());
}

#[tokio::test]
async fn a_session_that_is_stored_too_late_is_not_found_by_the_process_that_forgot_everything() {
    let bed = TestBed::new();
    let running = app(&bed);
    assert!(running.session().await.unwrap().is_none());
    // It has looked before; the one that was late died only now.
    stored_too_late(&bed, &running).await;
    assert!(running.session().await.unwrap().is_none());
    // As long as somebody may be about to finish it, that is looked for.
    assert_eq!(bed.storage.list("flow.").unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_that_is_stored_too_late_is_not_found_by_a_process_that_ran_on() {
    let bed = TestBed::new();
    let running = bed.client_with(|b| b.redirect(REDIRECT).storage(Reached::of(&bed.storage)));
    assert!(running.session().await.unwrap().is_none());
    // Others forget, and die; this one has looked long before.
    stored_too_late(&bed, &app(&bed)).await;
    assert!(running.session().await.unwrap().is_none());
    assert_ne!(running.state().get(), SessionState::SignedIn);
}

#[tokio::test]
async fn tokens_that_can_be_neither_stored_nor_verified_are_given_back() {
    let bed = TestBed::new();
    let redirect = redirect_for_another_process(&bed).await;
    let _down = bed
        .server
        .fault(Endpoint::JwkSet)
        .every()
        .answer(CannedAnswer::status(503))
        .unwrap();
    let storage = Reached::refusing(r#""tokens":{"#, &bed.storage);
    let client = bed.client_with(|b| b.redirect(REDIRECT).storage(storage));
    let error = client.resume_sign_in(&redirect).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageWriteFailed, "{error:?}");
    client.drain().await;
    until(|| paths(&bed.server).contains(&"/revoke".to_owned())).await;
    assert!(bed.storage.list("flow.").unwrap().is_empty());
}

#[tokio::test]
async fn a_sign_in_that_is_given_up_by_a_write_in_doubt_is_told_of_and_given_back() {
    let bed = TestBed::new();
    let _down = waiting(&bed).await;
    bed.clock.advance(DAY + Duration::from_secs(60));
    let told = Arc::new(Heard::default());
    let storage = Reached::denying("forgotten_unix_millis", &bed.storage);
    let client = bed.client_with(|b| b.redirect(REDIRECT).storage(storage).event_sink(told.clone()));
    assert!(client.session().await.unwrap().is_none());
    until(|| paths(&bed.server).contains(&"/revoke".to_owned())).await;
    assert_eq!(told.0.lock().unwrap().len(), 1);
    assert!(app(&bed).session().await.unwrap().is_none());
}

#[tokio::test]
async fn bi_97_a_clock_that_is_set_while_the_browser_is_open_does_not_cost_the_sign_in() {
    for by in [
        16 * 60 * 1000,
        -16 * 60 * 1000,
        20 * 3_600_000,
        -20 * 3_600_000_i64,
    ] {
        let bed = TestBed::new();
        let device = Arc::new(TestClock::hurried());
        let start = || bed.client_with(|b| b.redirect(REDIRECT).clock(device.clone()));
        let pending = start().begin_sign_in(SignInOptions::default()).await.unwrap();
        let redirect = bed.browser_sign_in(pending.authorization_url()).await;
        device.set_unix_millis(device.unix_millis() + by);
        let next = start();
        assert!(next.session().await.unwrap().is_none());
        let session = next.resume_sign_in(&redirect).await;
        assert!(session.is_ok(), "set by {by} ms: {session:?}");
    }
}

/// Another process each time.
fn app_of(bed: &TestBed, server: &TestServer) -> Client {
    let builder = Client::builder(server.issuer(), server.client_id())
        .redirect(REDIRECT)
        .scopes(["openid", "offline_access"])
        .allow_http_on_loopback(AllowHttpOnLoopback)
        .storage(bed.storage.clone())
        .clock(bed.clock.clone());
    builder.build().unwrap()
}

#[tokio::test]
async fn na_22_two_sign_ins_wait_at_two_servers_and_each_redirect_finds_its_own() {
    let bed = TestBed::new();
    let other = TestServer::builder().clock(bed.clock.clone()).start().unwrap();
    let mut redirects = Vec::new();
    for server in [&bed.server, &other] {
        let pending = app_of(&bed, server)
            .begin_sign_in(SignInOptions::default())
            .await
            .unwrap();
        let user = &server.users()[0];
        let redirect = server.browser().sign_in(pending.authorization_url(), user).await;
        redirects.push(redirect.unwrap());
    }
    // To the wrong one first: nothing is spent, nothing ends.
    for (server, redirect) in [(&other, &redirects[0]), (&bed.server, &redirects[1])] {
        let error = app_of(&bed, server).resume_sign_in(redirect).await.unwrap_err();
        assert_eq!(error.code(), "no_pending_sign_in");
    }
    assert!(token_requests(&bed.server).is_empty() && token_requests(&other).is_empty());
    for (server, redirect) in [(&other, &redirects[1]), (&bed.server, &redirects[0])] {
        let session = app_of(&bed, server).resume_sign_in(redirect).await.unwrap();
        assert_eq!(session.issuer(), server.issuer());
    }
    for server in [&bed.server, &other] {
        assert!(app_of(&bed, server).session().await.unwrap().is_some());
        assert_eq!(token_requests(server).len(), 1);
    }
}

#[tokio::test]
async fn bi_13_a_redirect_that_comes_after_a_newer_sign_in_counts_once_and_is_the_latest() {
    let bed = TestBed::new();
    let late = redirect_for_another_process(&bed).await;
    let between = app(&bed);
    let pending = between.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    let newer = between.resume_sign_in(&redirect).await.unwrap();

    let session = app(&bed).resume_sign_in(&late).await.unwrap();
    session.access_token().await.unwrap();
    for _ in 0..2 {
        let error = app(&bed).resume_sign_in(&late).await.unwrap_err();
        assert_eq!(error.code(), "no_pending_sign_in");
    }
    assert_eq!(
        token_requests(&bed.server).len(),
        2,
        "two codes, each exchanged once"
    );
    // Who holds the session before it is told that it is over, and does not get the tokens of the other.
    let error = newer.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SignedOut));
}

#[tokio::test]
async fn bi_14_a_redirect_that_comes_too_late_into_another_process_spends_nothing() {
    let bed = TestBed::new();
    let redirect = redirect_for_another_process(&bed).await;
    let flows = || bed.storage.list("flow.").unwrap();
    let key = flows().remove(0);
    let stored = bed.storage.load(&key).unwrap().unwrap();
    bed.clock.advance(Duration::from_secs(15 * 60));
    // A process that was killed would not have cleared it away.
    until(|| flows().is_empty()).await;
    bed.storage
        .commit(&key, Generation::ABSENT, &stored.bytes)
        .unwrap();
    let error = app(&bed).resume_sign_in(&redirect).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.next_step()),
        (ErrorKind::FlowExpired, NextStep::SignInAgain)
    );
    assert!(token_requests(&bed.server).is_empty());
    assert!(app(&bed).session().await.unwrap().is_none());
}
