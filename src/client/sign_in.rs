//! One sign-in: begun, and seen to its one end. What happens to the redirect is in `accept` and `exchange`.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info};
use zeroize::Zeroizing;

use super::flow::{FlowRecord, Progress};
use super::listening;
use super::neighbours;
use super::pending::{Attempt, CancelOnDrop, PendingSignIn, expired, superseded};
use super::{Client, Inner};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::{CommitOutcome, Generation, RecordKey, UserAgentRequest, UserAgentReturn};
use crate::protocol::authorization::{AuthorizationRequest, SignInOptions};
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::par::{self, PushedRequest};
use crate::protocol::pkce::{CodeChallenge, CodeVerifier};
use crate::secret::Secret;

use crate::session::context::{COMMIT_ATTEMPTS, no_user_agent};
use crate::session::knowledge::Keys;
use crate::session::listening::Listening;
use crate::session::sessions::Accounts;
use crate::session::{Moment, Session};
use crate::sync::lock;

/// How long pushing the request may take.
const PUSH_TIMEOUT: Duration = Duration::from_secs(10);

impl Client {
    /// Signs the user in: opens the browser, waits for the redirect, and stores the session.
    ///
    /// Dropping the future calls the sign-in off, unless its redirect has come already: then it completes, and
    /// shows in [`state`](Client::state).
    ///
    /// ```no_run
    /// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
    /// use gatepass::{ErrorKind, SignInOptions};
    ///
    /// match client.sign_in(SignInOptions::default().login_hint("ada@example.com")).await {
    ///     Ok(session) => println!("signed in, session {}", session.id()),
    ///     Err(error) if error.kind() == ErrorKind::Cancelled => println!("not this time"),
    ///     Err(error) => return Err(error.into()),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NoBrowser`] if none can be opened; [`ErrorKind::Cancelled`] if the user declined;
    /// [`ErrorKind::FlowExpired`] at the deadline; [`ErrorKind::Configuration`], [`ErrorKind::Network`],
    /// [`ErrorKind::Server`], [`ErrorKind::Protocol`] and [`ErrorKind::ProtectionUnavailable`] from the exchanges
    /// with the server. A session that is stored stays as it was.
    pub async fn sign_in(&self, options: SignInOptions) -> Result<Session> {
        let user_agent = self.0.context.ports.user_agent.clone();
        let user_agent = user_agent.ok_or_else(no_user_agent)?;
        let pending = self.begin_sign_in(options).await?;
        let _cancel = CancelOnDrop(pending.canceller());
        let request = UserAgentRequest::new(pending.authorization_url(), pending.redirect_uri());
        let returned = tokio::select! {
            biased;
            // The opener may stay with the browser until that is closed; the redirect comes first then.
            outcome = pending.wait() => return outcome,
            returned = user_agent.open(request) => returned,
        };
        match returned {
            Ok(UserAgentReturn::Opened) => pending.wait().await,
            Ok(UserAgentReturn::Redirected(url)) => match self.resume_sign_in(&Zeroizing::new(url)).await {
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
    /// ```no_run
    /// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
    /// let pending = client.begin_sign_in(gatepass::SignInOptions::default()).await?;
    /// println!("Open {}", pending.authorization_url());
    /// let session = pending.wait().await?;
    /// # Ok(())
    /// # }
    /// ```
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
    /// ```no_run
    /// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
    /// // What the platform started the program with.
    /// if let Some(redirect) = std::env::args().nth(1) {
    ///     let session = client.resume_sign_in(&redirect).await?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] at [`Stage::Callback`] if the URL is not the redirect of a pending sign-in;
    /// [`ErrorKind::AlreadyHandled`] if it was delivered before; else as [`sign_in`](Client::sign_in).
    pub async fn resume_sign_in(&self, redirect_url: &str) -> Result<Session> {
        let inner = Arc::clone(&self.0);
        let url = Zeroizing::new(redirect_url.to_owned());
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

impl Inner {
    async fn begin(self: &Arc<Self>, options: SignInOptions, diagnostic_id: String) -> Result<PendingSignIn> {
        if self.sessions.accounts() == Accounts::Several && !options.scope_or(&self.scope).contains("openid")
        {
            return Err(Error::configuration(
                "several_accounts_without_openid",
                "OpenID Connect Core §5.7",
                "several accounts are told apart by the subject of their ID tokens; ask for the scope openid",
            ));
        }
        self.context.keep_knowledge().await;
        let server = self.context.server().await?;
        self.context.give_back_what_waits();
        server.require_protections()?;
        neighbours::check(&self.context, &self.redirect, &server)?;
        let scope = options.scope_or(&self.scope);
        if scope.contains("openid") {
            server.require_jwks_uri()?;
        }
        // Counted from here, not from when the task that keeps it happens to run.
        let timeout = u64::try_from(self.sign_in_timeout.as_millis()).unwrap_or(u64::MAX);
        let deadline = self.context.ports.clock.boot_millis().saturating_add(timeout);
        // Their ports are free again before this one binds its own, which may be the same.
        self.supersede_left_open().await;
        let listening = Listening::open(&self.redirect).await?;
        let redirect = listening.redirect(&self.redirect);

        let secrets = self.context.request_secrets()?;
        let now = Moment::now(&*self.context.ports.clock);
        let flow = FlowRecord {
            client_id: self.context.client_id.clone(),
            state: Secret::new(secrets.state.as_str().to_owned()),
            nonce: Secret::new(secrets.nonce.as_str().to_owned()),
            verifier: CodeVerifier::new(secrets.verifier.as_str().to_owned()),
            redirect,
            scope: scope.as_str().to_owned(),
            max_age: options.requested_max_age(),
            acr_values: options.requested_acr_values().to_vec(),
            resources: options.requested_resources().to_vec(),
            diagnostic_id: diagnostic_id.clone(),
            expires_unix_millis: now
                .unix_millis()
                .saturating_add(i64::try_from(self.sign_in_timeout.as_millis()).unwrap_or(i64::MAX)),
            at: now,
            metadata: server.document().to_vec(),
            progress: Progress::Waiting,
        };
        // Whoever is to be signed in without a page must be said (OpenID Connect Core §3.1.2.1).
        let hint = match options.is_silent() {
            true => match self.sessions.current().await? {
                Some(session) => session.id_token().await?,
                None => None,
            },
            false => None,
        };
        let request = AuthorizationRequest {
            server: &server,
            client_id: &self.context.client_id,
            redirect: &flow.redirect,
            scope,
            state: flow.state.expose(),
            nonce: flow.nonce.expose(),
            challenge: &CodeChallenge::of(flow.verifier.expose()),
            options: &options,
            id_token_hint: hint.as_ref(),
        };
        let (authorization_url, url_lifetime) = self.announce(&request).await?;
        let key = self.context.names.flow(flow.state.expose())?;
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
        if scope.contains("openid") {
            self.fetch_keys_meanwhile(&server);
        }
        let pending = PendingSignIn {
            authorization_url,
            url_lifetime,
            redirect_uri: flow.redirect.as_str().to_owned(),
            diagnostic_id: diagnostic_id.clone(),
            attempt: Arc::clone(&attempt),
        };
        listening::serve(listening, self, &attempt);
        let inner = Arc::clone(self);
        self.context
            .spawn(async move { inner.attend(attempt, key, deadline, &diagnostic_id).await });
        Ok(pending)
    }

    /// The URL for the browser, and for how long it can be presented. Where the server takes pushed requests, the request
    /// goes to it directly first (RFC 9126 §5); if that fails, so does the sign-in: what was to be protected on its way is
    /// never put into the URL instead.
    async fn announce(&self, request: &AuthorizationRequest<'_>) -> Result<(String, Option<Duration>)> {
        let Some(endpoint) = request.server.pushed_authorization_request_endpoint() else {
            return Ok((request.to_url()?, None));
        };
        let stage = Stage::PushedAuthorization;
        let body = par::request(request)?;
        let push = || {
            self.context
                .post_grant(stage, endpoint, body.clone(), PUSH_TIMEOUT)
        };
        let response = match push().await {
            // A pushed request that is lost costs nothing, so one more is sent.
            Err(error) if matches!(error.kind(), ErrorKind::Network(_)) => push().await?,
            outcome => outcome?,
        };
        let secrets = [request.state, request.nonce];
        let pushed = PushedRequest::read(
            endpoint,
            response.status,
            &response.headers,
            &response.body,
            &secrets,
        )?;
        let url = pushed.to_url(request.server, request.client_id)?;
        Ok((url, Some(pushed.expires_in())))
    }

    /// While the user is busy in the browser, the keys are fetched that the ID token will need.
    fn fetch_keys_meanwhile(self: &Arc<Self>, server: &Arc<AuthorizationServer>) {
        let (context, server) = (Arc::clone(&self.context), Arc::clone(server));
        self.context.spawn(async move {
            if let Err(error) = context.keys(&server, Keys::NotOld).await {
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
            // In this order, where several are ready at once: what has happened comes before what only could.
            biased;
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
            if FlowRecord::decode(&stored.bytes).is_ok_and(|flow| !matches!(flow.progress, Progress::Waiting))
            {
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

    pub(super) fn end_attempt(&self, key: &RecordKey, outcome: Result<Session>, attempt: Option<&Attempt>) {
        let registered = lock(&self.attempts).remove(key.as_str());
        if let Some(attempt) = registered.as_deref().or(attempt) {
            attempt.end(outcome);
        }
    }
}
