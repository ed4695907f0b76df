//! The front door: one client for one authorization server, from the first URL to a session.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

mod accept;
pub(crate) mod builder;
#[cfg(feature = "uniffi")]
pub(crate) mod built_in;
mod catch_up;
mod exchange;
pub(crate) mod flow;
mod listening;
mod neighbours;
mod pending;
mod provisional;
mod sign_in;
mod waiting;

pub use self::builder::ClientBuilder;
pub use self::pending::{Canceller, PendingSignIn, SignInProgress};
pub use self::waiting::WaitingSignIn;

use self::listening::LeftOpen;
use self::pending::Attempt;
use self::provisional::Look;
use crate::error::{Error, Result};
#[cfg(feature = "uniffi")]
use crate::ports::UserAgent;
use crate::ports::UserAgentFailure;
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::redirect::RedirectUri;
use crate::protocol::scope::Scope;
use crate::session::context::Context;
#[cfg(feature = "uniffi")]
use crate::session::context::{Api, no_user_agent};
use crate::session::sessions::Sessions;
use crate::session::sign_out::Leftovers;
use crate::session::{Session, SessionState};
use crate::sync::{Watch, lock};

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
    sessions: Sessions,
    redirect: RedirectUri,
    /// Where a page at the redirect hands callbacks on to.
    redirect_alias: Option<RedirectUri>,
    scope: Scope,
    sign_in_timeout: Duration,
    /// The sign-ins that a caller in this process waits for, by the name of their flow record.
    attempts: Mutex<HashMap<String, Arc<Attempt>>>,
    /// Whether the redirects of sign-ins whose processes are gone are listened for.
    listens_again: bool,
    /// Those that are.
    left_open: Mutex<LeftOpen>,
    /// Whether storage may hold sign-ins of before that nobody has looked at.
    unsettled: AtomicBool,
    settling: tokio::sync::Mutex<()>,
}

impl Client {
    /// Starts the configuration of a client: the issuer URL exactly as the server's operator names it, and the
    /// client id they gave.
    pub fn builder(issuer: impl Into<String>, client_id: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(issuer.into(), client_id.into())
    }

    /// The stored session, if somebody is signed in; of several, that of the user who signed in last. Reads storage and
    /// asks no server, with one exception: a sign-in that had to wait for the server's signing keys is finished first.
    ///
    /// A sign-in by a loopback redirect whose process died while the browser was open is listened for again, on the same
    /// port, until its time is over or this client begins one of its own (RFC 8252 §7.3). If its redirect comes, it completes
    /// here: that shows in [`state`](Client::state) and as [`SessionEvent::SignedIn`](crate::SessionEvent::SignedIn). Nothing
    /// waits for it. Where the port cannot be had, it is tried again at the next look.
    ///
    /// Safe to cancel.
    ///
    /// ```no_run
    /// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
    /// match client.session().await {
    ///     Ok(Some(session)) => println!("signed in since {:?}", session.signed_in_at()),
    ///     Ok(None) => println!("nobody is signed in"),
    ///     // Not "nobody": storage is locked, for example.
    ///     Err(error) => println!("cannot tell yet: {error}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Code `sign_in_unverified`: a sign-in still waits for the server's keys; ask again later.
    /// [`ErrorKind::StorageLocked`](crate::ErrorKind::StorageLocked) and
    /// [`ErrorKind::StorageLost`](crate::ErrorKind::StorageLost): storage could not say. Neither means that nobody is
    /// signed in.
    pub async fn session(&self) -> Result<Option<Session>> {
        let inner = Arc::clone(&self.0);
        self.0
            .context
            .run(async move {
                let looks = inner.settle_once().await;
                let found = inner.sessions.current().await?;
                let is_known = !inner.sessions.are_new(looks);
                if found.is_some() && is_known {
                    return Ok(found);
                }
                // Another process may have left a sign-in since, or one that was to be forgotten.
                match inner.settle(Look::Again).await {
                    Some(error) if found.is_none() => Err(error),
                    _ => inner.sessions.current().await,
                }
            })
            .await
    }

    /// All stored sessions of this client, the latest sign-in first. More than one only with
    /// [`several_accounts`](ClientBuilder::several_accounts). Reads storage; asks no server.
    ///
    /// Safe to cancel.
    ///
    /// ```no_run
    /// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
    /// for session in client.sessions().await? {
    ///     println!("{}: {:?}", session.id(), session.claims().map(|claims| claims.subject()));
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`session`](Client::session).
    pub async fn sessions(&self) -> Result<Vec<Session>> {
        let inner = Arc::clone(&self.0);
        self.0
            .context
            .run(async move {
                let looks = inner.settle_once().await;
                let found = inner.sessions.all().await?;
                if !inner.sessions.are_new(looks) {
                    return Ok(found);
                }
                inner.settle(Look::Again).await;
                inner.sessions.all().await
            })
            .await
    }

    /// Whether somebody is signed in, now and at every change. The first value is
    /// [`SessionState::Loading`] until [`session`](Client::session) or a sign-in has asked storage. Of several sessions one
    /// that is signed in is enough; each has a [`state`](Session::state) of its own.
    ///
    /// ```no_run
    /// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
    /// use gatepass::SessionState;
    ///
    /// let mut state = client.state();
    /// client.session().await?;
    /// state.wait_for(|state| *state != SessionState::SignedIn).await;
    /// println!("not signed in any more: {:?}", state.get());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn state(&self) -> Watch<SessionState> {
        self.0.sessions.state()
    }

    /// The server's metadata, fetched if it is not at hand.
    ///
    /// Safe to cancel.
    ///
    /// ```no_run
    /// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
    /// let server = client.authorization_server().await?;
    /// println!("{}: can push requests: {}", server.issuer(), server.pushed_authorization_request_endpoint().is_some());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Network`](crate::ErrorKind::Network) if the server cannot be reached,
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if what it says of itself cannot be used.
    pub async fn authorization_server(&self) -> Result<AuthorizationServer> {
        let context = Arc::clone(&self.0.context);
        self.0
            .context
            .run(async move { context.server().await.map(|server| (*server).clone()) })
            .await
    }

    /// Waits until nothing of this client is under way: call it before a short program exits, so that a refresh
    /// whose caller stopped waiting still reaches storage. A sign-in that waits for its redirect counts until it ends:
    /// cancel it first. Refreshed tokens that storage refused to take are tried once more; if storage still refuses, this
    /// does not wait for it. Safe to cancel: dropping the future stops the waiting only.
    ///
    /// ```
    /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
    /// # fn main() -> Outcome { signed_in(async |client, session, api| {
    /// println!("{}", session.http().get(api).send().await?.text());
    /// client.drain().await;
    /// // … and main may return.
    /// # Ok(()) }) }
    /// ```
    pub async fn drain(&self) {
        self.0.context.drain().await;
        if self.0.sessions.write_what_is_held() {
            self.0.context.drain().await;
        }
    }

    /// Forgets everything that this client keeps on the device: every session, every sign-in under way, and what is known
    /// of the server. For "reset this app" and for erasing a user's data; to sign a user out use
    /// [`Session::sign_out`], which also tells the server.
    ///
    /// What stays is, for each session there was, a number that keeps a refresh under way from bringing it back; it names
    /// neither user nor server; where a sign-in could not be removed, its diagnostic id with it. Sessions of other clients in the same storage are not touched. A sign-in that somebody waits
    /// for ends as [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled). Safe to cancel: it goes on.
    ///
    /// ```no_run
    /// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
    /// client.forget_everything().await?;
    /// assert!(client.session().await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// If storage cannot be written. Then something may be left; try again.
    pub async fn forget_everything(&self) -> Result<()> {
        let inner = Arc::clone(&self.0);
        self.0
            .context
            .run(async move { inner.forget_everything().await })
            .await
    }
}

#[cfg(feature = "uniffi")]
impl Client {
    /// What opens the browser, where anything can.
    pub(crate) fn user_agent(&self) -> Result<Arc<dyn UserAgent>> {
        self.0.context.ports.user_agent.clone().ok_or_else(no_user_agent)
    }

    /// The origins that tokens may be sent to, each with what its token is for.
    pub(crate) fn apis(&self) -> &[Api] {
        &self.0.context.apis
    }
}

impl Inner {
    async fn forget_everything(&self) -> Result<()> {
        for attempt in lock(&self.attempts).values() {
            attempt.call_off(Error::from(UserAgentFailure::Cancelled));
        }
        self.stop_listening().await;
        // Flows first: one that ends meanwhile would make a session. What cannot be removed keeps nothing else from it.
        let mut outcome = Ok(());
        for flow in self.context.list(&self.context.names.flows()).await? {
            outcome = outcome.and(self.forget_flow(&flow).await);
        }
        let leftovers = match outcome {
            Ok(()) => Leftovers::None,
            Err(_) => Leftovers::OfSignIns,
        };
        for slot in self.sessions.every_slot().await? {
            outcome = outcome.and(slot.erase(leftovers).await);
        }
        outcome = outcome.and(self.context.forget_revocations().await);
        outcome = outcome.and(self.context.forget_knowledge().await);
        outcome
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
