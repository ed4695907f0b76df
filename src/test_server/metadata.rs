//! What the server says about itself: RFC 8414, OpenID Connect Discovery, and its keys.

use super::http::{Request, Response};
use super::par::{self, Par};
use super::resource::UserinfoFormat;
use super::{State, authorize, mistakes, resource, revocation, sign_out, token};
use hyper::StatusCode;
use hyper::header;
use serde_json::json;

pub(super) const OPENID_PATH: &str = "/.well-known/openid-configuration";
pub(super) const OAUTH_PATH: &str = "/.well-known/oauth-authorization-server";
pub(super) const JWKS_PATH: &str = "/jwks";

pub(super) fn metadata(state: &State, _: &Request) -> Response {
    let at = |path: &str| format!("{}{path}", state.issuer);
    let algorithm = state.keys().algorithm().name();
    // OpenID Connect Discovery §3 wants RS256 listed by every server, whatever it uses for this client.
    let algorithms = if algorithm == "RS256" {
        vec!["RS256"]
    } else {
        vec![algorithm, "RS256"]
    };
    let scopes = authorize::scopes(state);
    let mut metadata = json!({
        "issuer": state.issuer,
        "authorization_endpoint": at(authorize::PATH),
        "token_endpoint": at(token::PATH),
        "userinfo_endpoint": at(resource::USERINFO_PATH),
        "jwks_uri": at(JWKS_PATH),
        "revocation_endpoint": at(revocation::PATH),
        "end_session_endpoint": at(sign_out::PATH),
        "scopes_supported": scopes,
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "code_challenge_methods_supported": ["S256"],
        "prompt_values_supported": authorize::PROMPTS,
        "claims_supported": [
            "iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "at_hash", "acr",
            "name", "preferred_username", "email", "email_verified",
        ],
        "authorization_response_iss_parameter_supported": true,
        "claims_parameter_supported": false,
        "request_parameter_supported": false,
        // True where absent (OpenID Connect Discovery §3).
        "request_uri_parameter_supported": false,
    });
    if let Some(members) = metadata.as_object_mut() {
        if state.par != Par::Off {
            // RFC 9126 §5.
            members.insert(
                "pushed_authorization_request_endpoint".to_owned(),
                at(par::PATH).into(),
            );
            members.insert(
                "require_pushed_authorization_requests".to_owned(),
                (state.par == Par::Required).into(),
            );
        }
        if state.userinfo_format() == UserinfoFormat::SignedJwt {
            members.insert(
                "userinfo_signing_alg_values_supported".to_owned(),
                json!([algorithm]),
            );
        }
        mistakes::in_metadata(&state.mistakes, members, &state.issuer);
    }
    Response::json(StatusCode::OK, &metadata).with(header::CACHE_CONTROL, "max-age=300")
}

pub(super) fn jwk_set(state: &State, _: &Request) -> Response {
    match state.keys().published() {
        Ok(mut keys) => {
            mistakes::in_jwk_set(&state.mistakes, &mut keys);
            Response::json(StatusCode::OK, &json!({ "keys": keys }))
                .with(header::CACHE_CONTROL, "max-age=300")
        }
        Err(_) => Response::text(StatusCode::INTERNAL_SERVER_ERROR, "No key could be made."),
    }
}
