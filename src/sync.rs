//! Locking, swapping and watching as the whole crate does it.

use std::sync::{Mutex, MutexGuard, PoisonError};

#[cfg(not(test))]
pub(crate) use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::watch;

#[cfg(test)]
mod scheduled;

#[cfg(test)]
pub(crate) use self::scheduled::{ArcSwap, ArcSwapOption};

/// A lock that a panic cannot leave unusable: what it guards is replaced as a whole, never left half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // In a test that chooses the order of the threads, this is where another one may come first.
    #[cfg(test)]
    if let Some(guard) = scheduled::lock(mutex) {
        return guard;
    }
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A value that changes, such as the state of a session: what it is now, and every change from here on.
///
/// It hands out copies and holds no lock, so anything can be done with a value, Gatepass be called included. Cheap to clone;
/// each clone sees changes on its own. Whoever looks seldom sees the latest value, not each one in between.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
/// # fn main() -> Outcome { signed_in(async |client, session, api| {
/// use gatepass::{SessionState, SignOut};
///
/// let mut state = client.state();
/// assert_eq!(state.get(), SessionState::SignedIn);
/// session.sign_out(SignOut::Local).await?;
/// assert_eq!(state.changed().await, Some(SessionState::SignedOut));
/// # Ok(()) }) }
/// ```
#[derive(Clone, Debug)]
pub struct Watch<T>(watch::Receiver<T>);

impl<T: Copy> Watch<T> {
    pub(crate) fn of(sender: &watch::Sender<T>) -> Self {
        Self(sender.subscribe())
    }

    /// The value now. Does not block.
    #[must_use]
    pub fn get(&self) -> T {
        *self.0.borrow()
    }

    /// Waits for the next change and gives the value after it; `None` once there will be no more, because what is watched
    /// is gone. A change since the last call, or since the watch was made, is given at once.
    ///
    /// Safe to cancel: nothing is lost.
    pub async fn changed(&mut self) -> Option<T> {
        self.0.changed().await.ok()?;
        Some(*self.0.borrow_and_update())
    }

    /// Waits until the value is one of those wanted, which may be at once; `None` if it never will be, because what is
    /// watched is gone.
    ///
    /// Safe to cancel: nothing is lost.
    pub async fn wait_for(&mut self, wanted: impl FnMut(&T) -> bool) -> Option<T> {
        self.0.wait_for(wanted).await.ok().map(|value| *value)
    }
}
