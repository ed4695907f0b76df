//! A key that never leaves the platform's keystore, and wraps ours.

use std::fmt::Debug;

use zeroize::Zeroizing;

use super::StorageFailure;

/// The key-wrapping port: of the façades, whose platforms have such a keystore.
///
/// # Contract
/// - `unwrap` gives back what `wrap` took, in this process and in later ones.
/// - [`StorageFailure::Lost`] says that the key is gone for good or is another one: what it wrapped is given up then. A
///   keystore that is locked, or only does not answer, must not say so.
/// - Blocks. Called from threads of the core's own, once in a process where all is well.
#[allow(dead_code, reason = "only a façade has such a keystore")]
pub(crate) trait KeyWrap: Send + Sync + Debug {
    /// Wraps a key of ours; makes the wrapping key where there is none, or none that still works.
    fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, StorageFailure>;

    /// Unwraps it.
    fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, StorageFailure>;
}
