//! Instants that are stored: by two clocks, as neither alone survives both a reboot and a wall clock that is set.

use std::time::Duration;

use serde_json::{Value, json};

use crate::ports::Clock;

/// An instant by the boot clock of one run of the device, and by the wall clock for all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expiry {
    pub(crate) lifetime_millis: u64,
    pub(crate) boot_millis: u64,
    pub(crate) boot_id: Option<String>,
    pub(crate) unix_millis: i64,
}

/// An instant by the boot clock of one run of the device, and by the wall clock for all others: when a request was sent,
/// from which the lifetimes in its answer count, or when something was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(super) boot_millis: u64,
    pub(super) boot_id: Option<String>,
    pub(super) unix_millis: i64,
}

impl Moment {
    pub(crate) fn now(clock: &dyn Clock) -> Self {
        Self {
            boot_millis: clock.boot_millis(),
            boot_id: clock.boot_id(),
            unix_millis: clock.unix_millis(),
        }
    }

    /// As a record tells that knows nothing but the wall clock.
    pub(crate) fn by_the_wall(unix_millis: i64) -> Self {
        Self {
            boot_millis: 0,
            boot_id: None,
            unix_millis,
        }
    }

    pub(crate) fn unix_millis(&self) -> i64 {
        self.unix_millis
    }

    /// How long ago, in milliseconds, if this run of the device can tell, whatever became of the wall clock. An instant to
    /// come was not written by it.
    pub(crate) fn elapsed_since_boot(&self, clock: &dyn Clock) -> Option<u64> {
        let here = self.boot_id.is_some() && self.boot_id == clock.boot_id();
        clock.boot_millis().checked_sub(self.boot_millis).filter(|_| here)
    }

    /// How long ago, in milliseconds. Across a reboot by the wall clock: `None` if that was set back since.
    pub(crate) fn elapsed(&self, clock: &dyn Clock) -> Option<u64> {
        self.elapsed_since_boot(clock)
            .or_else(|| u64::try_from(clock.unix_millis().saturating_sub(self.unix_millis)).ok())
    }

    /// Whether the device was started anew since, so that no process of then still runs.
    pub(crate) fn is_of_another_boot(&self, clock: &dyn Clock) -> bool {
        match (&self.boot_id, clock.boot_id()) {
            (Some(then), Some(now)) => *then != now,
            _ => false,
        }
    }

    pub(crate) fn to_value(&self) -> Value {
        json!({ "boot_millis": self.boot_millis, "boot_id": self.boot_id, "unix_millis": self.unix_millis })
    }

    pub(crate) fn from_value(value: &Value) -> Option<Self> {
        Some(Self {
            boot_millis: value.get("boot_millis")?.as_u64()?,
            boot_id: value.get("boot_id")?.as_str().map(str::to_owned),
            unix_millis: value.get("unix_millis")?.as_i64()?,
        })
    }

    pub(crate) fn expiry(&self, lifetime: Duration) -> Expiry {
        let lifetime_millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let signed = i64::try_from(lifetime_millis).unwrap_or(i64::MAX);
        Expiry {
            lifetime_millis,
            boot_millis: self.boot_millis.saturating_add(lifetime_millis),
            boot_id: self.boot_id.clone(),
            unix_millis: self.unix_millis.saturating_add(signed),
        }
    }
}
