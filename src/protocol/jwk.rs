//! JSON Web Key sets (RFC 7517): the server's public keys, those that can be used.
//!
//! A set may hold keys of kinds nobody here knows, for other purposes, or broken ones. They are passed over and
//! the rest is used (RFC 7517 §5).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::Digest as _;

use super::json::Object;
use crate::error::{Error, Result, Stage};

/// The longest key set that is read, in bytes.
pub(crate) const MAX_SET_BYTES: usize = 512 * 1024;
/// The most keys that are looked at.
pub(crate) const MAX_KEYS: usize = 200;

/// What only the owner of a key may know (RFC 7518 §6.2.2, §6.3.2, §6.4). Never looked at.
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];
const PUBLISHED: &str =
    "the key set publishes private or symmetric keys: whoever reads it can sign as the server";

/// A signature algorithm (RFC 7518 §3.1, RFC 8037 §3.1) that this build verifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Rs256,
    Ps256,
    Es256,
    #[cfg(feature = "alg-es384")]
    Es384,
    #[cfg(feature = "alg-es512")]
    Es512,
    /// With Ed25519, the only curve of the two that servers use.
    #[cfg(feature = "alg-eddsa")]
    EdDsa,
}

/// A hash function, by the algorithm that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    #[cfg(feature = "alg-es384")]
    Sha384,
    #[cfg(any(feature = "alg-es512", feature = "alg-eddsa"))]
    Sha512,
}

impl Algorithm {
    /// All there are. `none` and the HMAC family are not among them: a public client has no secret to check an HMAC
    /// with (OpenID Connect Core §3.1.3.7).
    pub(crate) const ALL: &[Self] = &[
        Self::Rs256,
        Self::Ps256,
        Self::Es256,
        #[cfg(feature = "alg-es384")]
        Self::Es384,
        #[cfg(feature = "alg-es512")]
        Self::Es512,
        #[cfg(feature = "alg-eddsa")]
        Self::EdDsa,
    ];

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.name() == name)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            #[cfg(feature = "alg-es384")]
            Self::Es384 => "ES384",
            #[cfg(feature = "alg-es512")]
            Self::Es512 => "ES512",
            #[cfg(feature = "alg-eddsa")]
            Self::EdDsa => "EdDSA",
        }
    }

    /// The hash of `at_hash` and `c_hash` (OpenID Connect Core §3.1.3.6). Ed25519 hashes with SHA-512 inside.
    pub(crate) fn hash(self) -> Hash {
        match self {
            Self::Rs256 | Self::Ps256 | Self::Es256 => Hash::Sha256,
            #[cfg(feature = "alg-es384")]
            Self::Es384 => Hash::Sha384,
            #[cfg(feature = "alg-es512")]
            Self::Es512 => Hash::Sha512,
            #[cfg(feature = "alg-eddsa")]
            Self::EdDsa => Hash::Sha512,
        }
    }
}

impl Hash {
    pub(crate) fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => sha2::Sha256::digest(data).to_vec(),
            #[cfg(feature = "alg-es384")]
            Self::Sha384 => sha2::Sha384::digest(data).to_vec(),
            #[cfg(any(feature = "alg-es512", feature = "alg-eddsa"))]
            Self::Sha512 => sha2::Sha512::digest(data).to_vec(),
        }
    }
}

/// The numbers of a public key. Coordinates have exactly the length of their curve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PublicKey {
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa { n: Vec<u8>, e: Vec<u8> },
    /// A point on P-256.
    P256 { x: [u8; 32], y: [u8; 32] },
    /// A point on P-384.
    #[cfg(feature = "alg-es384")]
    P384 { x: [u8; 48], y: [u8; 48] },
    /// A point on P-521.
    #[cfg(feature = "alg-es512")]
    P521 { x: [u8; 66], y: [u8; 66] },
    /// A key of Ed25519 (RFC 8032 §5.1.5).
    #[cfg(feature = "alg-eddsa")]
    Ed25519 { x: [u8; 32] },
}

impl PublicKey {
    fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::Rsa { .. } => matches!(algorithm, Algorithm::Rs256 | Algorithm::Ps256),
            Self::P256 { .. } => algorithm == Algorithm::Es256,
            #[cfg(feature = "alg-es384")]
            Self::P384 { .. } => algorithm == Algorithm::Es384,
            #[cfg(feature = "alg-es512")]
            Self::P521 { .. } => algorithm == Algorithm::Es512,
            #[cfg(feature = "alg-eddsa")]
            Self::Ed25519 { .. } => algorithm == Algorithm::EdDsa,
        }
    }

    /// The thumbprint with SHA-256 (RFC 7638 §3, RFC 8037 §2): of the required members alone, in their order.
    #[allow(dead_code, reason = "for proofs of possession")]
    pub(crate) fn thumbprint(&self) -> String {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let curve = |name: &str, x: &[u8], y: &[u8]| {
            format!(
                r#"{{"crv":"{name}","kty":"EC","x":"{}","y":"{}"}}"#,
                text(x),
                text(y)
            )
        };
        let members = match self {
            Self::Rsa { n, e } => format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, text(e), text(n)),
            Self::P256 { x, y } => curve("P-256", x, y),
            #[cfg(feature = "alg-es384")]
            Self::P384 { x, y } => curve("P-384", x, y),
            #[cfg(feature = "alg-es512")]
            Self::P521 { x, y } => curve("P-521", x, y),
            #[cfg(feature = "alg-eddsa")]
            Self::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, text(x)),
        };
        text(&sha2::Sha256::digest(members))
    }
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
    oddities: Vec<&'static str>,
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
        let entries = || entries.iter().filter_map(Value::as_object);
        let private = entries().any(|entry| PRIVATE_MEMBERS.iter().any(|name| entry.contains_key(*name)));
        Ok(Self {
            keys: entries().filter_map(read_key).collect(),
            oddities: private.then_some(PUBLISHED).into_iter().collect(),
        })
    }

    /// What the server should not have in it: for the log.
    pub(crate) fn oddities(&self) -> &[&'static str] {
        &self.oddities
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
        self.key.fits(algorithm) && self.algorithm.is_none_or(|own| own == algorithm)
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
        "EC" => match text("crv")? {
            "P-256" => PublicKey::P256 {
                x: coordinate(text("x")?)?,
                y: coordinate(text("y")?)?,
            },
            #[cfg(feature = "alg-es384")]
            "P-384" => PublicKey::P384 {
                x: coordinate(text("x")?)?,
                y: coordinate(text("y")?)?,
            },
            #[cfg(feature = "alg-es512")]
            "P-521" => PublicKey::P521 {
                x: coordinate(text("x")?)?,
                y: coordinate(text("y")?)?,
            },
            _ => return None,
        },
        #[cfg(feature = "alg-eddsa")]
        "OKP" if text("crv")? == "Ed25519" => PublicKey::Ed25519 {
            x: coordinate(text("x")?)?,
        },
        _ => return None,
    };
    // A key that says it is for an algorithm of another kind is a mistake, and of no use.
    if !algorithm.is_none_or(|algorithm| key.fits(algorithm)) {
        return None;
    }
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

/// The length is that of the curve, leading zeros included (RFC 7518 §6.2.1.2, RFC 8037 §2).
fn coordinate<const N: usize>(text: &str) -> Option<[u8; N]> {
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
        assert_eq!(set.oddities().len(), 1, "private members are told of");
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

    #[test]
    fn jw_17_tv_15_tv_34_thumbprints() {
        // TV-34: RFC 7638 §3.1; `alg` and `kid` do not enter.
        let rsa = set(
            r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#,
        );
        assert_eq!(
            rsa.keys[0].key.thumbprint(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
        let ec = set(&format!("{{{EC}}}"));
        assert_eq!(
            ec.keys[0].key.thumbprint(),
            "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"
        );
    }

    #[test]
    fn tv_18_the_sample_key_for_encryption_verifies_nothing() {
        let numbers = r#""kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM""#;
        assert!(
            set(&format!(r#"{{{numbers},"use":"enc","kid":"1"}}"#))
                .keys
                .is_empty()
        );
        let other = set(&format!("{{{numbers}}}"));
        assert_eq!(
            other.keys[0].key.thumbprint(),
            "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"
        );
    }

    #[cfg(feature = "alg-eddsa")]
    #[test]
    fn jw_17_tv_35_the_thumbprint_of_ed25519() {
        let key = set(r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#);
        assert_eq!(
            key.keys[0].key.thumbprint(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
        assert!(key.select(None, Algorithm::EdDsa).is_ok());
        for bad in [
            r#"{"kty":"OKP","crv":"Ed448","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            r#"{"kty":"OKP","crv":"X25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            r#"{"kty":"EC","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
            r#"{"kty":"OKP","crv":"Ed25519","x":"11qY"}"#,
            r#"{"kty":"OKP","crv":"Ed25519"}"#,
        ] {
            assert!(set(bad).keys.is_empty(), "{bad}");
        }
    }

    #[test]
    fn bi_74_a_curve_goes_with_its_own_algorithm_and_length() {
        for bad in [
            r#""kty":"EC","crv":"P-384","alg":"ES256""#,
            r#""kty":"EC","crv":"P-521","alg":"ES256""#,
            r#""kty":"EC","crv":"secp256k1""#,
            r#""kty":"EC""#,
            r#""kty":"RSA""#,
        ] {
            let coordinates = EC.split_once(r#""x""#).unwrap().1;
            assert!(
                set(&format!(r#"{{{bad},"x"{coordinates}}}"#)).keys.is_empty(),
                "{bad}"
            );
        }
        let short = EC.replace(
            "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "g83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVA",
        );
        assert!(set(&format!("{{{short}}}")).keys.is_empty(), "31 bytes");
    }
}
