//! What each part of `setup` consists of: programs from Debian, then steps of its own, then a proof.
//!
//! To add something: a `Need` in `programs`, or a `Step` in `of`.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::debian::Need;
use crate::place::Place;
use crate::run;
use crate::setup::Part;
use crate::swift::{self, Swift};

/// The version of cargo-deny that `deny.toml` is written for.
const CARGO_DENY: &str = "0.20.2";
/// The version of cargo-cyclonedx that `supply` knows the output of.
const CARGO_CYCLONEDX: &str = "0.5.9";
/// The version of cargo-fuzz whose options `fuzz` uses.
const CARGO_FUZZ: &str = "0.13.2";
/// The oldest Rust we support: `rust-version` of the workspace, with the patch level rustup names it by.
const MSRV: &str = concat!(env!("CARGO_PKG_RUST_VERSION"), ".0");
/// Pinned, because Maven 3.8's own choice of this plugin is many years old.
const MAVEN_GO_OFFLINE: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:go-offline";

const JAVA: [Need; 2] = [
    Need {
        program: "javac",
        package: "openjdk-17-jdk-headless",
        plain: "a JDK, 17 or newer",
    },
    Need {
        program: "mvn",
        package: "maven",
        plain: "Apache Maven 3.8 or newer",
    },
];
const NODE: [Need; 2] = [
    Need {
        program: "node",
        package: "nodejs",
        plain: "Node.js 20 or newer",
    },
    Need {
        program: "npm",
        package: "npm",
        plain: "npm",
    },
];
const CHROMIUM: Need = Need {
    program: "chromium",
    package: "chromium",
    plain: "Chromium; or set CHROMIUM to a browser",
};
const SECRET_SERVICE: [Need; 4] = [
    Need {
        program: "gnome-keyring-daemon",
        package: "gnome-keyring",
        plain: "GNOME Keyring",
    },
    Need {
        program: "dbus-daemon",
        package: "dbus",
        plain: "D-Bus",
    },
    Need {
        program: "dbus-send",
        package: "dbus",
        plain: "D-Bus's tools",
    },
    Need {
        program: "secret-tool",
        package: "libsecret-tools",
        plain: "libsecret's secret-tool",
    },
];
const VALGRIND: Need = Need {
    program: "valgrind",
    package: "valgrind",
    plain: "Valgrind 3.19 or newer",
};
const DEBOOTSTRAP: Need = Need {
    program: "debootstrap",
    package: "debootstrap",
    plain: "Swift 6 from swift.org (the `swift` program)",
};

/// One thing that `setup` installs besides Debian's packages.
pub(crate) struct Step {
    /// For the plan and the progress line.
    pub(crate) what: String,
    /// Whether it has to be done. Must be quick.
    pub(crate) missing: fn(&Place) -> bool,
    /// Does it.
    pub(crate) work: fn(&Place) -> Result<()>,
}

/// The programs a part needs from the machine.
pub(crate) fn programs(place: &Place, part: Part) -> Vec<Need> {
    match part {
        Part::Kotlin => JAVA.into(),
        Part::Swift if swift::find(place) == Swift::Missing => vec![DEBOOTSTRAP],
        Part::Keychain if cfg!(target_os = "linux") => SECRET_SERVICE.into(),
        Part::Bench => vec![VALGRIND],
        Part::Swift | Part::Keychain | Part::Lint | Part::Fuzz => Vec::new(),
        Part::Interop if browser_named() => NODE.into(),
        Part::Interop => NODE.into_iter().chain([CHROMIUM]).collect(),
    }
}

/// What a part installs by itself.
pub(crate) fn of(place: &Place, part: Part) -> Vec<Step> {
    match part {
        Part::Kotlin => vec![Step {
            what: "Maven artifacts of bindings/kotlin".into(),
            missing: |place| poms(place).iter().any(|(pom, stamp)| !is_stamped(pom, stamp)),
            work: fetch_maven_artifacts,
        }],
        Part::Swift => vec![Step {
            what: format!(
                "Swift 6 in a private Debian root (3.3 GB, {})",
                place
                    .swift_root()
                    .strip_prefix(&place.root)
                    .unwrap_or(&place.swift_root())
                    .display()
            ),
            missing: |place| swift::find(place) == Swift::Missing,
            work: swift::build_root,
        }],
        Part::Interop => vec![Step {
            what: "npm packages of tests/interop".into(),
            missing: |place| !is_stamped(&npm_lock(place), &npm_stamp(place)),
            work: fetch_npm_packages,
        }],
        Part::Keychain | Part::Bench => Vec::new(),
        Part::Fuzz => vec![
            Step {
                what: "LLVM's tools (rustup component llvm-tools)".into(),
                missing: |_| llvm_tool("llvm-cov").is_err(),
                work: |_| run::quiet(run::program("rustup", ["component", "add", "llvm-tools"])).map(drop),
            },
            Step {
                what: format!("cargo-fuzz {CARGO_FUZZ} (compiles for some minutes, into target/tools)"),
                missing: |place| version_of(place, "cargo-fuzz").as_deref() != Some(CARGO_FUZZ),
                work: |place| install(place, "cargo-fuzz", CARGO_FUZZ),
            },
        ],
        Part::Lint => vec![
            Step {
                what: "rustfmt and clippy".into(),
                missing: |_| {
                    !run::succeeds(run::program("cargo", ["fmt", "--version"]))
                        || !run::succeeds(run::program("cargo", ["clippy", "--version"]))
                },
                work: |_| {
                    run::quiet(run::program("rustup", ["component", "add", "rustfmt", "clippy"])).map(drop)
                },
            },
            Step {
                what: format!("Rust {MSRV}, the oldest supported (rustup)"),
                missing: |_| !run::succeeds(run::program("rustup", ["run", MSRV, "cargo", "--version"])),
                work: |_| {
                    run::quiet(run::program(
                        "rustup",
                        ["toolchain", "install", MSRV, "--profile", "minimal"],
                    ))
                    .map(drop)
                },
            },
            Step {
                what: format!("cargo-deny {CARGO_DENY} (compiles for some minutes, into target/tools)"),
                missing: |place| version_of(place, "cargo-deny").as_deref() != Some(CARGO_DENY),
                work: |place| install(place, "cargo-deny", CARGO_DENY),
            },
            Step {
                what: format!(
                    "cargo-cyclonedx {CARGO_CYCLONEDX} (compiles for some minutes, into target/tools)"
                ),
                missing: |place| version_of(place, "cargo-cyclonedx").as_deref() != Some(CARGO_CYCLONEDX),
                work: |place| install(place, "cargo-cyclonedx", CARGO_CYCLONEDX),
            },
        ],
    }
}

/// Starts what was installed, and gives what answered: a program that is there but does not run is missing.
pub(crate) fn verify(place: &Place, part: Part) -> Result<Vec<String>> {
    Ok(match part {
        Part::Kotlin => vec![
            answer(run::program("javac", ["-version"]), "javac ")?,
            answer(run::program("mvn", ["--version"]), "Apache Maven ")?,
        ],
        Part::Swift => vec![swift::version(place)?],
        Part::Interop => {
            let mut browser = Command::new(browser()?);
            browser.arg("--version");
            let node = answer(run::program("node", ["--version"]), "v")?;
            vec![format!("Node.js {node}"), answer(browser, "Chrom")?]
        }
        Part::Keychain if cfg!(target_os = "linux") => vec![
            answer(
                run::program("gnome-keyring-daemon", ["--version"]),
                "gnome-keyring",
            )?,
            answer(run::program("dbus-daemon", ["--version"]), "D-Bus ")?,
        ],
        Part::Keychain => Vec::new(),
        Part::Bench => vec![answer(run::program("valgrind", ["--version"]), "valgrind-")?],
        Part::Lint => vec![
            answer(
                run::program("rustup", ["run", MSRV, "rustc", "--version"]),
                "rustc ",
            )?,
            format!(
                "cargo-deny {}",
                version_of(place, "cargo-deny").unwrap_or_default()
            ),
            format!(
                "cargo-cyclonedx {}",
                version_of(place, "cargo-cyclonedx").unwrap_or_default()
            ),
        ],
        Part::Fuzz => vec![
            answer(fuzz_compiler(), "rustc ")?,
            format!(
                "cargo-fuzz {}",
                version_of(place, "cargo-fuzz").unwrap_or_default()
            ),
        ],
    })
}

/// The rest of the line from `start` on: colour codes and start scripts speak before some programs do.
fn answer(command: Command, start: &str) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = run::quiet(command)?;
    let line = output
        .lines()
        .find_map(|line| line.get(line.find(start)?..)?.split('\x1b').next());
    line.map(|line| line.trim().to_owned())
        .with_context(|| format!("`{program}` is not the program of that name:\n{output}"))
}

/// The browser of the interop test: the one named by CHROMIUM, else Debian's.
pub(crate) fn browser() -> Result<PathBuf> {
    match std::env::var_os("CHROMIUM") {
        Some(path) => Ok(path.into()),
        None => which::which("chromium").context("no Chromium here: `cargo xtask setup --part interop`"),
    }
}

fn browser_named() -> bool {
    std::env::var_os("CHROMIUM").is_some()
}

/// Where cargo-cyclonedx is.
pub(crate) fn cargo_cyclonedx(place: &Place) -> Result<PathBuf> {
    tool(place, "cargo-cyclonedx").context("no cargo-cyclonedx here: `cargo xtask setup --part lint`")
}

/// A tool of cargo's: the one of this checkout, else the machine's.
fn tool(place: &Place, name: &str) -> Option<PathBuf> {
    let own = place.tools().join("bin").join(name);
    if own.is_file() {
        Some(own)
    } else {
        which::which(name).ok()
    }
}

/// Which version of a cargo subcommand there is.
fn version_of(place: &Place, name: &str) -> Option<String> {
    let mut command = Command::new(tool(place, name)?);
    // As cargo starts it; the others do without.
    command.args((name == "cargo-cyclonedx").then_some("cyclonedx"));
    command.arg("--version");
    run::quiet(command)
        .ok()?
        .split_whitespace()
        .last()
        .map(str::to_owned)
}

fn install(place: &Place, name: &str, version: &str) -> Result<()> {
    let mut command = run::program("cargo", ["install", "--locked", name, "--version", version]);
    command.arg("--root").arg(place.tools());
    // Its own build folder, kept: an interrupted build goes on where it stopped.
    let build = place.tools().join("build");
    command.env("CARGO_TARGET_DIR", &build);
    run::quiet(command)?;
    fs::remove_dir_all(&build).with_context(|| format!("removing {}", build.display()))
}

/// The PATH with the programs that `setup` built for this checkout first.
pub(crate) fn path_with_tools(place: &Place) -> Result<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(place.tools().join("bin")).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).context("a folder of PATH has a name that cannot stand there")
}

fn has_nightly() -> bool {
    run::succeeds(run::program("rustup", ["run", "nightly", "rustc", "--version"]))
}

/// What fuzz targets are built with: a nightly Rust where there is one; else the stable one, told to take nightly options.
pub(crate) fn fuzz_cargo() -> Command {
    if has_nightly() {
        return run::program("rustup", ["run", "nightly", "cargo"]);
    }
    let mut command = Command::new("cargo");
    command.env("RUSTC_BOOTSTRAP", "1");
    command
}

fn fuzz_compiler() -> Command {
    if has_nightly() {
        return run::program("rustup", ["run", "nightly", "rustc", "--version"]);
    }
    run::program("rustc", ["--version"])
}

/// A program of rustup's component llvm-tools, which lies beside the compiler's own libraries.
pub(crate) fn llvm_tool(name: &str) -> Result<PathBuf> {
    let libraries = run::quiet(run::program("rustc", ["--print", "target-libdir"]))?;
    let folder = Path::new(libraries.trim()).with_file_name("bin");
    let tool = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !tool.is_file() {
        bail!("no {name} in {}: cargo xtask setup --part fuzz", folder.display());
    }
    Ok(tool)
}

/// The Maven projects of bindings/kotlin, each with its stamp.
fn poms(place: &Place) -> Vec<(PathBuf, PathBuf)> {
    let project = place.at("bindings/kotlin");
    let modules = fs::read_dir(&project).into_iter().flatten().flatten();
    let folders = std::iter::once(project).chain(modules.map(|module| module.path()));
    folders
        .filter(|folder| folder.join("pom.xml").is_file())
        .map(|folder| {
            let name = folder
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let stamp = place.at("target/setup").join(format!("{name}.pom.xml"));
            (folder.join("pom.xml"), stamp)
        })
        .collect()
}

fn fetch_maven_artifacts(place: &Place) -> Result<()> {
    let mut command = run::program("mvn", ["-q", "-B", MAVEN_GO_OFFLINE, "-f"]);
    command.arg(place.at("bindings/kotlin/pom.xml"));
    run::quiet(command)?;
    for (pom, done) in poms(place) {
        stamp(&pom, &done)?;
    }
    Ok(())
}

fn npm_lock(place: &Place) -> PathBuf {
    place.at("tests/interop/package-lock.json")
}

fn npm_stamp(place: &Place) -> PathBuf {
    place.at("tests/interop/node_modules/.installed-from-package-lock.json")
}

fn fetch_npm_packages(place: &Place) -> Result<()> {
    let mut command = run::program("npm", ["ci", "--no-audit", "--no-fund"]);
    command.current_dir(place.at("tests/interop"));
    run::quiet(command)?;
    stamp(&npm_lock(place), &npm_stamp(place))
}

/// A stamp is a copy of the file that a step was done for. It says "done" as long as the two agree, which
/// survives checkouts that change times and notices edits that do not.
fn stamp(source: &Path, stamp: &Path) -> Result<()> {
    if let Some(folder) = stamp.parent() {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    fs::copy(source, stamp)
        .map(drop)
        .with_context(|| format!("writing {}", stamp.display()))
}

fn is_stamped(source: &Path, stamp: &Path) -> bool {
    match (fs::read(source), fs::read(stamp)) {
        (Ok(now), Ok(then)) => now == then,
        _ => false,
    }
}
