//! Refreshing (RFC 6749 §6) without ever losing the session.
//!
//! Many servers rotate the refresh token and treat a second use of the old one as theft (RFC 9700 §4.14.2), so:
//! at most one request per session is under way; it is journalled durably before its first byte; a new refresh
//! token is durable before anything else is looked at; and nothing short of the server's own `invalid_grant`,
//! confirmed by a second read of the store, ends the session.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::{Instrument as _, debug, debug_span, warn};
use zeroize::Zeroizing;

use super::context::{Context, Keys};
use super::record::{Expiry, Journal, SessionRecord, SignedIn, Standing, StoredAccessToken};
use super::snapshot::Snapshot;
use super::{Slot, ended};
use crate::error::{Delivery, EndReason, Error, ErrorKind, Result, Stage};
use crate::ports::{CommitOutcome, Generation, LockGuard, SessionEvent};
use crate::protocol::id_token::{self, Claims, Occasion, Refused};
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::revocation;
use crate::protocol::token::{self, AccessToken, IdToken, RefreshToken, TokenAnswer, TokenResponse};
use crate::sync::lock;

/// The first send of a refresh waits this long for its answer.
const REFRESH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for another process to finish its refresh, and how often to look.
const LOCK_PATIENCE_MILLIS: u64 = 15_000;
const LOCK_POLL_MILLIS: u64 = 50;
/// When storage refuses refreshed tokens, the write is tried again after these pauses, then at every later need.
const WRITE_RETRY_MILLIS: [u64; 3] = [50, 250, 1_000];
/// A conditional write that keeps meeting newer records gives up after this many.
const COMMIT_ATTEMPTS: usize = 8;

type Outcome = Result<Arc<Snapshot>>;

/// A refresh under way, to be waited for by any number of callers.
#[derive(Clone, Debug)]
pub(super) struct Flight {
    epoch: u64,
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
    /// Tokens newer than generation `seen`: those another caller or process just got, or freshly asked for.
    pub(super) async fn refreshed(self: &Arc<Self>, epoch: u64, seen: u64) -> Outcome {
        loop {
            let mut flight = self.join_flight(epoch, seen);
            let settled = flight.outcome.wait_for(Option::is_some).await;
            let settled = settled.map(|value| value.clone());
            if flight.epoch != epoch {
                // It was the refresh of the session before or after this one, and says nothing about ours.
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

    fn join_flight(self: &Arc<Self>, epoch: u64, seen: u64) -> Flight {
        let mut flight = lock(&self.flight);
        if let Some(flight) = &*flight {
            return flight.clone();
        }
        let (sender, outcome) = watch::channel(None);
        let begun = Flight { epoch, outcome };
        *flight = Some(begun.clone());
        drop(flight);
        let slot = Arc::clone(self);
        self.context.spawn(async move {
            let landing = Landing(Arc::clone(&slot));
            let result = Refresh {
                slot: Arc::clone(&slot),
                epoch,
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

/// One refresh from the lock to the snapshot.
struct Refresh {
    slot: Arc<Slot>,
    epoch: u64,
}

/// The stored record as this refresh sees it.
struct Seen {
    record: SessionRecord,
    stored: Generation,
}

/// What became of tokens that are to be stored.
enum Settled {
    Written(Generation),
    /// Newer ones are stored, or the session is over.
    Overtaken(Error),
}

/// What a conflict comes to.
enum Resolved {
    Settled(Settled),
    /// Ours are newer than the record of this generation.
    WriteOver(Generation),
}

impl Refresh {
    async fn run(self, seen: u64) -> Outcome {
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

    fn context(&self) -> &Arc<Context> {
        &self.slot.context
    }

    async fn attempt(&self, seen: u64, attempt_id: &str) -> Outcome {
        // Whatever can fail without touching the refresh token goes first (RR-04). Only a request needs the server,
        // so without a network what another process refreshed can still be adopted.
        let server = self.context().server().await;
        let _gate = self.slot.gate.lock().await;
        let _lock = self.process_lock().await?;
        self.write_held().await?;
        let mut current = self.reread().await?;
        if current.record.generation > seen
            && let Some(snapshot) = self.adopt(&current.record)
        {
            return Ok(snapshot);
        }
        let server = server?;
        let (session, refresh_token) = self.refreshable(&current.record)?;
        let uncertain = session.journal.is_some();
        let journal = Journal {
            attempt_id: attempt_id.to_owned(),
            uncertain,
        };
        self.write_journal(&mut current, Some(journal)).await?;

        let sent_at = SentAt::now(self.context());
        let body = token::refresh_request(&self.context().client_id, &refresh_token);
        let response = self
            .context()
            .post_grant(Stage::Refresh, server.token_endpoint(), body, REFRESH_TIMEOUT)
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
        match answer {
            TokenAnswer::Granted(tokens) => self.granted(&server, current, tokens, sent_at).await,
            TokenAnswer::Unusable { error, refresh_token } => {
                self.keep_refresh_token(current, refresh_token).await?;
                Err(error)
            }
            TokenAnswer::GrantRefused(_) => self.refused(&current.record, attempt_id, uncertain).await,
            TokenAnswer::Rejected(error) => {
                // The grant was not spent: what was uncertain before still is, and nothing else.
                let journal = uncertain.then(|| Journal {
                    attempt_id: attempt_id.to_owned(),
                    uncertain,
                });
                match self.write_journal(&mut current, journal).await {
                    Err(over) if matches!(over.kind(), ErrorKind::SessionEnded(_)) => return Err(over),
                    // Left open it costs no more than a wrong guess at the reason of an end.
                    Err(failure) => debug!(code = failure.code(), "the journal could not be closed"),
                    Ok(()) => {}
                }
                Err(error)
            }
            // The journal stays open: it says that the outcome is not known.
            TokenAnswer::Unknown(error) => Err(error),
        }
    }

    /// Polled, so that it can be given up (the lock of another process may be held into suspension).
    async fn process_lock(&self) -> Result<LockGuard> {
        let clock = &self.context().ports.clock;
        let deadline = clock.boot_millis().saturating_add(LOCK_PATIENCE_MILLIS);
        loop {
            let lock = Arc::clone(&self.context().ports.lock);
            let name = self.slot.key.as_str().to_owned();
            let (done, answer) = tokio::sync::oneshot::channel();
            self.context()
                .ports
                .spawner
                .spawn_blocking(Box::new(move || drop(done.send(lock.try_lock(&name)))));
            match answer.await {
                Ok(Ok(Some(guard))) => return Ok(guard),
                Ok(Ok(None)) if clock.boot_millis() >= deadline => {
                    let message =
                        "another process of this app is refreshing the session and has not finished";
                    return Err(Error::new(
                        ErrorKind::RateLimited,
                        Stage::Refresh,
                        "refresh_busy",
                        message,
                    ));
                }
                Ok(Ok(None)) => {
                    clock
                        .sleep_until(clock.boot_millis().saturating_add(LOCK_POLL_MILLIS))
                        .await
                }
                // Correctness comes from the conditional commit; without a lock there is only more contention.
                Ok(Err(failure)) => {
                    warn!(reason = %failure.0, "no process lock");
                    return Ok(Box::new(()));
                }
                Err(_) => {
                    return Err(Error::internal(
                        Stage::Refresh,
                        "asking for the process lock did not finish",
                    ));
                }
            }
        }
    }

    /// Tokens that storage refused earlier are written before anything is asked for again.
    async fn write_held(&self) -> Result<()> {
        let Some(record) = lock(&self.slot.held).clone() else {
            return Ok(());
        };
        let expected = match self.slot.read_raw().await? {
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

    /// The record as storage has it now; an error if this session is over.
    async fn reread(&self) -> Result<Seen> {
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

    /// Publishes a stored record that is newer than the caller's, if its token can be used.
    fn adopt(&self, record: &SessionRecord) -> Option<Arc<Snapshot>> {
        let clock = &*self.context().ports.clock;
        let snapshot =
            Snapshot::of(record, clock).filter(|snapshot| snapshot.is_fresh(clock.boot_millis()))?;
        self.slot.publish(record);
        Some(Arc::new(snapshot))
    }

    fn refreshable<'a>(&self, record: &'a SessionRecord) -> Result<(&'a SignedIn, RefreshToken)> {
        let session = record.signed_in().ok_or_else(|| ended(EndReason::SignedOut))?;
        match &session.refresh_token {
            Some(token) => Ok((session, token.clone())),
            None => {
                let clock = &*self.context().ports.clock;
                let usable = Snapshot::of(record, clock).is_some_and(|s| s.is_usable(clock.boot_millis()));
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

    async fn granted(
        &self,
        server: &AuthorizationServer,
        current: Seen,
        tokens: TokenResponse,
        sent_at: SentAt,
    ) -> Outcome {
        let mut record = current.record;
        let Standing::SignedIn(session) = &mut record.standing else {
            return Err(busy());
        };
        let original = session.claims.clone();
        // RFC 6749 §6: without a new refresh token the old one stays; with one, the old one is gone for good.
        let rotated = tokens.refresh_token.is_some();
        if let Some(token) = tokens.refresh_token {
            session.refresh_token = Some(token);
        }
        if let Some(scope) = tokens.scope {
            session.scope = scope;
        }
        session.access_token = Some(StoredAccessToken {
            token: tokens.access_token.clone(),
            expiry: tokens.expires_in.map(|lifetime| sent_at.expiry(lifetime)),
        });
        session.journal = None;
        session.provisional = tokens.id_token.is_some() && original.is_some();
        record.generation += 1;
        let stored = self.commit_tokens(&record, current.stored, rotated).await?;

        // Only now that nothing can be lost: is the ID token about the same user (OpenID Connect Core §12.2)?
        if let (Some(id_token), Some(original)) = (tokens.id_token, original) {
            let seen = Seen {
                record: record.clone(),
                stored,
            };
            self.verify_refreshed(server, &id_token, &tokens.access_token, &original, &seen)
                .await?;
            let Standing::SignedIn(session) = &mut record.standing else {
                return Err(busy());
            };
            session.provisional = false;
            session.id_token = Some(id_token);
            self.commit_tokens(&record, stored, rotated).await?;
        }
        self.slot.publish(&record);
        let clock = &*self.context().ports.clock;
        Snapshot::of(&record, clock)
            .map(Arc::new)
            .ok_or_else(|| ended(EndReason::SignedOut))
    }

    async fn verify_refreshed(
        &self,
        server: &AuthorizationServer,
        id_token: &IdToken,
        access_token: &AccessToken,
        original: &Claims,
        seen: &Seen,
    ) -> Result<()> {
        let expected = id_token::Expected {
            issuer: &self.context().issuer,
            client_id: &self.context().client_id,
            algorithms: server.id_token_algorithms(),
            access_token,
            now: self.context().now_seconds(),
            occasion: Occasion::Refresh { original },
        };
        match self.context().verify_id_token(server, id_token, &expected).await {
            Ok(_) => Ok(()),
            Err(error) if error.code() == "id_token_subject_changed" => {
                if !self.end(seen, EndReason::SubjectChanged).await? {
                    return Err(busy());
                }
                Err(ended(EndReason::SubjectChanged).with_clause("OpenID Connect Core §12.2"))
            }
            // The refresh token is safe; the access token stays withheld until a later refresh verifies.
            Err(error) => Err(error.at_stage(Stage::Refresh)),
        }
    }

    /// The server made an answer that cannot be used, but a refresh token in it has replaced the old one.
    async fn keep_refresh_token(&self, current: Seen, refresh_token: Option<RefreshToken>) -> Result<()> {
        let mut record = current.record;
        let Standing::SignedIn(session) = &mut record.standing else {
            return Err(busy());
        };
        let Some(token) = refresh_token else { return Ok(()) };
        session.refresh_token = Some(token);
        session.journal = None;
        record.generation += 1;
        self.commit_tokens(&record, current.stored, true).await?;
        self.slot.publish(&record);
        Ok(())
    }

    /// Makes new tokens durable. Until they are, or newer ones are, they are held in memory and the old token is never
    /// sent again.
    async fn commit_tokens(
        &self,
        record: &SessionRecord,
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
        record: &SessionRecord,
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

    /// Somebody else wrote. A newer epoch wins over our tokens, which are given back; a newer generation is the
    /// pair of a later request and wins too, without giving ours back: on many servers revoking one token ends
    /// the grant. Otherwise ours is written over it, a record that nobody can read included.
    async fn resolve(&self, record: &SessionRecord, rotated: bool) -> Result<Resolved> {
        let (stored, raw) = match self.slot.read_raw().await? {
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
            if let (true, Some(token)) = (rotated, record.signed_in().and_then(|s| s.refresh_token.clone())) {
                let context = Arc::clone(self.context());
                self.context()
                    .spawn(async move { drop(context.revoke(&token).await) });
            }
            return Ok(Resolved::Settled(Settled::Overtaken(ended(EndReason::SignedOut))));
        }
        if stored.generation >= record.generation {
            self.slot.publish(&stored);
            return Ok(Resolved::Settled(Settled::Overtaken(busy())));
        }
        Ok(Resolved::WriteOver(raw.generation))
    }

    /// `invalid_grant`: only a second read of the store can tell whether another process was faster (RR-17).
    async fn refused(&self, sent: &SessionRecord, attempt_id: &str, uncertain: bool) -> Outcome {
        let reason = if uncertain {
            EndReason::RotationLost
        } else {
            EndReason::ExpiredOrRevoked
        };
        for _ in 0..COMMIT_ATTEMPTS {
            let current = self.reread().await?;
            if current.record.generation > sent.generation {
                return self.adopt(&current.record).ok_or_else(busy);
            }
            let journal = current.record.signed_in().and_then(|s| s.journal.as_ref());
            if journal.is_none_or(|journal| journal.attempt_id != attempt_id) {
                // Another process has sent the same token since; that may be why ours was refused, and its answer is
                // still to come (RR-19).
                return Err(busy());
            }
            if self.end(&current, reason).await? {
                return Err(ended(reason).with_clause("RFC 6749 §5.2"));
            }
        }
        Err(busy())
    }

    /// Ends the session in storage, keeping the hint and no token, then for everybody. `false` if the record is not
    /// the one seen any more: then nothing is ended.
    async fn end(&self, seen: &Seen, reason: EndReason) -> Result<bool> {
        let record = seen.record.ended(reason);
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

impl SessionRecord {
    /// The same session, over: no token, but a hint that helps the user to sign in again.
    pub(super) fn ended(&self, reason: EndReason) -> Self {
        let claims = self.signed_in().and_then(|session| session.claims.as_ref());
        let login_hint = claims.and_then(|claims| {
            let name = claims.get("email").or_else(|| claims.get("preferred_username"))?;
            name.as_str().map(str::to_owned)
        });
        Self {
            epoch: self.epoch,
            generation: self.generation + 1,
            standing: Standing::Ended { reason, login_hint },
        }
    }
}

impl Context {
    /// Verifies an ID token; if its key is not known, with newer keys, once.
    pub(crate) async fn verify_id_token(
        &self,
        server: &AuthorizationServer,
        token: &IdToken,
        expected: &id_token::Expected<'_>,
    ) -> Result<Claims> {
        let keys = self.keys(server, Keys::AtHand).await?;
        match id_token::verify(token, &keys, expected) {
            Err(Refused::UnknownKey(_)) => {
                let keys = self.keys(server, Keys::Newer).await?;
                id_token::verify(token, &keys, expected).map_err(Refused::into_error)
            }
            outcome => outcome.map_err(Refused::into_error),
        }
    }

    /// Revokes a refresh token at the server, and with it the grant (RFC 7009 §2.1). `false` if the server offers
    /// no revocation.
    pub(crate) async fn revoke(&self, token: &RefreshToken) -> Result<bool> {
        let server = self
            .server()
            .await
            .map_err(|error| error.at_stage(Stage::Revocation))?;
        let Some(endpoint) = server.revocation_endpoint() else {
            return Ok(false);
        };
        let body: Zeroizing<Vec<u8>> = revocation::request(&self.client_id, token);
        let response = self
            .post_grant(Stage::Revocation, endpoint, body, REFRESH_TIMEOUT)
            .await?;
        revocation::read(response.status, &response.headers, &response.body)?;
        Ok(true)
    }
}

/// When a request was sent, by both clocks: a lifetime counts from no later than this.
pub(crate) struct SentAt {
    boot_millis: u64,
    boot_id: Option<String>,
    unix_millis: i64,
}

impl SentAt {
    pub(crate) fn now(context: &Context) -> Self {
        let clock = &context.ports.clock;
        Self {
            boot_millis: clock.boot_millis(),
            boot_id: clock.boot_id(),
            unix_millis: clock.unix_millis(),
        }
    }

    pub(crate) fn expiry(&self, lifetime: Duration) -> Expiry {
        let lifetime_millis = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let signed = i64::try_from(lifetime_millis).unwrap_or(i64::MAX);
        Expiry {
            lifetime_millis,
            boot_millis: self.boot_millis.saturating_add(lifetime_millis),
            boot_id: self.boot_id.clone(),
            unix_millis: self.unix_millis.saturating_add(signed),
        }
    }
}

fn busy() -> Error {
    Error::new(
        ErrorKind::RateLimited,
        Stage::Refresh,
        "refresh_raced",
        "another process changed the session meanwhile; ask again",
    )
}
