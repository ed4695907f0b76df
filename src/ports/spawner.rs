//! Threads: where the core's own work runs.

use std::fmt::Debug;

use super::BoxFuture;

/// The spawner port.
///
/// # Contract
/// - A task runs to its end even if nobody waits for it: a refresh must outlive the caller that began it.
/// - A task that panics does not take others with it.
/// - Never runs anything on the thread that calls, nor inside the call.
///
/// ```
/// use gatepass::{BoxFuture, Spawner};
///
/// /// On a runtime of the app's.
/// #[derive(Debug)]
/// struct OnTokio(tokio::runtime::Handle);
///
/// impl Spawner for OnTokio {
///     fn spawn(&self, task: BoxFuture<'static, ()>) {
///         self.0.spawn(task);
///     }
///     fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
///         self.0.spawn_blocking(work);
///     }
/// }
/// ```
pub trait Spawner: Send + Sync + Debug {
    /// Runs a task that does not block.
    fn spawn(&self, task: BoxFuture<'static, ()>);

    /// Runs work that may block (storage, keys, locks) on a thread where that harms nobody.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>);
}
