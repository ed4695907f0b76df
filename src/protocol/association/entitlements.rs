//! What an Apple app says of itself: its entitlements, and its Info.plist.

use super::Association;
use super::app::AppId;
use super::finding::{Check, Finding, Severity};

/// The entitlements that a sign-in rests on, as the build signs them.
///
/// ```
/// use gatepass::RedirectUri;
/// use gatepass::association::{Association, Entitlements};
///
/// let association = Association::new(&RedirectUri::parse("https://app.example.com/callback")?)?;
/// let mut entitlements = Entitlements::default();
/// entitlements.associated_domains = vec!["applinks:app.example.com".to_owned()];
/// let findings = entitlements.check(Some(&association), "App.entitlements");
/// assert!(findings.iter().any(|finding| finding.code() == "entitlements_webcredentials"));
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entitlements {
    /// `com.apple.developer.associated-domains`.
    pub associated_domains: Vec<String>,
    /// `keychain-access-groups`.
    pub keychain_groups: Vec<String>,
    /// `application-identifier`, which a signed build has.
    pub application_identifier: Option<String>,
}

impl Entitlements {
    /// Whether the app has a group, which may be named without the prefix. Every app has the group of its own id, too.
    fn has_group(&self, wanted: &str) -> bool {
        let own = self.application_identifier.iter();
        self.keychain_groups.iter().chain(own).any(|group| {
            let name = match group.strip_prefix("$(").and_then(|rest| rest.split_once(')')) {
                Some((_, name)) => name,
                None => group.split_once('.').map_or("", |(_, name)| name),
            };
            group == wanted || name.trim_start_matches('.') == wanted
        })
    }

    /// Looks at them, for an app that claims a redirect; without one at their form. Never empty.
    #[must_use]
    pub fn check(&self, association: Option<&Association>, subject: &str) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut found = |check, text: String| findings.push(Finding::new(check, subject, text));
        let badly_formed = self.associated_domains.iter().find(|entry| !is_entry(entry));
        if let Some(entry) = badly_formed {
            found(Check::EntitlementsDomainForm, format!("{entry:?}"));
        }
        if let Some(association) = association {
            let host = association.host();
            if self.associated_domains.is_empty() {
                found(
                    Check::EntitlementsDomainsMissing,
                    "no associated domains".to_owned(),
                );
            } else {
                let services = [
                    ("webcredentials", Check::EntitlementsWebcredentials),
                    ("applinks", Check::EntitlementsApplinks),
                ];
                for (service, missing) in services {
                    let own = || {
                        self.associated_domains
                            .iter()
                            .filter_map(|entry| entry_for(entry, service, host))
                    };
                    if own().next().is_none() {
                        found(missing, format!("no {service}:{host}"));
                    } else if own().all(|mode| mode.contains("developer")) {
                        found(
                            Check::EntitlementsDeveloperMode,
                            format!("{service}:{host}?mode=developer"),
                        );
                    }
                }
            }
            let ids = association.app_ids();
            if let Some(own) = &self.application_identifier
                && !ids.is_empty()
                && !own.contains('$')
                && !ids.iter().any(|id| id.as_str() == own)
            {
                let ids: Vec<_> = ids.iter().map(AppId::as_str).collect();
                found(
                    Check::EntitlementsAppId,
                    format!("{own:?}, not {}", ids.join(" or ")),
                );
            }
        }
        if self.keychain_groups.is_empty() {
            found(
                Check::EntitlementsKeychain,
                "no keychain-access-groups".to_owned(),
            );
        } else if let Some(group) = self.keychain_groups.iter().find(|group| !is_group(group)) {
            found(Check::EntitlementsKeychainForm, format!("{group:?}"));
        }
        let wanted = association.and_then(Association::keychain_group);
        if let Some(wanted) = wanted.filter(|wanted| !self.has_group(wanted)) {
            found(
                Check::EntitlementsKeychainMissing,
                format!("{wanted:?} is not among {:?}", self.keychain_groups),
            );
        }
        if findings
            .iter()
            .all(|finding| finding.severity() < Severity::Warning)
        {
            let text = format!("{} associated domains", self.associated_domains.len());
            findings.push(Finding::new(Check::EntitlementsGood, subject, text));
        }
        findings
    }
}

/// A prefix of ten capitals and digits, or what Xcode fills in for it; a dot, unless that brings one; a name.
fn is_group(group: &str) -> bool {
    match group.strip_prefix("$(").and_then(|rest| rest.split_once(')')) {
        Some((_, name)) => !name.is_empty(),
        None => group.split_once('.').is_some_and(|(prefix, name)| {
            let is_of_team = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
            !name.is_empty() && prefix.len() == 10 && prefix.bytes().all(is_of_team)
        }),
    }
}

/// A service, a colon, a host; perhaps a port and a mode.
fn is_entry(entry: &str) -> bool {
    let Some((service, rest)) = entry.split_once(':') else {
        return false;
    };
    let host = rest.split('?').next().unwrap_or_default();
    // What Xcode fills in.
    let host = host.replace("$(", "").replace(')', "");
    !service.is_empty()
        && service.bytes().all(|b| b.is_ascii_lowercase())
        && !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'*' | b':'))
}

/// The mode of an entry that is for this service and host, empty where it has none.
fn entry_for<'a>(entry: &'a str, service: &str, host: &str) -> Option<&'a str> {
    let rest = entry.strip_prefix(service)?.strip_prefix(':')?;
    let (known, mode) = rest.split_once('?').unwrap_or((rest, ""));
    let fits = match known.strip_prefix("*.") {
        Some(domain) => known == host || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.')),
        None => known.eq_ignore_ascii_case(host),
    };
    fits.then_some(mode)
}

/// Looks at an Info.plist: its bundle id, and the schemes of `CFBundleURLTypes`.
///
/// ```
/// use gatepass::association::check_bundle;
///
/// let findings = check_bundle(None, "Info.plist", Some("com.example.app"), &["https"]);
/// assert_eq!(findings[0].code(), "info_plist_scheme");
/// ```
#[must_use]
pub fn check_bundle(
    association: Option<&Association>,
    subject: &str,
    bundle_id: Option<&str>,
    schemes: &[&str],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let web = |scheme: &&&str| scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http");
    if let Some(scheme) = schemes.iter().find(web) {
        findings.push(Finding::new(
            Check::InfoPlistScheme,
            subject,
            format!("the scheme {scheme:?}"),
        ));
    }
    let ids = association.map(Association::app_ids).unwrap_or_default();
    if let Some(own) = bundle_id
        && !ids.is_empty()
        && !own.contains('$')
        && !ids.iter().any(|id| id.bundle_id() == own)
    {
        findings.push(Finding::new(
            Check::InfoPlistBundle,
            subject,
            format!("the bundle id {own:?}"),
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::new(
            Check::InfoPlistGood,
            subject,
            "the bundle id and the URL types",
        ));
    }
    findings
}
