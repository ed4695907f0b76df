//! What a client is made of: by the platform, or built into the library.

use std::fmt;
use std::sync::Arc;

use super::http::{FfiHttpTransport, ForeignHttp};
use super::key_wrap::{FfiKeyWrap, ForeignKeyWrap};
use super::storage::{FfiSecureStorage, ForeignStorage};
use crate::client::ClientBuilder;
use crate::client::built_in::BuiltInStorage;
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
    /// In sealed files whose key the platform's keystore wraps.
    PlatformKey {
        /// Where the files are.
        directory: String,
        /// What wraps their key.
        wrap: Arc<dyn FfiKeyWrap>,
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
        let built_in = match self {
            Self::Platform { storage } => return Ok(Arc::new(ForeignStorage::new(storage)?)),
            Self::Memory => BuiltInStorage::Memory,
            Self::Keychain { app_id, directory } => BuiltInStorage::Keychain { app_id, directory },
            Self::PlatformKey { directory, wrap } => BuiltInStorage::PlatformKey {
                directory,
                wrap: Arc::new(ForeignKeyWrap(wrap)),
            },
            Self::EncryptedFile { directory, key } => match key {
                FfiFileKey::Passphrase { text } => BuiltInStorage::by_passphrase(directory, text)?,
                FfiFileKey::Bytes { bytes } => BuiltInStorage::by_bytes(directory, bytes)?,
                FfiFileKey::BesideTheRecords => BuiltInStorage::beside_the_records(directory)?,
            },
        };
        built_in.open()
    }
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
