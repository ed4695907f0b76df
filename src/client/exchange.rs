//! The code exchange: one request, verification, storage, and the end of the attempt.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{info, warn};

use super::Inner;
use super::accept::{Accepted, gone};
use super::flow::{Progress, Provisional};
use super::provisional::Unfinished;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::{CommitOutcome, RecordKey, SessionEvent, UserAgentFailure};
use crate::protocol::scope::Scope;
use crate::protocol::token::{self, RefreshToken, TokenAnswer, TokenResponse};
use crate::session::context::Context;
use crate::session::record::{SignedIn, StoredAccessToken};
use crate::session::{Moment, Session};

/// How long the code exchange may take.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

impl Accepted {
    /// Exchanges the code, verifies, stores, publishes; then tells whoever waits.
    pub(super) async fn finish(mut self, inner: &Arc<Inner>) -> Result<Session> {
        let id = self.flow.diagnostic_id.clone();
        let _end = EndOnPanic {
            inner: Arc::clone(inner),
            key: self.key.clone(),
        };
        let mut give_back = false;
        let (outcome, over) = match self.exchange(inner).await {
            Ok(session) => (Ok(session), true),
            // What can still come true stays in storage.
            Err(Unfinished::Later(error)) => (Err(error), false),
            Err(Unfinished::Never { error, give_back: so }) => {
                give_back = so;
                (Err(error), true)
            }
            Err(Unfinished::Forgotten) => {
                give_back = true;
                (Err(gone()), true)
            }
            // Nothing is wrong with it: the next look finds it.
            Err(Unfinished::Unstored(error)) => {
                let over = error.kind() != ErrorKind::StorageLocked && self.is_removed(inner).await;
                if over {
                    // A user who is told that it failed must not be left with a grant that nobody holds.
                    inner.revoke_quietly(self.flow.refresh_token());
                } else {
                    inner.unsettled.store(true, Ordering::SeqCst);
                }
                (Err(error), over)
            }
        };
        let mut outcome = outcome.map_err(|error| {
            let mut secrets = self.flow.secrets();
            secrets.push(self.callback.code().expose());
            error.without(&secrets).with_diagnostic_id(&id)
        });
        if over && inner.is_forgotten(&self.key, self.stored).await {
            // It goes as well, though it was stored meanwhile.
            if let Ok(session) = &outcome {
                inner.forget_late(session).await;
            }
            outcome = Err(Error::from(UserAgentFailure::Cancelled).with_diagnostic_id(&id));
        }
        if give_back {
            inner.revoke_quietly(self.flow.refresh_token());
        }
        match &outcome {
            Ok(_) => info!(diagnostic_id = %id, "signed in"),
            Err(error) => {
                warn!(diagnostic_id = %id, code = error.code(), stage = error.stage().name(), "sign-in failed")
            }
        }
        inner.end_attempt(&self.key, outcome.clone(), None);
        if let Ok(session) = &outcome {
            session.emit(SessionEvent::SignedIn);
        }
        outcome
    }

    /// Whether nobody can find this sign-in in storage any more, and make a session of it.
    async fn is_removed(&self, inner: &Inner) -> bool {
        match inner.context.remove(&self.key, self.stored).await {
            Ok(CommitOutcome::Committed(_)) => true,
            // Unless by one who has finished it.
            Ok(CommitOutcome::Conflict(None)) => {
                let finished = inner.has_finished(&self.flow.diagnostic_id).await;
                finished.is_ok_and(|finished| !finished)
            }
            Ok(CommitOutcome::Conflict(Some(_))) | Err(_) => false,
        }
    }

    async fn exchange(&mut self, inner: &Arc<Inner>) -> Result<Session, Unfinished> {
        let failed = |error| Unfinished::Never {
            error,
            give_back: false,
        };
        let tokens = self.redeem(inner).await.map_err(failed)?;
        self.flow.at = Moment::now(&*inner.context.ports.clock);
        self.flow.progress = Progress::Provisional(Provisional {
            tokens: Box::new(tokens),
            code: self.callback.code().clone(),
            received_seconds: inner.context.now_seconds(),
        });
        // Durable before anything else: the code that they were had for is spent.
        let unkept = self.keep(inner).await?;
        let later = match inner.conclude_at_hand(&self.flow).await {
            Err(Unfinished::Later(_)) => match inner.conclude(&self.flow).await {
                Err(Unfinished::Later(error)) => error,
                decided => return decided,
            },
            decided => return decided,
        };
        if unkept.is_some()
            && let Some(error) = self.keep(inner).await?
        {
            // They are nowhere but here, and nobody can wait for their keys any longer.
            let give_back = true;
            return Err(Unfinished::Never { error, give_back });
        }
        Err(Unfinished::Later(later))
    }

    /// Makes the tokens durable. Gives why storage did not take them, if it did not.
    async fn keep(&mut self, inner: &Arc<Inner>) -> Result<Option<Error>, Unfinished> {
        let bytes = self.flow.encode();
        let written = inner.context.commit(&self.key, self.stored, bytes.clone()).await;
        match written {
            Ok(CommitOutcome::Committed(stored)) => self.stored = stored,
            // Everything was to be forgotten meanwhile, and this with it.
            Ok(CommitOutcome::Conflict(_)) => {
                return Err(Unfinished::Never {
                    error: UserAgentFailure::Cancelled.into(),
                    give_back: true,
                });
            }
            Err(error) => {
                warn!(
                    code = error.code(),
                    "tokens that wait for their keys cannot be stored"
                );
                // It may have been written all the same.
                match inner.written_as(&self.key, &bytes).await {
                    Some(written) => self.stored = written,
                    None => return Ok(Some(error)),
                }
            }
        }
        Ok(None)
    }

    /// One request: the code for tokens.
    async fn redeem(&self, inner: &Arc<Inner>) -> Result<SignedIn> {
        let context = &inner.context;
        let server = inner.server_of(&self.flow)?;
        context.remember_server(server.clone()).await;
        let sent_at = Moment::now(&*context.ports.clock);
        let body = token::code_request(
            &context.client_id,
            &self.callback,
            &self.flow.redirect,
            &self.flow.verifier,
            &self.flow.resources,
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
        match answer {
            TokenAnswer::Granted(tokens) => Ok(self.signed_in(inner, tokens, &sent_at)),
            TokenAnswer::Unusable { error, refresh_token } => {
                inner.revoke_quietly(refresh_token);
                Err(error)
            }
            TokenAnswer::GrantRefused(error) | TokenAnswer::Rejected(error) | TokenAnswer::Unknown(error) => {
                Err(error)
            }
        }
    }

    /// The session that these tokens make, once their ID token is verified.
    fn signed_in(&self, inner: &Inner, tokens: TokenResponse, sent_at: &Moment) -> SignedIn {
        Context::put_up_with(&tokens.oddities);
        SignedIn {
            since_unix_millis: inner.context.ports.clock.unix_millis(),
            sign_in: Some(self.flow.diagnostic_id.clone()),
            claims: None,
            // RFC 6749 §5.1: without a scope in the answer, what was asked for was granted.
            scope: tokens
                .scope
                .unwrap_or_else(|| Scope::from_response(&self.flow.scope)),
            refresh_token: tokens.refresh_token,
            access_token: Some(StoredAccessToken {
                token: tokens.access_token,
                // Set when the session begins.
                generation: 0,
                expiry: tokens.expires_in.map(|lifetime| sent_at.expiry(lifetime)),
            }),
            others: Vec::new(),
            id_token: tokens.id_token,
            provisional: true,
            device: inner.context.device(),
            journal: None,
            attempt: 0,
        }
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

impl Inner {
    /// Gives a grant back that cannot be kept. The sign-in failed already, and says why.
    pub(super) fn revoke_quietly(&self, token: Option<RefreshToken>) {
        if let Some(token) = token {
            self.context.give_back_quietly(token, None);
        }
    }
}
