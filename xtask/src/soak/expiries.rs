//! Expiries: several processes share one session, and all of them need a token each time it has expired.
//!
//! Three in four live on with the session, as an app does; the others are started for each token, as in a shell. The test
//! server and all of them share one clock, which a file sets forward: an expiry takes no waiting.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::Tally;
use super::ledger::{Ledger, Told};
use super::server::Server;
use super::stage::{Shot, Stage, Talk};

/// How long the test server's access tokens live, and a little more.
const LIFETIME_MILLIS: u64 = 301_000;

pub(crate) fn run(stage: &mut Stage, expiries: u32, processes: u32, tally: &mut Tally) -> Result<()> {
    let mut clock = Clock {
        path: stage.folder.join("clock"),
        ahead: 0,
    };
    clock.set()?;
    stage.set("GATEPASS_SOAK_CLOCK", &clock.path);
    let mut server = Server::of_tests(stage, "strict")?;
    stage.sign_in(&mut server)?;
    let living = processes.saturating_mul(3).div_ceil(4);
    let mut held = (1..=living)
        .map(|number| stage.hold(&format!("process {number}")))
        .collect::<Result<Vec<_>>>()?;
    let mut ledger = Ledger::default();
    let mut last = String::new();
    let mut process = living;
    for expiry in 1..=expiries {
        stage.remark(&format!("expiry {expiry}"))?;
        clock.ahead += LIFETIME_MILLIS;
        clock.set()?;
        let tokens = ask(stage, &mut held, processes - living, &mut process);
        let tokens = tokens.with_context(|| format!("expiry {expiry}"))?;
        let sent = server.refreshes()?;
        let told = Told {
            process: expiry,
            killed: false,
            token: true,
        };
        let noted = ledger.note(told, &sent);
        (tally.expiries, tally.sent, tally.reuses) = (expiry, ledger.sent, ledger.reuses);
        noted?;
        let first = tokens.first().context("no process")?;
        if tokens.iter().any(|token| token != first) {
            bail!("expiry {expiry}: not every process has the same token");
        }
        if *first == last {
            bail!("expiry {expiry}: a token that has expired was handed out");
        }
        last.clone_from(first);
        if !matches!(&sent[..], [one] if one.status == 200) {
            bail!("expiry {expiry}: {} refreshes were sent: {sent:?}", sent.len());
        }
    }
    for talk in held {
        let name = talk.name.clone();
        let status = talk.end()?;
        if !status.success() {
            bail!("{name} ended with {status}");
        }
    }
    let others = process - living;
    tally.note(format!(
        "{living} processes lived on, {others} were started for one token each, {} at a time",
        processes - living
    ));
    Ok(())
}

/// All of them at once.
fn ask(stage: &Stage, held: &mut [Talk], others: u32, process: &mut u32) -> Result<Vec<String>> {
    let mut shots = Vec::new();
    for _ in 0..others {
        *process += 1;
        shots.push(stage.shoot(*process, &["token"])?);
    }
    for talk in held.iter_mut() {
        talk.tell("token")?;
    }
    let mut tokens = Vec::new();
    for talk in held {
        let answer = talk.answer()?.named("token");
        tokens.push(answer.with_context(|| talk.name.clone())?.text("access_token")?);
    }
    for ended in shots.into_iter().map(Shot::ended) {
        let ended = ended?;
        match ended.token() {
            Some(token) if ended.code == Some(0) => tokens.push(token.to_owned()),
            _ => bail!("{}", ended.brief()),
        }
    }
    Ok(tokens)
}

/// The clock that all share.
struct Clock {
    path: PathBuf,
    /// Milliseconds that it is ahead of the machine's.
    ahead: u64,
}

impl Clock {
    /// At one stroke: who reads meanwhile has the old time or the new one.
    fn set(&self) -> Result<()> {
        let beside = self.path.with_extension("new");
        fs::write(&beside, self.ahead.to_string())
            .and_then(|()| fs::rename(&beside, &self.path))
            .with_context(|| format!("writing {}", self.path.display()))
    }
}
