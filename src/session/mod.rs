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
//! Delivery order, always: durable, then snapshot, then waiters, then events. `README.md` beside this file has the state
//! machine of a refresh, what is durable when, and where each rule lives.

use std::fmt;
use std::sync::Arc;

pub(crate) mod api;
pub(crate) mod at_server;
mod authorize;
pub(crate) mod begin;
mod catch_up;
mod commit;
pub(crate) mod context;
mod end_session;
mod flight;
pub(crate) mod gate;
mod granted;
mod held;
pub(crate) mod knowledge;
mod lease;
pub(crate) mod listening;
pub(crate) mod moment;
pub(crate) mod names;
pub(crate) mod observer;
mod pace;
pub(crate) mod record;
mod refresh;
mod revocations;
mod rotation;
mod server_clock;
pub(crate) mod sessions;
pub(crate) mod sign_out;
pub(crate) mod slot;
pub(crate) mod snapshot;
mod stored;
#[cfg(test)]
mod tests;

pub use self::api::{ApiRequest, ApiResponse, SessionHttp};
pub use self::authorize::Authorized;
pub use self::end_session::BrowserSession;
pub use self::rotation::OnUnknownOutcome;
pub use self::sign_out::{Revocation, SignOut, SignedOut};
pub use self::stored::StoredSession;

pub(crate) use self::moment::Moment;
use self::pace::Want;
use self::record::SessionRecord;
pub(crate) use self::slot::Slot;
use self::snapshot::Snapshot;
use crate::error::{EndReason, Error, ErrorKind, Result, Stage};
use crate::ports::{SessionEvent, SessionId};
use crate::protocol::id_token::Claims;
use crate::protocol::target::Target;
use crate::protocol::token::{AccessToken, IdToken};
use crate::sync::Watch;

/// Whether somebody is signed in. The first value is always [`Loading`](SessionState::Loading): it is never
/// guessed before storage has answered.
///
/// ```
/// use gatepass::SessionState;
///
/// fn page(state: SessionState) -> &'static str {
///     match state {
///         SessionState::Loading => "",
///         SessionState::SignedIn => "the app",
///         SessionState::StorageLocked | SessionState::NeedsUserPresence => "please unlock your keychain",
///         SessionState::Ended(_) => "please sign in again",
///         _ => "the start page",
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionState {
    /// Storage has not been asked yet.
    Loading,
    /// Nobody ever signed in, or the user signed out.
    SignedOut,
    /// Somebody is signed in.
    SignedIn,
    /// The session needs a key that may only be used after the user proved to be present. For bound tokens (RFC 9449); not
    /// given yet.
    NeedsUserPresence,
    /// Storage is locked, so nobody can tell yet.
    StorageLocked,
    /// The session ended without the user's doing.
    Ended(EndReason),
}

/// A signed-in session. Cheap to clone; all clones are one session.
///
/// It outlives the process in secure storage: [`Client::session`](crate::Client::session) finds it again.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
/// # fn main() -> Outcome { signed_in(async |client, session, api| {
/// let who = session.claims().map(|claims| claims.subject());
/// println!("{} ({who:?}) at {}, since {:?}", session.id(), session.issuer(), session.signed_in_at());
/// println!("the access token lives for another {:?}", session.expires_in());
/// assert!(session.scope().iter().any(|scope| scope == "profile"));
/// # Ok(()) }) }
/// ```
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
            scope: signed_in.scope.tokens().map(str::to_owned).collect(),
        })
    }

    /// A valid access token if one is at hand. No I/O, no waiting, no lock: fit for any thread and any hot path.
    ///
    /// `None` means that a call to [`access_token`](Session::access_token) would have to ask the server, or that
    /// the session is over.
    ///
    /// What another process did shows once this one has looked at storage: it gives the token that it has until 5 seconds
    /// before the end of that token, even if another process has refreshed the session or signed out of it; without
    /// `expires_in`, until an API refuses it. [`access_token`](Session::access_token) looks a minute or a tenth of the
    /// token's life sooner, [`Client::catch_up`](crate::Client::catch_up) and [`Client::session`](crate::Client::session)
    /// at once.
    ///
    /// ```no_run
    /// # async fn example(session: gatepass::Session) -> gatepass::Result<()> {
    /// let token = match session.peek() {
    ///     Some(token) => token,
    ///     None => session.access_token().await?,
    /// };
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn peek(&self) -> Option<AccessToken> {
        self.peek_with(AccessToken::clone)
    }

    /// As [`peek`](Session::peek), with the token where it is: not even a reference to it is counted, so any number of
    /// threads read it without slowing each other down. For a proxy with thousands of requests a second; elsewhere
    /// `peek` does.
    ///
    /// ```no_run
    /// # fn example(session: gatepass::Session) {
    /// let header = session.peek_with(|token| format!("Bearer {}", token.expose()));
    /// # }
    /// ```
    pub fn peek_with<R>(&self, read: impl FnOnce(&AccessToken) -> R) -> Option<R> {
        let clock = &*self.slot.context.ports.clock;
        self.slot.published.with_usable(self.epoch, clock, read)
    }

    /// A valid access token, refreshed first if need be. However many callers ask at once, at most one request
    /// is sent.
    ///
    /// Where a refresh fails while the current token is still valid, the current token is returned.
    ///
    /// Safe to cancel: dropping the future stops the waiting, never the refresh.
    ///
    /// ```no_run
    /// # async fn example(session: gatepass::Session) -> gatepass::Result<()> {
    /// let token = session.access_token().await?;
    /// // The one place where it leaves its wrapper: into the header of a request.
    /// let header = format!("Bearer {}", token.expose());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::SessionEnded`] if only a new sign-in helps; [`ErrorKind::Network`], [`ErrorKind::Server`],
    /// [`ErrorKind::StorageLocked`] and others if trying again can help: the session lives on.
    pub async fn access_token(&self) -> Result<AccessToken> {
        self.access_token_for(&Target::default()).await
    }

    /// A valid access token for one of several APIs (RFC 8707 §2.2), or of a narrower scope (RFC 6749 §6), had with the
    /// same refresh token. Each target has a token of its own, kept and refreshed like that of
    /// [`access_token`](Session::access_token); requests for several are sent one after the other, never at once.
    ///
    /// ```no_run
    /// # async fn example(session: gatepass::Session) -> gatepass::Result<()> {
    /// use gatepass::Target;
    ///
    /// let calendar = Target::resource("https://calendar.example.com/")?;
    /// let token = session.access_token_for(&calendar).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Safe to cancel.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`], code `scope_not_granted`, if the target's scope was not granted at sign-in; nothing is
    /// sent then. [`ErrorKind::Server`] with the server's `invalid_target` if it knows no such API: the session lives on.
    /// Else as [`access_token`](Session::access_token).
    pub async fn access_token_for(&self, target: &Target) -> Result<AccessToken> {
        Ok(self.current(target).await?.token.clone())
    }

    /// As [`peek`](Session::peek), for one of several APIs.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
    /// # fn main() -> Outcome { signed_in(async |client, session, api| {
    /// use gatepass::Target;
    ///
    /// let profile = Target::scope(["profile"])?;
    /// assert!(session.peek_for(&profile).is_none()); // nobody has asked for it yet
    /// session.access_token_for(&profile).await?;
    /// assert!(session.peek_for(&profile).is_some());
    /// # Ok(()) }) }
    /// ```
    #[must_use]
    pub fn peek_for(&self, target: &Target) -> Option<AccessToken> {
        let snapshot = self.published(target)?;
        let now = self.slot.context.ports.clock.boot_millis();
        snapshot.is_usable(now).then(|| snapshot.token.clone())
    }

    /// Refreshes the tokens now, whatever the state of the current one.
    ///
    /// For tests and for servers that change what a token may do. An app that calls APIs needs
    /// [`access_token`](Session::access_token) only. Safe to cancel, as that is.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
    /// # fn main() -> Outcome { signed_in(async |client, session, api| {
    /// let before = session.access_token().await?;
    /// // The user has just been given another role, and the API reads it from the token.
    /// session.refresh().await?;
    /// assert_ne!(session.access_token().await?.expose(), before.expose());
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// As [`access_token`](Session::access_token), without falling back to the current token.
    pub async fn refresh(&self) -> Result<()> {
        let target = Target::default();
        let seen = self.slot.published.load(&target);
        let seen = seen.map_or(0, |snapshot| snapshot.generation);
        self.slot
            .refreshed(self.epoch, &target, seen, Want::Now)
            .await
            .map(drop)
    }

    /// Whether the server gave a refresh token, so that the session outlives its access token. Reads storage; asks no
    /// server. Safe to cancel.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
    /// # fn main() -> Outcome { signed_in(async |client, session, api| {
    /// if !session.can_refresh().await? {
    ///     println!("this session ends in {:?}", session.expires_in());
    /// }
    /// # assert!(session.can_refresh().await?);
    /// # Ok(()) }) }
    /// ```
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

    /// The last ID token, to be shown to the server that issued it.
    pub(crate) async fn id_token(&self) -> Result<Option<IdToken>> {
        let record = self.slot.read().await?.map(|(record, _)| record);
        let live = record.filter(|record| record.epoch == self.epoch);
        Ok(live.and_then(|record| record.signed_in()?.id_token.clone()))
    }

    /// Tells whoever listens what happened to this session.
    pub(crate) fn emit(&self, event: SessionEvent) {
        self.slot.emit(event);
    }

    /// The snapshot of this session, whether its token can still be used or not.
    pub(crate) fn published(&self, target: &Target) -> Option<Arc<Snapshot>> {
        self.slot
            .published
            .load(target)
            .filter(|snapshot| snapshot.epoch == self.epoch)
    }

    /// The snapshot to use now.
    pub(crate) async fn current(&self, target: &Target) -> Result<Arc<Snapshot>> {
        let clock = &self.slot.context.ports.clock;
        let asked_at = clock.boot_millis();
        let published = self.published(target);
        if let Some(snapshot) = &published
            && snapshot.is_fresh(asked_at)
        {
            return Ok(Arc::clone(snapshot));
        }
        let current = self.newer(target, published).await?;
        // A caller that was stopped while it waited, as phones do with apps, wakes up with a token of long ago.
        let slept_through = current.usable_until() >= asked_at.saturating_add(SHORTEST_LIFE_MILLIS)
            && !current.is_usable(clock.boot_millis());
        if slept_through {
            return self.newer(target, self.published(target)).await;
        }
        Ok(current)
    }

    async fn newer(&self, target: &Target, published: Option<Arc<Snapshot>>) -> Result<Arc<Snapshot>> {
        let clock = &self.slot.context.ports.clock;
        match published {
            Some(old) => {
                let want = old.want(clock.boot_millis());
                match self
                    .slot
                    .refreshed(self.epoch, target, old.generation, want)
                    .await
                {
                    // Whatever the server asks for, short of its end the session goes on.
                    Err(error)
                        if !matches!(error.kind(), ErrorKind::SessionEnded(_))
                            && old.is_usable(clock.boot_millis()) =>
                    {
                        Ok(old)
                    }
                    outcome => outcome,
                }
            }
            None => self.slot.refreshed(self.epoch, target, 0, Want::Now).await,
        }
    }

    /// The boot clock and the wall clock.
    #[cfg(feature = "uniffi")]
    pub(crate) fn now(&self) -> (u64, i64) {
        let clock = &self.slot.context.ports.clock;
        (clock.boot_millis(), clock.unix_millis())
    }

    /// Which sign-in this is of the session's place: a handle of an earlier one never gives a token of a later one.
    #[cfg(feature = "uniffi")]
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
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

    /// The scope that was granted, which may be less than was asked for (RFC 6749 §3.3).
    #[must_use]
    pub fn scope(&self) -> &[String] {
        &self.scope
    }

    /// How much longer the current access token lives; `None` if there is none, or the server did not say. It is refreshed
    /// some time before. No I/O.
    #[must_use]
    pub fn expires_in(&self) -> Option<std::time::Duration> {
        let snapshot = self.published(&Target::default())?;
        let clock = &self.slot.context.ports.clock;
        let left = snapshot.expires_at()?.saturating_sub(clock.boot_millis());
        Some(std::time::Duration::from_millis(left))
    }

    /// The state of the session, now and at every change. [`Client::state`](crate::Client::state) tells of all sessions of
    /// the client.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
    /// # fn main() -> Outcome { signed_in(async |client, session, api| {
    /// use gatepass::{SessionState, SignOut};
    ///
    /// let mut state = session.state();
    /// assert_eq!(state.get(), SessionState::SignedIn);
    /// session.sign_out(SignOut::Local).await?;
    /// assert_eq!(state.changed().await, Some(SessionState::SignedOut));
    /// # Ok(()) }) }
    /// ```
    #[must_use]
    pub fn state(&self) -> Watch<SessionState> {
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

/// Servers that give tokens of no life to speak of are not asked twice for one.
const SHORTEST_LIFE_MILLIS: u64 = 1_000;

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
