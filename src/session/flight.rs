//! One refresh for any number of callers: the first begins it, the others wait for the same outcome (single flight).

use std::sync::Arc;

use tokio::sync::watch;

use super::pace::Want;
use super::refresh::Refresh;
use super::snapshot::Snapshot;
use super::{SessionState, Slot};
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
    progress: watch::Receiver<Progress>,
}

/// How far a refresh is.
#[derive(Clone, Debug)]
pub(super) enum Progress {
    UnderWay,
    /// A request was answered by nothing that tells its outcome; the same token is sent again. Whoever has a token to go on
    /// with need not wait for it.
    Unsure(Error),
    Done(Outcome),
}

impl Progress {
    fn settles(&self, want: Want) -> bool {
        match self {
            Self::UnderWay => false,
            Self::Unsure(_) => want == Want::Soon,
            Self::Done(_) => true,
        }
    }
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
    pub(super) async fn refreshed(
        self: &Arc<Self>,
        epoch: u64,
        target: &Target,
        seen: u64,
        want: Want,
    ) -> Outcome {
        loop {
            let mut flight = self.join_flight(epoch, target, seen, want);
            let settled = flight.progress.wait_for(|progress| progress.settles(want)).await;
            let settled = settled.map(|value| value.clone());
            if flight.epoch != epoch || flight.target != *target {
                if let Ok(Progress::Unsure(error)) = settled {
                    return Err(error);
                }
                // It was for another API, with the same refresh token, or of the session before or after this one: ours
                // had to wait for it, and it says nothing about ours.
                continue;
            }
            return match settled {
                Ok(Progress::Done(outcome)) => outcome,
                Ok(Progress::Unsure(error)) => Err(error),
                // The task panicked: its sender is gone, and so is its flight.
                Ok(Progress::UnderWay) | Err(_) => Err(Error::internal(
                    Stage::Refresh,
                    "the refresh did not finish; this is a defect in Gatepass or in an adapter",
                )),
            };
        }
    }

    fn join_flight(self: &Arc<Self>, epoch: u64, target: &Target, seen: u64, want: Want) -> Flight {
        let mut flight = lock(&self.flight);
        if let Some(flight) = &*flight {
            return flight.clone();
        }
        let (sender, progress) = watch::channel(Progress::UnderWay);
        let begun = Flight {
            epoch,
            target: target.clone(),
            progress,
        };
        *flight = Some(begun.clone());
        drop(flight);
        let slot = Arc::clone(self);
        let target = target.clone();
        self.context.spawn(async move {
            let landing = Landing(Arc::clone(&slot));
            let before = *slot.state.borrow();
            let result = Refresh {
                slot: Arc::clone(&slot),
                epoch,
                target,
                want,
                progress: sender.clone(),
            }
            .run(seen)
            .await;
            let event = event_of(&result, before, slot.is_holding());
            drop(landing);
            sender.send_replace(Progress::Done(result));
            if let Some(event) = event {
                slot.emit(event);
            }
        });
        begun
    }
}

/// `before`: what was known before, which is told once. `holding`: there are refreshed tokens that storage did not take.
fn event_of(result: &Outcome, before: SessionState, holding: bool) -> Option<SessionEvent> {
    Some(match result {
        Ok(snapshot) => SessionEvent::Refreshed {
            generation: snapshot.generation,
        },
        Err(error) => match error.kind() {
            ErrorKind::SessionEnded(EndReason::SignedOut) => return None,
            ErrorKind::SessionEnded(reason) if before == SessionState::Ended(reason) => return None,
            ErrorKind::SessionEnded(reason) => SessionEvent::Ended { reason },
            _ if holding => SessionEvent::StorageWriteFailed { error: error.clone() },
            _ => SessionEvent::RefreshFailed { error: error.clone() },
        },
    })
}
