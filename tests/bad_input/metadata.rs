//! The server's metadata: a document that is wrong is not used, not kept, and not believed to be the last word.

use std::time::Duration;

use gatepass::test_server::{CannedAnswer, Endpoint, FaultPlan, Par, PlannedFault};
use gatepass::{Client, ErrorKind, NextStep, SignInOptions, Stage};
use serde_json::{Map, Value, json as value};

use crate::bed::{REDIRECT, SignedIn, json, log, member, told};
use crate::support::{paths, token_requests};

/// A start of the app at which nothing is known of the server.
async fn fresh_start(at: &SignedIn) -> Client {
    // Nothing of an earlier start is still being written.
    at.client.drain().await;
    at.bed.forget_keys();
    at.bed.client_with(|app| app.redirect(REDIRECT))
}

/// No sign-in begins with this metadata, whatever the user had before stays, and the next sign-in asks again.
async fn refused(
    at: &SignedIn,
    case: &str,
    spoil: impl Fn(FaultPlan) -> PlannedFault,
    (code, kind): (&str, ErrorKind),
) -> gatepass::Error {
    let before = at.stored();
    let app = fresh_start(at).await;
    let fault = spoil(at.bed.server.fault(Endpoint::Metadata).every());
    let error = app.begin_sign_in(SignInOptions::default()).await.unwrap_err();
    told(&error, code, kind, Stage::Discovery, case);
    assert!(fault.fired() > 0, "{case}");
    assert!(
        !at.bed.everything_stored().contains("\"metadata\":{"),
        "{case}: nothing is kept"
    );
    at.bed.server.lift_faults();
    let pending = app.begin_sign_in(SignInOptions::default()).await;
    pending
        .unwrap_or_else(|error| panic!("{case}: it is asked for again: {error:?}"))
        .cancel();
    app.drain().await;
    at.lives_with(&before, case).await;
    error
}

fn edited(
    edit: impl Fn(&mut Map<String, Value>) + Clone + Send + Sync + 'static,
) -> impl Fn(FaultPlan) -> PlannedFault {
    move |plan| plan.change_body(json(edit.clone())).unwrap()
}

fn set(name: &'static str, value: Value) -> impl Fn(FaultPlan) -> PlannedFault {
    edited(move |document| {
        document.insert(name.to_owned(), value.clone());
    })
}

fn canned(answer: CannedAnswer) -> impl Fn(FaultPlan) -> PlannedFault {
    move |plan| plan.answer(answer.clone()).unwrap()
}

#[tokio::test]
async fn bi_76_the_metadata_of_another_issuer() {
    let at = SignedIn::new().await;
    let issuer = at.bed.server.issuer().to_owned();
    for other in [
        format!("{issuer}/"),
        issuer.replace("http:", "HTTP:"),
        issuer.replace("http:", "https:"),
        issuer.replace("127.0.0.1", "localhost"),
        "https://someone-else.example.com".to_owned(),
        format!("{issuer}#"),
        format!("{issuer} "),
    ] {
        let error = refused(
            &at,
            &other,
            set("issuer", other.clone().into()),
            ("issuer_mismatch", ErrorKind::Protocol),
        )
        .await;
        assert_eq!(error.next_step(), NextStep::FixConfiguration, "{other}");
    }
}

#[tokio::test]
async fn bi_77_bi_82_endpoints_that_are_not_safe() {
    let at = SignedIn::new().await;
    let endpoints = [
        "authorization_endpoint",
        "token_endpoint",
        "jwks_uri",
        "userinfo_endpoint",
        "revocation_endpoint",
    ];
    for name in endpoints {
        for (url, code) in [
            // Loopback was allowed by name; nothing else was.
            ("http://as.example.com/x", "endpoint_insecure"),
            ("http://localhost/x", "endpoint_insecure"),
            ("http://10.0.0.1/x", "endpoint_insecure"),
            ("ftp://as.example.com/x", "endpoint_insecure"),
            ("https://as.example.com/x#y", "endpoint_fragment"),
            ("https://as.example.com/x#", "endpoint_fragment"),
            ("https://user@as.example.com/x", "endpoint_userinfo"),
            ("https://user:pw@as.example.com/x", "endpoint_userinfo"),
        ] {
            let error = refused(
                &at,
                &format!("{name} {url}"),
                set(name, url.into()),
                (code, ErrorKind::Protocol),
            )
            .await;
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[tokio::test]
async fn bi_78_bi_79_no_document_at_all() {
    let at = SignedIn::new().await;
    let asked = |from: usize| {
        paths(&at.bed.server)[from..]
            .iter()
            .filter(|path| path.contains("well-known"))
            .count()
    };
    let not_found = ("metadata_not_found", ErrorKind::Server);
    for (case, answer) in [
        ("HTML", CannedAnswer::captive_portal()),
        ("404", CannedAnswer::status(404)),
        (
            "redirect to another host",
            CannedAnswer::redirect(302, "https://evil.example/metadata"),
        ),
        (
            "redirect to http",
            CannedAnswer::redirect(301, "http://as.example.com/metadata"),
        ),
        (
            "loop",
            CannedAnswer::redirect(
                307,
                &format!("{}/.well-known/openid-configuration", at.bed.server.issuer()),
            ),
        ),
        ("not JSON", CannedAnswer::garbage()),
        ("array", CannedAnswer::status(200).body("application/json", "[]")),
    ] {
        let from = at.bed.server.requests().len();
        let error = refused(&at, case, canned(answer), not_found).await;
        assert!(error.clause().is_some(), "{case}");
        // Both places, and once more for the sign-in after it.
        assert_eq!(asked(from), 3, "{case}");
    }
    for (status, kind) in [
        (500, ErrorKind::Server),
        (503, ErrorKind::Server),
        (429, ErrorKind::RateLimited),
    ] {
        let error = refused(
            &at,
            &status.to_string(),
            canned(CannedAnswer::status(status)),
            ("metadata_unavailable", kind),
        )
        .await;
        assert!(error.is_retryable(), "{status}");
    }
    // The other place will do.
    let app = fresh_start(&at).await;
    at.bed
        .server
        .fault(Endpoint::Metadata)
        .nth(1)
        .answer(CannedAnswer::status(404))
        .unwrap();
    app.begin_sign_in(SignInOptions::default())
        .await
        .unwrap()
        .cancel();
}

#[tokio::test]
async fn bi_80_bi_81_members_of_the_wrong_type_or_missing() {
    let at = SignedIn::new().await;
    let missing = ("metadata_member_missing", ErrorKind::Protocol);
    for name in ["issuer", "authorization_endpoint", "token_endpoint"] {
        for bad in [
            value!(null),
            value!(7),
            value!(["https://as.example.com/x"]),
            value!({}),
        ] {
            let error = refused(&at, &format!("{name} {bad}"), set(name, bad), missing).await;
            assert!(error.to_string().contains(name), "{error}");
        }
        let without = move |plan: FaultPlan| plan.change_body(member(name, None)).unwrap();
        refused(&at, name, without, missing).await;
    }
    // A list that is none, or an endpoint that nobody needs, is as if it were not there.
    let app = fresh_start(&at).await;
    edited(|document| {
        for (name, bad) in [
            ("response_types_supported", value!("code")),
            ("code_challenge_methods_supported", value!({ "S256": true })),
            ("id_token_signing_alg_values_supported", value!([7])),
            ("scopes_supported", value!(null)),
            ("userinfo_endpoint", value!([])),
            ("revocation_endpoint", value!(7)),
            ("authorization_response_iss_parameter_supported", value!("true")),
        ] {
            document.insert(name.to_owned(), bad);
        }
    })(at.bed.server.fault(Endpoint::Metadata).every());
    let pending = app.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = at.bed.browser_sign_in(pending.authorization_url()).await;
    let session = app.resume_sign_in(&redirect).await.unwrap();
    // What is missing is told when it is needed.
    let error = session.userinfo().await.unwrap_err();
    told(
        &error,
        "userinfo_not_offered",
        ErrorKind::Configuration,
        Stage::Userinfo,
        "userinfo",
    );
}

#[tokio::test]
async fn bi_83_a_document_without_end() {
    let at = SignedIn::new().await;
    let document = ErrorKind::Protocol;
    let too_large = "body_too_large";
    let before = at.stored();
    let app = fresh_start(&at).await;
    at.bed
        .server
        .fault(Endpoint::Metadata)
        .every()
        .answer(CannedAnswer::oversized(100 << 20))
        .unwrap();
    let error = app.begin_sign_in(SignInOptions::default()).await.unwrap_err();
    assert_eq!(
        (error.code(), error.stage()),
        (too_large, Stage::Discovery),
        "{error:?}"
    );
    at.lives_with(&before, "100 MB").await;

    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let deep = CannedAnswer::status(200).body("application/json", deep);
    refused(&at, "depth", canned(deep), ("metadata_malformed", document)).await;
    for name in ["issuer", "token_endpoint", "jwks_uri"] {
        let twice = move |plan: FaultPlan| plan.duplicate_member(name).unwrap();
        refused(&at, name, twice, ("metadata_malformed", document)).await;
    }
}

#[tokio::test]
async fn bi_84_a_later_document_that_protects_less() {
    // What every sign-in must have is not given up, and what was taken back is told.
    let at = SignedIn::at(REDIRECT, |server| server.par(Par::Required)).await;
    let before = at.stored();
    let log = log();
    at.bed.keys_are_stored().await;
    at.bed.clock.advance(Duration::from_secs(24 * 3600 + 1));
    let plain = json(|document| {
        document.insert("code_challenge_methods_supported".into(), value!(["plain"]));
        document.remove("authorization_response_iss_parameter_supported");
        document.remove("require_pushed_authorization_requests");
    });
    at.bed
        .server
        .fault(Endpoint::Metadata)
        .every()
        .change_body(plain)
        .unwrap();
    let error = at
        .client
        .begin_sign_in(SignInOptions::default())
        .await
        .unwrap_err();
    told(
        &error,
        "s256_unsupported",
        ErrorKind::ProtectionUnavailable,
        Stage::Discovery,
        "plain",
    );
    let told_of = log.lock().unwrap().clone();
    for name in [
        "code_challenge_methods_supported",
        "authorization_response_iss_parameter_supported",
        "require_pushed_authorization_requests",
    ] {
        assert!(told_of.contains(name), "{name}: {told_of}");
    }
    at.lives_with(&before, "plain").await;

    // A sign-in under way keeps the document that it began with: its code goes to the server it asked.
    let at = SignedIn::new().await;
    let (_, redirect) = at.begin().await;
    let moved = json(|document| {
        document.insert("token_endpoint".into(), value!("https://evil.example/token"));
        document.insert(
            "authorization_response_iss_parameter_supported".into(),
            value!(false),
        );
    });
    at.bed
        .server
        .fault(Endpoint::Metadata)
        .every()
        .change_body(moved)
        .unwrap();
    let codes = token_requests(&at.bed.server).len();
    at.bed.forget_keys();
    let app = at.bed.client_with(|app| app.redirect(REDIRECT));
    // `iss` was promised, and stays required.
    let without = redirect.split("&iss=").next().unwrap();
    let error = app.resume_sign_in(without).await.unwrap_err();
    told(&error, "iss_missing", ErrorKind::Protocol, Stage::Callback, "iss");
    let (_, redirect) = at.begin().await;
    at.bed.forget_keys();
    let app = at.bed.client_with(|app| app.redirect(REDIRECT));
    app.resume_sign_in(&redirect).await.unwrap();
    assert_eq!(token_requests(&at.bed.server).len(), codes + 1);
}
