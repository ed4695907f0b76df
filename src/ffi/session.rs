//! A signed-in session: tokens, userinfo, sign-out.

use std::fmt;
use std::sync::Arc;

use ::http::{HeaderValue, Request, Response, StatusCode, header};
use serde_json::Value;

use super::client::unix_millis;
use super::config::FfiTarget;
use super::error::{FfiError, FfiErrorDetails};
use super::http::millis;
use super::live::Live;
use crate::error::{Error, Stage};
use crate::protocol::target::Target;
use crate::session::snapshot::Snapshot;
use crate::session::{Authorized, BrowserSession, Revocation, Session, SessionState, SignOut, SignedOut};

/// A signed-in session. It outlives the process in storage.
#[derive(uniffi::Object)]
pub(crate) struct FfiSession {
    session: Session,
    _live: Live,
}

/// What stays as it is for as long as the session lives.
#[derive(Clone, Debug, uniffi::Record)]
pub(crate) struct FfiSessionInfo {
    /// Names the session, the same after every start of the app.
    pub(crate) id: String,
    /// Which sign-in of it: publications of another epoch are not about this handle.
    pub(crate) epoch: u64,
    /// The issuer that signed the user in.
    pub(crate) issuer: String,
    /// Who is signed in; absent if the sign-in did not ask for the scope `openid`.
    pub(crate) subject: Option<String>,
    /// The verified claims of the ID token, as a JSON object; absent as the subject is.
    pub(crate) claims_json: Option<String>,
    /// The scope that was granted.
    pub(crate) scope: Vec<String>,
    /// When the user signed in, by the clock of the device.
    pub(crate) signed_in_at_unix_millis: i64,
}

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
    /// For a platform without such a clock: the same by the wall clock. A wall clock earlier than
    /// `taken_at_unix_millis` says nothing, and the token counts as expired.
    pub(crate) usable_until_unix_millis: Option<i64>,
    /// And the same as a time from when the snapshot was taken on, for a clock of which only differences mean anything.
    pub(crate) usable_for_millis: Option<u64>,
    /// From here on a caller is to get a new one first, on the three clocks.
    pub(crate) refresh_at_boot_millis: Option<u64>,
    /// As `usable_until_unix_millis`.
    pub(crate) refresh_at_unix_millis: Option<i64>,
    /// As `usable_for_millis`.
    pub(crate) fresh_for_millis: Option<u64>,
    /// The wall clock when the snapshot was taken.
    pub(crate) taken_at_unix_millis: i64,
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
    /// Forget it here, revoke the grant, then end the user's session at the server, in the browser.
    EndSession,
}

/// What came of ending the user's session at the server, in the browser.
#[derive(Clone, Debug, uniffi::Enum)]
pub(crate) enum FfiBrowserSession {
    /// It was not asked for, or the session was over before.
    NotAsked,
    /// The server ended it.
    Ended,
    /// The browser shows the server's page; what the user made of it is not known.
    Opened,
    /// The server offers no such thing.
    NotOffered,
    /// The browser could not be opened, or the server could not be asked where to go.
    Failed {
        /// Why.
        details: FfiErrorDetails,
    },
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
    /// What came of ending the session in the browser.
    pub(crate) browser_session: FfiBrowserSession,
}

#[uniffi::export]
impl FfiSession {
    /// What stays as it is for as long as the session lives.
    pub(crate) fn info(&self) -> FfiSessionInfo {
        let claims = self.session.claims();
        FfiSessionInfo {
            id: self.session.id().as_str().to_owned(),
            epoch: self.session.epoch(),
            issuer: self.session.issuer().to_owned(),
            subject: claims.map(|claims| claims.subject().to_owned()),
            claims_json: claims.map(|claims| Value::Object(claims.object().0.clone()).to_string()),
            scope: self.session.scope().to_vec(),
            signed_in_at_unix_millis: unix_millis(self.session.signed_in_at()),
        }
    }

    /// A valid access token, refreshed first if need be.
    pub(crate) async fn access_token(&self) -> Result<String, FfiError> {
        Ok(self.session.access_token().await?.expose().to_owned())
    }

    /// A valid access token for one of several APIs, or of a narrower scope.
    pub(crate) async fn access_token_for(&self, target: FfiTarget) -> Result<String, FfiError> {
        let token = self.session.access_token_for(&target.into_target()?).await?;
        Ok(token.expose().to_owned())
    }

    /// As `access_token_for`, if one is at hand. No I/O, no waiting, no lock.
    pub(crate) fn peek_for(&self, target: FfiTarget) -> Result<Option<String>, FfiError> {
        let token = self.session.peek_for(&target.into_target()?);
        Ok(token.map(|token| token.expose().to_owned()))
    }

    /// The token that belongs to this URL, refreshed first if need be; absent if none does.
    pub(crate) async fn authorize(&self, url: String) -> Result<Option<String>, FfiError> {
        let mut request = request(&url)?;
        Ok(match self.session.authorize(&mut request).await? {
            Authorized::Attached => attached(&request),
            Authorized::OtherOrigin => None,
        })
    }

    /// After an answer to a request for this URL that carried this token: if the answer refuses the token, a newer one, to
    /// send the request again with, once. Absent where that would be of no use.
    pub(crate) async fn reauthorize(
        &self,
        url: String,
        token: String,
        status: u16,
        www_authenticate: Vec<String>,
    ) -> Result<Option<String>, FfiError> {
        let mut request = request(&url)?;
        let mut sent = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| malformed("token"))?;
        sent.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, sent);
        let mut answer = Response::new(());
        *answer.status_mut() = StatusCode::from_u16(status).map_err(|_| malformed("status"))?;
        // A challenge that is none says nothing.
        for value in www_authenticate
            .into_iter()
            .filter_map(|value| value.try_into().ok())
        {
            answer.headers_mut().append(header::WWW_AUTHENTICATE, value);
        }
        let again = self.session.reauthorize(&mut request, &answer).await?;
        Ok(if again { attached(&request) } else { None })
    }

    /// Refreshes the tokens now.
    pub(crate) async fn refresh(&self) -> Result<(), FfiError> {
        Ok(self.session.refresh().await?)
    }

    /// Whether there is a refresh token. Reads storage; asks no server.
    pub(crate) async fn can_refresh(&self) -> Result<bool, FfiError> {
        Ok(self.session.can_refresh().await?)
    }

    /// How much longer the current access token lives; absent if there is none, or the server did not say.
    pub(crate) fn expires_in_millis(&self) -> Option<u64> {
        self.session.expires_in().map(millis)
    }

    /// The claims of the server's userinfo endpoint, as a JSON object.
    pub(crate) async fn userinfo_json(&self) -> Result<String, FfiError> {
        Ok(self.session.userinfo().await?.to_json())
    }

    /// Signs out here, durably, then at the server, then in the browser, as far as was asked for.
    pub(crate) async fn sign_out(&self, how: FfiSignOut) -> Result<FfiSignedOut, FfiError> {
        Ok(self.session.sign_out(how.into()).await?.into())
    }

    /// What a façade keeps to hand out without a call: the token in memory, whether it can still be used or not.
    /// No I/O, no waiting, no lock. Later ones come to the listener.
    pub(crate) fn snapshot(&self) -> Option<FfiSnapshot> {
        let snapshot = self.session.published(&Target::default())?;
        let (boot, unix) = self.session.now();
        Some(FfiSnapshot::of(&snapshot, boot, unix))
    }

    /// The state of this session now. Later ones come to the listener.
    pub(crate) fn state(&self) -> FfiSessionState {
        self.session.state().get().into()
    }
}

impl FfiSession {
    pub(super) fn new(session: Session) -> Arc<Self> {
        Arc::new(Self {
            session,
            _live: Live::new(),
        })
    }
}

impl FfiSnapshot {
    pub(super) fn of(snapshot: &Snapshot, boot_millis: u64, unix_millis: i64) -> Self {
        let limit = |at: u64| (at != u64::MAX).then_some(at);
        let left = |at: u64| limit(at).map(|at| at.saturating_sub(boot_millis));
        let unix = |at: u64| left(at).map(|left| unix_millis.saturating_add_unsigned(left));
        let (until, refresh) = (snapshot.usable_until(), snapshot.refresh_at());
        Self {
            token: snapshot.token.expose().to_owned(),
            generation: snapshot.generation,
            usable_until_boot_millis: limit(until),
            usable_until_unix_millis: unix(until),
            usable_for_millis: left(until),
            refresh_at_boot_millis: limit(refresh),
            refresh_at_unix_millis: unix(refresh),
            fresh_for_millis: left(refresh),
            taken_at_unix_millis: unix_millis,
        }
    }
}

fn request(url: &str) -> Result<Request<()>, FfiError> {
    Ok(Request::get(url).body(()).map_err(|_| malformed("URL"))?)
}

/// The token in the header of a request.
fn attached(request: &Request<()>) -> Option<String> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    value.strip_prefix("Bearer ").map(str::to_owned)
}

fn malformed(what: &str) -> Error {
    Error::configuration(
        "url_malformed",
        "RFC 9110",
        format!("the {what} of the request is not well-formed"),
    )
    .at_stage(Stage::Api)
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
            FfiSignOut::EndSession => Self::EndSession,
        }
    }
}

impl From<SignedOut> for FfiSignedOut {
    fn from(signed_out: SignedOut) -> Self {
        let details = |error: Error| {
            let FfiError::Failed { details } = error.into();
            details
        };
        Self {
            revocation: match signed_out.revocation {
                Revocation::Done => FfiRevocation::Done,
                Revocation::NotNeeded => FfiRevocation::NotNeeded,
                Revocation::NotOffered => FfiRevocation::NotOffered,
                Revocation::Queued(error) => FfiRevocation::Queued {
                    details: details(error),
                },
                Revocation::Failed(error) => FfiRevocation::Failed {
                    details: details(error),
                },
            },
            browser_session: match signed_out.browser_session {
                BrowserSession::NotAsked => FfiBrowserSession::NotAsked,
                BrowserSession::Ended => FfiBrowserSession::Ended,
                BrowserSession::Opened => FfiBrowserSession::Opened,
                BrowserSession::NotOffered => FfiBrowserSession::NotOffered,
                BrowserSession::Failed(error) => FfiBrowserSession::Failed {
                    details: details(error),
                },
            },
        }
    }
}

impl fmt::Display for FfiSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FfiSnapshot(redacted, generation {})", self.generation)
    }
}

super::debug_as_display!(FfiSnapshot);
