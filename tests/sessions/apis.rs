//! Several APIs under one refresh token, requests of other HTTP clients, and what APIs answer.

use gatepass::test_server::{CannedAnswer, Endpoint, Par, TestApi};
use gatepass::{Authorized, ErrorKind, Session, SignInOptions, Target};
use http::{Request, Response, StatusCode, header};

use crate::support::{TestBed, token_requests};

/// A server with a calendar API that wants tokens of its own, and a session that may have them.
async fn bed_with_calendar() -> (TestBed, String, Session) {
    let bed =
        TestBed::with(|server| server.api(TestApi::new("calendar").audience("https://calendar.example/")));
    let url = bed.server.url_of_api("calendar");
    let client = bed.client();
    let options = SignInOptions::default().resource("https://calendar.example/");
    let pending = client.begin_sign_in(options).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    bed.server.browser().deliver(&redirect).await.unwrap();
    let session = pending.wait().await.unwrap();
    (bed, url, session)
}

fn calendar() -> Target {
    Target::resource("https://calendar.example/").unwrap()
}

#[tokio::test]
async fn rr_28_ri_03_ri_05_each_api_has_a_token_of_its_own_under_one_refresh_token() {
    let (bed, _, session) = bed_with_calendar().await;
    let own = session.access_token().await.unwrap();
    let theirs = session.access_token_for(&calendar()).await.unwrap();
    assert_ne!(own.expose(), theirs.expose());
    let refresh = token_requests(&bed.server).pop().unwrap();
    assert_eq!(refresh.form_value("resource"), Some("https://calendar.example/"));

    // Both are kept: nothing more is asked, here or after a restart.
    let asked = token_requests(&bed.server).len();
    assert_eq!(session.access_token().await.unwrap().expose(), own.expose());
    assert_eq!(session.peek_for(&calendar()).unwrap().expose(), theirs.expose());
    let restarted = bed.client().session().await.unwrap().unwrap();
    assert_eq!(
        restarted.access_token_for(&calendar()).await.unwrap().expose(),
        theirs.expose()
    );
    assert_eq!(token_requests(&bed.server).len(), asked);
}

#[tokio::test]
async fn rr_28_tokens_for_many_apis_at_once_are_asked_for_one_after_the_other() {
    let (bed, _, session) = bed_with_calendar().await;
    let narrow = Target::scope(["openid", "profile"]).unwrap();
    // The server rotates strictly: two requests with one refresh token would end the session.
    let (calendar_target, again) = (calendar(), calendar());
    let (a, b, c, d) = tokio::join!(
        session.access_token_for(&calendar_target),
        session.access_token_for(&narrow),
        session.refresh(),
        session.access_token_for(&again),
    );
    for outcome in [a.map(drop), b.map(drop), c, d.map(drop)] {
        outcome.unwrap();
    }
    assert_eq!(
        token_requests(&bed.server).len(),
        1 + 3,
        "two for the calendar are one"
    );
    session.refresh().await.unwrap();
}

#[tokio::test]
async fn oa_30_a_scope_that_was_not_granted_is_refused_before_anything_is_sent() {
    let (bed, _, session) = bed_with_calendar().await;
    let asked = token_requests(&bed.server).len();
    let wider = Target::scope(["admin"]).unwrap();
    let error = session.access_token_for(&wider).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Configuration, "scope_not_granted")
    );
    assert_eq!(token_requests(&bed.server).len(), asked);
}

#[tokio::test]
async fn oa_33_a_narrow_token_does_not_narrow_the_grant() {
    let (_bed, _, session) = bed_with_calendar().await;
    let narrow = Target::scope(["openid"]).unwrap();
    session.access_token_for(&narrow).await.unwrap();
    session.refresh().await.unwrap();
    session
        .access_token_for(&Target::scope(["profile"]).unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn ri_04_an_api_that_the_server_does_not_know_leaves_the_session_alone() {
    let (_bed, _, session) = bed_with_calendar().await;
    let unknown = Target::resource("https://unknown.example/").unwrap();
    let error = session.access_token_for(&unknown).await.unwrap_err();
    assert_eq!(
        error.server().unwrap().error.as_deref(),
        Some("invalid_target"),
        "{error:?}"
    );
    session.refresh().await.unwrap();
}

#[tokio::test]
async fn the_http_client_sends_each_api_its_token() {
    let bed =
        TestBed::with(|server| server.api(TestApi::new("calendar").audience("https://calendar.example/")));
    let origin = bed.server.issuer().to_owned();
    // One origin, so this client talks to the calendar alone.
    let client = bed.client_without_api(|builder| builder.api_with_target(&origin, calendar()));
    let options = SignInOptions::default().resource("https://calendar.example/");
    let pending = client.begin_sign_in(options).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    bed.server.browser().deliver(&redirect).await.unwrap();
    let session = pending.wait().await.unwrap();
    let answer = session
        .http()
        .get(bed.server.url_of_api("calendar"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text());
}

#[tokio::test]
async fn authorize_attaches_to_listed_origins_only() {
    let bed = TestBed::new();
    let session = bed.sign_in(&bed.client()).await.unwrap();
    let mut ours = Request::get(bed.server.api_url()).body(()).unwrap();
    assert_eq!(session.authorize(&mut ours).await.unwrap(), Authorized::Attached);
    let value = ours.headers()[header::AUTHORIZATION].clone();
    assert!(value.is_sensitive() && value.to_str().unwrap().starts_with("Bearer "));

    let mut foreign = Request::get("https://elsewhere.example/").body(()).unwrap();
    assert_eq!(
        session.authorize(&mut foreign).await.unwrap(),
        Authorized::OtherOrigin
    );
    assert!(foreign.headers().is_empty());
    let mut relative = Request::get("/me").body(()).unwrap();
    assert_eq!(
        session.authorize(&mut relative).await.unwrap_err().code(),
        "url_malformed"
    );
}

#[tokio::test]
async fn rr_27_many_requests_refused_at_once_cost_one_refresh() {
    let bed = TestBed::new();
    let session = bed.sign_in(&bed.client()).await.unwrap();
    let refused = Response::builder()
        .status(StatusCode::UNAUTHORIZED)
        .body(())
        .unwrap();
    let mut requests = Vec::new();
    for _ in 0..20 {
        let mut request = Request::get(bed.server.api_url()).body(()).unwrap();
        let _ = session.authorize(&mut request).await.unwrap();
        requests.push(request);
    }
    let before = requests[0].headers()[header::AUTHORIZATION].clone();
    let tasks: Vec<_> = requests
        .into_iter()
        .map(|mut request| {
            let (session, refused) = (session.clone(), refused.clone());
            tokio::spawn(async move {
                assert!(session.reauthorize(&mut request, &refused).await.unwrap());
                request
            })
        })
        .collect();
    for task in tasks {
        assert_ne!(task.await.unwrap().headers()[header::AUTHORIZATION], before);
    }
    assert_eq!(
        token_requests(&bed.server).len(),
        2,
        "the exchange and one refresh"
    );
}

#[tokio::test]
async fn bt_08_bt_10_what_a_new_token_does_not_help_is_not_met_with_one() {
    let bed = TestBed::new();
    let session = bed.sign_in(&bed.client()).await.unwrap();
    let mut without = Request::get(bed.server.api_url()).body(()).unwrap();
    let refused = Response::builder().status(401).body(()).unwrap();
    assert!(
        !session.reauthorize(&mut without, &refused).await.unwrap(),
        "no token was seen"
    );

    let mut request = Request::get(bed.server.api_url()).body(()).unwrap();
    let _ = session.authorize(&mut request).await.unwrap();
    let scope = Response::builder()
        .status(403)
        .header(
            "www-authenticate",
            "Bearer error=\"insufficient_scope\", scope=\"write\"",
        )
        .body(())
        .unwrap();
    assert!(!session.reauthorize(&mut request, &scope).await.unwrap());

    let challenge = "Bearer error=\"insufficient_scope\", scope=\"admin write\"";
    let canned = CannedAnswer::status(403).header("www-authenticate", challenge);
    bed.server.fault(Endpoint::Api).nth(1).answer(canned).unwrap();
    let answer = session.http().get(bed.server.api_url()).send().await.unwrap();
    assert_eq!(answer.challenges()[0].scope(), ["admin", "write"]);
    let error = answer.error_for_status().unwrap_err();
    assert_eq!(error.code(), "insufficient_scope");
    assert!(error.to_string().contains("admin write"), "{error}");
    assert_eq!(token_requests(&bed.server).len(), 1);
}

#[tokio::test]
async fn bt_07_an_api_that_refuses_every_token_is_asked_twice_and_no_more() {
    let bed = TestBed::new();
    let session = bed.sign_in(&bed.client()).await.unwrap();
    let refuses = CannedAnswer::status(401).header("www-authenticate", "Bearer error=\"invalid_token\"");
    let fault = bed.server.fault(Endpoint::Api).every().answer(refuses).unwrap();
    let answer = session.http().get(bed.server.api_url()).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), fault.fired()), (401, 2));
    assert_eq!(token_requests(&bed.server).len(), 2);
}

#[tokio::test]
async fn bt_13_a_redirect_is_an_answer_and_the_token_does_not_follow_it() {
    let bed = TestBed::new();
    let session = bed.sign_in(&bed.client()).await.unwrap();
    let other = TestBed::new();
    let away = CannedAnswer::redirect(302, &other.server.api_url());
    bed.server.fault(Endpoint::Api).nth(1).answer(away).unwrap();
    let answer = session.http().get(bed.server.api_url()).send().await.unwrap();
    assert_eq!(answer.status(), 302);
    assert!(other.server.requests().is_empty());
}

#[tokio::test]
async fn pa_06_pa_08_a_server_that_takes_pushed_requests_gets_one_and_the_browser_a_name() {
    for par in [Par::Offered, Par::Required] {
        let bed = TestBed::with(|server| server.par(par));
        let client = bed.client();
        let pending = client
            .begin_sign_in(SignInOptions::default().login_hint("alice@example.com"))
            .await
            .unwrap();
        assert!(pending.authorization_url_lifetime().is_some());
        let url = url::Url::parse(pending.authorization_url()).unwrap();
        let mut names: Vec<_> = url.query_pairs().map(|(name, _)| name.into_owned()).collect();
        names.sort();
        assert_eq!(names, ["client_id", "request_uri"]);
        let redirect = bed.browser_sign_in(pending.authorization_url()).await;
        bed.server.browser().deliver(&redirect).await.unwrap();
        pending.wait().await.unwrap();
    }
}

#[tokio::test]
async fn bi_90_a_push_that_fails_opens_no_browser_and_falls_back_to_nothing() {
    let bed = TestBed::with(|server| server.par(Par::Offered));
    for answer in [
        CannedAnswer::status(500),
        CannedAnswer::oauth_error(400, "invalid_request"),
        CannedAnswer::captive_portal(),
        CannedAnswer::status(201).body("application/json", r#"{"request_uri":"urn:x","expires_in":0}"#),
    ] {
        bed.server
            .fault(Endpoint::PushedAuthorization)
            .nth(1)
            .answer(answer)
            .unwrap();
        let error = bed
            .client()
            .begin_sign_in(SignInOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.stage(), gatepass::Stage::PushedAuthorization, "{error:?}");
        assert!(
            !bed.everything_stored().contains("verifier"),
            "nothing waits for a redirect"
        );
        bed.server.lift_faults();
    }
    // A lost answer costs nothing: the request is pushed again.
    let lost = bed
        .server
        .fault(Endpoint::PushedAuthorization)
        .nth(1)
        .drop_after_processing()
        .unwrap();
    bed.client()
        .begin_sign_in(SignInOptions::default())
        .await
        .unwrap();
    assert_eq!(lost.fired(), 1);
}
