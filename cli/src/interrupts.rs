//! Signals, counted: the first asks to stop, the second insists.

use std::io;
use std::thread;

use tokio::sync::watch;

use crate::exit::Exit;
use crate::report::Report;

/// How often the program was asked to stop: by Ctrl-C or SIGTERM, or because nobody reads what it says any more.
#[derive(Clone, Debug)]
pub(crate) struct Interrupts(watch::Sender<u32>);

impl Interrupts {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(0))
    }

    /// Counts from now on, whatever the main thread does meanwhile. At the second signal the program ends here and now.
    ///
    /// # Errors
    /// If the system gives no thread or no signals.
    pub(crate) fn listen(&self, report: Report) -> io::Result<()> {
        // A runtime of its own, on a thread of its own: the main thread may be busy or blocked.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // Registered before this returns: from here on no signal kills the program before it has said so.
        let mut signals = {
            let _inside = runtime.enter();
            Signals::register()?
        };
        let count = self.0.clone();
        thread::Builder::new()
            .name("gatepass-signals".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    signals.next().await;
                    count.send_modify(|count| *count += 1);
                    signals.next().await;
                });
                report.at_once();
                std::process::exit(Exit::Cancelled as i32);
            })?;
        Ok(())
    }

    /// Nobody reads what the program says: reason to stop, unless it was asked to before.
    pub(crate) fn hang_up(&self) {
        self.0.send_if_modified(|count| {
            let first = *count == 0;
            *count = (*count).max(1);
            first
        });
    }

    /// Completes once the program was asked to stop.
    pub(crate) async fn asked(&self) {
        if self.0.subscribe().wait_for(|count| *count > 0).await.is_err() {
            // The sender is in this very value.
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn register() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        ))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

#[cfg(windows)]
struct Signals(tokio::signal::windows::CtrlC, tokio::signal::windows::CtrlBreak);

#[cfg(windows)]
impl Signals {
    fn register() -> io::Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c};
        Ok(Self(ctrl_c()?, ctrl_break()?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}
