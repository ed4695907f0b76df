//! The revocation endpoint of RFC 7009.

use super::State;
use super::http::{Request, Response};
use super::token::{Refusal, client_form, invalid_grant, required};
use hyper::StatusCode;

pub(super) const PATH: &str = "/revoke";

pub(super) fn revoke(state: &State, request: &Request) -> Response {
    match revoked(state, request) {
        Ok(()) => Response::empty(StatusCode::OK).no_store(),
        Err(refusal) => refusal.answer(),
    }
}

fn revoked(state: &State, request: &Request) -> Result<(), Refusal> {
    let (form, client) = client_form(state, request)?;
    // The hint is only a hint (§2.1).
    let token = required(&form, "token")?;
    state
        .grants()
        .revoke_token(token, client.client_id())
        .map_err(|why| invalid_grant("The token was", why))
}
