//! The platform's keystore, as far as it wraps the key of what is stored.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::storage::FfiStorageFailure;
use crate::ports::{KeyWrap, StorageFailure};

/// Wraps and unwraps a key of 32 bytes with one that never leaves the platform's keystore.
///
/// - Throws `Lost` only where the key of the keystore is gone for good or is another one: what it wrapped is given up then.
///   A keystore that is locked throws `Locked`; all else is `Failed`, and tried again.
/// - Called from threads of the core's own, never from the caller's: it may block, and must not ask the user.
#[uniffi::export(foreign)]
pub(crate) trait FfiKeyWrap: Send + Sync {
    /// Wraps a key; makes the wrapping key where there is none, or none that still works.
    fn wrap(&self, key: Vec<u8>) -> Result<Vec<u8>, FfiStorageFailure>;

    /// Unwraps it.
    fn unwrap_key(&self, wrapped: Vec<u8>) -> Result<Vec<u8>, FfiStorageFailure>;
}

/// The port, by way of the foreign trait.
pub(super) struct ForeignKeyWrap(pub(super) Arc<dyn FfiKeyWrap>);

impl KeyWrap for ForeignKeyWrap {
    fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, StorageFailure> {
        Ok(self.0.wrap(key.to_vec())?)
    }

    fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, StorageFailure> {
        Ok(Zeroizing::new(self.0.unwrap_key(wrapped.to_vec())?))
    }
}

impl fmt::Debug for ForeignKeyWrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeignKeyWrap")
    }
}
