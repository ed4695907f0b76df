//! Tokens whose ID token is not verified yet, and sign-ins that an earlier run of the app left behind.
//!
//! A code can be exchanged once. Where the tokens it gave cannot be verified at once, because the server's keys cannot
//! be had, they wait in the record of the sign-in: unused, but not lost. They become the session as soon as the keys
//! are there, in this run of the app or a later one, or are given back if they turn out to be wrong.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::Inner;
use super::accept::gone;
use super::flow::{FlowRecord, Forgotten, Progress, Provisional};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::{BoxFuture, Clock, CommitOutcome, Generation, RecordKey, SessionEvent, Stored};
use crate::protocol::id_token::{self, Claims, Occasion};
use crate::protocol::scope::Scope;
use crate::session::at_server::Unverified;
use crate::session::begin::Begun;
use crate::session::context::{COMMIT_ATTEMPTS, contended};
use crate::session::record::{SessionRecord, SignedIn};
use crate::session::{Moment, Session};
use crate::sync::lock;

/// How long a sign-in waits for keys before its caller is told; the tokens wait longer.
const PATIENCE_MILLIS: u64 = 90_000;
/// The pauses between two tries to get them; the last one repeats.
const PAUSE_MILLIS: [u64; 5] = [1_000, 2_000, 5_000, 10_000, 20_000];
/// Tokens that could not be verified for this long are given back.
const PROVISIONAL_MAX_AGE_MILLIS: u64 = 24 * 60 * 60 * 1000;
/// An exchange that was begun this long ago, and is not known to have ended, will not end any more.
const CLAIM_MAX_AGE_MILLIS: u64 = 5 * 60 * 1000;
/// A process that was about to finish a sign-in can have been stopped for this long.
const FORGOTTEN_MAX_AGE_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// Who may be asked for keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Nobody,
    TheServer,
}

/// Whether a session may take the place of one that began later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// It is the latest: its code was exchanged this very moment.
    Latest,
    /// Its tokens waited, and the user may have signed in or out meanwhile: then that counts.
    UnlessOvertaken,
}

/// Whether storage is looked through for sign-ins that others left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Once in the life of a client, and as long as something is undecided.
    Once,
    /// In any case.
    Again,
}

/// Why there is no session yet.
pub(super) enum Unfinished {
    /// Nothing is decided: the tokens stay where they are.
    Later(Error),
    /// The sign-in failed; whether its grant is to be given back, once nobody can find it any more.
    Never { error: Error, give_back: bool },
    /// Everything was to be forgotten meanwhile, and nobody but us has its grant.
    Forgotten,
    /// Everything is in order, and storage does not take the session.
    Unstored(Error),
}

impl Inner {
    /// Verifies with the keys at hand and stores the session, if that can be decided without asking anybody.
    pub(super) async fn conclude_at_hand(&self, flow: &FlowRecord) -> Result<Session, Unfinished> {
        self.decide(flow, Ask::Nobody, Order::Latest)
            .await
            .map_err(|(unfinished, _)| unfinished)
    }

    /// As [`conclude_at_hand`](Inner::conclude_at_hand), and asks the server for keys, again and again for a while.
    pub(super) async fn conclude(&self, flow: &FlowRecord) -> Result<Session, Unfinished> {
        let clock = Arc::clone(&self.context.ports.clock);
        let deadline = clock.boot_millis().saturating_add(PATIENCE_MILLIS);
        let mut pauses = PAUSE_MILLIS.iter().copied();
        let mut pause = 0;
        loop {
            let (error, not_before) = match self.decide(flow, Ask::TheServer, Order::UnlessOvertaken).await {
                Ok(session) => return Ok(session),
                Err((Unfinished::Later(error), not_before)) => (error, not_before),
                Err((decided, _)) => return Err(decided),
            };
            pause = pauses.next().unwrap_or(pause);
            let next = not_before.max(clock.boot_millis().saturating_add(pause));
            if next >= deadline {
                self.unsettled.store(true, Ordering::SeqCst);
                return Err(Unfinished::Later(waiting(&error)));
            }
            warn!(
                code = error.code(),
                "the ID token cannot be verified yet; the tokens wait"
            );
            clock.sleep_until(next).await;
        }
    }

    /// Verifies, and stores the session or gives the grant back. With an undecided outcome comes the time, by the boot
    /// clock, before which asking again is of no use.
    async fn decide(&self, flow: &FlowRecord, ask: Ask, order: Order) -> Result<Session, (Unfinished, u64)> {
        // Nothing of a sign-in that failed stays usable: neither here nor at the server.
        let never = |error| {
            let give_back = true;
            (Unfinished::Never { error, give_back }, 0)
        };
        let Some(provisional) = flow.provisional() else {
            return Err(never(Error::internal(
                Stage::IdToken,
                "there are no tokens to verify",
            )));
        };
        let claims = match self.verify(flow, provisional, ask).await {
            Ok(claims) => claims,
            Err(Unverified::Refused(error)) => return Err(never(error)),
            Err(Unverified::Undecided { error, not_before }) => {
                return Err((Unfinished::Later(error), not_before));
            }
        };
        let unstored = |error| (Unfinished::Unstored(error), 0);
        let slot = self.sessions.slot_for(claims.as_ref()).await.map_err(unstored)?;
        let user = claims.clone();
        let signed_in = SignedIn {
            claims,
            provisional: false,
            ..(*provisional.tokens).clone()
        };
        // Looked at after the record that this one takes the place of: whatever changes later shows in that.
        let wanted = || -> BoxFuture<'_, Result<bool>> {
            Box::pin(async { Ok(self.given_up(flow).await?.is_none()) })
        };
        let begun = match order {
            Order::Latest => slot.begin(signed_in, &wanted).await,
            Order::UnlessOvertaken => slot.begin_unless_overtaken(signed_in, &wanted).await,
        };
        match begun.map_err(unstored)? {
            Begun::Unwanted => {
                let given_up = self.given_up(flow).await.map_err(unstored)?;
                // Where a server has one grant for a user and an app, revoking it would end the newer session.
                let lives = match (&given_up, &user) {
                    (Some(Unfinished::Forgotten), Some(user)) => {
                        let stored = slot.read().await.map_err(unstored)?;
                        stored.is_some_and(|(record, _)| record.is_of(user))
                    }
                    _ => false,
                };
                let kept = || {
                    let (error, give_back) = (gone(), false);
                    Unfinished::Never { error, give_back }
                };
                let given_up = given_up.filter(|_| !lives).unwrap_or_else(kept);
                Err((given_up, 0))
            }
            Begun::Session(session) => Ok(session),
            Begun::Overtaken { same_grant: false } => Err(never(overtaken())),
            // Where a server has one grant for a user and an app, revoking it would end the newer session.
            Begun::Overtaken { same_grant: true } => {
                let (error, give_back) = (overtaken(), false);
                Err((Unfinished::Never { error, give_back }, 0))
            }
        }
    }

    /// The claims of the ID token; `None` where the sign-in did not ask for one.
    async fn verify(
        &self,
        flow: &FlowRecord,
        provisional: &Provisional,
        ask: Ask,
    ) -> Result<Option<Claims>, Unverified> {
        let server = self.server_of(flow).map_err(Unverified::Refused)?;
        if !Scope::from_response(&flow.scope).contains("openid") {
            return Ok(None);
        }
        let tokens = &provisional.tokens;
        let (Some(id_token), Some(access)) = (&tokens.id_token, &tokens.access_token) else {
            return Err(Unverified::Refused(Error::protocol(
                Stage::IdToken,
                "id_token_missing",
                "OpenID Connect Core §3.1.3.3",
                "the scope openid was asked for, and the token response has no ID token",
            )));
        };
        let expected = id_token::Expected {
            issuer: &self.context.issuer,
            client_id: &self.context.client_id,
            algorithms: server.id_token_algorithms(),
            access_token: &access.token,
            // When it came: a token that was good then does not go bad while its keys cannot be had.
            now: provisional.received_seconds,
            occasion: Occasion::SignIn {
                nonce: &flow.nonce,
                code: &provisional.code,
                max_age: flow.max_age,
                acr_values: &flow.acr_values,
            },
        };
        let verdict = match ask {
            Ask::Nobody => self.context.verify_at_hand(id_token, &expected).await,
            Ask::TheServer => self.context.verify_id_token(&server, id_token, &expected).await,
        };
        verdict.map(Some)
    }

    /// Looks through storage as [`settle`](Inner::settle) does, if it is time; whether it was.
    pub(super) async fn settle_once(self: &Arc<Self>) -> bool {
        let looks = self.unsettled.load(Ordering::SeqCst);
        self.settle(Look::Once).await;
        looks
    }

    /// Sees to the sign-ins that storage holds and no caller here waits for: tokens that can be verified by now become the
    /// session, and what cannot come to an end any more is told once and removed. The error of one that is still
    /// undecided, if there is one.
    pub(super) async fn settle(self: &Arc<Self>, look: Look) -> Option<Error> {
        let _one_at_a_time = self.settling.lock().await;
        let first = self.unsettled.swap(false, Ordering::SeqCst);
        match look {
            _ if first => self.context.give_back_what_waits(),
            Look::Once => return None,
            Look::Again => {}
        }
        let keys = match self.context.list(&self.context.names.flows()).await {
            Ok(keys) => keys,
            Err(_) => {
                // Whoever asks for the session is told that storage does not answer.
                self.unsettled.store(true, Ordering::SeqCst);
                return None;
            }
        };
        self.keep_listening_for(&keys);
        let mut undecided = None;
        for key in keys {
            if lock(&self.attempts).contains_key(key.as_str()) {
                continue;
            }
            let settled = match self.context.load(&key).await {
                Ok(Some(stored)) => self.settle_one(&key, &stored).await,
                Ok(None) => Ok(()),
                // For good: there is nothing to wait for.
                Err(error) if error.kind() == ErrorKind::StorageLost => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = settled {
                self.unsettled.store(true, Ordering::SeqCst);
                undecided = Some(error);
            }
        }
        undecided
    }

    async fn settle_one(self: &Arc<Self>, key: &RecordKey, stored: &Stored) -> Result<()> {
        if let Some(forgotten) = Forgotten::decode(&stored.bytes) {
            return self.settle_forgotten(key, stored, &forgotten).await;
        }
        let clock = Arc::clone(&self.context.ports.clock);
        let flow = match FlowRecord::decode(&stored.bytes) {
            Ok(flow) => flow,
            // Written by a newer version of the app, which may still want it.
            Err(error) if error.kind() == ErrorKind::Configuration => return Ok(()),
            Err(_) => return self.clear(key, stored).await,
        };
        if matches!(flow.progress, Progress::Provisional(_)) && self.has_finished(&flow.diagnostic_id).await?
        {
            // Only its removal had failed. Its grant is that of a session, or was given back with one.
            return self.clear(key, stored).await;
        }
        match &flow.progress {
            Progress::Provisional(Provisional { tokens, .. })
                if is_over(&flow, PROVISIONAL_MAX_AGE_MILLIS, &*clock) =>
            {
                // First: who is about to make a session of it meets that.
                let forgotten = self.forgotten(Some(&flow)).encode();
                let given_up = self
                    .context
                    .commit(key, stored.generation, forgotten.clone())
                    .await;
                let is_given_up = match given_up {
                    Ok(outcome) => matches!(outcome, CommitOutcome::Committed(_)),
                    // It may have been written all the same, and then nobody else tells of it.
                    Err(_) if self.written_as(key, &forgotten).await.is_some() => true,
                    Err(failure) => return Err(failure),
                };
                if is_given_up {
                    self.tell_interrupted(&flow.diagnostic_id);
                    self.revoke_quietly(tokens.refresh_token.clone());
                }
                Ok(())
            }
            Progress::Provisional(_) => {
                match self.decide(&flow, Ask::TheServer, Order::UnlessOvertaken).await {
                    Ok(session) => {
                        if self.is_forgotten(key, stored.generation).await {
                            self.forget_late(&session).await;
                            return Ok(());
                        }
                        info!(diagnostic_id = %flow.diagnostic_id, "a sign-in of before is finished");
                        session.emit(SessionEvent::SignedIn);
                        Ok(())
                    }
                    Err((Unfinished::Forgotten, _)) => {
                        self.revoke_quietly(flow.refresh_token());
                        Ok(())
                    }
                    Err((Unfinished::Unstored(error), _)) => Err(error),
                    Err((Unfinished::Later(error), _)) => {
                        Err(waiting(&error).with_diagnostic_id(&flow.diagnostic_id))
                    }
                    Err((Unfinished::Never { error, give_back }, _)) => {
                        warn!(diagnostic_id = %flow.diagnostic_id, code = error.code(), "a sign-in of before has failed");
                        if self.interrupted(key, stored, &flow).await? && give_back {
                            self.revoke_quietly(flow.refresh_token());
                        }
                        Ok(())
                    }
                }
            }
            // Whoever was at it in an earlier run of the device is no more.
            Progress::Claimed
                if flow.at.is_of_another_boot(&*clock) || is_over(&flow, CLAIM_MAX_AGE_MILLIS, &*clock) =>
            {
                self.interrupted(key, stored, &flow).await.map(drop)
            }
            Progress::Waiting if flow.left_millis(&*clock) == 0 => {
                self.interrupted(key, stored, &flow).await.map(drop)
            }
            // The redirect may yet come: to another process, or here.
            Progress::Waiting => {
                self.listen_again(key, stored, &flow).await;
                Ok(())
            }
            // Another process may be at it.
            Progress::Claimed => Ok(()),
        }
    }

    /// Whether somebody else saw to it, while it waited, that nothing comes of this sign-in.
    async fn given_up(&self, flow: &FlowRecord) -> Result<Option<Unfinished>> {
        let key = self.context.names.flow(flow.state.expose())?;
        match self.context.load(&key).await {
            // Its session is there already.
            Ok(None) if self.has_finished(&flow.diagnostic_id).await? => Ok(None),
            // Another process took it for dead, told so, and gave its grant back.
            Ok(None) => {
                let (error, give_back) = (gone(), false);
                Ok(Some(Unfinished::Never { error, give_back }))
            }
            Ok(Some(stored)) => Ok(Forgotten::decode(&stored.bytes).map(|_| Unfinished::Forgotten)),
            // Nobody can tell: what is in our hands counts.
            Err(_) => Ok(None),
        }
    }

    /// Whether a session came from this sign-in.
    pub(super) async fn has_finished(&self, sign_in: &str) -> Result<bool> {
        let found = self.sessions.find(|record| record.has_finished(sign_in)).await?;
        Ok(found.is_some())
    }

    /// Removes a sign-in that comes to no end. Whoever removes it tells of it, so that it is told once; whether that is us.
    pub(super) async fn interrupted(
        &self,
        key: &RecordKey,
        stored: &Stored,
        flow: &FlowRecord,
    ) -> Result<bool> {
        let removed = self.context.remove(key, stored.generation).await?;
        let removed = matches!(removed, CommitOutcome::Committed(_));
        if removed {
            self.tell_interrupted(&flow.diagnostic_id);
        }
        Ok(removed)
    }

    pub(super) fn tell_interrupted(&self, diagnostic_id: &str) {
        let event = SessionEvent::SignInInterrupted {
            diagnostic_id: diagnostic_id.to_owned(),
        };
        self.context.ports.emit(None, event);
    }

    /// Removes a sign-in, whatever became of it. Where a process may be about to finish it, that one is told by what is
    /// left in its place.
    pub(super) async fn forget_flow(&self, key: &RecordKey) -> Result<()> {
        for _ in 0..COMMIT_ATTEMPTS {
            let stored = match self.context.load(key).await {
                Ok(None) => return Ok(()),
                Ok(Some(stored)) => stored,
                // One who has read it before can still finish it.
                Err(error) if error.kind() == ErrorKind::StorageLost => {
                    self.unsettled.store(true, Ordering::SeqCst);
                    let forgotten = self.forgotten(None).encode();
                    let gone = self.context.commit(key, Generation::ABSENT, forgotten).await?;
                    match gone {
                        CommitOutcome::Committed(_) => return Ok(()),
                        CommitOutcome::Conflict(_) => continue,
                    }
                }
                Err(error) => return Err(error),
            };
            if Forgotten::decode(&stored.bytes).is_some() {
                self.unsettled.store(true, Ordering::SeqCst);
                return Ok(());
            }
            let flow = FlowRecord::decode(&stored.bytes).ok();
            let gone = match &flow {
                Some(flow) if matches!(flow.progress, Progress::Waiting) => {
                    self.context.remove(key, stored.generation).await?
                }
                _ => {
                    // Whoever is about to finish it may do so after this, and die.
                    self.unsettled.store(true, Ordering::SeqCst);
                    let forgotten = self.forgotten(flow.as_ref()).encode();
                    self.context.commit(key, stored.generation, forgotten).await?
                }
            };
            if let CommitOutcome::Committed(_) = gone {
                return Ok(());
            }
        }
        Err(contended())
    }

    fn forgotten(&self, flow: Option<&FlowRecord>) -> Forgotten {
        Forgotten {
            at: Moment::now(&*self.context.ports.clock),
            sign_in: flow.map(|flow| flow.diagnostic_id.clone()),
        }
    }

    /// A sign-in is over: its record is removed. Whether everything was to be forgotten meanwhile.
    pub(super) async fn is_forgotten(&self, key: &RecordKey, stored: Generation) -> bool {
        match self.context.remove(key, stored).await {
            Ok(CommitOutcome::Conflict(Some(found))) => {
                let forgotten = Forgotten::decode(&found.bytes).is_some();
                if !forgotten {
                    drop(self.clear(key, &found).await);
                }
                forgotten
            }
            // Gone: another process has looked, and has finished the very same sign-in first.
            Ok(_) => false,
            // Nothing is lost where it stays: the next look finds that it is done, or was to be forgotten.
            Err(_) => {
                self.unsettled.store(true, Ordering::SeqCst);
                false
            }
        }
    }

    /// Everything was to be forgotten while this sign-in was being finished: its session goes as well. What tells of it
    /// stays, as another process may be about to finish the same.
    pub(super) async fn forget_late(&self, session: &Session) {
        if let Err(failure) = session.forget().await {
            warn!(
                code = failure.code(),
                "a session that is to be forgotten cannot be removed yet"
            );
        }
        self.unsettled.store(true, Ordering::SeqCst);
    }

    /// A sign-in that was to be forgotten: whoever was about to finish it may have died, or been stopped, between storing
    /// its session and looking whether it may.
    async fn settle_forgotten(&self, key: &RecordKey, stored: &Stored, forgotten: &Forgotten) -> Result<()> {
        if let Some(sign_in) = &forgotten.sign_in {
            let came_from_it =
                |record: &SessionRecord| record.signed_in().is_some() && record.sign_in() == Some(sign_in);
            if let Some((slot, record)) = self.sessions.find(came_from_it).await?
                && let Some(session) = Session::of(&slot, &record)
            {
                session.forget().await?;
            }
        }
        let clock = &*self.context.ports.clock;
        let elapsed = forgotten.at.elapsed(clock);
        if forgotten.at.is_of_another_boot(clock)
            || elapsed.is_some_and(|elapsed| elapsed > FORGOTTEN_MAX_AGE_MILLIS)
        {
            return self.clear(key, stored).await;
        }
        // Whoever is at it still may store it after this.
        self.unsettled.store(true, Ordering::SeqCst);
        Ok(())
    }

    async fn clear(&self, key: &RecordKey, stored: &Stored) -> Result<()> {
        self.context.remove(key, stored.generation).await.map(drop)
    }
}

/// Whether this is longer ago, as far as a clock can tell.
fn is_over(flow: &FlowRecord, at_most_millis: u64, clock: &dyn Clock) -> bool {
    flow.at
        .elapsed(clock)
        .is_some_and(|elapsed| elapsed > at_most_millis)
}

/// The user did something else while the tokens waited.
fn overtaken() -> Error {
    Error::new(
        ErrorKind::Superseded,
        Stage::Session,
        "superseded",
        "the user signed in or out while this sign-in waited for the server's keys",
    )
}

/// The error of a sign-in that is not over: its tokens wait for the server's keys.
fn waiting(why: &Error) -> Error {
    let kind = match why.kind() {
        kind @ (ErrorKind::Network(_) | ErrorKind::RateLimited) => kind,
        _ => ErrorKind::Server,
    };
    let error = Error::new(
        kind,
        Stage::Jwks,
        "sign_in_unverified",
        format!(
            "the sign-in is stored and waits for the server's signing keys; asking for the session later finishes it: {why}"
        ),
    )
    .with_clause("OpenID Connect Core §10.1");
    match why.server() {
        Some(server) => error.with_server(server.clone()),
        None => error,
    }
}
