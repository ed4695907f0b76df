//! The same primitives in a test whose threads are shuttle's: before each use, and after each change, any other thread may
//! go first. Outside such a test, as in all others, they are what they are.
//!
//! Neither `tokio::sync` nor `arc_swap` can be compiled over the primitives of a checker, and they need not be: what they
//! promise is that each of their operations is one step. It is the order of *our* steps that is tried out. All threads of
//! such a test are coroutines of one thread of the system, so none may wait in the system for another.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use arc_swap::Guard;

fn is_scheduled() -> bool {
    shuttle::current::try_get_current_task().is_some()
}

/// Another thread may go first.
fn step() {
    if is_scheduled() {
        shuttle::sync::atomic::AtomicBool::new(false).load(Ordering::SeqCst);
    }
}

/// `None` where nobody schedules.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    if !is_scheduled() {
        return None;
    }
    step();
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => shuttle::thread::yield_now(),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct ArcSwap<T>(arc_swap::ArcSwap<T>);

impl<T> ArcSwap<T> {
    pub(crate) fn load(&self) -> Guard<Arc<T>> {
        step();
        self.0.load()
    }

    pub(crate) fn store(&self, value: Arc<T>) {
        step();
        self.0.store(value);
        step();
    }
}

#[derive(Debug)]
pub(crate) struct ArcSwapOption<T>(arc_swap::ArcSwapOption<T>);

impl<T> Default for ArcSwapOption<T> {
    fn default() -> Self {
        Self(arc_swap::ArcSwapOption::empty())
    }
}

impl<T> ArcSwapOption<T> {
    pub(crate) fn load(&self) -> Guard<Option<Arc<T>>> {
        step();
        self.0.load()
    }

    pub(crate) fn load_full(&self) -> Option<Arc<T>> {
        step();
        self.0.load_full()
    }

    pub(crate) fn store(&self, value: Option<Arc<T>>) {
        step();
        self.0.store(value);
        step();
    }
}
