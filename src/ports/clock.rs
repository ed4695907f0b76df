//! Time: what the wall says, and how long the device has been up.

use std::fmt::Debug;

use async_trait::async_trait;

/// The clock port.
///
/// # Contract
/// - [`unix_millis`](Clock::unix_millis) is the wall clock. It may jump either way; nothing that must not jump
///   is measured by it, except across a reboot.
/// - [`boot_millis`](Clock::boot_millis) never goes back within one boot and **counts the time the device
///   sleeps** (`CLOCK_BOOTTIME`, `mach_continuous_time`, `elapsedRealtime`): an access token expires while the
///   phone lies in a pocket.
/// - Both are read on hot paths: they must not block, and should cost tens of nanoseconds.
/// - [`sleep_until`](Clock::sleep_until) completes at the given boot time or soon after, never before. It is
///   safe to cancel: dropping the future forgets the alarm.
///
/// ```
/// use gatepass::Clock;
///
/// /// The system's clock is the default; this one stands still, for a test.
/// #[derive(Debug)]
/// struct Noon;
///
/// #[async_trait::async_trait]
/// impl Clock for Noon {
///     fn unix_millis(&self) -> i64 {
///         1_893_499_200_000
///     }
///     fn boot_millis(&self) -> u64 {
///         60_000
///     }
///     fn boot_id(&self) -> Option<String> {
///         Some("one".to_owned())
///     }
///     async fn sleep_until(&self, boot_millis: u64) {
///         if boot_millis > self.boot_millis() {
///             std::future::pending::<()>().await;
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since 1970-01-01T00:00:00Z by the wall clock.
    fn unix_millis(&self) -> i64;

    /// Milliseconds since the device was started, sleep included.
    fn boot_millis(&self) -> u64;

    /// A name for this run of the device, different after each reboot, where the platform has one. Boot times
    /// of two runs cannot be compared.
    fn boot_id(&self) -> Option<String>;

    /// Completes once [`boot_millis`](Clock::boot_millis) has reached `boot_millis`.
    async fn sleep_until(&self, boot_millis: u64);
}
