//! Ending the user's session at the server, in the browser (OpenID Connect RP-Initiated Logout 1.0).
//!
//! Here the user is signed out already: whatever happens in the browser, or does not, changes nothing of that (§4).

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::debug;
use zeroize::Zeroizing;

use super::context::{Context, no_user_agent};
use super::listening::Listening;
use crate::error::{Error, Result, Stage};
use crate::ports::{UserAgentRequest, UserAgentReturn, Verdict};
use crate::protocol::end_session::{EndSessionRequest, check_return};
use crate::protocol::redirect::RedirectUri;
use crate::protocol::token::IdToken;
use crate::secret::Secret;

/// How long to wait for the browser to come back. Nothing depends on it.
const PATIENCE: Duration = Duration::from_secs(5 * 60);

/// What came of ending the user's session at the server, in the browser.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
/// # fn main() -> Outcome { signed_in(async |client, session, api| {
/// use gatepass::{BrowserSession, SignOut};
///
/// /// Whether the next user of this browser has to type a password.
/// fn is_closed(outcome: &BrowserSession) -> bool {
///     matches!(outcome, BrowserSession::Ended)
/// }
/// // Without the browser its session lives on.
/// let signed_out = session.sign_out(SignOut::Revoke).await?;
/// assert!(!is_closed(&signed_out.browser_session));
/// # Ok(()) }) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BrowserSession {
    /// It was not asked for, or the session was over before.
    NotAsked,
    /// The server ended it: the browser came back with the state of this sign-out.
    Ended,
    /// The browser shows the server's page. Whether the user followed it through is not known: no
    /// [`post_logout_redirect`](crate::ClientBuilder::post_logout_redirect) is configured, it is of a kind that arrives
    /// elsewhere, the user closed the page, or five minutes passed.
    Opened,
    /// The server offers no such thing: its session in the browser lives until it expires there.
    NotOffered,
    /// The browser could not be opened, or the server could not be asked where to go.
    Failed(Error),
}

impl Context {
    /// Opens the browser at the server's end-session endpoint and waits for it to come back, where it can.
    pub(super) async fn end_session(self: &Arc<Self>, id_token: Option<&IdToken>) -> BrowserSession {
        match self.visit_end_session(id_token).await {
            Ok(outcome) => outcome,
            Err(error) => {
                debug!(code = error.code(), "the session in the browser was not ended");
                BrowserSession::Failed(error)
            }
        }
    }

    async fn visit_end_session(self: &Arc<Self>, id_token: Option<&IdToken>) -> Result<BrowserSession> {
        let server = self.server().await?;
        let Some(endpoint) = server.end_session_endpoint() else {
            return Ok(BrowserSession::NotOffered);
        };
        let user_agent = self.ports.user_agent.clone().ok_or_else(no_user_agent)?;
        let state = Secret::new(self.random_text()?);
        let listening = match &self.post_logout_redirect {
            Some(redirect) => Some(Listening::open(redirect).await?),
            None => None,
        };
        let return_to = match (&listening, &self.post_logout_redirect) {
            (Some(listening), Some(redirect)) => Some(listening.redirect(redirect)),
            _ => None,
        };
        let url = EndSessionRequest {
            endpoint,
            client_id: &self.client_id,
            id_token_hint: id_token,
            logout_hint: None,
            return_to: return_to.as_ref().map(|redirect| (redirect, &state)),
            ui_locales: &[],
        }
        .to_url()?;

        let (came_back, mut coming_back) = watch::channel(false);
        let listens = listening.as_ref().is_some_and(Listening::is_open);
        let came_back = Arc::new(came_back);
        // Dropped with this visit, however it ends; and with it the listener.
        let visiting = watch::Sender::new(());
        if let (Some(listening), Some(redirect)) = (listening, return_to.clone()) {
            let judge = {
                let (state, came_back) = (state.clone(), Arc::clone(&came_back));
                move |url: Zeroizing<String>| {
                    let verdict = judge(&url, &redirect, &state, &came_back);
                    async move { verdict }
                }
            };
            let mut visiting = visiting.subscribe();
            let over = async move { while visiting.changed().await.is_ok() {} };
            listening.serve(self, judge, over);
        }
        let request = UserAgentRequest::new(
            url,
            return_to.as_ref().map(RedirectUri::as_str).unwrap_or_default(),
        );
        let clock = &self.ports.clock;
        let patience = u64::try_from(PATIENCE.as_millis()).unwrap_or(u64::MAX);
        let deadline = clock.boot_millis().saturating_add(patience);
        let returned = tokio::select! {
            biased;
            _ = coming_back.wait_for(|back| *back) => return Ok(BrowserSession::Ended),
            returned = user_agent.open(request) => returned,
            // A browser that nobody closes may keep its opener for ever.
            () = clock.sleep_until(deadline) => return Ok(BrowserSession::Opened),
        };
        match (returned, return_to) {
            (Ok(UserAgentReturn::Redirected(url)), Some(redirect)) => {
                check_return(&url, &redirect, &state)?;
                Ok(BrowserSession::Ended)
            }
            (Ok(UserAgentReturn::Opened), Some(_)) if listens => tokio::select! {
                biased;
                _ = coming_back.wait_for(|back| *back) => Ok(BrowserSession::Ended),
                () = clock.sleep_until(deadline) => Ok(BrowserSession::Opened),
            },
            (Ok(_), _) => Ok(BrowserSession::Opened),
            (Err(failure), _) => Err(Error::from(failure).at_stage(Stage::EndSession)),
        }
    }
}

/// A redirect that is not ours is ignored: anybody can make such a link.
fn judge(url: &str, redirect: &RedirectUri, state: &Secret, came_back: &watch::Sender<bool>) -> Verdict {
    match check_return(url, redirect, state) {
        Ok(()) => {
            came_back.send_replace(true);
            Verdict::SignedOut
        }
        Err(error) => {
            debug!(
                code = error.code(),
                "a request to the loopback redirect was turned down"
            );
            Verdict::TurnedDown
        }
    }
}
