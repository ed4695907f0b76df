//! `cargo xtask fuzz`: runs the fuzz targets, measures what their corpora reach, and finds bugs that were planted.
//!
//! libFuzzer by cargo-fuzz, without a sanitizer: Gatepass and nearly all below it is safe Rust, where AddressSanitizer has
//! nothing to see and halves the speed. Overflow checks and debug assertions are on.

mod coverage;
mod planted;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use crate::place::Place;
use crate::setup::{self, SetupArguments};
use crate::{run, steps};

/// What to fuzz, and what to show.
#[derive(Args)]
pub(crate) struct FuzzArguments {
    /// Executions of each target, its corpus included.
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    runs: u64,
    /// Only these targets (default: all). May be given more than once.
    #[arg(long = "target", value_name = "TARGET",
          value_parser = clap::builder::PossibleValuesParser::new(TARGETS.iter().map(|target| target.name)))]
    targets: Vec<String>,
    /// How many targets run side by side.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// Fuzz nothing: measure how many lines of each parser its corpus reaches.
    #[arg(long, conflicts_with_all = ["planted", "minimise"])]
    coverage: bool,
    /// Fuzz copies with one planted bug each: every one must be found.
    #[arg(long, conflicts_with = "minimise")]
    planted: bool,
    /// Fuzz nothing: take over into `fuzz/corpus` what earlier runs found that reaches new code.
    #[arg(long)]
    minimise: bool,
}

/// A target, and the files of the parsers that its corpus must reach.
struct Target {
    name: &'static str,
    parsers: &'static [&'static str],
}

const TARGETS: [Target; 14] = [
    Target {
        name: "callback_url",
        parsers: &["protocol/callback.rs", "protocol/form.rs"],
    },
    Target {
        name: "token_response",
        parsers: &["protocol/token.rs", "protocol/json.rs", "protocol/scope.rs"],
    },
    Target {
        name: "error_response",
        parsers: &["protocol/answer.rs", "protocol/text.rs"],
    },
    Target {
        name: "metadata",
        parsers: &["protocol/metadata.rs"],
    },
    Target {
        name: "jwks",
        parsers: &["protocol/jwk.rs"],
    },
    Target {
        name: "compact_jws",
        parsers: &[
            "protocol/jws.rs",
            "protocol/signature/mod.rs",
            "protocol/signature/aws_lc.rs",
        ],
    },
    Target {
        name: "id_token",
        parsers: &["protocol/id_token.rs", "protocol/claims.rs"],
    },
    Target {
        name: "www_authenticate",
        parsers: &["protocol/www_authenticate.rs"],
    },
    Target {
        name: "stored_record",
        parsers: &["session/record.rs", "client/flow.rs"],
    },
    Target {
        name: "sealed_record",
        parsers: &["adapters/sealing.rs"],
    },
    Target {
        name: "redirect_uri",
        parsers: &[
            "protocol/redirect.rs",
            "protocol/issuer.rs",
            "protocol/endpoint.rs",
            "protocol/resource.rs",
        ],
    },
    Target {
        name: "association",
        parsers: &[
            "protocol/association/apple.rs",
            "protocol/association/links.rs",
            "protocol/association/pattern.rs",
            "protocol/association/document.rs",
            "protocol/association/google.rs",
        ],
    },
    Target {
        name: "app_file",
        parsers: &[
            "protocol/association/binary_xml.rs",
            "protocol/association/proto_xml.rs",
            "protocol/association/binary_plist.rs",
            "protocol/association/property_list.rs",
            "protocol/association/code_signature.rs",
            "protocol/association/backup.rs",
        ],
    },
    // Through a session: no parser of its own.
    Target {
        name: "stored_token",
        parsers: &[],
    },
];

/// No input is longer, in bytes. Limits further up are the unit tests' business. Under instrumentation the host names of long
/// URIs take milliseconds (IDNA), so those are shorter.
fn max_input(name: &str) -> usize {
    if name == "redirect_uri" { 192 } else { 2048 }
}

/// Runs what was asked for; `false` if something was found, or not found that should have been.
pub(crate) fn fuzz(place: &Place, arguments: &FuzzArguments) -> Result<bool> {
    let named = |target: &&Target| {
        arguments.targets.is_empty() || arguments.targets.iter().any(|name| name == target.name)
    };
    let targets: Vec<&Target> = TARGETS.iter().filter(named).collect();
    let parts = vec![setup::Part::Fuzz];
    setup::setup(place, &SetupArguments { yes: true, parts })?;
    if arguments.coverage {
        return coverage::measure(place, &targets);
    }
    if arguments.planted {
        return planted::find(place, &targets, arguments.runs);
    }
    build(place, &place.root, &folder(place).join("build"), None)?;
    if arguments.minimise {
        for target in targets {
            minimise(place, target)?;
        }
        return Ok(true);
    }
    run_all(place, &targets, arguments)
}

/// Everything that fuzzing leaves behind.
fn folder(place: &Place) -> PathBuf {
    place.at("target/fuzz")
}

/// Builds the targets of a checkout, or one of them.
fn build(place: &Place, root: &Path, build: &Path, target: Option<&str>) -> Result<()> {
    let mut command = steps::fuzz_cargo();
    command.args([
        "fuzz",
        "build",
        "--sanitizer",
        "none",
        // A dependency that behaves otherwise when it is fuzzed is not the one that ships.
        "--no-cfg-fuzzing",
        "--fuzz-dir",
        "fuzz",
        "--target",
        &host()?,
        "--target-dir",
    ]);
    command.arg(build).args(target).current_dir(root);
    command.env("PATH", steps::path_with_tools(place)?);
    let what = target.map_or_else(
        || format!("{} fuzz targets", TARGETS.len()),
        |name| format!("fuzz target {name}"),
    );
    run::step(&format!("building {what}"), || run::quiet(command)).map(drop)
}

/// The platform that this is.
fn host() -> Result<String> {
    let text = run::quiet(run::program("rustc", ["-vV"]))?;
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned)
        .context("rustc does not say which platform this is")
}

fn program(build: &Path, name: &str) -> Result<PathBuf> {
    Ok(build.join(host()?).join("release").join(name))
}

/// How a run of a target ended.
struct Ran {
    name: &'static str,
    executions: u64,
    took: Duration,
    corpus: String,
    /// The panic, and where the input lies.
    finding: Option<(String, PathBuf)>,
    /// It happened before anything was mutated.
    in_corpus: bool,
}

fn run_all(place: &Place, targets: &[&Target], arguments: &FuzzArguments) -> Result<bool> {
    println!(
        "fuzzing {} targets, {} executions each",
        targets.len(),
        grouped(arguments.runs)
    );
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<Ran>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(target) = targets.get(at) else { break };
                    let ran = run_one(place, target, arguments.runs);
                    if let Ok(ran) = &ran {
                        println!(
                            "  {} … {} in {}",
                            ran.name,
                            ran.verdict(),
                            run::duration(ran.took)
                        );
                    }
                    match results.lock() {
                        Ok(mut results) => results.push((at, ran)),
                        Err(_) => break,
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_else(|broken| broken.into_inner());
    results.sort_by_key(|(at, _)| *at);
    let rows = results
        .into_iter()
        .map(|(_, ran)| ran)
        .collect::<Result<Vec<_>>>()?;
    println!("\n{}", render(&rows));
    for ran in &rows {
        if let Some((panic, input)) = &ran.finding {
            println!("\n{}: {panic}", ran.name);
            println!("  input:  {}", input.display());
            println!(
                "  replay: cargo run --manifest-path fuzz/Cargo.toml --example replay -- {} {}",
                ran.name,
                input.display()
            );
            println!(
                "  keep it in fuzz/found/{}/, where the tests replay it for ever",
                ran.name
            );
        }
    }
    Ok(rows.iter().all(|ran| ran.finding.is_none()))
}

fn run_one(place: &Place, target: &Target, runs: u64) -> Result<Ran> {
    let program = program(&folder(place).join("build"), target.name)?;
    execute(&place.root, &folder(place), &program, target.name, runs)
}

/// Runs a built target of a checkout on its corpus and goes on from there. What it gathers, says and finds goes below
/// `work`.
fn execute(root: &Path, work: &Path, program: &Path, name: &'static str, runs: u64) -> Result<Ran> {
    let corpus = work.join("corpus").join(name);
    let findings = work.join("findings").join(name);
    for folder in [&corpus, &findings] {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let log = work.join(format!("{name}.log"));
    let output = fs::File::create(&log).with_context(|| format!("creating {}", log.display()))?;
    let mut command = Command::new(program);
    command.args([
        format!("-runs={runs}"),
        format!("-max_len={}", max_input(name)),
        "-timeout=60".to_owned(),
        "-print_final_stats=1".to_owned(),
        format!("-artifact_prefix={}/", findings.display()),
    ]);
    let words = root.join("fuzz/dictionaries").join(name);
    if words.is_file() {
        command.arg(format!("-dict={}", words.display()));
    }
    command.arg(&corpus).arg(root.join("fuzz/corpus").join(name));
    let found_before = root.join("fuzz/found").join(name);
    if found_before.is_dir() {
        command.arg(found_before);
    }
    let start = Instant::now();
    let status = command
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("no second handle on the log")?)
        .stderr(output)
        .status()
        .with_context(|| format!("`{}` could not be started", program.display()))?;
    let took = start.elapsed();
    let log_text = fs::read(&log).with_context(|| format!("reading {}", log.display()))?;
    let log_text = String::from_utf8_lossy(&log_text).into_owned();
    let finding = match (status.success(), artifact(&log_text)) {
        (true, _) => None,
        (false, Some(input)) => Some((panic_of(&log_text), input)),
        (false, None) => bail!("{name} did not run: {status}; see {}", log.display()),
    };
    Ok(Ran {
        name,
        executions: statistic(&log_text, "stat::number_of_executed_units:"),
        took,
        corpus: corpus_of(&log_text),
        finding,
        in_corpus: !log_text.contains("\tINITED "),
    })
}

fn artifact(log: &str) -> Option<PathBuf> {
    let line = log
        .lines()
        .find_map(|line| line.split_once("Test unit written to "))?;
    Some(PathBuf::from(line.1.trim()))
}

/// Where it panicked and why, in one line.
fn panic_of(log: &str) -> String {
    let mut lines = log.lines().skip_while(|line| !line.contains("panicked at "));
    let place = lines
        .next()
        .and_then(|line| line.split_once("panicked at "))
        .map(|(_, place)| place.trim_end_matches(':'));
    match (place, lines.next()) {
        (Some(place), Some(why)) => format!("{why} ({place})"),
        // A time-out, or no memory left.
        _ => log
            .lines()
            .find(|line| line.contains("ERROR: libFuzzer"))
            .unwrap_or("it ended without a word")
            .to_owned(),
    }
}

fn statistic(log: &str, name: &str) -> u64 {
    let value = log.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// "312 inputs" of the last line that tells: `corp: 312/24Kb`.
fn corpus_of(log: &str) -> String {
    let count = log
        .lines()
        .rev()
        .find_map(|line| line.split_once("corp: "))
        .and_then(|(_, rest)| rest.split('/').next());
    count.unwrap_or("–").to_owned()
}

impl Ran {
    fn verdict(&self) -> &'static str {
        match self.finding {
            Some(_) => "FOUND SOMETHING",
            None => "nothing found",
        }
    }
}

fn render(rows: &[Ran]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["target", "executions", "time", "per second", "corpus", "findings"]);
    for ran in rows {
        let per_second = ran.executions as f64 / ran.took.as_secs_f64().max(0.001);
        table.add_row([
            ran.name.to_owned(),
            grouped(ran.executions),
            run::duration(ran.took),
            grouped(per_second as u64),
            ran.corpus.clone(),
            ran.finding.iter().count().to_string(),
        ]);
    }
    let total = rows.iter().map(|ran| ran.executions).sum();
    let findings = rows.iter().filter(|ran| ran.finding.is_some()).count();
    format!(
        "{table}\ntargets: {}, executions: {}, findings: {findings}",
        rows.len(),
        grouped(total)
    )
}

/// "5,000,000".
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Adds to the corpus in the repository what reaches code that it does not reach yet. Short inputs and edges only: those
/// that pass the same way more often would be many, and teach little.
fn minimise(place: &Place, target: &Target) -> Result<()> {
    let program = program(&folder(place).join("build"), target.name)?;
    let kept = place.at("fuzz/corpus").join(target.name);
    let grown = folder(place).join("corpus").join(target.name);
    if !grown.is_dir() {
        println!("  {} … was not run yet", target.name);
        return Ok(());
    }
    let count = |folder: &Path| fs::read_dir(folder).map_or(0, Iterator::count);
    let before = count(&kept);
    let mut command = Command::new(program);
    command.args([
        "-set_cover_merge=1",
        "-use_counters=0",
        "-max_len=96",
        "-timeout=60",
    ]);
    command.arg(&kept).arg(&grown);
    run::quiet(command)?;
    println!(
        "  {} … {} inputs, {} of them new",
        target.name,
        count(&kept),
        count(&kept) - before
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_read_from_its_log() {
        let log = "#2\tINITED cov: 812 ft: 900 corp: 40/3Kb exec/s: 0 rss: 60Mb\n\
                   #4096\tNEW    cov: 820 ft: 950 corp: 41/3Kb lim: 80\n\
                   thread '<unnamed>' (7) panicked at src/fuzzing/token.rs:48:13:\n\
                   a refresh token was lost\n\
                   artifact_prefix='x/'; Test unit written to target/fuzz/findings/token_response/crash-1\n\
                   stat::number_of_executed_units: 4711\n";
        assert_eq!(statistic(log, "stat::number_of_executed_units:"), 4711);
        assert_eq!(corpus_of(log), "41");
        let written = "target/fuzz/findings/token_response/crash-1";
        assert_eq!(artifact(log).unwrap(), Path::new(written));
        assert_eq!(
            panic_of(log),
            "a refresh token was lost (src/fuzzing/token.rs:48:13)"
        );
        assert_eq!(
            panic_of("==1== ERROR: libFuzzer: timeout"),
            "==1== ERROR: libFuzzer: timeout"
        );
    }

    #[test]
    fn the_table_counts() {
        let ran = |finding: bool| Ran {
            name: "jwks",
            executions: 5_000_000,
            took: Duration::from_secs(100),
            corpus: "40".into(),
            finding: finding.then(|| ("why".into(), PathBuf::from("x"))),
            in_corpus: false,
        };
        let text = render(&[ran(false), ran(true)]);
        assert!(text.contains("50,000"), "{text}");
        let end = "targets: 2, executions: 10,000,000, findings: 1";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn every_target_and_parser_is_there() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for target in &TARGETS {
            let source = format!("fuzz/fuzz_targets/{}.rs", target.name);
            assert!(root.join(&source).is_file(), "{source}");
            for parser in target.parsers {
                assert!(root.join("src").join(parser).is_file(), "{parser}");
            }
        }
        let targets = fs::read_dir(root.join("fuzz/fuzz_targets")).unwrap().count();
        assert_eq!(targets, TARGETS.len());
    }
}
