//! Ctrl-C, counted: the first asks to stop, the second insists.

use tokio::sync::watch;

/// How often Ctrl-C was pressed.
#[derive(Clone, Debug)]
pub(crate) struct Interrupts(watch::Receiver<u32>);

impl Interrupts {
    /// Counts from now on. Must run in a runtime.
    pub(crate) fn listen() -> Self {
        let (count, seen) = watch::channel(0);
        tokio::spawn(async move {
            while tokio::signal::ctrl_c().await.is_ok() {
                count.send_modify(|count| *count += 1);
            }
        });
        Self(seen)
    }

    /// Completes once Ctrl-C was pressed this often.
    pub(crate) async fn reach(&self, times: u32) {
        if self.0.clone().wait_for(|count| *count >= times).await.is_err() {
            // Ctrl-C cannot be listened for here, so it never comes.
            std::future::pending::<()>().await;
        }
    }
}
