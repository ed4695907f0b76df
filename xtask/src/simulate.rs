//! `cargo xtask simulate`: many histories of the whole client in a world of its own, with faults at every port; and whether
//! the simulator sees what it is there for: bugs that are planted in a copy, one after the other.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::place::Place;
use crate::planted::{Looked, patches, plant_each};
use crate::run;

const PACKAGE: &str = "gatepass-simulator";
const MUTANTS: &str = "tests/simulator/mutants";

/// How many histories, and which.
#[derive(Args)]
pub(crate) struct SimulateArguments {
    /// How many histories.
    #[arg(long, default_value_t = 2_000)]
    histories: u64,
    /// The seed of the first one; each next one has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often each fault must have happened at each port; less is a failure.
    #[arg(long, default_value_t = 0)]
    at_least: u64,
    /// Run the history of one seed, and tell what happens in it.
    #[arg(long, conflicts_with_all = ["histories", "mutants"])]
    replay: Option<u64>,
    /// Plant the bugs of tests/simulator/mutants in a copy: each must be seen within so many histories.
    #[arg(long)]
    mutants: bool,
    /// Only the planted bugs with this in their names.
    #[arg(long, requires = "mutants")]
    only: Option<String>,
}

/// Runs them; `false` if something was broken, or a planted bug was not seen.
pub(crate) fn simulate(place: &Place, arguments: &SimulateArguments) -> Result<bool> {
    if arguments.mutants {
        return mutants(place, arguments);
    }
    let mut build = run::program("cargo", ["build", "--release", "--package", PACKAGE]);
    build.current_dir(&place.root);
    run::shown(build)?;
    let mut simulator = Command::new(place.cargo_target().join("release").join(PACKAGE));
    match arguments.replay {
        Some(seed) => simulator.args(["--replay", &seed.to_string()]),
        None => simulator
            .args(["--histories", &arguments.histories.to_string()])
            .args(["--seed", &arguments.seed.to_string()])
            .args(["--at-least", &arguments.at_least.to_string()]),
    };
    Ok(run::shown(simulator).is_ok())
}

fn mutants(place: &Place, arguments: &SimulateArguments) -> Result<bool> {
    let folder = place.at("target/mutants");
    let patches = patches(&place.at(MUTANTS), arguments.only.as_deref())?;
    let columns = ["histories", "what was seen"];
    let missed = |name: &str| format!("nothing was seen of {name}");
    plant_each(place, &folder, patches, &columns, missed, |copy, bug| {
        let looking = format!("looking for {}", bug.name);
        let (histories, violation) = run::step(&looking, || look(copy, &folder, arguments))?;
        let said = violation.as_deref().unwrap_or("NOTHING");
        Ok(Looked {
            found: violation.is_some(),
            cells: vec![histories, said.chars().take(90).collect()],
        })
    })
}

/// How many histories it took, and what the first violation says.
fn look(copy: &Path, folder: &Path, arguments: &SimulateArguments) -> Result<(String, Option<String>)> {
    // A folder of its own, kept, so that what the copy depends on is built once.
    let target = folder.join("build");
    let mut build = run::program("cargo", ["build", "--release", "--package", PACKAGE]);
    build.current_dir(copy).env("CARGO_TARGET_DIR", &target);
    run::quiet(build)?;
    let output = Command::new(target.join("release").join(PACKAGE))
        .args(["--histories", &arguments.histories.to_string()])
        .args(["--seed", &arguments.seed.to_string()])
        .arg("--stop")
        .output()
        .context("starting the simulator")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let closing = text.lines().last().unwrap_or_default();
    let Some((histories, _)) = closing.split_once(" histories, ") else {
        bail!(
            "the simulator broke off: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let violation = text
        .lines()
        .find_map(|line| line.strip_prefix("VIOLATION, "))
        .and_then(|line| line.split_once(": "))
        .map(|(_, what)| what.to_owned());
    Ok((histories.to_owned(), violation))
}
