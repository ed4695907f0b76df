//! `sessions`: everything in the store.

use comfy_table::{Table, presets};
use gatepass::SessionState;
use serde_json::json;

use crate::args::{ClientFlags, Sessions};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::{Program, about, with};
use crate::report::plain;
use crate::select::{Choice, name, why};
use crate::status::since;

pub(crate) async fn run(program: &Program, options: &Sessions) -> Result<Exit, Failure> {
    let settings = program.settings(&ClientFlags::default()).await?;
    let choice = Choice {
        issuer: options.issuer.clone(),
        client_id: options.client_id.clone(),
        account: None,
    };
    let opened = program.open_settled(&settings.store.value, &choice).await?;
    let shown: Vec<_> = opened
        .sessions
        .iter()
        .filter(|session| choice.takes(session))
        .collect();
    let report = &program.report;
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ACCOUNT", "ISSUER", "CLIENT", "STATE", "SIGNED IN"]);
    for session in &shown {
        let (state, reason) = match session.state {
            SessionState::SignedIn => ("signed_in", None),
            SessionState::Ended(reason) => ("ended", Some(reason)),
            _ => ("signed_out", None),
        };
        let fields = json!({ "state": state, "reason": reason.map(gatepass::EndReason::name) });
        report.event("session", &with(fields, about(session)), "");
        let state = match reason {
            Some(reason) => format!("ended: {}", why(reason)),
            None => state.replace('_', " "),
        };
        table.add_row([
            name(session),
            plain(&session.issuer),
            plain(&session.client_id),
            state,
            since(session),
        ]);
    }
    if shown.is_empty() {
        report.say(&format!("The store ({}) holds no session.", settings.store.value));
    } else {
        let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        report.say(&lines.join("\n"));
    }
    Ok(Exit::Success)
}
