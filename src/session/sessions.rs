//! The sessions of one client: where each of them lives, and whether anybody is signed in.
//!
//! A client has one session at a time, or one for each user. Either way a session is one record in storage, and one
//! [`Slot`] in memory for as long as the client lives.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tracing::warn;

use super::context::Context;
use super::record::SessionRecord;
use super::{Session, SessionState, Slot};
use crate::error::{Error, ErrorKind, Result};
use crate::ports::RecordKey;
use crate::protocol::id_token::Claims;
use crate::sync::{Watch, lock};

/// How many users of one client can be signed in side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accounts {
    /// One: a sign-in takes the place of the one before.
    One,
    /// Any number, told apart by the subject of their ID tokens.
    Several,
}

/// The sessions of one client.
#[derive(Debug)]
pub(crate) struct Sessions {
    context: Arc<Context>,
    accounts: Accounts,
    only: RecordKey,
    slots: Mutex<BTreeMap<RecordKey, Arc<Slot>>>,
    overview: Arc<Overview>,
    /// Whether the overview knows of every session that storage holds, but for what other processes do.
    all_were_read: AtomicBool,
    /// The latest epoch of those that were told of when what others left was last looked for.
    looked_up_to: AtomicU64,
}

impl Sessions {
    pub(crate) fn new(context: Arc<Context>, accounts: Accounts) -> Result<Self> {
        Ok(Self {
            only: context.names.only_session()?,
            context,
            accounts,
            slots: Mutex::default(),
            overview: Arc::default(),
            all_were_read: AtomicBool::new(false),
            looked_up_to: AtomicU64::new(0),
        })
    }

    pub(crate) fn accounts(&self) -> Accounts {
        self.accounts
    }

    /// Whether anybody is signed in.
    pub(crate) fn state(&self) -> Watch<SessionState> {
        Watch::of(&self.overview.sender)
    }

    pub(crate) fn slot(&self, key: &RecordKey) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        let slot = slots.entry(key.clone()).or_insert_with(|| {
            let overview = Arc::clone(&self.overview);
            Arc::new(Slot::new(Arc::clone(&self.context), key.clone(), overview))
        });
        Arc::clone(slot)
    }

    /// Where the session of a user who has just signed in belongs.
    pub(crate) async fn slot_for(&self, claims: Option<&Claims>) -> Result<Arc<Slot>> {
        let (Accounts::Several, Some(claims)) = (self.accounts, claims) else {
            return Ok(self.slot(&self.only));
        };
        // What nobody can read any more must not keep the user from signing in again.
        let unless_lost = |error: Error| match error.kind() {
            ErrorKind::StorageLost => Ok(()),
            _ => Err(error),
        };
        if !self.all_were_read.load(Ordering::SeqCst) {
            // Once in the life of a client, so that it knows who else is signed in.
            self.all().await.map(drop).or_else(unless_lost)?;
        }
        // The same user has one session, also where it was stored before the app allowed several.
        let only = self.slot(&self.only);
        match only.read().await {
            Ok(Some((record, _))) if record.is_of(claims) => return Ok(only),
            read => read.map(drop).or_else(unless_lost)?,
        }
        Ok(self.slot(&self.context.names.session_of(claims.subject())?))
    }

    /// The session that storage holds; of several, the one whose user signed in last.
    pub(crate) async fn current(&self) -> Result<Option<Session>> {
        match self.accounts {
            Accounts::One => self.slot(&self.only).restore().await,
            Accounts::Several => Ok(self.all().await?.into_iter().next()),
        }
    }

    /// All sessions that storage holds, the latest sign-in first. One whose record cannot be read any more is passed
    /// over as long as there are others: it shows in their place as ended.
    pub(crate) async fn all(&self) -> Result<Vec<Session>> {
        if self.accounts == Accounts::One {
            let only = self.slot(&self.only).restore().await?;
            return Ok(only.into_iter().collect());
        }
        let keys = self.context.list(&self.context.names.sessions()).await?;
        let mut sessions = Vec::new();
        let mut lost = None;
        for key in &keys {
            match self.slot(key).restore().await {
                Ok(session) => sessions.extend(session),
                Err(error) if error.kind() == ErrorKind::StorageLost => {
                    warn!(code = error.code(), "a stored session cannot be read");
                    lost = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        if let (true, Some(lost)) = (sessions.is_empty(), lost) {
            return Err(lost);
        }
        if sessions.is_empty() {
            self.overview.nobody();
            self.context.show(|| (self.overview.state(), None));
        }
        self.all_were_read.store(true, Ordering::SeqCst);
        sessions.sort_by_key(|session| std::cmp::Reverse(session.since_unix_millis));
        Ok(sessions)
    }

    /// Whether there are sessions that began after this was last asked. Whoever stored one may have died before it saw that
    /// nothing was to come of that sign-in; `looked`: that was looked for just now.
    pub(crate) fn are_new(&self, looked: bool) -> bool {
        let newest = lock(&self.slots).values().map(|slot| slot.newest_epoch()).max();
        let newest = newest.unwrap_or_default();
        let before = self.looked_up_to.swap(newest, Ordering::SeqCst);
        newest > before && !looked
    }

    /// Tries once more to write what storage refused to take, in a task of its own for each session. Whether there was
    /// anything to write.
    pub(crate) fn write_what_is_held(&self) -> bool {
        let mut any = false;
        for slot in lock(&self.slots).values().filter(|slot| slot.is_holding()) {
            any = true;
            let slot = Arc::clone(slot);
            self.context.spawn(async move { slot.write_what_is_held().await });
        }
        any
    }

    /// The first record of this client's sessions that is such a one. What storage has lost tells of nothing any more.
    pub(crate) async fn find(
        &self,
        is_it: impl Fn(&SessionRecord) -> bool + Send,
    ) -> Result<Option<(Arc<Slot>, SessionRecord)>> {
        for slot in self.every_slot().await? {
            match slot.read().await {
                Ok(Some((record, _))) if is_it(&record) => return Ok(Some((slot, record))),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageLost => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Every session of this client that storage has a record of, or memory, whether it lives or has ended.
    pub(crate) async fn every_slot(&self) -> Result<Vec<Arc<Slot>>> {
        let keys = self.context.list(&self.context.names.sessions()).await?;
        let mut slots = lock(&self.slots).clone();
        for key in keys {
            slots.insert(key.clone(), self.slot(&key));
        }
        Ok(slots.into_values().collect())
    }
}

/// Whether anybody is signed in, from what is known of each session.
#[derive(Debug)]
pub(crate) struct Overview {
    states: Mutex<BTreeMap<RecordKey, SessionState>>,
    sender: watch::Sender<SessionState>,
}

impl Default for Overview {
    fn default() -> Self {
        Self {
            states: Mutex::default(),
            sender: watch::Sender::new(SessionState::Loading),
        }
    }
}

impl Overview {
    /// Takes note of the state of one session.
    pub(super) fn set(&self, key: &RecordKey, state: SessionState) {
        let mut states = lock(&self.states);
        states.insert(key.clone(), state);
        let is_any = |wanted| states.values().any(|state| *state == wanted);
        let best = [
            SessionState::SignedIn,
            SessionState::NeedsUserPresence,
            SessionState::StorageLocked,
        ]
        .into_iter()
        .find(|wanted| is_any(*wanted));
        // Nobody is signed in: what happened last says why.
        self.tell(best.unwrap_or(state));
    }

    /// Storage has been asked and holds no session at all.
    fn nobody(&self) {
        let states = lock(&self.states);
        if states.is_empty() {
            self.tell(SessionState::SignedOut);
        }
        drop(states);
    }

    /// Whether anybody is signed in, as far as is known.
    pub(super) fn state(&self) -> SessionState {
        *self.sender.borrow()
    }

    fn tell(&self, state: SessionState) {
        self.sender.send_if_modified(|current| {
            let changed = *current != state;
            *current = state;
            changed
        });
    }
}
