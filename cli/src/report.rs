//! What the program says: text for people, or one JSON object a line for programs. Never a secret in either, but for the
//! token that `token` was asked for.

// Printing is what this file is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use anstream::eprintln;
use anstyle::{AnsiColor, Style};
use gatepass::{Error, ErrorKind, NextStep};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::failure::{Failure, Own};
use crate::interrupts::Interrupts;
use crate::progress::Progress;
use crate::store::StoreName;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();
const LINK: Style = AnsiColor::Cyan.on_default().underline();

/// For how long the end by a second signal waits for a line that is being written.
const PATIENCE: Duration = Duration::from_millis(200);

/// Where a sign-out did not reach the server.
const SIGNED_OUT_HERE: &str = "The session is gone here. What the server was not told may live on there until it expires, or \
                               can be ended in the account's settings there.";

/// Where the program's words go.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    json: bool,
    progress: Progress,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Held while something is written.
    writing: Mutex<()>,
    /// Standard output takes nothing more.
    broken: AtomicBool,
    /// The outcome has been told.
    told: AtomicBool,
    interrupts: Interrupts,
    /// What was opened: who has trouble with it is advised accordingly.
    store: OnceLock<StoreName>,
}

impl Report {
    pub(crate) fn new(json: bool, interrupts: Interrupts) -> Self {
        Self {
            json,
            progress: Progress::new(true),
            shared: Arc::new(Shared {
                writing: Mutex::default(),
                broken: AtomicBool::new(false),
                told: AtomicBool::new(false),
                interrupts,
                store: OnceLock::new(),
            }),
        }
    }

    /// The same, as the command line wants it.
    pub(crate) fn with(&self, json: bool, progress: Progress) -> Self {
        Self {
            json,
            progress,
            shared: Arc::clone(&self.shared),
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    pub(crate) fn progress(&self) -> &Progress {
        &self.progress
    }

    /// From here on it is this store that trouble with storage is about.
    pub(crate) fn opens(&self, store: &StoreName) {
        // A command has one.
        drop(self.shared.store.set(store.clone()));
    }

    /// Whether standard output took everything.
    pub(crate) fn is_broken(&self) -> bool {
        self.shared.broken.load(Ordering::Relaxed)
    }

    /// One event, in both forms. The text may be empty where only programs want to know.
    pub(crate) fn event(&self, name: &str, fields: &Value, text: &str) {
        if self.json {
            self.line(&event(name, fields));
        } else if !text.is_empty() {
            self.line(&format!("{GOOD}✓{GOOD:#} {text}"));
        }
    }

    /// One event whose text is no success and no failure but an answer.
    pub(crate) fn answer(&self, name: &str, fields: &Value, text: &str) {
        if self.json {
            self.line(&event(name, fields));
        } else {
            self.line(text);
        }
    }

    /// A line for people that is not an event.
    pub(crate) fn say(&self, text: &str) {
        if !self.json {
            self.line(text);
        }
    }

    /// A faint line for people.
    pub(crate) fn note(&self, text: &str) {
        self.say(&format!("{FAINT}{text}{FAINT:#}"));
    }

    /// What a program reads as it is: a token, a script. No colour, nothing taken out.
    pub(crate) fn raw(&self, text: &str) {
        let _writing = self.writing();
        let mut out = std::io::stdout();
        self.wrote(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
    }

    /// The authorization URL.
    pub(crate) fn authorization_url(&self, url: &str, lead: &str) {
        self.event("authorization_url", &json!({ "url": url }), "");
        self.say(&format!("{lead}\n\n  {LINK}{url}{LINK:#}\n"));
    }

    /// Something for people that is worth noticing but stops nothing. Goes to standard error in both forms.
    pub(crate) fn warn(&self, text: &str) {
        let _writing = self.writing();
        self.progress.aside(|| eprintln!("{BAD}!{BAD:#} {text}"));
    }

    /// Asks on standard error, and nothing else.
    pub(crate) fn ask(&self, question: &str) {
        let _writing = self.writing();
        let mut err = anstream::stderr();
        // If it cannot be shown the answer will not be yes.
        drop(write!(err, "{question} ").and_then(|()| err.flush()));
    }

    /// What ended the command. The last thing said.
    pub(crate) fn failure(&self, failure: &Failure) -> Exit {
        if self.json {
            self.line(&event("error", &fields(failure)));
        } else {
            let _writing = self.writing();
            self.progress.aside(|| match failure {
                Failure::Gatepass(error) => error_text(error, advice(error, self.shared.store.get())),
                Failure::SignedOutHere(error) => error_text(error, Some(SIGNED_OUT_HERE.to_owned())),
                Failure::Own(own) => eprintln!("{BAD}✗{BAD:#} {}", own.message),
            });
        }
        self.shared.told.store(true, Ordering::Relaxed);
        failure.exit()
    }

    /// The end by a second signal: the outcome, if it can be told at once.
    pub(crate) fn at_once(&self) {
        let deadline = Instant::now() + PATIENCE;
        let _writing = loop {
            match self.shared.writing.try_lock() {
                Ok(writing) => break writing,
                Err(TryLockError::Poisoned(poisoned)) => break poisoned.into_inner(),
                Err(TryLockError::WouldBlock) if Instant::now() >= deadline => return,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        if self.json && !self.is_broken() && !self.shared.told.swap(true, Ordering::Relaxed) {
            let mut out = std::io::stdout();
            drop(writeln!(
                out,
                "{}",
                event("error", &fields(&Failure::interrupted()))
            ));
            drop(out.flush());
        }
    }

    /// A line on standard output.
    fn line(&self, text: &str) {
        let _writing = self.writing();
        if self.is_broken() {
            return;
        }
        let outcome = self.progress.aside(|| {
            let mut out = anstream::stdout();
            writeln!(out, "{text}").and_then(|()| out.flush())
        });
        self.wrote(outcome);
    }

    /// Where nothing can be written there is nobody to go on for: the command is asked to stop, and cleans up first.
    fn wrote(&self, outcome: std::io::Result<()>) {
        if let Err(error) = outcome
            && !self.shared.broken.swap(true, Ordering::Relaxed)
        {
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                eprintln!("gatepass: standard output cannot be written: {error}");
            }
            self.shared.interrupts.hang_up();
        }
    }

    fn writing(&self) -> MutexGuard<'_, ()> {
        self.shared.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event as a line of JSON. Its name comes first, for those who read along.
fn event(name: &str, fields: &Value) -> String {
    let fields = fields.to_string();
    let rest = fields.strip_prefix('{').unwrap_or("}");
    let comma = if rest == "}" { "" } else { "," };
    format!("{{\"event\":{}{comma}{rest}", Value::from(name))
}

/// The fields of an `error` event: the same ones whoever failed.
fn fields(failure: &Failure) -> Value {
    match failure {
        Failure::Gatepass(error) | Failure::SignedOutHere(error) => {
            let over = matches!(failure, Failure::SignedOutHere(_));
            let server = error.server();
            json!({
                "kind": error.kind().name(),
                "code": error.code(),
                "stage": error.stage().name(),
                "retryable": error.is_retryable() && !over,
                "next_step": if over { "none" } else { error.next_step().name() },
                "server_error": server.and_then(|s| s.error.as_deref()),
                "server_description": server.and_then(|s| s.description.as_deref()),
                "diagnostic_id": error.diagnostic_id(),
                "message": error.to_string(),
            })
        }
        Failure::Own(own) => {
            let (kind, stage, next_step) = Own::names(own);
            json!({
                "kind": kind, "code": own.code, "stage": stage, "retryable": false, "next_step": next_step,
                "server_error": null, "server_description": null, "diagnostic_id": null, "message": own.message,
            })
        }
    }
}

fn error_text(error: &Error, advice: Option<String>) {
    eprintln!("{BAD}✗{BAD:#} {error}");
    if let Some(advice) = advice {
        eprintln!("  {advice}");
    }
    let id = error
        .diagnostic_id()
        .map(|id| format!(", {id} in the log (-v)"))
        .unwrap_or_default();
    eprintln!(
        "  {FAINT}{} at {}, code {}{id}{FAINT:#}",
        error.kind().name(),
        error.stage().name(),
        error.code()
    );
}

fn advice(error: &Error, store: Option<&StoreName>) -> Option<String> {
    if error.code() == "storage_wrong_key" {
        return Some(
            "Set GATEPASS_STORE_PASSPHRASE if this store was made with a passphrase, and unset it if it was not."
                .to_owned(),
        );
    }
    if matches!(
        error.kind(),
        ErrorKind::StorageLocked | ErrorKind::StorageWriteFailed
    ) {
        let advice = match store {
            // Its own words name the directory and what is wrong with it.
            Some(StoreName::File(_)) => {
                "Put that right and try again, or choose another store: --store file:PATH."
            }
            Some(StoreName::Memory) => "Try again.",
            Some(StoreName::Keychain) | None if error.kind() == ErrorKind::StorageWriteFailed => {
                "Try again; where there is no keychain (a server, a container), choose another store: --store file:PATH."
            }
            Some(StoreName::Keychain) | None => {
                "Unlock the keychain and try again; where there is none (a server, a container), choose another store: \
                 --store file:PATH."
            }
        };
        return Some(advice.to_owned());
    }
    Some(match error.next_step() {
        NextStep::Retry => "Try again.".to_owned(),
        NextStep::RetryAfter(wait) => format!("Try again in {} s.", wait.as_secs().max(1)),
        NextStep::SignInAgain => "Sign in again: gatepass sign-in --again".to_owned(),
        NextStep::FixConfiguration => {
            "Check the options (`gatepass config` shows what is in effect) and the client's registration at the server."
                .to_owned()
        }
        NextStep::AskUser => {
            "Sort that out on this device and try again; --no-browser prints the URL instead.".to_owned()
        }
        NextStep::ContactServer => "Whoever runs the server has to look into this.".to_owned(),
        _ => return None,
    })
}

/// Text that somebody else wrote, for a terminal: nothing in it moves the cursor, colours, or turns the direction.
pub(crate) fn plain(text: &str) -> String {
    let is_plain = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| if is_plain(c) { c } else { '\u{fffd}' })
        .collect()
}

/// A span of time as people say it.
pub(crate) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = match seconds {
        0..600 => write!(text, "{seconds} s"),
        600..7_200 => write!(text, "{} min", seconds / 60),
        7_200..172_800 => write!(text, "{} h", seconds / 3_600),
        _ => write!(text, "{} days", seconds / 86_400),
    };
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_does_nothing_to_a_terminal() {
        assert_eq!(plain("Zoë Ångström 山田"), "Zoë Ångström 山田");
        for evil in ["\u{1b}[31m", "\u{9b}31m", "a\rb", "a\nb", "\u{202e}evil", "\u{7}"] {
            let plain = plain(evil);
            assert!(plain.contains('\u{fffd}'), "{evil:?}");
            assert!(!plain.chars().any(char::is_control), "{evil:?}");
        }
    }

    #[test]
    fn an_event_begins_with_its_name() {
        assert_eq!(event("a", &json!({})), r#"{"event":"a"}"#);
        assert_eq!(event("a", &json!({ "b": 1 })), r#"{"event":"a","b":1}"#);
    }

    #[test]
    fn spans_as_people_say_them() {
        for (seconds, text) in [
            (0, "0 s"),
            (599, "599 s"),
            (600, "10 min"),
            (7_200, "2 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }
}
