//! A client and the test server it signs in at, sharing one clock and one storage.

// Test code outside a #[test] function, which clippy's own exception does not see.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
#![allow(dead_code, reason = "each test program uses what it needs")]

pub(crate) mod reached;

use std::sync::Arc;

use async_trait::async_trait;
use gatepass::test_server::{RecordedRequest, TestClock, TestServer, TestServerBuilder};
use gatepass::{
    AllowHttpOnLoopback, Client, ClientBuilder, Clock, MemoryStorage, Result, SecureStorage as _, Session,
    SignInOptions, UserAgent, UserAgentFailure, UserAgentRequest, UserAgentReturn,
};
use tokio::sync::watch;

pub(crate) struct TestBed {
    pub(crate) server: TestServer,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) storage: Arc<MemoryStorage>,
    issuer: String,
}

impl TestBed {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(adjust: impl FnOnce(TestServerBuilder) -> TestServerBuilder) -> Self {
        let clock = Arc::new(TestClock::hurried());
        let server = adjust(TestServer::builder().clock(clock.clone()))
            .start()
            .unwrap();
        let issuer = server.issuer().to_owned();
        Self {
            server,
            clock,
            storage: Arc::new(MemoryStorage::default()),
            issuer,
        }
    }

    /// A client as one start of the app makes it. All of them share the storage.
    pub(crate) fn client(&self) -> Client {
        self.client_with(|builder| builder)
    }

    pub(crate) fn client_with(&self, adjust: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
        let builder = Client::builder(&self.issuer, "gatepass-test")
            .scopes(["openid", "profile", "email", "offline_access"])
            .api(&self.issuer)
            .allow_http_on_loopback(AllowHttpOnLoopback)
            .clock(self.clock.clone())
            .storage(self.storage.clone());
        adjust(builder).build().unwrap()
    }

    /// A client that calls no API unless `adjust` names one.
    pub(crate) fn client_without_api(&self, adjust: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
        let builder = Client::builder(&self.issuer, "gatepass-test")
            .scopes(["openid", "profile", "email", "offline_access"])
            .allow_http_on_loopback(AllowHttpOnLoopback)
            .clock(self.clock.clone())
            .storage(self.storage.clone());
        adjust(builder).build().unwrap()
    }

    /// A client at another server, over the same storage.
    pub(crate) fn client_of(&self, server: &TestServer) -> Client {
        Client::builder(server.issuer(), server.client_id())
            .scopes(["openid", "profile", "offline_access"])
            .allow_http_on_loopback(AllowHttpOnLoopback)
            .storage(self.storage.clone())
            .build()
            .unwrap()
    }

    /// All that is in storage, as text.
    pub(crate) fn everything_stored(&self) -> String {
        let keys = self.storage.list("").unwrap();
        let texts = keys.iter().filter_map(|key| {
            let stored = self.storage.load(key).unwrap()?;
            Some(format!("{key:?}: {}\n", String::from_utf8_lossy(&stored.bytes)))
        });
        texts.collect()
    }

    /// What was known of the server is gone from storage.
    pub(crate) fn forget_keys(&self) {
        for key in self.storage.list("server.").unwrap() {
            let generation = self.storage.load(&key).unwrap().unwrap().generation;
            self.storage.remove(&key, generation).unwrap();
        }
    }

    pub(crate) fn key_requests(&self) -> usize {
        paths(&self.server).iter().filter(|path| *path == "/jwks").count()
    }

    pub(crate) fn now_unix_millis(&self) -> i64 {
        self.clock.unix_millis()
    }

    /// Signs the first test user in, through the loopback redirect.
    pub(crate) async fn sign_in(&self, client: &Client) -> Result<Session> {
        let pending = client.begin_sign_in(SignInOptions::default()).await?;
        let redirect = self.browser_sign_in(pending.authorization_url()).await;
        let status = self.server.browser().deliver(&redirect).await.unwrap();
        assert_eq!(status, 200);
        pending.wait().await
    }

    /// What a browser does with the authorization URL; the redirect is not visited.
    pub(crate) async fn browser_sign_in(&self, url: &str) -> String {
        self.server
            .browser()
            .sign_in(url, &self.server.users()[0])
            .await
            .unwrap()
    }

    /// The key set is fetched while the user is busy in the browser; this waits until it is in storage.
    pub(crate) async fn keys_are_stored(&self) {
        until(|| {
            let keys = self.storage.list("server.").unwrap();
            let stored = keys.first().and_then(|key| self.storage.load(key).unwrap());
            stored.is_some_and(|stored| String::from_utf8_lossy(&stored.bytes).contains("\"keys\":{"))
        })
        .await;
    }

    /// Stops the server; its port answers no more. Another takes its place in the test bed, unused.
    pub(crate) fn stop_server(&mut self) {
        self.server = TestServer::start().unwrap();
    }
}

pub(crate) fn paths(server: &TestServer) -> Vec<String> {
    server
        .requests()
        .iter()
        .map(|request| request.path().to_owned())
        .collect()
}

pub(crate) fn token_requests(server: &TestServer) -> Vec<RecordedRequest> {
    server
        .requests()
        .into_iter()
        .filter(|request| request.path() == "/token")
        .collect()
}

/// The state in a redirect, as it stands there.
pub(crate) fn state_in(redirect: &str) -> &str {
    let (_, after) = redirect.split_once("state=").unwrap();
    after.split('&').next().unwrap()
}

/// Waits for something that another thread brings about.
pub(crate) async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::task::yield_now().await;
    }
}

/// A browser that opens and then does nothing.
#[derive(Debug)]
pub(crate) struct IdleBrowser(watch::Sender<Option<String>>);

impl Default for IdleBrowser {
    fn default() -> Self {
        Self(watch::Sender::new(None))
    }
}

impl IdleBrowser {
    /// The URL it was opened with.
    pub(crate) async fn opened(&self) -> String {
        self.0
            .subscribe()
            .wait_for(Option::is_some)
            .await
            .unwrap()
            .clone()
            .unwrap()
    }
}

#[async_trait]
impl UserAgent for IdleBrowser {
    async fn open(&self, request: UserAgentRequest) -> Result<UserAgentReturn, UserAgentFailure> {
        self.0.send_replace(Some(request.authorization_url));
        Ok(UserAgentReturn::Opened)
    }
}
