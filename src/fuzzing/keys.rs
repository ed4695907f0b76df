//! Key sets: keys within their limits, none that was not meant for signatures, and none that verifies junk.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::error::{ErrorKind, Stage};
use crate::protocol::jwk::{Algorithm, Jwk, JwkSet, MAX_KEYS, NoKey, PublicKey};
use crate::protocol::signature;

/// The input is a key set.
pub fn jwks(data: &[u8]) {
    let set = match JwkSet::parse(data) {
        Ok(set) => set,
        Err(error) => {
            assert_eq!((error.kind(), error.stage()), (ErrorKind::Protocol, Stage::Jwks));
            return;
        }
    };
    let body = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let document: Value = serde_json::from_slice(body).unwrap();
    let entries = document["keys"].as_array().unwrap();
    assert!(entries.len() <= MAX_KEYS);

    let mut kids: Vec<Option<&str>> = entries.iter().map(|entry| entry["kid"].as_str()).collect();
    kids.extend([None, Some("a kid of nobody")]);
    kids.sort_unstable();
    kids.dedup();
    let mut verified = 0;
    for algorithm in Algorithm::ALL {
        assert_eq!(Algorithm::from_name(algorithm.name()), Some(*algorithm));
        // One entry, alone in a set, is used or it is not; a set of several is neither more nor less.
        let usable: Vec<&Value> = entries
            .iter()
            .filter(|entry| is_usable(entry, *algorithm))
            .collect();
        for kid in &kids {
            let fitting = usable
                .iter()
                .filter(|entry| kid.is_none() || entry["kid"].as_str() == *kid);
            match (set.select(*kid, *algorithm), fitting.count()) {
                (Ok(jwk), 1) => {
                    within_limits(jwk, *algorithm);
                    if verified < 4 {
                        verified += 1;
                        junk_does_not_verify(&jwk.key, *algorithm, data);
                    }
                }
                (Err(NoKey::Unknown), 0) => {}
                (Err(NoKey::Ambiguous), count) => assert!(count > 1),
                (found, count) => panic!("{found:?} of {count} keys"),
            }
        }
    }
}

/// Whether an entry may be used with an algorithm, told by RFC 7517, 7518 and 8037 alone.
fn is_usable(entry: &Value, algorithm: Algorithm) -> bool {
    let text = |name: &str| entry[name].as_str();
    let bytes = |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let of_length = |name: &str, length: usize| bytes(name).is_some_and(|bytes| bytes.len() == length);
    let point = |curve: &str, length| {
        text("kty") == Some("EC")
            && text("crv") == Some(curve)
            && of_length("x", length)
            && of_length("y", length)
    };
    let meant = entry.is_object()
        && entry.get("use").is_none_or(|usage| usage == "sig")
        && entry.get("key_ops").is_none_or(|ops| {
            ops.as_array()
                .is_some_and(|ops| ops.contains(&Value::from("verify")))
        })
        && entry.get("alg").is_none_or(|alg| alg == algorithm.name());
    let kind = match algorithm.name() {
        "RS256" | "PS256" => {
            text("kty") == Some("RSA")
                && bytes("n").is_some_and(|n| (2048..=8192).contains(&bits(&n)))
                && bytes("e").is_some_and(|e| {
                    (2..=33).contains(&bits(&e)) && e.last().is_some_and(|last| last % 2 == 1)
                })
        }
        "ES256" => point("P-256", 32),
        "ES384" => point("P-384", 48),
        "ES512" => point("P-521", 66),
        "EdDSA" => text("kty") == Some("OKP") && text("crv") == Some("Ed25519") && of_length("x", 32),
        other => panic!("a new algorithm, {other}: say here which keys fit it"),
    };
    meant && kind
}

fn bits(number: &[u8]) -> usize {
    let mut digits = number.iter().skip_while(|byte| **byte == 0);
    match digits.next() {
        Some(first) => 8 - first.leading_zeros() as usize + 8 * digits.count(),
        None => 0,
    }
}

fn within_limits(jwk: &Jwk, algorithm: Algorithm) {
    if let PublicKey::Rsa { n, e } = &jwk.key {
        assert!((2048..=8192).contains(&bits(n)) && bits(e) <= 33);
        assert!(n.first() != Some(&0) && e.first() != Some(&0));
    }
    // A thumbprint goes by the required members alone, and comes back from a set that has only those.
    let print = jwk.key.thumbprint();
    assert_eq!(URL_SAFE_NO_PAD.decode(&print).unwrap().len(), 32);
    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let bare = match &jwk.key {
        PublicKey::Rsa { n, e } => json!({ "kty": "RSA", "n": text(n), "e": text(e) }),
        PublicKey::P256 { x, y } => json!({ "kty": "EC", "crv": "P-256", "x": text(x), "y": text(y) }),
        #[cfg(feature = "alg-es384")]
        PublicKey::P384 { x, y } => json!({ "kty": "EC", "crv": "P-384", "x": text(x), "y": text(y) }),
        #[cfg(feature = "alg-es512")]
        PublicKey::P521 { x, y } => json!({ "kty": "EC", "crv": "P-521", "x": text(x), "y": text(y) }),
        #[cfg(feature = "alg-eddsa")]
        PublicKey::Ed25519 { x } => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(x) }),
    };
    let set = JwkSet::parse(json!({ "keys": [bare] }).to_string().as_bytes()).unwrap();
    let again = set.select(None, algorithm).unwrap();
    assert_eq!(again.key, jwk.key);
    assert_eq!(again.key.thumbprint(), print);
}

fn junk_does_not_verify(key: &PublicKey, algorithm: Algorithm, data: &[u8]) {
    // Of the right length, so that it gets as far as it can. A large modulus only costs time here.
    let length = match key {
        PublicKey::Rsa { n, .. } if n.len() > 256 => return,
        PublicKey::Rsa { n, .. } => n.len(),
        PublicKey::P256 { .. } => 64,
        #[cfg(feature = "alg-es384")]
        PublicKey::P384 { .. } => 96,
        #[cfg(feature = "alg-es512")]
        PublicKey::P521 { .. } => 132,
        #[cfg(feature = "alg-eddsa")]
        PublicKey::Ed25519 { .. } => 64,
    };
    let junk: Vec<u8> = data.iter().rev().copied().cycle().take(length).collect();
    assert!(
        signature::verify(algorithm, key, data, &junk).is_err(),
        "junk verifies"
    );
}
