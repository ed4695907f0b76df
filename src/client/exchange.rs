//! The code exchange: one request, verification, storage, and the end of the attempt.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::Inner;
use super::accept::Accepted;
use crate::error::{Error, Result, Stage};
use crate::ports::{CommitOutcome, Generation, RecordKey, SessionEvent};
use crate::protocol::id_token::{self, Claims, Occasion};
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::scope::Scope;
use crate::protocol::token::{self, TokenAnswer, TokenResponse};
use crate::session::record::{SessionRecord, SignedIn, Standing, StoredAccessToken};
use crate::session::{SentAt, Session};

/// How long the code exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// A conditional write that keeps meeting newer records gives up after this many.
const COMMIT_ATTEMPTS: usize = 8;

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
        let sent_at = SentAt::now(&*context.ports.clock);
        let body = token::code_request(
            &context.client_id,
            &self.callback,
            &self.flow.redirect,
            &self.flow.verifier,
            &[],
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
                code: self.callback.code(),
                max_age: self.flow.max_age,
                acr_values: &[],
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
