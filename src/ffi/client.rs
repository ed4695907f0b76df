//! The front door: a client over what the platform brings.

use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use url::Host;

use super::choices::{FfiHttp, FfiStorage};
use super::config::{FfiConfig, FfiSignInOptions};
use super::error::FfiError;
use super::listener::{FfiListener, ForeignListener};
use super::live::Live;
use super::session::{FfiSession, FfiSessionState};
use super::user_agent::{FfiUserAgent, ForeignUserAgent};
use crate::client::{Canceller, Client, PendingSignIn};
use crate::sync::lock;

/// One app's client at one authorization server.
#[derive(uniffi::Object)]
pub(crate) struct FfiClient {
    client: Client,
    /// Calls off the sign-in that was begun last.
    canceller: Mutex<Option<Canceller>>,
    _live: Live,
}

/// A sign-in that waits for its redirect.
#[derive(uniffi::Object)]
pub(crate) struct FfiPendingSignIn {
    pending: PendingSignIn,
    _live: Live,
}

/// An origin that tokens may be sent to (RFC 6454 §4).
#[derive(Clone, Debug, PartialEq, Eq, uniffi::Record)]
pub(crate) struct FfiApiOrigin {
    /// `https`, or `http` on loopback.
    pub(crate) scheme: String,
    /// The host in its one form: lower case, IDNs as they go over the wire, IPv6 addresses without brackets.
    pub(crate) host: String,
    /// The port, named or not.
    pub(crate) port: u16,
    /// Whether it takes the token that the sign-in asked for. Another one has a token of its own.
    pub(crate) takes_own_token: bool,
}

#[uniffi::export]
impl FfiClient {
    /// Checks the configuration and makes the client. Asks neither network nor storage, but for encrypted files, which it
    /// opens.
    ///
    /// Without `user_agent` the system's browser is opened, where that is built in (the feature `loopback`).
    #[uniffi::constructor]
    pub(crate) fn new(
        config: FfiConfig,
        http: FfiHttp,
        storage: FfiStorage,
        listener: Option<Arc<dyn FfiListener>>,
        user_agent: Option<Arc<dyn FfiUserAgent>>,
    ) -> Result<Self, FfiError> {
        #[cfg(feature = "test-server")]
        let clock = super::test_server::clock_of(&config.issuer);
        let mut builder = http.give(config.into_builder()?).storage(storage.open()?);
        #[cfg(feature = "test-server")]
        if let Some(clock) = clock {
            builder = builder.clock(clock);
        }
        if let Some(listener) = listener {
            let listener = Arc::new(ForeignListener(listener));
            builder = builder.event_sink(listener.clone()).observer(listener);
        }
        if let Some(user_agent) = user_agent {
            builder = builder.user_agent(Arc::new(ForeignUserAgent(user_agent)));
        }
        Ok(Self {
            client: builder.build()?,
            canceller: Mutex::default(),
            _live: Live::new(),
        })
    }

    /// Signs the user in: opens the browser, waits for the redirect, and stores the session.
    ///
    /// A caller that stops waiting once the browser is open stops nothing: the sign-in goes on, and shows as a change of
    /// state. `cancel_sign_in` calls it off.
    pub(crate) async fn sign_in(&self, options: FfiSignInOptions) -> Result<Arc<FfiSession>, FfiError> {
        let user_agent = self.client.user_agent()?;
        let pending = self.begin(options).await?;
        Ok(FfiSession::new(
            self.client.show_aside(pending, user_agent).await?,
        ))
    }

    /// Begins a sign-in: the pending sign-in is in storage before this returns, and the browser is the caller's affair.
    pub(crate) async fn begin_sign_in(
        &self,
        options: FfiSignInOptions,
    ) -> Result<Arc<FfiPendingSignIn>, FfiError> {
        Ok(Arc::new(FfiPendingSignIn {
            pending: self.begin(options).await?,
            _live: Live::new(),
        }))
    }

    /// Calls off the sign-in that this client waits for, if there is one. If its redirect came before, it completes all the
    /// same. Returns at once.
    pub(crate) fn cancel_sign_in(&self) {
        if let Some(canceller) = lock(&self.canceller).take() {
            canceller.cancel();
        }
    }

    /// Finishes a sign-in with the redirect that came back, in this process or a later one.
    pub(crate) async fn resume_sign_in(&self, redirect_url: String) -> Result<Arc<FfiSession>, FfiError> {
        let session = self.client.resume_sign_in(&redirect_url).await?;
        Ok(FfiSession::new(session))
    }

    /// The stored session, if somebody is signed in. Asks no server.
    pub(crate) async fn session(&self) -> Result<Option<Arc<FfiSession>>, FfiError> {
        Ok(self.client.session().await?.map(FfiSession::new))
    }

    /// All stored sessions, the latest sign-in first. Asks no server.
    pub(crate) async fn sessions(&self) -> Result<Vec<Arc<FfiSession>>, FfiError> {
        let sessions = self.client.sessions().await?;
        Ok(sessions.into_iter().map(FfiSession::new).collect())
    }

    /// Sees to what was left undone and to what changed meanwhile.
    pub(crate) async fn catch_up(&self) -> Result<(), FfiError> {
        Ok(self.client.catch_up().await?)
    }

    /// Waits until nothing of this client is under way.
    pub(crate) async fn drain(&self) {
        self.client.drain().await;
    }

    /// Forgets everything that this client keeps on the device.
    pub(crate) async fn forget_everything(&self) -> Result<(), FfiError> {
        Ok(self.client.forget_everything().await?)
    }

    /// The server's metadata, as it sent it: a JSON object.
    pub(crate) async fn server_metadata_json(&self) -> Result<String, FfiError> {
        let server = self.client.authorization_server().await?;
        Ok(String::from_utf8_lossy(server.document()).into_owned())
    }

    /// The origins that tokens may be sent to: no other ever gets one.
    pub(crate) fn apis(&self) -> Vec<FfiApiOrigin> {
        let origins = self.client.apis().iter();
        origins
            .filter_map(|api| match &api.origin {
                url::Origin::Tuple(scheme, host, port) => Some(FfiApiOrigin {
                    scheme: scheme.clone(),
                    host: match host {
                        Host::Domain(name) => name.clone(),
                        Host::Ipv4(address) => address.to_string(),
                        Host::Ipv6(address) => address.to_string(),
                    },
                    port: *port,
                    takes_own_token: api.target.is_default(),
                }),
                url::Origin::Opaque(_) => None,
            })
            .collect()
    }

    /// Whether somebody is signed in, as far as it is known now. Asks nobody.
    pub(crate) fn state(&self) -> FfiSessionState {
        self.client.state().get().into()
    }
}

impl FfiClient {
    async fn begin(&self, options: FfiSignInOptions) -> Result<PendingSignIn, FfiError> {
        let pending = self.client.begin_sign_in(options.into_options()?).await?;
        *lock(&self.canceller) = Some(pending.canceller());
        Ok(pending)
    }
}

#[uniffi::export]
impl FfiPendingSignIn {
    /// The URL for the browser. It holds state and nonce: not for logs.
    pub(crate) fn authorization_url(&self) -> String {
        self.pending.authorization_url().to_owned()
    }

    /// For how long the server accepts that URL, from the beginning of the sign-in on; absent where it does not say.
    pub(crate) fn authorization_url_lifetime_millis(&self) -> Option<u64> {
        self.pending.authorization_url_lifetime().map(super::http::millis)
    }

    /// The redirect URI of this sign-in, with the port that was bound where it is a loopback one.
    pub(crate) fn redirect_uri(&self) -> String {
        self.pending.redirect_uri().to_owned()
    }

    /// Finds the attempt in the logs.
    pub(crate) fn diagnostic_id(&self) -> String {
        self.pending.diagnostic_id().to_owned()
    }

    /// Waits for the sign-in to end.
    pub(crate) async fn await_end(&self) -> Result<Arc<FfiSession>, FfiError> {
        Ok(FfiSession::new(self.pending.wait().await?))
    }

    /// Calls the sign-in off. If its redirect came before, it completes all the same.
    pub(crate) fn cancel(&self) {
        self.pending.cancel();
    }
}

/// Milliseconds since 1970.
pub(super) fn unix_millis(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
