//! The issuer identifier: a string that is compared, and only incidentally a URL.
//!
//! A URL parser would make `https://as.example` and `https://as.example/` the same, drop `:443` and turn a
//! backslash into a slash. Issuers are compared code point by code point (RFC 8414 §4, RFC 9207 §2.4), so the
//! text is kept as given and the parsed form is used only to look at it.

use std::fmt;

use url::Url;

use super::endpoint::TransportPolicy;
use crate::error::{Error, Result};

/// An issuer identifier that is fit to be asked for metadata.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Issuer(String);

impl Issuer {
    /// https, a host, no query, no fragment (RFC 8414 §2), nothing a URL parser would repair.
    pub(crate) fn parse(text: &str, policy: TransportPolicy) -> Result<Self> {
        // Whoever mistook it for a place for a password does not find that in a log.
        let shown = match Url::parse(text) {
            Ok(url) if url.host_str().is_some() => url.origin().ascii_serialization(),
            _ if text.contains(['@', '?', '#']) => "…".to_owned(),
            _ => text.to_owned(),
        };
        let refuse = |code, why: &str| {
            Err(Error::configuration(
                code,
                "RFC 8414 §2",
                format!("issuer {shown:?} {why}"),
            ))
        };
        if text.bytes().any(|b| b <= b' ' || b == b'\\' || b == 0x7f) {
            return refuse(
                "issuer_malformed",
                "holds a space, a control character or a backslash",
            );
        }
        let Ok(url) = Url::parse(text) else {
            return refuse(
                "issuer_malformed",
                "is not a URL; it looks like https://login.example.com",
            );
        };
        if !policy.admits(&url) {
            return refuse(
                "issuer_insecure",
                "is not an https URL; http is possible only for 127.0.0.1 and [::1], by AllowHttpOnLoopback",
            );
        }
        // `https:host` and `https:///host` mean the same to a URL parser, and the places of the metadata are made of the
        // text.
        let rest = text.get(url.scheme().len()..).unwrap_or_default();
        let has_host = rest
            .strip_prefix("://")
            .is_some_and(|rest| !rest.starts_with('/'));
        if !has_host {
            return refuse(
                "issuer_malformed",
                "does not have two slashes and a host after its scheme",
            );
        }
        // A URL parser takes the segment before a `..` away, and in the places of the metadata that may be `.well-known`.
        let goes_up =
            |segment: &str| matches!(&*segment.to_ascii_lowercase().replace("%2e", "."), "." | "..");
        if rest.split('/').any(goes_up) {
            return refuse("issuer_malformed", "has a `.` or `..` in its path");
        }
        if text.contains('?') || text.contains('#') {
            return refuse("issuer_malformed", "has a query or a fragment");
        }
        if text.contains("/.well-known/") {
            return refuse(
                "issuer_malformed",
                "is the address of its metadata; leave out what begins with /.well-known/",
            );
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("issuer_malformed", "has user information before the host");
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The places where the metadata may be, best first: OpenID Connect Discovery §4, then RFC 8414 §3.1. An issuer
    /// with a path has a third, the name of the first in the place of the second (RFC 8414 §5).
    pub(crate) fn metadata_urls(&self) -> Vec<String> {
        let trimmed = self.0.strip_suffix('/').unwrap_or(&self.0);
        // Insertion goes between host and path, so find where the authority ends.
        let after_scheme = trimmed.find("://").map_or(0, |at| at + 3);
        let path_at = trimmed
            .get(after_scheme..)
            .and_then(|rest| rest.find('/'))
            .map_or(trimmed.len(), |at| after_scheme + at);
        let (origin, path) = trimmed.split_at(path_at);
        let mut places = vec![
            format!("{trimmed}/.well-known/openid-configuration"),
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
        ];
        if !path.is_empty() {
            places.push(format!("{origin}/.well-known/openid-configuration{path}"));
        }
        places
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::endpoint::AllowHttpOnLoopback;

    fn urls(issuer: &str) -> Vec<String> {
        Issuer::parse(issuer, TransportPolicy::default())
            .unwrap()
            .metadata_urls()
    }

    #[test]
    fn am_02_am_03_am_13_tv_50_to_53_metadata_paths() {
        let well_known = |rest: &str| format!("https://example.com/.well-known/{rest}");
        assert_eq!(
            urls("https://example.com"),
            [
                well_known("openid-configuration"),
                well_known("oauth-authorization-server")
            ]
        );
        assert_eq!(
            urls("https://example.com/")[0],
            well_known("openid-configuration")
        );
        assert_eq!(
            urls("https://example.com/issuer1"),
            [
                "https://example.com/issuer1/.well-known/openid-configuration".to_owned(),
                well_known("oauth-authorization-server/issuer1"),
                well_known("openid-configuration/issuer1"),
            ]
        );
        assert_eq!(
            urls("https://example.com/issuer1/")[1],
            well_known("oauth-authorization-server/issuer1")
        );
        assert_eq!(
            urls("https://example.com:8443/a/b")[1],
            "https://example.com:8443/.well-known/oauth-authorization-server/a/b"
        );
    }

    #[test]
    fn am_01_what_is_no_issuer() {
        for bad in [
            "",
            "login.example.com",
            "http://login.example.com",
            "http://127.0.0.1",
            "https://login.example.com?x=1",
            "https://login.example.com#",
            "https://u@login.example.com",
            "https://login.example.com\\a",
            " https://login.example.com",
            "https://login.exam\tple.com",
            // Not to be asked at the host `.well-known`.
            "https:///login.example.com",
            "https:login.example.com",
            "https:/login.example.com",
            "https:/login.example.com/a://b",
            "https://login.example.com/../tenant",
            "https://login.example.com/a/%2E%2e",
        ] {
            let error = Issuer::parse(bad, TransportPolicy::default()).unwrap_err();
            assert_eq!(error.clause(), Some("RFC 8414 §2"), "{bad:?}");
        }
        let policy = TransportPolicy {
            http_on_loopback: Some(AllowHttpOnLoopback),
        };
        assert!(Issuer::parse("http://127.0.0.1:9400", policy).is_ok());
        assert!(Issuer::parse("http://localhost:9400", policy).is_err());
    }

    #[test]
    fn trap_15_the_text_is_kept_as_given() {
        let kept = |text| Issuer::parse(text, TransportPolicy::default()).unwrap();
        assert_ne!(kept("https://as.example"), kept("https://as.example/"));
        assert_ne!(kept("https://as.example"), kept("https://as.example:443"));
        assert_ne!(kept("https://as.example/a"), kept("https://as.example/A"));
    }
}
