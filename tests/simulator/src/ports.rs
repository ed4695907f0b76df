//! The ports of the client, with a fault wherever the plan wants one.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use gatepass::internals::{Directory, NewFile, file_storage};
use gatepass::{
    BoxFuture, Clock, CommitOutcome, Delivery, EventSink, Generation, HttpFailure, HttpFailureReason,
    HttpRequest, HttpResponse, HttpTransport, LockFailure, LockGuard, ProcessLock, Random, RandomFailure,
    RecordKey, SecureStorage, SessionEvent, SessionId, Spawner, StorageFailure, Stored,
};
use http::{HeaderValue, StatusCode, header};

use crate::fault::{Fault, Port};
use crate::judge::Heard;
use crate::server::Answer;
use crate::world::{Dead, Exchange, Outcome, Pid, State, Work, World};

/// One process's view of its world: every port.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) world: Arc<World>,
    pub(crate) pid: Pid,
}

fn gone() -> io::Error {
    io::Error::other("the process is dead")
}

impl Device {
    /// A call that the disk, the storage or the lock answers.
    fn call<T>(
        &self,
        port: Port,
        answer: impl FnOnce(&mut State, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.world.lock();
        match state.call(self.pid, port) {
            Ok(Some(Fault::Failure)) => Err(io::Error::other("input/output error")),
            Ok(fault) => answer(&mut state, fault),
            Err(Dead) => Err(gone()),
        }
    }
}

#[async_trait]
impl Clock for Device {
    fn unix_millis(&self) -> i64 {
        self.world.lock().unix_millis()
    }

    fn boot_millis(&self) -> u64 {
        self.world.lock().boot_millis()
    }

    fn boot_id(&self) -> Option<String> {
        Some(self.world.lock().boot_id())
    }

    async fn sleep_until(&self, boot_millis: u64) {
        let rings = {
            let mut state = self.world.lock();
            let lives = state.call(self.pid, Port::Sleep).is_ok();
            lives.then(|| state.booted_at.saturating_add(boot_millis))
        };
        let Some(at) = rings else {
            return std::future::pending().await;
        };
        poll_fn(|context| {
            let mut state = self.world.lock();
            if state.now >= at {
                return Poll::Ready(());
            }
            state.set_alarm(at, context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Random for Device {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomFailure> {
        let filled = self.call(Port::Random, |state, _| {
            state.rng.fill(buffer);
            Ok(())
        });
        filled.map_err(|error| RandomFailure(error.to_string()))
    }
}

impl Spawner for Device {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut state = self.world.lock();
        if state.call(self.pid, Port::Spawn).is_ok() {
            state.spawned.push((self.pid, Work::Task(task)));
        }
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        let mut state = self.world.lock();
        if state.call(self.pid, Port::SpawnBlocking).is_ok() {
            state.spawned.push((self.pid, Work::Blocking(work)));
        }
    }
}

impl EventSink for Device {
    fn event(&self, _session: Option<&SessionId>, event: SessionEvent) {
        let mut state = self.world.lock();
        if state.call(self.pid, Port::Event).is_ok() {
            if let SessionEvent::Ended { reason } = &event {
                state.judge.told_of_end(reason.name());
            }
            state.note(|| format!("event {event:?}"));
        }
    }
}

/// The process lock: gone with the process that holds it.
struct Held(Device, String);

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.0.world.lock();
        if state.locks.get(&self.1) == Some(&self.0.pid) {
            state.locks.remove(&self.1);
        }
    }
}

impl ProcessLock for Device {
    fn try_lock(&self, name: &str) -> Result<Option<LockGuard>, LockFailure> {
        let taken = self.call(Port::Lock, |state, _| {
            let free = !state.locks.contains_key(name);
            if free {
                state.locks.insert(name.to_owned(), self.pid);
            }
            Ok(free)
        });
        let free = taken.map_err(|error| LockFailure(error.to_string()))?;
        Ok(free.then(|| Box::new(Held(self.clone(), name.to_owned())) as LockGuard))
    }
}

/// Storage: the files of the library over a disk of ours.
#[derive(Debug)]
pub(crate) struct Storage {
    device: Device,
    files: Arc<dyn SecureStorage>,
    place: String,
}

impl Storage {
    pub(crate) fn new(device: &Device) -> Self {
        let place = format!("{:p}/{}", Arc::as_ptr(&device.world), device.pid);
        let directory = Records {
            device: device.clone(),
            path: PathBuf::from("records"),
        };
        Self {
            device: device.clone(),
            files: file_storage(Box::new(directory)),
            place,
        }
    }

    fn call(&self, port: Port) -> Result<(), StorageFailure> {
        let called = self.device.call(port, |state, _| Ok(state.is_locked()));
        match called {
            Ok(false) => Ok(()),
            Ok(true) => Err(StorageFailure::Locked),
            Err(error) => Err(StorageFailure::Failed(error.to_string())),
        }
    }
}

impl SecureStorage for Storage {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        self.call(Port::Load)?;
        self.files.load(key)
    }

    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> Result<CommitOutcome, StorageFailure> {
        self.call(Port::Commit)?;
        let outcome = self.files.commit(key, expected, bytes);
        let mut state = self.device.world.lock();
        let state = &mut *state;
        if key.as_str().starts_with("session.") && state.lives(self.device.pid) {
            match &outcome {
                Ok(CommitOutcome::Committed(_)) => {
                    state.note(|| format!("durable: {}", redacted(bytes)));
                    state.judge.committed(bytes, state.now, &state.server);
                }
                Ok(CommitOutcome::Conflict(_)) => {}
                Err(_) => {
                    state.judge.refused_write(bytes, self.device.pid);
                    state.look_at_disk();
                }
            }
        }
        outcome
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome, StorageFailure> {
        self.call(Port::Remove)?;
        self.files.remove(key, expected)
    }

    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure> {
        self.call(Port::List)?;
        self.files.list(prefix)
    }

    fn reserve(&self, key: &RecordKey, bytes: usize) -> Result<(), StorageFailure> {
        self.call(Port::Reserve)?;
        self.files.reserve(key, bytes)
    }

    fn place(&self) -> Option<String> {
        Some(self.place.clone())
    }
}

/// A record, short enough to be read in a trace. Its tokens are made up.
fn redacted(bytes: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    let of = |name: &str| value.get(name).map(ToString::to_string).unwrap_or_default();
    format!(
        "epoch {} generation {} {} {} {} journal {}",
        of("epoch"),
        of("generation"),
        of("refresh_token"),
        of("access_token"),
        of("ended"),
        of("journal"),
    )
}

/// The directory of the records.
#[derive(Debug)]
struct Records {
    device: Device,
    path: PathBuf,
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

impl Directory for Records {
    fn path(&self) -> &Path {
        &self.path
    }

    fn create(&self) -> io::Result<()> {
        Ok(())
    }

    fn exists(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn objection(&self) -> io::Result<Option<String>> {
        Ok(None)
    }

    fn read(&self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        self.device.call(Port::DiskRead, |state, _| {
            let bytes = state.disk.read(name);
            Ok(bytes.map(|bytes| bytes.iter().take(limit).copied().collect()))
        })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        self.device
            .call(Port::DiskRead, |state, _| Ok(state.disk.names()))
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let id = self.device.call(Port::DiskCreate, |state, _| {
            if state.is_full() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state
                .disk
                .create(name)
                .ok_or_else(|| io::ErrorKind::AlreadyExists.into())
        })?;
        Ok(Box::new(Open {
            device: self.device.clone(),
            id,
            over: false,
        }))
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        self.device.call(Port::DiskRead, |state, _| {
            Ok(state.disk.read(name).map(|bytes| bytes.len() as u64))
        })
    }

    fn overwrite(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let id = self.device.call(Port::DiskCreate, |state, _| {
            state.disk.overwrite(name).ok_or_else(missing)
        })?;
        Ok(Box::new(Open {
            device: self.device.clone(),
            id,
            over: true,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.device.call(Port::DiskRename, |state, _| {
            state.disk.rename(from, to).then_some(()).ok_or_else(missing)
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.device.call(Port::DiskRemove, |state, _| {
            state.disk.remove(name).then_some(()).ok_or_else(missing)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.device.call(Port::DiskSyncNames, |state, _| {
            state.disk.sync_names();
            Ok(())
        })
    }

    fn lock(&self, _name: &str, _patience: Duration) -> io::Result<Option<Box<dyn Send>>> {
        // A writer runs from its first line to its last before another one does.
        Ok(Some(Box::new(())))
    }

    fn now(&self) -> SystemTime {
        let millis = u64::try_from(self.device.world.lock().unix_millis()).unwrap_or_default();
        UNIX_EPOCH + Duration::from_millis(millis)
    }

    fn number(&self) -> io::Result<u64> {
        Ok(self.device.world.lock().rng.u64(..))
    }
}

/// A file that is being written.
struct Open {
    device: Device,
    id: usize,
    /// In the room that it has.
    over: bool,
}

impl NewFile for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.device.call(Port::DiskWrite, |state, _| {
            if self.over {
                let fits = state.disk.write_over(self.id, bytes);
                return fits
                    .then_some(())
                    .ok_or_else(|| io::ErrorKind::StorageFull.into());
            }
            if state.is_full() {
                let some = bytes.get(..bytes.len() / 2).unwrap_or_default();
                state.disk.write(self.id, some);
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.disk.write(self.id, bytes);
            Ok(())
        })
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.device.call(Port::DiskWrite, |state, _| {
            state
                .disk
                .cut(self.id, usize::try_from(length).unwrap_or(usize::MAX));
            Ok(())
        })
    }

    fn sync(&mut self) -> io::Result<()> {
        self.device.call(Port::DiskSync, |state, _| {
            state.disk.sync(self.id);
            Ok(())
        })
    }
}

/// A request whose answer is awaited.
struct Sent {
    device: Device,
    id: u64,
    /// When to give up.
    deadline: u64,
    port: Port,
    /// The refresh token, or the code.
    grant: Option<String>,
    done: bool,
}

impl Sent {
    fn heard(&self, state: &mut State, heard: Heard) {
        let Some(grant) = &self.grant else { return };
        state.note(|| format!("process {}: {grant}: {heard:?}", self.device.pid));
        match self.port {
            Port::Refresh => {
                state.judge.lost_response |= heard == Heard::Nothing;
                state.judge.heard(grant, self.device.pid, heard);
            }
            _ => state.judge.heard_of_code(grant, self.device.pid, heard),
        }
    }
}

impl Future for Sent {
    type Output = Result<HttpResponse, HttpFailure>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let world = Arc::clone(&self.device.world);
        let mut state = world.lock();
        if !state.lives(self.device.pid) {
            return Poll::Pending;
        }
        let late = state.now >= self.deadline;
        let outcome = match state.wire.get_mut(&self.id) {
            Some(exchange) => match exchange.outcome.clone() {
                Some(outcome) => outcome,
                None if late => {
                    self.done = true;
                    self.heard(&mut state, Heard::Nothing);
                    return Poll::Ready(Err(failure(Delivery::UnknownOutcome, HttpFailureReason::Timeout)));
                }
                None => {
                    exchange.waker = Some(context.waker().clone());
                    state.set_alarm(self.deadline, context.waker().clone());
                    return Poll::Pending;
                }
            },
            None => Outcome::Broken,
        };
        self.done = true;
        Poll::Ready(match outcome {
            Outcome::Broken => {
                self.heard(&mut state, Heard::Nothing);
                Err(failure(
                    Delivery::UnknownOutcome,
                    HttpFailureReason::ConnectionLost,
                ))
            }
            Outcome::Answer(answer) => {
                self.heard(&mut state, what_it_says(&answer, self.grant.as_deref()));
                let mut headers = answer.headers;
                let date = httpdate(state.true_unix_millis());
                if let Ok(date) = HeaderValue::from_str(&date) {
                    headers.insert(header::DATE, date);
                }
                Ok(HttpResponse::new(answer.status, headers, answer.body))
            }
        })
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if self.done || self.grant.is_none() {
            return;
        }
        let mut state = self.device.world.lock();
        if state.lives(self.device.pid) {
            state
                .judge
                .broken("a request with a grant was dropped before its answer came");
        }
    }
}

/// What an answer says of the grant that was sent.
fn what_it_says(answer: &Answer, grant: Option<&str>) -> Heard {
    let body: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    let of = |name: &str| body.as_ref()?.get(name)?.as_str().map(str::to_owned);
    match answer.status {
        StatusCode::OK if of("access_token").is_none() => Heard::Nothing,
        StatusCode::OK => match of("refresh_token") {
            Some(token) if Some(token.as_str()) != grant => Heard::Rotated,
            _ => Heard::Granted,
        },
        StatusCode::TOO_MANY_REQUESTS => Heard::TooMany,
        status if status.is_server_error() => Heard::Nothing,
        _ if of("error").as_deref() == Some("invalid_grant") => Heard::Refused,
        _ => Heard::Unused,
    }
}

fn failure(delivery: Delivery, reason: HttpFailureReason) -> HttpFailure {
    HttpFailure::new(delivery, reason, reason.code())
}

/// A date as HTTP writes it.
fn httpdate(unix_millis: i64) -> String {
    let since = Duration::from_millis(u64::try_from(unix_millis).unwrap_or_default());
    httpdate::fmt_http_date(UNIX_EPOCH + since)
}

#[async_trait]
impl HttpTransport for Device {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let sent = self.post(&request);
        match sent {
            Ok(sent) => sent.await,
            Err(Some(failure)) => Err(failure),
            Err(None) => std::future::pending().await,
        }
    }
}

impl Device {
    /// Puts a request on the wire. An error without a failure: the process is dead.
    fn post(&self, request: &HttpRequest) -> Result<Sent, Option<HttpFailure>> {
        let form: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
        let of = |name: &str| {
            form.iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.clone())
        };
        let path = request.url.path().to_owned();
        let (port, grant) = match (path.as_str(), of("grant_type").as_deref()) {
            ("/token", Some("refresh_token")) => (Port::Refresh, of("refresh_token")),
            ("/token", _) => (Port::Code, of("code")),
            ("/keys", _) => (Port::Keys, None),
            ("/revoke", _) => (Port::Revoke, None),
            _ => (Port::Metadata, None),
        };
        let mut state = self.world.lock();
        let state = &mut *state;
        let fault = state.call(self.pid, port).map_err(|Dead| None)?;
        let (now, booted_at) = (state.now, state.booted_at);
        match (&grant, port) {
            (Some(token), Port::Refresh) => {
                state.judge.sends(token, self.pid, now, booted_at, &state.server);
            }
            (Some(code), _) => state.judge.sends_code(code, self.pid),
            _ => {}
        }
        // What a process that is stopped has not given to the network yet leaves when it goes on.
        let stopped = match state.rng.bool() {
            true => state.frozen_for(self.pid),
            false => 0,
        };
        // And the timers of many network libraries stand still while the system sleeps.
        let overslept = if state.rng.bool() { stopped } else { 0 };
        state.judge.overslept |= overslept > 0;
        let patience = u64::try_from(request.timeout.as_millis()).unwrap_or(u64::MAX);
        let id = state.next();
        let mut sent = Sent {
            device: self.clone(),
            id,
            deadline: now.saturating_add(patience).saturating_add(overslept),
            port,
            grant,
            done: false,
        };
        if fault == Some(Fault::Failure) {
            sent.done = true;
            sent.heard(state, Heard::NotSent);
            return Err(Some(failure(Delivery::NotSent, HttpFailureReason::Connect)));
        }
        let mut there = stopped + state.rng.u64(3..200);
        let mut back = state.rng.u64(3..200);
        match fault {
            Some(Fault::Delay) if state.rng.bool() => there += state.rng.u64(1_000..70_000),
            Some(Fault::Delay) => back += state.rng.u64(1_000..70_000),
            Some(Fault::Duplicate) => {
                state.judge.duplicated = true;
                let later = there + state.rng.u64(1..2_000);
                state.send_again(id, later);
                back += state.rng.u64(0..2_000);
            }
            _ => {}
        }
        let exchange = Exchange {
            path,
            body: request.body.to_vec(),
            fault,
            back,
            outcome: None,
            waker: None,
        };
        state.send(id, exchange, there);
        Ok(sent)
    }
}
