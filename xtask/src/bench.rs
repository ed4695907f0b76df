//! `cargo xtask bench`: Gatepass beside its peers, and how many instructions its own functions take.
//!
//! Times are reported, for no machine is ever the same twice. Instructions are counted by callgrind and are the same every
//! time, so they are held against `bench/instructions.toml`: more than `TOLERANCE` above fails. The counts belong to one
//! compiler and one valgrind; under others they are reported only.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use crate::place::Place;
use crate::run;

/// How many per cent more a function may take before it fails. Without a change nothing moves; this much a change of layout
/// may cost.
const TOLERANCE: u64 = 3;
const COUNTS: &str = "bench/instructions.toml";

/// What to measure.
#[derive(Args)]
pub(crate) struct BenchArguments {
    /// Only these parts of the benchmarks, such as `url` or `redirect`.
    #[arg(long)]
    only: Vec<String>,
    /// Only the counts of instructions. Needs valgrind.
    #[arg(long)]
    instructions: bool,
    /// Write the counts of this machine to bench/instructions.toml.
    #[arg(long, requires = "instructions")]
    accept: bool,
}

/// Runs the benchmarks; `false` if something that must not be missed was.
pub(crate) fn bench(place: &Place, arguments: &BenchArguments) -> Result<bool> {
    if arguments.instructions {
        return instructions(place, arguments.accept);
    }
    let mut build = run::program("cargo", ["build", "--release", "--package", "gatepass-bench"]);
    build.current_dir(&place.root);
    run::shown(build)?;
    let mut bench = Command::new(program(place.cargo_target(), "gatepass-bench"));
    for only in &arguments.only {
        bench.args(["--only", only]);
    }
    let met = run::shown(bench).is_ok();
    if !arguments.only.is_empty() {
        return Ok(met);
    }
    if which::which("valgrind").is_err() {
        println!("\ninstructions: not run, no `valgrind`: cargo xtask setup --part bench");
        return Ok(met);
    }
    Ok(instructions(place, false)? && met)
}

fn program(target: PathBuf, name: &str) -> PathBuf {
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    target.join("release").join(name)
}

/// Counts, compares, prints; `false` if a function takes more than it may.
pub(crate) fn instructions(place: &Place, accept: bool) -> Result<bool> {
    let counted = count(place)?;
    let tools = Tools::here()?;
    if accept {
        let path = place.at(COUNTS);
        std::fs::write(&path, render(&tools, &counted)).with_context(|| format!("{}", path.display()))?;
        println!("written to {COUNTS}");
    }
    let text = std::fs::read_to_string(place.at(COUNTS)).context(COUNTS)?;
    let (known_tools, known) = parse(&text)?;
    let binding = known_tools == tools;
    let (table, over) = compare(&counted, &known);
    println!("\ninstructions of one call, counted by callgrind\n{table}");
    if !binding {
        println!(
            "not held against the file: that is of {} with {}, this is {} with {}",
            known_tools.rustc, known_tools.valgrind, tools.rustc, tools.valgrind
        );
        return Ok(true);
    }
    for name in &over {
        println!(
            "{name} takes more than {TOLERANCE} % more instructions than {COUNTS} says; if that is what it costs, \
             `cargo xtask bench --instructions --accept`"
        );
    }
    Ok(over.is_empty())
}

/// What the counts depend on besides the code.
#[derive(Debug, PartialEq, Eq)]
struct Tools {
    rustc: String,
    valgrind: String,
}

impl Tools {
    fn here() -> Result<Self> {
        let first_line = |text: String| text.lines().next().unwrap_or_default().trim().to_owned();
        // The hash beside the version names the very compiler; the target decides which code is chosen.
        let rustc = first_line(run::quiet(run::program("rustc", ["--version"]))?);
        Ok(Self {
            rustc: format!("{rustc} for {}", std::env::consts::ARCH),
            valgrind: first_line(run::quiet(run::program("valgrind", ["--version"]))?),
        })
    }
}

fn count(place: &Place) -> Result<BTreeMap<String, u64>> {
    // A folder of its own: with other features the same crates would be built to and fro.
    let target = place.at("target/instructions");
    let mut build = run::program(
        "cargo",
        [
            "build",
            "--release",
            "--package",
            "gatepass-bench",
            "--no-default-features",
        ],
    );
    build
        .args(["--bin", "gatepass-instructions", "--target-dir"])
        .arg(&target);
    build.current_dir(&place.root);
    run::shown(build)?;
    let program = program(target, "gatepass-instructions");
    let list = run::quiet(Command::new(&program))?;
    let mut lines = list.lines();
    let times: u64 = lines
        .next()
        .and_then(|line| line.strip_prefix("times ")?.parse().ok())
        .context("gatepass-instructions does not say how often it repeats its work")?;
    lines
        .map(|name| {
            let mut command =
                run::program("valgrind", ["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
            command.arg("--toggle-collect=gatepass_instructions::measured*");
            command.arg(&program).arg(name);
            let said = run::quiet(command)?;
            let count = collected(&said).with_context(|| format!("callgrind counted nothing:\n{said}"))?;
            Ok((name.to_owned(), count / times))
        })
        .collect()
}

/// From callgrind's "==123== Collected : 4567".
fn collected(said: &str) -> Option<u64> {
    let line = said.lines().find(|line| line.contains("Collected :"))?;
    line.rsplit(':')
        .next()?
        .trim()
        .parse()
        .ok()
        .filter(|count| *count > 0)
}

fn compare(counted: &BTreeMap<String, u64>, known: &BTreeMap<String, u64>) -> (Table, Vec<String>) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["function", "instructions", "in the file", "change"]);
    let mut over = Vec::new();
    for (name, count) in counted {
        let change = known
            .get(name)
            .map(|known| as_float(*count) / as_float(*known) - 1.0);
        // A function that the file does not know is not held to anything, which must not go unnoticed.
        if known
            .get(name)
            .is_none_or(|known| count * 100 > known * (100 + TOLERANCE))
        {
            over.push(name.clone());
        }
        table.add_row([
            name.clone(),
            count.to_string(),
            known.get(name).map_or_else(|| "–".to_owned(), u64::to_string),
            change.map_or_else(|| "new".to_owned(), |change| format!("{:+.1} %", change * 100.0)),
        ]);
    }
    (table, over)
}

/// Counts are far below what a float holds exactly.
#[allow(clippy::cast_precision_loss, reason = "see above")]
fn as_float(count: u64) -> f64 {
    count as f64
}

fn render(tools: &Tools, counted: &BTreeMap<String, u64>) -> String {
    let mut text = format!(
        "# Instructions of one call, by `cargo xtask bench --instructions --accept`.\n\
         rustc = {:?}\nvalgrind = {:?}\n\n[counts]\n",
        tools.rustc, tools.valgrind
    );
    for (name, count) in counted {
        text.push_str(&format!("{name} = {count}\n"));
    }
    text
}

/// What `render` writes, and nothing else that TOML could hold.
fn parse(text: &str) -> Result<(Tools, BTreeMap<String, u64>)> {
    let mut values = BTreeMap::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with(['#', '[']) {
            continue;
        }
        let Some((name, value)) = line.split_once(" = ") else {
            bail!("{COUNTS}: {line:?} is not a name and a value");
        };
        values.insert(name.to_owned(), value.trim_matches('"').to_owned());
    }
    let mut tool = |name: &str| {
        values
            .remove(name)
            .with_context(|| format!("{COUNTS} names no {name}"))
    };
    let tools = Tools {
        rustc: tool("rustc")?,
        valgrind: tool("valgrind")?,
    };
    let counts = values
        .into_iter()
        .map(|(name, value)| {
            let count = value.parse().with_context(|| format!("{COUNTS}: {name}"))?;
            Ok((name, count))
        })
        .collect::<Result<_>>()?;
    Ok((tools, counts))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    #[test]
    fn the_file_comes_back_as_it_went() {
        let tools = Tools {
            rustc: "rustc 1.95.0 (59807616e 2026-04-14) for x86_64".into(),
            valgrind: "valgrind-3.19.0".into(),
        };
        let counted = counts(&[("callback", 7), ("url", 9)]);
        let text = render(&tools, &counted);
        assert_eq!(parse(&text).unwrap(), (tools, counted));
        assert!(parse("callback: 7").is_err());
        assert!(parse("callback = 7\n").is_err(), "of which compiler?");
    }

    #[test]
    fn more_than_the_tolerance_and_what_is_new_are_told() {
        let known = counts(&[("a", 1000), ("b", 1000), ("c", 1000)]);
        let counted = counts(&[("a", 1030), ("b", 1031), ("c", 1), ("d", 5)]);
        assert_eq!(compare(&counted, &known).1, ["b", "d"]);
    }

    #[test]
    fn callgrind_tells_what_it_collected() {
        let said = "==1== Events    : Ir\n==1== Collected : 61250\n";
        assert_eq!(collected(said), Some(61_250));
        assert_eq!(
            collected("==1== Collected : 0\n"),
            None,
            "the function was not met"
        );
        assert_eq!(collected(""), None);
    }
}
