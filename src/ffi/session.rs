//! A signed-in session: tokens, userinfo, sign-out.

use std::fmt;

use super::error::{FfiError, FfiErrorDetails};
use crate::protocol::target::Target;
use crate::session::{Revocation, Session, SessionState, SignOut, SignedOut};

/// A signed-in session. It outlives the process in storage.
#[derive(uniffi::Object)]
pub(crate) struct FfiSession(pub(super) Session);

/// An access token that was durable before it came here.
#[derive(Clone, uniffi::Record)]
#[uniffi::export(Debug, Display)]
pub(crate) struct FfiSnapshot {
    /// The access token: secret.
    pub(crate) token: String,
    /// Rises with every change of the session.
    pub(crate) generation: u64,
    /// From here on the token is not to be handed out, by the clock that counts the time since the device was started
    /// with the time it slept. Absent if the server did not say.
    pub(crate) usable_until_boot_millis: Option<u64>,
}

/// Whether somebody is signed in.
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Enum)]
pub(crate) enum FfiSessionState {
    /// Storage has not been asked yet.
    Loading,
    /// Nobody ever signed in, or the user signed out.
    SignedOut,
    /// Somebody is signed in.
    SignedIn,
    /// A key may only be used after the user proved to be present.
    NeedsUserPresence,
    /// Storage is locked, so nobody can tell yet.
    StorageLocked,
    /// The session ended without the user's doing.
    Ended {
        /// Why, `snake_case`, such as `expired_or_revoked`.
        reason: String,
    },
}

/// How far a sign-out reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub(crate) enum FfiSignOut {
    /// Forget the session on this device only.
    Local,
    /// Forget it here, then revoke the grant at the server.
    Revoke,
}

/// What came of revoking the grant. Here the user is signed out in every case.
#[derive(Clone, Debug, uniffi::Enum)]
pub(crate) enum FfiRevocation {
    /// The server revoked it.
    Done,
    /// It was not asked for, or there was no refresh token to revoke.
    NotNeeded,
    /// The server offers no revocation.
    NotOffered,
    /// The server could not be reached; it is asked again later.
    Queued {
        /// Why.
        details: FfiErrorDetails,
    },
    /// The server refused.
    Failed {
        /// Why.
        details: FfiErrorDetails,
    },
}

/// What came of a sign-out.
#[derive(Clone, Debug, uniffi::Record)]
pub(crate) struct FfiSignedOut {
    /// What came of the revocation at the server.
    pub(crate) revocation: FfiRevocation,
}

#[uniffi::export]
impl FfiSession {
    /// A valid access token, refreshed first if need be.
    pub(crate) async fn access_token(&self) -> Result<String, FfiError> {
        Ok(self.0.access_token().await?.expose().to_owned())
    }

    /// Refreshes the tokens now.
    pub(crate) async fn refresh(&self) -> Result<(), FfiError> {
        Ok(self.0.refresh().await?)
    }

    /// The claims of the server's userinfo endpoint, as a JSON object.
    pub(crate) async fn userinfo_json(&self) -> Result<String, FfiError> {
        Ok(self.0.userinfo().await?.to_json())
    }

    /// Signs out here, durably, then at the server.
    pub(crate) async fn sign_out(&self, how: FfiSignOut) -> Result<FfiSignedOut, FfiError> {
        Ok(self.0.sign_out(how.into()).await?.into())
    }

    /// What a façade keeps to hand out without a call: the token in memory, whether it can still be used or not.
    /// No I/O, no waiting, no lock.
    pub(crate) fn snapshot(&self) -> Option<FfiSnapshot> {
        let snapshot = self.0.published(&Target::default())?;
        let until = snapshot.usable_until();
        Some(FfiSnapshot {
            token: snapshot.token.expose().to_owned(),
            generation: snapshot.generation,
            usable_until_boot_millis: (until != u64::MAX).then_some(until),
        })
    }

    /// A valid access token if one is at hand. No I/O, no waiting, no lock.
    pub(crate) fn peek(&self) -> Option<String> {
        self.0.peek().map(|token| token.expose().to_owned())
    }

    /// The issuer that signed the user in.
    pub(crate) fn issuer(&self) -> String {
        self.0.issuer().to_owned()
    }

    /// Who is signed in; absent if the sign-in did not ask for the scope `openid`.
    pub(crate) fn subject(&self) -> Option<String> {
        self.0.claims().map(|claims| claims.subject().to_owned())
    }

    /// The scope that was granted.
    pub(crate) fn scope(&self) -> Vec<String> {
        self.0.scope().to_vec()
    }
}

impl From<SessionState> for FfiSessionState {
    fn from(state: SessionState) -> Self {
        match state {
            SessionState::Loading => Self::Loading,
            SessionState::SignedOut => Self::SignedOut,
            SessionState::SignedIn => Self::SignedIn,
            SessionState::NeedsUserPresence => Self::NeedsUserPresence,
            SessionState::StorageLocked => Self::StorageLocked,
            SessionState::Ended(reason) => Self::Ended {
                reason: reason.name().to_owned(),
            },
        }
    }
}

impl From<FfiSignOut> for SignOut {
    fn from(how: FfiSignOut) -> Self {
        match how {
            FfiSignOut::Local => Self::Local,
            FfiSignOut::Revoke => Self::Revoke,
        }
    }
}

impl From<SignedOut> for FfiSignedOut {
    fn from(signed_out: SignedOut) -> Self {
        let revocation = match signed_out.revocation {
            Revocation::Done => FfiRevocation::Done,
            Revocation::NotNeeded => FfiRevocation::NotNeeded,
            Revocation::NotOffered => FfiRevocation::NotOffered,
            Revocation::Queued(error) => {
                let FfiError::Failed { details } = error.into();
                FfiRevocation::Queued { details }
            }
            Revocation::Failed(error) => {
                let FfiError::Failed { details } = error.into();
                FfiRevocation::Failed { details }
            }
        };
        Self { revocation }
    }
}

impl fmt::Display for FfiSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FfiSnapshot(redacted, generation {})", self.generation)
    }
}

super::debug_as_display!(FfiSnapshot);
