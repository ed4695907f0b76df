//! The keyring: the daemon that has the key is locked, stopped and killed at random instants while processes refresh.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Tally;
use super::desktop::Desktop;
use super::dice::Dice;
use super::ledger::{Ledger, Told};
use super::server::Server;
use super::stage::{Ended, Stage, Talk};

const REFRESH: [&str; 2] = ["token", "--refresh"];
/// The program's exit code for a store that is locked, lost or full.
const STORAGE: i32 = 8;
/// What such a store may be called here: never lost.
const NOT_LOST: [&str; 2] = ["storage_locked", "storage_write_failed"];

/// What befalls the keyring.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Locked,
    /// Stopped, and let go on a moment later.
    Halted,
    /// Stopped for longer than anybody waits for it.
    Stopped,
    Killed,
}

/// Every round has these.
const FATES: [Fate; 3] = [Fate::Locked, Fate::Halted, Fate::Killed];
/// And one in so many has this, which takes ten seconds.
const STOPPED: u32 = 10;

pub(crate) fn run(stage: &mut Stage, rounds: u32, dice: &mut Dice, tally: &mut Tally) -> Result<()> {
    let mut desktop = Desktop::start(&stage.folder)?;
    for (name, value) in desktop.environment() {
        stage.set(name, value);
    }
    stage.keep_in("keychain");
    let mut server = Server::of_tests(stage, "strict")?;
    stage.sign_in(&mut server)?;
    let holder = stage.hold("process 1")?;
    let mut run = Run {
        stage,
        server,
        holder,
        ledger: Ledger::default(),
        process: 1,
        usual: Duration::ZERO,
        refused: 0,
    };
    let outcome = run.all(&mut desktop, rounds, dice, tally);
    (tally.sent, tally.reuses) = (run.ledger.sent, run.ledger.reuses);
    outcome
}

struct Run<'a> {
    stage: &'a Stage,
    server: Server,
    /// It has had its key since before.
    holder: Talk,
    ledger: Ledger,
    process: u32,
    /// How long a process takes.
    usual: Duration,
    /// Processes that got no key, and said so.
    refused: u32,
}

impl Run<'_> {
    fn all(&mut self, desktop: &mut Desktop, rounds: u32, dice: &mut Dice, tally: &mut Tally) -> Result<()> {
        for _ in 0..3 {
            let ended = self.unhindered()?;
            self.usual = self.usual.max(ended.took);
        }
        for round in 1..=rounds {
            let stopped = (round % STOPPED == 0).then_some(Fate::Stopped);
            for fate in FATES.into_iter().chain(stopped) {
                self.stage.remark(&format!("round {round}: {fate:?}"))?;
                self.under(fate, desktop, dice)
                    .with_context(|| format!("round {round}, {fate:?}"))?;
                tally.faults += 1;
            }
        }
        tally.note(format!(
            "{} processes found the keyring locked, stopped or gone, and said so",
            self.refused
        ));
        if self.refused == 0 {
            bail!("the keyring was never away when it was asked for: nothing is shown");
        }
        Ok(())
    }

    fn under(&mut self, fate: Fate, desktop: &mut Desktop, dice: &mut Dice) -> Result<()> {
        self.process += 1;
        let shot = self.stage.shoot(self.process, &REFRESH)?;
        std::thread::sleep(dice.instant(self.usual));
        match fate {
            Fate::Locked => desktop.lock()?,
            Fate::Halted | Fate::Stopped => desktop.signal("-STOP")?,
            Fate::Killed => desktop.kill_keyring()?,
        }
        if matches!(fate, Fate::Halted) {
            std::thread::sleep(dice.instant(Duration::from_millis(500)));
            desktop.signal("-CONT")?;
        }
        let ended = shot.ended()?;
        self.tolerable(&ended)?;
        // Who has the key already does not need the keyring.
        self.holds()?;
        if matches!(fate, Fate::Stopped) {
            desktop.signal("-CONT")?;
        }
        if matches!(fate, Fate::Locked | Fate::Killed) {
            self.process += 1;
            let ended = self.stage.shoot(self.process, &REFRESH)?.ended()?;
            if ended.code == Some(0) {
                bail!("without a keyring: {}", ended.brief());
            }
            self.tolerable(&ended)?;
            desktop.restart_keyring()?;
        }
        self.unhindered()?;
        self.holds()
    }

    /// A refresh by the process that has the key.
    fn holds(&mut self) -> Result<()> {
        let answer = self.holder.ask("refresh")?;
        let told = Told {
            process: 1,
            killed: false,
            token: answer.name() == "token",
        };
        let sent = self.server.refreshes()?;
        self.ledger.note(told, &sent)?;
        answer.named("token").map(drop)
    }

    /// A process of its own, which must succeed.
    fn unhindered(&mut self) -> Result<Ended> {
        self.process += 1;
        let ended = self.stage.shoot(self.process, &REFRESH)?.ended()?;
        self.tolerable(&ended)?;
        if ended.code != Some(0) {
            bail!("with the keyring back: {}", ended.brief());
        }
        Ok(ended)
    }

    /// It succeeded, or says that the store is not to be had now.
    fn tolerable(&mut self, ended: &Ended) -> Result<()> {
        let sent = self.server.refreshes()?;
        self.ledger.note(ended.told(), &sent)?;
        match ended.code {
            Some(0) => Ok(()),
            Some(STORAGE) if NOT_LOST.contains(&ended.error_kind()) => {
                self.refused += 1;
                Ok(())
            }
            _ => bail!("{}", ended.brief()),
        }
    }
}
