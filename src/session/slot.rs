//! Where one session lives: its record in storage, its tokens in memory, and who is told of a change.

use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tracing::warn;

use super::context::{COMMIT_ATTEMPTS, Context, contended};
use super::flight::Flight;
use super::gate;
use super::lease::SeenBusy;
use super::pace::Pace;
use super::record::{SessionRecord, Standing};
use super::sessions::Overview;
use super::snapshot::Published;
use super::{Session, SessionState};
use crate::error::{EndReason, Error, ErrorKind, Result};
use crate::ports::{RecordKey, SessionEvent, SessionId, Stored};
use crate::sync::{Watch, lock};

/// What a record says, as an app is told.
pub(super) fn state_of(standing: &Standing) -> SessionState {
    match standing {
        Standing::SignedIn(_) => SessionState::SignedIn,
        Standing::Ended {
            reason: EndReason::SignedOut,
            ..
        } => SessionState::SignedOut,
        Standing::Ended { reason, .. } => SessionState::Ended(*reason),
    }
}

fn is_of_another_device(record: &SessionRecord) -> bool {
    matches!(
        record.standing,
        Standing::Ended {
            reason: EndReason::DeviceChanged,
            ..
        }
    )
}

/// Where one session of a client lives, whether somebody is signed in or not.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) context: Arc<Context>,
    pub(crate) key: RecordKey,
    pub(super) id: SessionId,
    overview: Arc<Overview>,
    pub(super) published: Published,
    pub(super) state: watch::Sender<SessionState>,
    /// Epoch and generation last published: an older record that arrives late is not.
    newest: Mutex<(u64, u64)>,
    pub(super) flight: Mutex<Option<Flight>>,
    pub(super) gate: Arc<gate::Gate>,
    pub(super) pace: Pace,
    pub(super) lock_busy: Mutex<Option<SeenBusy>>,
    /// The id of the last attempt that was begun here.
    pub(super) last_attempt: Mutex<Option<String>>,
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
            pace: Pace::default(),
            lock_busy: Mutex::new(None),
            last_attempt: Mutex::new(None),
        }
    }

    pub(crate) fn state(&self) -> Watch<SessionState> {
        Watch::of(&self.state)
    }

    /// Makes a record, which is durable, visible to everybody. An older one than the last is passed over.
    pub(crate) fn publish(&self, record: &SessionRecord) {
        let mut newest = lock(&self.newest);
        if (record.epoch, record.generation) < *newest {
            return;
        }
        *newest = (record.epoch, record.generation);
        self.published.store(record, &*self.context.ports.clock);
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
    pub(super) fn publish_unreadable(&self, error: &Error) {
        if error.kind() == ErrorKind::StorageLocked {
            self.set_state_if_unknown(&[SessionState::Loading], SessionState::StorageLocked);
        }
    }

    pub(crate) fn emit(&self, event: SessionEvent) {
        self.context.ports.emit(Some(&self.id), event);
    }

    /// Says that storage has lost the record, which a second read has confirmed.
    pub(super) fn publish_lost(&self) {
        let _newest = lock(&self.newest);
        self.published.clear();
        self.set_state(SessionState::Ended(EndReason::StorageLost));
    }

    /// The least epoch and generation of what is written next: later than any that was seen here, and than what storage
    /// has lost before anybody here could see it, which was written at an earlier hour. So no handle of a lost session, in
    /// any process, comes alive with the tokens of another.
    pub(crate) fn after_newest(&self) -> (u64, u64) {
        let (epoch, generation) = *lock(&self.newest);
        let hour = u64::try_from(self.context.ports.clock.unix_millis()).unwrap_or_default();
        (epoch.saturating_add(1).max(hour), generation.saturating_add(1))
    }

    /// The epoch of the session that was published last.
    pub(super) fn newest_epoch(&self) -> u64 {
        lock(&self.newest).0
    }

    /// Whether a record was ever published here.
    pub(super) fn is_known(&self) -> bool {
        *lock(&self.newest) != (0, 0)
    }

    /// Whether a session of a later epoch, or the end of this one, was published.
    pub(super) fn is_later_than(&self, epoch: u64) -> bool {
        lock(&self.newest).0 > epoch
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
            record => Ok(Some((record.map(|record| self.as_seen_here(record)), stored))),
        }
    }

    /// The session of another device is over here, whoever looks at it.
    fn as_seen_here(&self, record: SessionRecord) -> SessionRecord {
        let device = self.context.device();
        let now = self.context.ports.clock.unix_millis();
        record.on_another_device(device.as_deref(), now).unwrap_or(record)
    }

    /// As [`read_raw`](Slot::read_raw), for one who is about to write: a record that storage itself has lost stands at
    /// [`Generation::ABSENT`](crate::ports::Generation::ABSENT) to whoever writes it.
    pub(super) async fn read_to_replace(&self) -> Result<Option<(Result<SessionRecord>, Stored)>> {
        match self.read_raw().await {
            Err(error) if error.kind() == ErrorKind::StorageLost => Ok(None),
            read => read,
        }
    }

    /// Reads a second time before it says that the record is gone: that is never concluded from one read.
    pub(super) async fn read_confirmed(&self) -> Result<Option<(SessionRecord, Stored)>> {
        match self.read().await {
            Ok(None) => self.read().await,
            Err(error) if error.kind() == ErrorKind::StorageLost => self.read().await,
            Ok(Some((record, _))) if is_of_another_device(&record) => self.leave_to_its_device().await,
            other => other,
        }
    }

    /// The tokens that came with a copy of the records are removed here, and lived on elsewhere.
    async fn leave_to_its_device(&self) -> Result<Option<(SessionRecord, Stored)>> {
        for _ in 0..COMMIT_ATTEMPTS {
            let read = self.read().await?;
            let Some((record, stored)) = read.filter(|(record, _)| is_of_another_device(record)) else {
                return self.read().await;
            };
            if record.encode() == stored.bytes {
                return Ok(Some((record, stored)));
            }
            let written = self
                .context
                .commit(&self.key, stored.generation, record.encode())
                .await;
            if let Err(failure) = written {
                // It is over here whether it can be written or not.
                warn!(
                    code = failure.code(),
                    "the tokens of another device cannot be removed"
                );
                return Ok(Some((record, stored)));
            }
        }
        Err(contended())
    }

    /// The session that storage holds, if it holds one.
    pub(crate) async fn restore(self: &Arc<Self>) -> Result<Option<Session>> {
        let record = self.look().await?;
        Ok(record.and_then(|record| Session::of(self, &record)))
    }

    /// Reads the stored record and makes it visible to everybody.
    pub(super) async fn look(&self) -> Result<Option<SessionRecord>> {
        match self.read_confirmed().await {
            Ok(Some((record, _))) => {
                self.publish(&record);
                Ok(Some(record))
            }
            Ok(None) => {
                let unknown = [SessionState::Loading, SessionState::StorageLocked];
                self.set_state_if_unknown(&unknown, SessionState::SignedOut);
                Ok(None)
            }
            Err(error) => {
                if error.kind() == ErrorKind::StorageLost {
                    self.publish_lost();
                }
                self.publish_unreadable(&error);
                Err(error)
            }
        }
    }
}
