//! The promise that counts: whatever the token endpoint answers, the session goes on with the right refresh token, or the
//! server itself has said that it is over. Through a client and its session, with the world around them in memory.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use ::http::{HeaderMap, HeaderValue, StatusCode, header};

use super::input::{Answer, first_line, said_once};
use super::samples::{CLIENT, ISSUED, ISSUER, key_set};
use crate::adapters::memory::MemoryStorage;
use crate::client::Client;
use crate::error::{Delivery, EndReason, ErrorKind, Result};
use crate::ports::{
    BoxFuture, Clock, Generation, HttpFailure, HttpFailureReason, HttpRequest, HttpResponse, HttpTransport,
    Random, RandomFailure, RecordKey, SecureStorage, Spawner,
};
use crate::protocol::form::Form;
use crate::protocol::id_token::Claims;
use crate::protocol::json::{JsonError, Object};
use crate::protocol::scope::Scope;
use crate::protocol::token::{AccessToken, RefreshToken};
use crate::session::Session;
use crate::session::moment::Expiry;
use crate::session::names::Names;
use crate::session::record::{Journal, Owner, SessionRecord, SignedIn, Standing, StoredAccessToken};
use crate::sync::lock;

const OLD: &str = "refresh-token-0";
const TOKEN_ENDPOINT: &str = "https://as.example/token";
/// An answer after which everything is well.
const GOOD: &str = r#"{"access_token":"good","token_type":"Bearer","expires_in":3600}"#;

/// The first line is the setting: `j` if a refresh before left its outcome open, `n` if the request is not sent, `u` if no
/// answer comes. The rest is the answer: status, headers, empty line, body.
pub fn stored_token(data: &[u8]) {
    let (setting, rest) = first_line(data);
    let answer = Answer::read(rest);
    let says = |flag| setting.contains(&flag);
    let outcome = match (says(b'n'), says(b'u')) {
        (true, _) => Outcome::Failed(Delivery::NotSent),
        (_, true) => Outcome::Failed(Delivery::UnknownOutcome),
        _ => Outcome::Answer(answer.status, answer.headers.clone(), answer.body.to_vec()),
    };
    let world = World::new(says(b'j'));
    let client = world.client(outcome);
    let session = world.run(client.session()).unwrap().unwrap();
    let refreshed = world.run(session.refresh());

    let wanted = wanted(&answer, says(b'n') || says(b'u'));
    let sent = world.token_requests();
    assert!(
        !sent.is_empty() && sent.len() <= 6 && sent.iter().all(|token| token == OLD),
        "the token that was stored and no other, again only where nobody knows the outcome: {sent:?}"
    );
    let record = world.stored();
    match (wanted, &record.standing) {
        (Wanted::Over, Standing::Ended { reason, .. }) => {
            let expected = if says(b'j') {
                EndReason::RotationLost
            } else {
                EndReason::ExpiredOrRevoked
            };
            assert_eq!(*reason, expected);
            assert_eq!(refreshed.unwrap_err().kind(), ErrorKind::SessionEnded(expected));
            assert!(
                !String::from_utf8_lossy(&record.encode()).contains(OLD),
                "a token of an ended session"
            );
            assert!(session.peek().is_none(), "a token of an ended session");
            assert!(world.run(client.session()).unwrap().is_none());
        }
        (Wanted::Over, Standing::SignedIn(_)) => panic!("the server's end was not heard"),
        (Wanted::Token(_), Standing::Ended { reason, .. }) => panic!("the session was lost: {reason:?}"),
        (Wanted::Token(token), Standing::SignedIn(stored)) => {
            let kept = stored.refresh_token.as_ref().map(RefreshToken::expose);
            assert_eq!(kept, Some(token.as_str()), "the refresh token was lost");
            if let Err(error) = &refreshed {
                assert!(!matches!(error.kind(), ErrorKind::SessionEnded(_)), "{error}");
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains(OLD));
            }
            lives_on(&world, &session, &token, refreshed.is_ok());
        }
    }
    assert!(lock(&world.http.others).is_empty(), "a grant was given back");
}

/// What should be stored afterwards.
enum Wanted {
    Token(String),
    Over,
}

/// RFC 6749 §5 and §6, read from the bytes.
fn wanted(answer: &Answer<'_>, no_answer: bool) -> Wanted {
    let old = Wanted::Token(OLD.to_owned());
    if no_answer {
        return old;
    }
    let object = match Object::parse(answer.body) {
        Ok(object) => object,
        // A member that stands twice: not to be used, but what is said once is not lost.
        Err(JsonError::Duplicate) if answer.status.is_success() => {
            let new = said_once(answer.body, "refresh_token").flatten();
            return new.map_or(old, Wanted::Token);
        }
        Err(_) => return old,
    };
    let said = |name: &str| object.str(name).filter(|text| !text.is_empty());
    if answer.status.is_redirection() {
        return old;
    }
    // A server that fails, or has too much to do, has not looked at the grant.
    let looked = !answer.status.is_server_error() && answer.status != StatusCode::TOO_MANY_REQUESTS;
    if looked && said("error") == Some("invalid_grant") {
        return Wanted::Over;
    }
    let is_answer =
        crate::protocol::answer::is_json_content(&answer.headers) || object.get("access_token").is_some();
    match said("refresh_token") {
        Some(new) if answer.status.is_success() && said("error").is_none() && is_answer => {
            Wanted::Token(new.to_owned())
        }
        _ => old,
    }
}

/// As soon as the server is well again, a refresh with that token brings the session back.
fn lives_on(world: &World, session: &Session, token: &str, fresh: bool) {
    assert!(fresh || session.peek().is_none(), "a token that was not verified");
    *lock(&world.http.outcome) = Outcome::Answer(StatusCode::OK, json(), GOOD.as_bytes().to_vec());
    let mut last = None;
    for _ in 0..3 {
        lock(&world.http.sent).clear();
        // Keys may be asked for again only after a while.
        world.clock.advance(600_000);
        match world.run(session.refresh()) {
            Ok(()) => {
                // A token that waited to be verified may have been it; the next one certainly is asked for.
                if world.token_requests().is_empty() {
                    continue;
                }
                assert_eq!(world.token_requests(), [token]);
                assert_eq!(session.peek().unwrap().expose(), "good");
                return;
            }
            Err(error) => last = Some(error),
        }
    }
    panic!("the session does not come back: {last:?}");
}

fn json() -> HeaderMap {
    let value = HeaderValue::from_static("application/json");
    [(header::CONTENT_TYPE, value)].into_iter().collect()
}

struct World {
    storage: Arc<MemoryStorage>,
    http: Arc<Script>,
    clock: Arc<Virtual>,
    tasks: Arc<Tasks>,
    key: RecordKey,
}

impl World {
    /// Somebody is signed in, and the access token has expired.
    fn new(journal: bool) -> Self {
        let claims =
            r#"{"iss":"https://as.example","sub":"alice","nonce":"a-nonce","email":"alice@example.com"}"#;
        let record = SessionRecord {
            epoch: 1,
            generation: 5,
            owner: Some(Owner {
                issuer: ISSUER.to_owned(),
                client_id: CLIENT.to_owned(),
            }),
            finished: Vec::new(),
            standing: Standing::SignedIn(Box::new(SignedIn {
                since_unix_millis: (ISSUED - 7200) * 1000,
                sign_in: None,
                device: None,
                claims: Claims::from_stored(Object::parse(claims.as_bytes()).unwrap()),
                scope: Scope::from_tokens(["openid", "offline_access"]).unwrap(),
                refresh_token: Some(RefreshToken::new(OLD.to_owned())),
                access_token: Some(StoredAccessToken {
                    token: AccessToken::new("expired".to_owned()),
                    generation: 5,
                    expiry: Some(Expiry {
                        lifetime_millis: 3_600_000,
                        boot_millis: 1,
                        boot_id: Some("boot".to_owned()),
                        unix_millis: (ISSUED - 3600) * 1000,
                    }),
                }),
                others: Vec::new(),
                id_token: None,
                provisional: false,
                journal: journal.then(|| Journal {
                    attempt_id: "an attempt".to_owned(),
                    uncertain: false,
                    number: 3,
                    begun: None,
                    without_lock: false,
                }),
                attempt: 2,
            })),
        };
        let key = Names::new(ISSUER, CLIENT).only_session().unwrap();
        let storage = MemoryStorage::default();
        storage
            .commit(&key, Generation::ABSENT, &record.encode())
            .unwrap();
        Self {
            storage: Arc::new(storage),
            http: Arc::default(),
            clock: Arc::default(),
            tasks: Arc::default(),
            key,
        }
    }

    fn client(&self, outcome: Outcome) -> Client {
        *lock(&self.http.outcome) = outcome;
        Client::builder(ISSUER, CLIENT)
            .http_transport(self.http.clone())
            .storage(self.storage.clone())
            .clock(self.clock.clone())
            .random(Arc::new(Counted::default()))
            .spawner(self.tasks.clone())
            .build()
            .unwrap()
    }

    fn stored(&self) -> SessionRecord {
        let stored = self.storage.load(&self.key).unwrap().expect("a record went away");
        SessionRecord::decode(&stored.bytes).unwrap()
    }

    /// The refresh tokens that were sent.
    fn token_requests(&self) -> Vec<String> {
        lock(&self.http.sent).clone()
    }

    fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut work = pin!(work);
        let mut context = Context::from_waker(Waker::noop());
        // Nothing here waits for anything but other tasks, so a handful of rounds is enough.
        for _ in 0..1_000 {
            if let Poll::Ready(done) = work.as_mut().poll(&mut context) {
                self.tasks.turn(&mut context);
                return done;
            }
            self.tasks.turn(&mut context);
        }
        panic!("a call does not end");
    }
}

#[derive(Debug)]
enum Outcome {
    Answer(StatusCode, HeaderMap, Vec<u8>),
    Failed(Delivery),
}

impl Default for Outcome {
    fn default() -> Self {
        Self::Failed(Delivery::NotSent)
    }
}

/// The server.
#[derive(Debug, Default)]
struct Script {
    outcome: Mutex<Outcome>,
    sent: Mutex<Vec<String>>,
    others: Mutex<Vec<String>>,
}

#[async_trait::async_trait]
impl HttpTransport for Script {
    async fn send(&self, request: HttpRequest) -> std::result::Result<HttpResponse, HttpFailure> {
        let url = request.url.as_str();
        let give = |body: String| Ok(HttpResponse::new(StatusCode::OK, json(), body.into_bytes()));
        if url == "https://as.example/keys" {
            return give(key_set());
        }
        if url.contains("/.well-known/") {
            return give(format!(
                r#"{{"issuer":"{ISSUER}","authorization_endpoint":"{ISSUER}/authorize","token_endpoint":"{TOKEN_ENDPOINT}","jwks_uri":"{ISSUER}/keys","revocation_endpoint":"{ISSUER}/revoke"}}"#
            ));
        }
        if url != TOKEN_ENDPOINT {
            lock(&self.others).push(url.to_owned());
            return give(String::new());
        }
        let body = std::str::from_utf8(&request.body).unwrap();
        let form = Form::parse(body).map_err(drop).unwrap();
        assert_eq!(form.get("grant_type"), Some("refresh_token"));
        lock(&self.sent).push(form.get("refresh_token").unwrap_or_default().to_owned());
        match &*lock(&self.outcome) {
            Outcome::Answer(status, headers, body) => {
                Ok(HttpResponse::new(*status, headers.clone(), body.clone()))
            }
            Outcome::Failed(delivery) => Err(HttpFailure::new(
                *delivery,
                HttpFailureReason::Connect,
                "no network",
            )),
        }
    }
}

/// Time that moves only when it is told to; whoever sleeps wakes at once.
#[derive(Debug, Default)]
pub(super) struct Virtual(AtomicU64);

impl Virtual {
    pub(super) fn advance(&self, millis: u64) {
        self.0.fetch_add(millis, Ordering::Relaxed);
    }
}

#[async_trait::async_trait]
impl Clock for Virtual {
    fn unix_millis(&self) -> i64 {
        ISSUED * 1000 + i64::try_from(self.0.load(Ordering::Relaxed)).unwrap()
    }

    fn boot_millis(&self) -> u64 {
        10_000_000 + self.0.load(Ordering::Relaxed)
    }

    fn boot_id(&self) -> Option<String> {
        Some("boot".to_owned())
    }

    async fn sleep_until(&self, boot_millis: u64) {
        self.advance(boot_millis.saturating_sub(self.boot_millis()));
    }
}

/// No chance at all: a finding must come again.
#[derive(Debug, Default)]
struct Counted(AtomicU64);

impl Random for Counted {
    fn fill(&self, buffer: &mut [u8]) -> std::result::Result<(), RandomFailure> {
        let count = self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        for (byte, count) in buffer.iter_mut().zip(count.iter().cycle()) {
            *byte = *count;
        }
        Ok(())
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs everything on the thread that asks.
#[derive(Default)]
struct Tasks(Mutex<VecDeque<Task>>);

impl Tasks {
    fn turn(&self, context: &mut Context<'_>) {
        let waiting = std::mem::take(&mut *lock(&self.0));
        for mut task in waiting {
            if task.as_mut().poll(context).is_pending() {
                lock(&self.0).push_back(task);
            }
        }
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tasks")
    }
}

impl Spawner for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        lock(&self.0).push_back(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send + 'static>) {
        work();
    }
}
