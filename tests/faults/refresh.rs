//! Refreshes: what a server can answer, and what must come of it (STANDARDS R.4, R.5).

use std::sync::Arc;

use gatepass::{
    Clock as _, Delivery, EndReason, ErrorKind, LockFailure, LockGuard, NextStep, OnUnknownOutcome,
    ProcessLock, Session, SessionState, SignOut,
};
use serde_json::json;

use crate::world::{
    Answer, Ask, Fate, World, granted, html, json_answer, oauth_error, refreshed_elsewhere, session_record,
    sign_in,
};

/// TV-26c: the sample of OpenID Connect Core appendix A.3, for subject 248289761001.
pub(crate) const SAMPLE_ID_TOKEN: &str = "eyJraWQiOiIxZTlnZGs3IiwiYWxnIjoiUlMyNTYifQ.ewogImlzcyI6ICJodHRwczovL3NlcnZlci5leGFtcGxlLmNvbSIsCiAic3ViIjogIjI0ODI4OTc2MTAwMSIsCiAiYXVkIjogInM2QmhkUmtxdDMiLAogIm5vbmNlIjogIm4tMFM2X1d6QTJNaiIsCiAiZXhwIjogMTMxMTI4MTk3MCwKICJpYXQiOiAxMzExMjgwOTcwLAogImF0X2hhc2giOiAiNzdRbVVQdGpQZnpXdEYyQW5wSzlSUSIKfQ.kdqTmftlaXg5WBYBr1wkxhkqCGZPc0k8vTiV5g2jj67jQ7XkrDamYx2bOkZLdZrpMPIzkdYB1nZI_G8vQGQuamRhJcEIt21kblGPZ-yhEhdkAiZIZLu38rChalDS2Mh0glE_rke5XXRhmqqoEFFdziFdnO3p61-7y51co84OEAZvARSINQaOWIzvioRfs4zwIFOaT33Vpxfqr8HDyh31zo9eBW2dSQuCa071z0ENWChWoPliK1JCo_Bk9eDg2uwo2ZwhsvHzj6TMQ0lYOTzufSlSmXIKfjlOsb3nftQeR697_hA-nMZyAdL8_NRfaC37XnAbW8WB9wCfECp7cuNuOg";
pub(crate) const SAMPLE_ACCESS_TOKEN: &str = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";

/// One answer for each time that a token is sent in one attempt.
fn always(answer: impl Fn() -> Answer) -> impl Iterator<Item = Answer> {
    std::iter::repeat_with(answer).take(6)
}

#[tokio::test]
async fn rr_12_rr_13_after_garbage_the_same_token_is_sent_again() {
    let world = World::signed_in();
    let session = world.session().await;
    world.let_access_token_expire();
    let sent_at = world.clock.boot_millis();
    world.net.answer([
        html(503),
        html(200),
        Answer::Fails(Delivery::UnknownOutcome),
        granted("R2", "A2"),
    ]);
    assert_eq!(session.access_token().await.unwrap().expose(), "A2");
    assert_eq!(world.net.refreshes(), ["R1"; 4]);
    let took = world.clock.boot_millis() - sent_at;
    assert!((5_000..6_000).contains(&took), "sent after 0, 2 and 5 s: {took}");
    assert_eq!(world.disk.session()["refresh_token"], "R2");
    assert!(world.disk.session()["journal"].is_null());
    world.events.are(&["Refreshed"]).await;
}

#[tokio::test]
async fn rr_13_what_stays_unknown_stays_open_and_is_sent_again_at_the_next_need() {
    let world = World::signed_in();
    let session = world.session().await;
    world.let_access_token_expire();
    let sent_at = world.clock.boot_millis();
    world.net.answer(always(|| html(200)));
    let error = session.access_token().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network(Delivery::UnknownOutcome));
    assert_eq!(world.net.refreshes(), ["R1"; 6]);
    let took = world.clock.boot_millis() - sent_at;
    assert!((20_000..=30_000).contains(&took), "{took}");
    assert_eq!(world.disk.session()["refresh_token"], "R1");
    assert!(
        world.disk.session()["journal"].is_object(),
        "the outcome is open, on disk too"
    );
    world.net.answer([granted("R2", "A2")]);
    assert_eq!(session.access_token().await.unwrap().expose(), "A2");
    world.events.are(&["RefreshFailed", "Refreshed"]).await;
}

#[tokio::test]
async fn rr_15_a_token_that_another_process_replaced_is_not_sent_again() {
    let world = World::signed_in();
    let session = world.session().await;
    world.let_access_token_expire();
    let first = world.net.answer_later();
    let refresh = tokio::spawn(async move { session.access_token().await });
    world.net.until_sent("/token", 1).await;
    world.disk.write(&refreshed_elsewhere());
    first.send(html(502)).ok().unwrap();
    assert_eq!(refresh.await.unwrap().unwrap().expose(), "A2-elsewhere");
    assert_eq!(world.net.refreshes(), ["R1"]);
}

#[tokio::test]
async fn rr_24_a_token_is_not_sent_again_after_a_sign_out() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    let first = world.net.answer_later();
    let refresh = tokio::spawn({
        let session = session.clone();
        async move { session.refresh().await }
    });
    world.net.until_sent("/token", 1).await;
    session.sign_out(SignOut::Local).await.unwrap();
    first.send(html(502)).ok().unwrap();
    let error = refresh.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SignedOut));
    assert_eq!(world.net.refreshes(), ["R1"]);
}

#[tokio::test]
async fn rr_25_whoever_has_a_token_does_not_wait_for_an_answer_that_was_lost() {
    let world = World::signed_in();
    let session = world.session().await;
    world.clock.advance(3_300_000);
    world.net.answer([Answer::Fails(Delivery::UnknownOutcome)]);
    let second = world.net.answer_later();
    let token = session.access_token().await.unwrap();
    world.net.until_sent("/token", 2).await;
    second.send(granted("R2", "A2")).ok().unwrap();
    assert_eq!(token.expose(), "A1");
    world.events.are(&["Refreshed"]).await;
    assert_eq!(session.peek().unwrap().expose(), "A2");
}

#[tokio::test]
async fn rr_35_a_server_that_takes_it_for_theft_sees_the_token_again_only_when_it_must() {
    let world = World::signed_in();
    let client = world.client_with(|b| b.on_unknown_outcome(OnUnknownOutcome::RetryWhenExpired));
    let session = client.session().await.unwrap().unwrap();
    world.clock.advance(3_300_000);
    world.net.answer([html(200)]);
    assert_eq!(session.access_token().await.unwrap().expose(), "A1");
    world.clock.advance(60_000);
    assert_eq!(session.access_token().await.unwrap().expose(), "A1");
    assert_eq!(world.net.refreshes(), ["R1"], "while it lives, nothing more");
    world.clock.advance(240_000);
    world.net.answer([granted("R2", "A2")]);
    assert_eq!(session.access_token().await.unwrap().expose(), "A2");
    assert_eq!(world.net.refreshes(), ["R1", "R1"]);
}

#[tokio::test]
async fn rr_18_garbage_then_invalid_grant_is_a_lost_rotation() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world.net.answer([html(200), oauth_error(400, "invalid_grant")]);
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::RotationLost));
    assert_eq!(client.state().get(), SessionState::Ended(EndReason::RotationLost));
    assert!(session.peek().is_none());
    let left = world.disk.text("session").unwrap();
    assert!(left.contains("alice@example.com"), "the hint stays");
    assert!(
        !left.contains("R1") && !left.contains("A1"),
        "no token stays: {left}"
    );
    session.refresh().await.unwrap_err();
    client.drain().await;
    world.events.are(&["Ended"]).await;
}

#[tokio::test]
async fn rr_11_rr_18_a_request_that_was_not_sent_leaves_nothing_open() {
    let world = World::signed_in();
    let session = world.session().await;
    world.net.answer([
        Answer::Fails(Delivery::NotSent),
        oauth_error(403, "invalid_grant"),
    ]);
    session.refresh().await.unwrap_err();
    assert!(world.disk.session()["journal"].is_null());
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::ExpiredOrRevoked));
}

#[tokio::test]
async fn rr_14_rr_20_rr_21_rr_22_no_other_answer_ends_a_session() {
    let mut answers = vec![
        html(200),
        html(302),
        html(307),
        html(403),
        html(404),
        html(407),
        html(451),
        html(500),
        html(503),
    ];
    answers.push(json_answer(429, json!({})));
    answers.push(Answer::Http(204, "application/json", String::new()));
    answers.push(json_answer(200, json!([])));
    answers.push(json_answer(200, json!({ "token_type": "Bearer" })));
    answers.push(json_answer(200, json!({ "error": "server_error" })));
    answers.push(Answer::Fails(Delivery::UnknownOutcome));
    // Whoever fails, or has too much to do, has not looked at the grant.
    answers.extend([429, 500, 503].map(|status| oauth_error(status, "invalid_grant")));
    for status in [400, 401, 500] {
        for error in [
            "invalid_client",
            "invalid_request",
            "invalid_scope",
            "unauthorized_client",
            "unsupported_grant_type",
            "invalid_target",
            "invalid_dpop_proof",
            "interaction_required",
            "login_required",
            "consent_required",
            "temporarily_unavailable",
            "server_error",
            "access_denied",
            "something_new",
        ] {
            answers.push(oauth_error(status, error));
        }
    }
    let world = World::signed_in();
    world.let_access_token_last();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    for answer in answers {
        let name = match &answer {
            Answer::Http(status, _, body) => format!("{status} {body}"),
            _ => "no answer".to_owned(),
        };
        world.net.answer(always(|| answer.clone()));
        let error = session.refresh().await.unwrap_err();
        assert!(
            !matches!(error.kind(), ErrorKind::SessionEnded(_)),
            "{name}: {error:?}"
        );
        world.net.no_more_answers();
        // A server that fails time and again is left alone for some minutes.
        world.clock.advance(600_000);
        assert_eq!(client.state().get(), SessionState::SignedIn, "{name}");
        assert_eq!(world.disk.session()["refresh_token"], "R1", "{name}");
        assert_eq!(session.peek().unwrap().expose(), "A1", "{name}: RR-25");
    }
    let sent = world.net.refreshes();
    assert!(
        sent.len() > 60 && sent.iter().all(|token| token == "R1"),
        "{sent:?}"
    );
}

#[tokio::test]
async fn rr_25_a_token_that_is_still_good_is_served_whatever_the_refresh_came_to() {
    for answer in [
        oauth_error(400, "interaction_required"),
        oauth_error(400, "login_required"),
        oauth_error(400, "invalid_client"),
        html(200),
        Answer::Fails(Delivery::NotSent),
    ] {
        let world = World::signed_in();
        let session = world.session().await;
        // In the last tenth of its life a refresh is tried first.
        world.clock.advance(3_300_000);
        world.net.answer(always(|| answer.clone()));
        assert_eq!(session.access_token().await.unwrap().expose(), "A1");
        assert!(world.net.refreshes().iter().all(|token| token == "R1"));
    }
}

#[tokio::test]
async fn rr_08_bi_36_a_new_refresh_token_in_a_useless_answer_is_kept() {
    for useless in [
        json!({ "refresh_token": "R2", "access_token": "A2" }),
        json!({ "refresh_token": "R2", "access_token": "A2", "token_type": "mac" }),
        json!({ "refresh_token": "R2", "token_type": "Bearer" }),
        json!({ "refresh_token": "R2", "access_token": "A 2", "token_type": "Bearer" }),
    ] {
        let world = World::signed_in();
        let session = world.session().await;
        world
            .net
            .answer([json_answer(200, useless.clone()), granted("R3", "A3")]);
        assert_eq!(session.refresh().await.unwrap_err().kind(), ErrorKind::Protocol);
        assert_eq!(world.disk.session()["refresh_token"], "R2", "{useless}");
        session.refresh().await.unwrap();
        assert_eq!(world.net.refreshes(), ["R1", "R2"], "{useless}");
    }
}

#[tokio::test]
async fn oc_57_an_id_token_of_another_user_ends_the_session() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world.net.answer([json_answer(
        200,
        json!({
            "access_token": SAMPLE_ACCESS_TOKEN, "token_type": "Bearer", "refresh_token": "R2",
            "id_token": SAMPLE_ID_TOKEN,
        }),
    )]);
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SubjectChanged));
    assert_eq!(
        client.state().get(),
        SessionState::Ended(EndReason::SubjectChanged)
    );
    assert!(session.peek().is_none());
    let left = world.disk.text("session").unwrap();
    assert!(
        !left.contains("R2") && !left.contains(SAMPLE_ACCESS_TOKEN),
        "{left}"
    );
}

#[tokio::test]
async fn oc_59_tokens_wait_on_disk_until_their_id_token_is_verified() {
    let world = World::signed_in();
    let mut record = session_record();
    record["claims"] = json!({ "sub": "248289761001", "nonce": "n-0S6_WzA2Mj" });
    world.disk.write(&record);
    let session = world.session().await;
    let answer = |id_token: &str| {
        json_answer(
            200,
            json!({
                "access_token": SAMPLE_ACCESS_TOKEN, "token_type": "Bearer", "refresh_token": "R2", "expires_in": 3600,
                "id_token": id_token,
            }),
        )
    };
    world.net.answer([
        answer(&SAMPLE_ID_TOKEN.replace("eyJraWQ", "eyJhbGc")),
        answer(SAMPLE_ID_TOKEN),
    ]);
    session.refresh().await.unwrap_err();
    assert_eq!(
        world.disk.session()["refresh_token"],
        "R2",
        "secured before it is looked at"
    );
    assert_ne!(session.peek().unwrap().expose(), SAMPLE_ACCESS_TOKEN, "withheld");
    session.refresh().await.unwrap();
    assert_eq!(session.peek().unwrap().expose(), SAMPLE_ACCESS_TOKEN);
    assert_eq!(world.net.refreshes(), ["R1", "R2"]);
}

#[tokio::test]
async fn rr_17_invalid_grant_adopts_what_another_process_wrote_at_any_moment() {
    // The other process commits just before storage is asked the first time after the answer, or the second time.
    for moment in 1..=2 {
        let world = World::signed_in();
        let client = world.client();
        let session = client.session().await.unwrap().unwrap();
        let answer = world.net.answer_later();
        let refresh = tokio::spawn({
            let session = session.clone();
            async move { session.refresh().await }
        });
        world.net.until_sent("/token", 1).await;
        let mut asked = 0;
        world.disk.plan(move |_, _, records| {
            asked += 1;
            if asked == moment {
                records.write("session", &refreshed_elsewhere());
            }
            Fate::Done
        });
        answer.send(oauth_error(400, "invalid_grant")).ok().unwrap();
        refresh
            .await
            .unwrap()
            .unwrap_or_else(|error| panic!("moment {moment}: {error:?}"));
        assert_eq!(
            session.peek().unwrap().expose(),
            "A2-elsewhere",
            "moment {moment}"
        );
        assert_eq!(client.state().get(), SessionState::SignedIn, "moment {moment}");
        assert_eq!(world.disk.session(), refreshed_elsewhere(), "moment {moment}");
    }
}

#[tokio::test]
async fn rr_17_invalid_grant_while_another_process_sent_later_is_not_the_end() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    let answer = world.net.answer_later();
    let refresh = tokio::spawn(async move { session.refresh().await });
    world.net.until_sent("/token", 1).await;
    let mut theirs = session_record();
    theirs["journal"] = json!({ "attempt_id": "theirs", "uncertain": true });
    world.disk.write(&theirs);
    // Their request was faster, and its answer is not on disk yet.
    answer.send(oauth_error(400, "invalid_grant")).ok().unwrap();
    let error = refresh.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited, "{error:?}");
    assert_eq!(client.state().get(), SessionState::SignedIn);
    assert_eq!(world.disk.session(), theirs);
}

#[tokio::test]
async fn rr_03_what_another_process_refreshed_is_adopted_without_any_network() {
    let world = World::signed_in();
    let session = world.session().await;
    world.let_access_token_expire();
    world.disk.write(&refreshed_elsewhere());
    world.net.offline.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(session.access_token().await.unwrap().expose(), "A2-elsewhere");
}

#[tokio::test]
async fn rr_24_the_refresh_of_an_older_session_does_not_answer_for_the_new_one() {
    let world = World::signed_in();
    let client = world.client();
    let old = client.session().await.unwrap().unwrap();
    let late = world.net.answer_later();
    let refresh = tokio::spawn({
        let old = old.clone();
        async move { old.refresh().await }
    });
    world.net.until_sent("/token", 1).await;
    world.net.answer([granted("R9", "A9"), granted("R10", "A10")]);
    let new = sign_in(&client).await.unwrap();
    let (refreshed, ()) = tokio::join!(new.refresh(), async {
        tokio::task::yield_now().await;
        late.send(granted("R2", "A2")).ok().unwrap();
    });
    refreshed.expect("the new session is signed in");
    let error = refresh.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SignedOut));
    assert_eq!(new.peek().unwrap().expose(), "A10");
    assert!(old.peek().is_none());
    assert_eq!(world.disk.session()["refresh_token"], "R10");
    client.drain().await;
    let revoked = world.net.sent_to("/revoke");
    assert!(
        revoked.len() == 1 && revoked[0].contains("token=R2"),
        "RR-23: {revoked:?}"
    );
}

#[tokio::test]
async fn rr_27_rr_32_an_api_that_always_says_401_costs_one_refresh() {
    let world = World::signed_in();
    let session = world.session().await;
    world.net.answer([html(401), granted("R2", "A2"), html(401)]);
    let answer = session
        .http()
        .get("https://api.example.com/me")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 401);
    assert_eq!(world.net.sent_to("/me").len(), 2);
    assert_eq!(world.net.refreshes(), ["R1"]);
}

#[tokio::test]
async fn a_transport_that_panics_takes_nothing_with_it() {
    let world = World::signed_in();
    let session = world.session().await;
    world.net.answer([Answer::Panics, granted("R2", "A2")]);
    assert_eq!(session.refresh().await.unwrap_err().kind(), ErrorKind::Internal);
    session.refresh().await.expect("the next one gets through");
    assert_eq!(session.peek().unwrap().expose(), "A2");
}

#[tokio::test]
async fn a_server_that_quotes_the_token_in_its_error_does_not_get_it_into_ours() {
    let world = World::signed_in();
    let mut record = session_record();
    let long = "secret-".repeat(200);
    record["refresh_token"] = long.clone().into();
    world.disk.write(&record);
    let session = world.session().await;
    for (status, error) in [
        (400, "invalid_request"),
        (500, "server_error"),
        (200, "invalid_request"),
    ] {
        world.net.no_more_answers();
        world.net.answer(always(|| {
            json_answer(
                status,
                json!({
                    "error": error, "error_description": format!("what is {long} supposed to be?"),
                    "error_uri": format!("https://server.example.com/?token={long}"),
                }),
            )
        }));
        let error = session.refresh().await.unwrap_err();
        let printed = format!("{error} {error:?}");
        assert!(!printed.contains("secret-secret"), "{printed}");
        assert!(printed.contains("supposed to be"), "the rest is told: {printed}");
    }
}

#[tokio::test]
async fn sign_out_of_a_session_that_ended_elsewhere_clears_it_here() {
    let world = World::signed_in();
    let client = world.client();
    let session = client.session().await.unwrap().unwrap();
    world
        .disk
        .write(&json!({ "v": 1, "epoch": 2, "generation": 2, "ended": "signed_out" }));
    session.sign_out(SignOut::Local).await.unwrap();
    assert!(session.peek().is_none(), "after sign-out no token is handed out");
    assert_eq!(client.state().get(), SessionState::SignedOut);
}

#[tokio::test]
async fn rr_05_no_journal_no_request() {
    let world = World::signed_in();
    let session = world.session().await;
    world.disk.plan(|_, ask, _| {
        if ask.writes("\"journal\"") {
            crate::world::refused()
        } else {
            Fate::Done
        }
    });
    let error = session.refresh().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.next_step()),
        (ErrorKind::StorageWriteFailed, NextStep::Retry)
    );
    assert_eq!(world.net.refreshes(), [] as [&str; 0]);
    // No tokens are held in memory: the event of that name would alarm for nothing.
    world.events.are(&["RefreshFailed"]).await;
}

#[tokio::test]
async fn an_answer_that_turned_the_request_down_is_told_even_if_the_journal_cannot_be_closed() {
    let world = World::signed_in();
    let session = world.session().await;
    let mut writes = 0;
    world.disk.plan(move |kind, ask, _| {
        writes += usize::from(kind == "session" && matches!(ask, Ask::Commit(_)));
        if writes == 2 {
            crate::world::refused()
        } else {
            Fate::Done
        }
    });
    world.net.answer([oauth_error(400, "invalid_client")]);
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server, "{error:?}");
}

/// A lock that another process holds.
#[derive(Debug)]
struct HeldElsewhere;

impl ProcessLock for HeldElsewhere {
    fn try_lock(&self, _name: &str) -> Result<Option<LockGuard>, LockFailure> {
        Ok(None)
    }
}

/// Another process froze after it wrote this journal, and holds the lock.
async fn frozen_elsewhere(begun: serde_json::Value) -> (World, Session) {
    let world = World::signed_in();
    let mut theirs = session_record();
    theirs["journal"] = json!({ "attempt_id": "theirs", "uncertain": false, "number": 1, "begun": begun });
    world.disk.write(&theirs);
    let lock = Arc::new(HeldElsewhere);
    let client = world.client_with(|builder| builder.process_lock(lock));
    let session = client.session().await.unwrap().unwrap();
    (world, session)
}

#[tokio::test]
async fn r_8_3_a_process_that_was_suspended_with_the_lock_is_passed_over_after_its_lease() {
    let now = World::new().clock.boot_millis();
    let begun = json!({ "boot_millis": now, "boot_id": "boot", "unix_millis": 0 });
    let (world, session) = frozen_elsewhere(begun).await;
    let error = session.refresh().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::RateLimited, "refresh_busy")
    );
    assert_eq!(world.net.refreshes(), [] as [&str; 0]);
    // 15 s of patience are over; the lease is not.
    world.clock.advance(29_000);
    world.net.answer([granted("R2", "A2")]);
    session.refresh().await.unwrap();
    assert_eq!(world.net.refreshes(), ["R1"]);
    assert_eq!(world.disk.session()["attempt"], 2);
}

#[tokio::test]
async fn r_8_3_a_lock_seen_busy_twice_is_not_taken_for_one_lease() {
    let world = World::signed_in();
    let client = world.client_with(|builder| builder.process_lock(Arc::new(HeldElsewhere)));
    let session = client.session().await.unwrap().unwrap();
    // Whoever holds it has not written a journal, and nobody looked in between.
    for _ in 0..3 {
        let error = session.refresh().await.unwrap_err();
        assert_eq!(error.code(), "refresh_busy");
        world.clock.advance(3_600_000);
    }
    assert_eq!(world.net.refreshes(), [] as [&str; 0]);
    // Seen busy for a whole lease.
    session.refresh().await.unwrap_err();
    session.refresh().await.unwrap_err();
    world.net.answer([granted("R2", "A2")]);
    session.refresh().await.unwrap();
    assert_eq!(world.net.refreshes(), ["R1"]);
}

#[tokio::test]
async fn r_8_3_what_was_taken_over_is_uncertain() {
    let (world, session) = frozen_elsewhere(serde_json::Value::Null).await;
    world.net.answer([oauth_error(400, "invalid_grant")]);
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::RotationLost));
}

#[tokio::test]
async fn rr_36_of_two_pairs_that_raced_the_one_of_the_later_request_counts() {
    // Theirs was asked for later, and is stored before ours comes; or earlier.
    for (their_attempt, left) in [(2, "R2-elsewhere"), (0, "R2")] {
        let world = World::signed_in();
        let session = world.session().await;
        let answer = world.net.answer_later();
        let refresh = tokio::spawn({
            let session = session.clone();
            async move { session.refresh().await }
        });
        world.net.until_sent("/token", 1).await;
        let mut theirs = refreshed_elsewhere();
        theirs["attempt"] = their_attempt.into();
        world.disk.write(&theirs);
        answer.send(granted("R2", "A2")).ok().unwrap();
        let outcome = refresh.await.unwrap();
        assert_eq!(world.disk.session()["refresh_token"], left);
        assert_eq!(outcome.is_ok(), left == "R2");
        assert!(
            world.net.sent_to("/revoke").is_empty(),
            "revoking one would end both"
        );
        let token = session.access_token().await.unwrap();
        assert_eq!(token.expose(), left.replace('R', "A"));
        assert_eq!(world.net.refreshes(), ["R1"]);
    }
}

#[tokio::test]
async fn rr_36_a_later_attempt_that_is_under_way_keeps_its_journal() {
    let world = World::signed_in();
    let session = world.session().await;
    let answer = world.net.answer_later();
    let refresh = tokio::spawn(async move { session.refresh().await });
    world.net.until_sent("/token", 1).await;
    let mut theirs = session_record();
    theirs["journal"] = json!({ "attempt_id": "theirs", "uncertain": true, "number": 2 });
    world.disk.write(&theirs);
    answer.send(granted("R2", "A2")).ok().unwrap();
    refresh.await.unwrap().unwrap();
    let left = world.disk.session();
    assert_eq!(left["refresh_token"], "R2");
    assert_eq!(left["journal"]["attempt_id"], "theirs");
}

#[tokio::test]
async fn rr_32_a_new_token_that_an_api_refuses_is_not_refreshed_again_at_once() {
    let world = World::signed_in();
    let session = world.session().await;
    world
        .net
        .answer([html(401), granted("R2", "A2"), html(401), html(401)]);
    let ask = || async {
        let request = session.http().get("https://api.example.com/me");
        request.send().await.unwrap().status()
    };
    assert_eq!(ask().await, 401);
    assert_eq!(ask().await, 401);
    assert_eq!(world.net.refreshes(), ["R1"]);
    world.clock.advance(5_000);
    world.net.answer([html(401), granted("R3", "A3"), html(200)]);
    assert_eq!(ask().await, 200);
}

#[tokio::test]
async fn rr_32_rr_14_a_server_that_fails_is_left_alone_and_a_good_token_still_served() {
    let world = World::signed_in();
    let session = world.session().await;
    world.clock.advance(3_300_000);
    for _ in 0..5 {
        world.net.answer([oauth_error(400, "invalid_client")]);
        assert_eq!(session.access_token().await.unwrap().expose(), "A1");
        world.clock.advance(5_000);
    }
    // Nothing is in the script: nothing is sent.
    assert_eq!(session.access_token().await.unwrap().expose(), "A1");
    let error = session.refresh().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::RateLimited, "refresh_paused")
    );
    assert!(matches!(error.next_step(), NextStep::RetryAfter(_)), "{error:?}");
    world.clock.advance(30_000);
    world.net.answer([granted("R2", "A2")]);
    session.refresh().await.unwrap();
}
