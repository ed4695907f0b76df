//! A sign-in that is under way, as its caller sees it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::UserAgentFailure;
use crate::session::Session;
use crate::sync::Watch;

/// How far a sign-in is.
///
/// ```
/// use gatepass::SignInProgress;
///
/// fn caption(progress: SignInProgress) -> Option<&'static str> {
///     match progress {
///         SignInProgress::WaitingForRedirect => Some("Please sign in with your browser."),
///         SignInProgress::RedirectReceived => Some("One moment …"),
///         _ => None,
///     }
/// }
/// assert_eq!(caption(SignInProgress::Done), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignInProgress {
    /// The browser has the user.
    WaitingForRedirect,
    /// The redirect came and passed its checks; the code is being exchanged.
    RedirectReceived,
    /// The sign-in is over, one way or the other.
    Done,
}

/// What the waiting caller and the work on the executor share.
#[derive(Debug)]
pub(super) struct Attempt {
    progress: watch::Sender<SignInProgress>,
    outcome: watch::Sender<Option<Result<Session>>>,
    called_off: watch::Sender<Option<Error>>,
    /// How many deliveries of the redirect have taken it, or are about to, in this process.
    claims: watch::Sender<usize>,
}

/// A delivery of the redirect that is taking the attempt; unless it succeeds it leaves no trace.
pub(super) struct Claim<'a>(Option<&'a Attempt>);

impl Claim<'_> {
    /// The attempt is taken: it ends by this delivery.
    pub(super) fn redirect_received(mut self) {
        if let Some(attempt) = self.0.take() {
            attempt.progress.send_if_modified(|progress| {
                let waiting = *progress == SignInProgress::WaitingForRedirect;
                if waiting {
                    *progress = SignInProgress::RedirectReceived;
                }
                waiting
            });
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(attempt) = self.0 {
            attempt
                .claims
                .send_modify(|claims| *claims = claims.saturating_sub(1));
        }
    }
}

impl Attempt {
    pub(super) fn new() -> Self {
        Self {
            progress: watch::Sender::new(SignInProgress::WaitingForRedirect),
            outcome: watch::Sender::new(None),
            called_off: watch::Sender::new(None),
            claims: watch::Sender::new(0),
        }
    }

    /// Before the redirect is taken in storage, so that nobody who finds it taken misses by whom.
    pub(super) fn claim(&self) -> Claim<'_> {
        self.claims
            .send_modify(|claims| *claims = claims.saturating_add(1));
        Claim(Some(self))
    }

    /// Whether a delivery in this process has taken the attempt, or is about to.
    pub(super) fn is_claimed(&self) -> bool {
        *self.claims.borrow() > 0
    }

    /// Completes when no delivery in this process has the attempt: those that tried had come too late.
    pub(super) async fn unclaimed(&self) {
        // The sender is our own.
        let _ = self.claims.subscribe().wait_for(|claims| *claims == 0).await;
    }

    pub(super) fn is_over(&self) -> bool {
        self.outcome.borrow().is_some()
    }

    /// Ends the attempt. The first outcome counts.
    pub(super) fn end(&self, outcome: Result<Session>) {
        self.outcome.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(outcome);
            }
            first
        });
        self.progress.send_replace(SignInProgress::Done);
    }

    /// Asks for the attempt to end with this error. A redirect that passed its checks before wins.
    pub(super) fn call_off(&self, error: Error) {
        self.called_off.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(error);
            }
            first
        });
    }

    /// Completes when somebody called the attempt off.
    pub(super) async fn called_off(&self) -> Error {
        let mut called_off = self.called_off.subscribe();
        match called_off
            .wait_for(Option::is_some)
            .await
            .map(|error| error.clone())
        {
            Ok(Some(error)) => error,
            _ => lost(),
        }
    }

    /// Completes when the attempt has ended.
    pub(super) async fn ended(&self) -> Result<Session> {
        let mut outcome = self.outcome.subscribe();
        match outcome
            .wait_for(Option::is_some)
            .await
            .map(|outcome| outcome.clone())
        {
            Ok(Some(outcome)) => outcome,
            _ => Err(lost()),
        }
    }
}

pub(super) fn lost() -> Error {
    Error::internal(
        Stage::UserAgent,
        "the sign-in did not end; this is a defect in Gatepass",
    )
}

/// A sign-in that waits for its redirect: show its [`authorization_url`](PendingSignIn::authorization_url) in a
/// browser, then [`wait`](PendingSignIn::wait).
///
/// The redirect comes in by the loopback listener, which is open already, or through
/// [`Client::resume_sign_in`](crate::Client::resume_sign_in), in this process or another. Dropping this value does
/// not end the sign-in; [`cancel`](PendingSignIn::cancel) does.
///
/// ```no_run
/// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
/// let pending = client.begin_sign_in(gatepass::SignInOptions::default()).await?;
/// println!("Open {}", pending.authorization_url());
/// let session = pending.wait().await?;
/// # Ok(())
/// # }
/// ```
pub struct PendingSignIn {
    pub(super) authorization_url: String,
    pub(super) url_lifetime: Option<Duration>,
    pub(super) redirect_uri: String,
    pub(super) diagnostic_id: String,
    pub(super) attempt: Arc<Attempt>,
}

impl PendingSignIn {
    /// The URL for the browser. It holds state and nonce: not for logs.
    #[must_use]
    pub fn authorization_url(&self) -> &str {
        &self.authorization_url
    }

    /// For how long after [`begin_sign_in`](crate::Client::begin_sign_in) the server accepts the URL, where it limits that:
    /// a pushed request (RFC 9126 §2.2) is good for a minute or so. A browser that is opened later shows an error; begin the
    /// sign-in anew then.
    ///
    /// ```
    /// fn note(pending: &gatepass::PendingSignIn) -> String {
    ///     match pending.authorization_url_lifetime() {
    ///         Some(lifetime) => format!("Open this page within {} seconds:", lifetime.as_secs()),
    ///         None => "Open this page:".to_owned(),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn authorization_url_lifetime(&self) -> Option<Duration> {
        self.url_lifetime
    }

    /// The redirect URI of this sign-in, with the port that was bound where it is a loopback one.
    #[must_use]
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_uri
    }

    /// Finds the attempt in the logs.
    #[must_use]
    pub fn diagnostic_id(&self) -> &str {
        &self.diagnostic_id
    }

    /// How far the sign-in is, now and at every change.
    ///
    /// ```no_run
    /// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
    /// use gatepass::{SignInOptions, SignInProgress};
    ///
    /// let pending = client.begin_sign_in(SignInOptions::default()).await?;
    /// let mut progress = pending.progress();
    /// assert_eq!(progress.get(), SignInProgress::WaitingForRedirect);
    /// println!("please finish in the browser …");
    /// while let Some(progress) = progress.changed().await {
    ///     println!("{progress:?}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn progress(&self) -> Watch<SignInProgress> {
        Watch::of(&self.attempt.progress)
    }

    /// Waits for the sign-in to end.
    ///
    /// Safe to cancel: dropping the future stops the waiting only.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`], [`ErrorKind::FlowExpired`] at the deadline, [`ErrorKind::Superseded`] by a newer
    /// sign-in, or what [`user_agent_failed`](PendingSignIn::user_agent_failed) was told; [`ErrorKind::Server`],
    /// [`ErrorKind::Protocol`] and [`ErrorKind::Network`] from the redirect on.
    pub async fn wait(&self) -> Result<Session> {
        self.attempt.ended().await
    }

    /// Calls the sign-in off. If its redirect came before, it completes all the same. Returns at once.
    pub fn cancel(&self) {
        self.canceller().cancel();
    }

    /// Ends the sign-in because the browser could not do its part. If its redirect came before, it completes all the
    /// same. For those who open the browser themselves; [`Client::sign_in`](crate::Client::sign_in) does it for you.
    ///
    /// ```no_run
    /// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
    /// use gatepass::{SignInOptions, UserAgentFailure};
    ///
    /// let pending = client.begin_sign_in(SignInOptions::default()).await?;
    /// if let Err(error) = std::process::Command::new("my-browser").arg(pending.authorization_url()).spawn() {
    ///     pending.user_agent_failed(UserAgentFailure::NoBrowser(error.to_string()));
    /// }
    /// let session = pending.wait().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn user_agent_failed(&self, failure: UserAgentFailure) {
        self.attempt.call_off(failure.into());
    }

    /// A handle that calls the sign-in off from elsewhere.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller(Arc::clone(&self.attempt))
    }
}

impl fmt::Debug for PendingSignIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingSignIn")
            .field("redirect_uri", &self.redirect_uri)
            .field("diagnostic_id", &self.diagnostic_id)
            .finish_non_exhaustive()
    }
}

/// Calls one sign-in off. Cheap to clone.
///
/// ```no_run
/// # async fn example(client: gatepass::Client) -> gatepass::Result<()> {
/// let pending = client.begin_sign_in(gatepass::SignInOptions::default()).await?;
/// let canceller = pending.canceller();
/// // Behind the button that says "Cancel":
/// canceller.cancel();
/// assert_eq!(pending.wait().await.unwrap_err().kind(), gatepass::ErrorKind::Cancelled);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Canceller(Arc<Attempt>);

impl Canceller {
    /// Calls the sign-in off: it ends with [`ErrorKind::Cancelled`] unless its redirect came before. Returns at
    /// once.
    pub fn cancel(&self) {
        self.0.call_off(UserAgentFailure::Cancelled.into());
    }
}

/// Calls a sign-in off unless it was disarmed: for a caller that may be dropped while it waits.
pub(super) struct CancelOnDrop(pub(super) Canceller);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// A sign-in on its way to whoever began it. If they are gone nobody has its URL, and it is called off.
pub(super) struct OnItsWay(Option<PendingSignIn>);

impl OnItsWay {
    pub(super) fn new(pending: PendingSignIn) -> Self {
        Self(Some(pending))
    }

    /// `None` only if it had arrived before.
    pub(super) fn arrived(mut self) -> Option<PendingSignIn> {
        self.0.take()
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        if let Some(pending) = &self.0 {
            pending.cancel();
        }
    }
}

pub(super) fn superseded() -> Error {
    Error::new(
        ErrorKind::Superseded,
        Stage::UserAgent,
        "superseded",
        "a newer sign-in took this one's place",
    )
}

pub(super) fn expired() -> Error {
    Error::new(
        ErrorKind::FlowExpired,
        Stage::UserAgent,
        "flow_expired",
        "the sign-in was not finished in time; begin it anew",
    )
}
