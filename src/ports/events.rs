//! What happens to sessions, told to whoever wants to know.

use std::fmt::{self, Debug};

use super::RecordKey;
use crate::error::{EndReason, Error};

/// Names one stored session, the same in every process and after every start. It tells neither issuer nor user.
///
/// ```
/// fn is_in_front(session: &gatepass::Session, settings: &str) -> bool {
///     session.id().as_str() == settings
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(String);

impl SessionId {
    pub(crate) fn of(key: &RecordKey) -> Self {
        let name = key.as_str();
        Self(name.strip_prefix("session.").unwrap_or(name).to_owned())
    }

    /// The id as text: lower-case letters, digits and `.`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something that happened to a session. Never holds a secret.
///
/// ```
/// use gatepass::{EndReason, SessionEvent};
///
/// fn line(event: &SessionEvent) -> String {
///     match event {
///         SessionEvent::Ended { reason } => format!("the session is over: {}", reason.name()),
///         SessionEvent::RefreshFailed { error } => format!("still signed in, but {error}"),
///         other => format!("{other:?}"),
///     }
/// }
/// let event = SessionEvent::Ended { reason: EndReason::ExpiredOrRevoked };
/// assert_eq!(line(&event), "the session is over: expired_or_revoked");
/// ```
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
    /// A sign-in of an earlier run of the app cannot come to an end any more: the process that began it is gone, and its
    /// time is over, its redirect brought no session, or a newer sign-in took its place. Told once. Belongs to no session.
    SignInInterrupted {
        /// The diagnostic id that the sign-in had.
        diagnostic_id: String,
    },
}

/// The event port.
///
/// # Contract
/// Called with no lock held, after storage, snapshot and waiters have all seen the change; it may call back
/// into the session. It must not block: it runs on the core's executor.
///
/// ```
/// use gatepass::{EventSink, SessionEvent, SessionId};
///
/// #[derive(Debug)]
/// struct Audit(std::sync::mpsc::Sender<String>);
///
/// impl EventSink for Audit {
///     fn event(&self, session: Option<&SessionId>, event: SessionEvent) {
///         // Hands it on and returns: this is the core's own thread.
///         let _ = self.0.send(format!("{session:?} {event:?}"));
///     }
/// }
/// ```
pub trait EventSink: Send + Sync + Debug {
    /// Takes note of one event, and of which session it is about.
    fn event(&self, session: Option<&SessionId>, event: SessionEvent);
}

/// The sink for apps that do not listen.
///
/// ```
/// use std::sync::Arc;
/// use gatepass::{Client, EventSink, NoEvents};
///
/// fn client(audit: Option<Arc<dyn EventSink>>) -> gatepass::Result<Client> {
///     let sink = audit.unwrap_or_else(|| Arc::new(NoEvents));
///     Client::builder("https://login.example.com", "my-app").event_sink(sink).build()
/// }
/// assert!(client(None).is_ok());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn event(&self, _session: Option<&SessionId>, _event: SessionEvent) {}
}
