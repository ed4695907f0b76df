//! `userinfo`: what the server says of the user.

use serde_json::{Value, json};

use crate::args::Which;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::Program;
use crate::report::plain;

pub(crate) async fn run(program: &Program, which: &Which) -> Result<Exit, Failure> {
    let (settings, choice) = program.choice(which).await?;
    let opened = program.open_settled(&settings.store.value, &choice).await?;
    let stored = choice.one(&opened.sessions)?;
    let session = program.session_of(&opened, stored).await?;
    let claims = program
        .unless_asked("Asking the server", session.userinfo())
        .await??;
    let claims: Value = serde_json::from_str(&claims.to_json()).unwrap_or_default();
    let fields = json!({
        "id": stored.id.as_str(), "issuer": stored.issuer, "client_id": stored.client_id, "claims": claims,
    });
    program.report.answer("userinfo", &fields, &text(&claims));
    Ok(Exit::Success)
}

/// One claim a line.
fn text(claims: &Value) -> String {
    let claims: Vec<_> = claims.as_object().into_iter().flatten().collect();
    let width = claims.iter().map(|(name, _)| name.chars().count()).max();
    let lines: Vec<_> = claims
        .iter()
        .map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            format!(
                "{:width$}  {}",
                plain(name),
                plain(&value),
                width = width.unwrap_or_default()
            )
        })
        .collect();
    lines.join("\n")
}
