//! ID tokens held against OpenID Connect Core, by the rows of the checklist: the published sample tokens with
//! their published key, and tokens signed here for what nobody publishes.

use serde_json::json;

use super::*;
use crate::protocol::endpoint::TransportPolicy;

mod claims;
mod refreshed;
mod samples;
mod sealed;

pub(in crate::protocol) const ISSUER: &str = "https://server.example.com";
pub(in crate::protocol) const CLIENT: &str = "s6BhdRkqt3";
const NONCE: &str = "n-0S6_WzA2Mj";
const SUBJECT: &str = "248289761001";
const ACCESS_TOKEN: &str = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
const CODE: &str = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk";
const ISSUED: i64 = 1_311_280_970;
const EXPIRES: i64 = 1_311_281_970;
/// A moment at which the sample tokens are good.
pub(in crate::protocol) const NOW: i64 = 1_311_281_000;

/// TV-15: the sample key of RFC 7515 appendix A.3.
const EC_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const EC_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const EC_D: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";

pub(in crate::protocol) fn ec_jwk(more: &str) -> String {
    format!(r#"{{"kty":"EC","crv":"P-256","x":"{EC_X}","y":"{EC_Y}"{more}}}"#)
}

pub(in crate::protocol) fn key_set(keys: &[String]) -> JwkSet {
    JwkSet::parse(format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes()).unwrap()
}

/// What a token is held against; a test changes the one thing it is about.
struct Check {
    issuer: &'static str,
    client_id: &'static str,
    algorithms: Option<Vec<String>>,
    access_token: &'static str,
    now: i64,
    nonce: &'static str,
    code: &'static str,
    max_age: Option<u32>,
    acr_values: Vec<String>,
    original: Option<Claims>,
}

impl Default for Check {
    /// The sign-in of the sample tokens.
    fn default() -> Self {
        Self {
            issuer: ISSUER,
            client_id: CLIENT,
            algorithms: None,
            access_token: ACCESS_TOKEN,
            now: NOW,
            nonce: NONCE,
            code: CODE,
            max_age: None,
            acr_values: Vec::new(),
            original: None,
        }
    }
}

impl Check {
    /// For tokens signed in these tests.
    fn es256() -> Self {
        Self {
            algorithms: Some(vec!["ES256".to_owned()]),
            ..Self::default()
        }
    }

    fn run(&self, token: &str, keys: &JwkSet) -> Result<Claims, Refused> {
        let issuer = Issuer::parse(self.issuer, TransportPolicy::default()).unwrap();
        let (access_token, nonce) = (
            AccessToken::new(self.access_token.to_owned()),
            Secret::new(self.nonce.to_owned()),
        );
        let code = AuthorizationCode::new(self.code.to_owned());
        let occasion = match &self.original {
            Some(original) => Occasion::Refresh { original },
            None => Occasion::SignIn {
                nonce: &nonce,
                code: &code,
                max_age: self.max_age,
                acr_values: &self.acr_values,
            },
        };
        let expected = Expected {
            issuer: &issuer,
            client_id: self.client_id,
            algorithms: self.algorithms.as_deref(),
            access_token: &access_token,
            now: self.now,
            occasion,
        };
        verify(&IdToken::new(token.to_owned()), keys, &expected)
    }

    /// The code of the refusal, or `ok`.
    fn code(&self, token: &str, keys: &JwkSet) -> &'static str {
        match self.run(token, keys) {
            Ok(_) => "ok",
            Err(refused) => refused.into_error().code(),
        }
    }

    /// The same for claims, signed with ES256 under a good header.
    fn code_of_claims(&self, claims: &str) -> &'static str {
        let token = sign(r#"{"alg":"ES256"}"#, claims);
        self.code(&token, &key_set(&[ec_jwk("")]))
    }
}

/// The claims of a good token, with `changes` over them; `null` takes a claim away.
fn claims_with(changes: Value) -> String {
    let mut claims = json!({
        "iss": ISSUER, "sub": SUBJECT, "aud": CLIENT, "nonce": NONCE, "exp": EXPIRES, "iat": ISSUED,
    });
    let Value::Object(changes) = changes else {
        panic!("not an object")
    };
    for (name, value) in changes {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(&name);
        } else {
            claims[name] = value;
        }
    }
    claims.to_string()
}

pub(in crate::protocol) fn sign(header: &str, claims: &str) -> String {
    let input = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let signature = es256(input.as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

#[cfg(feature = "crypto-aws-lc")]
fn es256(message: &[u8]) -> Vec<u8> {
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
    let public = [vec![4], bytes(EC_X), bytes(EC_Y)].concat();
    let pair = EcdsaKeyPair::from_private_key_and_public_key(
        &ECDSA_P256_SHA256_FIXED_SIGNING,
        &bytes(EC_D),
        &public,
    )
    .unwrap();
    let random = aws_lc_rs::rand::SystemRandom::new();
    pair.sign(&random, message).unwrap().as_ref().to_vec()
}

#[cfg(not(feature = "crypto-aws-lc"))]
fn es256(message: &[u8]) -> Vec<u8> {
    use p256::ecdsa::signature::Signer as _;
    let key = p256::ecdsa::SigningKey::from_slice(&bytes(EC_D)).unwrap();
    let signature: p256::ecdsa::Signature = key.sign(message);
    signature.to_bytes().to_vec()
}
