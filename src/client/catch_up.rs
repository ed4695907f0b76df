//! The app is in the foreground again, or the network is back.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::provisional::Look;
use super::{Client, Inner};
use crate::error::Result;

impl Client {
    /// Sees to what was left undone and to what changed meanwhile: call it when the app comes back to the foreground, and
    /// when the network is back.
    ///
    /// - What other processes of the app wrote is read: a session that they refreshed, ended or signed out shows as such
    ///   from here on, in [`state`](Client::state) and in [`Session::peek`](crate::Session::peek).
    /// - A refresh whose outcome nobody knows is tried again: the sooner, the more servers still answer the same token
    ///   (RFC 9700 §4.14.2). Tokens that storage did not take are written, those that wait for keys are verified.
    /// - A sign-in that had to wait is finished, and grants that wait to be revoked are given back. One that another process
    ///   left in the browser is listened for again, as by [`session`](Client::session).
    ///
    /// Without it nothing is lost: the same is done at the next need for a token, or at the next start. A valid token is not
    /// refreshed by it. Safe to call often: the server is asked no more often than by callers who have a token.
    /// Waits for storage, and for the server only where something is open. Safe to cancel:
    /// dropping the future stops the waiting only.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
    /// # fn main() -> Outcome { signed_in(async |client, session, api| {
    /// // In the hook by which the platform says that the app is in front again.
    /// if let Err(error) = client.catch_up().await {
    ///     println!("some of it has to wait: {error}");
    /// }
    /// # Ok(()) }) }
    /// ```
    ///
    /// # Errors
    /// What could not be done now, the first of it; all the rest was tried too.
    /// [`ErrorKind::StorageLost`](crate::ErrorKind::StorageLost) if a record cannot be read any more; with every other error
    /// the session lives on. A session that turned out to be over is no error: its state says so.
    pub async fn catch_up(&self) -> Result<()> {
        let inner = Arc::clone(&self.0);
        self.0.context.run(async move { inner.catch_up().await }).await
    }
}

impl Inner {
    async fn catch_up(self: &Arc<Self>) -> Result<()> {
        // As at a start: whatever is there is looked at.
        self.unsettled.store(true, Ordering::SeqCst);
        let undecided = self.settle(Look::Once).await;
        let mut outcome = Ok(());
        for slot in self.sessions.every_slot().await? {
            let caught_up = slot.catch_up().await;
            outcome = outcome.and(caught_up);
        }
        outcome.and(undecided.map_or(Ok(()), Err))
    }
}
