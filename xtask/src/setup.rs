//! `cargo xtask setup`: makes a fresh machine able to run the tests and checks.
//!
//! It looks first, prints what is missing, asks, then installs. What is there is left alone, so running it
//! again costs a second.

use std::io::{IsTerminal, Write};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::place::Place;
use crate::steps::{self, Step};
use crate::{debian, run};

/// What a part of the project needs from the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Part {
    /// JDK 17 and Maven.
    Kotlin,
    /// Swift 6: the machine's own, or a Debian root under target/.
    Swift,
    /// Node, npm and Chromium, for the sign-in test against a real authorization server.
    Interop,
    /// A Secret Service and the bus it lives on, for the tests of the keychain. Linux only.
    Keychain,
    /// valgrind, for counting instructions.
    Bench,
    /// rustfmt, clippy, cargo-deny, cargo-cyclonedx and the oldest supported Rust.
    Lint,
    /// cargo-fuzz, and LLVM's tools for measuring coverage.
    Fuzz,
}

/// What to set up.
#[derive(Args)]
pub(crate) struct SetupArguments {
    /// Do not ask.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Only these parts (default: all). May be given more than once.
    #[arg(long = "part", value_enum)]
    pub(crate) parts: Vec<Part>,
}

/// Installs what is missing.
pub(crate) fn setup(place: &Place, arguments: &SetupArguments) -> Result<()> {
    let parts = if arguments.parts.is_empty() {
        Part::value_variants()
    } else {
        &arguments.parts
    };
    let names = parts
        .iter()
        .filter_map(|part| Some(part.to_possible_value()?.get_name().to_owned()));
    println!("setup: {}", names.collect::<Vec<_>>().join(", "));

    let packages = debian::missing_of(parts.iter().flat_map(|part| steps::programs(place, *part)));
    let missing: Vec<Step> = parts
        .iter()
        .flat_map(|part| steps::of(place, *part))
        .filter(|step| (step.missing)(place))
        .collect();

    if packages.is_empty() && missing.is_empty() {
        println!("  nothing to install");
    } else {
        println!("  to install:");
        for need in &packages {
            println!("  - Debian package {} (for `{}`)", need.package, need.program);
        }
        for step in &missing {
            println!("  - {}", step.what);
        }
        if !packages.is_empty() {
            debian::check(&packages)?;
        }
        if !arguments.yes {
            ask()?;
        }
        if !packages.is_empty() {
            let names: Vec<&str> = packages.iter().map(|need| need.package).collect();
            run::step(&format!("Debian packages {}", names.join(" ")), || {
                debian::install(&names)
            })?;
        }
        for step in &missing {
            run::step(&step.what, || (step.work)(place))?;
        }
    }
    for part in parts {
        for line in steps::verify(place, *part)? {
            println!("  {line}");
        }
    }
    Ok(())
}

fn ask() -> Result<()> {
    if !std::io::stdin().is_terminal() {
        bail!("nobody to ask here: run it with --yes");
    }
    print!("  go ahead? [y/N] ");
    std::io::stdout().flush().context("standard output is closed")?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("no answer")?;
    if !matches!(answer.trim(), "y" | "Y" | "yes") {
        bail!("nothing was installed");
    }
    Ok(())
}
