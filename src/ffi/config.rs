//! The configuration of a client and the options of a sign-in, as records.

use std::time::Duration;

use crate::client::{Client, ClientBuilder};
use crate::error::Result;
use crate::protocol::authorization::{Prompt, SignInOptions};
use crate::protocol::endpoint::AllowHttpOnLoopback;

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
    /// The origins of the APIs that the access token may be sent to.
    pub(crate) apis: Vec<String>,
    /// Which URLs the core talks to.
    pub(crate) transport_policy: FfiTransportPolicy,
    /// How long a sign-in may take until its redirect is back; the core's own limit where it is absent.
    pub(crate) sign_in_timeout_millis: Option<u64>,
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
    pub(super) fn into_builder(self) -> ClientBuilder {
        let mut builder = Client::builder(self.issuer, self.client_id)
            .redirect(self.redirect)
            .scopes(self.scopes);
        for api in self.apis {
            builder = builder.api(api);
        }
        if self.transport_policy == FfiTransportPolicy::AllowHttpOnLoopback {
            builder = builder.allow_http_on_loopback(AllowHttpOnLoopback);
        }
        if let Some(millis) = self.sign_in_timeout_millis {
            builder = builder.sign_in_timeout(Duration::from_millis(millis));
        }
        builder
    }
}

impl FfiSignInOptions {
    pub(super) fn into_options(self) -> Result<SignInOptions> {
        let mut options = SignInOptions::default()
            .prompt(self.prompt.into_iter().map(Prompt::from))
            .acr_values(self.acr_values)
            .ui_locales(self.ui_locales);
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
        }
    }
}
