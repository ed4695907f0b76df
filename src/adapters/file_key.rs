//! The keys that an app chooses for encrypted files, and how each of them keeps the data key.

use std::fmt;

use argon2::{Algorithm, Argon2, Params, Version};
use zeroize::{Zeroize as _, Zeroizing};

use super::file_storage::FileStorage;
use super::key_file::{Bytes, FORMAT, KEY_FILE, Kdf, KeptKey, KeyFile, failed, read};
use super::sealing::{DataKey, fill};
use crate::ports::StorageFailure;
use crate::secret::Secret;

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

fn of_the_app(bytes: &[u8; 32]) -> Result<DataKey, StorageFailure> {
    DataKey::from_slice(bytes).ok_or_else(|| failed("a key of the app has another length"))
}
