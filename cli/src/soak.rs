//! What `cargo xtask soak` needs of the program, and nobody else: compiled with the feature `soak` only, which no program
//! that is shipped has.
//!
//! - A clock that many processes share: the machine's, set forward by as many milliseconds as the file says that
//!   `GATEPASS_SOAK_CLOCK` names. Whoever could set it in a shipped program could bring expired tokens back to life.
//! - `soak-server`: the test server, which tells what it was sent.
//! - `soak-session`: a process that lives on with a session, as an app does, where `token` ends with its answer.
//!
//! Both read commands from standard input, a line each, answer each with one line, and end with their input.

use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use gatepass::test_server::{RecordedRequest, TestServer};
use gatepass::{ClientBuilder, Clock};
use serde_json::{Value, json};

use crate::args::{SoakServer, Which};
use crate::capture::pasted_lines;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::Program;
use crate::report::Report;
use crate::token;

const CLOCK: &str = "GATEPASS_SOAK_CLOCK";
/// How often a sleeper looks whether the clock was set.
const NAP: Duration = Duration::from_millis(5);
/// As many requests as the test server remembers: beyond it they cannot be counted off.
const REMEMBERED: usize = 50_000;

/// Says what program this is.
pub(crate) fn announce(report: &Report) {
    if let Some(path) = std::env::var_os(CLOCK) {
        let path = Path::new(&path).display();
        report.warn(&format!(
            "A program built for soak tests, whose clock is what {path} says. Use it for nothing else."
        ));
    }
}

/// The client on the shared clock, where there is one.
pub(crate) fn on_shared_clock(builder: ClientBuilder) -> Result<ClientBuilder, Failure> {
    Ok(match SharedClock::named()? {
        Some(clock) => builder.clock(Arc::new(clock)),
        None => builder,
    })
}

/// The machine's clock and the milliseconds in a file. As time since boot it gives the time since 1970, which is the same in
/// every process.
#[derive(Debug)]
struct SharedClock {
    path: PathBuf,
    /// What the file said last, should it not be there for a moment.
    ahead: AtomicU64,
}

impl SharedClock {
    fn named() -> Result<Option<Self>, Failure> {
        let Some(path) = std::env::var_os(CLOCK) else {
            return Ok(None);
        };
        let path = PathBuf::from(path);
        let ahead = read(&path).ok_or_else(|| {
            let path = path.display();
            Failure::configuration("soak_clock", format!("{path} holds no number of milliseconds"))
        })?;
        Ok(Some(Self {
            path,
            ahead: AtomicU64::new(ahead),
        }))
    }
}

fn read(path: &Path) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[async_trait]
impl Clock for SharedClock {
    fn unix_millis(&self) -> i64 {
        i64::try_from(self.boot_millis()).unwrap_or(i64::MAX)
    }

    fn boot_millis(&self) -> u64 {
        let ahead = read(&self.path).unwrap_or_else(|| self.ahead.load(Ordering::Relaxed));
        self.ahead.store(ahead, Ordering::Relaxed);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        since.saturating_add(ahead)
    }

    fn boot_id(&self) -> Option<String> {
        Some("soak".to_owned())
    }

    async fn sleep_until(&self, boot_millis: u64) {
        loop {
            let left = Duration::from_millis(boot_millis.saturating_sub(self.boot_millis()));
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left.min(NAP)).await;
        }
    }
}

/// `soak-server`: `sign-in URL` plays browser and user and tells the redirect; `refreshes` tells what refresh tokens were sent
/// since it was last asked, and with what status they were answered.
pub(crate) async fn serve(program: &Program, options: &SoakServer) -> Result<Exit, Failure> {
    let mut builder = TestServer::builder()
        .rotation(options.rotation)
        .access_token_lifetime(options.access_token_lifetime);
    if let Some(clock) = SharedClock::named()? {
        builder = builder.clock(Arc::new(clock));
    }
    let server = builder
        .start()
        .map_err(|error| Failure::internal(format!("the test server could not be started: {error}")))?;
    let report = &program.report;
    let fields = json!({ "issuer": server.issuer(), "client_id": server.client_id() });
    report.event("serving", &fields, "");
    let mut commands = pasted_lines();
    let mut told = 0;
    while let Some(command) = commands.recv().await {
        match command.split_once(' ').unwrap_or((&command, "")) {
            ("sign-in", url) => report.event("redirect", &json!({ "url": visit(&server, url).await? }), ""),
            ("refreshes", _) => {
                let requests = server.requests();
                if requests.len() >= REMEMBERED {
                    return Err(Failure::internal("more requests than the test server remembers"));
                }
                // One that is not answered yet is told with the next.
                let new = requests.iter().skip(told);
                let new: Vec<_> = new.take_while(|request| request.status().is_some()).collect();
                told += new.len();
                let sent: Vec<_> = new.into_iter().filter_map(refresh).collect();
                report.event("refreshes", &json!({ "sent": sent }), "");
            }
            _ => return Err(unknown(&command)),
        }
    }
    Ok(Exit::Success)
}

/// The first user signs in.
async fn visit(server: &TestServer, url: &str) -> Result<String, Failure> {
    let failed = |why: String| Failure::internal(format!("playing the browser: {why}"));
    let user = server
        .users()
        .first()
        .ok_or_else(|| failed("no user".to_owned()))?;
    let visited = server.browser().sign_in(url, user).await;
    visited.map_err(|error| failed(error.to_string()))
}

fn refresh(request: &RecordedRequest) -> Option<Value> {
    if request.path() != "/token" || request.form_value("grant_type") != Some("refresh_token") {
        return None;
    }
    // A name for the token, to tell it from others; the token itself is told to nobody.
    let mut name = DefaultHasher::new();
    name.write(request.form_value("refresh_token")?.as_bytes());
    let name = format!("{:016x}", name.finish());
    Some(json!({ "token": name, "status": request.status() }))
}

/// `soak-session`: `token` tells an access token, refreshed if need be; `refresh` refreshes first, whatever its state.
pub(crate) async fn hold(program: &Program, which: &Which) -> Result<Exit, Failure> {
    let (settings, choice) = program.choice(which).await?;
    let opened = program.open_settled(&settings.store.value, &choice).await?;
    let stored = choice.one(&opened.sessions)?;
    let session = program.session_of(&opened, stored).await?;
    program.report.event("holding", &json!({}), "");
    let mut commands = pasted_lines();
    while let Some(command) = commands.recv().await {
        let refreshed = match command.as_str() {
            "refresh" => session.refresh().await,
            "token" => Ok(()),
            _ => return Err(unknown(&command)),
        };
        let token = match refreshed {
            Ok(()) => session.access_token().await,
            Err(error) => Err(error),
        };
        match token {
            Ok(token) => token::print(program, token.expose(), session.expires_in(), stored),
            Err(error) => program.report.failure(&error.into()),
        };
    }
    Ok(Exit::Success)
}

fn unknown(command: &str) -> Failure {
    Failure::configuration("usage", format!("no command of the soak: {command:?}"))
}
