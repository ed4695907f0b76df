//! The key file of a directory with sealed records: how their data key is kept.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::file_storage::{FileStorage, Writing};
#[cfg(feature = "keyring")]
#[cfg(not(any(target_os = "android", target_os = "ios")))]
use super::sealing::KeyId;
use super::sealing::{DataKey, fill};
use crate::ports::StorageFailure;
use crate::secret::{Secret, SecretBuffer};

/// Its name.
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

/// Why there is no data key.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The app brought another key, or another kind of key.
    WrongKey(String),
    Storage(StorageFailure),
}

impl From<StorageFailure> for Trouble {
    fn from(failure: StorageFailure) -> Self {
        Self::Storage(failure)
    }
}

/// The data key of the directory. The first of several processes makes it, the others take it.
pub(super) fn data_key(files: &FileStorage, key: &FileKey, kdf: Kdf) -> Result<DataKey, Trouble> {
    files.exists()?;
    if let Some(file) = read(files)? {
        return file.unwrap(key);
    }
    let made = DataKey::random()?;
    // Before the lock: a passphrase takes its time.
    let file = KeyFile::wrap(&made, key, kdf)?;
    let writing = files.write()?;
    if let Some(first) = read(files)? {
        drop(writing);
        return first.unwrap(key);
    }
    if !writing.finds_no_record()? {
        return Err(Trouble::Storage(StorageFailure::Lost(format!(
            "{} holds records, and the file {KEY_FILE} with their key is gone",
            files.directory().display()
        ))));
    }
    file.write(&writing)?;
    Ok(made)
}

/// The key file; `None` if there is none.
fn read(files: &FileStorage) -> Result<Option<KeyFile>, StorageFailure> {
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

/// The second recommended option of RFC 9106 §4, for where 2 GiB of memory are too much.
pub(super) const RFC_9106: Kdf = Kdf {
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
        let mut key = Box::new(Zeroizing::new([0; 32]));
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(passphrase.expose().as_bytes(), salt, key.as_mut_slice())
            .ok()?;
        Some(DataKey::new(key))
    }
}

impl KeyFile {
    fn write(&self, writing: &Writing<'_>) -> Result<(), StorageFailure> {
        let mut text = SecretBuffer::default();
        serde_json::to_writer_pretty(&mut text, self)
            .map_err(|_| failed("a key file cannot be written down"))?;
        writing.replace(KEY_FILE, &text.into_bytes())
    }

    fn wrap(data_key: &DataKey, key: &FileKey, kdf: Kdf) -> Result<Self, Trouble> {
        let sealed = |wrapping: &DataKey| {
            let sealed = wrapping.seal(WRAPPED, data_key.bytes());
            sealed.map(|sealed| Bytes::new(&sealed))
        };
        let key = match key {
            FileKey::Passphrase(passphrase) if passphrase.expose().is_empty() => {
                return Err(Trouble::WrongKey("the passphrase is empty".to_owned()));
            }
            FileKey::Passphrase(passphrase) => {
                let mut salt = [0; 16];
                fill(&mut salt)?;
                let wrapping = kdf
                    .derive(passphrase, &salt)
                    .ok_or_else(|| failed("Argon2 does not take its parameters"))?;
                KeptKey::Passphrase {
                    kdf,
                    salt: Bytes::new(&salt),
                    sealed: sealed(&wrapping)?,
                }
            }
            FileKey::Bytes(bytes) => KeptKey::Bytes {
                sealed: sealed(&of_the_app(bytes)?)?,
            },
            FileKey::BesideTheRecords => KeptKey::BesideTheRecords {
                key: Bytes::new(data_key.bytes()),
            },
        };
        Ok(Self { format: FORMAT, key })
    }

    fn unwrap(&self, key: &FileKey) -> Result<DataKey, Trouble> {
        let damaged = || Trouble::Storage(StorageFailure::Lost(format!("the file {KEY_FILE} is damaged")));
        let wrong_key = |why: &str| Trouble::WrongKey(why.to_owned());
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
            (KeptKey::Bytes { sealed }, FileKey::Bytes(bytes)) => of_the_app(bytes)?
                .open(WRAPPED, &sealed.0)
                .map_err(|_| wrong_key("the key is not the one of these files"))?,
            (KeptKey::BesideTheRecords { key }, FileKey::BesideTheRecords) => key.0.clone(),
            (kept, given) => {
                return Err(Trouble::WrongKey(format!(
                    "the files were made with {}, not with {given:?}",
                    kept.name()
                )));
            }
        };
        DataKey::from_slice(&data_key).ok_or_else(damaged)
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

fn of_the_app(bytes: &[u8; 32]) -> Result<DataKey, StorageFailure> {
    DataKey::from_slice(bytes).ok_or_else(|| failed("a key of the app has another length"))
}

fn failed(why: &str) -> StorageFailure {
    StorageFailure::Failed(why.to_owned())
}
