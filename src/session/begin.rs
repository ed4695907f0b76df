//! A session begins: its record takes the place of what was there.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::commit::WRITE_RETRY_MILLIS;
use super::context::{COMMIT_ATTEMPTS, contended};
use super::record::{Owner, SessionRecord, SignedIn, Standing};
use super::{Session, Slot};
use crate::error::{EndReason, Error, Result, Stage};
use crate::ports::{CommitOutcome, Generation};
use crate::protocol::token::RefreshToken;

impl Slot {
    /// Stores a session in place of what was there, under a new epoch: whatever is still under way for an older session
    /// meets it and is dropped. Where storage refuses, the write is tried a few times.
    pub(crate) async fn begin(self: &Arc<Self>, signed_in: SignedIn) -> Result<Begun> {
        self.try_begin(signed_in, false).await
    }

    /// As [`begin`](Slot::begin), for tokens that waited: if the user has signed in or out since they came, that counts.
    pub(crate) async fn begin_unless_overtaken(self: &Arc<Self>, signed_in: SignedIn) -> Result<Begun> {
        self.try_begin(signed_in, true).await
    }

    async fn try_begin(self: &Arc<Self>, signed_in: SignedIn, give_way: bool) -> Result<Begun> {
        let mut pauses = WRITE_RETRY_MILLIS.iter();
        loop {
            let failure = match self.replace(&signed_in, give_way).await {
                Ok(ControlFlow::Break(overtaken)) => return Ok(overtaken),
                Ok(ControlFlow::Continue(Replaced { record, grant })) => {
                    self.publish(&record);
                    // At a server with one grant for a user and an app, giving back an old token would end this.
                    self.context.keep_grants_of(&signed_in).await;
                    if let Some(token) = grant {
                        self.context.give_back_quietly(token, None);
                    }
                    let session = Session::of(self, &record);
                    return session
                        .map(Begun::Session)
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

    /// Whether the user signed in here or out after these tokens came, as far as the wall clock tells: one that shows an
    /// instant to come was set back since, and tells nothing.
    fn came_later(&self, old: &SessionRecord, signed_in: &SignedIn) -> bool {
        let changed = changed_at(old);
        changed > signed_in.since_unix_millis && changed <= self.context.ports.clock.unix_millis()
    }

    async fn replace(&self, signed_in: &SignedIn, give_way: bool) -> Result<ControlFlow<Begun, Replaced>> {
        for _ in 0..COMMIT_ATTEMPTS {
            let (least_epoch, least_generation) = self.after_newest();
            let mut grant = None;
            let mut finished = Vec::new();
            let (epoch, generation, expected) = match self.read_to_replace().await? {
                // And it is over since.
                Some((Ok(old), _)) if is_the_same(&old, signed_in) && old.signed_in().is_none() => {
                    return Ok(ControlFlow::Break(Begun::Overtaken { same_grant: false }));
                }
                Some((Ok(old), stored)) if is_the_same(&old, signed_in) => {
                    // It is there, and nobody knows whether it would outlive a crash: a write that failed, here or in another
                    // task that finishes the same sign-in, may have happened all the same.
                    let written = self
                        .context
                        .commit(&self.key, stored.generation, old.encode())
                        .await?;
                    if let CommitOutcome::Conflict(_) = written {
                        continue;
                    }
                    return Ok(ControlFlow::Continue(Replaced {
                        record: old,
                        grant: None,
                    }));
                }
                // It was a session once, and others came after it: whatever was to be done about its grant is done.
                Some((Ok(old), _))
                    if signed_in
                        .sign_in
                        .as_deref()
                        .is_some_and(|id| old.has_finished(id)) =>
                {
                    return Ok(ControlFlow::Break(Begun::Overtaken { same_grant: true }));
                }
                Some((Ok(old), _)) if give_way && self.came_later(&old, signed_in) => {
                    let same_grant = may_be_the_same_grant(&old, signed_in);
                    return Ok(ControlFlow::Break(Begun::Overtaken { same_grant }));
                }
                Some((Ok(old), stored)) => {
                    grant = grant_of_another(&old, signed_in);
                    finished = old.finished_by_now();
                    (
                        least_epoch.max(old.epoch.saturating_add(1)),
                        least_generation.max(old.generation.saturating_add(1)),
                        stored.generation,
                    )
                }
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
                finished,
                standing: Standing::SignedIn(Box::new(signed_in)),
            };
            let written = self.context.commit(&self.key, expected, record.encode()).await?;
            if let CommitOutcome::Committed(_) = written {
                return Ok(ControlFlow::Continue(Replaced { record, grant }));
            }
        }
        Err(contended())
    }
}

/// What came of tokens that were to become a session.
pub(crate) enum Begun {
    Session(Session),
    /// The user has signed in or out since they came. `same_grant`: they may be of the grant that the newer session lives
    /// on.
    Overtaken {
        same_grant: bool,
    },
}

/// What took the place of another session.
struct Replaced {
    record: SessionRecord,
    /// The grant of another user, who is signed out by this and whose session nobody holds any more.
    grant: Option<RefreshToken>,
}

/// When the user last signed in here or out, by the wall clock.
fn changed_at(record: &SessionRecord) -> i64 {
    match &record.standing {
        Standing::SignedIn(session) => session.since_unix_millis,
        Standing::Ended {
            reason: EndReason::SignedOut,
            at_unix_millis,
            ..
        } => *at_unix_millis,
        // Without the user's doing: a sign-in that waits is what the user wants.
        Standing::Ended { .. } => i64::MIN,
    }
}

/// The refresh token of a session of somebody else. That of the same user may be of the same grant as the new one.
fn grant_of_another(old: &SessionRecord, new: &SignedIn) -> Option<RefreshToken> {
    if may_be_the_same_grant(old, new) {
        return None;
    }
    old.signed_in()?.refresh_token.clone()
}

/// Somebody is signed in, and it may be the same user.
fn may_be_the_same_grant(old: &SessionRecord, new: &SignedIn) -> bool {
    let Some(session) = old.signed_in() else {
        return false;
    };
    match &new.claims {
        Some(user) if session.claims.is_some() => old.is_of(user),
        // Nobody can tell.
        _ => true,
    }
}

/// Whether a stored session came from the very sign-in that is about to be stored: it was finished before, and its tokens
/// may have been refreshed since.
fn is_the_same(old: &SessionRecord, new: &SignedIn) -> bool {
    old.sign_in().is_some() && old.sign_in() == new.sign_in.as_deref()
}
