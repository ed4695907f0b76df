//! What is seen to when an app comes back: what other processes wrote, and what an attempt of before left open.

use std::sync::Arc;

use super::pace::Want;
use super::record::SessionRecord;
use super::snapshot::Snapshot;
use super::{SessionState, Slot};
use crate::error::{ErrorKind, Result};
use crate::protocol::target::Target;

impl Slot {
    /// Reads the record, makes it visible, and finishes what is open in it. What the server is asked for is asked as by a
    /// caller who has a token to go on with: not within a few seconds of the last time, and not while it is left alone.
    pub(crate) async fn catch_up(self: &Arc<Self>) -> Result<()> {
        let target = Target::default();
        // In this order: what is held is published only after it is let go.
        let before = self.published.load(&target);
        let is_holding = self.is_holding();
        let record = self.look().await?;
        let is_gone = record.is_none() && *self.state.borrow() == SessionState::SignedIn;
        let open = record.as_ref().filter(|record| is_open(record));
        if open.is_none() && !is_holding && !is_gone {
            return Ok(());
        }
        // If somebody has finished it since it was looked at, that is newer than this, and all there is to do.
        let clock = &*self.context.ports.clock;
        let seen = match open {
            Some(record) => Snapshot::of(record, &target, clock).map_or(0, |snapshot| snapshot.generation),
            None => before.map_or(0, |snapshot| snapshot.generation),
        };
        match self
            .refreshed(self.newest_epoch(), &target, seen, Want::Soon)
            .await
        {
            Ok(_) => Ok(()),
            // It is over, which its state says.
            Err(error) if matches!(error.kind(), ErrorKind::SessionEnded(_)) => Ok(()),
            // It is not the time for it: our own word, not the server's.
            Err(error) if error.kind() == ErrorKind::RateLimited && error.server().is_none() => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether a refresh was begun whose outcome is not known, or brought tokens that are not verified yet.
fn is_open(record: &SessionRecord) -> bool {
    record
        .signed_in()
        .is_some_and(|session| session.journal.is_some() || session.provisional)
}
