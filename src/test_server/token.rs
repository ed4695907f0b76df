//! The token endpoint: RFC 6749 §4.1.3, §5 and §6, RFC 7636 §4.6, OpenID Connect Core §3.1.3 and §12.

use super::State;
use super::apis::is_resource;
use super::grants::{Grant, GrantId, Grants, Refused};
use super::http::{Request, Response};
use super::keys::{KeyFailure, left_half_hash};
use super::mistakes::{self, Mistake};
use super::params::{Params, Scope};
use super::registration::TestClient;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use hyper::StatusCode;
use hyper::header;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub(super) const PATH: &str = "/token";
const ID_TOKEN_LIFETIME: i64 = 3600;

/// An error answer of RFC 6749 §5.2.
pub(super) struct Refusal {
    status: StatusCode,
    code: &'static str,
    description: String,
}

impl Refusal {
    pub(super) fn new(code: &'static str, description: impl Into<String>) -> Refusal {
        Refusal {
            status: StatusCode::BAD_REQUEST,
            code,
            description: description.into(),
        }
    }

    fn client(description: &str) -> Refusal {
        Refusal {
            status: StatusCode::UNAUTHORIZED,
            ..Refusal::new("invalid_client", description)
        }
    }

    pub(super) fn answer(self) -> Response {
        let body = json!({ "error": self.code, "error_description": self.description });
        let answer = Response::json(self.status, &body).no_store();
        if self.status == StatusCode::UNAUTHORIZED {
            return answer.with(header::WWW_AUTHENTICATE, "Basic realm=\"gatepass-test\"");
        }
        answer
    }
}

impl From<KeyFailure> for Refusal {
    fn from(_: KeyFailure) -> Refusal {
        Refusal {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            ..Refusal::new("server_error", "No randomness, or no key.")
        }
    }
}

pub(super) fn token(state: &State, request: &Request) -> Response {
    match grant(state, request) {
        Ok(mut tokens) => {
            mistakes::in_tokens(&state.mistakes, &mut tokens);
            Response::json(StatusCode::OK, &tokens.into()).no_store()
        }
        Err(refusal) => refusal.answer(),
    }
}

fn grant(state: &State, request: &Request) -> Result<Map<String, Value>, Refusal> {
    let (form, client) = client_form(state, request)?;
    match required(&form, "grant_type")? {
        "authorization_code" => redeem_code(state, &form, client),
        "refresh_token" => refresh(state, &form, client),
        _ => Err(Refusal::new(
            "unsupported_grant_type",
            "Known are authorization_code and refresh_token.",
        )),
    }
}

/// The form of a public client that identifies itself by `client_id` and nothing else (RFC 6749 §3.2.1).
pub(super) fn client_form<'a>(
    state: &'a State,
    request: &Request,
) -> Result<(Params, &'a TestClient), Refusal> {
    if request.query_params().is_none_or(|query| !query.is_empty()) {
        // Parameters in the URI end up in logs (RFC 6749 §2.3.1).
        return Err(Refusal::new(
            "invalid_request",
            "Parameters belong into the body, not the URI.",
        ));
    }
    let form = request
        .form_params()
        .ok_or_else(|| Refusal::new("invalid_request", "The body is not a well-formed form."))?;
    if form.has_repeated() {
        return Err(Refusal::new(
            "invalid_request",
            "A parameter was sent more than once.",
        ));
    }
    let authenticates = ["client_secret", "client_assertion", "client_assertion_type"];
    if request.headers.contains_key(header::AUTHORIZATION)
        || authenticates.iter().any(|name| form.get(name).is_some())
    {
        return Err(Refusal::client(
            "This client is public: its authentication method is none.",
        ));
    }
    let client = state
        .client(required(&form, "client_id")?)
        .ok_or_else(|| Refusal::client("No such client is registered here."))?;
    Ok((form, client))
}

pub(super) fn required<'a>(form: &'a Params, name: &str) -> Result<&'a str, Refusal> {
    form.get(name)
        .ok_or_else(|| Refusal::new("invalid_request", format!("{name} is missing.")))
}

fn redeem_code(state: &State, form: &Params, client: &TestClient) -> Result<Map<String, Value>, Refusal> {
    let code = required(form, "code")?;
    let now = state.now();
    let mut grants = state.grants();
    let (id, grant) = grants
        .present_code(code, client.client_id(), now)
        .map_err(|why| invalid_grant("The code was", why))?;
    let redirect_uri = required(form, "redirect_uri")?;
    let verifier = required(form, "code_verifier")?;
    if redirect_uri != grant.request.redirect_uri {
        return Err(Refusal::new(
            "invalid_grant",
            "redirect_uri is not the one the code was sent to.",
        ));
    }
    if !is_verifier(verifier) {
        return Err(Refusal::new(
            "invalid_request",
            "code_verifier is not well-formed.",
        ));
    }
    let challenge = BASE64URL.encode(Sha256::digest(verifier));
    if !bool::from(
        challenge
            .as_bytes()
            .ct_eq(grant.request.code_challenge.as_bytes()),
    ) {
        return Err(Refusal::new(
            "invalid_grant",
            "code_verifier does not fit the code_challenge.",
        ));
    }
    let audience = audience(state, form, &grant)?;
    let scope = narrowed(state, grant.request.scope.clone());
    let mut tokens = access_token(&mut grants, id, &scope, audience, now)?;
    if scope.contains("openid") {
        add_id_token(state, &mut tokens, &grant, false, now)?;
    }
    if scope.contains("offline_access") && keeps_refresh_token(state, &mut tokens) {
        tokens.insert(
            "refresh_token".to_owned(),
            grants.issue_refresh_token(id, now)?.into(),
        );
    }
    grants.spend_code(code);
    Ok(tokens)
}

fn refresh(state: &State, form: &Params, client: &TestClient) -> Result<Map<String, Value>, Refusal> {
    let token = required(form, "refresh_token")?;
    let now = state.now();
    let mut grants = state.grants();
    let (id, grant) = grants
        .present_refresh_token(token, client.client_id(), now)
        .map_err(|why| invalid_grant("The refresh token was", why))?;
    // Everything that can be refused is refused before the token is used up.
    let granted = &grant.request.scope;
    let scope = match form.get("scope") {
        None => granted.clone(),
        Some(text) => Scope::parse(text)
            .filter(|scope| scope.is_within(granted))
            .ok_or_else(|| Refusal::new("invalid_scope", "The scope exceeds what was granted."))?,
    };
    let audience = audience(state, form, &grant)?;
    let scope = narrowed(state, scope);
    let mut tokens = access_token(&mut grants, id, &scope, audience, now)?;
    if scope.contains("openid") {
        add_id_token(state, &mut tokens, &grant, true, now)?;
    }
    if grants.rotates()
        && keeps_refresh_token(state, &mut tokens)
        && let Some(next) = grants.rotate(token, now)?
    {
        tokens.insert("refresh_token".to_owned(), next.into());
    }
    Ok(tokens)
}

/// Whether the answer has a refresh token; if it is to have an empty one, puts it there.
fn keeps_refresh_token(state: &State, tokens: &mut Map<String, Value>) -> bool {
    if state.mistakes.make(Mistake::RefreshTokenEmpty) {
        tokens.insert("refresh_token".to_owned(), "".into());
        return false;
    }
    !state.mistakes.make(Mistake::RefreshTokenOmitted)
}

/// What is granted of what could be.
fn narrowed(state: &State, mut scope: Scope) -> Scope {
    let keep = ["openid", "offline_access"];
    if scope.tokens().any(|token| !keep.contains(&token)) && state.mistakes.make(Mistake::ScopeNarrowed) {
        scope.retain(|token| keep.contains(&token));
    }
    scope
}

pub(super) fn invalid_grant(what: &str, why: Refused) -> Refusal {
    Refusal::new("invalid_grant", format!("{what} {}.", why.describe()))
}

/// RFC 7636 §4.1.
fn is_verifier(verifier: &str) -> bool {
    (43..=128).contains(&verifier.len())
        && verifier
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// What an access token is for: the resources this request names, else those of the authorization request, else the
/// issuer. A token request may name only resources the authorization request named, if it named any (RFC 8707 §2.2).
fn audience(state: &State, form: &Params, grant: &Grant) -> Result<Vec<String>, Refusal> {
    let asked = resources(state, form).map_err(|why| Refusal::new("invalid_target", why))?;
    let granted = &grant.request.resources;
    if !granted.is_empty() && asked.iter().any(|resource| !granted.contains(resource)) {
        return Err(Refusal::new(
            "invalid_target",
            "This resource was not part of the grant.",
        ));
    }
    Ok(if !asked.is_empty() {
        asked
    } else if !granted.is_empty() {
        granted.clone()
    } else {
        vec![state.issuer.clone()]
    })
}

/// The `resource` parameters of a request (RFC 8707 §2), each a resource this server issues tokens for.
pub(super) fn resources(state: &State, params: &Params) -> Result<Vec<String>, &'static str> {
    let apis = state.apis();
    params
        .all("resource")
        .map(|text| {
            if !is_resource(text) {
                Err("resource must be an absolute URI without a fragment.")
            } else if !apis.knows(text) {
                Err("This server issues no tokens for this resource.")
            } else {
                Ok(text.to_owned())
            }
        })
        .collect()
}

fn access_token(
    grants: &mut Grants,
    id: GrantId,
    scope: &Scope,
    audience: Vec<String>,
    now: i64,
) -> Result<Map<String, Value>, KeyFailure> {
    let lifetime = grants.lifetimes().access_token;
    let mut tokens = Map::new();
    tokens.insert(
        "access_token".to_owned(),
        grants
            .issue_access_token(id, scope.clone(), audience, now)?
            .into(),
    );
    tokens.insert("token_type".to_owned(), "Bearer".into());
    tokens.insert("expires_in".to_owned(), lifetime.as_secs().into());
    tokens.insert("scope".to_owned(), scope.to_string().into());
    Ok(tokens)
}

fn add_id_token(
    state: &State,
    tokens: &mut Map<String, Value>,
    grant: &Grant,
    is_refresh: bool,
    now: i64,
) -> Result<(), KeyFailure> {
    let access_token = tokens
        .get("access_token")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let issued_at = now.div_euclid(1000);
    let mut claims = Map::new();
    let mut claim = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    claim("iss", state.issuer.as_str().into());
    claim("sub", grant.session.user.subject().into());
    claim("aud", grant.request.client_id.as_str().into());
    claim("exp", (issued_at + ID_TOKEN_LIFETIME).into());
    claim("iat", issued_at.into());
    claim("auth_time", grant.session.signed_in_at.div_euclid(1000).into());
    claim("at_hash", left_half_hash(access_token).into());
    // A password is all there is; whichever of the asked-for classes comes first, this server calls it that.
    let acr = grant
        .request
        .acr_values
        .as_deref()
        .and_then(|asked| asked.split(' ').next());
    if let Some(acr) = acr {
        claim("acr", acr.into());
    }
    // The nonce belongs to the sign-in, not to a refresh (OpenID Connect Core §12.2).
    if let Some(nonce) = grant.request.nonce.as_deref().filter(|_| !is_refresh) {
        claim("nonce", nonce.into());
    }
    if let Some(id_token) = mistakes::sign_id_token(state, grant, claims, is_refresh)? {
        tokens.insert("id_token".to_owned(), id_token.into());
    }
    Ok(())
}
