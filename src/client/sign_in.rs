//! One sign-in: begin, wait for the redirect, check it, exchange the code, verify, store.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::flow::{self, FlowRecord};
use super::listening::Listening;
use super::pending::{Attempt, CancelOnDrop, PendingSignIn, expired, superseded};
use super::{Client, Inner};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::{CommitOutcome, Generation, RecordKey, SessionEvent, UserAgentRequest, UserAgentReturn};
use crate::protocol::authorization::{AuthorizationRequest, SignInOptions};
use crate::protocol::callback::{self, Callback, ValidatedCallback};
use crate::protocol::id_token::{self, Claims, Occasion};
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::pkce::CodeVerifier;
use crate::protocol::scope::Scope;
use crate::protocol::token::{self, TokenAnswer, TokenResponse};
use crate::secret::Secret;
use crate::session::context::Keys;
use crate::session::record::{SessionRecord, SignedIn, Standing, StoredAccessToken};
use crate::session::{SentAt, Session};
use crate::sync::lock;

/// How long the code exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
const COMMIT_ATTEMPTS: usize = 8;

impl Client {
    /// Signs the user in: opens the browser, waits for the redirect, and stores the session.
    ///
    /// Dropping the future calls the sign-in off, unless its redirect has come already: then it completes, and
    /// shows in [`state`](Client::state).
    ///
    /// # Errors
    /// [`ErrorKind::NoBrowser`] if none can be opened; [`ErrorKind::Cancelled`] if the user declined;
    /// [`ErrorKind::FlowExpired`] at the deadline; [`ErrorKind::Configuration`], [`ErrorKind::Network`],
    /// [`ErrorKind::Server`], [`ErrorKind::Protocol`] and [`ErrorKind::ProtectionUnavailable`] from the exchanges
    /// with the server. A session that is stored stays as it was.
    pub async fn sign_in(&self, options: SignInOptions) -> Result<Session> {
        let user_agent = self.0.user_agent.clone().ok_or_else(|| self.no_user_agent())?;
        let pending = self.begin_sign_in(options).await?;
        let _cancel = CancelOnDrop(pending.canceller());
        let request = UserAgentRequest::new(pending.authorization_url(), pending.redirect_uri());
        let returned = tokio::select! {
            // The opener may stay with the browser until that is closed; the redirect comes first then.
            outcome = pending.wait() => return outcome,
            returned = user_agent.open(request) => returned,
        };
        match returned {
            Ok(UserAgentReturn::Opened) => pending.wait().await,
            Ok(UserAgentReturn::Redirected(url)) => match self.resume_sign_in(&url).await {
                // The redirect came by another way as well, and that one was faster (PL-24): its outcome is ours.
                Err(error)
                    if error.kind() == ErrorKind::AlreadyHandled
                        || pending.attempt.is_claimed()
                        || pending.attempt.is_over() =>
                {
                    pending.wait().await
                }
                outcome => outcome,
            },
            Err(failure) => {
                pending.user_agent_failed(failure);
                // Not the failure itself: if the redirect was faster, the user is signed in.
                pending.wait().await
            }
        }
    }

    /// Begins a sign-in and returns before any browser is opened: the pending sign-in is in storage, and the
    /// loopback listener, if the redirect is a loopback one, is open. A sign-in that this client still waits for
    /// ends as [`ErrorKind::Superseded`].
    ///
    /// Safe to cancel.
    ///
    /// # Errors
    /// As [`sign_in`](Client::sign_in) before the browser.
    pub async fn begin_sign_in(&self, options: SignInOptions) -> Result<PendingSignIn> {
        let inner = Arc::clone(&self.0);
        let id = self.0.context.new_diagnostic_id()?;
        let own = id.clone();
        self.0
            .context
            .run_as(&id, async move { inner.begin(options, own).await })
            .await
    }

    /// Finishes a sign-in with the redirect that came back, in this process or a later one.
    ///
    /// A URL that belongs to no pending sign-in leaves every pending sign-in as it is. Safe to cancel: the exchange
    /// goes on.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] at [`Stage::Callback`] if the URL is not the redirect of a pending sign-in;
    /// [`ErrorKind::AlreadyHandled`] if it was delivered before; else as [`sign_in`](Client::sign_in).
    pub async fn resume_sign_in(&self, redirect_url: &str) -> Result<Session> {
        let inner = Arc::clone(&self.0);
        let url = redirect_url.to_owned();
        self.0
            .context
            .run(async move {
                inner
                    .accept(&url)
                    .await
                    .map_err(|r| r.error)?
                    .finish(&inner)
                    .await
            })
            .await
    }
}

/// A redirect that was turned down.
pub(super) struct TurnedDown {
    pub(super) error: Error,
    /// It belonged to a pending sign-in, which is over now.
    #[cfg_attr(
        not(feature = "loopback"),
        allow(dead_code, reason = "only the listener asks")
    )]
    pub(super) ends_flow: bool,
}

/// A redirect that passed its checks and took its pending sign-in: nobody else can.
pub(super) struct Accepted {
    flow: FlowRecord,
    key: RecordKey,
    stored: Generation,
    callback: ValidatedCallback,
}

impl Inner {
    async fn begin(self: &Arc<Self>, options: SignInOptions, diagnostic_id: String) -> Result<PendingSignIn> {
        let server = self.context.server().await?;
        server.require_protections()?;
        if self.scope.contains("openid") {
            server.require_jwks_uri()?;
        }
        // Counted from here, not from when the task that keeps it happens to run.
        let timeout = u64::try_from(self.sign_in_timeout.as_millis()).unwrap_or(u64::MAX);
        let deadline = self.context.ports.clock.boot_millis().saturating_add(timeout);
        let listening = Listening::open(&self.redirect).await?;
        let redirect = listening.redirect(&self.redirect);

        let flow = FlowRecord {
            state: Secret::new(self.context.random_text()?),
            nonce: Secret::new(self.context.random_text()?),
            verifier: CodeVerifier::from_octets(&self.context.random_octets()?),
            redirect,
            scope: self.scope.to_wire(),
            max_age: options.requested_max_age(),
            diagnostic_id: diagnostic_id.clone(),
            expires_unix_millis: self
                .context
                .ports
                .clock
                .unix_millis()
                .saturating_add(i64::try_from(self.sign_in_timeout.as_millis()).unwrap_or(i64::MAX)),
            metadata: server.document().to_vec(),
            claimed: false,
        };
        let authorization_url = AuthorizationRequest {
            endpoint: server.authorization_endpoint(),
            client_id: &self.context.client_id,
            redirect: &flow.redirect,
            scope: &self.scope,
            state: flow.state.expose(),
            nonce: flow.nonce.expose(),
            challenge: &flow.verifier.challenge(),
            options: &options,
        }
        .to_url()?;
        let key = flow::key_of(flow.state.expose())?;
        // In storage before the URL is out: the redirect may come back to another process.
        let stored = self
            .context
            .commit(&key, Generation::ABSENT, flow.encode())
            .await?;
        if matches!(stored, CommitOutcome::Conflict(_)) {
            // RFC 6749 §10.10: a state is guessed by nobody and comes once.
            return Err(Error::internal(
                Stage::AuthorizationRequest,
                "the random source repeats itself",
            ));
        }

        let attempt = Arc::new(Attempt::new());
        {
            let mut attempts = lock(&self.attempts);
            // They stay registered until they end: one whose redirect came before ends by that.
            for older in attempts.values() {
                older.call_off(superseded());
            }
            attempts.insert(key.as_str().to_owned(), Arc::clone(&attempt));
        }
        info!(%diagnostic_id, issuer = %self.context.issuer.as_str(), "sign-in begins");
        self.fetch_keys_meanwhile(&server);
        let pending = PendingSignIn {
            authorization_url,
            redirect_uri: flow.redirect.as_str().to_owned(),
            diagnostic_id: diagnostic_id.clone(),
            attempt: Arc::clone(&attempt),
        };
        listening.serve(self, &attempt);
        let inner = Arc::clone(self);
        self.context
            .spawn(async move { inner.attend(attempt, key, deadline, &diagnostic_id).await });
        Ok(pending)
    }

    /// While the user is busy in the browser, the keys are fetched that the ID token will need.
    fn fetch_keys_meanwhile(self: &Arc<Self>, server: &Arc<AuthorizationServer>) {
        if !self.scope.contains("openid") {
            return;
        }
        let (context, server) = (Arc::clone(&self.context), Arc::clone(server));
        self.context.spawn(async move {
            if let Err(error) = context.keys(&server, Keys::AtHand).await {
                debug!(
                    code = error.code(),
                    "signing keys not fetched ahead; they are asked for again with the ID token"
                );
            }
        });
    }

    /// Sees an attempt to its one end: by a redirect, by its caller, or by the deadline.
    async fn attend(
        self: Arc<Self>,
        attempt: Arc<Attempt>,
        key: RecordKey,
        deadline: u64,
        diagnostic_id: &str,
    ) {
        let clock = Arc::clone(&self.context.ports.clock);
        let why = tokio::select! {
            _ = attempt.ended() => return,
            error = attempt.called_off() => error,
            () = clock.sleep_until(deadline) => expired(),
        };
        // Whoever takes the record decides: if a redirect took it first, here, the attempt ends by that. In another
        // process it shows as a change of state, and nobody knows whether that process lives.
        if self.take_back(&key).await || !attempt.is_claimed() {
            debug!(
                diagnostic_id,
                code = why.code(),
                "sign-in ends without a redirect"
            );
            self.end_attempt(&key, Err(why.with_diagnostic_id(diagnostic_id)), Some(&attempt));
        }
    }

    /// Removes a pending sign-in that no redirect has taken. `false` if one has.
    async fn take_back(&self, key: &RecordKey) -> bool {
        for _ in 0..COMMIT_ATTEMPTS {
            let stored = match self.context.load(key).await {
                Ok(Some(stored)) => stored,
                Ok(None) | Err(_) => return true,
            };
            if FlowRecord::decode(&stored.bytes).is_ok_and(|flow| flow.claimed) {
                return false;
            }
            if !matches!(
                self.context.remove(key, stored.generation).await,
                Ok(CommitOutcome::Conflict(_))
            ) {
                return true;
            }
        }
        true
    }

    fn end_attempt(&self, key: &RecordKey, outcome: Result<Session>, attempt: Option<&Attempt>) {
        let registered = lock(&self.attempts).remove(key.as_str());
        if let Some(attempt) = registered.as_deref().or(attempt) {
            attempt.end(outcome);
        }
    }

    /// Checks a redirect and takes its pending sign-in. Believes nothing before the state is known to be ours.
    pub(super) async fn accept(&self, url: &str) -> Result<Accepted, TurnedDown> {
        let keep = |error: Error| TurnedDown {
            error,
            ends_flow: false,
        };
        let callback = Callback::parse(url).map_err(keep)?;
        let key = flow::key_of(callback.state().map_err(keep)?).map_err(keep)?;
        let Some(stored) = self.context.load(&key).await.map_err(keep)? else {
            return Err(keep(Error::protocol(
                Stage::Callback,
                "no_pending_sign_in",
                "RFC 6749 §10.12",
                "the callback belongs to no sign-in that is under way: it was finished or called off, or never begun here",
            )));
        };
        let mut flow = FlowRecord::decode(&stored.bytes).map_err(keep)?;
        if flow.claimed {
            return Err(keep(Error::new(
                ErrorKind::AlreadyHandled,
                Stage::Callback,
                "already_handled",
                "the callback was delivered before, and is being handled",
            )));
        }
        let server = self.server_of(&flow).map_err(keep)?;
        let expected = callback::Expected {
            redirect: &flow.redirect,
            state: &flow.state,
            issuer: server.issuer_identifier(),
            iss_required: server.sends_iss(),
        };
        let outcome = callback.validate(&expected);
        if let Err(refusal) = &outcome
            && !refusal.ends_flow
        {
            return Err(keep(
                refusal.error.clone().with_diagnostic_id(&flow.diagnostic_id),
            ));
        }
        if self.context.ports.clock.unix_millis() >= flow.expires_unix_millis {
            return Err(self
                .finish_refused(
                    &key,
                    stored.generation,
                    expired().at_stage(Stage::Callback),
                    &flow,
                )
                .await);
        }
        let callback = match outcome {
            Ok(callback) => callback,
            Err(refusal) => {
                return Err(self
                    .finish_refused(&key, stored.generation, refusal.error, &flow)
                    .await);
            }
        };
        // RFC 6749 §4.1.2: a code is used once. The conditional write lets one delivery through, in any process.
        flow.claimed = true;
        let attempt = lock(&self.attempts).get(key.as_str()).map(Arc::clone);
        let claim = attempt.as_ref().map(|attempt| attempt.claim());
        let written = self.context.commit(&key, stored.generation, flow.encode()).await;
        match written {
            Ok(CommitOutcome::Committed(stored)) => {
                if let Some(claim) = claim {
                    claim.redirect_received();
                }
                Ok(Accepted {
                    flow,
                    key,
                    stored,
                    callback,
                })
            }
            Ok(CommitOutcome::Conflict(_)) => Err(keep(Error::new(
                ErrorKind::AlreadyHandled,
                Stage::Callback,
                "already_handled",
                "the callback was delivered twice at once; the other delivery is being handled",
            ))),
            // Nothing was written, and the same redirect can be tried again once the device is unlocked.
            Err(error) if error.kind() == ErrorKind::StorageLocked => Err(keep(error)),
            // It may have been written all the same, and then every later delivery would find it taken.
            Err(error) => {
                let stored = match self.context.load(&key).await {
                    Ok(Some(stored)) => stored.generation,
                    _ => stored.generation,
                };
                Err(self.finish_refused(&key, stored, error, &flow).await)
            }
        }
    }

    /// Ends the pending sign-in that a refused redirect belonged to.
    async fn finish_refused(
        &self,
        key: &RecordKey,
        stored: Generation,
        error: Error,
        flow: &FlowRecord,
    ) -> TurnedDown {
        let error = error.with_diagnostic_id(&flow.diagnostic_id);
        warn!(diagnostic_id = %flow.diagnostic_id, code = error.code(), "the redirect ends the sign-in");
        match self.context.remove(key, stored).await {
            Ok(CommitOutcome::Conflict(_)) => {}
            _ => self.end_attempt(key, Err(error.clone()), None),
        }
        TurnedDown {
            error,
            ends_flow: true,
        }
    }

    fn server_of(&self, flow: &FlowRecord) -> Result<AuthorizationServer> {
        AuthorizationServer::parse(&flow.metadata, &self.context.issuer, self.context.policy)
    }
}

impl Accepted {
    /// Exchanges the code, verifies, stores, publishes; then tells whoever waits.
    pub(super) async fn finish(self, inner: &Arc<Inner>) -> Result<Session> {
        let id = self.flow.diagnostic_id.clone();
        let _end = EndOnPanic {
            inner: Arc::clone(inner),
            key: self.key.clone(),
        };
        let outcome = self
            .exchange(inner)
            .await
            .map_err(|error| error.with_diagnostic_id(&id));
        // The code is spent, whatever came of it; what is left of the sign-in is no longer needed.
        drop(inner.context.remove(&self.key, self.stored).await);
        match &outcome {
            Ok(_) => info!(diagnostic_id = %id, "signed in"),
            Err(error) => {
                warn!(diagnostic_id = %id, code = error.code(), stage = error.stage().name(), "sign-in failed")
            }
        }
        inner.end_attempt(&self.key, outcome.clone(), None);
        if outcome.is_ok() {
            inner.slot.emit(SessionEvent::SignedIn);
        }
        outcome
    }

    async fn exchange(&self, inner: &Arc<Inner>) -> Result<Session> {
        let context = &inner.context;
        let server = inner.server_of(&self.flow)?;
        context.remember_server(server.clone()).await;
        let sent_at = SentAt::now(context);
        let body = token::code_request(
            &context.client_id,
            &self.callback,
            &self.flow.redirect,
            &self.flow.verifier,
        );
        let response = context
            .post_grant(
                Stage::TokenExchange,
                server.token_endpoint(),
                body,
                EXCHANGE_TIMEOUT,
            )
            .await?;
        let answer = TokenAnswer::read(
            response.status,
            &response.headers,
            &response.body,
            Stage::TokenExchange,
            &[self.callback.code().expose(), self.flow.verifier.expose()],
        );
        let tokens = match answer {
            TokenAnswer::Granted(tokens) => tokens,
            TokenAnswer::Unusable { error, refresh_token } => {
                if let Some(token) = refresh_token {
                    revoke_quietly(inner, token);
                }
                return Err(error);
            }
            TokenAnswer::GrantRefused(error) | TokenAnswer::Rejected(error) | TokenAnswer::Unknown(error) => {
                return Err(error);
            }
        };
        let claims = match self.verify(inner, &server, &tokens).await {
            Ok(claims) => claims,
            Err(error) => {
                // Nothing of a sign-in that failed stays usable: neither here nor at the server.
                if let Some(token) = tokens.refresh_token {
                    revoke_quietly(inner, token);
                }
                return Err(error);
            }
        };
        store(inner, self, tokens, claims, &sent_at).await
    }

    async fn verify(
        &self,
        inner: &Inner,
        server: &AuthorizationServer,
        tokens: &TokenResponse,
    ) -> Result<Option<Claims>> {
        let requested = Scope::from_response(&self.flow.scope);
        let Some(id_token) = &tokens.id_token else {
            if !requested.contains("openid") {
                return Ok(None);
            }
            return Err(Error::protocol(
                Stage::IdToken,
                "id_token_missing",
                "OpenID Connect Core §3.1.3.3",
                "the scope openid was asked for, and the token response has no ID token",
            ));
        };
        if !requested.contains("openid") {
            return Ok(None);
        }
        let expected = id_token::Expected {
            issuer: &inner.context.issuer,
            client_id: &inner.context.client_id,
            algorithms: server.id_token_algorithms(),
            access_token: &tokens.access_token,
            now: inner.context.now_seconds(),
            occasion: Occasion::SignIn {
                nonce: &self.flow.nonce,
                max_age: self.flow.max_age,
            },
        };
        inner
            .context
            .verify_id_token(server, id_token, &expected)
            .await
            .map(Some)
    }
}

/// Ends the attempt of an exchange that did not get to it by itself, because an adapter panicked.
struct EndOnPanic {
    inner: Arc<Inner>,
    key: RecordKey,
}

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        // Without a panic the attempt is over by now, and this finds nothing.
        let lost = Error::internal(
            Stage::TokenExchange,
            "the exchange did not finish; this is a defect in Gatepass or in an adapter",
        );
        self.inner.end_attempt(&self.key, Err(lost), None);
    }
}

/// Stores the session in place of what was there: a new epoch, so that whatever is still under way for an older
/// session is dropped.
async fn store(
    inner: &Arc<Inner>,
    accepted: &Accepted,
    tokens: TokenResponse,
    claims: Option<Claims>,
    sent_at: &SentAt,
) -> Result<Session> {
    let scope = tokens
        .scope
        .unwrap_or_else(|| Scope::from_response(&accepted.flow.scope));
    let standing = Standing::SignedIn(Box::new(SignedIn {
        claims,
        scope,
        refresh_token: tokens.refresh_token.clone(),
        access_token: Some(StoredAccessToken {
            token: tokens.access_token,
            expiry: tokens.expires_in.map(|lifetime| sent_at.expiry(lifetime)),
        }),
        id_token: tokens.id_token,
        provisional: false,
        journal: None,
    }));
    let mut outcome = Err(Error::internal(Stage::Storage, "the session was not stored"));
    for _ in 0..COMMIT_ATTEMPTS {
        let (least_epoch, least_generation) = inner.slot.after_newest();
        let (epoch, generation, expected) = match inner.slot.read_raw().await {
            Ok(Some((Ok(old), stored))) => (
                least_epoch.max(old.epoch.saturating_add(1)),
                least_generation.max(old.generation.saturating_add(1)),
                stored.generation,
            ),
            // What nobody can read any more must not keep the user from signing in again.
            Ok(Some((Err(_), stored))) => (least_epoch, least_generation, stored.generation),
            Ok(None) => (least_epoch, least_generation, Generation::ABSENT),
            Err(error) => {
                outcome = Err(error);
                break;
            }
        };
        let record = SessionRecord {
            epoch,
            generation,
            standing: standing.clone(),
        };
        match inner
            .context
            .commit(&inner.slot.key, expected, record.encode())
            .await
        {
            Ok(CommitOutcome::Committed(_)) => {
                inner.slot.publish(&record);
                let session = Session::of(&inner.slot, &record);
                outcome =
                    session.ok_or_else(|| Error::internal(Stage::Session, "a new session was over at once"));
                break;
            }
            Ok(CommitOutcome::Conflict(_)) => {}
            Err(error) => {
                outcome = Err(error);
                break;
            }
        }
    }
    if outcome.is_err()
        && let Some(token) = tokens.refresh_token
    {
        revoke_quietly(inner, token);
    }
    outcome
}

/// Gives a grant back that cannot be kept. Best effort: the sign-in failed already, and says why.
fn revoke_quietly(inner: &Arc<Inner>, token: token::RefreshToken) {
    let context = Arc::clone(&inner.context);
    inner.context.spawn(async move {
        if let Err(error) = context.revoke(&token).await {
            debug!(
                code = error.code(),
                "a refresh token that is not kept was not revoked"
            );
        }
    });
}
