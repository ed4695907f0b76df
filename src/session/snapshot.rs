//! The access token in memory: what a caller reads without waiting, without I/O and without a lock.

use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;

use super::moment::Expiry;
use super::pace::Want;
use super::record::SessionRecord;
use crate::ports::Clock;
use crate::protocol::target::Target;
use crate::protocol::token::AccessToken;
use crate::sync::{ArcSwap, ArcSwapOption};

/// Within this much of its end a token may expire on its way to the API.
const TRANSIT_MILLIS: u64 = 5_000;
/// A wall clock may be this much earlier than when the token came, and still be believed: clocks are set by the network.
const SET_BACK_MILLIS: i64 = 300_000;

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
            (Some(expiry), Some(end)) => {
                let (refresh_at, usable_until) = limits(expiry.lifetime_millis, end, spread(&access.token));
                let doubtful = was_set_back(expiry, clock);
                (if doubtful { now } else { refresh_at }, usable_until)
            }
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

    /// How much a newer one is wanted now.
    pub(super) fn want(&self, boot_millis: u64) -> Want {
        if self.is_usable(boot_millis) {
            Want::Soon
        } else {
            Want::Now
        }
    }

    /// From when on the token is not handed out, by the boot clock; `u64::MAX` if the server did not say.
    pub(crate) fn usable_until(&self) -> u64 {
        self.usable_until
    }

    /// From when on a caller gets a new one first, by the boot clock; `u64::MAX` if the server did not say.
    #[cfg(feature = "uniffi")]
    pub(crate) fn refresh_at(&self) -> u64 {
        self.refresh_at
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

/// Whether the wall clock, which is all there is across a reboot, shows a time from before the token: then it cannot be
/// told how long it still lives, and a new one is fetched first.
fn was_set_back(expiry: &Expiry, clock: &dyn Clock) -> bool {
    if expiry.boot_id.is_some() && expiry.boot_id == clock.boot_id() {
        return false;
    }
    let lifetime = i64::try_from(expiry.lifetime_millis).unwrap_or(i64::MAX);
    let sent = expiry.unix_millis.saturating_sub(lifetime);
    clock.unix_millis() < sent.saturating_sub(SET_BACK_MILLIS)
}

/// From when on a new token is fetched first, and from when on this one is not handed out. `spread`, of a thousand.
fn limits(lifetime_millis: u64, end: u64, spread: u64) -> (u64, u64) {
    // A minute or a tenth of its life ahead, whichever is more, and never before half of it.
    let half = lifetime_millis / 2;
    let ahead = (lifetime_millis / 10).max(60_000);
    // A little earlier, by as much as the token says: devices that got theirs at once do not all come back at once.
    let ahead = ahead.saturating_add(ahead / 10 * spread / 1_000).min(half);
    (
        end.saturating_sub(ahead),
        end.saturating_sub(TRANSIT_MILLIS.min(half)),
    )
}

/// Of a thousand: a number that differs from token to token, and for one token is the same in every process.
fn spread(token: &AccessToken) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(token.expose().as_bytes());
    hasher.finish() % 1_000
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

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    #[derive(Debug)]
    struct At {
        boot: &'static str,
        boot_millis: u64,
        unix_millis: i64,
    }

    #[async_trait]
    impl Clock for At {
        fn unix_millis(&self) -> i64 {
            self.unix_millis
        }

        fn boot_millis(&self) -> u64 {
            self.boot_millis
        }

        fn boot_id(&self) -> Option<String> {
            Some(self.boot.to_owned())
        }

        async fn sleep_until(&self, _boot_millis: u64) {}
    }

    const HOUR: u64 = 3_600_000;

    fn expiry() -> Expiry {
        Expiry {
            lifetime_millis: HOUR,
            boot_millis: 5 * HOUR,
            boot_id: Some("first".to_owned()),
            unix_millis: 1_700_000_000_000,
        }
    }

    #[test]
    fn rr_25_a_new_token_is_fetched_ahead_and_not_by_all_at_once() {
        let (refresh_at, usable_until) = limits(HOUR, 5 * HOUR, 0);
        assert_eq!(refresh_at, 5 * HOUR - HOUR / 10);
        assert_eq!(usable_until, 5 * HOUR - TRANSIT_MILLIS);
        let (earliest, _) = limits(HOUR, 5 * HOUR, 999);
        assert!(earliest < refresh_at && earliest > refresh_at - HOUR / 100);
        // A minute at least, and never before half of its life.
        assert_eq!(limits(300_000, 300_000, 0).0, 240_000);
        assert_eq!(limits(60_000, 60_000, 999).0, 30_000);
        let spreads = ["a", "b", "c", "d"].map(|token| spread(&AccessToken::new(token.to_owned())));
        assert!(spreads.iter().any(|other| *other != spreads[0]), "{spreads:?}");
    }

    #[test]
    fn rr_51_rr_53_across_a_reboot_a_clock_that_was_set_back_is_not_believed() {
        let wall = |unix_millis| At {
            boot: "second",
            boot_millis: 1_000,
            unix_millis,
        };
        let end = expiry().unix_millis;
        let began = end - 3_600_000;
        assert_eq!(end_of_life(&expiry(), 1_000, &wall(end - 60_000)), 61_000);
        assert!(!was_set_back(&expiry(), &wall(end - 60_000)));
        assert!(!was_set_back(&expiry(), &wall(began - 300_000)), "a little");
        assert!(was_set_back(&expiry(), &wall(began - 300_001)));
        assert!(was_set_back(&expiry(), &wall(0)), "a clock without a battery");
        assert_eq!(
            end_of_life(&expiry(), 1_000, &wall(0)),
            1_000 + HOUR,
            "never longer than it had"
        );
        let same_run = At {
            boot: "first",
            boot_millis: 4 * HOUR,
            unix_millis: 0,
        };
        assert!(!was_set_back(&expiry(), &same_run), "the wall clock has no say");
        assert_eq!(end_of_life(&expiry(), 4 * HOUR, &same_run), 5 * HOUR);
    }
}
