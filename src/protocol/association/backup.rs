//! Android's rules for backups: whether they keep what Gatepass stores out of them.

use super::finding::{Check, Finding};
use super::manifest::Element;

/// Where Gatepass keeps sessions in an app (`noBackupFilesDir`), seen from the root of its data.
const PLACE: (&str, &str) = ("root", "no_backup/gatepass");

/// Whether a document is such rules, by its outermost element.
///
/// ```
/// use gatepass::association::{Element, is_backup_rules};
///
/// assert!(is_backup_rules(&Element::new("data-extraction-rules", Vec::new(), Vec::new())));
/// ```
#[must_use]
pub fn is_backup_rules(document: &Element) -> bool {
    matches!(document.name(), "data-extraction-rules" | "full-backup-content")
}

/// Looks at the rules for backups that a manifest names: `dataExtractionRules` of Android 12 and later, or
/// `fullBackupContent` of before. Never empty.
///
/// ```
/// use gatepass::association::{Element, check_backup_rules};
///
/// let rules = Element::new("full-backup-content", Vec::new(), Vec::new());
/// assert_eq!(check_backup_rules("res/xml/rules.xml", &rules)[0].code(), "backup_rules_incomplete");
/// ```
#[must_use]
pub fn check_backup_rules(subject: &str, rules: &Element) -> Vec<Finding> {
    if !is_backup_rules(rules) {
        let found = format!("the outermost element is {}", rules.name());
        return vec![super::unreadable(subject, &found)];
    }
    let mut findings = Vec::new();
    let mut section = |name: &str, rules: Option<&Element>| {
        let taken = match rules {
            // Without a section everything is taken.
            None => Some(format!("no section {name}, so everything is taken")),
            Some(rules) => {
                let (domain, path) = PLACE;
                is_taken(rules, domain, path).then(|| format!("{name} takes {path} of the domain {domain}"))
            }
        };
        findings.extend(taken.map(|found| Finding::new(Check::BackupRulesIncomplete, subject, found)));
    };
    if rules.name() == "full-backup-content" {
        section("full-backup-content", Some(rules));
    } else {
        for name in ["cloud-backup", "device-transfer"] {
            section(name, rules.named(name).next());
        }
    }
    if findings.is_empty() {
        let found = "what Gatepass stores is left out";
        findings.push(Finding::new(Check::BackupRulesGood, subject, found));
    }
    findings
}

/// Whether rules take a place: it is included, or nothing is said about what to include; and it is not excluded.
fn is_taken(rules: &Element, domain: &str, path: &str) -> bool {
    let names = |rule: &Element, inner: bool| {
        let own = rule.attribute("domain") == Some(domain);
        let named = rule.attribute("path").unwrap_or(".");
        let named = named.trim_start_matches("./").trim_matches('/');
        let is_above = |outer: &str, path: &str| {
            matches!(outer, "" | ".")
                || path == outer
                || path.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
        };
        // Of a place a part is included, too.
        own && (is_above(named, path) || (inner && is_above(path, named)))
    };
    let mut includes = rules.named("include").peekable();
    let is_included = includes.peek().is_none() || includes.any(|rule| names(rule, true));
    is_included && !rules.named("exclude").any(|rule| names(rule, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(kind: &str, domain: &str, path: &str) -> Element {
        let attribute = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Element::new(
            kind,
            vec![attribute("domain", domain), attribute("path", path)],
            Vec::new(),
        )
    }

    #[test]
    fn pl_32_what_is_taken_and_what_is_not() {
        let rules = |children: &[Element]| Element::new("full-backup-content", Vec::new(), children.to_vec());
        let own = rule("exclude", "root", "no_backup/gatepass");
        for (children, is_good) in [
            (vec![], false),
            (vec![own.clone()], true),
            (vec![rule("exclude", "root", ".")], true),
            (vec![rule("exclude", "root", "no_backup")], true),
            (vec![rule("exclude", "root", "./no_backup/gatepass/")], true),
            (vec![rule("exclude", "root", "no_backup/gate")], false),
            (vec![rule("exclude", "root", "no_backup/gatepass/records")], false),
            (vec![rule("exclude", "file", ".")], false),
            (vec![rule("include", "file", "pictures")], true),
            (vec![rule("include", "root", ".")], false),
            (vec![rule("include", "root", "no_backup/gatepass/records")], false),
            (vec![rule("include", "root", "."), own], true),
        ] {
            let findings = check_backup_rules("rules", &rules(&children));
            assert_eq!(findings[0].code() == "backup_rules_good", is_good, "{children:?}");
        }
        let of = |name: &str| Element::new(name, Vec::new(), vec![rule("include", "file", "x")]);
        let both = Element::new(
            "data-extraction-rules",
            Vec::new(),
            vec![of("cloud-backup"), of("device-transfer")],
        );
        assert_eq!(check_backup_rules("rules", &both)[0].code(), "backup_rules_good");
        let one = Element::new("data-extraction-rules", Vec::new(), vec![of("cloud-backup")]);
        let findings = check_backup_rules("rules", &one);
        assert!(findings[0].found().contains("device-transfer"), "{findings:?}");
        assert_eq!(
            check_backup_rules("x", &of("resources"))[0].code(),
            "app_file_unreadable"
        );
    }
}
