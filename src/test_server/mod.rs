//! A strict OAuth 2.0 and OpenID Connect authorization server in the process of your tests.
//!
//! [`TestServer`] listens on a loopback port, and behaves as the standards demand of a server for native
//! apps: PKCE with S256, exact redirects, codes and rotated refresh tokens that can be used once and take
//! their grant along when used twice, signed ID tokens, `iss` on every answer to the app. What it does not
//! forgive would fail in production too. [`TestBrowser`] plays the browser and the user;
//! [`TestServer::requests`] tells what the app has sent; an injected [`Clock`] makes time travel.
//!
//! It knows one client, [`client_id`](TestServer::client_id), with these redirect URIs:
//! `http://127.0.0.1/callback` and `http://[::1]/callback` with any port, `https://app.example.com/callback`,
//! `com.example.app:/callback`; after sign-out also the same with `/signed-out`.
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

mod authorize;
mod browser;
mod clock;
mod grants;
mod http;
mod keys;
mod login_page;
mod metadata;
mod params;
mod recorder;
mod registration;
mod resource;
mod revocation;
mod sign_out;
mod token;

#[cfg(test)]
mod tests;

pub use browser::{TestBrowser, TestBrowserError};
pub use clock::TestClock;
pub use grants::Rotation;
pub use keys::SigningAlgorithm;
pub use recorder::RecordedRequest;
pub use registration::TestUser;

use crate::adapters::system_clock::SystemClock;
use crate::ports::Clock;
use grants::{Grants, Lifetimes};
use keys::KeyRing;
use recorder::Recorder;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// A running authorization server with a protected API.
///
/// Clones are handles to the same server. It stops, and its port is free again, when the last is dropped.
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
        TestServerBuilder {
            port: 0,
            clock: Arc::new(SystemClock),
            rotation: Rotation::Strict,
            algorithm: SigningAlgorithm::default(),
            lifetimes: Lifetimes {
                access_token: Duration::from_secs(300),
                refresh_token: Duration::from_secs(30 * 24 * 3600),
                code: Duration::from_secs(60),
            },
        }
    }

    /// The issuer identifier: `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn issuer(&self) -> &str {
        &self.running.state.issuer
    }

    /// The registered client: public, native, with the authentication method `none`.
    pub fn client_id(&self) -> &str {
        registration::CLIENT_ID
    }

    /// A protected API: `GET` with an access token whose scope has `profile` answers with who is signed in.
    pub fn api_url(&self) -> String {
        format!("{}{}", self.issuer(), resource::API_PATH)
    }

    /// The people who can sign in: alice and bob.
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

    /// Signs with a new key from now on. The former keys stay published, and what they signed stays good.
    pub fn rotate_keys(&self) {
        self.running.state.keys().rotate();
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

/// What a [`TestServer`] starts with.
///
/// ```
/// use gatepass::test_server::{Rotation, SigningAlgorithm, TestServer};
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// let server = TestServer::builder()
///     .rotation(Rotation::Grace(Duration::from_secs(30)))
///     .access_token_lifetime(Duration::from_secs(60))
///     .signing_algorithm(SigningAlgorithm::Es256)
///     .start()?;
/// assert!(server.issuer().starts_with("http://127.0.0.1:"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "a builder does nothing until it is started"]
pub struct TestServerBuilder {
    port: u16,
    clock: Arc<dyn Clock>,
    rotation: Rotation,
    algorithm: SigningAlgorithm,
    lifetimes: Lifetimes,
}

impl TestServerBuilder {
    /// The port on 127.0.0.1. Default: 0, the system chooses.
    pub fn port(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// The clock that dates and ends everything. Default: this machine's.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// What becomes of used refresh tokens. Default: [`Rotation::Strict`].
    pub fn rotation(self, rotation: Rotation) -> Self {
        Self { rotation, ..self }
    }

    /// How long an access token is good for. Default: five minutes.
    pub fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetimes.access_token = lifetime;
        self
    }

    /// How long a refresh token is good for unless used. Default: thirty days.
    pub fn refresh_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetimes.refresh_token = lifetime;
        self
    }

    /// How long a code is good for. Default: one minute.
    pub fn code_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetimes.code = lifetime;
        self
    }

    /// How ID tokens are signed. Default: RS256.
    pub fn signing_algorithm(self, algorithm: SigningAlgorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// Starts the server on a thread of its own; it answers from when this returns.
    ///
    /// # Errors
    /// When the port is taken, or the system gives no thread.
    pub fn start(self) -> io::Result<TestServer> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        listener.set_nonblocking(true)?;
        let host = format!("127.0.0.1:{}", listener.local_addr()?.port());
        let state = Arc::new(State {
            issuer: format!("http://{host}"),
            clock: self.clock,
            users: registration::users(),
            access_token_lifetime: self.lifetimes.access_token,
            grants: Mutex::new(Grants::new(self.lifetimes, self.rotation)),
            keys: Mutex::new(KeyRing::new(self.algorithm)),
            recorder: Recorder::new(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let handle = runtime.handle().clone();
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let served = Arc::clone(&state);
        let thread = std::thread::Builder::new()
            .name("gatepass-test-server".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = http::serve(listener, served) => {}
                        _ = stopped => {}
                    }
                });
            })?;
        let running = Running {
            state,
            runtime: handle,
            stop: Some(stop),
            thread: Some(thread),
        };
        Ok(TestServer {
            running: Arc::new(running),
        })
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
    users: Vec<TestUser>,
    access_token_lifetime: Duration,
    grants: Mutex<Grants>,
    keys: Mutex<KeyRing>,
    recorder: Recorder,
}

impl State {
    fn now(&self) -> i64 {
        self.clock.unix_millis()
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

    fn access_token_lifetime(&self) -> Duration {
        self.access_token_lifetime
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keys(&self) -> MutexGuard<'_, KeyRing> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The subject of an ID token this server issued to its client, expired or not.
    fn subject_of_hint(&self, id_token: &str) -> Option<String> {
        let claims = self.keys().verify(id_token)?;
        let is = |name: &str, value: &str| claims.get(name).and_then(|claim| claim.as_str()) == Some(value);
        if !is("iss", &self.issuer) || !is("aud", registration::CLIENT_ID) {
            return None;
        }
        Some(claims.get("sub")?.as_str()?.to_owned())
    }
}
