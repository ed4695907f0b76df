//! The crate's error as Kotlin and Swift see it: everything it says, and nothing it must not.

use std::fmt;

use crate::error::{Delivery, Error, ErrorKind, NextStep, ServerError};

/// What every fallible call throws.
///
/// One case with everything inside, so that a new kind of error breaks no `when` and no `switch`.
#[derive(Clone, uniffi::Error)]
#[uniffi::export(Display)]
pub(crate) enum FfiError {
    /// The call failed.
    Failed {
        /// What went wrong.
        details: FfiErrorDetails,
    },
}

/// What went wrong, where, and what to do next. No field ever holds a secret.
#[derive(Clone, uniffi::Record)]
#[uniffi::export(Debug, Display)]
pub(crate) struct FfiErrorDetails {
    /// A text for people. Never empty.
    pub(crate) message: String,
    /// What went wrong, `snake_case`, such as `session_ended`.
    pub(crate) kind: String,
    /// The same, more precisely: fit for logs.
    pub(crate) code: String,
    /// Where in the journey, `snake_case`, such as `callback`.
    pub(crate) stage: String,
    /// The clause of the standard that decided.
    pub(crate) clause: Option<String>,
    /// Whether the same call, unchanged, can succeed without the user.
    pub(crate) is_retryable: bool,
    /// What to do: `retry`, `retry_after`, `sign_in_again`, `fix_configuration`, `ask_user`, `contact_server`,
    /// `none`.
    pub(crate) next_step: String,
    /// With `retry_after`: how long to wait.
    pub(crate) retry_after_seconds: Option<u64>,
    /// What the server said, where it said anything.
    pub(crate) server: Option<FfiServerError>,
    /// With the kind `network`: `not_sent` or `unknown_outcome`.
    pub(crate) delivery: Option<String>,
    /// With the kind `session_ended`: why, such as `signed_out`.
    pub(crate) end_reason: Option<String>,
    /// Finds the attempt in the logs.
    pub(crate) diagnostic_id: Option<String>,
}

/// What a server said about a failure: untrusted text, bounded and without control characters.
#[derive(Clone, uniffi::Record)]
pub(crate) struct FfiServerError {
    /// The `error` code.
    pub(crate) error: Option<String>,
    /// The `error_description`.
    pub(crate) description: Option<String>,
    /// The `error_uri`, only if it is an https URL.
    pub(crate) uri: Option<String>,
    /// The HTTP status, where there was an HTTP answer.
    pub(crate) status: Option<u16>,
}

impl From<Error> for FfiError {
    fn from(error: Error) -> Self {
        let next_step = error.next_step();
        let (delivery, end_reason) = match error.kind() {
            ErrorKind::Network(Delivery::NotSent) => (Some("not_sent".to_owned()), None),
            ErrorKind::Network(Delivery::UnknownOutcome) => (Some("unknown_outcome".to_owned()), None),
            ErrorKind::SessionEnded(reason) => (None, Some(reason.name().to_owned())),
            _ => (None, None),
        };
        let details = FfiErrorDetails {
            message: error.to_string(),
            kind: error.kind().name().to_owned(),
            code: error.code().to_owned(),
            stage: error.stage().name().to_owned(),
            clause: error.clause().map(str::to_owned),
            is_retryable: error.is_retryable(),
            next_step: next_step.name().to_owned(),
            retry_after_seconds: match next_step {
                // Rounded up: a caller that comes early is turned away again.
                NextStep::RetryAfter(wait) => Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0)),
                _ => None,
            },
            server: error.server().map(FfiServerError::from),
            delivery,
            end_reason,
            diagnostic_id: error.diagnostic_id().map(str::to_owned),
        };
        Self::Failed { details }
    }
}

impl From<&ServerError> for FfiServerError {
    fn from(server: &ServerError) -> Self {
        Self {
            error: server.error.clone(),
            description: server.description.clone(),
            uri: server.uri.clone(),
            status: server.status,
        }
    }
}

impl fmt::Display for FfiErrorDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for FfiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Failed { details } = self;
        fmt::Display::fmt(details, f)
    }
}

super::debug_as_display!(FfiError, FfiErrorDetails);

impl std::error::Error for FfiError {}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::{EndReason, Stage};

    fn details(error: Error) -> FfiErrorDetails {
        let FfiError::Failed { details } = error.into();
        details
    }

    #[test]
    fn everything_the_error_says_crosses() {
        let error = Error::protocol(
            Stage::Callback,
            "state_mismatch",
            "RFC 6749 §10.12",
            "not our state",
        )
        .with_server(ServerError {
            error: Some("access_denied".into()),
            description: Some("no".into()),
            uri: Some("https://as.example/e".into()),
            status: Some(400),
        })
        .with_retry_after(Duration::from_millis(1_200))
        .with_diagnostic_id("gp-1");
        let text = error.to_string();
        let crossed = details(error);
        assert_eq!(crossed.message, text);
        assert_eq!((&*crossed.kind, &*crossed.code), ("protocol", "state_mismatch"));
        assert_eq!(crossed.stage, "callback");
        assert_eq!(crossed.clause.as_deref(), Some("RFC 6749 §10.12"));
        assert_eq!((&*crossed.next_step, crossed.is_retryable), ("retry_after", true));
        assert_eq!(crossed.retry_after_seconds, Some(2), "rounded up");
        let server = crossed.server.unwrap();
        assert_eq!(server.error.as_deref(), Some("access_denied"));
        assert_eq!(server.description.as_deref(), Some("no"));
        assert_eq!(server.uri.as_deref(), Some("https://as.example/e"));
        assert_eq!(server.status, Some(400));
        assert_eq!(crossed.diagnostic_id.as_deref(), Some("gp-1"));
    }

    #[test]
    fn what_a_kind_holds_crosses_with_it() {
        let error = |kind| details(Error::new(kind, Stage::Refresh, "code", "text"));
        let network = error(ErrorKind::Network(Delivery::NotSent));
        assert_eq!(
            (&*network.kind, network.delivery.as_deref()),
            ("network", Some("not_sent"))
        );
        let network = error(ErrorKind::Network(Delivery::UnknownOutcome));
        assert_eq!(network.delivery.as_deref(), Some("unknown_outcome"));
        let ended = error(ErrorKind::SessionEnded(EndReason::SignedOut));
        assert_eq!(
            (&*ended.kind, ended.end_reason.as_deref()),
            ("session_ended", Some("signed_out"))
        );
        assert_eq!(ended.delivery, None);
    }
}
