//! The device's clocks.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use crate::ports::Clock;

/// The wall clock, and the clock that counts the time since the device was started with the time it slept.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemClock;

/// How long one nap may be. tokio's timers stop while the device sleeps, so a long wait is made of naps and the
/// boot clock is asked after each.
const LONGEST_NAP: Duration = Duration::from_secs(30);

#[async_trait]
impl Clock for SystemClock {
    fn unix_millis(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis),
        }
    }

    fn boot_millis(&self) -> u64 {
        since_boot()
    }

    fn boot_id(&self) -> Option<String> {
        static ID: OnceLock<Option<String>> = OnceLock::new();
        ID.get_or_init(read_boot_id).clone()
    }

    async fn sleep_until(&self, boot_millis: u64) {
        loop {
            let left = Duration::from_millis(boot_millis.saturating_sub(self.boot_millis()));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(LONGEST_NAP)).await;
        }
    }
}

#[cfg(unix)]
fn since_boot() -> u64 {
    use rustix::time::{ClockId, clock_gettime};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let clock = ClockId::Boottime;
    // On Apple systems CLOCK_MONOTONIC goes on during sleep, as mach_continuous_time does; CLOCK_UPTIME_RAW, which
    // std uses, stops.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let clock = ClockId::Monotonic;
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec / 1_000_000).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(millis)
}

/// Elsewhere (Windows) std's clock is the performance counter, which counts sleep.
#[cfg(not(unix))]
fn since_boot() -> u64 {
    static START: OnceLock<std::time::Instant> = OnceLock::new();
    let start = START.get_or_init(std::time::Instant::now);
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Only Linux gives its boots a name without a native call. Without one, expiry across processes goes by the wall
/// clock.
fn read_boot_id() -> Option<String> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let id = id.trim();
        (!id.is_empty()).then(|| id.to_owned())
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_clock_does_not_go_back() {
        let first = SystemClock.boot_millis();
        assert!(SystemClock.boot_millis() >= first);
        assert!(SystemClock.unix_millis() > 1_700_000_000_000);
    }
}
