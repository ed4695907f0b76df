//! Signing keys: ID tokens are signed with them, `/jwks` publishes their public halves.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::sync::{Arc, Mutex, PoisonError};

/// How the server signs its ID tokens.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing_setup.rs"));
/// use gatepass::test_server::{SigningAlgorithm, TestServer};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn Error>> {
///     let server = TestServer::builder().signing_algorithm(SigningAlgorithm::Es256).start()?;
///     let client = client(&server)?;
///     let session = sign_in(&server, &client, &server.users()[0]).await?;
///     assert!(session.claims().is_some());
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: what OpenID Connect requires of every server, so the default.
    #[default]
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl SigningAlgorithm {
    /// The name in `alg` (RFC 7518 §3.1).
    pub(super) fn name(self) -> &'static str {
        match self {
            SigningAlgorithm::Rs256 => "RS256",
            SigningAlgorithm::Es256 => "ES256",
        }
    }
}

/// The cryptography failed or the system had no randomness.
#[derive(Debug)]
pub(super) struct KeyFailure;

/// The keys of one server, by number: the last signs, and unless told otherwise all are published.
///
/// Keys are shared by all servers of a process, because an RSA key takes a noticeable time to make and
/// tests start many servers. A token of one server therefore has a good signature at another: what tells
/// them apart is `iss`, which is just what a mix-up test wants to see checked.
#[derive(Debug)]
pub(super) struct KeyRing {
    algorithm: SigningAlgorithm,
    count: usize,
    /// How many of the oldest are published no more.
    retired: usize,
    /// How many are published while the set lags behind.
    frozen_at: Option<usize>,
}

impl KeyRing {
    pub(super) fn new(algorithm: SigningAlgorithm) -> KeyRing {
        KeyRing {
            algorithm,
            count: 1,
            retired: 0,
            frozen_at: None,
        }
    }

    pub(super) fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    pub(super) fn rotate(&mut self) {
        self.count += 1;
    }

    /// From now on new keys are not published.
    pub(super) fn freeze(&mut self) {
        self.frozen_at.get_or_insert(self.count);
    }

    pub(super) fn publish(&mut self) {
        self.frozen_at = None;
    }

    /// Publishes the former keys no more.
    pub(super) fn retire_former(&mut self) {
        self.retired = self.frozen_at.unwrap_or(self.count).saturating_sub(1);
    }

    /// Every key, oldest first. Makes what has not been made yet.
    pub(super) fn all(&self) -> Result<Vec<Arc<SigningKey>>, KeyFailure> {
        static RS256: Mutex<Vec<Arc<SigningKey>>> = Mutex::new(Vec::new());
        static ES256: Mutex<Vec<Arc<SigningKey>>> = Mutex::new(Vec::new());
        let pool = match self.algorithm {
            SigningAlgorithm::Rs256 => &RS256,
            SigningAlgorithm::Es256 => &ES256,
        };
        let mut keys = pool.lock().unwrap_or_else(PoisonError::into_inner);
        while keys.len() < self.count {
            keys.push(Arc::new(SigningKey::generate(self.algorithm)?));
        }
        Ok(keys.iter().take(self.count).cloned().collect())
    }

    /// Signs claims as a compact JWS (RFC 7515 §3.1) with the newest key.
    pub(super) fn sign(&self, claims: &Value) -> Result<String, KeyFailure> {
        self.sign_with(claims, |_| {})
    }

    /// Like [`sign`](KeyRing::sign), with a header that was changed before it was signed.
    pub(super) fn sign_with(
        &self,
        claims: &Value,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<String, KeyFailure> {
        self.all()?.last().ok_or(KeyFailure)?.sign(claims, change)
    }

    /// The claims of a JWT this server signed with any of its keys; says nothing about its age, because
    /// an expired ID token is a good hint (OpenID Connect Core §3.1.2.1, RP-Initiated Logout §2).
    pub(super) fn verify(&self, token: &str) -> Option<Value> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let header: Value = serde_json::from_slice(&BASE64URL.decode(header).ok()?).ok()?;
        let kid = header.get("kid")?.as_str()?;
        let key = self.all().ok()?.into_iter().find(|key| key.kid == kid)?;
        if header.get("alg")?.as_str()? != self.algorithm.name() {
            return None;
        }
        if !key.is_signature(signed.as_bytes(), &BASE64URL.decode(signature).ok()?) {
            return None;
        }
        serde_json::from_slice(&BASE64URL.decode(payload).ok()?).ok()
    }

    /// The keys of the JWK Set (RFC 7517 §5).
    pub(super) fn published(&self) -> Result<Vec<Value>, KeyFailure> {
        let keys = self.all()?;
        let published = keys
            .iter()
            .take(self.frozen_at.unwrap_or(self.count))
            .skip(self.retired);
        Ok(published.map(|key| key.jwk.clone()).collect())
    }
}

/// One key pair and its public JWK.
pub(super) struct SigningKey {
    kid: String,
    pair: Pair,
    jwk: Value,
}

enum Pair {
    Rsa(RsaKeyPair),
    P256(EcdsaKeyPair),
}

impl SigningKey {
    fn generate(algorithm: SigningAlgorithm) -> Result<SigningKey, KeyFailure> {
        let (pair, members) = match algorithm {
            SigningAlgorithm::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyFailure)?;
                let (modulus, exponent) = rsa_components(pair.public_key().as_ref()).ok_or(KeyFailure)?;
                let (n, e) = (BASE64URL.encode(modulus), BASE64URL.encode(exponent));
                (Pair::Rsa(pair), json!({ "e": e, "kty": "RSA", "n": n }))
            }
            SigningAlgorithm::Es256 => {
                let pair =
                    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeyFailure)?;
                // An uncompressed point: 0x04, then two coordinates of 32 bytes (SEC 1 §2.3.3).
                let coordinates = pair.public_key().as_ref().strip_prefix(&[4]).ok_or(KeyFailure)?;
                let (x, y) = coordinates.split_at_checked(32).ok_or(KeyFailure)?;
                let (x, y) = (BASE64URL.encode(x), BASE64URL.encode(y));
                (
                    Pair::P256(pair),
                    json!({ "crv": "P-256", "kty": "EC", "x": x, "y": y }),
                )
            }
        };
        // The thumbprint of RFC 7638 §3: the required members in lexical order, which is how
        // serde_json writes a map, without white space.
        let kid = BASE64URL.encode(Sha256::digest(members.to_string()));
        let mut jwk = members;
        if let Some(jwk) = jwk.as_object_mut() {
            jwk.insert("use".to_owned(), "sig".into());
            jwk.insert("alg".to_owned(), algorithm.name().into());
            jwk.insert("kid".to_owned(), kid.clone().into());
        }
        Ok(SigningKey { kid, pair, jwk })
    }

    fn sign(
        &self,
        claims: &Value,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<String, KeyFailure> {
        let algorithm = match self.pair {
            Pair::Rsa(_) => SigningAlgorithm::Rs256,
            Pair::P256(_) => SigningAlgorithm::Es256,
        };
        let mut header = json!({ "alg": algorithm.name(), "kid": self.kid, "typ": "JWT" });
        if let Some(header) = header.as_object_mut() {
            change(header);
        }
        let signed = format!(
            "{}.{}",
            BASE64URL.encode(header.to_string()),
            BASE64URL.encode(claims.to_string())
        );
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature)
                    .map_err(|_| KeyFailure)?;
                signature
            }
            Pair::P256(pair) => pair
                .sign(&random, signed.as_bytes())
                .map_err(|_| KeyFailure)?
                .as_ref()
                .to_vec(),
        };
        Ok(format!("{signed}.{}", BASE64URL.encode(signature)))
    }

    fn is_signature(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.pair {
            Pair::Rsa(pair) => {
                UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_ref())
                    .verify(message, signature)
                    .is_ok()
            }
            Pair::P256(pair) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())
                .verify(message, signature)
                .is_ok(),
        }
    }
}

/// Modulus and exponent out of the RSAPublicKey of RFC 8017 appendix A.1.1 (the library hands out the
/// public key in this form only).
fn rsa_components(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = der_value(0x30, der)?;
    let (modulus, rest) = der_value(0x02, sequence)?;
    let (exponent, _) = der_value(0x02, rest)?;
    // DER puts a zero before a first byte with the high bit set; JWK leaves it out (RFC 7518 §6.3.1.1).
    Some((modulus.strip_prefix(&[0]).unwrap_or(modulus), exponent))
}

/// The contents of one DER element and what follows it.
fn der_value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (first, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    if *first != tag {
        return None;
    }
    if *length < 0x80 {
        return rest.split_at_checked(usize::from(*length));
    }
    let (digits, rest) = rest.split_at_checked(usize::from(*length & 0x7F))?;
    let length = digits.iter().try_fold(0usize, |sum, digit| {
        sum.checked_mul(256)?.checked_add((*digit).into())
    })?;
    rest.split_at_checked(length)
}

/// The `at_hash` of OpenID Connect Core §3.1.3.6 for an algorithm whose hash is SHA-256.
pub(super) fn left_half_hash(token: &str) -> String {
    BASE64URL.encode(
        Sha256::digest(token)
            .iter()
            .take(16)
            .copied()
            .collect::<Vec<u8>>(),
    )
}

/// Text no one can guess: 256 random bits in base64url.
pub(super) fn random_text(prefix: &str) -> Result<String, KeyFailure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|_| KeyFailure)?;
    Ok(format!("{prefix}{}", BASE64URL.encode(bytes)))
}

#[cfg(test)]
mod tests {
    use super::{KeyRing, SigningAlgorithm, left_half_hash};
    use serde_json::json;

    #[test]
    fn signatures_verify_with_old_keys_and_not_when_tampered_with() {
        for algorithm in [SigningAlgorithm::Rs256, SigningAlgorithm::Es256] {
            let mut keys = KeyRing::new(algorithm);
            let token = keys.sign(&json!({ "sub": "a" })).unwrap();
            keys.rotate();
            assert_eq!(keys.verify(&token).unwrap()["sub"], "a");
            assert_ne!(
                keys.sign(&json!({})).unwrap().split('.').next(),
                token.split('.').next()
            );
            assert_eq!(keys.published().unwrap().len(), 2);

            let parts: Vec<&str> = token.split('.').collect();
            let other = keys.sign(&json!({ "sub": "b" })).unwrap();
            let forged = format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2]);
            assert!(keys.verify(&forged).is_none());
            assert!(keys.verify("").is_none());
            assert!(keys.verify("a.b.c").is_none());
        }
    }

    #[test]
    fn the_published_set_can_lag_behind_and_forget() {
        let mut keys = KeyRing::new(SigningAlgorithm::Es256);
        let kids = |keys: &KeyRing| -> Vec<String> {
            let published = keys.published().unwrap();
            published
                .iter()
                .map(|key| key["kid"].as_str().unwrap().to_owned())
                .collect()
        };
        let first = kids(&keys);
        keys.freeze();
        keys.rotate();
        keys.freeze();
        keys.rotate();
        assert_eq!(kids(&keys), first);
        keys.retire_former();
        assert_eq!(kids(&keys), first, "it is the newest of the published");
        keys.publish();
        let all = kids(&keys);
        assert_eq!((all.len(), &all[..1]), (3, &first[..]));
        keys.retire_former();
        assert_eq!(kids(&keys), all[2..]);
        keys.rotate();
        assert_eq!(kids(&keys).len(), 2);
    }

    #[test]
    fn at_hash_matches_the_example_of_openid_connect_core_a_3() {
        assert_eq!(
            left_half_hash("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"),
            "77QmUPtjPfzWtF2AnpK9RQ"
        );
    }
}
