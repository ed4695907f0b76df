//! Breaches of the standards that a server can be told to commit, to see that the app does not fall for them.

use super::keys::KeyFailure;
use super::{State, grants::Grant};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// An issuer that is not ours, where a mistake needs one.
const STRANGER: &str = "https://someone-else.example.com";
const YEAR: i64 = 365 * 24 * 3600;

macro_rules! mistakes {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Something a server must not do, or may do but apps do not expect.
        ///
        /// Switched on by [`TestServer::misbehave`](super::TestServer::misbehave), and off again by
        /// [`TestServer::behave`](super::TestServer::behave).
        ///
        /// ```
        /// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing_setup.rs"));
        /// use gatepass::test_server::{Mistake, TestServer};
        ///
        /// #[tokio::main(flavor = "current_thread")]
        /// async fn main() -> Result<(), Box<dyn Error>> {
        ///     let server = TestServer::start()?;
        ///     let client = client(&server)?;
        ///     server.misbehave(Mistake::WrongIssInCallback);
        ///     let error = sign_in(&server, &client, &server.users()[0]).await.unwrap_err();
        ///     assert_eq!(error.downcast::<gatepass::Error>()?.code(), "iss_mismatch");
        ///     assert_eq!(server.times_made(Mistake::WrongIssInCallback), 1);
        ///     Ok(())
        /// }
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Mistake {
            $($(#[$doc])* $name,)*
        }

        impl Mistake {
            /// Every mistake there is.
            pub const ALL: &'static [Mistake] = &[$(Mistake::$name,)*];
        }
    };
}

mistakes! {
    // Metadata and keys.
    /// The metadata names another issuer (RFC 8414 §3.3).
    WrongIssuerInMetadata,
    /// The issuer in the metadata has a slash at the end that the configured one has not (RFC 8414 §3.3).
    SlashAfterIssuerInMetadata,
    /// The metadata has no `token_endpoint`.
    TokenEndpointMissing,
    /// The metadata names a token endpoint at a remote host by plain http.
    TokenEndpointInsecure,
    /// The metadata has no `jwks_uri`.
    JwksUriMissing,
    /// The metadata offers PKCE by `plain` only; the server still wants S256.
    S256NotOffered,
    /// The metadata does not say that `iss` comes with the callback (RFC 9207 §3). It still does.
    IssNotAdvertised,
    /// The JWK Set has no keys.
    JwkSetEmpty,
    /// The JWK Set has every key twice (RFC 7517 §4.5 wants key IDs distinct).
    JwkSetWithDuplicateKid,
    /// The JWK Set has a symmetric key, too, under the key ID of the newest.
    JwkSetWithSymmetricKey,

    // The callback.
    /// `iss` in the callback is another issuer: the mix-up of RFC 9207.
    WrongIssInCallback,
    /// The callback has no `iss`, although the metadata promises it.
    MissingIssInCallback,
    /// The callback has `iss` twice (RFC 6749 §3.1).
    DuplicateIssInCallback,
    /// `state` in the callback is of the right length and wrong.
    WrongStateInCallback,
    /// The callback has no `state`, although the app sent one.
    MissingStateInCallback,
    /// The callback has `state` twice.
    DuplicateStateInCallback,
    /// The callback has neither code nor error.
    MissingCodeInCallback,
    /// The callback has `code` twice.
    DuplicateCodeInCallback,
    /// The callback has an `error` beside the code.
    ErrorBesideCodeInCallback,
    /// The callback has an access token, which belongs into no URL (RFC 9700 §2.1.2).
    TokenInCallback,
    /// The callback has its parameters in the fragment, not the query.
    FragmentInsteadOfQueryInCallback,

    // The pushed authorization request endpoint.
    /// A push is answered with 200, not 201 (RFC 9126 §2.2).
    PushAnsweredWith200,
    /// The answer to a push has no `request_uri`.
    RequestUriMissing,
    /// The answer to a push says that it lives for no time.
    PushExpiresAtOnce,

    // The token response.
    /// The token response has no `access_token`.
    AccessTokenMissing,
    /// The token response has no `token_type`.
    TokenTypeMissing,
    /// The token response has a `token_type` that nobody knows (RFC 6749 §7.1).
    TokenTypeUnknown,
    /// `expires_in` is a string of digits.
    ExpiresInAsString,
    /// `expires_in` is less than nothing.
    ExpiresInNegative,
    /// There is no `expires_in`, which is allowed: the lifetime is unknown, not endless.
    ExpiresInAbsent,
    /// `expires_in` is a million years.
    ExpiresInHuge,
    /// There is no refresh token: none for a code although offline access was granted, and none for a refresh, which leaves
    /// the old one good.
    RefreshTokenOmitted,
    /// The refresh token of the response is an empty string. The old one is left good.
    RefreshTokenEmpty,
    /// Less is granted than was asked for: nothing but `openid` and `offline_access`. The response says so, as it may
    /// (RFC 6749 §3.3).
    ScopeNarrowed,
    /// There is no `scope` in the response, which means that it is as asked for (RFC 6749 §5.1).
    ScopeAbsent,
    /// The token endpoint answers 200 with an `error` and no tokens.
    ErrorWithStatus200,

    // The ID token, at sign-in and at every refresh.
    /// There is no ID token, although `openid` was granted.
    IdTokenMissing,
    /// The ID token names another issuer.
    IdTokenIssuerWrong,
    /// The ID token is for another client.
    IdTokenAudienceWrong,
    /// The ID token is for this client and for one that nobody knows.
    IdTokenAudienceExtra,
    /// The ID token says that it was issued to another party (`azp`).
    IdTokenAuthorizedPartyWrong,
    /// The ID token has expired an hour ago.
    IdTokenExpired,
    /// The ID token will be issued in a year.
    IdTokenFromTheFuture,
    /// The ID token has no `sub`.
    IdTokenSubjectMissing,
    /// The signature of the ID token is not over what it says.
    IdTokenSignatureBroken,
    /// The ID token names a key that is nowhere to be found.
    IdTokenKidUnknown,
    /// The ID token names no key.
    IdTokenKidMissing,
    /// The ID token is not signed: `alg` is `none`.
    IdTokenAlgNone,
    /// The ID token has an extension that must be understood, and cannot be (RFC 7515 §4.1.11).
    IdTokenCritUnknown,
    /// The ID token is no JWT.
    IdTokenMalformed,
    /// The ID token has no nonce, although the app sent one.
    NonceMissing,
    /// The nonce of the ID token is another than the app sent.
    NonceWrong,
    /// `at_hash` is that of another access token.
    AtHashWrong,
    /// There is no `auth_time`, not even with `max_age`.
    AuthTimeMissing,
    /// `auth_time` is a year ago, whatever `max_age` said.
    AuthTimeTooOld,
    /// `acr_values` is ignored and there is no `acr`, which is allowed (OpenID Connect Core §3.1.2.1).
    AcrIgnored,
    /// `acr` is none of those asked for.
    AcrWrong,
    /// The ID token of a refresh is about someone else (OpenID Connect Core §12.2).
    SubjectChangedOnRefresh,
    /// The ID token of a refresh says that the user signed in just now.
    AuthTimeChangedOnRefresh,
    /// The ID token of a refresh has a nonce that was never sent.
    NonceWrongOnRefresh,

    // UserInfo.
    /// UserInfo speaks of someone else (OpenID Connect Core §5.3.2).
    UserinfoSubjectWrong,
    /// UserInfo has no `sub`.
    UserinfoSubjectMissing,
    /// Signed UserInfo has the issuer of someone else.
    UserinfoIssuerWrong,
    /// Signed UserInfo is for another client.
    UserinfoAudienceWrong,
    /// Signed UserInfo is not signed: `alg` is `none`.
    UserinfoAlgNone,
}

/// Which mistakes a server makes, and how often it has.
#[derive(Default)]
pub(super) struct Mistakes(Mutex<BTreeMap<Mistake, Made>>);

#[derive(Default)]
struct Made {
    on: bool,
    times: u64,
}

impl Mistakes {
    fn made(&self) -> std::sync::MutexGuard<'_, BTreeMap<Mistake, Made>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn switch(&self, mistake: Mistake, on: bool) {
        self.made().entry(mistake).or_default().on = on;
    }

    pub(super) fn switch_all_off(&self) {
        self.made().values_mut().for_each(|made| made.on = false);
    }

    pub(super) fn times(&self, mistake: Mistake) -> u64 {
        self.made().get(&mistake).map_or(0, |made| made.times)
    }

    /// Whether to make this mistake here and now; counts it if so. Ask only where it can be made.
    pub(super) fn make(&self, mistake: Mistake) -> bool {
        match self.made().get_mut(&mistake) {
            Some(made) if made.on => {
                made.times += 1;
                true
            }
            _ => false,
        }
    }
}

pub(super) fn in_metadata(mistakes: &Mistakes, metadata: &mut Map<String, Value>, issuer: &str) {
    let mut set = |mistake: Mistake, name: &str, value: Value| {
        if mistakes.make(mistake) {
            metadata.insert(name.to_owned(), value);
        }
    };
    set(Mistake::WrongIssuerInMetadata, "issuer", STRANGER.into());
    set(
        Mistake::SlashAfterIssuerInMetadata,
        "issuer",
        format!("{issuer}/").into(),
    );
    set(
        Mistake::TokenEndpointInsecure,
        "token_endpoint",
        "http://as.example.com/token".into(),
    );
    set(
        Mistake::S256NotOffered,
        "code_challenge_methods_supported",
        json!(["plain"]),
    );
    for (mistake, name) in [
        (Mistake::TokenEndpointMissing, "token_endpoint"),
        (Mistake::JwksUriMissing, "jwks_uri"),
        (
            Mistake::IssNotAdvertised,
            "authorization_response_iss_parameter_supported",
        ),
    ] {
        if mistakes.make(mistake) {
            metadata.remove(name);
        }
    }
}

pub(super) fn in_jwk_set(mistakes: &Mistakes, keys: &mut Vec<Value>) {
    if mistakes.make(Mistake::JwkSetWithDuplicateKid) {
        keys.extend(keys.clone());
    }
    if mistakes.make(Mistake::JwkSetWithSymmetricKey) {
        let kid = keys.last().and_then(|key| key.get("kid")).cloned();
        let secret = BASE64URL.encode([b'k'; 32]);
        keys.push(json!({ "kty": "oct", "alg": "HS256", "use": "sig", "kid": kid, "k": secret }));
    }
    if mistakes.make(Mistake::JwkSetEmpty) {
        keys.clear();
    }
}

/// Parameters of a callback, and whether they go into the query.
pub(super) fn in_callback(mistakes: &Mistakes, params: &mut Vec<(&str, String)>) -> char {
    let find = |params: &[(&str, String)], name: &str| params.iter().position(|(n, _)| *n == name);
    let missing = [
        (Mistake::MissingIssInCallback, "iss"),
        (Mistake::MissingStateInCallback, "state"),
        (Mistake::MissingCodeInCallback, "code"),
    ];
    let doubled = [
        (Mistake::DuplicateIssInCallback, "iss"),
        (Mistake::DuplicateStateInCallback, "state"),
        (Mistake::DuplicateCodeInCallback, "code"),
    ];
    if let Some((_, iss)) = params.iter_mut().find(|(name, _)| *name == "iss")
        && mistakes.make(Mistake::WrongIssInCallback)
    {
        *iss = STRANGER.to_owned();
    }
    if let Some((_, state)) = params.iter_mut().find(|(name, _)| *name == "state")
        && mistakes.make(Mistake::WrongStateInCallback)
    {
        *state = altered(state);
    }
    for (mistake, name) in doubled {
        if let Some(pair) = find(params, name).and_then(|at| params.get(at)).cloned()
            && mistakes.make(mistake)
        {
            params.push(pair);
        }
    }
    if find(params, "code").is_some() {
        if mistakes.make(Mistake::ErrorBesideCodeInCallback) {
            params.push(("error", "access_denied".to_owned()));
        }
        if mistakes.make(Mistake::TokenInCallback) {
            params.push(("access_token", "a-token-in-a-url".to_owned()));
            params.push(("token_type", "Bearer".to_owned()));
        }
    }
    for (mistake, name) in missing {
        if find(params, name).is_some() && mistakes.make(mistake) {
            params.retain(|(n, _)| *n != name);
        }
    }
    if mistakes.make(Mistake::FragmentInsteadOfQueryInCallback) {
        '#'
    } else {
        '?'
    }
}

/// Another text of the same length.
fn altered(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some('A') => format!("B{}", characters.as_str()),
        Some(_) => format!("A{}", characters.as_str()),
        None => String::new(),
    }
}

pub(super) fn in_push(mistakes: &Mistakes, answer: &mut Map<String, Value>) {
    if mistakes.make(Mistake::PushExpiresAtOnce) {
        answer.insert("expires_in".to_owned(), 0.into());
    }
    if mistakes.make(Mistake::RequestUriMissing) {
        answer.remove("request_uri");
    }
}

/// What is left of a token response.
pub(super) fn in_tokens(mistakes: &Mistakes, tokens: &mut Map<String, Value>) {
    let mut set = |mistake: Mistake, name: &str, value: Value| {
        if mistakes.make(mistake) {
            tokens.insert(name.to_owned(), value);
        }
    };
    set(Mistake::TokenTypeUnknown, "token_type", "mac".into());
    set(Mistake::ExpiresInAsString, "expires_in", "3600".into());
    set(Mistake::ExpiresInNegative, "expires_in", (-1).into());
    set(Mistake::ExpiresInHuge, "expires_in", (1_000_000 * YEAR).into());
    for (mistake, name) in [
        (Mistake::AccessTokenMissing, "access_token"),
        (Mistake::TokenTypeMissing, "token_type"),
        (Mistake::ExpiresInAbsent, "expires_in"),
        (Mistake::ScopeAbsent, "scope"),
    ] {
        if mistakes.make(mistake) {
            tokens.remove(name);
        }
    }
    if mistakes.make(Mistake::ErrorWithStatus200) {
        *tokens = Map::new();
        tokens.insert("error".to_owned(), "invalid_grant".into());
    }
}

/// Signs the claims of an ID token, or what mistakes make of them; `None` when there is to be none.
pub(super) fn sign_id_token(
    state: &State,
    grant: &Grant,
    mut claims: Map<String, Value>,
    is_refresh: bool,
) -> Result<Option<String>, KeyFailure> {
    let mistakes = &state.mistakes;
    if mistakes.make(Mistake::IdTokenMissing) {
        return Ok(None);
    }
    if mistakes.make(Mistake::IdTokenMalformed) {
        return Ok(Some("not.a-jwt".to_owned()));
    }
    in_claims(mistakes, grant, &mut claims, is_refresh);
    let crit = mistakes.make(Mistake::IdTokenCritUnknown);
    let kid_unknown = mistakes.make(Mistake::IdTokenKidUnknown);
    let kid_missing = mistakes.make(Mistake::IdTokenKidMissing);
    let token = state.keys().sign_with(&Value::Object(claims), |header| {
        if crit {
            header.insert("crit".to_owned(), json!(["urn:example:unknown"]));
            header.insert("urn:example:unknown".to_owned(), true.into());
        }
        if kid_unknown {
            header.insert("kid".to_owned(), "a-key-nobody-has".into());
        }
        if kid_missing {
            header.remove("kid");
        }
    })?;
    if mistakes.make(Mistake::IdTokenAlgNone) {
        return Ok(unsigned(&token));
    }
    if mistakes.make(Mistake::IdTokenSignatureBroken) {
        return Ok(with_broken_signature(&token));
    }
    Ok(Some(token))
}

fn in_claims(mistakes: &Mistakes, grant: &Grant, claims: &mut Map<String, Value>, is_refresh: bool) {
    let number =
        |claims: &Map<String, Value>, name: &str| claims.get(name).and_then(Value::as_i64).unwrap_or(0);
    let now = number(claims, "iat");
    let lifetime = number(claims, "exp") - now;
    let mut set = |mistake: Mistake, changes: &[(&str, Value)]| {
        if mistakes.make(mistake) {
            for (name, value) in changes {
                claims.insert((*name).to_owned(), value.clone());
            }
        }
    };
    set(Mistake::IdTokenIssuerWrong, &[("iss", STRANGER.into())]);
    set(Mistake::IdTokenAudienceWrong, &[("aud", "another-client".into())]);
    let client_id = grant.request.client_id.as_str();
    set(
        Mistake::IdTokenAudienceExtra,
        &[
            ("aud", json!([client_id, "another-client"])),
            ("azp", client_id.into()),
        ],
    );
    set(
        Mistake::IdTokenAuthorizedPartyWrong,
        &[("azp", "another-client".into())],
    );
    set(
        Mistake::IdTokenExpired,
        &[
            ("iat", (now - lifetime - 3600).into()),
            ("exp", (now - 3600).into()),
        ],
    );
    set(
        Mistake::IdTokenFromTheFuture,
        &[
            ("iat", (now + YEAR).into()),
            ("exp", (now + YEAR + lifetime).into()),
        ],
    );
    set(
        Mistake::AtHashWrong,
        &[("at_hash", BASE64URL.encode([0; 16]).into())],
    );
    set(Mistake::AuthTimeTooOld, &[("auth_time", (now - YEAR).into())]);
    if grant.request.acr_values.is_some() {
        set(Mistake::AcrWrong, &[("acr", "urn:example:something-else".into())]);
    }
    if is_refresh {
        set(
            Mistake::SubjectChangedOnRefresh,
            &[("sub", "someone-else".into())],
        );
        set(Mistake::AuthTimeChangedOnRefresh, &[("auth_time", now.into())]);
        set(
            Mistake::NonceWrongOnRefresh,
            &[("nonce", "a-nonce-nobody-sent".into())],
        );
    } else if grant.request.nonce.is_some() {
        set(Mistake::NonceWrong, &[("nonce", "a-nonce-nobody-sent".into())]);
        if mistakes.make(Mistake::NonceMissing) {
            claims.remove("nonce");
        }
    }
    if claims.contains_key("acr") && mistakes.make(Mistake::AcrIgnored) {
        claims.remove("acr");
    }
    for (mistake, name) in [
        (Mistake::IdTokenSubjectMissing, "sub"),
        (Mistake::AuthTimeMissing, "auth_time"),
    ] {
        if mistakes.make(mistake) {
            claims.remove(name);
        }
    }
}

pub(super) fn in_userinfo(mistakes: &Mistakes, claims: &mut Map<String, Value>, signed: bool) {
    let mut set = |mistake: Mistake, name: &str, value: &str| {
        if mistakes.make(mistake) {
            claims.insert(name.to_owned(), value.into());
        }
    };
    set(Mistake::UserinfoSubjectWrong, "sub", "someone-else");
    if signed {
        set(Mistake::UserinfoIssuerWrong, "iss", STRANGER);
        set(Mistake::UserinfoAudienceWrong, "aud", "another-client");
    }
    if mistakes.make(Mistake::UserinfoSubjectMissing) {
        claims.remove("sub");
    }
}

/// The same claims under `alg: none`, with the empty signature that goes with it (RFC 7515 appendix A.5).
pub(super) fn unsigned(token: &str) -> Option<String> {
    let payload = token.split('.').nth(1)?;
    let header = BASE64URL.encode(json!({ "alg": "none", "typ": "JWT" }).to_string());
    Some(format!("{header}.{payload}."))
}

fn with_broken_signature(token: &str) -> Option<String> {
    let (signed, signature) = token.rsplit_once('.')?;
    let mut bytes = BASE64URL.decode(signature).ok()?;
    let last = bytes.last_mut()?;
    *last ^= 1;
    Some(format!("{signed}.{}", BASE64URL.encode(bytes)))
}
