//! Parameters of a query or a form, read as RFC 6749 §3.1 and §3.2 demand.

use std::collections::HashSet;
use url::form_urlencoded;

/// The parameters of one request, in the order sent.
#[derive(Clone, Default)]
pub(super) struct Params(Vec<(String, String)>);

/// A parameter that must be sent at most once was sent twice (RFC 6749 §3.1).
pub(super) struct Repeated;

impl Params {
    /// Decodes `application/x-www-form-urlencoded`; `None` when the bytes are not UTF-8 once decoded
    /// (RFC 6749 appendix B), or a percent escape is broken.
    pub(super) fn decode(encoded: &[u8]) -> Option<Params> {
        if !escapes_are_whole(encoded) {
            return None;
        }
        let pairs: Vec<(String, String)> = form_urlencoded::parse(encoded).into_owned().collect();
        // The decoder replaces what is not UTF-8; no parameter of these protocols may hold that sign.
        let broken = |text: &str| text.contains(char::REPLACEMENT_CHARACTER);
        if pairs.iter().any(|(name, value)| broken(name) || broken(value)) {
            return None;
        }
        Some(Params(pairs))
    }

    /// The value of a parameter. One sent without a value counts as omitted (RFC 6749 §3.1).
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// Every value of a parameter that may be sent more than once, such as `resource` (RFC 8707 §2).
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(n, v)| n == name && !v.is_empty())
            .map(|(_, v)| v.as_str())
    }

    /// Whether a parameter was sent, be it without a value.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(n, _)| n == name)
    }

    /// Like [`get`](Params::get), but refuses a parameter that was sent twice.
    pub(super) fn once(&self, name: &str) -> Result<Option<&str>, Repeated> {
        if self.0.iter().filter(|(n, _)| n == name).nth(1).is_some() {
            return Err(Repeated);
        }
        Ok(self.get(name))
    }

    /// Whether any parameter but `resource` was sent twice, which RFC 6749 §3.1 and §3.2 forbid even
    /// for parameters the server does not know.
    pub(super) fn has_repeated(&self) -> bool {
        let mut seen = HashSet::new();
        self.0
            .iter()
            .any(|(name, _)| name != "resource" && !seen.insert(name))
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn escapes_are_whole(encoded: &[u8]) -> bool {
    encoded
        .split(|byte| *byte == b'%')
        .skip(1)
        .all(|after| matches!(after, [high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit()))
}

/// A set of scope tokens in the order first named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Scope(Vec<String>);

impl Scope {
    /// Reads a `scope` parameter; `None` when it breaks the syntax of RFC 6749 §3.3.
    pub(super) fn parse(text: &str) -> Option<Scope> {
        let mut tokens: Vec<String> = Vec::new();
        for token in text.split(' ') {
            let well_formed = !token.is_empty()
                && token
                    .bytes()
                    .all(|byte| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E));
            if !well_formed {
                return None;
            }
            if !tokens.iter().any(|known| known == token) {
                tokens.push(token.to_owned());
            }
        }
        Some(Scope(tokens))
    }

    pub(super) fn contains(&self, token: &str) -> bool {
        self.0.iter().any(|known| known == token)
    }

    pub(super) fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(super) fn is_within(&self, other: &Scope) -> bool {
        self.0.iter().all(|token| other.contains(token))
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|token| keep(token));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Scope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join(" "))
    }
}

/// Whether every character is visible ASCII or a space: the VSCHAR of RFC 6749 appendix A, which
/// `state`, codes and tokens are made of.
pub(super) fn is_vschar(text: &str) -> bool {
    text.bytes().all(|byte| (0x20..=0x7E).contains(&byte))
}

/// Adds parameters to a URI that may already have a query (RFC 6749 §3.1.2).
pub(super) fn with_query(uri: &str, pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in pairs {
        if let Some(value) = value {
            query.append_pair(name, value);
        }
    }
    let query = query.finish();
    if query.is_empty() {
        return uri.to_owned();
    }
    let separator = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{separator}{query}")
}

#[cfg(test)]
mod tests {
    use super::{Params, Scope};

    #[test]
    fn broken_encoding_is_refused() {
        for broken in ["a=%", "a=%f", "a=%zz", "a=%FF%FE", "%FF=a"] {
            assert!(Params::decode(broken.as_bytes()).is_none(), "{broken}");
        }
        let params = Params::decode(b"a=b+c%20d&empty=&a2=%C3%A9").unwrap();
        assert_eq!(params.get("a"), Some("b c d"));
        assert_eq!(params.get("a2"), Some("é"));
        assert_eq!(params.get("empty"), None);
    }

    #[test]
    fn scope_syntax_is_that_of_rfc_6749_3_3() {
        for broken in ["", " ", "a  b", "a ", " a", "a\"", "a\\", "a\tb", "é"] {
            assert!(Scope::parse(broken).is_none(), "{broken:?}");
        }
        assert_eq!(Scope::parse("b a b").unwrap().to_string(), "b a");
    }
}
