//! A private key that stays where it is made: in a keystore, a Secure Enclave, or memory.

use std::fmt::Debug;

/// Why a key did not sign.
///
/// ```
/// use gatepass::SigningFailure;
///
/// /// What a platform's status comes to. In doubt the key is not lost: a lost key ends the session.
/// fn failure(status: i32) -> SigningFailure {
///     match status {
///         -25308 => SigningFailure::NeedsUserPresence,
///         -25291 => SigningFailure::Locked,
///         -25300 => SigningFailure::Lost("no such key".to_owned()),
///         other => SigningFailure::Failed(format!("status {other}")),
///     }
/// }
/// assert_eq!(failure(-25291), SigningFailure::Locked);
/// assert_eq!(failure(-1), SigningFailure::Failed("status -1".to_owned()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SigningFailure {
    /// The user must prove to be present first. The façade asks, then the call is made again.
    NeedsUserPresence,
    /// The keystore is locked; nothing is lost.
    Locked,
    /// The key is gone for good.
    Lost(String),
    /// The keystore failed; trying again may help.
    Failed(String),
}

/// The signing-key port, for tokens bound to a key (RFC 9449).
///
/// # Contract
/// - The private key never leaves the implementation.
/// - Synchronous, called from a thread of the core's own; it may block on hardware, never on the user: what
///   would need a prompt answers [`SigningFailure::NeedsUserPresence`].
/// - The key keeps its [`id`](SigningKey::id) for life; a new key has a new id.
///
/// ```
/// use aws_lc_rs::rand::SystemRandom;
/// use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
/// use gatepass::{SigningFailure, SigningKey};
///
/// /// A key in memory.
/// #[derive(Debug)]
/// struct InMemory(EcdsaKeyPair);
///
/// impl SigningKey for InMemory {
///     fn id(&self) -> String {
///         "in-memory-1".to_owned()
///     }
///     fn public_point(&self) -> [u8; 64] {
///         // Without the byte that says "uncompressed".
///         self.0.public_key().as_ref()[1..].try_into().unwrap()
///     }
///     fn sign(&self, message: &[u8]) -> Result<[u8; 64], SigningFailure> {
///         let failed = |_| SigningFailure::Failed("the key did not sign".to_owned());
///         let signature = self.0.sign(&SystemRandom::new(), message).map_err(failed)?;
///         Ok(signature.as_ref().try_into().unwrap())
///     }
/// }
///
/// let key = InMemory(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap());
/// assert_ne!(key.sign(b"proof"), key.sign(b"another"));
/// ```
pub trait SigningKey: Send + Sync + Debug {
    /// A stable name for the key, stored with the session that is bound to it.
    fn id(&self) -> String;

    /// The public half as an uncompressed P-256 point: 32 bytes of x, then 32 bytes of y.
    fn public_point(&self) -> [u8; 64];

    /// Signs with ECDSA P-256 over SHA-256 of `message`: r then s, 32 bytes each (RFC 7518 §3.4).
    ///
    /// # Errors
    /// [`SigningFailure`], which tells a locked keystore from a lost key.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], SigningFailure>;
}
