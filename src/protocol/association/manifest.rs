//! The manifest of an Android app: whether it takes the redirect, sees browsers, and keeps sessions out of backups.

use super::finding::{Check, Finding, Severity};
use super::{Association, binary_xml, proto_xml};

/// Deeper elements are not looked at: a manifest has six levels.
pub(super) const MAX_DEPTH: usize = 32;

const ANDROID: &str = "http://schemas.android.com/apk/res/android";
const CUSTOM_TABS: &str = "android.support.customtabs.action.CustomTabsService";

/// An element of a manifest: its name, its attributes (`android:name`), what is in it.
///
/// ```
/// use gatepass::association::{Element, check_manifest};
///
/// let internet = ("android:name".to_owned(), "android.permission.INTERNET".to_owned());
/// let permission = Element::new("uses-permission", vec![internet], Vec::new());
/// let manifest = Element::new("manifest", Vec::new(), vec![permission]);
/// let findings = check_manifest(None, "AndroidManifest.xml", &manifest);
/// assert!(findings.iter().all(|finding| finding.code() != "manifest_internet"));
/// assert!(Element::from_binary_xml(b"<manifest/>").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
}

impl Element {
    /// An element. Attributes of Android's namespace are named `android:…`.
    #[must_use]
    pub fn new(name: &str, attributes: Vec<(String, String)>, children: Vec<Self>) -> Self {
        Self {
            name: name.to_owned(),
            attributes,
            children,
        }
    }

    /// Reads the binary XML of an APK.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn from_binary_xml(bytes: &[u8]) -> Result<Self, &'static str> {
        binary_xml::read(bytes)
    }

    /// Reads the XML of an app bundle (AAB), which is in protocol buffers.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn from_proto_xml(bytes: &[u8]) -> Result<Self, &'static str> {
        proto_xml::read(bytes)
    }

    /// The name, without a namespace.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn children(&self) -> &[Self] {
        &self.children
    }

    /// The rules for backups that a manifest names, as `@xml/rules` or by number. Where backups are off none matters.
    #[must_use]
    pub fn backup_rules(&self) -> Vec<&str> {
        let Some(application) = self.named("application").next() else {
            return Vec::new();
        };
        if application.attribute("android:allowBackup") == Some("false") {
            return Vec::new();
        }
        let names = ["android:dataExtractionRules", "android:fullBackupContent"];
        let named = names.iter().filter_map(|name| application.attribute(name));
        named.filter(|rules| rules.starts_with('@')).collect()
    }

    /// Whether bytes begin as binary XML does.
    #[must_use]
    pub fn is_binary_xml(bytes: &[u8]) -> bool {
        binary_xml::is_binary(bytes)
    }

    /// The name of an attribute with its namespace, as it is looked for here.
    #[must_use]
    pub fn attribute_name(namespace: &str, name: &str) -> String {
        qualified(namespace, name)
    }

    pub(super) fn push(&mut self, child: Self) {
        self.children.push(child);
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Whether a child of this name has this `android:name`.
    fn has(&self, child: &str, value: &str) -> bool {
        self.named(child)
            .any(|child| child.attribute("android:name") == Some(value))
    }
}

pub(super) fn qualified(namespace: &str, name: &str) -> String {
    match namespace {
        ANDROID => format!("android:{name}"),
        "" => name.to_owned(),
        // `tools:` and others are not Android's to read.
        _ => format!("other:{name}"),
    }
}

/// Looks at the manifest of an app that claims a redirect; without one at the rest of it. Never empty.
///
/// ```
/// use gatepass::RedirectUri;
/// use gatepass::association::{Association, Element, check_manifest};
///
/// let association = Association::new(&RedirectUri::parse("https://app.example.com/callback")?)?;
/// let manifest = Element::new("manifest", Vec::new(), vec![Element::new("application", Vec::new(), Vec::new())]);
/// let findings = check_manifest(Some(&association), "AndroidManifest.xml", &manifest);
/// assert!(findings.iter().any(|finding| finding.code() == "manifest_filter_missing"));
/// # Ok::<(), gatepass::Error>(())
/// ```
#[must_use]
pub fn check_manifest(association: Option<&Association>, subject: &str, manifest: &Element) -> Vec<Finding> {
    let mut look = Look {
        subject,
        findings: Vec::new(),
    };
    if manifest.name != "manifest" {
        look.found(
            Check::AppFileUnreadable,
            "",
            format!("the outermost element is {}", manifest.name),
        );
        return look.findings;
    }
    if let Some(association) = association {
        look.package(association, manifest);
        look.filters(association, manifest);
    }
    look.surroundings(manifest);
    let worst = look.findings.iter().map(Finding::severity).max();
    if worst.is_none_or(|worst| worst < Severity::Warning) {
        look.found(
            Check::ManifestGood,
            "",
            "a verified filter, visible browsers, no sessions in backups",
        );
    }
    look.findings
}

struct Look<'a> {
    subject: &'a str,
    findings: Vec<Finding>,
}

/// An intent filter and the activity that it belongs to.
struct Filter<'a> {
    activity: &'a Element,
    place: String,
    filter: &'a Element,
}

impl Look<'_> {
    fn found(&mut self, check: Check, place: &str, found: impl AsRef<str>) {
        let subject = match place {
            "" => self.subject.to_owned(),
            place => format!("{}: {place}", self.subject),
        };
        if self
            .findings
            .iter()
            .filter(|known| known.check() == check)
            .count()
            < 3
        {
            self.findings.push(Finding::new(check, &subject, found));
        }
    }

    fn package(&mut self, association: &Association, manifest: &Element) {
        if let (Some(app), Some(package)) = (association.android(), manifest.attribute("package"))
            && app.package() != package
            && !is_filled_in(package)
        {
            self.found(
                Check::ManifestPackage,
                "",
                format!("{package:?}, not {:?}", app.package()),
            );
        }
    }

    fn filters(&mut self, association: &Association, manifest: &Element) {
        let activities = manifest
            .named("application")
            .flat_map(|application| application.children.iter())
            .filter(|child| matches!(child.name.as_str(), "activity" | "activity-alias"));
        let mut filters = Vec::new();
        for activity in activities {
            let name = activity.attribute("android:name").unwrap_or("an activity");
            for filter in activity.named("intent-filter") {
                filters.push(Filter {
                    activity,
                    place: name.to_owned(),
                    filter,
                });
            }
        }
        let host = association.host();
        let of_host: Vec<_> = filters
            .iter()
            .filter(|filter| takes_host(filter.filter, host))
            .collect();
        if of_host.is_empty() {
            let filled_in = filters
                .iter()
                .flat_map(|filter| filter.filter.named("data"))
                .filter_map(|data| data.attribute("android:host"))
                .find(|host| is_filled_in(host));
            match filled_in {
                Some(host) => self.found(Check::ManifestPlaceholder, "", format!("the host {host:?}")),
                None => {
                    let found = format!("{} intent filters, none for https://{host}", filters.len());
                    self.found(Check::ManifestFilterMissing, "", found);
                }
            }
            return;
        }
        let takes_path = |filter: &&&Filter<'_>| takes_path(filter.filter, association.path());
        let own: Vec<_> = of_host.iter().filter(takes_path).copied().collect();
        let Some(best) = own.iter().max_by_key(|filter| completeness(filter.filter)) else {
            let place = of_host.first().map_or("", |filter| filter.place.as_str());
            self.found(
                Check::ManifestPath,
                place,
                format!("{host}, and not {}", association.path()),
            );
            return;
        };
        self.filter(best);
    }

    fn filter(&mut self, own: &Filter<'_>) {
        let (place, filter, activity) = (own.place.as_str(), own.filter, own.activity);
        let needed = [
            ("action", "android.intent.action.VIEW"),
            ("category", "android.intent.category.DEFAULT"),
            ("category", "android.intent.category.BROWSABLE"),
        ];
        let missing: Vec<_> = needed
            .iter()
            .filter(|(kind, name)| !filter.has(kind, name))
            .collect();
        if let Some((kind, name)) = missing.first() {
            self.found(
                Check::ManifestFilterIncomplete,
                place,
                format!("no {kind} {name}"),
            );
        }
        if filter.attribute("android:autoVerify") != Some("true") {
            let found = match filter.attribute("android:autoVerify") {
                Some(value) => format!("autoVerify is {value:?}"),
                None => "no autoVerify".to_owned(),
            };
            self.found(Check::ManifestAutoVerify, place, found);
        }
        let foreign = filter
            .named("data")
            .filter_map(|data| data.attribute("android:scheme"))
            .find(|scheme| !matches!(*scheme, "http" | "https"));
        if let Some(foreign) = foreign {
            self.found(
                Check::ManifestSchemes,
                place,
                format!("the scheme {foreign:?} in the same filter"),
            );
        }
        match activity.attribute("android:exported") {
            Some("true") => {}
            Some(value) => self.found(Check::ManifestExported, place, format!("exported is {value:?}")),
            None => self.found(Check::ManifestExported, place, "no exported"),
        }
        // An alias has the launch mode of its activity, which stands elsewhere.
        if activity.name == "activity" {
            let mode = activity.attribute("android:launchMode").unwrap_or("standard");
            // By name in the source, by number in an APK.
            if matches!(mode, "standard" | "0") {
                self.found(Check::ManifestLaunchMode, place, "launchMode standard");
            }
        }
    }

    fn surroundings(&mut self, manifest: &Element) {
        if !manifest.has("uses-permission", "android.permission.INTERNET") {
            self.found(Check::ManifestInternet, "", "no permission INTERNET");
        }
        let sees_tabs = manifest
            .named("queries")
            .flat_map(|queries| queries.named("intent"))
            .any(|intent| intent.has("action", CUSTOM_TABS));
        if !sees_tabs {
            self.found(Check::ManifestQueries, "", "no query for Custom Tabs");
        }
        let Some(application) = manifest.named("application").next() else {
            return;
        };
        let has_rules = ["android:dataExtractionRules", "android:fullBackupContent"]
            .iter()
            .any(|name| application.attribute(name).is_some_and(|rules| rules != "true"));
        if application.attribute("android:allowBackup") != Some("false") && !has_rules {
            self.found(Check::ManifestBackup, "", "backups are on, and no rules for them");
        }
    }
}

/// What the build puts there.
fn is_filled_in(text: &str) -> bool {
    text.contains("${") || text.starts_with('@')
}

/// Android takes every scheme of a filter with every host of it, wherever they stand.
fn takes_host(filter: &Element, host: &str) -> bool {
    let values = |name: &'static str| filter.named("data").filter_map(move |data| data.attribute(name));
    let is_own = |known: &str| match known.strip_prefix("*.") {
        Some(domain) => host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => known == host,
    };
    values("android:scheme").any(|scheme| scheme == "https") && values("android:host").any(is_own)
}

fn takes_path(filter: &Element, path: &str) -> bool {
    let mut any = false;
    for (name, value) in filter.named("data").flat_map(|data| &data.attributes) {
        let fits = match name.as_str() {
            "android:path" => value == path,
            "android:pathPrefix" => path.starts_with(value.as_str()),
            "android:pathSuffix" => path.ends_with(value.as_str()),
            "android:pathPattern" => simple_glob(value, path),
            // Regular expressions of a kind of their own: taken at their word.
            "android:pathAdvancedPattern" => true,
            _ => continue,
        };
        // A resource is not known here.
        if fits || is_filled_in(value) {
            return true;
        }
        any = true;
    }
    !any
}

/// How much of what a filter needs it has.
fn completeness(filter: &Element) -> usize {
    let verifies = usize::from(filter.attribute("android:autoVerify") == Some("true"));
    verifies + filter.named("action").count().min(1) + filter.named("category").count().min(2)
}

/// Android's simple glob: `.` is any character, `*` repeats what is before it, `\` takes the next as it is.
fn simple_glob(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().take(2_000).collect();
    let mut at = vec![false; text.len() + 1];
    if let Some(first) = at.first_mut() {
        *first = true;
    }
    let mut rest = pattern.chars().take(1_000).peekable();
    while let Some(c) = rest.next() {
        let (wanted, is_any) = match c {
            '\\' => (rest.next().unwrap_or('\\'), false),
            '.' => ('.', true),
            other => (other, false),
        };
        let fits = |c: char| is_any || c == wanted;
        if rest.next_if_eq(&'*').is_some() {
            let mut reached = false;
            let mut next = Vec::with_capacity(at.len());
            for (place, here) in at.iter().enumerate() {
                let before = place.checked_sub(1).and_then(|before| text.get(before));
                reached = *here || (reached && before.is_some_and(|c| fits(*c)));
                next.push(reached);
            }
            at = next;
        } else {
            let moved = at.iter().zip(&text).map(|(here, c)| *here && fits(*c));
            at = std::iter::once(false).chain(moved).collect();
        }
    }
    at.last().copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn androids_simple_globs() {
        for (pattern, text) in [
            (".*", "/anything"),
            ("/oauth/.*", "/oauth/callback"),
            ("/a*b", "/aaab"),
            ("/a*b", "/b"),
            ("/.allback", "/callback"),
            ("/a\\.b", "/a.b"),
            ("/.*/callback", "/x/y/callback"),
        ] {
            assert!(simple_glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("/oauth", "/oauth/callback"),
            ("*", "/a"),
            ("/a\\.b", "/axb"),
            ("/a*b", "/acb"),
            ("", "/"),
        ] {
            assert!(!simple_glob(pattern, text), "{pattern} {text}");
        }
    }
}
