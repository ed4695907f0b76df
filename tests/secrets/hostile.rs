//! A server that says back what it was told: in its errors, in headers, in metadata, keys and tokens, plainly or so that
//! only what is made of it holds the secret again.

#[path = "../support/plain_http.rs"]
mod plain_http;

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use gatepass::{HttpFailure, HttpRequest, HttpResponse, HttpTransport, SignInOptions, SignOut};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use url::form_urlencoded;

use self::plain_http::PlainHttp;
use crate::ears::{self, Ears, canaries};
use crate::world::{World, learn_url, with_par};

/// How a secret is said back.
#[derive(Clone, Copy, Debug)]
enum Voice {
    Plain,
    /// Behind so many words that it is cut within.
    Late(usize),
    /// With characters in it that are removed when a text is made fit to be shown.
    Split,
    Percent,
    CapitalPercent,
}

const VOICES: [Voice; 6] = [
    Voice::Plain,
    Voice::Late(45),
    Voice::Late(480),
    Voice::Split,
    Voice::Percent,
    Voice::CapitalPercent,
];

impl Voice {
    fn say(self, secret: &str) -> String {
        match self {
            Self::Plain => format!("what is {secret}?"),
            Self::Late(words) => format!("{}{secret}", " ".repeat(words)),
            Self::Split => {
                let (left, right) = secret.split_at(secret.len() / 2);
                format!("{left}\u{202e}\u{1}{right}")
            }
            Self::Percent => secret.bytes().map(|b| format!("%{b:02x}")).collect(),
            Self::CapitalPercent => secret.bytes().map(|b| format!("%{b:02X}")).collect(),
        }
    }
}

/// Where a secret is said back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Error(u16),
    ErrorWithTokens(u16),
    Redirect,
    Headers(u16),
    /// Beside tokens that are good otherwise.
    TokenType,
    EveryMember,
    IdTokenHeader,
    Garbage,
}

const PLACES: [Place; 13] = [
    Place::Error(400),
    Place::Error(401),
    Place::Error(200),
    Place::Error(500),
    Place::Error(429),
    Place::ErrorWithTokens(400),
    Place::Redirect,
    Place::Headers(400),
    Place::Headers(401),
    Place::TokenType,
    Place::EveryMember,
    Place::IdTokenHeader,
    Place::Garbage,
];

/// What of a request is secret.
fn secrets(request: &HttpRequest) -> Vec<String> {
    let mut found: Vec<String> = form_urlencoded::parse(&request.body)
        .filter(|(name, _)| {
            matches!(
                &**name,
                "code" | "code_verifier" | "refresh_token" | "token" | "state" | "nonce" | "id_token_hint"
            )
        })
        .map(|(_, value)| value.into_owned())
        .collect();
    let bearer = request.headers.get("authorization").and_then(|v| v.to_str().ok());
    found.extend(bearer.and_then(|v| v.strip_prefix("Bearer ")).map(str::to_owned));
    found
}

/// Speaks with the real server, and says back what it hears wherever `at` is a part of the path.
#[derive(Debug)]
struct Echo {
    answer: Mutex<Option<(&'static str, Place, Voice)>>,
    echoed: Mutex<usize>,
}

impl Echo {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            answer: Mutex::default(),
            echoed: Mutex::default(),
        })
    }

    fn set(&self, at: &'static str, place: Place, voice: Voice) {
        *self.answer.lock().unwrap() = Some((at, place, voice));
    }

    fn behave(&self) {
        *self.answer.lock().unwrap() = None;
    }
}

#[async_trait]
impl HttpTransport for Echo {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        ears::print("http request", &request);
        let answer = *self.answer.lock().unwrap();
        let echo = answer.filter(|(at, ..)| request.url.path().contains(at));
        let heard = secrets(&request);
        let answer = PlainHttp.send(request).await;
        let answer = match (echo, answer) {
            (Some((_, place, voice)), Ok(answer)) if !heard.is_empty() => {
                *self.echoed.lock().unwrap() += 1;
                Ok(spoilt(answer, place, voice, &heard))
            }
            (_, answer) => answer,
        };
        ears::print("http response", &answer);
        answer
    }
}

fn spoilt(mut answer: HttpResponse, place: Place, voice: Voice, heard: &[String]) -> HttpResponse {
    let said = heard
        .iter()
        .map(|secret| voice.say(secret))
        .collect::<Vec<_>>()
        .join(" ");
    let json = |status: u16, headers: HeaderMap, body: &Value| {
        let mut headers = headers;
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        HttpResponse::new(
            StatusCode::from_u16(status).unwrap(),
            headers,
            body.to_string().into_bytes(),
        )
    };
    let error = || json!({ "error": said, "error_description": said, "error_uri": format!("https://e.example/?{said}") });
    let tokens: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    // As a host name and as a header a text must be of one piece.
    let piece: String = said.chars().filter(|c| c.is_ascii_graphic()).collect();
    match place {
        Place::Error(status) => json(status, HeaderMap::new(), &error()),
        Place::ErrorWithTokens(status) => {
            let mut body = error();
            for name in ["access_token", "refresh_token", "id_token"] {
                if let Some(Value::String(token)) = tokens.get(name) {
                    body[name] = token.as_str().into();
                    let told = body["error_description"].as_str().unwrap().to_owned();
                    body["error_description"] = format!("{} {told}", voice.say(token)).into();
                }
            }
            json(status, HeaderMap::new(), &body)
        }
        Place::Redirect => {
            let mut headers = HeaderMap::new();
            let first: String = heard[0]
                .chars()
                .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
                .take(60)
                .collect();
            let location = format!(
                "https://{first}.{}.example/{piece}?{piece}",
                heard[0].replace('_', "-")
            );
            headers.insert("location", location.parse().unwrap());
            HttpResponse::new(StatusCode::FOUND, headers, Vec::new())
        }
        Place::Headers(status) => {
            let mut headers = HeaderMap::new();
            let quoted = said
                .chars()
                .filter(|c| c.is_ascii_graphic() || *c == ' ')
                .collect::<String>();
            let challenge = format!(
                "Bearer realm=\"{quoted}\", error=\"{quoted}\", error_description=\"{quoted}\", scope=\"{quoted}\""
            );
            for name in [
                "retry-after",
                "date",
                "age",
                "content-encoding",
                "dpop-nonce",
                "x-said",
            ] {
                headers.insert(name, quoted.parse().unwrap());
            }
            headers.insert("www-authenticate", challenge.parse().unwrap());
            headers.insert("content-type", format!("text/{quoted}").parse().unwrap());
            HttpResponse::new(StatusCode::from_u16(status).unwrap(), headers, said.into_bytes())
        }
        Place::TokenType => {
            let mut body = tokens;
            let token = body["access_token"].as_str().unwrap_or_default().to_owned();
            body["token_type"] = format!("{}{}", voice.say(&token), said).into();
            json(200, HeaderMap::new(), &body)
        }
        Place::EveryMember => {
            let mut body = tokens;
            for (_, member) in body.as_object_mut().into_iter().flatten() {
                if member.as_str().is_none_or(|text| !text.starts_with("gpt_")) {
                    *member = said.as_str().into();
                }
            }
            json(200, HeaderMap::new(), &body)
        }
        Place::IdTokenHeader => {
            let mut body = tokens;
            let header = json!({ "alg": said, "kid": said, "typ": said, "crit": [said] });
            let claims = json!({ "iss": said, "sub": said, "aud": [said], "azp": said, "nonce": said, "exp": 1, "iat": 1 });
            let part = |value: &Value| BASE64URL.encode(value.to_string());
            body["id_token"] = format!("{}.{}.AAAA", part(&header), part(&claims)).into();
            json(200, HeaderMap::new(), &body)
        }
        Place::Garbage => {
            answer.body = zeroize::Zeroizing::new(format!("{{\"{said}\": {said}").into_bytes());
            answer
        }
    }
}

#[tokio::test]
async fn a_server_that_says_back_what_it_was_told_is_not_quoted() {
    let ears = Ears::open();
    let echo = Echo::new();
    let world = World::with(with_par);
    let mut wrong = Vec::new();
    for place in PLACES {
        for voice in VOICES {
            let client = world.builder().http_transport(echo.clone()).build().unwrap();
            for at in ["/par", "/token", "/revo", "/userinfo", "/api/", "/jwks"] {
                let what = format!("{place:?} {voice:?} {at}");
                echo.set(at, place, voice);
                if matches!(at, "/par" | "/token") {
                    drop(world.sign_in(&client).await);
                    wrong.extend(ears.hits().first().map(|hit| format!("{what}, sign-in: {hit:?}")));
                }
                echo.behave();
                let session = world.sign_in(&client).await.unwrap();
                echo.set(at, place, voice);
                match at {
                    "/userinfo" => ears::outcome(&session.userinfo().await),
                    "/api/" => {
                        let answer = session.http().get(world.server.api_url()).send().await;
                        ears::outcome(&answer);
                        if let Ok(answer) = answer {
                            ears::print("challenges", &answer.challenges());
                            ears::outcome(&answer.json::<u64>());
                            ears::outcome(&answer.json::<std::collections::BTreeMap<String, u64>>());
                            ears::outcome(&answer.error_for_status());
                        }
                    }
                    _ => ears::outcome(&session.refresh().await),
                }
                ears::outcome(&session.sign_out(SignOut::Revoke).await);
                echo.behave();
                client.drain().await;
                wrong.extend(ears.hits().first().map(|hit| format!("{what}: {hit:?}")));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} are quoted:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(*echo.echoed.lock().unwrap() > 400);
}

/// The redirect is made by whoever can make a link, and by a server that may say back what it was asked.
#[tokio::test]
async fn a_redirect_that_says_back_what_was_asked_is_not_quoted() {
    let ears = Ears::open();
    let world = World::new();
    let client = world
        .builder()
        .redirect("com.example.app:/callback")
        .http_transport(Echo::new())
        .build()
        .unwrap();
    let mut wrong = Vec::new();
    for voice in VOICES {
        for members in [
            &["error", "error_description", "error_uri"][..],
            &["iss"],
            &["error"],
            &["scope", "session_state"],
        ] {
            let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
            let user = &world.server.users()[0];
            let redirect = world
                .server
                .browser()
                .sign_in(pending.authorization_url(), user)
                .await
                .unwrap();
            learn_url(&redirect);
            let asked = url::Url::parse(pending.authorization_url()).unwrap();
            let secrets: Vec<String> = asked
                .query_pairs()
                .filter(|(name, _)| name == "nonce" || name == "state")
                .map(|(_, value)| value.into_owned())
                .chain(
                    url::Url::parse(&redirect)
                        .unwrap()
                        .query_pairs()
                        .next()
                        .map(|(_, code)| code.into_owned()),
                )
                .collect();
            canaries().add("nonce", secrets[0].as_bytes());
            let said = secrets
                .iter()
                .map(|secret| voice.say(secret))
                .collect::<Vec<_>>()
                .join(" ");
            let (before, query) = redirect.split_once('?').unwrap();
            let mut changed = form_urlencoded::Serializer::new(String::new());
            let kept = form_urlencoded::parse(query.as_bytes());
            changed.extend_pairs(kept.filter(|(name, _)| !members.contains(&&**name)));
            for member in members {
                let value = if *member == "error_uri" {
                    format!("https://e.example/{said}")
                } else {
                    said.clone()
                };
                changed.append_pair(member, &value);
            }
            let changed = format!("{before}?{}", changed.finish());
            ears::outcome(&client.resume_sign_in(&changed).await);
            // Not even where it is no redirect of ours.
            ears::outcome(
                &client
                    .resume_sign_in(&changed.replace("com.example", "org.example"))
                    .await,
            );
            ears::outcome(&client.resume_sign_in(&changed.replace("state=", "state=x")).await);
            ears::outcome(&client.resume_sign_in(&format!("{changed}&code=%zz")).await);
            pending.cancel();
            ears::outcome(&pending.wait().await);
            wrong.extend(
                ears.hits()
                    .first()
                    .map(|hit| format!("{members:?} {voice:?}: {hit:?}")),
            );
        }
    }
    assert!(
        wrong.is_empty(),
        "{} are quoted:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The transport that is not hostile.
pub(crate) async fn plain(request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
    PlainHttp.send(request).await
}
