//! Every parser takes any bytes: good inputs, spoilt at random, and never a panic. The random source repeats.

use ::http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use super::callback::{self, Callback};
use super::endpoint::TransportPolicy;
use super::issuer::Issuer;
use super::json::Object;
use super::jwk::JwkSet;
use super::jws::CompactJws;
use super::metadata::AuthorizationServer;
use super::par::PushedRequest;
use super::redirect::RedirectUri;
use super::resource::Resource;
use super::scope::Scope;
use super::token::TokenAnswer;
use super::userinfo::Userinfo;
use super::www_authenticate::Challenge;
use super::{answer, form, revocation};
use crate::error::Stage;
use crate::secret::Secret;

const SEEDS: [&str; 13] = [
    "https://app.example.com/callback?code=C%20D&state=S&iss=https%3A%2F%2Fas.example&error=e&error_description=d",
    "com.example.app:/callback?state=S",
    r#"{"access_token":"A","token_type":"Bearer","expires_in":3600,"refresh_token":"R","id_token":"e30.e30.AA","scope":"a b"}"#,
    r#"{"error":"invalid_grant","error_description":"\u0000\ud83d\ude00","error_uri":"https://as.example/e"}"#,
    r#"{"issuer":"https://as.example","authorization_endpoint":"https://as.example/a","token_endpoint":"https://as.example/t","jwks_uri":"https://as.example/j","scopes_supported":["a"]}"#,
    r#"{"keys":[{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}"#,
    "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UifQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6",
    r#"{"request_uri":"urn:ietf:params:oauth:request_uri:x","expires_in":60}"#,
    r#"Basic realm="a, b", Bearer error="invalid_token", scope="a b", Negotiate abc=="#,
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "https://api.example.com/a?b#c",
    r#"{"sub":"alice","a":[[[{"b":1e400}]]]}"#,
    "openid profile offline_access",
];

struct Seeded(u64);

impl Seeded {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap()
    }

    /// Some seed with a few bytes changed, doubled, taken out, or replaced by a piece of another.
    fn spoilt(&mut self) -> Vec<u8> {
        const ODD: &[u8] = b"\0\r\n\t \"%&=#?\\,;.:/{}[]\xff\xc3\x80";
        let mut bytes = SEEDS[self.below(SEEDS.len())].as_bytes().to_vec();
        for _ in 0..=self.below(6) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at.min(bytes.len()), ODD[self.below(ODD.len())]),
                2 if !bytes.is_empty() => bytes[at] = u8::try_from(self.below(256)).unwrap(),
                3 if !bytes.is_empty() => drop(bytes.remove(at)),
                _ => {
                    let other = SEEDS[self.below(SEEDS.len())].as_bytes();
                    bytes.extend_from_slice(&other[self.below(other.len())..]);
                }
            }
        }
        bytes
    }
}

#[test]
fn oa_41_bi_01_no_parser_panics_on_any_bytes() {
    let policy = TransportPolicy::default();
    let issuer = Issuer::parse("https://as.example", policy).unwrap();
    let redirect = RedirectUri::parse("https://app.example.com/callback").unwrap();
    let endpoint = Url::parse("https://as.example/par").unwrap();
    let state = Secret::new("S".to_owned());
    let mut random = Seeded(0x5eed_0042);
    for _ in 0..20_000 {
        let bytes = random.spoilt();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = StatusCode::from_u16([200, 201, 302, 400, 401, 429, 500][random.below(7)]).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        for name in [
            "www-authenticate",
            "retry-after",
            "date",
            "location",
            "content-type",
        ] {
            if random.below(3) == 0
                && let Ok(value) = HeaderValue::from_bytes(&random.spoilt())
            {
                headers.append(name, value);
            }
        }
        drop(Object::parse(&bytes));
        drop(form::Form::parse(&text));
        drop(RedirectUri::parse(&text));
        drop(Resource::parse(&text));
        drop(Issuer::parse(&text, policy));
        drop(Scope::from_response(&text));
        drop(Challenge::parse(&text));
        drop(Challenge::of(&headers));
        drop(CompactJws::parse(&text));
        drop(JwkSet::parse(&bytes));
        drop(AuthorizationServer::parse(&bytes, &issuer, policy));
        drop(TokenAnswer::read(
            status,
            &headers,
            &bytes,
            Stage::Refresh,
            &["A"],
        ));
        drop(PushedRequest::read(&endpoint, status, &headers, &bytes, &[]));
        drop(Userinfo::read(status, &headers, &bytes, "alice"));
        drop(revocation::read(status, &headers, &bytes, &[]));
        let _ = (answer::retry_after(&headers), answer::server_date(&headers));
        if let Ok(callback) = Callback::parse(&text) {
            let expected = callback::Expected {
                redirect: &redirect,
                state: &state,
                issuer: &issuer,
                iss_required: false,
            };
            let outcome = callback.validate(&expected);
            // Whatever was done to it, a callback counts only with our state and at our redirect URI.
            if !matches!(&outcome, Err(refusal) if !refusal.ends_flow) {
                assert!(text.starts_with("https://app.example.com/callback?"), "{text}");
                assert_eq!(callback.state().unwrap(), "S", "{text}");
            }
        }
    }
}
