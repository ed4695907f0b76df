//! The one error of the crate: what happened, where, whose fault it is, and what to do next.
//!
//! A user of Gatepass never has to match on the text. [`Error::kind`] and [`Error::code`] are stable,
//! [`Error::next_step`] says what an app should do, and [`Error::stage`] where the sign-in or the session was.
//! No error ever holds a token, a code, a verifier or a key.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::secret::redact;

/// Shorthand for results of this crate.
///
/// ```
/// use gatepass::Client;
///
/// fn client(issuer: &str) -> gatepass::Result<Client> {
///     Client::builder(issuer, "my-app").build()
/// }
/// assert!(client("https://login.example.com").is_ok());
/// assert_eq!(client("login.example.com").unwrap_err().code(), "issuer_malformed");
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a program needs to tell cases apart.
///
/// The enum grows: match with a wildcard arm, or use [`Error::is_retryable`] and [`Error::next_step`].
///
/// ```
/// use gatepass::{Delivery, Error, ErrorKind};
///
/// fn is_offline(error: &Error) -> bool {
///     matches!(error.kind(), ErrorKind::Network(Delivery::NotSent))
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The user, or the app on the user's behalf, called the sign-in off.
    Cancelled,
    /// The sign-in was cut short from outside (the app was killed, the user switched away) and can be begun anew.
    Interrupted,
    /// A newer sign-in took this one's place.
    Superseded,
    /// The sign-in was not finished within its time.
    FlowExpired,
    /// The redirect was delivered before; its first delivery decided the sign-in.
    AlreadyHandled,
    /// No browser could be opened.
    NoBrowser,
    /// The redirect cannot be, or was not, delivered to this program.
    RedirectNotCaptured,
    /// The platform does not accept the association between the app and its redirect host. For phones; not given yet.
    AssociationMissing,
    /// The authorization server or the API answered with an error of its own; see [`Error::server`].
    Server,
    /// Something received breaks a standard; [`Error::clause`] names it.
    Protocol,
    /// A protection that the configuration requires cannot be had, and none is ever dropped silently.
    ProtectionUnavailable,
    /// The network failed; [`Delivery`] says whether the request can have reached the server.
    Network(Delivery),
    /// The server, or our own guard, asks to wait.
    RateLimited,
    /// Secure storage is locked, or does not answer. Nothing is known to be lost: try again once the device is
    /// unlocked.
    StorageLocked,
    /// Secure storage lost what it held.
    StorageLost,
    /// Secure storage refused to write.
    StorageWriteFailed,
    /// A key may only be used after the user proved to be present. For bound tokens (RFC 9449); not given yet.
    NeedsUserPresence,
    /// The session is over; only a new sign-in helps.
    SessionEnded(EndReason),
    /// The device clock is too far off to check the times in a token. Not given yet: times are checked by the clock of the
    /// server.
    Clock,
    /// The configuration, or an argument, is wrong. Found before anything is sent.
    Configuration,
    /// A defect in Gatepass or in an adapter given to it.
    Internal,
}

impl ErrorKind {
    /// The stable name of the kind, `snake_case`, the same in every language and in the program's JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Interrupted => "interrupted",
            Self::Superseded => "superseded",
            Self::FlowExpired => "flow_expired",
            Self::AlreadyHandled => "already_handled",
            Self::NoBrowser => "no_browser",
            Self::RedirectNotCaptured => "redirect_not_captured",
            Self::AssociationMissing => "association_missing",
            Self::Server => "server",
            Self::Protocol => "protocol",
            Self::ProtectionUnavailable => "protection_unavailable",
            Self::Network(_) => "network",
            Self::RateLimited => "rate_limited",
            Self::StorageLocked => "storage_locked",
            Self::StorageLost => "storage_lost",
            Self::StorageWriteFailed => "storage_write_failed",
            Self::NeedsUserPresence => "needs_user_presence",
            Self::SessionEnded(_) => "session_ended",
            Self::Clock => "clock",
            Self::Configuration => "configuration",
            Self::Internal => "internal",
        }
    }
}

/// Whether a failed request can have reached the server.
///
/// ```
/// use gatepass::{Delivery, ErrorKind};
///
/// fn after_an_order(kind: ErrorKind) -> &'static str {
///     match kind {
///         ErrorKind::Network(Delivery::NotSent) => "nothing was ordered",
///         ErrorKind::Network(Delivery::UnknownOutcome) => "please look at your orders before you try again",
///         _ => "the shop says no",
///     }
/// }
/// assert_eq!(after_an_order(ErrorKind::Network(Delivery::NotSent)), "nothing was ordered");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Certainly not: name lookup, connection or TLS failed before a byte of the request was written.
    NotSent,
    /// Perhaps: the outcome at the server is unknown. Whatever is not certain counts as this.
    UnknownOutcome,
}

/// Why a session ended. There is no other way for one to end.
///
/// ```
/// use gatepass::{Client, EndReason, SessionState};
///
/// fn why_signed_out(client: &Client) -> Option<&'static str> {
///     match client.state().get() {
///         SessionState::Ended(EndReason::SubjectChanged) => Some("another user answered"),
///         SessionState::Ended(_) => Some("please sign in again"),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EndReason {
    /// The server refused the refresh token: it expired or was revoked there.
    ExpiredOrRevoked,
    /// The server had rotated the refresh token and the answer that carried the new one never arrived.
    RotationLost,
    /// The key that the tokens are bound to is gone (RFC 9449). Not given yet.
    KeyLost,
    /// Secure storage lost the session.
    StorageLost,
    /// The session was restored on another device. For phones; not given yet.
    DeviceChanged,
    /// The server answered for another user than the one who signed in.
    SubjectChanged,
    /// The user signed out.
    SignedOut,
}

impl EndReason {
    /// The stable name of the reason, `snake_case`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ExpiredOrRevoked => "expired_or_revoked",
            Self::RotationLost => "rotation_lost",
            Self::KeyLost => "key_lost",
            Self::StorageLost => "storage_lost",
            Self::DeviceChanged => "device_changed",
            Self::SubjectChanged => "subject_changed",
            Self::SignedOut => "signed_out",
        }
    }
}

/// Where in the journey an error arose.
///
/// ```
/// use gatepass::{Client, Stage};
///
/// let error = Client::builder("https://login.example.com", "my-app").redirect("my-app:/callback").build().unwrap_err();
/// assert_eq!(error.stage(), Stage::Configuration);
/// // For a log, or a metric.
/// assert_eq!(error.stage().name(), "configuration");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// Reading the configuration or the options of a call.
    Configuration,
    /// Fetching and checking the authorization server's metadata.
    Discovery,
    /// Building the authorization request.
    AuthorizationRequest,
    /// Pushing the authorization request to the server, before any browser is opened.
    PushedAuthorization,
    /// Opening the browser and waiting for the redirect.
    UserAgent,
    /// Checking the redirect that came back.
    Callback,
    /// Exchanging the code for tokens.
    TokenExchange,
    /// Fetching and reading the server's signing keys.
    Jwks,
    /// Verifying the ID token.
    IdToken,
    /// Refreshing the tokens.
    Refresh,
    /// Reading the userinfo endpoint.
    Userinfo,
    /// Calling an API.
    Api,
    /// Revoking tokens.
    Revocation,
    /// Signing the user out of the server itself, in the browser.
    EndSession,
    /// Reading or writing secure storage.
    Storage,
    /// Reading the state of a session.
    Session,
}

impl Stage {
    /// The stable name of the stage, `snake_case`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Discovery => "discovery",
            Self::AuthorizationRequest => "authorization_request",
            Self::PushedAuthorization => "pushed_authorization",
            Self::UserAgent => "user_agent",
            Self::Callback => "callback",
            Self::TokenExchange => "token_exchange",
            Self::Jwks => "jwks",
            Self::IdToken => "id_token",
            Self::Refresh => "refresh",
            Self::Userinfo => "userinfo",
            Self::Api => "api",
            Self::Revocation => "revocation",
            Self::EndSession => "end_session",
            Self::Storage => "storage",
            Self::Session => "session",
        }
    }
}

/// Who has to act for the error to go away.
///
/// ```
/// use gatepass::{Error, Fault, UserAgentFailure};
///
/// /// Whether we want to hear of it.
/// fn is_for_the_crash_report(error: &Error) -> bool {
///     matches!(error.fault(), Fault::Configuration | Fault::Internal)
/// }
/// let cancelled = Error::from(UserAgentFailure::Cancelled);
/// assert_eq!(cancelled.fault(), Fault::User);
/// assert!(!is_for_the_crash_report(&cancelled));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The app: its configuration or its call.
    Configuration,
    /// The authorization server or the API.
    Server,
    /// The network in between.
    Network,
    /// The device: browser, storage, keys, clock.
    Platform,
    /// The user, by choice or by letting time pass.
    User,
    /// Gatepass itself.
    Internal,
}

/// What an app should do about an error.
///
/// ```
/// use gatepass::{Error, NextStep};
///
/// fn pause_before_next_try(error: &Error) -> Option<std::time::Duration> {
///     match error.next_step() {
///         NextStep::Retry => Some(std::time::Duration::from_secs(5)),
///         NextStep::RetryAfter(wait) => Some(wait),
///         _ => None,
///     }
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NextStep {
    /// Call again; nothing was lost.
    Retry,
    /// Call again, but not before this much time has passed.
    RetryAfter(Duration),
    /// Ask the user to sign in again.
    SignInAgain,
    /// Mend the configuration; a retry cannot help.
    FixConfiguration,
    /// Ask the user to do something: unlock the device, install a browser.
    AskUser,
    /// Ask whoever runs the server; quote the [`Error::diagnostic_id`].
    ContactServer,
    /// Nothing is to be done.
    None,
}

impl NextStep {
    /// The stable name of the step, `snake_case`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::RetryAfter(_) => "retry_after",
            Self::SignInAgain => "sign_in_again",
            Self::FixConfiguration => "fix_configuration",
            Self::AskUser => "ask_user",
            Self::ContactServer => "contact_server",
            Self::None => "none",
        }
    }
}

/// What a server said about a failure. All of it is untrusted text: cleaned of control characters and cut to
/// a bounded length, to be shown as plain text and nothing else (RFC 6749 §4.1.2.1, §5.2).
///
/// ```
/// fn what_the_server_says(error: &gatepass::Error) -> Option<String> {
///     let server = error.server()?;
///     // Plain text from outside: never as HTML.
///     server.description.clone().or_else(|| server.error.clone())
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerError {
    /// The `error` code, as sent.
    pub error: Option<String>,
    /// The `error_description`, as sent.
    pub description: Option<String>,
    /// The `error_uri`, only if it is an https URL.
    pub uri: Option<String>,
    /// The HTTP status, where there was an HTTP answer.
    pub status: Option<u16>,
}

/// The error of every fallible function in this crate. Cheap to clone: many callers can await one refresh.
///
/// ```
/// use gatepass::{Client, ErrorKind, NextStep};
///
/// let error = Client::builder("http://login.example.com", "my-app").build().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::Configuration);
/// assert_eq!(error.next_step(), NextStep::FixConfiguration);
/// assert!(!error.is_retryable());
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    stage: Stage,
    code: &'static str,
    message: String,
    clause: Option<&'static str>,
    server: Option<ServerError>,
    retry_after: Option<Duration>,
    diagnostic_id: Option<String>,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, stage: Stage, code: &'static str, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            kind,
            stage,
            code,
            message: message.into(),
            clause: None,
            server: None,
            retry_after: None,
            diagnostic_id: None,
        }))
    }

    /// Something received breaks `clause` of a standard.
    pub(crate) fn protocol(
        stage: Stage,
        code: &'static str,
        clause: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(ErrorKind::Protocol, stage, code, message).with_clause(clause)
    }

    /// The app's configuration or argument is wrong.
    pub(crate) fn configuration(
        code: &'static str,
        clause: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(ErrorKind::Configuration, Stage::Configuration, code, message).with_clause(clause)
    }

    /// A defect: an invariant that the code itself should have kept.
    pub(crate) fn internal(stage: Stage, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, stage, "internal", message)
    }

    fn map(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    pub(crate) fn with_clause(self, clause: &'static str) -> Self {
        self.map(|inner| inner.clause = Some(clause))
    }

    pub(crate) fn with_server(self, server: ServerError) -> Self {
        self.map(|inner| inner.server = Some(server))
    }

    pub(crate) fn with_retry_after(self, wait: Duration) -> Self {
        self.map(|inner| inner.retry_after = Some(wait))
    }

    /// Says it in better words than the shared constructor could.
    pub(crate) fn map_message(self, message: String) -> Self {
        self.map(|inner| inner.message = message)
    }

    /// Without what is secret of these texts, should a server have said it back.
    pub(crate) fn without(self, secrets: &[&str]) -> Self {
        let changed = |text: &str| redact(text, secrets);
        let server = self.0.server.as_ref();
        let of_server = server.map(|server| {
            let redacted = |text: &Option<String>| text.as_deref().and_then(changed);
            (
                redacted(&server.error),
                redacted(&server.description),
                redacted(&server.uri),
            )
        });
        let message = changed(&self.0.message);
        if message.is_none() && matches!(of_server, None | Some((None, None, None))) {
            return self;
        }
        self.map(|inner| {
            inner.message = message.unwrap_or_else(|| std::mem::take(&mut inner.message));
            if let (Some(server), Some((error, description, uri))) = (&mut inner.server, of_server) {
                server.error = error.or_else(|| server.error.take());
                server.description = description.or_else(|| server.description.take());
                // Half a link leads nowhere.
                server.uri = server.uri.take().filter(|_| uri.is_none());
            }
        })
    }

    /// Moves the error to the stage of the journey that a shared check ran in.
    pub(crate) fn at_stage(self, stage: Stage) -> Self {
        self.map(|inner| inner.stage = stage)
    }

    /// Names the attempt the error belongs to; the first name given stays.
    pub(crate) fn with_diagnostic_id(self, id: &str) -> Self {
        if self.0.diagnostic_id.is_some() {
            return self;
        }
        self.map(|inner| inner.diagnostic_id = Some(id.to_owned()))
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// A stable, precise code in `snake_case`, such as `state_mismatch`: finer than the kind, fit for logs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// Where it went wrong.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.0.stage
    }

    /// The clause of the standard that decided, such as `RFC 6749 §10.12`.
    #[must_use]
    pub fn clause(&self) -> Option<&'static str> {
        self.0.clause
    }

    /// What the server said, where it said anything.
    #[must_use]
    pub fn server(&self) -> Option<&ServerError> {
        self.0.server.as_ref()
    }

    /// Finds the attempt in the logs: every `tracing` event of the attempt carries the same id.
    #[must_use]
    pub fn diagnostic_id(&self) -> Option<&str> {
        self.0.diagnostic_id.as_deref()
    }

    /// Who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self.0.kind {
            ErrorKind::Configuration | ErrorKind::RedirectNotCaptured | ErrorKind::AssociationMissing => {
                Fault::Configuration
            }
            ErrorKind::Server
            | ErrorKind::Protocol
            | ErrorKind::ProtectionUnavailable
            | ErrorKind::RateLimited
            | ErrorKind::SessionEnded(_) => Fault::Server,
            ErrorKind::Network(_) => Fault::Network,
            ErrorKind::NoBrowser
            | ErrorKind::Interrupted
            | ErrorKind::StorageLocked
            | ErrorKind::StorageLost
            | ErrorKind::StorageWriteFailed
            | ErrorKind::NeedsUserPresence
            | ErrorKind::Clock => Fault::Platform,
            ErrorKind::Cancelled
            | ErrorKind::Superseded
            | ErrorKind::FlowExpired
            | ErrorKind::AlreadyHandled => Fault::User,
            ErrorKind::Internal => Fault::Internal,
        }
    }

    /// Whether calling the same function again, unchanged, can succeed without the user.
    ///
    /// A code exchange whose outcome is unknown is not retryable: the code is spent or will be
    /// (RFC 6749 §4.1.2), so the user signs in again.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.next_step(), NextStep::Retry | NextStep::RetryAfter(_))
    }

    /// Whether only a new sign-in helps.
    #[must_use]
    pub fn requires_sign_in(&self) -> bool {
        self.next_step() == NextStep::SignInAgain
    }

    /// What an app should do.
    #[must_use]
    pub fn next_step(&self) -> NextStep {
        if let Some(wait) = self.0.retry_after {
            return NextStep::RetryAfter(wait);
        }
        match self.0.kind {
            ErrorKind::Network(Delivery::UnknownOutcome) if self.0.stage == Stage::TokenExchange => {
                NextStep::SignInAgain
            }
            ErrorKind::Network(_)
            | ErrorKind::RateLimited
            | ErrorKind::StorageWriteFailed
            | ErrorKind::Interrupted => NextStep::Retry,
            ErrorKind::Server => self.next_step_for_server_error(),
            ErrorKind::Cancelled | ErrorKind::Superseded | ErrorKind::AlreadyHandled => NextStep::None,
            ErrorKind::FlowExpired | ErrorKind::SessionEnded(_) | ErrorKind::StorageLost => {
                NextStep::SignInAgain
            }
            ErrorKind::NoBrowser
            | ErrorKind::StorageLocked
            | ErrorKind::NeedsUserPresence
            | ErrorKind::Clock => NextStep::AskUser,
            ErrorKind::Configuration | ErrorKind::RedirectNotCaptured | ErrorKind::AssociationMissing => {
                NextStep::FixConfiguration
            }
            // Somebody else's, or an old one: a sign-in that is under way goes on.
            ErrorKind::Protocol if self.0.code == "no_pending_sign_in" => NextStep::None,
            ErrorKind::Protocol if self.0.stage == Stage::Callback => NextStep::SignInAgain,
            // Nearly always a slash too many or too few in the configuration.
            ErrorKind::Protocol if self.0.code == "issuer_mismatch" => NextStep::FixConfiguration,
            ErrorKind::Protocol | ErrorKind::ProtectionUnavailable | ErrorKind::Internal => {
                NextStep::ContactServer
            }
        }
    }

    fn next_step_for_server_error(&self) -> NextStep {
        let server = self.0.server.as_ref();
        let code = server.and_then(|s| s.error.as_deref()).unwrap_or_default();
        let status = server.and_then(|s| s.status).unwrap_or_default();
        match code {
            "temporarily_unavailable" | "server_error" => match self.0.stage {
                Stage::Callback | Stage::TokenExchange => NextStep::SignInAgain,
                _ => NextStep::Retry,
            },
            "access_denied" => NextStep::None,
            "login_required"
            | "interaction_required"
            | "consent_required"
            | "account_selection_required"
            | "invalid_grant" => NextStep::SignInAgain,
            "invalid_client"
            | "invalid_request"
            | "invalid_scope"
            | "unauthorized_client"
            | "unsupported_grant_type"
            | "unsupported_response_type"
            | "invalid_target"
            | "invalid_request_uri"
            | "invalid_request_object"
            | "request_not_supported"
            | "request_uri_not_supported"
            | "registration_not_supported" => NextStep::FixConfiguration,
            _ if status >= 500 && self.0.stage != Stage::TokenExchange => NextStep::Retry,
            _ => NextStep::ContactServer,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if let Some(server) = &self.0.server {
            if let Some(error) = &server.error {
                write!(f, ": {error}")?;
            }
            if let Some(description) = &server.description {
                write!(f, " ({description})")?;
            }
            if let Some(status) = server.status {
                write!(f, " [HTTP {status}]")?;
            }
        }
        if let Some(clause) = self.0.clause {
            write!(f, " [{clause}]")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("stage", &self.0.stage)
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("clause", &self.0.clause)
            .field("server", &self.0.server)
            .field("next_step", &self.next_step())
            .field("diagnostic_id", &self.0.diagnostic_id)
            .finish()
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_outcome_of_a_code_exchange_is_not_retryable() {
        let kind = ErrorKind::Network(Delivery::UnknownOutcome);
        let exchange = Error::new(kind, Stage::TokenExchange, "connection_lost", "lost");
        assert!(!exchange.is_retryable());
        assert!(exchange.requires_sign_in());
        let refresh = Error::new(kind, Stage::Refresh, "connection_lost", "lost");
        assert!(refresh.is_retryable());
    }

    #[test]
    fn what_was_sent_is_not_told_in_any_of_its_texts() {
        let error = Error::new(ErrorKind::Server, Stage::Refresh, "x", "not a secret-token").with_server(
            ServerError {
                error: Some("secret-token".into()),
                description: Some("it was %73ecret-token".into()),
                uri: Some("https://e.example/secret-token".into()),
                status: Some(400),
            },
        );
        let told = error.clone().without(&["secret-token"]);
        assert_eq!(
            told.to_string(),
            "not a (redacted): (redacted) (it was (redacted)) [HTTP 400]"
        );
        assert_eq!(told.server().unwrap().uri, None);
        let harmless = error.clone().without(&["another-token"]);
        assert_eq!(harmless.to_string(), error.to_string());
        assert_eq!(harmless.server(), error.server());
    }

    #[test]
    fn the_first_diagnostic_id_stays() {
        let error = Error::internal(Stage::Session, "x")
            .with_diagnostic_id("a")
            .with_diagnostic_id("b");
        assert_eq!(error.diagnostic_id(), Some("a"));
    }

    #[test]
    fn the_text_names_message_server_and_clause() {
        let error = Error::protocol(Stage::Callback, "c", "RFC 6749 §4.1.2.1", "the server refused")
            .with_server(ServerError {
                error: Some("access_denied".into()),
                description: Some("no".into()),
                uri: None,
                status: Some(400),
            });
        assert_eq!(
            error.to_string(),
            "the server refused: access_denied (no) [HTTP 400] [RFC 6749 §4.1.2.1]"
        );
    }
}
