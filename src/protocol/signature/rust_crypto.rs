//! Verification in pure Rust, for builds without a TLS library.
//!
//! The `rsa` crate carries RUSTSEC-2023-0071, a timing leak of private keys. There are no private keys here.

use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Digest as _, Sha256};

use super::{BadSignature, point};
use crate::protocol::jwk::{Algorithm, PublicKey};

/// The largest modulus; `rsa` allows 4096 bits unless told otherwise.
const MAX_BITS: usize = 8192;

pub(super) fn verify(
    algorithm: Algorithm,
    key: &PublicKey,
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    match (algorithm, key) {
        (Algorithm::Rs256 | Algorithm::Ps256, PublicKey::Rsa { n, e }) => {
            let (n, e) = (BigUint::from_bytes_be(n), BigUint::from_bytes_be(e));
            let key = RsaPublicKey::new_with_max_size(n, e, MAX_BITS).map_err(|_| BadSignature)?;
            let digest = Sha256::digest(message);
            let outcome = match algorithm {
                Algorithm::Ps256 => key.verify(Pss::new::<Sha256>(), &digest, signature),
                _ => key.verify(Pkcs1v15Sign::new::<Sha256>(), &digest, signature),
            };
            outcome.map_err(|_| BadSignature)
        }
        (Algorithm::Es256, PublicKey::P256 { x, y }) => {
            let key = VerifyingKey::from_sec1_bytes(&point(x, y)).map_err(|_| BadSignature)?;
            let signature = Signature::from_slice(signature).map_err(|_| BadSignature)?;
            key.verify(message, &signature).map_err(|_| BadSignature)
        }
        #[cfg(feature = "alg-es384")]
        (Algorithm::Es384, PublicKey::P384 { x, y }) => {
            use p384::ecdsa::{Signature, VerifyingKey};
            let key = VerifyingKey::from_sec1_bytes(&point(x, y)).map_err(|_| BadSignature)?;
            let signature = Signature::from_slice(signature).map_err(|_| BadSignature)?;
            key.verify(message, &signature).map_err(|_| BadSignature)
        }
        #[cfg(feature = "alg-es512")]
        (Algorithm::Es512, PublicKey::P521 { x, y }) => {
            use p521::ecdsa::{Signature, VerifyingKey};
            let key = VerifyingKey::from_sec1_bytes(&point(x, y)).map_err(|_| BadSignature)?;
            let signature = Signature::from_slice(signature).map_err(|_| BadSignature)?;
            key.verify(message, &signature).map_err(|_| BadSignature)
        }
        #[cfg(feature = "alg-eddsa")]
        (Algorithm::EdDsa, PublicKey::Ed25519 { x }) => {
            let key = ed25519_dalek::VerifyingKey::from_bytes(x).map_err(|_| BadSignature)?;
            let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| BadSignature)?;
            // Strict: no key of small order, which would let one signature verify for many messages.
            key.verify_strict(message, &signature).map_err(|_| BadSignature)
        }
        _ => Err(BadSignature),
    }
}
