//! Hears everything that is said in this process: every span and event of `tracing` and every record of `log`, of all
//! targets and at the most verbose, every panic, and what a test hands in besides.

use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, Once, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span;

use crate::canary::{Canaries, Hit};

static HEARD: Mutex<String> = Mutex::new(String::new());
static CANARIES: LazyLock<Mutex<Canaries>> = LazyLock::new(Mutex::default);
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Guards the ears for one test: what is said is said by its journeys.
pub(crate) struct Ears(#[allow(dead_code, reason = "held, not read")] MutexGuard<'static, ()>);

impl Ears {
    /// Waits for its turn, and forgets what was said before. The canaries of all tests stay known.
    pub(crate) fn open() -> Self {
        static INSTALLED: Once = Once::new();
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        INSTALLED.call_once(|| {
            tracing::subscriber::set_global_default(Subscriber).unwrap();
            log::set_logger(&Logger).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
            let shows = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                say("panic", panic);
                shows(panic);
            }));
        });
        heard().clear();
        Self(turn)
    }

    /// What was said since the last call, and the secrets in it.
    pub(crate) fn hits(&self) -> Vec<Hit> {
        let text = std::mem::take(&mut *heard());
        canaries().find(text.as_bytes()).into_iter().collect()
    }

    /// How much was said since the last call to [`hits`](Ears::hits).
    pub(crate) fn said(&self, part: &str) -> bool {
        heard().contains(part)
    }

    /// Nothing secret was said since the last call, by `what` this test calls it.
    #[track_caller]
    pub(crate) fn nothing_secret(&self, what: &str) {
        let hits = self.hits();
        assert!(hits.is_empty(), "{what}: {} canary hits\n{hits:#?}", hits.len());
    }
}

fn heard() -> MutexGuard<'static, String> {
    HEARD.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn canaries() -> MutexGuard<'static, Canaries> {
    CANARIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Prints a value in both ways of `Debug`.
pub(crate) fn print(what: &str, value: &dyn Debug) {
    let text = format!("{what}: {value:?}\n{what}: {value:#?}\n");
    heard().push_str(&text);
}

/// Hands in a text that a user would see.
pub(crate) fn say(what: &str, value: &dyn std::fmt::Display) {
    let text = format!("{what}: {value}\n");
    heard().push_str(&text);
}

/// Prints an error in every way there is, its sources included.
pub(crate) fn error(error: &gatepass::Error) {
    print("error", error);
    say("error", error);
    say("code", &error.code());
    print("server", &error.server());
    print("next step", &error.next_step());
    print("diagnostic id", &error.diagnostic_id());
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        print("cause", &cause);
        say("cause", &cause);
        source = cause.source();
    }
}

/// Prints what came of something.
pub(crate) fn outcome<T: Debug>(outcome: &gatepass::Result<T>) {
    match outcome {
        Ok(value) => print("value", value),
        Err(failure) => error(failure),
    }
}

struct Subscriber;

/// Both ways in which a field can be given.
struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // A String cannot refuse.
        let _ = write!(self.0, " {}={value:?} {value:#?}", field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, " {}={value}", field.name());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let _ = write!(self.0, " {}={value} {value:?}", field.name());
    }
}

fn note(target: &str, name: &str, record: impl FnOnce(&mut Fields<'_>)) {
    // Formatted first: a field's own Debug may speak as well.
    let mut line = format!("{target} {name}:");
    record(&mut Fields(&mut line));
    line.push('\n');
    heard().push_str(&line);
}

impl tracing::Subscriber for Subscriber {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        static SPANS: AtomicU64 = AtomicU64::new(1);
        let about = span.metadata();
        note(about.target(), about.name(), |fields| span.record(fields));
        span::Id::from_u64(SPANS.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        note("span", "record", |fields| values.record(fields));
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let about = event.metadata();
        note(about.target(), about.name(), |fields| event.record(fields));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        say(record.target(), record.args());
    }

    fn flush(&self) {}
}
