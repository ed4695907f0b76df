//! The page about findings, and what the program's tests cannot reach.

use std::collections::BTreeSet;

use super::finding::Check;
use super::*;

/// docs/doctor.md tells every finding in the words of the code. What it should say is printed where it does not.
#[test]
fn every_finding_is_on_its_page() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/doctor.md");
    let page = std::fs::read_to_string(page).unwrap();
    let is_code = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let is_row = |line: &&str| {
        let code = line.strip_prefix("| `").and_then(|rest| rest.split('`').next());
        code.is_some_and(is_code)
    };
    let told: Vec<&str> = page.lines().filter(is_row).collect();
    let rows: Vec<String> = Check::ALL.iter().map(|check| check.row()).collect();
    let missing: Vec<_> = rows.iter().filter(|row| !told.contains(&row.as_str())).collect();
    let invented: Vec<_> = told
        .iter()
        .filter(|told| !rows.iter().any(|row| row == *told))
        .collect();
    assert!(
        missing.is_empty() && invented.is_empty(),
        "docs/doctor.md does not tell:\n{}\nand tells:\n{}",
        missing.iter().map(|row| format!("{row}\n")).collect::<String>(),
        invented.iter().map(|row| format!("{row}\n")).collect::<String>()
    );
    let names: BTreeSet<&str> = Check::ALL.iter().map(|check| check.name()).collect();
    assert_eq!(names.len(), Check::ALL.len(), "a code twice");
}

#[test]
fn every_finding_says_why_and_how_to_mend_what_is_wrong() {
    for check in Check::ALL {
        let name = check.name();
        assert!(
            name.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        );
        assert!(check.why().ends_with('.'), "{name}");
        let needs = check.severity() >= Severity::Warning;
        assert!(!needs || check.remedy().ends_with('.'), "{name}");
        assert_eq!(
            name.ends_with("_good") || name.ends_with("_registered"),
            check.severity() == Severity::Good,
            "{name}"
        );
    }
}

/// A file of one mistake over and over makes no list that nobody reads.
#[test]
fn findings_are_few_however_long_the_file() {
    let association = Association::new(&RedirectUri::parse("https://app.example.com/cb").unwrap()).unwrap();
    let apps = vec!["x"; 20_000];
    let file = json!({ "webcredentials": { "apps": apps }, "applinks": { "details": vec![7; 10_000] } });
    let answer = Fetched::answer(200, [("content-type", "application/json")], file.to_string());
    let findings = association.check_apple(&answer);
    assert!((2..12).contains(&findings.len()), "{}", findings.len());
    let statements = Fetched::answer(
        200,
        [("content-type", "application/json")],
        json!(vec![7; 10_000]).to_string(),
    );
    assert!(association.check_assetlinks(&statements).len() < 8);
}

#[test]
fn only_a_claimed_https_redirect_is_associated() {
    for redirect in ["com.example.app:/cb", "http://127.0.0.1/cb"] {
        let error = Association::new(&RedirectUri::parse(redirect).unwrap()).unwrap_err();
        assert_eq!(error.code(), "association_redirect");
    }
}
