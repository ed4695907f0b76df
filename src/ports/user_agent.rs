//! The browser: the platform's, never a web view (RFC 8252 §8.12).

use std::fmt::Debug;

use async_trait::async_trait;

use crate::error::{Error, ErrorKind, Stage};

/// What to show.
///
/// ```
/// use gatepass::UserAgentRequest;
///
/// let request = UserAgentRequest::new("https://login.example.com/authorize?state=3f…", "http://127.0.0.1:49152/callback");
/// assert!(request.redirect_uri.starts_with("http://127.0.0.1:"));
/// // State and nonce do not get into a log by accident.
/// assert!(!format!("{request:?}").contains("state"));
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct UserAgentRequest {
    /// The authorization URL, or at [`SignOut::EndSession`](crate::SignOut::EndSession) the URL that ends the session. It
    /// holds state and nonce, or an ID token: it goes to the browser and into no log.
    pub authorization_url: String,
    /// The redirect URI that ends the visit. Empty at a sign-out from which the browser does not come back.
    pub redirect_uri: String,
}

impl UserAgentRequest {
    /// A request from its parts.
    #[must_use]
    pub fn new(authorization_url: impl Into<String>, redirect_uri: impl Into<String>) -> Self {
        Self {
            authorization_url: authorization_url.into(),
            redirect_uri: redirect_uri.into(),
        }
    }
}

impl Debug for UserAgentRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UserAgentRequest")
            .field("redirect_uri", &self.redirect_uri)
            .finish_non_exhaustive()
    }
}

/// How the visit came back.
///
/// ```
/// use gatepass::UserAgentReturn;
///
/// /// A web-authentication session ends with the redirect; a browser that was only opened has none.
/// fn returned(redirect: Option<String>) -> UserAgentReturn {
///     redirect.map_or(UserAgentReturn::Opened, UserAgentReturn::Redirected)
/// }
/// let with_code = returned(Some("com.example.app:/callback?code=3f…".to_owned()));
/// assert_eq!(format!("{with_code:?}"), "Redirected(redacted)");
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub enum UserAgentReturn {
    /// The browser handed the redirect back itself, as web-authentication sessions do.
    Redirected(String),
    /// The browser was opened; the redirect arrives by another way, such as the loopback listener.
    Opened,
}

impl Debug for UserAgentReturn {
    /// Never the redirect: it carries the code.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Redirected(_) => "Redirected(redacted)",
            Self::Opened => "Opened",
        })
    }
}

/// What came of one request to the redirect URI, for the one who shows the browser a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(feature = "loopback"), allow(dead_code, reason = "only a listener asks"))]
pub(crate) enum Verdict {
    /// It is ours, and the sign-in goes on.
    Accepted,
    /// It is ours, and it ends the sign-in.
    Refused,
    /// It is ours, and ends a sign-out.
    SignedOut,
    /// It is not ours: the listener stays open.
    TurnedDown,
}

/// Why the visit failed.
///
/// ```
/// use gatepass::{Error, ErrorKind, UserAgentFailure};
///
/// // What the caller of `sign_in` gets.
/// let kind = |failure| Error::from(failure).kind();
/// assert_eq!(kind(UserAgentFailure::Cancelled), ErrorKind::Cancelled);
/// assert_eq!(kind(UserAgentFailure::NoBrowser("no display".to_owned())), ErrorKind::NoBrowser);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UserAgentFailure {
    /// The user closed the browser or declined.
    Cancelled,
    /// There is no browser to open, or it would not open; the text says what was tried.
    NoBrowser(String),
    /// The browser ended at an error page of the server and will not come back: usually a redirect URI or a client id
    /// that the server does not know.
    Refused(String),
    /// The platform does not accept the association between the app and the host of its redirect; the text says what to do.
    AssociationMissing(String),
    /// The app is not set up for its redirect; the text says what to write.
    Configuration(String),
    /// Something else on the platform.
    Failed(String),
}

impl From<UserAgentFailure> for Error {
    fn from(failure: UserAgentFailure) -> Self {
        let (kind, code, message) = match failure {
            UserAgentFailure::Cancelled => (
                ErrorKind::Cancelled,
                "cancelled",
                "the sign-in was called off".to_owned(),
            ),
            UserAgentFailure::NoBrowser(why) => (
                ErrorKind::NoBrowser,
                "no_browser",
                format!("no browser could be opened: {why}"),
            ),
            UserAgentFailure::Refused(why) => (
                ErrorKind::Configuration,
                "authorization_page_refused",
                format!("the server showed an error page instead of signing in: {why}"),
            ),
            UserAgentFailure::AssociationMissing(why) => (
                ErrorKind::AssociationMissing,
                "redirect_host_not_associated",
                format!("the redirect would not come back to this app: {why}"),
            ),
            UserAgentFailure::Configuration(why) => (ErrorKind::Configuration, "redirect_not_declared", why),
            UserAgentFailure::Failed(why) => (
                ErrorKind::Interrupted,
                "user_agent_failed",
                format!("the browser failed: {why}"),
            ),
        };
        Self::new(kind, Stage::UserAgent, code, message)
    }
}

/// The user-agent port.
///
/// # Contract
/// - Opens the URL in an external user agent that shares the user's browser session, and shows a real address.
/// - Completes when there is something to say: the redirect, that the browser was opened, or why not. It may stay
///   pending while the user is busy; the core holds the deadline.
/// - Safe to cancel: dropping the future forgets the visit, and closes the browser where the platform can.
///
/// ```
/// use gatepass::{UserAgent, UserAgentFailure, UserAgentRequest, UserAgentReturn};
///
/// /// Opens the URL by a program of the app's choice; the redirect comes back by the loopback listener.
/// #[derive(Debug)]
/// struct ThisBrowser(&'static str);
///
/// #[async_trait::async_trait]
/// impl UserAgent for ThisBrowser {
///     async fn open(&self, request: UserAgentRequest) -> Result<UserAgentReturn, UserAgentFailure> {
///         std::process::Command::new(self.0)
///             .arg(&request.authorization_url)
///             .spawn()
///             .map(|_| UserAgentReturn::Opened)
///             .map_err(|error| UserAgentFailure::NoBrowser(format!("{}: {error}", self.0)))
///     }
/// }
/// ```
#[async_trait]
pub trait UserAgent: Send + Sync + Debug {
    /// Shows the page to the user.
    ///
    /// # Errors
    /// [`UserAgentFailure`]: the user declined, or the browser could not do its part. The sign-in ends with it, unless its
    /// redirect came before.
    async fn open(&self, request: UserAgentRequest) -> Result<UserAgentReturn, UserAgentFailure>;
}
