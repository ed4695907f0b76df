//! The pages a person sees: sign-in, sign-out, and what went wrong. No script, nothing from elsewhere.

use super::grants::AuthorizationRequest;
use super::http::Response;
use super::registration::{TestUser, form_action_source};
use super::{authorize, sign_out};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;
use hyper::header;
use sha2::{Digest, Sha256};

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f2a;--soft:#5b6474;--paper:#f2f4f8;--card:#fff;--line:#d5dae3;\
--accent:#2a5bd7;--on-accent:#fff;--bad:#b3261e;--bad-paper:#fdecea}\
@media(prefers-color-scheme:dark){:root{--ink:#e8ebf2;--soft:#9aa4b6;--paper:#12151c;--card:#1c212c;\
--line:#343c4c;--accent:#86a8ff;--on-accent:#0d1530;--bad:#ffb4ab;--bad-paper:#3b1b1a}}\
*{box-sizing:border-box}\
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--paper);\
color:var(--ink);font:16px/1.5 system-ui,sans-serif}\
main{width:100%;max-width:24rem;background:var(--card);border:1px solid var(--line);border-radius:14px;\
padding:2rem;box-shadow:0 8px 30px rgb(0 0 0/.08)}\
h1{margin:0 0 .25rem;font-size:1.4rem}\
p{margin:.25rem 0 1rem;color:var(--soft)}\
code{font:.9em ui-monospace,monospace;color:var(--ink);overflow-wrap:anywhere}\
label{display:block;margin:.9rem 0 .3rem;font-weight:600;font-size:.9rem}\
input{width:100%;padding:.65rem .75rem;border:1px solid var(--line);border-radius:8px;\
background:var(--paper);color:var(--ink);font:inherit}\
.actions{display:flex;flex-direction:row-reverse;gap:.75rem;margin-top:1.4rem}\
button{flex:1;padding:.7rem;border:1px solid var(--line);border-radius:8px;background:none;\
color:var(--ink);font:inherit;font-weight:600;cursor:pointer}\
button.main{background:var(--accent);border-color:var(--accent);color:var(--on-accent)}\
input:focus-visible,button:focus-visible{outline:3px solid var(--accent);outline-offset:2px}\
[role=alert]{padding:.65rem .8rem;border-radius:8px;background:var(--bad-paper);color:var(--bad)}\
aside{margin-top:1.6rem;padding-top:1rem;border-top:1px solid var(--line);font-size:.88rem;\
color:var(--soft)}\
dl{display:grid;grid-template-columns:auto 1fr;gap:.2rem .9rem;margin:.4rem 0 0}dt,dd{margin:0}";

/// The form a person signs in with, or refuses to.
pub(super) fn sign_in(
    status: StatusCode,
    page: &str,
    request: &AuthorizationRequest,
    users: &[TestUser],
    typed: Option<&str>,
    complaint: Option<&str>,
) -> Response {
    let username = escape(typed.or(request.login_hint.as_deref()).unwrap_or_default());
    // The cursor waits in the field that is still empty.
    let (focus_name, focus_password) = if username.is_empty() {
        (" autofocus", "")
    } else {
        ("", " autofocus")
    };
    let complaint = complaint.map(alert).unwrap_or_default();
    let known: String = users
        .iter()
        .map(|user| {
            let (name, password) = (escape(user.username()), escape(user.password()));
            format!("<dt><code>{name}</code></dt><dd><code>{password}</code></dd>")
        })
        .collect();
    let body = format!(
        "<h1>Sign in</h1>\
         <p><code>{client}</code> asks for <code>{scope}</code></p>{complaint}\
         <form method=\"post\" action=\"{action}\">\
         <input type=\"hidden\" name=\"page\" value=\"{page}\">\
         <label for=\"username\">User name</label>\
         <input id=\"username\" name=\"username\" value=\"{username}\" autocomplete=\"username\" \
         autocapitalize=\"none\" spellcheck=\"false\"{focus_name}>\
         <label for=\"password\">Password</label>\
         <input id=\"password\" name=\"password\" type=\"password\" autocomplete=\"current-password\"{focus_password}>\
         <div class=\"actions\">\
         <button class=\"main\" name=\"action\" value=\"sign-in\">Sign in</button>\
         <button name=\"action\" value=\"cancel\" formnovalidate>Cancel</button></div></form>\
         <aside>This is a test server. These people can sign in:<dl>{known}</dl></aside>",
        client = escape(&request.client_id),
        scope = escape(&request.scope.to_string()),
        action = authorize::SIGN_IN_PATH,
        page = escape(page),
    );
    html(
        status,
        "Sign in",
        &body,
        Some(form_action_source(&request.redirect_uri)),
    )
}

/// Asks before the browser's session ends (RP-Initiated Logout §2).
pub(super) fn confirm_sign_out(page: &str, user: &TestUser, redirect_to: Option<&str>) -> Response {
    let body = format!(
        "<h1>Sign out?</h1><p>You are signed in as {name}.</p>\
         <form method=\"post\" action=\"{action}\">\
         <input type=\"hidden\" name=\"page\" value=\"{page}\">\
         <div class=\"actions\">\
         <button class=\"main\" name=\"action\" value=\"sign-out\">Sign out</button>\
         <button name=\"action\" value=\"cancel\">Stay</button></div></form>",
        name = escape(user.name()),
        action = sign_out::CONFIRM_PATH,
        page = escape(page),
    );
    html(
        StatusCode::OK,
        "Sign out",
        &body,
        redirect_to.map(form_action_source),
    )
}

/// Says something that needs no answer.
pub(super) fn notice(title: &str, text: &str) -> Response {
    let body = format!("<h1>{}</h1><p>{}</p>", escape(title), escape(text));
    html(StatusCode::OK, title, &body, None)
}

/// Tells the person what is wrong with a request that must not be answered by a redirect.
pub(super) fn error(reason: &str) -> Response {
    let body = format!("<h1>This request was refused</h1>{}", alert(reason));
    html(StatusCode::BAD_REQUEST, "Request refused", &body, None)
}

fn alert(text: &str) -> String {
    format!("<p role=\"alert\">{}</p>", escape(text))
}

fn html(status: StatusCode, title: &str, body: &str, form_target: Option<&str>) -> Response {
    let page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{} · Gatepass test server</title><style>{STYLE}</style></head>\
         <body><main>{body}</main></body></html>\n",
        escape(title),
    );
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'{}{}; base-uri 'none'; \
         frame-ancestors 'none'",
        BASE64_STANDARD.encode(Sha256::digest(STYLE)),
        if form_target.is_some() { " " } else { "" },
        form_target.unwrap_or_default(),
    );
    Response {
        body: page.into_bytes(),
        ..Response::empty(status)
    }
    .with(header::CONTENT_TYPE, "text/html; charset=utf-8")
    .with(header::CONTENT_SECURITY_POLICY, policy)
    .with(header::X_FRAME_OPTIONS, "DENY")
    .with(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
    .with(header::REFERRER_POLICY, "no-referrer")
    .no_store()
}

/// Makes text safe between tags and inside a quoted attribute.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

/// Reverses [`escape`], for the browser that reads these pages.
pub(super) fn unescape(text: &str) -> String {
    // The ampersand last: otherwise `&amp;lt;` would become `<`.
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::{escape, unescape};

    #[test]
    fn escaping_leaves_no_markup_and_can_be_undone() {
        let nasty = "<a href=\"x\" id='y'>&lt;&amp;";
        assert!(!escape(nasty).contains(['<', '>', '"', '\'']));
        assert_eq!(unescape(&escape(nasty)), nasty);
    }
}
