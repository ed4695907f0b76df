//! What a storage holds, whoever's it is: for programs that manage the sessions of several clients.

use std::fmt;
use std::time::{Duration, SystemTime};

use super::SessionState;
use super::context::storage_error;
use super::names::{SESSIONS, device};
use super::record::{SessionRecord, Standing};
use super::slot::state_of;
use crate::error::{ErrorKind, Result};
use crate::ports::{SecureStorage, SessionId};

/// A session as a storage holds it, whichever client it belongs to. Holds no token: to use the session, make a
/// [`Client`](crate::Client) with this issuer and client id over the same storage.
///
/// ```no_run
/// use gatepass::{Client, KeychainStorage, SessionState, StoredSession};
///
/// let storage = std::sync::Arc::new(KeychainStorage::new("com.example.my-app")?);
/// for known in StoredSession::all(&*storage)? {
///     if known.state == SessionState::SignedIn {
///         let client = Client::builder(&known.issuer, &known.client_id).storage(storage.clone()).build()?;
///     }
/// }
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct StoredSession {
    /// The name of the session, the same as [`Session::id`](crate::Session::id).
    pub id: SessionId,
    /// The issuer that signed the user in, exactly as configured.
    pub issuer: String,
    /// The client id it belongs to.
    pub client_id: String,
    /// [`SessionState::SignedIn`], [`SessionState::SignedOut`] or [`SessionState::Ended`].
    pub state: SessionState,
    /// The subject of the ID token; `None` without one, and after the end of the session.
    pub subject: Option<String>,
    /// What the user may be called on a screen: `email`, `preferred_username` or `name` of the ID token. Not for telling
    /// users apart. After an end without the user's doing it is kept as a hint for the next sign-in.
    pub display_name: Option<String>,
    /// The scope that was granted; empty after the end of the session.
    pub scope: Vec<String>,
    /// When the user signed in, by the clock of the device; `None` after the end of the session.
    pub signed_in_at: Option<SystemTime>,
    /// Whether the server gave a refresh token, so that the session outlives its access token.
    pub can_refresh: bool,
}

impl StoredSession {
    /// All sessions in a storage, the latest sign-in first, then those that have ended. Those that were forgotten with
    /// [`Client::forget_everything`](crate::Client::forget_everything) are not among them, nor are records that cannot be
    /// read any more, as long as there are others.
    ///
    /// Blocks for as long as the storage does: not for an async task.
    ///
    /// ```
    /// use gatepass::{MemoryStorage, StoredSession};
    ///
    /// let storage = MemoryStorage::default();
    /// assert!(StoredSession::all(&storage)?.is_empty());
    /// # Ok::<(), gatepass::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::StorageLost`] if there are records and none of them can be read any more;
    /// [`ErrorKind::StorageLocked`] and others if storage cannot say.
    pub fn all(storage: &dyn SecureStorage) -> Result<Vec<Self>> {
        let mut sessions = Vec::new();
        let mut lost = None;
        let device = storage.device().map(|name| device(&name));
        for key in storage.list(SESSIONS).map_err(storage_error)? {
            let record = match storage.load(&key).map_err(storage_error) {
                Ok(None) => continue,
                Ok(Some(stored)) => SessionRecord::decode(&stored.bytes),
                Err(error) => Err(error),
            };
            match record {
                Ok(record) => {
                    // When it ended is not told.
                    let here = record.on_another_device(device.as_deref(), 0).unwrap_or(record);
                    sessions.extend(Self::of(SessionId::of(&key), here));
                }
                Err(error) if error.kind() == ErrorKind::StorageLost => lost = Some(error),
                Err(error) => return Err(error),
            }
        }
        if let (true, Some(lost)) = (sessions.is_empty(), lost) {
            return Err(lost);
        }
        sessions.sort_by_key(|session| std::cmp::Reverse(session.signed_in_at));
        Ok(sessions)
    }

    fn of(id: SessionId, record: SessionRecord) -> Option<Self> {
        let owner = record.owner?;
        let state = state_of(&record.standing);
        let base = Self {
            id,
            issuer: owner.issuer,
            client_id: owner.client_id,
            state,
            subject: None,
            display_name: None,
            scope: Vec::new(),
            signed_in_at: None,
            can_refresh: false,
        };
        Some(match record.standing {
            Standing::Ended { login_hint, .. } => Self {
                display_name: login_hint,
                ..base
            },
            Standing::SignedIn(session) => {
                let claims = session.claims.as_ref();
                let millis = u64::try_from(session.since_unix_millis).unwrap_or_default();
                Self {
                    subject: claims.map(|claims| claims.subject().to_owned()),
                    display_name: claims.and_then(|claims| {
                        let name = ["email", "preferred_username", "name"];
                        let name = name.iter().find_map(|name| claims.get(name)?.as_str());
                        name.map(str::to_owned)
                    }),
                    scope: session.scope.tokens().map(str::to_owned).collect(),
                    signed_in_at: SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis)),
                    can_refresh: session.refresh_token.is_some(),
                    ..base
                }
            }
        })
    }
}

impl fmt::Debug for StoredSession {
    /// Neither subject nor name: who is signed in is nobody else's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession")
            .field("id", &self.id)
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}
