//! Disk full: the store is on a file system of 256 kB that fills up at random instants while a process refreshes.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Tally;
use super::dice::{Aim, Dice};
use super::ledger::{Ledger, Sent, Told};
use super::server::Server;
use super::stage::{Event, Stage, Talk};
use crate::run;

/// Enough for a store several times over.
const SIZE: &str = "size=256k,mode=0700";
/// In every so many rounds a process of its own looks whether what it finds on the disk is good.
const LOOK: u32 = 5;

/// A file system in memory, for as long as this lives.
pub(crate) struct Small(PathBuf);

impl Small {
    /// # Errors
    /// Where this user may not mount, or the system has no such thing.
    pub(crate) fn mount(at: PathBuf) -> Result<Self> {
        fs::create_dir_all(&at).with_context(|| format!("creating {}", at.display()))?;
        let mut command = run::program("mount", ["-t", "tmpfs", "-o", SIZE, "tmpfs"]);
        command.arg(&at);
        run::quiet(command)?;
        Ok(Self(at))
    }

    /// Whether it is mounted or not. Whoever still has a file open there has it as long as it likes.
    pub(crate) fn unmount(at: &Path) {
        if at.is_dir() {
            let mut command = run::program("umount", ["--lazy"]);
            command.arg(at);
            drop(run::quiet(command));
        }
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Up to the last byte.
    fn fill(&self) -> Result<()> {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .context("opening the ballast")?;
        for piece in [64 * 1024, 4096, 1] {
            let piece = vec![0; piece];
            loop {
                match file.write_all(&piece) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("filling the disk"),
                }
            }
        }
        Ok(())
    }

    fn free(&self) -> Result<()> {
        fs::remove_file(self.ballast()).context("removing the ballast")
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        Self::unmount(&self.0);
    }
}

pub(crate) fn run(
    stage: &mut Stage,
    disk: &Small,
    rounds: u32,
    dice: &mut Dice,
    tally: &mut Tally,
) -> Result<()> {
    let mut store = std::ffi::OsString::from("file:");
    store.push(disk.path().join("store"));
    stage.keep_in(store);
    let mut server = Server::of_tests(stage, "strict")?;
    stage.sign_in(&mut server)?;
    let holder = stage.hold("process 1")?;
    let mut run = Run {
        stage,
        disk,
        server,
        holder,
        ledger: Ledger::default(),
        process: 1,
        told_full: 0,
        killed: 0,
        aim: Aim::within(Duration::ZERO),
    };
    let outcome = run.all(rounds, dice, tally);
    (tally.sent, tally.reuses) = (run.ledger.sent, run.ledger.reuses);
    outcome
}

struct Run<'a> {
    stage: &'a Stage,
    disk: &'a Small,
    server: Server,
    /// The process whose disk fills up.
    holder: Talk,
    ledger: Ledger,
    process: u32,
    /// How often the process told that its disk is full.
    told_full: u32,
    /// How often it was killed over that.
    killed: u32,
    /// At the moment between the server's answer and the durable token.
    aim: Aim,
}

impl Run<'_> {
    fn all(&mut self, rounds: u32, dice: &mut Dice, tally: &mut Tally) -> Result<()> {
        for _ in 0..3 {
            let start = Instant::now();
            self.refresh()?;
            self.aim.longest = self.aim.longest.max(start.elapsed());
        }
        for round in 1..=rounds {
            self.stage.remark(&format!("round {round}"))?;
            self.round(dice)?;
            tally.faults += 1;
            if round % LOOK == 0 {
                self.look()?;
            }
        }
        self.look()?;
        tally.kills = self.killed;
        tally.note(format!(
            "the process told {} times that its disk is full; {} times the server had rotated just then, and the process was killed \
             before there was space again",
            self.told_full, self.killed
        ));
        if self.told_full == 0 {
            bail!("the disk was never full: nothing is shown");
        }
        Ok(())
    }

    /// One filling of the disk.
    fn round(&mut self, dice: &mut Dice) -> Result<()> {
        self.holder.tell("refresh")?;
        let instant = self.aim.next(dice);
        std::thread::sleep(instant);
        self.disk.fill()?;
        let answer = self.holder.answer()?;
        let sent = self.took_down(&answer)?;
        let held = answer.name() == "error" && sent.iter().any(|sent| sent.status == 200);
        self.tolerable(&answer)?;
        // The disk is still full: nothing that is not durable may be sent again.
        let answer = self.holder.ask("refresh")?;
        self.took_down(&answer)?;
        self.tolerable(&answer)?;
        if held {
            // What the server gave out is on the disk, in the room that was kept for it: the process may go.
            self.aim.hit(instant);
            self.killed += 1;
            self.stage.remark(&format!("{} is killed", self.holder.name))?;
            self.holder.kill()?;
        }
        self.disk.free()?;
        if held {
            self.process += 1;
            self.holder = self.stage.hold(&format!("process {}", self.process))?;
        }
        self.refresh()
    }

    /// With space on the disk it must work.
    fn refresh(&mut self) -> Result<()> {
        let answer = self.holder.ask("refresh")?;
        self.took_down(&answer)?;
        answer.named("token").map(drop)
    }

    /// Another process finds on the disk what is good at the server.
    fn look(&mut self) -> Result<()> {
        self.process += 1;
        let ended = self.stage.shoot(self.process, &["token", "--refresh"])?.ended()?;
        let sent = self.server.refreshes()?;
        self.ledger.note(ended.told(), &sent)?;
        if ended.token().is_none() {
            bail!("{}", ended.brief());
        }
        Ok(())
    }

    fn took_down(&mut self, answer: &Event) -> Result<Vec<Sent>> {
        let sent = self.server.refreshes()?;
        let told = Told {
            process: self.process,
            killed: false,
            // What the server answered is kept by this process, and the old token is not to be sent
            // again, by nobody.
            token: true,
        };
        self.ledger.note(told, &sent)?;
        self.stage
            .remark(&format!("process 1: {}; {} sent", answer.brief(), sent.len()))?;
        Ok(sent)
    }

    /// A full disk is told as what it is, or not noticed.
    fn tolerable(&mut self, answer: &Event) -> Result<()> {
        match (answer.name(), answer.field("kind")) {
            ("token", _) => Ok(()),
            ("error", "storage_write_failed") => {
                self.told_full += 1;
                Ok(())
            }
            _ => bail!("a full disk came to: {}", answer.brief()),
        }
    }
}
