//! What the clients of one process share about one record: one refresh at a time, whichever of them begins it, and the
//! tokens that storage did not take.
//!
//! Two clients over one storage are one session. Inside a process they can wait for each other without polling; the
//! process lock is for other processes only.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use super::held::Holding;
use crate::error::EndReason;
use crate::ports::{RecordKey, SecureStorage};
use crate::sync::lock;

/// Of one record in one storage.
#[derive(Debug, Default)]
pub(super) struct Gate {
    /// Held while a session's tokens are being changed.
    turn: tokio::sync::Mutex<()>,
    pub(super) holding: Mutex<Holding>,
    /// A refresh token that the server has refused, where storage did not take that the session is over.
    pub(super) refused: Mutex<Option<Refused>>,
}

/// Which tokens the server has refused, and what that makes of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) epoch: u64,
    pub(super) generation: u64,
    pub(super) reason: EndReason,
}

impl Gate {
    /// Waits until nobody else in this process changes the tokens. Safe to cancel.
    pub(super) async fn turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.turn.lock().await
    }
}

type Gates = HashMap<(Place, RecordKey), Weak<Gate>>;

/// What tells one storage from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// As the storage itself says.
    Named(String),
    /// By its address, which is its own for as long as somebody holds it, and whoever holds the gate does.
    At(usize),
}

impl Place {
    /// Where the records of this storage are.
    pub(crate) fn of(storage: &Arc<dyn SecureStorage>) -> Self {
        storage.place().map_or_else(
            || Self::At(Arc::as_ptr(storage).cast::<()>() as usize),
            Self::Named,
        )
    }
}

/// The gate of this record in this storage, shared by all who ask for it.
pub(super) fn of(storage: &Arc<dyn SecureStorage>, key: &RecordKey) -> Arc<Gate> {
    static GATES: OnceLock<Mutex<Gates>> = OnceLock::new();
    let key = (Place::of(storage), key.clone());
    let mut gates = lock(GATES.get_or_init(Mutex::default));
    gates.retain(|_, gate| gate.strong_count() > 0);
    if let Some(gate) = gates.get(&key).and_then(Weak::upgrade) {
        return gate;
    }
    let gate = Arc::new(Gate::default());
    gates.insert(key, Arc::downgrade(&gate));
    gate
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapters::memory::MemoryStorage;
    use crate::session::tests::world::Reached;

    #[test]
    fn two_adapters_over_one_place_share_the_gate() {
        let records = Arc::new(MemoryStorage::default());
        let at = |place| -> Arc<dyn SecureStorage> { Arc::new(Reached(place, records.clone())) };
        let key = RecordKey::new("a").unwrap();
        let (here, here_too, elsewhere) = (at("here"), at("here"), at("elsewhere"));
        let gate = of(&here, &key);
        assert!(Arc::ptr_eq(&gate, &of(&here_too, &key)));
        assert!(!Arc::ptr_eq(&gate, &of(&elsewhere, &key)));
    }

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
