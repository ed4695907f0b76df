//! The test server for tests in Kotlin and Swift: one process is the whole world.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use crate::ports::Clock;
use crate::sync::lock;
use crate::test_server::{
    CannedAnswer, Endpoint, Gate, Mistake, TestBrowser, TestClock, TestServer, TestServerBuilder,
};

/// A strict authorization server with a protected API on a loopback port. It stops when it is released.
#[derive(uniffi::Object)]
pub(crate) struct FfiTestServer {
    server: TestServer,
    browser: TestBrowser,
    clock: Option<Arc<TestClock>>,
}

/// The clocks of servers in virtual time, by issuer: clients of theirs live in the same time.
fn clocks() -> &'static Mutex<HashMap<String, Arc<TestClock>>> {
    static CLOCKS: OnceLock<Mutex<HashMap<String, Arc<TestClock>>>> = OnceLock::new();
    CLOCKS.get_or_init(Mutex::default)
}

/// The clock of the server in virtual time that has this issuer, if there is one.
pub(super) fn clock_of(issuer: &str) -> Option<Arc<dyn Clock>> {
    let clock = lock(clocks()).get(issuer).cloned();
    clock.map(|clock| clock as Arc<dyn Clock>)
}

impl Drop for FfiTestServer {
    fn drop(&mut self) {
        if self.clock.is_some() {
            lock(clocks()).remove(self.server.issuer());
        }
    }
}

impl FfiTestServer {
    fn of(builder: TestServerBuilder, clock: Option<Arc<TestClock>>) -> Result<Self, FfiTestServerError> {
        let server = builder.start().map_err(failed)?;
        if let Some(clock) = &clock {
            lock(clocks()).insert(server.issuer().to_owned(), Arc::clone(clock));
        }
        Ok(Self {
            browser: server.browser(),
            server,
            clock,
        })
    }
}

/// Requests that the server holds back.
#[derive(uniffi::Object)]
pub(crate) struct FfiTestGate(Gate);

#[uniffi::export]
impl FfiTestGate {
    /// Waits until so many have arrived.
    pub(crate) async fn arrived(&self, count: u64) {
        self.0.arrived(count).await;
    }

    /// Lets them all go on.
    pub(crate) fn release(&self) {
        self.0.release();
    }
}

/// The server did not start, or its browser did not get to where it was sent.
#[derive(Clone, Debug, uniffi::Error)]
pub(crate) enum FfiTestServerError {
    /// Why.
    Failed {
        /// A text for people.
        reason: String,
    },
}

#[uniffi::export]
impl FfiTestServer {
    /// Starts a server on a port the system chooses.
    #[uniffi::constructor]
    pub(crate) fn start() -> Result<Self, FfiTestServerError> {
        Self::of(TestServer::builder(), None)
    }

    /// Starts a server in a time of its own, which passes when `advance` says so; clients that are made for it while it
    /// runs live in the same time.
    #[uniffi::constructor]
    pub(crate) fn start_in_virtual_time() -> Result<Self, FfiTestServerError> {
        let clock = Arc::new(TestClock::hurried());
        Self::of(TestServer::builder().clock(clock.clone()), Some(clock))
    }

    /// Lets time pass, where it is virtual.
    pub(crate) fn advance(&self, millis: u64) {
        if let Some(clock) = &self.clock {
            clock.advance(Duration::from_millis(millis));
        }
    }

    /// The wall clock, where time is virtual.
    pub(crate) fn unix_millis(&self) -> Option<i64> {
        self.clock.as_ref().map(|clock| clock.unix_millis())
    }

    /// The clock that counts from the start of the machine, where time is virtual.
    pub(crate) fn boot_millis(&self) -> Option<u64> {
        self.clock.as_ref().map(|clock| clock.boot_millis())
    }

    /// Holds the next request to the token endpoint back before it is processed.
    pub(crate) fn hold_token_request(&self) -> Result<Arc<FfiTestGate>, FfiTestServerError> {
        let gate = self
            .server
            .fault(Endpoint::Token)
            .next(1)
            .hold()
            .map_err(failed)?;
        Ok(Arc::new(FfiTestGate(gate)))
    }

    /// Answers the next request to an endpoint (`token`, `revocation`, `metadata`, `jwks`, `userinfo`, `api`, `par`) with
    /// an OAuth error.
    pub(crate) fn refuse_next(
        &self,
        endpoint: String,
        status: u16,
        error: String,
    ) -> Result<(), FfiTestServerError> {
        self.answer_next(&endpoint, CannedAnswer::oauth_error(status, &error))
    }

    /// Answers the next request to an endpoint with 429 and `Retry-After`.
    pub(crate) fn rate_limit_next(&self, endpoint: String, seconds: u64) -> Result<(), FfiTestServerError> {
        let answer = CannedAnswer::status(429).retry_after(Duration::from_secs(seconds));
        self.answer_next(&endpoint, answer)
    }

    /// Processes the next request to the token endpoint, and loses the answer.
    pub(crate) fn lose_next_token_answer(&self) -> Result<(), FfiTestServerError> {
        let planned = self.server.fault(Endpoint::Token).next(1).drop_after_processing();
        planned.map(drop).map_err(failed)
    }

    /// From now on the metadata offers no S256.
    pub(crate) fn stop_offering_s256(&self) {
        self.server.misbehave(Mistake::S256NotOffered);
    }

    /// Revokes the access tokens, and nothing else.
    pub(crate) fn revoke_access_tokens(&self) {
        self.server.revoke_access_tokens();
    }

    /// Plays the browser and a user who declines; returns the redirect, which is not visited.
    pub(crate) async fn browser_deny(&self, authorization_url: String) -> Result<String, FfiTestServerError> {
        self.browser.deny(&authorization_url).await.map_err(failed)
    }

    /// Plays the browser at the end-session endpoint; returns where it is sent, if anywhere.
    pub(crate) async fn browser_sign_out(&self, url: String) -> Result<Option<String>, FfiTestServerError> {
        self.browser.sign_out(&url).await.map_err(failed)
    }

    /// Visits a loopback redirect; returns the status.
    pub(crate) async fn browser_deliver(&self, redirect_url: String) -> Result<u16, FfiTestServerError> {
        self.browser.deliver(&redirect_url).await.map_err(failed)
    }

    /// Plays another browser and a test user by number; returns the redirect, which is not visited.
    pub(crate) async fn sign_in_as(
        &self,
        user: u32,
        authorization_url: String,
    ) -> Result<String, FfiTestServerError> {
        let user = self.server.users().get(user as usize).cloned();
        let user = user.ok_or_else(|| failed("the server has no such user"))?;
        let browser = self.server.browser();
        browser.sign_in(&authorization_url, &user).await.map_err(failed)
    }

    /// A protected API by its name, such as `other`, which wants a token for the resource that is its URL.
    pub(crate) fn url_of_api(&self, name: String) -> String {
        self.server.url_of_api(&name)
    }

    /// The issuer.
    pub(crate) fn issuer(&self) -> String {
        self.server.issuer().to_owned()
    }

    /// The registered client.
    pub(crate) fn client_id(&self) -> String {
        self.server.client_id().to_owned()
    }

    /// A protected API: `GET` with an access token.
    pub(crate) fn api_url(&self) -> String {
        self.server.api_url()
    }

    /// Plays the browser and the first test user; returns the redirect, which is not visited.
    pub(crate) async fn browser_sign_in(
        &self,
        authorization_url: String,
    ) -> Result<String, FfiTestServerError> {
        let user = self.server.users().first().cloned();
        let user = user.ok_or_else(|| failed("the server has no users"))?;
        self.browser
            .sign_in(&authorization_url, &user)
            .await
            .map_err(failed)
    }

    /// How many requests for this path the server has seen.
    pub(crate) fn request_count(&self, path: String) -> u64 {
        self.server
            .requests()
            .iter()
            .filter(|request| request.path() == path)
            .fold(0, |count, _| count + 1)
    }

    /// Revokes every code, token and browser session there is.
    pub(crate) fn revoke_everything(&self) {
        self.server.revoke_everything();
    }
}

impl FfiTestServer {
    fn answer_next(&self, endpoint: &str, answer: CannedAnswer) -> Result<(), FfiTestServerError> {
        let endpoint = match endpoint {
            "token" => Endpoint::Token,
            "metadata" => Endpoint::Metadata,
            "jwks" => Endpoint::JwkSet,
            "userinfo" => Endpoint::Userinfo,
            "revocation" => Endpoint::Revocation,
            other => return Err(failed(format!("no endpoint {other}"))),
        };
        let planned = self.server.fault(endpoint).next(1).answer(answer);
        planned.map(drop).map_err(failed)
    }
}

fn failed(why: impl fmt::Display) -> FfiTestServerError {
    FfiTestServerError::Failed {
        reason: why.to_string(),
    }
}

impl fmt::Display for FfiTestServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Failed { reason } = self;
        f.write_str(reason)
    }
}

impl std::error::Error for FfiTestServerError {}
