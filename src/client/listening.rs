//! The loopback listener of a sign-in, and what a build without one says instead.

use std::sync::Arc;

#[cfg(feature = "loopback")]
use tracing::debug;

use super::Inner;
use super::pending::Attempt;
#[cfg(not(feature = "loopback"))]
use crate::error::{Error, Stage};
use crate::error::{ErrorKind, Result};
use crate::protocol::redirect::RedirectUri;

/// The listener of one attempt, or none where the redirect is of another kind.
pub(super) struct Listening {
    #[cfg(feature = "loopback")]
    listener: Option<crate::adapters::loopback::Listener>,
}

#[cfg(feature = "loopback")]
impl Listening {
    pub(super) async fn open(redirect: &RedirectUri) -> Result<Self> {
        use crate::protocol::redirect::RedirectKind;
        if redirect.kind() != RedirectKind::Loopback {
            return Ok(Self { listener: None });
        }
        let listener = crate::adapters::loopback::Listener::bind(redirect).await?;
        Ok(Self {
            listener: Some(listener),
        })
    }

    /// The redirect URI to send: with the port that was bound.
    pub(super) fn redirect(&self, configured: &RedirectUri) -> RedirectUri {
        let bound = self
            .listener
            .as_ref()
            .and_then(|listener| configured.bound_to(listener.address()));
        bound.unwrap_or_else(|| configured.clone())
    }

    /// Serves until one redirect has decided the attempt, or the attempt has ended by other means.
    pub(super) fn serve(self, inner: &Arc<Inner>, attempt: &Arc<Attempt>) {
        let Some(listener) = self.listener else { return };
        let judge = {
            let inner = Arc::clone(inner);
            move |url: String| judge(Arc::clone(&inner), url)
        };
        let over = Arc::clone(attempt);
        inner
            .context
            .spawn(listener.serve(judge, async move { drop(over.ended().await) }));
    }
}

/// Decides about one request to the redirect URI. The work runs on its own: a browser that hangs up cannot stop
/// an exchange half-way.
#[cfg(feature = "loopback")]
async fn judge(inner: Arc<Inner>, url: String) -> crate::adapters::loopback::Verdict {
    use crate::adapters::loopback::Verdict;
    let (tell, verdict) = tokio::sync::oneshot::channel();
    let context = Arc::clone(&inner.context);
    context.spawn(async move {
        match inner.accept(&url).await {
            Ok(accepted) => {
                let _ = tell.send(Verdict::Accepted);
                // The outcome reaches whoever waits for the attempt.
                drop(accepted.finish(&inner).await);
            }
            // The same redirect again, as from a browser that loads a page twice: the first one counts, and both see
            // the same page.
            Err(turned_down) if turned_down.error.kind() == ErrorKind::AlreadyHandled => {
                let _ = tell.send(Verdict::Accepted);
            }
            Err(turned_down) if turned_down.ends_flow => {
                let _ = tell.send(Verdict::Refused);
            }
            Err(turned_down) => {
                debug!(
                    code = turned_down.error.code(),
                    "a request to the loopback redirect was turned down"
                );
                let _ = tell.send(Verdict::TurnedDown);
            }
        }
    });
    verdict.await.unwrap_or(Verdict::TurnedDown)
}

#[cfg(not(feature = "loopback"))]
impl Listening {
    #[allow(clippy::unused_async, reason = "the same shape as with the feature")]
    pub(super) async fn open(redirect: &RedirectUri) -> Result<Self> {
        use crate::protocol::redirect::RedirectKind;
        if redirect.kind() == RedirectKind::Loopback {
            return Err(Error::new(
                ErrorKind::RedirectNotCaptured,
                Stage::Configuration,
                "loopback_not_built_in",
                "a loopback redirect needs the feature `loopback`",
            ));
        }
        Ok(Self {})
    }

    pub(super) fn redirect(&self, configured: &RedirectUri) -> RedirectUri {
        configured.clone()
    }

    pub(super) fn serve(self, _inner: &Arc<Inner>, _attempt: &Arc<Attempt>) {}
}
