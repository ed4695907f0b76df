//! Secure storage by the platform: the foreign trait, and the port it stands in for.

use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

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
pub(super) struct ForeignStorage(pub(super) Arc<dyn FfiSecureStorage>);

impl SecureStorage for ForeignStorage {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        Ok(self.0.load(key.as_str().to_owned())?.map(Stored::from))
    }

    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> Result<CommitOutcome, StorageFailure> {
        let outcome = self
            .0
            .commit(key.as_str().to_owned(), expected.0, bytes.to_vec())?;
        Ok(outcome.into())
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome, StorageFailure> {
        Ok(self.0.remove(key.as_str().to_owned(), expected.0)?.into())
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
