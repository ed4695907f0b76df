//! The configuration of a client and the options of a sign-in, as records.

use std::time::Duration;

use crate::client::{Client, ClientBuilder};
use crate::error::Result;
use crate::protocol::authorization::{Prompt, SignInOptions};
use crate::protocol::endpoint::AllowHttpOnLoopback;
use crate::protocol::target::Target;
use crate::session::OnUnknownOutcome;

/// The configuration of a client.
#[derive(Clone, Debug, uniffi::Record)]
pub(crate) struct FfiConfig {
    /// The issuer, exactly as the server's operator names it.
    pub(crate) issuer: String,
    /// The client id.
    pub(crate) client_id: String,
    /// The redirect URI, as registered.
    pub(crate) redirect: String,
    /// The scope to ask for.
    pub(crate) scopes: Vec<String>,
    /// The APIs that tokens may be sent to.
    pub(crate) apis: Vec<FfiApi>,
    /// Which URLs the core talks to.
    pub(crate) transport_policy: FfiTransportPolicy,
    /// How long a sign-in may take until its redirect is back; the core's own limit where it is absent.
    #[uniffi(default = None)]
    pub(crate) sign_in_timeout_millis: Option<u64>,
    /// Where the browser comes back to after the session at the server was ended.
    #[uniffi(default = None)]
    pub(crate) post_logout_redirect: Option<String>,
    /// Whether several users can be signed in side by side.
    #[uniffi(default = false)]
    pub(crate) several_accounts: bool,
    /// Whether the loopback redirects of sign-ins whose processes are gone are left alone.
    #[uniffi(default = false)]
    pub(crate) without_listening_again: bool,
    /// What to do when nobody knows whether the server processed a refresh; the core's own choice where it is absent.
    #[uniffi(default = None)]
    pub(crate) on_unknown_outcome: Option<FfiOnUnknownOutcome>,
}

/// An API that tokens may be sent to.
#[derive(Clone, Debug, uniffi::Record)]
pub(crate) struct FfiApi {
    /// Its origin, such as `https://api.example.com`.
    pub(crate) origin: String,
    /// What its token is for, where it wants one of its own.
    #[uniffi(default = None)]
    pub(crate) target: Option<FfiTarget>,
}

/// What an access token is for, where a session has tokens for several APIs.
#[derive(Clone, Debug, Default, uniffi::Record)]
pub(crate) struct FfiTarget {
    /// The APIs, as URIs that the server knows them by.
    #[uniffi(default = [])]
    pub(crate) resources: Vec<String>,
    /// Only this scope.
    #[uniffi(default = None)]
    pub(crate) scope: Option<Vec<String>>,
}

/// What to do when nobody knows whether the server processed a refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub(crate) enum FfiOnUnknownOutcome {
    /// Send the same token again, a few times within half a minute.
    Retry,
    /// Send it again once, at once.
    RetryOnce,
    /// Send it again only when the access token has expired.
    RetryWhenExpired,
}

/// Which URLs the core talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub(crate) enum FfiTransportPolicy {
    /// https alone.
    HttpsOnly,
    /// Also http, to `127.0.0.1` and `[::1]`: for tests against a server on the same machine.
    AllowHttpOnLoopback,
}

/// What an app may ask for in one sign-in.
#[derive(Clone, Debug, Default, uniffi::Record)]
pub(crate) struct FfiSignInOptions {
    /// The scope of this one sign-in, instead of the client's.
    #[uniffi(default = None)]
    pub(crate) scope: Option<Vec<String>>,
    /// How the server is to involve the user.
    #[uniffi(default = [])]
    pub(crate) prompt: Vec<FfiPrompt>,
    /// Who is about to sign in.
    #[uniffi(default = None)]
    pub(crate) login_hint: Option<String>,
    /// The oldest acceptable authentication.
    #[uniffi(default = None)]
    pub(crate) max_age_seconds: Option<u32>,
    /// The authentication contexts wanted, best first.
    #[uniffi(default = [])]
    pub(crate) acr_values: Vec<String>,
    /// Claims to ask for one by one, as a JSON object.
    #[uniffi(default = None)]
    pub(crate) claims_json: Option<String>,
    /// The languages for the server's pages, best first.
    #[uniffi(default = [])]
    pub(crate) ui_locales: Vec<String>,
    /// The APIs that the access token is for, as URIs.
    #[uniffi(default = [])]
    pub(crate) resources: Vec<String>,
    /// The audience, for servers that take it by that name.
    #[uniffi(default = None)]
    pub(crate) audience: Option<String>,
    /// Parameters that a particular server wants.
    #[uniffi(default = [])]
    pub(crate) extra: Vec<FfiExtraParameter>,
}

/// How the server is to involve the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, uniffi::Enum)]
pub(crate) enum FfiPrompt {
    /// Show no page.
    None,
    /// Ask the user to sign in again.
    Login,
    /// Ask for consent.
    Consent,
    /// Let the user choose an account.
    SelectAccount,
    /// Show the page for a new account.
    Create,
}

/// A parameter that a particular server wants.
#[derive(Clone, Debug, uniffi::Record)]
pub(crate) struct FfiExtraParameter {
    /// Its name; reserved ones are refused.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: String,
}

impl FfiConfig {
    pub(super) fn into_builder(self) -> Result<ClientBuilder> {
        let mut builder = Client::builder(self.issuer, self.client_id)
            .redirect(self.redirect)
            .scopes(self.scopes);
        for api in self.apis {
            builder = match api.target {
                None => builder.api(api.origin),
                Some(target) => builder.api_with_target(api.origin, target.into_target()?),
            };
        }
        if self.transport_policy == FfiTransportPolicy::AllowHttpOnLoopback {
            builder = builder.allow_http_on_loopback(AllowHttpOnLoopback);
        }
        if let Some(millis) = self.sign_in_timeout_millis {
            builder = builder.sign_in_timeout(Duration::from_millis(millis));
        }
        if let Some(uri) = self.post_logout_redirect {
            builder = builder.post_logout_redirect(uri);
        }
        if self.several_accounts {
            builder = builder.several_accounts();
        }
        if self.without_listening_again {
            builder = builder.without_listening_again();
        }
        if let Some(policy) = self.on_unknown_outcome {
            builder = builder.on_unknown_outcome(policy.into());
        }
        Ok(builder)
    }
}

impl FfiTarget {
    pub(super) fn into_target(self) -> Result<Target> {
        let mut target = Target::default();
        for uri in &self.resources {
            target = target.and_resource(uri)?;
        }
        match self.scope {
            Some(scope) => target.with_scope(scope),
            None => Ok(target),
        }
    }
}

impl From<FfiOnUnknownOutcome> for OnUnknownOutcome {
    fn from(policy: FfiOnUnknownOutcome) -> Self {
        match policy {
            FfiOnUnknownOutcome::Retry => Self::Retry,
            FfiOnUnknownOutcome::RetryOnce => Self::RetryOnce,
            FfiOnUnknownOutcome::RetryWhenExpired => Self::RetryWhenExpired,
        }
    }
}

impl FfiSignInOptions {
    pub(super) fn into_options(self) -> Result<SignInOptions> {
        let mut options = SignInOptions::default()
            .prompt(self.prompt.into_iter().map(Prompt::from))
            .acr_values(self.acr_values)
            .ui_locales(self.ui_locales);
        if let Some(scope) = self.scope {
            options = options.scope(scope);
        }
        if let Some(claims) = self.claims_json {
            options = options.claims(claims);
        }
        if let Some(hint) = self.login_hint {
            options = options.login_hint(hint);
        }
        if let Some(seconds) = self.max_age_seconds {
            options = options.max_age(seconds);
        }
        for uri in self.resources {
            options = options.resource(uri);
        }
        if let Some(audience) = self.audience {
            options = options.audience(audience);
        }
        for parameter in self.extra {
            options = options.extra(parameter.name, parameter.value)?;
        }
        Ok(options)
    }
}

impl From<FfiPrompt> for Prompt {
    fn from(prompt: FfiPrompt) -> Self {
        match prompt {
            FfiPrompt::None => Self::None,
            FfiPrompt::Login => Self::Login,
            FfiPrompt::Consent => Self::Consent,
            FfiPrompt::SelectAccount => Self::SelectAccount,
            FfiPrompt::Create => Self::Create,
        }
    }
}
