//! `cargo xtask test`: runs every part this machine can run and closes with a table.
//!
//! To add a part: an entry in `PARTS`. Without names a part whose toolchain is missing is "not run", with
//! the reason; named, or with CI=true, it fails.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::place::Place;
use crate::setup::{self, SetupArguments};
use crate::soak::{self, SoakArguments};
use crate::swift::{self, Swift};
use crate::table::{self, Outcome, Row};
use crate::{bench, bindings, run, steps};

/// Which parts to run.
#[derive(Args)]
pub(crate) struct TestArguments {
    /// Part names, such as `rust` or `swift` (default: every part this machine has the toolchain for).
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(PARTS.iter().map(|part| part.name)))]
    parts: Vec<String>,
}

/// Whether a part can run here.
enum Readiness {
    Ready,
    /// The checkout holds no such code yet: never a failure. Goes when every part has landed.
    NoCode(&'static str),
    /// There is no such thing on this kind of machine: never a failure.
    NotHere(&'static str),
    /// The machine lacks something.
    NoToolchain(String),
}

/// One part of the tests.
struct Part {
    name: &'static str,
    budget: Option<Duration>,
    readiness: fn(&Place) -> Readiness,
    work: fn(&Place) -> Result<()>,
}

/// Everything, from nothing, on two cores.
const TOTAL_BUDGET: Duration = Duration::from_secs(45 * 60);

const PARTS: [Part; 8] = [
    Part {
        name: "rust",
        budget: Some(Duration::from_secs(5 * 60)),
        readiness: |_| Readiness::Ready,
        work: rust,
    },
    Part {
        name: "doctor",
        budget: Some(Duration::from_secs(3 * 60)),
        readiness: |_| Readiness::Ready,
        work: doctor,
    },
    Part {
        name: "kotlin",
        budget: None,
        readiness: |_| lacking(&["javac", "mvn"], "kotlin"),
        work: kotlin,
    },
    Part {
        name: "swift",
        budget: None,
        readiness: swift_readiness,
        work: swift,
    },
    Part {
        name: "interop",
        budget: None,
        readiness: interop_readiness,
        work: interop,
    },
    Part {
        name: "keychain",
        budget: Some(Duration::from_secs(3 * 60)),
        readiness: keychain_readiness,
        work: keychain,
    },
    Part {
        name: "soak",
        budget: Some(Duration::from_secs(3 * 60)),
        readiness: |_| Readiness::Ready,
        work: soak,
    },
    Part {
        name: "instructions",
        budget: Some(Duration::from_secs(5 * 60)),
        readiness: |_| lacking(&["valgrind"], "bench"),
        work: instructions,
    },
];

/// Runs the parts; `false` if any failed.
pub(crate) fn test(place: &Place, arguments: &TestArguments) -> Result<bool> {
    let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    if ci {
        let parts = vec![
            setup::Part::Kotlin,
            setup::Part::Swift,
            setup::Part::Interop,
            setup::Part::Keychain,
            setup::Part::Bench,
        ];
        setup::setup(place, &SetupArguments { yes: true, parts })?;
    }
    let named = |part: &Part| arguments.parts.iter().any(|name| name == part.name);
    let chosen = PARTS
        .iter()
        .filter(|part| arguments.parts.is_empty() || named(part));
    let rows: Vec<Row> = chosen
        .map(|part| run_part(place, part, ci || named(part)))
        .collect();

    println!("\n{}", table::render(&rows, TOTAL_BUDGET));
    Ok(!rows.iter().any(|row| matches!(row.outcome, Outcome::Failed(_))))
}

fn run_part(place: &Place, part: &Part, required: bool) -> Row {
    println!("\n== {} ==", part.name);
    let start = Instant::now();
    let outcome = match (part.readiness)(place) {
        Readiness::NoCode(what) => Outcome::NotRun(format!("no {what} yet")),
        Readiness::NotHere(why) => Outcome::NotRun(why.to_owned()),
        Readiness::NoToolchain(why) if required => Outcome::Failed(why),
        Readiness::NoToolchain(why) => Outcome::NotRun(why),
        Readiness::Ready => match (part.work)(place) {
            Ok(()) => Outcome::Passed,
            Err(error) => {
                println!("error: {error:#}");
                // Only the first line goes into the table; the rest was just shown.
                Outcome::Failed(error.to_string().lines().next().unwrap_or_default().to_owned())
            }
        },
    };
    match &outcome {
        Outcome::NotRun(why) => println!("not run: {why}"),
        Outcome::Failed(why) => println!("FAILED: {why}"),
        Outcome::Passed => {}
    }
    Row {
        part: part.name,
        outcome,
        took: start.elapsed(),
        budget: part.budget,
    }
}

fn rust(place: &Place) -> Result<()> {
    // Doc tests are part of this. The bench crate builds the peers we compare with: minutes, and no test.
    let arguments = [
        "test",
        "--workspace",
        "--exclude",
        "gatepass-bench",
        "--all-features",
    ];
    let mut command = run::program("cargo", arguments);
    command.current_dir(&place.root);
    run::shown(command)
}

/// The program against its broken hosts: also a part of `rust`, here for whoever works on the checks.
fn doctor(place: &Place) -> Result<()> {
    let arguments = ["test", "--package", "gatepass-cli", "--test", "cli", "--"];
    let mut command = run::program("cargo", arguments);
    command.args(["doctor", "association"]);
    command.current_dir(&place.root);
    run::shown(command)
}

fn kotlin(place: &Place) -> Result<()> {
    bindings::build_for_tests(place)?;
    // Maven leaves the classes of a source that is gone, tests among them.
    let built = place.at("target/kotlin");
    if built.exists() {
        std::fs::remove_dir_all(&built).with_context(|| format!("emptying {}", built.display()))?;
    }
    // Not -q, which would silence the number of tests as well; without a terminal Maven's
    // transfer lines are the noise, and they have a switch of their own.
    let mut command = run::program("mvn", ["-B", "--no-transfer-progress", "test", "-f"]);
    command.arg(place.at("bindings/kotlin/pom.xml"));
    command.arg(run::property(
        "gatepass.generated",
        &place.bindings().join("kotlin"),
    ));
    command.arg(run::property("gatepass.library", &place.library_for_jar()));
    command.current_dir(&place.root);
    run::shown(command)?;
    match interop_readiness(place) {
        Readiness::Ready => kotlin_interop(place),
        Readiness::NoCode(why) | Readiness::NotHere(why) => {
            println!("not run: Kotlin at a certified server: {why}");
            Ok(())
        }
        Readiness::NoToolchain(why) => {
            println!("not run: Kotlin at a certified server: {why}");
            Ok(())
        }
    }
}

/// A Kotlin program at a certified server, through a real browser.
fn kotlin_interop(place: &Place) -> Result<()> {
    let tests = place.at("target/kotlin/gatepass-tests");
    let others = std::fs::read_to_string(tests.join("classpath")).context("Maven wrote no classpath")?;
    let mut classpath = tests.join("test-classes").into_os_string();
    for entry in std::env::split_paths(others.trim()) {
        classpath.push(if cfg!(windows) { ";" } else { ":" });
        classpath.push(entry);
    }
    let mut command = run::program("node", ["--test", "--test-reporter=spec", "kotlin.test.mjs"]);
    command.current_dir(place.at("tests/interop"));
    command
        .env("GATEPASS_KOTLIN", classpath)
        .env("CHROMIUM", steps::browser()?);
    run::shown(command)
}

fn swift_readiness(place: &Place) -> Readiness {
    match swift::find(place) {
        Swift::Missing => Readiness::NoToolchain("no `swift`: cargo xtask setup --part swift".into()),
        Swift::Installed | Swift::Root => Readiness::Ready,
    }
}

fn swift(place: &Place) -> Result<()> {
    bindings::build_for_tests(place)?;
    let native = place.bindings().join("native");
    // Its own build folder: the products of a Mac's and of the root's compiler must not meet in .build.
    let build = place.at("target/swift-build");
    let environment: [(&str, &OsStr); 2] = [
        ("LD_LIBRARY_PATH", native.as_os_str()),
        ("DYLD_LIBRARY_PATH", native.as_os_str()),
    ];
    let swift_test = |subcommand: &[&str]| -> Result<std::process::Command> {
        let mut command = swift::command(place, "swift", &place.root, &environment)?;
        command.arg("test").args(subcommand);
        command.arg("--scratch-path").arg(&build);
        command.args(["-Xlinker", "-L"]).arg("-Xlinker").arg(&native);
        Ok(command)
    };
    run::shown(swift_test(&[])?)?;
    // SwiftPM is content with no tests at all. A test is listed as `Module.name`; the rest is progress.
    let listed = run::quiet(swift_test(&["list", "--skip-build"])?)?;
    if !listed.lines().any(|line| line.contains("Tests.")) {
        bail!("the Swift package holds no tests");
    }
    run::step("Apple's part, against stubs", || {
        swift::check_against_stubs(place, &build)
    })?;

    let consumer = swift::build_consumer(place, &environment, &native)?;
    match interop_readiness(place) {
        Readiness::Ready => swift_interop(place, &consumer, &environment),
        Readiness::NoCode(why) | Readiness::NotHere(why) => {
            println!("not run: Swift at a certified server: {why}");
            Ok(())
        }
        Readiness::NoToolchain(why) => {
            println!("not run: Swift at a certified server: {why}");
            Ok(())
        }
    }
}

/// A Swift program that uses the package from outside, at a certified server, through a real browser.
fn swift_interop(place: &Place, program: &Path, environment: &[(&str, &OsStr)]) -> Result<()> {
    // Where both see it: the program may be in a root of its own, which holds the checkout and little else.
    let folders = place.at("target/swift-sessions");
    std::fs::create_dir_all(&folders).with_context(|| format!("creating {}", folders.display()))?;
    let started = swift::command(place, &program.to_string_lossy(), &place.root, environment)?;
    let words = std::iter::once(started.get_program()).chain(started.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    // As JSON: the words that enter a root are lines of shell among other things.
    let words = serde_json::to_string(&words)?;

    let mut command = run::program("node", ["--test", "--test-reporter=spec", "swift.test.mjs"]);
    command.current_dir(place.at("tests/interop"));
    command
        .env("GATEPASS_SWIFT", words)
        .env("GATEPASS_SWIFT_FOLDERS", &folders)
        .env("CHROMIUM", steps::browser()?)
        .envs(environment.iter().copied());
    run::shown(command)
}

fn interop_readiness(place: &Place) -> Readiness {
    // The program's crate is in the workspace from the start; its binary gets its name when it has code.
    let manifest = std::fs::read_to_string(place.at("cli/Cargo.toml")).unwrap_or_default();
    if !manifest.contains("name = \"gatepass\"") {
        return Readiness::NoCode("`gatepass` binary in cli/");
    }
    if let missing @ Readiness::NoToolchain(_) = lacking(&["node", "npm"], "interop") {
        return missing;
    }
    if !place.at("tests/interop/node_modules").is_dir() {
        return Readiness::NoToolchain("no npm packages: cargo xtask setup --part interop".into());
    }
    match steps::browser() {
        Ok(_) => Readiness::Ready,
        Err(error) => Readiness::NoToolchain(error.to_string()),
    }
}

fn interop(place: &Place) -> Result<()> {
    let mut build = run::program("cargo", ["build", "-p", "gatepass-cli", "--bin", "gatepass"]);
    build.current_dir(&place.root);
    run::shown(build)?;
    let program = format!("gatepass{}", std::env::consts::EXE_SUFFIX);
    let program = place.cargo_target().join("debug").join(program);
    if !program.is_file() {
        bail!("cargo built no {}", program.display());
    }
    // Started in the folder: what `node --test FOLDER` means differs between Node 20 and 22.
    let mut command = run::program("node", ["--test", "--test-reporter=spec"]);
    command.current_dir(place.at("tests/interop"));
    command
        .env("GATEPASS_BIN", program)
        .env("CHROMIUM", steps::browser()?);
    run::shown(command)
}

fn keychain_readiness(_: &Place) -> Readiness {
    if !cfg!(target_os = "linux") {
        return Readiness::NotHere("a Secret Service of one's own is to be had on Linux only");
    }
    let programs = ["gnome-keyring-daemon", "dbus-daemon", "dbus-send", "secret-tool"];
    lacking(&programs, "keychain")
}

/// The tests of storage that need a real Secret Service; each starts its own.
fn keychain(place: &Place) -> Result<()> {
    let tests = |more: &[&str]| {
        let arguments = [
            "test",
            "-p",
            "gatepass",
            "--features",
            "conformance",
            "--test",
            "storage",
        ];
        let mut command = run::program("cargo", arguments);
        command.args(["--", "--ignored", "secret_service::"]).args(more);
        command.current_dir(&place.root);
        command
    };
    run::shown(tests(&[]))?;
    // A filter that meets nothing is content with it.
    if !run::quiet(tests(&["--list"]))?.contains("secret_service::") {
        bail!("there are no tests of the Secret Service");
    }
    Ok(())
}

/// The soak, small: what of it this machine lacks the means for is "not run" in its table.
fn soak(place: &Place) -> Result<()> {
    let small = SoakArguments {
        kills: 25,
        expiries: 25,
        processes: 8,
        rounds: 3,
        parts: Vec::new(),
        seed: None,
    };
    if !soak::soak(place, &small)? {
        bail!("the soak found a violation");
    }
    Ok(())
}

/// Whether our own functions take more instructions than they did.
fn instructions(place: &Place) -> Result<()> {
    if !bench::instructions(place, false)? {
        bail!("a function takes more instructions than it may");
    }
    Ok(())
}

/// Whether the programs of a part are on the PATH.
fn lacking(programs: &[&str], part: &str) -> Readiness {
    match programs.iter().find(|program| which::which(program).is_err()) {
        Some(program) => Readiness::NoToolchain(format!("no `{program}`: cargo xtask setup --part {part}")),
        None => Readiness::Ready,
    }
}
