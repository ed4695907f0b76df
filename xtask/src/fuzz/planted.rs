//! A fuzzer that finds nothing may be looking nowhere: each target is shown a bug, in a copy, and must find it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::{Ran, Target, build, execute, folder, grouped, program};
use crate::place::Place;
use crate::planted::{Looked, plant_each};
use crate::run;

/// Plants the bug of each target in turn; `false` if one is not found.
pub(super) fn find(place: &Place, targets: &[&Target], runs: u64) -> Result<bool> {
    let folder = folder(place).join("planted");
    let patch = |target: &&Target| place.at("fuzz/planted").join(format!("{}.patch", target.name));
    let columns = ["found by", "executions", "what the property said"];
    let missed = |name: &str| format!("{name} did not find its own");
    let patches = targets.iter().map(patch).collect();
    plant_each(place, &folder, patches, &columns, missed, |copy, bug| {
        let target = targets.iter().find(|target| target.name == bug.name);
        let target = target.context("a planted bug of no target")?;
        let ran = run_planted(place, copy, &folder, target, runs)?;
        let (by, said) = match &ran.finding {
            Some((panic, _)) if ran.in_corpus => ("the corpus", panic.as_str()),
            Some((panic, _)) => ("the fuzzer", panic.as_str()),
            None => ("NOBODY", ""),
        };
        let said = said.chars().take(60).collect();
        Ok(Looked {
            found: ran.finding.is_some(),
            cells: vec![by.to_owned(), grouped(ran.executions), said],
        })
    })
}

fn run_planted(place: &Place, copy: &Path, folder: &Path, target: &Target, runs: u64) -> Result<Ran> {
    // Its own folder, kept, so that what the copy depends on is built once.
    let build_folder = folder.join("build");
    build(place, copy, &build_folder, Some(target.name))?;
    let corpus = folder.join("corpus").join(target.name);
    // Begins anew each time: what an earlier run found must be found again.
    if corpus.is_dir() {
        fs::remove_dir_all(&corpus).with_context(|| format!("removing {}", corpus.display()))?;
    }
    let program = program(&build_folder, target.name)?;
    run::step(&format!("looking for the bug in {}", target.name), || {
        execute(copy, folder, &program, target.name, runs)
    })
}
