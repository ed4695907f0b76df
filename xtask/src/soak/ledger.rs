//! What a server was sent, held against what the processes told: which refresh tokens are durable, which were sent again, and
//! why a session was lost.

use std::collections::{HashMap, HashSet};

use anyhow::{Result, bail};

/// A refresh as the server saw it. `token` is a name for the refresh token, which is told to nobody.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    pub(crate) token: String,
    pub(crate) status: u64,
}

/// How a process ended, or what a command to it came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// Its number, for the log.
    pub(crate) process: u32,
    pub(crate) killed: bool,
    /// It told an access token, so what came with it must be durable.
    pub(crate) token: bool,
}

/// Why a session may be lost at a server without a grace window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The server had processed a request whose answer was not durable when the process died.
    AnswerDied,
    /// The request of a process that was dead came to be read after that of its successor.
    ReadLate,
}

impl Cause {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::AnswerDied => {
                "the server had processed a request whose answer was not durable when the process was killed"
            }
            Self::ReadLate => "the server read the request of a killed process after that of its successor",
        }
    }
}

/// The story of one run, process by process.
#[derive(Default)]
pub(crate) struct Ledger {
    /// By token: the process whose request the server answered with tokens first.
    processed: HashMap<String, u32>,
    /// Tokens whose successor is durable: they must never be sent again.
    spent: HashSet<String>,
    killed: HashSet<u32>,
    /// The last token that was refused, and whose request that was.
    refused: Option<(String, u32)>,
    read_late: Option<u32>,
    last: Option<Told>,
    /// Refreshes that were sent.
    pub(crate) sent: u64,
    /// Tokens refused that had been answered with tokens before.
    pub(crate) reuses: u64,
    /// Tokens that were answered with tokens a second time: answers that were lost, and nothing with them.
    pub(crate) answered_again: u64,
}

impl Ledger {
    /// Takes down what the server saw while one process ran.
    ///
    /// # Errors
    /// If a token was sent whose successor was durable.
    pub(crate) fn note(&mut self, told: Told, sent: &[Sent]) -> Result<()> {
        let before = self.last.replace(told);
        if told.killed {
            self.killed.insert(told.process);
        }
        for (at, Sent { token, status }) in sent.iter().enumerate() {
            self.sent += 1;
            // Of two requests the first is of the process before, which was killed with its request on the way.
            let by = match before {
                Some(before) if before.killed && at == 0 && sent.len() > 1 => before.process,
                _ => told.process,
            };
            if self.spent.contains(token) {
                bail!("process {by} sent a refresh token ({token}) whose successor was durable before it");
            }
            if *status == 200 {
                if self.processed.contains_key(token) {
                    self.answered_again += 1;
                }
                self.processed.entry(token.clone()).or_insert(by);
            } else {
                if self.processed.contains_key(token) {
                    self.reuses += 1;
                }
                self.refused = Some((token.clone(), by));
                if told.token {
                    self.read_late = before.map(|before| before.process);
                }
            }
        }
        if told.token {
            self.spent.extend(self.processed.keys().cloned());
        }
        Ok(())
    }

    /// Whether the server has answered a request of this process with tokens.
    pub(crate) fn was_processed(&self, process: u32) -> bool {
        self.processed.values().any(|by| *by == process)
    }

    /// Why the session is over, and which processes are to be looked at.
    ///
    /// # Errors
    /// If nothing that happened is a reason.
    pub(crate) fn cause(&self, code: &str) -> Result<(Cause, String)> {
        if let (Some(killed), "expired_or_revoked") = (self.read_late, code) {
            return Ok((Cause::ReadLate, format!("process {killed}")));
        }
        let Some((token, by)) = &self.refused else {
            bail!("the session ended ({code}), and the server has refused nothing");
        };
        match self.processed.get(token) {
            Some(first) if self.killed.contains(first) && code == "rotation_lost" => {
                let who = format!("process {first} was killed; process {by} sent the same token again");
                Ok((Cause::AnswerDied, who))
            }
            first => bail!(
                "the session ended ({code}) by the request of process {by}; the server had answered the same token for \
                 {first:?} before, and killed were {} processes: no reason for a loss",
                self.killed.len()
            ),
        }
    }

    /// Somebody has signed in anew.
    pub(crate) fn anew(&mut self) {
        *self = Self {
            sent: self.sent,
            reuses: self.reuses,
            answered_again: self.answered_again,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(token: &str, status: u64) -> Sent {
        Sent {
            token: token.to_owned(),
            status,
        }
    }

    fn killed(process: u32) -> Told {
        Told {
            process,
            killed: true,
            token: false,
        }
    }

    fn done(process: u32) -> Told {
        Told {
            process,
            killed: false,
            token: true,
        }
    }

    fn over(process: u32) -> Told {
        Told {
            process,
            killed: false,
            token: false,
        }
    }

    #[test]
    fn an_answer_that_died_with_its_process_is_a_reason() {
        let mut ledger = Ledger::default();
        ledger.note(done(1), &[sent("a", 200)]).unwrap();
        ledger.note(killed(2), &[sent("b", 200)]).unwrap();
        ledger.note(over(3), &[sent("b", 400)]).unwrap();
        let (cause, who) = ledger.cause("rotation_lost").unwrap();
        assert_eq!(cause, Cause::AnswerDied);
        assert!(
            who.contains("process 2 was killed") && who.contains("process 3"),
            "{who}"
        );
        assert_eq!((ledger.sent, ledger.reuses), (3, 1));
        assert!(ledger.was_processed(2) && !ledger.was_processed(3));
        assert!(ledger.cause("expired_or_revoked").is_err());
    }

    #[test]
    fn the_request_of_a_dead_process_may_come_to_light_with_its_successor() {
        let mut ledger = Ledger::default();
        ledger.note(killed(1), &[]).unwrap();
        ledger.note(over(2), &[sent("a", 200), sent("a", 400)]).unwrap();
        assert_eq!(ledger.cause("rotation_lost").unwrap().0, Cause::AnswerDied);

        let mut ledger = Ledger::default();
        ledger.note(killed(1), &[]).unwrap();
        ledger.note(done(2), &[sent("a", 200), sent("a", 400)]).unwrap();
        ledger.note(over(3), &[sent("b", 400)]).unwrap();
        assert_eq!(ledger.cause("expired_or_revoked").unwrap().0, Cause::ReadLate);
        ledger.anew();
        assert!(ledger.cause("expired_or_revoked").is_err());
    }

    #[test]
    fn a_loss_without_a_killed_process_has_no_reason() {
        let mut ledger = Ledger::default();
        ledger.note(over(1), &[sent("a", 200)]).unwrap();
        ledger.note(over(2), &[sent("a", 400)]).unwrap();
        assert!(ledger.cause("rotation_lost").is_err());
        let mut ledger = Ledger::default();
        ledger.note(killed(1), &[]).unwrap();
        ledger.note(over(2), &[sent("a", 400)]).unwrap();
        assert!(ledger.cause("expired_or_revoked").is_err());
    }

    #[test]
    fn a_token_with_a_durable_successor_is_never_sent_again() {
        let mut ledger = Ledger::default();
        ledger.note(killed(1), &[sent("a", 200)]).unwrap();
        ledger.note(done(2), &[sent("a", 200)]).unwrap();
        assert_eq!(ledger.answered_again, 1);
        ledger.note(done(3), &[sent("b", 200)]).unwrap();
        assert!(ledger.note(over(4), &[sent("a", 200)]).is_err());
        let mut ledger = Ledger::default();
        // Killed after it had told its token: that one was durable.
        let told = Told {
            token: true,
            ..killed(1)
        };
        ledger.note(told, &[sent("a", 200)]).unwrap();
        assert!(ledger.note(done(2), &[sent("a", 200)]).is_err());
    }
}
