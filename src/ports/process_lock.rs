//! One refresh at a time, across the processes that share a session.

use std::fmt::Debug;

/// Releases the lock when dropped.
pub type LockGuard = Box<dyn Send>;

/// The lock could not be asked for.
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
pub trait ProcessLock: Send + Sync + Debug {
    /// Takes the lock of this name, or says that another holder has it (`None`).
    ///
    /// # Errors
    /// [`LockFailure`] if the platform cannot say.
    fn try_lock(&self, name: &str) -> Result<Option<LockGuard>, LockFailure>;
}
