//! The token endpoint: whatever it answers, a session lives on, with the newest refresh token that the server named.

use std::time::Duration;

use gatepass::test_server::{CannedAnswer, Endpoint, FaultPlan, PlannedFault};
use gatepass::{Delivery, ErrorKind, NextStep, Stage};

use crate::bed::{SignedIn, json, logged, member, told};
use crate::support::paths;

/// What a refresh leaves in storage.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The refresh token of before.
    Kept,
    /// The new one, which the server rotated to: the old one would end the session now.
    Replaced,
}

/// One bad answer, to the exchange of a code and to a refresh.
async fn refused(
    at: &SignedIn,
    case: &str,
    spoil: impl Fn(FaultPlan) -> PlannedFault,
    (code, kind): (&str, ErrorKind),
    then: Then,
) {
    let before = at.stored();
    let fault = spoil(at.bed.server.fault(Endpoint::Token).nth(1));
    let error = at.sign_in().await.unwrap_err();
    told(&error, code, kind, Stage::TokenExchange, case);
    assert!(
        error.clause().is_some() || !matches!(kind, ErrorKind::Protocol | ErrorKind::Server),
        "{case}"
    );
    assert_eq!(fault.fired(), 1, "{case}");
    if let ErrorKind::Network(Delivery::UnknownOutcome) = kind {
        assert_eq!(
            error.next_step(),
            NextStep::SignInAgain,
            "{case}: the code is spent"
        );
    }
    at.client.drain().await;
    at.lives_with(&before, case).await;

    let before = at.stored();
    let fault = spoil(at.refreshes_from_now().every());
    let session = at.client.session().await.unwrap().unwrap();
    let access = session.peek().unwrap();
    let error = session.refresh().await.unwrap_err();
    told(&error, code, kind, Stage::Refresh, case);
    // Where nobody knows the outcome the same token is sent again for a while.
    let sends = match kind {
        ErrorKind::Network(Delivery::UnknownOutcome) => 6,
        _ => 1,
    };
    assert_eq!(fault.fired(), sends, "{case}");
    assert_eq!(
        at.stored() == before,
        then == Then::Kept,
        "{case}: the refresh token in storage"
    );
    // Good for as long as it was said to be, and not replaced by what came.
    assert_eq!(session.peek().unwrap().expose(), access.expose(), "{case}");
    at.lives_with(&at.stored(), case).await;
}

fn canned(answer: CannedAnswer) -> impl Fn(FaultPlan) -> PlannedFault {
    move |plan| plan.answer(answer.clone()).unwrap()
}

fn json_body(body: impl Into<Vec<u8>>) -> CannedAnswer {
    CannedAnswer::status(200).body("application/json", body)
}

const GARBLED: (&str, ErrorKind) = (
    "token_response_garbled",
    ErrorKind::Network(Delivery::UnknownOutcome),
);
const TOO_LARGE: (&str, ErrorKind) = ("body_too_large", ErrorKind::Network(Delivery::UnknownOutcome));

#[tokio::test]
async fn bi_31_to_bi_35_a_lifetime_that_is_odd_is_put_up_with_and_told() {
    let at = SignedIn::new().await;
    let session = &at.session;
    for (value, seconds, warning) in [
        (Some(r#""3600""#), Some(3600), "expires_in is a string"),
        (Some("3600.5"), Some(3600), "expires_in has a fraction"),
        (Some("-5"), Some(0), "expires_in is not in the future"),
        (Some("0"), Some(0), "expires_in is not in the future"),
        (
            Some("9223372036854775808"),
            Some(365 * 86_400),
            "expires_in is more than a year",
        ),
        (Some("1e309"), None, "expires_in is no number"),
        (Some("null"), None, "expires_in is no number"),
        (Some("true"), None, "expires_in is no number"),
        (Some(r#""abc""#), None, "expires_in is no number"),
        (Some("[]"), None, "expires_in is no number"),
        (None, None, "expires_in is missing"),
    ] {
        let case = value.unwrap_or("missing");
        let from = logged(0).len();
        let fault = at
            .refreshes_from_now()
            .nth(1)
            .change_body(member("expires_in", value))
            .unwrap();
        session.refresh().await.unwrap();
        assert_eq!(fault.fired(), 1, "{case}");
        assert_eq!(session.expires_in(), seconds.map(Duration::from_secs), "{case}");
        let log = logged(from);
        assert!(log.contains(warning), "{case}: {log}");

        let refreshes = at.token_requests();
        let token = session.access_token().await.unwrap();
        // What has expired is refreshed at its next use; what has no end is used until an API refuses it.
        let next = usize::from(seconds == Some(0));
        assert_eq!(at.token_requests() - refreshes, next, "{case}");
        at.bed.server.revoke_access_tokens();
        at.bed.clock.advance(Duration::from_secs(5));
        let answer = session.http().get(at.bed.server.api_url()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{case}");
        assert_eq!(
            at.token_requests() - refreshes,
            next + 1,
            "{case}: never cached without end"
        );
        assert_ne!(session.peek().unwrap().expose(), token.expose());
    }
    at.lives_with(&at.stored(), "at last").await;
}

#[tokio::test]
async fn bi_36_to_bi_39_tokens_that_cannot_be_used() {
    let at = SignedIn::new().await;
    for (name, value, code) in [
        ("token_type", None, "token_type_missing"),
        ("token_type", Some("null"), "token_type_missing"),
        ("token_type", Some("7"), "token_type_missing"),
        ("token_type", Some(r#""mac""#), "token_type_unknown"),
        ("token_type", Some(r#""""#), "token_type_unknown"),
        ("access_token", None, "access_token_missing"),
        ("access_token", Some(r#""""#), "access_token_missing"),
        ("access_token", Some("7"), "access_token_missing"),
        ("access_token", Some(r#"{"a":"b"}"#), "access_token_missing"),
        (
            "access_token",
            Some(r#""a\r\nX-Evil: 1""#),
            "access_token_malformed",
        ),
        ("access_token", Some(r#""a b""#), "access_token_malformed"),
        ("access_token", Some(r#""é""#), "access_token_malformed"),
    ] {
        let case = format!("{name}: {value:?}");
        let spoil = |plan: FaultPlan| plan.change_body(member(name, value)).unwrap();
        refused(&at, &case, spoil, (code, ErrorKind::Protocol), Then::Replaced).await;
    }
}

#[tokio::test]
async fn bi_40_a_success_that_is_an_error() {
    let at = SignedIn::new().await;
    for body in [
        r#"{"error":"invalid_request"}"#,
        r#"{"error":"server_error","access_token":"A","token_type":"Bearer","refresh_token":"R"}"#,
    ] {
        let spoil = canned(json_body(body));
        refused(
            &at,
            body,
            spoil,
            ("error_in_success", ErrorKind::Server),
            Then::Kept,
        )
        .await;
    }
}

#[tokio::test]
async fn bi_41_bi_43_bi_45_bi_47_what_is_no_token_response() {
    let at = SignedIn::new().await;
    let whole = br#"{"access_token":"A","token_type":"Bearer","expires_in":60}"#;
    let utf16: Vec<u8> = "\u{feff}{\"access_token\":\"A\",\"token_type\":\"Bearer\"}"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (case, answer) in [
        ("captive portal", CannedAnswer::captive_portal()),
        ("no content", CannedAnswer::status(204)),
        ("empty", json_body("")),
        ("truncated", json_body(&whole[..30])),
        ("trailing garbage", json_body([&whole[..], b"<!-- -->"].concat())),
        ("two objects", json_body([&whole[..], &whole[..]].concat())),
        ("array", json_body("[]")),
        ("bare string", json_body("\"A\"")),
        ("depth", json_body(deep)),
        ("UTF-16", json_body(utf16)),
        (
            "latin1",
            json_body(b"{\"access_token\":\"\xe9\",\"token_type\":\"Bearer\"}".to_vec()),
        ),
        (
            "lone surrogate",
            json_body(r#"{"access_token":"\ud800","token_type":"Bearer"}"#),
        ),
        ("neither JSON nor UTF-8", CannedAnswer::garbage()),
    ] {
        refused(&at, case, canned(answer), GARBLED, Then::Kept).await;
    }
    let members: Vec<String> = (0..90_000).map(|n| format!("\"{n}\":0")).collect();
    let many = json_body(format!("{{{}}}", members.join(",")));
    refused(
        &at,
        "members",
        canned(many),
        ("access_token_missing", ErrorKind::Protocol),
        Then::Kept,
    )
    .await;
    let members: Vec<String> = (0..1_000_000).map(|n| format!("\"{n}\":0")).collect();
    let more = json_body(format!("{{{}}}", members.join(",")));
    refused(&at, "a million members", canned(more), TOO_LARGE, Then::Kept).await;

    // A byte-order mark is the only thing that may stand before it.
    let marked = |body: &[u8]| [b"\xef\xbb\xbf", body].concat();
    at.refreshes_from_now().nth(1).change_body(marked).unwrap();
    at.client
        .session()
        .await
        .unwrap()
        .unwrap()
        .refresh()
        .await
        .unwrap();
}

#[tokio::test]
async fn bi_42_another_content_type() {
    let at = SignedIn::new().await;
    let kind = ErrorKind::Protocol;
    for label in [
        "text/html",
        "text/plain",
        "application/json; charset=latin1",
        "application/jwt",
    ] {
        let spoil = |plan: FaultPlan| plan.content_type(label).unwrap();
        refused(
            &at,
            label,
            spoil,
            ("token_response_content_type", kind),
            Then::Replaced,
        )
        .await;
    }
    let unlabelled = CannedAnswer::status(200).body("text/html", r#"{"a":"b"}"#);
    refused(&at, "no tokens", canned(unlabelled), GARBLED, Then::Kept).await;
}

#[tokio::test]
async fn bi_44_a_redirect_is_not_followed() {
    let at = SignedIn::new().await;
    let elsewhere = format!("{}/stolen?x=1", at.bed.server.issuer());
    for status in [301, 302, 303, 307, 308] {
        let answer = CannedAnswer::redirect(status, &elsewhere);
        let kind = ErrorKind::Server;
        refused(
            &at,
            &status.to_string(),
            canned(answer),
            ("token_endpoint_redirects", kind),
            Then::Kept,
        )
        .await;
    }
    assert!(!paths(&at.bed.server).contains(&"/stolen".to_owned()));
    at.refreshes_from_now()
        .nth(1)
        .answer(CannedAnswer::redirect(307, "https://evil.example/stolen?x=1"))
        .unwrap();
    let error = at.session_now().await.refresh().await.unwrap_err();
    let told = error.to_string();
    assert!(told.contains("evil.example") && !told.contains("x=1"), "{told}");
}

#[tokio::test]
async fn bi_46_a_member_twice() {
    let at = SignedIn::new().await;
    let code = ("token_response_duplicate", ErrorKind::Protocol);
    for name in [
        "access_token",
        "token_type",
        "expires_in",
        "refresh_token",
        "id_token",
    ] {
        let spoil = |plan: FaultPlan| plan.duplicate_member(name).unwrap();
        refused(&at, name, spoil, code, Then::Replaced).await;
    }
}

#[tokio::test]
async fn bi_48_a_body_without_end() {
    let at = SignedIn::new().await;
    for bytes in [1 << 21, 1 << 30, u64::MAX] {
        let case = bytes.to_string();
        refused(
            &at,
            &case,
            canned(CannedAnswer::oversized(bytes)),
            TOO_LARGE,
            Then::Kept,
        )
        .await;
    }
    let cut = |plan: FaultPlan| plan.truncate_body().unwrap();
    // Cut off after the server rotated: the new refresh token is lost with it, so this refresh must not be processed.
    let kind = ErrorKind::Network(Delivery::UnknownOutcome);
    let before = at.stored();
    cut(at.bed.server.fault(Endpoint::Token).nth(1));
    let error = at.sign_in().await.unwrap_err();
    told(&error, "connection_lost", kind, Stage::TokenExchange, "cut");
    at.lives_with(&before, "cut").await;
}

/// `text` as gzip without compression (RFC 1952), which any decoder would read.
fn gzip(text: &[u8]) -> Vec<u8> {
    let crc = text.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    });
    let length = u16::try_from(text.len()).unwrap();
    [
        &[31, 139, 8, 0, 0, 0, 0, 0, 0, 255, 1][..],
        &length.to_le_bytes(),
        &(!length).to_le_bytes(),
        text,
        &(!crc).to_le_bytes(),
        &u32::from(length).to_le_bytes(),
    ]
    .concat()
}

#[tokio::test]
async fn bi_49_an_encoded_body_is_not_decoded() {
    let at = SignedIn::new().await;
    let tokens = br#"{"access_token":"A","token_type":"Bearer","expires_in":60}"#;
    for (encoding, body) in [
        ("gzip", gzip(tokens)),
        ("gzip, gzip", gzip(&gzip(tokens))),
        ("br", vec![0x0b, 0x02, 0x80]),
        ("zstd", vec![0x28, 0xb5, 0x2f, 0xfd, 0x04]),
        ("x-unheard-of", vec![0; 100]),
    ] {
        let answer = json_body(body).header("content-encoding", encoding);
        refused(&at, encoding, canned(answer), GARBLED, Then::Kept).await;
    }
    for request in at.bed.server.requests() {
        let asked = request.header("accept-encoding");
        assert!(matches!(asked, None | Some("identity")), "{asked:?}");
    }
}

#[tokio::test]
async fn bi_50_a_page_of_a_firewall() {
    let at = SignedIn::new().await;
    for status in [403, 404, 451] {
        let page = CannedAnswer::status(status).body("text/html", "<html>Blocked</html>");
        let code = ("not_an_oauth_answer", ErrorKind::Server);
        refused(&at, &status.to_string(), canned(page), code, Then::Kept).await;
    }
}

#[tokio::test]
async fn bi_51_an_error_that_says_nothing_or_too_much() {
    let at = SignedIn::new().await;
    let answer = |body: &[u8]| CannedAnswer::status(400).body("application/json", body);
    for body in [
        &br#"{"error":7}"#[..],
        br#"{"error":""}"#,
        br#"{"error":null}"#,
        br#"{"error":{"a":1}}"#,
        b"{\"error\":\"\xff\"}",
        b"",
    ] {
        let case = String::from_utf8_lossy(body);
        let code = ("not_an_oauth_answer", ErrorKind::Server);
        refused(&at, &case, canned(answer(body)), code, Then::Kept).await;
    }
    let long = format!(
        r#"{{"error":"invalid_request","error_description":"a\r\n\u202e{}"}}"#,
        "b".repeat(1_000_000)
    );
    let code = ("token_request_refused", ErrorKind::Server);
    refused(&at, "long", canned(answer(long.as_bytes())), code, Then::Kept).await;
    at.refreshes_from_now()
        .nth(1)
        .answer(answer(long.as_bytes()))
        .unwrap();
    let error = at.session_now().await.refresh().await.unwrap_err();
    let description = error.server().unwrap().description.as_deref().unwrap();
    assert!(
        description.starts_with("abbb") && description.len() <= 520,
        "{}",
        description.len()
    );
    assert!(format!("{error}{error:?}").len() < 2000);
}

#[tokio::test]
async fn bi_53_a_refresh_token_that_is_none() {
    let at = SignedIn::new().await;
    at.bed.server.set_rotation(gatepass::test_server::Rotation::Off);
    let before = at.stored();
    for (value, warning) in [(r#""""#, true), ("null", false), ("7", true), ("[]", true)] {
        let from = logged(0).len();
        at.refreshes_from_now()
            .nth(1)
            .change_body(member("refresh_token", Some(value)))
            .unwrap();
        at.session_now().await.refresh().await.unwrap();
        assert_eq!(at.stored(), before, "{value}: as if there were none");
        let warned = logged(from).contains("refresh_token is empty or no string");
        assert!(warned || !warning, "{value}");
    }
    at.bed
        .server
        .set_rotation(gatepass::test_server::Rotation::Strict);
    at.lives_with(&before, "at last").await;

    let before = at.stored();
    let equal = || {
        json(|answer| {
            let refresh_token = answer["refresh_token"].clone();
            answer.insert("access_token".into(), refresh_token);
        })
    };
    at.bed
        .server
        .fault(Endpoint::Token)
        .nth(1)
        .change_body(equal())
        .unwrap();
    let error = at.sign_in().await.unwrap_err();
    told(
        &error,
        "tokens_equal",
        ErrorKind::Protocol,
        Stage::TokenExchange,
        "equal",
    );
    at.client.drain().await;
    at.lives_with(&before, "equal").await;
    at.refreshes_from_now().nth(1).change_body(equal()).unwrap();
    let error = at.session_now().await.refresh().await.unwrap_err();
    told(
        &error,
        "tokens_equal",
        ErrorKind::Protocol,
        Stage::Refresh,
        "equal",
    );
    at.lives_with(&at.stored(), "equal").await;
}
