//! The storage of a test bed as one process, or one device, reaches it.

use std::sync::Arc;

use gatepass::{CommitOutcome, Generation, MemoryStorage, RecordKey, SecureStorage, StorageFailure, Stored};

/// An adapter of its own over records that others reach too: clients over two of them are told apart as processes are.
#[derive(Debug)]
pub(crate) struct Reached {
    records: Arc<MemoryStorage>,
    device: Option<&'static str>,
    fails: Option<Fails>,
}

/// Which writes fail, by what is in them.
#[derive(Debug)]
struct Fails {
    with: &'static str,
    /// They happen all the same.
    is_done: bool,
}

impl Reached {
    pub(crate) fn of(records: &Arc<MemoryStorage>) -> Arc<Self> {
        Arc::new(Self {
            records: Arc::clone(records),
            device: None,
            fails: None,
        })
    }

    /// By a storage that takes no record with this in it.
    pub(crate) fn refusing(with: &'static str, records: &Arc<MemoryStorage>) -> Arc<Self> {
        Self::failing(with, false, records)
    }

    /// By a storage that takes a record with this in it, and says that it failed.
    pub(crate) fn denying(with: &'static str, records: &Arc<MemoryStorage>) -> Arc<Self> {
        Self::failing(with, true, records)
    }

    fn failing(with: &'static str, is_done: bool, records: &Arc<MemoryStorage>) -> Arc<Self> {
        Arc::new(Self {
            records: Arc::clone(records),
            device: None,
            fails: Some(Fails { with, is_done }),
        })
    }

    /// By a storage that knows which device it is on.
    pub(crate) fn on(device: &'static str, records: &Arc<MemoryStorage>) -> Arc<Self> {
        Arc::new(Self {
            records: Arc::clone(records),
            device: Some(device),
            fails: None,
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
        let text = String::from_utf8_lossy(bytes);
        let fails = self.fails.as_ref().filter(|fails| text.contains(fails.with));
        let failure = || StorageFailure::Failed("out of order".into());
        match fails {
            Some(Fails { is_done: false, .. }) => Err(failure()),
            Some(_) => self.records.commit(key, expected, bytes).and(Err(failure())),
            None => self.records.commit(key, expected, bytes),
        }
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
