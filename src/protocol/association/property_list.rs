//! A property list as far as it matters here, and whether it is an Info.plist or entitlements.

use super::entitlements::{Entitlements, check_bundle};
use super::{Association, Finding, binary_plist};

/// Deeper values are not looked at: an Info.plist has a handful of levels.
pub(super) const MAX_DEPTH: usize = 32;

/// A value of a property list.
///
/// ```
/// use gatepass::association::Property;
///
/// let text = |text: &str| Property::Text(text.to_owned());
/// let list = Property::Dictionary(vec![("CFBundleIdentifier".to_owned(), text("com.example.app"))]);
/// assert_eq!(list.get("CFBundleIdentifier").and_then(Property::text), Some("com.example.app"));
/// assert_eq!(list.check(None, "Info.plist")[0].code(), "info_plist_good");
/// assert!(Property::from_binary(b"bplist00").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Property {
    /// A string.
    Text(String),
    /// An array or a set.
    List(Vec<Property>),
    /// Names and values, in their order.
    Dictionary(Vec<(String, Property)>),
    /// A number, a date, data, true or false: nothing that is looked at.
    Other,
}

impl Property {
    /// Reads a binary property list.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn from_binary(bytes: &[u8]) -> Result<Self, &'static str> {
        binary_plist::read(bytes)
    }

    /// Whether bytes begin as a binary property list does.
    #[must_use]
    pub fn is_binary(bytes: &[u8]) -> bool {
        binary_plist::is_binary(bytes)
    }

    /// The value behind a name, of a dictionary. Of a name that comes twice the first.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Dictionary(entries) => entries
                .iter()
                .find(|(known, _)| known == name)
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, of one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        let items = self.get(name).map(Self::items).unwrap_or_default();
        items.iter().filter_map(Self::text)
    }

    /// Looks at an Info.plist, or else at entitlements, of an app that claims a redirect. Never empty.
    #[must_use]
    pub fn check(&self, association: Option<&Association>, subject: &str) -> Vec<Finding> {
        if !matches!(self, Self::Dictionary(_)) {
            return vec![super::unreadable(subject, "a property list without a dictionary")];
        }
        let types = self.get("CFBundleURLTypes");
        let bundle_id = self.get("CFBundleIdentifier").and_then(Self::text);
        if types.is_some() || bundle_id.is_some() {
            let types = types.map(Self::items).unwrap_or_default();
            let schemes: Vec<&str> = types
                .iter()
                .flat_map(|entry| entry.texts("CFBundleURLSchemes"))
                .collect();
            return check_bundle(association, subject, bundle_id, &schemes);
        }
        let owned = |name| self.texts(name).map(str::to_owned).collect();
        let ids = ["application-identifier", "com.apple.application-identifier"];
        let entitlements = Entitlements {
            associated_domains: owned("com.apple.developer.associated-domains"),
            keychain_groups: owned("keychain-access-groups"),
            application_identifier: ids
                .iter()
                .find_map(|name| self.get(name).and_then(Self::text))
                .map(str::to_owned),
        };
        entitlements.check(association, subject)
    }
}
