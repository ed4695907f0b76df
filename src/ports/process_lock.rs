//! One refresh at a time, across the processes that share a session.

use std::fmt::Debug;

/// Releases the lock when dropped.
///
/// ```
/// use gatepass::LockGuard;
/// use std::sync::Arc;
///
/// let held = Arc::new("session");
/// // Whatever lets go when it is dropped: here a count, elsewhere a file.
/// let guard: LockGuard = Box::new(Arc::clone(&held));
/// assert_eq!(Arc::strong_count(&held), 2);
/// drop(guard);
/// assert_eq!(Arc::strong_count(&held), 1);
/// ```
pub type LockGuard = Box<dyn Send>;

/// The lock could not be asked for.
///
/// ```
/// use gatepass::LockFailure;
///
/// let error = std::fs::File::open("/no/such/directory/session.lock").unwrap_err();
/// let failure = LockFailure(format!("session.lock: {error}"));
/// assert!(failure.0.starts_with("session.lock: "));
/// ```
#[derive(Clone, Debug)]
pub struct LockFailure(
    /// A text for people.
    pub String,
);

/// The process-lock port.
///
/// # Contract
/// - [`try_lock`](ProcessLock::try_lock) never waits: the core polls it with a deadline of its own, because a
///   lock that blocks cannot be given up when the app is about to be suspended.
/// - The lock dies with the process that holds it.
/// - It **only saves contention**. Correctness comes from the conditional commit of
///   [`SecureStorage`](super::SecureStorage), so a platform without a lock is slower, not wrong.
/// - Called from a thread of the core's own.
///
/// ```
/// use std::collections::BTreeSet;
/// use std::sync::{Arc, Mutex, PoisonError};
/// use gatepass::{LockFailure, LockGuard, ProcessLock};
///
/// /// Among the threads of one process.
/// #[derive(Debug, Default)]
/// struct Names(Arc<Mutex<BTreeSet<String>>>);
///
/// struct Held(Arc<Mutex<BTreeSet<String>>>, String);
///
/// impl Drop for Held {
///     fn drop(&mut self) {
///         self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
///     }
/// }
///
/// impl ProcessLock for Names {
///     fn try_lock(&self, name: &str) -> Result<Option<LockGuard>, LockFailure> {
///         let is_free = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
///         Ok(is_free.then(|| Box::new(Held(Arc::clone(&self.0), name.to_owned())) as LockGuard))
///     }
/// }
///
/// let names = Names::default();
/// let held = names.try_lock("session").unwrap();
/// assert!(held.is_some() && names.try_lock("session").unwrap().is_none());
/// drop(held);
/// assert!(names.try_lock("session").unwrap().is_some());
/// ```
pub trait ProcessLock: Send + Sync + Debug {
    /// Takes the lock of this name, or says that another holder has it (`None`).
    ///
    /// # Errors
    /// [`LockFailure`] if the platform cannot say.
    fn try_lock(&self, name: &str) -> Result<Option<LockGuard>, LockFailure>;
}
