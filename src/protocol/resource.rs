//! Resource indicators (RFC 8707): which API an access token is for.

use std::fmt;

use url::Url;

use crate::error::{Error, Result};

/// The longest resource indicator that is sent.
const MAX_BYTES: usize = 2048;

/// An absolute URI without a fragment (RFC 8707 §2). The text is kept as given: a server compares it with its own list,
/// and a URL parser would change it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Resource(String);

impl Resource {
    /// Checked here, before anything is sent: some servers spend a refresh token before they find that a resource is
    /// bad.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        if text.len() > MAX_BYTES {
            return refuse(
                "resource_too_long",
                "the resource indicator is longer than 2048 bytes".to_owned(),
            );
        }
        if text.contains('#') {
            return refuse(
                "resource_fragment",
                format!("the resource {text:?} has a fragment, which a resource indicator must not have"),
            );
        }
        if !is_absolute_uri(text) {
            return refuse(
                "resource_malformed",
                format!(
                    "the resource {text:?} is not an absolute URI; it looks like https://api.example.com/"
                ),
            );
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `absolute-URI` (RFC 3986 §4.3), with a host where the scheme is http or https.
pub(crate) fn is_absolute_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else {
        return false;
    };
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let mut bytes = rest.bytes();
    while let Some(byte) = bytes.next() {
        let fits = match byte {
            b'%' => [bytes.next(), bytes.next()]
                .iter()
                .all(|digit| digit.is_some_and(|d| d.is_ascii_hexdigit())),
            b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#' => false,
            other => other.is_ascii_graphic(),
        };
        if !fits {
            return false;
        }
    }
    let is_web = ["http", "https"]
        .iter()
        .any(|web| scheme.eq_ignore_ascii_case(web));
    let authority_fits =
        !is_web || (rest.starts_with("//") && Url::parse(text).is_ok_and(|url| url.has_host()));
    scheme_fits && !rest.is_empty() && authority_fits
}

fn refuse<T>(code: &'static str, message: String) -> Result<T> {
    Err(Error::configuration(code, "RFC 8707 §2", message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ri_01_ri_06_an_absolute_uri_without_fragment_kept_as_given() {
        for good in [
            "https://api.example.com",
            "https://API.example.com:443/a%20b",
            "https://api.example.com/?tenant=a", // should have no query, and may
            "urn:example:api",
            "api://6e4bd1f0",
            "com.example.api:/x",
        ] {
            assert_eq!(Resource::parse(good).unwrap().as_str(), good);
        }
        for (bad, code) in [
            ("", "resource_malformed"),
            ("/api", "resource_malformed"),
            ("api.example.com", "resource_malformed"),
            ("api", "resource_malformed"),
            ("https:", "resource_malformed"),
            ("https:/api.example.com", "resource_malformed"),
            ("https://", "resource_malformed"),
            ("1a:b", "resource_malformed"),
            (":b", "resource_malformed"),
            ("https://api.example.com/a b", "resource_malformed"),
            ("https://api.example.com/\\", "resource_malformed"),
            ("https://api.example.com/%zz", "resource_malformed"),
            ("https://api.example.com/%2", "resource_malformed"),
            ("https://ä.example.com/", "resource_malformed"),
            ("https://api.example.com/\n", "resource_malformed"),
            ("https://api.example.com/#", "resource_fragment"),
            ("https://api.example.com/#a", "resource_fragment"),
        ] {
            assert_eq!(Resource::parse(bad).unwrap_err().code(), code, "{bad:?}");
        }
        let long = format!("urn:{}", "a".repeat(MAX_BYTES));
        assert_eq!(Resource::parse(&long).unwrap_err().code(), "resource_too_long");
    }
}
