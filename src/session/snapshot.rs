//! The access token in memory: what a caller reads without waiting, without I/O and without a lock.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};

use super::record::{Expiry, SessionRecord};
use crate::ports::Clock;
use crate::protocol::target::Target;
use crate::protocol::token::AccessToken;

/// Within this much of its end a token may expire on its way to the API.
const TRANSIT_MILLIS: u64 = 5_000;

/// An access token that was durable before it came here.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) epoch: u64,
    /// The generation of the session that the token came with.
    pub(crate) generation: u64,
    pub(crate) token: AccessToken,
    /// Whether there is a refresh token to get another one with.
    pub(crate) can_refresh: bool,
    /// By the boot clock: from here on a caller gets a new one first.
    refresh_at: u64,
    /// By the boot clock: from here on the token is not handed out.
    usable_until: u64,
    /// By the boot clock: what the server said; `None` if it did not.
    expires_at: Option<u64>,
}

impl Snapshot {
    /// The snapshot of a stored record, if it holds an access token to be used.
    pub(crate) fn of(record: &SessionRecord, target: &Target, clock: &dyn Clock) -> Option<Self> {
        let session = record.signed_in().filter(|session| !session.provisional)?;
        let access = session.token_for(target)?;
        let now = clock.boot_millis();
        let expires_at = access
            .expiry
            .as_ref()
            .map(|expiry| end_of_life(expiry, now, clock));
        let (refresh_at, usable_until) = match (&access.expiry, expires_at) {
            (Some(expiry), Some(end)) => limits(expiry.lifetime_millis, end),
            _ => (u64::MAX, u64::MAX),
        };
        Some(Self {
            epoch: record.epoch,
            generation: access.generation,
            token: access.token.clone(),
            can_refresh: session.refresh_token.is_some(),
            refresh_at,
            usable_until,
            expires_at,
        })
    }

    pub(crate) fn is_usable(&self, boot_millis: u64) -> bool {
        boot_millis < self.usable_until
    }

    pub(crate) fn is_fresh(&self, boot_millis: u64) -> bool {
        boot_millis < self.refresh_at
    }

    /// From when on the token is not handed out, by the boot clock; `u64::MAX` if the server did not say.
    #[cfg(feature = "uniffi")]
    pub(crate) fn usable_until(&self) -> u64 {
        self.usable_until
    }

    /// When the token expires, by the boot clock, if the server said.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        self.expires_at
    }
}

/// When a token expires, by the boot clock of this run of the device.
fn end_of_life(expiry: &Expiry, now: u64, clock: &dyn Clock) -> u64 {
    if expiry.boot_id.is_some() && expiry.boot_id == clock.boot_id() {
        return expiry.boot_millis;
    }
    // Across a reboot only the wall clock is left. It may have been set back, so the token gets at most the life it had
    // when it was new.
    let left = expiry.unix_millis.saturating_sub(clock.unix_millis());
    now.saturating_add(u64::try_from(left).unwrap_or(0).min(expiry.lifetime_millis))
}

/// From when on a new token is fetched first, and from when on this one is not handed out.
fn limits(lifetime_millis: u64, end: u64) -> (u64, u64) {
    // A minute or a tenth of its life ahead, whichever is more, and never before half of it.
    let half = lifetime_millis / 2;
    let ahead = (lifetime_millis / 10).max(60_000).min(half);
    (
        end.saturating_sub(ahead),
        end.saturating_sub(TRANSIT_MILLIS.min(half)),
    )
}

/// Where the snapshots are published.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// Of the token that the sign-in asked for: what nearly every caller reads.
    own: ArcSwapOption<Snapshot>,
    others: ArcSwap<Vec<(Target, Arc<Snapshot>)>>,
}

impl Published {
    /// Reads the token of a session of this epoch, if it can be used now. Reads the clock once, and writes nothing that
    /// another thread reads: however many do this at once, none waits for a cache line of another.
    pub(crate) fn with_usable<R>(
        &self,
        epoch: u64,
        clock: &dyn Clock,
        read: impl FnOnce(&AccessToken) -> R,
    ) -> Option<R> {
        let snapshot = self.own.load();
        let snapshot = snapshot.as_ref()?;
        (snapshot.epoch == epoch && snapshot.is_usable(clock.boot_millis())).then(|| read(&snapshot.token))
    }

    pub(crate) fn load(&self, target: &Target) -> Option<Arc<Snapshot>> {
        if target.is_default() {
            return self.own.load_full();
        }
        let others = self.others.load();
        let other = others.iter().find(|(known, _)| known == target);
        other.map(|(_, snapshot)| Arc::clone(snapshot))
    }

    /// Publishes what the record holds.
    pub(crate) fn store(&self, record: &SessionRecord, clock: &dyn Clock) {
        let of = |target: &Target| Snapshot::of(record, target, clock).map(Arc::new);
        let others = record.signed_in().map_or(&[][..], |session| &session.others);
        let others = others
            .iter()
            .filter_map(|(target, _)| Some((target.clone(), of(target)?)));
        self.others.store(Arc::new(others.collect()));
        self.own.store(of(&Target::default()));
    }

    pub(crate) fn clear(&self) {
        self.own.store(None);
        self.others.store(Arc::default());
    }
}
