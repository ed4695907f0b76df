//! `cargo xtask soak`: the real program, killed and hindered for real, at real servers; and a table of what was lost.
//!
//! The processes are the `gatepass` program over one store. It is built with the feature `soak` of its crate, which adds a clock
//! that several processes share and two commands for processes that live on; what is shipped has none of it. The server tells
//! which refresh tokens it was sent (by names, never the tokens), and `ledger` holds that against what the processes told.
//!
//! A violation ends its part, and the table says which process and which log to look at.

mod crowd;
mod desktop;
mod dice;
mod disk;
mod expiries;
mod keyring;
mod kills;
mod ledger;
mod server;
mod stage;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use crate::place::Place;
use crate::run;
use dice::Dice;
use disk::Small;
use kills::Kind;
use ledger::Cause;
use server::Server;
use stage::Stage;

/// Where the small file system is, in the folder of its part.
const DISK: &str = "disk";

/// What to soak, and for how long.
#[derive(Args)]
pub(crate) struct SoakArguments {
    /// How many processes are killed at each server.
    #[arg(long, default_value_t = 500, value_name = "N")]
    pub(crate) kills: u32,
    /// How often the access token expires under all processes.
    #[arg(long, default_value_t = 1_000, value_name = "N")]
    pub(crate) expiries: u32,
    /// How many processes share the session that expires.
    #[arg(long, default_value_t = 8, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) processes: u32,
    /// How often the disk fills up, and each thing befalls the keyring.
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Only these parts (default: all). May be given more than once.
    #[arg(long = "part", value_enum)]
    pub(crate) parts: Vec<Part>,
    /// Where the random instants begin; a run says its own.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// A part of the soak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Part {
    /// Processes killed at the test server with a grace window of 60 s.
    KillsGrace,
    /// The same at the strict test server.
    KillsStrict,
    /// The same at npm's oidc-provider, which is strict.
    KillsProvider,
    /// Processes that refresh all at once, half of them killed, at the test server with a grace window of 60 s.
    KillsCrowd,
    /// Processes that share a session through its expiries.
    Expiries,
    /// A disk that fills up.
    DiskFull,
    /// A keyring that is locked, stopped and killed.
    Keyring,
}

impl Part {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map(|value| value.get_name().to_owned()).unwrap_or_default()
    }

    /// Why it cannot run here, if it cannot.
    fn lacking(self, place: &Place) -> Option<String> {
        let missing = |programs: &[&str], part: &str| {
            let missing = programs.iter().find(|program| which::which(program).is_err())?;
            Some(format!("no `{missing}`: cargo xtask setup --part {part}"))
        };
        match self {
            Self::KillsProvider => missing(&["node"], "interop").or_else(|| {
                let there = place.at("tests/interop/node_modules/oidc-provider").is_dir();
                (!there).then(|| "no npm packages: cargo xtask setup --part interop".to_owned())
            }),
            Self::DiskFull | Self::Keyring if !cfg!(target_os = "linux") => {
                Some("runs on Linux only".to_owned())
            }
            Self::Keyring => missing(&desktop::PROGRAMS, "keychain"),
            _ => None,
        }
    }
}

/// What came of a part, counted.
#[derive(Default)]
pub(crate) struct Tally {
    kills: u32,
    expiries: u32,
    /// Full disks, keyrings away.
    faults: u32,
    sent: u64,
    /// Times the server took a refresh token for stolen.
    reuses: u64,
    lost: BTreeMap<&'static str, Vec<String>>,
    notes: Vec<String>,
}

impl Tally {
    fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    fn lost(&mut self, cause: Cause, who: &str) {
        self.lost.entry(cause.text()).or_default().push(who.to_owned());
    }
}

enum Outcome {
    Held,
    NotRun(String),
    Violated(anyhow::Error),
}

struct Row {
    part: Part,
    tally: Tally,
    outcome: Outcome,
    took: Duration,
    log: PathBuf,
}

/// Runs the parts; `false` if something was lost that need not have been.
pub(crate) fn soak(place: &Place, arguments: &SoakArguments) -> Result<bool> {
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            now.map_or(0, |now| u64::from(now.subsec_nanos()) ^ now.as_secs())
        }
    };
    let parts = if arguments.parts.is_empty() {
        Part::value_variants()
    } else {
        &arguments.parts
    };
    println!("soak: seed {seed}");
    let program = run::step("building the program", || build(place))?;
    let mut rows = Vec::new();
    for part in parts {
        let folder = folder(place).join(part.name());
        let start = Instant::now();
        let mut tally = Tally::default();
        let outcome = match part.lacking(place) {
            Some(why) => Outcome::NotRun(why),
            None => {
                println!("  {} …", part.name());
                let ran = play(place, *part, arguments, &program, &folder, seed, &mut tally);
                ran.unwrap_or_else(Outcome::Violated)
            }
        };
        let row = Row {
            part: *part,
            tally,
            outcome,
            took: start.elapsed(),
            log: folder.join("log"),
        };
        println!(
            "  {}: {} in {}",
            part.name(),
            row.verdict(),
            run::duration(row.took)
        );
        rows.push(row);
    }
    println!("\n{}", render(&rows));
    for row in &rows {
        row.tell(seed);
    }
    Ok(!rows.iter().any(|row| matches!(row.outcome, Outcome::Violated(_))))
}

fn folder(place: &Place) -> PathBuf {
    place.at("target/soak")
}

/// Builds the program with the feature, and takes it away from where the program that is shipped is looked for.
fn build(place: &Place) -> Result<PathBuf> {
    let arguments = [
        "build",
        "-p",
        "gatepass-cli",
        "--bin",
        "gatepass",
        "--features",
        "soak",
    ];
    let mut command = run::program("cargo", arguments);
    command.current_dir(&place.root);
    run::quiet(command)?;
    let name = format!("gatepass{}", std::env::consts::EXE_SUFFIX);
    let built = place.cargo_target().join("debug").join(&name);
    let ours = folder(place).join(&name);
    fs::create_dir_all(folder(place)).context("creating target/soak")?;
    // In one stroke, and under a new inode: a program that runs cannot be written over.
    let beside = ours.with_extension("new");
    fs::copy(&built, &beside)
        .and_then(|_| fs::rename(&beside, &ours))
        .with_context(|| format!("taking over {}", built.display()))?;
    fs::remove_file(&built).with_context(|| format!("removing {}", built.display()))?;
    Ok(ours)
}

fn play(
    place: &Place,
    part: Part,
    arguments: &SoakArguments,
    program: &Path,
    folder: &Path,
    seed: u64,
    tally: &mut Tally,
) -> Result<Outcome> {
    // What an interrupted run may have left behind.
    Small::unmount(&folder.join(DISK));
    let mut stage = Stage::new(folder.to_owned(), program.to_owned())?;
    let mut dice = Dice::new(seed);
    let kills = arguments.kills;
    match part {
        Part::KillsGrace => {
            let mut server = Server::of_tests(&stage, "grace:60")?;
            kills::run(&stage, &mut server, Kind::Grace, kills, &mut dice, tally)?;
        }
        Part::KillsStrict => {
            let mut server = Server::of_tests(&stage, "strict")?;
            kills::run(&stage, &mut server, Kind::Strict, kills, &mut dice, tally)?;
        }
        Part::KillsProvider => {
            let mut server = Server::provider(place, &stage)?;
            kills::run(&stage, &mut server, Kind::Strict, kills, &mut dice, tally)?;
        }
        Part::KillsCrowd => {
            let mut server = Server::of_tests(&stage, "grace:60")?;
            crowd::run(&stage, &mut server, kills, arguments.processes, &mut dice, tally)?;
        }
        Part::Expiries => {
            expiries::run(&mut stage, arguments.expiries, arguments.processes, tally)?;
        }
        Part::DiskFull => {
            let disk = match Small::mount(folder.join(DISK)) {
                Ok(disk) => disk,
                Err(error) => {
                    let why = error.to_string();
                    // After the command comes what it said, and that ends with the reason.
                    let why = why.lines().nth(1).unwrap_or(&why).trim_end_matches('.');
                    let why = why.rsplit(": ").next().unwrap_or(why);
                    return Ok(Outcome::NotRun(format!(
                        "a small file system cannot be mounted: {why}"
                    )));
                }
            };
            disk::run(&mut stage, &disk, arguments.rounds, &mut dice, tally)?;
        }
        Part::Keyring => keyring::run(&mut stage, arguments.rounds, &mut dice, tally)?,
    }
    if tally.sent == 0 {
        bail!("no refresh was sent: nothing is shown");
    }
    Ok(Outcome::Held)
}

impl Row {
    fn verdict(&self) -> String {
        match &self.outcome {
            Outcome::Held => "held".to_owned(),
            Outcome::NotRun(why) => format!("not run: {why}"),
            Outcome::Violated(error) => {
                let text = error.to_string();
                format!("VIOLATED: {}", text.lines().next().unwrap_or_default())
            }
        }
    }

    fn sessions_lost(&self) -> usize {
        self.tally.lost.values().map(Vec::len).sum()
    }

    /// What does not fit into the table.
    fn tell(&self, seed: u64) {
        let name = self.part.name();
        for (cause, whose) in &self.tally.lost {
            println!("{name}: {} lost: {cause}", whose.len());
        }
        for note in &self.tally.notes {
            println!("{name}: {note}");
        }
        if let Outcome::Violated(error) = &self.outcome {
            println!("{name}: VIOLATED: {error:#}");
            println!("  log: {}; seed: {seed}", self.log.display());
        }
    }
}

fn render(rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([
        "part",
        "result",
        "kills",
        "expiries",
        "faults",
        "refreshes",
        "reuses",
        "lost",
        "time",
    ]);
    for row in rows {
        let tally = &row.tally;
        table.add_row([
            row.part.name(),
            row.verdict(),
            tally.kills.to_string(),
            tally.expiries.to_string(),
            tally.faults.to_string(),
            tally.sent.to_string(),
            tally.reuses.to_string(),
            row.sessions_lost().to_string(),
            run::duration(row.took),
        ]);
    }
    format!(
        "{table}\nfaults: full disks, keyrings away; refreshes: sent, all processes together; reuses: detected by the server; \
         lost: sessions"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_names_what_was_lost_and_what_did_not_run() {
        let row = |part, outcome| Row {
            part,
            tally: Tally::default(),
            outcome,
            took: Duration::from_secs(3),
            log: PathBuf::new(),
        };
        let mut strict = row(Part::KillsStrict, Outcome::Held);
        strict.tally.lost(Cause::AnswerDied, "process 3");
        strict.tally.lost(Cause::AnswerDied, "process 9");
        assert_eq!(strict.sessions_lost(), 2);
        let error = anyhow::anyhow!("process 7: exit code 10").context("round 3");
        let text = render(&[
            strict,
            row(Part::DiskFull, Outcome::NotRun("no mount".into())),
            row(Part::Keyring, Outcome::Violated(error)),
        ]);
        for part in ["kills-strict", "not run: no mount", "VIOLATED: round 3", "3.0 s"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
