//! What a test server starts with, and its start.

use super::apis::{Apis, TestApi};
use super::clock::ClockOffset;
use super::faults::Faults;
use super::grants::{Grants, Lifetimes, Rotation};
use super::keys::{KeyRing, SigningAlgorithm};
use super::mistakes::Mistakes;
use super::par::Par;
use super::recorder::Recorder;
use super::registration::{self, TestClient, TestUser};
use super::resource::UserinfoFormat;
use super::{Running, State, TestServer, http};
use crate::adapters::system_clock::SystemClock;
use crate::ports::Clock;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

/// What a [`TestServer`] starts with.
///
/// ```
/// use gatepass::test_server::{Rotation, SigningAlgorithm, TestServer};
/// use std::time::Duration;
///
/// # fn main() -> std::io::Result<()> {
/// let server = TestServer::builder()
///     .client_id("our-app")
///     .redirect_uri("com.example.ours:/callback")
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
    par: Par,
    userinfo: UserinfoFormat,
    offset: ClockOffset,
    first_client: TestClient,
    other_clients: Vec<TestClient>,
    users: Vec<TestUser>,
    apis: Vec<TestApi>,
}

impl TestServerBuilder {
    pub(super) fn new() -> Self {
        Self {
            port: 0,
            clock: Arc::new(SystemClock),
            rotation: Rotation::Strict,
            algorithm: SigningAlgorithm::default(),
            lifetimes: Lifetimes {
                access_token: Duration::from_secs(300),
                refresh_token: Duration::from_secs(30 * 24 * 3600),
                code: Duration::from_secs(60),
                pushed_request: Duration::from_secs(60),
            },
            par: Par::Off,
            userinfo: UserinfoFormat::Json,
            offset: ClockOffset::None,
            first_client: TestClient::first(),
            other_clients: Vec::new(),
            users: registration::users(),
            apis: Vec::new(),
        }
    }

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

    /// How long a pushed authorization request waits for its browser (RFC 9126 §2.2). Default: one minute. Whole seconds,
    /// at least one, because that is how `expires_in` tells it.
    pub fn pushed_request_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetimes.pushed_request = lifetime;
        self
    }

    /// How ID tokens are signed. Default: RS256.
    pub fn signing_algorithm(self, algorithm: SigningAlgorithm) -> Self {
        Self { algorithm, ..self }
    }

    /// Whether authorization requests may or must be pushed (RFC 9126). Default: [`Par::Off`].
    pub fn par(self, par: Par) -> Self {
        Self { par, ..self }
    }

    /// In which form UserInfo answers. Default: [`UserinfoFormat::Json`].
    pub fn userinfo(self, userinfo: UserinfoFormat) -> Self {
        Self { userinfo, ..self }
    }

    /// How far this server's clock is from the one it is given. Default: not at all.
    pub fn clock_offset(self, offset: ClockOffset) -> Self {
        Self { offset, ..self }
    }

    /// The id of the first client. Default: `gatepass-test`.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.first_client = self.first_client.with_client_id(client_id.into());
        self
    }

    /// Registers a redirect URI for the first client, besides those it has (see the [module](super)).
    pub fn redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.first_client = self.first_client.redirect_uri(uri);
        self
    }

    /// Registers where the first client may send the user after sign-out, besides its redirect URIs.
    pub fn post_logout_redirect_uri(mut self, uri: impl Into<String>) -> Self {
        self.first_client = self.first_client.post_logout_redirect_uri(uri);
        self
    }

    /// Registers another client. Codes and tokens of one are worth nothing to another.
    pub fn client(mut self, client: TestClient) -> Self {
        self.other_clients.push(client);
        self
    }

    /// Someone else who can sign in, besides alice and bob.
    pub fn user(mut self, user: TestUser) -> Self {
        self.users.push(user);
        self
    }

    /// Another protected API, besides `me` and `other`; one of the same name takes its place.
    pub fn api(mut self, api: TestApi) -> Self {
        self.apis.push(api);
        self
    }

    /// Starts the server on a thread of its own; it answers from when this returns.
    ///
    /// # Errors
    /// `InvalidInput` when a client, a user, an API or a lifetime could not be registered at a real server; the system's
    /// error when the port is taken, or there is no thread.
    pub fn start(self) -> io::Result<TestServer> {
        let clients: Vec<TestClient> = std::iter::once(self.first_client)
            .chain(self.other_clients)
            .collect();
        registration::check_clients(&clients)?;
        registration::check_users(&self.users)?;
        if self.lifetimes.pushed_request < Duration::from_secs(1) {
            return Err(registration::invalid("a pushed request lives a second at least"));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port))?;
        listener.set_nonblocking(true)?;
        let issuer = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
        let state = Arc::new(State {
            clock: self.clock,
            clients,
            users: self.users,
            par: self.par,
            apis: Mutex::new(Apis::new(&issuer, self.apis)?),
            grants: Mutex::new(Grants::new(self.lifetimes, self.rotation)),
            keys: Mutex::new(KeyRing::new(self.algorithm)),
            recorder: Recorder::new(),
            faults: Faults::default(),
            mistakes: Mistakes::default(),
            userinfo_is_signed: AtomicBool::new(self.userinfo == UserinfoFormat::SignedJwt),
            offset: AtomicI64::new(self.offset.millis()),
            issuer,
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
