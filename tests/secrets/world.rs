//! A client whose ports tell of every secret that passes through them, at a test server of its own.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use gatepass::test_server::{Par, TestApi, TestBrowser, TestServer, TestServerBuilder};
use gatepass::{
    AllowHttpOnLoopback, Client, ClientBuilder, Clock, CommitOutcome, EventSink, Generation, MemoryStorage,
    PendingSignIn, ProcessLock, Prompt, Random, RandomFailure, RecordKey, SecureStorage, Session,
    SessionEvent, SessionId, SignInOptions, SignInProgress, SignOut, StorageFailure, Stored, StoredSession,
    Target, UserAgent, UserAgentFailure, UserAgentRequest, UserAgentReturn, WaitingSignIn,
};
use serde_json::Value;
use tokio::sync::watch;

use crate::ears::{self, canaries};

pub(crate) struct World {
    pub(crate) server: TestServer,
    pub(crate) storage: Arc<Spy>,
    pub(crate) clock: Arc<Hasty>,
    browser: TestBrowser,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|server| server)
    }

    pub(crate) fn with(adjust: impl FnOnce(TestServerBuilder) -> TestServerBuilder) -> Self {
        Self::over(Arc::new(MemoryStorage::default()), adjust)
    }

    pub(crate) fn over(
        storage: Arc<dyn SecureStorage>,
        adjust: impl FnOnce(TestServerBuilder) -> TestServerBuilder,
    ) -> Self {
        let clock = Arc::new(Hasty::default());
        let builder = TestServer::builder()
            .clock(clock.clone())
            .api(TestApi::new("orders").audience("https://orders.example.com"));
        let server = adjust(builder).start().unwrap();
        Self {
            browser: server.browser(),
            storage: Arc::new(Spy::on(storage)),
            server,
            clock,
        }
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        let orders = Target::resource("https://orders.example.com").unwrap();
        Client::builder(self.server.issuer(), self.server.client_id())
            .scopes(["openid", "profile", "email", "offline_access"])
            .post_logout_redirect("http://127.0.0.1/signed-out")
            .api(self.server.issuer())
            .api_with_target("http://[::1]", orders)
            .allow_http_on_loopback(AllowHttpOnLoopback)
            .clock(self.clock.clone())
            .storage(self.storage.clone())
            .random(Arc::new(Dice))
            .event_sink(Arc::new(Sink))
            .user_agent(Arc::new(Browser(self.browser.clone())))
    }

    pub(crate) fn client(&self) -> Client {
        let builder = self.builder();
        ears::print("builder", &builder);
        builder.build().unwrap()
    }

    pub(crate) fn options() -> SignInOptions {
        SignInOptions::default()
            .max_age(3_600)
            .acr_values(["urn:example:gold"])
            .resource("https://orders.example.com")
    }

    /// A sign-in from the first URL to its end, whatever that is.
    pub(crate) async fn sign_in(&self, client: &Client) -> gatepass::Result<Session> {
        let options = Self::options();
        ears::print("options", &options);
        let pending = client.begin_sign_in(options).await;
        ears::outcome(&pending);
        let pending = pending?;
        ears::print("redirect uri", &pending.redirect_uri());
        ears::print("lifetime", &pending.authorization_url_lifetime());
        self.finish(&pending).await
    }

    async fn finish(&self, pending: &PendingSignIn) -> gatepass::Result<Session> {
        ears::print("canceller", &pending.canceller());
        let user = &self.server.users()[0];
        let delivered = match self.browser.sign_in(pending.authorization_url(), user).await {
            Ok(redirect) => {
                learn_url(&redirect);
                self.browser.deliver(&redirect).await.is_ok()
            }
            Err(_) => false,
        };
        let progress = pending.progress().get();
        ears::print("progress", &progress);
        if !delivered || progress == SignInProgress::WaitingForRedirect {
            pending.cancel();
        }
        let outcome = pending.wait().await;
        ears::outcome(&outcome);
        outcome
    }

    /// All that a session can do, and everything it can say of itself.
    pub(crate) async fn live(&self, session: &Session) {
        self.describe(session).await;
        let http = session.http();
        ears::print("http", &http);
        for url in [
            self.server.api_url(),
            self.server.url_of_api("other"),
            "https://elsewhere.invalid/".to_owned(),
            "http://[::1]:9/orders".to_owned(),
            "not a url".to_owned(),
        ] {
            let request = http.get(&url).timeout(Duration::from_secs(5));
            ears::print("request", &request);
            let answer = request.send().await;
            ears::outcome(&answer);
        }
        ears::outcome(&session.access_token().await);
        let orders = Target::resource("https://orders.example.com").unwrap();
        ears::print("target", &orders);
        ears::outcome(&session.access_token_for(&orders).await);
        let narrow = Target::scope(["profile"]).unwrap();
        ears::outcome(&session.access_token_for(&narrow).await);
        self.userinfo(session).await;
        ears::outcome(&session.refresh().await);
        self.clock.advance(Duration::from_secs(400));
        ears::outcome(&session.access_token().await);
        self.own_request(session).await;
        ears::outcome(&session.can_refresh().await);
        self.describe(session).await;
    }

    async fn userinfo(&self, session: &Session) {
        use gatepass::test_server::UserinfoFormat::{Json, SignedJwt};
        for format in [Json, SignedJwt] {
            self.server.set_userinfo_format(format);
            ears::outcome(&session.userinfo().await);
        }
    }

    /// A request that the app sends by an HTTP client of its own.
    async fn own_request(&self, session: &Session) {
        let mut request = http::Request::get(self.server.api_url()).body(()).unwrap();
        ears::outcome(&session.authorize(&mut request).await);
        ears::print("authorized", &request);
        let mut answer = http::Response::builder().status(401);
        let headers = answer.headers_mut().unwrap();
        headers.insert(
            "www-authenticate",
            "Bearer error=\"invalid_token\"".parse().unwrap(),
        );
        let answer = answer.body(()).unwrap();
        ears::outcome(&session.reauthorize(&mut request, &answer).await);
        ears::print("authorized again", &request);
    }

    async fn describe(&self, session: &Session) {
        ears::print("session", session);
        ears::print("id", session.id());
        ears::print("issuer", &session.issuer());
        ears::print("claims", &session.claims());
        ears::print("scope", &session.scope());
        ears::print("expires in", &session.expires_in());
        ears::print("state", &session.state());
        ears::print("peek", &session.peek());
    }

    /// What a client says of itself, of the server and of its storage.
    pub(crate) async fn look_around(&self, client: &Client) {
        ears::print("client", client);
        ears::print("state", &client.state());
        ears::outcome(&client.session().await);
        ears::outcome(&client.sessions().await);
        ears::outcome(&client.authorization_server().await);
        ears::print("storage", &self.storage);
        ears::print("stored sessions", &StoredSession::all(&*self.storage));
        ears::print("waiting sign-ins", &WaitingSignIn::all(&*self.storage));
    }

    /// A silent sign-in, which shows the ID token to the server, and one that the user calls off.
    pub(crate) async fn sign_in_again(&self, client: &Client) {
        let silent = SignInOptions::default().prompt([Prompt::None]);
        if let Ok(pending) = client.begin_sign_in(silent).await {
            drop(self.finish(&pending).await);
        }
        if let Ok(pending) = client.begin_sign_in(Self::options()).await {
            if let Ok(redirect) = self.server.browser().deny(pending.authorization_url()).await {
                learn_url(&redirect);
                drop(self.browser.deliver(&redirect).await);
            }
            pending.cancel();
            ears::outcome(&pending.wait().await);
        }
    }

    /// A whole life: sign-in, use, sign-out. Whatever goes wrong is printed, and the journey goes on.
    pub(crate) async fn journey(&self) {
        let client = self.client();
        if let Ok(session) = self.sign_in(&client).await {
            self.live(&session).await;
            self.sign_in_again(&client).await;
            ears::outcome(&session.sign_out(SignOut::EndSession).await);
            ears::outcome(&session.access_token().await);
        }
        self.finish_up(&client).await;
    }

    /// The end of a journey: nothing under way, and everything known that the server saw.
    pub(crate) async fn finish_up(&self, client: &Client) {
        client.drain().await;
        self.look_around(client).await;
        client.drain().await;
        self.learn();
    }

    /// What the server was shown.
    pub(crate) fn learn(&self) {
        let mut canaries = canaries();
        for request in self.server.requests() {
            for (name, value) in request.form().iter().chain(request.query()) {
                match name.as_str() {
                    "code" | "code_verifier" | "refresh_token" | "token" | "state" | "nonce"
                    | "access_token" => canaries.add(name, value.as_bytes()),
                    "id_token_hint" => canaries.add_jwt(name, value),
                    _ => {}
                }
            }
            let token = request
                .header("authorization")
                .and_then(|v| v.strip_prefix("Bearer "));
            if let Some(token) = token {
                canaries.add("access token", token.as_bytes());
            }
        }
    }
}

/// The parameters of a redirect.
pub(crate) fn learn_url(url: &str) {
    let Ok(url) = url::Url::parse(url) else { return };
    for (name, value) in url.query_pairs() {
        if matches!(&*name, "code" | "state") {
            canaries().add(&name, value.as_bytes());
        }
    }
}

/// The members of a record that hold secrets.
fn learn_record(value: &Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match (name.as_str(), member) {
                    ("id_token", Value::String(token)) => canaries().add_jwt("ID token", token),
                    (
                        "refresh_token" | "access_token" | "verifier" | "code" | "state" | "nonce",
                        Value::String(secret),
                    ) => canaries().add(name, secret.as_bytes()),
                    // The nonce of the ID token, which came back from the server.
                    ("claims", Value::Object(claims)) => {
                        if let Some(Value::String(nonce)) = claims.get("nonce") {
                            canaries().add("nonce", nonce.as_bytes());
                        }
                    }
                    (_, member) => learn_record(member),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(learn_record),
        _ => {}
    }
}

/// What a storage is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Load,
    Commit,
    Remove,
    List,
}

type Plan = dyn Fn(Ask, &RecordKey, &[u8]) -> Result<(), StorageFailure> + Send + Sync;

/// Storage that learns what is put into it, and fails when it is told to.
pub(crate) struct Spy {
    inner: Arc<dyn SecureStorage>,
    plan: Mutex<Option<Arc<Plan>>>,
}

impl Spy {
    pub(crate) fn on(inner: Arc<dyn SecureStorage>) -> Self {
        Self {
            inner,
            plan: Mutex::default(),
        }
    }

    pub(crate) fn plan(
        &self,
        plan: impl Fn(Ask, &RecordKey, &[u8]) -> Result<(), StorageFailure> + Send + Sync + 'static,
    ) {
        *self.plan.lock().unwrap() = Some(Arc::new(plan));
    }

    pub(crate) fn behave(&self) {
        *self.plan.lock().unwrap() = None;
    }

    /// With nothing locked: a plan may panic.
    fn ask(&self, ask: Ask, key: &RecordKey, bytes: &[u8]) -> Result<(), StorageFailure> {
        let plan = self.plan.lock().unwrap().clone();
        plan.map_or(Ok(()), |plan| plan(ask, key, bytes))
    }
}

impl fmt::Debug for Spy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl SecureStorage for Spy {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        self.ask(Ask::Load, key, &[])?;
        let loaded = self.inner.load(key);
        ears::print("loaded", &loaded);
        loaded
    }

    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> Result<CommitOutcome, StorageFailure> {
        if let Ok(record) = serde_json::from_slice(bytes) {
            learn_record(&record);
        }
        self.ask(Ask::Commit, key, bytes)?;
        let outcome = self.inner.commit(key, expected, bytes);
        ears::print("committed", &outcome);
        outcome
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome, StorageFailure> {
        self.ask(Ask::Remove, key, &[])?;
        self.inner.remove(key, expected)
    }

    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure> {
        self.ask(Ask::List, &RecordKey::new("all").unwrap(), &[])?;
        self.inner.list(prefix)
    }

    fn process_lock(&self) -> Option<Arc<dyn ProcessLock>> {
        self.inner.process_lock()
    }
}

/// Random octets that are known: states, nonces, verifiers.
#[derive(Debug)]
pub(crate) struct Dice;

impl Random for Dice {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomFailure> {
        static THROWN: AtomicU64 = AtomicU64::new(0);
        for part in buffer.chunks_mut(8) {
            // Good enough for a test: nothing else in this process makes the same.
            let number = RandomState::new().hash_one(THROWN.fetch_add(1, Ordering::Relaxed));
            part.copy_from_slice(&number.to_le_bytes()[..part.len()]);
        }
        canaries().add("random octets", buffer);
        canaries().add("random text", BASE64URL.encode(&*buffer).as_bytes());
        Ok(())
    }
}

/// Prints every event, as an app would.
#[derive(Debug)]
pub(crate) struct Sink;

impl EventSink for Sink {
    fn event(&self, session: Option<&SessionId>, event: SessionEvent) {
        ears::print("event", &(session, &event));
        if let SessionEvent::RefreshFailed { error } | SessionEvent::StorageWriteFailed { error } = &event {
            ears::error(error);
        }
    }
}

/// A browser in which the user does as asked.
#[derive(Debug)]
struct Browser(TestBrowser);

#[async_trait]
impl UserAgent for Browser {
    async fn open(&self, request: UserAgentRequest) -> Result<UserAgentReturn, UserAgentFailure> {
        ears::print("user agent request", &request);
        let back = self.0.sign_out(&request.authorization_url).await;
        ears::print(
            "user agent return",
            &UserAgentReturn::Redirected(request.authorization_url),
        );
        if let Ok(Some(back)) = back
            && self.0.deliver(&back).await == Ok(200)
        {
            return Ok(UserAgentReturn::Opened);
        }
        // The user is left with an error page, and closes it.
        Err(UserAgentFailure::Cancelled)
    }
}

/// A clock of which a short wait takes no time.
#[derive(Debug)]
pub(crate) struct Hasty(watch::Sender<u64>);

const START_UNIX_MILLIS: i64 = 1_800_000_000_000;
const START_BOOT_MILLIS: u64 = 3_600_000;
/// Longer than any pause between two tries, shorter than any deadline of a user.
const SHORT_MILLIS: u64 = 100_000;

impl Default for Hasty {
    fn default() -> Self {
        Self(watch::Sender::new(START_BOOT_MILLIS))
    }
}

impl Hasty {
    pub(crate) fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_millis()).unwrap();
        self.0.send_modify(|now| *now += by);
    }
}

#[async_trait]
impl Clock for Hasty {
    fn unix_millis(&self) -> i64 {
        START_UNIX_MILLIS + i64::try_from(self.boot_millis() - START_BOOT_MILLIS).unwrap()
    }

    fn boot_millis(&self) -> u64 {
        *self.0.borrow()
    }

    fn boot_id(&self) -> Option<String> {
        Some("boot".to_owned())
    }

    async fn sleep_until(&self, boot_millis: u64) {
        if boot_millis.saturating_sub(self.boot_millis()) <= SHORT_MILLIS {
            self.0.send_modify(|now| *now = (*now).max(boot_millis));
            return;
        }
        let mut now = self.0.subscribe();
        drop(now.wait_for(|now| *now >= boot_millis).await);
    }
}

/// A server that also wants its requests pushed.
pub(crate) fn with_par(server: TestServerBuilder) -> TestServerBuilder {
    server.par(Par::Offered)
}
