//! How many lines of each parser its corpus reaches, measured by the compiler's own instrumentation.
//!
//! The corpora run through a plain build of the library: what is compiled for tests only is not in it, and so not
//! counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use comfy_table::Table;
use comfy_table::presets::UTF8_FULL_CONDENSED;

use super::{Target, folder};
use crate::place::Place;
use crate::{run, steps};

/// Of the lines of each file.
const LEAST_PERCENT: f64 = 90.0;

/// Lines by number, and how often each was reached.
type Lines = BTreeMap<u32, u64>;

/// Prints the table; `false` if a parser is below the threshold.
pub(super) fn measure(place: &Place, targets: &[&Target]) -> Result<bool> {
    let folder = folder(place).join("coverage");
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let build = folder.join("build");
    let mut command = Command::new("cargo");
    command.args(["build", "--manifest-path"]);
    command.arg(place.at("fuzz/Cargo.toml"));
    command.args(["--example", "replay", "--target-dir"]).arg(&build);
    command.env("RUSTFLAGS", "-C instrument-coverage");
    // Build scripts are instrumented too, and would leave their counts in the checkout.
    command.env("LLVM_PROFILE_FILE", folder.join("build.profraw"));
    run::step("building with coverage", || run::quiet(command))?;
    let replay = build.join("debug/examples/replay");

    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["target", "parser", "lines", "reached", "percent"]);
    let (mut below, mut measured) = (Vec::new(), 0);
    for target in targets.iter().filter(|target| !target.parsers.is_empty()) {
        let files = reached(place, &folder, &replay, target)?;
        for parser in target.parsers {
            let path = place.at("src").join(parser);
            let Some(lines) = files.get(path.to_string_lossy().as_ref()) else {
                bail!("no line of {parser} was compiled in");
            };
            let hit = lines.values().filter(|count| **count > 0).count();
            let percent = 100.0 * hit as f64 / lines.len().max(1) as f64;
            measured += 1;
            if percent < LEAST_PERCENT {
                below.push((target.name, *parser, missed(lines)));
            }
            table.add_row([
                target.name.to_owned(),
                (*parser).to_owned(),
                lines.len().to_string(),
                hit.to_string(),
                format!("{percent:.1}"),
            ]);
        }
    }
    println!("\n{table}");
    println!(
        "parsers: {measured}, below {LEAST_PERCENT} percent: {}",
        below.len()
    );
    for (target, parser, lines) in &below {
        println!("  {target} does not reach src/{parser}: {lines}");
    }
    Ok(below.is_empty())
}

/// Runs the corpus of a target, and gives the lines of every file by its path.
fn reached(place: &Place, folder: &Path, replay: &Path, target: &Target) -> Result<BTreeMap<String, Lines>> {
    let raw = folder.join(format!("{}.profraw", target.name));
    let counts = folder.join(format!("{}.profdata", target.name));
    let mut command = Command::new(replay);
    command.arg(target.name);
    command.arg(place.at("fuzz/corpus").join(target.name));
    command.env("LLVM_PROFILE_FILE", &raw);
    run::quiet(command)?;
    let mut merge = Command::new(steps::llvm_tool("llvm-profdata")?);
    merge.args(["merge", "-sparse", "-o"]).arg(&counts).arg(&raw);
    run::quiet(merge)?;
    let mut export = Command::new(steps::llvm_tool("llvm-cov")?);
    export.args(["export", "-format=lcov", "-instr-profile"]);
    export.arg(&counts).arg(replay);
    let sources = target.parsers.iter().map(|parser| place.at("src").join(parser));
    export.arg("-sources").args(sources);
    Ok(read_lcov(&run::quiet(export)?))
}

/// `SF:file`, then `DA:line,count` for each line of it.
fn read_lcov(text: &str) -> BTreeMap<String, Lines> {
    let mut files: BTreeMap<String, Lines> = BTreeMap::new();
    let mut file = String::new();
    for line in text.lines() {
        if let Some(path) = line.strip_prefix("SF:") {
            path.clone_into(&mut file);
        } else if let Some((number, count)) = line.strip_prefix("DA:").and_then(|line| line.split_once(','))
            && let (Ok(number), Ok(count)) = (number.parse(), count.parse::<u64>())
        {
            *files.entry(file.clone()).or_default().entry(number).or_default() += count;
        }
    }
    files
}

/// "12, 20–24".
fn missed(lines: &Lines) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for (line, _) in lines.iter().filter(|(_, count)| **count == 0) {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 == *line => *end = *line,
            _ => ranges.push((*line, *line)),
        }
    }
    let range = |(from, to): &(u32, u32)| match from == to {
        true => from.to_string(),
        false => format!("{from}–{to}"),
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_those_missed_are_named() {
        let files =
            read_lcov("SF:/a.rs\nFN:1,x\nDA:1,0\nDA:2,3\nDA:4,0\nDA:5,0\nend_of_record\nSF:/b.rs\nDA:1,1\n");
        assert_eq!(files.len(), 2);
        assert_eq!(missed(&files["/a.rs"]), "1, 4–5");
        assert_eq!(missed(&files["/b.rs"]), "");
    }
}
