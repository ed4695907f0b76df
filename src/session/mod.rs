//! A signed-in session's life: the token in memory, refresh, API calls, sign-out.
//!
//! ```text
//!            access_token()                 the snapshot is fresh
//!   caller ------------------> snapshot ----------------------------> token      (no I/O, no lock)
//!                                 | otherwise
//!                                 v
//!                        single flight  (one per session; later callers await the same outcome)
//!                                 |
//!                    process lock, then re-read ------------------> newer generation stored: adopt it
//!                                 |
//!                        journal, durable
//!                                 |
//!                     one request, on the core's executor
//!                                 |
//!        granted: commit, verify, publish | refused: re-read, then end | anything else: keep the token
//! ```
//!
//! Delivery order, always: durable, then snapshot, then waiters, then events.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

pub(crate) mod api;
pub(crate) mod at_server;
mod begin;
mod commit;
pub(crate) mod context;
mod flight;
mod gate;
pub(crate) mod knowledge;
pub(crate) mod names;
pub(crate) mod record;
mod refresh;
pub(crate) mod sessions;
mod sign_out;
pub(crate) mod snapshot;
mod stored;

pub use self::api::{ApiRequest, ApiResponse, SessionHttp};
pub use self::sign_out::{Revocation, SignOut, SignedOut};
pub use self::stored::StoredSession;

use self::context::Context;
use self::flight::Flight;
pub(crate) use self::record::SentAt;
use self::record::{SessionRecord, Standing};
use self::sessions::Overview;
use self::snapshot::{Published, Snapshot};
use crate::error::{EndReason, Error, ErrorKind, Result, Stage};
use crate::ports::{RecordKey, SessionEvent, SessionId, Stored};
use crate::protocol::id_token::Claims;
use crate::protocol::token::AccessToken;
use crate::sync::lock;

/// Whether somebody is signed in. The first value is always [`Loading`](SessionState::Loading): it is never
/// guessed before storage has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// Storage has not been asked yet.
    Loading,
    /// Nobody ever signed in, or the user signed out.
    SignedOut,
    /// Somebody is signed in.
    SignedIn,
    /// The session needs a key that may only be used after the user proved to be present.
    NeedsUserPresence,
    /// Storage is locked, so nobody can tell yet.
    StorageLocked,
    /// The session ended without the user's doing.
    Ended(EndReason),
}

fn state_of(standing: &Standing) -> SessionState {
    match standing {
        Standing::SignedIn(_) => SessionState::SignedIn,
        Standing::Ended {
            reason: EndReason::SignedOut,
            ..
        } => SessionState::SignedOut,
        Standing::Ended { reason, .. } => SessionState::Ended(*reason),
    }
}

/// Where one session of a client lives, whether somebody is signed in or not.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) context: Arc<Context>,
    pub(crate) key: RecordKey,
    id: SessionId,
    overview: Arc<Overview>,
    published: Published,
    state: watch::Sender<SessionState>,
    /// Epoch and generation last published: an older record that arrives late is not.
    newest: Mutex<(u64, u64)>,
    flight: Mutex<Option<Flight>>,
    gate: gate::Gate,
    /// Refreshed tokens that storage refused to take. They are newer than anything stored.
    held: Mutex<Option<SessionRecord>>,
}

impl Slot {
    pub(crate) fn new(context: Arc<Context>, key: RecordKey, overview: Arc<Overview>) -> Self {
        let gate = gate::of(&context.ports.storage, &key);
        Self {
            context,
            id: SessionId::of(&key),
            key,
            overview,
            gate,
            published: Published::default(),
            state: watch::Sender::new(SessionState::Loading),
            newest: Mutex::new((0, 0)),
            flight: Mutex::new(None),
            held: Mutex::new(None),
        }
    }

    pub(crate) fn state(&self) -> watch::Receiver<SessionState> {
        self.state.subscribe()
    }

    /// Makes a record, which is durable, visible to everybody. An older one than the last is passed over.
    pub(crate) fn publish(&self, record: &SessionRecord) {
        let mut newest = lock(&self.newest);
        if (record.epoch, record.generation) < *newest {
            return;
        }
        *newest = (record.epoch, record.generation);
        self.published
            .store(Snapshot::of(record, &*self.context.ports.clock));
        self.set_state(state_of(&record.standing));
    }

    fn set_state(&self, state: SessionState) {
        self.state.send_replace(state);
        self.overview.set(&self.key, state);
    }

    /// As [`set_state`](Slot::set_state), where nothing better is known.
    fn set_state_if_unknown(&self, unknown: &[SessionState], state: SessionState) {
        let set = self.state.send_if_modified(|current| {
            let set = unknown.contains(current);
            if set {
                *current = state;
            }
            set
        });
        if set {
            self.overview.set(&self.key, state);
        }
    }

    /// Says that storage could not be asked, unless something better is known already.
    fn publish_unreadable(&self, error: &Error) {
        if error.kind() == ErrorKind::StorageLocked {
            self.set_state_if_unknown(&[SessionState::Loading], SessionState::StorageLocked);
        }
    }

    pub(crate) fn emit(&self, event: SessionEvent) {
        self.context.ports.events.event(Some(&self.id), event);
    }

    /// Says that storage has lost the record, which a second read has confirmed.
    fn publish_lost(&self) {
        let _newest = lock(&self.newest);
        self.published.store(None);
        self.set_state(SessionState::Ended(EndReason::StorageLost));
    }

    /// Epoch and generation for a new session where storage tells of none before: later than any that was seen here,
    /// so that no handle of a lost session comes alive with the tokens of another.
    pub(crate) fn after_newest(&self) -> (u64, u64) {
        let (epoch, generation) = *lock(&self.newest);
        (epoch.saturating_add(1), generation.saturating_add(1))
    }

    /// Reads the stored record.
    pub(crate) async fn read(&self) -> Result<Option<(SessionRecord, Stored)>> {
        match self.read_raw().await? {
            None => Ok(None),
            Some((record, stored)) => Ok(Some((record?, stored))),
        }
    }

    /// Reads the stored record; one that can be read no more is told apart, so that it can be written over. One of a
    /// newer version can be read, by others.
    pub(crate) async fn read_raw(&self) -> Result<Option<(Result<SessionRecord>, Stored)>> {
        let Some(stored) = self.context.load(&self.key).await? else {
            return Ok(None);
        };
        match SessionRecord::decode(&stored.bytes) {
            Err(error) if error.kind() != ErrorKind::StorageLost => Err(error),
            record => Ok(Some((record, stored))),
        }
    }

    /// Reads a second time before it says that the record is gone: that is never concluded from one read.
    async fn read_confirmed(&self) -> Result<Option<(SessionRecord, Stored)>> {
        match self.read().await {
            Ok(None) => self.read().await,
            Err(error) if error.kind() == ErrorKind::StorageLost => self.read().await,
            other => other,
        }
    }

    /// The session that storage holds, if it holds one.
    pub(crate) async fn restore(self: &Arc<Self>) -> Result<Option<Session>> {
        let record = match self.read_confirmed().await {
            Ok(Some((record, _))) => record,
            Ok(None) => {
                let unknown = [SessionState::Loading, SessionState::StorageLocked];
                self.set_state_if_unknown(&unknown, SessionState::SignedOut);
                return Ok(None);
            }
            Err(error) => {
                if error.kind() == ErrorKind::StorageLost {
                    self.publish_lost();
                }
                self.publish_unreadable(&error);
                return Err(error);
            }
        };
        self.publish(&record);
        Ok(Session::of(self, &record))
    }
}

/// A signed-in session. Cheap to clone; all clones are one session.
///
/// It outlives the process in secure storage: [`Client::session`](crate::Client::session) finds it again.
#[derive(Clone)]
pub struct Session {
    slot: Arc<Slot>,
    epoch: u64,
    since_unix_millis: i64,
    claims: Option<Arc<Claims>>,
    scope: Arc<[String]>,
}

impl Session {
    pub(crate) fn of(slot: &Arc<Slot>, record: &SessionRecord) -> Option<Self> {
        let signed_in = record.signed_in()?;
        Some(Self {
            slot: Arc::clone(slot),
            epoch: record.epoch,
            since_unix_millis: signed_in.since_unix_millis,
            claims: signed_in.claims.clone().map(Arc::new),
            scope: signed_in.scope.tokens().into(),
        })
    }

    /// A valid access token if one is at hand. No I/O, no waiting, no lock: fit for any thread and any hot path.
    ///
    /// `None` means that a call to [`access_token`](Session::access_token) would have to ask the server, or that
    /// the session is over.
    #[must_use]
    pub fn peek(&self) -> Option<AccessToken> {
        self.slot
            .published
            .usable(self.epoch, &*self.slot.context.ports.clock)
    }

    /// A valid access token, refreshed first if need be. However many callers ask at once, at most one request
    /// is sent.
    ///
    /// Where a refresh fails while the current token is still valid, the current token is returned.
    ///
    /// Safe to cancel: dropping the future stops the waiting, never the refresh.
    ///
    /// # Errors
    /// [`ErrorKind::SessionEnded`] if only a new sign-in helps; [`ErrorKind::Network`], [`ErrorKind::Server`],
    /// [`ErrorKind::StorageLocked`] and others if trying again can help: the session lives on.
    pub async fn access_token(&self) -> Result<AccessToken> {
        Ok(self.current().await?.token.clone())
    }

    /// Refreshes the tokens now, whatever the state of the current one.
    ///
    /// For tests and for servers that change what a token may do. An app that calls APIs needs
    /// [`access_token`](Session::access_token) only. Safe to cancel, as that is.
    ///
    /// # Errors
    /// As [`access_token`](Session::access_token), without falling back to the current token.
    pub async fn refresh(&self) -> Result<()> {
        let seen = self
            .slot
            .published
            .load()
            .map_or(0, |snapshot| snapshot.generation);
        self.slot.refreshed(self.epoch, seen).await.map(drop)
    }

    /// Whether the server gave a refresh token, so that the session outlives its access token. Reads storage.
    ///
    /// # Errors
    /// If storage cannot be read.
    pub async fn can_refresh(&self) -> Result<bool> {
        let slot = Arc::clone(&self.slot);
        let epoch = self.epoch;
        self.slot
            .context
            .run(async move {
                let record = slot.read().await?.map(|(record, _)| record);
                let live = record.filter(|record| record.epoch == epoch);
                Ok(live.is_some_and(|r| r.signed_in().is_some_and(|s| s.refresh_token.is_some())))
            })
            .await
    }

    /// Tells whoever listens what happened to this session.
    pub(crate) fn emit(&self, event: SessionEvent) {
        self.slot.emit(event);
    }

    /// The snapshot of this session, whether its token can still be used or not.
    pub(crate) fn published(&self) -> Option<Arc<Snapshot>> {
        self.slot
            .published
            .load()
            .filter(|snapshot| snapshot.epoch == self.epoch)
    }

    /// The snapshot to use now.
    pub(crate) async fn current(&self) -> Result<Arc<Snapshot>> {
        let clock = &self.slot.context.ports.clock;
        match self.published() {
            Some(snapshot) if snapshot.is_fresh(clock.boot_millis()) => Ok(snapshot),
            Some(old) => match self.slot.refreshed(self.epoch, old.generation).await {
                // Whatever the server asks for, short of its end the session goes on (RR-20, RR-25).
                Err(error)
                    if !matches!(error.kind(), ErrorKind::SessionEnded(_))
                        && old.is_usable(clock.boot_millis()) =>
                {
                    Ok(old)
                }
                outcome => outcome,
            },
            None => self.slot.refreshed(self.epoch, 0).await,
        }
    }

    /// Names this session, to find it again among several and to match [`SessionEvent`]s with it. The same after every
    /// start of the app.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.slot.id
    }

    /// When the user signed in, by the clock of the device.
    #[must_use]
    pub fn signed_in_at(&self) -> std::time::SystemTime {
        let millis = std::time::Duration::from_millis(self.since_unix_millis.unsigned_abs());
        // A clock before 1970 is wrong, and 1970 as good as any.
        let since = if self.since_unix_millis < 0 {
            None
        } else {
            std::time::UNIX_EPOCH.checked_add(millis)
        };
        since.unwrap_or(std::time::UNIX_EPOCH)
    }

    /// The issuer that signed the user in, exactly as configured.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.slot.context.issuer.as_str()
    }

    /// The verified claims of the ID token; `None` if the sign-in did not ask for the scope `openid`.
    #[must_use]
    pub fn claims(&self) -> Option<&Claims> {
        self.claims.as_deref()
    }

    /// The scope that was granted, which may be less than was asked for.
    #[must_use]
    pub fn scope(&self) -> &[String] {
        &self.scope
    }

    /// How long the current access token lives; `None` if there is none, or the server did not say. It is refreshed some time
    /// before.
    #[must_use]
    pub fn expires_in(&self) -> Option<std::time::Duration> {
        let snapshot = self.published()?;
        let clock = &self.slot.context.ports.clock;
        let left = snapshot.expires_at()?.saturating_sub(clock.boot_millis());
        Some(std::time::Duration::from_millis(left))
    }

    /// The state of the session, now and at every change.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<SessionState> {
        self.slot.state()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("issuer", &self.slot.context.issuer)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// An error for a session that is over.
pub(crate) fn ended(reason: EndReason) -> Error {
    let why = match reason {
        EndReason::SignedOut => "the user signed out",
        EndReason::ExpiredOrRevoked => "the server no longer accepts it",
        EndReason::RotationLost => "the answer that carried its new refresh token was lost",
        EndReason::StorageLost => "secure storage lost it",
        EndReason::KeyLost => "the key it is bound to is gone",
        EndReason::DeviceChanged => "it was restored on another device",
        EndReason::SubjectChanged => "the server answered for another user",
    };
    Error::new(
        ErrorKind::SessionEnded(reason),
        Stage::Session,
        reason.name(),
        format!("the session is over: {why}; ask the user to sign in again"),
    )
}
