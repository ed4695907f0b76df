//! One refresh at a time within the process, whichever client begins it.
//!
//! Two clients over one storage are one session. Inside a process they can wait for each other without polling; the
//! process lock is for other processes only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::lock;
use crate::ports::{RecordKey, SecureStorage};

/// Held while a session's tokens are being changed.
pub(super) type Gate = Arc<tokio::sync::Mutex<()>>;

type Gates = HashMap<(usize, RecordKey), Weak<tokio::sync::Mutex<()>>>;

/// The gate of this record in this storage, shared by all who ask for it.
pub(super) fn of(storage: &Arc<dyn SecureStorage>, key: &RecordKey) -> Gate {
    static GATES: OnceLock<Mutex<Gates>> = OnceLock::new();
    // The address tells storages apart for as long as somebody holds one, and whoever holds the gate does.
    let address = Arc::as_ptr(storage).cast::<()>() as usize;
    let mut gates = lock(GATES.get_or_init(Mutex::default));
    gates.retain(|_, gate| gate.strong_count() > 0);
    if let Some(gate) = gates.get(&(address, key.clone())).and_then(Weak::upgrade) {
        return gate;
    }
    let gate = Gate::default();
    gates.insert((address, key.clone()), Arc::downgrade(&gate));
    gate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::memory::MemoryStorage;

    #[test]
    fn one_gate_for_one_record_in_one_storage() {
        let storage: Arc<dyn SecureStorage> = Arc::new(MemoryStorage::default());
        let other: Arc<dyn SecureStorage> = Arc::new(MemoryStorage::default());
        let (a, b) = (RecordKey::new("a").unwrap(), RecordKey::new("b").unwrap());
        let gate = of(&storage, &a);
        assert!(Arc::ptr_eq(&gate, &of(&storage.clone(), &a)));
        assert!(!Arc::ptr_eq(&gate, &of(&storage, &b)));
        assert!(!Arc::ptr_eq(&gate, &of(&other, &a)));
    }
}
