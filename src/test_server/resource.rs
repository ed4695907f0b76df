//! What access tokens are for: UserInfo (OpenID Connect Core §5.3) and a protected API (RFC 6750).

use super::State;
use super::grants::{Access, BrowserSession};
use super::http::{Request, Response, nothing_here};
use super::mistakes::{self, Mistake};
use super::params::Scope;
use hyper::{Method, StatusCode, header};
use serde_json::{Value, json};

pub(super) const USERINFO_PATH: &str = "/userinfo";
/// Of every API but the first.
pub(super) const API_METHODS: &[Method] = &[
    Method::GET,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];

/// Why a request gets nothing, as the challenge of RFC 6750 §3 says it.
enum Challenge {
    /// No credentials: no error either, so that the client does not think its token bad (§3.1).
    NoCredentials,
    InvalidRequest(&'static str),
    InvalidToken(&'static str),
    InsufficientScope(String),
    /// No challenge at all: the server has no key.
    ServerError,
}

/// In which form UserInfo answers (OpenID Connect Core §5.3.2).
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing_setup.rs"));
/// use gatepass::test_server::{TestServer, UserinfoFormat};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn Error>> {
///     let server = TestServer::builder().userinfo(UserinfoFormat::SignedJwt).start()?;
///     let client = client(&server)?;
///     let session = sign_in(&server, &client, &server.users()[0]).await?;
///     assert_eq!(session.userinfo().await?.get("name").unwrap(), server.users()[0].name());
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UserinfoFormat {
    /// A JSON object.
    #[default]
    Json,
    /// A JWT, signed as ID tokens are, of the media type `application/jwt`.
    SignedJwt,
}

/// Any token of an OpenID Connect sign-in opens UserInfo, whatever resource it is for: the issuer asks itself.
pub(super) fn userinfo(state: &State, request: &Request) -> Response {
    let access = access(state, request).and_then(|access| {
        if access.scope.contains("openid") {
            Ok(access)
        } else {
            Err(Challenge::InsufficientScope("openid".to_owned()))
        }
    });
    match access.and_then(|access| userinfo_answer(state, &access)) {
        Ok(answer) => answer.no_store(),
        Err(challenge) => refuse(&challenge),
    }
}

fn userinfo_answer(state: &State, access: &Access) -> Result<Response, Challenge> {
    let mut claims = claims(&access.scope, &access.session);
    let signed = state.userinfo_format() == UserinfoFormat::SignedJwt;
    if let Some(members) = claims.as_object_mut() {
        if signed {
            // Both SHOULD be there (OpenID Connect Core §5.3.2), so that clients can check them.
            members.insert("iss".to_owned(), state.issuer.as_str().into());
            members.insert("aud".to_owned(), access.client_id.as_str().into());
        }
        mistakes::in_userinfo(&state.mistakes, members, signed);
    }
    if !signed {
        return Ok(Response::json(StatusCode::OK, &claims));
    }
    let mut token = state.keys().sign(&claims).ok();
    if state.mistakes.make(Mistake::UserinfoAlgNone) {
        token = token.and_then(|token| mistakes::unsigned(&token));
    }
    let token = token.ok_or(Challenge::ServerError)?;
    Ok(Response {
        body: token.into_bytes(),
        ..Response::empty(StatusCode::OK)
    }
    .with(header::CONTENT_TYPE, "application/jwt"))
}

/// A protected API: the token must be for its audience (RFC 8707 §3) and have its scope.
pub(super) fn api(state: &State, request: &Request) -> Response {
    let Some(api) = state.apis().at(&request.path).cloned() else {
        return nothing_here();
    };
    let allowed = access(state, request).and_then(|access| {
        if !access.audience.contains(&api.audience) {
            return Err(Challenge::InvalidToken(
                "The access token is for another resource.",
            ));
        }
        match api.scope {
            Some(needed) if !needed.is_within(&access.scope) => {
                Err(Challenge::InsufficientScope(needed.to_string()))
            }
            _ => Ok(access),
        }
    });
    match allowed {
        Ok(access) => {
            let mut answer = claims(&access.scope, &access.session);
            if let Some(members) = answer.as_object_mut() {
                members.insert("aud".to_owned(), access.audience.into());
                members.insert("scope".to_owned(), access.scope.to_string().into());
                members.insert("client_id".to_owned(), access.client_id.into());
            }
            Response::json(StatusCode::OK, &answer).no_store()
        }
        Err(challenge) => refuse(&challenge),
    }
}

fn access(state: &State, request: &Request) -> Result<Access, Challenge> {
    let token = bearer(request)?;
    state
        .grants()
        .access(token, state.now())
        .ok_or(Challenge::InvalidToken(
            "The access token is unknown, expired or revoked.",
        ))
}

/// The token of the `Authorization` header: the only place that counts here (OAuth 2.1 §5.1).
fn bearer(request: &Request) -> Result<&str, Challenge> {
    let mut fields = request.headers.get_all(header::AUTHORIZATION).iter();
    let Some(field) = fields.next() else {
        return Err(Challenge::NoCredentials);
    };
    if fields.next().is_some() {
        return Err(Challenge::InvalidRequest(
            "More than one Authorization header was sent.",
        ));
    }
    let field = field.to_str().unwrap_or_default();
    let (scheme, token) = field.split_once(' ').unwrap_or((field, ""));
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(Challenge::NoCredentials);
    }
    let sent_twice = [request.query_params(), request.form_params()]
        .iter()
        .flatten()
        .any(|params| params.get("access_token").is_some());
    if sent_twice {
        return Err(Challenge::InvalidRequest(
            "The token was sent in more than one place.",
        ));
    }
    // b64token of §2.1.
    let body = token.trim_end_matches('=');
    if body.is_empty()
        || !body
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
    {
        return Err(Challenge::InvalidRequest("The token is not well-formed."));
    }
    Ok(token)
}

fn claims(scope: &Scope, session: &BrowserSession) -> Value {
    let user = &session.user;
    let mut claims = json!({ "sub": user.subject() });
    if let Some(claims) = claims.as_object_mut() {
        if scope.contains("profile") {
            claims.insert("name".to_owned(), user.name().into());
            claims.insert("preferred_username".to_owned(), user.username().into());
        }
        if scope.contains("email") {
            claims.insert("email".to_owned(), user.email().into());
            claims.insert("email_verified".to_owned(), true.into());
        }
    }
    claims
}

fn refuse(challenge: &Challenge) -> Response {
    let realm = "Bearer realm=\"gatepass-test\"";
    let (status, text) = match challenge {
        Challenge::ServerError => return Response::empty(StatusCode::INTERNAL_SERVER_ERROR).no_store(),
        Challenge::NoCredentials => (StatusCode::UNAUTHORIZED, realm.to_owned()),
        Challenge::InvalidRequest(why) => (
            StatusCode::BAD_REQUEST,
            format!("{realm}, error=\"invalid_request\", error_description=\"{why}\""),
        ),
        Challenge::InvalidToken(why) => (
            StatusCode::UNAUTHORIZED,
            format!("{realm}, error=\"invalid_token\", error_description=\"{why}\""),
        ),
        Challenge::InsufficientScope(scope) => (
            StatusCode::FORBIDDEN,
            format!("{realm}, error=\"insufficient_scope\", scope=\"{scope}\""),
        ),
    };
    Response::empty(status)
        .with(header::WWW_AUTHENTICATE, text)
        .no_store()
}
