//! What the core asks of a transport: where it goes at all, and how a grant travels. The transport here records; that the
//! real one keeps its promises is for the suite of the port.
#![cfg(all(feature = "http", feature = "loopback", feature = "test-server"))]
// Test code outside a #[test] function, which clippy's own exception does not see.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use gatepass::{
    AllowHttpOnLoopback, Client, Delivery, ErrorKind, HttpFailure, HttpFailureReason, HttpRequest,
    HttpResponse, HttpTransport, NextStep, SessionState, SignInOptions, Stage,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use support::TestBed;

const ISSUER: &str = "https://as.example.com";
const REDIRECT: &str = "https://app.example.com/callback";
const ENDPOINTS: [&str; 4] = [
    "authorization_endpoint",
    "token_endpoint",
    "jwks_uri",
    "revocation_endpoint",
];

/// Serves metadata as it is told, and keeps what it was asked. Everything else meets no network.
#[derive(Debug)]
struct Recorder {
    metadata: (StatusCode, HeaderMap, String),
    asked: Mutex<Vec<HttpRequest>>,
}

impl Recorder {
    fn new(metadata: String) -> Arc<Self> {
        Self::answering(StatusCode::OK, HeaderMap::new(), metadata)
    }

    fn answering(status: StatusCode, mut headers: HeaderMap, metadata: String) -> Arc<Self> {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Arc::new(Self {
            metadata: (status, headers, metadata),
            asked: Mutex::default(),
        })
    }

    fn asked(&self) -> Vec<HttpRequest> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl HttpTransport for Recorder {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let is_metadata = request.url.path().starts_with("/.well-known/");
        self.asked.lock().unwrap().push(request);
        if is_metadata {
            let (status, headers, body) = self.metadata.clone();
            return Ok(HttpResponse::new(status, headers, body.into_bytes()));
        }
        Err(HttpFailure::new(
            Delivery::NotSent,
            HttpFailureReason::TlsCertificate,
            "the server's certificate has expired",
        ))
    }
}

/// The metadata of [`ISSUER`], with one member changed.
fn metadata(changed: Option<(&str, &str)>) -> String {
    let mut members = vec![
        format!(r#""issuer":"{ISSUER}""#),
        r#""response_types_supported":["code"]"#.to_owned(),
        r#""code_challenge_methods_supported":["S256"]"#.to_owned(),
        r#""id_token_signing_alg_values_supported":["RS256"]"#.to_owned(),
    ];
    for endpoint in ENDPOINTS {
        let url = match changed {
            Some((name, url)) if name == endpoint => url.to_owned(),
            _ => format!("{ISSUER}/{endpoint}"),
        };
        members.push(format!(r#""{endpoint}":"{url}""#));
    }
    format!("{{{}}}", members.join(","))
}

fn client(transport: &Arc<Recorder>) -> Client {
    Client::builder(ISSUER, "my-app")
        .redirect(REDIRECT)
        .scopes(["openid", "offline_access"])
        // Even so, http is for the two loopback literals only.
        .allow_http_on_loopback(AllowHttpOnLoopback)
        .http_transport(Arc::clone(transport) as _)
        .build()
        .unwrap()
}

#[tokio::test]
async fn am_17_endpoints_of_http_are_refused_with_the_document() {
    for endpoint in ENDPOINTS {
        for url in [
            "http://as.example.com/x",
            "http://localhost/x",
            "http://127.0.0.1.example.com/x",
            "http://[::2]/x",
            "ftp://as.example.com/x",
        ] {
            let transport = Recorder::new(metadata(Some((endpoint, url))));
            let error = client(&transport)
                .begin_sign_in(SignInOptions::default())
                .await
                .unwrap_err();
            let told = (error.code(), error.stage());
            assert_eq!(told, ("endpoint_insecure", Stage::Discovery), "{endpoint} {url}");
            for request in transport.asked() {
                let place = format!("{:?}", request.url.origin());
                assert!(
                    request.url.as_str().starts_with(ISSUER),
                    "{endpoint} {url}: {place}"
                );
            }
        }
    }
}

#[tokio::test]
async fn am_20_metadata_is_asked_for_with_limits_and_no_redirect_is_followed() {
    let mut headers = HeaderMap::new();
    let elsewhere =
        HeaderValue::from_static("https://elsewhere.example.com/.well-known/openid-configuration");
    headers.insert(header::LOCATION, elsewhere);
    for status in [301, 302, 303, 307, 308] {
        let status = StatusCode::from_u16(status).unwrap();
        let transport = Recorder::answering(status, headers.clone(), metadata(None));
        let error = client(&transport)
            .begin_sign_in(SignInOptions::default())
            .await
            .unwrap_err();
        assert_eq!(error.stage(), Stage::Discovery, "{error:?}");
        let asked = transport.asked();
        assert!(!asked.is_empty());
        for request in asked {
            assert_eq!(request.method, Method::GET);
            assert!(request.url.as_str().starts_with(ISSUER), "{:?}", request.url);
            assert!(request.max_response_bytes <= 1 << 20);
            assert!(request.timeout <= Duration::from_secs(30));
        }
    }
}

/// DESIGN of the port: never on a connection that idled, with a deadline, and a secret that does not print.
#[tokio::test]
async fn bi_89_a_code_meets_a_bad_certificate_and_nothing_is_lost_in_silence() {
    let transport = Recorder::new(metadata(None));
    let client = client(&transport);
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let (_, rest) = pending.authorization_url().split_once("state=").unwrap();
    let state = rest.split('&').next().unwrap();
    let error = client
        .resume_sign_in(&format!("{REDIRECT}?code=c-secret&state={state}"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network(Delivery::NotSent), "{error:?}");
    assert_eq!(
        (error.code(), error.stage()),
        ("tls_certificate", Stage::TokenExchange)
    );
    assert_eq!(error.next_step(), NextStep::Retry);
    assert!(
        error.to_string().contains("the server's certificate has expired"),
        "{error}"
    );
    assert!(!format!("{error:?}{error}").contains("c-secret"), "{error:?}");

    let posts: Vec<_> = transport
        .asked()
        .into_iter()
        .filter(|request| request.method == Method::POST)
        .collect();
    assert_eq!(
        posts.len(),
        1,
        "sent once, and the core does not try again by itself"
    );
    let body = String::from_utf8(posts[0].body.to_vec()).unwrap();
    assert!(body.contains("code=c-secret"), "{body}");
    let idle = posts[0].max_connection_idle.unwrap();
    assert!(idle <= Duration::from_secs(5), "{idle:?}");
    assert!(posts[0].timeout <= Duration::from_secs(30));
    assert!(!format!("{:?}", posts[0]).contains("c-secret"));
}

/// A server that answers everything with a redirect and a cookie, and one that it redirects to.
struct Portal {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Portal {
    fn start(to: Option<SocketAddr>) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&heads);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut head = String::new();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap() > 0 {}
                noted.lock().unwrap().push(head);
                let location = to.map_or_else(String::new, |to| format!("Location: http://{to}/\r\n"));
                let answer = format!(
                    "HTTP/1.1 302 Found\r\n{location}Set-Cookie: sid=1; Path=/\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn bt_11_bt_12_bt_13_a_token_goes_to_the_origins_it_was_given_to_and_no_further() {
    let elsewhere = Portal::start(None);
    let api = Portal::start(Some(elsewhere.address));
    let bed = TestBed::new();
    let client = bed.client_with(|builder| builder.api(format!("http://{}", api.address)));
    let session = bed.sign_in(&client).await.unwrap();
    let token = session.access_token().await.unwrap();

    // The redirect is an answer, the cookie stays away, and nobody asks the other place.
    let url = format!("http://{}/me", api.address);
    for _ in 0..2 {
        let answer = session.http().get(&url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FOUND);
    }
    let heads = api.heads();
    assert_eq!(heads.len(), 2);
    for head in &heads {
        assert!(
            head.contains(&format!("Bearer {}", token.expose())),
            "the token is for this API"
        );
        assert!(!head.to_ascii_lowercase().contains("\r\ncookie:"), "{head}");
    }
    assert_eq!(elsewhere.heads(), [""; 0]);

    // Another origin on this machine gets the request, and no token.
    let other = format!("http://{}/", elsewhere.address);
    session.http().get(&other).send().await.unwrap();
    let heads = elsewhere.heads();
    assert_eq!(heads.len(), 1);
    assert!(
        !heads[0].to_ascii_lowercase().contains("authorization"),
        "no token for another origin"
    );

    // http to another machine is stopped before the transport hears of it.
    for url in [
        "http://api.example.com/me",
        "http://localhost/me",
        "http://127.0.0.1.example.com/",
    ] {
        let error = session.http().get(url).send().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{url}: {error:?}");
    }
    assert_eq!(client.state().get(), SessionState::SignedIn);
}
