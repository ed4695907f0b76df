//! Redirect URIs (RFC 8252 §7): claimed https, private-use scheme, loopback.
//!
//! Servers and platforms compare redirect URIs as strings, so a URI that is not in normal form fails in the
//! field, on some servers, long after the app shipped. Here it fails when the client is built.

use std::fmt;

use url::Url;

use crate::error::{Error, Result};

/// A redirect URI that keeps the rules of its kind.
///
/// ```
/// use gatepass::{RedirectKind, RedirectUri};
///
/// let redirect = RedirectUri::parse("https://app.example.com/callback")?;
/// assert_eq!(redirect.kind(), RedirectKind::ClaimedHttps);
///
/// let error = RedirectUri::parse("https://App.example.com/callback").unwrap_err();
/// assert!(error.to_string().contains("https://app.example.com/callback"));
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RedirectUri {
    text: String,
    kind: RedirectKind,
}

/// The three ways a redirect reaches a native app.
///
/// ```
/// use gatepass::{RedirectKind, RedirectUri};
///
/// let kind = |uri| RedirectUri::parse(uri).map(|redirect| redirect.kind());
/// assert_eq!(kind("https://app.example.com/callback")?, RedirectKind::ClaimedHttps);
/// assert_eq!(kind("com.example.app:/callback")?, RedirectKind::PrivateUseScheme);
/// assert_eq!(kind("http://127.0.0.1/callback")?, RedirectKind::Loopback);
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RedirectKind {
    /// An https URL that the platform hands to the app that proved to own the host (RFC 8252 §7.2). Preferred.
    ClaimedHttps,
    /// A scheme of the app's own, a reversed domain name (RFC 8252 §7.1).
    PrivateUseScheme,
    /// A listener on `127.0.0.1` or `[::1]`, on a port chosen for each sign-in (RFC 8252 §7.3).
    Loopback,
}

const CLAUSE: &str = "RFC 8252 §7";

impl RedirectUri {
    /// Reads a redirect URI, and says what to write instead where it is close to one.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) with a code that starts with `redirect_`.
    pub fn parse(text: &str) -> Result<Self> {
        if text.bytes().any(|b| b <= b' ' || b == b'\\' || b >= 0x7f) {
            return refuse(
                "redirect_malformed",
                text,
                "holds a space, a control character, a backslash or a letter outside ASCII",
            );
        }
        let Ok(url) = Url::parse(text) else {
            return refuse(
                "redirect_malformed",
                text,
                "is not an absolute URI (RFC 6749 §3.1.2); it looks like https://app.example.com/callback, com.example.app:/callback or http://127.0.0.1/callback",
            );
        };
        if text.contains('#') {
            return refuse("redirect_fragment", text, "has a fragment (RFC 6749 §3.1.2)");
        }
        if text.contains('?') {
            return refuse(
                "redirect_query",
                text,
                "has a query: the response parameters go there",
            );
        }
        if text.contains('%') {
            return refuse(
                "redirect_escape",
                text,
                "has a percent escape, which platforms compare in different ways",
            );
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refuse("redirect_userinfo", text, "has user information before the host");
        }
        match url.scheme() {
            "https" => Self::in_normal_form(text, &url, RedirectKind::ClaimedHttps),
            "http" if super::endpoint::is_loopback(&url) => Self::loopback(text, &url),
            "http" if url.host_str() == Some("localhost") => refuse(
                "redirect_localhost",
                text,
                "uses the name localhost, which may resolve elsewhere (RFC 8252 §8.3): write 127.0.0.1",
            ),
            "http" => refuse(
                "redirect_insecure",
                text,
                "is http to another host than 127.0.0.1 or [::1]: use https (RFC 9700 §2.6)",
            ),
            scheme if scheme.contains('.') => Self::private_use(text, &url),
            _ => refuse(
                "redirect_scheme",
                text,
                "has a scheme without a dot: use your domain name reversed, like com.example.app:/callback (RFC 8252 §7.1)",
            ),
        }
    }

    fn in_normal_form(text: &str, url: &Url, kind: RedirectKind) -> Result<Self> {
        if url.as_str() != text {
            return refuse(
                "redirect_not_normal",
                text,
                &format!("is not in normal form, and redirects are compared as strings: write {url}"),
            );
        }
        Ok(Self {
            text: text.to_owned(),
            kind,
        })
    }

    fn loopback(text: &str, url: &Url) -> Result<Self> {
        if url.port() == Some(0) {
            return refuse(
                "redirect_port",
                text,
                "has port 0: leave the port out, one is chosen for each sign-in",
            );
        }
        Self::in_normal_form(text, url, RedirectKind::Loopback)
    }

    fn private_use(text: &str, url: &Url) -> Result<Self> {
        let scheme_len = url.scheme().len();
        let (scheme, rest) = text.split_at(scheme_len.min(text.len()));
        if scheme != url.scheme() {
            return refuse(
                "redirect_not_normal",
                text,
                &format!("must have its scheme in lower case: {}", url.scheme()),
            );
        }
        // With two slashes a URL parser reads a host where the app meant a path (RFC 8252 §7.1).
        if !rest.starts_with(":/") || rest.starts_with("://") || rest.len() < 3 {
            return refuse(
                "redirect_authority",
                text,
                &format!("must have exactly one slash and a path after the scheme: {scheme}:/callback"),
            );
        }
        Self::in_normal_form(text, url, RedirectKind::PrivateUseScheme)
    }

    /// The URI exactly as configured.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Which of the three kinds it is.
    #[must_use]
    pub fn kind(&self) -> RedirectKind {
        self.kind
    }

    /// The loopback redirect of one sign-in: the configured path on the address and port that were bound.
    /// `None` for the other kinds.
    #[cfg(any(feature = "loopback", test))]
    pub(crate) fn bound_to(&self, address: std::net::SocketAddr) -> Option<Self> {
        if self.kind != RedirectKind::Loopback {
            return None;
        }
        Some(Self {
            text: format!("http://{address}{}", self.path()),
            kind: RedirectKind::Loopback,
        })
    }

    /// The path, of an https or loopback redirect.
    #[cfg(any(feature = "loopback", test))]
    pub(crate) fn path(&self) -> String {
        Url::parse(&self.text).map_or_else(|_| String::from("/"), |url| url.path().to_owned())
    }

    /// Where the browser is sent, of a loopback redirect that has a port.
    #[cfg(feature = "loopback")]
    pub(crate) fn address(&self) -> Option<std::net::SocketAddr> {
        if self.kind != RedirectKind::Loopback {
            return None;
        }
        let url = Url::parse(&self.text).ok()?;
        let address = match url.host()? {
            url::Host::Ipv4(v4) => std::net::IpAddr::V4(v4),
            url::Host::Ipv6(v6) => std::net::IpAddr::V6(v6),
            url::Host::Domain(_) => return None,
        };
        Some(std::net::SocketAddr::from((address, url.port()?)))
    }

    /// The port that was configured, if any.
    #[cfg(feature = "loopback")]
    pub(crate) fn port(&self) -> Option<u16> {
        Url::parse(&self.text).ok().and_then(|url| url.port())
    }
}

impl fmt::Debug for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Display for RedirectUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn refuse<T>(code: &'static str, text: &str, why: &str) -> Result<T> {
    Err(Error::configuration(
        code,
        CLAUSE,
        format!("redirect URI {text:?} {why}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> &'static str {
        RedirectUri::parse(text).unwrap_err().code()
    }

    #[test]
    fn na_03_na_10_the_three_kinds() {
        for (text, kind) in [
            ("https://app.example.com/callback", RedirectKind::ClaimedHttps),
            ("https://app.example.com/", RedirectKind::ClaimedHttps),
            ("https://app.example.com:8443/cb", RedirectKind::ClaimedHttps),
            ("com.example.app:/callback", RedirectKind::PrivateUseScheme),
            ("http://127.0.0.1/callback", RedirectKind::Loopback),
            ("http://[::1]/callback", RedirectKind::Loopback),
            ("http://127.0.0.1:8400/callback", RedirectKind::Loopback),
        ] {
            let redirect = RedirectUri::parse(text).unwrap();
            assert_eq!((redirect.kind(), redirect.as_str()), (kind, text));
            assert_eq!(
                RedirectUri::parse(redirect.as_str()).unwrap(),
                redirect,
                "re-parses to itself"
            );
        }
    }

    #[test]
    fn na_05_na_06_trap_16_private_use_schemes() {
        assert_eq!(code("myapp:/cb"), "redirect_scheme");
        for bad in [
            "com.example.app://cb",
            "com.example.app:cb",
            "com.example.app:/",
            "com.example.app:",
            "com.example.app:///cb",
        ] {
            assert_eq!(code(bad), "redirect_authority", "{bad}");
        }
        assert_eq!(code("com.Example.app:/cb"), "redirect_not_normal");
        assert_eq!(code("com.example.app:/a/../cb"), "redirect_not_normal");
    }

    #[test]
    fn na_29_not_in_normal_form() {
        for bad in [
            "https://app.example.com",
            "https://App.example.com/cb",
            "HTTPS://app.example.com/cb",
            "https://app.example.com:443/cb",
            "https://app.example.com/a/../cb",
            "http://127.0.0.1",
            "http://127.0.0.1:80/cb",
            "http://127.1/cb",
        ] {
            assert_eq!(code(bad), "redirect_not_normal", "{bad}");
        }
    }

    #[test]
    fn oa_09_na_15_bc_15_what_is_never_a_redirect() {
        for (bad, expected) in [
            ("/cb", "redirect_malformed"),
            ("https://a.example/c b", "redirect_malformed"),
            ("https://a.example\\cb", "redirect_malformed"),
            ("https://ä.example/cb", "redirect_malformed"),
            ("https://a.example/cb#f", "redirect_fragment"),
            ("https://a.example/cb?x=1", "redirect_query"),
            ("https://a.example/%63b", "redirect_escape"),
            ("https://u:p@a.example/cb", "redirect_userinfo"),
            ("http://localhost/cb", "redirect_localhost"),
            ("http://app.example.com/cb", "redirect_insecure"),
            ("http://127.0.0.2/cb", "redirect_insecure"),
            ("http://127.0.0.1:0/cb", "redirect_port"),
        ] {
            assert_eq!(code(bad), expected, "{bad}");
        }
    }

    #[test]
    fn na_11_a_loopback_redirect_takes_the_bound_port() {
        let redirect = RedirectUri::parse("http://127.0.0.1/callback").unwrap();
        let v4 = redirect.bound_to("127.0.0.1:4711".parse().unwrap()).unwrap();
        assert_eq!(v4.as_str(), "http://127.0.0.1:4711/callback");
        let v6 = redirect.bound_to("[::1]:4711".parse().unwrap()).unwrap();
        assert_eq!(v6.as_str(), "http://[::1]:4711/callback");
        #[cfg(feature = "loopback")]
        {
            assert_eq!(v4.address(), Some("127.0.0.1:4711".parse().unwrap()));
            assert_eq!(v6.address(), Some("[::1]:4711".parse().unwrap()));
            assert_eq!(redirect.address(), None, "no port");
            let https = RedirectUri::parse("https://127.0.0.1:4711/cb").unwrap();
            assert_eq!(https.address(), None);
        }
        assert!(
            RedirectUri::parse("https://a.example/cb")
                .unwrap()
                .bound_to("[::1]:1".parse().unwrap())
                .is_none()
        );
    }
}
