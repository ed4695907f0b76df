//! The key file of a directory with sealed records: how their data key is kept.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::file_storage::{FileStorage, Writing};
#[cfg(feature = "keyring")]
#[cfg(not(any(target_os = "android", target_os = "ios")))]
use super::sealing::KeyId;
use crate::ports::StorageFailure;
use crate::secret::SecretBuffer;

/// Its name.
pub(super) const KEY_FILE: &str = "gatepass.key";

/// The key file; `None` if there is none.
pub(super) fn read(files: &FileStorage) -> Result<Option<KeyFile>, StorageFailure> {
    let Some(bytes) = files.read(KEY_FILE)? else {
        return Ok(None);
    };
    let bytes = Zeroizing::new(bytes);
    let directory = files.directory().display();
    // The format first: what a later one says is not ours to judge.
    match serde_json::from_slice::<Format>(&bytes) {
        Ok(Format { format }) if format != FORMAT => Err(StorageFailure::Failed(format!(
            "{directory} is of a newer version of this library (format {format})"
        ))),
        _ => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|_| StorageFailure::Lost(format!("the file {KEY_FILE} in {directory} is damaged"))),
    }
}

/// Refuses a directory whose key is kept elsewhere than in the keychain.
#[cfg(feature = "keyring")]
#[cfg(not(any(target_os = "android", target_os = "ios")))]
pub(super) fn check_kept_in_keychain(files: &FileStorage) -> Result<(), StorageFailure> {
    match read(files) {
        Ok(Some(KeyFile { key, .. })) if !matches!(key, KeptKey::Keychain { .. }) => {
            Err(StorageFailure::Failed(format!(
                "{} was made with {}, not with KeychainStorage",
                files.directory().display(),
                key.name()
            )))
        }
        // Damaged: it held no key, and is written anew.
        Ok(_) | Err(StorageFailure::Lost(_)) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Which of the keychain's keys was in use last, if anybody left word.
#[cfg(feature = "keyring")]
#[cfg(not(any(target_os = "android", target_os = "ios")))]
pub(super) fn keychain_id(files: &FileStorage) -> Result<Option<KeyId>, StorageFailure> {
    match read(files) {
        Ok(Some(KeyFile {
            key: KeptKey::Keychain { id },
            ..
        })) => Ok(id.0.as_slice().try_into().ok().map(KeyId)),
        Ok(_) | Err(StorageFailure::Lost(_)) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Leaves word which key is in use.
#[cfg(feature = "keyring")]
#[cfg(not(any(target_os = "android", target_os = "ios")))]
pub(super) fn note_keychain_id(writing: &Writing<'_>, id: KeyId) -> Result<(), StorageFailure> {
    let key = KeptKey::Keychain {
        id: Bytes::new(&id.0),
    };
    KeyFile { format: FORMAT, key }.write(writing)
}

pub(super) const FORMAT: u32 = 1;

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The key file: JSON, so that a person can see what protects the directory.
#[derive(Serialize, Deserialize)]
pub(super) struct KeyFile {
    pub(super) format: u32,
    #[serde(flatten)]
    pub(super) key: KeptKey,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kept", rename_all = "kebab-case")]
pub(super) enum KeptKey {
    /// The data key, sealed with a key derived from a passphrase.
    Passphrase { kdf: Kdf, salt: Bytes, sealed: Bytes },
    /// The data key, sealed with a key of the app's.
    Bytes { sealed: Bytes },
    /// The data key itself.
    BesideTheRecords { key: Bytes },
    /// Not here but in the keychain of the system, under this id.
    Keychain { id: Bytes },
    /// The data key, as the platform's keystore wrapped it.
    Platform { wrapped: Bytes },
}

/// Base64 in JSON.
#[derive(Clone)]
pub(super) struct Bytes(pub(super) Zeroizing<Vec<u8>>);

impl Bytes {
    pub(super) fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(&*text).map_err(serde::de::Error::custom)?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

/// Argon2id, version 0x13 (RFC 9106).
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct Kdf {
    pub(super) argon2id_memory_kib: u32,
    pub(super) passes: u32,
    pub(super) lanes: u32,
}

impl KeyFile {
    pub(super) fn write(&self, writing: &Writing<'_>) -> Result<(), StorageFailure> {
        let mut text = SecretBuffer::default();
        serde_json::to_writer_pretty(&mut text, self)
            .map_err(|_| failed("a key file cannot be written down"))?;
        writing.replace(KEY_FILE, &text.into_bytes())
    }
}

impl KeptKey {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Passphrase { .. } => "FileKey::Passphrase",
            Self::Bytes { .. } => "FileKey::Bytes",
            Self::BesideTheRecords { .. } => "FileKey::BesideTheRecords",
            Self::Keychain { .. } => "KeychainStorage",
            Self::Platform { .. } => "a key of the platform's keystore",
        }
    }
}

pub(super) fn failed(why: &str) -> StorageFailure {
    StorageFailure::Failed(why.to_owned())
}
