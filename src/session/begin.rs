//! A session begins: its record takes the place of what was there.

use std::sync::Arc;

use subtle::ConstantTimeEq as _;

use super::commit::WRITE_RETRY_MILLIS;
use super::context::{COMMIT_ATTEMPTS, contended};
use super::record::{Owner, SessionRecord, SignedIn, Standing};
use super::{Session, Slot};
use crate::error::{Error, Result, Stage};
use crate::ports::{CommitOutcome, Generation};

impl Slot {
    /// Stores a session in place of what was there, under a new epoch: whatever is still under way for an older session
    /// meets it and is dropped. Where storage refuses, the write is tried a few times.
    pub(crate) async fn begin(self: &Arc<Self>, signed_in: SignedIn) -> Result<Session> {
        let mut pauses = WRITE_RETRY_MILLIS.iter();
        loop {
            let failure = match self.replace(&signed_in).await {
                Ok(record) => {
                    self.publish(&record);
                    return Session::of(self, &record)
                        .ok_or_else(|| Error::internal(Stage::Session, "a new session was over at once"));
                }
                Err(failure) => failure,
            };
            let Some(pause) = pauses.next() else {
                return Err(failure);
            };
            let clock = &self.context.ports.clock;
            clock
                .sleep_until(clock.boot_millis().saturating_add(*pause))
                .await;
        }
    }

    async fn replace(&self, signed_in: &SignedIn) -> Result<SessionRecord> {
        for _ in 0..COMMIT_ATTEMPTS {
            let (least_epoch, least_generation) = self.after_newest();
            let (epoch, generation, expected) = match self.read_to_replace().await? {
                Some((Ok(old), _)) if is_the_same(&old, signed_in) => return Ok(old),
                Some((Ok(old), stored)) => (
                    least_epoch.max(old.epoch.saturating_add(1)),
                    least_generation.max(old.generation.saturating_add(1)),
                    stored.generation,
                ),
                // What nobody can read any more must not keep the user from signing in again.
                Some((Err(_), stored)) => (least_epoch, least_generation, stored.generation),
                None => (least_epoch, least_generation, Generation::ABSENT),
            };
            let mut signed_in = signed_in.clone();
            if let Some(access) = &mut signed_in.access_token {
                access.generation = generation;
            }
            let record = SessionRecord {
                epoch,
                generation,
                owner: Some(Owner {
                    issuer: self.context.issuer.as_str().to_owned(),
                    client_id: self.context.client_id.clone(),
                }),
                standing: Standing::SignedIn(Box::new(signed_in)),
            };
            let written = self.context.commit(&self.key, expected, record.encode()).await?;
            if let CommitOutcome::Committed(_) = written {
                return Ok(record);
            }
        }
        Err(contended())
    }
}

/// Whether a stored session is the very one that is about to be stored: another process has finished the same sign-in.
fn is_the_same(old: &SessionRecord, new: &SignedIn) -> bool {
    let token = |session: &SignedIn| session.access_token.as_ref().map(|access| access.token.clone());
    match (old.signed_in().and_then(token), token(new)) {
        (Some(old), Some(new)) => bool::from(old.expose().as_bytes().ct_eq(new.expose().as_bytes())),
        _ => false,
    }
}
