//! The configuration of a client, checked as a whole before anything is sent.

use std::collections::HashMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use url::Url;

use super::{Client, Inner};
use crate::adapters::executor::Executor;
use crate::adapters::memory::{MemoryStorage, SingleProcess};
use crate::adapters::random::SystemRandom;
use crate::adapters::system_clock::SystemClock;
use crate::error::{Error, Result};
use crate::ports::{
    Clock, EventSink, HttpTransport, NoEvents, Ports, ProcessLock, Random, SecureStorage, Spawner, UserAgent,
};
use crate::protocol::endpoint::{AllowHttpOnLoopback, TransportPolicy};
use crate::protocol::issuer::Issuer;
use crate::protocol::redirect::{RedirectKind, RedirectUri};
use crate::protocol::scope::Scope;
use crate::protocol::target::Target;
use crate::protocol::text;
use crate::session::OnUnknownOutcome;
use crate::session::context::{Api, Context};
use crate::session::observer::Observer;
use crate::session::sessions::{Accounts, Sessions};

/// How long a sign-in may take from the first URL to the redirect.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The configuration of a [`Client`].
///
/// ```no_run
/// # fn example(builder: gatepass::ClientBuilder) -> gatepass::Result<()> {
/// use std::time::Duration;
///
/// // Made by Client::builder; every setting but issuer and client id has a default.
/// let client = builder
///     .redirect("com.example.app:/callback")
///     .post_logout_redirect("com.example.app:/signed-out")
///     .scopes(["openid", "email", "offline_access"])
///     .api("https://api.example.com")
///     .sign_in_timeout(Duration::from_secs(5 * 60))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    issuer: String,
    client_id: String,
    redirect: String,
    redirect_alias: Option<String>,
    post_logout_redirect: Option<String>,
    scopes: Vec<String>,
    apis: Vec<(String, Target)>,
    policy: TransportPolicy,
    accounts: Accounts,
    sign_in_timeout: Duration,
    listens_again: bool,
    on_unknown_outcome: OnUnknownOutcome,
    http: Option<Arc<dyn HttpTransport>>,
    storage: Option<Arc<dyn SecureStorage>>,
    clock: Option<Arc<dyn Clock>>,
    random: Option<Arc<dyn Random>>,
    spawner: Option<Arc<dyn Spawner>>,
    process_lock: Option<Arc<dyn ProcessLock>>,
    events: Option<Arc<dyn EventSink>>,
    user_agent: Option<Arc<dyn UserAgent>>,
    observer: Option<Arc<dyn Observer>>,
}

impl ClientBuilder {
    pub(super) fn new(issuer: String, client_id: String) -> Self {
        Self {
            issuer,
            client_id,
            redirect: "http://127.0.0.1/callback".to_owned(),
            redirect_alias: None,
            post_logout_redirect: None,
            scopes: vec!["openid".to_owned()],
            apis: Vec::new(),
            policy: TransportPolicy::default(),
            accounts: Accounts::One,
            sign_in_timeout: SIGN_IN_TIMEOUT,
            listens_again: true,
            on_unknown_outcome: OnUnknownOutcome::default(),
            http: None,
            storage: None,
            clock: None,
            random: None,
            spawner: None,
            process_lock: None,
            events: None,
            user_agent: None,
            observer: None,
        }
    }

    /// The redirect URI, as registered at the server; `http://127.0.0.1/callback` unless set. See
    /// [`RedirectUri`] for the three kinds and their form.
    pub fn redirect(mut self, uri: impl Into<String>) -> Self {
        self.redirect = uri.into();
        self
    }

    /// A private-use scheme (`com.example.app:/callback`) by which a page at the claimed https
    /// [`redirect`](ClientBuilder::redirect) hands the callback on to the app, where a browser did not open the app by itself:
    /// `gatepass interstitial` makes that page. A callback that comes to it is held to the same checks as one at the redirect
    /// itself, and the server is still told the redirect alone. Other apps may claim the scheme; PKCE makes the code worthless
    /// to them (RFC 8252 §8.1). Anything else makes [`build`](ClientBuilder::build) fail with `redirect_alias`.
    pub fn redirect_alias(mut self, uri: impl Into<String>) -> Self {
        self.redirect_alias = Some(uri.into());
        self
    }

    /// Where the browser comes back to after [`SignOut::EndSession`](crate::SignOut::EndSession), as registered at the server
    /// for that purpose (OpenID Connect RP-Initiated Logout 1.0 §3). Of the same three kinds as the
    /// [`redirect`](ClientBuilder::redirect). Unless set, the server's own page is the last one that the user sees.
    pub fn post_logout_redirect(mut self, uri: impl Into<String>) -> Self {
        self.post_logout_redirect = Some(uri.into());
        self
    }

    /// The scope to ask for, one token an item; `openid` unless set. With `offline_access` most servers give a refresh token.
    /// A token that breaks the grammar of RFC 6749 §3.3 makes [`build`](ClientBuilder::build) fail with `scope_malformed`.
    pub fn scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// The origin of an API (`https://api.example.com`) that the access token may be sent to. Can be called several
    /// times. No other origin ever gets the token. Anything but an https origin without a path makes
    /// [`build`](ClientBuilder::build) fail with `api_origin`.
    pub fn api(mut self, origin: impl Into<String>) -> Self {
        self.apis.push((origin.into(), Target::default()));
        self
    }

    /// The origin of an API that wants tokens of its own: for a resource of its own (RFC 8707), or of a narrower scope. All
    /// of them are had with one refresh token; [`Session::http`](crate::Session::http) attaches the right one.
    ///
    /// ```
    /// # fn example() -> gatepass::Result<()> {
    /// use gatepass::{Client, Target};
    ///
    /// let client = Client::builder("https://login.example.com", "my-app")
    ///     .scopes(["openid", "offline_access", "events.read"])
    ///     .api("https://api.example.com")
    ///     .api_with_target("https://calendar.example.com", Target::resource("https://calendar.example.com/")?)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn api_with_target(mut self, origin: impl Into<String>, target: Target) -> Self {
        self.apis.push((origin.into(), target));
        self
    }

    /// Allows http to `127.0.0.1` and `[::1]`, for tests against a server on this machine.
    ///
    /// ```
    /// use gatepass::{AllowHttpOnLoopback, Client};
    ///
    /// let refused = Client::builder("http://127.0.0.1:9400", "my-app").build().unwrap_err();
    /// assert_eq!(refused.code(), "issuer_insecure");
    ///
    /// let client = Client::builder("http://127.0.0.1:9400", "my-app")
    ///     .allow_http_on_loopback(AllowHttpOnLoopback)
    ///     .build()?;
    /// # Ok::<(), gatepass::Error>(())
    /// ```
    pub fn allow_http_on_loopback(mut self, allowed: AllowHttpOnLoopback) -> Self {
        self.policy.http_on_loopback = Some(allowed);
        self
    }

    /// Lets several users be signed in side by side, each with a session of their own, told apart by the subject of their
    /// ID tokens: [`Client::sessions`] gives them all. Needs the scope `openid`.
    ///
    /// Unless this is called, a client has one session, and a sign-in takes the place of the one before.
    ///
    /// ```no_run
    /// # fn example(builder: gatepass::ClientBuilder) -> gatepass::Result<()> {
    /// let client = builder.scopes(["openid", "offline_access"]).several_accounts().build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn several_accounts(mut self) -> Self {
        self.accounts = Accounts::Several;
        self
    }

    /// How long a sign-in may take until its redirect is back; 15 minutes unless set. Then it ends with
    /// [`ErrorKind::FlowExpired`](crate::ErrorKind::FlowExpired).
    pub fn sign_in_timeout(mut self, timeout: Duration) -> Self {
        self.sign_in_timeout = timeout;
        self
    }

    /// For a program that looks and is gone again: it leaves alone what other processes began in the browser.
    ///
    /// Unless this is called, a client with a loopback redirect that finds a sign-in in storage whose process is gone, and
    /// whose time is not over, listens for its redirect again, on the same port, for as long as the client lives
    /// ([`Client::session`](crate::Client::session)). A program that ends a moment later would open a port for nothing, and
    /// keep it from one that stays.
    ///
    /// ```no_run
    /// # async fn example(builder: gatepass::ClientBuilder) -> gatepass::Result<()> {
    /// let client = builder.without_listening_again().build()?;
    /// println!("{}", if client.session().await?.is_some() { "signed in" } else { "not signed in" });
    /// # Ok(())
    /// # }
    /// ```
    pub fn without_listening_again(mut self) -> Self {
        self.listens_again = false;
        self
    }

    /// What to do when nobody knows whether the server processed a refresh (default [`OnUnknownOutcome::Retry`]). A matter
    /// of how this server treats a refresh token that comes a second time (RFC 9700 §4.14.2).
    ///
    /// ```no_run
    /// # fn example(builder: gatepass::ClientBuilder) -> gatepass::Result<()> {
    /// use gatepass::OnUnknownOutcome;
    ///
    /// // This server ends every access token of a grant whose refresh token it sees twice.
    /// let client = builder
    ///     .on_unknown_outcome(OnUnknownOutcome::RetryWhenExpired)
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_unknown_outcome(mut self, policy: OnUnknownOutcome) -> Self {
        self.on_unknown_outcome = policy;
        self
    }

    /// HTTP by a transport of your own. Needed where the feature `http` is off.
    pub fn http_transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
        self.http = Some(transport);
        self
    }

    /// Where sessions are kept: `KeychainStorage` and its like, or storage of your own. Unless set,
    /// they are kept in memory and end with the process.
    pub fn storage(mut self, storage: Arc<dyn SecureStorage>) -> Self {
        self.storage = Some(storage);
        self
    }

    /// A clock of your own, for tests that travel in time.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// A random source of your own, for tests that must repeat.
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = Some(random);
        self
    }

    /// An executor of your own, for simulations. The HTTP transport must then be able to run on it.
    pub fn spawner(mut self, spawner: Arc<dyn Spawner>) -> Self {
        self.spawner = Some(spawner);
        self
    }

    /// The lock that keeps several processes of one app from refreshing at once, in place of the one that the storage
    /// brings ([`SecureStorage::process_lock`]). Needed for storage of your own that another process reaches too and that
    /// brings none: without it both can send the same refresh token, and a server that takes the second
    /// use for theft (RFC 9700 §4.14.2) ends the session.
    pub fn process_lock(mut self, lock: Arc<dyn ProcessLock>) -> Self {
        self.process_lock = Some(lock);
        self
    }

    /// Who is told what happens to the sessions; called on the thread of the core. Unless set, nobody.
    pub fn event_sink(mut self, events: Arc<dyn EventSink>) -> Self {
        self.events = Some(events);
        self
    }

    /// How the browser is opened. With the feature `loopback` it is the system's browser unless set.
    pub fn user_agent(mut self, user_agent: Arc<dyn UserAgent>) -> Self {
        self.user_agent = Some(user_agent);
        self
    }

    /// Who keeps a copy of what is published.
    #[cfg(feature = "uniffi")]
    pub(crate) fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Checks the configuration and makes the client. Asks neither network nor storage; the default transport reads the
    /// root certificates of the system, and the first client of a process starts the thread of the core.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`](crate::ErrorKind::Configuration) with a text that says what to write instead;
    /// [`ErrorKind::Internal`](crate::ErrorKind::Internal) if the system gives no thread.
    pub fn build(self) -> Result<Client> {
        let issuer = Issuer::parse(&self.issuer, self.policy)?;
        if !text::is_vschar(&self.client_id) {
            return Err(Error::configuration(
                "client_id_malformed",
                "RFC 6749 appendix A.1",
                "the client id must be printable ASCII and not empty",
            ));
        }
        let redirect = RedirectUri::parse(&self.redirect)?;
        let redirect_alias = match &self.redirect_alias {
            Some(alias) => Some(alias_of(&redirect, RedirectUri::parse(alias)?)?),
            None => None,
        };
        let scope = Scope::from_tokens(&self.scopes)?;
        let policy = self.policy;
        let mut apis: Vec<Api> = Vec::new();
        for (api, target) in self.apis {
            let origin = origin(&api, policy)?;
            match apis.iter().find(|known| known.origin == origin) {
                None => apis.push(Api { origin, target }),
                Some(known) if known.target == target => {}
                Some(_) => {
                    return Err(Error::configuration(
                        "api_repeated",
                        "RFC 8707 §2",
                        format!(
                            "the API {api:?} was given twice, for two kinds of token; give it once, with api or with api_with_target"
                        ),
                    ));
                }
            }
        }
        let storage = self.storage.unwrap_or_else(|| Arc::new(MemoryStorage::default()));
        let lock = self.process_lock.or_else(|| storage.process_lock());
        let ports = Ports {
            http: match self.http {
                Some(http) => http,
                None => default_transport(&issuer, policy)?,
            },
            storage,
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            random: self.random.unwrap_or_else(|| Arc::new(SystemRandom)),
            spawner: match self.spawner {
                Some(spawner) => spawner,
                None => Arc::new(Executor::shared()?),
            },
            lock: lock.unwrap_or_else(|| Arc::new(SingleProcess)),
            events: self.events.unwrap_or_else(|| Arc::new(NoEvents)),
            user_agent: self.user_agent.or_else(default_user_agent),
        };
        let post_logout_redirect = self
            .post_logout_redirect
            .map(|uri| RedirectUri::parse(&uri))
            .transpose()?;
        let mut context = Context::new(ports, issuer, self.client_id, policy, apis);
        context.post_logout_redirect = post_logout_redirect;
        context.on_unknown_outcome = self.on_unknown_outcome;
        context.observer = self.observer;
        let context = Arc::new(context);
        let sessions = Sessions::new(Arc::clone(&context), self.accounts)?;
        Ok(Client(Arc::new(Inner {
            context,
            sessions,
            redirect,
            redirect_alias,
            scope,
            sign_in_timeout: self.sign_in_timeout,
            attempts: Mutex::new(HashMap::new()),
            listens_again: self.listens_again,
            left_open: Mutex::default(),
            unsettled: AtomicBool::new(true),
            settling: tokio::sync::Mutex::default(),
        })))
    }
}

/// Only a page can hand something on, and only to a scheme that is the app's.
fn alias_of(redirect: &RedirectUri, alias: RedirectUri) -> Result<RedirectUri> {
    if redirect.kind() == RedirectKind::ClaimedHttps && alias.kind() == RedirectKind::PrivateUseScheme {
        return Ok(alias);
    }
    Err(Error::configuration(
        "redirect_alias",
        "RFC 8252 §7",
        "an alias is a private-use scheme, for a redirect that is claimed https",
    ))
}

/// An origin, given as a URL without path, query and fragment.
pub(crate) fn origin(text: &str, policy: TransportPolicy) -> Result<url::Origin> {
    let refuse = |why: String| {
        Err(Error::configuration(
            "api_origin",
            "RFC 6454 §4",
            format!("the API {text:?} {why}"),
        ))
    };
    match Url::parse(text) {
        Err(e) => refuse(format!("is not a URL: {e}")),
        Ok(url) if !policy.admits(&url) => {
            refuse("must be an https origin (http only on loopback, by AllowHttpOnLoopback)".into())
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            refuse("has user information before the host".into())
        }
        Ok(url) if url.host_str().is_some_and(|host| host.contains('*')) => {
            refuse("has an asterisk in its host; list each origin by itself".into())
        }
        Ok(url) if url.path() != "/" || url.query().is_some() || url.fragment().is_some() => refuse(format!(
            "must be an origin without a path: {}",
            url.origin().ascii_serialization()
        )),
        Ok(url) => Ok(url.origin()),
    }
}

#[cfg_attr(not(feature = "http"), allow(unused_variables))]
fn default_transport(issuer: &Issuer, policy: TransportPolicy) -> Result<Arc<dyn HttpTransport>> {
    #[cfg(feature = "http")]
    {
        use crate::error::Stage;
        use crate::protocol::endpoint;
        let server = endpoint::parse(issuer.as_str(), "the issuer", Stage::Discovery, policy)?;
        let transport = crate::adapters::reqwest::ReqwestTransport::toward(&server)?;
        Ok(Arc::new(transport))
    }
    #[cfg(not(feature = "http"))]
    return Err(Error::configuration(
        "no_http_transport",
        "RFC 8252 §5",
        "there is no HTTP transport: enable the feature `http`, or give one with ClientBuilder::http_transport",
    ));
}

fn default_user_agent() -> Option<Arc<dyn UserAgent>> {
    #[cfg(feature = "loopback")]
    return Some(Arc::new(crate::adapters::system_browser::SystemBrowser));
    #[cfg(not(feature = "loopback"))]
    return None;
}

#[cfg(test)]
#[cfg(feature = "http")]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn code(builder: ClientBuilder) -> &'static str {
        let error = builder.build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        error.code()
    }

    #[test]
    fn a_wrong_configuration_is_refused_before_anything_is_sent() {
        let good = || Client::builder("https://as.example", "my-app").redirect("https://app.example.com/cb");
        assert!(good().build().is_ok());
        assert_eq!(code(Client::builder("as.example", "my-app")), "issuer_malformed");
        assert_eq!(
            code(Client::builder("http://127.0.0.1:1", "my-app")),
            "issuer_insecure"
        );
        assert_eq!(
            code(Client::builder("https://as.example", "")),
            "client_id_malformed"
        );
        assert_eq!(code(good().redirect("myapp:/cb")), "redirect_scheme");
        assert_eq!(code(good().scopes(["openid profile"])), "scope_malformed");
        for api in [
            "api.example.com",
            "http://api.example.com",
            "https://api.example.com/v1",
            "https://u:p@api.example.com",
            "http://127.0.0.1",
        ] {
            assert_eq!(code(good().api(api)), "api_origin", "{api}");
        }
        assert!(
            good()
                .api("https://api.example.com")
                .api("https://api.example.com:8443/")
                .build()
                .is_ok()
        );
    }
}
