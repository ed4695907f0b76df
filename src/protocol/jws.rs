//! JSON Web Signature in compact form (RFC 7515 §7.1), and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use serde_json::Value;

use super::json::Object;
use super::jwk::{Algorithm, JwkSet, NoKey};
use super::signature;
use crate::error::{Error, Result, Stage};

/// The longest token that is looked at.
pub(crate) const MAX_JWT_BYTES: usize = 256 * 1024;

/// A compact JWS, taken apart. Nothing in it is verified yet.
#[derive(Debug)]
pub(crate) struct CompactJws<'a> {
    pub(crate) header: Object,
    pub(crate) payload: Object,
    pub(crate) signature: Vec<u8>,
    pub(crate) signing_input: &'a str,
}

impl<'a> CompactJws<'a> {
    /// Takes a token apart. `URL_SAFE_NO_PAD` refuses padding, white space and stray trailing bits, so there is
    /// one spelling of each token (RFC 7515 §2).
    pub(crate) fn parse(token: &'a str) -> Result<Self> {
        if token.len() > MAX_JWT_BYTES {
            return Err(malformed("is longer than 256 KiB"));
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or_else(|| malformed("has no parts"))?;
        let (header, payload) = signing_input
            .split_once('.')
            .ok_or_else(|| malformed("has two parts instead of three"))?;
        if payload.contains('.') {
            return Err(malformed(
                "has more than three parts; an encrypted one was not asked for",
            ));
        }
        let decode = |part: &str, name: &str| {
            URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| malformed(&format!("has a {name} that is not base64url")))
        };
        let object = |part: &str, name: &str| {
            Object::parse(&decode(part, name)?).map_err(|e| malformed(&format!("has a {name} that is {e}")))
        };
        let jws = Self {
            header: object(header, "header")?,
            payload: object(payload, "payload")?,
            signature: decode(signature, "signature")?,
            signing_input,
        };
        // RFC 7515 §4.1.11: what must be understood is not understood here, so the token is refused; an empty
        // list is not allowed either.
        if jws.header.get("crit").is_some() {
            return Err(Error::protocol(
                Stage::IdToken,
                "jws_critical",
                "RFC 7515 §4.1.11",
                "the token has critical header parameters, none of which is understood",
            ));
        }
        Ok(jws)
    }
}

/// Why a token does not count as signed by the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsigned {
    /// It names no algorithm that the server announced and this build verifies.
    Algorithm,
    /// Its `kid` is not a string.
    Kid,
    /// It says that it is another kind of token.
    Type,
    /// No key of the set fits; a newer set might have it (OpenID Connect Core §10.1.1).
    UnknownKey,
    /// Several keys fit, and guessing is not verifying.
    Ambiguous,
    /// The signature does not verify.
    Signature,
}

/// Why a signed answer is refused.
#[derive(Debug)]
pub(crate) enum Refused {
    /// No key of the set fits; a newer set might have it (§10.1.1).
    UnknownKey(Error),
    /// For good.
    Invalid(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Invalid(error)
    }
}

impl Refused {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::UnknownKey(error) | Self::Invalid(error) => error,
        }
    }
}

impl CompactJws<'_> {
    /// Verifies the signature with the one key that the header leads to, and says which algorithm it was. `announced`
    /// are the algorithms in the server's metadata; without any it is RS256 (OpenID Connect Core §3.1.3.7 item 7).
    pub(crate) fn verify(&self, keys: &JwkSet, announced: Option<&[String]>) -> Result<Algorithm, Unsigned> {
        // Keys named in the header (`jwk`, `jku`, `x5c`, `x5u`) come from whoever made the token: never looked at.
        let algorithm = self
            .header
            .str("alg")
            .and_then(Algorithm::from_name)
            .filter(|algorithm| match announced {
                Some(names) => names.iter().any(|name| name == algorithm.name()),
                None => *algorithm == Algorithm::Rs256,
            })
            .ok_or(Unsigned::Algorithm)?;
        // A token that is typed as another kind, such as `at+jwt` or `logout+jwt`, is not for here (RFC 8725 §3.11).
        if let Some(kind) = self.header.get("typ")
            && !kind.as_str().is_some_and(is_plain_type)
        {
            return Err(Unsigned::Type);
        }
        let kid = match self.header.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.as_str()),
            Some(_) => return Err(Unsigned::Kid),
        };
        let key = keys.select(kid, algorithm).map_err(|reason| match reason {
            NoKey::Unknown => Unsigned::UnknownKey,
            NoKey::Ambiguous => Unsigned::Ambiguous,
        })?;
        signature::verify(
            algorithm,
            &key.key,
            self.signing_input.as_bytes(),
            &self.signature,
        )
        .map_err(|_| Unsigned::Signature)?;
        Ok(algorithm)
    }
}

/// Whether a `typ` leaves open which kind of JWT it is. The kinds that have a type of their own end in `+jwt`.
fn is_plain_type(kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase();
    let kind = kind.strip_prefix("application/").unwrap_or(&kind);
    !kind.ends_with("+jwt")
}

fn malformed(why: &str) -> Error {
    Error::protocol(
        Stage::IdToken,
        "jws_malformed",
        "RFC 7515 §7.1",
        format!("the token {why}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(json: &str) -> String {
        URL_SAFE_NO_PAD.encode(json)
    }

    fn code(token: &str) -> &'static str {
        CompactJws::parse(token).unwrap_err().code()
    }

    #[test]
    fn jw_11_oc_21_bi_58_bu_08_only_the_compact_form() {
        let (header, payload) = (part(r#"{"alg":"ES256"}"#), part(r#"{"iss":"a"}"#));
        assert!(CompactJws::parse(&format!("{header}.{payload}.AAAA")).is_ok());
        for bad in [
            String::new(),
            "a".to_owned(),
            format!("{header}.{payload}"),
            format!("{header}.{payload}.AAAA.AAAA"),
            format!("{header}.{payload}.AAAA.AAAA.AAAA"),
            format!("{header}.{payload}.AAA="),
            format!("{header}. {payload}.AAAA"),
            format!("{header}.{payload}.AAAA\n"),
            format!("{header}.{payload}.AB"), // trailing bits that are not zero
            format!("{}.{payload}.AAAA", part("[]")),
            format!("{header}.{}.AAAA", part("\"x\"")),
            r#"{"payload":"","signatures":[]}"#.to_owned(),
        ] {
            assert_eq!(code(&bad), "jws_malformed", "{bad}");
        }
        assert_eq!(code(&"a".repeat(MAX_JWT_BYTES + 1)), "jws_malformed");
    }

    #[test]
    fn jw_10_jw_16_repeated_names() {
        let payload = part(r#"{"iss":"a"}"#);
        assert_eq!(
            code(&format!(
                "{}.{payload}.AA",
                part(r#"{"alg":"ES256","alg":"none"}"#)
            )),
            "jws_malformed"
        );
        assert_eq!(
            code(&format!("{}.{}.AA", part("{}"), part(r#"{"sub":"a","sub":"b"}"#))),
            "jws_malformed"
        );
    }

    #[test]
    fn jw_09_bi_66_critical_headers() {
        for header in [
            r#"{"crit":["b64"],"b64":false}"#,
            r#"{"crit":[]}"#,
            r#"{"crit":"x"}"#,
        ] {
            assert_eq!(
                code(&format!("{}.{}.AA", part(header), part("{}"))),
                "jws_critical",
                "{header}"
            );
        }
    }
}
