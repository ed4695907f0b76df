//! Sessions in sealed files whose key the platform's keystore wraps: what phones use.
//!
//! The keystore is asked once in a process: it is slow, and the less often it is asked the less often it fails.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tracing::{info, warn};
use zeroize::Zeroizing;

use super::file_storage::FileStorage;
use super::key_file::{self, Bytes, FORMAT, KeptKey, KeyFile};
use super::sealing::{DataKey, DataKeys, KeyId, Sealed};
use crate::ports::{KeyWrap, StorageFailure};
use crate::sync::lock;

/// Storage in a directory, for a façade. Does no I/O before the first record is read or written.
///
/// Records whose key is gone (an invalidated key, a backup that was restored on another phone) are `Lost`, and the next
/// sign-in makes a new key.
pub(crate) fn platform_key_storage(
    directory: PathBuf,
    wrap: Arc<dyn KeyWrap>,
) -> Arc<Sealed<FileStorage, Keys>> {
    let keys = Keys {
        files: FileStorage::new(directory.clone()),
        wrap,
        known: Mutex::default(),
    };
    Arc::new(Sealed::new(FileStorage::new(directory), keys))
}

/// The data key, by way of the keystore.
#[derive(Debug)]
pub(crate) struct Keys {
    files: FileStorage,
    wrap: Arc<dyn KeyWrap>,
    known: Mutex<Option<Known>>,
}

/// What the keystore said last.
#[derive(Clone, Debug)]
struct Known {
    /// The key as it lies in the key file. Not secret: only the keystore can do something with it.
    wrapped: Vec<u8>,
    key: Arc<DataKey>,
}

impl Keys {
    /// The wrapped key in the key file; `Lost` if it is damaged, `None` if there is none.
    fn wrapped(&self) -> Result<Option<Vec<u8>>, StorageFailure> {
        match key_file::read(&self.files)? {
            None => Ok(None),
            Some(KeyFile {
                key: KeptKey::Platform { wrapped },
                ..
            }) => Ok(Some(wrapped.0.to_vec())),
            Some(KeyFile { key, .. }) => Err(StorageFailure::Failed(format!(
                "{} was made with {}",
                self.files.directory().display(),
                key.name()
            ))),
        }
    }

    /// As [`wrapped`](Keys::wrapped), for one who makes another in place of a damaged one.
    fn wrapped_if_whole(&self) -> Result<Option<Vec<u8>>, StorageFailure> {
        match self.wrapped() {
            Err(StorageFailure::Lost(_)) => Ok(None),
            wrapped => wrapped,
        }
    }

    fn unwrap(&self, wrapped: Vec<u8>) -> Result<Arc<DataKey>, StorageFailure> {
        // Held while the keystore is asked: of many that need the key at once, one asks.
        let mut known = lock(&self.known);
        if let Some(known) = known.as_ref().filter(|known| known.wrapped == wrapped) {
            return Ok(Arc::clone(&known.key));
        }
        let key = Arc::new(data_key(&self.wrap.unwrap(&wrapped)?)?);
        *known = Some(Known {
            wrapped,
            key: Arc::clone(&key),
        });
        Ok(key)
    }

    /// Makes a key in place of one that is lost. Another process may have been faster.
    fn make(&self, lost: Option<&[u8]>) -> Result<Arc<DataKey>, StorageFailure> {
        let made = DataKey::random()?;
        // Before the lock: the keystore takes its time.
        let wrapped = self.wrap.wrap(made.bytes())?;
        // What counts is what comes back.
        if data_key(&self.wrap.unwrap(&wrapped)?)?.id() != made.id() {
            return Err(key_file::failed(
                "the platform's keystore does not give back what it wrapped",
            ));
        }
        // It works again: then what it said before was not so, and nothing is lost.
        if let Some(lost) = lost
            && let Ok(key) = self.unwrap(lost.to_vec())
        {
            return Ok(key);
        }
        let writing = self.files.write()?;
        let now = self.wrapped_if_whole()?;
        if let Some(now) = now.filter(|now| Some(now.as_slice()) != lost) {
            drop(writing);
            return self.unwrap(now);
        }
        let key = KeptKey::Platform {
            wrapped: Bytes::new(&wrapped),
        };
        KeyFile { format: FORMAT, key }.write(&writing)?;
        info!("a new key for stored sign-ins is wrapped by the platform's keystore");
        let key = Arc::new(made);
        *lock(&self.known) = Some(Known {
            wrapped,
            key: Arc::clone(&key),
        });
        Ok(key)
    }
}

impl DataKeys for Keys {
    fn key(&self, id: KeyId) -> Result<Arc<DataKey>, StorageFailure> {
        let known = lock(&self.known).clone();
        if let Some(known) = known.filter(|known| known.key.id() == id) {
            return Ok(known.key);
        }
        let Some(wrapped) = self.wrapped()? else {
            return Err(StorageFailure::Lost("the file with its key is gone".to_owned()));
        };
        let key = self.unwrap(wrapped)?;
        if key.id() == id {
            return Ok(key);
        }
        Err(StorageFailure::Lost(
            "it is sealed with a key that is no longer in use".to_owned(),
        ))
    }

    fn sealing_key(&self) -> Result<Arc<DataKey>, StorageFailure> {
        let Some(wrapped) = self.wrapped_if_whole()? else {
            return self.make(None);
        };
        match self.unwrap(wrapped.clone()) {
            Err(StorageFailure::Lost(_)) => {
                warn!("the platform's keystore lost the key of what is stored; a new one is made");
                self.make(Some(&wrapped))
            }
            outcome => outcome,
        }
    }
}

fn data_key(bytes: &Zeroizing<Vec<u8>>) -> Result<DataKey, StorageFailure> {
    DataKey::from_slice(bytes)
        .ok_or_else(|| StorageFailure::Lost("what the keystore unwrapped is no key of ours".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tempfile::TempDir;

    use super::*;
    use crate::adapters::key_file::KEY_FILE;
    use crate::ports::{CommitOutcome, Generation, RecordKey, SecureStorage as _, conformance};

    /// A keystore with one key that can be lost, locked, and counted.
    #[derive(Debug, Default)]
    struct Keystore {
        /// Which key it is: what is wrapped begins with it.
        key: AtomicUsize,
        trouble: Mutex<Option<StorageFailure>>,
        unwrapped: AtomicUsize,
        /// How often it says that a key is lost which is there.
        forgets: AtomicUsize,
    }

    impl Keystore {
        fn lose_the_key(&self) {
            self.key.fetch_add(1, Ordering::Relaxed);
        }

        fn answer(&self) -> Result<u8, StorageFailure> {
            match lock(&self.trouble).clone() {
                Some(trouble) => Err(trouble),
                None => Ok(u8::try_from(self.key.load(Ordering::Relaxed)).unwrap()),
            }
        }
    }

    impl KeyWrap for Keystore {
        fn wrap(&self, key: &[u8]) -> Result<Vec<u8>, StorageFailure> {
            let ours = self.answer()?;
            let mut wrapped = vec![ours];
            wrapped.extend(key.iter().map(|byte| byte ^ 0x55));
            Ok(wrapped)
        }

        fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, StorageFailure> {
            let ours = self.answer()?;
            let forgets = self.forgets.load(Ordering::Relaxed);
            if forgets > 0 {
                self.forgets.store(forgets - 1, Ordering::Relaxed);
                return Err(StorageFailure::Lost("not found".to_owned()));
            }
            self.unwrapped.fetch_add(1, Ordering::Relaxed);
            match wrapped.split_first() {
                Some((key, rest)) if *key == ours => {
                    Ok(Zeroizing::new(rest.iter().map(|byte| byte ^ 0x55).collect()))
                }
                _ => Err(StorageFailure::Lost("another key".to_owned())),
            }
        }
    }

    fn open(directory: &Path, keystore: &Arc<Keystore>) -> Arc<Sealed<FileStorage, Keys>> {
        // Made by the storage, for this user alone.
        platform_key_storage(
            directory.join("gatepass"),
            Arc::clone(keystore) as Arc<dyn KeyWrap>,
        )
    }

    fn name() -> RecordKey {
        RecordKey::new("session.x").unwrap()
    }

    fn with_a_record() -> (TempDir, Arc<Keystore>) {
        let (directory, keystore) = (tempfile::tempdir().unwrap(), Arc::new(Keystore::default()));
        let outcome = open(directory.path(), &keystore).commit(&name(), Generation::ABSENT, b"value");
        assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{outcome:?}");
        (directory, keystore)
    }

    #[test]
    fn it_keeps_the_contract_of_storage() {
        let (directory, keystore) = (tempfile::tempdir().unwrap(), Arc::new(Keystore::default()));
        conformance::storage(|| open(directory.path(), &keystore));
    }

    #[test]
    fn the_keystore_is_asked_once_in_a_process() {
        let (directory, keystore) = with_a_record();
        keystore.unwrapped.store(0, Ordering::Relaxed);
        let later = open(directory.path(), &keystore);
        for _ in 0..10 {
            let stored = later.load(&name()).unwrap().unwrap();
            later.commit(&name(), stored.generation, b"another").unwrap();
        }
        assert_eq!(keystore.unwrapped.load(Ordering::Relaxed), 1);
    }

    /// PL-31, PL-32: an invalidated key, or a backup on another phone.
    #[test]
    fn pl_32_records_of_a_lost_key_are_lost_and_the_next_sign_in_works() {
        let (directory, keystore) = with_a_record();
        keystore.lose_the_key();
        let later = open(directory.path(), &keystore);
        for _ in 0..2 {
            assert!(matches!(later.load(&name()), Err(StorageFailure::Lost(_))));
        }
        let outcome = later.commit(&name(), Generation::ABSENT, b"new");
        assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{outcome:?}");
        for storage in [later, open(directory.path(), &keystore)] {
            assert_eq!(&storage.load(&name()).unwrap().unwrap().bytes[..], b"new");
        }
    }

    #[test]
    fn a_keystore_that_forgets_its_key_for_a_moment_loses_nothing() {
        let (directory, keystore) = with_a_record();
        let later = open(directory.path(), &keystore);
        keystore.forgets.store(1, Ordering::Relaxed);
        let other = RecordKey::new("session.y").unwrap();
        let outcome = later.commit(&other, Generation::ABSENT, b"other");
        assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{outcome:?}");
        for storage in [later, open(directory.path(), &keystore)] {
            assert_eq!(&storage.load(&name()).unwrap().unwrap().bytes[..], b"value");
        }
    }

    #[test]
    fn a_keystore_that_does_not_answer_loses_nothing() {
        let (directory, keystore) = with_a_record();
        for trouble in [StorageFailure::Locked, StorageFailure::Failed("busy".to_owned())] {
            *lock(&keystore.trouble) = Some(trouble.clone());
            let later = open(directory.path(), &keystore);
            assert_eq!(later.load(&name()).unwrap_err(), trouble);
            for expected in [Generation::ABSENT, Generation(1)] {
                assert_eq!(later.commit(&name(), expected, b"new").unwrap_err(), trouble);
            }
            *lock(&keystore.trouble) = None;
            assert_eq!(&later.load(&name()).unwrap().unwrap().bytes[..], b"value");
        }
    }

    #[test]
    fn a_key_file_that_is_damaged_or_gone_is_a_lost_key() {
        for damage in [None, Some(&b"{\"format\":1,\"kept\":\"pla"[..]), Some(b"")] {
            let (directory, keystore) = with_a_record();
            let file = directory.path().join("gatepass").join(KEY_FILE);
            match damage {
                Some(bytes) => std::fs::write(file, bytes).unwrap(),
                None => std::fs::remove_file(file).unwrap(),
            }
            let later = open(directory.path(), &keystore);
            assert!(matches!(later.load(&name()), Err(StorageFailure::Lost(_))));
            let outcome = later.commit(&name(), Generation::ABSENT, b"new");
            assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{outcome:?}");
            assert_eq!(&later.load(&name()).unwrap().unwrap().bytes[..], b"new");
        }
    }

    #[test]
    fn what_was_made_with_another_kind_of_key_is_left_alone() {
        let (directory, _) = with_a_record();
        std::fs::write(
            directory.path().join("gatepass").join(KEY_FILE),
            br#"{"format":1,"kept":"keychain","id":"AAAAAAAAAAA="}"#,
        )
        .unwrap();
        let storage = open(directory.path(), &Arc::new(Keystore::default()));
        let outcome = storage.commit(&name(), Generation::ABSENT, b"new");
        assert!(matches!(outcome, Err(StorageFailure::Failed(_))), "{outcome:?}");
    }

    /// Two processes, told apart by their storages: what one makes the other takes.
    #[test]
    fn a_key_that_another_process_made_is_taken() {
        let (directory, keystore) = with_a_record();
        let (one, other) = (
            open(directory.path(), &keystore),
            open(directory.path(), &keystore),
        );
        let before = one.load(&name()).unwrap().unwrap().generation;
        other.load(&name()).unwrap();
        keystore.lose_the_key();
        std::fs::remove_file(directory.path().join("gatepass").join(KEY_FILE)).unwrap();
        let outcome = one.commit(&name(), before, b"by one").unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
        let by_one = other.load(&name()).unwrap().unwrap();
        assert_eq!(&by_one.bytes[..], b"by one");
        let outcome = other.commit(&name(), by_one.generation, b"by other").unwrap();
        assert!(matches!(outcome, CommitOutcome::Committed(_)), "{outcome:?}");
        assert_eq!(&one.load(&name()).unwrap().unwrap().bytes[..], b"by other");
    }
}
