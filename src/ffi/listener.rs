//! What the façades are told unasked: the copy of what is published, and the events.

use std::fmt;
use std::sync::Arc;

use tracing::debug;

use super::error::{FfiError, FfiErrorDetails};
use super::session::{FfiSessionState, FfiSnapshot};
use crate::ports::{EventSink, SessionEvent, SessionId};
use crate::session::observer::{Observer, Publication, PublishedSession};

/// Who keeps a copy of the state, and hears of events.
///
/// - Called on the core's own thread with no lock held: it may call back in, and must not block.
/// - `published` comes before any caller who waits for the change gets an answer. Of two that overtake each other the one
///   with the higher `order` is right; the other is to be passed over.
#[uniffi::export(foreign)]
pub(crate) trait FfiListener: Send + Sync {
    /// What is published now.
    fn published(&self, publication: FfiPublication) -> Result<(), FfiListenerFailure>;

    /// Something happened to a session, or to none.
    fn event(&self, session_id: Option<String>, event: FfiSessionEvent) -> Result<(), FfiListenerFailure>;
}

/// The listener threw. It is told of the next change all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Error)]
pub(crate) enum FfiListenerFailure {
    /// What it threw is dropped unread.
    Unexpected,
}

/// What is published now.
#[derive(Clone, Debug, uniffi::Record)]
pub(crate) struct FfiPublication {
    /// Rises with every publication of a client.
    pub(crate) order: u64,
    /// Of the client: whether anybody is signed in.
    pub(crate) state: FfiSessionState,
    /// The session that changed, if one did.
    pub(crate) session: Option<FfiPublishedSession>,
}

/// One session as it is published now.
#[derive(Clone, Debug, uniffi::Record)]
pub(crate) struct FfiPublishedSession {
    /// Which session.
    pub(crate) id: String,
    /// Which sign-in of it. A handle of another one has no part in this.
    pub(crate) epoch: u64,
    /// Its state.
    pub(crate) state: FfiSessionState,
    /// Its token; absent when there is none any more.
    pub(crate) snapshot: Option<FfiSnapshot>,
}

/// Something that happened to a session.
#[derive(Clone, Debug, uniffi::Enum)]
pub(crate) enum FfiSessionEvent {
    /// A sign-in completed.
    SignedIn,
    /// The tokens were refreshed.
    Refreshed {
        /// The generation now published.
        generation: u64,
    },
    /// A refresh failed, and the session lives on.
    RefreshFailed {
        /// Why.
        details: FfiErrorDetails,
    },
    /// Refreshed tokens could not be stored; they are held, and the write is tried again.
    StorageWriteFailed {
        /// Why.
        details: FfiErrorDetails,
    },
    /// The session ended.
    Ended {
        /// Why, `snake_case`.
        reason: String,
    },
    /// The user signed out here.
    SignedOut,
    /// A sign-in of an earlier run cannot come to an end any more.
    SignInInterrupted {
        /// The diagnostic id it had.
        diagnostic_id: String,
    },
}

/// The two ports, by way of the foreign trait.
pub(super) struct ForeignListener(pub(super) Arc<dyn FfiListener>);

impl Observer for ForeignListener {
    fn published(&self, publication: Publication) {
        let (boot, unix) = (publication.boot_millis, publication.unix_millis);
        let session = publication.session.map(|session| {
            let PublishedSession {
                id,
                epoch,
                state,
                snapshot,
            } = session;
            FfiPublishedSession {
                id: id.as_str().to_owned(),
                epoch,
                state: state.into(),
                snapshot: snapshot.map(|snapshot| FfiSnapshot::of(&snapshot, boot, unix)),
            }
        });
        let told = self.0.published(FfiPublication {
            order: publication.order,
            state: publication.state.into(),
            session,
        });
        if told.is_err() {
            debug!("the façade threw at what is published");
        }
    }
}

impl EventSink for ForeignListener {
    fn event(&self, session: Option<&SessionId>, event: SessionEvent) {
        let details = |error| {
            let FfiError::Failed { details } = FfiError::from(error);
            details
        };
        let event = match event {
            SessionEvent::SignedIn => FfiSessionEvent::SignedIn,
            SessionEvent::Refreshed { generation } => FfiSessionEvent::Refreshed { generation },
            SessionEvent::RefreshFailed { error } => FfiSessionEvent::RefreshFailed {
                details: details(error),
            },
            SessionEvent::StorageWriteFailed { error } => FfiSessionEvent::StorageWriteFailed {
                details: details(error),
            },
            SessionEvent::Ended { reason } => FfiSessionEvent::Ended {
                reason: reason.name().to_owned(),
            },
            SessionEvent::SignedOut => FfiSessionEvent::SignedOut,
            SessionEvent::SignInInterrupted { diagnostic_id } => {
                FfiSessionEvent::SignInInterrupted { diagnostic_id }
            }
        };
        let session = session.map(|id| id.as_str().to_owned());
        if self.0.event(session, event).is_err() {
            debug!("the façade threw at an event");
        }
    }
}

impl fmt::Debug for ForeignListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeignListener")
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for FfiListenerFailure {
    /// The text is dropped unread.
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Unexpected
    }
}

impl fmt::Display for FfiListenerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unexpected")
    }
}

impl std::error::Error for FfiListenerFailure {}
