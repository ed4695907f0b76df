//! How often a server is asked to refresh one session, or for one of its documents, whatever its callers do: a client that
//! loops is taken for an attack, by the server or by whoever watches it.

use std::sync::Mutex;
use std::time::Duration;

use crate::error::{Delivery, Error, ErrorKind, NextStep, Stage};
use crate::sync::lock;

/// Nobody who has a token to go on with gets another within this long of the last.
const APART_MILLIS: u64 = 5_000;
/// After this many failures in a row the server gets a rest.
const FAILURES: u32 = 5;
/// The first rest. Each failure after it doubles it.
const REST_MILLIS: u64 = 30_000;
const LONGEST_REST_MILLIS: u64 = 600_000;

/// When the last refresh was, and how the last ones went. Of this process alone.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    begun: Option<u64>,
    failures: u32,
    /// By the boot clock.
    rests_until: u64,
    /// Code of the last failure.
    code: &'static str,
}

/// How much somebody wants a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// There is none to go on with, or the app asked for a refresh by name.
    Now,
    /// There is one, and a newer one would be better.
    Soon,
}

impl Pace {
    /// Whether a refresh may be sent now, by the boot clock.
    pub(super) fn admit(&self, now: u64, want: Want) -> Result<(), Error> {
        let kept = lock(&self.0);
        let left = kept.rests_until.saturating_sub(now);
        if left > 0 {
            let message = format!(
                "the server is left alone for {} s after what it answered last ({})",
                left.div_ceil(1_000),
                kept.code
            );
            return Err(wait("refresh_paused", message, left));
        }
        let since = kept.begun.map_or(u64::MAX, |begun| now.saturating_sub(begun));
        if want == Want::Soon && since < APART_MILLIS {
            let message = "the tokens were refreshed a moment ago; refreshing again would bring nothing";
            return Err(wait("refresh_too_soon", message.to_owned(), APART_MILLIS - since));
        }
        Ok(())
    }

    /// One that the app asked for by name, or that nobody could do without, says nothing about a loop.
    pub(super) fn begun(&self, now: u64, want: Want) {
        if want == Want::Soon {
            lock(&self.0).begun = Some(now);
        }
    }

    /// The server answered with tokens.
    pub(super) fn succeeded(&self) {
        let mut kept = lock(&self.0);
        kept.failures = 0;
        kept.rests_until = 0;
    }

    /// It did not. What is not the server's doing does not count: a request that was not sent costs it nothing, and the
    /// network comes back at any moment.
    pub(super) fn failed(&self, now: u64, error: &Error) {
        let is_its_doing = match error.kind() {
            ErrorKind::Network(Delivery::UnknownOutcome) | ErrorKind::Server | ErrorKind::Protocol => true,
            ErrorKind::RateLimited => error.server().is_some(),
            _ => false,
        };
        if !is_its_doing {
            return;
        }
        let mut kept = lock(&self.0);
        kept.code = error.code();
        kept.failures = kept.failures.saturating_add(1);
        let rest = match kept.failures.checked_sub(FAILURES) {
            Some(more) => REST_MILLIS
                .saturating_mul(1 << more.min(10))
                .min(LONGEST_REST_MILLIS),
            None => 0,
        };
        let rest = rest.max(asked_for(error));
        kept.rests_until = kept.rests_until.max(now.saturating_add(rest));
    }
}

/// After so many failures in a row to get a document there is a pause of so long. Nobody's first failure holds up the
/// next one, and a user in front of the screen does not wait for longer than the last.
const DOCUMENT_PAUSES_MILLIS: [u64; 7] = [0, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000];
/// A server that asks for more time gets this much: what is asked for is public and cheap, and a sign-in may wait for it.
const LONGEST_DOCUMENT_PAUSE_MILLIS: u64 = 60_000;

/// How the last tries went to get one document of a server, its metadata or its keys. Of one client alone.
#[derive(Debug, Default)]
pub(super) struct Rest {
    failures: usize,
    /// By the boot clock.
    until: u64,
    last: Option<Error>,
}

impl Rest {
    /// Whether it may be asked for now, by the boot clock; else the last failure, which says how much longer.
    pub(super) fn admit(&self, now: u64) -> Result<(), Error> {
        match &self.last {
            Some(last) if now < self.until => Err(self.told(last, now)),
            _ => Ok(()),
        }
    }

    /// It came.
    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// It did not come. Gives the failure back, with how long the next one has to wait. A request that was not sent says
    /// nothing of the server, and the network comes back at any moment.
    pub(super) fn failed(&mut self, now: u64, error: Error) -> Error {
        if error.kind() == ErrorKind::Network(Delivery::NotSent) {
            return error;
        }
        let pause = DOCUMENT_PAUSES_MILLIS.get(self.failures);
        let pause = pause
            .or(DOCUMENT_PAUSES_MILLIS.last())
            .copied()
            .unwrap_or_default();
        self.failures = self.failures.saturating_add(1);
        let asked = asked_for(&error).min(LONGEST_DOCUMENT_PAUSE_MILLIS);
        self.until = now.saturating_add(pause.max(asked));
        let told = self.told(&error, now);
        self.last = Some(error);
        told
    }

    fn told(&self, error: &Error, now: u64) -> Error {
        let left = self.until.saturating_sub(now);
        // Where somebody has to mend something first, a pause is not what to wait for.
        if left == 0 || !error.is_retryable() {
            return error.clone();
        }
        error.clone().with_retry_after(Duration::from_millis(left))
    }
}

/// How long the server asked to be left alone, in milliseconds.
pub(super) fn asked_for(error: &Error) -> u64 {
    match error.next_step() {
        NextStep::RetryAfter(wait) => u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        _ => 0,
    }
}

fn wait(code: &'static str, message: String, millis: u64) -> Error {
    Error::new(ErrorKind::RateLimited, Stage::Refresh, code, message)
        .with_retry_after(Duration::from_millis(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure() -> Error {
        Error::new(ErrorKind::Server, Stage::Refresh, "server_failed", "no")
    }

    fn code(admitted: Result<(), Error>) -> &'static str {
        admitted.map_or_else(|error| error.code(), |()| "admitted")
    }

    #[test]
    fn rr_32_who_has_a_token_waits_five_seconds_for_the_next() {
        let pace = Pace::default();
        assert_eq!(code(pace.admit(0, Want::Soon)), "admitted");
        pace.begun(500, Want::Now);
        assert_eq!(code(pace.admit(600, Want::Soon)), "admitted");
        pace.begun(1_000, Want::Soon);
        pace.succeeded();
        assert_eq!(code(pace.admit(5_999, Want::Soon)), "refresh_too_soon");
        assert_eq!(code(pace.admit(5_999, Want::Now)), "admitted");
        assert_eq!(code(pace.admit(6_000, Want::Soon)), "admitted");
    }

    #[test]
    fn rr_32_a_server_that_fails_five_times_gets_a_rest_and_then_a_longer_one() {
        let pace = Pace::default();
        for _ in 0..4 {
            pace.failed(0, &failure());
            assert_eq!(code(pace.admit(0, Want::Now)), "admitted");
        }
        pace.failed(0, &failure());
        let error = pace.admit(29_999, Want::Now).unwrap_err();
        assert_eq!(error.code(), "refresh_paused");
        assert_eq!(error.next_step(), NextStep::RetryAfter(Duration::from_millis(1)));
        assert_eq!(code(pace.admit(30_000, Want::Now)), "admitted");
        pace.failed(30_000, &failure());
        assert_eq!(code(pace.admit(89_999, Want::Now)), "refresh_paused");
        assert_eq!(code(pace.admit(90_000, Want::Now)), "admitted");
        for _ in 0..100 {
            pace.failed(90_000, &failure());
        }
        assert_eq!(
            code(pace.admit(90_000 + LONGEST_REST_MILLIS, Want::Now)),
            "admitted"
        );
        pace.succeeded();
        pace.failed(0, &failure());
        assert_eq!(
            code(pace.admit(0, Want::Now)),
            "admitted",
            "the count begins anew"
        );
    }

    #[test]
    fn rr_14_a_server_that_says_when_is_left_alone_until_then() {
        let pace = Pace::default();
        pace.failed(0, &failure().with_retry_after(Duration::from_secs(40)));
        assert_eq!(code(pace.admit(39_999, Want::Now)), "refresh_paused");
        assert_eq!(code(pace.admit(40_000, Want::Now)), "admitted");
    }

    #[test]
    fn rr_11_what_was_not_sent_is_tried_again_at_once() {
        let pace = Pace::default();
        let offline = Error::new(
            ErrorKind::Network(Delivery::NotSent),
            Stage::Refresh,
            "connect",
            "no",
        );
        for _ in 0..20 {
            pace.failed(0, &offline);
        }
        assert_eq!(code(pace.admit(0, Want::Now)), "admitted");
    }
}
