//! The default transport against the suite of the port, and what is its own.

mod environment;

use std::fmt::Debug;
use std::sync::Mutex;

use reqwest::Method;

use super::*;
use crate::ports::BoxFuture;
use crate::ports::http::conformance::server::Server;
use crate::ports::http::conformance::{HttpSuite, Report, Verdict};

#[tokio::test]
async fn reqwest_keeps_the_contract_of_the_port() {
    let suite = HttpSuite::new();
    let transport = ReqwestTransport::trusting(suite.root_pem());
    let report = suite.run(Arc::new(transport)).await;
    println!("{report}");
    report.assert_kept();
    assert_eq!(report.skipped().count(), 0, "\n{report}");
}

/// A transport with a fault that real ones have had.
struct Faulty<F>(ReqwestTransport, F);

impl<F> Debug for Faulty<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

type Answer = Result<HttpResponse, HttpFailure>;

#[async_trait]
impl<F> HttpTransport for Faulty<F>
where
    F: for<'a> Fn(&'a ReqwestTransport, HttpRequest) -> BoxFuture<'a, Answer> + Send + Sync,
{
    async fn send(&self, request: HttpRequest) -> Answer {
        (self.1)(&self.0, request).await
    }
}

/// Runs the suite, and wants these promises among those it finds broken.
async fn finds<F>(promises: &[&str], fault: F)
where
    F: for<'a> Fn(&'a ReqwestTransport, HttpRequest) -> BoxFuture<'a, Answer> + Send + Sync + 'static,
{
    let suite = HttpSuite::new();
    let transport = Faulty(ReqwestTransport::trusting(suite.root_pem()), fault);
    let report = suite.run(Arc::new(transport)).await;
    assert_broken(&report, promises);
}

#[track_caller]
fn assert_broken(report: &Report, promises: &[&str]) {
    let broken: Vec<_> = report.broken().map(|finding| finding.promise).collect();
    for promise in promises {
        assert!(broken.contains(promise), "{promise} is broken, but\n{report}");
    }
}

#[tokio::test]
async fn the_suite_finds_a_transport_that_sends_again() {
    let promises = [
        "a request is sent once when the connection dies on it",
        "a request is sent once when a pooled connection dies on it",
        "a reset after the request was read: outcome unknown",
        "an answer that is none, or not whole: outcome unknown",
        "HTTP/2: a refused request is sent once",
        "HTTP/2: a request that GOAWAY leaves out is sent once",
        "HTTP/2: a stream or connection that breaks: outcome unknown, sent once",
    ];
    finds(&promises, |inner, request| {
        Box::pin(async move {
            match inner.send(request.clone()).await {
                Err(_) => inner.send(request).await,
                answer => answer,
            }
        })
    })
    .await;
}

#[tokio::test]
async fn the_suite_finds_a_transport_that_says_not_sent_of_everything() {
    let promises = [
        "a request is sent once when the connection dies on it",
        "a reset before the request was read: outcome unknown",
        "a reset after the request was read: outcome unknown",
        "an answer that is none, or not whole: outcome unknown",
        "the body is cut while it streams",
        "headers without end are cut",
        "the deadline covers the wait for the answer and its body",
        "the deadline ends informational answers without end",
        "HTTP/2: a stream or connection that breaks: outcome unknown, sent once",
        "HTTP/2: the body is cut, and the deadline holds",
    ];
    finds(&promises, |inner, request| {
        Box::pin(async move {
            let not_sent = |failure| HttpFailure {
                delivery: Delivery::NotSent,
                ..failure
            };
            inner.send(request).await.map_err(not_sent)
        })
    })
    .await;
}

#[tokio::test]
async fn the_suite_finds_a_transport_that_is_never_sure() {
    let promises = [
        "a name that does not resolve: not sent",
        "a refused connection: not sent",
        "a certificate that is not to be trusted: not sent",
        "TLS 1.1 is refused: not sent",
        "a handshake that fails or breaks off: not sent",
        "a handshake that does not end: not sent, within the deadline",
    ];
    finds(&promises, |inner, request| {
        Box::pin(async move {
            let unknown = |failure| HttpFailure {
                delivery: Delivery::UnknownOutcome,
                ..failure
            };
            inner.send(request).await.map_err(unknown)
        })
    })
    .await;
}

#[tokio::test]
async fn the_suite_finds_a_transport_that_tells_secrets() {
    let promises = [
        "a request is sent once when the connection dies on it",
        "an answer that is none, or not whole: outcome unknown",
        "a certificate that is not to be trusted: not sent",
        "HTTP/2: a refused request is sent once",
    ];
    finds(&promises, |inner, request| {
        let url = request.url.clone();
        Box::pin(async move {
            let tell = |failure: HttpFailure| HttpFailure {
                detail: format!("{} for {url}", failure.detail),
                ..failure
            };
            inner.send(request).await.map_err(tell)
        })
    })
    .await;
}

/// reqwest nearly as it comes: follows redirects, knows no limits, and trusts everybody.
#[derive(Debug)]
struct Defaults(reqwest::Client);

#[async_trait]
impl HttpTransport for Defaults {
    async fn send(&self, request: HttpRequest) -> Answer {
        let failed = |error: reqwest::Error| failure::sorted(error, Progress::Unknown);
        let response = self
            .0
            .request(request.method, request.url)
            .headers(request.headers)
            // A body without end ends the test sooner.
            .timeout(request.timeout.min(Duration::from_secs(1)))
            .body(request.body.to_vec())
            .send()
            .await
            .map_err(failed)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.map_err(failed)?;
        Ok(HttpResponse::new(status, headers, body.to_vec()))
    }
}

#[tokio::test]
async fn the_suite_finds_a_client_with_its_defaults() {
    let client = reqwest::Client::builder()
        .tls_danger_accept_invalid_certs(true)
        .build()
        .unwrap();
    let report = HttpSuite::new().run(Arc::new(Defaults(client))).await;
    assert_broken(
        &report,
        &[
            "no redirect is followed",
            "a connection that idled too long carries no request",
            "the body is cut while it streams",
            "the limit of the body is exact",
            "a certificate that is not to be trusted: not sent",
            "a handshake that does not end: not sent, within the deadline",
            "HTTP/2: a refused request is sent once",
            "HTTP/2: a request that GOAWAY leaves out is sent once",
            "HTTP/2: the body is cut, and the deadline holds",
        ],
    );
}

#[tokio::test]
async fn what_cannot_be_checked_is_said() {
    let suite = HttpSuite::new().without_trust("the store is not ours");
    let report = suite.run(Arc::new(ReqwestTransport::new().unwrap())).await;
    report.assert_kept();
    let skipped: Vec<_> = report.skipped().map(|finding| &finding.verdict).collect();
    assert!(skipped.len() >= 9, "\n{report}");
    let why = Verdict::Skipped("the store is not ours".to_owned());
    assert!(skipped.iter().all(|verdict| **verdict == why), "\n{report}");
}

/// Keeps what it is told.
#[derive(Debug)]
struct Listening {
    inner: ReqwestTransport,
    told: Mutex<Vec<HttpFailure>>,
}

#[async_trait]
impl HttpTransport for Listening {
    async fn send(&self, request: HttpRequest) -> Answer {
        let answer = self.inner.send(request).await;
        if let Err(failure) = &answer {
            self.told.lock().unwrap().push(failure.clone());
        }
        answer
    }
}

/// What the failures of a whole suite say: a developer has nothing else to go by.
#[tokio::test]
async fn every_failure_says_why_and_http2_may_say_not_sent() {
    let suite = HttpSuite::new();
    let transport = Arc::new(Listening {
        inner: ReqwestTransport::trusting(suite.root_pem()),
        told: Mutex::default(),
    });
    suite.run(Arc::clone(&transport) as _).await.assert_kept();
    let told = transport.told.lock().unwrap();
    use HttpFailureReason::{InvalidAnswer, NameNotResolved, Tls, TlsCertificate};
    for (reason, words) in [
        (NameNotResolved, "the name of the server was not found"),
        (
            TlsCertificate,
            "from an authority that this device does not trust",
        ),
        (TlsCertificate, "for another host"),
        (TlsCertificate, "has expired"),
        (TlsCertificate, "is not valid yet"),
        (Tls, "no TLS version that is safe"),
        (Tls, "does not speak TLS"),
        (Tls, "the server ended the TLS handshake"),
        (Tls, "the TLS handshake was not finished"),
        (HttpFailureReason::Timeout, "timed out"),
        (HttpFailureReason::BodyTooLarge, "longer than 100000 bytes"),
        (InvalidAnswer, "not HTTP as it should be"),
        (HttpFailureReason::Connect, "refused"),
    ] {
        let is_told = |failure: &HttpFailure| failure.reason == reason && failure.detail.contains(words);
        assert!(told.iter().any(is_told), "{reason:?} {words}: {told:#?}");
    }
    // RFC 9113 §6.8 and §8.7, as BI-98 wants it. How many there are is up to the scheduler: of the requests that follow one
    // another on a connection closed while idle, some meet its GOAWAY.
    let refused: Vec<_> = told
        .iter()
        .filter(|failure| {
            failure
                .detail
                .contains("refused the request before it looked at it")
        })
        .collect();
    for cause in ["stream error received", "connection error received"] {
        let is_there = refused.iter().any(|failure| failure.detail.contains(cause));
        assert!(is_there, "{cause}: {told:#?}");
    }
    assert!(
        refused
            .iter()
            .all(|failure| failure.delivery == Delivery::NotSent)
    );
}

#[tokio::test]
async fn bt_11_plain_http_stays_on_this_machine() {
    let transport = ReqwestTransport::new().unwrap();
    for url in [
        "http://login.example.com/token",
        "http://localhost/token",
        "http://127.0.0.2/token",
        "http://[::2]/token",
        "ftp://127.0.0.1/token",
    ] {
        let request = HttpRequest::new(Method::POST, Url::parse(url).unwrap());
        let failure = transport.send(request).await.unwrap_err();
        let told = (failure.delivery, failure.reason);
        assert_eq!(
            told,
            (Delivery::NotSent, HttpFailureReason::InvalidRequest),
            "{url}"
        );
    }
}

/// The pool's clock is tokio's, so it can be moved on.
#[tokio::test]
async fn a_connection_that_idled_for_five_seconds_is_not_used_again() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    let transport = ReqwestTransport::new().unwrap();
    let send = async || {
        let mut request = server.grant().unwrap();
        request.max_connection_idle = Some(Duration::from_secs(5));
        transport.send(request).await.unwrap();
    };
    send().await;
    let before = server.connections();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(4)).await;
    tokio::time::resume();
    send().await;
    assert_eq!(server.connections(), before, "four seconds are not too long");
    tokio::time::pause();
    tokio::time::advance(Duration::from_millis(5_001)).await;
    tokio::time::resume();
    send().await;
    assert_eq!(server.connections(), before + 1, "five are");
}

/// Nobody takes the connection up, and the queue of those that wait is full.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_nobody_takes_up_is_not_sent() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    let _listener = socket.listen(1).unwrap();
    let mut waiting = Vec::new();
    let full = Duration::from_millis(200);
    while let Ok(connection) = tokio::time::timeout(full, tokio::net::TcpStream::connect(address)).await {
        waiting.push(connection.unwrap());
    }
    let url = Url::parse(&format!("http://{address}/token")).unwrap();
    let mut request = HttpRequest::new(Method::POST, url);
    request.body = Zeroizing::new(b"refresh_token=secret".to_vec());
    request.timeout = full;
    let failure = ReqwestTransport::new().unwrap().send(request).await.unwrap_err();
    let told = (failure.delivery, failure.reason);
    assert_eq!(
        told,
        (Delivery::NotSent, HttpFailureReason::Timeout),
        "{failure:?}"
    );
}

#[test]
fn an_answer_that_came_while_the_process_was_frozen_is_read() {
    use std::io::{Read as _, Write as _};
    use std::time::{Duration, Instant};

    let socket = std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = socket.local_addr().unwrap();
    let (asked, was_asked) = std::sync::mpsc::channel();
    let (frozen, is_frozen) = std::sync::mpsc::channel();
    let (answered, has_answered) = std::sync::mpsc::channel();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = socket.accept().unwrap();
        let mut request = [0; 4096];
        let read = stream.read(&mut request).unwrap();
        assert!(read > 0);
        asked.send(()).unwrap();
        is_frozen.recv().unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            .unwrap();
        answered.send(()).unwrap();
        // Until the client hangs up.
        drop(stream.read(&mut request));
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let transport = ReqwestTransport::default();
    let mut request = HttpRequest::new(
        http::Method::POST,
        format!("http://{address}/token").parse().unwrap(),
    );
    request.body = zeroize::Zeroizing::new(b"refresh_token=R".to_vec());
    request.timeout = Duration::from_millis(500);
    let deadline = Instant::now() + request.timeout;
    let freeze = async {
        while was_asked.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        // Frozen as a stopped process is, nothing here runs, until both the answer has come and the deadline is long past.
        frozen.send(()).unwrap();
        has_answered.recv().unwrap();
        while Instant::now() < deadline + 2 * WOKEN_LATE {
            std::hint::spin_loop();
        }
    };
    let (outcome, ()) = runtime.block_on(async { tokio::join!(transport.send(request), freeze) });
    assert_eq!(&outcome.unwrap().body[..], b"ok");
    drop(runtime);
    server.join().unwrap();
}
