//! The front door: a client over the platform's HTTP and storage.

use std::fmt;
use std::sync::Arc;

use super::config::{FfiConfig, FfiSignInOptions};
use super::error::FfiError;
use super::http::{FfiHttpTransport, ForeignHttp};
use super::session::{FfiSession, FfiSessionState};
use super::storage::{FfiSecureStorage, ForeignStorage};
use crate::client::{Client, PendingSignIn};

/// One app's client at one authorization server.
#[derive(uniffi::Object)]
pub(crate) struct FfiClient(Client);

/// A sign-in that waits for its redirect.
#[derive(Clone, uniffi::Record)]
#[uniffi::export(Debug, Display)]
pub(crate) struct FfiPendingSignIn {
    /// The URL for the browser. It holds state and nonce: not for logs.
    pub(crate) authorization_url: String,
    /// The redirect URI of this sign-in.
    pub(crate) redirect_uri: String,
    /// Finds the attempt in the logs.
    pub(crate) diagnostic_id: String,
}

#[uniffi::export]
impl FfiClient {
    /// Checks the configuration and makes the client. Does no I/O.
    #[uniffi::constructor]
    pub(crate) fn new(
        config: FfiConfig,
        http: Arc<dyn FfiHttpTransport>,
        storage: Arc<dyn FfiSecureStorage>,
    ) -> Result<Self, FfiError> {
        let client = config
            .into_builder()
            .http_transport(Arc::new(ForeignHttp(http)))
            .storage(Arc::new(ForeignStorage::new(storage)?))
            .build()?;
        Ok(Self(client))
    }

    /// Begins a sign-in: the pending sign-in is in storage before the URL is returned.
    pub(crate) async fn begin_sign_in(
        &self,
        options: FfiSignInOptions,
    ) -> Result<FfiPendingSignIn, FfiError> {
        let pending = self.0.begin_sign_in(options.into_options()?).await?;
        Ok(FfiPendingSignIn::from(&pending))
    }

    /// Finishes a sign-in with the redirect that came back, in this process or a later one.
    pub(crate) async fn resume_sign_in(&self, redirect_url: String) -> Result<Arc<FfiSession>, FfiError> {
        let session = self.0.resume_sign_in(&redirect_url).await?;
        Ok(Arc::new(FfiSession(session)))
    }

    /// The stored session, if somebody is signed in. Asks no server.
    pub(crate) async fn session(&self) -> Result<Option<Arc<FfiSession>>, FfiError> {
        let session = self.0.session().await?;
        Ok(session.map(|session| Arc::new(FfiSession(session))))
    }

    /// Whether somebody is signed in, as far as it is known now. Asks nobody.
    pub(crate) fn state(&self) -> FfiSessionState {
        (self.0.state().get()).into()
    }
}

impl From<&PendingSignIn> for FfiPendingSignIn {
    fn from(pending: &PendingSignIn) -> Self {
        Self {
            authorization_url: pending.authorization_url().to_owned(),
            redirect_uri: pending.redirect_uri().to_owned(),
            diagnostic_id: pending.diagnostic_id().to_owned(),
        }
    }
}

impl fmt::Display for FfiPendingSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FfiPendingSignIn({})", self.diagnostic_id)
    }
}

super::debug_as_display!(FfiPendingSignIn);
