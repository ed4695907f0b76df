//! The front door: one client for one authorization server, from the first URL to a session.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

mod accept;
mod builder;
mod exchange;
mod flow;
mod listening;
mod pending;
mod sign_in;

pub use self::builder::ClientBuilder;
pub use self::pending::{Canceller, PendingSignIn, SignInProgress};

use self::pending::Attempt;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::UserAgent;
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::redirect::RedirectUri;
use crate::protocol::scope::Scope;
use crate::session::context::Context;
use crate::session::{Session, SessionState, Slot};

/// One app's client at one authorization server. Cheap to clone; all clones are one client.
///
/// ```no_run
/// use gatepass::{Client, SignInOptions, SignOut};
///
/// # async fn example() -> gatepass::Result<()> {
/// let client = Client::builder("https://login.example.com", "my-app")
///     .redirect("http://127.0.0.1/callback")
///     .scopes(["openid", "profile", "offline_access"])
///     .api("https://api.example.com")
///     .build()?;
/// let session = match client.session().await? {
///     Some(session) => session,
///     None => client.sign_in(SignInOptions::default()).await?,
/// };
/// let me = session.http().get("https://api.example.com/me").send().await?;
/// session.sign_out(SignOut::Revoke).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    context: Arc<Context>,
    slot: Arc<Slot>,
    redirect: RedirectUri,
    scope: Scope,
    user_agent: Option<Arc<dyn UserAgent>>,
    sign_in_timeout: Duration,
    /// The sign-ins that a caller in this process waits for, by the name of their flow record.
    attempts: Mutex<HashMap<String, Arc<Attempt>>>,
}

impl Client {
    /// Starts the configuration of a client: the issuer URL exactly as the server's operator names it, and the
    /// client id they gave.
    pub fn builder(issuer: impl Into<String>, client_id: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(issuer.into(), client_id.into())
    }

    /// The stored session, if somebody is signed in. Reads storage; asks no server.
    ///
    /// Safe to cancel.
    ///
    /// # Errors
    /// [`ErrorKind::StorageLocked`] and [`ErrorKind::StorageLost`]: storage could not say. Neither means that nobody
    /// is signed in.
    pub async fn session(&self) -> Result<Option<Session>> {
        let slot = Arc::clone(&self.0.slot);
        self.0.context.run(async move { slot.restore().await }).await
    }

    /// Whether somebody is signed in, now and at every change. The first value is
    /// [`SessionState::Loading`] until [`session`](Client::session) or a sign-in has asked storage.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<SessionState> {
        self.0.slot.state()
    }

    /// The server's metadata, fetched if it is not at hand.
    ///
    /// Safe to cancel.
    ///
    /// # Errors
    /// [`ErrorKind::Network`] if the server cannot be reached, [`ErrorKind::Protocol`] if what it says of itself
    /// cannot be used.
    pub async fn authorization_server(&self) -> Result<AuthorizationServer> {
        let context = Arc::clone(&self.0.context);
        self.0
            .context
            .run(async move { context.server().await.map(|server| (*server).clone()) })
            .await
    }

    /// Waits until nothing of this client is under way: call it before a short program exits, so that a refresh
    /// whose caller stopped waiting still reaches storage. A sign-in that waits for its redirect counts until it ends:
    /// cancel it first.
    pub async fn drain(&self) {
        self.0.context.drain().await;
    }

    fn no_user_agent(&self) -> Error {
        Error::new(
            ErrorKind::NoBrowser,
            Stage::UserAgent,
            "no_user_agent",
            "this client has no browser to open: give it one with ClientBuilder::user_agent, or show the URL of begin_sign_in yourself",
        )
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("issuer", &self.0.context.issuer)
            .field("client_id", &self.0.context.client_id)
            .finish_non_exhaustive()
    }
}
