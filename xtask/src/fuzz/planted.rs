//! A fuzzer that finds nothing may be looking nowhere: each target is shown a bug, in a copy, and must find it.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use super::{Ran, Target, build, execute, folder, grouped, program};
use crate::place::Place;
use crate::planted::{apply, copy_checkout};
use crate::run;

/// Plants the bug of each target in turn; `false` if one is not found.
pub(super) fn find(place: &Place, targets: &[&Target], runs: u64) -> Result<bool> {
    let folder = folder(place).join("planted");
    let copy = folder.join("checkout");
    run::step("copying the checkout", || copy_checkout(place, &copy))?;
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([
        "target",
        "planted bug",
        "found by",
        "executions",
        "what the property said",
    ]);
    let (mut found, mut missed) = (0, Vec::new());
    for target in targets {
        let patch = place.at("fuzz/planted").join(format!("{}.patch", target.name));
        let text = fs::read_to_string(&patch).with_context(|| format!("reading {}", patch.display()))?;
        let what = text.lines().next().unwrap_or_default().to_owned();
        apply(&copy, &patch, false)?;
        let outcome = run_planted(place, &copy, &folder, target, runs);
        apply(&copy, &patch, true)?;
        let ran = outcome?;
        let (by, said) = match &ran.finding {
            Some((panic, _)) if ran.in_corpus => ("the corpus", panic.as_str()),
            Some((panic, _)) => ("the fuzzer", panic.as_str()),
            None => ("NOBODY", ""),
        };
        match ran.finding {
            Some(_) => found += 1,
            None => missed.push(target.name),
        }
        let said: String = said.chars().take(60).collect();
        table.add_row([target.name, &what, by, &grouped(ran.executions), &said]);
    }
    println!("\n{table}\nplanted bugs: {found} found, {} missed", missed.len());
    for name in &missed {
        println!("  {name} did not find its own");
    }
    Ok(missed.is_empty())
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
