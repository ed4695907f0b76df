//! What is asked of the server besides a refresh: keys that an ID token needs, and the revocation of a grant.

use std::time::Duration;

use zeroize::Zeroizing;

use super::context::Context;
use super::knowledge::Keys;
use super::pace::asked_for;
use crate::error::{Error, Result, Stage};
use crate::protocol::id_token::{self, Claims, Refused};
use crate::protocol::jwk::JwkSet;
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::revocation;
use crate::protocol::token::{IdToken, RefreshToken};
use crate::protocol::userinfo::{self, SignedUserinfo, Userinfo};

/// A revocation waits this long for its answer.
const REVOCATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Why an ID token is not verified.
#[derive(Debug)]
pub(crate) enum Unverified {
    /// It is wrong, for good.
    Refused(Error),
    /// Nobody can tell yet: the key it names cannot be had now.
    Undecided {
        error: Error,
        /// By the boot clock: before this, asking again is of no use.
        not_before: u64,
    },
}

impl Unverified {
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Refused(error) | Self::Undecided { error, .. } => error,
        }
    }
}

impl Context {
    /// Verifies an ID token with the keys at hand. Asks nobody.
    pub(crate) async fn verify_at_hand(
        &self,
        token: &IdToken,
        expected: &id_token::Expected<'_>,
    ) -> Result<Claims, Unverified> {
        let undecided = |error| Unverified::Undecided { error, not_before: 0 };
        let Some(keys) = self.keys_at_hand().await else {
            return Err(undecided(Error::internal(Stage::Jwks, "no keys are at hand")));
        };
        id_token::verify(token, &keys, expected).map_err(|refused| match refused {
            Refused::UnknownKey(error) => undecided(error),
            Refused::Invalid(error) => Unverified::Refused(error),
        })
    }

    /// Verifies an ID token; if its key is not known, with newer keys, once.
    pub(crate) async fn verify_id_token(
        &self,
        server: &AuthorizationServer,
        token: &IdToken,
        expected: &id_token::Expected<'_>,
    ) -> Result<Claims, Unverified> {
        let (verdict, newer_from) = self
            .verify_with_keys(server, |keys| id_token::verify(token, keys, expected))
            .await
            .map_err(|error| {
                let now = self.ports.clock.boot_millis();
                let not_before = now.saturating_add(asked_for(&error));
                Unverified::Undecided { error, not_before }
            })?;
        verdict.map_err(|refused| match (refused, newer_from) {
            // The keys may have been rolled over since they were fetched, and it is too early to ask again.
            (Refused::UnknownKey(error), Some(not_before)) => Unverified::Undecided { error, not_before },
            (refused, _) => Unverified::Refused(refused.into_error()),
        })
    }

    /// Verifies signed userinfo, with newer keys if its key is not known.
    pub(crate) async fn verify_userinfo(
        &self,
        server: &AuthorizationServer,
        signed: &SignedUserinfo,
        subject: &str,
    ) -> Result<Userinfo> {
        let expected = userinfo::Expected {
            issuer: &self.issuer,
            client_id: &self.client_id,
            algorithms: server.userinfo_algorithms(),
            subject,
            now: self.now_seconds(),
        };
        let (verdict, _) = self
            .verify_with_keys(server, |keys| signed.verify(keys, &expected))
            .await?;
        verdict.map_err(Refused::into_error)
    }

    /// Verifies with the keys at hand, and once more with newer ones if the key is not among them. With the verdict comes
    /// what [`KeysAnswer::newer_from`](super::knowledge::KeysAnswer::newer_from) says of the keys it rests on. An error if
    /// keys cannot be had.
    async fn verify_with_keys<T>(
        &self,
        server: &AuthorizationServer,
        verify: impl Fn(&JwkSet) -> Result<T, Refused>,
    ) -> Result<(Result<T, Refused>, Option<u64>)> {
        let mut answer = self.keys(server, Keys::AtHand).await?;
        let mut verdict = verify(&answer.keys);
        if let (Err(Refused::UnknownKey(_)), Some(_)) = (&verdict, answer.newer_from) {
            answer = self.keys(server, Keys::Newer).await?;
            verdict = verify(&answer.keys);
        }
        Ok((verdict, answer.newer_from))
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
            .post_grant(Stage::Revocation, endpoint, body, REVOCATION_TIMEOUT)
            .await?;
        revocation::read(response.status, &response.headers, &response.body, token)?;
        Ok(true)
    }
}
