//! Kills: processes that refresh are killed at random instants, and started again at once.
//!
//! What is aimed at is the window of some milliseconds between the server's processing and the durable answer.

use std::time::Duration;

use anyhow::{Result, bail};

use super::Tally;
use super::dice::{Aim, Dice};
use super::ledger::Ledger;
use super::server::Server;
use super::stage::{Ended, Stage};

const REFRESH: [&str; 2] = ["token", "--refresh"];
/// One process in so many lives out its life, for how long that is now.
const MEASURE: u32 = 20;
/// The program's exit code for a session that ended without the user's doing.
const SESSION_ENDED: i32 = 9;

/// What the server makes of a refresh token that comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It answers for a minute: nothing may be lost.
    Grace,
    /// It ends the grant: what died with its process is lost, and nothing else.
    Strict,
}

pub(crate) fn run(
    stage: &Stage,
    server: &mut Server,
    kind: Kind,
    kills: u32,
    dice: &mut Dice,
    tally: &mut Tally,
) -> Result<()> {
    stage.sign_in(server)?;
    let mut run = Run {
        stage,
        server,
        kind,
        ledger: Ledger::default(),
        process: 0,
        answers_died: 0,
    };
    let outcome = run.all(kills, dice, tally);
    tally.sent = run.ledger.sent;
    tally.reuses = run.ledger.reuses;
    outcome?;
    tally.note(format!(
        "{} of {} killed processes died between the server's answer and their own",
        run.answers_died, tally.kills
    ));
    tally.note(format!(
        "{} times the server answered the same token again",
        run.ledger.answered_again
    ));
    Ok(())
}

struct Run<'a> {
    stage: &'a Stage,
    server: &'a mut Server,
    kind: Kind,
    ledger: Ledger,
    process: u32,
    answers_died: u32,
}

impl Run<'_> {
    fn all(&mut self, kills: u32, dice: &mut Dice, tally: &mut Tally) -> Result<()> {
        let mut longest = Duration::ZERO;
        for _ in 0..3 {
            longest = longest.max(self.undisturbed(tally)?.took);
        }
        let mut aim = Aim::within(longest);
        while tally.kills < kills {
            let instant = aim.next(dice);
            self.process += 1;
            let ended = self.stage.shoot(self.process, &REFRESH)?.killed_after(instant)?;
            if ended.code.is_none() {
                tally.kills += 1;
                self.stage.remark(&format!(
                    "process {} was killed {} µs after its start",
                    ended.process,
                    instant.as_micros()
                ))?;
            }
            if self.came_to(&ended, tally)? {
                aim.hit(instant);
            }
            if self.process.is_multiple_of(MEASURE) {
                let ended = self.undisturbed(tally)?;
                if ended.token().is_some() {
                    aim.longest = ended.took;
                }
            }
        }
        // What the last kill left behind comes to light.
        self.undisturbed(tally)?;
        if self.undisturbed(tally)?.token().is_none() {
            bail!("the session cannot be used at the end");
        }
        Ok(())
    }

    fn undisturbed(&mut self, tally: &mut Tally) -> Result<Ended> {
        self.process += 1;
        let ended = self.stage.shoot(self.process, &REFRESH)?.ended()?;
        self.came_to(&ended, tally)?;
        Ok(ended)
    }

    /// Judges how a process ended. Says whether it was killed with a processed request and no token told.
    fn came_to(&mut self, ended: &Ended, tally: &mut Tally) -> Result<bool> {
        let sent = self.server.refreshes()?;
        self.ledger.note(ended.told(), &sent)?;
        match ended.code {
            None => {
                let died = ended.token().is_none() && self.ledger.was_processed(ended.process);
                self.answers_died += u32::from(died);
                return Ok(died);
            }
            Some(0) => {}
            Some(SESSION_ENDED) => {
                let (cause, who) = self.ledger.cause(ended.error_code())?;
                self.stage
                    .remark(&format!("the session is lost: {who}: {}", cause.text()))?;
                tally.lost(cause, &who);
                if self.kind == Kind::Grace {
                    bail!(
                        "a session was lost at a server with a grace window: {who}: {}",
                        cause.text()
                    );
                }
                self.ledger.anew();
                self.stage.sign_in(self.server)?;
            }
            Some(_) => bail!("{}", ended.brief()),
        }
        Ok(false)
    }
}
