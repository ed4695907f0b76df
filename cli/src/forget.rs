//! `forget`: everything that is kept here for a client.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use serde_json::json;

use crate::args::{Forget, Which};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::{Lost, Program};
use crate::report::plain;
use crate::select::{Choice, is_live, name};
use crate::store::Purpose;

pub(crate) async fn run(program: &Program, options: &Forget) -> Result<Exit, Failure> {
    let which = Which {
        issuer: options.server.issuer.clone(),
        client_id: options.server.client_id.clone(),
        account: None,
    };
    let (settings, choice) = program.choice(&which).await?;
    let opened = {
        // What cannot be read can be forgotten, if it is said whose it is.
        let named = choice.issuer.is_some() && choice.client_id.is_some();
        let lost = if named { Lost::PassOver } else { Lost::Report };
        program.open(&settings.store.value, Purpose::Look, lost).await?
    };
    let (issuer, client_id) = match (&choice.issuer, &choice.client_id) {
        (Some(issuer), Some(client_id)) => (issuer.clone(), client_id.clone()),
        _ => only_client(&choice, &opened.sessions)?,
    };
    let of_client = Choice {
        issuer: Some(issuer.clone()),
        client_id: Some(client_id.clone()),
        account: None,
    };
    let gone: Vec<_> = opened
        .sessions
        .iter()
        .filter(|session| of_client.takes(session))
        .collect();
    if !options.yes {
        let live = gone
            .iter()
            .filter(|session| is_live(session))
            .map(|session| name(session));
        let live: Vec<_> = live.collect();
        let signed_in = if live.is_empty() {
            "nobody is signed in".to_owned()
        } else {
            format!("signed in: {}", live.join(", "))
        };
        let question = format!(
            "Forget everything kept in {} for client {} at {} ({signed_in})? No server is told. [y/N]",
            settings.store.value,
            plain(&client_id),
            plain(&issuer),
        );
        confirm(program, question).await?;
    }
    let client = program.client_of(&opened, &issuer, &client_id, None)?;
    program
        .unless_asked("Forgetting", client.forget_everything())
        .await??;
    let fields = json!({ "issuer": issuer, "client_id": client_id, "sessions": gone.len() });
    program.report.event(
        "forgotten",
        &fields,
        &format!(
            "Forgotten: {} of client {} at {}",
            if gone.len() == 1 {
                "1 session".to_owned()
            } else {
                format!("{} sessions", gone.len())
            },
            plain(&client_id),
            plain(&issuer)
        ),
    );
    Ok(Exit::Success)
}

/// What cannot be undone is done only where it is certain which client is meant.
fn only_client(choice: &Choice, sessions: &[gatepass::StoredSession]) -> Result<(String, String), Failure> {
    let mut clients: Vec<_> = sessions
        .iter()
        .filter(|session| choice.takes(session))
        .map(|session| (session.issuer.clone(), session.client_id.clone()))
        .collect();
    clients.sort();
    clients.dedup();
    match clients.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(Failure::configuration(
            "client_unknown",
            "the store holds no session that says which client; name it with --issuer and --client-id",
        )),
        several => {
            let list: Vec<_> = several
                .iter()
                .map(|(issuer, client)| format!("  --issuer {} --client-id {}", plain(issuer), plain(client)))
                .collect();
            Err(Failure::configuration(
                "client_ambiguous",
                format!("several clients are meant; name one:\n{}", list.join("\n")),
            ))
        }
    }
}

/// Asks on the terminal. Anything but yes is no.
async fn confirm(program: &Program, question: String) -> Result<(), Failure> {
    if program.report.is_json() || !std::io::stdin().is_terminal() {
        return Err(Failure::configuration(
            "not_confirmed",
            "nobody can be asked here; say --yes to go ahead",
        ));
    }
    program.report.ask(&question);
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = Vec::new();
        let read = std::io::stdin().lock().take(64).read_until(b'\n', &mut line);
        read.map(|_| String::from_utf8_lossy(&line).trim().to_lowercase())
    });
    let answer = tokio::select! {
        answer = answer => answer,
        () = program.interrupts.asked() => return Err(Failure::interrupted()),
    };
    match answer {
        Ok(Ok(answer)) if answer == "y" || answer == "yes" => Ok(()),
        _ => Err(Failure::declined()),
    }
}
