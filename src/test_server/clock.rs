//! A clock that stands still until a test moves it, and the `Date` header made from the server's clock.

use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::ports::Clock;

/// A virtual clock for tests: it moves only when told to, or over short pauses if it is [`hurried`](TestClock::hurried).
///
/// Give one to the server and to the client under test, and both travel in time together. Waking sleepers is part of
/// it: a deadline passes the moment the clock is moved past it.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use gatepass::{AllowHttpOnLoopback, Client, test_server::{TestClock, TestServer}};
///
/// let clock = Arc::new(TestClock::default());
/// let server = TestServer::builder().clock(clock.clone()).start()?;
/// let client = Client::builder(server.issuer(), server.client_id())
///     .allow_http_on_loopback(AllowHttpOnLoopback)
///     .clock(clock.clone())
///     .build()?;
/// clock.advance(Duration::from_secs(3600));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TestClock {
    wall: Mutex<i64>,
    boot: watch::Sender<u64>,
    /// Pauses up to this long are jumped over.
    hurry_millis: u64,
}

impl TestClock {
    /// A clock that shows this wall time, in milliseconds since 1970, one hour after the device was started.
    #[must_use]
    pub fn at_unix_millis(unix_millis: i64) -> Self {
        Self {
            wall: Mutex::new(unix_millis),
            boot: watch::Sender::new(3_600_000),
            hurry_millis: 0,
        }
    }

    /// A clock that jumps over pauses of up to a minute, such as those between two sends of a refresh whose answer was
    /// lost: whoever waits for one moves the clock, for everybody. Longer waits, such as the deadline of a sign-in, end when
    /// the test says so. What most tests of an app want.
    ///
    /// ```
    /// use gatepass::Clock as _;
    /// use gatepass::test_server::TestClock;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let clock = TestClock::hurried();
    /// let before = clock.boot_millis();
    /// clock.sleep_until(before + 20_000).await;
    /// assert_eq!(clock.boot_millis(), before + 20_000);
    /// # }
    /// ```
    #[must_use]
    pub fn hurried() -> Self {
        Self {
            hurry_millis: 60_000,
            ..Self::default()
        }
    }

    /// Lets time pass, on both clocks, and wakes whoever waited for it.
    pub fn advance(&self, by: Duration) {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        self.set_wall(|wall| wall.saturating_add_unsigned(millis));
        self.boot.send_modify(|boot| *boot = boot.saturating_add(millis));
    }

    /// Sets the wall clock alone, as a user does who changes the time: the time since boot goes on as before.
    pub fn set_unix_millis(&self, unix_millis: i64) {
        self.set_wall(|_| unix_millis);
    }

    fn set_wall(&self, change: impl FnOnce(i64) -> i64) {
        let mut wall = crate::sync::lock(&self.wall);
        *wall = change(*wall);
    }
}

impl Default for TestClock {
    /// Midnight at the start of 2026.
    fn default() -> Self {
        Self::at_unix_millis(1_767_225_600_000)
    }
}

#[async_trait]
impl Clock for TestClock {
    fn unix_millis(&self) -> i64 {
        *crate::sync::lock(&self.wall)
    }

    fn boot_millis(&self) -> u64 {
        *self.boot.borrow()
    }

    fn boot_id(&self) -> Option<String> {
        Some("test-boot".to_owned())
    }

    async fn sleep_until(&self, boot_millis: u64) {
        let wait = boot_millis.saturating_sub(self.boot_millis());
        if wait <= self.hurry_millis {
            self.advance(Duration::from_millis(wait));
        }
        let mut boot = self.boot.subscribe();
        // The sender is our own field, so it is there.
        drop(boot.wait_for(|now| *now >= boot_millis).await);
    }
}

/// How far a server's clock is from the clock of the app.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing_setup.rs"));
/// use gatepass::test_server::{ClockOffset, TestServer};
/// use std::time::Duration;
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn Error>> {
///     let server = TestServer::start()?;
///     // The user's device is a day behind: an ID token from the future must not keep them out.
///     server.set_clock_offset(ClockOffset::Ahead(Duration::from_secs(24 * 3600)));
///     let client = client(&server)?;
///     sign_in(&server, &client, &server.users()[0]).await?;
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClockOffset {
    /// Not at all.
    #[default]
    None,
    /// The server's clock is this much ahead: for the app its tokens come from the future.
    Ahead(Duration),
    /// The server's clock is this much behind: for the app its tokens have long been expiring.
    Behind(Duration),
}

impl ClockOffset {
    pub(super) fn millis(self) -> i64 {
        let millis = |span: Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        match self {
            Self::None => 0,
            Self::Ahead(span) => millis(span),
            Self::Behind(span) => -millis(span),
        }
    }
}

/// A time as the IMF-fixdate of RFC 9110 §5.6.7.
///
/// Written by the server itself because its clock may be a virtual one, and the HTTP library's own `Date` would tell the
/// client another time than the tokens do.
pub(super) fn http_date(unix_millis: i64) -> String {
    const YEAR_9999_MILLIS: u64 = 253_402_300_799_000;
    let since = u64::try_from(unix_millis).unwrap_or(0).min(YEAR_9999_MILLIS);
    httpdate::fmt_http_date(
        UNIX_EPOCH
            .checked_add(Duration::from_millis(since))
            .unwrap_or(SystemTime::UNIX_EPOCH),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_are_imf_fixdates_whatever_the_clock_says() {
        // The example of RFC 9110 §5.6.7.
        assert_eq!(http_date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(-1), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(http_date(i64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }

    #[tokio::test]
    async fn moving_the_clock_wakes_the_sleepers() {
        let clock = std::sync::Arc::new(TestClock::default());
        let start = clock.boot_millis();
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(start + 5_000).await }
        });
        clock.advance(Duration::from_secs(5));
        sleeper.await.unwrap();
        clock.set_unix_millis(0);
        assert_eq!(clock.unix_millis(), 0);
        assert_eq!(clock.boot_millis(), start + 5_000);
    }
}
