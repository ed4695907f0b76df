//! What every exchange with one authorization server needs: the ports, who we are, and what is known of the
//! server. Shared by the client and its sessions.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderValue, Method, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::sync::{Mutex, oneshot, watch};
use tracing::{Instrument as _, debug, debug_span};
use url::Url;
use zeroize::Zeroizing;

use crate::error::{Delivery, Error, ErrorKind, Result, ServerError, Stage};
use crate::ports::{
    CommitOutcome, Generation, HttpRequest, HttpResponse, Ports, RecordKey, SecureStorage, StorageFailure,
    Stored,
};
use crate::protocol::endpoint::{self, TransportPolicy};
use crate::protocol::issuer::Issuer;
use crate::protocol::jwk::{self, JwkSet};
use crate::protocol::metadata::{self, AuthorizationServer};
use crate::protocol::token::retry_after;

/// A key set that was fetched less than this long ago is not fetched again for an unknown `kid`: a thousand
/// forged tokens must not become a thousand requests.
const KEYS_MIN_AGE_MILLIS: u64 = 60_000;
/// Metadata older than this is fetched again when it is next needed.
const METADATA_MAX_AGE_MILLIS: u64 = 24 * 60 * 60 * 1000;
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
    pub(crate) api_origins: Vec<url::Origin>,
    server: Mutex<Option<Known<AuthorizationServer>>>,
    keys: Mutex<Option<Known<JwkSet>>>,
    busy: watch::Sender<usize>,
}

/// A document and when it was fetched.
#[derive(Clone, Debug)]
struct Known<T> {
    value: Arc<T>,
    fetched_boot_millis: u64,
}

/// Which keys will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Those at hand, whatever their age.
    AtHand,
    /// Newer ones, because a token names a key that those at hand do not have.
    Newer,
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
    pub(crate) fn new(
        ports: Ports,
        issuer: Issuer,
        client_id: String,
        policy: TransportPolicy,
        api_origins: Vec<url::Origin>,
    ) -> Self {
        Self {
            ports,
            issuer,
            client_id,
            policy,
            api_origins,
            server: Mutex::new(None),
            keys: Mutex::new(None),
            busy: watch::Sender::new(0),
        }
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
            .map_err(|failure| storage_error(failure, access))
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

    pub(crate) async fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome> {
        let key = key.clone();
        self.storage(Access::Write, move |storage| storage.remove(&key, expected))
            .await
    }

    /// 32 random octets (RFC 7636 §7.1, RFC 6749 §10.10).
    pub(crate) fn random_octets(&self) -> Result<[u8; 32]> {
        let mut octets = [0; 32];
        self.ports.random.fill(&mut octets).map_err(|failure| {
            Error::new(
                ErrorKind::Internal,
                Stage::AuthorizationRequest,
                "no_randomness",
                failure.0,
            )
            .with_clause("RFC 7636 §7.1")
        })?;
        Ok(octets)
    }

    /// 43 characters that nobody can guess.
    pub(crate) fn random_text(&self) -> Result<String> {
        Ok(URL_SAFE_NO_PAD.encode(self.random_octets()?))
    }

    /// A name for one attempt, to find it in the logs. Short, and of no use for anything else.
    pub(crate) fn new_diagnostic_id(&self) -> Result<String> {
        let text = self.random_text()?;
        Ok(format!("gp-{}", text.get(..12).unwrap_or(&text)))
    }

    /// Now by the wall clock, in seconds since 1970.
    pub(crate) fn now_seconds(&self) -> i64 {
        self.ports.clock.unix_millis().div_euclid(1000)
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
        self.send(stage, request).await
    }

    async fn get_json(&self, stage: Stage, url: Url, max_bytes: usize) -> Result<HttpResponse> {
        let mut request = HttpRequest::new(Method::GET, url);
        request
            .headers
            .insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        request.max_response_bytes = max_bytes;
        self.send(stage, request).await
    }

    /// The server's metadata: the copy at hand, else fetched. While the server cannot be reached an old copy
    /// will do.
    pub(crate) async fn server(&self) -> Result<Arc<AuthorizationServer>> {
        let mut known = self.server.lock().await;
        let now = self.ports.clock.boot_millis();
        if let Some(known) = &*known
            && now.saturating_sub(known.fetched_boot_millis) < METADATA_MAX_AGE_MILLIS
        {
            return Ok(Arc::clone(&known.value));
        }
        match (self.fetch_metadata().await, &*known) {
            (Ok(server), _) => {
                let value = Arc::new(server);
                *known = Some(Known {
                    value: Arc::clone(&value),
                    fetched_boot_millis: now,
                });
                Ok(value)
            }
            (Err(error), Some(old)) if matches!(error.kind(), ErrorKind::Network(_)) => {
                Ok(Arc::clone(&old.value))
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Takes over metadata that a pending sign-in kept, so that a redirect into a new process costs no request.
    pub(crate) async fn remember_server(&self, server: AuthorizationServer) {
        let mut known = self.server.lock().await;
        if known.is_none() {
            let fetched_boot_millis = self.ports.clock.boot_millis();
            *known = Some(Known {
                value: Arc::new(server),
                fetched_boot_millis,
            });
        }
    }

    async fn fetch_metadata(&self) -> Result<AuthorizationServer> {
        let mut first_refusal = None;
        for place in self.issuer.metadata_urls() {
            let url = endpoint::parse(&place, "the metadata URL", Stage::Discovery, self.policy)?;
            let response = self
                .get_json(Stage::Discovery, url, metadata::MAX_DOCUMENT_BYTES)
                .await?;
            if response.status.is_success() {
                return AuthorizationServer::parse(&response.body, &self.issuer, self.policy);
            }
            debug!(
                status = response.status.as_u16(),
                "no metadata at one of two places"
            );
            if response.status == StatusCode::TOO_MANY_REQUESTS || response.status.is_server_error() {
                // The server is there and cannot answer now: the issuer is not to blame.
                return Err(unavailable(Stage::Discovery, "metadata_unavailable", &response));
            }
            first_refusal.get_or_insert(response.status);
        }
        let status = first_refusal.map(|status| status.as_u16());
        Err(Error::new(
            ErrorKind::Server,
            Stage::Discovery,
            "metadata_not_found",
            format!(
                "there is no metadata for the issuer {:?}; check that the issuer URL is right",
                self.issuer
            ),
        )
        .with_clause("OpenID Connect Discovery §4")
        .with_server(ServerError {
            status,
            ..ServerError::default()
        }))
    }

    /// The server's signing keys.
    pub(crate) async fn keys(&self, server: &AuthorizationServer, which: Keys) -> Result<Arc<JwkSet>> {
        let mut known = self.keys.lock().await;
        let now = self.ports.clock.boot_millis();
        if let Some(known) = &*known {
            let young = now.saturating_sub(known.fetched_boot_millis) < KEYS_MIN_AGE_MILLIS;
            if which == Keys::AtHand || young {
                return Ok(Arc::clone(&known.value));
            }
        }
        let url = server.require_jwks_uri()?.clone();
        let response = self.get_json(Stage::Jwks, url, jwk::MAX_SET_BYTES).await?;
        if !response.status.is_success() {
            return Err(
                unavailable(Stage::Jwks, "jwks_refused", &response).with_clause("OpenID Connect Core §10.1")
            );
        }
        let value = Arc::new(JwkSet::parse(&response.body)?);
        *known = Some(Known {
            value: Arc::clone(&value),
            fetched_boot_millis: now,
        });
        Ok(value)
    }
}

/// An error for a document that the server did not give out, by its status.
fn unavailable(stage: Stage, code: &'static str, response: &HttpResponse) -> Error {
    let kind = match response.status {
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited,
        _ => ErrorKind::Server,
    };
    let what = if stage == Stage::Jwks {
        "its signing keys"
    } else {
        "its metadata"
    };
    let server = ServerError {
        status: Some(response.status.as_u16()),
        ..ServerError::default()
    };
    let error = Error::new(
        kind,
        stage,
        code,
        format!("the server does not give out {what} now"),
    )
    .with_server(server);
    match retry_after(&response.headers) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

fn task_lost() -> Error {
    Error::internal(
        Stage::Session,
        "a task of the core did not finish; this is a defect in Gatepass or in an adapter",
    )
}

fn storage_error(failure: StorageFailure, access: Access) -> Error {
    match (failure, access) {
        (StorageFailure::Locked, _) => Error::new(
            ErrorKind::StorageLocked,
            Stage::Storage,
            "storage_locked",
            "secure storage is locked; nothing is lost, try again once the device is unlocked",
        ),
        (StorageFailure::Lost(why), _) => Error::new(
            ErrorKind::StorageLost,
            Stage::Storage,
            "storage_lost",
            format!("secure storage lost what it held: {why}"),
        ),
        (StorageFailure::Failed(why), Access::Read) => Error::new(
            ErrorKind::StorageLocked,
            Stage::Storage,
            "storage_unavailable",
            format!("secure storage does not answer; nothing is known to be lost: {why}"),
        ),
        (StorageFailure::Failed(why), Access::Write) => Error::new(
            ErrorKind::StorageWriteFailed,
            Stage::Storage,
            "storage_write_failed",
            format!("secure storage does not take what must be kept: {why}"),
        ),
    }
}
