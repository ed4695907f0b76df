//! The storage of a test bed as one process, or one device, reaches it.

use std::sync::Arc;

use gatepass::{CommitOutcome, Generation, MemoryStorage, RecordKey, SecureStorage, StorageFailure, Stored};

/// An adapter of its own over records that others reach too: clients over two of them are told apart as processes are.
#[derive(Debug)]
pub(crate) struct Reached {
    records: Arc<MemoryStorage>,
    device: Option<&'static str>,
}

impl Reached {
    pub(crate) fn of(records: &Arc<MemoryStorage>) -> Arc<Self> {
        Arc::new(Self {
            records: Arc::clone(records),
            device: None,
        })
    }

    /// By a storage that knows which device it is on.
    pub(crate) fn on(device: &'static str, records: &Arc<MemoryStorage>) -> Arc<Self> {
        Arc::new(Self {
            records: Arc::clone(records),
            device: Some(device),
        })
    }
}

impl SecureStorage for Reached {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        self.records.load(key)
    }

    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> Result<CommitOutcome, StorageFailure> {
        self.records.commit(key, expected, bytes)
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome, StorageFailure> {
        self.records.remove(key, expected)
    }

    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure> {
        self.records.list(prefix)
    }

    fn device(&self) -> Option<String> {
        self.device.map(str::to_owned)
    }
}
