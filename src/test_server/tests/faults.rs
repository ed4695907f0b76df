//! Faults: each happens where it was planned, as often as it was, and is told.

use super::{App, Broken, FORM, START};
use crate::test_server::{
    CannedAnswer, Endpoint, FaultError, Par, PlannedFault, RecordedRequest, Rotation, TestServer,
};
use std::sync::Arc;
use std::time::Duration;

fn is_refresh(request: &RecordedRequest) -> bool {
    request.form_value("grant_type") == Some("refresh_token")
}

impl App {
    async fn try_refresh(&self, refresh_token: &str) -> Result<super::Answer, Broken> {
        let client_id = self.server.client_id();
        let body = format!("grant_type=refresh_token&client_id={client_id}&refresh_token={refresh_token}");
        self.try_send("POST", "/token", &[FORM], &body).await
    }
}

#[tokio::test]
async fn a_plan_strikes_the_requests_it_names_and_counts() {
    let app = App::start();
    let (jwks, down) = (Endpoint::JwkSet, CannedAnswer::status(503));
    let statuses = async |count: usize| {
        let mut seen = Vec::new();
        for _ in 0..count {
            seen.push(app.get("/jwks").await.status);
        }
        seen
    };
    let second = app.server.fault(jwks).nth(2).answer(down.clone()).unwrap();
    assert_eq!(statuses(4).await, [200, 503, 200, 200]);
    assert_eq!(second.fired(), 1);

    let two = app.server.fault(jwks).next(2).answer(down.clone()).unwrap();
    assert_eq!(app.get("/nowhere").await.status, 404, "another endpoint");
    assert_eq!(statuses(3).await, [503, 503, 200]);
    assert_eq!(two.fired(), 2);

    let every = app.server.fault(jwks).every().answer(down.clone()).unwrap();
    assert_eq!(statuses(3).await, [503, 503, 503]);
    every.lift();
    assert_eq!(statuses(2).await, [200, 200]);
    assert_eq!(every.fired(), 3);

    app.server.fault(jwks).every().answer(down.clone()).unwrap();
    app.server.fault(Endpoint::Any).every().answer(down).unwrap();
    assert_eq!(app.get("/nowhere").await.status, 503);
    app.server.lift_faults();
    assert_eq!(statuses(1).await, [200]);
}

#[tokio::test]
async fn a_predicate_sees_what_the_test_sees() {
    let app = App::start();
    let lost = app
        .server
        .fault(Endpoint::Token)
        .matching(is_refresh)
        .matching(|request| request.header("content-type").is_some() && request.status().is_none())
        .nth(1)
        .answer(CannedAnswer::oauth_error(500, "server_error"))
        .unwrap();
    let token = app.tokens().await.member("refresh_token");
    assert_eq!(lost.fired(), 0, "the code was redeemed");
    app.refresh(&token, &[]).await.assert_error(500, "server_error");
    assert_eq!(lost.fired(), 1);
    assert_eq!(app.refresh(&token, &[]).await.status, 200);
}

#[tokio::test]
async fn dropped_before_processing_leaves_the_refresh_token_good() {
    let app = App::start();
    let token = app.tokens().await.member("refresh_token");
    let dropped = app
        .server
        .fault(Endpoint::Token)
        .next(1)
        .drop_before_processing()
        .unwrap();
    assert_eq!(app.try_refresh(&token).await.err(), Some(Broken::NoAnswer));
    assert_eq!(dropped.fired(), 1);
    let last = app.server.requests().pop().unwrap();
    assert_eq!((last.path(), last.status()), ("/token", None));
    assert_eq!(app.refresh(&token, &[]).await.status, 200);
}

#[tokio::test]
async fn dropped_after_processing_is_a_lost_rotation() {
    for (rotation, recovers) in [
        (Rotation::Strict, false),
        (Rotation::Grace(Duration::from_secs(30)), true),
        (Rotation::Idempotent, true),
        (Rotation::Off, true),
    ] {
        let app = App::start_with(|builder| builder.rotation(rotation));
        let token = app.tokens().await.member("refresh_token");
        let lost = app
            .server
            .fault(Endpoint::Token)
            .next(1)
            .drop_after_processing()
            .unwrap();
        assert_eq!(app.try_refresh(&token).await.err(), Some(Broken::NoAnswer));
        assert_eq!(lost.fired(), 1);
        let again = app.refresh(&token, &[]).await;
        assert_eq!(again.status == 200, recovers, "{rotation:?} {}", again.text);
    }
}

#[tokio::test]
async fn a_gate_holds_requests_until_the_test_lets_them_go() {
    let app = Arc::new(App::start());
    let token = app.tokens().await.member("refresh_token");
    let gate = app.server.fault(Endpoint::Token).every().hold().unwrap();
    let refresh = |token: String| {
        let app = Arc::clone(&app);
        tokio::spawn(async move { app.try_refresh(&token).await })
    };
    let first = refresh(token.clone());
    gate.arrived(1).await;
    let second = refresh("gpt_rt_unknown".to_owned());
    gate.arrived(2).await;
    assert_eq!(app.server.requests().last().unwrap().status(), None);
    assert!(!first.is_finished() && !second.is_finished());

    gate.release_one();
    assert_eq!(
        first.await.unwrap().unwrap().status,
        200,
        "first come, first let go"
    );
    assert!(!second.is_finished());
    gate.release();
    assert_eq!(second.await.unwrap().unwrap().status, 400);
    assert_eq!(app.try_refresh("x").await.unwrap().status, 400, "an open gate");
    assert_eq!(gate.fired(), 2);

    // A gate that is dropped, and one that is lifted with all others, hold nobody.
    let gate = app.server.fault(Endpoint::Token).nth(1).hold_answer().unwrap();
    let held = refresh("x".to_owned());
    gate.arrived(1).await;
    drop(gate);
    assert_eq!(held.await.unwrap().unwrap().status, 400);
    let gate = app.server.fault(Endpoint::Token).nth(1).hold().unwrap();
    let held = refresh("x".to_owned());
    gate.arrived(1).await;
    assert_eq!(app.get("/jwks").await.status, 200);
    app.server.lift_faults();
    assert_eq!(held.await.unwrap().unwrap().status, 400);
}

#[tokio::test]
async fn a_held_answer_is_to_a_request_that_was_processed() {
    let app = Arc::new(App::start());
    let token = app.tokens().await.member("refresh_token");
    let gate = app.server.fault(Endpoint::Token).nth(1).hold_answer().unwrap();
    let held = {
        let (app, token) = (Arc::clone(&app), token.clone());
        tokio::spawn(async move { app.try_refresh(&token).await })
    };
    gate.arrived(1).await;
    // The second use: the held request has used the token already.
    app.refresh(&token, &[]).await.assert_error(400, "invalid_grant");
    gate.release();
    assert_eq!(held.await.unwrap().unwrap().status, 200);
}

#[tokio::test]
async fn a_request_read_whole_takes_its_course_although_its_client_hangs_up() {
    let app = Arc::new(App::start());
    let token = app.tokens().await.member("refresh_token");
    let gate = app.server.fault(Endpoint::Token).nth(1).hold().unwrap();
    let held = {
        let (app, token) = (Arc::clone(&app), token.clone());
        tokio::spawn(async move { app.try_refresh(&token).await })
    };
    gate.arrived(1).await;
    let refused = app.server.fault(Endpoint::Token).nth(1).drop_after_processing();
    held.abort();
    assert!(held.await.unwrap_err().is_cancelled());
    gate.release();
    while app.server.requests().last().unwrap().status().is_none() {
        tokio::task::yield_now().await;
    }
    app.server.lift_faults();
    app.refresh(&token, &[]).await.assert_error(400, "invalid_grant");
    assert_eq!(refused.unwrap().fired(), 0, "planned after the request came");
}

#[tokio::test]
async fn a_delay_is_as_long_as_the_server_s_clock_says() {
    for answer_only in [false, true] {
        let app = Arc::new(App::start());
        let token = app.tokens().await.member("refresh_token");
        let plan = app.server.fault(Endpoint::Token).next(1);
        let slow = if answer_only {
            plan.delay_answer(Duration::from_secs(3600))
        } else {
            plan.delay(Duration::from_secs(3600))
        };
        let slow = slow.unwrap();
        let delayed = {
            let (app, token) = (Arc::clone(&app), token.clone());
            tokio::spawn(async move { app.try_refresh(&token).await })
        };
        slow.until_fired(1).await;
        app.pass(3599);
        assert_eq!(app.get("/jwks").await.status, 200, "others are not delayed");
        assert!(!delayed.is_finished());
        let other = app.refresh(&token, &[]).await;
        assert_eq!(other.status, if answer_only { 400 } else { 200 });
        app.pass(1);
        let late = delayed.await.unwrap().unwrap();
        assert_eq!(late.status, if answer_only { 200 } else { 400 });
    }
}

#[tokio::test]
async fn canned_answers_come_instead_and_nothing_is_processed() {
    let app = App::start();
    let token = app.tokens().await.member("refresh_token");
    let given = async |answer: CannedAnswer| {
        let fault = app.server.fault(Endpoint::Token).next(1).answer(answer).unwrap();
        let answer = app.refresh(&token, &[]).await;
        assert_eq!(fault.fired(), 1);
        answer
    };
    let busy = given(CannedAnswer::status(429).retry_after(Duration::from_secs(30))).await;
    assert_eq!(
        (busy.status, busy.header("retry-after"), busy.text.as_str()),
        (429, "30", "")
    );
    assert_eq!(START % 1000, 0);
    let down = given(CannedAnswer::status(503).retry_after_date(Duration::from_secs(90))).await;
    assert_eq!(
        (down.status, down.header("retry-after")),
        (503, "Sun, 01 Mar 2026 12:01:30 GMT")
    );
    let blocked = given(
        CannedAnswer::status(403)
            .body("text/html", "<h1>Blocked</h1>")
            .header("x-firewall", "yes"),
    )
    .await;
    assert_eq!((blocked.status, blocked.text.as_str()), (403, "<h1>Blocked</h1>"));
    assert_eq!(
        (blocked.header("content-type"), blocked.header("x-firewall")),
        ("text/html", "yes")
    );
    let portal = given(CannedAnswer::captive_portal()).await;
    assert_eq!(portal.status, 200);
    assert!(portal.header("content-type").starts_with("text/html") && portal.text.contains("<form"));
    let garbage = given(CannedAnswer::garbage()).await;
    assert_eq!(
        (garbage.status, garbage.header("content-type")),
        (200, "application/json")
    );
    assert!(serde_json::from_str::<serde_json::Value>(&garbage.text).is_err());
    let moved = given(CannedAnswer::redirect(307, "https://evil.example/token")).await;
    assert_eq!(
        (moved.status, moved.header("location")),
        (307, "https://evil.example/token")
    );
    given(CannedAnswer::oauth_error(403, "invalid_grant"))
        .await
        .assert_error(403, "invalid_grant");
    let late = app
        .server
        .fault(Endpoint::Token)
        .next(1)
        .answer_after_processing(CannedAnswer::status(502))
        .unwrap();
    assert_eq!(app.refresh(&token, &[]).await.status, 502);
    assert_eq!(late.fired(), 1);
    app.refresh(&token, &[]).await.assert_error(400, "invalid_grant");
}

#[tokio::test]
async fn true_answers_can_be_spoilt() {
    let app = App::start();
    let jwks = || app.server.fault(Endpoint::JwkSet).next(1);
    let whole = app.get("/jwks").await.text;

    let cut = jwks().truncate_body().unwrap();
    let broken = app.try_send("GET", "/jwks", &[], "").await.err().unwrap();
    assert_eq!(broken, Broken::MidBody(200, whole.len() / 2));
    assert_eq!(cut.fired(), 1);

    jwks().content_type("text/plain").unwrap();
    let plain = app.get("/jwks").await;
    assert_eq!(
        (plain.header("content-type"), plain.text.as_str()),
        ("text/plain", whole.as_str())
    );

    let doubled = jwks().duplicate_member("keys").unwrap();
    let twice = app.get("/jwks").await;
    assert_eq!(twice.text.matches("\"keys\":").count(), 2);
    assert_eq!(twice.json()["keys"], plain.json()["keys"], "it still is JSON");
    assert_eq!(doubled.fired(), 1);
    let absent = jwks().duplicate_member("access_token").unwrap();
    assert_eq!(app.get("/jwks").await.text, whole);
    assert_eq!(absent.fired(), 0, "there was nothing to name twice");

    jwks().header("set-cookie", "a=b").unwrap();
    jwks().header("cache-control", "no-store").unwrap();
    let more = app.get("/jwks").await;
    assert_eq!(more.header("set-cookie"), "a=b");
    assert_eq!(more.headers.get_all("cache-control").iter().count(), 2);
}

#[tokio::test]
async fn an_oversized_body_is_sent_without_a_length() {
    let app = App::start();
    let jwks = || app.server.fault(Endpoint::JwkSet).next(1);
    jwks().answer(CannedAnswer::oversized(1_000_000)).unwrap();
    let large = app.get("/jwks").await;
    assert_eq!(
        (large.text.len(), large.header("content-length")),
        (1_000_000, "")
    );
    assert!(large.json().is_string());
    jwks().answer(CannedAnswer::oversized(u64::MAX)).unwrap();
    let endless = app.try_send("GET", "/jwks", &[], "").await;
    assert_eq!(endless.err(), Some(Broken::TooLong));
    assert_eq!(app.get("/jwks").await.status, 200, "the server is not kept busy");
}

#[tokio::test]
async fn plans_take_effect_in_the_order_they_were_made() {
    let app = Arc::new(App::start());
    let jwks = || app.server.fault(Endpoint::JwkSet).next(1);
    let gate = jwks().hold().unwrap();
    let down = jwks().answer(CannedAnswer::status(500)).unwrap();
    let never = jwks().drop_before_processing().unwrap();
    let not_processed = jwks().drop_after_processing().unwrap();
    let marked = jwks().header("x-marked", "yes").unwrap();
    let held = {
        let app = Arc::clone(&app);
        tokio::spawn(async move { app.get("/jwks").await })
    };
    gate.arrived(1).await;
    assert_eq!(down.fired(), 0);
    gate.release();
    let answer = held.await.unwrap();
    assert_eq!((answer.status, answer.header("x-marked")), (500, "yes"));
    let fired = [&down, &never, &not_processed, &marked].map(PlannedFault::fired);
    assert_eq!(fired, [1, 0, 0, 1]);
}

#[tokio::test]
async fn every_endpoint_can_fail() {
    let app = App::start_with(|builder| builder.par(Par::Offered));
    let by_path = [
        (Endpoint::Metadata, "GET", "/.well-known/openid-configuration"),
        (
            Endpoint::Metadata,
            "GET",
            "/.well-known/oauth-authorization-server",
        ),
        (Endpoint::JwkSet, "GET", "/jwks"),
        (Endpoint::PushedAuthorization, "POST", "/par"),
        (Endpoint::Authorization, "GET", "/authorize"),
        (Endpoint::SignInPage, "POST", "/sign-in"),
        (Endpoint::Token, "POST", "/token"),
        (Endpoint::Userinfo, "GET", "/userinfo"),
        (Endpoint::Api, "GET", "/api/me"),
        (Endpoint::Api, "POST", "/api/other"),
        (Endpoint::Revocation, "POST", "/revoke"),
        (Endpoint::EndSession, "GET", "/end_session"),
        (Endpoint::EndSession, "POST", "/end_session/confirm"),
    ];
    for (endpoint, method, path) in by_path {
        let fault = app
            .server
            .fault(endpoint)
            .next(1)
            .answer(CannedAnswer::status(599))
            .unwrap();
        for (other, _, elsewhere) in by_path {
            if other != endpoint {
                app.get(elsewhere).await;
            }
        }
        assert_eq!(fault.fired(), 0, "{endpoint:?}");
        assert_eq!(app.send(method, path, &[], "").await.status, 599, "{path}");
    }
}

#[test]
fn what_could_never_fire_cannot_be_planned() {
    let server = TestServer::start().unwrap();
    let token = || server.fault(Endpoint::Token);
    let refused = [
        token().nth(0).drop_before_processing().err(),
        token().next(0).hold().err(),
        token().every().delay(Duration::ZERO).err(),
        token().every().delay_answer(Duration::from_micros(1)).err(),
        token().every().answer(CannedAnswer::status(99)).err(),
        token().every().answer(CannedAnswer::status(101)).err(),
        token().every().answer(CannedAnswer::redirect(200, "/a")).err(),
        token()
            .every()
            .answer(CannedAnswer::status(200).header("a b", "c"))
            .err(),
        token().every().header("x", "a\r\nb: c").err(),
        token().every().header("content-length", "1").err(),
        token().every().content_type("\n").err(),
        server
            .fault(Endpoint::PushedAuthorization)
            .every()
            .truncate_body()
            .err(),
    ];
    let bad_header = |name: &str| Some(FaultError::BadHeader(name.to_owned()));
    assert_eq!(
        refused,
        [
            Some(FaultError::NeverFires),
            Some(FaultError::NeverFires),
            Some(FaultError::ChangesNothing),
            Some(FaultError::ChangesNothing),
            Some(FaultError::BadStatus(99)),
            Some(FaultError::BadStatus(101)),
            Some(FaultError::BadStatus(200)),
            bad_header("a b"),
            bad_header("x"),
            bad_header("content-length"),
            bad_header("content-type"),
            Some(FaultError::NoSuchEndpoint(Endpoint::PushedAuthorization)),
        ]
    );
}

#[tokio::test]
async fn a_predicate_that_panics_costs_its_request_only() {
    let app = App::start();
    app.server
        .fault(Endpoint::JwkSet)
        .matching(|request| {
            request.query_value("panic").map(str::len).unwrap_or(1) == 1 || panic!("asked to")
        })
        .nth(9)
        .drop_before_processing()
        .unwrap();
    let lost = app.try_send("GET", "/jwks?panic=yes", &[], "").await;
    assert_eq!(lost.err(), Some(Broken::NoAnswer));
    assert_eq!(app.get("/jwks").await.status, 200);
}
