//! The authorization request (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1).

use url::Url;

use super::pkce::CodeChallenge;
use super::redirect::RedirectUri;
use super::scope::Scope;
use crate::error::{Error, Result, Stage};

/// Parameters that the core sets, or that would undo a protection: an app cannot pass them as extras.
const RESERVED: [&str; 24] = [
    "response_type",
    "response_mode",
    "client_id",
    "client_secret",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "code",
    "request",
    "request_uri",
    "prompt",
    "login_hint",
    "max_age",
    "acr_values",
    "ui_locales",
    "resource",
    "grant_type",
    "refresh_token",
    "id_token_hint",
    "dpop_jkt",
];

/// Whether and how the server is to involve the user (OpenID Connect Core §3.1.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Prompt {
    /// Show no page; fail if one would be needed. Stands alone.
    None,
    /// Ask the user to sign in again.
    Login,
    /// Ask for consent. A refresh token for `offline_access` needs it on many servers (§11).
    Consent,
    /// Let the user choose an account.
    SelectAccount,
}

impl Prompt {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Login => "login",
            Self::Consent => "consent",
            Self::SelectAccount => "select_account",
        }
    }
}

/// What an app may ask for in one sign-in, beyond the client's configuration.
///
/// ```
/// use gatepass::{Prompt, SignInOptions};
///
/// let options = SignInOptions::default()
///     .prompt([Prompt::Login])
///     .login_hint("ada@example.com")
///     .extra("tenant", "blue")?;
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct SignInOptions {
    prompt: Vec<Prompt>,
    login_hint: Option<String>,
    max_age: Option<u32>,
    acr_values: Vec<String>,
    ui_locales: Vec<String>,
    resource: Vec<String>,
    audience: Option<String>,
    extra: Vec<(String, String)>,
}

impl SignInOptions {
    /// How the server is to involve the user. Without it, `consent` is sent where `offline_access` is asked for
    /// (OpenID Connect Core §11), and nothing otherwise.
    #[must_use]
    pub fn prompt(mut self, prompt: impl IntoIterator<Item = Prompt>) -> Self {
        self.prompt = prompt.into_iter().collect();
        self
    }

    /// Who is about to sign in: an e-mail address or a user name, shown filled in by servers that support it.
    #[must_use]
    pub fn login_hint(mut self, hint: impl Into<String>) -> Self {
        self.login_hint = Some(hint.into());
        self
    }

    /// The oldest acceptable authentication, in seconds. The ID token must then say when it was.
    #[must_use]
    pub fn max_age(mut self, seconds: u32) -> Self {
        self.max_age = Some(seconds);
        self
    }

    /// The authentication contexts wanted, best first.
    #[must_use]
    pub fn acr_values<S: Into<String>>(mut self, values: impl IntoIterator<Item = S>) -> Self {
        self.acr_values = values.into_iter().map(Into::into).collect();
        self
    }

    /// The languages for the server's pages, best first, as BCP 47 tags such as `fr-CA`.
    #[must_use]
    pub fn ui_locales<S: Into<String>>(mut self, tags: impl IntoIterator<Item = S>) -> Self {
        self.ui_locales = tags.into_iter().map(Into::into).collect();
        self
    }

    /// An API that the access token is for, as a URI (RFC 8707 §2). Can be called several times.
    #[must_use]
    pub fn resource(mut self, uri: impl Into<String>) -> Self {
        self.resource.push(uri.into());
        self
    }

    /// The audience, for servers that take it in a parameter of that name instead of a resource indicator.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience = Some(audience.into());
        self
    }

    /// A parameter that a particular server wants. At most once per name.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration), code `extra_reserved`, if Gatepass sets this
    /// parameter itself or it would weaken the sign-in; `extra_repeated` if it was given before (RFC 6749 §3.1).
    pub fn extra(mut self, name: impl Into<String>, value: impl Into<String>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() || RESERVED.contains(&name.as_str()) {
            return Err(Error::configuration(
                "extra_reserved",
                "RFC 6749 §3.1",
                format!(
                    "the parameter {name:?} cannot be passed as an extra: Gatepass sets it, or it would weaken the sign-in"
                ),
            ));
        }
        if self.extra.iter().any(|(known, _)| *known == name)
            || (name == "audience" && self.audience.is_some())
        {
            return Err(Error::configuration(
                "extra_repeated",
                "RFC 6749 §3.1",
                format!("the parameter {name:?} was given twice"),
            ));
        }
        self.extra.push((name, value.into()));
        Ok(self)
    }

    pub(crate) fn requested_max_age(&self) -> Option<u32> {
        self.max_age
    }

    /// The `prompt` to send.
    fn prompt_values(&self, scope: &Scope) -> Result<Vec<Prompt>> {
        if self.prompt.contains(&Prompt::None) && self.prompt.len() > 1 {
            return Err(Error::configuration(
                "prompt_none_combined",
                "OpenID Connect Core §3.1.2.1",
                "prompt=none cannot be combined with another prompt",
            ));
        }
        if self.prompt.is_empty() && scope.contains("offline_access") {
            return Ok(vec![Prompt::Consent]);
        }
        Ok(self.prompt.clone())
    }
}

/// Everything that makes one authorization URL.
pub(crate) struct AuthorizationRequest<'a> {
    pub(crate) endpoint: &'a Url,
    pub(crate) client_id: &'a str,
    pub(crate) redirect: &'a RedirectUri,
    pub(crate) scope: &'a Scope,
    pub(crate) state: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) challenge: &'a CodeChallenge,
    pub(crate) options: &'a SignInOptions,
}

impl AuthorizationRequest<'_> {
    /// The URL for the browser. A query that the endpoint has already is kept (RFC 6749 §3.1).
    pub(crate) fn to_url(&self) -> Result<String> {
        let mut url = self.endpoint.clone();
        if let Some((name, _)) = url
            .query_pairs()
            .find(|(name, _)| RESERVED.contains(&name.as_ref()))
        {
            return Err(Error::protocol(
                Stage::AuthorizationRequest,
                "endpoint_parameter",
                "RFC 6749 §3.1",
                format!(
                    "the server's authorization endpoint sets the parameter {name:?} itself, and none may come twice"
                ),
            ));
        }
        let prompt: Vec<&str> = self
            .options
            .prompt_values(self.scope)?
            .into_iter()
            .map(Prompt::as_str)
            .collect();
        {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("response_type", "code")
                .append_pair("client_id", self.client_id)
                .append_pair("redirect_uri", self.redirect.as_str());
            if !self.scope.is_empty() {
                query.append_pair("scope", &self.scope.to_wire());
            }
            query
                .append_pair("state", self.state)
                .append_pair("nonce", self.nonce)
                .append_pair("code_challenge", self.challenge.as_str())
                .append_pair("code_challenge_method", CodeChallenge::METHOD);
            if !prompt.is_empty() {
                query.append_pair("prompt", &prompt.join(" "));
            }
            if let Some(hint) = &self.options.login_hint {
                query.append_pair("login_hint", hint);
            }
            if let Some(max_age) = self.options.max_age {
                query.append_pair("max_age", &max_age.to_string());
            }
            for (name, values) in [
                ("acr_values", &self.options.acr_values),
                ("ui_locales", &self.options.ui_locales),
            ] {
                if !values.is_empty() {
                    query.append_pair(name, &values.join(" "));
                }
            }
            for resource in &self.options.resource {
                query.append_pair("resource", resource);
            }
            if let Some(audience) = &self.options.audience {
                query.append_pair("audience", audience);
            }
            query.extend_pairs(&self.options.extra);
        }
        Ok(url.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::form::Form;
    use crate::protocol::pkce::CodeVerifier;

    fn url(endpoint: &str, scope: &[&str], options: &SignInOptions) -> Result<String> {
        AuthorizationRequest {
            endpoint: &Url::parse(endpoint).unwrap(),
            client_id: "my-app",
            redirect: &RedirectUri::parse("https://app.example.com/callback").unwrap(),
            scope: &Scope::from_tokens(scope).unwrap(),
            state: "the-state",
            nonce: "the-nonce",
            challenge: &CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into()).challenge(),
            options,
        }
        .to_url()
    }

    fn query(url: &str) -> Form {
        Form::parse(url.split_once('?').unwrap().1).unwrap()
    }

    #[test]
    fn oa_15_pk_04_pk_06_oc_02_the_parameters() {
        let url = url(
            "https://as.example/authorize",
            &["openid", "profile"],
            &SignInOptions::default(),
        )
        .unwrap();
        let query = query(&url);
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", "my-app"),
            ("redirect_uri", "https://app.example.com/callback"),
            ("scope", "openid profile"),
            ("state", "the-state"),
            ("nonce", "the-nonce"),
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(query.get(name), Some(value), "{name}");
        }
        assert_eq!(query.get("prompt"), None);
    }

    #[test]
    fn oa_05_a_query_of_the_endpoint_is_kept() {
        let url = url(
            "https://as.example/a?tenant=1",
            &["openid"],
            &SignInOptions::default(),
        )
        .unwrap();
        assert_eq!(query(&url).get("tenant"), Some("1"));
        assert_eq!(query(&url).get("client_id"), Some("my-app"));
    }

    #[test]
    fn oa_07_an_endpoint_that_brings_our_parameters_is_refused() {
        for name in ["state", "redirect_uri", "re%64irect_uri", "code_challenge"] {
            let endpoint = format!("https://as.example/a?{name}=evil");
            let error = url(&endpoint, &["openid"], &SignInOptions::default()).unwrap_err();
            assert_eq!(error.code(), "endpoint_parameter", "{name}");
        }
    }

    #[test]
    fn oc_11_offline_access_asks_for_consent_unless_the_app_chose() {
        let scope = ["openid", "offline_access"];
        let prompt = |options: &SignInOptions| {
            query(&url("https://as.example/a", &scope, options).unwrap())
                .get("prompt")
                .map(str::to_owned)
        };
        assert_eq!(prompt(&SignInOptions::default()).as_deref(), Some("consent"));
        assert_eq!(
            prompt(&SignInOptions::default().prompt([Prompt::Login, Prompt::Consent])).as_deref(),
            Some("login consent")
        );
    }

    #[test]
    fn oc_04_prompt_none_stands_alone() {
        let options = SignInOptions::default().prompt([Prompt::None, Prompt::Login]);
        assert_eq!(
            url("https://as.example/a", &["openid"], &options)
                .unwrap_err()
                .code(),
            "prompt_none_combined"
        );
    }

    #[test]
    fn oa_07_reserved_and_repeated_extras_are_refused() {
        for name in RESERVED.iter().chain(&[""]) {
            let error = SignInOptions::default().extra(*name, "x").unwrap_err();
            assert_eq!(error.code(), "extra_reserved", "{name}");
        }
        let once = SignInOptions::default().extra("tenant", "a").unwrap();
        assert_eq!(once.extra("tenant", "b").unwrap_err().code(), "extra_repeated");
    }
}
