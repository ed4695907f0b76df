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
    use std::sync::Arc;

    use super::*;
    use crate::ports::conformance;

    #[test]
    fn it_keeps_the_contract() {
        let storage = Arc::new(MemoryStorage::default());
        conformance::storage(|| Arc::clone(&storage));
    }

    #[test]
    fn a_removed_record_keeps_its_count() {
        let storage = MemoryStorage::default();
        let key = RecordKey::new("session.x").unwrap();
        storage.commit(&key, Generation::ABSENT, b"1").unwrap();
        storage.remove(&key, Generation(1)).unwrap();
        storage.commit(&key, Generation::ABSENT, b"2").unwrap();
        assert_eq!(storage.load(&key).unwrap().unwrap().generation, Generation(3));
    }
}
