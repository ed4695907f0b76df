//! The contract of [`HttpTransport`] as a suite that any transport can be run against: a server that misbehaves, and
//! what must be told of it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use super::*;

/// Long enough to be of no concern.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs everything. `transport` must accept http to 127.0.0.1, and trust no certificate that the platform does not.
pub(crate) async fn suite(transport: Arc<dyn HttpTransport>) {
    let transport = &*transport;
    answers_come_as_they_are(transport).await;
    redirects_are_answers(transport).await;
    cookies_are_not_kept(transport).await;
    nothing_is_cached(transport).await;
    a_request_is_sent_once(transport).await;
    a_pooled_connection_that_died_costs_no_second_request(transport).await;
    what_was_not_sent_is_told(transport).await;
    tls_failures_are_told(transport).await;
    answers_that_are_none(transport).await;
    the_body_is_cut_while_it_streams(transport).await;
    the_deadline_is_its_own(transport).await;
}

async fn answers_come_as_they_are(transport: &dyn HttpTransport) {
    let answer = "HTTP/1.1 200 OK\r\nX-Two: a\r\nx-two: b\r\nContent-Length: 4\r\n\r\nbody";
    let server = Server::answering(answer);
    let mut request = server.post("/token?x=1", "grant=1");
    request.headers.append("x-mine", "a".parse().unwrap());
    request.headers.append("x-mine", "b".parse().unwrap());
    let response = transport.send(request).await.unwrap();
    assert_eq!(
        (response.status, &response.body[..]),
        (StatusCode::OK, &b"body"[..])
    );
    let two: Vec<_> = response.headers.get_all("x-two").iter().collect();
    assert_eq!(two, ["a", "b"], "duplicate headers are kept");
    let sent = server.requests();
    assert!(sent[0].starts_with("POST /token?x=1 HTTP/1.1\r\n"), "{}", sent[0]);
    assert!(sent[0].ends_with("\r\n\r\ngrant=1"), "{}", sent[0]);
    let sent = sent[0].to_ascii_lowercase();
    assert!(sent.contains("x-mine: a\r\nx-mine: b\r\n"), "{sent}");
    assert!(!sent.contains("cookie:") && !sent.contains("referer:"), "{sent}");

    for status in [204, 400, 401, 403, 404, 429, 500, 503] {
        let server = Server::answering(format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n"));
        let response = transport.send(server.post("/", "")).await.unwrap();
        assert_eq!(response.status, status, "a status is an answer");
    }
}

async fn redirects_are_answers(transport: &dyn HttpTransport) {
    let elsewhere = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    for status in [301, 302, 303, 307, 308] {
        let server = Server::answering(format!(
            "HTTP/1.1 {status} X\r\nLocation: http://{}/\r\nContent-Length: 0\r\n\r\n",
            elsewhere.address
        ));
        let response = transport.send(server.post("/", "grant=1")).await.unwrap();
        assert_eq!(response.status, status);
        assert!(response.headers.contains_key("location"));
        assert_eq!(server.requests().len(), 1, "{status}");
    }
    assert_eq!(elsewhere.requests().len(), 0, "nothing is sent on");
}

async fn cookies_are_not_kept(transport: &dyn HttpTransport) {
    let server =
        Server::answering("HTTP/1.1 200 OK\r\nSet-Cookie: sid=1; Path=/\r\nContent-Length: 0\r\n\r\n");
    for _ in 0..2 {
        transport.send(server.post("/", "")).await.unwrap();
    }
    let sent = server.requests();
    assert_eq!(sent.len(), 2);
    assert!(!sent[1].to_ascii_lowercase().contains("cookie:"), "{}", sent[1]);
}

async fn nothing_is_cached(transport: &dyn HttpTransport) {
    let server = Server::answering(
        "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=86400\r\nETag: \"1\"\r\nContent-Length: 1\r\n\r\nx",
    );
    for _ in 0..2 {
        let response = transport.send(server.get("/jwks")).await.unwrap();
        assert_eq!(&response.body[..], b"x");
    }
    let sent = server.requests();
    assert_eq!(sent.len(), 2);
    assert!(
        !sent[1].to_ascii_lowercase().contains("if-none-match"),
        "{}",
        sent[1]
    );
}

/// Accept, read the request, close: the classic cause of a grant that is sent twice.
async fn a_request_is_sent_once(transport: &dyn HttpTransport) {
    for method in [Method::POST, Method::GET] {
        let server = Server::start(|_, stream| {
            drop(stream.shutdown(Shutdown::Both));
        });
        let request = HttpRequest {
            method: method.clone(),
            ..server.post("/token", "refresh_token=R")
        };
        let failure = transport.send(request).await.unwrap_err();
        assert_eq!(
            failure.delivery,
            Delivery::UnknownOutcome,
            "{method}: {failure:?}"
        );
        server.settle();
        assert_eq!(server.requests().len(), 1, "{method}");
    }
}

/// The server answers, keeps the connection, and closes it when the next request has arrived on it.
async fn a_pooled_connection_that_died_costs_no_second_request(transport: &dyn HttpTransport) {
    let server = Server::start(|number, stream| {
        if number == 1 {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        } else {
            drop(stream.shutdown(Shutdown::Both));
        }
    });
    transport.send(server.post("/token", "code=1")).await.unwrap();
    let failure = transport
        .send(server.post("/token", "refresh_token=R"))
        .await
        .unwrap_err();
    assert_eq!(failure.delivery, Delivery::UnknownOutcome, "{failure:?}");
    server.settle();
    assert_eq!(server.requests().len(), 2, "the second request was sent once");

    // It closes right after its answer: the next request finds the connection dead, and is sent at most once.
    let server = Server::start(|_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"));
        drop(stream.shutdown(Shutdown::Both));
    });
    for round in 1..=20 {
        let before = server.requests().len();
        let outcome = transport.send(server.post("/token", "refresh_token=R")).await;
        server.settle();
        let more = server.requests().len() - before;
        match outcome {
            Ok(_) => assert_eq!(more, 1, "round {round}"),
            Err(failure) if failure.delivery == Delivery::NotSent => assert_eq!(more, 0, "round {round}"),
            Err(_) => assert!(more <= 1, "round {round}"),
        }
    }
}

async fn what_was_not_sent_is_told(transport: &dyn HttpTransport) {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    for url in [
        format!("http://{free}/"),
        "http://gatepass-test.invalid/".to_owned(),
    ] {
        let request = HttpRequest::new(Method::POST, Url::parse(&url).unwrap());
        let failure = transport.send(request).await.unwrap_err();
        assert_eq!(
            (failure.delivery, failure.reason),
            (Delivery::NotSent, HttpFailureReason::Connect),
            "{url}: {failure:?}"
        );
        assert!(!failure.detail.is_empty());
    }
}

/// Whatever goes wrong in the handshake, no byte of the request has left.
async fn tls_failures_are_told(transport: &dyn HttpTransport) {
    const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 40]; // handshake_failure, fatal
    for (name, answer) in [
        (
            "plain HTTP",
            &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"[..],
        ),
        ("an alert", ALERT),
    ] {
        let server = Server::raw(answer.to_vec());
        let url = Url::parse(&format!("https://{}/token?code=q-secret", server.address)).unwrap();
        let failure = transport
            .send(HttpRequest::new(Method::POST, url))
            .await
            .unwrap_err();
        assert_eq!(
            (failure.delivery, failure.reason),
            (Delivery::NotSent, HttpFailureReason::Tls),
            "{name}: {failure:?}"
        );
        assert!(!failure.detail.contains("q-secret"), "{failure:?}");
    }
}

async fn answers_that_are_none(transport: &dyn HttpTransport) {
    for answer in [
        "hello, I am not HTTP\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"access_token\"",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    ] {
        let server = Server::start(move |_, stream| {
            drop(stream.write_all(answer.as_bytes()));
            drop(stream.shutdown(Shutdown::Both));
        });
        let mut request = server.post("/token?code=q-secret", "refresh_token=b-secret");
        request
            .headers
            .insert("authorization", "h-secret".parse().unwrap());
        let failure = transport.send(request).await.unwrap_err();
        assert_eq!(
            failure.delivery,
            Delivery::UnknownOutcome,
            "{answer:?}: {failure:?}"
        );
        assert!(!format!("{failure:?}").contains("secret"), "{failure:?}");
        server.settle();
        assert_eq!(server.requests().len(), 1, "{answer:?}");
    }
}

async fn the_body_is_cut_while_it_streams(transport: &dyn HttpTransport) {
    let (gone, mut is_gone) = tokio::sync::mpsc::unbounded_channel();
    let server = Server::start(move |_, stream| {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"));
        let chunk = [&b"1000\r\n"[..], &[b'x'; 4096], b"\r\n"].concat();
        // Without end, until the other side hangs up.
        while stream.write_all(&chunk).is_ok() {}
        gone.send(()).unwrap_or_default();
    });
    let mut request = server.get("/");
    request.max_response_bytes = 100_000;
    let failure = transport.send(request).await.unwrap_err();
    assert_eq!(
        (failure.delivery, failure.reason),
        (Delivery::UnknownOutcome, HttpFailureReason::BodyTooLarge)
    );
    // Awaited, not blocked on: the transport may need this thread to let go.
    is_gone.recv().await.expect("the connection is dropped");

    for (length, fits) in [(1000, true), (1001, false)] {
        let server = Server::answering(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        ));
        let mut request = server.get("/");
        request.max_response_bytes = 1000;
        assert_eq!(transport.send(request).await.is_ok(), fits, "{length}");
    }
}

async fn the_deadline_is_its_own(transport: &dyn HttpTransport) {
    // One says nothing at all, the other starts an answer and does not go on.
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhal"] {
        let (over, is_over) = std::sync::mpsc::channel::<()>();
        let is_over = Mutex::new(is_over);
        let server = Server::start(move |_, stream| {
            drop(stream.write_all(answer.as_bytes()));
            is_over.lock().unwrap().recv().unwrap_or_default();
        });
        let mut request = server.post("/token", "refresh_token=R");
        request.timeout = Duration::from_millis(50);
        let failure = transport.send(request).await.unwrap_err();
        assert_eq!(
            (failure.delivery, failure.reason),
            (Delivery::UnknownOutcome, HttpFailureReason::Timeout),
            "{answer:?}: {failure:?}"
        );
        drop(over);
    }
}

/// A server that reads requests and leaves it to a function what to do about them.
struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// `behave` gets the number of the request at this server, from 1, and its connection.
    fn start(behave: impl Fn(usize, &mut TcpStream) + Send + Sync + 'static) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (behave, seen) = (Arc::new(behave), Arc::clone(&requests));
        let address = accept(move |mut stream| {
            while let Some(request) = read_request(&mut stream) {
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request);
                    seen.len()
                };
                behave(number, &mut stream);
            }
        });
        Self { address, requests }
    }

    fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::start(move |_, stream| drop(stream.write_all(answer.as_bytes())))
    }

    /// Reads once and answers with these bytes, whatever was said.
    fn raw(answer: Vec<u8>) -> Self {
        let address = accept(move |mut stream| {
            drop(stream.read(&mut [0; 4096]));
            drop(stream.write_all(&answer));
            drop(stream.shutdown(Shutdown::Write));
            // Until the other side hangs up: a reset would take the answer with it.
            drop(stream.read_to_end(&mut Vec::new()));
        });
        Self {
            address,
            requests: Arc::default(),
        }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// A connection of our own, answered by hanging up: what arrived before it has been accepted before it.
    fn settle(&self) {
        let mut probe = TcpStream::connect(self.address).unwrap();
        drop(probe.write_all(b"\n"));
        drop(probe.shutdown(Shutdown::Write));
        drop(probe.read_to_end(&mut Vec::new()));
    }

    fn get(&self, target: &str) -> HttpRequest {
        let url = Url::parse(&format!("http://{}{target}", self.address)).unwrap();
        let mut request = HttpRequest::new(Method::GET, url);
        request.timeout = PATIENCE;
        request
    }

    fn post(&self, target: &str, body: &str) -> HttpRequest {
        HttpRequest {
            method: Method::POST,
            body: Zeroizing::new(body.as_bytes().to_vec()),
            ..self.get(target)
        }
    }
}

/// Serves each connection on a thread of its own, for as long as the test program runs.
fn accept(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// One request with its body; `None` at the end of the connection.
fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        read.push(byte[0]);
    }
    let head = String::from_utf8(read.clone()).ok()?.to_ascii_lowercase();
    let length = head.split("content-length:").nth(1).map_or(0, |rest| {
        rest.lines()
            .next()
            .unwrap_or_default()
            .trim()
            .parse()
            .unwrap_or(0)
    });
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    read.extend_from_slice(&body);
    String::from_utf8(read).ok()
}
