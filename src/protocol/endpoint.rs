//! Which URLs the core talks to: https, or http on a loopback address where the app allowed that by name.

use std::borrow::Cow;

use url::{Host, Position, Url};

use super::form;
use crate::error::{Error, Result, Stage};

/// Allows http for an issuer, its endpoints and API origins whose host is `127.0.0.1` or `[::1]`.
///
/// For tests against a server on the same machine. There is no switch that allows http to anywhere else.
///
/// ```
/// use gatepass::{AllowHttpOnLoopback, Client};
///
/// let builder = |issuer| Client::builder(issuer, "my-app").allow_http_on_loopback(AllowHttpOnLoopback);
/// assert!(builder("http://127.0.0.1:9400").build().is_ok());
/// assert_eq!(builder("http://localhost:9400").build().unwrap_err().code(), "issuer_insecure");
/// assert_eq!(builder("http://login.example.com").build().unwrap_err().code(), "issuer_insecure");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowHttpOnLoopback;

/// The rule in force for one client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TransportPolicy {
    pub(crate) http_on_loopback: Option<AllowHttpOnLoopback>,
}

impl TransportPolicy {
    /// Whether a request may go to this URL at all.
    pub(crate) fn admits(self, url: &Url) -> bool {
        match url.scheme() {
            "https" => url.host().is_some(),
            "http" => self.http_on_loopback.is_some() && is_loopback(url),
            _ => false,
        }
    }
}

/// Whether the host is one of the two loopback literals. `localhost` is a name that someone else may resolve
/// (RFC 8252 §8.3), so it is not.
pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address == std::net::Ipv4Addr::LOCALHOST,
        Some(Host::Ipv6(address)) => address == std::net::Ipv6Addr::LOCALHOST,
        _ => false,
    }
}

/// Parses the URL of an endpoint: allowed by the policy, no fragment (RFC 6749 §3.1, §3.2), no user
/// information.
pub(crate) fn parse(text: &str, name: &str, stage: Stage, policy: TransportPolicy) -> Result<Url> {
    // The URL parser would drop or repair these without a word.
    if text.bytes().any(|b| b <= b' ' || b == b'\\' || b == 0x7f) {
        return Err(Error::protocol(
            stage,
            "endpoint_malformed",
            "RFC 3986 §2",
            format!("{name} holds a space, a control character or a backslash"),
        ));
    }
    let url = Url::parse(text).map_err(|e| {
        Error::protocol(
            stage,
            "endpoint_malformed",
            "RFC 6749 §3.1",
            format!("{name} is not a URL: {e}"),
        )
    })?;
    if !policy.admits(&url) {
        return Err(Error::protocol(
            stage,
            "endpoint_insecure",
            "RFC 8414 §2",
            format!(
                "{name} must be an https URL (http is possible only on 127.0.0.1 and [::1], by AllowHttpOnLoopback)"
            ),
        ));
    }
    if url.fragment().is_some() {
        return Err(Error::protocol(
            stage,
            "endpoint_fragment",
            "RFC 6749 §3.1",
            format!("{name} has a fragment"),
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::protocol(
            stage,
            "endpoint_userinfo",
            "RFC 3986 §3.2.1",
            format!("{name} has user information before the host"),
        ));
    }
    Ok(url)
}

/// The longest URL that is made. A longer one may not arrive: servers and everything before them need to take no more
/// than 8000 octets (RFC 9110 §4.1).
pub(crate) const MAX_URL_BYTES: usize = 8_000;

/// A URL that carries parameters in its query. A query that the endpoint has already is kept (RFC 6749 §3.1); one that
/// holds any of them, or of the `reserved` names, is refused, as none may come twice.
pub(crate) fn with_parameters(
    endpoint: &Url,
    reserved: &[&str],
    parameters: &[(&str, Cow<'_, str>)],
    stage: Stage,
) -> Result<String> {
    if let Some((name, _)) = endpoint
        .query_pairs()
        .find(|(name, _)| reserved.contains(&name.as_ref()) || parameters.iter().any(|(own, _)| own == name))
    {
        return Err(Error::protocol(
            stage,
            "endpoint_parameter",
            "RFC 6749 §3.1",
            format!("the server's endpoint sets the parameter {name:?} itself, and none may come twice"),
        ));
    }
    let base = &endpoint[..Position::AfterQuery];
    // With room for their separators and for what is escaped in a redirect URI.
    let room = parameters
        .iter()
        .map(|(name, value)| name.len() + value.len() + 2)
        .sum::<usize>();
    let mut url = String::with_capacity(base.len() + room + 64);
    url.push_str(base);
    for (index, (name, value)) in parameters.iter().enumerate() {
        match endpoint.query() {
            None if index == 0 => url.push('?'),
            Some("") if index == 0 => {}
            _ => url.push('&'),
        }
        form::append(&mut url, name);
        url.push('=');
        form::append(&mut url, value);
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: TransportPolicy = TransportPolicy {
        http_on_loopback: None,
    };
    const LOOPBACK: TransportPolicy = TransportPolicy {
        http_on_loopback: Some(AllowHttpOnLoopback),
    };

    #[test]
    fn bi_77_82_am_17_http_is_refused_except_on_a_loopback_literal_by_name() {
        let code = |text: &str, policy| {
            parse(text, "token_endpoint", Stage::Discovery, policy).map_err(|e| e.code())
        };
        assert!(code("https://as.example/token", STRICT).is_ok());
        assert_eq!(code("http://127.0.0.1:1/token", STRICT), Err("endpoint_insecure"));
        assert!(code("http://127.0.0.1:1/token", LOOPBACK).is_ok());
        assert!(code("http://[::1]:1/token", LOOPBACK).is_ok());
        for insecure in [
            "http://as.example/token",
            "http://localhost/token",
            "http://127.0.0.2/t",
            "ftp://127.0.0.1/t",
        ] {
            assert_eq!(code(insecure, LOOPBACK), Err("endpoint_insecure"), "{insecure}");
        }
        assert_eq!(
            code("https://as.example/token#x", STRICT),
            Err("endpoint_fragment")
        );
        assert_eq!(
            code("https://u:p@as.example/token", STRICT),
            Err("endpoint_userinfo")
        );
        for repaired in [
            "/token",
            "https://as.example/to\r\nken",
            " https://as.example/token",
            "https:\\\\as.example",
        ] {
            assert_eq!(code(repaired, STRICT), Err("endpoint_malformed"), "{repaired:?}");
        }
    }
}
