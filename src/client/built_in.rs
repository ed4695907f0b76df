//! Storage that the library has built in, chosen by name: for façades that cannot name its types.

use std::sync::Arc;

use crate::adapters::memory::MemoryStorage;
use crate::adapters::platform_key::platform_key_storage;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::{KeyWrap, SecureStorage};

/// Storage that may be built in.
pub(crate) enum BuiltInStorage {
    /// In memory.
    Memory,
    /// Encrypted files whose key is in the keychain of the system (`keyring`).
    Keychain {
        app_id: String,
        directory: Option<String>,
    },
    /// Sealed files whose key the platform's keystore wraps.
    PlatformKey {
        directory: String,
        wrap: Arc<dyn KeyWrap>,
    },
    /// Encrypted files (`encrypted-file`).
    #[cfg(feature = "encrypted-file")]
    EncryptedFiles {
        directory: String,
        key: crate::adapters::file_key::FileKey,
    },
}

impl BuiltInStorage {
    /// Encrypted files, opened by a passphrase.
    pub(crate) fn by_passphrase(directory: String, text: String) -> Result<Self> {
        #[cfg(feature = "encrypted-file")]
        return Ok(Self::EncryptedFiles {
            directory,
            key: crate::adapters::file_key::FileKey::Passphrase(crate::secret::Secret::new(text)),
        });
        #[cfg(not(feature = "encrypted-file"))]
        {
            drop((directory, zeroize::Zeroizing::new(text)));
            Err(not_built_in("encrypted files", "encrypted-file"))
        }
    }

    /// Encrypted files, opened by a key of 32 bytes.
    pub(crate) fn by_bytes(directory: String, bytes: Vec<u8>) -> Result<Self> {
        let bytes = zeroize::Zeroizing::new(bytes);
        #[cfg(feature = "encrypted-file")]
        return match <[u8; 32]>::try_from(bytes.as_slice()) {
            Ok(bytes) => Ok(Self::EncryptedFiles {
                directory,
                key: crate::adapters::file_key::FileKey::Bytes(bytes),
            }),
            Err(_) => Err(Error::new(
                ErrorKind::Configuration,
                Stage::Storage,
                "storage_key_length",
                "the key of the encrypted files must be 32 bytes",
            )),
        };
        #[cfg(not(feature = "encrypted-file"))]
        {
            drop((directory, bytes));
            Err(not_built_in("encrypted files", "encrypted-file"))
        }
    }

    /// Encrypted files with their key beside them.
    pub(crate) fn beside_the_records(directory: String) -> Result<Self> {
        #[cfg(feature = "encrypted-file")]
        return Ok(Self::EncryptedFiles {
            directory,
            key: crate::adapters::file_key::FileKey::BesideTheRecords,
        });
        #[cfg(not(feature = "encrypted-file"))]
        {
            drop(directory);
            Err(not_built_in("encrypted files", "encrypted-file"))
        }
    }

    pub(crate) fn open(self) -> Result<Arc<dyn SecureStorage>> {
        match self {
            Self::Memory => Ok(Arc::new(MemoryStorage::default())),
            Self::Keychain { app_id, directory } => keychain(app_id, directory),
            Self::PlatformKey { directory, wrap } => Ok(platform_key_storage(directory.into(), wrap)),
            #[cfg(feature = "encrypted-file")]
            Self::EncryptedFiles { directory, key } => {
                let files = crate::adapters::encrypted_file::EncryptedFileStorage::open(directory, key)?;
                Ok(Arc::new(files))
            }
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

#[cfg(any(not(feature = "keyring"), target_os = "android", target_os = "ios"))]
fn not_built_in(what: &str, feature: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        Stage::Storage,
        "storage_not_built_in",
        format!("storage by {what} needs a library with the feature `{feature}`"),
    )
}
