//! The core's own executor: one thread named `gatepass`, made on first use and never taken down.
//!
//! Exchanges must outlive whoever began them. A caller's runtime can be dropped with a refresh half-way through;
//! this one cannot.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle};

use crate::error::{Error, Result, Stage};
use crate::ports::{BoxFuture, Spawner};

/// A handle to the process-wide executor.
#[derive(Clone, Debug)]
pub(crate) struct Executor {
    handle: Handle,
    /// The process that has the thread: a fork has the memory, and not the thread.
    process: u32,
}

impl Executor {
    /// The process-wide executor, started if this is the first use.
    pub(crate) fn shared() -> Result<Self> {
        static SHARED: OnceLock<std::io::Result<Executor>> = OnceLock::new();
        match SHARED.get_or_init(start) {
            Ok(executor) if executor.is_ours() => Ok(executor.clone()),
            Ok(_) => Err(Error::internal(
                Stage::Session,
                "this process was forked from one that used Gatepass, whose thread it does not have; start a new program instead",
            )),
            Err(error) => Err(Error::internal(
                Stage::Session,
                format!("the core's thread could not be started: {error}"),
            )),
        }
    }

    #[cfg(feature = "loopback")]
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Executor {
    fn is_ours(&self) -> bool {
        self.process == std::process::id()
    }
}

fn start() -> std::io::Result<Executor> {
    let mut builder = Builder::new_current_thread();
    builder.thread_name("gatepass-blocking").enable_time();
    #[cfg(any(feature = "http", feature = "loopback"))]
    builder.enable_io();
    let runtime = builder.build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("gatepass".to_owned())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
    Ok(Executor {
        handle,
        process: std::process::id(),
    })
}

impl Spawner for Executor {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        // The handle to the task is not needed: a dropped one leaves it running, and a panic ends that task alone.
        // In a fork nobody would run it. Dropped, it tells whoever waits for it.
        if self.is_ours() {
            drop(self.handle.spawn(task));
        }
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        if self.is_ours() {
            drop(self.handle.spawn_blocking(work));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_outlives_the_runtime_that_began_it() {
        let (done, outcome) = std::sync::mpsc::channel();
        let (go, gate) = tokio::sync::oneshot::channel::<()>();
        let callers = Builder::new_current_thread().build().unwrap();
        callers.block_on(async {
            Executor::shared().unwrap().spawn(Box::pin(async move {
                gate.await.unwrap();
                done.send(std::thread::current().name().map(str::to_owned))
                    .unwrap();
            }));
        });
        drop(callers);
        go.send(()).unwrap();
        assert_eq!(outcome.recv().unwrap().as_deref(), Some("gatepass"));
    }

    #[test]
    fn a_panicking_task_takes_no_other_with_it() {
        let executor = Executor::shared().unwrap();
        executor.spawn(Box::pin(async { panic!("expected by this test") }));
        let (done, outcome) = std::sync::mpsc::channel();
        executor.spawn(Box::pin(async move { done.send(1).unwrap() }));
        assert_eq!(outcome.recv().unwrap(), 1);
    }
}
