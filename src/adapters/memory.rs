//! Storage that ends with the process, and the lock that goes with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;

use zeroize::Zeroizing;

use crate::ports::{
    CommitOutcome, Generation, LockFailure, LockGuard, ProcessLock, RecordKey, SecureStorage, StorageFailure,
    Stored,
};
use crate::sync::lock;

/// Secure storage in memory. For tests, and for programs that want to leave nothing behind.
///
/// The records are overwritten when they are replaced or dropped; they are not encrypted, for the key would lie
/// beside them.
///
/// ```no_run
/// use std::sync::Arc;
/// use gatepass::{Client, MemoryStorage};
///
/// let storage = Arc::new(MemoryStorage::default());
/// // Two clients over one storage are like one app started twice.
/// let first = Client::builder("https://login.example.com", "my-app").storage(storage.clone()).build()?;
/// let second = Client::builder("https://login.example.com", "my-app").storage(storage).build()?;
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Default)]
pub struct MemoryStorage {
    records: Mutex<BTreeMap<RecordKey, Slot>>,
}

/// A record or the memory of one: a generation never repeats, so a removed record keeps its count.
struct Slot {
    bytes: Option<Zeroizing<Vec<u8>>>,
    generation: Generation,
}

impl MemoryStorage {
    fn change(&self, key: &RecordKey, expected: Generation, bytes: Option<&[u8]>) -> CommitOutcome {
        let mut records = lock(&self.records);
        let current = records.get(key).and_then(Slot::stored);
        if current
            .as_ref()
            .map_or(Generation::ABSENT, |stored| stored.generation)
            != expected
        {
            return CommitOutcome::Conflict(current);
        }
        let generation = records
            .get(key)
            .map_or(Generation::ABSENT, |slot| slot.generation)
            .next();
        let bytes = bytes.map(|bytes| Zeroizing::new(bytes.to_vec()));
        records.insert(key.clone(), Slot { bytes, generation });
        CommitOutcome::Committed(generation)
    }
}

impl Slot {
    fn stored(&self) -> Option<Stored> {
        let bytes = self.bytes.as_ref()?;
        Some(Stored {
            bytes: bytes.clone(),
            generation: self.generation,
        })
    }
}

impl SecureStorage for MemoryStorage {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        Ok(lock(&self.records).get(key).and_then(Slot::stored))
    }

    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> Result<CommitOutcome, StorageFailure> {
        Ok(self.change(key, expected, Some(bytes)))
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome, StorageFailure> {
        Ok(self.change(key, expected, None))
    }

    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure> {
        Ok(lock(&self.records)
            .iter()
            .filter(|(key, slot)| slot.bytes.is_some() && key.as_str().starts_with(prefix))
            .map(|(key, _)| key.clone())
            .collect())
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStorage")
            .field("records", &lock(&self.records).len())
            .finish()
    }
}

/// The lock for storage that no other process can reach: there is nobody to wait for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SingleProcess;

impl ProcessLock for SingleProcess {
    fn try_lock(&self, _name: &str) -> Result<Option<LockGuard>, LockFailure> {
        Ok(Some(Box::new(())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_are_conditional_and_generations_never_repeat() {
        let storage = MemoryStorage::default();
        let key = RecordKey::new("session.x").unwrap();
        let committed = |outcome| match outcome {
            Ok(CommitOutcome::Committed(generation)) => Some(generation),
            _ => None,
        };
        let first = committed(storage.commit(&key, Generation::ABSENT, b"1")).unwrap();
        assert_eq!(committed(storage.commit(&key, Generation::ABSENT, b"2")), None);
        let second = committed(storage.commit(&key, first, b"2")).unwrap();
        assert!(second > first);
        assert_eq!(committed(storage.remove(&key, first)), None);
        assert!(committed(storage.remove(&key, second)).is_some());
        assert!(storage.load(&key).unwrap().is_none());
        let third = committed(storage.commit(&key, Generation::ABSENT, b"3")).unwrap();
        assert!(third > second, "a removed record keeps its count");
    }

    #[test]
    fn a_list_names_what_exists_under_a_prefix() {
        let storage = MemoryStorage::default();
        let keys = ["flow.a", "session.a", "session.b"].map(|name| RecordKey::new(name).unwrap());
        for key in &keys {
            storage.commit(key, Generation::ABSENT, b"x").unwrap();
        }
        storage.remove(&keys[2], Generation(1)).unwrap();
        assert_eq!(storage.list("session.").unwrap(), [keys[1].clone()]);
        assert_eq!(storage.list("").unwrap().len(), 2);
    }

    #[test]
    fn a_conflict_tells_what_is_there() {
        let storage = MemoryStorage::default();
        let key = RecordKey::new("session.x").unwrap();
        storage.commit(&key, Generation::ABSENT, b"mine").unwrap();
        let Ok(CommitOutcome::Conflict(Some(current))) = storage.commit(&key, Generation(9), b"yours") else {
            panic!("no conflict");
        };
        assert_eq!(&current.bytes[..], b"mine");
    }
}
