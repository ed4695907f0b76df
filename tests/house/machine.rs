//! The README of `src/session` and the code it tells of: the same diagram, the same names, the same rows, files that exist.

use std::collections::BTreeSet;

use super::root;

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The first block of plain text.
fn diagram(text: &str) -> String {
    let (_, rest) = text.split_once("```text\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

/// The variants of an enum, as the source lists them.
fn variants<'a>(source: &'a str, name: &str) -> BTreeSet<&'a str> {
    let (_, body) = source.split_once(&format!("enum {name} {{\n")).unwrap();
    let lines = body.lines().take_while(|line| *line != "}");
    let lines = lines.filter_map(|line| line.strip_prefix("    "));
    lines
        .filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|line| {
            let end = line.find(|c: char| !c.is_ascii_alphanumeric());
            &line[..end.unwrap_or(line.len())]
        })
        .collect()
}

/// The cells of the table under this head, row by row.
fn table<'a>(text: &'a str, head: &str) -> Vec<Vec<&'a str>> {
    let (_, rest) = text.split_once(head).unwrap_or_else(|| panic!("no table {head}"));
    rest.lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// What stands in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Everything that is wrong between the page and the code.
fn disagreements(readme: &str, rotation: &str, conformance: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let module_docs: String = rotation
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .map(|line| {
            format!(
                "{}\n",
                line.trim_start_matches("//!").strip_prefix(' ').unwrap_or("")
            )
        })
        .collect();
    if diagram(&module_docs) != diagram(readme) {
        wrong.push("the diagram of rotation.rs is not that of the README".to_owned());
    }
    let [states, answers, nexts] = ["State", "Answer", "Next"].map(|name| variants(rotation, name));
    let drawn: BTreeSet<String> = diagram(readme)
        .split(|c: char| !c.is_ascii_alphanumeric())
        .map(str::to_owned)
        .collect();
    for name in states.iter().chain(&answers).chain(&nexts) {
        // What is drawn as an arrow into a state needs no word of its own.
        if !drawn.contains(*name) && *name != "Commit" {
            wrong.push(format!("the diagram does not have {name}"));
        }
    }
    let told: BTreeSet<&str> = table(readme, "| state | what is true |")
        .iter()
        .flat_map(|row| quoted(row[0]))
        .collect();
    if told != states {
        wrong.push(format!("the states are {states:?}, and {told:?} are told of"));
    }
    let rows = table(readme, "| answer | in doubt | in time | state | next |");
    let column = |at: usize, of: &BTreeSet<&str>| -> BTreeSet<String> {
        let names = rows.iter().flat_map(|row| quoted(row[at]));
        names
            .filter(|name| of.contains(name))
            .map(str::to_owned)
            .collect()
    };
    for (at, what, all) in [(0, "answer", &answers), (4, "next", &nexts)] {
        for name in all.iter().filter(|name| !column(at, all).contains(**name)) {
            wrong.push(format!("the table does not have the {what} {name}"));
        }
    }
    for row in &rows {
        for name in quoted(row[0]).filter(|name| !answers.contains(name)) {
            wrong.push(format!("the table has the answer {name}, which there is not"));
        }
    }
    let listed = table(readme, "| row | code |");
    let rr = |text: &str| -> BTreeSet<String> {
        let cells = text.lines().filter_map(|line| line.strip_prefix("| RR-"));
        cells
            .map(|rest| format!("RR-{}", rest.split(' ').next().unwrap_or_default()))
            .collect()
    };
    let rules = rr(conformance);
    let here: BTreeSet<String> = listed.iter().map(|row| row[0].to_owned()).collect();
    for row in rules.symmetric_difference(&here) {
        wrong.push(format!(
            "{row} stands in one of README and docs/conformance.md only"
        ));
    }
    for row in &listed {
        for file in quoted(row[1]).filter(|name| name.ends_with(".rs")) {
            if !root().join("src/session").join(file).exists() {
                wrong.push(format!("{} names {file}, which does not exist", row[0]));
            }
        }
        // Behind a file come names in it, as far as its semicolon.
        for part in row[1].split(';') {
            let mut names = quoted(part);
            let Some(file) = names.next().filter(|name| name.ends_with(".rs")) else {
                continue;
            };
            let path = root().join("src/session").join(file);
            let code = std::fs::read_to_string(path).unwrap_or_default();
            for name in names.filter(|name| !name.ends_with(".rs")) {
                if !code.contains(name) {
                    wrong.push(format!("{}: there is no {name} in {file}", row[0]));
                }
            }
        }
    }
    wrong
}

#[test]
fn the_readme_of_the_session_tells_of_the_code_as_it_is() {
    let readme = read("src/session/README.md");
    let rotation = read("src/session/rotation.rs");
    let conformance = read("docs/conformance.md");
    let wrong = disagreements(&readme, &rotation, &conformance);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for file in ["src/session/mod.rs", "src/session/rotation.rs"] {
        assert!(read(file).contains("`README.md` beside this file"), "{file}");
    }

    // And it would be seen.
    let spoilt = |from: &str, to: &str| {
        assert!(readme.contains(from), "{from}");
        disagreements(&readme.replacen(from, to, 1), &rotation, &conformance).join("\n")
    };
    assert!(spoilt("Sent ──", "Sen ───").contains("the diagram"));
    assert!(spoilt("| `Refused` | the server", "| `Denied` | the server").contains("Denied"));
    assert!(spoilt("| `TurnedDown` | no |", "| `Rejected` | no |").contains("Rejected"));
    assert!(spoilt("| RR-32 |", "| RR-99 |").contains("RR-99"));
    assert!(spoilt("`pace.rs` |", "`paces.rs` |").contains("paces.rs"));
    assert!(spoilt("`join_flight`", "`board_flight`").contains("board_flight"));
    let renamed = rotation.replacen("    Uncertain,", "    Unsure,", 1);
    let unseen = disagreements(&readme, &renamed, &conformance).join("\n");
    assert!(unseen.contains("Unsure"), "{unseen}");
}
