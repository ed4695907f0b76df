//! Locking as the whole crate does it.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock that a panic cannot leave unusable: what it guards is replaced as a whole, never left half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
