//! What every exchange with one authorization server needs: the ports, who we are, and what is known of the
//! server. Shared by the client and its sessions.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::http::{HeaderValue, Method, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::{oneshot, watch};
use tracing::{Instrument as _, debug, debug_span, warn};
use url::Url;
use zeroize::Zeroizing;

use super::SessionState;
use super::knowledge::Knowledge;
use super::names::{Names, device};
use super::observer::{Observer, Publication, PublishedSession};
use super::rotation::OnUnknownOutcome;
use super::server_clock::ServerClock;
use crate::error::{Delivery, Error, ErrorKind, Result, Stage};
use crate::ports::{
    CommitOutcome, Generation, HttpRequest, HttpResponse, Ports, RecordKey, SecureStorage, StorageFailure,
    Stored,
};
use crate::protocol::authorization::RequestSecrets;
use crate::protocol::endpoint::TransportPolicy;
use crate::protocol::issuer::Issuer;
use crate::protocol::redirect::RedirectUri;
use crate::protocol::target::Target;

/// No connection that idled longer carries a code or a refresh token: it may be dead, and then nobody knows
/// whether the server processed the grant.
const GRANT_MAX_CONNECTION_IDLE: Duration = Duration::from_secs(5);

/// One client's view of one authorization server.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) ports: Ports,
    pub(crate) issuer: Issuer,
    pub(crate) client_id: String,
    pub(crate) policy: TransportPolicy,
    pub(crate) apis: Vec<Api>,
    pub(crate) names: Names,
    pub(crate) post_logout_redirect: Option<RedirectUri>,
    pub(crate) on_unknown_outcome: OnUnknownOutcome,
    /// Who keeps a copy of what is published.
    pub(crate) observer: Option<Arc<dyn Observer>>,
    publications: AtomicU64,
    pub(super) knowledge: Knowledge,
    pub(super) server_clock: ServerClock,
    busy: watch::Sender<usize>,
}

/// An API that tokens may be sent to.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    pub(crate) origin: url::Origin,
    pub(crate) target: Target,
}

/// What storage was asked for when it failed.
#[derive(Clone, Copy)]
enum Access {
    Read,
    Write,
}

/// Counts a piece of work for [`Context::drain`], until dropped.
struct Busy(Arc<Context>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Context {
    /// Tells whoever reads the log what a server says in a way that it should not, and what was made of it.
    pub(crate) fn put_up_with(oddities: &[&'static str]) {
        for oddity in oddities {
            warn!(oddity, "an answer of the server is odd, and is used all the same");
        }
    }

    pub(crate) fn new(
        ports: Ports,
        issuer: Issuer,
        client_id: String,
        policy: TransportPolicy,
        apis: Vec<Api>,
    ) -> Self {
        Self {
            names: Names::new(issuer.as_str(), &client_id),
            post_logout_redirect: None,
            on_unknown_outcome: OnUnknownOutcome::default(),
            observer: None,
            publications: AtomicU64::new(0),
            ports,
            issuer,
            client_id,
            policy,
            apis,
            knowledge: Knowledge::default(),
            server_clock: ServerClock::default(),
            busy: watch::Sender::new(0),
        }
    }

    /// A digest of the name of this device, where storage can name it.
    pub(crate) fn device(&self) -> Option<String> {
        self.ports.storage.device().map(|name| device(&name))
    }

    /// Tells whoever keeps a copy what is published now: `look` reads it, after the change. To be called with no lock held.
    pub(super) fn show(&self, look: impl FnOnce() -> (SessionState, Option<PublishedSession>)) {
        let Some(observer) = &self.observer else {
            return;
        };
        let order = self.publications.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        let (state, session) = look();
        observer.published(Publication {
            order,
            state,
            session,
            boot_millis: self.ports.clock.boot_millis(),
            unix_millis: self.ports.clock.unix_millis(),
        });
    }

    /// Which token belongs to this URL; `None` if none does.
    pub(crate) fn target_of(&self, url: &Url) -> Option<&Target> {
        let origin = url.origin();
        self.apis
            .iter()
            .find(|api| api.origin == origin)
            .map(|api| &api.target)
    }

    /// Runs work on the core's executor and waits for it, under a diagnostic id of its own. Dropping the returned future
    /// stops the waiting, never the work.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let id = self.new_diagnostic_id()?;
        self.run_as(&id, work).await
    }

    /// As [`run`](Context::run), under an id that is known already: every log event of the work, and its error, carry
    /// it.
    pub(crate) async fn run_as<T: Send + 'static>(
        self: &Arc<Self>,
        id: &str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (done, outcome) = oneshot::channel();
        let span = debug_span!("gatepass", diagnostic_id = %id);
        let work = async move {
            // The caller may have stopped waiting; the work counts all the same.
            drop(done.send(work.await));
        };
        self.spawn(work.instrument(span));
        outcome
            .await
            .unwrap_or_else(|_| Err(task_lost()))
            .map_err(|error| error.with_diagnostic_id(id))
    }

    /// Runs work on the core's executor that nobody waits for.
    pub(crate) fn spawn(self: &Arc<Self>, work: impl Future<Output = ()> + Send + 'static) {
        self.busy.send_modify(|count| *count += 1);
        let busy = Busy(Arc::clone(self));
        self.ports.spawner.spawn(Box::pin(async move {
            let _busy = busy;
            work.await;
        }));
    }

    /// Runs work on the core's executor whose end nobody waits for, [`drain`](Context::drain) neither.
    pub(crate) fn spawn_aside(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.ports.spawner.spawn(Box::pin(work));
    }

    /// Waits until nothing of this client is under way.
    pub(crate) async fn drain(&self) {
        // An error would mean that the sender is gone, and it is our own field.
        drop(self.busy.subscribe().wait_for(|count| *count == 0).await);
    }

    /// Asks storage, on a thread that may block.
    async fn storage<T: Send + 'static>(
        &self,
        access: Access,
        ask: impl FnOnce(&dyn SecureStorage) -> Result<T, StorageFailure> + Send + 'static,
    ) -> Result<T> {
        let storage = Arc::clone(&self.ports.storage);
        let (done, outcome) = oneshot::channel();
        self.ports
            .spawner
            .spawn_blocking(Box::new(move || drop(done.send(ask(&*storage)))));
        outcome
            .await
            .map_err(|_| task_lost())?
            .map_err(|failure| match access {
                Access::Read => storage_error(failure),
                Access::Write => write_error(failure),
            })
    }

    pub(crate) async fn load(&self, key: &RecordKey) -> Result<Option<Stored>> {
        let key = key.clone();
        self.storage(Access::Read, move |storage| storage.load(&key))
            .await
    }

    pub(crate) async fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: Zeroizing<Vec<u8>>,
    ) -> Result<CommitOutcome> {
        let key = key.clone();
        self.storage(Access::Write, move |storage| {
            storage.commit(&key, expected, &bytes)
        })
        .await
    }

    /// Room for the next commit to this record.
    pub(crate) async fn reserve(&self, key: &RecordKey, bytes: usize) -> Result<()> {
        let key = key.clone();
        self.storage(Access::Write, move |storage| storage.reserve(&key, bytes))
            .await
    }

    pub(crate) async fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome> {
        let key = key.clone();
        self.storage(Access::Write, move |storage| storage.remove(&key, expected))
            .await
    }

    /// The names of the records that begin with this.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<RecordKey>> {
        let prefix = prefix.to_owned();
        self.storage(Access::Read, move |storage| storage.list(&prefix))
            .await
    }

    /// Removes a record, whoever wrote it last.
    pub(crate) async fn remove_record(&self, key: &RecordKey) -> Result<()> {
        for _ in 0..COMMIT_ATTEMPTS {
            let stored = match self.load(key).await {
                Ok(None) => return Ok(()),
                Ok(Some(stored)) => stored.generation,
                // What storage cannot read any more stands at ABSENT to whoever removes it.
                Err(error) if error.kind() == ErrorKind::StorageLost => Generation::ABSENT,
                Err(error) => return Err(error),
            };
            if let CommitOutcome::Committed(_) = self.remove(key, stored).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// State, nonce and verifier of one request: drawn at once, which is one call to the operating system.
    pub(crate) fn request_secrets(&self) -> Result<RequestSecrets> {
        // On the heap: a value that is handed on leaves copies on the stack.
        let mut octets = Box::new(Zeroizing::new([[0; 32]; 3]));
        self.fill(octets.as_flattened_mut())?;
        Ok(RequestSecrets::from_octets(&octets))
    }

    /// 43 characters that nobody can guess (RFC 6749 §10.10).
    pub(crate) fn random_text(&self) -> Result<String> {
        let mut octets = Box::new(Zeroizing::new([0; 32]));
        self.fill(octets.as_mut_slice())?;
        Ok(URL_SAFE_NO_PAD.encode(octets.as_slice()))
    }

    fn fill(&self, octets: &mut [u8]) -> Result<()> {
        self.ports.random.fill(octets).map_err(|failure| {
            Error::new(
                ErrorKind::Internal,
                Stage::AuthorizationRequest,
                "no_randomness",
                failure.0,
            )
            .with_clause("RFC 7636 §7.1")
        })
    }

    /// A name for one attempt, to find it in the logs. Short, and of no use for anything else.
    pub(crate) fn new_diagnostic_id(&self) -> Result<String> {
        let text = self.random_text()?;
        Ok(format!("gp-{}", text.get(..12).unwrap_or(&text)))
    }

    /// Sends one request, and names the stage if it fails.
    pub(crate) async fn send(&self, stage: Stage, request: HttpRequest) -> Result<HttpResponse> {
        if !self.policy.admits(&request.url) {
            return Err(Error::configuration(
                "url_insecure",
                "RFC 6750 §5.3",
                "a request to a URL that is not https was stopped",
            )
            .at_stage(stage));
        }
        let host = request.url.host_str().unwrap_or_default().to_owned();
        self.ports.http.send(request).await.map_err(|failure| {
            debug!(
                stage = stage.name(),
                reason = failure.reason.code(),
                "request failed"
            );
            let sent = match failure.delivery {
                Delivery::NotSent => "was not sent",
                Delivery::UnknownOutcome => "may have been sent, and no whole answer came",
            };
            Error::new(
                ErrorKind::Network(failure.delivery),
                stage,
                failure.reason.code(),
                format!("the request to {host} {sent}: {}", failure.detail),
            )
        })
    }

    /// Posts a form that carries a grant: never on a connection that idled.
    pub(crate) async fn post_grant(
        &self,
        stage: Stage,
        url: &Url,
        body: Zeroizing<Vec<u8>>,
        timeout: Duration,
    ) -> Result<HttpResponse> {
        let mut request = HttpRequest::new(Method::POST, url.clone());
        request.headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-www-form-urlencoded"),
        );
        request
            .headers
            .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        request.body = body;
        request.timeout = timeout;
        request.max_connection_idle = Some(GRANT_MAX_CONNECTION_IDLE);
        let response = self.ask_server(stage, request).await?;
        if matches!(response.status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            self.doubt_server();
        }
        Ok(response)
    }

    pub(super) async fn get_json(&self, stage: Stage, url: Url, max_bytes: usize) -> Result<HttpResponse> {
        let mut request = HttpRequest::new(Method::GET, url);
        request
            .headers
            .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        request.max_response_bytes = max_bytes;
        self.ask_server(stage, request).await
    }

    /// Sends one request to the authorization server, whose answer also tells its time.
    async fn ask_server(&self, stage: Stage, request: HttpRequest) -> Result<HttpResponse> {
        let sent = self.ports.clock.boot_millis();
        let response = self.send(stage, request).await?;
        self.learn_time(&response.headers, sent);
        Ok(response)
    }
}

/// A conditional write that keeps meeting newer records gives up after this many.
pub(crate) const COMMIT_ATTEMPTS: usize = 8;

/// Somebody else keeps writing the same record.
pub(crate) fn contended() -> Error {
    Error::new(
        ErrorKind::StorageWriteFailed,
        Stage::Storage,
        "storage_contended",
        "other processes keep changing the same record; try again",
    )
}

/// There is no browser to open.
pub(crate) fn no_user_agent() -> Error {
    Error::new(
        ErrorKind::NoBrowser,
        Stage::UserAgent,
        "no_user_agent",
        "this client has no browser to open: give it one with ClientBuilder::user_agent, or show the URL of begin_sign_in yourself",
    )
}

fn task_lost() -> Error {
    Error::internal(
        Stage::Session,
        "a task of the core did not finish; this is a defect in Gatepass or in an adapter",
    )
}

/// Why storage did not answer.
pub(crate) fn storage_error(failure: StorageFailure) -> Error {
    match failure {
        StorageFailure::Locked => Error::new(
            ErrorKind::StorageLocked,
            Stage::Storage,
            "storage_locked",
            "secure storage is locked; nothing is lost, try again once the device is unlocked",
        ),
        StorageFailure::Lost(why) => Error::new(
            ErrorKind::StorageLost,
            Stage::Storage,
            "storage_lost",
            format!("secure storage lost what it held: {why}"),
        ),
        StorageFailure::Failed(why) => Error::new(
            ErrorKind::StorageLocked,
            Stage::Storage,
            "storage_unavailable",
            format!("secure storage does not answer; nothing is known to be lost: {why}"),
        ),
    }
}

/// Why storage did not take what it was given.
fn write_error(failure: StorageFailure) -> Error {
    match failure {
        StorageFailure::Failed(why) => Error::new(
            ErrorKind::StorageWriteFailed,
            Stage::Storage,
            "storage_write_failed",
            format!("secure storage does not take what must be kept: {why}"),
        ),
        other => storage_error(other),
    }
}
