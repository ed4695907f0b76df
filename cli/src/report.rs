//! What the program says: text for people, or one JSON object a line for programs. Never a secret in either.

// Printing is what this file is for.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::Write as _;

use anstream::eprintln;
use anstyle::{AnsiColor, Style};
use gatepass::{Error, NextStep};
use serde_json::{Value, json};

use crate::exit::Exit;

const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const FAINT: Style = Style::new().dimmed();
const LINK: Style = AnsiColor::Cyan.on_default().underline();

/// Where the program's words go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    json: bool,
}

impl Report {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// One event, in both forms. The text may be empty where only programs want to know.
    pub(crate) fn event(self, name: &str, fields: Value, text: &str) {
        if self.json {
            // The event's name comes first, for those who read along.
            let fields = fields.to_string();
            let rest = fields.strip_prefix('{').unwrap_or_default();
            let comma = if rest == "}" { "" } else { "," };
            line(&format!("{{\"event\":{}{comma}{rest}", Value::from(name)));
        } else if !text.is_empty() {
            line(&format!("{GOOD}✓{GOOD:#} {text}"));
        }
    }

    /// A line for people that is not an event.
    pub(crate) fn say(self, text: &str) {
        if !self.json {
            line(text);
        }
    }

    /// A faint line for people.
    pub(crate) fn note(self, text: &str) {
        self.say(&format!("{FAINT}{text}{FAINT:#}"));
    }

    /// The authorization URL.
    pub(crate) fn authorization_url(self, url: &str, lead: &str) {
        self.event("authorization_url", json!({ "url": url }), "");
        self.say(&format!("{lead}\n\n  {LINK}{url}{LINK:#}\n"));
    }

    /// Something for people that is worth noticing but stops nothing. Goes to standard error in both forms.
    pub(crate) fn warn(self, text: &str) {
        eprintln!("{BAD}!{BAD:#} {text}");
    }

    /// The typed error of Gatepass.
    pub(crate) fn error(self, error: &Error) {
        if self.json {
            let server = error.server();
            self.event(
                "error",
                json!({
                    "kind": error.kind().name(),
                    "code": error.code(),
                    "stage": error.stage().name(),
                    "retryable": error.is_retryable(),
                    "next_step": error.next_step().name(),
                    "server_error": server.and_then(|s| s.error.as_deref()),
                    "server_description": server.and_then(|s| s.description.as_deref()),
                    "diagnostic_id": error.diagnostic_id(),
                    "message": error.to_string(),
                }),
                "",
            );
            return;
        }
        eprintln!("{BAD}✗{BAD:#} {error}");
        if let Some(advice) = advice(error.next_step()) {
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

    /// A failure of the program itself, outside Gatepass.
    pub(crate) fn failure(self, exit: Exit, text: &str) {
        let (kind, next_step) = match exit {
            Exit::Configuration => ("configuration", "fix_configuration"),
            _ => ("internal", "none"),
        };
        if self.json {
            let fields = json!({
                "kind": kind, "code": "program", "stage": "configuration", "retryable": false, "next_step": next_step,
                "server_error": null, "server_description": null, "diagnostic_id": null, "message": text,
            });
            self.event("error", fields, "");
        } else {
            eprintln!("{BAD}✗{BAD:#} {text}");
        }
    }
}

/// A line on standard output. Where nothing can be written there is nobody to go on for.
fn line(text: &str) {
    let mut out = anstream::stdout();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush()) {
        if error.kind() != std::io::ErrorKind::BrokenPipe {
            eprintln!("gatepass: standard output cannot be written: {error}");
        }
        std::process::exit(Exit::Internal as i32);
    }
}

fn advice(step: NextStep) -> Option<String> {
    Some(match step {
        NextStep::Retry => "Try again.".to_owned(),
        NextStep::RetryAfter(wait) => format!("Try again in {} s.", wait.as_secs().max(1)),
        NextStep::SignInAgain => "Run the command again to sign in anew.".to_owned(),
        NextStep::FixConfiguration => {
            "Check the options of the command and the client's registration at the server.".to_owned()
        }
        NextStep::AskUser => {
            "Sort that out on this device and try again; --no-browser prints the URL instead.".to_owned()
        }
        NextStep::ContactServer => "Whoever runs the server has to look into this.".to_owned(),
        _ => return None,
    })
}
