//! What the loopback listener of a sign-in makes of a request.

use std::sync::Arc;

use zeroize::Zeroizing;

use tracing::debug;

use super::Inner;
use super::pending::Attempt;
use crate::error::ErrorKind;
use crate::ports::Verdict;
use crate::session::listening::Listening;

/// Serves until one redirect has decided the attempt, or the attempt has ended by other means.
pub(super) fn serve(listening: Listening, inner: &Arc<Inner>, attempt: &Arc<Attempt>) {
    let judge = {
        let inner = Arc::clone(inner);
        move |url: Zeroizing<String>| judge(Arc::clone(&inner), url)
    };
    let over = Arc::clone(attempt);
    listening.serve(&inner.context, judge, async move { drop(over.ended().await) });
}

/// Decides about one request to the redirect URI. The work runs on its own: a browser that hangs up cannot stop
/// an exchange half-way.
async fn judge(inner: Arc<Inner>, url: Zeroizing<String>) -> Verdict {
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
