//! Refreshing (RFC 6749 §6) without ever losing the session.
//!
//! Many servers rotate the refresh token and treat a second use of the old one as theft (RFC 9700 §4.14.2), so:
//! at most one request per session is under way; it is journalled durably before its first byte; a new refresh
//! token is durable before anything else is looked at; and nothing short of the server's own `invalid_grant`,
//! confirmed by a second read of the store, ends the session.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{Instrument as _, debug, debug_span, warn};

use super::context::{COMMIT_ATTEMPTS, Context};
use super::flight::{Outcome, Progress};
use super::gate::Refused;
use super::lease::{Lease, refresh_busy};
use super::moment::Moment;
use super::pace::Want;
use super::record::{Journal, SessionRecord, SignedIn, Standing};
use super::rotation::{Answer, Attempt, LEASE_MILLIS, Next};
use super::snapshot::Snapshot;
use super::{Slot, ended};
use crate::error::{Delivery, EndReason, Error, ErrorKind, NextStep, Result, Stage};
use crate::ports::{CommitOutcome, Generation};
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::target::Target;
use crate::protocol::token::{self, IdToken, RefreshToken, TokenAnswer};
use crate::sync::lock;

/// How long the refusal of a token is doubted where another process may be at it without a lock between them.
const SECOND_OPINION_MILLIS: u64 = 1_000;
/// So much longer, in bytes, a record may become by a refresh; or as long again as it is.
const ROOM: usize = 8 * 1024;
/// What was written or read longer ago than this says nothing about now: it is done again before a token is sent. With this,
/// the time for resends and the last patience an attempt ends within its lease.
const YOUNG_MILLIS: u64 = 4_000;
/// And what is as old as this after all is not sent.
const OLD_MILLIS: u64 = 15_000;
/// A disk that is always so slow is no reason never to refresh.
const PREPARATIONS: u32 = 3;

/// One refresh from the lock to the snapshot.
pub(super) struct Refresh {
    pub(super) slot: Arc<Slot>,
    pub(super) epoch: u64,
    /// What the token is wanted for.
    pub(super) target: Target,
    pub(super) want: Want,
    /// Those who wait for it.
    pub(super) progress: watch::Sender<Progress>,
}

/// The stored record as this refresh sees it.
pub(super) struct Seen {
    pub(super) record: SessionRecord,
    pub(super) stored: Generation,
}

impl Refresh {
    pub(super) async fn run(self, seen: u64) -> Outcome {
        let id = self.context().new_diagnostic_id()?;
        let span = debug_span!("gatepass", diagnostic_id = %id);
        async {
            debug!("refresh begins");
            let outcome = self
                .attempt(seen, &id)
                .await
                .map_err(|error| error.with_diagnostic_id(&id));
            match &outcome {
                Ok(snapshot) => debug!(generation = snapshot.generation, "refresh done"),
                Err(error) => warn!(code = error.code(), kind = error.kind().name(), "refresh failed"),
            }
            outcome
        }
        .instrument(span)
        .await
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.slot.context
    }

    async fn attempt(&self, seen: u64, attempt_id: &str) -> Outcome {
        if self.slot.is_later_than(self.epoch) {
            // Known to be over: no server need be asked about it.
            self.reread().await?;
        }
        // Whatever can fail without touching the refresh token goes first (RR-04). Only a request needs the server,
        // so without a network what another process refreshed can still be adopted.
        let server = self.context().server().await;
        let _turn = self.slot.gate.turn().await;
        let mut lease = match self.slot.kept_lease() {
            Some(kept) => kept,
            None => self.lease().await?,
        };
        let outcome = self.attempt_under(&mut lease, server, seen, attempt_id).await;
        // Where storage took nothing, another process must not send the token that these came for.
        self.slot.keep_lease(lease);
        outcome
    }

    async fn attempt_under(
        &self,
        lease: &mut Lease,
        server: Result<Arc<AuthorizationServer>>,
        seen: u64,
        attempt_id: &str,
    ) -> Outcome {
        // Tokens that storage refused earlier are written before anything is asked for again.
        if self.slot.write_held().await?.is_some() {
            lease.renew(self.context().ports.clock.boot_millis());
        }
        let current = self.reread().await?;
        if let Some(snapshot) = self.adopt(&current.record, seen) {
            return Ok(snapshot);
        }
        self.give_way(&current.record, lease.is_held())?;
        if let Some(reason) = self.refused_before(&current.record) {
            return match self.end(&current, reason).await? {
                true => Err(ended(reason).with_clause("RFC 6749 §5.2")),
                false => Err(busy()),
            };
        }
        let known = current.record.clone();
        let refreshed = self
            .refresh(server, current, seen, attempt_id, lease.is_held())
            .await;
        // A server that says back what it knows does not get it into our error.
        refreshed.map_err(|error| match known.signed_in() {
            Some(session) => error.without(&session.secrets()),
            None => error,
        })
    }

    /// Where one of the two has no lock, nothing but the journal tells that another process is at it.
    fn give_way(&self, record: &SessionRecord, locked: bool) -> Result<()> {
        let journal = record.signed_in().and_then(|session| session.journal.as_ref());
        let own = lock(&self.slot.last_attempt).clone();
        let others = journal.filter(|journal| own.as_ref() != Some(&journal.attempt_id));
        match others {
            // The lock is ours: who had it before has come to an end, one way or the other.
            Some(journal) if locked && !journal.without_lock => Ok(()),
            Some(journal) if journal.age(&*self.context().ports.clock) < LEASE_MILLIS => Err(refresh_busy()),
            _ => Ok(()),
        }
    }

    /// Sends the request, unless what was read before shows that none is needed.
    async fn refresh(
        &self,
        server: Result<Arc<AuthorizationServer>>,
        mut current: Seen,
        seen: u64,
        attempt_id: &str,
        locked: bool,
    ) -> Outcome {
        let server = server?;
        if let Some(id_token) = unverified(&current.record) {
            // The tokens of an earlier refresh wait for the server's keys only.
            self.verify_waiting(&server, &id_token, &mut current).await?;
            if let Some(snapshot) = self.adopt(&current.record, seen) {
                return Ok(snapshot);
            }
        }
        let (session, refresh_token) = self.refreshable(&current.record)?;
        if let Some(scope) = self.target.wanted_scope() {
            scope
                .require_within(&session.scope)
                .map_err(|error| error.at_stage(Stage::Refresh))?;
        }
        let clock = &self.context().ports.clock;
        self.slot.pace.admit(clock.boot_millis(), self.want)?;
        let journal = Journal {
            attempt_id: attempt_id.to_owned(),
            uncertain: session.journal.is_some(),
            number: session.last_attempt().saturating_add(1),
            begun: Some(Moment::now(&**clock)),
            without_lock: !locked,
        };
        let policy = self.context().on_unknown_outcome;
        let usable_until = Snapshot::of(&current.record, &self.target, &**clock);
        let usable_until = usable_until.map_or(0, |snapshot| snapshot.usable_until());
        let mut attempt = Attempt::new(policy, journal.uncertain, usable_until);
        let left = attempt.has_to_wait(clock.boot_millis());
        if left > 0 {
            let message = "the outcome of the last refresh is not known, and its token is not sent again while the access token lives";
            return Err(Error::new(
                ErrorKind::RateLimited,
                Stage::Refresh,
                "refresh_uncertain",
                message,
            )
            .with_retry_after(Duration::from_millis(left)));
        }
        *lock(&self.slot.last_attempt) = Some(attempt_id.to_owned());
        self.prepare(&mut current, journal).await?;
        if self.slot.is_later_than(self.epoch) {
            // Somebody signed in anew, or out, in this process: a token of before is not sent any more.
            self.reread().await?;
            return Err(busy());
        }
        attempt.journalled();
        self.slot.pace.begun(clock.boot_millis(), self.want);

        let outcome = self
            .send(&server, current, &refresh_token, attempt_id, attempt, locked)
            .await;
        match &outcome {
            Ok(_) => self.slot.pace.succeeded(),
            Err(error) => self.slot.pace.failed(clock.boot_millis(), error),
        }
        outcome
    }

    /// Sends the token, as often as that may help, and does what the answer asks for.
    async fn send(
        &self,
        server: &AuthorizationServer,
        mut current: Seen,
        refresh_token: &RefreshToken,
        attempt_id: &str,
        mut attempt: Attempt,
        locked: bool,
    ) -> Outcome {
        let clock = &self.context().ports.clock;
        // A server that answers the same token again with the same tokens counts their life from the first time.
        let sent_at = Moment::now(&**clock);
        loop {
            let patience = attempt.sends(clock.boot_millis());
            let body = token::refresh_request(
                &self.context().client_id,
                refresh_token,
                self.target.wanted_scope(),
                self.target.resources(),
            );
            let response = self
                .context()
                .post_grant(Stage::Refresh, server.token_endpoint(), body, patience)
                .await;
            let answer = match response {
                Ok(response) => TokenAnswer::read(
                    response.status,
                    &response.headers,
                    &response.body,
                    Stage::Refresh,
                    &[refresh_token.expose()],
                ),
                Err(error) if error.kind() == ErrorKind::Network(Delivery::UnknownOutcome) => {
                    TokenAnswer::Unknown(error)
                }
                Err(error) => TokenAnswer::Rejected(error),
            };
            let next = attempt.answered(kind_of(&answer), clock.boot_millis(), self.jitter());
            let error = match answer {
                TokenAnswer::Granted(tokens) => return self.granted(server, current, tokens, sent_at).await,
                TokenAnswer::Unusable { error, refresh_token } => {
                    self.keep_refresh_token(current, refresh_token).await?;
                    return Err(error);
                }
                TokenAnswer::GrantRefused(error)
                | TokenAnswer::Rejected(error)
                | TokenAnswer::Unknown(error) => error,
            };
            match next {
                Next::SendAgain { not_before } => {
                    debug!(
                        code = error.code(),
                        "the outcome is not known: the same token is sent again"
                    );
                    // Whoever has a token to go on with waits no longer.
                    self.progress.send_replace(Progress::Unsure(error.clone()));
                    clock.sleep_until(not_before).await;
                    loop {
                        let looked_at = clock.boot_millis();
                        if attempt.is_late(looked_at) {
                            return Err(error);
                        }
                        current = match self.look_again(&current.record, attempt_id).await? {
                            ControlFlow::Continue(current) => current,
                            ControlFlow::Break(outcome) => return outcome,
                        };
                        if clock.boot_millis().saturating_sub(looked_at) < YOUNG_MILLIS {
                            break;
                        }
                    }
                }
                Next::Recheck(reason) => {
                    return self.refused(&current.record, attempt_id, reason, locked).await;
                }
                Next::Stop { open } => {
                    if !open {
                        self.close_journal(&mut current).await?;
                    }
                    return Err(error);
                }
                Next::Commit => return Err(error),
            }
        }
    }

    /// Reads the store again, in the middle of an attempt: it is still this one's, or another process was faster.
    async fn look_again(&self, sent: &SessionRecord, attempt_id: &str) -> Result<ControlFlow<Outcome, Seen>> {
        let current = self.reread().await?;
        if current.record.generation > sent.generation {
            return Ok(ControlFlow::Break(
                self.adopt(&current.record, 0).ok_or_else(busy),
            ));
        }
        let journal = current.record.signed_in().and_then(|s| s.journal.as_ref());
        if journal.is_none_or(|journal| journal.attempt_id != attempt_id) {
            // Another process has sent the same token since; its answer is still to come.
            return Ok(ControlFlow::Break(Err(busy())));
        }
        Ok(ControlFlow::Continue(current))
    }

    /// The token was not spent, and is not in doubt.
    async fn close_journal(&self, current: &mut Seen) -> Result<()> {
        match self.write_journal(current, None).await {
            Err(over) if matches!(over.kind(), ErrorKind::SessionEnded(_)) => Err(over),
            // Left open it costs no more than a wrong guess at the reason of an end.
            Err(failure) => {
                debug!(code = failure.code(), "the journal could not be closed");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Of a thousand.
    fn jitter(&self) -> u16 {
        let mut octets = [0; 2];
        // Without randomness there is no jitter, and nothing worse.
        drop(self.context().ports.random.fill(&mut octets));
        u16::from_le_bytes(octets) % 1_000
    }

    /// The record as storage has it now; an error if this session is over.
    pub(super) async fn reread(&self) -> Result<Seen> {
        let (record, stored) = match self.slot.read_confirmed().await {
            Ok(Some(read)) => read,
            Err(error) if error.kind() != ErrorKind::StorageLost => return Err(error),
            _ => {
                self.slot.publish_lost();
                return Err(ended(EndReason::StorageLost));
            }
        };
        if let Standing::Ended { reason, .. } = record.standing {
            self.slot.publish(&record);
            return Err(ended(reason));
        }
        if record.epoch != self.epoch {
            // Somebody signed in anew; this handle is of the session before.
            self.slot.publish(&record);
            return Err(ended(EndReason::SignedOut));
        }
        Ok(Seen {
            record,
            stored: stored.generation,
        })
    }

    /// Publishes a stored record whose token is newer than the caller's, if it can be used.
    fn adopt(&self, record: &SessionRecord, seen: u64) -> Option<Arc<Snapshot>> {
        let clock = &*self.context().ports.clock;
        let snapshot = Snapshot::of(record, &self.target, clock)
            .filter(|token| token.generation > seen && token.is_fresh(clock.boot_millis()))?;
        self.slot.publish(record);
        Some(Arc::new(snapshot))
    }

    fn refreshable<'a>(&self, record: &'a SessionRecord) -> Result<(&'a SignedIn, RefreshToken)> {
        let session = record.signed_in().ok_or_else(|| ended(EndReason::SignedOut))?;
        match &session.refresh_token {
            Some(token) => Ok((session, token.clone())),
            None => {
                let clock = &*self.context().ports.clock;
                let usable = Snapshot::of(record, &self.target, clock)
                    .is_some_and(|s| s.is_usable(clock.boot_millis()));
                let (kind, message) = if usable {
                    (
                        ErrorKind::Configuration,
                        "the server gave no refresh token; ask for the scope offline_access, and allow it at the server",
                    )
                } else {
                    (
                        ErrorKind::SessionEnded(EndReason::ExpiredOrRevoked),
                        "the access token has expired and the server gave no refresh token; ask the user to sign in again",
                    )
                };
                Err(Error::new(kind, Stage::Refresh, "no_refresh_token", message).with_clause("RFC 6749 §6"))
            }
        }
    }

    /// Everything that must be on disk before the token is sent. What others see of the attempt is young then: a process that
    /// is stopped between two lines, or waits for a slow disk, may wake up when others have gone on without it, and this token
    /// was replaced long ago.
    async fn prepare(&self, current: &mut Seen, mut journal: Journal) -> Result<()> {
        let clock = &self.context().ports.clock;
        for _ in 0..PREPARATIONS {
            self.write_journal(current, Some(journal.clone())).await?;
            self.keep_room(current).await?;
            if journal.age(&**clock) < YOUNG_MILLIS {
                break;
            }
            journal.begun = Some(Moment::now(&**clock));
        }
        let journal = current.record.signed_in().and_then(|s| s.journal.as_ref());
        // Too old to be sent before others take it for dead: the next caller tries anew.
        match journal.is_some_and(|journal| journal.age(&**clock) > OLD_MILLIS) {
            true => Err(busy()),
            false => Ok(()),
        }
    }

    /// The tokens that will come must find room, or they are not asked for.
    async fn keep_room(&self, current: &mut Seen) -> Result<()> {
        let bytes = current.record.encode().len();
        let room = bytes.saturating_mul(2).max(bytes.saturating_add(ROOM));
        let Err(failure) = self.context().reserve(&self.slot.key, room).await else {
            return Ok(());
        };
        let journal = current.record.signed_in().and_then(|s| s.journal.as_ref());
        // What an attempt of before left in doubt still is.
        if journal.is_some_and(|journal| !journal.uncertain) {
            self.close_journal(current).await?;
        }
        Err(failure)
    }

    /// Durable before the request: without a journal there is no request.
    async fn write_journal(&self, current: &mut Seen, journal: Option<Journal>) -> Result<()> {
        let Standing::SignedIn(session) = &mut current.record.standing else {
            return Err(busy());
        };
        session.journal = journal;
        let bytes = current.record.encode();
        match self
            .context()
            .commit(&self.slot.key, current.stored, bytes)
            .await?
        {
            CommitOutcome::Committed(generation) => {
                current.stored = generation;
                Ok(())
            }
            // Signed out meanwhile, or another process without the lock: the caller reads again.
            CommitOutcome::Conflict(_) => {
                self.reread().await?;
                Err(busy())
            }
        }
    }

    /// `invalid_grant`: only a second read of the store can tell whether another process was faster.
    async fn refused(
        &self,
        sent: &SessionRecord,
        attempt_id: &str,
        reason: EndReason,
        locked: bool,
    ) -> Outcome {
        let outcome = self.recheck(sent, attempt_id, reason, locked).await;
        if let Err(error) = &outcome
            && matches!(
                error.kind(),
                ErrorKind::StorageLocked | ErrorKind::StorageWriteFailed
            )
        {
            // The token is not sent again later to be told the same.
            *lock(&self.slot.gate.refused) = Some(Refused {
                epoch: sent.epoch,
                generation: sent.generation,
                reason,
            });
        }
        outcome
    }

    async fn recheck(
        &self,
        sent: &SessionRecord,
        attempt_id: &str,
        reason: EndReason,
        locked: bool,
    ) -> Outcome {
        if !locked {
            // Whoever was faster may not have written yet, and nothing made us wait for it.
            let clock = &self.context().ports.clock;
            clock
                .sleep_until(clock.boot_millis().saturating_add(SECOND_OPINION_MILLIS))
                .await;
        }
        for _ in 0..COMMIT_ATTEMPTS {
            let current = match self.look_again(sent, attempt_id).await? {
                ControlFlow::Continue(current) => current,
                ControlFlow::Break(outcome) => return outcome,
            };
            if self.end(&current, reason).await? {
                return Err(ended(reason).with_clause("RFC 6749 §5.2"));
            }
        }
        Err(busy())
    }

    /// What the server said of this very token before, if storage did not take it then.
    fn refused_before(&self, record: &SessionRecord) -> Option<EndReason> {
        let refused = (*lock(&self.slot.gate.refused))?;
        (refused.epoch == record.epoch && refused.generation == record.generation).then_some(refused.reason)
    }
}

fn kind_of(answer: &TokenAnswer) -> Answer {
    match answer {
        TokenAnswer::Granted(_) => Answer::Granted,
        TokenAnswer::Unusable { refresh_token, .. } => Answer::Unusable {
            rotated: refresh_token.is_some(),
        },
        TokenAnswer::GrantRefused(_) => Answer::GrantRefused,
        TokenAnswer::Rejected(error) if error.kind() == ErrorKind::Network(Delivery::NotSent) => {
            Answer::NotSent
        }
        TokenAnswer::Rejected(_) => Answer::TurnedDown,
        TokenAnswer::Unknown(error) => Answer::Unknown {
            retry_after: match error.next_step() {
                NextStep::RetryAfter(wait) => Some(wait),
                _ => None,
            },
        },
    }
}

/// The ID token of tokens that are not verified yet.
fn unverified(record: &SessionRecord) -> Option<IdToken> {
    let session = record.signed_in().filter(|session| session.provisional)?;
    session.id_token.clone()
}

/// Somebody else changed the session meanwhile.
pub(super) fn busy() -> Error {
    Error::new(
        ErrorKind::RateLimited,
        Stage::Refresh,
        "refresh_raced",
        "another process changed the session meanwhile; ask again",
    )
}
