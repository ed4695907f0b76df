//! How a refresh writes: conditionally, holding what storage does not take, and giving way to what is newer.

use super::begin::is_of_the_same_user;
use super::context::COMMIT_ATTEMPTS;
use super::ended;
use super::record::{SessionRecord, Standing};
use super::refresh::{Refresh, Seen, busy};
use crate::error::{EndReason, Error, Result};
use crate::ports::{CommitOutcome, Generation};
use crate::sync::lock;

/// When storage refuses refreshed tokens, the write is tried again after these pauses, then at every later need.
pub(super) const WRITE_RETRY_MILLIS: [u64; 3] = [50, 250, 1_000];

/// What became of tokens that are to be stored.
enum Settled {
    Written(Generation),
    /// Newer ones are stored, or the session is over.
    Overtaken(Error),
}

/// What a conflict comes to.
enum Resolved {
    Settled(Settled),
    /// Ours go over the record of this generation.
    WriteOver(Generation),
}

impl Refresh {
    /// Tokens that storage refused earlier are written before anything is asked for again.
    pub(super) async fn write_held(&self) -> Result<()> {
        let Some(record) = lock(&self.slot.held).clone() else {
            return Ok(());
        };
        let expected = match self.slot.read_to_replace().await? {
            Some((Ok(stored), _))
                if stored.epoch != record.epoch || stored.generation >= record.generation =>
            {
                *lock(&self.slot.held) = None;
                return Ok(());
            }
            Some((_, stored)) => stored.generation,
            None => Generation::ABSENT,
        };
        match self
            .context()
            .commit(&self.slot.key, expected, record.encode())
            .await?
        {
            CommitOutcome::Committed(_) => {
                *lock(&self.slot.held) = None;
                self.slot.publish(&record);
                Ok(())
            }
            CommitOutcome::Conflict(_) => Err(busy()),
        }
    }

    /// Makes new tokens durable. Until they are, or newer ones are, they are held in memory and the old token is never
    /// sent again.
    pub(super) async fn commit_tokens(
        &self,
        record: &mut SessionRecord,
        expected: Generation,
        rotated: bool,
    ) -> Result<Generation> {
        *lock(&self.slot.held) = Some(record.clone());
        let settled = self.write_tokens(record, expected, rotated).await?;
        *lock(&self.slot.held) = None;
        match settled {
            Settled::Written(generation) => Ok(generation),
            Settled::Overtaken(error) => Err(error),
        }
    }

    /// Tries a few times. An error means that the tokens are not known to be durable.
    async fn write_tokens(
        &self,
        record: &mut SessionRecord,
        mut expected: Generation,
        rotated: bool,
    ) -> Result<Settled> {
        let mut pauses = WRITE_RETRY_MILLIS.iter();
        for _ in 0..COMMIT_ATTEMPTS {
            let written = self
                .context()
                .commit(&self.slot.key, expected, record.encode())
                .await;
            let failure = match written {
                Ok(CommitOutcome::Committed(generation)) => return Ok(Settled::Written(generation)),
                Ok(CommitOutcome::Conflict(_)) => match self.resolve(record, rotated).await {
                    Ok(Resolved::Settled(settled)) => return Ok(settled),
                    Ok(Resolved::WriteOver(generation)) => {
                        expected = generation;
                        continue;
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            };
            let Some(pause) = pauses.next() else {
                return Err(failure);
            };
            let clock = &self.context().ports.clock;
            clock
                .sleep_until(clock.boot_millis().saturating_add(*pause))
                .await;
        }
        Err(busy())
    }

    /// Somebody else wrote. A newer epoch wins over our tokens, which are given back. Of two attempts that sent the same
    /// token the pair of the later one wins: there are servers to which only the newest pair is good, and to the others both
    /// are of one chain. The pair that loses is not given back: on many servers revoking one token ends the grant. A record
    /// that nobody can read is written over.
    async fn resolve(&self, record: &mut SessionRecord, rotated: bool) -> Result<Resolved> {
        let (stored, raw) = match self.slot.read_to_replace().await? {
            None => return Ok(Resolved::WriteOver(Generation::ABSENT)),
            Some((Err(_), raw)) => return Ok(Resolved::WriteOver(raw.generation)),
            Some((Ok(stored), raw)) => (stored, raw),
        };
        // A write that failed may have happened all the same.
        if *raw.bytes == *record.encode() {
            return Ok(Resolved::Settled(Settled::Written(raw.generation)));
        }
        if stored.epoch != record.epoch {
            self.slot.publish(&stored);
            if let (true, Some(ours)) = (rotated, record.signed_in())
                && !is_of_the_same_user(&stored, ours)
                && let Some(token) = &ours.refresh_token
            {
                self.context()
                    .give_back_quietly(token.clone(), ours.claims.as_ref());
            }
            return Ok(Resolved::Settled(Settled::Overtaken(ended(EndReason::SignedOut))));
        }
        let (Standing::SignedIn(ours), Some(theirs)) = (&mut record.standing, stored.signed_in()) else {
            self.slot.publish(&stored);
            return Ok(Resolved::Settled(Settled::Overtaken(busy())));
        };
        if stored.generation >= record.generation && theirs.attempt >= ours.attempt {
            self.slot.publish(&stored);
            return Ok(Resolved::Settled(Settled::Overtaken(busy())));
        }
        if let Some(journal) = &theirs.journal
            && journal.number > ours.attempt
        {
            // A later attempt is still under way.
            ours.journal = Some(journal.clone());
        }
        if stored.generation >= record.generation {
            record.raise(stored.generation.saturating_add(1));
        }
        *lock(&self.slot.held) = Some(record.clone());
        Ok(Resolved::WriteOver(raw.generation))
    }

    /// Ends the session in storage, keeping the hint and no token, then for everybody. `false` if the record is not
    /// the one seen any more: then nothing is ended.
    pub(super) async fn end(&self, seen: &Seen, reason: EndReason) -> Result<bool> {
        let record = seen
            .record
            .ended(reason, self.context().ports.clock.unix_millis());
        let outcome = self
            .context()
            .commit(&self.slot.key, seen.stored, record.encode())
            .await?;
        let ended = matches!(outcome, CommitOutcome::Committed(_));
        if ended {
            self.slot.publish(&record);
        }
        Ok(ended)
    }
}
