//! The rest of the journey: what a session is for, and its end.

use gatepass::{Error, ErrorKind, Session, SignOut};
use serde_json::json;

use crate::failure::Failure;
use crate::program::Program;
use crate::report::Report;
use crate::sign_out;

/// Uses the session, and signs out whatever happened in between: nothing is left behind at the server.
pub(crate) async fn run(
    program: &Program,
    session: &Session,
    client_id: &str,
    api: Option<&str>,
) -> Result<(), Failure> {
    let used = tokio::select! {
        used = use_session(session, api, &program.report) => used.map_err(Failure::from),
        () = program.interrupts.asked() => Err(Failure::called_off()),
    };
    let who = session.claims().map_or("somebody", gatepass::Claims::subject);
    let who = crate::report::plain(who);
    let signed_out = sign_out::end(&program.report, session, client_id, SignOut::Revoke, &who).await;
    used.and(signed_out)
}

async fn use_session(session: &Session, api: Option<&str>, report: &Report) -> Result<(), Error> {
    call_api(session, api, report).await?;
    if session.can_refresh().await? {
        session.refresh().await?;
        report.event("refreshed", &json!({}), "Refreshed: a new access token is in use");
    } else {
        report.event(
            "refresh_skipped",
            &json!({ "reason": "no_refresh_token" }),
            "No refresh: the server gave no refresh token (is offline_access allowed for this client?)",
        );
    }
    call_api(session, api, report).await
}

/// Calls the API with the token, or the userinfo endpoint.
async fn call_api(session: &Session, api: Option<&str>, report: &Report) -> Result<(), Error> {
    let (what, status, outcome) = match api {
        Some(url) => {
            let answer = session.http().get(url).send().await?;
            (url, answer.status().as_u16(), answer.error_for_status().map(drop))
        }
        None => match session.userinfo().await {
            Ok(_) => ("userinfo", 200, Ok(())),
            Err(error) if error.kind() == ErrorKind::Configuration => {
                report.event(
                    "api_call_skipped",
                    &json!({ "reason": error.code() }),
                    &format!("No API call: {error}; name an API with --api"),
                );
                return Ok(());
            }
            Err(error) => match error.server().and_then(|server| server.status) {
                Some(status) => ("userinfo", status, Err(error)),
                None => return Err(error),
            },
        },
    };
    let what = crate::select::shown_url(what);
    let text = format!("Called {what} with the access token: {status}");
    report.event(
        "api_call",
        &json!({ "status": status }),
        if outcome.is_ok() { &text } else { "" },
    );
    outcome
}
