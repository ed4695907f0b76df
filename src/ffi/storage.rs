//! Secure storage by the platform: the foreign trait, and the port it stands in for.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

use crate::error::{Error, Result, Stage};
use crate::ports::{CommitOutcome, Generation, RecordKey, SecureStorage, StorageFailure, Stored};

/// Records that survive the process, changed only by whoever saw the latest.
///
/// - No record is `null`; locked, unreadable or broken storage throws. "No session" is never guessed.
/// - `commit` and `remove` act only if the record is still at `expected` (0: does not exist), atomically against every
///   other thread and process, and answer `Committed` only once the change is durable.
/// - A generation starts at 1, rises with each write, and never repeats for a key, removal included.
/// - Called from threads of the core's own, never from the caller's: it may block, and must not ask the user.
/// - The bytes are secret; keys are lower-case letters, digits, `.`, `-` and `_`, at most 120 characters.
#[uniffi::export(foreign)]
pub(crate) trait FfiSecureStorage: Send + Sync {
    /// Reads one record.
    fn load(&self, key: String) -> Result<Option<FfiStored>, FfiStorageFailure>;

    /// Writes one record if it is still at the expected generation.
    fn commit(
        &self,
        key: String,
        expected: u64,
        bytes: Vec<u8>,
    ) -> Result<FfiCommitOutcome, FfiStorageFailure>;

    /// Removes one record if it is still at the expected generation.
    fn remove(&self, key: String, expected: u64) -> Result<FfiCommitOutcome, FfiStorageFailure>;

    /// The names of the records that exist and begin with this.
    fn list(&self, prefix: String) -> Result<Vec<String>, FfiStorageFailure>;

    /// Sees to it that the next commit of up to so many bytes to this record finds room. Nothing to do where storage never is
    /// the first to be full.
    fn reserve(&self, key: String, bytes: u64) -> Result<(), FfiStorageFailure>;

    /// Names the device that the records are on, where a copy of them can come to another one; absent where they cannot, or
    /// nobody can tell. Constant, no I/O: asked once, from the caller's thread.
    fn device(&self) -> Result<Option<String>, FfiStorageFailure>;

    /// Names the place of the records: the same text for every storage object in this process that reaches the same
    /// ones, another for every other. Constant, no I/O: asked once, from the caller's thread.
    fn place(&self) -> Result<String, FfiStorageFailure>;
}

/// A record as it was read.
#[derive(Clone, uniffi::Record)]
#[uniffi::export(Debug, Display)]
pub(crate) struct FfiStored {
    /// Its content: secret.
    pub(crate) bytes: Vec<u8>,
    /// How often it was written.
    pub(crate) generation: u64,
}

/// What came of a conditional write.
#[derive(Clone, Debug, uniffi::Enum)]
pub(crate) enum FfiCommitOutcome {
    /// Durable. The record, or its memory, now has this generation.
    Committed {
        /// The new generation.
        generation: u64,
    },
    /// Nothing was written: the record is not at the expected generation.
    Conflict {
        /// What it is now.
        current: Option<FfiStored>,
    },
}

/// Why storage did not answer. It holds no text: what a platform says may quote what was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Error)]
pub(crate) enum FfiStorageFailure {
    /// Locked for now. Nothing is lost.
    Locked,
    /// What was stored is gone or cannot be read any more, for good.
    Lost,
    /// Anything else, the full disk included.
    Failed,
    /// The storage threw what it should not have. Counts as `Failed`.
    Unexpected,
}

/// The port, by way of the foreign trait.
pub(super) struct ForeignStorage {
    foreign: Arc<dyn FfiSecureStorage>,
    /// Asked for once: UniFFI wraps a foreign object anew each time it crosses, so that its address says nothing.
    place: String,
    device: Option<String>,
}

impl ForeignStorage {
    pub(super) fn new(foreign: Arc<dyn FfiSecureStorage>) -> Result<Self> {
        let silent = |_| {
            Error::internal(
                Stage::Storage,
                "the platform's storage does not say where its records are",
            )
        };
        let place = foreign.place().map_err(silent)?;
        let device = foreign.device().map_err(silent)?;
        Ok(Self {
            foreign,
            place,
            device,
        })
    }
}

impl SecureStorage for ForeignStorage {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        Ok(self.foreign.load(key.as_str().to_owned())?.map(Stored::from))
    }

    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> Result<CommitOutcome, StorageFailure> {
        let outcome = self
            .foreign
            .commit(key.as_str().to_owned(), expected.0, bytes.to_vec())?;
        Ok(outcome.into())
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome, StorageFailure> {
        Ok(self.foreign.remove(key.as_str().to_owned(), expected.0)?.into())
    }

    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure> {
        let names = self.foreign.list(prefix.to_owned())?;
        // A name that breaks the rules is no record of ours: the platform keeps other things at the same place.
        let ours = names.iter().filter(|name| name.starts_with(prefix));
        Ok(ours.filter_map(|name| RecordKey::new(name)).collect())
    }

    fn reserve(&self, key: &RecordKey, bytes: usize) -> Result<(), StorageFailure> {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Ok(self.foreign.reserve(key.as_str().to_owned(), bytes)?)
    }

    fn place(&self) -> Option<String> {
        Some(self.place.clone())
    }

    fn device(&self) -> Option<String> {
        self.device.clone()
    }
}

impl fmt::Debug for ForeignStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeignStorage")
    }
}

impl From<FfiStored> for Stored {
    fn from(stored: FfiStored) -> Self {
        Self {
            bytes: Zeroizing::new(stored.bytes),
            generation: Generation(stored.generation),
        }
    }
}

impl From<FfiCommitOutcome> for CommitOutcome {
    fn from(outcome: FfiCommitOutcome) -> Self {
        match outcome {
            FfiCommitOutcome::Committed { generation } => Self::Committed(Generation(generation)),
            FfiCommitOutcome::Conflict { current } => Self::Conflict(current.map(Stored::from)),
        }
    }
}

impl From<FfiStorageFailure> for StorageFailure {
    fn from(failure: FfiStorageFailure) -> Self {
        match failure {
            FfiStorageFailure::Locked => Self::Locked,
            FfiStorageFailure::Lost => Self::Lost("so the platform's storage says".to_owned()),
            FfiStorageFailure::Failed => Self::Failed("the platform's storage failed".to_owned()),
            FfiStorageFailure::Unexpected => Self::Failed(
                "the platform's storage threw an exception it should not have; its text is not shown, as it may hold a secret"
                    .to_owned(),
            ),
        }
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for FfiStorageFailure {
    /// The text is dropped unread.
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Unexpected
    }
}

impl fmt::Display for FfiStorageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for FfiStorageFailure {}

impl fmt::Display for FfiStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "FfiStored({} bytes, generation {})",
            self.bytes.len(),
            self.generation
        )
    }
}

super::debug_as_display!(FfiStored);

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "hunter2-refresh-token";

    /// One record at generation 7, or a failure of everything.
    struct Scripted(Result<(), FfiStorageFailure>);

    impl FfiSecureStorage for Scripted {
        fn load(&self, key: String) -> Result<Option<FfiStored>, FfiStorageFailure> {
            self.0?;
            Ok((key == "here").then(|| FfiStored {
                bytes: SECRET.as_bytes().to_vec(),
                generation: 7,
            }))
        }

        fn commit(
            &self,
            key: String,
            expected: u64,
            bytes: Vec<u8>,
        ) -> Result<FfiCommitOutcome, FfiStorageFailure> {
            assert_eq!(bytes, b"new");
            self.remove(key, expected)
        }

        fn remove(&self, key: String, expected: u64) -> Result<FfiCommitOutcome, FfiStorageFailure> {
            let current = self.load(key)?;
            Ok(match expected {
                7 => FfiCommitOutcome::Committed { generation: 8 },
                _ => FfiCommitOutcome::Conflict { current },
            })
        }

        fn list(&self, _prefix: String) -> Result<Vec<String>, FfiStorageFailure> {
            self.0?;
            Ok(vec!["here".to_owned(), "he rules".to_owned(), "there".to_owned()])
        }

        fn reserve(&self, key: String, bytes: u64) -> Result<(), FfiStorageFailure> {
            assert_eq!((key.as_str(), bytes), ("here", 4096));
            self.0
        }

        fn device(&self) -> Result<Option<String>, FfiStorageFailure> {
            Ok(Some("this one".to_owned()))
        }

        fn place(&self) -> Result<String, FfiStorageFailure> {
            Ok("here".to_owned())
        }
    }

    fn storage(outcome: Result<(), FfiStorageFailure>) -> ForeignStorage {
        ForeignStorage::new(Arc::new(Scripted(outcome))).unwrap()
    }

    #[test]
    fn records_and_generations_cross_whole() {
        let storage = storage(Ok(()));
        let key = |name| RecordKey::new(name).unwrap();
        assert!(storage.load(&key("absent")).unwrap().is_none());
        let stored = storage.load(&key("here")).unwrap().unwrap();
        assert_eq!(
            (&stored.bytes[..], stored.generation),
            (SECRET.as_bytes(), Generation(7))
        );
        for outcome in [
            storage.commit(&key("here"), Generation(7), b"new"),
            storage.remove(&key("here"), Generation(7)),
        ] {
            assert!(matches!(outcome, Ok(CommitOutcome::Committed(Generation(8)))));
        }
        let outcome = storage.commit(&key("here"), Generation::ABSENT, b"new");
        let Ok(CommitOutcome::Conflict(Some(current))) = outcome else {
            panic!("no conflict");
        };
        assert_eq!(current.generation, Generation(7));
        let outcome = storage.remove(&key("absent"), Generation(3));
        assert!(matches!(outcome, Ok(CommitOutcome::Conflict(None))));
        assert_eq!(storage.list("he").unwrap(), [key("here")]);
        storage.reserve(&key("here"), 4096).unwrap();
        assert_eq!(
            (storage.place(), storage.device()),
            (Some("here".to_owned()), Some("this one".to_owned()))
        );
    }

    #[test]
    fn a_failure_is_never_an_absent_record_and_its_text_is_dropped() {
        let unexpected = FfiStorageFailure::from(uniffi::UnexpectedUniFFICallbackError::new(SECRET));
        let key = RecordKey::new("here").unwrap();
        for failure in [
            FfiStorageFailure::Locked,
            FfiStorageFailure::Lost,
            FfiStorageFailure::Failed,
            unexpected,
        ] {
            let storage = storage(Err(failure));
            let failures = [
                storage.load(&key).unwrap_err(),
                storage.commit(&key, Generation(7), b"new").unwrap_err(),
                storage.remove(&key, Generation(7)).unwrap_err(),
                storage.list("").unwrap_err(),
                storage.reserve(&key, 4096).unwrap_err(),
            ];
            for core in failures {
                let kept = match failure {
                    FfiStorageFailure::Locked => matches!(core, StorageFailure::Locked),
                    FfiStorageFailure::Lost => matches!(core, StorageFailure::Lost(_)),
                    FfiStorageFailure::Failed | FfiStorageFailure::Unexpected => {
                        matches!(core, StorageFailure::Failed(_))
                    }
                };
                assert!(kept, "{failure:?} became {core:?}");
                assert!(!format!("{core:?}").contains(SECRET));
            }
        }
    }

    #[test]
    fn a_record_does_not_print() {
        let stored = FfiStored {
            bytes: SECRET.as_bytes().to_vec(),
            generation: 1,
        };
        let conflict = FfiCommitOutcome::Conflict {
            current: Some(stored.clone()),
        };
        assert_eq!(
            format!("{stored} {stored:?}"),
            "FfiStored(21 bytes, generation 1) FfiStored(21 bytes, generation 1)"
        );
        assert!(!format!("{conflict:?}").contains(SECRET));
    }
}
