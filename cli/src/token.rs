//! `token`: a fresh access token for another program, and nothing else.

use std::time::Duration;

use gatepass::{Session, StoredSession, Target};
use serde_json::json;

use crate::args::Token;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::{Program, about, with};
use crate::report::span;

pub(crate) async fn run(program: &Program, options: &Token) -> Result<Exit, Failure> {
    let (settings, choice) = program.choice(&options.which).await?;
    let opened = program.open_settled(&settings.store.value, &choice).await?;
    let stored = choice.one(&opened.sessions)?;
    let session = program.session_of(&opened, stored).await?;
    if let Some(uri) = &options.resource {
        let target = Target::resource(uri)?;
        let token = program.unless_asked("Refreshing", session.access_token_for(&target));
        return Ok(print(program, token.await??.expose(), None, stored));
    }
    if options.refresh {
        refresh(program, &session).await?;
    }
    let mut token = program
        .unless_asked("Refreshing", session.access_token())
        .await??;
    if let Some(least) = options.min_validity
        && is_short(&session, least)
    {
        if stored.can_refresh {
            refresh(program, &session).await?;
            token = session.access_token().await?;
        }
        if is_short(&session, least) {
            let left = session.expires_in().unwrap_or_default();
            program.report.warn(&format!(
                "The token is valid for {} only: the server gives no longer one.",
                span(left)
            ));
        }
    }
    Ok(print(program, token.expose(), session.expires_in(), stored))
}

/// Tells a token, to a program or to whoever reads standard output.
pub(crate) fn print(
    program: &Program,
    token: &str,
    expires_in: Option<Duration>,
    stored: &StoredSession,
) -> Exit {
    if program.report.is_json() {
        let fields = json!({
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": expires_in.map(|left| left.as_secs()),
        });
        program.report.event("token", &with(fields, about(stored)), "");
    } else {
        program.report.raw(&format!("{token}\n"));
    }
    Exit::Success
}

async fn refresh(program: &Program, session: &Session) -> Result<(), Failure> {
    if !session.can_refresh().await? {
        return Err(Failure::configuration(
            "no_refresh_token",
            "the server gave no refresh token, so only a new sign-in gives a new access token: gatepass sign-in --again \
             (is offline_access in the scope, and allowed for this client?)",
        ));
    }
    Ok(program.unless_asked("Refreshing", session.refresh()).await??)
}

/// Where the server did not say how long the token lives, it is taken to be long enough.
fn is_short(session: &Session, least: Duration) -> bool {
    session.expires_in().is_some_and(|left| left < least)
}
