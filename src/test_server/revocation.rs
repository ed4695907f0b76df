//! The revocation endpoint of RFC 7009.

use super::State;
use super::http::{Request, Response};
use super::token::{client_form, required};
use hyper::StatusCode;

pub(super) const PATH: &str = "/revoke";

pub(super) fn revoke(state: &State, request: &Request) -> Response {
    let form = match client_form(request) {
        Ok(form) => form,
        Err(refusal) => return refusal.answer(),
    };
    match required(&form, "token") {
        Ok(token) => {
            // The hint is only a hint (§2.1), and a token unknown here is as good as revoked (§2.2).
            state.grants().revoke_token(token);
            Response::empty(StatusCode::OK).no_store()
        }
        Err(refusal) => refusal.answer(),
    }
}
