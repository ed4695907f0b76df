//! What the loopback listener of a sign-in makes of a request, and the listeners for sign-ins whose processes are gone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use tokio::sync::oneshot;
use tracing::{debug, info};
use zeroize::Zeroizing;

use super::Inner;
use super::flow::{FlowRecord, Progress};
use super::pending::Attempt;
use crate::error::{Error, ErrorKind};
use crate::ports::{RecordKey, Stored, Verdict};
use crate::protocol::redirect::RedirectKind;
use crate::session::listening::Listening;
use crate::sync::lock;

/// For this long after its deadline a sign-in is listened for: whoever comes a moment too late gets a page that says so.
const GRACE_MILLIS: u64 = 1_000;

/// Who learns what becomes of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Whoever waits for the attempt.
    Caller,
    /// The event sink: the caller's process is gone.
    Sink,
}

/// Sign-ins of processes that are gone, whose redirects are listened for here.
#[derive(Default)]
pub(super) struct LeftOpen {
    /// A sign-in that was begun here has taken the place of all of them.
    superseded: bool,
    listening: BTreeMap<RecordKey, Open>,
}

/// One listener.
struct Open {
    /// Dropped, it ends the listening: with the client at the latest.
    until: oneshot::Sender<Infallible>,
    /// Completes when the port is free.
    closed: oneshot::Receiver<Infallible>,
}

impl LeftOpen {
    /// Whether this one is not listened for, and is to be.
    fn wants(&self, key: &RecordKey) -> bool {
        let open = self.listening.get(key);
        !self.superseded && open.is_none_or(|open| open.until.is_closed())
    }
}

/// Serves until one redirect has decided the attempt, or the attempt has ended by other means.
pub(super) fn serve(listening: Listening, inner: &Arc<Inner>, attempt: &Arc<Attempt>) {
    let judge = {
        let inner = Arc::clone(inner);
        move |url: Zeroizing<String>| judge(Arc::clone(&inner), url, Told::Caller)
    };
    let over = Arc::clone(attempt);
    listening.serve(&inner.context, judge, async move { drop(over.ended().await) });
}

impl Inner {
    /// Listens for the redirect of a sign-in that waits in storage, where its browser will go: to the same port
    /// (RFC 8252 §7.3). Not if the process that began it still does, which shows by the port being in use.
    pub(super) async fn listen_again(self: &Arc<Self>, key: &RecordKey, stored: &Stored, flow: &FlowRecord) {
        let by_loopback = |kind| kind == RedirectKind::Loopback;
        if !self.listens_again
            || !by_loopback(self.redirect.kind())
            || !by_loopback(flow.redirect.kind())
            || !lock(&self.left_open).wants(key)
        {
            return;
        }
        let listening = Listening::open_again(&flow.redirect).await;
        // The port may be free because its redirect has come since this was read.
        let waits = match self.context.load(key).await {
            Ok(found) => found.is_some_and(|found| found.generation == stored.generation),
            Err(_) => true,
        };
        if !waits {
            return;
        }
        let Some(listening) = listening else {
            // The process may die yet.
            self.unsettled.store(true, Ordering::SeqCst);
            return;
        };
        let clock = Arc::clone(&self.context.ports.clock);
        let left = flow.left_millis(&*clock);
        // No longer than a sign-in takes, should the clock have been set back by years.
        let at_most = u64::try_from(self.sign_in_timeout.as_millis()).unwrap_or(u64::MAX);
        let left = left.min(at_most).saturating_add(GRACE_MILLIS);
        let deadline = clock.boot_millis().saturating_add(left);
        let (until, ended) = oneshot::channel();
        let (open, closed) = oneshot::channel::<Infallible>();
        {
            let mut left_open = lock(&self.left_open);
            if !left_open.wants(key) {
                return;
            }
            left_open.listening.insert(key.clone(), Open { until, closed });
        }
        info!(diagnostic_id = %flow.diagnostic_id, "the redirect of a sign-in of before is listened for again");
        // It holds no client: whoever drops the last one has no use for the port any more.
        let inner = Arc::downgrade(self);
        let judge = {
            let inner = Weak::clone(&inner);
            move |url: Zeroizing<String>| {
                let inner = inner.upgrade();
                async move {
                    match inner {
                        Some(inner) => judge(inner, url, Told::Sink).await,
                        None => Verdict::TurnedDown,
                    }
                }
            }
        };
        let over = async move {
            tokio::select! {
                biased;
                _ = ended => {}
                () = clock.sleep_until(deadline) => {}
            }
        };
        let key = key.clone();
        self.context.spawn_aside(async move {
            listening.served(judge, over).await;
            drop(open);
            if let Some(inner) = inner.upgrade() {
                inner.has_listened(&key).await;
            }
        });
    }

    /// The port of a sign-in of before is free again. If nothing came of it and its time is over, it is told.
    async fn has_listened(&self, key: &RecordKey) {
        let Ok(Some(stored)) = self.context.load(key).await else {
            return;
        };
        let Ok(flow) = FlowRecord::decode(&stored.bytes) else {
            return;
        };
        if !matches!(flow.progress, Progress::Waiting) {
            return;
        }
        let is_over = flow.left_millis(&*self.context.ports.clock) == 0;
        if !is_over || self.interrupted(key, &stored, &flow).await.is_err() {
            self.unsettled.store(true, Ordering::SeqCst);
        }
    }

    /// Listens no more for what storage does not hold any more.
    pub(super) fn keep_listening_for(&self, keys: &[RecordKey]) {
        lock(&self.left_open)
            .listening
            .retain(|key, _| keys.contains(key));
    }

    /// Listens no more. Waits until the ports are free; which sign-ins they belonged to.
    pub(super) async fn stop_listening(&self) -> Vec<RecordKey> {
        let open = std::mem::take(&mut lock(&self.left_open).listening);
        let mut keys = Vec::new();
        for (key, Open { until, closed }) in open {
            drop(until);
            // It carries nothing: that it is gone is the news.
            drop(closed.await);
            keys.push(key);
        }
        keys
    }

    /// A sign-in begins here: from now on those of before are not listened for any more, and those that were are over.
    pub(super) async fn supersede_left_open(&self) {
        lock(&self.left_open).superseded = true;
        for key in self.stop_listening().await {
            let Ok(Some(stored)) = self.context.load(&key).await else {
                continue;
            };
            match FlowRecord::decode(&stored.bytes) {
                Ok(flow) if matches!(flow.progress, Progress::Waiting) => {
                    // If it stays, it is told when its time is over.
                    drop(self.interrupted(&key, &stored, &flow).await);
                }
                // Its redirect came before: it ends by that.
                _ => {}
            }
        }
    }

    /// Tells of a sign-in that failed after its redirect had come, if it is over.
    async fn tell_if_over(&self, key: &RecordKey, diagnostic_id: &str, error: &Error) {
        // Everything was to be forgotten, and this with it.
        if error.kind() == ErrorKind::Cancelled {
            return;
        }
        // What is still in storage may come true: whoever looks next sees to it.
        if matches!(self.context.load(key).await, Ok(None)) {
            self.tell_interrupted(diagnostic_id);
        }
    }
}

/// Decides about one request to the redirect URI. The work runs on its own: a browser that hangs up cannot stop
/// an exchange half-way.
async fn judge(inner: Arc<Inner>, url: Zeroizing<String>, told: Told) -> Verdict {
    let (tell, verdict) = oneshot::channel();
    let context = Arc::clone(&inner.context);
    context.spawn(async move {
        match inner.accept(&url).await {
            Ok(accepted) => {
                let _ = tell.send(Verdict::Accepted);
                let (key, id) = (accepted.key.clone(), accepted.flow.diagnostic_id.clone());
                // The outcome reaches whoever waits for the attempt.
                if let (Err(error), Told::Sink) = (accepted.finish(&inner).await, told) {
                    inner.tell_if_over(&key, &id, &error).await;
                }
            }
            // The same redirect again, as from a browser that loads a page twice: the first one counts, and both see
            // the same page.
            Err(turned_down) if turned_down.error.kind() == ErrorKind::AlreadyHandled => {
                let _ = tell.send(Verdict::Accepted);
            }
            Err(turned_down) if turned_down.ends_flow => {
                let _ = tell.send(Verdict::Refused);
                if turned_down.removed && told == Told::Sink {
                    inner.tell_interrupted(turned_down.error.diagnostic_id().unwrap_or_default());
                }
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
