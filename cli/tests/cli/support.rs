//! The program started as a person's script would, in a home of its own.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Output, Stdio};

use gatepass::test_server::TestServer;
use serde_json::Value;
use tempfile::TempDir;

/// The program, with neither a display nor a browser nor a home nor settings of this machine.
pub(crate) fn gatepass<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gatepass"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for name in [
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "BROWSER",
        "WSL_DISTRO_NAME",
        "RUST_LOG",
        "DBUS_SESSION_BUS_ADDRESS",
        "XDG_RUNTIME_DIR",
    ] {
        command.env_remove(name);
    }
    for (name, _) in std::env::vars_os() {
        let name_text = name.to_string_lossy();
        if name_text.starts_with("GATEPASS_") || name_text.starts_with("XDG_") {
            command.env_remove(&name);
        }
    }
    let nowhere = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("no-home");
    home(&mut command, &nowhere);
    command
}

fn home(command: &mut Command, home: &std::path::Path) {
    for name in ["HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"] {
        command.env(name, home);
    }
}

pub(crate) fn events(output: &Output) -> Vec<Value> {
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}

pub(crate) fn names(events: &[Value]) -> Vec<&str> {
    events
        .iter()
        .map(|event| event["event"].as_str().unwrap())
        .collect()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The names of the fields of an object, sorted.
pub(crate) fn fields(object: &Value) -> Vec<&str> {
    let mut names: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// A person's machine: a home, and a store in it that commands use unless told otherwise.
pub(crate) struct World {
    home: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            home: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub(crate) fn gatepass<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = gatepass(arguments);
        home(&mut command, self.home.path());
        command.env("GATEPASS_STORE", format!("file:{}", self.path("store").display()));
        command
    }

    /// Runs to the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.gatepass(arguments).output().unwrap()
    }

    /// Runs to the end that is expected.
    pub(crate) fn expect(&self, code: i32, arguments: &[&str]) -> Output {
        let output = self.run(arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}\n{}\n{}",
            String::from_utf8_lossy(&output.stdout),
            stderr(&output)
        );
        output
    }

    /// One command that ends well with one event.
    pub(crate) fn one(&self, arguments: &[&str]) -> Value {
        let output = self.expect(0, &[arguments, &["--json"]].concat());
        let mut events = events(&output);
        assert_eq!(events.len(), 1, "{arguments:?}");
        events.remove(0)
    }

    /// One command that ends with this code and an error.
    pub(crate) fn error(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.expect(code, &[arguments, &["--json"]].concat());
        let mut events = events(&output);
        let last = events.pop().unwrap();
        assert_eq!(last["event"], "error", "{arguments:?}");
        last
    }

    /// The access token as a script gets it.
    pub(crate) fn token(&self, more: &[&str]) -> String {
        let output = self.expect(0, &[&["token"], more].concat());
        let text = stdout(&output);
        let token = text.strip_suffix('\n').unwrap();
        assert!(!token.contains(char::is_whitespace));
        token.to_owned()
    }

    /// Signs this user of the server in, as a person with a browser elsewhere does.
    pub(crate) async fn sign_in(&self, server: &TestServer, user: usize, more: &[&str]) -> Vec<Value> {
        let mut program = Running::start(self.gatepass(&at(server, more)));
        program.visit(server, user).await;
        let events = program.rest();
        assert_eq!(program.exit_code(), Some(0), "{events:?}");
        events
    }
}

/// The command line of a sign-in at this server.
pub(crate) fn at<'a>(server: &'a TestServer, more: &[&'a str]) -> Vec<&'a str> {
    let mut arguments = vec!["sign-in", "--json", "--no-browser", "--allow-http-on-loopback"];
    arguments.extend(["--issuer", server.issuer(), "--client-id", server.client_id()]);
    arguments.extend(more);
    arguments
}

/// A running program whose events are read as they come.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self {
            stdin: child.stdin.take(),
            child,
            lines,
        }
    }

    pub(crate) fn next(&mut self) -> Value {
        let line = self.lines.next().expect("the program ended early").unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line}: {e}"))
    }

    pub(crate) fn rest(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.lines.next())
            .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
            .collect()
    }

    /// Signs in at the URL that the program says next, and follows the redirect.
    pub(crate) async fn visit(&mut self, server: &TestServer, user: usize) {
        let url = self.next()["url"].as_str().unwrap().to_owned();
        let browser = server.browser();
        let redirect = browser.sign_in(&url, &server.users()[user]).await.unwrap();
        assert_eq!(browser.deliver(&redirect).await.unwrap(), 200);
    }

    pub(crate) fn paste(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    #[cfg(unix)]
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &pid])
                .status()
                .unwrap()
                .success()
        );
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
