//! The browser by the platform: the foreign trait, and the port it stands in for.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::ports::{UserAgent, UserAgentFailure, UserAgentRequest, UserAgentReturn};

/// Opens a URL in the platform's browser, for a sign-in and for ending a session at the server.
///
/// (No method is named `open`: that is a keyword in Swift, which the C header of UniFFI does not survive.)
///
/// - Never a web view (RFC 8252 §8.12).
/// - Completes when there is something to say: the redirect, that the browser was opened, or why not. May stay pending
///   while the user is busy; the core holds the deadline.
/// - May be cancelled: the visit is of no use any more.
#[uniffi::export(foreign)]
#[async_trait]
pub(crate) trait FfiUserAgent: Send + Sync {
    /// Shows the page to the user.
    async fn show(&self, request: FfiUserAgentRequest) -> Result<FfiUserAgentReturn, FfiUserAgentFailure>;
}

/// What to show.
#[derive(Clone, uniffi::Record)]
#[uniffi::export(Debug, Display)]
pub(crate) struct FfiUserAgentRequest {
    /// The URL. It holds state and nonce, or an ID token: for the browser, and no log.
    pub(crate) url: String,
    /// The redirect URI that ends the visit; empty where the browser does not come back.
    pub(crate) redirect_uri: String,
}

/// How the visit came back.
#[derive(Clone, uniffi::Enum)]
#[uniffi::export(Debug, Display)]
pub(crate) enum FfiUserAgentReturn {
    /// The browser handed the redirect back itself.
    Redirected {
        /// It carries the code: secret.
        url: String,
    },
    /// The browser was opened; the redirect arrives by another way.
    Opened,
}

/// Why the visit failed. It holds no text of the platform's, which may quote the URL; `advice` is the façade's own, made of
/// the configuration.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Error)]
pub(crate) enum FfiUserAgentFailure {
    /// The user closed the browser or declined.
    Cancelled,
    /// There is no browser, or none would open.
    NoBrowser,
    /// The browser ended at an error page of the server.
    Refused,
    /// The platform does not accept the association between the app and the host of its redirect.
    AssociationMissing {
        /// What to do.
        advice: String,
    },
    /// The app is not set up for its redirect.
    Configuration {
        /// What to write.
        advice: String,
    },
    /// Something else on the platform.
    Failed,
    /// It threw what it should not have. Counts as `Failed`.
    Unexpected,
}

/// The port, by way of the foreign trait.
pub(super) struct ForeignUserAgent(pub(super) Arc<dyn FfiUserAgent>);

#[async_trait]
impl UserAgent for ForeignUserAgent {
    async fn open(&self, request: UserAgentRequest) -> Result<UserAgentReturn, UserAgentFailure> {
        let request = FfiUserAgentRequest {
            url: request.authorization_url,
            redirect_uri: request.redirect_uri,
        };
        match self.0.show(request).await? {
            FfiUserAgentReturn::Redirected { url } => Ok(UserAgentReturn::Redirected(url)),
            FfiUserAgentReturn::Opened => Ok(UserAgentReturn::Opened),
        }
    }
}

impl fmt::Debug for ForeignUserAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ForeignUserAgent")
    }
}

impl From<FfiUserAgentFailure> for UserAgentFailure {
    fn from(failure: FfiUserAgentFailure) -> Self {
        match failure {
            FfiUserAgentFailure::Cancelled => Self::Cancelled,
            FfiUserAgentFailure::NoBrowser => Self::NoBrowser("so the platform says".to_owned()),
            FfiUserAgentFailure::Refused => Self::Refused("so the platform says".to_owned()),
            FfiUserAgentFailure::AssociationMissing { advice } => Self::AssociationMissing(advice),
            FfiUserAgentFailure::Configuration { advice } => Self::Configuration(advice),
            FfiUserAgentFailure::Failed => Self::Failed("so the platform says".to_owned()),
            FfiUserAgentFailure::Unexpected => Self::Failed(
                "what opens it threw an exception it should not have; its text is not shown, as it may hold a secret"
                    .to_owned(),
            ),
        }
    }
}

impl From<uniffi::UnexpectedUniFFICallbackError> for FfiUserAgentFailure {
    /// The text is dropped unread.
    fn from(_: uniffi::UnexpectedUniFFICallbackError) -> Self {
        Self::Unexpected
    }
}

impl fmt::Display for FfiUserAgentFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for FfiUserAgentFailure {}

impl fmt::Display for FfiUserAgentRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FfiUserAgentRequest(redacted, {})", self.redirect_uri)
    }
}

impl fmt::Display for FfiUserAgentReturn {
    /// Never the redirect: it carries the code.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Redirected { .. } => "Redirected(redacted)",
            Self::Opened => "Opened",
        })
    }
}

super::debug_as_display!(FfiUserAgentRequest, FfiUserAgentReturn);
