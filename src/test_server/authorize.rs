//! The authorization endpoint: RFC 6749 §4.1.1, RFC 7636 §4.4, RFC 9207, OpenID Connect Core §3.1.2.

use super::State;
use super::grants::{AuthorizationRequest, BrowserSession};
use super::http::{Request, Response};
use super::login_page;
use super::params::{Params, Repeated, Scope, is_vschar, resources, with_query};
use super::registration::{CLIENT_ID, is_redirect_uri};
use hyper::StatusCode;
use hyper::header;
use subtle::ConstantTimeEq;

pub(super) const PATH: &str = "/authorize";
pub(super) const SIGN_IN_PATH: &str = "/sign-in";
pub(super) const SCOPES: [&str; 4] = ["openid", "profile", "email", "offline_access"];
pub(super) const PROMPTS: [&str; 4] = ["none", "login", "consent", "select_account"];

/// Where a request that names a registered redirect is answered, and with which `state`.
struct ReturnAddress<'a> {
    redirect_uri: &'a str,
    state: Option<&'a str>,
}

/// An error the app is told by a redirect (RFC 6749 §4.1.2.1).
struct Refusal(&'static str, &'static str);

/// How the user is to be asked.
struct Interaction {
    /// `prompt=none`: not at all.
    silent: bool,
    /// A prompt value that needs the page although there is a session.
    forced: bool,
    /// Seconds the sign-in may have been ago.
    max_age: Option<i64>,
}

pub(super) fn authorize(state: &State, request: &Request) -> Response {
    let Some(params) = request.params() else {
        return login_page::error("The parameters are not well-formed.");
    };
    let address = match return_address(&params) {
        Ok(address) => address,
        Err(reason) => return login_page::error(reason),
    };
    let (wanted, interaction) = match read(state, &params, &address) {
        Ok(read) => read,
        Err(refusal) => return refuse(state, &address, &refusal),
    };
    let now = state.now();
    let session = request
        .cookie(&state.cookie_name())
        .and_then(|cookie| state.grants().session(cookie, now));
    if let Some(session) = session.filter(|session| is_enough(session, &wanted, &interaction, now)) {
        return answer_with_code(state, wanted, session);
    }
    if interaction.silent {
        let refusal = Refusal("login_required", "Nobody fitting is signed in with this browser.");
        return refuse(state, &address, &refusal);
    }
    let page = match state.grants().open_page(wanted.clone(), now) {
        Ok(page) => page,
        Err(_) => return refuse(state, &address, &Refusal("server_error", "No randomness.")),
    };
    login_page::sign_in(StatusCode::OK, &page, &wanted, &state.users, None, None)
}

/// Settles where an answer may go. Until client and redirect are known to belong together nothing is
/// redirected (RFC 6749 §4.1.2.1, RFC 9700 §4.11): a person reads the reason instead.
fn return_address(params: &Params) -> Result<ReturnAddress<'_>, &'static str> {
    let client = params
        .once("client_id")
        .map_err(|Repeated| "client_id was sent more than once.")?;
    if client.ok_or("client_id is missing.")? != CLIENT_ID {
        return Err("No such client is registered here.");
    }
    let redirect_uri = params
        .once("redirect_uri")
        .map_err(|Repeated| "redirect_uri was sent more than once.")?;
    // Required even by plain OAuth, as the client has registered several (RFC 6749 §3.1.2.3).
    let redirect_uri = redirect_uri.ok_or("redirect_uri is missing.")?;
    if !is_redirect_uri(redirect_uri) {
        return Err("This redirect_uri is not registered for this client.");
    }
    // Of two values neither is the app's for sure, so none is sent back.
    let state = params.once("state").unwrap_or(None);
    Ok(ReturnAddress { redirect_uri, state })
}

fn read(
    state: &State,
    params: &Params,
    address: &ReturnAddress<'_>,
) -> Result<(AuthorizationRequest, Interaction), Refusal> {
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
    let scope = scope(params, prompts.contains(&"consent"))?;
    let resources = resources(params).ok_or(Refusal(
        "invalid_target",
        "resource must be an absolute URI without a fragment.",
    ))?;
    let expected_subject = match params.get("id_token_hint") {
        None => None,
        Some(hint) => Some(state.subject_of_hint(hint).ok_or(Refusal(
            "invalid_request",
            "id_token_hint is not an ID token of this server.",
        ))?),
    };
    let owned = |name: &str| params.get(name).map(str::to_owned);
    let wanted = AuthorizationRequest {
        redirect_uri: address.redirect_uri.to_owned(),
        state: owned("state"),
        scope,
        nonce: owned("nonce"),
        code_challenge,
        resources,
        expected_subject,
        login_hint: owned("login_hint"),
    };
    Ok((wanted, interaction))
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

fn scope(params: &Params, consent: bool) -> Result<Scope, Refusal> {
    let text = params
        .get("scope")
        .ok_or(Refusal("invalid_scope", "scope is missing."))?;
    let mut scope = Scope::parse(text).ok_or(Refusal("invalid_scope", "scope is not well-formed."))?;
    // Values not understood are ignored (OpenID Connect Core §3.1.2.1), and offline access without
    // asking for consent is too (§11); the token response tells what was granted (RFC 6749 §3.3).
    scope.retain(|token| SCOPES.contains(&token) && (token != "offline_access" || consent));
    if scope.is_empty() {
        return Err(Refusal("invalid_scope", "Nothing of this scope can be granted."));
    }
    Ok(scope)
}

/// Whether a session answers the request without the user.
fn is_enough(
    session: &BrowserSession,
    wanted: &AuthorizationRequest,
    interaction: &Interaction,
    now: i64,
) -> bool {
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
    let now = state.now();
    let code = state.grants().issue_code(wanted, session, now);
    match code {
        Ok(code) => redirect(&with_query(
            &redirect_uri,
            &[
                ("code", Some(code.as_str())),
                ("state", app_state.as_deref()),
                ("iss", Some(state.issuer.as_str())),
            ],
        )),
        Err(_) => {
            let address = ReturnAddress {
                redirect_uri: &redirect_uri,
                state: app_state.as_deref(),
            };
            refuse(state, &address, &Refusal("server_error", "No randomness."))
        }
    }
}

/// Tells the app by a redirect; `iss` belongs to errors too (RFC 9207 §2).
fn refuse(state: &State, address: &ReturnAddress<'_>, Refusal(code, description): &Refusal) -> Response {
    redirect(&with_query(
        address.redirect_uri,
        &[
            ("error", Some(code)),
            ("error_description", Some(description)),
            ("state", address.state),
            ("iss", Some(state.issuer.as_str())),
        ],
    ))
}

/// 303, so that no browser sends the password along (RFC 9700 §4.12).
pub(super) fn redirect(location: &str) -> Response {
    Response::empty(StatusCode::SEE_OTHER)
        .with(header::LOCATION, location)
        .with(header::REFERRER_POLICY, "no-referrer")
        .no_store()
}
