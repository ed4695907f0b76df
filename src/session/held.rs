//! Refreshed tokens that storage refuses to take: held in memory, by the process and not by the client that got them, and
//! written as soon as that can be. Until then no client of this process sends the old token.
//!
//! With them goes the lock, for as long as its lease lasts: another process, which knows nothing of them, would send the
//! old token as soon as storage takes a journal again. What it makes of that when the lease is over is met by
//! [`resolve`](Slot::resolve).

use std::fmt;
use std::sync::Arc;

use tracing::{debug, warn};

use super::Slot;
use super::commit::Settled;
use super::gate::Gate;
use super::lease::Lease;
use super::record::SessionRecord;
use crate::error::Result;
use crate::ports::{Generation, SecureStorage, SessionEvent};
use crate::sync::lock;

/// When the write is tried again in the background: often within the lease of the lock, then once a minute. Besides these
/// it is tried at every need for a token and by `drain`.
const PAUSES_MILLIS: [u64; 4] = [2_000, 5_000, 10_000, 20_000];
const LAST_PAUSE_MILLIS: u64 = 60_000;

/// Tokens that are not known to be durable.
#[derive(Clone, Debug)]
pub(super) struct Unwritten {
    pub(super) record: SessionRecord,
    /// What they were to take the place of.
    pub(super) expected: Generation,
    /// Whether there is a new refresh token among them.
    pub(super) rotated: bool,
}

/// What this process holds for one record.
#[derive(Default)]
pub(super) struct Holding {
    held: Option<Held>,
    /// Somebody is trying to write it in the background.
    is_being_written: bool,
}

struct Held {
    unwritten: Unwritten,
    lease: Option<Lease>,
    /// It outlives the clients, and the next one is to find it: so what tells one storage from another stays as well.
    _alive: (Arc<Gate>, Arc<dyn SecureStorage>),
}

impl fmt::Debug for Holding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holding")
            .field("anything", &self.held.is_some())
            .field("is_being_written", &self.is_being_written)
            .finish()
    }
}

/// One who writes in the background. If it breaks off, somebody else can begin.
struct Writer {
    slot: Arc<Slot>,
    is_done: bool,
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_done {
            lock(&self.slot.gate.holding).is_being_written = false;
        }
    }
}

impl Slot {
    /// From here on these tokens are the newest.
    pub(super) fn hold(&self, unwritten: Unwritten) {
        let held = Held {
            unwritten,
            lease: None,
            _alive: (Arc::clone(&self.gate), Arc::clone(&self.context.ports.storage)),
        };
        lock(&self.gate.holding).held = Some(held);
    }

    /// They have changed, unless they were let go meanwhile.
    pub(super) fn still_hold(&self, unwritten: &Unwritten) {
        if let Some(held) = &mut lock(&self.gate.holding).held {
            held.unwritten = unwritten.clone();
        }
    }

    /// They are durable, or of no use any more; the lock goes with them.
    pub(super) fn let_go(&self) {
        // The lock that goes with them is given back with no lock of ours held.
        let held = lock(&self.gate.holding).held.take();
        drop(held);
    }

    /// As [`let_go`](Slot::let_go), if they are of this session: those of another are for whoever tries to write them.
    pub(super) fn let_go_of(&self, epoch: u64) -> Option<SessionRecord> {
        let held = lock(&self.gate.holding)
            .held
            .take_if(|held| held.unwritten.record.epoch == epoch);
        held.map(|held| held.unwritten.record)
    }

    /// What is held, if it is of this session.
    pub(super) fn held_of(&self, epoch: u64) -> Option<SessionRecord> {
        let held = self.unwritten().map(|unwritten| unwritten.record);
        held.filter(|record| record.epoch == epoch)
    }

    /// Whether there are refreshed tokens that storage did not take.
    pub(super) fn is_holding(&self) -> bool {
        lock(&self.gate.holding).held.is_some()
    }

    /// Keeps the lock while there is something to be written, up to the end of its lease.
    pub(super) fn keep_lease(&self, lease: Lease) {
        if let (Some(held), true) = (&mut lock(&self.gate.holding).held, lease.is_held()) {
            held.lease = Some(lease);
        }
    }

    /// The lock that was kept, if its lease is not over.
    pub(super) fn kept_lease(&self) -> Option<Lease> {
        let now = self.context.ports.clock.boot_millis();
        let lease = self.take_lease(|_| true)?;
        lease.ends().is_some_and(|end| now < end).then_some(lease)
    }

    /// Writes what is held, if anything is. For one whose turn it is. Gives what was written, if it was not overtaken.
    ///
    /// # Errors
    /// Storage still refuses, and it is still held.
    pub(super) async fn write_held(&self) -> Result<Option<SessionRecord>> {
        let Some(mut unwritten) = self.unwritten() else {
            return Ok(None);
        };
        match self.write_over(&mut unwritten).await {
            Ok(Settled::Written(_)) => {
                self.let_go();
                self.publish(&unwritten.record);
                Ok(Some(unwritten.record))
            }
            Ok(Settled::Overtaken(error)) => {
                self.let_go();
                debug!(
                    code = error.code(),
                    "tokens that storage did not take are overtaken"
                );
                Ok(None)
            }
            Err(failure) => {
                self.still_hold(&unwritten);
                Err(failure)
            }
        }
    }

    fn unwritten(&self) -> Option<Unwritten> {
        let holding = lock(&self.gate.holding);
        holding.held.as_ref().map(|held| held.unwritten.clone())
    }

    /// As [`write_held`](Slot::write_held), in a turn of its own, for nobody in particular.
    pub(super) async fn write_what_is_held(&self) {
        let turn = self.gate.turn().await;
        let lease = self.kept_lease();
        let written = self.write_held().await;
        if let Some(lease) = lease {
            self.keep_lease(lease);
        }
        drop(turn);
        match written {
            // Tokens that wait for the verification of their ID token are news to nobody yet.
            Ok(Some(record)) if record.signed_in().is_some_and(|session| !session.provisional) => {
                let generation = record.generation;
                self.emit(SessionEvent::Refreshed { generation });
            }
            Ok(_) => {}
            Err(error) => warn!(code = error.code(), "storage still refuses refreshed tokens"),
        }
    }

    /// Tries to write what is held until it is written, or overtaken. Nobody waits for that, not even `drain`: there is
    /// storage that never takes anything again.
    pub(super) fn write_later(self: &Arc<Self>) {
        let mut holding = lock(&self.gate.holding);
        if holding.held.is_none() || std::mem::replace(&mut holding.is_being_written, true) {
            return;
        }
        drop(holding);
        let writer = Writer {
            slot: Arc::clone(self),
            is_done: false,
        };
        self.context.ports.spawner.spawn(Box::pin(async move {
            // The whole of it, so that it is dropped where it is done.
            let mut writer = writer;
            writer.slot.keep_writing().await;
            writer.is_done = true;
        }));
    }

    async fn keep_writing(&self) {
        let clock = &self.context.ports.clock;
        for pause in PAUSES_MILLIS
            .into_iter()
            .chain(std::iter::repeat(LAST_PAUSE_MILLIS))
        {
            let due = clock.boot_millis().saturating_add(pause);
            while let Some(end) = self.lease_ends().filter(|end| *end <= due) {
                clock.sleep_until(end).await;
                drop(self.take_lease(|ends| ends <= end));
            }
            clock.sleep_until(due).await;
            self.write_what_is_held().await;
            let mut holding = lock(&self.gate.holding);
            if holding.held.is_none() {
                holding.is_being_written = false;
                return;
            }
        }
    }

    /// By the boot clock.
    fn lease_ends(&self) -> Option<u64> {
        lock(&self.gate.holding).held.as_ref()?.lease.as_ref()?.ends()
    }

    fn take_lease(&self, by_end: impl Fn(u64) -> bool) -> Option<Lease> {
        let mut holding = lock(&self.gate.holding);
        let lease = &mut holding.held.as_mut()?.lease;
        lease.take_if(|lease| lease.ends().is_some_and(by_end))
    }
}
