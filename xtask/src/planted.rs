//! `cargo xtask planted`: tests that find nothing may be looking nowhere. Plants the bugs of `tests/planted` in a copy, one
//! after the other; the tests named in each must fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use crate::place::Place;
use crate::run;

/// Which bugs to plant.
#[derive(Args)]
pub(crate) struct PlantedArguments {
    /// Only those with this in their names.
    #[arg(long)]
    only: Option<String>,
}

/// Plants one after the other; `false` if one is not found.
pub(crate) fn planted(place: &Place, arguments: &PlantedArguments) -> Result<bool> {
    let folder = place.at("target/planted");
    let patches = patches(&place.at("tests/planted"), arguments.only.as_deref())?;
    let missed = |name: &str| format!("nobody found {name}");
    plant_each(place, &folder, patches, &["found by"], missed, |copy, bug| {
        let tests = bug.text.lines().nth(1);
        let tests = tests.and_then(|line| line.strip_prefix("found by: cargo test "));
        let tests = tests.with_context(|| format!("{} does not say which tests find it", bug.name))?;
        let by = run::step(&format!("looking for {}", bug.name), || {
            find(copy, &folder, tests)
        })?;
        Ok(Looked {
            found: by.is_some(),
            cells: vec![by.unwrap_or_else(|| "NOBODY".to_owned())],
        })
    })
}

/// A bug that is planted.
pub(crate) struct Bug {
    pub(crate) name: String,
    /// The patch, and before it what it does.
    text: String,
}

/// What came of looking for it.
pub(crate) struct Looked {
    pub(crate) found: bool,
    /// What the table says of it, behind its name and what it does.
    pub(crate) cells: Vec<String>,
}

/// Plants the bugs of these patches in a copy of the checkout, one after the other, lets each be looked for there, and closes
/// with a table; `false` if one is not found. `missed` tells of that.
pub(crate) fn plant_each(
    place: &Place,
    folder: &Path,
    patches: Vec<PathBuf>,
    columns: &[&str],
    missed: impl Fn(&str) -> String,
    mut look: impl FnMut(&Path, &Bug) -> Result<Looked>,
) -> Result<bool> {
    let copy = folder.join("checkout");
    run::step("copying the checkout", || copy_checkout(place, &copy))?;
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["planted bug", "what it does"].iter().chain(columns));
    let (mut found, mut not_found) = (0, Vec::new());
    for patch in patches {
        let text = fs::read_to_string(&patch).with_context(|| format!("reading {}", patch.display()))?;
        let name = patch.file_stem().unwrap_or_default();
        let bug = Bug {
            name: name.to_string_lossy().into_owned(),
            text,
        };
        apply(&copy, &patch, false)?;
        let looked = look(&copy, &bug);
        apply(&copy, &patch, true)?;
        let looked = looked?;
        let what = bug.text.lines().next().unwrap_or_default().to_owned();
        table.add_row([bug.name.clone(), what].into_iter().chain(looked.cells));
        match looked.found {
            true => found += 1,
            false => not_found.push(bug.name),
        }
    }
    println!(
        "\n{table}\nplanted bugs: {found} found, {} missed",
        not_found.len()
    );
    for name in &not_found {
        println!("  {}", missed(name));
    }
    Ok(not_found.is_empty())
}

/// The planted bugs of a folder with this in their names.
pub(crate) fn patches(folder: &Path, only: Option<&str>) -> Result<Vec<PathBuf>> {
    let files = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    let mut patches = Vec::new();
    for file in files {
        let path = file?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        if path.extension().is_some_and(|ending| ending == "patch") && name.contains(only.unwrap_or_default())
        {
            patches.push(path);
        }
    }
    if patches.is_empty() {
        bail!("there is no such bug in {}", folder.display());
    }
    patches.sort();
    Ok(patches)
}

/// The first test that failed; `None` if all passed.
fn find(copy: &Path, folder: &Path, tests: &str) -> Result<Option<String>> {
    let mut command = Command::new("cargo");
    command.arg("test").args(tests.split(' ')).current_dir(copy);
    // A folder of its own, kept, so that what the copy depends on is built once.
    command.env("CARGO_TARGET_DIR", folder.join("build"));
    command.env("PROPTEST_FAILURE_PERSISTENCE", "off");
    let output = match run::quiet(command) {
        Ok(_) => return Ok(None),
        Err(error) => format!("{error:#}"),
    };
    let failed = output.lines().find_map(|line| {
        let name = line.strip_prefix("test ")?.strip_suffix(" ... FAILED")?;
        Some(name.to_owned())
    });
    match failed {
        Some(name) => Ok(Some(name)),
        // It does not compile, or broke off: then nothing was found.
        None => bail!("{output}"),
    }
}

/// Everything that git knows or would take.
fn copy_checkout(place: &Place, copy: &Path) -> Result<()> {
    if copy.is_dir() {
        fs::remove_dir_all(copy).with_context(|| format!("removing {}", copy.display()))?;
    }
    let listing = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let mut command = run::program("git", listing);
    command.current_dir(&place.root);
    for name in run::quiet(command)?.split_terminator('\0') {
        let (from, to) = (place.at(name), copy.join(name));
        // Deleted, and git was not told yet.
        if !from.is_file() {
            continue;
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        fs::copy(&from, &to).with_context(|| format!("copying {}", from.display()))?;
    }
    Ok(())
}

fn apply(copy: &Path, patch: &Path, back: bool) -> Result<()> {
    let mut command = Command::new("git");
    command.arg("apply").args(back.then_some("--reverse")).arg(patch);
    // The copy lies in a checkout, and git would take the paths for that one's.
    command.current_dir(copy);
    command.env("GIT_CEILING_DIRECTORIES", copy.parent().unwrap_or(copy));
    run::quiet(command)
        .map(drop)
        .with_context(|| format!("the planted bug {} does not apply any more", patch.display()))
}
