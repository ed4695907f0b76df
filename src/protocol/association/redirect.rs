//! The redirect URI: its kind, its host, and whether the server knows it.

use url::{Host, Url};

use super::fetched::Fetched;
use super::finding::{Check, Finding};
use crate::protocol::answer::host_of;
use crate::protocol::form::Form;
use crate::protocol::redirect::{RedirectKind, RedirectUri};

/// Looks at a redirect URI as it is configured; the issuer is the server's, where it is known.
///
/// ```
/// use gatepass::association::check_redirect;
///
/// let findings = check_redirect("https://app.example.com/callback", Some("https://login.example.com"));
/// assert_eq!(findings[0].code(), "redirect_good");
/// let findings = check_redirect("myapp://callback", None);
/// assert_eq!(findings[0].code(), "redirect_invalid");
/// ```
#[must_use]
pub fn check_redirect(text: &str, issuer: Option<&str>) -> Vec<Finding> {
    let subject = shown(text);
    let subject = subject.as_str();
    let redirect = match RedirectUri::parse(text) {
        Ok(redirect) => redirect,
        Err(error) => {
            // It quotes what it was given.
            let message = error
                .to_string()
                .replace(&format!("{text:?}"), &format!("{subject:?}"));
            let found = format!("{message} [{}]", error.code());
            return vec![Finding::new(Check::RedirectInvalid, subject, found)];
        }
    };
    match redirect.kind() {
        RedirectKind::PrivateUseScheme => {
            vec![Finding::new(
                Check::RedirectPrivateUse,
                subject,
                "a private-use scheme",
            )]
        }
        RedirectKind::Loopback => vec![Finding::new(
            Check::RedirectLoopback,
            subject,
            "a loopback address",
        )],
        RedirectKind::ClaimedHttps => claimed(subject, &redirect, issuer),
    }
}

/// A URI as it can be shown: what stands before an `@`, in a query or in a fragment may be a secret that somebody put there.
fn shown(text: &str) -> String {
    let (before, rest) = text.split_at(text.find(['?', '#']).unwrap_or(text.len()));
    let ellipsis = if rest.is_empty() { "" } else { "?…" };
    match before.rsplit_once('@') {
        Some((_, after)) => format!("…@{after}{ellipsis}"),
        None => format!("{before}{ellipsis}"),
    }
}

fn claimed(subject: &str, redirect: &RedirectUri, issuer: Option<&str>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let url = Url::parse(redirect.as_str()).ok();
    let host = url.as_ref().and_then(Url::host);
    match host {
        Some(Host::Domain(name))
            if name.contains('.') && !name.ends_with('.') && !name.ends_with(".local") => {}
        Some(other) => findings.push(Finding::new(
            Check::RedirectHost,
            subject,
            format!("the host {other}"),
        )),
        None => findings.push(Finding::new(Check::RedirectHost, subject, "no host")),
    }
    if let Some(port) = url.as_ref().and_then(Url::port) {
        findings.push(Finding::new(Check::RedirectPort, subject, format!("port {port}")));
    }
    let own = url.as_ref().and_then(Url::host_str);
    if own.is_some() && issuer.and_then(host_of).as_deref() == own {
        findings.push(Finding::new(
            Check::RedirectSameHost,
            subject,
            "the host of the issuer",
        ));
    }
    if findings
        .iter()
        .all(|finding| finding.check() == Check::RedirectSameHost)
    {
        findings.insert(
            0,
            Finding::new(Check::RedirectGood, subject, "claimed https, in normal form"),
        );
    }
    findings
}

/// What a server answered to an authorization request with `prompt=none` and this redirect URI, which no user sees. A server
/// that knows the redirect sends the browser there, if only with an error; one that does not must not (RFC 6749 §4.1.2.1).
///
/// ```
/// use gatepass::RedirectUri;
/// use gatepass::association::{Fetched, check_registration};
///
/// let redirect = RedirectUri::parse("https://app.example.com/callback")?;
/// let to_app = [("location", "https://app.example.com/callback?error=login_required&state=x")];
/// let finding = check_registration(&redirect, "my-app", &Fetched::answer(302, to_app, []));
/// assert_eq!(finding.code(), "redirect_registered");
/// let finding = check_registration(&redirect, "my-app", &Fetched::answer::<&str, &str>(400, [], *b"unknown redirect"));
/// assert_eq!(finding.code(), "redirect_refused");
/// # Ok::<(), gatepass::Error>(())
/// ```
#[must_use]
pub fn check_registration(redirect: &RedirectUri, client_id: &str, fetched: &Fetched) -> Finding {
    let subject = format!("{} at the server, for the client {client_id}", redirect.as_str());
    let subject = subject.as_str();
    let Some(status) = fetched.status() else {
        let why = fetched.failure().map(|(_, detail)| detail).unwrap_or_default();
        return Finding::new(Check::RedirectUnknown, subject, why);
    };
    let location = fetched.location().unwrap_or_default();
    let (target, query) = location.split_once('?').unwrap_or((location, ""));
    let query = query.split('#').next().unwrap_or_default();
    if (300..400).contains(&status) && target == redirect.as_str() {
        let error = Form::parse(query)
            .ok()
            .and_then(|form| form.get("error").map(str::to_owned));
        return match error.as_deref() {
            Some("unauthorized_client" | "invalid_client") => Finding::new(
                Check::RedirectRefused,
                subject,
                "the server knows the redirect, and does not let this client use the code flow",
            ),
            Some(error) => Finding::new(
                Check::RedirectRegistered,
                subject,
                format!("sent back there, with {error}"),
            ),
            None => Finding::new(Check::RedirectRegistered, subject, "sent back there"),
        };
    }
    match status {
        300..400 => {
            let host = host_of(location).map_or_else(|| "elsewhere".to_owned(), |host| format!("to {host}"));
            Finding::new(
                Check::RedirectUnknown,
                subject,
                format!("the server sends the browser {host} first"),
            )
        }
        400 | 401 | 403 => Finding::new(Check::RedirectRefused, subject, format!("status {status}")),
        status => Finding::new(
            Check::RedirectUnknown,
            subject,
            format!("a page, status {status}"),
        ),
    }
}
