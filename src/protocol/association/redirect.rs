//! The redirect URI: its kind, its host, and whether the server knows it.

use url::{Host, Url};

use super::fetched::Fetched;
use super::finding::{Check, Finding};
use crate::protocol::answer::host_of;
use crate::protocol::form::{self, Form};
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::par::PushedRequest;
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

/// Asks a server whether it knows a redirect, by an authorization request with `prompt=none`, which no user sees. A server
/// that knows the redirect sends the browser there, if only with an error; one that does not must not (RFC 6749 §4.1.2.1).
///
/// Where the server takes pushed requests, the request is pushed first, as that of a sign-in is (RFC 9126). Sending is the
/// caller's: [`push`](Self::push) if there is one, then [`url`](Self::url) or what [`pushed`](Self::pushed) gave.
///
/// ```
/// use gatepass::RedirectUri;
/// use gatepass::association::{Fetched, RegistrationProbe, ServerCheck};
///
/// let metadata = br#"{ "issuer": "https://login.example.com", "authorization_endpoint": "https://login.example.com/a",
///     "token_endpoint": "https://login.example.com/t", "response_types_supported": ["code"] }"#;
/// let server = ServerCheck::new("https://login.example.com", None)?
///     .metadata(&Fetched::answer(200, [("content-type", "application/json")], *metadata))
///     .expect("metadata that Gatepass would use");
/// let redirect = RedirectUri::parse("https://app.example.com/callback")?;
/// let probe = RegistrationProbe::new(&server, &redirect, "my-app");
/// assert!(probe.push().is_none() && probe.url().contains("prompt=none"));
/// let to_app = [("location", "https://app.example.com/callback?error=login_required&state=x")];
/// assert_eq!(probe.check(&Fetched::answer(302, to_app, [])).code(), "redirect_registered");
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RegistrationProbe<'a> {
    server: &'a AuthorizationServer,
    redirect: &'a RedirectUri,
    client_id: &'a str,
}

/// That of RFC 7636 appendix B: nobody will ever redeem a code for it.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

impl<'a> RegistrationProbe<'a> {
    /// For this redirect of this client.
    #[must_use]
    pub fn new(server: &'a AuthorizationServer, redirect: &'a RedirectUri, client_id: &'a str) -> Self {
        Self {
            server,
            redirect,
            client_id,
        }
    }

    fn parameters(&self) -> [(&'static str, &'a str); 9] {
        [
            ("response_type", "code"),
            ("client_id", self.client_id),
            ("redirect_uri", self.redirect.as_str()),
            ("scope", "openid"),
            ("state", "gatepass-doctor"),
            ("nonce", "gatepass-doctor"),
            ("prompt", "none"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ]
    }

    /// What a browser would be sent to where nothing is pushed.
    #[must_use]
    pub fn url(&self) -> String {
        let mut url = self.server.authorization_endpoint().clone();
        url.query_pairs_mut().extend_pairs(self.parameters());
        url.into()
    }

    /// Where to post, and what: a form. `None` where the server takes no pushed requests.
    #[must_use]
    pub fn push(&self) -> Option<(String, Vec<u8>)> {
        let endpoint = self.server.pushed_authorization_request_endpoint()?;
        let form = form::encode(self.parameters());
        Some((endpoint.as_str().to_owned(), form.to_vec()))
    }

    /// Reads the answer to what was pushed: the URL for the browser, or why there is none.
    ///
    /// # Errors
    /// The finding that ends the probe. It is an error only where the server names the redirect or the client.
    pub fn pushed(&self, fetched: &Fetched) -> Result<String, Finding> {
        let found = |check, text: String| Err(Finding::new(check, &self.subject(), text));
        let endpoint = self.server.pushed_authorization_request_endpoint();
        let (Some(endpoint), Some((status, headers, body))) = (endpoint, fetched.parts()) else {
            let why = fetched.failure().map(|(_, detail)| detail).unwrap_or_default();
            return found(Check::RedirectUnknown, why.to_owned());
        };
        let error = match PushedRequest::read(endpoint, status, headers, body, &[]) {
            Ok(pushed) => match pushed.to_url(self.server, self.client_id) {
                Ok(url) => return Ok(url),
                Err(error) => return found(Check::RedirectUnknown, error.to_string()),
            },
            Err(error) => error,
        };
        let (code, description) = match error.server() {
            Some(said) => (said.error.as_deref(), said.description.as_deref()),
            None => (None, None),
        };
        let description = description.unwrap_or_default();
        let said = format!("the pushed request was refused: {error} {description}");
        match code {
            Some("invalid_redirect_uri" | "invalid_client" | "unauthorized_client") => {
                found(Check::RedirectRefused, said)
            }
            // The same code stands for whatever else the server misses in the request.
            Some("invalid_request") if description.to_ascii_lowercase().contains("redirect") => {
                found(Check::RedirectRefused, said)
            }
            _ => found(Check::RedirectUnknown, said),
        }
    }

    /// Looks at the answer to [`url`](Self::url), or to the URL that [`pushed`](Self::pushed) gave.
    #[must_use]
    pub fn check(&self, fetched: &Fetched) -> Finding {
        let finding = check_registration(self.redirect, self.client_id, fetched);
        let pushes = self.server.pushed_authorization_request_endpoint().is_some();
        if pushes && finding.check() == Check::RedirectUnknown && fetched.status().is_some() {
            // A server holds a pushed request to the rules for one that a browser brings, its redirect included.
            return Finding::new(
                Check::RedirectRegistered,
                &self.subject(),
                "the server took a pushed request with it (RFC 9126 §2.1)",
            );
        }
        finding
    }

    fn subject(&self) -> String {
        format!(
            "{} at the server, for the client {}",
            self.redirect.as_str(),
            self.client_id
        )
    }
}

/// What a server answered to an authorization request with `prompt=none` and this redirect URI: see [`RegistrationProbe`].
///
/// ```
/// use gatepass::RedirectUri;
/// use gatepass::association::{Fetched, check_registration};
///
/// let redirect = RedirectUri::parse("https://app.example.com/callback")?;
/// let unknown = Fetched::answer::<&str, &str>(400, [], *b"unknown redirect");
/// let finding = check_registration(&redirect, "my-app", &unknown);
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
