//! The server's time, as far as its answers tell of it: a user whose clock is wrong can sign in all the same.

use std::sync::Mutex;
use std::time::Duration;

use ::http::HeaderMap;

use super::context::Context;
use crate::protocol::answer::server_date;
use crate::protocol::clock_offset::ClockOffset;
use crate::sync::lock;

/// A wall clock that moved against the boot clock by more than this was set by somebody.
const SET_MILLIS: u64 = 5_000;

/// How far the device's wall clock is from the server's.
#[derive(Debug, Default)]
pub(super) struct ServerClock(Mutex<Learnt>);

#[derive(Debug, Default)]
struct Learnt {
    offset: ClockOffset,
    /// Wall clock less boot clock, in milliseconds, when the offset was learnt.
    base: i64,
}

impl Context {
    /// Now by the server's clock, in seconds since 1970; by the device's, where the server has not told.
    pub(crate) fn now_seconds(&self) -> i64 {
        self.server_seconds(self.ports.clock.unix_millis())
    }

    /// An instant of the device's wall clock, by the server's clock, in seconds since 1970.
    pub(crate) fn server_seconds(&self, unix_millis: i64) -> i64 {
        let learnt = lock(&self.server_clock.0);
        let offset = if self.base().abs_diff(learnt.base) <= SET_MILLIS {
            learnt.offset.seconds()
        } else {
            0
        };
        unix_millis.div_euclid(1000).saturating_add(offset)
    }

    /// Takes note of the date of an answer of the server to a request that was sent at this instant of the boot clock.
    pub(super) fn learn_time(&self, headers: &HeaderMap, sent_boot_millis: u64) {
        let Some(date) = server_date(headers) else { return };
        let clock = &self.ports.clock;
        let round_trip = Duration::from_millis(clock.boot_millis().saturating_sub(sent_boot_millis));
        let base = self.base();
        let mut learnt = lock(&self.server_clock.0);
        if base.abs_diff(learnt.base) > SET_MILLIS {
            // What was learnt is about a clock that showed another time.
            *learnt = Learnt {
                offset: ClockOffset::default(),
                base,
            };
        }
        let device = clock.unix_millis().div_euclid(1000);
        learnt.offset.observe(date, device, round_trip);
    }

    fn base(&self) -> i64 {
        let boot = i64::try_from(self.ports.clock.boot_millis()).unwrap_or(i64::MAX);
        self.ports.clock.unix_millis().saturating_sub(boot)
    }
}
