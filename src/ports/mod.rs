//! What the world must provide, as traits: the only way out of the core.
//!
//! Everything that touches network, storage, time, chance, threads or the screen goes through a port, so that
//! a test can stop the world at any step and see what was on disk, and a platform can supply its own part.
//! Each trait states its contract; an adapter that keeps the contract keeps the promises of the crate.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

mod clock;
mod events;
pub(crate) mod http;
#[cfg(feature = "sealed-file")]
mod key_wrap;
mod process_lock;
mod random;
mod signing_key;
mod spawner;
mod storage;
mod user_agent;

pub use self::clock::Clock;
pub use self::events::{EventSink, NoEvents, SessionEvent, SessionId};
pub use self::http::{HttpFailure, HttpFailureReason, HttpRequest, HttpResponse, HttpTransport};
#[cfg(feature = "sealed-file")]
pub(crate) use self::key_wrap::KeyWrap;
pub use self::process_lock::{LockFailure, LockGuard, ProcessLock};
pub use self::random::{Random, RandomFailure};
pub use self::signing_key::{SigningFailure, SigningKey};
pub use self::spawner::Spawner;
#[cfg(any(test, feature = "conformance"))]
pub(crate) use self::storage::conformance;
pub use self::storage::{CommitOutcome, Generation, RecordKey, SecureStorage, StorageFailure, Stored};
pub(crate) use self::user_agent::Verdict;
pub use self::user_agent::{UserAgent, UserAgentFailure, UserAgentRequest, UserAgentReturn};

/// A boxed future that can move between threads.
///
/// ```
/// use gatepass::{BoxFuture, Spawner};
///
/// /// Does one thing after the other on the core's executor.
/// fn in_a_row(spawner: &dyn Spawner, tasks: Vec<BoxFuture<'static, ()>>) {
///     spawner.spawn(Box::pin(async move {
///         for task in tasks {
///             task.await;
///         }
///     }));
/// }
/// ```
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One of each port: the world as one client sees it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ports {
    pub(crate) http: Arc<dyn HttpTransport>,
    pub(crate) storage: Arc<dyn SecureStorage>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) spawner: Arc<dyn Spawner>,
    pub(crate) lock: Arc<dyn ProcessLock>,
    pub(crate) events: Arc<dyn EventSink>,
    /// `None` where the app opens the browser itself.
    pub(crate) user_agent: Option<Arc<dyn UserAgent>>,
}

impl Ports {
    /// Tells of an event. A sink that panics takes nothing with it.
    pub(crate) fn emit(&self, session: Option<&SessionId>, event: SessionEvent) {
        let told = std::panic::catch_unwind(AssertUnwindSafe(|| self.events.event(session, event)));
        if told.is_err() {
            tracing::warn!("the event sink panicked");
        }
    }
}
