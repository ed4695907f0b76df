//! What is asked of the server besides a refresh: keys that an ID token needs, and the revocation of a grant.

use zeroize::Zeroizing;

use super::context::{Context, Keys};
use super::refresh::REFRESH_TIMEOUT;
use crate::error::{Result, Stage};
use crate::protocol::id_token::{self, Claims, Refused};
use crate::protocol::jwk::JwkSet;
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::revocation;
use crate::protocol::token::{IdToken, RefreshToken};
use crate::protocol::userinfo::{self, SignedUserinfo, Userinfo};

impl Context {
    /// Verifies an ID token; if its key is not known, with newer keys, once.
    pub(crate) async fn verify_id_token(
        &self,
        server: &AuthorizationServer,
        token: &IdToken,
        expected: &id_token::Expected<'_>,
    ) -> Result<Claims> {
        self.with_keys(server, |keys| id_token::verify(token, keys, expected))
            .await
    }

    /// Verifies signed userinfo, with newer keys if its key is not known.
    pub(crate) async fn verify_userinfo(
        &self,
        server: &AuthorizationServer,
        answer: &SignedUserinfo,
        subject: &str,
    ) -> Result<Userinfo> {
        let expected = userinfo::Expected {
            issuer: &self.issuer,
            client_id: &self.client_id,
            algorithms: server.userinfo_algorithms(),
            subject,
            now: self.now_seconds(),
        };
        self.with_keys(server, |keys| answer.verify(keys, &expected))
            .await
    }

    async fn with_keys<T>(
        &self,
        server: &AuthorizationServer,
        verify: impl Fn(&JwkSet) -> Result<T, Refused>,
    ) -> Result<T> {
        let keys = self.keys(server, Keys::AtHand).await?;
        match verify(&keys) {
            Err(Refused::UnknownKey(_)) => {
                let keys = self.keys(server, Keys::Newer).await?;
                verify(&keys).map_err(Refused::into_error)
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
