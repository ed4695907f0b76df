//! HTTP itself, and the endpoints beside the great three. What a transport does with broken HTTP and TLS is its contract,
//! and in the suite for it; here is what becomes of the session.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatepass::test_server::{CannedAnswer, ClockOffset, Endpoint, Mistake, Par, PlannedFault};
use gatepass::{
    Delivery, ErrorKind, NextStep, Revocation, SecureStorage as _, SessionState, SignInOptions, SignOut,
    Stage,
};

use crate::bed::{REDIRECT, SignedIn, json, told};

#[tokio::test]
async fn bi_85_a_challenge_that_is_broken_is_as_if_it_were_not_there() {
    let at = SignedIn::new().await;
    let long = format!("Bearer error=\"{}\"", "x".repeat(15_000));
    for (challenge, refreshes) in [
        // Nothing that says why: a bare 401, as many APIs send it. One new token, one more try.
        ("Bearer error=\"invalid_token", 1),
        (
            "Bearer error=\"insufficient_scope\", error=\"insufficient_scope\"",
            1,
        ),
        ("error=\"insufficient_scope\"", 1),
        ("=", 1),
        (",,,", 1),
        ("\"", 1),
        // What can be read of it speaks of something else.
        ("Basic realm=\"a, Bearer error=invalid_token\"", 0),
        ("Bearer error=\"insufficient_scope\", Basic realm=\"", 0),
        (long.as_str(), 0),
    ] {
        // Else the token would be too new for another.
        at.bed.clock.advance(Duration::from_secs(5));
        let before = at.token_requests();
        let answer = CannedAnswer::status(401).header("www-authenticate", challenge);
        at.bed.server.fault(Endpoint::Api).every().answer(answer).unwrap();
        let answer = at
            .session
            .http()
            .get(at.bed.server.api_url())
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), 401, "{challenge}");
        let error = answer.error_for_status().unwrap_err();
        assert_eq!(
            (error.kind(), error.stage()),
            (ErrorKind::Server, Stage::Api),
            "{challenge}"
        );
        assert!(error.clause().is_some(), "{challenge}");
        assert_eq!(at.token_requests() - before, refreshes, "{challenge}");
        at.lives_with(&at.stored(), challenge).await;
    }
    let before = at.stored();
    at.bed.clock.advance(Duration::from_secs(5));
    // One that is whole counts, whatever stands beside it.
    let answer = CannedAnswer::status(401)
        .header(
            "www-authenticate",
            "Basic realm=\"a\", Bearer realm=\"b\", error=\"invalid_token\", x=\"",
        )
        .header("www-authenticate", "bEaReR error=\"invalid_token\"");
    at.bed.server.fault(Endpoint::Api).nth(1).answer(answer).unwrap();
    let answer = at
        .session
        .http()
        .get(at.bed.server.api_url())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200, "one refresh, one more try");
    assert_ne!(at.stored(), before);
    at.lives_with(&at.stored(), "challenges").await;
}

#[tokio::test]
async fn bi_87_a_time_to_wait_is_kept_within_bounds() {
    let at = SignedIn::new().await;
    let before = at.stored();
    for (header, wait) in [
        ("-1", None),
        ("soon", None),
        ("1.5", None),
        ("", None),
        ("0", Some(0)),
        ("7", Some(7)),
        ("1000000000000", Some(300)),
        ("99999999999999999999999999999", Some(300)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", Some(300)),
        ("Sun, 99 Nov 1994 08:49:37 GMT", None),
    ] {
        for status in [429, 503] {
            let answer = CannedAnswer::status(status).header("retry-after", header);
            let fault = at.refreshes_from_now().every().answer(answer).unwrap();
            let error = at.session.refresh().await.unwrap_err();
            fault.lift();
            // The server is left alone for as long as it said, and longer after several failures.
            at.bed.clock.advance(Duration::from_secs(600));
            assert_eq!(error.stage(), Stage::Refresh, "{header}");
            let expected = match wait {
                Some(seconds) => NextStep::RetryAfter(Duration::from_secs(seconds)),
                None => NextStep::Retry,
            };
            assert_eq!(error.next_step(), expected, "{status}, {header:?}: {error:?}");
            assert_eq!(at.stored(), before, "{header}");
        }
    }
    at.lives_with(&before, "waits").await;
}

#[tokio::test]
async fn bi_88_bi_97_whatever_the_clocks_say_nobody_is_signed_out() {
    let at = SignedIn::new().await;
    // What one answer claims of the time is not believed if it is absurd.
    for date in [
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 01 Jan 2100 00:00:00 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
        "yesterday",
        "",
        "0",
    ] {
        let before = at.stored();
        let answer = CannedAnswer::status(503).header("date", date);
        at.refreshes_from_now().every().answer(answer).unwrap();
        let error = at.session_now().await.refresh().await.unwrap_err();
        told(&error, "server_failed", ErrorKind::Server, Stage::Refresh, date);
        // The ID token of the next refresh is held against a clock.
        at.lives_with(&before, date).await;
        at.sign_in().await.unwrap();
    }
    // The device's clock stands at 1970, or at 2100: what an hour on it is, is told by another clock.
    let now = at.bed.now_unix_millis();
    for year in [0, 4_102_444_800_000] {
        at.bed.clock.set_unix_millis(year);
        // The server has the right time all along.
        let apart = Duration::from_millis(year.abs_diff(now));
        at.bed.server.set_clock_offset(if year < now {
            ClockOffset::Ahead(apart)
        } else {
            ClockOffset::Behind(apart)
        });
        let before = at.stored();
        assert!(at.session_now().await.access_token().await.is_ok(), "{year}");
        // In another process, which finds the session in storage only.
        let other = at.bed.client_with(|app| app.redirect(REDIRECT));
        let found = other.session().await.unwrap().unwrap();
        assert!(found.access_token().await.is_ok(), "{year}");
        assert_eq!(other.state().get(), SessionState::SignedIn, "{year}");
        // A clock that is off by decades takes two answers that agree to be believed: until then the user is told.
        let error = at.session_now().await.refresh().await.unwrap_err();
        let code = if year < now {
            "id_token_from_the_future"
        } else {
            "id_token_expired"
        };
        told(
            &error,
            code,
            ErrorKind::Protocol,
            Stage::Refresh,
            "the device's clock",
        );
        assert!(error.to_string().contains("clock"), "{error}");
        at.lives_with(&at.stored(), "the device's clock").await;
        assert_ne!(at.stored(), before, "{year}");
        // A sign-in goes by the time of the server.
        at.sign_in().await.unwrap();
        at.bed.clock.set_unix_millis(now);
        at.bed.server.set_clock_offset(ClockOffset::None);
    }
    // While the user is in the browser.
    let at = SignedIn::new().await;
    let (_, redirect) = at.begin().await;
    at.bed.clock.set_unix_millis(now - 3_600_000);
    at.client.resume_sign_in(&redirect).await.unwrap();
    at.lives_with(&at.stored(), "a jump during the sign-in").await;
}

#[tokio::test]
async fn bi_90_a_push_that_says_nothing_of_use_opens_no_browser() {
    let at = SignedIn::at(REDIRECT, |server| server.par(Par::Required)).await;
    let malformed = ("par_response_malformed", ErrorKind::Protocol);
    for (case, spoil, (code, kind)) in [
        (
            "200",
            Err(Mistake::PushAnsweredWith200),
            ("par_status", ErrorKind::Protocol),
        ),
        ("no request_uri", Err(Mistake::RequestUriMissing), malformed),
        ("expires_in 0", Err(Mistake::PushExpiresAtOnce), malformed),
        (
            "expires_in -1",
            Ok(r#"{"request_uri":"urn:x","expires_in":-1}"#),
            malformed,
        ),
        (
            "expires_in text",
            Ok(r#"{"request_uri":"urn:x","expires_in":"soon"}"#),
            malformed,
        ),
        ("no expires_in", Ok(r#"{"request_uri":"urn:x"}"#), malformed),
        (
            "an http URL",
            Ok(r#"{"request_uri":"http://evil.example/x","expires_in":60}"#),
            malformed,
        ),
        (
            "an https URL",
            Ok(r#"{"request_uri":"https://evil.example/x","expires_in":60}"#),
            malformed,
        ),
        (
            "not a string",
            Ok(r#"{"request_uri":7,"expires_in":60}"#),
            malformed,
        ),
        ("empty", Ok(r#"{"request_uri":"","expires_in":60}"#), malformed),
        ("no JSON", Ok("<html>"), malformed),
    ] {
        let before = at.stored();
        match spoil {
            Err(mistake) => at.bed.server.misbehave(mistake),
            Ok(body) => {
                let answer = CannedAnswer::status(201).body("application/json", body);
                at.bed
                    .server
                    .fault(Endpoint::PushedAuthorization)
                    .every()
                    .answer(answer)
                    .unwrap();
            }
        }
        let error = at
            .client
            .begin_sign_in(SignInOptions::default())
            .await
            .unwrap_err();
        told(&error, code, kind, Stage::PushedAuthorization, case);
        assert!(
            !at.bed.everything_stored().contains("verifier"),
            "{case}: nothing waits"
        );
        at.lives_with(&before, case).await;
    }
}

#[tokio::test]
async fn bi_92_whatever_the_revocation_comes_to_the_user_is_signed_out_here() {
    for (case, answer, told) in [
        ("HTML", Some(CannedAnswer::captive_portal()), None),
        (
            "302",
            Some(CannedAnswer::redirect(302, "https://evil.example/")),
            Some("revocation_refused"),
        ),
        (
            "401",
            Some(CannedAnswer::oauth_error(401, "invalid_client")),
            Some("revocation_refused"),
        ),
        ("503", Some(CannedAnswer::status(503)), Some("revocation_refused")),
        ("no answer", None, Some("connection_lost")),
    ] {
        let at = SignedIn::new().await;
        let plan = at.bed.server.fault(Endpoint::Revocation).every();
        let fault: PlannedFault = match answer {
            Some(answer) => plan.answer(answer).unwrap(),
            None => plan.drop_before_processing().unwrap(),
        };
        let signed_out = at.session.sign_out(SignOut::Revoke).await.unwrap();
        assert!(fault.fired() > 0, "{case}");
        let queued = matches!(signed_out.revocation, Revocation::Queued(_));
        match (signed_out.revocation, told) {
            (Revocation::Done, None) => {}
            (Revocation::Failed(error) | Revocation::Queued(error), Some(code)) => {
                assert_eq!(
                    (error.code(), error.stage()),
                    (code, Stage::Revocation),
                    "{case}: {error:?}"
                );
            }
            other => panic!("{case}: {other:?}"),
        }
        assert_eq!(at.client.state().get(), SessionState::SignedOut, "{case}");
        assert!(at.session.peek().is_none(), "{case}");
        assert!(at.client.session().await.unwrap().is_none(), "{case}");
        // What the server could not be told waits, sealed where storage seals, and nothing else is left.
        let stored = at.bed.everything_stored();
        let left: Vec<&str> = stored
            .lines()
            .filter(|record| record.contains("refresh_token\":\""))
            .collect();
        assert!(
            left.iter().all(|record| record.starts_with("revoke.")),
            "{case}: {left:?}"
        );
        assert_eq!(left.len(), usize::from(queued), "{case}");
    }
}

/// A server of one answer: reads a request whole, says these bytes, and closes. It counts the requests.
fn raw_server(answer: &'static [u8]) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    let seen = Arc::<AtomicUsize>::default();
    let count = seen.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                request.extend_from_slice(&buffer[..read]);
                let text = String::from_utf8_lossy(&request);
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let length = head.lines().find_map(|line| {
                    line.to_ascii_lowercase()
                        .strip_prefix("content-length:")?
                        .trim()
                        .parse()
                        .ok()
                });
                if body.len() >= length.unwrap_or(0) {
                    count.fetch_add(1, Ordering::SeqCst);
                    drop(stream.write_all(answer));
                    break;
                }
            }
        }
    });
    (url, seen)
}

#[tokio::test]
async fn bi_48_bi_98_http_that_breaks_off_leaves_the_refresh_token_alone() {
    const TOKENS: &str = "{\"access_token\":\"A\",\"token_type\":\"Bearer\",\"expires_in\":60}";
    let unknown = ErrorKind::Network(Delivery::UnknownOutcome);
    for (case, answer, code) in [
        ("closed on send", "", "connection_lost"),
        (
            "closed in the head",
            "HTTP/1.1 200 OK\r\nContent-Ty",
            "connection_lost",
        ),
        (
            "a length that is too long",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"access_token\":\"A\"",
            "connection_lost",
        ),
        (
            "a length that is too short",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{\"access_token\":\"A\"}",
            "token_response_garbled",
        ),
        (
            "chunks that end early",
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"acc\r\n",
            "connection_lost",
        ),
        ("no HTTP", "220 mail.example.com ESMTP\r\n", "invalid_http"),
        (
            "early hints, and nothing after them",
            "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\n",
            "connection_lost",
        ),
    ] {
        let (url, seen) = raw_server(answer.as_bytes());
        let (at, session) = moved_to(url).await;
        let before = at.stored();
        let error = session.refresh().await.unwrap_err();
        told(&error, code, unknown, Stage::Refresh, case);
        assert_eq!(error.next_step(), NextStep::Retry, "{case}");
        assert_eq!(seen.load(Ordering::SeqCst), 1, "{case}: sent once");
        assert_eq!(session.state().get(), SessionState::SignedIn, "{case}");
        at.lives_with(&before, case).await;
    }
    // Hints before the answer are no answer.
    let answer = format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=preload\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{TOKENS}",
        TOKENS.len()
    );
    let (url, seen) = raw_server(answer.leak().as_bytes());
    let (_at, session) = moved_to(url).await;
    session.refresh().await.unwrap();
    assert_eq!(session.peek().unwrap().expose(), "A");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

/// A session at a server whose token endpoint is at this URL.
async fn moved_to(url: String) -> (SignedIn, gatepass::Session) {
    let at = SignedIn::new().await;
    let moved = json(move |document| {
        document.insert("token_endpoint".into(), url.clone().into());
    });
    at.bed.forget_keys();
    at.bed
        .server
        .fault(Endpoint::Metadata)
        .every()
        .change_body(moved)
        .unwrap();
    // Nothing is sent again by the session, so what is counted is what HTTP does.
    let app = at.bed.client_with(|app| {
        app.redirect(REDIRECT)
            .on_unknown_outcome(gatepass::OnUnknownOutcome::RetryWhenExpired)
    });
    let session = app.session().await.unwrap().unwrap();
    (at, session)
}

#[tokio::test]
async fn bi_89_a_server_that_is_not_who_it_should_be_is_told_nothing() {
    let self_signed = || {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap();
        config
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap()
    };
    let config = Arc::new(self_signed());
    // What came in the clear, or out of the handshake.
    type Serve = Box<dyn Fn(std::net::TcpStream) -> Vec<u8> + Send>;
    let tls: Serve = Box::new(move |mut stream| {
        let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
        let mut plain = Vec::new();
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        drop(tls.read_to_end(&mut plain));
        plain
    });
    // "protocol_version" (RFC 8446 §6.2): it speaks nothing newer than TLS 1.0.
    let old: Serve = Box::new(|mut stream| {
        drop(stream.write_all(&[21, 3, 1, 0, 2, 2, 70]));
        Vec::new()
    });
    for (case, serve, code) in [
        ("self-signed", tls, "tls_certificate"),
        ("TLS 1.0", old, "tls_handshake"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/token", listener.local_addr().unwrap());
        let (heard, hears) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                drop(heard.send(serve(stream)));
            }
        });
        let (at, session) = moved_to(url).await;
        let before = at.stored();
        let error = session.refresh().await.unwrap_err();
        told(
            &error,
            code,
            ErrorKind::Network(Delivery::NotSent),
            Stage::Refresh,
            case,
        );
        assert_eq!(error.next_step(), NextStep::Retry, "{case}");
        assert_eq!(hears.recv().unwrap(), b"", "{case}: nothing was sent");
        at.lives_with(&before, case).await;
    }
}

#[tokio::test]
async fn bi_95_a_record_that_cannot_be_read_is_never_nobody() {
    let at = SignedIn::new().await;
    let key = at.bed.storage.list("session.").unwrap().remove(0);
    let good = at.bed.storage.load(&key).unwrap().unwrap().bytes.to_vec();
    let write = |bytes: &[u8]| {
        let generation = at.bed.storage.load(&key).unwrap().unwrap().generation;
        at.bed.storage.commit(&key, generation, bytes).unwrap();
    };
    let newer = String::from_utf8(good.clone())
        .unwrap()
        .replace("\"v\":1", "\"v\":2");
    for (case, bytes, code, kind) in [
        (
            "half written",
            &good[..good.len() / 2],
            "record_unreadable",
            ErrorKind::StorageLost,
        ),
        (
            "corrupt",
            b"\0\xff\0".as_slice(),
            "record_unreadable",
            ErrorKind::StorageLost,
        ),
        ("empty", b"", "record_unreadable", ErrorKind::StorageLost),
        (
            "newer",
            newer.as_bytes(),
            "record_newer",
            ErrorKind::Configuration,
        ),
    ] {
        write(bytes);
        let app = at.bed.client_with(|app| app.redirect(REDIRECT));
        let error = app.session().await.unwrap_err();
        told(&error, code, kind, Stage::Storage, case);
        assert_ne!(app.state().get(), SessionState::SignedOut, "{case}");
        let left = at.bed.storage.load(&key).unwrap().unwrap();
        assert_eq!(left.bytes.as_slice(), bytes, "{case}: left as it is");
    }
    write(&good);
    at.lives_with(&at.stored(), "written back").await;
}
