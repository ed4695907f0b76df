//! `sign-out`: here first, then at the server.

use gatepass::{BrowserSession, Revocation, Session, SignOut, StoredSession};
use serde_json::json;

use crate::args::{self, ClientFlags, How};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::{Opened, Program};
use crate::report::{Report, plain};
use crate::select::{Choice, name};
use crate::settings::Settings;

pub(crate) async fn run(program: &Program, options: &args::SignOut) -> Result<Exit, Failure> {
    let flags = ClientFlags {
        post_logout_redirect: options.post_logout_redirect.clone(),
        ..ClientFlags::default()
    };
    let (settings, mut choice) = program.choice_with(&options.which, flags).await?;
    if options.all {
        // All are all: not those of a profile that happens to be chosen.
        choice = Choice {
            issuer: options.which.issuer.clone(),
            client_id: options.which.client_id.clone(),
            account: options.which.account.clone(),
        };
    }
    let opened = program.open_settled(&settings.store.value, &choice).await?;
    if !options.all {
        let stored = choice.one(&opened.sessions)?;
        return sign_out(program, &settings, &opened, stored, options.how).await;
    }
    let live = choice.live(&opened.sessions);
    if live.is_empty() {
        program.report.say("Nobody is signed in.");
    }
    // Whatever comes of one, the others are signed out too. The first trouble is the outcome.
    let mut outcome = Ok(Exit::Success);
    for stored in live {
        let done = sign_out(program, &settings, &opened, stored, options.how).await;
        if outcome.is_ok() {
            outcome = done;
        } else if let Err(failure) = done {
            program
                .report
                .warn(&format!("{}: {}", name(stored), failure.message()));
        }
    }
    outcome
}

async fn sign_out(
    program: &Program,
    settings: &Settings,
    opened: &Opened,
    stored: &StoredSession,
    how: How,
) -> Result<Exit, Failure> {
    // A redirect is registered at one server.
    let own = settings
        .issuer
        .as_ref()
        .is_none_or(|issuer| issuer.value == stored.issuer);
    let redirect = settings.post_logout_redirect.as_ref().filter(|_| own);
    let redirect = redirect.map(|redirect| redirect.value.as_str());
    let session = program.session_to_end(opened, stored, redirect).await?;
    let how = match how {
        How::Local => SignOut::Local,
        How::Revoke => SignOut::Revoke,
        How::EndSession => SignOut::EndSession,
    };
    let text = if how == SignOut::EndSession {
        "Signing out, in the browser too"
    } else {
        "Signing out"
    };
    let who = format!("{} at {}", name(stored), plain(&stored.issuer));
    let work = end(&program.report, &session, &stored.client_id, how, &who);
    program.unless_asked(text, work).await??;
    Ok(Exit::Success)
}

/// Signs out and says what came of it.
pub(crate) async fn end(
    report: &Report,
    session: &Session,
    client_id: &str,
    how: SignOut,
    who: &str,
) -> Result<(), Failure> {
    let signed_out = session.sign_out(how).await?;
    let (revocation, text, mut trouble) = match signed_out.revocation {
        Revocation::Done => ("done", "the server revoked the session", None),
        Revocation::NotNeeded if how == SignOut::Local => (
            "not_needed",
            "on this device; the grant at the server lives on",
            None,
        ),
        Revocation::NotNeeded => ("not_needed", "there was nothing to revoke at the server", None),
        Revocation::NotOffered => (
            "not_offered",
            "on this device; the server offers no revocation",
            None,
        ),
        Revocation::Queued(error) => (
            "queued",
            "on this device; the server is asked again at the next sign-in there",
            Some(error),
        ),
        Revocation::Failed(error) => ("failed", "on this device, but not at the server", Some(error)),
        _ => ("unknown", "on this device", None),
    };
    let (browser_session, more) = match signed_out.browser_session {
        BrowserSession::NotAsked => ("not_asked", ""),
        BrowserSession::Ended => ("ended", "; so is the browser"),
        BrowserSession::Opened => ("opened", "; the browser shows the server's page"),
        BrowserSession::NotOffered => ("not_offered", "; the server cannot end the browser's session"),
        BrowserSession::Failed(error) => {
            trouble.get_or_insert(error);
            ("failed", "; the browser's session lives on")
        }
        _ => ("unknown", ""),
    };
    let fields = json!({
        "id": session.id().as_str(), "issuer": session.issuer(), "client_id": client_id,
        "subject": session.claims().map(gatepass::Claims::subject), "revocation": revocation,
        "browser_session": browser_session,
    });
    report.event("signed_out", &fields, &format!("Signed out {who}: {text}{more}"));
    trouble.map_or(Ok(()), |error| Err(Failure::SignedOutHere(error)))
}
