//! The server of a part: Gatepass's own test server, or npm's oidc-provider; each a process that tells what it was sent.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use super::ledger::Sent;
use super::stage::{Stage, Talk};
use crate::place::Place;

/// A server that runs until this is dropped.
pub(crate) struct Server {
    talk: Talk,
    pub(crate) issuer: String,
    pub(crate) client_id: String,
}

impl Server {
    /// The test server. `rotation` as of `gatepass serve --rotation`.
    pub(crate) fn of_tests(stage: &Stage, rotation: &str) -> Result<Self> {
        Self::start(
            stage.gatepass(&["soak-server", "--rotation", rotation])?,
            "the test server",
        )
    }

    /// oidc-provider: it rotates, and takes a second use for theft.
    pub(crate) fn provider(place: &Place, stage: &Stage) -> Result<Self> {
        let mut command = stage.at_home("node")?;
        command.arg("soak.mjs").current_dir(place.at("tests/interop"));
        Self::start(command, "oidc-provider")
    }

    fn start(command: Command, name: &str) -> Result<Self> {
        let mut talk = Talk::start(command, name)?;
        let serving = talk.answer()?.named("serving")?;
        Ok(Self {
            talk,
            issuer: serving.text("issuer")?,
            client_id: serving.text("client_id")?,
        })
    }

    /// Where a browser ends up that signs somebody in at this URL.
    pub(crate) fn redirect(&mut self, url: &str) -> Result<String> {
        let answer = self.talk.ask(&format!("sign-in {url}"))?;
        answer.named("redirect")?.text("url")
    }

    /// What refreshes have come since this was last asked.
    pub(crate) fn refreshes(&mut self) -> Result<Vec<Sent>> {
        let answer = self.talk.ask("refreshes")?.named("refreshes")?;
        let sent = answer.0.get("sent").and_then(Value::as_array);
        let sent = sent.context("a server that tells no requests")?;
        let read = |one: &Value| {
            Some(Sent {
                token: one.get("token")?.as_str()?.to_owned(),
                status: one.get("status")?.as_u64()?,
            })
        };
        sent.iter()
            .map(|one| read(one).context("a request without token or status"))
            .collect()
    }
}
