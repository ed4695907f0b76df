//! Sessions in encrypted files, where an app says so: for machines without a keychain.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::file_lock::create_private;
use super::file_storage::FileStorage;
use super::sealing::{DataKey, Sealed, fill};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::{
    CommitOutcome, Generation, ProcessLock, RecordKey, SecureStorage, StorageFailure, Stored,
};
use crate::secret::Secret;

/// The file that tells how the data key is kept.
pub(super) const KEY_FILE: &str = "gatepass.key";
/// Under this name the data key is sealed with the key that the app brings.
const WRAPPED: &str = "gatepass.key";

/// What encrypts the files. There is no default: the choice decides who can read the sessions.
///
/// ```
/// use gatepass::{FileKey, Secret};
///
/// let key = FileKey::Passphrase(Secret::new(String::from("correct horse battery staple")));
/// assert_eq!(format!("{key:?}"), "Passphrase(redacted)");
/// ```
#[non_exhaustive]
pub enum FileKey {
    /// A passphrase that a person types or an operator provides. Whoever has the files must guess it: Argon2id with the
    /// parameters of RFC 9106 §4 for 64 MiB makes every guess cost some 100 ms and 64 MiB. A guessable passphrase is
    /// guessed all the same.
    Passphrase(Secret),
    /// 32 random bytes that the app keeps elsewhere: a TPM, a cloud's key service, a systemd credential.
    Bytes([u8; 32]),
    /// The key lies in a file beside the records, readable by the same user. Whoever can read the directory, a backup of it
    /// included, **can read the sessions**. It keeps them out of a `grep` and nothing more: use it where the disk is what
    /// protects them.
    BesideTheRecords,
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passphrase(_) => "Passphrase(redacted)",
            Self::Bytes(_) => "Bytes(redacted)",
            Self::BesideTheRecords => "BesideTheRecords",
        })
    }
}

impl Drop for FileKey {
    fn drop(&mut self) {
        if let Self::Bytes(bytes) = self {
            bytes.zeroize();
        }
    }
}

/// Secure storage in encrypted files (XChaCha20-Poly1305), for machines that have no keychain. Always an app's explicit
/// choice: nothing falls back to it.
///
/// Several processes may share a directory: every write is conditional, and the storage brings the
/// [process lock](SecureStorage::process_lock) that keeps them from refreshing at once. A crash at any instant leaves the
/// old record or the new one. The directory must be on a local disk, and this process's user's alone (mode 700).
///
/// ```no_run
/// use std::sync::Arc;
/// use gatepass::{Client, EncryptedFileStorage, FileKey, Secret};
///
/// let passphrase = Secret::new(std::env::var("MY_APP_PASSPHRASE").unwrap_or_default());
/// let storage = EncryptedFileStorage::open("/var/lib/my-app/sessions", FileKey::Passphrase(passphrase))?;
/// let client = Client::builder("https://login.example.com", "my-app").storage(Arc::new(storage)).build()?;
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Debug)]
pub struct EncryptedFileStorage(Sealed<FileStorage, Arc<DataKey>>);

impl EncryptedFileStorage {
    /// Opens the directory, or makes it (mode 700). Blocks: reads the disk, and with a passphrase computes for some 100 ms.
    ///
    /// # Errors
    /// `storage_wrong_key` ([`ErrorKind::Configuration`]) if this is not the key of this directory, or not the kind of key:
    /// nothing is touched. [`ErrorKind::StorageLost`] if there are records and what their key was kept in is gone or damaged;
    /// remove the directory to begin anew. [`ErrorKind::StorageLocked`] if the disk does not answer.
    pub fn open(directory: impl AsRef<Path>, key: FileKey) -> Result<Self> {
        Self::open_with(directory.as_ref(), &key, RFC_9106)
    }

    fn open_with(directory: &Path, key: &FileKey, kdf: Kdf) -> Result<Self> {
        // Symbolic links resolved, so that one directory is one place.
        let directory = create_private(directory)
            .and_then(|()| directory.canonicalize())
            .map_err(|error| unavailable(&format!("{}: {error}", directory.display())))?;
        let files = FileStorage::new(directory);
        let data_key = match read_key_file(&files)? {
            Some(file) => file.unwrap(key)?,
            None => create(&files, key, kdf)?,
        };
        Ok(Self(Sealed::new(files, Arc::new(data_key))))
    }
}

/// The first of several processes makes the key, the others take it.
fn create(files: &FileStorage, key: &FileKey, kdf: Kdf) -> Result<DataKey> {
    let data_key = DataKey::random().map_err(|failure| storage(&failure))?;
    // Before the lock: a passphrase takes its time.
    let file = KeyFile::wrap(&data_key, key, kdf)?;
    let writing = files.write().map_err(|failure| storage(&failure))?;
    if let Some(first) = read_key_file(files)? {
        drop(writing);
        return first.unwrap(key);
    }
    if !writing.finds_no_record().map_err(|failure| storage(&failure))? {
        return Err(lost(&format!(
            "{} holds records, and the file {KEY_FILE} with their key is gone",
            files.directory().display()
        )));
    }
    let bytes = Zeroizing::new(
        serde_json::to_vec_pretty(&file)
            .map_err(|_| Error::internal(Stage::Storage, "a key file cannot be written down"))?,
    );
    writing
        .replace(KEY_FILE, &bytes)
        .map_err(|failure| storage(&failure))?;
    Ok(data_key)
}

fn read_key_file(files: &FileStorage) -> Result<Option<KeyFile>> {
    let Some(bytes) = files.read(KEY_FILE).map_err(|failure| storage(&failure))? else {
        return Ok(None);
    };
    let bytes = Zeroizing::new(bytes);
    let damaged = |why: &str| {
        Err(lost(&format!(
            "the file {KEY_FILE} in {} {why}",
            files.directory().display()
        )))
    };
    // The format first: what a later one says is not ours to judge.
    match serde_json::from_slice::<Format>(&bytes) {
        Err(_) => damaged("is damaged"),
        Ok(Format { format }) if format != FORMAT => Err(unavailable(&format!(
            "{} is of a newer version of this library (format {format})",
            files.directory().display()
        ))),
        Ok(_) => match serde_json::from_slice(&bytes) {
            Ok(file) => Ok(Some(file)),
            Err(_) => damaged("is damaged"),
        },
    }
}

const FORMAT: u32 = 1;

#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// The key file: JSON, so that a person can see what protects the directory.
#[derive(Serialize, Deserialize)]
struct KeyFile {
    format: u32,
    #[serde(flatten)]
    key: KeptKey,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kept", rename_all = "kebab-case")]
enum KeptKey {
    /// The data key, sealed with a key derived from a passphrase.
    Passphrase { kdf: Kdf, salt: Bytes, sealed: Bytes },
    /// The data key, sealed with a key of the app's.
    Bytes { sealed: Bytes },
    /// The data key itself.
    BesideTheRecords { key: Bytes },
    /// Not here but in the keychain of the system, under this id.
    Keychain { id: Bytes },
}

/// Base64 in JSON.
#[derive(Clone)]
struct Bytes(Zeroizing<Vec<u8>>);

impl Bytes {
    fn new(bytes: &[u8]) -> Self {
        Self(Zeroizing::new(bytes.to_vec()))
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&Zeroizing::new(STANDARD.encode(&*self.0)))
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = Zeroizing::new(String::deserialize(deserializer)?);
        let bytes = STANDARD.decode(&*text).map_err(serde::de::Error::custom)?;
        Ok(Self(Zeroizing::new(bytes)))
    }
}

/// Argon2id, version 0x13 (RFC 9106).
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Kdf {
    argon2id_memory_kib: u32,
    passes: u32,
    lanes: u32,
}

/// The second recommended option of RFC 9106 §4, for where 2 GiB of memory are too much.
const RFC_9106: Kdf = Kdf {
    argon2id_memory_kib: 64 * 1024,
    passes: 3,
    lanes: 4,
};

impl Kdf {
    /// What a key file may ask for: it must not be able to take all memory or a day.
    fn is_sane(self) -> bool {
        self.argon2id_memory_kib <= 1024 * 1024 && self.passes <= 32 && self.lanes <= 16
    }

    fn derive(self, passphrase: &Secret, salt: &[u8]) -> Option<DataKey> {
        let params = Params::new(self.argon2id_memory_kib, self.passes, self.lanes, Some(32)).ok()?;
        let mut key = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.expose().as_bytes(), salt, &mut *key)
            .ok()?;
        Some(DataKey::new(key))
    }
}

impl KeyFile {
    fn wrap(data_key: &DataKey, key: &FileKey, kdf: Kdf) -> Result<Self> {
        let sealed = |wrapping: &DataKey| {
            let sealed = wrapping.seal(WRAPPED, data_key.bytes());
            sealed
                .map(|sealed| Bytes::new(&sealed))
                .map_err(|failure| storage(&failure))
        };
        let key = match key {
            FileKey::Passphrase(passphrase) if passphrase.expose().is_empty() => {
                return Err(wrong_key("the passphrase is empty"));
            }
            FileKey::Passphrase(passphrase) => {
                let mut salt = [0; 16];
                fill(&mut salt).map_err(|failure| storage(&failure))?;
                let wrapping = kdf
                    .derive(passphrase, &salt)
                    .ok_or_else(|| Error::internal(Stage::Storage, "Argon2 does not take its parameters"))?;
                KeptKey::Passphrase {
                    kdf,
                    salt: Bytes::new(&salt),
                    sealed: sealed(&wrapping)?,
                }
            }
            FileKey::Bytes(bytes) => KeptKey::Bytes {
                sealed: sealed(&DataKey::new(Zeroizing::new(*bytes)))?,
            },
            FileKey::BesideTheRecords => KeptKey::BesideTheRecords {
                key: Bytes::new(data_key.bytes()),
            },
        };
        Ok(Self { format: FORMAT, key })
    }

    fn unwrap(&self, key: &FileKey) -> Result<DataKey> {
        let damaged = || lost(&format!("the file {KEY_FILE} is damaged"));
        let data_key = match (&self.key, key) {
            (KeptKey::Passphrase { kdf, salt, sealed }, FileKey::Passphrase(passphrase)) => {
                let wrapping = Some(kdf)
                    .filter(|kdf| kdf.is_sane())
                    .and_then(|kdf| kdf.derive(passphrase, &salt.0))
                    .ok_or_else(damaged)?;
                // A wrong passphrase and a damaged file look the same, and the first is what happens.
                wrapping
                    .open(WRAPPED, &sealed.0)
                    .map_err(|_| wrong_key("the passphrase is not the one of these files"))?
            }
            (KeptKey::Bytes { sealed }, FileKey::Bytes(bytes)) => DataKey::new(Zeroizing::new(*bytes))
                .open(WRAPPED, &sealed.0)
                .map_err(|_| wrong_key("the key is not the one of these files"))?,
            (KeptKey::BesideTheRecords { key }, FileKey::BesideTheRecords) => key.0.clone(),
            (kept, given) => {
                return Err(wrong_key(&format!(
                    "the files were made with {}, not with {given:?}",
                    kept.name()
                )));
            }
        };
        let bytes = <[u8; 32]>::try_from(data_key.as_slice()).map_err(|_| damaged())?;
        Ok(DataKey::new(Zeroizing::new(bytes)))
    }
}

impl KeptKey {
    fn name(&self) -> &'static str {
        match self {
            Self::Passphrase { .. } => "FileKey::Passphrase",
            Self::Bytes { .. } => "FileKey::Bytes",
            Self::BesideTheRecords { .. } => "FileKey::BesideTheRecords",
            Self::Keychain { .. } => "KeychainStorage",
        }
    }
}

fn wrong_key(why: &str) -> Error {
    Error::new(
        ErrorKind::Configuration,
        Stage::Storage,
        "storage_wrong_key",
        format!("the encrypted files cannot be opened: {why}"),
    )
}

fn lost(why: &str) -> Error {
    storage(&StorageFailure::Lost(why.to_owned()))
}

fn unavailable(why: &str) -> Error {
    storage(&StorageFailure::Failed(why.to_owned()))
}

fn storage(failure: &StorageFailure) -> Error {
    let (kind, code) = match failure {
        StorageFailure::Lost(_) => (ErrorKind::StorageLost, "storage_lost"),
        StorageFailure::Locked => (ErrorKind::StorageLocked, "storage_locked"),
        StorageFailure::Failed(_) => (ErrorKind::StorageLocked, "storage_unavailable"),
    };
    Error::new(kind, Stage::Storage, code, failure.to_string())
}

impl SecureStorage for EncryptedFileStorage {
    fn load(&self, key: &RecordKey) -> std::result::Result<Option<Stored>, StorageFailure> {
        self.0.load(key)
    }

    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> std::result::Result<CommitOutcome, StorageFailure> {
        self.0.commit(key, expected, bytes)
    }

    fn remove(
        &self,
        key: &RecordKey,
        expected: Generation,
    ) -> std::result::Result<CommitOutcome, StorageFailure> {
        self.0.remove(key, expected)
    }

    fn list(&self, prefix: &str) -> std::result::Result<Vec<RecordKey>, StorageFailure> {
        self.0.list(prefix)
    }

    fn place(&self) -> Option<String> {
        self.0.place()
    }

    fn process_lock(&self) -> Option<Arc<dyn ProcessLock>> {
        self.0.process_lock()
    }
}

#[cfg(test)]
mod tests;
