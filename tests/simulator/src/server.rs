//! A model of an authorization server: as strict as the standards let it be, and as different as servers are about a refresh
//! token that comes a second time (RFC 9700 §4.14.2).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use url::Url;

pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const CLIENT_ID: &str = "my-app";
pub(crate) const REDIRECT: &str = "https://app.example.com/callback";
/// How long an access token lives.
pub(crate) const LIFETIME_MILLIS: u64 = 600_000;
/// How long a server with a grace takes a token that it has replaced.
const GRACE_MILLIS: u64 = 60_000;
const CODE_MILLIS: u64 = 60_000;

/// What a server makes of refresh tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rotation {
    /// A new one each time; the old one is refused.
    Strict,
    /// A new one each time; whoever shows the old one ends the grant.
    Family,
    /// The old one is good for another minute, and gives a new one each time.
    Grace,
    /// The old one gives the same new one again, until that is used.
    Idempotent,
    /// Always the same one.
    Never,
}

impl Rotation {
    pub(crate) const ALL: [Self; 5] = [
        Self::Strict,
        Self::Family,
        Self::Grace,
        Self::Idempotent,
        Self::Never,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Family => "family revocation",
            Self::Grace => "grace 60 s",
            Self::Idempotent => "idempotent",
            Self::Never => "none",
        }
    }
}

#[derive(Debug)]
struct RefreshToken {
    family: usize,
    /// When it was replaced.
    used_at: Option<u64>,
    successor: Option<String>,
}

#[derive(Debug)]
struct Code {
    family: usize,
    nonce: Option<String>,
    challenge: String,
    issued_at: u64,
    spent: bool,
}

/// The server. Its clock is the world's.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) rotation: Rotation,
    codes: BTreeMap<String, Code>,
    refresh_tokens: BTreeMap<String, RefreshToken>,
    access_tokens: BTreeMap<String, (usize, u64)>,
    /// Grants by number; whether each is revoked.
    families: Vec<bool>,
    /// When the user of each grant signed in, in seconds since 1970.
    signed_in_at: Vec<i64>,
    count: u64,
    /// How often a token was shown that had been replaced, and was not taken for a retry.
    pub(crate) reuses: u64,
    /// Says in each answer to a refresh who the user is, too.
    id_token_on_refresh: bool,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(status: StatusCode, value: &Value) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self {
            status,
            headers,
            body: value.to_string().into_bytes(),
        }
    }

    pub(crate) fn page(status: StatusCode) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        Self {
            status,
            headers,
            body: b"<!doctype html><title>Welcome to our network</title>".to_vec(),
        }
    }

    pub(crate) fn too_many() -> Self {
        let mut answer = Self::json(StatusCode::TOO_MANY_REQUESTS, &json!({ "error": "slow_down" }));
        answer
            .headers
            .insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        answer
    }

    fn refused(code: &str) -> Self {
        Self::json(StatusCode::BAD_REQUEST, &json!({ "error": code }))
    }
}

/// One key for all histories: making one takes longer than a history.
static KEY: LazyLock<Option<EcdsaKeyPair>> =
    LazyLock::new(|| EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).ok());

impl Server {
    pub(crate) fn new(rotation: Rotation, id_token_on_refresh: bool) -> Self {
        Self {
            rotation,
            codes: BTreeMap::new(),
            refresh_tokens: BTreeMap::new(),
            access_tokens: BTreeMap::new(),
            families: Vec::new(),
            signed_in_at: Vec::new(),
            count: 0,
            reuses: 0,
            id_token_on_refresh,
        }
    }

    fn next(&mut self, kind: &str) -> String {
        self.count += 1;
        format!("{kind}-{}", self.count)
    }

    /// The user signs in on the server's page: the redirect that the browser follows. `None` if the request is wrong.
    pub(crate) fn authorize(&mut self, url: &str, now: u64, unix_seconds: i64) -> Option<String> {
        let url = Url::parse(url).ok()?;
        let of = |name: &str| {
            let mut pairs = url.query_pairs();
            pairs
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.into_owned())
        };
        if of("client_id")? != CLIENT_ID
            || of("redirect_uri")? != REDIRECT
            || of("code_challenge_method")? != "S256"
        {
            return None;
        }
        let code = self.next("code");
        self.families.push(false);
        self.signed_in_at.push(unix_seconds);
        let grant = Code {
            family: self.families.len() - 1,
            nonce: of("nonce"),
            challenge: of("code_challenge")?,
            issued_at: now,
            spent: false,
        };
        let mut redirect = Url::parse(REDIRECT).ok()?;
        redirect
            .query_pairs_mut()
            .append_pair("code", &code)
            .append_pair("state", &of("state")?)
            .append_pair("iss", ISSUER);
        self.codes.insert(code, grant);
        Some(redirect.into())
    }

    /// Processes a request.
    pub(crate) fn process(&mut self, path: &str, body: &[u8], now: u64, unix_seconds: i64) -> Answer {
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(body).into_owned().collect();
        let of = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
        match path {
            "/.well-known/openid-configuration" => Answer::json(
                StatusCode::OK,
                &json!({
                    "issuer": ISSUER,
                    "authorization_endpoint": format!("{ISSUER}/authorize"),
                    "token_endpoint": format!("{ISSUER}/token"),
                    "revocation_endpoint": format!("{ISSUER}/revoke"),
                    "jwks_uri": format!("{ISSUER}/keys"),
                    "response_types_supported": ["code"],
                    "subject_types_supported": ["public"],
                    "id_token_signing_alg_values_supported": ["ES256"],
                    "code_challenge_methods_supported": ["S256"],
                    "authorization_response_iss_parameter_supported": true,
                }),
            ),
            "/keys" => Answer::json(StatusCode::OK, &key_set()),
            "/revoke" => {
                if let Some(family) = self.refresh_tokens.get(of("token")).map(|token| token.family) {
                    self.end(family);
                }
                Answer::json(StatusCode::OK, &json!({}))
            }
            "/token" => match of("grant_type") {
                "authorization_code" => self.exchange(of("code"), of("code_verifier"), now, unix_seconds),
                "refresh_token" => self.refresh(of("refresh_token"), now, unix_seconds),
                _ => Answer::refused("unsupported_grant_type"),
            },
            _ => Answer::page(StatusCode::NOT_FOUND),
        }
    }

    fn exchange(&mut self, code: &str, verifier: &str, now: u64, unix_seconds: i64) -> Answer {
        let Some(known) = self.codes.get_mut(code) else {
            return Answer::refused("invalid_grant");
        };
        let family = known.family;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, verifier.as_bytes());
        if known.spent {
            // RFC 6749 §4.1.2: what the code gave before is taken back.
            self.end(family);
            return Answer::refused("invalid_grant");
        }
        if URL_SAFE_NO_PAD.encode(digest) != known.challenge || now > known.issued_at + CODE_MILLIS {
            return Answer::refused("invalid_grant");
        }
        known.spent = true;
        let nonce = known.nonce.clone();
        let token = self.new_refresh_token(family);
        self.tokens(family, Some(&token), Some(nonce), now, unix_seconds)
    }

    fn refresh(&mut self, token: &str, now: u64, unix_seconds: i64) -> Answer {
        let Some(known) = self.refresh_tokens.get(token) else {
            return Answer::refused("invalid_grant");
        };
        let (family, used_at, successor) = (known.family, known.used_at, known.successor.clone());
        if self.is_over(family) {
            return Answer::refused("invalid_grant");
        }
        let id_token = self.id_token_on_refresh.then_some(None);
        let Some(used_at) = used_at else {
            if self.rotation == Rotation::Never {
                return self.tokens(family, None, id_token, now, unix_seconds);
            }
            let new = self.new_refresh_token(family);
            if let Some(known) = self.refresh_tokens.get_mut(token) {
                known.used_at = Some(now);
                known.successor = Some(new.clone());
            }
            return self.tokens(family, Some(&new), id_token, now, unix_seconds);
        };
        match self.rotation {
            Rotation::Grace if now <= used_at + GRACE_MILLIS => {
                let new = self.new_refresh_token(family);
                self.tokens(family, Some(&new), id_token, now, unix_seconds)
            }
            Rotation::Idempotent if self.is_unused(successor.as_deref()) => {
                self.tokens(family, successor.as_deref(), id_token, now, unix_seconds)
            }
            Rotation::Grace | Rotation::Family => {
                self.reuses += 1;
                self.end(family);
                Answer::refused("invalid_grant")
            }
            _ => {
                self.reuses += 1;
                Answer::refused("invalid_grant")
            }
        }
    }

    fn is_unused(&self, token: Option<&str>) -> bool {
        token
            .and_then(|token| self.refresh_tokens.get(token))
            .is_some_and(|token| token.used_at.is_none())
    }

    fn is_over(&self, family: usize) -> bool {
        self.families.get(family).copied().unwrap_or(true)
    }

    fn end(&mut self, family: usize) {
        if let Some(over) = self.families.get_mut(family) {
            *over = true;
        }
    }

    /// Whether a refresh with this token would be granted now.
    pub(crate) fn would_accept(&self, token: &str, now: u64) -> bool {
        let Some(known) = self.refresh_tokens.get(token) else {
            return false;
        };
        !self.is_over(known.family)
            && match (known.used_at, self.rotation) {
                (None, _) => true,
                (Some(at), Rotation::Grace) => now <= at + GRACE_MILLIS,
                (Some(_), Rotation::Idempotent) => self.is_unused(known.successor.as_deref()),
                _ => false,
            }
    }

    /// Whether this refresh token was replaced by another.
    pub(crate) fn was_used(&self, token: &str) -> bool {
        self.refresh_tokens
            .get(token)
            .is_some_and(|token| token.used_at.is_some())
    }

    pub(crate) fn is_expired(&self, access_token: &str, now: u64) -> bool {
        self.access_tokens
            .get(access_token)
            .is_none_or(|(_, end)| now >= *end)
    }

    /// An administrator ends every grant.
    pub(crate) fn end_all(&mut self) {
        self.families.fill(true);
    }

    fn new_refresh_token(&mut self, family: usize) -> String {
        let token = self.next("refresh");
        let new = RefreshToken {
            family,
            used_at: None,
            successor: None,
        };
        self.refresh_tokens.insert(token.clone(), new);
        token
    }

    /// `nonce`: there is an ID token, with this nonce if there is one.
    fn tokens(
        &mut self,
        family: usize,
        refresh_token: Option<&str>,
        nonce: Option<Option<String>>,
        now: u64,
        unix_seconds: i64,
    ) -> Answer {
        let access_token = self.next("access");
        self.access_tokens
            .insert(access_token.clone(), (family, now + LIFETIME_MILLIS));
        let mut tokens = Map::new();
        tokens.insert("access_token".to_owned(), access_token.into());
        tokens.insert("token_type".to_owned(), "Bearer".into());
        tokens.insert("expires_in".to_owned(), (LIFETIME_MILLIS / 1_000).into());
        tokens.insert("scope".to_owned(), "openid offline_access".into());
        if let Some(token) = refresh_token {
            tokens.insert("refresh_token".to_owned(), token.into());
        }
        if let Some(nonce) = nonce {
            let signed_in_at = self.signed_in_at.get(family).copied().unwrap_or_default();
            match id_token(nonce, unix_seconds, signed_in_at) {
                Some(token) => tokens.insert("id_token".to_owned(), token.into()),
                None => return Answer::page(StatusCode::INTERNAL_SERVER_ERROR),
            };
        }
        Answer::json(StatusCode::OK, &tokens.into())
    }
}

fn id_token(nonce: Option<String>, unix_seconds: i64, signed_in_at: i64) -> Option<String> {
    let mut claims = Map::new();
    for (name, text) in [("iss", ISSUER), ("aud", CLIENT_ID), ("sub", "alice")] {
        claims.insert(name.to_owned(), text.into());
    }
    claims.insert("iat".to_owned(), unix_seconds.into());
    claims.insert("exp".to_owned(), (unix_seconds + 600).into());
    claims.insert("auth_time".to_owned(), signed_in_at.into());
    if let Some(nonce) = nonce {
        claims.insert("nonce".to_owned(), nonce.into());
    }
    let header = json!({ "alg": "ES256", "kid": "one" });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", part(&header), part(&claims.into()));
    let signature = KEY.as_ref()?.sign(&SystemRandom::new(), input.as_bytes()).ok()?;
    Some(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn key_set() -> Value {
    let point = KEY
        .as_ref()
        .map(|key| key.public_key().as_ref().to_vec())
        .unwrap_or_default();
    // Uncompressed (SEC 1 §2.3.3): 4, x, y.
    let (x, y) = point
        .get(1..)
        .unwrap_or_default()
        .split_at_checked(32)
        .unwrap_or_default();
    json!({ "keys": [{
        "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one",
        "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    }] })
}
