//! Refreshing (RFC 6749 §6) without ever losing the session.
//!
//! Many servers rotate the refresh token and treat a second use of the old one as theft (RFC 9700 §4.14.2), so:
//! at most one request per session is under way; it is journalled durably before its first byte; a new refresh
//! token is durable before anything else is looked at; and nothing short of the server's own `invalid_grant`,
//! confirmed by a second read of the store, ends the session.

use std::sync::Arc;
use std::time::Duration;

use tracing::{Instrument as _, debug, debug_span, warn};

use super::at_server::Unverified;
use super::context::{COMMIT_ATTEMPTS, Context};
use super::flight::Outcome;
use super::record::SentAt;
use super::record::{Journal, SessionRecord, SignedIn, Standing, StoredAccessToken};
use super::snapshot::Snapshot;
use super::{Slot, ended};
use crate::error::{Delivery, EndReason, Error, ErrorKind, Result, Stage};
use crate::ports::{CommitOutcome, Generation, LockGuard};
use crate::protocol::id_token::{self, Claims, Occasion};
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::target::Target;
use crate::protocol::token::{self, AccessToken, IdToken, RefreshToken, TokenAnswer, TokenResponse};

/// The first send of a refresh waits this long for its answer.
pub(super) const REFRESH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait for another process to finish its refresh, and how often to look.
const LOCK_PATIENCE_MILLIS: u64 = 15_000;
const LOCK_POLL_MILLIS: u64 = 50;

/// One refresh from the lock to the snapshot.
pub(super) struct Refresh {
    pub(super) slot: Arc<Slot>,
    pub(super) epoch: u64,
    /// What the token is wanted for.
    pub(super) target: Target,
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
        let _gate = self.slot.gate.lock().await;
        let _lock = self.process_lock().await?;
        self.write_held().await?;
        let mut current = self.reread().await?;
        if let Some(snapshot) = self.adopt(&current.record, seen) {
            return Ok(snapshot);
        }
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
        let uncertain = session.journal.is_some();
        let journal = Journal {
            attempt_id: attempt_id.to_owned(),
            uncertain,
        };
        self.write_journal(&mut current, Some(journal)).await?;

        let sent_at = SentAt::now(&*self.context().ports.clock);
        let body = token::refresh_request(
            &self.context().client_id,
            &refresh_token,
            self.target.wanted_scope(),
            self.target.resources(),
        );
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
        Context::put_up_with(&tokens.oddities);
        let original = session.claims.clone();
        // RFC 6749 §6: without a new refresh token the old one stays; with one, the old one is gone for good.
        let rotated = tokens.refresh_token.is_some();
        if let Some(token) = tokens.refresh_token {
            session.refresh_token = Some(token);
        }
        // The scope of a token for one API says nothing about the grant (RFC 6749 §6).
        if let (Some(scope), true) = (tokens.scope, self.target.is_default()) {
            session.scope = scope;
        }
        record.generation = record.generation.saturating_add(1);
        let token = StoredAccessToken {
            token: tokens.access_token.clone(),
            generation: record.generation,
            expiry: tokens.expires_in.map(|lifetime| sent_at.expiry(lifetime)),
        };
        session.set_token(&self.target, token);
        session.journal = None;
        if let (Some(id_token), true) = (&tokens.id_token, original.is_some()) {
            session.provisional = true;
            session.id_token = Some(id_token.clone());
        } else if session.provisional {
            // An ID token that waits, or was wrong, came with older tokens and says nothing about these (§12.2: a
            // refresh need not bring one).
            session.provisional = false;
            session.id_token = None;
        }
        let stored = self.commit_tokens(&record, current.stored, rotated).await?;

        // Only now that nothing can be lost: is the ID token about the same user (OpenID Connect Core §12.2)?
        if let (Some(id_token), Some(original)) = (tokens.id_token, original) {
            let seen = Seen {
                record: record.clone(),
                stored,
            };
            self.verify_refreshed(server, &id_token, &tokens.access_token, &original, &seen)
                .await
                .map_err(Unverified::into_error)?;
            let Standing::SignedIn(session) = &mut record.standing else {
                return Err(busy());
            };
            session.provisional = false;
            self.commit_tokens(&record, stored, rotated).await?;
        }
        self.slot.publish(&record);
        let clock = &*self.context().ports.clock;
        Snapshot::of(&record, &self.target, clock)
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
    ) -> Result<(), Unverified> {
        let expected = id_token::Expected {
            issuer: &self.context().issuer,
            client_id: &self.context().client_id,
            algorithms: server.id_token_algorithms(),
            access_token,
            now: self.context().now_seconds(),
            occasion: Occasion::Refresh { original },
        };
        let verdict = self.context().verify_id_token(server, id_token, &expected).await;
        match verdict {
            Ok(_) => Ok(()),
            Err(Unverified::Refused(error)) if error.code() == "id_token_subject_changed" => {
                let ended_here = self.end(seen, EndReason::SubjectChanged).await;
                let over = match ended_here {
                    Ok(true) => ended(EndReason::SubjectChanged).with_clause("OpenID Connect Core §12.2"),
                    Ok(false) => busy(),
                    Err(error) => error,
                };
                // Not for another refresh to mend.
                Err(Unverified::Undecided {
                    error: over,
                    not_before: 0,
                })
            }
            // The refresh token is safe; the access token stays withheld until it is verified, or a later one is.
            Err(Unverified::Refused(error)) => Err(Unverified::Refused(error.at_stage(Stage::Refresh))),
            Err(Unverified::Undecided { error, not_before }) => Err(Unverified::Undecided {
                error: error.at_stage(Stage::Refresh),
                not_before,
            }),
        }
    }

    /// Verifies the ID token that came with the tokens of an earlier refresh. One that is wrong is left to a new refresh.
    async fn verify_waiting(
        &self,
        server: &AuthorizationServer,
        id_token: &IdToken,
        current: &mut Seen,
    ) -> Result<()> {
        let Some(session) = current.record.signed_in() else {
            return Err(busy());
        };
        let (Some(access), Some(original)) = (
            session.newest_token(current.record.generation),
            session.claims.clone(),
        ) else {
            return Ok(());
        };
        let access = access.token.clone();
        match self
            .verify_refreshed(server, id_token, &access, &original, current)
            .await
        {
            Ok(()) => {}
            Err(Unverified::Refused(_)) => return Ok(()),
            Err(Unverified::Undecided { error, .. }) => return Err(error),
        }
        if let Standing::SignedIn(session) = &mut current.record.standing {
            session.provisional = false;
        }
        current.stored = self.commit_tokens(&current.record, current.stored, false).await?;
        self.slot.publish(&current.record);
        Ok(())
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
        record.generation = record.generation.saturating_add(1);
        self.commit_tokens(&record, current.stored, true).await?;
        self.slot.publish(&record);
        Ok(())
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
                return self.adopt(&current.record, 0).ok_or_else(busy);
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
