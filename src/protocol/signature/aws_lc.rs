//! Verification by AWS-LC, the library that rustls links.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

use super::{BadSignature, point};
use crate::protocol::jwk::{Algorithm, PublicKey};

pub(super) fn verify(
    algorithm: Algorithm,
    key: &PublicKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    match (algorithm, key) {
        (Algorithm::Rs256 | Algorithm::Ps256, PublicKey::Rsa { n, e }) => {
            let parameters = match algorithm {
                Algorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
                _ => &RSA_PKCS1_2048_8192_SHA256,
            };
            RsaPublicKeyComponents { n, e }
                .verify(parameters, message, signature)
                .map_err(|_| BadSignature)
        }
        (Algorithm::Es256, PublicKey::P256 { x, y }) => {
            on_curve(&ECDSA_P256_SHA256_FIXED, x, y, message, signature)
        }
        #[cfg(feature = "alg-es384")]
        (Algorithm::Es384, PublicKey::P384 { x, y }) => {
            let parameters = &aws_lc_rs::signature::ECDSA_P384_SHA384_FIXED;
            on_curve(parameters, x, y, message, signature)
        }
        #[cfg(feature = "alg-es512")]
        (Algorithm::Es512, PublicKey::P521 { x, y }) => {
            let parameters = &aws_lc_rs::signature::ECDSA_P521_SHA512_FIXED;
            on_curve(parameters, x, y, message, signature)
        }
        #[cfg(feature = "alg-eddsa")]
        (Algorithm::EdDsa, PublicKey::Ed25519 { x }) => {
            UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, x)
                .verify(message, signature)
                .map_err(|_| BadSignature)
        }
        _ => Err(BadSignature),
    }
}

fn on_curve(
    parameters: &'static dyn VerificationAlgorithm,
    x: &[u8],
    y: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    UnparsedPublicKey::new(parameters, point(x, y))
        .verify(message, signature)
        .map_err(|_| BadSignature)
}
