//! The authorization endpoint: RFC 6749 §4.1.1, RFC 7636 §4.4, RFC 9207, RFC 9126 §4, OpenID Connect Core §3.1.2.

use super::State;
use super::grants::{AuthorizationRequest, BrowserSession, Interaction};
use super::http::{Request, Response};
use super::login_page;
use super::mistakes;
use super::par::{self, Par};
use super::params::{Params, Repeated, Scope, is_vschar, with_query};
use super::registration::TestClient;
use super::token;
use hyper::StatusCode;
use hyper::header;
use subtle::ConstantTimeEq;

pub(super) const PATH: &str = "/authorize";
pub(super) const SIGN_IN_PATH: &str = "/sign-in";
const SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];
pub(super) const PROMPTS: [&str; 4] = ["none", "login", "consent", "select_account"];

/// Where a request that names a registered redirect is answered, and with which `state`.
struct ReturnAddress<'a> {
    redirect_uri: &'a str,
    state: Option<&'a str>,
}

/// An error the app is told by a redirect (RFC 6749 §4.1.2.1).
struct Refusal(&'static str, &'static str);

impl From<Refusal> for token::Refusal {
    fn from(Refusal(code, description): Refusal) -> token::Refusal {
        token::Refusal::new(code, description)
    }
}

pub(super) fn authorize(state: &State, request: &Request) -> Response {
    let Some(params) = request.params() else {
        return login_page::error("The parameters are not well-formed.");
    };
    let client = match client(state, &params) {
        Ok(client) => client,
        Err(reason) => return login_page::error(reason),
    };
    let wanted = match pushed_reference(state, &params) {
        // Nothing else of this request counts (RFC 9126 §4, RFC 9101 §5).
        Some(reference) => {
            let now = state.now();
            let pushed = state.grants().take_pushed(reference, client.client_id(), now);
            match pushed {
                Some(wanted) => wanted,
                None => return login_page::error("request_uri is unknown, expired or was used before."),
            }
        }
        None => match return_address(&params, client) {
            Err(reason) => return login_page::error(reason),
            Ok(address) => match read_plain(state, &params, client, &address) {
                Ok(wanted) => wanted,
                Err(refusal) => return refuse(state, &address, &refusal),
            },
        },
    };
    ask(state, request, wanted)
}

/// Answers with a code if someone fitting is signed in, else with the page.
fn ask(state: &State, request: &Request, wanted: AuthorizationRequest) -> Response {
    let address = ReturnAddress {
        redirect_uri: &wanted.redirect_uri,
        state: wanted.state.as_deref(),
    };
    let now = state.now();
    let session = request
        .cookie(&state.cookie_name())
        .and_then(|cookie| state.grants().session(cookie, now));
    if let Some(session) = session.filter(|session| is_enough(session, &wanted, now)) {
        return answer_with_code(state, wanted, session);
    }
    if wanted.interaction.silent {
        let refusal = Refusal("login_required", "Nobody fitting is signed in with this browser.");
        return refuse(state, &address, &refusal);
    }
    let page = match state.grants().open_page(wanted.clone(), now) {
        Ok(page) => page,
        Err(_) => return refuse(state, &address, &Refusal("server_error", "No randomness.")),
    };
    login_page::sign_in(StatusCode::OK, &page, &wanted, &state.users, None, None)
}

/// The secret part of a `request_uri` that points to a pushed request.
fn pushed_reference<'a>(state: &State, params: &'a Params) -> Option<&'a str> {
    if state.par == Par::Off {
        return None;
    }
    params.once("request_uri").ok()??.strip_prefix(par::URN)
}

fn client<'a>(state: &'a State, params: &Params) -> Result<&'a TestClient, &'static str> {
    let client_id = params
        .once("client_id")
        .map_err(|Repeated| "client_id was sent more than once.")?;
    state
        .client(client_id.ok_or("client_id is missing.")?)
        .ok_or("No such client is registered here.")
}

/// Settles where an answer may go. Until client and redirect are known to belong together nothing is
/// redirected (RFC 6749 §4.1.2.1, RFC 9700 §4.11): a person reads the reason instead.
fn return_address<'a>(params: &'a Params, client: &TestClient) -> Result<ReturnAddress<'a>, &'static str> {
    let redirect_uri = params
        .once("redirect_uri")
        .map_err(|Repeated| "redirect_uri was sent more than once.")?;
    // Required even by plain OAuth, as the client has registered several (RFC 6749 §3.1.2.3).
    let redirect_uri = redirect_uri.ok_or("redirect_uri is missing.")?;
    if !client.is_redirect_uri(redirect_uri) {
        return Err("This redirect_uri is not registered for this client.");
    }
    // Of two values neither is the app's for sure, so none is sent back.
    let state = params.once("state").unwrap_or(None);
    Ok(ReturnAddress { redirect_uri, state })
}

fn read_plain(
    state: &State,
    params: &Params,
    client: &TestClient,
    address: &ReturnAddress<'_>,
) -> Result<AuthorizationRequest, Refusal> {
    if state.par == Par::Required {
        return Err(Refusal(
            "invalid_request",
            "Authorization requests must be pushed to this server.",
        ));
    }
    read(state, params, client, address)
}

/// Checks a pushed request as if its browser had come (RFC 9126 §2.1).
pub(super) fn check_pushed(
    state: &State,
    params: &Params,
    client: &TestClient,
) -> Result<AuthorizationRequest, token::Refusal> {
    let address =
        return_address(params, client).map_err(|why| token::Refusal::new("invalid_request", why))?;
    Ok(read(state, params, client, &address)?)
}

fn read(
    state: &State,
    params: &Params,
    client: &TestClient,
    address: &ReturnAddress<'_>,
) -> Result<AuthorizationRequest, Refusal> {
    if params.has_repeated() {
        return Err(Refusal("invalid_request", "A parameter was sent more than once."));
    }
    for (name, refusal) in [
        (
            "request",
            Refusal("request_not_supported", "Request objects are not supported."),
        ),
        (
            "request_uri",
            Refusal("request_uri_not_supported", "Request objects are not supported."),
        ),
        (
            "registration",
            Refusal("registration_not_supported", "registration is not supported."),
        ),
    ] {
        if params.get(name).is_some() {
            return Err(refusal);
        }
    }
    match params.get("response_type") {
        Some("code") => {}
        Some(_) => {
            return Err(Refusal(
                "unsupported_response_type",
                "Only response_type=code is supported.",
            ));
        }
        None => return Err(Refusal("invalid_request", "response_type is missing.")),
    }
    if params.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(Refusal(
            "invalid_request",
            "Only response_mode=query is supported.",
        ));
    }
    for (name, refusal) in [
        (
            "state",
            Refusal("invalid_request", "state has characters it must not have."),
        ),
        (
            "nonce",
            Refusal("invalid_request", "nonce has characters it must not have."),
        ),
    ] {
        if params.get(name).is_some_and(|value| !is_vschar(value)) {
            return Err(refusal);
        }
    }
    let code_challenge = code_challenge(params)?;
    let (prompts, interaction) = interaction(params)?;
    let scope = scope(state, params, prompts.contains(&"consent"))?;
    let resources = token::resources(state, params).map_err(|why| Refusal("invalid_target", why))?;
    let expected_subject = match params.get("id_token_hint") {
        None => None,
        Some(hint) => match state.hint(hint) {
            Some(hint) if hint.client == client => Some(hint.subject),
            _ => {
                return Err(Refusal(
                    "invalid_request",
                    "id_token_hint is not an ID token of this server for this client.",
                ));
            }
        },
    };
    let owned = |name: &str| params.get(name).map(str::to_owned);
    Ok(AuthorizationRequest {
        client_id: client.client_id().to_owned(),
        redirect_uri: address.redirect_uri.to_owned(),
        state: owned("state"),
        scope,
        nonce: owned("nonce"),
        code_challenge,
        resources,
        expected_subject,
        login_hint: owned("login_hint"),
        acr_values: owned("acr_values"),
        interaction,
    })
}

/// PKCE with S256 or nothing: RFC 7636 §4.4.1, RFC 9700 §2.1.1.
fn code_challenge(params: &Params) -> Result<String, Refusal> {
    let challenge = params
        .get("code_challenge")
        .ok_or(Refusal("invalid_request", "code challenge required"))?;
    // Absent means plain (RFC 7636 §4.3).
    if params.get("code_challenge_method") != Some("S256") {
        return Err(Refusal(
            "invalid_request",
            "transform algorithm not supported: use S256",
        ));
    }
    let is_hash = challenge.len() == 43
        && challenge
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if !is_hash {
        return Err(Refusal(
            "invalid_request",
            "code_challenge is not a SHA-256 hash in base64url.",
        ));
    }
    Ok(challenge.to_owned())
}

fn interaction(params: &Params) -> Result<(Vec<&str>, Interaction), Refusal> {
    let prompts: Vec<&str> = params
        .get("prompt")
        .map(|text| text.split(' ').collect())
        .unwrap_or_default();
    if prompts.iter().any(|prompt| !PROMPTS.contains(prompt)) {
        return Err(Refusal(
            "invalid_request",
            "prompt has a value this server does not know.",
        ));
    }
    let silent = prompts.contains(&"none");
    if silent && prompts.len() > 1 {
        return Err(Refusal(
            "invalid_request",
            "prompt=none goes with no other value.",
        ));
    }
    let max_age = match params.get("max_age") {
        None => None,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            Some(digits.parse().unwrap_or(i64::MAX))
        }
        Some(_) => return Err(Refusal("invalid_request", "max_age is a number of seconds.")),
    };
    let forced = !prompts.is_empty() && !silent;
    Ok((
        prompts,
        Interaction {
            silent,
            forced,
            max_age,
        },
    ))
}

/// Every scope token this server can grant.
pub(super) fn scopes(state: &State) -> Vec<String> {
    let mut known: Vec<String> = SCOPES.iter().map(|token| (*token).to_owned()).collect();
    for token in state.apis().scope_tokens() {
        if !known.iter().any(|other| other == token) {
            known.push(token.to_owned());
        }
    }
    known
}

fn scope(state: &State, params: &Params, consent: bool) -> Result<Scope, Refusal> {
    let text = params
        .get("scope")
        .ok_or(Refusal("invalid_scope", "scope is missing."))?;
    let mut scope = Scope::parse(text).ok_or(Refusal("invalid_scope", "scope is not well-formed."))?;
    // Values not understood are ignored (OpenID Connect Core §3.1.2.1), and offline access without
    // asking for consent is too (§11); the token response tells what was granted (RFC 6749 §3.3).
    let known = scopes(state);
    scope.retain(|token| known.iter().any(|other| other == token) && (token != "offline_access" || consent));
    if scope.is_empty() {
        return Err(Refusal("invalid_scope", "Nothing of this scope can be granted."));
    }
    Ok(scope)
}

/// Whether a session answers the request without the user.
fn is_enough(session: &BrowserSession, wanted: &AuthorizationRequest, now: i64) -> bool {
    let interaction = &wanted.interaction;
    // max_age=0 is prompt=login (OpenID Connect Core §3.1.2.1).
    let fresh = interaction.max_age.is_none_or(|max_age| {
        max_age > 0 && now.saturating_sub(session.signed_in_at) <= max_age.saturating_mul(1000)
    });
    !interaction.forced && fresh && is_expected(session, wanted)
}

fn is_expected(session: &BrowserSession, wanted: &AuthorizationRequest) -> bool {
    wanted
        .expected_subject
        .as_deref()
        .is_none_or(|subject| subject == session.user.subject())
}

/// What the person typed on the sign-in page.
pub(super) fn sign_in(state: &State, request: &Request) -> Response {
    let Some(form) = request.form_params().filter(|form| !form.has_repeated()) else {
        return login_page::error("The form is not well-formed.");
    };
    let page = form.get("page").unwrap_or_default();
    let now = state.now();
    let Some(wanted) = state.grants().page(page, now) else {
        return login_page::error(
            "This sign-in page is too old or was already answered. Start again in the app.",
        );
    };
    let address = ReturnAddress {
        redirect_uri: &wanted.redirect_uri,
        state: wanted.state.as_deref(),
    };
    match form.get("action") {
        Some("cancel") => {
            state.grants().close_page(page);
            refuse(state, &address, &Refusal("access_denied", "The user said no."))
        }
        // A form sent with the return key may name no button.
        Some("sign-in") | None => {
            let (username, password) = (
                form.get("username").unwrap_or_default(),
                form.get("password").unwrap_or_default(),
            );
            let user = state.users.iter().find(|user| {
                user.username() == username
                    && bool::from(user.password().as_bytes().ct_eq(password.as_bytes()))
            });
            let Some(user) = user else {
                let complaint = Some("This user name and password do not match.");
                return login_page::sign_in(
                    StatusCode::FORBIDDEN,
                    page,
                    &wanted,
                    &state.users,
                    Some(username),
                    complaint,
                );
            };
            state.grants().close_page(page);
            let session = BrowserSession {
                user: user.clone(),
                signed_in_at: now,
            };
            if !is_expected(&session, &wanted) {
                let refusal = Refusal("login_required", "Someone else signed in than was asked for.");
                return refuse(state, &address, &refusal);
            }
            let cookie = state.grants().open_session(user.clone(), now);
            match cookie {
                // Lax, since the next authorization request comes from another site.
                Ok(cookie) => answer_with_code(state, wanted, session).with(
                    header::SET_COOKIE,
                    format!("{}={cookie}; Path=/; HttpOnly; SameSite=Lax", state.cookie_name()),
                ),
                Err(_) => refuse(state, &address, &Refusal("server_error", "No randomness.")),
            }
        }
        Some(_) => login_page::error("The form is not well-formed."),
    }
}

fn answer_with_code(state: &State, wanted: AuthorizationRequest, session: BrowserSession) -> Response {
    let (redirect_uri, app_state) = (wanted.redirect_uri.clone(), wanted.state.clone());
    let address = ReturnAddress {
        redirect_uri: &redirect_uri,
        state: app_state.as_deref(),
    };
    let now = state.now();
    let code = state.grants().issue_code(wanted, session, now);
    match code {
        Ok(code) => call_back(state, &address, vec![("code", code)]),
        Err(_) => refuse(state, &address, &Refusal("server_error", "No randomness.")),
    }
}

/// Tells the app by a redirect.
fn refuse(state: &State, address: &ReturnAddress<'_>, Refusal(code, description): &Refusal) -> Response {
    let params = vec![
        ("error", (*code).to_owned()),
        ("error_description", (*description).to_owned()),
    ];
    call_back(state, address, params)
}

/// Sends an answer to the app; `iss` belongs to errors too (RFC 9207 §2).
fn call_back(state: &State, address: &ReturnAddress<'_>, mut params: Vec<(&str, String)>) -> Response {
    if let Some(app_state) = address.state {
        params.push(("state", app_state.to_owned()));
    }
    params.push(("iss", state.issuer.clone()));
    let place = mistakes::in_callback(&state.mistakes, &mut params);
    let pairs: Vec<(&str, Option<&str>)> = params
        .iter()
        .map(|(name, value)| (*name, Some(value.as_str())))
        .collect();
    if place == '?' {
        return redirect(&with_query(address.redirect_uri, &pairs));
    }
    let fragment = with_query("", &pairs);
    redirect(&format!(
        "{}#{}",
        address.redirect_uri,
        fragment.trim_start_matches('?')
    ))
}

/// 303, so that no browser sends the password along (RFC 9700 §4.12).
pub(super) fn redirect(location: &str) -> Response {
    Response::empty(StatusCode::SEE_OTHER)
        .with(header::LOCATION, location)
        .with(header::REFERRER_POLICY, "no-referrer")
        .no_store()
}
