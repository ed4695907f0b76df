//! The end session endpoint of OpenID Connect RP-Initiated Logout 1.0.
//!
//! It ends the session of the browser and nothing else: tokens of the app live on until they are revoked.

use super::State;
use super::authorize::redirect;
use super::grants::SignOutRequest;
use super::http::{Request, Response};
use super::login_page;
use super::params::with_query;
use super::registration::TestClient;
use hyper::header;

pub(super) const PATH: &str = "/end_session";
pub(super) const CONFIRM_PATH: &str = "/end_session/confirm";

pub(super) fn end_session(state: &State, request: &Request) -> Response {
    let Some(params) = request.params().filter(|params| !params.has_repeated()) else {
        return login_page::error("The parameters are not well-formed.");
    };
    let hinted = match params.get("id_token_hint") {
        None => None,
        Some(hint) => match state.hint(hint) {
            Some(hint) => Some(hint),
            None => return login_page::error("id_token_hint is not an ID token of this server."),
        },
    };
    let named = match params.get("client_id") {
        None => None,
        Some(client_id) => match state.client(client_id) {
            Some(client) => Some(client),
            None => return login_page::error("No such client is registered here."),
        },
    };
    // A client_id beside a hint must be that of its audience (§2).
    if let (Some(hint), Some(named)) = (&hinted, named)
        && hint.client != named
    {
        return login_page::error("client_id is not the client that id_token_hint was issued to.");
    }
    let client: Option<&TestClient> = named.or(hinted.as_ref().map(|hint| hint.client));
    let redirect_to = match (params.get("post_logout_redirect_uri"), client) {
        (None, _) => None,
        // Without either it is not known whose registration counts (§3).
        (Some(_), None) => {
            return login_page::error("post_logout_redirect_uri needs an id_token_hint or a client_id.");
        }
        (Some(uri), Some(client)) if !client.is_post_logout_redirect_uri(uri) => {
            return login_page::error("This post_logout_redirect_uri is not registered for this client.");
        }
        (Some(uri), Some(_)) => Some(with_query(uri, &[("state", params.get("state"))])),
    };
    let hinted = hinted.map(|hint| hint.subject);
    let now = state.now();
    let session = request
        .cookie(&state.cookie_name())
        .and_then(|cookie| state.grants().session(cookie, now));
    match session {
        // Any page could link here, so without a hint of this very user they are asked (§2).
        Some(session) if hinted.as_deref() != Some(session.user.subject()) => {
            let asked = SignOutRequest {
                redirect_to: redirect_to.clone(),
            };
            match state.grants().ask_sign_out(asked, now) {
                Ok(page) => login_page::confirm_sign_out(&page, &session.user, redirect_to.as_deref()),
                Err(_) => login_page::error("The server has no randomness."),
            }
        }
        _ => signed_out(state, request, redirect_to),
    }
}

/// What the person answered.
pub(super) fn confirm(state: &State, request: &Request) -> Response {
    let Some(form) = request.form_params().filter(|form| !form.has_repeated()) else {
        return login_page::error("The form is not well-formed.");
    };
    let asked = state
        .grants()
        .take_sign_out(form.get("page").unwrap_or_default(), state.now());
    match (asked, form.get("action")) {
        (None, _) => login_page::error("This page is too old or was already answered."),
        (Some(asked), Some("sign-out")) => signed_out(state, request, asked.redirect_to),
        (Some(_), _) => {
            login_page::notice("Still signed in", "Nothing was changed. You can close this page.")
        }
    }
}

fn signed_out(state: &State, request: &Request, redirect_to: Option<String>) -> Response {
    let name = state.cookie_name();
    if let Some(cookie) = request.cookie(&name) {
        state.grants().close_session(cookie);
    }
    match redirect_to {
        Some(uri) => redirect(&uri),
        None => login_page::notice("Signed out", "You are signed out. You can close this page."),
    }
    .with(
        header::SET_COOKIE,
        format!("{name}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"),
    )
}
