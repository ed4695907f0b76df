//! The world as these tests make it: storage with a plan, a transport with a script, a clock without patience.

// Test code outside a #[test] function, which clippy's own exception does not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use gatepass::{
    Client, ClientBuilder, Clock, CommitOutcome, Delivery, EventSink, Generation, HttpFailure,
    HttpFailureReason, HttpRequest, HttpResponse, HttpTransport, RecordKey, Result, SecureStorage, Session,
    SessionEvent, SessionId, SignInOptions, StorageFailure, Stored,
};
use http::{HeaderMap, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

/// Issuer and client of the sample ID tokens of OpenID Connect Core, at a time when those are good.
pub(crate) const ISSUER: &str = "https://server.example.com";
pub(crate) const CLIENT_ID: &str = "s6BhdRkqt3";
const NOW_MILLIS: i64 = 1_311_281_000_000;
const BOOT_MILLIS: u64 = 3_600_000;
pub(crate) const REDIRECT: &str = "com.example.app:/callback";

/// All that a client meets, and a client in it.
pub(crate) struct World {
    pub(crate) disk: Arc<Disk>,
    pub(crate) net: Arc<Net>,
    pub(crate) clock: Arc<ImpatientClock>,
    pub(crate) events: Arc<Events>,
}

impl World {
    /// Nobody is signed in.
    pub(crate) fn new() -> Self {
        Self {
            disk: Arc::default(),
            net: Arc::default(),
            clock: Arc::new(ImpatientClock::at(BOOT_MILLIS)),
            events: Arc::default(),
        }
    }

    /// A session is stored: `R1`, `A1` that is good for an hour, generation 1.
    pub(crate) fn signed_in() -> Self {
        let world = Self::new();
        world.disk.write(&session_record());
        world
    }

    pub(crate) fn client(&self) -> Client {
        self.client_with(|builder| builder)
    }

    pub(crate) fn client_with(&self, adjust: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
        let builder = Client::builder(ISSUER, CLIENT_ID)
            .redirect(REDIRECT)
            .scopes(["profile", "offline_access"])
            .api("https://api.example.com")
            .storage(self.disk.clone())
            .http_transport(self.net.clone())
            .clock(self.clock.clone())
            .event_sink(self.events.clone());
        adjust(builder).build().unwrap()
    }

    pub(crate) async fn session(&self) -> Session {
        self.client().session().await.unwrap().unwrap()
    }

    /// The access token lives for a year.
    pub(crate) fn let_access_token_last(&self) {
        let year = 365 * 24 * 3_600_000_u64;
        let mut record = self.disk.session();
        record["expiry"]["lifetime_millis"] = year.into();
        record["expiry"]["boot_millis"] = (BOOT_MILLIS + year).into();
        self.disk.write(&record);
    }

    /// The access token runs out; the refresh token does not.
    pub(crate) fn let_access_token_expire(&self) {
        self.clock.advance(3_600_000);
    }
}

/// The record of version 1, as `session/record.rs` pins it.
pub(crate) fn session_record() -> Value {
    json!({
        "v": 1, "epoch": 1, "generation": 1, "scope": ["profile"],
        "refresh_token": "R1", "access_token": "A1",
        "claims": { "sub": "alice", "email": "alice@example.com" },
        "expiry": {
            "lifetime_millis": 3_600_000, "boot_millis": BOOT_MILLIS + 3_600_000, "boot_id": "boot",
            "unix_millis": NOW_MILLIS + 3_600_000,
        },
    })
}

/// What `session_record` becomes when another process refreshes it.
pub(crate) fn refreshed_elsewhere() -> Value {
    let mut record = session_record();
    record["generation"] = 2.into();
    record["refresh_token"] = "R2-elsewhere".into();
    record["access_token"] = "A2-elsewhere".into();
    record["expiry"]["boot_millis"] = (BOOT_MILLIS + 9_000_000).into();
    record
}

/// Begins a sign-in and makes the redirect that the server would send.
pub(crate) async fn redirect_of(pending: &gatepass::PendingSignIn) -> String {
    let url = url::Url::parse(pending.authorization_url()).unwrap();
    let state = url
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    format!("{REDIRECT}?code=C1&state={state}")
}

pub(crate) async fn sign_in(client: &Client) -> Result<Session> {
    let pending = client.begin_sign_in(SignInOptions::default()).await?;
    client.resume_sign_in(&redirect_of(&pending).await).await
}

/// What storage is asked.
#[derive(Clone, Copy)]
pub(crate) enum Ask<'a> {
    Load,
    /// The text that is to be written.
    Commit(&'a str),
    Remove,
    List,
}

impl Ask<'_> {
    /// Whether this is a write of a text with `part` in it.
    pub(crate) fn writes(self, part: &str) -> bool {
        matches!(self, Self::Commit(text) if text.contains(part))
    }
}

/// What comes of it.
pub(crate) enum Fate {
    Done,
    Fails(StorageFailure),
    /// It is durable, but storage says that it failed (a power cut between the two).
    DoneButFails,
}

pub(crate) fn refused() -> Fate {
    Fate::Fails(StorageFailure::Failed("no space left on device".into()))
}

type Plan = dyn FnMut(&str, Ask<'_>, &mut Records) -> Fate + Send;

/// The records, by the kind in their names: one session, at most one pending sign-in.
#[derive(Default)]
pub(crate) struct Records(BTreeMap<String, (Option<String>, u64)>);

impl Records {
    /// What another process writes in between.
    pub(crate) fn write(&mut self, kind: &str, record: &Value) {
        self.put(kind, Some(record.to_string()));
    }

    /// What a broken disk loses in between.
    pub(crate) fn lose(&mut self, kind: &str) {
        self.put(kind, None);
    }

    fn put(&mut self, kind: &str, text: Option<String>) -> Generation {
        let slot = self.0.entry(kind.to_owned()).or_default();
        *slot = (text, slot.1 + 1);
        Generation(slot.1)
    }

    fn stored(&self, kind: &str) -> Option<Stored> {
        let (text, generation) = self.0.get(kind)?;
        Some(Stored::new(text.clone()?.into_bytes(), Generation(*generation)))
    }
}

/// Storage with a plan.
#[derive(Default)]
pub(crate) struct Disk {
    records: Mutex<Records>,
    plan: Mutex<Option<Box<Plan>>>,
}

impl Disk {
    /// From here on this decides what comes of each request, and may write meanwhile.
    pub(crate) fn plan(&self, plan: impl FnMut(&str, Ask<'_>, &mut Records) -> Fate + Send + 'static) {
        *self.plan.lock().unwrap() = Some(Box::new(plan));
    }

    /// Takes no session with this in it.
    pub(crate) fn refuse(&self, part: &'static str) {
        self.plan(move |_, ask, _| if ask.writes(part) { refused() } else { Fate::Done });
    }

    pub(crate) fn behave(&self) {
        *self.plan.lock().unwrap() = None;
    }

    pub(crate) fn write(&self, session: &Value) {
        self.write_text(&session.to_string());
    }

    pub(crate) fn write_text(&self, session: &str) {
        self.records
            .lock()
            .unwrap()
            .put("session", Some(session.to_owned()));
    }

    pub(crate) fn lose(&self) {
        self.records.lock().unwrap().put("session", None);
    }

    pub(crate) fn text(&self, kind: &str) -> Option<String> {
        self.records.lock().unwrap().0.get(kind)?.0.clone()
    }

    pub(crate) fn session(&self) -> Value {
        serde_json::from_str(&self.text("session").unwrap()).unwrap()
    }

    fn ask<T>(
        &self,
        key: &RecordKey,
        ask: Ask<'_>,
        answer: impl FnOnce(&str, &mut Records) -> T,
    ) -> Result<T, StorageFailure> {
        // Two sign-ins at once have records of their own.
        let kind = match key.as_str().split_once('.').unwrap() {
            ("session", _) => "session".to_owned(),
            _ => key.as_str().to_owned(),
        };
        let mut records = self.records.lock().unwrap();
        let fate = match &mut *self.plan.lock().unwrap() {
            Some(plan) => plan(kind.split('.').next().unwrap(), ask, &mut records),
            None => Fate::Done,
        };
        match fate {
            Fate::Done => Ok(answer(&kind, &mut records)),
            Fate::Fails(failure) => Err(failure),
            Fate::DoneButFails => {
                answer(&kind, &mut records);
                Err(StorageFailure::Failed("power lost".into()))
            }
        }
    }

    fn change(
        kind: &str,
        records: &mut Records,
        expected: Generation,
        text: Option<String>,
    ) -> CommitOutcome {
        let current = records.stored(kind);
        if current
            .as_ref()
            .map_or(Generation::ABSENT, |stored| stored.generation)
            != expected
        {
            return CommitOutcome::Conflict(current);
        }
        CommitOutcome::Committed(records.put(kind, text))
    }

    /// The names of all records.
    pub(crate) fn kinds(&self) -> Vec<String> {
        let records = self.records.lock().unwrap();
        let live = records.0.iter().filter(|(_, slot)| slot.0.is_some());
        live.map(|(kind, _)| kind.clone()).collect()
    }

    /// How many records of pending sign-ins there are.
    pub(crate) fn flows(&self) -> usize {
        let records = self.records.lock().unwrap();
        records
            .0
            .iter()
            .filter(|(kind, slot)| kind.starts_with("flow.") && slot.0.is_some())
            .count()
    }
}

impl SecureStorage for Disk {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        self.ask(key, Ask::Load, |kind, records| records.stored(kind))
    }

    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> Result<CommitOutcome, StorageFailure> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        self.ask(key, Ask::Commit(&text), |kind, records| {
            Self::change(kind, records, expected, Some(text.clone()))
        })
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome, StorageFailure> {
        self.ask(key, Ask::Remove, |kind, records| {
            Self::change(kind, records, expected, None)
        })
    }

    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure> {
        let key = RecordKey::new(prefix.trim_end_matches('.')).unwrap();
        self.ask(&key, Ask::List, |kind, records| {
            let live = records.0.iter().filter(|(_, slot)| slot.0.is_some());
            match kind {
                "session" => live
                    .filter(|(kind, _)| *kind == "session")
                    .map(|_| key.clone())
                    .collect(),
                _ => live
                    .filter(|(kind, _)| kind.starts_with(prefix))
                    .map(|(kind, _)| RecordKey::new(kind).unwrap())
                    .collect(),
            }
        })
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Disk")
    }
}

/// One answer of the token endpoint or the API.
pub(crate) enum Answer {
    Http(u16, &'static str, String),
    /// A status, and in how many seconds to ask again.
    Busy(u16, u32),
    Fails(Delivery),
    /// Comes when the test says so.
    Later(oneshot::Receiver<Answer>),
    Panics,
}

impl Clone for Answer {
    fn clone(&self) -> Self {
        match self {
            Self::Http(status, content_type, body) => Self::Http(*status, content_type, body.clone()),
            Self::Busy(status, seconds) => Self::Busy(*status, *seconds),
            Self::Fails(delivery) => Self::Fails(*delivery),
            Self::Panics => Self::Panics,
            Self::Later(_) => panic!("it comes once"),
        }
    }
}

pub(crate) fn granted(refresh_token: &str, access_token: &str) -> Answer {
    json_answer(
        200,
        json!({ "access_token": access_token, "token_type": "Bearer", "expires_in": 3600, "refresh_token": refresh_token }),
    )
}

pub(crate) fn json_answer(status: u16, body: Value) -> Answer {
    Answer::Http(status, "application/json", body.to_string())
}

pub(crate) fn oauth_error(status: u16, error: &str) -> Answer {
    json_answer(status, json!({ "error": error }))
}

pub(crate) fn html(status: u16) -> Answer {
    Answer::Http(status, "text/html", "<html>Welcome to our Wi-Fi</html>".into())
}

/// The network: metadata and keys are always there, the rest is by script.
#[derive(Default)]
pub(crate) struct Net {
    script: Mutex<VecDeque<Answer>>,
    /// What metadata or keys are asked for gets instead of them, by its path.
    instead: Mutex<BTreeMap<&'static str, Answer>>,
    seen: Mutex<Vec<(String, String)>>,
    pub(crate) offline: std::sync::atomic::AtomicBool,
}

impl Net {
    pub(crate) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.script.lock().unwrap().extend(answers);
    }

    /// From here on this is what comes instead of the document at this path.
    pub(crate) fn answer_always(&self, path: &'static str, answer: Answer) {
        self.instead.lock().unwrap().insert(path, answer);
    }

    /// As [`answer_later`](Net::answer_later), once, for the document at this path.
    pub(crate) fn answer_document_later(&self, path: &'static str) -> oneshot::Sender<Answer> {
        let (send, receive) = oneshot::channel();
        self.answer_always(path, Answer::Later(receive));
        send
    }

    /// The metadata, for an answer that comes later.
    pub(crate) fn metadata(&self) -> Answer {
        json_answer(200, metadata())
    }

    /// The document at this path comes again.
    pub(crate) fn answer_as_ever(&self, path: &str) {
        self.instead.lock().unwrap().remove(path);
    }

    /// What is left of the script is not played.
    pub(crate) fn no_more_answers(&self) {
        self.script.lock().unwrap().clear();
    }

    /// An answer that comes when the sender is used.
    pub(crate) fn answer_later(&self) -> oneshot::Sender<Answer> {
        let (send, receive) = oneshot::channel();
        self.answer([Answer::Later(receive)]);
        send
    }

    /// The bodies sent to a path.
    pub(crate) fn sent_to(&self, path: &str) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|(to, _)| to == path)
            .map(|(_, body)| body.clone())
            .collect()
    }

    /// The refresh tokens sent, in order.
    pub(crate) fn refreshes(&self) -> Vec<String> {
        let field = |body: &String| {
            let token = body.split("refresh_token=").nth(1)?;
            Some(token.split('&').next().unwrap().to_owned())
        };
        self.sent_to("/token").iter().filter_map(field).collect()
    }

    pub(crate) async fn until_sent(&self, path: &str, count: usize) {
        while self.sent_to(path).len() < count {
            tokio::task::yield_now().await;
        }
    }
}

/// The key of the sample ID tokens (OpenID Connect Core appendix A.7).
pub(crate) const JWKS: &str = r#"{"keys":[{"kty":"RSA","kid":"1e9gdk7","e":"AQAB","n":"w7Zdfmece8iaB0kiTY8pCtiBtzbptJmP28nSWwtdjRu0f2GFpajvWE4VhfJAjEsOcwYzay7XGN0b-X84BfC8hmCTOj2b2eHT7NsZegFPKRUQzJ9wW8ipn_aDJWMGDuB1XyqT1E7DYqjUCEOD1b4FLpy_xPn6oV_TYOfQ9fZdbE5HGxJUzekuGcOKqOQ8M7wfYHhHHLxGpQVgL0apWuP2gDDOdTtpuld4D2LK1MZK99s9gaSjRHE8JDb1Z4IGhEcEyzkxswVdPndUWzfvWBBWXWxtSUvQGBRkuy1BHOa4sP6FKjWEeeF7gm7UMs2Nm2QUgNZw6xvEDGaLk4KASdIxRQ"}]}"#;

#[async_trait]
impl HttpTransport for Net {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let path = request.url.path().to_owned();
        if self.offline.load(std::sync::atomic::Ordering::SeqCst) {
            return Err(HttpFailure::new(
                Delivery::NotSent,
                HttpFailureReason::Connect,
                "offline",
            ));
        }
        let body = String::from_utf8(request.body.to_vec()).unwrap();
        self.seen.lock().unwrap().push((path.clone(), body));
        let instead = {
            let mut instead = self.instead.lock().unwrap();
            match instead.get(path.as_str()) {
                Some(Answer::Later(_)) => instead.remove(path.as_str()),
                answer => answer.cloned(),
            }
        };
        let mut answer = match path.as_str() {
            _ if instead.is_some() => instead.unwrap(),
            "/.well-known/openid-configuration" => json_answer(200, metadata()),
            "/jwks" => Answer::Http(200, "application/json", JWKS.to_owned()),
            "/revoke" => Answer::Http(200, "text/plain", String::new()),
            _ => {
                let next = self.script.lock().unwrap().pop_front();
                next.unwrap_or_else(|| panic!("nothing in the script for {path}"))
            }
        };
        loop {
            break match answer {
                Answer::Http(status, content_type, body) => {
                    let mut headers = HeaderMap::new();
                    headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
                    if (300..400).contains(&status) {
                        headers.insert(
                            header::LOCATION,
                            "https://portal.example.net/login?x=1".parse().unwrap(),
                        );
                    }
                    Ok(HttpResponse::new(
                        StatusCode::from_u16(status).unwrap(),
                        headers,
                        body.into_bytes(),
                    ))
                }
                Answer::Busy(status, seconds) => {
                    let mut headers = HeaderMap::new();
                    headers.insert(header::RETRY_AFTER, seconds.into());
                    let status = StatusCode::from_u16(status).unwrap();
                    Ok(HttpResponse::new(status, headers, Vec::new()))
                }
                Answer::Fails(delivery) => Err(HttpFailure::new(
                    delivery,
                    HttpFailureReason::ConnectionLost,
                    "connection lost",
                )),
                Answer::Panics => panic!("expected by this test"),
                Answer::Later(later) => {
                    answer = later.await.unwrap();
                    continue;
                }
            };
        }
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Net")
    }
}

fn metadata() -> Value {
    json!({
        "issuer": ISSUER,
        "authorization_endpoint": format!("{ISSUER}/authorize"),
        "token_endpoint": format!("{ISSUER}/token"),
        "jwks_uri": format!("{ISSUER}/jwks"),
        "revocation_endpoint": format!("{ISSUER}/revoke"),
        "userinfo_endpoint": format!("{ISSUER}/userinfo"),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "id_token_signing_alg_values_supported": ["RS256"],
    })
}

/// A clock that jumps over pauses of up to half a minute. Longer waits end when a test lets time pass.
#[derive(Debug)]
pub(crate) struct ImpatientClock(watch::Sender<u64>, AtomicU64);

impl ImpatientClock {
    fn at(boot_millis: u64) -> Self {
        Self(watch::Sender::new(boot_millis), AtomicU64::new(30_000))
    }

    pub(crate) fn advance(&self, millis: u64) {
        self.0.send_modify(|boot| *boot += millis);
    }

    /// From here on only pauses of up to this are jumped over.
    pub(crate) fn jump_at_most(&self, millis: u64) {
        self.1.store(millis, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for ImpatientClock {
    fn unix_millis(&self) -> i64 {
        // The sample ID tokens must stay good while the access token runs out, so the wall clock stands still.
        NOW_MILLIS
    }

    fn boot_millis(&self) -> u64 {
        *self.0.borrow()
    }

    fn boot_id(&self) -> Option<String> {
        Some("boot".to_owned())
    }

    async fn sleep_until(&self, boot_millis: u64) {
        if boot_millis.saturating_sub(self.boot_millis()) <= self.1.load(Ordering::SeqCst) {
            self.0.send_modify(|boot| *boot = (*boot).max(boot_millis));
            // Whoever wakes up is not the only one who has something to do.
            tokio::task::yield_now().await;
            return;
        }
        let mut boot = self.0.subscribe();
        drop(boot.wait_for(|now| *now >= boot_millis).await);
    }
}

/// The events, by their names.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<Vec<String>>);

impl Events {
    /// Events come after the waiters have been answered, so there may be some to wait for.
    pub(crate) async fn are(&self, expected: &[&str]) {
        while self.0.lock().unwrap().len() < expected.len() {
            tokio::task::yield_now().await;
        }
        assert_eq!(*self.0.lock().unwrap(), expected);
    }
}

impl EventSink for Events {
    fn event(&self, _session: Option<&SessionId>, event: SessionEvent) {
        let printed = format!("{event:?}");
        let name = printed.split([' ', '{']).next().unwrap().to_owned();
        self.0.lock().unwrap().push(name);
    }
}
