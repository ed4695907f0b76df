//! Holding requests until a test has looked around.

use super::faults::PlannedFault;
use std::sync::Arc;
use tokio::sync::Semaphore;

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
    fault: PlannedFault,
    open: Arc<Semaphore>,
}

impl Gate {
    pub(super) fn new(fault: PlannedFault, open: Arc<Semaphore>) -> Self {
        Self { fault, open }
    }

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
