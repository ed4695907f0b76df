//! The loopback listener of a sign-in or a sign-out, and what a build without one says instead.

use std::future::Future;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::context::Context;
use crate::error::Result;
#[cfg(not(feature = "loopback"))]
use crate::error::{Error, ErrorKind, Stage};
use crate::ports::Verdict;
use crate::protocol::redirect::{RedirectKind, RedirectUri};

/// The listener of one attempt, or none where the redirect is of another kind.
pub(crate) struct Listening {
    #[cfg(feature = "loopback")]
    listener: Option<crate::adapters::loopback::Listener>,
}

#[cfg(feature = "loopback")]
impl Listening {
    pub(crate) async fn open(redirect: &RedirectUri) -> Result<Self> {
        if redirect.kind() != RedirectKind::Loopback {
            return Ok(Self { listener: None });
        }
        let listener = crate::adapters::loopback::Listener::bind(redirect).await?;
        Ok(Self {
            listener: Some(listener),
        })
    }

    /// Listens where a redirect of before is to arrive. `None` if that address cannot be had, or is no loopback one.
    pub(crate) async fn open_again(redirect: &RedirectUri) -> Option<Self> {
        let listener = crate::adapters::loopback::Listener::bind_again(redirect).await?;
        Some(Self {
            listener: Some(listener),
        })
    }

    /// Whether the redirect arrives here.
    pub(crate) fn is_open(&self) -> bool {
        self.listener.is_some()
    }

    /// The redirect URI to send: with the port that was bound.
    pub(crate) fn redirect(&self, configured: &RedirectUri) -> RedirectUri {
        let bound = self
            .listener
            .as_ref()
            .and_then(|listener| configured.bound_to(listener.address()));
        bound.unwrap_or_else(|| configured.clone())
    }

    /// Serves until `judge` has decided about a request, or `over` completes.
    pub(crate) fn serve<J, V>(
        self,
        context: &Arc<Context>,
        judge: J,
        over: impl Future<Output = ()> + Send + 'static,
    ) where
        J: Fn(Zeroizing<String>) -> V + Send + Sync + 'static,
        V: Future<Output = Verdict> + Send + 'static,
    {
        if self.listener.is_some() {
            context.spawn(self.served(judge, over));
        }
    }

    /// As [`serve`](Listening::serve), by whoever awaits it.
    pub(crate) async fn served<J, V>(self, judge: J, over: impl Future<Output = ()> + Send + 'static)
    where
        J: Fn(Zeroizing<String>) -> V + Send + Sync + 'static,
        V: Future<Output = Verdict> + Send + 'static,
    {
        if let Some(listener) = self.listener {
            listener.serve(judge, over).await;
        }
    }
}

#[cfg(not(feature = "loopback"))]
impl Listening {
    #[allow(clippy::unused_async, reason = "the same shape as with the feature")]
    pub(crate) async fn open(redirect: &RedirectUri) -> Result<Self> {
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

    #[allow(clippy::unused_async, reason = "the same shape as with the feature")]
    pub(crate) async fn open_again(_redirect: &RedirectUri) -> Option<Self> {
        None
    }

    pub(crate) fn is_open(&self) -> bool {
        false
    }

    pub(crate) fn redirect(&self, configured: &RedirectUri) -> RedirectUri {
        configured.clone()
    }

    pub(crate) fn serve<J, V>(
        self,
        _context: &Arc<Context>,
        _judge: J,
        _over: impl Future<Output = ()> + Send + 'static,
    ) where
        J: Fn(Zeroizing<String>) -> V + Send + Sync + 'static,
        V: Future<Output = Verdict> + Send + 'static,
    {
    }

    #[allow(clippy::unused_async, reason = "the same shape as with the feature")]
    pub(crate) async fn served<J, V>(self, _judge: J, _over: impl Future<Output = ()> + Send + 'static)
    where
        J: Fn(Zeroizing<String>) -> V + Send + Sync + 'static,
        V: Future<Output = Verdict> + Send + 'static,
    {
    }
}
