//! JSON Web Key sets (RFC 7517): the server's public keys, those that can be used.
//!
//! A set may hold keys of kinds nobody here knows, for other purposes, or broken ones. They are passed over and
//! the rest is used (RFC 7517 §5).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json::Object;
use crate::error::{Error, Result, Stage};

/// The longest key set that is read, in bytes.
pub(crate) const MAX_SET_BYTES: usize = 512 * 1024;
/// The most keys that are looked at.
pub(crate) const MAX_KEYS: usize = 200;

/// A signature algorithm (RFC 7518 §3.1) that an ID token may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Ps256,
    Es256,
}

impl Algorithm {
    /// The algorithm of this name. `none` and the HMAC family are not among them: a public client has no secret
    /// to check an HMAC with (OpenID Connect Core §3.1.3.7).
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            _ => None,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
        }
    }
}

/// The numbers of a public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// A point on P-256, coordinates of exactly 32 bytes.
    P256 { x: [u8; 32], y: [u8; 32] },
}

/// One usable key.
#[derive(Clone, Debug)]
pub(crate) struct Jwk {
    pub(crate) key: PublicKey,
    kid: Option<String>,
    algorithm: Option<Algorithm>,
}

/// The usable keys of a set.
#[derive(Clone, Debug, Default)]
pub(crate) struct JwkSet {
    keys: Vec<Jwk>,
}

/// Why no key was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoKey {
    /// None fits: the set may be out of date.
    Unknown,
    /// Several fit, and guessing is not verifying (OpenID Connect Core §10.1).
    Ambiguous,
}

impl JwkSet {
    pub(crate) fn parse(document: &[u8]) -> Result<Self> {
        let refuse = |code, message: &str| Err(Error::protocol(Stage::Jwks, code, "RFC 7517 §5", message));
        if document.len() > MAX_SET_BYTES {
            return refuse("jwks_too_long", "the key set is longer than 512 KiB");
        }
        let object = match Object::parse(document) {
            Ok(object) => object,
            Err(e) => return refuse("jwks_malformed", &format!("the key set is {e}")),
        };
        let Some(entries) = object.get("keys").and_then(Value::as_array) else {
            return refuse("jwks_malformed", "the key set has no array of keys");
        };
        if entries.len() > MAX_KEYS {
            return refuse("jwks_too_many", "the key set has more than 200 keys");
        }
        let keys = entries
            .iter()
            .filter_map(Value::as_object)
            .filter_map(read_key)
            .collect();
        Ok(Self { keys })
    }

    /// The one key that fits the header of a token. A `kid` is only ever compared, never used as a path.
    pub(crate) fn select(&self, kid: Option<&str>, algorithm: Algorithm) -> Result<&Jwk, NoKey> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|jwk| jwk.fits(algorithm) && kid.is_none_or(|wanted| jwk.kid.as_deref() == Some(wanted)));
        match (fitting.next(), fitting.next()) {
            (Some(jwk), None) => Ok(jwk),
            (None, _) => Err(NoKey::Unknown),
            (Some(_), Some(_)) => Err(NoKey::Ambiguous),
        }
    }
}

impl Jwk {
    /// A key is used with one algorithm only (RFC 8725 §3.1).
    fn fits(&self, algorithm: Algorithm) -> bool {
        let kind_fits = match self.key {
            PublicKey::Rsa { .. } => matches!(algorithm, Algorithm::Rs256 | Algorithm::Ps256),
            PublicKey::P256 { .. } => algorithm == Algorithm::Es256,
        };
        kind_fits && self.algorithm.is_none_or(|own| own == algorithm)
    }
}

fn read_key(entry: &Map<String, Value>) -> Option<Jwk> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str);
    // A key for encryption must not verify (RFC 7517 §4.2, §4.3).
    if entry.contains_key("use") && text("use") != Some("sig") {
        return None;
    }
    if let Some(operations) = entry.get("key_ops") {
        operations
            .as_array()?
            .iter()
            .find(|op| op.as_str() == Some("verify"))?;
    }
    let algorithm = match entry.get("alg") {
        Some(name) => Some(Algorithm::from_name(name.as_str()?)?),
        None => None,
    };
    let key = match text("kty")? {
        "RSA" => rsa_key(text("n")?, text("e")?)?,
        "EC" if text("crv")? == "P-256" => PublicKey::P256 {
            x: coordinate(text("x")?)?,
            y: coordinate(text("y")?)?,
        },
        _ => return None,
    };
    Some(Jwk {
        key,
        kid: text("kid").map(str::to_owned),
        algorithm,
    })
}

/// At least 2048 bits (RFC 7518 §3.3), at most 8192, an odd exponent of at least 3 and at most 33 bits: larger
/// ones serve only to keep the device busy.
fn rsa_key(n: &str, e: &str) -> Option<PublicKey> {
    let number = |text: &str| -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(bytes.into_iter().skip_while(|byte| *byte == 0).collect())
    };
    let (n, e) = (number(n)?, number(e)?);
    let bits = n.len() * 8 - usize::try_from(n.first()?.leading_zeros()).ok()?;
    let exponent = e.iter().try_fold(0u64, |sum, byte| {
        sum.checked_mul(256)?.checked_add(u64::from(*byte))
    })?;
    let fits = (2048..=8192).contains(&bits) && exponent >= 3 && exponent % 2 == 1 && exponent < 1 << 33;
    fits.then_some(PublicKey::Rsa { n, e })
}

fn coordinate(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const EC: &str = r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#;

    fn set(keys: &str) -> JwkSet {
        JwkSet::parse(format!("{{\"keys\":[{keys}]}}").as_bytes()).unwrap()
    }

    fn rsa(bits: usize, e: &str) -> String {
        let mut n = vec![0xffu8; bits / 8];
        n[bits / 8 - 1] = 1;
        format!(r#"{{"kty":"RSA","n":"{}","e":"{e}"}}"#, URL_SAFE_NO_PAD.encode(n))
    }

    #[test]
    fn jw_12_bi_63_unknown_and_broken_keys_are_passed_over() {
        let set = set(&format!(
            r#"{{"kty":"oct","k":"AAAA"}},{{"kty":"OKP","crv":"Ed25519","x":"AA"}},{{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}},{{}},7,{{"kid":"1",{EC},"d":"AAAA"}}"#
        ));
        assert_eq!(set.keys.len(), 1);
        assert!(set.select(Some("1"), Algorithm::Es256).is_ok());
    }

    #[test]
    fn jw_13_tv_18_only_keys_for_verification() {
        for bad in [
            r#""use":"enc""#,
            r#""use":7"#,
            r#""key_ops":["encrypt"]"#,
            r#""key_ops":"verify""#,
            r#""alg":"ES384""#,
            r#""alg":"RSA-OAEP""#,
            r#""alg":7"#,
        ] {
            assert!(set(&format!("{{{bad},{EC}}}")).keys.is_empty(), "{bad}");
        }
        let good = set(&format!(
            r#"{{"use":"sig","key_ops":["sign","verify"],"alg":"ES256",{EC}}}"#
        ));
        assert!(good.select(None, Algorithm::Es256).is_ok());
    }

    #[test]
    fn jw_15_bi_74_weak_rsa_keys() {
        assert!(set(&rsa(1024, "AQAB")).keys.is_empty());
        assert!(set(&rsa(16384, "AQAB")).keys.is_empty());
        for exponent in ["AQ", "Ag", "AA", "", "_____________w"] {
            assert!(set(&rsa(2048, exponent)).keys.is_empty(), "{exponent}");
        }
        assert_eq!(set(&rsa(2048, "AQAB")).keys.len(), 1);
    }

    #[test]
    fn jw_01_bi_55_a_key_fits_one_algorithm() {
        let keys = set(&format!(r#"{{"alg":"RS256",{}"#, &rsa(2048, "AQAB")[1..]));
        assert!(keys.select(None, Algorithm::Rs256).is_ok());
        assert_eq!(keys.select(None, Algorithm::Ps256).unwrap_err(), NoKey::Unknown);
        assert_eq!(keys.select(None, Algorithm::Es256).unwrap_err(), NoKey::Unknown);
    }

    #[test]
    fn oc_38_oc_39_bi_60_bi_61_choosing_by_kid() {
        let two = set(&format!(r#"{{"kid":"a",{EC}}},{{"kid":"b",{EC}}}"#));
        assert!(two.select(Some("a"), Algorithm::Es256).is_ok());
        assert_eq!(
            two.select(Some("c"), Algorithm::Es256).unwrap_err(),
            NoKey::Unknown
        );
        assert_eq!(two.select(None, Algorithm::Es256).unwrap_err(), NoKey::Ambiguous);
        let twice = set(&format!(r#"{{"kid":"a",{EC}}},{{"kid":"a",{EC}}}"#));
        assert_eq!(
            twice.select(Some("a"), Algorithm::Es256).unwrap_err(),
            NoKey::Ambiguous
        );
        let one = set(&format!(r#"{{"kid":"a",{EC}}},{}"#, rsa(2048, "AQAB")));
        assert!(one.select(None, Algorithm::Es256).is_ok());
    }

    #[test]
    fn bi_62_limits() {
        let code = |document: &str| JwkSet::parse(document.as_bytes()).unwrap_err().code();
        assert_eq!(code(&" ".repeat(MAX_SET_BYTES + 1)), "jwks_too_long");
        assert_eq!(
            code(&format!("{{\"keys\":[{}]}}", vec!["{}"; MAX_KEYS + 1].join(","))),
            "jwks_too_many"
        );
        for bad in ["", "<html>", "{}", r#"{"keys":{}}"#] {
            assert_eq!(code(bad), "jwks_malformed", "{bad}");
        }
    }
}
