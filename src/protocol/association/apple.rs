//! `apple-app-site-association`: whether Apple's devices let the app take the redirect.

use serde_json::{Map, Value};

use super::app::{AppId, is_app_id};
use super::document::{kind, member};
use super::fetched::{self, Fetched};
use super::finding::{Check, Finding};
use super::pattern::{Budget, Defaults, Link, Matcher, Variables, undeclared};
use super::{Association, SAMPLE_CODE, SAMPLE_ERROR};

/// Apple reads no more, in bytes after decompression.
pub(crate) const MAX_BYTES: usize = 128 * 1024;

/// What the members of a component may be.
const COMPONENT: [&str; 7] = [
    "/",
    "?",
    "#",
    "exclude",
    "comment",
    "caseSensitive",
    "percentEncoded",
];

pub(super) fn check(association: &Association, subject: &str, fetched: &Fetched) -> Vec<Finding> {
    let body = match fetched.file(subject, MAX_BYTES) {
        Ok(body) => body,
        Err(finding) => return vec![finding],
    };
    let mut look = Look {
        association,
        subject,
        findings: Vec::new(),
    };
    if !fetched.is_json() {
        look.found(Check::AppleContentType, "", fetched.content_type());
    }
    // A sequence in DER: how PKCS #7 begins.
    if matches!(body, [0x30, 0x80..=0x84, ..]) {
        look.found(Check::AppleSigned, "", "a signed file (PKCS #7)");
        return look.findings;
    }
    if let Some(document) = fetched::document(body, subject, &mut look.findings) {
        look.file(&document.value);
    }
    look.findings
}

struct Look<'a> {
    association: &'a Association,
    subject: &'a str,
    findings: Vec<Finding>,
}

impl<'a> Look<'a> {
    fn found(&mut self, check: Check, place: &str, found: impl AsRef<str>) {
        self.finding(Finding::new(check, &self.at(place), found));
    }

    fn at(&self, place: &str) -> String {
        match place {
            "" => self.subject.to_owned(),
            place => format!("{}: {place}", self.subject),
        }
    }

    /// Each code once for each place; a file full of one mistake makes no hundred findings.
    fn finding(&mut self, finding: Finding) {
        let again = |known: &&Finding| known.check() == finding.check();
        if self.findings.iter().filter(again).count() < 3 {
            self.findings.push(finding);
        }
    }

    /// A member, with a word about one that differs in case only.
    fn member<'v>(&mut self, object: &'v Map<String, Value>, name: &str, place: &str) -> Option<&'v Value> {
        let (value, near) = member(object, name);
        if let Some(near) = near {
            self.found(
                Check::AppleMemberCase,
                place,
                format!("{near:?} in the place of {name:?}"),
            );
        }
        value
    }

    fn file(&mut self, value: &Value) {
        let Value::Object(file) = value else {
            self.found(Check::AppleNotObject, "", kind(value));
            return;
        };
        if self.association.app_ids().is_empty() {
            self.found(Check::AppleAppUnknown, "", "no App ID was named to look for");
        }
        let (has, near) = member(file, "webcredentials");
        if has.is_none() && near.is_none() {
            self.found(Check::AppleWebcredentialsMissing, "", "no member webcredentials");
        }
        if let Some(section) = self.member(file, "webcredentials", "") {
            self.webcredentials(section);
        }
        let (has, near) = member(file, "applinks");
        if has.is_none() && near.is_none() {
            self.found(Check::AppleApplinksMissing, "", "no member applinks");
        }
        if let Some(section) = self.member(file, "applinks", "") {
            self.applinks(section);
        }
        let worst = self.findings.iter().map(Finding::severity).max();
        if worst.is_none_or(|worst| worst < super::Severity::Warning) {
            let apps: Vec<_> = self.association.app_ids().iter().map(AppId::as_str).collect();
            let found = match apps.as_slice() {
                [] => "the file is in good form".to_owned(),
                apps => format!("webcredentials and applinks for {}", apps.join(", ")),
            };
            self.found(Check::AppleGood, "", found);
        }
    }

    fn webcredentials(&mut self, section: &Value) {
        const PLACE: &str = "webcredentials";
        let Value::Object(section) = section else {
            self.found(Check::AppleWebcredentialsMalformed, PLACE, kind(section));
            return;
        };
        let apps = match self.member(section, "apps", PLACE) {
            Some(Value::Array(apps)) => apps,
            Some(other) => {
                let found = format!("apps is {}", kind(other));
                self.found(Check::AppleWebcredentialsMalformed, PLACE, found);
                return;
            }
            None => {
                self.found(Check::AppleWebcredentialsMalformed, PLACE, "no list apps");
                return;
            }
        };
        self.listed(apps, "webcredentials.apps", Check::AppleWebcredentialsApp);
    }

    /// Whether each app is in a list of App IDs; what is not an App ID there is told.
    fn listed(&mut self, apps: &[Value], place: &str, missing: Check) {
        let mut names = Vec::new();
        for entry in apps {
            match entry.as_str() {
                Some(text) => names.push(text),
                None => self.found(Check::AppleAppIdForm, place, kind(entry)),
            }
        }
        self.forms(&names, place);
        let association = self.association;
        for app in association.app_ids() {
            self.one(app, &names, place, missing);
        }
    }

    fn forms(&mut self, names: &[&str], place: &str) {
        let association = self.association;
        for name in names {
            // One of those that are told below in words of their own.
            let ours = |app: &AppId| {
                app.as_str().eq_ignore_ascii_case(name) || app.bundle_id().eq_ignore_ascii_case(name)
            };
            if name.contains('*') {
                self.found(Check::AppleAppIdWildcard, place, format!("{name:?}"));
            } else if !is_app_id(name) && !association.app_ids().iter().any(ours) {
                self.found(Check::AppleAppIdForm, place, format!("{name:?}"));
            }
        }
    }

    fn one(&mut self, app: &AppId, names: &[&str], place: &str, missing: Check) {
        let (id, bundle) = (app.as_str(), app.bundle_id());
        if names.contains(&id) {
            return;
        }
        let bundle_of = |name: &str| name.split_once('.').is_some_and(|(_, rest)| rest == bundle);
        if let Some(near) = names.iter().find(|name| name.eq_ignore_ascii_case(id)) {
            self.found(
                Check::AppleAppIdCase,
                place,
                format!("{near:?} in the place of {id:?}"),
            );
        } else if let Some(near) = names.iter().find(|name| **name == bundle || bundle_of(name)) {
            self.found(
                Check::AppleAppIdPrefix,
                place,
                format!("{near:?} in the place of {id:?}"),
            );
        } else {
            let remedy = format!("Add {id:?} to {place}.");
            let found = format!("{} apps, and {id} is not among them", names.len());
            self.finding(Finding::new(missing, &self.at(place), found).mending(remedy));
        }
    }

    fn applinks(&mut self, section: &Value) {
        const PLACE: &str = "applinks";
        let Value::Object(section) = section else {
            self.found(Check::AppleApplinksMalformed, PLACE, kind(section));
            return;
        };
        match self.member(section, "apps", PLACE) {
            None => {}
            Some(Value::Array(apps)) if apps.is_empty() => {}
            Some(_) => self.found(Check::AppleOldApps, PLACE, "apps is not an empty list"),
        }
        let variables = self.variables(section);
        let defaults = defaults(section, Defaults::default());
        let mut entries = Vec::new();
        match self.member(section, "details", PLACE) {
            Some(Value::Array(details)) => {
                for (at, entry) in details.iter().enumerate() {
                    let place = format!("applinks.details[{at}]");
                    match entry {
                        Value::Object(entry) => entries.push(self.entry(entry, place)),
                        other => self.found(Check::AppleApplinksMalformed, &place, kind(other)),
                    }
                }
            }
            Some(Value::Object(details)) => {
                self.found(Check::AppleOldDetails, "applinks.details", "an object");
                for (id, entry) in details {
                    if let Value::Object(rules) = entry {
                        let place = format!("applinks.details.{id}");
                        entries.push(Entry {
                            ids: vec![id],
                            place,
                            rules,
                        });
                    }
                }
            }
            Some(other) => self.found(Check::AppleApplinksMalformed, "applinks.details", kind(other)),
            None => self.found(Check::AppleApplinksMalformed, PLACE, "no list details"),
        }
        let names: Vec<&str> = entries
            .iter()
            .flat_map(|entry| entry.ids.iter().copied())
            .collect();
        self.forms(&names, "applinks.details");
        for entry in &entries {
            self.rules(entry, &variables);
        }
        let association = self.association;
        for app in association.app_ids() {
            self.one(app, &names, "applinks.details", Check::AppleApplinksApp);
            let own: Vec<&Entry<'_>> = entries
                .iter()
                .filter(|entry| entry.ids.contains(&app.as_str()))
                .collect();
            if !own.is_empty() {
                self.link(&own, &variables, defaults);
            }
        }
    }

    fn entry<'v>(&mut self, entry: &'v Map<String, Value>, place: String) -> Entry<'v> {
        let mut ids = Vec::new();
        match self.member(entry, "appIDs", &place) {
            Some(Value::Array(list)) => {
                for id in list {
                    match id.as_str() {
                        Some(id) => ids.push(id),
                        None => self.found(Check::AppleAppIdForm, &place, kind(id)),
                    }
                }
            }
            Some(other) => self.found(
                Check::AppleApplinksMalformed,
                &place,
                format!("appIDs is {}, not a list", kind(other)),
            ),
            None => {}
        }
        match self.member(entry, "appID", &place) {
            Some(Value::String(id)) => ids.push(id),
            Some(other) => self.found(
                Check::AppleApplinksMalformed,
                &place,
                format!("appID is {}, not a text", kind(other)),
            ),
            None => {}
        }
        if ids.is_empty() && !["appIDs", "appID"].iter().any(|name| entry.contains_key(*name)) {
            let (_, near) = member(entry, "appIDs");
            if near.is_none() {
                self.found(Check::AppleApplinksMalformed, &place, "neither appIDs nor appID");
            }
        }
        Entry {
            ids,
            place,
            rules: entry,
        }
    }

    fn variables(&mut self, section: &Map<String, Value>) -> Variables {
        let mut variables = Variables::new();
        if let Some(Value::Object(declared)) = self.member(section, "substitutionVariables", "applinks") {
            for (name, values) in declared {
                let values = values.as_array().into_iter().flatten();
                let values = values.filter_map(Value::as_str).map(str::to_owned).collect();
                variables.insert(name.clone(), values);
            }
        }
        variables
    }

    /// The form of an entry's components and paths.
    fn rules(&mut self, entry: &Entry<'_>, variables: &Variables) {
        let place = &entry.place;
        match self.member(entry.rules, "components", place) {
            Some(Value::Array(components)) => {
                for (at, component) in components.iter().enumerate() {
                    self.component(component, &format!("{place}.components[{at}]"), variables);
                }
            }
            Some(other) => {
                self.found(
                    Check::AppleComponentForm,
                    place,
                    format!("components is {}", kind(other)),
                );
            }
            None => match self.member(entry.rules, "paths", place) {
                Some(Value::Array(paths)) => {
                    for path in paths {
                        let text = path.as_str().unwrap_or_default();
                        let pattern = text.strip_prefix("NOT ").unwrap_or(text);
                        if !pattern.starts_with(['/', '*', '?']) {
                            self.found(Check::ApplePathForm, place, path.to_string());
                        }
                    }
                }
                Some(other) => {
                    self.found(
                        Check::AppleComponentForm,
                        place,
                        format!("paths is {}", kind(other)),
                    );
                }
                None => {
                    let (_, near) = member(entry.rules, "components");
                    if near.is_none() {
                        self.found(
                            Check::AppleComponentsMissing,
                            place,
                            "neither components nor paths",
                        );
                    }
                }
            },
        }
    }

    fn component(&mut self, component: &Value, place: &str, variables: &Variables) {
        let Value::Object(members) = component else {
            self.found(Check::AppleComponentForm, place, kind(component));
            return;
        };
        for (name, value) in members {
            let fine = match name.as_str() {
                "/" | "#" | "comment" => value.is_string(),
                "?" => {
                    let items = value.as_object();
                    value.is_string() || items.is_some_and(|items| items.values().all(Value::is_string))
                }
                "exclude" | "caseSensitive" | "percentEncoded" => value.is_boolean(),
                other => {
                    let near = COMPONENT.iter().find(|known| known.eq_ignore_ascii_case(other));
                    if let Some(near) = near {
                        let found = format!("{other:?} in the place of {near:?}");
                        self.found(Check::AppleMemberCase, place, found);
                    } else {
                        self.found(Check::AppleComponentForm, place, format!("a member {other:?}"));
                    }
                    continue;
                }
            };
            if !fine {
                let found = format!("{name:?} is {}", kind(value));
                self.found(Check::AppleComponentForm, place, found);
            }
            if name == "/"
                && let Some(pattern) = value.as_str()
                && !pattern.starts_with(['/', '*', '?', '$'])
            {
                self.found(Check::ApplePathForm, place, format!("{pattern:?}"));
            }
            let patterns = value.as_str().into_iter();
            let patterns = patterns.chain(
                value
                    .as_object()
                    .into_iter()
                    .flat_map(|items| items.values().filter_map(Value::as_str)),
            );
            for pattern in patterns {
                if name != "comment"
                    && let Some(unknown) = undeclared(pattern, variables)
                {
                    self.found(Check::AppleVariable, place, format!("$({unknown})"));
                }
            }
        }
    }

    /// Whether the redirect opens the app, with a code and with an error.
    fn link(&mut self, entries: &[&Entry<'_>], variables: &Variables, defaults: Defaults) {
        let path = self.association.path();
        let mut budget = Budget::default();
        let mut matcher = Matcher {
            variables,
            budget: &mut budget,
        };
        let verdict = |matcher: &mut Matcher<'_>, query: &str| {
            decide(
                matcher,
                entries,
                defaults,
                Link {
                    path,
                    query,
                    fragment: "",
                },
            )
        };
        let with_code = verdict(&mut matcher, SAMPLE_CODE);
        let with_error = verdict(&mut matcher, SAMPLE_ERROR);
        let elsewhere = decide(
            &mut matcher,
            entries,
            defaults,
            Link {
                path: "/a-page-nobody-has/at-all",
                query: "",
                fragment: "",
            },
        );
        if budget.is_spent() {
            self.found(
                Check::AppleTooComplicated,
                "applinks.details",
                "too many steps to compare",
            );
            return;
        }
        match with_code {
            Verdict::Opens => {
                match with_error {
                    Verdict::Opens => {}
                    Verdict::Excluded(place) => {
                        let found = format!("{path}?error=… is excluded by this component");
                        self.found(Check::AppleErrorUnmatched, &place, found);
                    }
                    Verdict::Unmatched => {
                        let found = format!("no component fits {path}?error=…");
                        self.found(Check::AppleErrorUnmatched, "applinks.details", found);
                    }
                }
                if elsewhere == Verdict::Opens {
                    self.found(
                        Check::AppleEverything,
                        "applinks.details",
                        "components that fit every path",
                    );
                }
            }
            Verdict::Excluded(place) => {
                let found = format!("this component excludes {path}");
                self.found(Check::ApplePathExcluded, &place, found);
            }
            Verdict::Unmatched => {
                let remedy = format!("Add the component {{ \"/\": {path:?} }}.");
                let found = format!("no component fits {path}");
                let subject = self.at("applinks.details");
                self.finding(Finding::new(Check::ApplePathUnmatched, &subject, found).mending(remedy));
            }
        }
    }
}

/// One entry of applinks.details.
struct Entry<'a> {
    ids: Vec<&'a str>,
    place: String,
    rules: &'a Map<String, Value>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Opens,
    /// By the component at this place.
    Excluded(String),
    Unmatched,
}

fn defaults(object: &Map<String, Value>, outer: Defaults) -> Defaults {
    match object.get("defaults") {
        Some(Value::Object(own)) => outer.overridden(own),
        _ => outer,
    }
}

/// The first component that fits decides.
fn decide(matcher: &mut Matcher<'_>, entries: &[&Entry<'_>], outer: Defaults, link: Link<'_>) -> Verdict {
    for entry in entries {
        let defaults = defaults(entry.rules, outer);
        if let Some(Value::Array(components)) = entry.rules.get("components") {
            match first_that_fits(matcher, components, defaults, link) {
                Some((_, false)) => return Verdict::Opens,
                Some((at, true)) => return Verdict::Excluded(format!("{}.components[{at}]", entry.place)),
                None => {}
            }
        } else if let Some(Value::Array(paths)) = entry.rules.get("paths") {
            for (at, path) in paths.iter().enumerate() {
                let text = path.as_str().unwrap_or_default();
                let (pattern, excludes) = match text.strip_prefix("NOT ") {
                    Some(pattern) => (pattern, true),
                    None => (text, false),
                };
                if matcher.matches(pattern, link.path, Defaults::default()) {
                    return match excludes {
                        true => Verdict::Excluded(format!("{}.paths[{at}]", entry.place)),
                        false => Verdict::Opens,
                    };
                }
            }
        }
    }
    Verdict::Unmatched
}

/// Of components, the first that fits: where it is, and whether it excludes.
pub(super) fn first_that_fits(
    matcher: &mut Matcher<'_>,
    components: &[Value],
    defaults: Defaults,
    link: Link<'_>,
) -> Option<(usize, bool)> {
    components.iter().enumerate().find_map(|(at, component)| {
        let component = component.as_object()?;
        let excludes = component.get("exclude").and_then(Value::as_bool).unwrap_or(false);
        matcher.fits(component, defaults, link).then_some((at, excludes))
    })
}

/// Whether Apple's copy says the same as the host's file.
pub(super) fn check_copy(subject: &str, own: &Fetched, copy: &Fetched) -> Finding {
    let body = |fetched| Fetched::file(fetched, subject, MAX_BYTES).ok();
    match (body(own), body(copy), copy.status()) {
        (_, _, None) => {
            let why = copy.failure().map(|(_, detail)| detail).unwrap_or_default();
            Finding::new(Check::AppleCopyUnreachable, subject, why)
        }
        (Some(_), None, Some(status)) => {
            Finding::new(Check::AppleCopyMissing, subject, format!("status {status}"))
        }
        (Some(own), Some(copy), _) if json_of(own).is_some_and(|own| json_of(copy) == Some(own)) => {
            Finding::new(Check::AppleCopyGood, subject, "the same as on the host")
        }
        (Some(_), Some(_), _) => {
            Finding::new(Check::AppleCopyDiffers, subject, "another file than on the host")
        }
        (None, _, Some(status)) => {
            let found = format!("status {status}; the host's own file cannot be read to compare");
            Finding::new(Check::AppleCopyUnreachable, subject, found)
        }
    }
}

fn json_of(body: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).ok()?;
    super::document::Document::read(text)
        .ok()
        .map(|document| document.value)
}
