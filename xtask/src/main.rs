//! The project's chores that are too long for a one-liner: `cargo xtask setup`, `test`, `bench`, `fuzz`,
//! `simulate`, `soak`, `planted`, `bindgen`, `aar`, `crates`, `sbom`.
//!
//! Data flows `main` → one chore (`setup`, `test`, `bench`, `fuzz`, `simulate`, `soak`, `planted`, `bindings`, `aar`,
//! `supply`) →
//! `run`, which starts the programs. What differs between machines (Debian's packages, where Swift lives) is in `debian` and
//! `swift`.

// A chore talks to the person who started it: its output is its product, not a stray debug line.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod aar;
mod bench;
mod bindings;
mod debian;
mod fuzz;
mod place;
mod planted;
mod run;
mod setup;
mod simulate;
mod soak;
mod steps;
mod supply;
mod swift;
mod table;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::place::Place;

/// Gatepass's chores. Every one says what it does before it does it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what the tests and checks need. Skips what is there already.
    Setup(setup::SetupArguments),
    /// Run every test this machine can run, and say in a table what did not run and why.
    Test(test::TestArguments),
    /// Measure Gatepass beside its peers, and count the instructions of its own functions.
    Bench(bench::BenchArguments),
    /// Run the fuzz targets, and say in a table how often and what was found.
    Fuzz(fuzz::FuzzArguments),
    /// Run histories of the whole client in a world of its own, with faults at every port.
    Simulate(simulate::SimulateArguments),
    /// Plant bugs in a copy, one after the other: the tests that are there for them must find each.
    Planted(planted::PlantedArguments),
    /// Kill and hinder the real program at real servers, and say in a table what was lost and why.
    Soak(soak::SoakArguments),
    /// Build the shared library and generate its Kotlin and Swift into target/bindings.
    Bindgen(bindings::BindgenArguments),
    /// Build what Kotlin apps get into a Maven repository in target/maven, and try it as they would.
    Aar(aar::AarArguments),
    /// Count the crates in the builds that people ship, and fail if there are more than agreed on in .ci/crates.
    Crates,
    /// Write a bill of materials (CycloneDX) for each of those builds into target/sbom.
    Sbom,
}

fn main() -> ExitCode {
    let done = Place::find().and_then(|place| match Arguments::parse().chore {
        Chore::Setup(arguments) => setup::setup(&place, &arguments).map(|()| true),
        Chore::Test(arguments) => test::test(&place, &arguments),
        Chore::Bench(arguments) => bench::bench(&place, &arguments),
        Chore::Fuzz(arguments) => fuzz::fuzz(&place, &arguments),
        Chore::Simulate(arguments) => simulate::simulate(&place, &arguments),
        Chore::Planted(arguments) => planted::planted(&place, &arguments),
        Chore::Soak(arguments) => soak::soak(&place, &arguments),
        Chore::Bindgen(arguments) => bindings::bindgen(&place, &arguments).map(|()| true),
        Chore::Aar(arguments) => aar::aar(&place, &arguments).map(|()| true),
        Chore::Crates => supply::crates(&place),
        Chore::Sbom => supply::sbom(&place).map(|()| true),
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
