//! A refresh that was granted: what came is durable first, then verified, then published.

use std::sync::Arc;

use super::at_server::Unverified;
use super::context::Context;
use super::ended;
use super::flight::Outcome;
use super::moment::Moment;
use super::record::{SignedIn, Standing, StoredAccessToken};
use super::refresh::{Refresh, Seen, busy};
use super::snapshot::Snapshot;
use crate::error::{EndReason, Result, Stage};
use crate::protocol::id_token::{self, Claims, Occasion};
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::token::{AccessToken, IdToken, RefreshToken, TokenResponse};

impl Refresh {
    pub(super) async fn granted(
        &self,
        server: &AuthorizationServer,
        current: Seen,
        tokens: TokenResponse,
        sent_at: Moment,
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
        close(session);
        if let (Some(id_token), true) = (&tokens.id_token, original.is_some()) {
            session.provisional = true;
            session.id_token = Some(id_token.clone());
        } else if session.provisional {
            // An ID token that waits, or was wrong, came with older tokens and says nothing about these (OpenID Connect
            // Core §12.2: a refresh need not bring one).
            session.provisional = false;
            session.id_token = None;
        }
        let stored = self
            .slot
            .commit_tokens(&mut record, current.stored, rotated)
            .await?;

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
            self.slot.commit_tokens(&mut record, stored, rotated).await?;
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
    pub(super) async fn verify_waiting(
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
        current.stored = self
            .slot
            .commit_tokens(&mut current.record, current.stored, false)
            .await?;
        self.slot.publish(&current.record);
        Ok(())
    }

    /// The server made an answer that cannot be used, but a refresh token in it has replaced the old one.
    pub(super) async fn keep_refresh_token(
        &self,
        current: Seen,
        refresh_token: Option<RefreshToken>,
    ) -> Result<()> {
        let mut record = current.record;
        let Standing::SignedIn(session) = &mut record.standing else {
            return Err(busy());
        };
        let Some(token) = refresh_token else { return Ok(()) };
        session.refresh_token = Some(token);
        close(session);
        record.generation = record.generation.saturating_add(1);
        self.slot.commit_tokens(&mut record, current.stored, true).await?;
        self.slot.publish(&record);
        Ok(())
    }
}

/// The attempt has brought tokens, and they are from it.
fn close(session: &mut SignedIn) {
    if let Some(journal) = session.journal.take() {
        session.attempt = journal.number;
    }
}
