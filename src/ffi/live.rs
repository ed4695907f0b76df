//! How many objects the other side holds: what tests ask, to find a handle that nobody closes.

use std::sync::atomic::{AtomicU64, Ordering};

static LIVE: AtomicU64 = AtomicU64::new(0);

/// Counts one object, until dropped.
pub(super) struct Live(());

impl Live {
    pub(super) fn new() -> Self {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many clients, sessions and sign-ins under way the other side holds.
#[cfg(feature = "test-server")]
#[uniffi::export]
pub(crate) fn ffi_live_handles() -> u64 {
    LIVE.load(Ordering::Relaxed)
}
