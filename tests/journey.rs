//! The whole journey through the public API, against the strict test server over real HTTP: sign in, call, refresh,
//! sign out, and what can go wrong on the way.
#![cfg(all(feature = "http", feature = "loopback", feature = "test-server"))]

mod support;

use std::time::Duration;

use gatepass::test_server::{Endpoint, Rotation, TestServer};
use gatepass::{
    AllowHttpOnLoopback, Client, EndReason, ErrorKind, NextStep, Revocation, SecureStorage as _,
    SessionState, SignInOptions, SignInProgress, SignOut, Stage,
};
use support::{TestBed, paths, state_in, token_requests};

#[tokio::test]
async fn one_sign_in_from_the_first_url_to_the_revocation() {
    let bed = TestBed::new();
    let client = bed.client();
    assert_eq!(client.state().get(), SessionState::Loading);
    assert!(client.session().await.unwrap().is_none());
    assert_eq!(client.state().get(), SessionState::SignedOut);

    let session = bed.sign_in(&client).await.unwrap();
    assert_eq!(client.state().get(), SessionState::SignedIn);
    assert_eq!(session.issuer(), bed.server.issuer());
    assert_eq!(
        session.claims().unwrap().subject(),
        bed.server.users()[0].subject()
    );
    assert!(session.scope().contains(&"openid".to_owned()));
    assert!(session.expires_in().unwrap() > Duration::from_secs(60));
    assert!(session.can_refresh().await.unwrap());

    let userinfo = session.userinfo().await.unwrap();
    assert_eq!(userinfo.get("email").unwrap(), bed.server.users()[0].email());
    let me = session.http().get(bed.server.api_url()).send().await.unwrap();
    assert_eq!(me.status(), 200);

    let before = session.peek().unwrap();
    session.refresh().await.unwrap();
    let after = session.peek().unwrap();
    assert_ne!(before.expose(), after.expose());
    let me = session.http().get(bed.server.api_url()).send().await.unwrap();
    assert_eq!(me.status(), 200);

    let out = session.sign_out(SignOut::Revoke).await.unwrap();
    assert!(matches!(out.revocation, Revocation::Done), "{out:?}");
    assert_eq!(client.state().get(), SessionState::SignedOut);
    assert!(session.peek().is_none());
    let error = session.access_token().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SignedOut));
    assert!(client.session().await.unwrap().is_none());
}

#[tokio::test]
async fn the_requests_on_the_wire_are_those_of_the_standards() {
    let bed = TestBed::new();
    let client = bed.client();
    let session = bed.sign_in(&client).await.unwrap();
    session.refresh().await.unwrap();
    session.sign_out(SignOut::Revoke).await.unwrap();

    let requests = bed.server.requests();
    let authorize = requests.iter().find(|r| r.path() == "/authorize").unwrap();
    // OA-15, PK-04, PK-06, OC-11
    assert_eq!(authorize.query_value("response_type"), Some("code"));
    assert_eq!(authorize.query_value("code_challenge_method"), Some("S256"));
    assert_eq!(authorize.query_value("prompt"), Some("consent"));
    assert!(authorize.query_value("state").unwrap().len() >= 43);
    assert!(authorize.query_value("nonce").unwrap().len() >= 43);
    let redirect = authorize.query_value("redirect_uri").unwrap();
    assert!(
        redirect.starts_with("http://127.0.0.1:"),
        "NA-10, NA-11: {redirect}"
    );

    let tokens = token_requests(&bed.server);
    // OA-12, OA-22, PK-08: client id, identical redirect URI, verifier.
    assert_eq!(tokens[0].form_value("grant_type"), Some("authorization_code"));
    assert_eq!(tokens[0].form_value("client_id"), Some(bed.server.client_id()));
    assert_eq!(tokens[0].form_value("redirect_uri"), Some(redirect));
    assert_eq!(tokens[0].form_value("code_verifier").unwrap().len(), 43);
    assert_eq!(tokens[1].form_value("grant_type"), Some("refresh_token"));
    for request in &tokens {
        // OA-01, OA-03, OA-11
        assert_eq!(request.method(), "POST");
        assert!(request.header("authorization").is_none());
        assert!(request.query().is_empty());
    }
    // RV-02, RV-03: the refresh token that is revoked is the newest one.
    let revoke = requests.iter().find(|r| r.path() == "/revoke").unwrap();
    assert_eq!(revoke.form_value("token_type_hint"), Some("refresh_token"));
    assert_ne!(revoke.form_value("token"), tokens[1].form_value("refresh_token"));
}

#[tokio::test]
async fn pk_01_every_sign_in_has_values_of_its_own() {
    let bed = TestBed::new();
    let client = bed.client();
    bed.sign_in(&client).await.unwrap();
    bed.sign_in(&client).await.unwrap();
    let requests = bed.server.requests();
    let first_and_second: Vec<_> = requests
        .iter()
        .filter(|r| r.path() == "/authorize" && r.method() == "GET")
        .collect();
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(
            first_and_second[0].query_value(name),
            first_and_second[1].query_value(name),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_second_sign_in_asks_the_server_for_nothing_before_the_browser() {
    let bed = TestBed::new();
    let client = bed.client();
    bed.sign_in(&client).await.unwrap();
    let before = bed.server.requests().len();
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    assert_eq!(paths(&bed.server)[before..], [] as [&str; 0]);
    pending.cancel();
    assert_eq!(pending.wait().await.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_stored_session_is_found_by_the_next_start_without_a_request() {
    let bed = TestBed::new();
    let session = bed.sign_in(&bed.client()).await.unwrap();
    let token = session.access_token().await.unwrap();
    let requests = bed.server.requests().len();

    let restarted = bed.client();
    let session = restarted.session().await.unwrap().expect("the session is stored");
    assert_eq!(session.peek().unwrap().expose(), token.expose());
    assert_eq!(
        session.claims().unwrap().subject(),
        bed.server.users()[0].subject()
    );
    assert_eq!(bed.server.requests().len(), requests);
}

#[tokio::test]
async fn a_redirect_into_another_process_completes_there_with_one_request() {
    let bed = TestBed::new();
    let first = bed.client_with(|b| b.redirect("com.example.app:/callback"));
    let pending = first.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    // The key set is fetched while the user is busy; wait for that, so that it does not count below.
    bed.keys_are_stored().await;
    let before = bed.server.requests().len();

    let second = bed.client_with(|b| b.redirect("com.example.app:/callback"));
    let session = second.resume_sign_in(&redirect).await.unwrap();
    assert_eq!(
        session.claims().unwrap().subject(),
        bed.server.users()[0].subject()
    );
    assert_eq!(paths(&bed.server)[before..], ["/token"]);

    // BI-13, BI-27: a second delivery finds nothing to do, anywhere.
    for client in [&first, &second] {
        let error = client.resume_sign_in(&redirect).await.unwrap_err();
        assert_eq!(
            (error.code(), error.stage()),
            ("no_pending_sign_in", Stage::Callback)
        );
    }
    assert_eq!(token_requests(&bed.server).len(), 1);
}

#[tokio::test]
async fn bi_27_the_same_redirect_twice_at_once_is_exchanged_once() {
    let bed = TestBed::new();
    let client = bed.client_with(|b| b.redirect("com.example.app:/callback"));
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    let (one, two) = tokio::join!(client.resume_sign_in(&redirect), client.resume_sign_in(&redirect));
    assert_eq!([&one, &two].iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let error = one.err().or(two.err()).unwrap();
    assert!(
        matches!(error.kind(), ErrorKind::AlreadyHandled | ErrorKind::Protocol),
        "{error:?}"
    );
    assert_eq!(token_requests(&bed.server).len(), 1);
    pending
        .wait()
        .await
        .expect("whoever waits for the sign-in gets the session");
}

#[tokio::test]
async fn bi_03_11_12_28_a_foreign_callback_leaves_the_sign_in_alone() {
    let bed = TestBed::new();
    let client = bed.client_with(|b| b.redirect("com.example.app:/callback"));
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    let state = state_in(&redirect);
    for (forged, code) in [
        (
            "com.example.app:/callback?code=evil&state=evil".to_owned(),
            "no_pending_sign_in",
        ),
        ("com.example.app:/callback?code=evil".to_owned(), "state_missing"),
        (
            "com.example.app:/callback?error=access_denied&state=evil".to_owned(),
            "no_pending_sign_in",
        ),
        (
            format!("com.example.evil:/callback?code=evil&state={state}"),
            "redirect_mismatch",
        ),
        (
            format!("com.example.app:/callbackx?error=access_denied&state={state}"),
            "redirect_mismatch",
        ),
        (
            format!("com.example.app:/callback?code=a&code=b&state={state}"),
            "callback_duplicate",
        ),
    ] {
        let error = client.resume_sign_in(&forged).await.unwrap_err();
        assert_eq!((error.code(), error.stage()), (code, Stage::Callback), "{forged}");
        assert!(error.clause().is_some());
    }
    assert_eq!(token_requests(&bed.server).len(), 0);
    assert_eq!(pending.progress().get(), SignInProgress::WaitingForRedirect);
    client
        .resume_sign_in(&redirect)
        .await
        .expect("the real redirect still completes");
}

#[tokio::test]
async fn bi_16_is_02_a_callback_of_another_issuer_ends_the_sign_in_without_a_request() {
    let bed = TestBed::new();
    let client = bed.client_with(|b| b.redirect("com.example.app:/callback"));
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    let mixed_up = redirect.split("&iss=").next().unwrap().to_owned() + "&iss=https%3A%2F%2Fevil.example";
    assert_eq!(
        client.resume_sign_in(&mixed_up).await.unwrap_err().code(),
        "iss_mismatch"
    );
    let error = pending.wait().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.next_step()),
        (ErrorKind::Protocol, NextStep::SignInAgain)
    );
    assert_eq!(error.diagnostic_id(), Some(pending.diagnostic_id()));
    assert_eq!(
        client.resume_sign_in(&redirect).await.unwrap_err().code(),
        "no_pending_sign_in"
    );
    assert_eq!(token_requests(&bed.server).len(), 0);
}

#[tokio::test]
async fn the_user_who_declines_is_not_an_error_of_the_server() {
    let bed = TestBed::new();
    let client = bed.client();
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let browser = bed.server.browser();
    let redirect = browser.deny(pending.authorization_url()).await.unwrap();
    assert_eq!(browser.deliver(&redirect).await.unwrap(), 200);
    let error = pending.wait().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.next_step()),
        (ErrorKind::Cancelled, NextStep::None)
    );
    assert_eq!(error.server().unwrap().error.as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn every_sign_in_ends_exactly_once_by_deadline_cancel_or_a_newer_one() {
    let bed = TestBed::new();
    let client = bed.client();
    let first = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let second = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    assert_eq!(first.wait().await.unwrap_err().kind(), ErrorKind::Superseded);
    second.cancel();
    second.cancel();
    assert_eq!(second.wait().await.unwrap_err().kind(), ErrorKind::Cancelled);
    let third = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(third.authorization_url()).await;
    // BI-14: fifteen minutes and no more.
    bed.clock.advance(Duration::from_secs(15 * 60));
    let error = third.wait().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.next_step()),
        (ErrorKind::FlowExpired, NextStep::SignInAgain)
    );
    client.drain().await;
    assert!(
        bed.server.browser().deliver(&redirect).await.is_err(),
        "NA-14: the listener is closed"
    );
    assert_eq!(
        client.resume_sign_in(&redirect).await.unwrap_err().code(),
        "no_pending_sign_in"
    );
}

#[tokio::test]
async fn dropping_the_caller_calls_the_sign_in_off() {
    let bed = TestBed::new();
    let agent = std::sync::Arc::new(support::IdleBrowser::default());
    let client = bed.client_with(|b| b.user_agent(agent.clone()));
    let caller = tokio::spawn({
        let client = client.clone();
        async move { client.sign_in(SignInOptions::default()).await }
    });
    let url = agent.opened().await;
    let redirect = bed.browser_sign_in(&url).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    client.drain().await;
    assert!(
        bed.server.browser().deliver(&redirect).await.is_err(),
        "the listener is closed"
    );
    assert_eq!(client.state().get(), SessionState::Loading, "no guess was made");
}

#[tokio::test]
async fn ten_thousand_callers_at_expiry_cause_one_request() {
    let bed = TestBed::new();
    let session = bed.sign_in(&bed.client()).await.unwrap();
    bed.clock.advance(Duration::from_secs(3600));
    assert!(session.peek().is_none());
    let before = token_requests(&bed.server).len();
    let callers: Vec<_> = (0..10_000)
        .map(|_| {
            let session = session.clone();
            tokio::spawn(async move {
                session
                    .access_token()
                    .await
                    .map(|token| token.expose().to_owned())
            })
        })
        .collect();
    let mut tokens = std::collections::HashSet::new();
    for caller in callers {
        tokens.insert(caller.await.unwrap().unwrap());
    }
    assert_eq!(tokens.len(), 1);
    assert_eq!(token_requests(&bed.server).len() - before, 1, "RR-01");
}

#[tokio::test]
async fn rr_06_a_refresh_outlives_the_caller_that_began_it() {
    let bed = TestBed::new();
    let client = bed.client();
    let session = bed.sign_in(&client).await.unwrap();
    bed.clock.advance(Duration::from_secs(3600));
    let caller = tokio::spawn({
        let session = session.clone();
        async move { session.access_token().await }
    });
    // One poll of the caller, then it is gone.
    tokio::task::yield_now().await;
    caller.abort();
    client.drain().await;
    let refreshes = token_requests(&bed.server).len() - 1;
    if refreshes == 1 {
        assert!(session.peek().is_some(), "what was refreshed is published");
    }
    session.access_token().await.expect("the session lives on");
    assert!(token_requests(&bed.server).len() - 1 <= 2);
}

#[tokio::test]
async fn rr_03_two_clients_over_one_storage_share_one_refresh() {
    let bed = TestBed::new();
    let here = bed.sign_in(&bed.client()).await.unwrap();
    let there = bed.client().session().await.unwrap().unwrap();
    for round in 0..5 {
        bed.clock.advance(Duration::from_secs(3600));
        let (one, two) = tokio::join!(here.access_token(), there.access_token());
        let (one, two) = (one.unwrap(), two.unwrap());
        assert_eq!(one.expose(), two.expose(), "round {round}");
    }
    assert_eq!(token_requests(&bed.server).len(), 1 + 5, "one refresh a round");
}

#[tokio::test]
async fn rr_18_a_revoked_grant_ends_the_session_and_says_why() {
    let bed = TestBed::new();
    let client = bed.client();
    let session = bed.sign_in(&client).await.unwrap();
    bed.server.revoke_everything();
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::ExpiredOrRevoked));
    assert!(error.requires_sign_in());
    assert_eq!(
        client.state().get(),
        SessionState::Ended(EndReason::ExpiredOrRevoked)
    );
    assert!(session.peek().is_none());
    let before = bed.server.requests().len();
    assert!(session.access_token().await.is_err());
    assert_eq!(
        bed.server.requests().len(),
        before,
        "a session that is over asks no server"
    );
    assert!(bed.client().session().await.unwrap().is_none());
}

#[tokio::test]
async fn a_server_that_does_not_rotate_keeps_its_refresh_token() {
    let bed = TestBed::with(|b| b.rotation(Rotation::Off));
    let session = bed.sign_in(&bed.client()).await.unwrap();
    session.refresh().await.unwrap();
    session.refresh().await.unwrap();
    let tokens = token_requests(&bed.server);
    assert_eq!(
        tokens[1].form_value("refresh_token"),
        tokens[2].form_value("refresh_token"),
        "OA-32"
    );
}

#[tokio::test]
async fn rr_27_parallel_answers_of_401_cause_one_refresh() {
    let bed = TestBed::new();
    let session = bed.sign_in(&bed.client()).await.unwrap();
    bed.server.revoke_access_tokens();
    let calls = (0..20).map(|_| {
        let session = session.clone();
        let url = bed.server.api_url();
        tokio::spawn(async move { session.http().get(url).send().await.unwrap().status() })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(token_requests(&bed.server).len(), 2);
}

#[tokio::test]
async fn bc_19_the_token_goes_to_listed_origins_only() {
    let bed = TestBed::new();
    let other = TestServer::start().unwrap();
    let session = bed.sign_in(&bed.client()).await.unwrap();
    let answer = session.http().get(other.api_url()).send().await.unwrap();
    assert_eq!(answer.status(), 401);
    assert!(
        other
            .requests()
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
    let error = session
        .http()
        .get(bed.server.api_url())
        .header("Authorization", "Basic eA==")
        .send()
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.code()),
        (ErrorKind::Configuration, "authorization_header_set")
    );
}

#[tokio::test]
async fn oc_38_a_sign_in_survives_a_key_roll_over_meanwhile() {
    let bed = TestBed::new();
    let client = bed.client_with(|b| b.redirect("com.example.app:/callback"));
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    support::until(|| paths(&bed.server).contains(&"/jwks".to_owned())).await;
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    bed.server.rotate_keys();
    bed.clock.advance(Duration::from_secs(61));
    // The code has expired by then on a strict server, so the user takes another.
    drop(redirect);
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    client
        .resume_sign_in(&redirect)
        .await
        .expect("the keys are fetched again for the unknown kid");
    assert_eq!(
        paths(&bed.server).iter().filter(|path| *path == "/jwks").count(),
        2
    );
}

#[tokio::test]
async fn rr_23_signing_out_during_a_refresh_stays_signed_out() {
    let bed = TestBed::new();
    for _ in 0..20 {
        let client = bed.client();
        let session = bed.sign_in(&client).await.unwrap();
        bed.clock.advance(Duration::from_secs(3600));
        let (refreshed, out) = tokio::join!(session.refresh(), session.sign_out(SignOut::Local));
        out.unwrap();
        if let Err(error) = refreshed {
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::SessionEnded(EndReason::SignedOut) | ErrorKind::RateLimited
                ),
                "{error:?}"
            );
        }
        client.drain().await;
        assert!(session.peek().is_none());
        assert_eq!(client.state().get(), SessionState::SignedOut);
        assert!(bed.client().session().await.unwrap().is_none());
    }
}

#[tokio::test]
async fn signing_out_works_without_a_network_and_says_what_was_not_done() {
    let mut bed = TestBed::new();
    let client = bed.client();
    let session = bed.sign_in(&client).await.unwrap();
    bed.stop_server();
    let out = session.sign_out(SignOut::Revoke).await.unwrap();
    let Revocation::Queued(error) = out.revocation else {
        panic!("{out:?}")
    };
    assert!(matches!(error.kind(), ErrorKind::Network(_)), "{error:?}");
    assert_eq!(client.state().get(), SessionState::SignedOut);
}

#[tokio::test]
async fn rv_11_what_could_not_be_revoked_is_revoked_after_the_next_start() {
    let bed = TestBed::new();
    let session = bed.sign_in(&bed.client()).await.unwrap();
    let down = bed
        .server
        .fault(Endpoint::Revocation)
        .every()
        .drop_before_processing()
        .unwrap();
    let out = session.sign_out(SignOut::Revoke).await.unwrap();
    assert!(matches!(out.revocation, Revocation::Queued(_)), "{out:?}");
    let tried = paths(&bed.server)
        .iter()
        .filter(|path| *path == "/revoke")
        .count();
    down.lift();

    // Not at once, and once.
    let restarted = bed.client();
    assert!(restarted.session().await.unwrap().is_none());
    restarted.drain().await;
    bed.clock.advance(Duration::from_secs(60));
    for _ in 0..2 {
        let restarted = bed.client();
        assert!(restarted.session().await.unwrap().is_none());
        restarted.drain().await;
    }
    let revocations = paths(&bed.server)
        .iter()
        .filter(|path| *path == "/revoke")
        .count();
    assert_eq!(revocations, tried + 1);
    assert!(bed.storage.list("revoke.").unwrap().is_empty());
    // It was that token: the server takes it no more.
    assert!(!bed.everything_stored().contains("refresh_token\":\""));
}

#[tokio::test]
async fn rr_11_without_a_network_the_session_lives_on() {
    let mut bed = TestBed::new();
    let client = bed.client();
    let session = bed.sign_in(&client).await.unwrap();
    bed.stop_server();
    let still = session.access_token().await.unwrap();
    bed.clock.advance(Duration::from_secs(3600));
    let error = session.access_token().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(!error.to_string().contains(still.expose()));
    assert_eq!(client.state().get(), SessionState::SignedIn);
    assert!(bed.client().session().await.unwrap().is_some());
}

#[tokio::test]
async fn a_wrong_issuer_is_a_clear_error() {
    let bed = TestBed::new();
    let client = Client::builder(format!("{}/", bed.server.issuer()), "gatepass-test")
        .allow_http_on_loopback(AllowHttpOnLoopback)
        .build()
        .unwrap();
    let error = client.begin_sign_in(SignInOptions::default()).await.unwrap_err();
    assert_eq!(
        (error.stage(), error.code()),
        (Stage::Discovery, "issuer_mismatch")
    );
    assert!(error.to_string().contains(bed.server.issuer()), "{error}");
    assert!(error.diagnostic_id().is_some());
}

/// What is signed in stays signed in over a restart, and a record that the disk lost keeps nobody from signing in again.
#[cfg(feature = "encrypted-file")]
#[tokio::test]
async fn a_session_on_disk_outlives_its_process_and_a_lost_one_can_be_replaced() {
    use std::sync::Arc;

    use gatepass::{EncryptedFileStorage, FileKey};

    let bed = TestBed::new();
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path().join("sessions");
    // As the next start of the app makes it.
    let start = || {
        let storage = EncryptedFileStorage::open(&files, FileKey::BesideTheRecords).unwrap();
        bed.client_with(|builder| builder.storage(Arc::new(storage)))
    };
    let session = bed.sign_in(&start()).await.unwrap();
    let token = session.access_token().await.unwrap();
    let restored = start().session().await.unwrap().unwrap();
    assert_eq!(restored.access_token().await.unwrap().expose(), token.expose());
    assert_eq!(
        token_requests(&bed.server).len(),
        1,
        "nothing was asked for again"
    );

    let is_session = |path: &std::path::PathBuf| path.to_string_lossy().contains("gp.session.");
    let record = std::fs::read_dir(&files)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| is_session(path) && path.extension().is_some_and(|ending| ending == "record"))
        .unwrap();
    let mut bytes = std::fs::read(&record).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&record, bytes).unwrap();
    let client = start();
    let error = client.session().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.next_step()),
        (ErrorKind::StorageLost, NextStep::SignInAgain)
    );
    assert_eq!(client.state().get(), SessionState::Ended(EndReason::StorageLost));
    // A write that is refused is tried again by the test's clock, which stands: without a limit this would not end.
    let signing_in = tokio::time::timeout(Duration::from_secs(60), bed.sign_in(&client));
    signing_in.await.unwrap().unwrap();
    let again = start().session().await.unwrap().unwrap();
    assert_ne!(again.access_token().await.unwrap().expose(), token.expose());
}
