//! docs/conformance.md and the tests agree: a row names tests that exist, a test names rows that exist, and no row is
//! without a test or a reason.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{root, tracked};

/// The beginnings of row numbers, as tests write them.
const STANDARDS: &[&str] = &[
    "oa", "bt", "pk", "na", "bc", "o1", "bu", "is", "am", "oc", "lo", "rv", "pa", "ri", "pr", "jw", "tl",
    "pl", "rr", "bi", "tv", "trap",
];

/// Whether this is the number of a row: two or three digits, perhaps with a letter behind them.
fn is_number(text: &str) -> bool {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_lowercase());
    (2..=3).contains(&digits.len())
        && text.len() - digits.len() <= 1
        && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// The rows that a test is named by: `oa_07_bi_05_06_what` by OA-07, BI-05 and BI-06, `bi_31_to_35_what` and
/// `bi_31_to_bi_35_what` by five, `tv_26b_to_e_what` by four.
fn rows_of(test: &str) -> Vec<String> {
    let words: Vec<&str> = test.split('_').collect();
    let (mut rows, mut standard, mut last) = (Vec::new(), None, "");
    let (mut at, mut through) = (0, false);
    while at < words.len() {
        if STANDARDS.contains(&words[at]) && words.get(at + 1).is_some_and(|next| is_number(next)) {
            standard = Some(words[at].to_ascii_uppercase());
            at += 1;
        }
        let Some(standard) = &standard else { return rows };
        let word = words[at];
        match (word, through) {
            ("to", false) => through = true,
            (letter, true) if letter.len() == 1 && ("a"..="z").contains(&letter) => {
                let (number, first) = last.split_at(last.len() - 1);
                let letters = first.as_bytes()[0] + 1..=letter.as_bytes()[0];
                rows.extend(letters.map(|letter| format!("{standard}-{number}{}", char::from(letter))));
                through = false;
            }
            (number, true) if is_number(number) => {
                let (first, end): (u32, u32) = (last.parse().unwrap(), number.parse().unwrap());
                rows.extend((first + 1..=end).map(|number| format!("{standard}-{number:02}")));
                through = false;
            }
            (number, false) if is_number(number) => rows.push(format!("{standard}-{number}")),
            _ => return rows,
        }
        if is_number(word) {
            last = word;
        }
        at += 1;
    }
    rows
}

/// What is between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The names of the tests in a file: functions marked as such, and the titles that other languages give theirs.
fn tests_in(name: &str, text: &str) -> BTreeSet<String> {
    let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let word = |rest: &str| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        rest[..end.unwrap_or(rest.len())].to_owned()
    };
    let mut found = BTreeSet::new();
    for (at, line) in lines.iter().enumerate() {
        match ending {
            Some("rs") => {
                let function = line
                    .strip_prefix("async fn ")
                    .or_else(|| line.strip_prefix("fn "));
                let mut marks = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
                if let Some(rest) = function
                    && marks.any(|mark| mark.starts_with("#[test]") || mark.starts_with("#[tokio::test"))
                {
                    found.insert(word(rest));
                }
            }
            Some("kt") => found.extend(line.strip_prefix("fun `").and_then(|rest| quoted_end(rest, '`'))),
            Some("swift") => found.extend(line.split_once("func ").map(|(_, rest)| word(rest))),
            Some("mjs") => found.extend(
                line.strip_prefix("test('")
                    .and_then(|rest| quoted_end(rest, '\'')),
            ),
            _ => {}
        }
    }
    found
}

fn quoted_end(rest: &str, quote: char) -> Option<String> {
    rest.split_once(quote).map(|(title, _)| title.to_owned())
}

/// Everything that is wrong between the page and the tests.
fn disagreements(page: &str, tests: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut rows = BTreeMap::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        // Empty before the first bar and behind the last.
        let [_, row, .., shown, _] = &cells[..] else {
            continue;
        };
        let is_row = row.split_once('-').is_some_and(|(standard, number)| {
            STANDARDS.contains(&standard.to_ascii_lowercase().as_str()) && is_number(number)
        });
        if !is_row {
            continue;
        }
        if rows.insert(*row, ()).is_some() {
            wrong.push(format!("{row} stands there twice"));
        }
        for test in quoted(shown).filter(|test| !tests.contains(*test)) {
            wrong.push(format!("{row} names the test {test}, which does not exist"));
        }
        let reason = shown.split('`').step_by(2).collect::<String>();
        if quoted(shown).next().is_none() && reason.split_whitespace().count() < 3 {
            wrong.push(format!("{row} has neither a test nor a reason"));
        }
    }
    if rows.len() < 400 {
        wrong.push(format!("the page was not understood: {} rows", rows.len()));
    }
    for test in tests {
        for row in rows_of(test)
            .iter()
            .filter(|row| !rows.contains_key(row.as_str()))
        {
            wrong.push(format!("the test {test} names {row}, which is no row"));
        }
    }
    wrong
}

#[test]
fn the_page_of_conformance_and_the_tests_agree() {
    let Some(files) = tracked() else { return };
    let tests = files
        .iter()
        .flat_map(|(name, text)| tests_in(name, text))
        .collect();
    let page = std::fs::read_to_string(root().join("docs/conformance.md")).unwrap();
    let wrong = disagreements(&page, &tests);
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));

    // And it would be seen.
    let spoilt = |from: &str, to: &str| {
        assert!(page.contains(from), "{from}");
        disagreements(&page.replacen(from, to, 1), &tests).join("\n")
    };
    assert!(
        spoilt("`oa_42_vschar`", "`oa_42_gone`")
            .contains("OA-42 names the test oa_42_gone, which does not exist")
    );
    assert!(spoilt("`oa_42_vschar`", "").contains("OA-42 has neither a test nor a reason"));
    assert!(spoilt("| OA-42 |", "| OA-XX |").contains("the test oa_42_vschar names OA-42, which is no row"));
    assert!(spoilt("| OA-42 |", "| OA-41 |").contains("OA-41 stands there twice"));
}

#[test]
fn a_test_is_named_by_its_rows() {
    for (test, rows) in [
        ("oa_07_what", "OA-07"),
        ("oa_07_bi_05_06_what_05", "OA-07 BI-05 BI-06"),
        ("bi_31_to_33_what", "BI-31 BI-32 BI-33"),
        ("bi_31_to_bi_33_what", "BI-31 BI-32 BI-33"),
        ("tv_26b_to_e_oc_22_what", "TV-26b TV-26c TV-26d TV-26e OC-22"),
        ("is_01_to_03_is_08_what", "IS-01 IS-02 IS-03 IS-08"),
        ("bi_100_what", "BI-100"),
        ("trap_15_the_text", "TRAP-15"),
        ("is_it_so", ""),
        ("to_be_oa_07", ""),
        ("version_1_on_disk", ""),
    ] {
        assert_eq!(rows_of(test).join(" "), rows, "{test}");
    }
}
