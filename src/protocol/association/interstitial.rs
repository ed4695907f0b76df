//! The page that stands at the redirect where no app took it: one button, whose tap opens the app with the same parameters.
//!
//! Browsers open an app only after a gesture of the user, and a redirect is none. The page is static. It sends nothing
//! anywhere, loads nothing, reads neither code nor state, and has one place to go to, which is fixed when it is made.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::app::is_package;
use super::fetched::Fetched;
use super::finding::{Check, Finding};
use crate::error::{Error, Result};
use crate::protocol::redirect::{RedirectKind, RedirectUri};

/// The page takes parameters over unread. Where the app is named, Android opens this app and no other for the same scheme.
const SCRIPT: &str = r#"
"use strict";
const button = document.getElementById("continue");
const query = window.location.search;
if (/[?&](code|error|response)=/.test(query)) {
  const intent = button.dataset.intent;
  const android = intent && /Android/.test(navigator.userAgent);
  button.href = android ? button.dataset.path + query + intent : button.dataset.link + query;
  button.hidden = false;
  document.getElementById("nothing").hidden = true;
  document.getElementById("ready").hidden = false;
}
window.history.replaceState(null, "", window.location.pathname);
"#;

const STYLE: &str = "
:root { color-scheme: light dark; }
body { margin: 0; min-height: 100vh; display: flex; align-items: center; justify-content: center;
  font: 1.125rem/1.5 system-ui, sans-serif; }
main { max-width: 24rem; padding: 2rem; text-align: center; }
h1 { font-size: 1.5rem; }
a { display: block; margin-top: 1.5rem; padding: 1rem; border-radius: .75rem; background: #0b57d0; color: #fff;
  font-weight: 600; text-decoration: none; }
a:focus-visible { outline: 3px solid currentColor; outline-offset: 3px; }
[hidden] { display: none; }
";

/// The page for an app, and the headers to serve it with.
///
/// ```
/// use gatepass::RedirectUri;
/// use gatepass::association::Interstitial;
///
/// let redirect = RedirectUri::parse("https://app.example.com/callback")?;
/// let app_link = RedirectUri::parse("com.example.app:/callback")?;
/// let page = Interstitial::new(&redirect, &app_link, "Example", Some("com.example.app"))?;
/// assert!(page.html().contains("com.example.app:/callback"));
/// let policy = page.headers().into_iter().find(|(name, _)| *name == "Content-Security-Policy");
/// assert!(policy.is_some_and(|(_, value)| value.starts_with("default-src 'none'")));
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Interstitial {
    redirect: RedirectUri,
    app_link: RedirectUri,
    name: String,
    package: Option<String>,
}

impl Interstitial {
    /// The page that stands at the claimed https redirect, and opens the app by a private-use scheme of its own. `name` is
    /// what users call the app. With the application id Android opens this app only, whoever else has the scheme.
    ///
    /// # Errors
    /// `interstitial_redirect` or `package_malformed`, of the kind Configuration.
    pub fn new(
        redirect: &RedirectUri,
        app_link: &RedirectUri,
        name: &str,
        package: Option<&str>,
    ) -> Result<Self> {
        let refuse = |text: &str| {
            Err(Error::configuration(
                "interstitial_redirect",
                "RFC 8252 §7",
                format!("the page needs {text}"),
            ))
        };
        if redirect.kind() != RedirectKind::ClaimedHttps {
            return refuse("an https redirect to stand at");
        }
        if app_link.kind() != RedirectKind::PrivateUseScheme {
            return refuse("a private-use scheme to open the app by, as com.example.app:/callback");
        }
        if package.is_some_and(|package| !is_package(package)) {
            return Err(Error::configuration(
                "package_malformed",
                "the platform's documentation",
                "the application id is none: names of letters, digits and _, with dots between",
            ));
        }
        Ok(Self {
            redirect: redirect.clone(),
            app_link: app_link.clone(),
            name: name.to_owned(),
            package: package.map(str::to_owned),
        })
    }

    /// Where it is served.
    #[must_use]
    pub fn url(&self) -> &str {
        self.redirect.as_str()
    }

    /// The page: HTML in UTF-8, all of it in one file.
    #[must_use]
    pub fn html(&self) -> String {
        let name = escaped(&self.name);
        let link = escaped(self.app_link.as_str());
        let (scheme, path) = self.app_link.as_str().split_once(':').unwrap_or_default();
        let (path, intent) = match &self.package {
            Some(package) => (
                escaped(&format!("intent:{path}")),
                escaped(&format!("#Intent;scheme={scheme};package={package};end")),
            ),
            None => (String::new(), String::new()),
        };
        let policy = escaped(&self.policy(false));
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n\
             <meta name=\"referrer\" content=\"no-referrer\">\n<meta name=\"robots\" content=\"noindex\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>Back to {name}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n\
             <h1>{name}</h1>\n\
             <p id=\"ready\" hidden>One tap, and you are back in the app.</p>\n\
             <p id=\"nothing\">There is nothing to continue here. Go back to the app and sign in from there.</p>\n\
             <a id=\"continue\" hidden rel=\"noreferrer\" data-link=\"{link}\" data-path=\"{path}\" \
             data-intent=\"{intent}\">Continue to {name}</a>\n\
             </main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n"
        )
    }

    /// The headers that it needs. The host must keep the query out of its log besides: it holds the code.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        vec![
            ("Content-Type", "text/html; charset=utf-8".to_owned()),
            ("Content-Security-Policy", self.policy(true)),
            ("Referrer-Policy", "no-referrer".to_owned()),
            ("Cache-Control", "no-store".to_owned()),
            ("X-Content-Type-Options", "nosniff".to_owned()),
            ("X-Frame-Options", "DENY".to_owned()),
        ]
    }

    /// Nothing but its own script and style, by their digests. Framing can be forbidden by a header only.
    fn policy(&self, header: bool) -> String {
        let digest = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
        let ancestors = if header { "; frame-ancestors 'none'" } else { "" };
        format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'{ancestors}",
            digest(SCRIPT),
            digest(STYLE)
        )
    }
}

/// The longest page that is looked at, in bytes. Ours has some thousand.
pub(crate) const MAX_PAGE: usize = 256 * 1024;

/// Looks at what stands at the redirect, asked for without parameters. Never empty.
///
/// ```
/// use gatepass::association::{Fetched, check_interstitial};
///
/// let nothing = Fetched::answer::<&str, &str>(404, [], *b"not found");
/// let findings = check_interstitial("https://app.example.com/callback", &nothing);
/// assert_eq!(findings[0].code(), "interstitial_missing");
/// ```
#[must_use]
pub fn check_interstitial(url: &str, fetched: &Fetched) -> Vec<Finding> {
    let missing = |found: &str| vec![Finding::new(Check::PageMissing, url, found)];
    if let Some((_, detail)) = fetched.failure() {
        return missing(detail);
    }
    let Some(page) = fetched.page() else {
        let status = fetched.status().unwrap_or_default();
        return missing(&format!("status {status}, {}", fetched.content_type()));
    };
    let mut findings = Vec::new();
    let mut found = |check, text: String| findings.push(Finding::new(check, url, text));
    let header = |name: &str| {
        let name = ::http::HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some(fetched.header(&name)?.to_ascii_lowercase())
    };
    match header("content-security-policy") {
        Some(policy) if policy.contains("default-src 'none'") && !policy.contains("unsafe") => {}
        Some(policy) => found(Check::PagePolicy, policy),
        None => found(Check::PagePolicy, "no Content-Security-Policy".to_owned()),
    }
    match header("referrer-policy") {
        Some(policy) if policy.trim() == "no-referrer" => {}
        other => found(
            Check::PageReferrer,
            other.unwrap_or_else(|| "no Referrer-Policy".to_owned()),
        ),
    }
    match header("cache-control") {
        Some(control) if control.contains("no-store") => {}
        other => found(
            Check::PageCache,
            other.unwrap_or_else(|| "no Cache-Control".to_owned()),
        ),
    }
    let page = page.to_ascii_lowercase();
    let foreign = ["src=", "href=\"http", "href='http", "@import", "url("];
    if let Some(foreign) = foreign.iter().find(|foreign| page.contains(*foreign)) {
        found(Check::PageForeign, format!("{foreign}… in the page"));
    }
    if findings.is_empty() {
        findings.push(Finding::new(
            Check::PageGood,
            url,
            "a page of its own, with its headers",
        ));
    }
    findings
}

/// Text for HTML, in elements and in quoted attributes.
fn escaped(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => written.push_str("&amp;"),
            '<' => written.push_str("&lt;"),
            '>' => written.push_str("&gt;"),
            '"' => written.push_str("&quot;"),
            '\'' => written.push_str("&#39;"),
            c if c.is_control() => {}
            c => written.push(c),
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(name: &str) -> Interstitial {
        let redirect = RedirectUri::parse("https://app.example.com/callback").unwrap();
        let link = RedirectUri::parse("com.example.app:/callback").unwrap();
        Interstitial::new(&redirect, &link, name, Some("com.example.app")).unwrap()
    }

    #[test]
    fn nothing_in_the_page_comes_from_elsewhere() {
        let html = page("Example").html();
        for foreign in [
            "http://",
            "https://",
            "src=",
            "url(",
            "import",
            "fetch",
            "cookie",
            "localStorage",
        ] {
            assert!(!html.contains(foreign), "{foreign}");
        }
        assert!(html.contains("data-intent=\"#Intent;scheme=com.example.app;package=com.example.app;end\""));
    }

    #[test]
    fn the_name_of_an_app_is_text() {
        let html = page("<img src=x onerror=alert(1)> & \"Co\"").html();
        assert!(!html.contains("<img") && html.contains("&lt;img"));
    }

    #[test]
    fn the_policy_allows_its_own_script_and_style() {
        let page = page("Example");
        let html = page.html();
        for (tag, directive) in [("script", "script-src"), ("style", "style-src")] {
            let text = html.split(&format!("<{tag}>")).nth(1).unwrap();
            let text = text.split(&format!("</{tag}>")).next().unwrap();
            let digest = STANDARD.encode(Sha256::digest(text.as_bytes()));
            assert!(
                page.policy(true)
                    .contains(&format!("{directive} 'sha256-{digest}'"))
            );
        }
    }

    #[test]
    fn other_redirects_have_no_page() {
        let https = RedirectUri::parse("https://app.example.com/callback").unwrap();
        let scheme = RedirectUri::parse("com.example.app:/callback").unwrap();
        for (redirect, link, package) in [
            (&scheme, &scheme, None),
            (&https, &https, None),
            (&https, &scheme, Some("x;end")),
        ] {
            assert!(Interstitial::new(redirect, link, "Example", package).is_err());
        }
    }
}
