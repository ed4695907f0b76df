//! Secure storage: records that survive the process, changed only by whoever saw the latest.

use std::fmt::{self, Debug};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::process_lock::ProcessLock;

/// The suite that every adapter passes.
#[cfg(any(test, feature = "conformance"))]
pub(crate) mod conformance;

/// Which write a record is from. It rises with each write, by how much is the adapter's affair; only equality and order
/// mean anything.
///
/// ```
/// use gatepass::{CommitOutcome, Generation, MemoryStorage, RecordKey, SecureStorage};
///
/// let (storage, key) = (MemoryStorage::default(), RecordKey::new("example").unwrap());
/// let Ok(CommitOutcome::Committed(first)) = storage.commit(&key, Generation::ABSENT, b"one") else { panic!() };
/// let Ok(CommitOutcome::Committed(second)) = storage.commit(&key, first, b"two") else { panic!() };
/// assert!(Generation::ABSENT < first && first < second);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Generation(
    /// The number; 0 stands for a record that does not exist.
    pub u64,
);

impl Generation {
    /// The generation to expect where there is no record yet.
    pub const ABSENT: Self = Self(0);

    /// One more than this: what the next write gives a record, in an adapter that counts.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The name of a record: lower-case letters, digits, `.`, `-` and `_`, at most 120 characters, so that it fits
/// any keychain and any file system.
///
/// ```
/// use gatepass::RecordKey;
///
/// assert!(RecordKey::new("session.1a2b").is_some());
/// assert!(RecordKey::new("Session/1").is_none());
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKey(String);

impl RecordKey {
    /// The name, if it keeps the rules.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let fits = !name.is_empty()
            && name.len() <= 120
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_'));
        fits.then(|| Self(name.to_owned()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A record as it was read.
///
/// ```
/// use gatepass::{Generation, Stored};
///
/// let stored = Stored::new(b"what the disk had".to_vec(), Generation(7));
/// assert_eq!(stored.bytes.as_slice(), b"what the disk had");
/// // It is a secret: printed is how long it is.
/// assert!(!format!("{stored:?}").contains("disk"));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Stored {
    /// Its content.
    pub bytes: Zeroizing<Vec<u8>>,
    /// Which write it is from.
    pub generation: Generation,
}

impl Stored {
    /// A record from its parts.
    #[must_use]
    pub fn new(bytes: Vec<u8>, generation: Generation) -> Self {
        Self {
            bytes: Zeroizing::new(bytes),
            generation,
        }
    }
}

impl Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stored")
            .field("bytes", &self.bytes.len())
            .field("generation", &self.generation)
            .finish()
    }
}

/// What came of a conditional write.
///
/// ```
/// use gatepass::{CommitOutcome, Generation, MemoryStorage, RecordKey, SecureStorage, StorageFailure};
///
/// /// Adds to a record that others may be writing as well.
/// fn append(storage: &dyn SecureStorage, key: &RecordKey, more: &[u8]) -> Result<Generation, StorageFailure> {
///     let mut current = storage.load(key)?;
///     loop {
///         let (old, expected) = current.as_ref().map_or((&[][..], Generation::ABSENT), |s| (&s.bytes[..], s.generation));
///         match storage.commit(key, expected, &[old, more].concat())? {
///             CommitOutcome::Committed(generation) => return Ok(generation),
///             // Somebody was faster; this is what they wrote.
///             CommitOutcome::Conflict(newer) => current = newer,
///         }
///     }
/// }
///
/// let (storage, key) = (MemoryStorage::default(), RecordKey::new("example").unwrap());
/// append(&storage, &key, b"one ")?;
/// append(&storage, &key, b"two")?;
/// assert_eq!(storage.load(&key)?.unwrap().bytes.as_slice(), b"one two");
/// # Ok::<(), StorageFailure>(())
/// ```
#[derive(Clone, Debug)]
pub enum CommitOutcome {
    /// Durable: it survives a crash from here on. The record now has this generation.
    Committed(Generation),
    /// Nothing was written: the record is not at the expected generation. This is what it is now.
    Conflict(Option<Stored>),
}

/// Why storage did not answer. None of these means "no session".
///
/// ```
/// use gatepass::StorageFailure;
/// use std::io;
///
/// /// In an adapter: only what is gone for good is lost.
/// fn failure(error: io::Error) -> StorageFailure {
///     match error.kind() {
///         io::ErrorKind::InvalidData => StorageFailure::Lost(error.to_string()),
///         io::ErrorKind::WouldBlock => StorageFailure::Locked,
///         _ => StorageFailure::Failed(error.to_string()),
///     }
/// }
/// assert!(matches!(failure(io::ErrorKind::StorageFull.into()), StorageFailure::Failed(_)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StorageFailure {
    /// Locked for now (before the first unlock of the device, a locked keyring). Nothing is lost.
    Locked,
    /// What was stored is gone or cannot be read any more, for good; the text says why.
    Lost(String),
    /// Anything else, the full disk included; the text is for people and holds no secret.
    Failed(String),
}

impl fmt::Display for StorageFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked => f.write_str("secure storage is locked"),
            Self::Lost(why) => write!(f, "secure storage lost what it held: {why}"),
            Self::Failed(why) => write!(f, "secure storage does not answer: {why}"),
        }
    }
}

impl std::error::Error for StorageFailure {}

/// The secure-storage port.
///
/// # Contract
/// - `Ok(None)` means that there certainly is no record. Locked, unreadable or broken storage is a
///   [`StorageFailure`], never `Ok(None)`: "no session" must not be guessed.
/// - [`commit`](SecureStorage::commit) writes only if the record is still at `expected`, atomically against every
///   other thread and process, and answers [`CommitOutcome::Committed`] only once the bytes are durable. After
///   a crash at any instant the record is the old one or the new one, never a part of either.
/// - A generation never repeats for a key, removal included, as long as any process runs.
/// - A record whose bytes can never be read again (damaged, or sealed with a key that is gone) is
///   [`StorageFailure::Lost`] to whoever reads it, and stands at [`Generation::ABSENT`] for
///   [`commit`](SecureStorage::commit) and [`remove`](SecureStorage::remove): the user can sign in again in its place,
///   and nobody takes it for "no session" by reading. `Locked` and `Failed` are never written over.
/// - Every name that [`RecordKey`] allows is a record of its own, and every value up to 1 MiB fits, the empty one
///   included.
/// - Synchronous and allowed to block: called only from threads of the core's own, never from the caller's.
/// - The bytes are secret. An adapter that keeps them outside memory encrypts them.
///
/// ```
/// use gatepass::{CommitOutcome, Generation, MemoryStorage, RecordKey, SecureStorage};
///
/// let (storage, key) = (MemoryStorage::default(), RecordKey::new("example").unwrap());
/// let Ok(CommitOutcome::Committed(first)) = storage.commit(&key, Generation::ABSENT, b"one") else { panic!() };
/// // Who has not seen the latest changes nothing, and learns what it is.
/// let Ok(CommitOutcome::Conflict(Some(current))) = storage.commit(&key, Generation::ABSENT, b"two") else { panic!() };
/// assert_eq!((current.generation, current.bytes.as_slice()), (first, b"one".as_slice()));
/// ```
pub trait SecureStorage: Send + Sync + Debug {
    /// Reads one record.
    ///
    /// # Errors
    /// [`StorageFailure`] if storage cannot say.
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure>;

    /// Writes one record if it is still at the expected generation ([`Generation::ABSENT`]: does not exist).
    ///
    /// # Errors
    /// [`StorageFailure`] if the bytes are not known to be durable. The caller reads again before it acts.
    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> Result<CommitOutcome, StorageFailure>;

    /// Removes one record if it is still at the expected generation.
    ///
    /// # Errors
    /// [`StorageFailure`] if the removal is not known to be durable.
    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome, StorageFailure>;

    /// The names of the records that exist and begin with `prefix`, in any order: how sessions are found at the next start.
    ///
    /// Each name in the answer is whole, and a record that exists for as long as the call lasts is in it. One that comes
    /// or goes meanwhile may be or not.
    ///
    /// # Errors
    /// [`StorageFailure`] if storage cannot say: an empty answer means that there certainly is none.
    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure>;

    /// Sees to it that the next commit of up to so many bytes to this record finds room, also if the disk is full by then.
    /// Called before a refresh token is sent: what a server gives out once must not be lost to a full disk.
    ///
    /// The default does nothing: for storage that never is the first to be full, a keychain for example.
    ///
    /// # Errors
    /// [`StorageFailure`] if there is no room: then nothing is sent.
    fn reserve(&self, key: &RecordKey, bytes: usize) -> Result<(), StorageFailure> {
        let _ = (key, bytes);
        Ok(())
    }

    /// Names the place of the records: the same text for every adapter in this process that reaches the same ones,
    /// another for every other. `None` for an adapter whose records no second adapter can reach.
    ///
    /// By it two clients over one place know that they share a session, and wait for each other instead of sending
    /// the same refresh token twice. Constant, and does no I/O: called from the caller's thread.
    fn place(&self) -> Option<String> {
        None
    }

    /// Names the device that the records are on, where a copy of them can come to another one, by a backup that is restored
    /// for example: the same text across restarts and updates, another text on another device. `None`, the default, where
    /// they cannot leave the device, or nobody can tell.
    ///
    /// A session that was begun on another device ends here, as
    /// [`DeviceChanged`](crate::EndReason::DeviceChanged), and is neither refreshed nor revoked: a server that sees one
    /// refresh token from two devices takes one of them for a thief, and signs out both (RFC 9700 §4.14.2). Name nothing
    /// that changes without the device, such as the id of a container. Kept as a digest only. Constant, and does no I/O.
    fn device(&self) -> Option<String> {
        None
    }

    /// The lock that goes with this storage, where another process can reach the same records. A client takes it unless
    /// it is given one by name; `None` where no other process can reach them. Does no I/O.
    fn process_lock(&self) -> Option<Arc<dyn ProcessLock>> {
        None
    }
}
