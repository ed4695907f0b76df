//! Every error code that the library can give stands in docs/errors.md, and no other.
//!
//! A code is a string literal that is handed to a parameter named `code`, stands behind an `ErrorKind` in a tuple, or is
//! given by a function that says so. Read from the source, so that a new code cannot be forgotten.

use std::collections::BTreeSet;

use super::{Source, root, sources};

/// The arguments of a call whose opening parenthesis is at the beginning of `text`.
fn arguments(text: &str) -> Vec<&str> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    let (mut start, mut found) = (1, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => {
                depth -= 1;
                if depth == 0 {
                    found.push(text[start..at].trim());
                    return found;
                }
            }
            ',' if depth == 1 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

fn literal(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('"')?.strip_suffix('"')?;
    let is_code = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    (!inner.is_empty() && inner.chars().all(is_code)).then_some(inner)
}

/// All literals in a piece of code.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.split('"').skip(1).step_by(2);
    quoted.filter(|inner| inner.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
}

/// The functions and closures of a file that take a code, with the place of that parameter.
fn takers(code: &str) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let rest = &code[at + 3..];
        let name: String = rest
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        let Some(open) = rest.find('(') else { continue };
        let parameters = arguments(&rest[open..]);
        if let Some(place) = parameters.iter().position(|p| p.starts_with("code: &")) {
            found.push((name, place));
        }
    }
    // let refuse = |code, why: &str| …
    for (at, _) in code.match_indices(" = |") {
        let name = code[..at].rsplit(' ').next().unwrap_or_default();
        let parameters = code[at + 4..].split('|').next().unwrap_or_default();
        let is_code = |p: &str| p.split(':').next().is_some_and(|name| name.trim() == "code");
        if let Some(place) = parameters.split(',').position(is_code) {
            found.push((name.to_owned(), place));
        }
    }
    found
}

fn codes_of(source: &Source, shared: &[(String, usize)]) -> BTreeSet<String> {
    let code = source.code().collect::<Vec<_>>().join("\n");
    let mut found = BTreeSet::new();
    for (name, place) in takers(&code).iter().chain(shared) {
        for (at, _) in code.match_indices(&format!("{name}(")) {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            if before.is_ascii_alphanumeric() || before == '_' {
                continue;
            }
            let arguments = arguments(&code[at + name.len()..]);
            found.extend(
                arguments
                    .get(*place)
                    .and_then(|argument| literal(argument))
                    .map(str::to_owned),
            );
        }
    }
    // (ErrorKind::NoBrowser, "no_browser", …), and a code that is chosen before the message is.
    for (at, _) in code.match_indices("ErrorKind::") {
        let next = code[at..].split(',').nth(1).unwrap_or_default();
        let next = next.trim().trim_end_matches(')');
        found.extend(literal(next).map(str::to_owned));
    }
    for opening in [
        "let (code, message) = match",
        "let (code, clause, why) = match",
        "fn code(self)",
    ] {
        for (at, _) in code.match_indices(opening) {
            let body = &code[at..];
            let Some(open) = body.find('{') else { continue };
            let length: usize = arguments(&body[open..]).iter().map(|part| part.len() + 1).sum();
            for arm in body[open..open + length].split("=>").skip(1) {
                let first = arm.trim_start_matches(|c: char| c.is_whitespace() || "({".contains(c));
                found.extend(
                    first
                        .starts_with('"')
                        .then(|| literals(first).next())
                        .flatten()
                        .map(str::to_owned),
                );
            }
        }
    }
    found
}

#[test]
fn every_error_code_is_on_its_page() {
    let sources = sources();
    let in_library = |source: &&Source| {
        !source.is_test()
            && !matches!(source.room(), "test_server" | "ffi")
            && !source.path.contains("/conformance/")
    };
    let error = sources
        .iter()
        .find(|source| source.path == "src/error.rs")
        .unwrap();
    let error = error.code().collect::<Vec<_>>().join("\n");
    // Error::new, Error::protocol and Error::configuration can be called from anywhere.
    let shared: Vec<_> = takers(&error)
        .into_iter()
        .map(|(name, place)| (format!("Error::{name}"), place))
        .collect();
    assert_eq!(shared.len(), 3, "{shared:?}");
    let mut given: BTreeSet<String> = sources
        .iter()
        .filter(in_library)
        .flat_map(|source| codes_of(source, &shared))
        .collect();
    given.insert("internal".to_owned());
    // A session that is over has the name of its reason for a code.
    let reasons = error.split("impl EndReason").nth(1).unwrap();
    let reasons = reasons.split("\n}").next().unwrap();
    given.extend(literals(reasons).map(str::to_owned));
    assert!(given.len() > 100, "the source was not understood: {given:?}");

    let page = std::fs::read_to_string(root().join("docs/errors.md")).unwrap();
    let told: BTreeSet<String> = page
        .lines()
        .skip_while(|line| *line != "# Codes")
        .take_while(|line| *line != "# A hundred bad inputs")
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|code| literal(&format!("\"{code}\"")).is_some())
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = given.difference(&told).collect();
    let invented: Vec<_> = told.difference(&given).collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "docs/errors.md does not tell {missing:?}, and tells {invented:?}, which src/ does not give"
    );
}
