//! Sessions in encrypted files, where an app says so: for machines without a keychain.

use std::path::Path;
use std::sync::Arc;

use super::file_key::{self, FileKey, RFC_9106, Trouble};
use super::file_lock::create_private;
use super::file_storage::FileStorage;
use super::key_file::Kdf;
use super::sealing::{DataKey, Sealed};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::{
    CommitOutcome, Generation, ProcessLock, RecordKey, SecureStorage, StorageFailure, Stored,
};

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
    /// `storage_directory` ([`ErrorKind::Configuration`]) if the path is empty; nothing is opened in its place.
    /// `storage_wrong_key` ([`ErrorKind::Configuration`]) if this is not the key of this directory, or not the kind of key:
    /// nothing is touched. [`ErrorKind::StorageLost`] if there are records and what their key was kept in is gone or damaged;
    /// remove the directory to begin anew. [`ErrorKind::StorageLocked`] if the disk does not answer.
    pub fn open(directory: impl AsRef<Path>, key: FileKey) -> Result<Self> {
        Self::open_with(directory.as_ref(), &key, RFC_9106)
    }

    fn open_with(directory: &Path, key: &FileKey, kdf: Kdf) -> Result<Self> {
        // What no system takes for a name; most often a variable that was not set.
        let name = directory.as_os_str().as_encoded_bytes();
        if name.is_empty() || name.contains(&0) {
            return Err(Error::new(
                ErrorKind::Configuration,
                Stage::Storage,
                "storage_directory",
                "the encrypted files have no directory: the path is empty or holds a NUL; give EncryptedFileStorage::open an absolute path",
            ));
        }
        // Symbolic links resolved, so that one directory is one place.
        let directory = create_private(directory)
            .and_then(|()| directory.canonicalize())
            .map_err(|error| {
                storage(&StorageFailure::Failed(format!(
                    "{}: {error}",
                    directory.display()
                )))
            })?;
        let files = FileStorage::new(directory);
        let data_key = file_key::data_key(&files, key, kdf).map_err(|trouble| match trouble {
            Trouble::Storage(failure) => storage(&failure),
            Trouble::WrongKey(why) => Error::new(
                ErrorKind::Configuration,
                Stage::Storage,
                "storage_wrong_key",
                format!("the encrypted files cannot be opened: {why}"),
            ),
        })?;
        Ok(Self(Sealed::new(files, Arc::new(data_key))))
    }
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

    fn reserve(&self, key: &RecordKey, bytes: usize) -> std::result::Result<(), StorageFailure> {
        self.0.reserve(key, bytes)
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
