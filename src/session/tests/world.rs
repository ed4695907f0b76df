//! A strict server, a storage and a clock for tests that choose the order in which threads run.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use async_trait::async_trait;

use crate::adapters::memory::MemoryStorage;
use crate::client::{Client, ClientBuilder};
use crate::ports::{
    BoxFuture, Clock, CommitOutcome, EventSink, Generation, HttpFailure, HttpRequest, HttpResponse,
    HttpTransport, LockFailure, LockGuard, ProcessLock, Random, RandomFailure, RecordKey, SecureStorage,
    SessionEvent, SessionId, Spawner, StorageFailure, Stored,
};
use crate::session::names::Names;
use crate::session::record::SessionRecord;
use crate::sync::lock;

const ISSUER: &str = "https://as.example";
const CLIENT: &str = "app";
/// What the clocks show first.
const BOOT_MILLIS: u64 = 10_000_000;
const UNIX_MILLIS: i64 = 1_700_000_000_000;

/// All that is outside of the clients.
pub(super) struct World {
    storage: Arc<MemoryStorage>,
    pub(super) server: Arc<Server>,
    clock: Arc<Virtual>,
    pub(super) events: Arc<Events>,
    locks: Arc<Locks>,
}

impl World {
    /// Somebody is signed in with `R1` and `A1`, and `A1` has expired.
    pub(super) fn signed_in() -> Self {
        let storage = MemoryStorage::default();
        storage
            .commit(&key(), Generation::ABSENT, record(1, 1).as_bytes())
            .unwrap();
        Self {
            storage: Arc::new(storage),
            server: Arc::default(),
            clock: Arc::default(),
            events: Arc::default(),
            locks: Arc::default(),
        }
    }

    /// A client as one process makes it. Those of one process know of each other; those of two have the storage and the
    /// process lock between them, and nothing else.
    pub(super) fn client(&self, process: &'static str) -> Client {
        self.client_with(process, |builder| builder)
    }

    pub(super) fn client_with(
        &self,
        process: &'static str,
        adjust: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Client {
        let builder = Client::builder(ISSUER, CLIENT)
            .redirect("com.example.app:/callback")
            .http_transport(self.server.clone())
            .storage(Arc::new(Reached(process, self.storage.clone())))
            .clock(self.clock.clone())
            .random(Arc::new(Counted::default()))
            .spawner(Arc::new(Shuttle))
            .process_lock(self.locks.clone())
            .event_sink(self.events.clone());
        adjust(builder).build().unwrap()
    }

    /// The one that is stored.
    pub(super) fn refresh_token(&self) -> String {
        let record = self.stored();
        let token = record.signed_in().unwrap().refresh_token.as_ref().unwrap();
        token.expose().to_owned()
    }

    pub(super) fn stored(&self) -> SessionRecord {
        let stored = self.storage.load(&key()).unwrap().unwrap();
        SessionRecord::decode(&stored.bytes).unwrap()
    }
}

fn key() -> RecordKey {
    Names::new(ISSUER, CLIENT).only_session().unwrap()
}

/// The record of a session with tokens of this generation. The first has expired, the others live.
pub(super) fn record(epoch: u64, generation: u64) -> String {
    let end = match generation {
        1 => 1,
        later => BOOT_MILLIS + later * 3_600_000,
    };
    format!(
        r#"{{"v":1,"epoch":{epoch},"generation":{generation},"issuer":"{ISSUER}","client_id":"{CLIENT}","scope":["offline_access"],"refresh_token":"R{generation}","access_token":"A{generation}","expiry":{{"lifetime_millis":3600000,"boot_millis":{end},"boot_id":"boot","unix_millis":{UNIX_MILLIS}}}}}"#
    )
}

/// A server that rotates, and takes any second use of a refresh token for theft.
#[derive(Debug)]
pub(super) struct Server(Mutex<Grant>);

#[derive(Debug)]
struct Grant {
    newest: u64,
    under_way: usize,
    /// What a client must never do.
    wrong: Vec<String>,
}

impl Default for Server {
    fn default() -> Self {
        Self(Mutex::new(Grant {
            newest: 1,
            under_way: 0,
            wrong: Vec::new(),
        }))
    }
}

impl Server {
    /// How often it has refreshed.
    pub(super) fn refreshes(&self) -> u64 {
        lock(&self.0).newest - 1
    }

    /// Never a token that is not the newest, never two requests at once.
    pub(super) fn was_treated_well(&self) {
        assert_eq!(lock(&self.0).wrong, [""; 0]);
    }
}

#[async_trait]
impl HttpTransport for Server {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let url = request.url.as_str();
        let give = |status, body: String| {
            let json = HeaderValue::from_static("application/json");
            let headers: HeaderMap = [(header::CONTENT_TYPE, json)].into_iter().collect();
            Ok(HttpResponse::new(status, headers, body.into_bytes()))
        };
        if url.contains("/.well-known/") {
            return give(
                StatusCode::OK,
                format!(
                    r#"{{"issuer":"{ISSUER}","authorization_endpoint":"{ISSUER}/authorize","token_endpoint":"{ISSUER}/token","jwks_uri":"{ISSUER}/keys"}}"#
                ),
            );
        }
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        let sent = body.split("refresh_token=R").nth(1).unwrap();
        let sent: u64 = sent.split('&').next().unwrap().parse().unwrap();
        {
            let mut grant = lock(&self.0);
            grant.under_way += 1;
            if grant.under_way > 1 {
                grant.wrong.push(format!("two requests at once, with R{sent}"));
            }
        }
        shuttle::future::yield_now().await;
        let newest = {
            let mut grant = lock(&self.0);
            if sent == grant.newest {
                grant.newest += 1;
            } else {
                let newest = grant.newest;
                grant.wrong.push(format!("R{sent} instead of R{newest}"));
            }
            grant.newest
        };
        shuttle::future::yield_now().await;
        lock(&self.0).under_way -= 1;
        if newest != sent + 1 {
            return give(StatusCode::BAD_REQUEST, r#"{"error":"invalid_grant"}"#.to_owned());
        }
        give(
            StatusCode::OK,
            format!(
                r#"{{"access_token":"A{newest}","token_type":"Bearer","expires_in":3600,"refresh_token":"R{newest}"}}"#
            ),
        )
    }
}

/// The storage as one process reaches it.
#[derive(Debug)]
pub(in crate::session) struct Reached(
    pub(in crate::session) &'static str,
    pub(in crate::session) Arc<MemoryStorage>,
);

impl SecureStorage for Reached {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        self.1.load(key)
    }

    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> Result<CommitOutcome, StorageFailure> {
        self.1.commit(key, expected, bytes)
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome, StorageFailure> {
        self.1.remove(key, expected)
    }

    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure> {
        self.1.list(prefix)
    }

    fn place(&self) -> Option<String> {
        // Its own in every test, as tests run side by side.
        Some(format!("{} at {:p}", self.0, Arc::as_ptr(&self.1)))
    }
}

/// The lock between processes.
#[derive(Debug, Default)]
struct Locks(Arc<Mutex<bool>>);

struct Held(Arc<Mutex<bool>>);

impl Drop for Held {
    fn drop(&mut self) {
        *lock(&self.0) = false;
    }
}

impl ProcessLock for Locks {
    fn try_lock(&self, _name: &str) -> Result<Option<LockGuard>, LockFailure> {
        let mut held = lock(&self.0);
        if std::mem::replace(&mut held, true) {
            return Ok(None);
        }
        Ok(Some(Box::new(Held(Arc::clone(&self.0)))))
    }
}

/// Time that whoever sleeps moves on.
#[derive(Debug, Default)]
struct Virtual(AtomicU64);

#[async_trait]
impl Clock for Virtual {
    fn unix_millis(&self) -> i64 {
        UNIX_MILLIS + i64::try_from(self.0.load(Ordering::SeqCst)).unwrap()
    }

    fn boot_millis(&self) -> u64 {
        BOOT_MILLIS + self.0.load(Ordering::SeqCst)
    }

    fn boot_id(&self) -> Option<String> {
        Some("boot".to_owned())
    }

    async fn sleep_until(&self, boot_millis: u64) {
        // Whoever has something to do is done with it before time passes: else a process that holds the lock would be taken
        // for suspended, and rightly so.
        for _ in 0..20 {
            shuttle::future::yield_now().await;
        }
        let left = boot_millis.saturating_sub(self.boot_millis());
        self.0.fetch_add(left, Ordering::SeqCst);
    }
}

/// No chance but that of the schedule.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl Random for Counted {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomFailure> {
        let count = self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes();
        for (byte, count) in buffer.iter_mut().zip(count.iter().cycle()) {
            *byte = *count;
        }
        Ok(())
    }
}

/// Tasks and threads of the scheduler.
#[derive(Debug)]
pub(super) struct Shuttle;

impl Spawner for Shuttle {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(shuttle::future::spawn(task));
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        drop(shuttle::thread::spawn(work));
    }
}

#[derive(Debug, Default)]
pub(super) struct Events(Mutex<Vec<String>>);

impl Events {
    pub(super) fn named(&self, name: &str) -> usize {
        lock(&self.0)
            .iter()
            .filter(|event| event.starts_with(name))
            .count()
    }
}

impl EventSink for Events {
    fn event(&self, _session: Option<&SessionId>, event: SessionEvent) {
        lock(&self.0).push(format!("{event:?}"));
    }
}
