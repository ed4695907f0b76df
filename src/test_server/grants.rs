//! What the server remembers: sign-ins under way, browser sessions, codes, grants and tokens.
//!
//! Everything secret is kept as a SHA-256 hash only: a look-up then compares hashes, whose timing tells
//! nothing. The one exception is the newest refresh token of a grant, which idempotent rotation says again.

use super::keys::{KeyFailure, random_text};
use super::params::Scope;
use super::registration::TestUser;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::time::Duration;

/// Above this many entries a map drops what has expired, so that a long soak does not eat the memory.
const SWEEP_ABOVE: usize = 10_000;
/// How long someone may look at the sign-in page before it is too late to answer.
const PAGE_LIFETIME: i64 = 15 * 60 * 1000;

/// What becomes of a refresh token that has been used.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing_setup.rs"));
/// use gatepass::test_server::{Endpoint, Rotation, TestServer};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn Error>> {
///     let server = TestServer::builder().rotation(Rotation::Idempotent).start()?;
///     let client = client(&server)?;
///     let session = sign_in(&server, &client, &server.users()[0]).await?;
///     // The answer with the new refresh token is lost. This server says the same one again, so nothing is lost.
///     let lost = server.fault(Endpoint::Token).next(1).drop_after_processing()?;
///     assert!(session.refresh().await.is_ok());
///     assert_eq!(lost.fired(), 1);
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotation {
    /// A used refresh token is dead at once: presenting it again ends the whole grant (RFC 9700 §4.14.2).
    Strict,
    /// The refresh token used last still answers, with a fresh pair of the same chain, for this long
    /// after its first use. Older ones, and this one later, end the whole grant.
    Grace(Duration),
    /// The refresh token used last still answers, with the very same successor, until that successor is used. After that
    /// it is refused, and the grant lives on.
    Idempotent,
    /// A refresh token can be used this many times more after its first use, at any time, until a newer one is used: a
    /// count, not a time. One more use, or the use of an older one, ends the whole grant.
    CountLimited(u32),
    /// Refresh tokens are not rotated: the answer to a refresh has none.
    Off,
}

/// How long what the server issues is good for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetimes {
    pub(super) access_token: Duration,
    pub(super) refresh_token: Duration,
    pub(super) code: Duration,
    pub(super) pushed_request: Duration,
}

/// A moment or a span, in milliseconds on the server's clock.
type Millis = i64;

pub(super) fn millis(span: Duration) -> Millis {
    Millis::try_from(span.as_millis()).unwrap_or(Millis::MAX / 4)
}

/// An authorization request that was found good, from when it came until the user has answered.
#[derive(Clone)]
pub(super) struct AuthorizationRequest {
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) scope: Scope,
    pub(super) nonce: Option<String>,
    pub(super) code_challenge: String,
    pub(super) resources: Vec<String>,
    /// The subject an `id_token_hint` names: nobody else may sign in (OpenID Connect Core §3.1.2.2).
    pub(super) expected_subject: Option<String>,
    pub(super) login_hint: Option<String>,
    pub(super) acr_values: Option<String>,
    pub(super) interaction: Interaction,
}

/// How the user is to be asked.
#[derive(Clone)]
pub(super) struct Interaction {
    /// `prompt=none`: not at all.
    pub(super) silent: bool,
    /// A prompt value that needs the page although there is a session.
    pub(super) forced: bool,
    /// Seconds the sign-in may have been ago.
    pub(super) max_age: Option<i64>,
}

/// What an access token allows, and whose it is.
pub(super) struct Access {
    pub(super) scope: Scope,
    pub(super) audience: Vec<String>,
    pub(super) client_id: String,
    pub(super) session: BrowserSession,
}

/// A request to sign out that waits for the user to confirm it.
#[derive(Clone)]
pub(super) struct SignOutRequest {
    pub(super) redirect_to: Option<String>,
}

/// Someone signed in with a browser.
#[derive(Clone)]
pub(super) struct BrowserSession {
    pub(super) user: TestUser,
    pub(super) signed_in_at: Millis,
}

/// What the user allowed the app, from the code on; every code and token points to one.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) request: AuthorizationRequest,
    pub(super) session: BrowserSession,
    revoked: bool,
    /// How often the refresh token was rotated: a token of another generation has been used.
    generation: u64,
    rotated_at: Millis,
    /// The newest refresh token.
    newest: Option<String>,
    /// Number and uses of the newest refresh token that was used.
    last_used: Option<(u64, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct GrantId(u64);

type TokenHash = [u8; 32];

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token).into()
}

struct Expiring<T> {
    value: T,
    expires_at: Millis,
}

/// A map of secrets whose entries end by the server's clock.
struct Secrets<T>(HashMap<TokenHash, Expiring<T>>);

impl<T> Secrets<T> {
    fn new() -> Secrets<T> {
        Secrets(HashMap::new())
    }

    fn keep(&mut self, secret: &str, value: T, now: Millis, lifetime: Millis) {
        if self.0.len() >= SWEEP_ABOVE && self.0.len().is_power_of_two() {
            self.0.retain(|_, entry| entry.expires_at > now);
        }
        self.0.insert(
            hash(secret),
            Expiring {
                value,
                expires_at: now.saturating_add(lifetime),
            },
        );
    }

    fn get(&self, secret: &str, now: Millis) -> Option<&T> {
        self.0
            .get(&hash(secret))
            .filter(|entry| now < entry.expires_at)
            .map(|entry| &entry.value)
    }
}

struct Code {
    grant: GrantId,
    used: bool,
}

struct AccessToken {
    grant: GrantId,
    scope: Scope,
    audience: Vec<String>,
}

#[derive(Clone, Copy)]
struct RefreshToken {
    grant: GrantId,
    generation: u64,
    /// In the order of issue, over all grants.
    number: u64,
}

/// What a refresh token is worth that is presented.
enum Worth {
    Good,
    /// Of no use, and no sign of theft.
    Superseded,
    /// Two hands hold the same token (RFC 9700 §4.14.2).
    Reused,
}

/// Why a code or a refresh token is answered with `invalid_grant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Unknown,
    OtherClient,
    Expired,
    Reused,
    Superseded,
    Revoked,
}

impl Refused {
    pub(super) fn describe(self) -> &'static str {
        match self {
            Refused::Unknown => "never issued here",
            Refused::OtherClient => "issued to another client",
            Refused::Expired => "expired",
            Refused::Reused => "used before, so every token of this grant is revoked",
            Refused::Superseded => "replaced by one that has been used",
            Refused::Revoked => "revoked",
        }
    }
}

/// The memory of one server. Times are passed in: nothing here reads a clock.
pub(super) struct Grants {
    lifetimes: Lifetimes,
    rotation: Rotation,
    pushed: Secrets<AuthorizationRequest>,
    pages: Secrets<AuthorizationRequest>,
    sign_outs: Secrets<SignOutRequest>,
    sessions: Secrets<BrowserSession>,
    grants: HashMap<GrantId, Grant>,
    codes: Secrets<Code>,
    access_tokens: Secrets<AccessToken>,
    refresh_tokens: Secrets<RefreshToken>,
    next_grant: u64,
    next_refresh_token: u64,
}

impl Grants {
    pub(super) fn new(lifetimes: Lifetimes, rotation: Rotation) -> Grants {
        Grants {
            lifetimes,
            rotation,
            pushed: Secrets::new(),
            pages: Secrets::new(),
            sign_outs: Secrets::new(),
            sessions: Secrets::new(),
            grants: HashMap::new(),
            codes: Secrets::new(),
            access_tokens: Secrets::new(),
            refresh_tokens: Secrets::new(),
            next_grant: 0,
            next_refresh_token: 0,
        }
    }

    pub(super) fn set_rotation(&mut self, rotation: Rotation) {
        self.rotation = rotation;
    }

    pub(super) fn rotates(&self) -> bool {
        self.rotation != Rotation::Off
    }

    /// Ends every session, code, grant and token, as an administrator can.
    pub(super) fn revoke_everything(&mut self) {
        self.pushed = Secrets::new();
        self.pages = Secrets::new();
        self.sign_outs = Secrets::new();
        self.sessions = Secrets::new();
        self.grants.values_mut().for_each(|grant| grant.revoked = true);
    }

    pub(super) fn revoke_access_tokens(&mut self) {
        self.access_tokens = Secrets::new();
    }

    pub(super) fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    // Pushed requests.

    /// Keeps a request until its browser comes; the answer is the secret part of its `request_uri`.
    pub(super) fn push_request(
        &mut self,
        request: AuthorizationRequest,
        now: Millis,
    ) -> Result<String, KeyFailure> {
        let reference = random_text("gpt_pr_")?;
        // As many seconds as the answer says, not a fraction more.
        let lifetime = Duration::from_secs(self.lifetimes.pushed_request.as_secs());
        self.pushed.keep(&reference, request, now, millis(lifetime));
        Ok(reference)
    }

    /// Hands out a pushed request to its client, once (RFC 9126 §4).
    pub(super) fn take_pushed(
        &mut self,
        reference: &str,
        client_id: &str,
        now: Millis,
    ) -> Option<AuthorizationRequest> {
        let key = hash(reference);
        let asked = self.pushed.0.get(&key)?;
        // Someone else's knowledge of the reference must not take it away from its client.
        if asked.value.client_id != client_id {
            return None;
        }
        let asked = self.pushed.0.remove(&key)?;
        (now < asked.expires_at).then_some(asked.value)
    }

    // The sign-in page.

    pub(super) fn open_page(
        &mut self,
        request: AuthorizationRequest,
        now: Millis,
    ) -> Result<String, KeyFailure> {
        let page = random_text("gpt_pa_")?;
        self.pages.keep(&page, request, now, PAGE_LIFETIME);
        Ok(page)
    }

    pub(super) fn page(&self, page: &str, now: Millis) -> Option<AuthorizationRequest> {
        self.pages.get(page, now).cloned()
    }

    /// Forgets a page that has been answered, so that going back and sending it again does nothing.
    pub(super) fn close_page(&mut self, page: &str) {
        self.pages.0.remove(&hash(page));
    }

    // The session of a browser.

    pub(super) fn open_session(&mut self, user: TestUser, now: Millis) -> Result<String, KeyFailure> {
        let cookie = random_text("gpt_se_")?;
        let session = BrowserSession {
            user,
            signed_in_at: now,
        };
        self.sessions.keep(&cookie, session, now, Millis::MAX);
        Ok(cookie)
    }

    pub(super) fn session(&self, cookie: &str, now: Millis) -> Option<BrowserSession> {
        self.sessions.get(cookie, now).cloned()
    }

    pub(super) fn close_session(&mut self, cookie: &str) {
        self.sessions.0.remove(&hash(cookie));
    }

    pub(super) fn ask_sign_out(
        &mut self,
        request: SignOutRequest,
        now: Millis,
    ) -> Result<String, KeyFailure> {
        let page = random_text("gpt_pa_")?;
        self.sign_outs.keep(&page, request, now, PAGE_LIFETIME);
        Ok(page)
    }

    pub(super) fn take_sign_out(&mut self, page: &str, now: Millis) -> Option<SignOutRequest> {
        let asked = self.sign_outs.0.remove(&hash(page))?;
        (now < asked.expires_at).then_some(asked.value)
    }

    // Codes.

    pub(super) fn issue_code(
        &mut self,
        request: AuthorizationRequest,
        session: BrowserSession,
        now: Millis,
    ) -> Result<String, KeyFailure> {
        let code = random_text("gpt_co_")?;
        let id = GrantId(self.next_grant);
        self.next_grant += 1;
        let grant = Grant {
            request,
            session,
            revoked: false,
            generation: 0,
            rotated_at: now,
            newest: None,
            last_used: None,
        };
        self.grants.insert(id, grant);
        self.codes.keep(
            &code,
            Code {
                grant: id,
                used: false,
            },
            now,
            millis(self.lifetimes.code),
        );
        Ok(code)
    }

    /// Finds the grant of a code. A code seen before ends it (RFC 6749 §4.1.2), whatever else is wrong
    /// with this request and even when the code has expired since.
    pub(super) fn present_code(
        &mut self,
        code: &str,
        client_id: &str,
        now: Millis,
    ) -> Result<(GrantId, Grant), Refused> {
        let entry = self.codes.0.get(&hash(code)).ok_or(Refused::Unknown)?;
        let (id, used, expired) = (entry.value.grant, entry.value.used, now >= entry.expires_at);
        self.check_client(id, client_id)?;
        if used {
            self.revoke(id);
            return Err(Refused::Reused);
        }
        if expired {
            return Err(Refused::Expired);
        }
        Ok((id, self.live(id)?))
    }

    /// Spends a code. Only a request that succeeds does (OAuth 2.1 §4.1.3): someone who guesses at the
    /// verifier must not be able to take the code away from the app it belongs to.
    pub(super) fn spend_code(&mut self, code: &str) {
        if let Some(entry) = self.codes.0.get_mut(&hash(code)) {
            entry.value.used = true;
        }
    }

    // Tokens.

    pub(super) fn issue_access_token(
        &mut self,
        grant: GrantId,
        scope: Scope,
        audience: Vec<String>,
        now: Millis,
    ) -> Result<String, KeyFailure> {
        let token = random_text("gpt_at_")?;
        let lifetime = millis(self.lifetimes.access_token);
        let value = AccessToken {
            grant,
            scope,
            audience,
        };
        self.access_tokens.keep(&token, value, now, lifetime);
        Ok(token)
    }

    /// Issues a refresh token of the grant's present generation.
    pub(super) fn issue_refresh_token(&mut self, id: GrantId, now: Millis) -> Result<String, KeyFailure> {
        let token = random_text("gpt_rt_")?;
        let number = self.next_refresh_token;
        self.next_refresh_token += 1;
        let mut generation = 0;
        if let Some(grant) = self.grants.get_mut(&id) {
            generation = grant.generation;
            grant.newest = Some(token.clone());
        }
        let value = RefreshToken {
            grant: id,
            generation,
            number,
        };
        let lifetime = millis(self.lifetimes.refresh_token);
        self.refresh_tokens.keep(&token, value, now, lifetime);
        Ok(token)
    }

    /// What a good access token allows, and to whom it belongs.
    pub(super) fn access(&self, token: &str, now: Millis) -> Option<Access> {
        let token = self.access_tokens.get(token, now)?;
        let grant = self.grants.get(&token.grant).filter(|grant| !grant.revoked)?;
        Some(Access {
            scope: token.scope.clone(),
            audience: token.audience.clone(),
            client_id: grant.request.client_id.clone(),
            session: grant.session.clone(),
        })
    }

    /// Finds the grant of a refresh token; one used before ends it, unless the rotation forgives that.
    pub(super) fn present_refresh_token(
        &mut self,
        token: &str,
        client_id: &str,
        now: Millis,
    ) -> Result<(GrantId, Grant), Refused> {
        let entry = self.refresh_tokens.0.get(&hash(token)).ok_or(Refused::Unknown)?;
        let (token, expired) = (entry.value, now >= entry.expires_at);
        self.check_client(token.grant, client_id)?;
        let grant = self.live(token.grant)?;
        match self.worth(token, &grant, now) {
            Worth::Reused => {
                self.revoke(token.grant);
                Err(Refused::Reused)
            }
            Worth::Superseded => Err(Refused::Superseded),
            Worth::Good if expired => Err(Refused::Expired),
            Worth::Good => Ok((token.grant, grant)),
        }
    }

    fn worth(&self, token: RefreshToken, grant: &Grant, now: Millis) -> Worth {
        if let Rotation::CountLimited(reuses) = self.rotation {
            return match grant.last_used {
                Some((newest, _)) if token.number < newest => Worth::Reused,
                Some((newest, uses)) if token.number == newest && uses > u64::from(reuses) => Worth::Reused,
                _ => Worth::Good,
            };
        }
        if token.generation == grant.generation {
            return Worth::Good;
        }
        let was_last = token.generation + 1 == grant.generation;
        match self.rotation {
            Rotation::Idempotent if was_last => Worth::Good,
            Rotation::Idempotent => Worth::Superseded,
            Rotation::Grace(window) if was_last && now < grant.rotated_at.saturating_add(millis(window)) => {
                Worth::Good
            }
            _ => Worth::Reused,
        }
    }

    /// Makes the token just presented a used one, and says which comes after it; none without rotation.
    pub(super) fn rotate(&mut self, token: &str, now: Millis) -> Result<Option<String>, KeyFailure> {
        let token = self.refresh_tokens.0.get(&hash(token)).map(|entry| entry.value);
        let Some(token) = token.filter(|_| self.rotates()) else {
            return Ok(None);
        };
        let Some(grant) = self.grants.get_mut(&token.grant) else {
            return Ok(None);
        };
        let is_first_use = grant.generation == token.generation;
        if !is_first_use && self.rotation == Rotation::Idempotent && grant.newest.is_some() {
            return Ok(grant.newest.clone());
        }
        // One presented again within the grace window leaves the generation, and with it the end of the window, where
        // its first use has put them.
        if is_first_use {
            grant.generation += 1;
            grant.rotated_at = now;
        }
        grant.last_used = match grant.last_used {
            Some((newest, uses)) if newest == token.number => Some((newest, uses + 1)),
            Some((newest, uses)) if newest > token.number => Some((newest, uses)),
            _ => Some((token.number, 1)),
        };
        self.issue_refresh_token(token.grant, now).map(Some)
    }

    /// Revokes a token (RFC 7009 §2.1): a refresh token takes its grant along, an access token goes alone. One that is
    /// unknown is as good as revoked (§2.2); that of another client is not touched.
    pub(super) fn revoke_token(&mut self, token: &str, client_id: &str) -> Result<(), Refused> {
        let key = hash(token);
        if let Some(entry) = self.refresh_tokens.0.get(&key) {
            let id = entry.value.grant;
            self.check_client(id, client_id)?;
            self.revoke(id);
        }
        if let Some(entry) = self.access_tokens.0.get(&key) {
            self.check_client(entry.value.grant, client_id)?;
            self.access_tokens.0.remove(&key);
        }
        Ok(())
    }

    /// Codes and tokens are bound to the client they were issued to (RFC 6749 §5.2, RFC 7009 §2.1).
    fn check_client(&self, id: GrantId, client_id: &str) -> Result<(), Refused> {
        match self.grants.get(&id) {
            Some(grant) if grant.request.client_id != client_id => Err(Refused::OtherClient),
            _ => Ok(()),
        }
    }

    fn live(&self, id: GrantId) -> Result<Grant, Refused> {
        let grant = self.grants.get(&id).ok_or(Refused::Unknown)?;
        if grant.revoked {
            Err(Refused::Revoked)
        } else {
            Ok(grant.clone())
        }
    }

    fn revoke(&mut self, id: GrantId) {
        if let Some(grant) = self.grants.get_mut(&id) {
            grant.revoked = true;
        }
    }
}
