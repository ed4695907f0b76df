//! A document that names a test as proof names one that exists.

use std::collections::BTreeSet;

use super::{root, tracked};

/// The documents that give tests as proof, and how many they name at least: one that is not understood names none.
const DOCUMENTS: [(&str, usize); 1] = [("docs/threat-model.md", 50)];

/// What stands between backquotes in the last column of a table, and is written like a test.
fn named(page: &str) -> BTreeSet<&str> {
    let cells = page
        .lines()
        .filter_map(|line| line.trim_end().strip_suffix('|')?.rsplit('|').next());
    let quoted = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    quoted
        .filter(|name| {
            name.contains('_')
                && name
                    .chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        })
        .collect()
}

/// The functions that stand right below a test attribute.
fn tests_in(source: &str) -> impl Iterator<Item = &str> {
    let mut attributed = false;
    source.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with("#[") {
            attributed |= line.ends_with("test]") || line.starts_with("#[tokio::test(");
            return None;
        }
        let was = std::mem::take(&mut attributed);
        let line = line.strip_prefix("async ").unwrap_or(line);
        let name = line.strip_prefix("fn ")?.split(['(', '<']).next()?;
        was.then_some(name)
    })
}

#[test]
fn every_test_that_a_document_names_exists() {
    let Some(files) = tracked() else { return };
    let sources = files.iter().filter(|(name, _)| name.ends_with(".rs"));
    let tests: BTreeSet<&str> = sources.flat_map(|(_, text)| tests_in(text)).collect();
    assert!(
        tests.len() > 400,
        "the source was not understood: {}",
        tests.len()
    );
    for (document, least) in DOCUMENTS {
        let page = std::fs::read_to_string(root().join(document)).unwrap();
        let named = named(&page);
        assert!(named.len() >= least, "{document} was not understood: {named:?}");
        let missing: Vec<_> = named.difference(&tests).collect();
        assert!(
            missing.is_empty(),
            "{document} names tests that are nowhere: {missing:#?}"
        );
    }
}
