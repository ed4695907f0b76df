//! `assetlinks.json` (Digital Asset Links): whether Android lets the app take the redirect.

use serde_json::{Map, Value};

use super::app::{AndroidApp, bytes_of, is_package};
use super::document::{kind, member};
use super::fetched::{self, Fetched};
use super::finding::{Check, Finding, Severity};
use super::pattern::{Budget, Defaults, Link, Matcher, Variables};
use super::{Association, SAMPLE_CODE, apple};

/// No more is read, in bytes. Google names no limit; an honest file has some hundred bytes for each app.
pub(crate) const MAX_BYTES: usize = 1024 * 1024;

/// The only relation that lets an app take links.
pub(super) const HANDLE_ALL_URLS: &str = "delegate_permission/common.handle_all_urls";

pub(super) fn check(association: &Association, subject: &str, fetched: &Fetched) -> Vec<Finding> {
    let body = match fetched.file(subject, MAX_BYTES) {
        Ok(body) => body,
        Err(finding) => return vec![finding],
    };
    let mut look = Look {
        subject,
        findings: Vec::new(),
    };
    if !fetched.is_json() {
        look.found(Check::LinksContentType, "", fetched.content_type());
    }
    let Some(document) = fetched::document(body, subject, &mut look.findings) else {
        return look.findings;
    };
    let Value::Array(list) = &document.value else {
        look.found(Check::LinksNotList, "", kind(&document.value));
        return look.findings;
    };
    let statements: Vec<Statement<'_>> = list
        .iter()
        .enumerate()
        .filter_map(|(at, value)| look.statement(value, at))
        .collect();
    match association.android() {
        Some(app) => look.app(app, &statements, association.path()),
        None => look.found(Check::LinksAppUnknown, "", "no package was named to look for"),
    }
    let worst = look.findings.iter().map(Finding::severity).max();
    if worst.is_none_or(|worst| worst < Severity::Warning) {
        let found = match association.android() {
            Some(app) => format!("{} with all its certificates", app.package()),
            None => "the file is in good form".to_owned(),
        };
        look.found(Check::LinksGood, "", found);
    }
    look.findings
}

/// A statement as far as it is in form.
struct Statement<'a> {
    place: String,
    relations: Vec<&'a str>,
    namespace: &'a str,
    package: &'a str,
    fingerprints: Vec<&'a str>,
    /// The dynamic rules of Android 15.
    rules: Option<&'a [Value]>,
}

struct Look<'a> {
    subject: &'a str,
    findings: Vec<Finding>,
}

impl Look<'_> {
    fn found(&mut self, check: Check, place: &str, found: impl AsRef<str>) {
        self.finding(check, place, found, None);
    }

    fn finding(&mut self, check: Check, place: &str, found: impl AsRef<str>, remedy: Option<&str>) {
        let subject = match place {
            "" => self.subject.to_owned(),
            place => format!("{}: {place}", self.subject),
        };
        let finding = Finding::new(check, &subject, found);
        let finding = match remedy {
            Some(remedy) => finding.mending(remedy),
            None => finding,
        };
        // A file full of one mistake makes no hundred findings.
        if self
            .findings
            .iter()
            .filter(|known| known.check() == check)
            .count()
            < 3
        {
            self.findings.push(finding);
        }
    }

    fn member<'v>(&mut self, object: &'v Map<String, Value>, name: &str, place: &str) -> Option<&'v Value> {
        let (value, near) = member(object, name);
        if let Some(near) = near {
            self.found(
                Check::LinksMemberCase,
                place,
                format!("{near:?} in the place of {name:?}"),
            );
        }
        value
    }

    fn statement<'v>(&mut self, value: &'v Value, at: usize) -> Option<Statement<'v>> {
        let place = format!("[{at}]");
        let Value::Object(members) = value else {
            self.found(Check::LinksStatementForm, &place, kind(value));
            return None;
        };
        if let Some(include) = members.get("include") {
            self.found(Check::LinksInclude, &place, format!("include: {include}"));
            return None;
        }
        let relations = match self.member(members, "relation", &place) {
            Some(Value::Array(relations)) => relations.iter().filter_map(Value::as_str).collect(),
            Some(other) => {
                self.found(
                    Check::LinksStatementForm,
                    &place,
                    format!("relation is {}", kind(other)),
                );
                // What it was meant to say is told beside it.
                other.as_str().into_iter().collect()
            }
            None => Vec::new(),
        };
        let target = match self.member(members, "target", &place) {
            Some(Value::Object(target)) => target,
            Some(other) => {
                self.found(
                    Check::LinksStatementForm,
                    &place,
                    format!("target is {}", kind(other)),
                );
                return None;
            }
            None => {
                self.found(Check::LinksStatementForm, &place, "no target");
                return None;
            }
        };
        let text = |value: Option<&'v Value>| value.and_then(Value::as_str).unwrap_or_default();
        let namespace = text(self.member(target, "namespace", &place));
        // A statement about a website is none of ours.
        if namespace == "web" {
            return None;
        }
        let package = text(self.member(target, "package_name", &place));
        let fingerprints = match self.member(target, "sha256_cert_fingerprints", &place) {
            Some(Value::Array(list)) => {
                if list.iter().any(|value| !value.is_string()) {
                    self.found(Check::LinksStatementForm, &place, "a fingerprint that is no text");
                }
                list.iter().filter_map(Value::as_str).collect()
            }
            Some(other) => {
                let found = format!("sha256_cert_fingerprints is {}, not a list", kind(other));
                self.found(Check::LinksStatementForm, &place, found);
                Vec::new()
            }
            None => Vec::new(),
        };
        let rules = members
            .get("relation_extensions")
            .and_then(|extensions| extensions.get(HANDLE_ALL_URLS))
            .and_then(|extension| extension.get("dynamic_app_link_components"))
            .and_then(Value::as_array)
            .map(Vec::as_slice);
        Some(Statement {
            place,
            relations,
            namespace,
            package,
            fingerprints,
            rules,
        })
    }

    fn app(&mut self, app: &AndroidApp, statements: &[Statement<'_>], path: &str) {
        let own: Vec<&Statement<'_>> = statements
            .iter()
            .filter(|statement| statement.package == app.package())
            .collect();
        if own.is_empty() {
            self.no_package(app, statements);
            return;
        }
        let in_namespace = |statement: &&&Statement<'_>| statement.namespace == "android_app";
        let named: Vec<_> = own.iter().filter(in_namespace).copied().collect();
        let Some(first) = named.first() else {
            for statement in &own {
                self.found(
                    Check::LinksNamespace,
                    &statement.place,
                    format!("{:?}", statement.namespace),
                );
            }
            return;
        };
        let handles = |statement: &&&Statement<'_>| statement.relations.contains(&HANDLE_ALL_URLS);
        let handling: Vec<_> = named.iter().filter(handles).copied().collect();
        if handling.is_empty() {
            let relations = first.relations.join(", ");
            let found = if relations.is_empty() {
                "no relation".to_owned()
            } else {
                relations
            };
            self.found(Check::LinksRelation, &first.place, found);
            return;
        }
        self.fingerprints(app, &handling);
        for statement in handling {
            if let Some(rules) = statement.rules {
                self.dynamic(rules, &statement.place, path);
            }
        }
    }

    fn no_package(&mut self, app: &AndroidApp, statements: &[Statement<'_>]) {
        let package = app.package();
        let near = statements
            .iter()
            .find(|statement| statement.package.eq_ignore_ascii_case(package));
        if let Some(near) = near {
            let found = format!("{:?} in the place of {package:?}", near.package);
            self.found(Check::LinksPackageCase, &near.place, found);
            return;
        }
        let others: Vec<_> = statements
            .iter()
            .map(|statement| statement.package)
            .filter(|package| !package.is_empty())
            .collect();
        let found = match others.as_slice() {
            [] => "no statement about any app".to_owned(),
            [first, ..] => format!("statements about {} apps, such as {first:?}", others.len()),
        };
        let malformed = others.iter().find(|package| !is_package(package));
        let found = match malformed {
            Some(malformed) => {
                format!("{found}; {malformed:?} is no application id (wildcards do not count)")
            }
            None => found,
        };
        self.found(Check::LinksPackageMissing, "", found);
    }

    fn fingerprints(&mut self, app: &AndroidApp, statements: &[&Statement<'_>]) {
        let mut listed = Vec::new();
        for statement in statements {
            for text in &statement.fingerprints {
                if let Some(why) = wrong_form(text) {
                    self.found(Check::LinksFingerprintForm, &statement.place, why);
                } else if !listed.contains(text) {
                    listed.push(*text);
                }
            }
        }
        let own = app.fingerprints();
        if own.is_empty() {
            let found = format!("{} certificates, and none to compare with", listed.len());
            self.found(Check::LinksFingerprintUnknown, "", found);
            return;
        }
        let is_listed = |own: &&super::Fingerprint| listed.contains(&own.as_str());
        let missing: Vec<_> = own.iter().filter(|own| !is_listed(own)).collect();
        let remedy = missing
            .first()
            .map(|own| format!("Add \"{own}\" to sha256_cert_fingerprints."));
        if missing.len() == own.len() {
            let found = format!("{} certificates, and none of this app's", listed.len());
            self.finding(Check::LinksFingerprintMissing, "", found, remedy.as_deref());
        } else if let Some(first) = missing.first() {
            let found = format!(
                "{} of {} certificates; not {first}",
                own.len() - missing.len(),
                own.len()
            );
            self.finding(Check::LinksFingerprintPartly, "", found, remedy.as_deref());
        }
        let more = listed
            .iter()
            .filter(|text| !own.iter().any(|own| own.as_str() == **text));
        let more: Vec<_> = more.collect();
        if let Some(first) = more.first()
            && missing.len() < own.len()
        {
            let found = format!("{} more than were named, such as {first}", more.len());
            self.found(Check::LinksFingerprintMore, "", found);
        }
    }

    /// The rules of Android 15: the first that fits decides, and one that excludes keeps the link in the browser.
    fn dynamic(&mut self, rules: &[Value], place: &str, path: &str) {
        let variables = Variables::new();
        let mut budget = Budget::default();
        let mut matcher = Matcher {
            variables: &variables,
            budget: &mut budget,
        };
        let link = Link {
            path,
            query: SAMPLE_CODE,
            fragment: "",
        };
        let verdict = apple::first_that_fits(&mut matcher, rules, Defaults::default(), link);
        if let Some((at, true)) = verdict {
            let place = format!("{place}.dynamic_app_link_components[{at}]");
            self.found(
                Check::LinksDynamicUnmatched,
                &place,
                format!("this rule excludes {path}"),
            );
        }
    }
}

/// What is wrong with the form of a fingerprint; `None` if nothing is.
fn wrong_form(text: &str) -> Option<String> {
    let Some(bytes) = bytes_of(text) else {
        return Some("a fingerprint that is not hexadecimal".to_owned());
    };
    if bytes == 20 {
        return Some("20 bytes: that is SHA-1, not SHA-256".to_owned());
    }
    if bytes != 32 {
        return Some(format!("{bytes} bytes, not 32"));
    }
    if text.trim() != text {
        return Some("white space around it".to_owned());
    }
    if !text.contains(':') {
        return Some("no colons between the bytes".to_owned());
    }
    let lower = text.bytes().any(|b| b.is_ascii_lowercase());
    lower.then(|| "small letters".to_owned())
}

/// Whether robots.txt lets Google fetch the file: of the longest rule that fits, the word (RFC 9309 §2.2.2).
pub(super) fn check_robots(subject: &str, fetched: &Fetched) -> Option<Finding> {
    /// RFC 9309 §2.5 wants 500 KiB read at least; this says enough.
    const MAX_ROBOTS: usize = 512 * 1024;
    const FILE: &str = "/.well-known/assetlinks.json";
    let body = fetched.file(subject, MAX_ROBOTS).ok()?;
    let text = String::from_utf8_lossy(body);
    // For whom the group is: 2 for Google's own, 1 for everybody.
    let (mut agents, mut in_agents) = (0_u8, false);
    // How specific the group and the rule are, and whether it allows.
    let mut best: Option<(u8, usize, bool)> = None;
    for line in text.lines().take(20_000) {
        let line = line.split('#').next().unwrap_or_default();
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let (name, value) = (name.trim().to_ascii_lowercase(), value.trim());
        match name.as_str() {
            "user-agent" => {
                if !in_agents {
                    agents = 0;
                }
                in_agents = true;
                agents = agents.max(match value.to_ascii_lowercase().as_str() {
                    "*" => 1,
                    "googlebot" => 2,
                    _ => 0,
                });
            }
            "allow" | "disallow" => {
                in_agents = false;
                if agents > 0 && !value.is_empty() && rule_fits(value, FILE) {
                    let rule = (agents, value.len(), name == "allow");
                    best = best.max(Some(rule));
                }
            }
            _ => {}
        }
    }
    let (_, _, allows) = best?;
    (!allows).then(|| Finding::new(Check::LinksRobots, subject, format!("{FILE} is disallowed")))
}

/// `*` for anything, `$` for the end, else the beginning of the path.
fn rule_fits(rule: &str, path: &str) -> bool {
    let variables = Variables::new();
    let mut budget = Budget::default();
    let mut matcher = Matcher {
        variables: &variables,
        budget: &mut budget,
    };
    // Neither stands for anything else in a rule: a question mark is a query, which the file has not.
    if rule.contains(['?', '(']) || rule.len() > 500 {
        return false;
    }
    let pattern = match rule.strip_suffix('$') {
        Some(exact) => exact.to_owned(),
        None => format!("{rule}*"),
    };
    matcher.matches(&pattern, path, Defaults::default())
}
