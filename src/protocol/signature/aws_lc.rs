//! Verification by AWS-LC, the library that rustls links.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};

use super::BadSignature;
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
            // The uncompressed point of SEC 1 §2.3.3.
            let mut point = [0x04; 65];
            let (_, coordinates) = point.split_at_mut(1);
            let (left, right) = coordinates.split_at_mut(32);
            left.copy_from_slice(x);
            right.copy_from_slice(y);
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature)
                .map_err(|_| BadSignature)
        }
        _ => Err(BadSignature),
    }
}
