//! Scope: a set of tokens (RFC 6749 §3.3).

use crate::error::{Error, Result};

/// Scope tokens in the order they were given, as on the wire: space-delimited.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope(String);

impl Scope {
    /// From tokens that an app configured, each kept once. Each must keep the grammar of RFC 6749 §3.3.
    pub(crate) fn from_tokens<S: AsRef<str>>(tokens: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut kept = Self::default();
        for token in tokens {
            let token = token.as_ref();
            if !is_scope_token(token) {
                return Err(Error::configuration(
                    "scope_malformed",
                    "RFC 6749 §3.3",
                    format!(
                        "{token:?} is not a scope token: printable ASCII without space, quote and backslash; give several scopes one by one"
                    ),
                ));
            }
            if !kept.contains(token) {
                kept.push(token);
            }
        }
        Ok(kept)
    }

    /// From a `scope` member of a response. Unlike our own request, what a server says is read leniently:
    /// tokens that break the grammar are dropped.
    pub(crate) fn from_response(text: &str) -> Self {
        if is_scope(text) {
            return Self(text.to_owned());
        }
        let mut kept = Self(String::with_capacity(text.len()));
        for token in text.split(' ').filter(|token| is_scope_token(token)) {
            kept.push(token);
        }
        kept
    }

    fn push(&mut self, token: &str) {
        if !self.0.is_empty() {
            self.0.push(' ');
        }
        self.0.push_str(token);
    }

    /// Refuses a scope that reaches beyond what was granted: a refresh cannot widen a grant (RFC 6749 §6).
    pub(crate) fn require_within(&self, granted: &Self) -> Result<()> {
        match self.tokens().find(|token| !granted.contains(token)) {
            None => Ok(()),
            Some(token) => Err(Error::configuration(
                "scope_not_granted",
                "RFC 6749 §6",
                format!(
                    "the scope {token:?} was not granted at sign-in, and a refresh cannot add it: sign in again with it"
                ),
            )),
        }
    }

    pub(crate) fn contains(&self, token: &str) -> bool {
        // Over bytes, which for so short a text is faster than to search for a character.
        let mut tokens = self.0.as_bytes().split(|byte| *byte == b' ');
        !token.is_empty() && tokens.any(|known| known == token.as_bytes())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Token by token.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split(' ').filter(|token| !token.is_empty())
    }

    /// The form on the wire: space-delimited.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Scope {
    /// The order has no meaning (RFC 6749 §3.3).
    fn eq(&self, other: &Self) -> bool {
        self.tokens().all(|token| other.contains(token)) && other.tokens().all(|token| self.contains(token))
    }
}

impl Eq for Scope {}

/// `1*( %x21 / %x23-5B / %x5D-7E )`
fn is_scope_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(is_scope_character)
}

fn is_scope_character(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

/// `scope-token *( SP scope-token )`, as nearly every server sends it: nothing is to be dropped.
fn is_scope(text: &str) -> bool {
    let mut before = b' ';
    let every = text.bytes().all(|byte| {
        let fits = is_scope_character(byte) || (byte == b' ' && before != b' ');
        before = byte;
        fits
    });
    every && before != b' '
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oa_13_grammar_and_set_comparison() {
        for bad in ["", "a b", "a\"", "a\\", "a\tb", "ä"] {
            assert_eq!(
                Scope::from_tokens([bad]).unwrap_err().code(),
                "scope_malformed",
                "{bad:?}"
            );
        }
        let a = Scope::from_tokens(["openid", "profile", "openid"]).unwrap();
        assert_eq!(a.as_str(), "openid profile");
        assert_eq!(a, Scope::from_tokens(["profile", "openid"]).unwrap());
        assert_ne!(a, Scope::from_tokens(["profile", "OpenID"]).unwrap());
    }

    #[test]
    fn oa_13_what_a_server_says_is_kept_token_by_token() {
        for (text, kept) in [
            ("", ""),
            (" ", ""),
            ("a", "a"),
            ("a b a", "a b a"),
            (" a b", "a b"),
            ("a b ", "a b"),
            ("a  b", "a b"),
            ("a \"x\" b", "a b"),
            ("\\ a", "a"),
            ("a\tb c", "c"),
            ("ä b", "b"),
        ] {
            let scope = Scope::from_response(text);
            assert_eq!(scope.as_str(), kept, "{text:?}");
            assert_eq!(scope.tokens().collect::<Vec<_>>().join(" "), kept, "{text:?}");
        }
    }

    #[test]
    fn oa_30_a_refresh_asks_for_no_more_than_was_granted() {
        let scope = |text| Scope::from_response(text);
        let granted = scope("openid profile api");
        for within in ["", "api", "profile openid", "openid profile api"] {
            scope(within).require_within(&granted).unwrap();
        }
        for beyond in ["admin", "api admin", "API"] {
            let error = scope(beyond).require_within(&granted).unwrap_err();
            assert_eq!(error.code(), "scope_not_granted", "{beyond}");
        }
    }
}
