//! `status`: who is signed in. Refreshes nothing.

use serde_json::json;

use crate::args::Which;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::{Program, about, with};
use crate::report::{plain, span};
use crate::select::{Choice, is_live, name, why};

pub(crate) async fn run(program: &Program, which: &Which) -> Result<Exit, Failure> {
    let (settings, choice) = program.choice(which).await?;
    let opened = program.open_settled(&settings.store.value, &choice).await?;
    let report = &program.report;
    let live = choice.live(&opened.sessions).len();
    if live == 0 {
        let nothing = json!({
            "id": null, "issuer": null, "client_id": null, "subject": null, "display_name": null, "scope": null,
            "signed_in_at": null, "can_refresh": null, "expires_in": null,
        });
        let (exit, state, reason, text) = match choice.ended(&opened.sessions) {
            Some((session, reason)) => {
                let text = format!(
                    "The session of {} at {} ended: {}",
                    name(session),
                    plain(&session.issuer),
                    why(reason)
                );
                (Exit::SessionEnded, "ended", Some(reason.name()), text)
            }
            None => (
                Exit::NotSignedIn,
                "signed_out",
                None,
                nobody(&choice, &opened.sessions),
            ),
        };
        let fields = json!({ "signed_in": false, "state": state, "reason": reason, "sessions": 0 });
        report.answer("status", &with(fields, nothing), &text);
        return Ok(exit);
    }
    let stored = choice.one(&opened.sessions)?;
    let session = program.session_of(&opened, stored).await?;
    let left = session.expires_in();
    let fields = json!({
        "signed_in": true, "state": "signed_in", "reason": null, "sessions": live,
        "expires_in": left.map(|left| left.as_secs()),
    });
    let refreshed = if stored.can_refresh {
        "refreshed when needed"
    } else {
        "then the session ends: the server gave no refresh token"
    };
    let token = match left {
        None => format!("of a lifetime that the server did not tell; {refreshed}"),
        Some(left) if left.is_zero() => format!("expired; {refreshed}"),
        Some(left) => format!("valid for {}; {refreshed}", span(left)),
    };
    let mut text = format!(
        "{} is signed in at {}\n  client        {}\n  scope         {}\n  signed in     {}\n  access token  {token}",
        name(stored),
        plain(&stored.issuer),
        plain(&stored.client_id),
        plain(&stored.scope.join(" ")),
        since(stored),
    );
    if live > 1 {
        text.push_str(&format!("\n  and {} more: gatepass sessions", live - 1));
    }
    report.answer("status", &with(fields, about(stored)), &text);
    Ok(Exit::Success)
}

/// Nobody is; or others are, who are listed.
fn nobody(choice: &Choice, all: &[gatepass::StoredSession]) -> String {
    match choice.one(all) {
        Err(failure) if all.iter().any(is_live) => failure.message(),
        _ => "Nobody is signed in".to_owned(),
    }
}

/// How long ago the user signed in.
pub(crate) fn since(stored: &gatepass::StoredSession) -> String {
    match stored.signed_in_at.map(|since| since.elapsed()) {
        Some(Ok(time)) => format!("{} ago", span(time)),
        // The clock was set back.
        Some(Err(_)) => "just now".to_owned(),
        None => String::new(),
    }
}
