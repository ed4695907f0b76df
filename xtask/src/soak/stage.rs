//! Where a part of the soak plays: a home of its own, the program, its log; and the processes started there.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::ledger::Told;
use super::server::Server;

/// A process that says nothing for this long hangs. Longer than any wait of the program's own.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(2);
/// A redirect that every server of the soak knows, and that no program captures: it is handed over.
const REDIRECT: &str = "https://app.example.com/callback";

/// One part's own place.
pub(crate) struct Stage {
    /// Emptied at the start.
    pub(crate) folder: PathBuf,
    /// What every process says on standard error.
    pub(crate) log: PathBuf,
    program: PathBuf,
    /// What `--store` says.
    store: OsString,
    environment: Vec<(&'static str, OsString)>,
}

impl Stage {
    pub(crate) fn new(folder: PathBuf, program: PathBuf) -> Result<Self> {
        if folder.exists() {
            fs::remove_dir_all(&folder).with_context(|| format!("emptying {}", folder.display()))?;
        }
        let home = folder.join("home");
        fs::create_dir_all(&home).with_context(|| format!("creating {}", home.display()))?;
        let log = folder.join("log");
        File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let mut store = OsString::from("file:");
        store.push(folder.join("store"));
        Ok(Self {
            folder,
            log,
            program,
            store,
            environment: Vec::new(),
        })
    }

    /// Another store than the directory of encrypted files in the folder.
    pub(crate) fn keep_in(&mut self, store: impl Into<OsString>) {
        self.store = store.into();
    }

    /// A variable of every process.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.environment.push((name, value.into()));
    }

    /// A process that is at home here; its standard error goes to the log.
    pub(crate) fn at_home(&self, program: impl AsRef<Path>) -> Result<Command> {
        let home = self.folder.join("home");
        let mut command = Command::new(program.as_ref());
        let ours = std::env::vars_os().map(|(name, _)| name);
        for name in ours.filter(|name| name.to_string_lossy().starts_with("GATEPASS_")) {
            command.env_remove(name);
        }
        command
            .env("HOME", &home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_DATA_HOME", home.join("data"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("XDG_STATE_HOME", home.join("state"))
            .env("RUST_LOG", "gatepass=debug")
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.appended()?);
        Ok(command)
    }

    /// The program, told what to do.
    pub(crate) fn gatepass(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.at_home(&self.program)?;
        command
            .args(arguments)
            .arg("--json")
            .arg("--store")
            .arg(&self.store);
        Ok(command)
    }

    fn appended(&self) -> Result<File> {
        let log = File::options().append(true).open(&self.log);
        log.with_context(|| format!("opening {}", self.log.display()))
    }

    /// A line in the log.
    pub(crate) fn remark(&self, text: &str) -> Result<()> {
        writeln!(self.appended()?, "== {text}").with_context(|| format!("writing {}", self.log.display()))
    }

    /// Starts a process that does one thing and ends.
    pub(crate) fn shoot(&self, process: u32, arguments: &[&str]) -> Result<Shot> {
        self.remark(&format!("process {process}: {}", arguments.join(" ")))?;
        let child = self.gatepass(arguments)?.spawn();
        Ok(Shot {
            process,
            child: child.context("the program could not be started")?,
            born: Instant::now(),
        })
    }

    /// Starts a process that lives on with the session.
    pub(crate) fn hold(&self, name: &str) -> Result<Talk> {
        self.remark(&format!("{name}: soak-session"))?;
        let mut talk = Talk::start(self.gatepass(&["soak-session"])?, name)?;
        talk.answer()?.named("holding")?;
        Ok(talk)
    }

    /// Signs in by the program, handing URL and redirect over.
    pub(crate) fn sign_in(&self, server: &mut Server) -> Result<()> {
        self.remark("sign-in")?;
        let mut command = self.gatepass(&["sign-in", "--no-browser", "--allow-http-on-loopback"])?;
        command
            .args(["--redirect", REDIRECT, "--issuer", &server.issuer])
            .args(["--client-id", &server.client_id]);
        let mut talk = Talk::start(command, "sign-in")?;
        let url = talk.answer()?.named("authorization_url")?.text("url")?;
        talk.tell(&server.redirect(&url)?)?;
        loop {
            let event = talk.answer()?;
            match event.name() {
                "redirect_received" => {}
                _ => {
                    event.named("signed_in")?;
                    break;
                }
            }
        }
        let status = talk.end()?;
        if !status.success() {
            bail!("the sign-in told success and ended with {status}");
        }
        Ok(())
    }
}

/// A line of JSON that a process said.
#[derive(Clone, Debug)]
pub(crate) struct Event(pub(crate) Value);

impl Event {
    fn read(line: &str) -> Result<Self> {
        // Not the line itself: there may be a token in it.
        let event = serde_json::from_str(line).context("a process said something that is no JSON")?;
        Ok(Self(event))
    }

    pub(crate) fn name(&self) -> &str {
        self.field("event")
    }

    /// A field, empty if it is not there.
    pub(crate) fn field(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn text(&self, name: &str) -> Result<String> {
        let text = self.0.get(name).and_then(Value::as_str);
        Ok(text
            .with_context(|| format!("no {name} in {}", self.name()))?
            .to_owned())
    }

    /// This event, if it has that name.
    pub(crate) fn named(self, name: &str) -> Result<Self> {
        if self.name() != name {
            bail!("expected {name}, got {}", self.brief());
        }
        Ok(self)
    }

    /// Without what is secret.
    pub(crate) fn brief(&self) -> String {
        match self.name() {
            "error" => format!(
                "{} at {}, {}: {}",
                self.field("kind"),
                self.field("stage"),
                self.field("code"),
                self.field("message")
            ),
            name => name.to_owned(),
        }
    }
}

/// A process that lives on, is told things and answers, a line each.
pub(crate) struct Talk {
    pub(crate) name: String,
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Talk {
    pub(crate) fn start(mut command: Command, name: &str) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{name} could not be started"))?;
        let output = child.stdout.take().context("no standard output")?;
        let (sender, lines) = channel();
        // Ends with its process.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(|line| line.ok()) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            name: name.to_owned(),
            input: child.stdin.take(),
            child,
            lines,
        })
    }

    pub(crate) fn tell(&mut self, line: &str) -> Result<()> {
        let input = self.input.as_mut().context("it is to end already")?;
        let told = writeln!(input, "{line}").and_then(|()| input.flush());
        told.with_context(|| format!("{} reads nothing more", self.name))
    }

    pub(crate) fn answer(&mut self) -> Result<Event> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => Event::read(&line).with_context(|| self.name.clone()),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{} says nothing for {} s", self.name, PATIENCE.as_secs())
            }
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait().with_context(|| self.name.clone())?;
                bail!("{} ended: {status}", self.name)
            }
        }
    }

    pub(crate) fn ask(&mut self, line: &str) -> Result<Event> {
        self.tell(line)?;
        self.answer()
    }

    /// As the system does it: without a word.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| self.name.clone())?;
        self.child.wait().with_context(|| self.name.clone()).map(drop)
    }

    /// Lets it come to its end.
    pub(crate) fn end(mut self) -> Result<ExitStatus> {
        drop(self.input.take());
        waited(&mut self.child, &self.name)
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn waited(child: &mut Child, name: &str) -> Result<ExitStatus> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().with_context(|| name.to_owned())? {
            return Ok(status);
        }
        if start.elapsed() > PATIENCE {
            drop(child.kill());
            drop(child.wait());
            bail!("{name} does not end within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(POLL);
    }
}

/// A process that does one thing and ends, or is killed before.
pub(crate) struct Shot {
    process: u32,
    child: Child,
    born: Instant,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) process: u32,
    /// `None`: it was killed.
    pub(crate) code: Option<i32>,
    pub(crate) took: Duration,
    events: Vec<Event>,
}

impl Shot {
    /// Lets it live for this long, then kills it as the system does: without a word.
    pub(crate) fn killed_after(mut self, instant: Duration) -> Result<Ended> {
        std::thread::sleep(instant.saturating_sub(self.born.elapsed()));
        self.child.kill().context("killing a process")?;
        self.ended()
    }

    /// Lets it come to its end.
    pub(crate) fn ended(mut self) -> Result<Ended> {
        let name = format!("process {}", self.process);
        let status = waited(&mut self.child, &name)?;
        let took = self.born.elapsed();
        // A pipe holds more than it says.
        let output = self.child.wait_with_output().with_context(|| name.clone())?;
        let text = String::from_utf8_lossy(&output.stdout);
        // What it was killed over is no line.
        let whole = text
            .rfind('\n')
            .and_then(|end| text.get(..end))
            .unwrap_or_default();
        let events = whole
            .lines()
            .map(Event::read)
            .collect::<Result<Vec<_>>>()
            .context(name)?;
        Ok(Ended {
            process: self.process,
            code: status.code(),
            took,
            events,
        })
    }
}

impl Ended {
    /// The access token that it told.
    pub(crate) fn token(&self) -> Option<&str> {
        let told = self.events.iter().find(|event| event.name() == "token")?;
        told.0.get("access_token")?.as_str()
    }

    /// The code of its error, empty if there was none.
    pub(crate) fn error_code(&self) -> &str {
        self.events
            .last()
            .map(|event| event.field("code"))
            .unwrap_or_default()
    }

    /// The kind of its error.
    pub(crate) fn error_kind(&self) -> &str {
        self.events
            .last()
            .map(|event| event.field("kind"))
            .unwrap_or_default()
    }

    pub(crate) fn told(&self) -> Told {
        Told {
            process: self.process,
            killed: self.code.is_none(),
            token: self.token().is_some(),
        }
    }

    pub(crate) fn brief(&self) -> String {
        let last = self.events.last().map(Event::brief).unwrap_or_default();
        let code = self
            .code
            .map_or("killed".to_owned(), |code| format!("exit code {code}"));
        format!("process {}: {code}: {last}", self.process)
    }
}
