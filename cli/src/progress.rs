//! One moving line on standard error while something takes its time. On a terminal only.

use std::fmt;
use std::future::Future;
use std::io::IsTerminal as _;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is quicker than this needs no line.
const DELAY: Duration = Duration::from_millis(400);
const TICK: Duration = Duration::from_millis(120);

/// Where the moving line is, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    silent: bool,
    line: Arc<Mutex<Option<ProgressBar>>>,
}

impl Progress {
    /// No moving line where there is no terminal, or where a log is written to it.
    pub(crate) fn new(logs: bool) -> Self {
        Self {
            silent: logs || !std::io::stderr().is_terminal(),
            line: Arc::default(),
        }
    }

    /// Does the work, and says what it is if it takes a while.
    pub(crate) async fn during<T>(&self, text: &str, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(DELAY) => {}
        }
        let _shown = self.show(text);
        work.await
    }

    /// Shows the line until the answer is dropped.
    fn show(&self, text: &str) -> Shown<'_> {
        if !self.silent {
            let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
                line.set_style(style);
            }
            line.set_message(text.to_owned());
            line.enable_steady_tick(TICK);
            *self.lock() = Some(line);
        }
        Shown(self)
    }

    /// Runs what writes to the terminal, with the line out of its way.
    pub(crate) fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &*self.lock() {
            Some(line) => line.suspend(write),
            None => write(),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<ProgressBar>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress")
            .field("silent", &self.silent)
            .finish_non_exhaustive()
    }
}

struct Shown<'a>(&'a Progress);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if let Some(line) = self.0.lock().take() {
            line.finish_and_clear();
        }
    }
}
