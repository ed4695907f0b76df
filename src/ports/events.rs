//! What happens to sessions, told to whoever wants to know.

use std::fmt::Debug;

use crate::error::{EndReason, Error};

/// Something that happened to a session. Never holds a secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A sign-in completed; the session is stored.
    SignedIn,
    /// The tokens were refreshed; the number is the generation of the stored record.
    Refreshed {
        /// The generation now stored and published.
        generation: u64,
    },
    /// A refresh failed and the session lives on: the tokens are kept.
    RefreshFailed {
        /// Why.
        error: Error,
    },
    /// The refreshed tokens could not be stored. They are held in memory and the write is tried again.
    StorageWriteFailed {
        /// Why.
        error: Error,
    },
    /// The session ended, confirmed by a second read of the store.
    Ended {
        /// Why it ended.
        reason: EndReason,
    },
    /// The user signed out here.
    SignedOut,
}

/// The event port.
///
/// # Contract
/// Called with no lock held, after storage, snapshot and waiters have all seen the change; it may call back
/// into the session. It must not block: it runs on the core's executor.
pub trait EventSink: Send + Sync + Debug {
    /// Takes note of one event.
    fn event(&self, event: SessionEvent);
}

/// The sink for apps that do not listen.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn event(&self, _event: SessionEvent) {}
}
