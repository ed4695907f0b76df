//! What the environment of a program decides: proxies, and whom the platform trusts. Each test starts this test program
//! again, with an environment of its own, since that of a process is one for all its threads.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use super::*;
use crate::ports::http::conformance::server::{Authority, Flaw, NAME, Server};

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody";
const URL: &str = "GATEPASS_TEST_URL";

/// What the child does: sends one grant, and prints everything it says, logs and errors included.
#[tokio::test]
#[ignore = "started by the tests of this file, in a process of its own"]
async fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    log::set_logger(&Loud).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    tracing::subscriber::set_global_default(Loud).unwrap();
    let transport = match ReqwestTransport::new() {
        Ok(transport) => transport,
        Err(error) => {
            println!("outcome: none, {} {error} {error:?}", error.code());
            return;
        }
    };
    let mut request = HttpRequest::new(Method::POST, Url::parse(&url).unwrap());
    request.body = Zeroizing::new(b"refresh_token=t-secret".to_vec());
    println!("{transport:?}");
    match transport.send(request).await {
        Ok(response) => println!("outcome: {}", response.status),
        Err(failure) => println!("outcome: {} {failure:?}", failure.reason.code()),
    }
}

/// Prints every log record, event and span.
struct Loud;

impl log::Log for Loud {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        println!("log: {} {}", record.target(), record.args());
    }
    fn flush(&self) {}
}

impl tracing::Subscriber for Loud {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        println!("span: {span:?}");
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, values: &tracing::span::Record<'_>) {
        println!("span: {values:?}");
    }
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        println!("event: {event:?}");
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// Runs [`child`] in this environment, and gives all it said.
fn run_child(url: &str, environment: &[(&str, &str)]) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["adapters::reqwest::tests::environment::child", "--exact"])
        .args(["--ignored", "--nocapture"])
        .env(URL, url);
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "NO_PROXY",
        "REQUEST_METHOD",
    ] {
        command.env_remove(name).env_remove(name.to_ascii_lowercase());
    }
    let environment = environment.iter().copied();
    let output = command.envs(environment).stdin(Stdio::null()).output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success() && said.contains("outcome: "), "{said}");
    assert!(!said.contains("t-secret"), "the token in what it says\n{said}");
    said
}

/// A file that goes with the test.
fn file(text: &str) -> tempfile::TempPath {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file.into_temp_path()
}

fn tls_server(authority: &Authority) -> Server {
    let tls = authority
        .identity(Flaw::None)
        .unwrap()
        .serve(rustls::ALL_VERSIONS, &[b"http/1.1"])
        .unwrap();
    Server::over(Some(tls), |_, line| line.say(ANSWER)).unwrap()
}

/// Carries bytes both ways until both sides have hung up.
fn join(mut client: TcpStream, mut server: TcpStream) {
    let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    std::thread::spawn(move || {
        drop(std::io::copy(&mut from, &mut to));
        drop(to.shutdown(Shutdown::Both));
    });
    drop(std::io::copy(&mut client, &mut server));
    drop(server.shutdown(Shutdown::Both));
}

/// A proxy that notes what it is told before the tunnel, and what it then does.
struct Proxy {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Leads every tunnel to this server.
    fn to(server: SocketAddr) -> Self {
        Self::start(move |mut client| {
            client
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .unwrap();
            join(client, TcpStream::connect(server).unwrap());
        })
    }

    fn answering(answer: &'static str) -> Self {
        Self::start(move |mut client| {
            client.write_all(answer.as_bytes()).unwrap();
            drop(client.shutdown(Shutdown::Write));
            drop(client.read_to_end(&mut Vec::new()));
        })
    }

    fn start(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&heads);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let mut head = String::new();
                let mut reader = BufReader::new(&client);
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
                noted.lock().unwrap().push(head);
                drop(reader);
                serve(client);
            }
        });
        Self { address, heads }
    }

    fn url(&self) -> String {
        format!("http://p-user:p-secret@{}", self.address)
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// In no form in which a proxy's password is written.
fn assert_no_proxy_password(said: &str) {
    for secret in ["p-secret", "p-user", "cC11c2VyOnAtc2VjcmV0"] {
        assert!(!said.contains(secret), "{secret} in what it says:\n{said}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn tl_07_a_root_that_the_platform_trusts_is_trusted() {
    let authority = Authority::new();
    let server = tls_server(&authority);
    let url = format!("https://{}/token", server.address());
    let root = file(authority.root_pem());
    let said = run_child(&url, &[("SSL_CERT_FILE", root.to_str().unwrap())]);
    assert!(said.contains("outcome: 200 OK"), "{said}");
    server.saw(1, "trusted").unwrap();

    let said = run_child(&url, &[]);
    assert!(said.contains("outcome: tls_certificate"), "{said}");
    assert!(
        said.contains("NotSent") && said.contains("does not trust"),
        "{said}"
    );
    server.saw(1, "not trusted").unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_machine_without_roots_is_a_matter_of_its_configuration() {
    let empty = file("no certificate");
    let said = run_child(
        "https://127.0.0.1:1/",
        &[
            ("SSL_CERT_FILE", empty.to_str().unwrap()),
            ("SSL_CERT_DIR", "/nowhere"),
        ],
    );
    assert!(said.contains("outcome: none, http_unavailable"), "{said}");
    assert!(said.contains("No CA certificates"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn https_goes_through_the_proxy_and_shows_it_nothing() {
    let authority = Authority::new();
    let server = tls_server(&authority);
    let proxy = Proxy::to(server.address());
    let root = file(authority.root_pem());
    let said = run_child(
        &format!("https://{NAME}/token"),
        &[
            ("HTTPS_PROXY", &proxy.url()),
            ("SSL_CERT_FILE", root.to_str().unwrap()),
        ],
    );
    assert!(said.contains("outcome: 200 OK"), "{said}");
    assert_no_proxy_password(&said);
    let heads = proxy.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(
        heads[0].starts_with(&format!("CONNECT {NAME}:443 HTTP/1.1\r\n")),
        "{heads:?}"
    );
    assert!(heads[0].contains("Basic cC11c2VyOnAtc2VjcmV0"), "{heads:?}");
    let sent = server.requests();
    assert_eq!(sent.len(), 1);
    assert!(
        !sent[0].to_ascii_lowercase().contains("proxy-authorization"),
        "{sent:?}"
    );
}

/// RFC 1928: a proxy by name only, told where to go by name.
#[cfg(target_os = "linux")]
#[test]
fn https_goes_through_a_socks_proxy() {
    let authority = Authority::new();
    let server = tls_server(&authority);
    let target = server.address();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = format!("socks5h://{}", listener.local_addr().unwrap());
    let asked_for = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut read = |length| {
            let mut bytes = vec![0; length];
            client.read_exact(&mut bytes).unwrap();
            bytes
        };
        // Version 5, its methods; none is needed. Then CONNECT to a name and a port.
        let methods = usize::from(read(2)[1]);
        read(methods);
        client.write_all(&[5, 0]).unwrap();
        let mut read = |length| {
            let mut bytes = vec![0; length];
            client.read_exact(&mut bytes).unwrap();
            bytes
        };
        assert_eq!(read(4), [5, 1, 0, 3]);
        let length = usize::from(read(1)[0]);
        let name = String::from_utf8(read(length)).unwrap();
        assert_eq!(read(2), 443_u16.to_be_bytes());
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).unwrap();
        join(client, TcpStream::connect(target).unwrap());
        name
    });
    let root = file(authority.root_pem());
    let said = run_child(
        &format!("https://{NAME}/token"),
        &[("ALL_PROXY", &proxy), ("SSL_CERT_FILE", root.to_str().unwrap())],
    );
    assert!(said.contains("outcome: 200 OK"), "{said}");
    assert_eq!(asked_for.join().unwrap(), NAME);
    server.saw(1, "by SOCKS").unwrap();
}

#[test]
fn a_proxy_that_refuses_is_named_and_nothing_was_sent() {
    for (answer, words) in [
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n",
            "the proxy wants a name and a password",
        ),
        (
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
            "the proxy did not open a connection",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: https://portal.example/\r\nContent-Length: 0\r\n\r\n",
            "the proxy did not open a connection",
        ),
        ("", "the proxy did not open a connection"),
    ] {
        let proxy = Proxy::answering(answer);
        let said = run_child(&format!("https://{NAME}/token"), &[("HTTPS_PROXY", &proxy.url())]);
        assert!(said.contains("outcome: proxy_failed"), "{answer:?}: {said}");
        assert!(
            said.contains("NotSent") && said.contains(words),
            "{answer:?}: {said}"
        );
        assert_no_proxy_password(&said);
        assert_eq!(proxy.heads().len(), 1, "asked once");
    }
}

#[test]
fn a_proxy_that_cannot_be_reached_is_named() {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let said = run_child(
        &format!("https://{NAME}/token"),
        &[("HTTPS_PROXY", &format!("http://p-user:p-secret@{free}"))],
    );
    assert!(said.contains("outcome: proxy_failed"), "{said}");
    assert!(
        said.contains("NotSent") && said.contains("the proxy cannot be reached"),
        "{said}"
    );
    assert_no_proxy_password(&said);
}

#[test]
fn no_proxy_is_honoured() {
    let proxy = Proxy::answering("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    let said = run_child(
        &format!("https://{NAME}/token"),
        &[
            ("HTTPS_PROXY", &proxy.url()),
            ("NO_PROXY", "example.com,.gatepass.test"),
        ],
    );
    // Nobody has this name, so on its own the request gets nowhere.
    assert!(said.contains("outcome: name_not_resolved"), "{said}");
    assert!(said.contains("NotSent"), "{said}");
    assert_eq!(proxy.heads(), [""; 0]);
}

#[cfg(target_os = "linux")]
#[test]
fn this_machine_is_never_looked_for_by_a_proxy() {
    let authority = Authority::new();
    let (plain, tls) = (Server::answering(ANSWER).unwrap(), tls_server(&authority));
    let root = file(authority.root_pem());
    let proxy = Proxy::answering("HTTP/1.1 502 Bad Gateway\r\n\r\n");
    for url in [
        format!("http://{}/token", plain.address()),
        format!("https://{}/token", tls.address()),
        format!("https://localhost:{}/token", tls.address().port()),
    ] {
        let url_of_proxy = proxy.url();
        let said = run_child(
            &url,
            &[
                ("HTTP_PROXY", &url_of_proxy),
                ("http_proxy", &url_of_proxy),
                ("HTTPS_PROXY", &url_of_proxy),
                ("ALL_PROXY", &url_of_proxy),
                ("SSL_CERT_FILE", root.to_str().unwrap()),
            ],
        );
        assert!(said.contains("outcome: 200 OK"), "{url}: {said}");
        assert_no_proxy_password(&said);
    }
    assert_eq!(proxy.heads(), [""; 0]);
}

/// A server of today's OpenSSL that is told to speak TLS 1.1 and nothing newer.
#[test]
fn tl_01_a_server_of_tls_1_1_is_refused() {
    let authority = Authority::new();
    let (certificate, key) = authority.identity(Flaw::None).unwrap().pem();
    let (certificate, key) = (file(&certificate), file(&key));
    let started = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-tls1_1"])
        .args(["-cipher", "ALL:@SECLEVEL=0"])
        .args([
            "-cert",
            certificate.to_str().unwrap(),
            "-key",
            key.to_str().unwrap(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut server = match started {
        Ok(server) => server,
        Err(error) => {
            let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!ci, "no openssl: {error}");
            // The suite's own server of TLS 1.1 is there all the same.
            println!("skipped: no `openssl` here, {error}");
            return;
        }
    };
    let mut lines = BufReader::new(server.stdout.take().unwrap()).lines();
    let port = lines.by_ref().map_while(Result::ok).find_map(|line| {
        line.strip_prefix("ACCEPT ")?
            .rsplit(':')
            .next()?
            .trim()
            .parse::<u16>()
            .ok()
    });
    let url = format!("https://127.0.0.1:{}/token", port.expect("a port"));
    let root = file(authority.root_pem());
    let said = run_child(&url, &[("SSL_CERT_FILE", root.to_str().unwrap())]);
    drop(server.kill());
    drop(server.wait());
    assert!(said.contains("outcome: tls_handshake"), "{said}");
    assert!(
        said.contains("NotSent") && said.contains("1.2 is the oldest"),
        "{said}"
    );
}
