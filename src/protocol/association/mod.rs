//! Claimed https: the two files by which a host names the apps that may open its links, how to write them, and what can be
//! wrong with them, with the redirect, and with the server that it is registered at.
//!
//! The files are Apple's `apple-app-site-association` and Google's `assetlinks.json` (Digital Asset Links). Any bytes give
//! findings, never a panic; every limit is a named constant. Fetching is the caller's.

mod app;
mod apple;
mod backup;
mod binary_plist;
mod binary_xml;
mod code_signature;
mod document;
mod entitlements;
mod fetched;
mod finding;
mod google;
mod interstitial;
mod links;
mod manifest;
mod pattern;
mod property_list;
mod proto_xml;
mod redirect;
mod server;

use serde_json::json;
use url::Url;

pub use self::app::{AndroidApp, AppId, Fingerprint};
pub use self::backup::{check_backup_rules, is_backup_rules};
pub use self::code_signature::{entitlements_in, signature_place};
pub use self::entitlements::{Entitlements, check_bundle};
pub use self::fetched::{FetchFailure, Fetched};
pub use self::finding::{Finding, Severity};
pub use self::interstitial::{Interstitial, check_interstitial};
pub use self::manifest::{Element, check_manifest};
pub use self::property_list::Property;
pub use self::redirect::{RegistrationProbe, check_redirect, check_registration};
pub use self::server::ServerCheck;
use crate::error::{Error, Result};
use crate::protocol::redirect::{RedirectKind, RedirectUri};

/// A redirect as servers send it: its parameters are what a pattern for the query meets.
const SAMPLE_CODE: &str = "code=SplxlOBeZQQYbYS6WxSbIA&state=af0ifjsldkj&iss=https%3A%2F%2Flogin.example.com";
/// And one that says that the user declined.
const SAMPLE_ERROR: &str = "error=access_denied&state=af0ifjsldkj&iss=https%3A%2F%2Flogin.example.com";

/// An app and the https redirect that it claims: what the files of the host should say.
///
/// ```
/// use gatepass::RedirectUri;
/// use gatepass::association::{AndroidApp, AppId, Association, Fetched, Fingerprint, Severity};
///
/// let association = Association::new(&RedirectUri::parse("https://app.example.com/callback")?)?
///     .with_app_id(AppId::parse("ABCDE12345.com.example.app")?)
///     .with_android(AndroidApp::new("com.example.app", [Fingerprint::parse(&"14".repeat(32))?])?);
/// // What this writes is what it wants to see.
/// let as_json = [("content-type", "application/json")];
/// let findings = association.check_apple(&Fetched::answer(200, as_json, association.apple_file()));
/// assert!(findings.iter().all(|finding| finding.severity() == Severity::Good));
/// let findings = association.check_assetlinks(&Fetched::answer(200, as_json, association.assetlinks_file()));
/// assert!(findings.iter().all(|finding| finding.severity() == Severity::Good));
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Association {
    origin: String,
    host: String,
    path: String,
    app_ids: Vec<AppId>,
    android: Option<AndroidApp>,
    keychain_group: Option<String>,
}

impl Association {
    /// For the app that claims this redirect. No app is named yet.
    ///
    /// # Errors
    /// `association_redirect`, of the kind Configuration: the redirect is not a claimed https one.
    pub fn new(redirect: &RedirectUri) -> Result<Self> {
        let refuse = || {
            Err(Error::configuration(
                "association_redirect",
                "RFC 8252 §7.2",
                format!("only an https redirect is associated with an app, and {redirect} is none"),
            ))
        };
        let url = match Url::parse(redirect.as_str()) {
            Ok(url) if redirect.kind() == RedirectKind::ClaimedHttps => url,
            _ => return refuse(),
        };
        let Some(host) = url.host_str() else {
            return refuse();
        };
        Ok(Self {
            // Both platforms ask at port 443, whatever the redirect says; that is a finding of its own.
            origin: format!("https://{host}"),
            host: host.to_owned(),
            path: url.path().to_owned(),
            app_ids: Vec::new(),
            android: None,
            keychain_group: None,
        })
    }

    /// The same with an Apple app, besides those named before.
    #[must_use]
    pub fn with_app_id(mut self, id: AppId) -> Self {
        if !self.app_ids.contains(&id) {
            self.app_ids.push(id);
        }
        self
    }

    /// The same with this Android app.
    #[must_use]
    pub fn with_android(mut self, app: AndroidApp) -> Self {
        self.android = Some(app);
        self
    }

    /// The same with the keychain group that the Apple app keeps its session in, with the prefix or without.
    #[must_use]
    pub fn with_keychain_group(mut self, group: impl Into<String>) -> Self {
        self.keychain_group = Some(group.into());
        self
    }

    /// The keychain group of the Apple app, if it was named.
    #[must_use]
    pub fn keychain_group(&self) -> Option<&str> {
        self.keychain_group.as_deref()
    }

    /// The Apple apps.
    #[must_use]
    pub fn app_ids(&self) -> &[AppId] {
        &self.app_ids
    }

    /// The Android app.
    #[must_use]
    pub fn android(&self) -> Option<&AndroidApp> {
        self.android.as_ref()
    }

    /// The host of the redirect.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path of the redirect.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Where Apple looks.
    #[must_use]
    pub fn apple_url(&self) -> String {
        format!("{}/.well-known/apple-app-site-association", self.origin)
    }

    /// Where Apple looked until iOS 13, and some still put the file.
    #[must_use]
    pub fn apple_root_url(&self) -> String {
        format!("{}/apple-app-site-association", self.origin)
    }

    /// Apple's own copy, which devices get.
    #[must_use]
    pub fn apple_copy_url(&self) -> String {
        format!("https://app-site-association.cdn-apple.com/a/v1/{}", self.host)
    }

    /// Where Google and Android look.
    #[must_use]
    pub fn assetlinks_url(&self) -> String {
        format!("{}/.well-known/assetlinks.json", self.origin)
    }

    /// Where Google says what it sees at the host: the Digital Asset Links service, which devices go by.
    #[must_use]
    pub fn google_url(&self) -> String {
        format!(
            "https://digitalassetlinks.googleapis.com/v1/statements:list?source.web.site={}&relation={}",
            self.origin,
            links::HANDLE_ALL_URLS
        )
    }

    /// What says whom the host lets fetch its files.
    #[must_use]
    pub fn robots_url(&self) -> String {
        format!("{}/robots.txt", self.origin)
    }

    /// Where an interstitial page stands.
    #[must_use]
    pub fn page_url(&self) -> String {
        format!("{}{}", self.origin, self.path)
    }

    /// How long an answer may be that is worth reading, in bytes. Longer is [`FetchFailure::TooLong`].
    #[must_use]
    pub fn max_bytes(&self, url: &str) -> usize {
        if url == self.assetlinks_url() || url == self.robots_url() {
            links::MAX_BYTES
        } else if url == self.google_url() {
            google::MAX_BYTES
        } else if url == self.page_url() {
            interstitial::MAX_PAGE
        } else {
            apple::MAX_BYTES
        }
    }

    /// `apple-app-site-association` for the Apple apps named: JSON, to be served at [`apple_url`](Self::apple_url) with the
    /// type application/json.
    #[must_use]
    pub fn apple_file(&self) -> String {
        let ids: Vec<&str> = self.app_ids.iter().map(AppId::as_str).collect();
        let details = if ids.is_empty() {
            json!([])
        } else {
            // A redirect has no wildcard in it, but a path may have a character that a pattern reads as one.
            json!([{ "appIDs": ids, "components": [{ "/": literal(&self.path), "comment": "OAuth redirect" }] }])
        };
        let file = json!({
            "applinks": { "details": details },
            "webcredentials": { "apps": ids },
        });
        format!("{file:#}\n")
    }

    /// `assetlinks.json` for the Android app named, with all its certificates: JSON, to be served at
    /// [`assetlinks_url`](Self::assetlinks_url) with the type application/json.
    #[must_use]
    pub fn assetlinks_file(&self) -> String {
        let statements: Vec<_> = self
            .android
            .iter()
            .map(|app| {
                let fingerprints: Vec<&str> = app.fingerprints().iter().map(Fingerprint::as_str).collect();
                json!({
                    "relation": [links::HANDLE_ALL_URLS],
                    "target": {
                        "namespace": "android_app",
                        "package_name": app.package(),
                        "sha256_cert_fingerprints": fingerprints,
                    },
                })
            })
            .collect();
        format!("{:#}\n", json!(statements))
    }

    /// Looks at what came from [`apple_url`](Self::apple_url). Never empty.
    #[must_use]
    pub fn check_apple(&self, fetched: &Fetched) -> Vec<Finding> {
        apple::check(self, &self.apple_url(), fetched)
    }

    /// Looks at what came from [`apple_root_url`](Self::apple_root_url), after nothing was where it should be.
    #[must_use]
    pub fn check_apple_root(&self, fetched: &Fetched) -> Option<Finding> {
        let subject = self.apple_root_url();
        let body = fetched.file(&subject, apple::MAX_BYTES).ok()?;
        let is_json = body.trim_ascii_start().starts_with(b"{");
        is_json.then(|| Finding::new(finding::Check::AppleAtRoot, &subject, "the file is here"))
    }

    /// Holds what came from [`apple_copy_url`](Self::apple_copy_url) against the host's own file.
    #[must_use]
    pub fn check_apple_copy(&self, own: &Fetched, copy: &Fetched) -> Finding {
        apple::check_copy(&self.apple_copy_url(), own, copy)
    }

    /// Looks at what came from [`assetlinks_url`](Self::assetlinks_url). Never empty.
    #[must_use]
    pub fn check_assetlinks(&self, fetched: &Fetched) -> Vec<Finding> {
        links::check(self, &self.assetlinks_url(), fetched)
    }

    /// Looks at what came from [`google_url`](Self::google_url), for the Android app that was named; `None` without one.
    #[must_use]
    pub fn check_google(&self, fetched: &Fetched) -> Option<Finding> {
        google::check(
            self,
            &format!("{} at digitalassetlinks.googleapis.com", self.origin),
            fetched,
        )
    }

    /// Looks at what came from [`robots_url`](Self::robots_url): whether it keeps Google away from assetlinks.json.
    #[must_use]
    pub fn check_robots(&self, fetched: &Fetched) -> Option<Finding> {
        links::check_robots(&self.robots_url(), fetched)
    }
}

/// A pattern that fits the path: `*` and a `$(` in it are not to be read as wildcards, so `?` stands in for them, which fits
/// any one character.
fn literal(path: &str) -> String {
    path.replace(['*', '$'], "?")
}

/// That a file of the app cannot be read, as a finding.
///
/// ```
/// use gatepass::association::unreadable;
///
/// assert_eq!(unreadable("app.apk", "no such file").code(), "app_file_unreadable");
/// ```
#[must_use]
pub fn unreadable(subject: &str, why: &str) -> Finding {
    Finding::new(finding::Check::AppFileUnreadable, subject, why)
}

/// That an app names rules for backups which are not to be seen, as a finding.
///
/// ```
/// use gatepass::association::backup_rules_unseen;
///
/// assert_eq!(backup_rules_unseen("AndroidManifest.xml", "@xml/rules").code(), "backup_rules_unseen");
/// ```
#[must_use]
pub fn backup_rules_unseen(subject: &str, found: &str) -> Finding {
    Finding::new(finding::Check::BackupRulesUnseen, subject, found)
}

/// Whether a pattern fits the whole text.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn matches_for_fuzzing(pattern: &str, text: &str) -> bool {
    let (variables, mut budget) = (pattern::Variables::new(), pattern::Budget::default());
    let mut matcher = pattern::Matcher {
        variables: &variables,
        budget: &mut budget,
    };
    matcher.matches(pattern, text, pattern::Defaults::default())
}

#[cfg(test)]
mod tests;
