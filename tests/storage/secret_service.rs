//! The real Secret Service (GNOME Keyring) on a D-Bus session of each test's own: unlocked, locked, absent, stopped, killed,
//! reset, and asked by several processes at once.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::child::{APP, Child};

/// Far longer than a keyring that answers takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// For what does not answer.
const IMPATIENCE: Duration = Duration::from_millis(300);

/// A user's session: a bus, a home, and a keyring if it was started.
struct Desktop {
    home: TempDir,
    address: String,
    bus: std::process::Child,
    keyring: Option<std::process::Child>,
}

impl Desktop {
    /// Nothing is started by the bus itself: without a keyring there is none.
    fn without_keyring() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o700)).unwrap();
        let configuration = home.path().join("bus.conf");
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><policy context=\"default\">\
             <allow send_destination=\"*\" eavesdrop=\"true\"/><allow eavesdrop=\"true\"/><allow own=\"*\"/>\
             </policy></busconfig>",
            home.path().join("bus").display()
        );
        std::fs::write(&configuration, text).unwrap();
        let mut bus = Command::new("dbus-daemon")
            .arg("--nofork")
            .arg("--print-address=1")
            .arg(format!("--config-file={}", configuration.display()))
            .stdout(Stdio::piped())
            // It complains of limits that only matter to a system's bus.
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon: cargo xtask setup --part keychain");
        let mut address = String::new();
        let mut lines = BufReader::new(bus.stdout.take().unwrap());
        lines.read_line(&mut address).unwrap();
        Self {
            home,
            address: address.trim_end().to_owned(),
            bus,
            keyring: None,
        }
    }

    fn unlocked() -> Self {
        let mut desktop = Self::without_keyring();
        desktop.start_keyring(true);
        desktop
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .env("HOME", self.home.path())
            .env("XDG_RUNTIME_DIR", self.home.path())
            .env("XDG_DATA_HOME", self.home.path().join("data"))
            .env("XDG_CACHE_HOME", self.home.path().join("cache"))
            .env_remove("DISPLAY")
            .env_remove("WAYLAND_DISPLAY");
        command
    }

    fn start_keyring(&mut self, unlocked: bool) {
        let mut command = self.command("gnome-keyring-daemon");
        command.args(["--foreground", "--components=secrets"]);
        if unlocked {
            command.arg("--unlock");
        }
        let mut keyring = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gnome-keyring-daemon: cargo xtask setup --part keychain");
        // The password of the login keyring, up to the end of the input.
        keyring.stdin.take().unwrap().write_all(b"password").unwrap();
        self.keyring = Some(keyring);
        let asks = [
            "--print-reply",
            "--dest=org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus.NameHasOwner",
            "string:org.freedesktop.secrets",
        ];
        while !self.output("dbus-send", &asks).contains("boolean true") {}
    }

    fn output(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.command(program).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// As the user's screen lock may do.
    fn lock(&self) {
        let answer = self.output(
            "dbus-send",
            &[
                "--print-reply",
                "--dest=org.freedesktop.secrets",
                "/org/freedesktop/secrets",
                "org.freedesktop.Secret.Service.Lock",
                "array:objpath:/org/freedesktop/secrets/collection/login",
            ],
        );
        assert!(answer.contains("/collection/login"), "{answer}");
    }

    /// Sends the keyring a signal.
    fn signal(&self, signal: &str) {
        let keyring = self.keyring.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args([signal, &keyring]).status().unwrap();
        assert!(sent.success());
    }

    fn kill_keyring(&mut self) {
        let mut keyring = self.keyring.take().unwrap();
        keyring.kill().unwrap();
        keyring.wait().unwrap();
    }

    /// What the keyring holds for our app.
    fn key(&self) -> String {
        self.output("secret-tool", &["lookup", "service", APP])
    }

    fn directory(&self) -> PathBuf {
        self.home.path().join("records")
    }

    /// An app of this user's, just started.
    fn app(&self, timeout: Duration) -> Child {
        Child::over_keychain(&self.directory(), &self.address, timeout)
    }
}

impl Drop for Desktop {
    fn drop(&mut self) {
        for process in [self.keyring.as_mut(), Some(&mut self.bus)].into_iter().flatten() {
            drop(process.kill());
            drop(process.wait());
        }
    }
}

#[test]
#[ignore = "needs a Secret Service: cargo xtask test keychain"]
fn what_one_process_keeps_the_next_one_reads_and_the_disk_does_not_tell() {
    let desktop = Desktop::unlocked();
    assert_eq!(desktop.app(PATIENCE).ask("load session.x"), "absent");
    assert_eq!(desktop.key(), "", "reading makes no key");
    assert_eq!(
        desktop
            .app(PATIENCE)
            .ask("put session.x canary-6b1f-refresh-token"),
        "committed"
    );
    assert_eq!(
        desktop.app(PATIENCE).ask("load session.x"),
        "present canary-6b1f-refresh-token"
    );
    let key = desktop.key();
    assert_eq!(key.len(), 44, "32 bytes as base64");
    let mut files = 0;
    for entry in std::fs::read_dir(desktop.directory()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        files += 1;
        for secret in ["canary-6b1f", key.trim_end_matches('=')] {
            assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
    }
    assert!(files >= 3);
}

#[cfg(feature = "conformance")]
#[test]
#[ignore = "needs a Secret Service: cargo xtask test keychain"]
fn it_keeps_the_contract() {
    let desktop = Desktop::unlocked();
    assert_eq!(desktop.app(PATIENCE).ask("conformance"), "kept");
}

#[test]
#[ignore = "needs a Secret Service: cargo xtask test keychain"]
fn rr_29_a_locked_keyring_is_locked_and_not_empty() {
    let mut desktop = Desktop::unlocked();
    let mut running = desktop.app(PATIENCE);
    assert_eq!(running.ask("put session.x value"), "committed");
    desktop.lock();
    for _ in 0..2 {
        let mut app = desktop.app(PATIENCE);
        assert_eq!(app.ask("load session.x"), "locked");
        assert_eq!(app.ask("put session.y value"), "locked");
        assert_eq!(app.ask("create session.x value"), "locked");
    }
    assert_eq!(
        running.ask("load session.x"),
        "present value",
        "it was asked once"
    );
    desktop.kill_keyring();
    // The first start of a session whose login gave no password.
    desktop.start_keyring(false);
    let mut app = desktop.app(PATIENCE);
    assert_eq!(app.ask("load session.x"), "locked");
    desktop.kill_keyring();
    desktop.start_keyring(true);
    assert_eq!(app.ask("load session.x"), "present value", "the same process");
}

#[test]
#[ignore = "needs a Secret Service: cargo xtask test keychain"]
fn without_a_secret_service_it_says_so_and_falls_back_on_nothing() {
    let mut desktop = Desktop::unlocked();
    assert_eq!(desktop.app(PATIENCE).ask("put session.x value"), "committed");
    desktop.kill_keyring();
    let mut app = desktop.app(PATIENCE);
    for question in ["load session.x", "put session.x other", "create session.y value"] {
        let answer = app.ask(question);
        assert!(
            answer.starts_with("failed: there is no Secret Service"),
            "{answer}"
        );
        assert!(answer.contains("EncryptedFileStorage"), "{answer}");
    }
    assert_eq!(app.ask("load session.y"), "absent", "that needs no key");
    // No bus at all.
    let nowhere = format!("unix:path={}", desktop.home.path().join("nowhere").display());
    let mut app = Child::over_keychain(&desktop.directory(), &nowhere, PATIENCE);
    let answer = app.ask("load session.x");
    assert!(
        answer.starts_with("failed: there is no Secret Service"),
        "{answer}"
    );
    desktop.start_keyring(true);
    assert_eq!(desktop.app(PATIENCE).ask("load session.x"), "present value");
}

#[test]
#[ignore = "needs a Secret Service: cargo xtask test keychain"]
fn a_keyring_that_hangs_stops_nobody_and_is_asked_by_one_thread() {
    let desktop = Desktop::unlocked();
    assert_eq!(desktop.app(PATIENCE).ask("put session.x value"), "committed");
    let mut app = desktop.app(IMPATIENCE);
    desktop.signal("-STOP");
    for _ in 0..4 {
        assert_eq!(app.ask("load session.x"), "locked");
        assert_eq!(app.ask("put session.x other"), "locked");
    }
    let tasks = std::fs::read_dir(format!("/proc/{}/task", app.process.id())).unwrap();
    let asking = tasks
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("comm")).ok())
        .filter(|name| name.starts_with("gatepass-keycha"))
        .count();
    assert_eq!(asking, 1);
    desktop.signal("-CONT");
    while app.ask("load session.x") == "locked" {}
    assert_eq!(app.ask("load session.x"), "present value");
}

#[test]
#[ignore = "needs a Secret Service: cargo xtask test keychain"]
fn a_keyring_that_is_killed_while_it_is_asked_is_asked_again_when_it_is_back() {
    let mut desktop = Desktop::unlocked();
    assert_eq!(desktop.app(PATIENCE).ask("put session.x value"), "committed");
    let mut app = desktop.app(IMPATIENCE);
    desktop.signal("-STOP");
    assert_eq!(app.ask("load session.x"), "locked");
    desktop.kill_keyring();
    // The question that was under way ends with the keyring, and later ones find none.
    while app.ask("load session.x") == "locked" {}
    let answer = app.ask("load session.x");
    assert!(answer.starts_with("failed: "), "{answer}");
    desktop.start_keyring(true);
    assert_eq!(app.ask("load session.x"), "present value");
}

#[test]
#[ignore = "needs a Secret Service: cargo xtask test keychain"]
fn bi_95_a_reset_keyring_is_lost_until_the_next_sign_in() {
    let desktop = Desktop::unlocked();
    assert_eq!(desktop.app(PATIENCE).ask("put session.x value"), "committed");
    let first = desktop.key();
    desktop.output("secret-tool", &["clear", "service", APP]);
    assert_eq!(desktop.key(), "");
    let mut app = desktop.app(PATIENCE);
    for question in ["load session.x", "put session.x new"] {
        let answer = app.ask(question);
        assert!(answer.starts_with("lost: "), "{answer}");
    }
    assert_eq!(desktop.key(), "", "nothing was made by reading");
    assert_eq!(app.ask("create session.x new"), "committed");
    assert_eq!(desktop.app(PATIENCE).ask("load session.x"), "present new");
    assert_ne!(desktop.key(), first);
}

#[test]
#[ignore = "needs a Secret Service: cargo xtask test keychain"]
fn several_first_starts_at_once_make_one_key() {
    for _ in 0..5 {
        let desktop = Desktop::unlocked();
        let mut apps: Vec<_> = (0..4).map(|_| desktop.app(PATIENCE)).collect();
        for (number, app) in apps.iter_mut().enumerate() {
            app.tell(&format!("put session.{number} {number}"));
        }
        for app in &mut apps {
            assert_eq!(app.answer(), "committed");
        }
        let found = desktop.output("secret-tool", &["search", "--all", "service", APP]);
        assert_eq!(found.matches("label = ").count(), 1, "{found}");
        let mut later = desktop.app(PATIENCE);
        for number in 0..4 {
            assert_eq!(
                later.ask(&format!("load session.{number}")),
                format!("present {number}")
            );
        }
        for app in &mut apps {
            app.tell("count counted 10");
        }
        for app in &mut apps {
            assert_eq!(app.answer(), "counted");
        }
        assert_eq!(later.ask("load counted"), "present 40");
    }
}
