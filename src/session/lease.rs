//! The process lock of a refresh, and what is done about a process that does not give it back.
//!
//! Correctness comes from the conditional commit; the lock only saves contention. So a process that was suspended with it
//! (a phone's app in the background) or hangs is not waited for beyond its lease: another one goes on without the lock, by
//! a commit that records its own attempt. The first, when it wakes up, meets that.

use std::sync::Arc;

use tracing::warn;

use super::refresh::Refresh;
use super::rotation::LEASE_MILLIS;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::LockGuard;
use crate::sync::lock;

/// How long to wait for another process to finish its refresh, and how often to look.
const LOCK_PATIENCE_MILLIS: u64 = 15_000;
const LOCK_POLL_MILLIS: u64 = 50;
/// How often the system may fail to say whether the lock is free, before a refresh goes on without.
const LOCK_FAILURES: u32 = 5;

/// What a refresh runs under.
pub(super) enum Lease {
    /// The lock, given back when this is dropped.
    Held { _guard: LockGuard, ends: u64 },
    /// Nothing: there is no lock here, or its holder's lease is over.
    Without,
}

impl Lease {
    pub(super) fn is_held(&self) -> bool {
        self.ends().is_some()
    }

    /// By the boot clock: from here on other processes go on without the lock.
    pub(super) fn ends(&self) -> Option<u64> {
        match self {
            Self::Held { ends, .. } => Some(*ends),
            Self::Without => None,
        }
    }

    /// A new attempt begins under it.
    pub(super) fn renew(&mut self, now: u64) {
        if let Self::Held { ends, .. } = self {
            *ends = now.saturating_add(LEASE_MILLIS);
        }
    }
}

/// Another process was seen holding the lock, from one instant to another by the boot clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct SeenBusy {
    since: u64,
    last: u64,
}

impl SeenBusy {
    /// It is busy now; for how long, in milliseconds. Nobody looks between two waits: if those are further apart than one
    /// lasts, it may have been free in between, and this is another holder.
    fn again(seen: &mut Option<Self>, now: u64) -> u64 {
        let before = seen.filter(|seen| now.saturating_sub(seen.last) <= LOCK_PATIENCE_MILLIS);
        let since = before.map_or(now, |seen| seen.since);
        *seen = Some(Self { since, last: now });
        now.saturating_sub(since)
    }
}

impl Refresh {
    /// Polled, so that it can be given up (the lock of another process may be held into suspension).
    pub(super) async fn lease(&self) -> Result<Lease> {
        let clock = &self.context().ports.clock;
        let deadline = clock.boot_millis().saturating_add(LOCK_PATIENCE_MILLIS);
        let mut failures = 0;
        loop {
            let lock_port = Arc::clone(&self.context().ports.lock);
            let name = self.slot.key.as_str().to_owned();
            let (done, answer) = tokio::sync::oneshot::channel();
            self.context()
                .ports
                .spawner
                .spawn_blocking(Box::new(move || drop(done.send(lock_port.try_lock(&name)))));
            let now = clock.boot_millis();
            match answer.await {
                Ok(Ok(Some(guard))) => {
                    *lock(&self.slot.lock_busy) = None;
                    return Ok(Lease::Held {
                        _guard: guard,
                        ends: now.saturating_add(LEASE_MILLIS),
                    });
                }
                Ok(Ok(None)) => {
                    let busy_for = SeenBusy::again(&mut lock(&self.slot.lock_busy), now);
                    if now >= deadline {
                        return self.without(busy_for).await;
                    }
                    clock.sleep_until(now.saturating_add(LOCK_POLL_MILLIS)).await;
                }
                // Once is an accident; without a lock two processes may send the same token at once.
                Ok(Err(_)) if failures < LOCK_FAILURES => {
                    failures += 1;
                    clock.sleep_until(now.saturating_add(LOCK_POLL_MILLIS)).await;
                }
                // There is none to be had here, and that is only more contention.
                Ok(Err(failure)) => {
                    warn!(reason = %failure.0, "no process lock");
                    return Ok(Lease::Without);
                }
                Err(_) => {
                    return Err(Error::internal(
                        Stage::Refresh,
                        "asking for the process lock did not finish",
                    ));
                }
            }
        }
    }

    /// The lock is still held. Whoever holds it has 45 s from its journal; if it has none, from when it was first seen
    /// holding the lock.
    async fn without(&self, busy_for: u64) -> Result<Lease> {
        let current = self.reread().await?;
        let journal = current
            .record
            .signed_in()
            .and_then(|session| session.journal.as_ref());
        let held_for = journal.map_or(busy_for, |journal| journal.age(&*self.context().ports.clock));
        if held_for >= LEASE_MILLIS {
            warn!("another process has held the lock past its lease: going on without");
            return Ok(Lease::Without);
        }
        Err(refresh_busy())
    }
}

/// Another process is at it.
pub(super) fn refresh_busy() -> Error {
    Error::new(
        ErrorKind::RateLimited,
        Stage::Refresh,
        "refresh_busy",
        "another process of this app is refreshing the session and has not finished",
    )
}
