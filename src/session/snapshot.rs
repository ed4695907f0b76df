//! The access token in memory: what a caller reads without waiting, without I/O and without a lock.

use arc_swap::ArcSwapOption;

use super::record::{Expiry, SessionRecord};
use crate::ports::Clock;
use crate::protocol::token::AccessToken;

/// Within this much of its end a token may expire on its way to the API.
const TRANSIT_MILLIS: u64 = 5_000;

/// An access token that was durable before it came here.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) epoch: u64,
    pub(crate) generation: u64,
    pub(crate) token: AccessToken,
    /// By the boot clock: from here on a caller gets a new one first.
    refresh_at: u64,
    /// By the boot clock: from here on the token is not handed out.
    usable_until: u64,
    /// By the boot clock: what the server said; `None` if it did not.
    expires_at: Option<u64>,
}

impl Snapshot {
    /// The snapshot of a stored record, if it holds an access token to be used.
    pub(crate) fn of(record: &SessionRecord, clock: &dyn Clock) -> Option<Self> {
        let session = record.signed_in().filter(|session| !session.provisional)?;
        let access = session.access_token.as_ref()?;
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
            generation: record.generation,
            token: access.token.clone(),
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

/// Where the snapshot is published.
#[derive(Debug, Default)]
pub(crate) struct Published(ArcSwapOption<Snapshot>);

impl Published {
    /// The token of a session of this epoch, if it can be used now.
    pub(crate) fn usable(&self, epoch: u64, clock: &dyn Clock) -> Option<AccessToken> {
        let snapshot = self.0.load();
        let snapshot = snapshot.as_ref()?;
        (snapshot.epoch == epoch && snapshot.is_usable(clock.boot_millis())).then(|| snapshot.token.clone())
    }

    pub(crate) fn load(&self) -> Option<std::sync::Arc<Snapshot>> {
        self.0.load_full()
    }

    pub(crate) fn store(&self, snapshot: Option<Snapshot>) {
        self.0.store(snapshot.map(std::sync::Arc::new));
    }
}
