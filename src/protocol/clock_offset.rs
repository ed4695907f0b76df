//! How far the clock of this device is from the server's, learnt from the `Date` of its answers.
//!
//! An ID token is checked, and a proof dated, by the server's time: a user whose clock is wrong can sign in all the
//! same. Dates come over TLS, and still one answer alone never moves the clock by a day.

use std::time::Duration;

/// Answers that took longer say too little about when the server wrote the date.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(10);
/// Of the latest so many, the one in the middle counts.
const SAMPLES: usize = 5;
/// A change by more than this must be confirmed by a second answer.
const MAX_STEP: i64 = 24 * 3600;
/// Two answers that tell of such a change must agree to within this.
const AGREEMENT: i64 = 60;

/// What was learnt so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClockOffset {
    /// Seconds to add to the device's wall clock, newest last.
    samples: Vec<i64>,
    /// A change too large to be believed at once.
    doubtful: Option<i64>,
}

impl ClockOffset {
    /// Takes the date of an answer (see `answer::server_date`), with the device's wall clock when the answer came and
    /// the time the exchange took. Both times in seconds since 1970.
    pub(crate) fn observe(&mut self, server: i64, device: i64, round_trip: Duration) {
        if round_trip > MAX_ROUND_TRIP {
            return;
        }
        let offset = server.saturating_sub(device);
        let agrees = |with: i64, by: i64| offset.abs_diff(with) <= by.unsigned_abs();
        if !agrees(self.seconds(), MAX_STEP) {
            if !self.doubtful.is_some_and(|other| agrees(other, AGREEMENT)) {
                self.doubtful = Some(offset);
                return;
            }
            self.samples.clear();
        }
        self.doubtful = None;
        if self.samples.len() >= SAMPLES {
            self.samples.remove(0);
        }
        self.samples.push(offset);
    }

    /// Seconds to add to the device's wall clock to get the server's. Zero while nothing is known.
    pub(crate) fn seconds(&self) -> i64 {
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Duration = Duration::from_millis(200);
    const DEVICE: i64 = 1_700_000_000;

    fn after(offsets: &[i64]) -> i64 {
        let mut clock = ClockOffset::default();
        for offset in offsets {
            clock.observe(DEVICE.saturating_add(*offset), DEVICE, FAST);
        }
        clock.seconds()
    }

    #[test]
    fn rr_50_the_middle_of_the_last_few_counts() {
        assert_eq!(after(&[]), 0);
        assert_eq!(after(&[7]), 7);
        assert_eq!(after(&[7, 7, 3_000]), 7, "one answer that is off does not count");
        assert_eq!(after(&[1, 1, 1, 600, 600, 600]), 600, "the newest five");
        assert_eq!(after(&[-90, -90]), -90);
    }

    #[test]
    fn rr_50_a_slow_answer_tells_nothing() {
        let mut clock = ClockOffset::default();
        clock.observe(DEVICE + 50, DEVICE, Duration::from_secs(11));
        assert_eq!(clock.seconds(), 0);
        clock.observe(DEVICE + 50, DEVICE, Duration::from_secs(10));
        assert_eq!(clock.seconds(), 50);
    }

    #[test]
    fn bi_88_bi_97_a_change_by_a_day_needs_two_answers_that_agree() {
        let year = 365 * 86_400;
        assert_eq!(after(&[86_400]), 86_400, "up to a day is believed at once");
        assert_eq!(after(&[86_401]), 0);
        assert_eq!(after(&[50 * year]), 0);
        assert_eq!(after(&[50 * year, 50 * year + 60]), 50 * year + 60);
        assert_eq!(after(&[50 * year, 50 * year + 61]), 0, "they do not agree");
        assert_eq!(after(&[50 * year, 5, 50 * year]), 5, "not one after the other");
        assert_eq!(
            after(&[5, 5, -50 * year, -50 * year]),
            -50 * year,
            "the device's clock was set back"
        );
        assert_eq!(after(&[i64::MAX, i64::MAX]), i64::MAX - DEVICE, "no overflow");
        let mut clock = ClockOffset::default();
        clock.observe(i64::MIN, i64::MAX, FAST);
        clock.observe(i64::MIN, i64::MAX, FAST);
        assert_eq!(clock.seconds(), i64::MIN);
        clock.observe(i64::MAX, i64::MIN, FAST);
        assert_eq!(clock.seconds(), i64::MIN);
    }
}
