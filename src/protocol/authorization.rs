//! The authorization request (RFC 6749 §4.1.1, OpenID Connect Core §3.1.2.1).
//!
//! One list of parameters, made once: it goes into the URL for the browser, or into the body that is pushed
//! beforehand (`par`).

use std::borrow::Cow;

use super::claims::ClaimsRequest;
use super::endpoint;
use super::metadata::AuthorizationServer;
use super::pkce::{CodeChallenge, Text43};
use super::redirect::RedirectUri;
use super::resource::Resource;
use super::scope::Scope;
use super::token::IdToken;
use crate::error::{Error, Result, Stage};

/// Parameters that the core sets, or that would undo a protection: an app cannot pass them as extras, and an
/// endpoint must not bring them.
pub(crate) const RESERVED: [&str; 37] = [
    "response_type",
    "response_mode",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "code_verifier",
    "code",
    "error",
    "iss",
    "access_token",
    "id_token",
    "token_type",
    "request",
    "request_uri",
    "registration",
    "claims",
    "prompt",
    "login_hint",
    "max_age",
    "acr_values",
    "ui_locales",
    "resource",
    "grant_type",
    "refresh_token",
    "username",
    "password",
    "token",
    "id_token_hint",
    "dpop_jkt",
    "response",
];

/// Whether and how the server is to involve the user (OpenID Connect Core §3.1.2.1).
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
/// # fn main() -> Outcome { signed_in(async |client, session, api| {
/// use gatepass::{Prompt, SignInOptions};
///
/// // "Use another account":
/// let options = SignInOptions::default().prompt([Prompt::SelectAccount, Prompt::Consent]);
/// let pending = client.begin_sign_in(options).await?;
/// assert!(pending.authorization_url().contains("prompt=select_account+consent"));
/// # pending.cancel();
/// # Ok(()) }) }
/// ```
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
    /// Show the page for a new account (Initiating User Registration via OpenID Connect 1.0). Sent only to a server
    /// that announces it; any other shows its usual page.
    Create,
}

impl Prompt {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Login => "login",
            Self::Consent => "consent",
            Self::SelectAccount => "select_account",
            Self::Create => "create",
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
    scope: Option<Scope>,
    prompt: Vec<Prompt>,
    login_hint: Option<String>,
    max_age: Option<u32>,
    acr_values: Vec<String>,
    claims: Option<ClaimsRequest>,
    ui_locales: Vec<String>,
    resources: Vec<Resource>,
    audience: Option<String>,
    extra: Vec<(String, String)>,
    /// The first thing that was wrong; told when the sign-in begins, so that the options stay fluent.
    problem: Option<Error>,
}

impl SignInOptions {
    /// The scope of this one sign-in, instead of the client's. One token per item.
    ///
    /// A token that breaks the grammar of RFC 6749 §3.3 makes [`begin_sign_in`](crate::Client::begin_sign_in) fail
    /// with the code `scope_malformed`.
    #[must_use]
    pub fn scope<S: AsRef<str>>(mut self, tokens: impl IntoIterator<Item = S>) -> Self {
        match Scope::from_tokens(tokens) {
            Ok(scope) => self.scope = Some(scope),
            Err(error) => self.note(error),
        }
        self
    }

    /// How the server is to involve the user. Without it, `consent` is sent where `offline_access` is asked for
    /// (OpenID Connect Core §11), and nothing otherwise.
    #[must_use]
    pub fn prompt(mut self, prompt: impl IntoIterator<Item = Prompt>) -> Self {
        self.prompt = prompt.into_iter().collect();
        self
    }

    /// Who is about to sign in: an e-mail address or a user name, shown filled in by servers that support it (OpenID Connect
    /// Core §3.1.2.1). The user may sign in as somebody else.
    #[must_use]
    pub fn login_hint(mut self, hint: impl Into<String>) -> Self {
        self.login_hint = Some(hint.into());
        self
    }

    /// The oldest acceptable authentication, in seconds; 0 asks for a new one. The ID token must then say when it was, or the
    /// sign-in fails (OpenID Connect Core §3.1.3.7 item 13).
    #[must_use]
    pub fn max_age(mut self, seconds: u32) -> Self {
        self.max_age = Some(seconds);
        self
    }

    /// The authentication contexts wanted, best first. The ID token must then name one of them, or the sign-in fails
    /// with the code `id_token_acr` (OpenID Connect Core §3.1.3.7 item 12).
    #[must_use]
    pub fn acr_values<S: Into<String>>(mut self, values: impl IntoIterator<Item = S>) -> Self {
        self.acr_values = values.into_iter().map(Into::into).collect();
        self
    }

    /// Claims to ask for one by one: a JSON object as in OpenID Connect Core §5.5, such as
    /// `{"id_token":{"acr":{"essential":true,"values":["urn:example:gold"]}}}`. A server that does not know the parameter
    /// passes it over.
    ///
    /// An `acr` of the ID token that is essential and has values is enforced, as with
    /// [`acr_values`](Self::acr_values); both together are refused. Text that is no such object makes
    /// [`begin_sign_in`](crate::Client::begin_sign_in) fail with the code `claims_malformed`.
    ///
    /// ```
    /// use gatepass::SignInOptions;
    ///
    /// let options = SignInOptions::default()
    ///     .claims(r#"{"id_token":{"email":null},"userinfo":{"picture":{"essential":true}}}"#);
    /// ```
    #[must_use]
    pub fn claims(mut self, json: impl AsRef<str>) -> Self {
        match ClaimsRequest::parse(json.as_ref()) {
            Ok(claims) => self.claims = Some(claims),
            Err(error) => self.note(error),
        }
        self
    }

    /// The languages for the server's pages, best first, as BCP 47 tags such as `fr-CA`.
    #[must_use]
    pub fn ui_locales<S: Into<String>>(mut self, tags: impl IntoIterator<Item = S>) -> Self {
        self.ui_locales = tags.into_iter().map(Into::into).collect();
        self
    }

    /// An API that the access token is for, as a URI (RFC 8707 §2). Can be called several times.
    ///
    /// It must be absolute and without a fragment, else [`begin_sign_in`](crate::Client::begin_sign_in) fails with a
    /// code that starts with `resource_`.
    #[must_use]
    pub fn resource(mut self, uri: impl Into<String>) -> Self {
        match Resource::parse(&uri.into()) {
            Ok(resource) if self.resources.contains(&resource) => {}
            Ok(resource) => self.resources.push(resource),
            Err(error) => self.note(error),
        }
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
    /// parameter itself or it would weaken the sign-in; `extra_repeated` if it was given before (RFC 6749 §3.1). One
    /// that repeats what another option sends, such as `audience`, is told when the sign-in begins.
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
        if self.extra.iter().any(|(known, _)| *known == name) {
            return Err(repeated(&name));
        }
        self.extra.push((name, value.into()));
        Ok(self)
    }

    fn note(&mut self, error: Error) {
        self.problem.get_or_insert(error);
    }

    /// What was wrong with the options, if anything.
    fn check(&self) -> Result<()> {
        if let Some(problem) = &self.problem {
            return Err(problem.clone());
        }
        if self.prompt.contains(&Prompt::None) && self.prompt.iter().any(|prompt| *prompt != Prompt::None) {
            return Err(Error::configuration(
                "prompt_none_combined",
                "OpenID Connect Core §3.1.2.1",
                "prompt=none cannot be combined with another prompt",
            ));
        }
        if !self.acr_values.is_empty() && !self.essential_acr_values().is_empty() {
            // What a server makes of both is left open (OpenID Connect Core §5.5.1.1).
            return Err(Error::configuration(
                "acr_requested_twice",
                "OpenID Connect Core §5.5.1.1",
                "acr_values and an essential acr in claims cannot be combined: ask in one of the two ways",
            ));
        }
        for (name, values) in [("acr_values", &self.acr_values), ("ui_locales", &self.ui_locales)] {
            if let Some(value) = values
                .iter()
                .find(|value| value.is_empty() || value.contains(' '))
            {
                return Err(Error::configuration(
                    "option_malformed",
                    "OpenID Connect Core §3.1.2.1",
                    format!(
                        "{value:?} cannot stand in {name}, a list with spaces between its items: give them one by one"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// The scope to ask for: of this sign-in, else the client's.
    pub(crate) fn scope_or<'a>(&'a self, of_the_client: &'a Scope) -> &'a Scope {
        self.scope.as_ref().unwrap_or(of_the_client)
    }

    /// Whether no page may be shown.
    pub(crate) fn is_silent(&self) -> bool {
        self.prompt.contains(&Prompt::None)
    }

    /// How long ago the user may have authenticated. Where the time is essential without a limit to it, any will do, but
    /// the ID token must name one (OpenID Connect Core §2).
    pub(crate) fn requested_max_age(&self) -> Option<u32> {
        let claims = self.claims.as_ref();
        let any = claims.is_some_and(ClaimsRequest::is_auth_time_essential);
        self.max_age.or(any.then_some(u32::MAX))
    }

    /// The authentication contexts, one of which the ID token must name.
    pub(crate) fn requested_acr_values(&self) -> &[String] {
        match self.essential_acr_values() {
            [] => &self.acr_values,
            essential => essential,
        }
    }

    fn essential_acr_values(&self) -> &[String] {
        self.claims
            .as_ref()
            .map_or(&[], ClaimsRequest::essential_acr_values)
    }

    /// The APIs that the access token is for.
    pub(crate) fn requested_resources(&self) -> &[Resource] {
        &self.resources
    }

    /// The `prompt` to send, or nothing. `create` goes only to a server that announces it: any other may answer with an
    /// error.
    fn prompt_value(&self, scope: &Scope, server: &AuthorizationServer) -> Cow<'static, str> {
        if self.prompt.is_empty() {
            // OpenID Connect Core §11: offline access is granted with consent.
            return match scope.contains("offline_access") {
                true => Prompt::Consent.as_str().into(),
                false => "".into(),
            };
        }
        let mut prompts: Vec<&'static str> = Vec::new();
        for prompt in &self.prompt {
            let known = *prompt != Prompt::Create || server.supports_prompt("create");
            if known && !prompts.contains(&prompt.as_str()) {
                prompts.push(prompt.as_str());
            }
        }
        prompts.join(" ").into()
    }
}

/// What only this client knows about one request.
#[derive(Debug)]
pub(crate) struct RequestSecrets {
    /// Comes back with the redirect (RFC 6749 §10.12).
    pub(crate) state: Text43,
    /// Comes back in the ID token (OpenID Connect Core §15.5.2).
    pub(crate) nonce: Text43,
    /// Goes out with the code (RFC 7636 §4.1).
    pub(crate) verifier: Text43,
}

impl RequestSecrets {
    /// From octets that nobody can guess, 256 bits for each (RFC 7636 §7.1, RFC 6749 §10.10).
    pub(crate) fn from_octets([state, nonce, verifier]: &[[u8; 32]; 3]) -> Self {
        Self {
            state: Text43::of(state),
            nonce: Text43::of(nonce),
            verifier: Text43::of(verifier),
        }
    }
}

/// Parameters by name, in the order in which they are sent.
pub(crate) type Parameters<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// Everything that makes one authorization request.
pub(crate) struct AuthorizationRequest<'a> {
    pub(crate) server: &'a AuthorizationServer,
    pub(crate) client_id: &'a str,
    pub(crate) redirect: &'a RedirectUri,
    pub(crate) scope: &'a Scope,
    pub(crate) state: &'a str,
    pub(crate) nonce: &'a str,
    pub(crate) challenge: &'a CodeChallenge,
    pub(crate) options: &'a SignInOptions,
    /// The last ID token of the user who is expected, expired or not: sent with `prompt=none` only.
    pub(crate) id_token_hint: Option<&'a IdToken>,
}

impl<'a> AuthorizationRequest<'a> {
    /// The parameters, each once but for `resource` (RFC 6749 §3.1, RFC 8707 §2).
    pub(crate) fn parameters(&self) -> Result<Parameters<'a>> {
        let options = self.options;
        options.check()?;
        // As many as there can be without resources and extras.
        let mut list: Parameters<'a> = Vec::with_capacity(16);
        list.extend([
            ("response_type", "code".into()),
            ("client_id", self.client_id.into()),
            ("redirect_uri", self.redirect.as_str().into()),
        ]);
        if !self.scope.is_empty() {
            list.push(("scope", self.scope.as_str().into()));
        }
        list.extend([
            ("state", self.state.into()),
            ("nonce", self.nonce.into()),
            ("code_challenge", self.challenge.as_str().into()),
            ("code_challenge_method", CodeChallenge::METHOD.into()),
        ]);
        let prompt = options.prompt_value(self.scope, self.server);
        // OpenID Connect Core §3.1.2.1: without a page to ask on, the server is told whom we mean.
        let hint = self.id_token_hint.filter(|_| prompt == Prompt::None.as_str());
        list.push(("prompt", prompt));
        if let Some(hint) = hint {
            list.push(("id_token_hint", hint.expose().into()));
        }
        if let Some(hint) = &options.login_hint {
            list.push(("login_hint", hint.into()));
        }
        if let Some(max_age) = options.max_age {
            list.push(("max_age", max_age.to_string().into()));
        }
        for (name, values) in [
            ("acr_values", &options.acr_values),
            ("ui_locales", &options.ui_locales),
        ] {
            if !values.is_empty() {
                list.push((name, values.join(" ").into()));
            }
        }
        if let Some(claims) = &options.claims {
            list.push(("claims", claims.as_str().into()));
        }
        for resource in &options.resources {
            list.push(("resource", resource.as_str().into()));
        }
        if let Some(audience) = &options.audience {
            list.push(("audience", audience.into()));
        }
        for (name, value) in &options.extra {
            if list.iter().any(|(known, _)| known == name) {
                return Err(repeated(name));
            }
            list.push((name, value.into()));
        }
        // RFC 6749 §3.1: without a value it counts as omitted, so it is.
        list.retain(|(_, value)| !value.is_empty());
        Ok(list)
    }

    /// The URL for the browser, with everything in it.
    pub(crate) fn to_url(&self) -> Result<String> {
        let mut parameters = self.parameters()?;
        let url = |parameters: &Parameters<'_>| {
            endpoint::with_parameters(
                self.server.authorization_endpoint(),
                &RESERVED,
                parameters,
                Stage::AuthorizationRequest,
            )
        };
        let whole = url(&parameters)?;
        if whole.len() <= endpoint::MAX_URL_BYTES || self.id_token_hint.is_none() {
            return Ok(whole);
        }
        // The hint is of use only if the URL arrives.
        parameters.retain(|(name, _)| *name != "id_token_hint");
        url(&parameters)
    }
}

fn repeated(name: &str) -> Error {
    Error::configuration(
        "extra_repeated",
        "RFC 6749 §3.1",
        format!("the parameter {name:?} was given twice"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::endpoint::TransportPolicy;
    use crate::protocol::form::Form;
    use crate::protocol::issuer::Issuer;
    use crate::protocol::pkce::CodeVerifier;

    fn server(endpoint: &str, more: &str) -> AuthorizationServer {
        let document = format!(
            r#"{{"issuer":"https://as.example","authorization_endpoint":"{endpoint}","token_endpoint":"https://as.example/t"{more}}}"#
        );
        let policy = TransportPolicy::default();
        let issuer = Issuer::parse("https://as.example", policy).unwrap();
        AuthorizationServer::parse(document.as_bytes(), &issuer, policy).unwrap()
    }

    fn url(endpoint: &str, scope: &[&str], options: &SignInOptions) -> Result<String> {
        url_of(&server(endpoint, ""), scope, options, None)
    }

    fn url_of(
        server: &AuthorizationServer,
        scope: &[&str],
        options: &SignInOptions,
        hint: Option<&IdToken>,
    ) -> Result<String> {
        AuthorizationRequest {
            server,
            client_id: "my-app",
            redirect: &RedirectUri::parse("https://app.example.com/callback").unwrap(),
            scope: &Scope::from_tokens(scope).unwrap(),
            state: "the-state",
            nonce: "the-nonce",
            challenge: &CodeVerifier::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into()).challenge(),
            options,
            id_token_hint: hint,
        }
        .to_url()
    }

    fn query(url: &str) -> Form {
        Form::parse(url.split_once('?').unwrap().1).unwrap()
    }

    #[test]
    fn oa_15_pk_04_pk_06_pk_10_na_02_oc_02_the_parameters() {
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

    #[test]
    fn oa_07_an_extra_never_repeats_what_an_option_sends() {
        let extra = SignInOptions::default().extra("audience", "a").unwrap();
        let at = |options: &SignInOptions| url("https://as.example/a", &["openid"], options);
        assert_eq!(query(&at(&extra).unwrap()).get("audience"), Some("a"));
        assert_eq!(at(&extra.audience("b")).unwrap_err().code(), "extra_repeated");
        let after = SignInOptions::default()
            .audience("b")
            .extra("audience", "a")
            .unwrap();
        assert_eq!(at(&after).unwrap_err().code(), "extra_repeated");
    }

    #[test]
    fn oa_08_what_has_no_value_is_not_sent() {
        let options = SignInOptions::default()
            .login_hint("")
            .extra("tenant", "")
            .unwrap();
        let url = url("https://as.example/a", &["openid"], &options).unwrap();
        assert!(!url.contains("login_hint") && !url.contains("tenant"), "{url}");
    }

    #[test]
    fn oc_06_a_silent_sign_in_says_whom_it_means() {
        let (server, none) = (
            server("https://as.example/a", ""),
            SignInOptions::default().prompt([Prompt::None]),
        );
        let hint = |options: &SignInOptions, token: &str| {
            let token = IdToken::new(token.to_owned());
            let url = url_of(&server, &["openid"], options, Some(&token)).unwrap();
            query(&url).get("id_token_hint").map(str::to_owned)
        };
        assert_eq!(hint(&none, "e30.e30.x").as_deref(), Some("e30.e30.x"));
        assert_eq!(hint(&SignInOptions::default(), "e30.e30.x"), None);
        assert_eq!(
            hint(&none, &"x".repeat(endpoint::MAX_URL_BYTES)),
            None,
            "a URL that does not arrive helps nobody"
        );
    }

    #[test]
    fn oc_15_prompt_create_goes_to_a_server_that_knows_it() {
        let options = SignInOptions::default().prompt([Prompt::Create]);
        let prompt = |more: &str| {
            let url = url_of(&server("https://as.example/a", more), &["openid"], &options, None).unwrap();
            query(&url).get("prompt").map(str::to_owned)
        };
        assert_eq!(
            prompt(r#","prompt_values_supported":["none","create"]"#).as_deref(),
            Some("create")
        );
        assert_eq!(prompt(r#","prompt_values_supported":["none"]"#), None);
        assert_eq!(prompt(""), None);
    }

    #[test]
    fn ri_01_ri_02_resources_are_repeated_and_a_bad_one_is_told_at_the_beginning() {
        let at = |options: &SignInOptions| url("https://as.example/a", &["openid"], options);
        let options = SignInOptions::default()
            .resource("https://api.example.com/a")
            .resource("urn:example:b")
            .resource("https://api.example.com/a");
        let url = at(&options).unwrap();
        assert!(
            url.ends_with("&resource=https%3A%2F%2Fapi.example.com%2Fa&resource=urn%3Aexample%3Ab"),
            "{url}"
        );
        let bad = options.resource("https://api.example.com/#x").resource("/api");
        assert_eq!(
            at(&bad).unwrap_err().code(),
            "resource_fragment",
            "the first problem"
        );
    }

    #[test]
    fn bc_11_a_sign_in_can_have_a_scope_of_its_own() {
        let client = Scope::from_tokens(["openid", "offline_access"]).unwrap();
        let own = SignInOptions::default().scope(["openid", "email"]);
        assert_eq!(own.scope_or(&client).as_str(), "openid email");
        assert_eq!(SignInOptions::default().scope_or(&client), &client);
        let bad = SignInOptions::default().scope(["a b"]);
        assert_eq!(
            url("https://as.example/a", &["openid"], &bad).unwrap_err().code(),
            "scope_malformed"
        );
    }

    #[test]
    fn oc_08_lists_have_spaces_between_items_only() {
        for options in [
            SignInOptions::default().ui_locales(["fr CA"]),
            SignInOptions::default().acr_values([""]),
        ] {
            assert_eq!(
                url("https://as.example/a", &["openid"], &options)
                    .unwrap_err()
                    .code(),
                "option_malformed"
            );
        }
        let options = SignInOptions::default()
            .ui_locales(["fr-CA", "fr"])
            .acr_values(["urn:a", "urn:b"])
            .max_age(0);
        let url = url("https://as.example/a", &["openid"], &options).unwrap();
        assert_eq!(query(&url).get("ui_locales"), Some("fr-CA fr"));
        assert_eq!(query(&url).get("acr_values"), Some("urn:a urn:b"));
        assert_eq!(query(&url).get("max_age"), Some("0"), "OC-05");
    }

    #[test]
    fn na_28_pk_12_oa_37_the_url_holds_no_secret() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let url = url("https://as.example/a", &["openid"], &SignInOptions::default()).unwrap();
        assert!(!url.contains(verifier), "{url}");
        assert!(
            !url.contains("code_verifier") && !url.contains("client_secret"),
            "{url}"
        );
    }

    #[test]
    fn oc_09_oc_10_claims_are_sent_once_and_an_essential_context_is_enforced() {
        let at = |options: &SignInOptions| url("https://as.example/a", &["openid"], options);
        let json = r#"{"id_token":{"acr":{"essential":true,"values":["urn:a b","urn:c"]}}}"#;
        let options = SignInOptions::default().claims(json);
        assert_eq!(query(&at(&options).unwrap()).get("claims"), Some(json));
        assert_eq!(options.requested_acr_values(), ["urn:a b", "urn:c"]);
        let both = options.acr_values(["urn:a"]);
        assert_eq!(at(&both).unwrap_err().code(), "acr_requested_twice");
        let voluntary = SignInOptions::default()
            .claims(r#"{"id_token":{"acr":null}}"#)
            .acr_values(["urn:a"]);
        assert!(at(&voluntary).is_ok());
        assert_eq!(voluntary.requested_acr_values(), ["urn:a"]);
        let bad = SignInOptions::default().claims("{");
        assert_eq!(at(&bad).unwrap_err().code(), "claims_malformed");
        assert_eq!(
            SignInOptions::default().extra("claims", json).unwrap_err().code(),
            "extra_reserved"
        );
    }
}
