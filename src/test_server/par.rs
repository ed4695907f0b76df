//! Pushed authorization requests: RFC 9126.

use super::State;
use super::authorize;
use super::http::{Request, Response};
use super::mistakes::{self, Mistake};
use super::token::{Refusal, client_form};
use hyper::StatusCode;
use serde_json::Map;

pub(super) const PATH: &str = "/par";
/// What every `request_uri` of this endpoint begins with (RFC 9126 §2.2).
pub(super) const URN: &str = "urn:ietf:params:oauth:request_uri:";

/// Whether authorization requests are pushed to the server before the browser opens (RFC 9126).
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/testing_setup.rs"));
/// use gatepass::test_server::{Par, TestServer};
///
/// #[tokio::main(flavor = "current_thread")]
/// async fn main() -> Result<(), Box<dyn Error>> {
///     let server = TestServer::builder().par(Par::Required).start()?;
///     let pending = client(&server)?.begin_sign_in(SignInOptions::default()).await?;
///     // What the browser carries is a reference.
///     assert!(pending.authorization_url().contains("request_uri="));
///     assert!(!pending.authorization_url().contains("state="));
///     # pending.cancel();
///     Ok(())
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Par {
    /// There is no such endpoint.
    #[default]
    Off,
    /// The metadata names the endpoint; plain authorization requests are good, too.
    Offered,
    /// The metadata demands it, and a plain authorization request is refused (§5).
    Required,
}

pub(super) fn push(state: &State, request: &Request) -> Response {
    match pushed(state, request) {
        Ok(request_uri) => {
            let mut answer = Map::new();
            let lifetime = state.grants().lifetimes().pushed_request.as_secs();
            answer.insert("request_uri".to_owned(), request_uri.into());
            answer.insert("expires_in".to_owned(), lifetime.into());
            mistakes::in_push(&state.mistakes, &mut answer);
            let status = if state.mistakes.make(Mistake::PushAnsweredWith200) {
                StatusCode::OK
            } else {
                StatusCode::CREATED
            };
            Response::json(status, &answer.into()).no_store()
        }
        Err(refusal) => refusal.answer(),
    }
}

fn pushed(state: &State, request: &Request) -> Result<String, Refusal> {
    let (form, client) = client_form(state, request)?;
    // It would be a request that contains a request (§2.1).
    if form.has("request_uri") {
        return Err(Refusal::new(
            "invalid_request",
            "request_uri must not be part of a pushed request.",
        ));
    }
    let wanted = authorize::check_pushed(state, &form, client)?;
    let now = state.now();
    Ok(format!("{URN}{}", state.grants().push_request(wanted, now)?))
}
