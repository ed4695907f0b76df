//! One refresh for any number of callers: the first begins it, the others wait for the same outcome (single flight).

use std::sync::Arc;

use tokio::sync::watch;

use super::Slot;
use super::refresh::Refresh;
use super::snapshot::Snapshot;
use crate::error::{EndReason, Error, ErrorKind, Result, Stage};
use crate::ports::SessionEvent;
use crate::protocol::target::Target;
use crate::sync::lock;

pub(super) type Outcome = Result<Arc<Snapshot>>;

/// A refresh under way, to be waited for by any number of callers.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    epoch: u64,
    target: Target,
    outcome: watch::Receiver<Option<Outcome>>,
}

/// Takes the flight off the board when it ends, however it ends.
struct Landing(Arc<Slot>);

impl Drop for Landing {
    fn drop(&mut self) {
        *lock(&self.0.flight) = None;
    }
}

impl Slot {
    /// A token newer than generation `seen`: one that another caller or process just got, or freshly asked for.
    pub(super) async fn refreshed(self: &Arc<Self>, epoch: u64, target: &Target, seen: u64) -> Outcome {
        loop {
            let mut flight = self.join_flight(epoch, target, seen);
            let settled = flight.outcome.wait_for(Option::is_some).await;
            let settled = settled.map(|value| value.clone());
            if flight.epoch != epoch || flight.target != *target {
                // It was for another API, with the same refresh token, or of the session before or after this one: ours
                // had to wait for it, and it says nothing about ours.
                continue;
            }
            return match settled {
                Ok(Some(outcome)) => outcome,
                // The task panicked: its sender is gone, and so is its flight.
                _ => Err(Error::internal(
                    Stage::Refresh,
                    "the refresh did not finish; this is a defect in Gatepass or in an adapter",
                )),
            };
        }
    }

    fn join_flight(self: &Arc<Self>, epoch: u64, target: &Target, seen: u64) -> Flight {
        let mut flight = lock(&self.flight);
        if let Some(flight) = &*flight {
            return flight.clone();
        }
        let (sender, outcome) = watch::channel(None);
        let begun = Flight {
            epoch,
            target: target.clone(),
            outcome,
        };
        *flight = Some(begun.clone());
        drop(flight);
        let slot = Arc::clone(self);
        let target = target.clone();
        self.context.spawn(async move {
            let landing = Landing(Arc::clone(&slot));
            let result = Refresh {
                slot: Arc::clone(&slot),
                epoch,
                target,
            }
            .run(seen)
            .await;
            let event = event_of(&result, lock(&slot.held).is_some());
            drop(landing);
            sender.send_replace(Some(result));
            if let Some(event) = event {
                slot.emit(event);
            }
        });
        begun
    }
}

/// `holding`: there are refreshed tokens that storage did not take.
fn event_of(result: &Outcome, holding: bool) -> Option<SessionEvent> {
    Some(match result {
        Ok(snapshot) => SessionEvent::Refreshed {
            generation: snapshot.generation,
        },
        Err(error) => match error.kind() {
            ErrorKind::SessionEnded(EndReason::SignedOut) => return None,
            ErrorKind::SessionEnded(reason) => SessionEvent::Ended { reason },
            _ if holding => SessionEvent::StorageWriteFailed { error: error.clone() },
            _ => SessionEvent::RefreshFailed { error: error.clone() },
        },
    })
}
