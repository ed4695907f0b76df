//! The server's strictness, held through HTTP: this file is the app under test, its modules the rules.

mod audiences;
mod authorization;
mod browser;
mod clients;
mod codes;
mod faults;
mod mistakes;
mod par;
mod refresh;
mod resources;
mod server;
mod sign_out;
mod time;

use super::{TestBrowser, TestClock, TestServer, TestServerBuilder};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use url::{Url, form_urlencoded};

/// Verifier and challenge of RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const REDIRECT: &str = "http://127.0.0.1:49152/callback";
/// 2026-03-01T12:00:00Z.
const START: i64 = 1_772_366_400_000;
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

struct App {
    server: TestServer,
    clock: Arc<TestClock>,
    browser: TestBrowser,
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: hyper::HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{} {}", self.status, self.text))
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map(|value| value.to_str().unwrap())
            .unwrap_or_default()
    }

    /// A string member of the JSON body.
    fn member(&self, name: &str) -> String {
        self.json()[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name} in {}", self.text))
            .to_owned()
    }

    #[track_caller]
    fn assert_error(&self, status: u16, error: &str) {
        assert_eq!(
            (self.status, self.json()["error"].as_str()),
            (status, Some(error)),
            "{}",
            self.text
        );
        assert!(is_description(&self.member("error_description")), "{}", self.text);
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("content-type"), "application/json");
    }
}

impl App {
    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    fn start() -> App {
        App::start_with(|builder| builder)
    }

    fn start_with(adjust: impl FnOnce(TestServerBuilder) -> TestServerBuilder) -> App {
        let clock = Arc::new(TestClock::at_unix_millis(START));
        let server = adjust(TestServer::builder().clock(clock.clone()))
            .start()
            .unwrap();
        App {
            browser: server.browser(),
            clock,
            server,
        }
    }

    /// An authorization URL with good parameters, of which some are replaced, added or left out.
    fn url(&self, changes: &[(&str, Option<&str>)]) -> String {
        let good = [
            ("response_type", "code"),
            ("client_id", self.server.client_id()),
            ("redirect_uri", REDIRECT),
            ("scope", "openid profile email"),
            ("state", "a state"),
            ("nonce", "a nonce"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let kept = good
            .iter()
            .copied()
            .filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        let added = changes
            .iter()
            .filter_map(|(name, value)| Some((*name, (*value)?)));
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(kept.chain(added))
            .finish();
        format!("{}/authorize?{query}", self.server.issuer())
    }

    /// Pushes the parameters of [`url`](App::url).
    async fn push(&self, changes: &[(&str, Option<&str>)]) -> Answer {
        let url = self.url(changes);
        let (_, query) = url.split_once('?').unwrap();
        self.send("POST", "/par", &[FORM], query).await
    }

    fn offline_url(&self) -> String {
        self.url(&[
            ("scope", Some("openid profile email offline_access")),
            ("prompt", Some("consent")),
        ])
    }

    /// Signs alice in and takes the code out of the redirect.
    async fn code(&self, url: &str) -> String {
        let redirect = self.browser.sign_in(url, &self.server.users()[0]).await.unwrap();
        query(&redirect)
            .remove("code")
            .unwrap_or_else(|| panic!("{redirect}"))
    }

    async fn token(&self, form: &[(&str, &str)]) -> Answer {
        self.post("/token", form).await
    }

    async fn redeem(&self, code: &str) -> Answer {
        self.redeem_with(code, &[]).await
    }

    /// Redeems a code with some parameters replaced; an empty value leaves one out.
    async fn redeem_with(&self, code: &str, changes: &[(&str, &str)]) -> Answer {
        let good = [
            ("grant_type", "authorization_code"),
            ("client_id", self.server.client_id()),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        let kept = good
            .iter()
            .filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        let form: Vec<_> = kept
            .chain(changes)
            .copied()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        self.token(&form).await
    }

    /// Signs alice in with offline access; the whole token response.
    async fn tokens(&self) -> Answer {
        let answer = self.redeem(&self.code(&self.offline_url()).await).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
    }

    async fn refresh(&self, refresh_token: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("grant_type", "refresh_token"),
            ("client_id", self.server.client_id()),
            ("refresh_token", refresh_token),
        ];
        form.extend(more);
        self.token(&form).await
    }

    async fn me(&self, access_token: &str) -> Answer {
        self.call("me", access_token).await
    }

    async fn call(&self, api: &str, access_token: &str) -> Answer {
        self.bearer(&format!("/api/{api}"), access_token).await
    }

    async fn bearer(&self, path: &str, access_token: &str) -> Answer {
        let authorization = format!("Bearer {access_token}");
        self.send("GET", path, &[("authorization", &authorization)], "")
            .await
    }

    async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        self.send("POST", path, &[FORM], &body).await
    }

    async fn get(&self, path: &str) -> Answer {
        let path = path.strip_prefix(self.server.issuer()).unwrap_or(path);
        self.send("GET", path, &[], "").await
    }

    async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    async fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, Broken> {
        let host = self.server.issuer().strip_prefix("http://").unwrap();
        let stream = tokio::net::TcpStream::connect(host).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        let _connection = AbortOnDrop(tokio::spawn(connection));
        let mut request = hyper::Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", host);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        let answer = sender.send_request(request).await;
        let (head, mut body) = answer.map_err(|_| Broken::NoAnswer)?.into_parts();
        let mut read = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => read.extend_from_slice(&frame.into_data().unwrap()),
                Err(_) => return Err(Broken::MidBody(head.status.as_u16(), read.len())),
            }
            if read.len() > MAX_READ {
                return Err(Broken::TooLong);
            }
        }
        Ok(Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8_lossy(&read).into_owned(),
        })
    }
}

/// What this client reads of an answer at most.
const MAX_READ: usize = 4 * 1024 * 1024;

/// How an exchange went wrong.
#[derive(Debug, PartialEq)]
enum Broken {
    NoAnswer,
    /// The status, and how much of the body came.
    MidBody(u16, usize),
    TooLong,
}

struct AbortOnDrop(tokio::task::JoinHandle<hyper::Result<()>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The characters RFC 6749 §5.2 allows in an `error_description`.
fn is_description(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5B | 0x5D..=0x7E))
}

/// The parameters of a redirect.
fn query(url: &str) -> HashMap<String, String> {
    Url::parse(url).unwrap().query_pairs().into_owned().collect()
}

/// The claims of an ID token, its signature aside.
fn claims(id_token: &str) -> Value {
    let payload = id_token.split('.').nth(1).unwrap();
    serde_json::from_slice(&BASE64URL.decode(payload).unwrap()).unwrap()
}
