//! What a test keeps of a fault that it planned: to see it happen, to take it back, to let requests go.

use std::fmt;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Planned;

/// A fault that was planned. It stays planned when this is dropped; clones are the same fault.
///
/// ```
/// use gatepass::test_server::{CannedAnswer, Endpoint, TestServer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TestServer::start()?;
/// let outage = server.fault(Endpoint::Metadata).every().answer(CannedAnswer::status(503))?;
/// let url = format!("{}/.well-known/openid-configuration", server.issuer());
/// assert_eq!(server.browser().deliver(&url).await?, 503);
/// // The test has met what it is about; then the server is well again.
/// outage.until_fired(1).await;
/// outage.lift();
/// assert_eq!(server.browser().deliver(&url).await?, 200);
/// assert_eq!(outage.fired(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PlannedFault {
    pub(super) planned: Arc<Planned>,
}

impl PlannedFault {
    /// How often it has happened.
    pub fn fired(&self) -> u64 {
        *self.planned.fired.borrow()
    }

    /// Waits until it has happened this often. If it never does, neither does this end.
    pub async fn until_fired(&self, times: u64) {
        let mut fired = self.planned.fired.subscribe();
        // The sender is held by this very handle.
        drop(fired.wait_for(|fired| *fired >= times).await);
    }

    /// Takes it back: no later request is affected, and requests held by it go on.
    pub fn lift(&self) {
        self.planned.lift();
    }
}

impl fmt::Debug for PlannedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlannedFault")
            .field("endpoint", &self.planned.endpoint)
            .field("which", &self.planned.which)
            .field("effect", &self.planned.effect)
            .field("fired", &self.fired())
            .finish_non_exhaustive()
    }
}

/// Requests, or their answers, held until the test lets them go. Dropping it lets everything go.
///
/// ```
/// use gatepass::test_server::{Endpoint, TestServer};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let server = TestServer::start()?;
/// let gate = server.fault(Endpoint::Metadata).next(1).hold()?;
/// let visit = tokio::spawn({
///     let (browser, url) = (server.browser(), server.issuer().to_owned());
///     async move { browser.deliver(&format!("{url}/.well-known/openid-configuration")).await }
/// });
/// gate.arrived(1).await;
/// // The request is at the server, and nothing has happened with it yet: look at the app now.
/// assert!(!visit.is_finished());
/// gate.release();
/// assert_eq!(visit.await??, 200);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "dropping the gate lets everything pass"]
pub struct Gate {
    pub(super) fault: PlannedFault,
    pub(super) open: Arc<Semaphore>,
}

impl Gate {
    /// How many have come to the gate, those let go included.
    pub fn fired(&self) -> u64 {
        self.fault.fired()
    }

    /// Waits until this many have come to the gate.
    pub async fn arrived(&self, count: u64) {
        self.fault.until_fired(count).await;
    }

    /// Lets one go, the one that came first; if there is none, the next that comes.
    pub fn release_one(&self) {
        self.open.add_permits(1);
    }

    /// Opens the gate for good: all go, and nobody is held any more.
    pub fn release(&self) {
        self.fault.lift();
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.fault.lift();
    }
}
