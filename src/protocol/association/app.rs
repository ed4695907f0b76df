//! The app: how Apple and Google name it.

use std::fmt;

use crate::error::{Error, Result};

const DOCUMENTATION: &str = "the platform's documentation";

/// The App ID that an Apple app has: the App ID prefix, a dot, the bundle id.
///
/// ```
/// use gatepass::association::AppId;
///
/// let id = AppId::parse("ABCDE12345.com.example.app")?;
/// assert_eq!(id.bundle_id(), "com.example.app");
/// assert_eq!(AppId::parse("com.example.app").unwrap_err().code(), "app_id_malformed");
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppId(String);

impl AppId {
    /// Reads an App ID: ten capitals and digits, a dot, letters, digits, dots and hyphens.
    ///
    /// # Errors
    /// `app_id_malformed`, of the kind Configuration.
    pub fn parse(text: &str) -> Result<Self> {
        if is_app_id(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::configuration(
            "app_id_malformed",
            DOCUMENTATION,
            format!(
                "{text:?} is no App ID: ten capitals and digits, a dot, the bundle id, as in ABCDE12345.com.example.app"
            ),
        ))
    }

    /// The whole.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the prefix.
    #[must_use]
    pub fn bundle_id(&self) -> &str {
        self.0.split_once('.').map_or("", |(_, bundle)| bundle)
    }
}

impl fmt::Display for AppId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

pub(super) fn is_app_id(text: &str) -> bool {
    text.len() <= 255
        && text.split_once('.').is_some_and(|(prefix, bundle)| {
            prefix.len() == 10
                && prefix
                    .bytes()
                    .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
                && !bundle.starts_with('.')
                && !bundle.ends_with('.')
                && !bundle.is_empty()
                && bundle
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
        })
}

/// An Android app: its application id, and the certificates that it is signed with.
///
/// ```
/// use gatepass::association::{AndroidApp, Fingerprint};
///
/// let fingerprint = Fingerprint::parse(&"ab".repeat(32))?;
/// assert!(fingerprint.as_str().starts_with("AB:AB:AB"));
/// let app = AndroidApp::new("com.example.app", [fingerprint])?;
/// assert_eq!(app.package(), "com.example.app");
/// assert_eq!(AndroidApp::new("app", []).unwrap_err().code(), "package_malformed");
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AndroidApp {
    package: String,
    fingerprints: Vec<Fingerprint>,
}

impl AndroidApp {
    /// The app with this application id, signed with one of these certificates.
    ///
    /// # Errors
    /// `package_malformed`, of the kind Configuration.
    pub fn new(package: &str, fingerprints: impl IntoIterator<Item = Fingerprint>) -> Result<Self> {
        if !is_package(package) {
            return Err(Error::configuration(
                "package_malformed",
                DOCUMENTATION,
                format!(
                    "{package:?} is no application id: names of letters, digits and _, with dots between"
                ),
            ));
        }
        let mut known: Vec<Fingerprint> = Vec::new();
        for fingerprint in fingerprints {
            if !known.contains(&fingerprint) {
                known.push(fingerprint);
            }
        }
        Ok(Self {
            package: package.to_owned(),
            fingerprints: known,
        })
    }

    /// The application id.
    #[must_use]
    pub fn package(&self) -> &str {
        &self.package
    }

    /// The certificates, each once.
    #[must_use]
    pub fn fingerprints(&self) -> &[Fingerprint] {
        &self.fingerprints
    }
}

/// By the rules of application ids: two names or more, each begins with a letter.
pub(super) fn is_package(text: &str) -> bool {
    text.len() <= 255
        && text.contains('.')
        && text.split('.').all(|name| {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        })
}

/// The SHA-256 fingerprint of a signing certificate.
///
/// ```
/// use gatepass::association::Fingerprint;
///
/// let with_colons = Fingerprint::parse(&["14"; 32].join(":"))?;
/// assert_eq!(with_colons, Fingerprint::parse(&"14".repeat(32))?);
/// // SHA-1 is shorter.
/// assert_eq!(Fingerprint::parse(&"14".repeat(20)).unwrap_err().code(), "fingerprint_malformed");
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// Reads one as tools print it: 32 bytes in hexadecimal of either case, with colons between or without.
    ///
    /// # Errors
    /// `fingerprint_malformed`, of the kind Configuration.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::configuration(
                "fingerprint_malformed",
                DOCUMENTATION,
                format!("that is no SHA-256 fingerprint of a certificate: {why}"),
            ))
        };
        match bytes_of(text) {
            Some(32) => Ok(Self(canonical(text))),
            Some(20) => refuse("it has 20 bytes, as SHA-1 has; take the line SHA-256"),
            Some(bytes) => refuse(&format!("it has {bytes} bytes, and 32 are wanted")),
            None => refuse("it is not hexadecimal with or without a colon between each two digits"),
        }
    }

    /// In the form of assetlinks.json: capitals, with colons between.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How many bytes the text is in hexadecimal, with all the colons or none.
pub(super) fn bytes_of(text: &str) -> Option<usize> {
    let text = text.trim();
    if text.is_empty() || text.len() > 1024 {
        return None;
    }
    let is_pair = |pair: &str| pair.len() == 2 && pair.bytes().all(|b| b.is_ascii_hexdigit());
    if text.contains(':') {
        return text.split(':').all(is_pair).then(|| text.split(':').count());
    }
    let hex = text.bytes().all(|b| b.is_ascii_hexdigit()) && text.len().is_multiple_of(2);
    hex.then_some(text.len() / 2)
}

/// Capitals, with colons between.
fn canonical(text: &str) -> String {
    let mut written = String::with_capacity(95);
    let digits = text.chars().filter(char::is_ascii_hexdigit);
    for (at, digit) in digits.enumerate() {
        if at > 0 && at.is_multiple_of(2) {
            written.push(':');
        }
        written.push(digit.to_ascii_uppercase());
    }
    written
}
