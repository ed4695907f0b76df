//! The test server for tests in Kotlin and Swift: one process is the whole world.

use std::fmt;

use crate::test_server::{TestBrowser, TestServer};

/// A strict authorization server with a protected API on a loopback port. It stops when it is released.
#[derive(uniffi::Object)]
pub(crate) struct FfiTestServer {
    server: TestServer,
    browser: TestBrowser,
}

/// The server did not start, or its browser did not get to where it was sent.
#[derive(Clone, Debug, uniffi::Error)]
pub(crate) enum FfiTestServerError {
    /// Why.
    Failed {
        /// A text for people.
        reason: String,
    },
}

#[uniffi::export]
impl FfiTestServer {
    /// Starts a server on a port the system chooses.
    #[uniffi::constructor]
    pub(crate) fn start() -> Result<Self, FfiTestServerError> {
        let server = TestServer::start().map_err(failed)?;
        let browser = server.browser();
        Ok(Self { server, browser })
    }

    /// The issuer.
    pub(crate) fn issuer(&self) -> String {
        self.server.issuer().to_owned()
    }

    /// The registered client.
    pub(crate) fn client_id(&self) -> String {
        self.server.client_id().to_owned()
    }

    /// A protected API: `GET` with an access token.
    pub(crate) fn api_url(&self) -> String {
        self.server.api_url()
    }

    /// Plays the browser and the first test user; returns the redirect, which is not visited.
    pub(crate) async fn browser_sign_in(
        &self,
        authorization_url: String,
    ) -> Result<String, FfiTestServerError> {
        let user = self.server.users().first().cloned();
        let user = user.ok_or_else(|| failed("the server has no users"))?;
        self.browser
            .sign_in(&authorization_url, &user)
            .await
            .map_err(failed)
    }

    /// How many requests for this path the server has seen.
    pub(crate) fn request_count(&self, path: String) -> u64 {
        self.server
            .requests()
            .iter()
            .filter(|request| request.path() == path)
            .fold(0, |count, _| count + 1)
    }

    /// Revokes every code, token and browser session there is.
    pub(crate) fn revoke_everything(&self) {
        self.server.revoke_everything();
    }
}

fn failed(why: impl fmt::Display) -> FfiTestServerError {
    FfiTestServerError::Failed {
        reason: why.to_string(),
    }
}

impl fmt::Display for FfiTestServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Failed { reason } = self;
        f.write_str(reason)
    }
}

impl std::error::Error for FfiTestServerError {}
