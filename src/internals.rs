//! Doors to the pure functions that our own benchmarks measure, and to the files that our simulator runs on a disk of its
//! own (feature `internals`).
//!
//! No part of the API: names and behaviour change without notice. Each door calls the very function that a sign-in
//! calls, with what a sign-in would have at hand by then.

use ::http::{HeaderMap, StatusCode};

use crate::error::{Error, Result, Stage};
use crate::ports::Clock;
use crate::protocol::authorization::{AuthorizationRequest, RequestSecrets, SignInOptions};
use crate::protocol::callback::{AuthorizationCode, Callback, Expected, ValidatedCallback};
use crate::protocol::endpoint::{AllowHttpOnLoopback, TransportPolicy};
use crate::protocol::id_token::{self, Claims, Occasion, Refused};
use crate::protocol::issuer::Issuer;
use crate::protocol::jwk::JwkSet;
use crate::protocol::metadata::AuthorizationServer;
use crate::protocol::pkce::CodeChallenge;
use crate::protocol::redirect::RedirectUri;
use crate::protocol::scope::Scope;
use crate::protocol::token::{AccessToken, IdToken, TokenAnswer, TokenResponse};
use crate::secret::Secret;
use crate::session::record::SessionRecord;
use crate::session::snapshot::Published;

#[cfg(feature = "encrypted-file")]
pub use crate::adapters::directory::{Directory, NewFile};

/// The records that [`EncryptedFileStorage`](crate::EncryptedFileStorage) seals, without the seal, in a directory of any
/// kind.
#[cfg(feature = "encrypted-file")]
#[must_use]
pub fn file_storage(directory: Box<dyn Directory>) -> std::sync::Arc<dyn crate::ports::SecureStorage> {
    std::sync::Arc::new(crate::adapters::file_storage::FileStorage::over(directory))
}

const POLICY: TransportPolicy = TransportPolicy {
    http_on_loopback: Some(AllowHttpOnLoopback),
};

/// A client at a server, as far as the pure functions are concerned.
#[derive(Debug)]
pub struct Door {
    issuer: Issuer,
    server: AuthorizationServer,
    client_id: String,
    redirect: RedirectUri,
    scope: Scope,
    options: SignInOptions,
}

/// What a browser is to be sent with, and what is kept for its return.
#[derive(Debug)]
pub struct Request {
    /// The URL to open.
    pub url: String,
    secrets: RequestSecrets,
}

impl Request {
    /// What the redirect has to bring back.
    #[must_use]
    pub fn state(&self) -> &str {
        self.secrets.state.as_str()
    }
}

/// A code of a callback that was validated.
#[derive(Debug)]
pub struct Code(ValidatedCallback);

impl Code {
    /// The code.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.code().expose()
    }
}

/// The tokens of an answer.
#[derive(Debug)]
pub struct Tokens(TokenResponse);

impl Tokens {
    /// Access, refresh and ID token.
    #[must_use]
    pub fn expose(&self) -> (&str, Option<&str>, Option<&str>) {
        (
            self.0.access_token.expose(),
            self.0.refresh_token.as_ref().map(|token| token.expose()),
            self.0.id_token.as_ref().map(|token| token.expose()),
        )
    }
}

/// An ID token, and everything that it is held against.
#[derive(Debug)]
pub struct IdTokenDoor<'a> {
    door: &'a Door,
    keys: JwkSet,
    token: IdToken,
    nonce: Secret,
    code: AuthorizationCode,
    access_token: AccessToken,
    now: i64,
}

impl Door {
    /// # Errors
    /// If anything of it is malformed.
    pub fn new(
        issuer: &str,
        metadata: &[u8],
        client_id: &str,
        redirect: &str,
        scope: &[&str],
    ) -> Result<Self> {
        let issuer = Issuer::parse(issuer, POLICY)?;
        Ok(Self {
            server: AuthorizationServer::parse(metadata, &issuer, POLICY)?,
            issuer,
            client_id: client_id.to_owned(),
            redirect: RedirectUri::parse(redirect)?,
            scope: Scope::from_tokens(scope)?,
            options: SignInOptions::default(),
        })
    }

    /// State, nonce and PKCE verifier from the operating system's random source, and the authorization URL.
    ///
    /// # Errors
    /// If the operating system gives no random numbers.
    pub fn authorization_url(&self) -> Result<Request> {
        let mut octets = [[0; 32]; 3];
        getrandom::fill(octets.as_flattened_mut())
            .map_err(|error| Error::internal(Stage::AuthorizationRequest, error.to_string()))?;
        self.authorization_url_from(&octets)
    }

    /// The same from octets that are given.
    ///
    /// # Errors
    /// If the options are wrong.
    pub fn authorization_url_from(&self, octets: &[[u8; 32]; 3]) -> Result<Request> {
        let secrets = RequestSecrets::from_octets(octets);
        let url = AuthorizationRequest {
            server: &self.server,
            client_id: &self.client_id,
            redirect: &self.redirect,
            scope: &self.scope,
            state: secrets.state.as_str(),
            nonce: secrets.nonce.as_str(),
            challenge: &CodeChallenge::of(secrets.verifier.as_str()),
            options: &self.options,
            id_token_hint: None,
        }
        .to_url()?;
        Ok(Request { url, secrets })
    }

    /// Reads a callback URL, looks at its state as one who looks up the sign-in, and validates it. Gives the code.
    ///
    /// # Errors
    /// If it is no callback, or not the one of this state.
    pub fn check_callback(&self, url: &str, state: &Secret) -> Result<Code> {
        let callback = Callback::parse(url)?;
        callback.state()?;
        let expected = Expected {
            redirect: &self.redirect,
            state,
            issuer: &self.issuer,
            iss_required: self.server.sends_iss(),
        };
        let valid = callback.validate(&expected).map_err(|refusal| refusal.error)?;
        Ok(Code(valid))
    }

    /// An ID token with what [`verify`](IdTokenDoor::verify) holds it against. `now` is in seconds since 1970.
    ///
    /// # Errors
    /// If the key set is malformed.
    pub fn id_token(
        &self,
        token: &str,
        keys: &[u8],
        nonce: &str,
        code: &str,
        access_token: &str,
        now: i64,
    ) -> Result<IdTokenDoor<'_>> {
        Ok(IdTokenDoor {
            door: self,
            keys: JwkSet::parse(keys)?,
            token: IdToken::new(token.to_owned()),
            nonce: Secret::new(nonce.to_owned()),
            code: AuthorizationCode::new(code.to_owned()),
            access_token: AccessToken::new(access_token.to_owned()),
            now,
        })
    }
}

impl IdTokenDoor<'_> {
    /// Verifies signature and claims of the ID token of a sign-in.
    ///
    /// # Errors
    /// If the token does not hold.
    pub fn verify(&self) -> Result<Claims> {
        let expected = id_token::Expected {
            issuer: &self.door.issuer,
            client_id: &self.door.client_id,
            algorithms: self.door.server.id_token_algorithms(),
            access_token: &self.access_token,
            now: self.now,
            occasion: Occasion::SignIn {
                nonce: &self.nonce,
                code: &self.code,
                max_age: None,
                acr_values: &[],
            },
        };
        id_token::verify(&self.token, &self.keys, &expected).map_err(Refused::into_error)
    }
}

/// Reads a good answer of the token endpoint.
///
/// # Errors
/// If the answer gives no tokens.
pub fn read_tokens(headers: &HeaderMap, body: &[u8], sent: &[&str]) -> Result<Tokens> {
    match TokenAnswer::read(StatusCode::OK, headers, body, Stage::TokenExchange, sent) {
        TokenAnswer::Granted(tokens) => Ok(Tokens(tokens)),
        TokenAnswer::Unusable { error, .. }
        | TokenAnswer::GrantRefused(error)
        | TokenAnswer::Rejected(error)
        | TokenAnswer::Unknown(error) => Err(error),
    }
}

/// A session of which only the token in memory is there.
#[derive(Debug)]
pub struct TokenDoor {
    published: Published,
    clock: Noon,
}

/// It is always the same time: what a clock takes is not ours.
#[derive(Debug)]
struct Noon;

#[async_trait::async_trait]
impl Clock for Noon {
    fn unix_millis(&self) -> i64 {
        1_893_499_200_000
    }

    fn boot_millis(&self) -> u64 {
        60_000
    }

    fn boot_id(&self) -> Option<String> {
        None
    }

    async fn sleep_until(&self, _: u64) {}
}

impl TokenDoor {
    /// With a token that stays good.
    #[must_use]
    #[allow(clippy::new_without_default, reason = "nobody asks for one")]
    pub fn new() -> Self {
        let record = r#"{"v":1,"epoch":1,"generation":1,"access_token":"gV7mXq2ZbTn4Rw9cKd1s"}"#;
        let published = Published::default();
        if let Ok(record) = SessionRecord::decode(record.as_bytes()) {
            published.store(&record, &Noon);
        }
        Self {
            published,
            clock: Noon,
        }
    }

    /// Reads the token, as `Session::peek_with` does.
    #[must_use]
    pub fn length(&self) -> Option<usize> {
        self.published
            .with_usable(1, &self.clock, |token| token.expose().len())
    }
}
