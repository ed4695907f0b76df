//! What a client is made of: by the platform, or built into the library.

use std::fmt;
use std::sync::Arc;

use super::http::{FfiHttpTransport, ForeignHttp};
use super::storage::{FfiSecureStorage, ForeignStorage};
use crate::adapters::memory::MemoryStorage;
use crate::client::ClientBuilder;
use crate::error::Result;
use crate::ports::SecureStorage;

/// Who sends requests.
#[derive(Clone, uniffi::Enum)]
pub(crate) enum FfiHttp {
    /// The platform.
    Platform {
        /// By this.
        transport: Arc<dyn FfiHttpTransport>,
    },
    /// The library itself, where that is built in (the feature `http`).
    BuiltIn,
}

/// Where sessions are kept.
#[derive(Clone, uniffi::Enum)]
pub(crate) enum FfiStorage {
    /// By the platform.
    Platform {
        /// By this.
        storage: Arc<dyn FfiSecureStorage>,
    },
    /// In encrypted files whose key is in the system's keychain, where that is built in (the feature `keyring`).
    Keychain {
        /// The app's own name in reverse, `com.example.my-app`.
        app_id: String,
        /// Where the files are, in place of the user's data directory.
        directory: Option<String>,
    },
    /// In encrypted files, where that is built in (the feature `encrypted-file`). Opening them blocks: some 100 ms with a
    /// passphrase.
    EncryptedFile {
        /// Where the files are.
        directory: String,
        /// Their key.
        key: FfiFileKey,
    },
    /// In memory: they end with the process.
    Memory,
}

/// The key of encrypted files.
#[derive(Clone, uniffi::Enum)]
#[uniffi::export(Debug, Display)]
pub(crate) enum FfiFileKey {
    /// A passphrase.
    Passphrase {
        /// It is secret.
        text: String,
    },
    /// 32 bytes that the app keeps elsewhere.
    Bytes {
        /// They are secret.
        bytes: Vec<u8>,
    },
    /// A file beside the records: whoever can read the directory can read the sessions.
    BesideTheRecords,
}

impl FfiHttp {
    pub(super) fn give(self, builder: ClientBuilder) -> ClientBuilder {
        match self {
            Self::Platform { transport } => builder.http_transport(Arc::new(ForeignHttp(transport))),
            Self::BuiltIn => builder,
        }
    }
}

impl FfiStorage {
    pub(super) fn open(self) -> Result<Arc<dyn SecureStorage>> {
        match self {
            Self::Platform { storage } => Ok(Arc::new(ForeignStorage::new(storage)?)),
            Self::Memory => Ok(Arc::new(MemoryStorage::default())),
            Self::Keychain { app_id, directory } => keychain(app_id, directory),
            Self::EncryptedFile { directory, key } => encrypted_file(&directory, key),
        }
    }
}

#[cfg(feature = "keyring")]
#[cfg(not(any(target_os = "android", target_os = "ios")))]
fn keychain(app_id: String, directory: Option<String>) -> Result<Arc<dyn SecureStorage>> {
    let mut builder = crate::adapters::keychain::KeychainStorage::builder(app_id);
    if let Some(directory) = directory {
        builder = builder.directory(directory);
    }
    Ok(Arc::new(builder.build()?))
}

#[cfg(any(not(feature = "keyring"), target_os = "android", target_os = "ios"))]
fn keychain(_: String, _: Option<String>) -> Result<Arc<dyn SecureStorage>> {
    Err(not_built_in("the keychain", "keyring"))
}

#[cfg(feature = "encrypted-file")]
fn encrypted_file(directory: &str, key: FfiFileKey) -> Result<Arc<dyn SecureStorage>> {
    use crate::adapters::encrypted_file::EncryptedFileStorage;
    use crate::adapters::key_file::FileKey;
    use crate::secret::Secret;
    let key = match key {
        FfiFileKey::Passphrase { text } => FileKey::Passphrase(Secret::new(text)),
        FfiFileKey::Bytes { bytes } => {
            let bytes = zeroize::Zeroizing::new(bytes);
            FileKey::Bytes(<[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| {
                storage_error(
                    "storage_key_length",
                    "the key of the encrypted files must be 32 bytes".to_owned(),
                )
            })?)
        }
        FfiFileKey::BesideTheRecords => FileKey::BesideTheRecords,
    };
    Ok(Arc::new(EncryptedFileStorage::open(directory, key)?))
}

#[cfg(not(feature = "encrypted-file"))]
fn encrypted_file(_: &str, _: FfiFileKey) -> Result<Arc<dyn SecureStorage>> {
    Err(not_built_in("encrypted files", "encrypted-file"))
}

#[cfg(any(not(feature = "keyring"), target_os = "android", target_os = "ios"))]
fn not_built_in(what: &str, feature: &str) -> crate::error::Error {
    storage_error(
        "storage_not_built_in",
        format!("storage by {what} needs a library with the feature `{feature}`"),
    )
}

#[cfg(any(
    feature = "encrypted-file",
    not(feature = "keyring"),
    target_os = "android",
    target_os = "ios"
))]
fn storage_error(code: &'static str, message: String) -> crate::error::Error {
    use crate::error::{Error, ErrorKind, Stage};
    Error::new(ErrorKind::Configuration, Stage::Storage, code, message)
}

impl fmt::Display for FfiFileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase { .. } => "Passphrase(redacted)",
            Self::Bytes { .. } => "Bytes(redacted)",
            Self::BesideTheRecords => "BesideTheRecords",
        })
    }
}

super::debug_as_display!(FfiFileKey);
