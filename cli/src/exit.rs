//! Exit codes: one per kind of trouble, so that a script need not read the text.

use std::process::ExitCode;

use gatepass::{Error, ErrorKind};

/// How the program ended. The codes are part of its interface: `--help` and docs/cli.md list them, and none ever changes
/// its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Success = 0,
    /// A defect, or standard output that takes nothing more.
    Internal = 1,
    Configuration = 2,
    Cancelled = 3,
    TimedOut = 4,
    NoBrowser = 5,
    Network = 6,
    Server = 7,
    Storage = 8,
    SessionEnded = 9,
    NotSignedIn = 10,
    /// The worst that `doctor` found is a warning.
    Warnings = 11,
    /// The worst that `doctor` found is an error.
    Errors = 12,
}

/// For `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
   0  everything went as it should
   1  a defect in gatepass, or its standard output cannot be written
   2  wrong usage or configuration
   3  cancelled, by a signal or by the user in the browser
   4  the redirect did not come back in time
   5  no browser could be opened, or the redirect cannot be captured
   6  the network failed
   7  the server or the API refused, or broke a standard
   8  the store is locked, lost or full
   9  the session ended without the user's doing; sign in again
  10  nobody is signed in
  11  the worst that `doctor` found is a warning
  12  the worst that `doctor` found is an error

With --json, whatever goes wrong is told by an `error` event, the last line of the output.";

impl From<&Error> for Exit {
    fn from(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Cancelled
            | ErrorKind::Interrupted
            | ErrorKind::Superseded
            | ErrorKind::AlreadyHandled => Self::Cancelled,
            ErrorKind::FlowExpired => Self::TimedOut,
            ErrorKind::NoBrowser | ErrorKind::RedirectNotCaptured | ErrorKind::AssociationMissing => {
                Self::NoBrowser
            }
            ErrorKind::Network(_) => Self::Network,
            ErrorKind::Server
            | ErrorKind::Protocol
            | ErrorKind::ProtectionUnavailable
            | ErrorKind::RateLimited
            | ErrorKind::Clock => Self::Server,
            ErrorKind::StorageLocked
            | ErrorKind::StorageLost
            | ErrorKind::StorageWriteFailed
            | ErrorKind::NeedsUserPresence => Self::Storage,
            ErrorKind::SessionEnded(_) => Self::SessionEnded,
            ErrorKind::Configuration => Self::Configuration,
            _ => Self::Internal,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
