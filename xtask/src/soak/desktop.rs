//! A user's session on a desktop: a D-Bus of its own, and a GNOME Keyring that has its password.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::run;

/// What it takes, for whoever asks whether it is there.
pub(crate) const PROGRAMS: [&str; 3] = ["gnome-keyring-daemon", "dbus-daemon", "dbus-send"];

/// A keyring is there in tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// Ends, with all that belongs to it, when this is dropped.
pub(crate) struct Desktop {
    home: PathBuf,
    /// Where the sockets are: their paths must be short.
    runtime: PathBuf,
    address: String,
    bus: Child,
    keyring: Option<Child>,
}

impl Desktop {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let runtime = std::env::temp_dir().join(format!("gatepass-soak-{}", std::process::id()));
        fs::create_dir_all(&runtime).with_context(|| format!("creating {}", runtime.display()))?;
        #[cfg(unix)]
        fs::set_permissions(&runtime, std::os::unix::fs::PermissionsExt::from_mode(0o700))
            .context("closing a folder to others")?;
        let configuration = folder.join("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><policy context=\"default\">\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/>\
             </policy></busconfig>",
            runtime.join("bus").display()
        );
        fs::write(&configuration, text).context("writing the configuration of the bus")?;
        let mut bus = Command::new("dbus-daemon")
            .args(["--nofork", "--print-address=1"])
            .arg(format!("--config-file={}", configuration.display()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It complains of limits that only matter to a system's bus.
            .stderr(Stdio::null())
            .spawn()
            .context("`dbus-daemon` could not be started")?;
        let mut address = String::new();
        let output = bus.stdout.take().context("no standard output of dbus-daemon")?;
        let mut desktop = Self {
            home: folder.join("home"),
            runtime,
            address: String::new(),
            bus,
            keyring: None,
        };
        BufReader::new(output)
            .read_line(&mut address)
            .context("no address of the bus")?;
        address.trim_end().clone_into(&mut desktop.address);
        desktop.start_keyring()?;
        Ok(desktop)
    }

    /// What a process of this user needs to know.
    pub(crate) fn environment(&self) -> [(&'static str, OsString); 2] {
        [
            ("DBUS_SESSION_BUS_ADDRESS", self.address.clone().into()),
            ("XDG_RUNTIME_DIR", self.runtime.clone().into()),
        ]
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .envs(self.environment())
            .env("HOME", &self.home)
            .env("XDG_DATA_HOME", self.home.join("data"))
            .env("XDG_CACHE_HOME", self.home.join("cache"))
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY");
        command
    }

    fn start_keyring(&mut self) -> Result<()> {
        let mut keyring = self
            .command("gnome-keyring-daemon")
            .args(["--foreground", "--components=secrets", "--unlock"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("`gnome-keyring-daemon` could not be started")?;
        // The password of the login keyring, up to the end of the input.
        let input = keyring.stdin.take();
        self.keyring = Some(keyring);
        input
            .context("no standard input of the keyring")?
            .write_all(b"password")
            .context("the keyring takes no password")?;
        let start = Instant::now();
        while !self.has_keyring()? {
            if start.elapsed() > PATIENCE {
                bail!("the keyring does not come up within {} s", PATIENCE.as_secs());
            }
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    fn has_keyring(&self) -> Result<bool> {
        let mut command = self.command("dbus-send");
        command.args([
            "--print-reply",
            "--dest=org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus.NameHasOwner",
            "string:org.freedesktop.secrets",
        ]);
        Ok(run::quiet(command)?.contains("boolean true"))
    }

    /// As the user's screen lock may do.
    pub(crate) fn lock(&self) -> Result<()> {
        let mut command = self.command("dbus-send");
        command.args([
            "--print-reply",
            "--dest=org.freedesktop.secrets",
            "/org/freedesktop/secrets",
            "org.freedesktop.Secret.Service.Lock",
            "array:objpath:/org/freedesktop/secrets/collection/login",
        ]);
        let answer = run::quiet(command)?;
        if !answer.contains("/collection/login") {
            bail!("the keyring was not locked: {answer}");
        }
        Ok(())
    }

    /// Sends the keyring a signal.
    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        let keyring = self.keyring.as_ref().context("there is no keyring")?;
        let mut command = run::program("kill", [signal]);
        command.arg(keyring.id().to_string());
        run::quiet(command).map(drop)
    }

    pub(crate) fn kill_keyring(&mut self) -> Result<()> {
        let mut keyring = self.keyring.take().context("there is no keyring")?;
        keyring.kill().context("killing the keyring")?;
        keyring.wait().context("waiting for the keyring").map(drop)
    }

    /// A new one, unlocked.
    pub(crate) fn restart_keyring(&mut self) -> Result<()> {
        if self.keyring.is_some() {
            self.kill_keyring()?;
        }
        self.start_keyring()
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for process in [self.keyring.as_mut(), Some(&mut self.bus)].into_iter().flatten() {
            drop(process.kill());
            drop(process.wait());
        }
        drop(fs::remove_dir_all(&self.runtime));
    }
}
