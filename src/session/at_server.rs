//! What is asked of the server besides a refresh: keys that an ID token needs, and the revocation of a grant.

use zeroize::Zeroizing;

use super::context::{Context, Keys};
use super::refresh::REFRESH_TIMEOUT;
use crate::error::{Result, Stage};
use crate::protocol::id_token::{self, Claims, Refused};
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::revocation;
use crate::protocol::token::{IdToken, RefreshToken};

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
