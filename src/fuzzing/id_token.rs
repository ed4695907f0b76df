//! ID tokens: claims that are accepted say who signed in, here, now, and nothing else is.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use sha2::Digest as _;

use super::input::edited;
use super::samples::{ACCESS_TOKEN, CLIENT, CODE, ISSUED, ISSUER, NONCE, SAMPLES, key_set};
use crate::error::{ErrorKind, Stage};
use crate::protocol::callback::AuthorizationCode;
use crate::protocol::claims::ClaimsRequest;
use crate::protocol::endpoint::TransportPolicy;
use crate::protocol::id_token::{self, Claims, Expected, Occasion, SKEW_SECONDS};
use crate::protocol::issuer::Issuer;
use crate::protocol::json::Object;
use crate::protocol::jwk::{Algorithm, JwkSet};
use crate::protocol::token::{AccessToken, IdToken};
use crate::secret::Secret;

static KEYS: LazyLock<JwkSet> = LazyLock::new(|| JwkSet::parse(key_set().as_bytes()).unwrap());
static ANNOUNCED: LazyLock<Vec<String>> =
    LazyLock::new(|| Algorithm::ALL.iter().map(|a| a.name().to_owned()).collect());
/// The claims of the sign-in that a refreshed token is held against.
const ORIGINAL: &str =
    r#"{"iss":"https://as.example","sub":"alice","aud":"app","nonce":"a-nonce","auth_time":1999999000}"#;
const MAX_AGE: u32 = 600;
const ACR: &str = "urn:acr:strong";

/// The first byte is the occasion, the rest the claims as JSON: `s` a sign-in, `m` one with `max_age`, `a` one with
/// `acr_values`, `r` a refresh. `x` and a digit: the sample with that number, changed by three bytes each time. `c`: a
/// request for claims.
pub fn id_token(data: &[u8]) {
    match data {
        [b'x', digit @ b'0'..=b'5', edits @ ..] => whole(usize::from(digit - b'0'), edits),
        [b't', token @ ..] => {
            if let Ok(token) = std::str::from_utf8(token) {
                verify(token);
            }
        }
        [b'c', request @ ..] => claims_request(request),
        [occasion @ (b's' | b'm' | b'a' | b'r'), claims @ ..] => {
            if let Ok(object) = Object::parse(claims) {
                check(*occasion, object);
            }
        }
        _ => {}
    }
}

struct Setting {
    issuer: Issuer,
    access_token: AccessToken,
    code: AuthorizationCode,
    nonce: Secret,
    original: Claims,
    acr_values: Vec<String>,
}

impl Setting {
    fn new() -> Self {
        Self {
            issuer: Issuer::parse(ISSUER, TransportPolicy::default()).unwrap(),
            access_token: AccessToken::new(ACCESS_TOKEN.to_owned()),
            code: AuthorizationCode::new(CODE.to_owned()),
            nonce: Secret::new(NONCE.to_owned()),
            original: Claims::from_stored(Object::parse(ORIGINAL.as_bytes()).unwrap()).unwrap(),
            acr_values: vec![ACR.to_owned()],
        }
    }

    fn expected(&self, occasion: u8) -> Expected<'_> {
        let sign_in = |max_age, acr_values| Occasion::SignIn {
            nonce: &self.nonce,
            code: &self.code,
            max_age,
            acr_values,
        };
        Expected {
            issuer: &self.issuer,
            client_id: CLIENT,
            algorithms: Some(&ANNOUNCED),
            access_token: &self.access_token,
            now: ISSUED,
            occasion: match occasion {
                b'm' => sign_in(Some(MAX_AGE), &[]),
                b'a' => sign_in(None, &self.acr_values),
                b'r' => Occasion::Refresh {
                    original: &self.original,
                },
                _ => sign_in(None, &[]),
            },
        }
    }
}

/// A sample, perhaps changed: it verifies as it was signed, and no other way.
fn whole(sample: usize, edits: &[u8]) {
    let sample = &SAMPLES[sample];
    if let Ok(token) = String::from_utf8(edited(sample.token.as_bytes(), edits)) {
        verify(&token);
    }
}

fn verify(token: &str) {
    let setting = Setting::new();
    let known = SAMPLES
        .iter()
        .find(|sample| sample.token == token && sample.is_known());
    let id_token = IdToken::new(token.to_owned());
    for occasion in [b's', b'm', b'a', b'r'] {
        let verified = id_token::verify(&id_token, &KEYS, &setting.expected(occasion));
        match verified {
            Ok(claims) => {
                assert!(known.is_some(), "a forgery is a sign-in");
                assert!(matches!(occasion, b's' | b'r'), "without what was asked for");
                assert_eq!(claims.subject(), "alice");
                assert!(!format!("{claims:?}").contains("alice"));
            }
            Err(refused) => {
                let error = refused.into_error();
                assert!(known.is_none() || matches!(occasion, b'm' | b'a'), "{error}");
                assert_eq!(
                    (error.kind(), error.stage()),
                    (ErrorKind::Protocol, Stage::IdToken)
                );
            }
        }
    }
    if known.is_some() {
        // Good, but of another sign-in, client, server, time or access token.
        let mut others = Vec::new();
        let other = AccessToken::new("another".to_owned());
        let elsewhere = Issuer::parse("https://as.example/", TransportPolicy::default()).unwrap();
        let nonce = Secret::new("another".to_owned());
        let code = AuthorizationCode::new("another".to_owned());
        let base = || setting.expected(b's');
        others.push(Expected {
            access_token: &other,
            ..base()
        });
        others.push(Expected {
            issuer: &elsewhere,
            ..base()
        });
        others.push(Expected {
            client_id: "another",
            ..base()
        });
        others.push(Expected {
            now: ISSUED + 600 + SKEW_SECONDS,
            ..base()
        });
        others.push(Expected {
            now: ISSUED - SKEW_SECONDS - 1,
            ..base()
        });
        others.push(Expected {
            algorithms: Some(&[]),
            ..base()
        });
        for (nonce, code) in [(&nonce, &setting.code), (&setting.nonce, &code)] {
            let occasion = Occasion::SignIn {
                nonce,
                code,
                max_age: None,
                acr_values: &[],
            };
            others.push(Expected { occasion, ..base() });
        }
        for other in others {
            assert!(id_token::verify(&id_token, &KEYS, &other).is_err());
        }
    }
}

/// Claims behind a good signature.
fn check(occasion: u8, object: Object) {
    let setting = Setting::new();
    let claims = Value::Object(object.0.clone());
    for algorithm in [Algorithm::Rs256, *Algorithm::ALL.last().unwrap()] {
        let checked = id_token::check_claims(object.clone(), algorithm.hash(), &setting.expected(occasion));
        let wanted = is_acceptable(&claims, occasion, algorithm);
        match &checked {
            Ok(accepted) => {
                assert_eq!(wanted, Ok(()), "accepted");
                assert_eq!(accepted.subject(), claims["sub"]);
                assert_eq!(accepted.auth_time(), accepted.object().numeric_date("auth_time"));
                // What is stored is the same user the next time.
                let stored = Claims::from_stored(accepted.object().clone()).unwrap();
                assert_eq!(stored.subject(), accepted.subject());
            }
            Err(error) => {
                assert!(wanted.is_err(), "refused: {error}");
                assert_eq!(
                    (error.kind(), error.stage()),
                    (ErrorKind::Protocol, Stage::IdToken)
                );
                assert!(error.clause().is_some());
            }
        }
    }
}

/// The rules of OpenID Connect Core §3.1.3.7 and §12.2, written a second time.
fn is_acceptable(claims: &Value, occasion: u8, algorithm: Algorithm) -> Result<(), &'static str> {
    let must = |holds: bool, rule| if holds { Ok(()) } else { Err(rule) };
    must(claims["iss"] == ISSUER, "iss")?;
    let alone = match &claims["aud"] {
        Value::Array(all) => !all.is_empty() && all.iter().all(|one| one == CLIENT),
        one => one == CLIENT,
    };
    must(alone, "aud")?;
    must(claims.get("azp").is_none_or(|azp| azp == CLIENT), "azp")?;
    let subject = claims["sub"].as_str().unwrap_or_default();
    must(
        (1..=255).contains(&subject.len()) && subject.bytes().all(|b| (0x20..=0x7e).contains(&b)),
        "sub",
    )?;
    // Fractions are dropped, and what is no time of a clock is none.
    let time = |name: &str| {
        let float = claims[name].as_f64()?;
        (float.abs() < 253_402_300_800.0).then_some(float.trunc())
    };
    let now = ISSUED as f64;
    let skew = SKEW_SECONDS as f64;
    let exp = time("exp").unwrap_or_default();
    let iat = time("iat").unwrap_or_default();
    must(exp > 0.0 && now < exp + skew, "exp")?;
    must(iat > 0.0 && iat <= now + skew, "iat")?;
    if claims.get("nbf").is_some() {
        let nbf = time("nbf").unwrap_or_default();
        must(nbf > 0.0 && nbf <= now + skew, "nbf")?;
    }
    let half = |of: &str| {
        let digest = match algorithm.name() {
            "RS256" | "PS256" | "ES256" => sha2::Sha256::digest(of).to_vec(),
            "ES384" => sha2::Sha384::digest(of).to_vec(),
            _ => sha2::Sha512::digest(of).to_vec(),
        };
        URL_SAFE_NO_PAD.encode(&digest[..digest.len() / 2])
    };
    let is_half = |name: &str, of: &str| claims.get(name).is_none_or(|claim| *claim == half(of));
    must(is_half("at_hash", ACCESS_TOKEN), "at_hash")?;
    let logout = "http://schemas.openid.net/event/backchannel-logout";
    must(claims["events"].get(logout).is_none(), "events")?;
    if occasion == b'r' {
        must(subject == "alice", "sub")?;
        must(claims.get("nonce").is_none_or(|nonce| nonce == NONCE), "nonce")?;
        must(
            time("auth_time").is_none_or(|time| time == 1_999_999_000.0),
            "auth_time",
        )?;
        return Ok(());
    }
    must(claims["nonce"] == NONCE, "nonce")?;
    must(is_half("c_hash", CODE), "c_hash")?;
    if occasion == b'm' {
        let oldest = now - f64::from(MAX_AGE) - skew;
        must(time("auth_time").is_some_and(|time| time >= oldest), "auth_time")?;
    }
    must(occasion != b'a' || claims["acr"] == ACR, "acr")
}

fn claims_request(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match ClaimsRequest::parse(text) {
        Ok(request) => {
            let again = ClaimsRequest::parse(request.as_str()).unwrap();
            assert_eq!(again.as_str(), request.as_str());
            assert_eq!(again.essential_acr_values(), request.essential_acr_values());
            let value: Value = serde_json::from_str(request.as_str()).unwrap();
            assert!(value.is_object());
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Configuration),
    }
}
