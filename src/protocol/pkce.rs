//! Proof Key for Code Exchange (RFC 7636), S256 only.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zeroize::optimization_barrier;

use crate::secret::secret_newtype;

secret_newtype! {
    /// The secret half of PKCE: it leaves the device once, with the code (RFC 7636 §4.5).
    pub(crate) CodeVerifier
}

impl CodeVerifier {
    /// The public half.
    #[cfg(test)]
    pub(crate) fn challenge(&self) -> CodeChallenge {
        CodeChallenge::of(self.expose())
    }
}

/// 32 octets as 43 characters of base64url, each of them unreserved (RFC 7636 §4.1). Where it stands, without memory of
/// its own, and overwritten when dropped: a request is made of four of them.
pub(crate) struct Text43([u8; 43]);

impl Text43 {
    pub(crate) fn of(octets: &[u8; 32]) -> Self {
        let mut text = [0; 43];
        // 43 is what 32 octets take, so it fits.
        let written = URL_SAFE_NO_PAD.encode_slice(octets, &mut text);
        debug_assert_eq!(written, Ok(43));
        Self(text)
    }

    pub(crate) fn as_str(&self) -> &str {
        // All of it is ASCII.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl Drop for Text43 {
    fn drop(&mut self) {
        self.0.fill(0);
        optimization_barrier(self);
    }
}

impl fmt::Debug for Text43 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text43(redacted)")
    }
}

/// The public half of PKCE, sent with the authorization request.
#[derive(Debug)]
pub(crate) struct CodeChallenge(Text43);

impl CodeChallenge {
    /// `BASE64URL(SHA256(ASCII(verifier)))` (RFC 7636 §4.2).
    pub(crate) fn of(verifier: &str) -> Self {
        Self(Text43::of(&Sha256::digest(verifier).into()))
    }

    /// The only method there is here: `plain` reveals the verifier (RFC 9700 §2.1.1).
    pub(crate) const METHOD: &'static str = "S256";

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pk_05_tv_01_to_06_challenges() {
        let zeros = format!("-._~{}", "0".repeat(39));
        for (verifier, challenge) in [
            (
                "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
                "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            ),
            (
                "3641a2d12d66101249cdf7a79c000c1f8c05d2aafcf14bf146497bed",
                "6fdkQaPm51l13DSukcAH3Mdx7_ntecHYd1vi3n0hMZY",
            ),
            (
                "bEaL42izcC-o-xBk0K2vuJ6U-y1p9r_wW2dFWIWgjz-",
                "HtPJkE32DJkowXxFcEC5nnFXgv1Z97Cn_krX96qwH0E",
            ),
            (&"a".repeat(43), "ZtNPunH49FD35FWYhT5Tv8I7vRKQJ8uxMaL0_9eHjNA"),
            (&"~".repeat(128), "zNhOm5Jyonenca7bQzzpjUpwFDVrfhrbbOGCqgWA6HU"),
            (&zeros, "x5MoAs9F3dXkYvjRhQzGsnUwIpQp1puTAV-_NdOuP3A"),
        ] {
            assert_eq!(
                CodeVerifier::new(verifier.to_owned()).challenge().as_str(),
                challenge
            );
        }
    }

    #[test]
    fn pk_02_tv_07_octets_become_43_unreserved_characters() {
        let octets = [
            116, 24, 223, 180, 151, 153, 224, 37, 79, 250, 96, 125, 216, 173, 187, 186, 22, 212, 37, 77, 105,
            214, 191, 240, 91, 88, 5, 88, 83, 132, 141, 121,
        ];
        assert_eq!(
            Text43::of(&octets).as_str(),
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
        );
    }

    #[test]
    fn pk_12_a_verifier_does_not_print() {
        let text = Text43::of(&[7; 32]);
        assert!(!format!("{text:?}").contains(text.as_str()));
        let verifier = CodeVerifier::new(text.as_str().to_owned());
        assert!(!format!("{verifier:?}").contains(verifier.expose()));
    }

    #[test]
    fn pk_02_pk_03_any_octets_make_a_verifier_by_the_grammar() {
        for octet in 0..=255 {
            let verifier = Text43::of(&[octet; 32]);
            let text = verifier.as_str();
            assert_eq!(text.len(), 43);
            assert!(
                text.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b)),
                "{text}"
            );
        }
    }
}
