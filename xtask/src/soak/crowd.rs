//! A crowd: several processes refresh one session at the same time, and half of them are killed at random instants.
//!
//! At a server with a grace window nothing may be lost: whoever comes after a dead process takes over what it left, the lock
//! included.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Tally;
use super::dice::Dice;
use super::ledger::Sent;
use super::server::Server;
use super::stage::{Ended, Shot, Stage};

const REFRESH: [&str; 2] = ["token", "--refresh"];
/// What a process may be told that came between others: to ask again.
const ASK_AGAIN: [&str; 2] = ["refresh_raced", "refresh_busy"];

pub(crate) fn run(
    stage: &Stage,
    server: &mut Server,
    kills: u32,
    processes: u32,
    dice: &mut Dice,
    tally: &mut Tally,
) -> Result<()> {
    stage.sign_in(server)?;
    let mut run = Run {
        stage,
        server,
        process: 0,
        asked_again: 0,
        order: Order::default(),
    };
    let start = Instant::now();
    run.crowd(processes, &[], tally)?;
    let longest = start.elapsed();
    while tally.kills < kills {
        let mut instants = Vec::new();
        for _ in 0..processes.div_ceil(2) {
            instants.push(dice.instant(longest));
        }
        instants.sort();
        run.crowd(processes, &instants, tally)?;
    }
    let ended = run.crowd(1, &[], tally)?;
    if ended.iter().all(|ended| ended.token().is_none()) {
        bail!("the session cannot be used at the end");
    }
    tally.note(format!(
        "{processes} processes at a time; {} were told to ask again, as another was at it",
        run.asked_again
    ));
    Ok(())
}

struct Run<'a> {
    stage: &'a Stage,
    server: &'a mut Server,
    process: u32,
    asked_again: u32,
    order: Order,
}

impl Run<'_> {
    /// All at once. The first of them are killed, one at each of these instants.
    fn crowd(&mut self, processes: u32, instants: &[Duration], tally: &mut Tally) -> Result<Vec<Ended>> {
        let mut shots = Vec::new();
        for _ in 0..processes {
            self.process += 1;
            shots.push(self.stage.shoot(self.process, &REFRESH)?);
        }
        let living = shots.split_off(instants.len().min(shots.len()));
        let start = Instant::now();
        let mut all = Vec::new();
        for (shot, instant) in shots.into_iter().zip(instants) {
            std::thread::sleep(instant.saturating_sub(start.elapsed()));
            all.push(shot.killed_after(Duration::ZERO)?);
        }
        all.extend(living.into_iter().map(Shot::ended).collect::<Result<Vec<_>>>()?);
        let sent = self.server.refreshes()?;
        tally.sent += sent.len() as u64;
        for ended in &all {
            self.tolerable(ended, tally)?;
        }
        let survived = all
            .iter()
            .any(|ended| ended.code.is_some() && ended.token().is_some());
        let came = self.order.came(&sent, survived);
        came.with_context(|| format!("up to process {}", self.process))?;
        if let Some(refused) = sent.iter().find(|sent| sent.status != 200) {
            tally.reuses += 1;
            bail!(
                "the server refused a token within its grace window: {refused:?}, before process {}",
                self.process
            );
        }
        Ok(all)
    }

    fn tolerable(&mut self, ended: &Ended, tally: &mut Tally) -> Result<()> {
        let code = ended.code.map(|_| ended.error_code());
        match code {
            None => tally.kills += 1,
            Some(_) if ended.token().is_some() => {}
            Some(code) if ASK_AGAIN.contains(&code) => self.asked_again += 1,
            Some(_) => return Err(anyhow::anyhow!(ended.brief())).context("at a server with a grace window"),
        }
        Ok(())
    }
}

/// Which refresh token is the newest, by what was sent.
#[derive(Default)]
struct Order {
    /// A newer one is durable: they must never be sent again.
    spent: HashSet<String>,
    newest: Option<String>,
}

impl Order {
    /// Takes down what one crowd sent. `survived`: a process told a token and was not killed.
    ///
    /// # Errors
    /// If a token came again although a newer one was durable.
    fn came(&mut self, sent: &[Sent], survived: bool) -> Result<()> {
        for Sent { token, .. } in sent {
            if self.spent.contains(token) {
                bail!("a refresh token ({token}) was sent again although its successor was durable");
            }
            if self.newest.as_ref() != Some(token) {
                // What is sent was read from the disk.
                self.spent.extend(self.newest.replace(token.clone()));
            }
        }
        // Who told a token has it by something that was sent in this crowd, and here that was one token only.
        if survived && sent.iter().all(|one| Some(&one.token) == self.newest.as_ref()) {
            self.spent.extend(self.newest.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(tokens: &str) -> Vec<Sent> {
        let one = |token: char| Sent {
            token: token.to_string(),
            status: 200,
        };
        tokens.chars().map(one).collect()
    }

    #[test]
    fn a_token_comes_again_only_while_it_is_the_newest() {
        let mut order = Order::default();
        order.came(&sent("aab"), true).unwrap();
        order.came(&sent("bbc"), true).unwrap();
        assert!(order.came(&sent("b"), false).is_err());
        let mut order = Order::default();
        assert!(order.came(&sent("aba"), true).is_err());
    }

    #[test]
    fn what_a_survivor_told_is_durable() {
        let mut order = Order::default();
        order.came(&sent("aa"), false).unwrap();
        order.came(&sent("aaa"), true).unwrap();
        assert!(order.came(&sent("a"), true).is_err());
    }
}
