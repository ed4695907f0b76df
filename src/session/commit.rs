//! How a refresh writes: conditionally, holding what storage does not take, and giving way to what is newer.

use std::sync::Arc;

use super::context::COMMIT_ATTEMPTS;
use super::held::Unwritten;
use super::record::{SessionRecord, SignedIn, Standing};
use super::refresh::{Refresh, Seen, busy};
use super::{Slot, ended};
use crate::error::{EndReason, Error, Result};
use crate::ports::{CommitOutcome, Generation};

/// When storage refuses refreshed tokens, the write is tried again after these pauses, then at every later need
/// and in the background.
pub(super) const WRITE_RETRY_MILLIS: [u64; 3] = [50, 250, 1_000];

/// What became of tokens that are to be stored.
pub(super) enum Settled {
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

impl Slot {
    /// Makes new tokens durable. Until they are, or newer ones are, they are held in memory and the old token is never
    /// sent again: this is tried a few times here, then in the background.
    ///
    /// # Errors
    /// They are not known to be durable; or newer ones are.
    pub(super) async fn commit_tokens(
        self: &Arc<Self>,
        record: &mut SessionRecord,
        expected: Generation,
        rotated: bool,
    ) -> Result<Generation> {
        let mut unwritten = Unwritten {
            record: record.clone(),
            expected,
            rotated,
        };
        self.hold(unwritten.clone());
        let settled = self.write_patiently(&mut unwritten).await;
        record.clone_from(&unwritten.record);
        match settled {
            Ok(Settled::Written(generation)) => {
                self.let_go();
                Ok(generation)
            }
            Ok(Settled::Overtaken(error)) => {
                self.let_go();
                Err(error)
            }
            Err(failure) => {
                self.write_later();
                Err(failure)
            }
        }
    }

    /// Tries a few times. An error means that the tokens are not known to be durable.
    async fn write_patiently(&self, unwritten: &mut Unwritten) -> Result<Settled> {
        let mut pauses = WRITE_RETRY_MILLIS.iter();
        loop {
            let failure = match self.write_once(unwritten).await {
                Ok(settled) => return Ok(settled),
                Err(failure) => failure,
            };
            self.still_hold(unwritten);
            let Some(pause) = pauses.next() else {
                return Err(failure);
            };
            let clock = &self.context.ports.clock;
            clock
                .sleep_until(clock.boot_millis().saturating_add(*pause))
                .await;
        }
    }

    /// Writes what is not written yet, unless what others wrote since is newer. An error means that it is not known to
    /// be durable.
    pub(super) async fn write_once(&self, unwritten: &mut Unwritten) -> Result<Settled> {
        for _ in 0..COMMIT_ATTEMPTS {
            let written = self
                .context
                .commit(&self.key, unwritten.expected, unwritten.record.encode())
                .await?;
            if let CommitOutcome::Committed(generation) = written {
                return Ok(Settled::Written(generation));
            }
            match self.resolve(unwritten).await? {
                Resolved::Settled(settled) => return Ok(settled),
                Resolved::WriteOver(generation) => unwritten.expected = generation,
            }
        }
        Err(busy())
    }

    /// As [`write_once`](Slot::write_once), some time later: looks first at what others wrote since, which storage that takes
    /// nothing would not tell.
    pub(super) async fn write_over(&self, unwritten: &mut Unwritten) -> Result<Settled> {
        match self.resolve(unwritten).await? {
            Resolved::Settled(settled) => Ok(settled),
            Resolved::WriteOver(generation) => {
                unwritten.expected = generation;
                self.write_once(unwritten).await
            }
        }
    }

    /// Somebody else may have written. A newer epoch wins over our tokens, which are given back. Of two attempts that sent the same
    /// token the pair of the later one wins: there are servers to which only the newest pair is good, and to the others both
    /// are of one chain. The pair that loses is not given back: on many servers revoking one token ends the grant. A record
    /// that nobody can read is written over.
    async fn resolve(&self, unwritten: &mut Unwritten) -> Result<Resolved> {
        let record = &mut unwritten.record;
        let read = self.read_to_replace().await?;
        if self.is_later_than(record.epoch) && !matches!(read, Some((Ok(_), _))) {
            // What storage has lost does not tell that the user signed out here.
            self.give_back_unless_kept(unwritten, None);
            return Ok(Resolved::Settled(Settled::Overtaken(ended(EndReason::SignedOut))));
        }
        let (stored, raw) = match read {
            None => return Ok(Resolved::WriteOver(Generation::ABSENT)),
            Some((Err(_), raw)) => return Ok(Resolved::WriteOver(raw.generation)),
            Some((Ok(stored), raw)) => (stored, raw),
        };
        // A write that failed may have happened all the same; whether it would outlive a crash is not known.
        if *raw.bytes == *record.encode() {
            return Ok(Resolved::WriteOver(raw.generation));
        }
        // Epochs begin anew where a record was lost: another sign-in is another session, whatever its number.
        if stored.epoch != record.epoch || is_of_another_sign_in(&stored, record) {
            self.publish(&stored);
            self.give_back_unless_kept(unwritten, Some(&stored));
            return Ok(Resolved::Settled(Settled::Overtaken(ended(EndReason::SignedOut))));
        }
        let Standing::SignedIn(ours) = &mut record.standing else {
            return Ok(Resolved::Settled(Settled::Overtaken(busy())));
        };
        match &stored.standing {
            Standing::SignedIn(theirs) if is_overtaken(ours, theirs) => {
                self.publish(&stored);
                return Ok(Resolved::Settled(Settled::Overtaken(busy())));
            }
            Standing::SignedIn(theirs) => {
                if let Some(journal) = &theirs.journal
                    && journal.number > ours.attempt
                {
                    // A later attempt is still under way.
                    ours.journal = Some(journal.clone());
                }
            }
            // The server has refused the old token to somebody who knew of no newer one. Here it is.
            Standing::Ended {
                reason: EndReason::RotationLost | EndReason::ExpiredOrRevoked,
                ..
            } => {}
            Standing::Ended { reason, .. } => {
                self.publish(&stored);
                // On another device the same grant lives on.
                if *reason != EndReason::DeviceChanged {
                    self.give_back_unless_kept(unwritten, None);
                }
                return Ok(Resolved::Settled(Settled::Overtaken(ended(*reason))));
            }
        }
        if stored.generation >= record.generation {
            record.raise(stored.generation.saturating_add(1));
        }
        self.still_hold(unwritten);
        Ok(Resolved::WriteOver(raw.generation))
    }

    /// The session of these tokens is over: the server is told, unless the same user is signed in again, whose grant it
    /// may be.
    fn give_back_unless_kept(&self, unwritten: &Unwritten, stored: Option<&SessionRecord>) {
        let Some(ours) = unwritten.record.signed_in().filter(|_| unwritten.rotated) else {
            return;
        };
        if let (Some(stored), Some(user)) = (stored, &ours.claims)
            && stored.is_of(user)
        {
            return;
        }
        if let Some(token) = &ours.refresh_token {
            self.context
                .give_back_quietly(token.clone(), ours.claims.as_ref());
        }
    }
}

/// Two records that both say which sign-in they came from, and it is not the same one.
fn is_of_another_sign_in(stored: &SessionRecord, ours: &SessionRecord) -> bool {
    match (stored.sign_in(), ours.sign_in()) {
        (Some(theirs), Some(ours)) => theirs != ours,
        _ => false,
    }
}

/// Whether the tokens that are stored are of the same attempt as ours, or of a later one.
fn is_overtaken(ours: &SignedIn, theirs: &SignedIn) -> bool {
    theirs.attempt >= ours.attempt
}

impl Refresh {
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
