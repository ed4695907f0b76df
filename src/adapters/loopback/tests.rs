//! The listener through real sockets: BI-30, NA-10 to NA-15, NA-26, NA-27.

use std::net::{IpAddr, TcpListener as StdListener};
use std::sync::Mutex;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};

use super::*;
use crate::error::Result as GatepassResult;

const MARKUP: &str = "%3Cscript%3Ealert(1)%3C/script%3E";

/// A listener that is being served, and what its judge was asked.
struct Open {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    over: Option<oneshot::Sender<()>>,
    served: tokio::task::JoinHandle<()>,
}

async fn bind_for(redirect: &str) -> GatepassResult<Listener> {
    Listener::bind(&RedirectUri::parse(redirect).unwrap()).await
}

/// Verdicts by the query: `code=good`, `error=...`; anything else is not ours.
fn serve(listener: Listener) -> Open {
    let address = listener.address();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (over, is_over) = oneshot::channel();
    let judge = {
        let asked = Arc::clone(&asked);
        move |url: Zeroizing<String>| {
            asked.lock().unwrap().push(url.to_string());
            async move {
                if url.contains("code=good") {
                    Verdict::Accepted
                } else if url.contains("error=") {
                    Verdict::Refused
                } else {
                    Verdict::TurnedDown
                }
            }
        }
    };
    let executor = Executor::shared().unwrap();
    let served = executor
        .handle()
        .spawn(listener.serve(judge, async move { drop(is_over.await) }));
    Open {
        address,
        asked,
        over: Some(over),
        served,
    }
}

async fn open() -> Open {
    serve(bind_for("http://127.0.0.1/callback").await.unwrap())
}

impl Open {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends these bytes and reads all that comes back.
    async fn raw(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The listener may hang up in the middle of what it does not want.
        drop(stream.write_all(request).await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    }

    async fn request(&self, method: &str, target: &str) -> String {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.raw(request.as_bytes()).await
    }

    async fn get(&self, target: &str) -> String {
        self.request("GET", target).await
    }

    fn questions(&self) -> usize {
        self.asked.lock().unwrap().len()
    }

    /// The real redirect still gets through, whole, and the listener is gone after it.
    async fn ends_well(self) {
        let page = self.get("/callback?code=good&state=s").await;
        assert_eq!(status(&page), 200, "{page}");
        assert!(page.ends_with("</html>\n"), "{page}");
        let Self { address, served, .. } = self;
        served.await.unwrap();
        assert!(TcpStream::connect(address).await.is_err(), "NA-14: closed");
    }
}

fn status(answer: &str) -> u16 {
    let line = answer.lines().next().unwrap_or_default();
    line.split(' ')
        .nth(1)
        .and_then(|code| code.parse().ok())
        .unwrap_or(0)
}

#[tokio::test]
async fn bi_30_whatever_is_not_the_redirect_is_turned_away() {
    let open = open().await;
    let own = open.address;
    for (target, code) in [
        ("/favicon.ico", 404),
        ("/", 404),
        ("/callback", 404), // no query
        ("/callbackx?code=good", 404),
        ("/callback/?code=good", 404),
        ("/callback/evil?code=good", 404),
        ("/callback;x?code=good", 404),
        ("/Callback?code=good", 404),
        ("/%63allback?code=good", 404),
        ("//callback?code=good", 404),
        ("/x/../callback?code=good", 404),
        ("*", 404),
    ] {
        assert_eq!(status(&open.get(target).await), code, "{target}");
    }
    // Absolute form (RFC 9112 §3.2.2) is for proxies.
    for target in [
        format!("http://{own}/callback?code=good"),
        "http://evil.example/callback?code=good".into(),
    ] {
        assert!([400, 404].contains(&status(&open.get(&target).await)), "{target}");
    }
    for method in ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "get", "X"] {
        let answer = open.request(method, "/callback?code=good").await;
        assert_eq!(status(&answer), 405, "{method}: {answer}");
        assert!(
            answer.to_ascii_lowercase().contains("\r\nallow: get\r\n"),
            "{answer}"
        );
    }
    assert_eq!(open.questions(), 0, "nobody was asked about any of them");
    open.ends_well().await;
}

#[tokio::test]
async fn bi_30_na_14_a_foreign_host_is_turned_away() {
    let open = open().await;
    let port = open.address.port();
    for host in [
        "Host: evil.example".to_owned(),
        format!("Host: evil.example:{port}"),
        format!("Host: localhost:{port}"),
        "Host: 127.0.0.1".to_owned(),
        format!("Host: 127.0.0.1:{}", port ^ 1),
        format!("Host: 127.0.0.1.evil.example:{port}"),
        format!("Host: {}\r\nHost: evil.example", open.address),
        "X: no host at all".to_owned(),
    ] {
        let request = format!("GET /callback?code=good HTTP/1.1\r\n{host}\r\n\r\n");
        assert_eq!(status(&open.raw(request.as_bytes()).await), 400, "{host}");
    }
    assert_eq!(open.questions(), 0);
    open.ends_well().await;
}

#[tokio::test]
async fn bi_30_garbage_and_floods_of_bytes() {
    let open = open().await;
    let long = format!("GET /callback?code={} HTTP/1.1\r\n", "a".repeat(100 * 1024));
    let headers = format!(
        "GET /callback?code=good HTTP/1.1\r\n{}\r\n",
        "X: y\r\n".repeat(2_000)
    );
    for garbage in [
        &b"\r\n\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", // a TLS hello
        b"GET\r\n\r\n",
        b"GET /callback?code=good\r\n\r\n",
        b"GET /callback?code=good HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\n\n\n\n",
        &[0xff; 200_000],
        long.as_bytes(),
        headers.as_bytes(),
    ] {
        // The end of what is sent is the end of waiting: nothing here depends on a time-out.
        let mut stream = open.connect().await;
        drop(stream.write_all(garbage).await);
        drop(stream.shutdown().await);
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        let answer = String::from_utf8_lossy(&answer);
        assert!([0, 400, 414, 431].contains(&status(&answer)), "{answer}");
    }
    assert_eq!(open.questions(), 0);
    open.ends_well().await;
}

#[tokio::test]
async fn a_callback_of_the_longest_kind_gets_through() {
    let open = open().await;
    let fits = MAX_URL_BYTES - 200;
    let answer = open.get(&format!("/callback?x={}", "a".repeat(fits))).await;
    assert_eq!(
        (status(&answer), open.questions()),
        (400, 1),
        "read, judged, and not ours"
    );
    open.ends_well().await;
}

#[tokio::test]
async fn bi_30_a_slow_drip_keeps_nobody_waiting() {
    let open = open().await;
    let mut slow = open.connect().await;
    slow.write_all(b"GET /callb").await.unwrap();
    let answer = open.get("/callback?code=theirs").await;
    assert_eq!(status(&answer), 400);
    slow.write_all(b"ack?co").await.unwrap();
    open.ends_well().await;
    // And it does not keep the listener alive either.
    drop(slow.read_to_end(&mut Vec::new()).await);
}

/// Their number is bounded by whoever comes after them, as the next test shows.
#[tokio::test]
async fn bi_30_idle_connections_are_bounded_in_time() {
    let mut listener = bind_for("http://127.0.0.1/callback").await.unwrap();
    listener.header_timeout = Duration::from_millis(20);
    let open = serve(listener);
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        idle.push(open.connect().await);
    }
    // None of them says anything, and none leaves by itself: the listener ends each.
    for mut connection in idle {
        drop(connection.read_to_end(&mut Vec::new()).await);
    }
    assert_eq!(open.questions(), 0);
}

#[tokio::test]
async fn bi_30_whoever_holds_connections_open_cannot_keep_the_browser_out() {
    let mut listener = bind_for("http://127.0.0.1/callback").await.unwrap();
    // No time-out comes to help.
    listener.header_timeout = Duration::from_secs(3600);
    let open = serve(listener);
    let mut held = Vec::new();
    for _ in 0..5 * MAX_CONNECTIONS {
        let mut connection = open.connect().await;
        // Refused if it was put out already, which is as well.
        let _ = connection.write_all(b"GET /callback?code=").await;
        held.push(connection);
    }
    assert_eq!(status(&open.get("/callback?code=good").await), 200);
    open.served.await.unwrap();
}

#[tokio::test]
async fn bi_30_thousands_of_connections() {
    let open = open().await;
    for _ in 0..40 {
        let mut crowd = Vec::new();
        for _ in 0..50 {
            crowd.push(open.connect().await);
        }
        // More than the listener has places for; once they go, the next is answered.
        drop(crowd);
        assert_eq!(status(&open.get("/favicon.ico").await), 404);
    }
    assert_eq!(open.questions(), 0);
    open.ends_well().await;
}

#[tokio::test]
async fn the_page_says_nothing_of_the_request_and_loads_nothing() {
    for (target, code, words) in [
        ("/callback?code=good&state=s&x=", 200, "Back to the app"),
        (
            "/callback?error=access_denied&error_description=",
            200,
            "You are not signed in",
        ),
        ("/callback?code=theirs&x=", 400, "The app is not waiting for this"),
        ("/nowhere?x=", 404, "There is nothing here"),
    ] {
        let open = open().await;
        let answer = open.get(&format!("{target}{MARKUP}")).await;
        assert_eq!(status(&answer), code, "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let head = head.to_ascii_lowercase();
        for header in [
            "content-type: text/html; charset=utf-8",
            "cache-control: no-store",
            "referrer-policy: no-referrer",
            "x-content-type-options: nosniff",
            "connection: close",
            "content-security-policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ] {
            assert!(head.contains(header), "{header} is missing in {head}");
        }
        assert!(!head.contains("location:") && !head.contains("set-cookie:"));
        assert!(body.contains(words), "{body}");
        for foreign in [
            "alert",
            "script",
            "good",
            "theirs",
            "access_denied",
            "nowhere",
            "http:",
            "https:",
            "src=",
            "href=",
            "url(",
        ] {
            assert!(!body.contains(foreign), "{foreign} in {body}");
        }
    }
}

#[tokio::test]
async fn na_14_the_listener_closes_when_it_is_decided_and_not_before() {
    let open_ = open().await;
    assert_eq!(status(&open_.get("/callback?code=theirs").await), 400);
    assert_eq!(status(&open_.get("/callback?state=x").await), 400);
    assert!(!open_.served.is_finished());
    open_.ends_well().await;

    let refused = open().await;
    assert_eq!(status(&refused.get("/callback?error=access_denied").await), 200);
    refused.served.await.unwrap();
    assert!(TcpStream::connect(refused.address).await.is_err());

    let mut called_off = open().await;
    let mut waiting = called_off.connect().await;
    called_off.over.take().unwrap().send(()).unwrap();
    called_off.served.await.unwrap();
    assert!(TcpStream::connect(called_off.address).await.is_err());
    drop(waiting.read_to_end(&mut Vec::new()).await);
}

#[tokio::test]
async fn the_answer_that_decided_is_delivered_whole() {
    for round in 0..200 {
        let open = open().await;
        // Others that come at the same moment must not cut it off.
        let (page, other) = tokio::join!(open.get("/callback?code=good&state=s"), async {
            let stream = TcpStream::connect(open.address).await;
            if let Ok(mut stream) = stream {
                drop(stream.write_all(b"GET /callback?code=theirs HTTP/1.1\r\n").await);
                drop(stream.shutdown().await);
                drop(stream.read_to_end(&mut Vec::new()).await);
            }
        });
        let () = other;
        assert_eq!(status(&page), 200, "round {round}: {page}");
        assert!(page.ends_with("</html>\n"), "round {round}: {page}");
        open.served.await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_on_its_way_when_the_sign_in_is_called_off_is_finished() {
    let listener = bind_for("http://127.0.0.1/callback").await.unwrap();
    let address = listener.address();
    let (asked, mut is_asked) = mpsc::unbounded_channel();
    let (over, is_over) = oneshot::channel::<()>();
    let (go, may_go) = watch::channel(false);
    let judge = move |_| {
        asked.send(()).unwrap();
        let mut may_go = may_go.clone();
        async move {
            may_go.wait_for(|go| *go).await.unwrap();
            Verdict::TurnedDown
        }
    };
    let executor = Executor::shared().unwrap();
    let served = executor
        .handle()
        .spawn(listener.serve(judge, async move { drop(is_over.await) }));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /callback?code=x HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    is_asked.recv().await.unwrap();
    over.send(()).unwrap();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    go.send_replace(true);
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), 400);
    assert!(answer.ends_with("</html>\n"));
    served.await.unwrap();
}

#[tokio::test]
async fn na_10_na_11_na_12_na_15_what_is_bound() {
    let v4 = bind_for("http://127.0.0.1/callback").await.unwrap();
    assert_eq!(
        v4.address().ip(),
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        "no other machine reaches it"
    );
    let again = bind_for("http://127.0.0.1/callback").await.unwrap();
    assert_ne!(
        v4.address().port(),
        again.address().port(),
        "each sign-in has a port of its own"
    );
    assert!(RedirectUri::parse("http://localhost/callback").is_err());

    if StdListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return; // This machine has no IPv6.
    }
    let v6 = bind_for("http://[::1]/callback").await.unwrap();
    assert_eq!(v6.address().ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
    serve(v6).ends_well().await;
}

#[tokio::test]
async fn na_12_na_26_na_27_a_port_that_is_taken_is_not_shared() {
    let taken = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let redirect = format!("http://127.0.0.1:{port}/callback");
    let Ok(also_taken) = StdListener::bind((Ipv6Addr::LOCALHOST, port)) else {
        return; // No IPv6, or somebody else has that port there.
    };
    let error = bind_for(&redirect).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.code(), error.stage()),
        (
            ErrorKind::RedirectNotCaptured,
            "loopback_not_bound",
            Stage::UserAgent
        )
    );
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    drop(also_taken);
    let fallback = bind_for(&redirect).await.unwrap();
    assert_eq!(fallback.address(), SocketAddr::from((Ipv6Addr::LOCALHOST, port)));
    // Nobody else gets the port that we hold.
    assert!(StdListener::bind(fallback.address()).is_err());
    serve(fallback).ends_well().await;
}

#[tokio::test]
async fn na_11_na_26_na_27_the_port_of_before_is_bound_again_when_it_is_free_and_no_other_in_its_place() {
    // One that the system gives to nobody while it is free: it hands out those above.
    let mut ports = 10_000 + std::process::id() % 20_000..;
    let is_free = |port: &u32| StdListener::bind(format!("127.0.0.1:{port}")).is_ok();
    let redirect = format!("http://127.0.0.1:{}/callback", ports.find(is_free).unwrap());
    let held = bind_for(&redirect).await.unwrap();
    let redirect = RedirectUri::parse(&redirect).unwrap();
    // The other loopback address has that port free, and is not where the browser goes.
    assert!(Listener::bind_again(&redirect).await.is_none());
    let address = held.address();
    drop(held);
    let again = Listener::bind_again(&redirect).await.unwrap();
    assert_eq!(again.address(), address);
    // Nor is it shared now.
    assert!(StdListener::bind(address).is_err());
    let without_port = RedirectUri::parse("http://127.0.0.1/callback").unwrap();
    assert!(Listener::bind_again(&without_port).await.is_none());
}
