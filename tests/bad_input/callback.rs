//! The redirect, which anybody can forge who can make a link.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use gatepass::test_server::TestClock;
use gatepass::{ErrorKind, NextStep, SessionState, SignInOptions, SignInProgress, Stage};

use crate::bed::{REDIRECT, SignedIn, begin, told};
use crate::support::TestBed;

/// The parameters of a redirect, by name.
fn parameter(redirect: &str, name: &str) -> String {
    let query = redirect.split_once('?').unwrap().1;
    let found = query
        .split('&')
        .find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    found.unwrap().to_owned()
}

/// A redirect that belongs to nobody: nothing comes of it, and the real one still ends the sign-in.
async fn waits(at: &SignedIn, make: impl Fn(&str) -> String, code: &str) {
    let (before, requests) = (at.stored(), at.token_requests());
    let (pending, redirect) = at.begin().await;
    let forged = make(&redirect);
    let case: String = forged.chars().take(120).collect();
    let error = at.client.resume_sign_in(&forged).await.unwrap_err();
    told(&error, code, ErrorKind::Protocol, Stage::Callback, &case);
    assert!(
        error.to_string().len() < 1000,
        "{case}: a long callback is not quoted"
    );
    assert_eq!(at.token_requests(), requests, "{case}: no request");
    assert_eq!(
        pending.progress().get(),
        SignInProgress::WaitingForRedirect,
        "{case}"
    );
    assert_eq!(at.stored(), before, "{case}");
    let real = at.client.resume_sign_in(&redirect).await;
    assert!(
        real.is_ok(),
        "{case}: the real redirect still ends the sign-in: {real:?}"
    );
    pending.wait().await.unwrap();
}

#[tokio::test]
async fn bi_01_bi_02_what_is_no_url_or_not_a_whole_one() {
    let at = SignedIn::new().await;
    for garbage in [
        "",
        "\0\u{1}\u{7f}",
        "code",
        "%%%",
        "http://",
        ":",
        "#",
        "\u{202e}",
        "javascript:alert(1)",
    ] {
        waits(&at, |_| garbage.to_owned(), "callback_without_query").await;
    }
    waits(&at, |url| url.replace(REDIRECT, ""), "callback_relative").await;
    for relative in ["/callback", "callback", "//callback", "com.example.app"] {
        waits(&at, |url| url.replace(REDIRECT, relative), "redirect_mismatch").await;
    }
    at.lives_with(&at.stored(), "at last").await;
}

#[tokio::test]
async fn bi_03_bi_04_bi_25_another_place_than_the_redirect_uri() {
    let at = SignedIn::new().await;
    for place in [
        "com.example.evil:/callback",
        "https://app.example.com/callback",
        "com.example.app:/other",
        "com.example.app:/callback/evil",
        "com.example.app:/callbackx",
        "com.example.app:/callback;x",
        "com.example.app:/Callback",
        "com.example.app://callback",
        "com.example.app:///callback",
        "com.example.app:callback",
    ] {
        waits(&at, |url| url.replace(REDIRECT, place), "redirect_mismatch").await;
    }
    at.lives_with(&at.stored(), "at last").await;

    let https = "https://app.example.com/cb";
    let at = SignedIn::at(https, |server| server).await;
    for place in [
        "http://app.example.com/cb",
        "https://app.example.com:8443/cb",
        "https://app.example.com:443/cb",
        "https://evil.example/cb",
        "https://app.example.com.evil.example/cb",
        "https://app.example.com/cb/evil",
        "https://app.example.com/cb/",
        "https://app.example.com/cbx",
        "https://app.example.com/x/../cb",
        "https://APP.example.com/cb",
        "https://user:pw@app.example.com/cb",
        "https://app.example.com@evil.example/cb",
    ] {
        waits(&at, |url| url.replace(https, place), "redirect_mismatch").await;
    }
    at.lives_with(&at.stored(), "at last").await;
}

#[tokio::test]
async fn bi_05_bi_06_bi_07_a_parameter_twice() {
    let at = SignedIn::new().await;
    for name in ["code", "state", "iss"] {
        waits(
            &at,
            |url| format!("{url}&{name}={}", parameter(url, name)),
            "callback_duplicate",
        )
        .await;
        waits(&at, |url| format!("{url}&{name}=other"), "callback_duplicate").await;
        waits(
            &at,
            |url| format!("{url}&%{:02x}{}=x", name.as_bytes()[0], &name[1..]),
            "callback_duplicate",
        )
        .await;
    }
    for error in ["error=access_denied&error=access_denied", "error=a&error=b"] {
        waits(&at, |url| format!("{url}&{error}"), "callback_duplicate").await;
    }
    at.lives_with(&at.stored(), "at last").await;
}

#[tokio::test]
async fn bi_11_bi_12_bi_28_a_state_that_is_not_ours() {
    let at = SignedIn::new().await;
    let without = |url: &str| url.replace(&format!("state={}", parameter(url, "state")), "foo=bar");
    waits(&at, without, "state_missing").await;
    waits(&at, |url| format!("{}&state=", without(url)), "state_missing").await;
    let other = |url: &str| {
        let state = parameter(url, "state");
        // Of the same length, and as like it as can be.
        let last = if state.ends_with('A') { 'B' } else { 'A' };
        url.replace(&state, &format!("{}{last}", &state[..state.len() - 1]))
    };
    waits(&at, other, "no_pending_sign_in").await;
    waits(
        &at,
        |url| format!("{}&error=access_denied", other(url)),
        "no_pending_sign_in",
    )
    .await;
    at.lives_with(&at.stored(), "at last").await;

    // Nobody is signing in at all: nothing is asked of anybody.
    let (asked, before) = (at.bed.server.requests().len(), at.stored());
    let error = at
        .client
        .resume_sign_in(&format!("{REDIRECT}?code=evil&state=evil"))
        .await
        .unwrap_err();
    told(
        &error,
        "no_pending_sign_in",
        ErrorKind::Protocol,
        Stage::Callback,
        "nobody",
    );
    assert_eq!(error.next_step(), NextStep::None, "nothing is wrong here");
    assert_eq!(at.bed.server.requests().len(), asked);
    at.lives_with(&before, "nobody").await;
}

#[tokio::test]
async fn bi_18_bi_20_bi_21_bi_24_fragments_escapes_and_sizes() {
    let at = SignedIn::new().await;
    waits(&at, |url| url.replace('?', "#"), "callback_without_query").await;
    for broken in ["%", "%z1", "%4z", "%FF%FE"] {
        waits(&at, |url| format!("{url}&x={broken}"), "callback_encoding").await;
        for name in ["code", "state"] {
            // At its end: before it, a lone percent sign could make an escape of what follows.
            let spoilt = |url: &str| {
                let (before, value) = url.split_once(&format!("{name}=")).unwrap();
                let (value, after) = value.split_at(value.find('&').unwrap_or(value.len()));
                format!("{before}{name}={value}{broken}{after}")
            };
            waits(&at, spoilt, "callback_encoding").await;
        }
    }
    waits(
        &at,
        |url| format!("{url}&x={}", "x".repeat(1 << 20)),
        "callback_too_long",
    )
    .await;

    // A fragment behind a whole query is passed over, and `+` is a space.
    for good in ["#code=evil&state=evil", "&foo=a+b", "&foo=a%20b"] {
        let (_, redirect) = at.begin().await;
        at.client
            .resume_sign_in(&format!("{redirect}{good}"))
            .await
            .unwrap();
    }
    at.lives_with(&at.stored(), "at last").await;
}

/// A redirect with our state that ends the sign-in: no code is used, and the session of before stays.
async fn ends(at: &SignedIn, make: impl Fn(&str) -> String, code: &str, kind: ErrorKind) -> gatepass::Error {
    let (before, requests) = (at.stored(), at.token_requests());
    let (pending, redirect) = at.begin().await;
    let url = make(&redirect);
    let error = at.client.resume_sign_in(&url).await.unwrap_err();
    told(&error, code, kind, Stage::Callback, &url);
    assert!(error.clause().is_some(), "{url}");
    let error = pending.wait().await.unwrap_err();
    told(&error, code, kind, Stage::Callback, &url);
    assert_eq!(error.diagnostic_id(), Some(pending.diagnostic_id()));
    let late = at.client.resume_sign_in(&redirect).await.unwrap_err();
    assert_eq!(late.code(), "no_pending_sign_in", "{url}: it is over");
    assert_eq!(at.token_requests(), requests, "{url}: no request");
    at.lives_with(&before, &url).await;
    error
}

fn without(url: &str, name: &str) -> String {
    url.replace(&format!("{name}={}", parameter(url, name)), "foo=bar")
}

#[tokio::test]
async fn bi_08_bi_09_bi_10_bi_19_bi_22_our_state_and_nothing_to_go_on_with() {
    let at = SignedIn::new().await;
    let protocol = ErrorKind::Protocol;
    let both = |error: &'static str| move |url: &str| format!("{url}&error={error}");
    ends(&at, both("access_denied"), "access_denied", ErrorKind::Cancelled).await;
    ends(
        &at,
        both("server_error"),
        "authorization_error",
        ErrorKind::Server,
    )
    .await;
    ends(&at, |url| without(url, "code"), "code_missing", protocol).await;
    ends(
        &at,
        |url| format!("{}&code=", without(url, "code")),
        "code_missing",
        protocol,
    )
    .await;
    for token in [
        "access_token=SECRET&token_type=Bearer",
        "id_token=SECRET",
        "refresh_token=SECRET",
    ] {
        ends(&at, |url| format!("{url}&{token}"), "token_in_callback", protocol).await;
        assert!(!at.bed.everything_stored().contains("SECRET"));
    }
    for control in ["%00", "%0D", "%0A", "%7F", "%C3%A9"] {
        let spoilt = |url: &str| url.replace("code=", &format!("code={control}"));
        ends(&at, spoilt, "code_malformed", protocol).await;
    }
}

#[tokio::test]
async fn bi_15_bi_16_bi_17_an_issuer_that_is_not_ours() {
    let at = SignedIn::new().await;
    let protocol = ErrorKind::Protocol;
    ends(&at, |url| without(url, "iss"), "iss_missing", protocol).await;
    ends(
        &at,
        |url| format!("{}&iss=", without(url, "iss")),
        "iss_missing",
        protocol,
    )
    .await;
    let issuer = at.bed.server.issuer().to_owned();
    let host = issuer.strip_prefix("http://").unwrap();
    for other in [
        "https://someone-else.example.com".to_owned(),
        format!("{issuer}/"),
        issuer.to_uppercase(),
        format!("http://{}", host.replace("127", "%3127")),
        format!("http:\\\\{host}"),
        format!("http://{host}\\"),
        format!("ht\ttp://{host}"),
        format!("{issuer}%20"),
        format!("{issuer}#"),
        format!("{issuer}?"),
        format!("https://{host}"),
    ] {
        let encoded: String = other.bytes().map(|byte| format!("%{byte:02X}")).collect();
        for and in ["", "&error=access_denied"] {
            let mixed_up = |url: &str| format!("{}&iss={encoded}{and}", without(url, "iss"));
            ends(&at, mixed_up, "iss_mismatch", protocol).await;
        }
    }
}

#[tokio::test]
async fn bi_22_bi_23_bi_29_what_an_error_says_is_only_text() {
    let at = SignedIn::new().await;
    let failed = |rest: &str| {
        let rest = rest.to_owned();
        move |url: &str| format!("{}&{rest}", without(url, "code"))
    };
    let server = ErrorKind::Server;
    let text = "error=server_error&error_description=a%00b%0D%0Ac%3Cscript%3E%E2%80%AEevil&error_uri=";
    for (uri, shown) in [
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("http://as.example/help", None),
        ("https://as.example/help", Some("https://as.example/help")),
    ] {
        let error = ends(
            &at,
            failed(&format!("{text}{uri}")),
            "authorization_error",
            server,
        )
        .await;
        let said = error.server().unwrap();
        assert_eq!(said.description.as_deref(), Some("abc<script>evil"));
        assert_eq!(said.uri.as_deref(), shown);
    }
    for (sent, kept) in [
        ("not_in_any_standard", "not_in_any_standard"),
        ("no+such%20error", "no such error"),
        ("%3Cscript%3E", "<script>"),
    ] {
        let error = ends(
            &at,
            failed(&format!("error={sent}")),
            "authorization_error",
            server,
        )
        .await;
        assert_eq!(error.server().unwrap().error.as_deref(), Some(kept));
    }
}

#[tokio::test]
async fn bi_13_a_redirect_that_comes_again() {
    let at = SignedIn::new().await;
    let (_, redirect) = at.begin().await;
    at.client.resume_sign_in(&redirect).await.unwrap();
    let (before, requests) = (at.stored(), at.token_requests());
    for _ in 0..3 {
        let error = at.client.resume_sign_in(&redirect).await.unwrap_err();
        told(
            &error,
            "no_pending_sign_in",
            ErrorKind::Protocol,
            Stage::Callback,
            "again",
        );
    }
    assert_eq!(at.token_requests(), requests, "a code is sent once");
    at.lives_with(&before, "again").await;
}

#[tokio::test]
async fn bi_14_a_redirect_that_comes_too_late() {
    let at = SignedIn::new().await;
    let before = at.stored();
    // To the process that begins it no time passes until it is told below.
    let stopped = Arc::new(TestClock::default());
    let client = at
        .bed
        .client_with(|b| b.redirect(REDIRECT).clock(stopped.clone()));
    let (pending, redirect) = begin(&at.bed, &client).await;
    let requests = at.token_requests();
    at.bed.clock.advance(Duration::from_millis(15 * 60 * 1000 + 1));
    let other = at.bed.client_with(|b| b.redirect(REDIRECT));
    let error = other.resume_sign_in(&redirect).await.unwrap_err();
    told(
        &error,
        "flow_expired",
        ErrorKind::FlowExpired,
        Stage::Callback,
        "late",
    );
    stopped.advance(Duration::from_secs(15 * 60 + 1));
    let error = pending.wait().await.unwrap_err();
    told(
        &error,
        "flow_expired",
        ErrorKind::FlowExpired,
        error.stage(),
        "late",
    );
    assert_eq!(at.token_requests(), requests);
    at.lives_with(&before, "late").await;
}

/// What a listener on the loopback says to these bytes; empty if it hangs up.
fn say(address: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    // It may close before it has read everything.
    drop(stream.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn bi_30_whatever_else_comes_to_the_listener_the_sign_in_waits() {
    let bed = TestBed::new();
    let client = bed.client();
    let session = bed.sign_in(&client).await.unwrap();
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed.browser_sign_in(pending.authorization_url()).await;
    let (host, path) = redirect.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let (address, path) = (host.to_owned(), path.to_owned());
    let said = tokio::task::spawn_blocking(move || {
        [
            format!("GET /favicon.ico HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"),
            format!(
                "POST /{path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            ),
            format!("GET /{path} HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"),
            "\u{16}\u{3}\u{1} this is no HTTP\r\n\r\n".to_owned(),
        ]
        .map(|request| say(&address, request.as_bytes()))
    })
    .await
    .unwrap();
    for (answer, status) in said.iter().zip(["404", "405", "400", ""]) {
        assert!(answer.contains(status) && !answer.contains("200"), "{answer}");
    }
    assert_eq!(pending.progress().get(), SignInProgress::WaitingForRedirect);
    session.refresh().await.unwrap();
    assert_eq!(bed.server.browser().deliver(&redirect).await.unwrap(), 200);
    pending.wait().await.unwrap();
    assert_eq!(client.state().get(), SessionState::SignedIn);
}
