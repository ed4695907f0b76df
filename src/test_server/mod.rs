//! A strict OAuth 2.0 and OpenID Connect authorization server in the process of your tests.
//!
//! [`TestServer`] listens on a loopback port, and behaves as the standards demand of a server for native
//! apps: PKCE with S256, exact redirects, codes and rotated refresh tokens that can be used once and take
//! their grant along when used twice, signed ID tokens, `iss` on every answer to the app. What it does not
//! forgive would fail in production too. [`TestBrowser`] plays the browser and the user;
//! [`TestServer::requests`] tells what the app has sent; an injected [`Clock`] makes time travel.
//!
//! | to test | use |
//! |---|---|
//! | lost, late, held, broken and foreign answers | [`fault`](TestServer::fault), [`Gate`], [`CannedAnswer`] |
//! | breaches of the standards | [`misbehave`](TestServer::misbehave), [`Mistake`] |
//! | expiry, a year in a moment, clocks that disagree | [`TestClock`], [`ClockOffset`] |
//! | rotation of refresh tokens, and of keys | [`Rotation`], [`rotate_keys`](TestServer::rotate_keys) |
//! | pushed authorization requests | [`Par`] |
//! | several APIs, audiences and scopes | [`TestApi`] |
//! | other clients, several accounts | [`TestClient`], [`TestUser`] |
//!
//! [`guide::testing`](crate::guide::testing) has an example of each.
//!
//! Its first client is [`client_id`](TestServer::client_id), with these redirect URIs:
//! `http://127.0.0.1/callback` and `http://[::1]/callback` with any port, `https://app.example.com/callback`,
//! `com.example.app:/callback`; after sign-out also the same with `/signed-out`. The builder can register more.
//!
//! ```
//! use gatepass::test_server::TestServer;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = TestServer::start()?;
//! let alice = &server.users()[0];
//!
//! // The app under test makes this URL (challenge and verifier are those of RFC 7636 appendix B).
//! let url = format!(
//!     "{}/authorize?response_type=code&client_id={}&redirect_uri=com.example.app:/callback&scope=openid\
//!      &state=af0ifjsldkj&code_challenge_method=S256\
//!      &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
//!     server.issuer(),
//!     server.client_id(),
//! );
//! let redirect = server.browser().sign_in(&url, alice).await?;
//!
//! assert!(redirect.starts_with("com.example.app:/callback?code="));
//! assert_eq!(server.requests()[0].query_value("scope"), Some("openid"));
//! # Ok(())
//! # }
//! ```
//!
//! Never ship it in an app.

mod apis;
mod authorize;
mod browser;
mod builder;
mod canned;
mod clock;
mod faults;
mod grants;
mod http;
mod keys;
mod login_page;
mod metadata;
mod mistakes;
mod par;
mod params;
mod payload;
mod recorder;
mod registration;
mod resource;
mod revocation;
mod sign_out;
mod token;

#[cfg(test)]
mod tests;

pub use apis::TestApi;
pub use browser::{TestBrowser, TestBrowserError};
pub use builder::TestServerBuilder;
pub use canned::CannedAnswer;
pub use clock::{ClockOffset, TestClock};
pub use faults::{Endpoint, FaultError, FaultPlan, FaultPoint, Gate, PlannedFault};
pub use grants::Rotation;
pub use keys::SigningAlgorithm;
pub use mistakes::Mistake;
pub use par::Par;
pub use recorder::RecordedRequest;
pub use registration::{TestClient, TestUser};
pub use resource::UserinfoFormat;

use crate::ports::Clock;
use apis::Apis;
use faults::Faults;
use grants::Grants;
use keys::KeyRing;
use mistakes::Mistakes;
use recorder::Recorder;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A running authorization server with protected APIs.
///
/// Clones are handles to the same server. It stops, and its port is free again, when the last is dropped.
///
/// ```
/// use gatepass::test_server::TestServer;
///
/// # fn main() -> std::io::Result<()> {
/// let server = TestServer::start()?;
/// // What an app is configured with.
/// assert!(server.issuer().starts_with("http://127.0.0.1:"));
/// assert_eq!(server.client_id(), "gatepass-test");
/// // Who can sign in, and what they can reach.
/// assert_eq!(server.users()[0].username(), "alice");
/// assert!(server.api_url().ends_with("/api/me"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TestServer {
    running: Arc<Running>,
}

impl fmt::Debug for TestServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestServer")
            .field("issuer", &self.running.state.issuer)
            .finish_non_exhaustive()
    }
}

impl TestServer {
    /// Starts a server with the defaults of [`TestServerBuilder`] on a port the system chooses.
    ///
    /// # Errors
    /// When the system gives no port or no thread.
    pub fn start() -> io::Result<TestServer> {
        TestServer::builder().start()
    }

    /// Prepares a server that differs from the defaults.
    pub fn builder() -> TestServerBuilder {
        TestServerBuilder::new()
    }

    /// The issuer identifier: `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn issuer(&self) -> &str {
        &self.running.state.issuer
    }

    /// The first registered client: public, native, with the authentication method `none`.
    pub fn client_id(&self) -> &str {
        let first = self.running.state.clients.first();
        first.map(TestClient::client_id).unwrap_or_default()
    }

    /// A protected API: `GET` with an access token for the issuer whose scope has `profile` answers with who is signed
    /// in. A token request that names no `resource` gets such a token.
    pub fn api_url(&self) -> String {
        self.url_of_api(apis::ME)
    }

    /// The URL of a protected API by its name. There are `me`, which is [`api_url`](TestServer::api_url), and `other`,
    /// which needs a token for the resource that is this URL; [`TestServerBuilder::api`] adds more.
    pub fn url_of_api(&self, name: &str) -> String {
        format!("{}{}", self.issuer(), apis::path(name))
    }

    /// Adds a protected API, or changes what tokens need at one that is there.
    ///
    /// # Errors
    /// `InvalidInput` when its audience or scope is not well-formed.
    pub fn protect(&self, api: TestApi) -> io::Result<()> {
        self.running.state.apis().protect(api)
    }

    /// The people who can sign in: alice, bob, and those the builder was given.
    pub fn users(&self) -> &[TestUser] {
        &self.running.state.users
    }

    /// Every request read whole so far, in order of arrival, those of [`TestBrowser`] included. The last
    /// fifty thousand are kept.
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.running.state.recorder.requests()
    }

    /// A fresh browser in which nobody is signed in yet.
    pub fn browser(&self) -> TestBrowser {
        TestBrowser::new(self.running.runtime.clone(), self.issuer())
    }

    /// Plans a fault: say where, which requests, and what happens to them. It is in force when this returns.
    ///
    /// ```
    /// use gatepass::test_server::{Endpoint, TestServer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let server = TestServer::start()?;
    /// let lost = server.fault(Endpoint::Token).nth(2).drop_after_processing()?;
    /// // … the app signs in, which is the first token request, and refreshes, which is the second …
    /// # assert_eq!(lost.fired(), 0);
    /// lost.lift();
    /// # Ok(())
    /// # }
    /// ```
    pub fn fault(&self, endpoint: Endpoint) -> FaultPoint {
        FaultPoint::new(Arc::clone(&self.running.state), endpoint)
    }

    /// Takes back every fault there is; what is held goes on.
    pub fn lift_faults(&self) {
        self.running.state.faults.lift_all();
    }

    /// Makes a mistake wherever it can be made, until [`behave`](TestServer::behave) is called. Several can be on.
    ///
    /// ```
    /// use gatepass::test_server::{Mistake, TestServer};
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let server = TestServer::start()?;
    /// server.misbehave(Mistake::NonceWrong);
    /// // … the app signs in, and must refuse the ID token …
    /// # assert_eq!(server.times_made(Mistake::NonceWrong), 0);
    /// server.behave();
    /// # Ok(())
    /// # }
    /// ```
    pub fn misbehave(&self, mistake: Mistake) {
        self.running.state.mistakes.switch(mistake, true);
    }

    /// Stops making this mistake; others stay on.
    pub fn stop_making(&self, mistake: Mistake) {
        self.running.state.mistakes.switch(mistake, false);
    }

    /// Makes no mistakes from now on.
    pub fn behave(&self) {
        self.running.state.mistakes.switch_all_off();
    }

    /// How often a mistake was made, so that a test can prove that the app has met it.
    pub fn times_made(&self, mistake: Mistake) -> u64 {
        self.running.state.mistakes.times(mistake)
    }

    /// Sets how far this server's clock is from the one it was given: its `Date`, `iat`, `exp` and `auth_time`, and when it
    /// takes something for expired.
    pub fn set_clock_offset(&self, offset: ClockOffset) {
        self.running.state.offset.store(offset.millis(), Ordering::SeqCst);
    }

    /// Changes the form of UserInfo.
    pub fn set_userinfo_format(&self, format: UserinfoFormat) {
        let signed = format == UserinfoFormat::SignedJwt;
        self.running
            .state
            .userinfo_is_signed
            .store(signed, Ordering::SeqCst);
    }

    /// Signs with a new key from now on. The former keys stay published, and what they signed stays good.
    pub fn rotate_keys(&self) {
        self.running.state.keys().rotate();
    }

    /// Lets the JWK Set lag behind: keys that come from now on are not in it until
    /// [`publish_keys`](TestServer::publish_keys).
    pub fn freeze_jwk_set(&self) {
        self.running.state.keys().freeze();
    }

    /// Publishes every key that was held back.
    pub fn publish_keys(&self) {
        self.running.state.keys().publish();
    }

    /// Takes all keys but the newest published one out of the JWK Set.
    pub fn retire_former_keys(&self) {
        self.running.state.keys().retire_former();
    }

    /// Revokes every code, token and browser session there is, as an administrator can.
    pub fn revoke_everything(&self) {
        self.running.state.grants().revoke_everything();
    }

    /// Makes every access token issued so far worthless, before its time and without telling anybody, as servers do
    /// when a user changes a password. Refresh tokens live on.
    pub fn revoke_access_tokens(&self) {
        self.running.state.grants().revoke_access_tokens();
    }

    /// Changes what becomes of refresh tokens that have been used.
    pub fn set_rotation(&self, rotation: Rotation) {
        self.running.state.grants().set_rotation(rotation);
    }
}

/// What the handles share; dropping it stops the server.
struct Running {
    state: Arc<State>,
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            // A handle may die on the server's own thread, for instance inside an injected clock.
            && thread.thread().id() != std::thread::current().id()
        {
            // Waiting makes sure that the port is free afterwards; a server that panicked is stopped too.
            let _ = thread.join();
        }
    }
}

/// What one server knows; the parts of the protocol read and change it.
struct State {
    issuer: String,
    clock: Arc<dyn Clock>,
    clients: Vec<TestClient>,
    users: Vec<TestUser>,
    par: Par,
    apis: Mutex<Apis>,
    grants: Mutex<Grants>,
    keys: Mutex<KeyRing>,
    recorder: Recorder,
    faults: Faults,
    mistakes: Mistakes,
    userinfo_is_signed: AtomicBool,
    /// Milliseconds that this server is ahead of its clock.
    offset: AtomicI64,
}

impl State {
    fn now(&self) -> i64 {
        self.clock
            .unix_millis()
            .saturating_add(self.offset.load(Ordering::SeqCst))
    }

    fn userinfo_format(&self) -> UserinfoFormat {
        if self.userinfo_is_signed.load(Ordering::SeqCst) {
            UserinfoFormat::SignedJwt
        } else {
            UserinfoFormat::Json
        }
    }

    /// The only `Host` this server answers to.
    fn host(&self) -> &str {
        self.issuer.strip_prefix("http://").unwrap_or_default()
    }

    /// Named after the port, as cookies are shared by all servers on one address (RFC 6265 §8.5).
    fn cookie_name(&self) -> String {
        format!(
            "gatepass_test_{}",
            self.host().rsplit(':').next().unwrap_or_default()
        )
    }

    fn client(&self, client_id: &str) -> Option<&TestClient> {
        self.clients.iter().find(|client| client.client_id() == client_id)
    }

    fn apis(&self) -> MutexGuard<'_, Apis> {
        self.apis.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> MutexGuard<'_, KeyRing> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What an ID token of this server says, expired or not.
    fn hint(&self, id_token: &str) -> Option<Hint<'_>> {
        let claims = self.keys().verify(id_token)?;
        let claim = |name: &str| claims.get(name).and_then(|claim| claim.as_str());
        if claim("iss")? != self.issuer {
            return None;
        }
        Some(Hint {
            subject: claim("sub")?.to_owned(),
            client: self.client(claim("aud")?)?,
        })
    }
}

/// Whom an `id_token_hint` is about, and which client has it.
struct Hint<'a> {
    subject: String,
    client: &'a TestClient,
}
