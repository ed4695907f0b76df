//! Why a command failed: by an error of the library, or by one of the program's own.

use gatepass::{EndReason, Error, UserAgentFailure};

use crate::exit::Exit;

/// What ends a command. Told once, by [`Report::failure`](crate::report::Report::failure).
#[derive(Clone, Debug)]
pub(crate) enum Failure {
    /// The library says what happened.
    Gatepass(Error),
    /// The same, after the session was given up here: nothing is left to try again with.
    SignedOutHere(Error),
    /// The program does.
    Own(Own),
}

/// A failure outside the library.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) exit: Exit,
    /// Stable, `snake_case`.
    pub(crate) code: &'static str,
    pub(crate) message: String,
}

impl Failure {
    /// Wrong usage, or a setting that cannot be.
    pub(crate) fn configuration(code: &'static str, message: impl Into<String>) -> Self {
        Self::own(Exit::Configuration, code, message)
    }

    /// A defect, or a system that does not let the program run.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::own(Exit::Internal, "internal", message)
    }

    /// There is no session to use.
    pub(crate) fn not_signed_in(message: impl Into<String>) -> Self {
        Self::own(Exit::NotSignedIn, "not_signed_in", message)
    }

    /// The session to use is over, and not because the user said so.
    pub(crate) fn ended(reason: EndReason, message: impl Into<String>) -> Self {
        Self::own(Exit::SessionEnded, reason.name(), message)
    }

    /// A signal, or a reader who went away.
    pub(crate) fn interrupted() -> Self {
        Self::own(Exit::Cancelled, "interrupted", "interrupted; nothing is lost")
    }

    /// The user was asked, and did not say yes.
    pub(crate) fn declined() -> Self {
        Self::own(Exit::Cancelled, "not_confirmed", "nothing was done")
    }

    /// As [`interrupted`](Self::interrupted), while a sign-in was under way.
    pub(crate) fn called_off() -> Self {
        Self::Gatepass(UserAgentFailure::Cancelled.into())
    }

    fn own(exit: Exit, code: &'static str, message: impl Into<String>) -> Self {
        Self::Own(Own {
            exit,
            code,
            message: message.into(),
        })
    }

    pub(crate) fn message(&self) -> String {
        match self {
            Self::Gatepass(error) | Self::SignedOutHere(error) => error.to_string(),
            Self::Own(own) => own.message.clone(),
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Gatepass(error) | Self::SignedOutHere(error) => Exit::from(error),
            Self::Own(own) => own.exit,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Gatepass(error)
    }
}

impl Own {
    /// Kind, stage and next step, in the words of the library's errors.
    pub(crate) fn names(&self) -> (&'static str, &'static str, &'static str) {
        match self.exit {
            Exit::Configuration => ("configuration", "configuration", "fix_configuration"),
            Exit::Cancelled => ("cancelled", "session", "none"),
            Exit::NotSignedIn => ("not_signed_in", "session", "sign_in_again"),
            Exit::SessionEnded => ("session_ended", "session", "sign_in_again"),
            _ => ("internal", "configuration", "none"),
        }
    }
}
