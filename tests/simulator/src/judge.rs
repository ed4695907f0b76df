//! What must hold whatever happens. The judge sees every durable record, every refresh token on its way and every outcome
//! of a call, and says what was broken.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::server::Server;
use crate::world::Pid;

/// A process that holds the lock for longer may be taken for dead (STANDARDS: a lease).
const LEASE_MILLIS: u64 = 45_000;

/// Nobody needs another access token while the stored one lives for longer.
const FRESH_MILLIS: u64 = 120_000;

/// A session as a record tells of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Durable {
    pub(crate) epoch: u64,
    pub(crate) generation: u64,
    pub(crate) sign_in: Option<String>,
    pub(crate) refresh_token: Option<String>,
    access_tokens: Vec<String>,
    pub(crate) ended: Option<String>,
    /// Which attempt is open, and since when by the boot clock.
    journal: Option<(String, u64)>,
    /// Whether anybody is signed in.
    pub(crate) lives: bool,
    /// The access token waits for its ID token to be verified.
    provisional: bool,
}

impl Durable {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(bytes).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
        let journal = value.get("journal").and_then(|journal| {
            let begun = journal.get("begun")?.get("boot_millis")?.as_u64()?;
            Some((journal.get("attempt_id")?.as_str()?.to_owned(), begun))
        });
        let ended = text("ended");
        Some(Self {
            epoch: value.get("epoch")?.as_u64()?,
            generation: value.get("generation")?.as_u64()?,
            sign_in: text("sign_in"),
            refresh_token: text("refresh_token"),
            access_tokens: text("access_token").into_iter().collect(),
            provisional: value.get("provisional").is_some(),
            lives: ended.is_none() && value.get("scope").is_some(),
            ended,
            journal,
        })
    }
}

/// What became of a refresh token that was sent, as far as its sender knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    NotSent,
    /// No answer that says anything.
    Nothing,
    TooMany,
    /// An answer that leaves the token unused.
    Unused,
    /// Tokens, among them a new refresh token.
    Rotated,
    /// Tokens without a new refresh token.
    Granted,
    Refused,
    /// Whoever asked has died.
    Died,
}

#[derive(Debug)]
struct Sent {
    pid: Pid,
    heard: Option<Heard>,
    /// Which attempt it was of.
    attempt: Option<String>,
}

#[derive(Debug)]
struct AttemptSeen {
    begun: u64,
    written: u64,
}

/// What was seen, and what was broken.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    pub(crate) violations: Vec<String>,
    /// What every process would read now.
    pub(crate) durable: Durable,
    /// Epoch and generation of the last record that was acknowledged as durable.
    acknowledged: (u64, u64),
    /// Access tokens that storage did not take from a process.
    refused_writes: BTreeSet<(Pid, String)>,
    superseded: BTreeSet<String>,
    sent: BTreeMap<String, Vec<Sent>>,
    attempts: BTreeMap<String, AttemptSeen>,
    codes: BTreeMap<String, Vec<(Pid, Option<Heard>)>>,
    durable_access_tokens: BTreeSet<String>,
    /// Of records that were found on the disk, acknowledged or not.
    visible_access_tokens: BTreeSet<String>,
    signed_out: BTreeSet<String>,
    /// The sign-ins that were begun.
    pub(crate) begun: BTreeSet<String>,
    /// Those that were begun before everything was forgotten.
    pub(crate) forgotten: BTreeSet<String>,
    /// A server that answers a copy of a request leaves nobody able to tell.
    pub(crate) duplicated: bool,
    /// The wall clock was set.
    pub(crate) clock_was_wrong: bool,
    /// A request that left late was answered: whoever sent it counts the life of its tokens from before.
    pub(crate) overslept: bool,
    /// The device was started anew: then the wall clock is all there is to tell the age of a token.
    pub(crate) rebooted: bool,
    /// How many callers want a new token whatever the state of the one there is.
    pub(crate) wanted_anew: u32,
    /// An answer to a refresh was lost, or its request may have been.
    pub(crate) lost_response: bool,
    /// Somebody asked for the end of the session, or for another one.
    pub(crate) end_was_asked: bool,
    /// Somebody asked for the end of this very session, or began to before it was there.
    may_be_signed_out: bool,
    /// Calls that sign out and have not succeeded yet: nobody can tell when one does that was cancelled, or died.
    sign_outs: u32,
    /// An administrator ended every grant.
    pub(crate) server_ended_all: bool,
    pub(crate) refreshes: u64,
}

impl Judge {
    pub(crate) fn broken(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    /// A session record was acknowledged as durable.
    pub(crate) fn committed(&mut self, record: &[u8], now: u64, server: &Server) {
        let Some(new) = Durable::parse(record) else {
            self.broken("a record was written that cannot be read");
            return;
        };
        let old = std::mem::replace(&mut self.durable, new.clone());
        if (new.epoch, new.generation) < (old.epoch, old.generation) {
            self.broken(format!(
                "a record of epoch {} and generation {} was written over one of {} and {}",
                new.epoch, new.generation, old.epoch, old.generation
            ));
        }
        self.acknowledged = (new.epoch, new.generation);
        if let Some(token) = &old.refresh_token
            && new.refresh_token.as_ref() != Some(token)
            && new.lives
            && new.sign_in == old.sign_in
        {
            self.superseded.insert(token.clone());
        }
        if let (true, Some(sign_in)) = (new.lives, &new.sign_in) {
            if self.signed_out.contains(sign_in) {
                self.broken(format!("the session {sign_in} came back after it was over"));
            }
            let is_of_before =
                |it: &Option<String>| it.as_ref().is_some_and(|it| self.forgotten.contains(it));
            if old.lives && is_of_before(&new.sign_in) && !is_of_before(&old.sign_in) {
                self.broken(format!(
                    "the session of {sign_in}, which was forgotten, took the place of a later one"
                ));
            }
            if !old.lives || old.sign_in != new.sign_in {
                self.may_be_signed_out = self.sign_outs > 0;
            }
        }
        if let Some(token) = &new.refresh_token
            && self.superseded.contains(token)
        {
            self.broken(format!("{token} came back after it was replaced"));
        }
        self.durable_access_tokens
            .extend(new.access_tokens.iter().cloned());
        if let Some((attempt, begun)) = &new.journal {
            self.attempts.entry(attempt.clone()).or_insert(AttemptSeen {
                begun: *begun,
                written: now,
            });
        }
        if let (true, Some(reason)) = (old.lives, &new.ended) {
            self.ended(&old, reason, now, server);
            if let (Some(sign_in), "signed_out") = (&old.sign_in, reason.as_str()) {
                self.signed_out.insert(sign_in.clone());
            }
        }
    }

    fn ended(&mut self, old: &Durable, reason: &str, now: u64, server: &Server) {
        match reason {
            "signed_out" => {
                let is_forgotten = |sign_in: &String| self.forgotten.contains(sign_in);
                if !self.may_be_signed_out && !old.sign_in.as_ref().is_some_and(is_forgotten) {
                    self.broken("the session was signed out, and nobody asked for it");
                }
            }
            "expired_or_revoked" | "rotation_lost" => {
                if let Some(token) = &old.refresh_token
                    && server.would_accept(token, now)
                {
                    self.broken(format!(
                        "the session ended as {reason}, and the server would accept its {token}"
                    ));
                }
                if let Some(token) = &old.refresh_token
                    && reason == "expired_or_revoked"
                    && server.was_used(token)
                    && !self.duplicated
                {
                    self.broken(format!(
                        "the session ended as {reason}, and the answer that replaced {token} was lost"
                    ));
                }
            }
            other => self.broken(format!("the session ended as {other}")),
        }
    }

    /// Somebody asks for the end of the session that there is.
    pub(crate) fn sign_out_begins(&mut self) {
        self.end_was_asked = true;
        self.may_be_signed_out = true;
        self.sign_outs += 1;
    }

    /// It is done: a later session is not ended by it.
    pub(crate) fn sign_out_is_done(&mut self) {
        self.sign_outs -= 1;
    }

    /// Storage did not take a record, or did not say so.
    pub(crate) fn refused_write(&mut self, record: &[u8], pid: Pid) {
        let tokens = Durable::parse(record).unwrap_or_default().access_tokens;
        self.refused_writes
            .extend(tokens.into_iter().map(|token| (pid, token)));
    }

    /// What the disk holds now, after something died or failed. What was acknowledged must be there; what was not may be,
    /// and whoever reads it may use it.
    pub(crate) fn found(&mut self, record: Option<&[u8]>) {
        let found = record.and_then(Durable::parse).unwrap_or_default();
        if (found.epoch, found.generation) < self.acknowledged {
            self.broken(format!(
                "a record of epoch and generation {:?} was called durable, and the disk holds {} and {}",
                self.acknowledged, found.epoch, found.generation
            ));
        }
        self.visible_access_tokens
            .extend(found.access_tokens.iter().cloned());
        self.durable = found;
    }

    /// A refresh token goes out.
    pub(crate) fn sends(&mut self, token: &str, pid: Pid, now: u64, booted_at: u64, server: &Server) {
        self.refreshes += 1;
        let fresh = |access_token: &String| !server.is_expired(access_token, now + FRESH_MILLIS);
        if self.wanted_anew == 0
            && !self.clock_was_wrong
            && !self.overslept
            && !self.durable.provisional
            && self.durable.access_tokens.iter().any(fresh)
        {
            self.broken(format!("{token} was sent, and the stored access token was fresh"));
        }
        if self.superseded.contains(token) {
            self.broken(format!("{token} was sent after it was durably replaced"));
        }
        let attempt = self.durable.journal.as_ref().map(|(attempt, _)| attempt.clone());
        if attempt.is_none() && self.durable.refresh_token.as_deref() == Some(token) {
            self.broken(format!("{token} was sent without a journal"));
        }
        let written = attempt
            .as_ref()
            .and_then(|attempt| self.attempts.get(attempt))
            .map_or(now, |attempt| attempt.written);
        let before = self.sent.entry(token.to_owned()).or_default();
        let mut broken = Vec::new();
        for sent in before.iter() {
            let begun = sent
                .attempt
                .as_ref()
                .and_then(|attempt| self.attempts.get(attempt))
                .map_or(now, |attempt| booted_at.saturating_add(attempt.begun));
            let taken_over = sent.pid != pid && written >= begun.saturating_add(LEASE_MILLIS);
            match sent.heard {
                None if !taken_over => broken.push(format!("{token} was sent twice at a time")),
                Some(Heard::Rotated) if !taken_over => {
                    broken.push(format!("{token} was sent again after it was replaced"));
                }
                _ => {}
            }
        }
        let refused = |sent: &Sent| sent.pid == pid && sent.heard == Some(Heard::Refused);
        if before.iter().any(refused) {
            broken.push(format!("{token} was sent again after it was refused"));
        }
        before.push(Sent {
            pid,
            heard: None,
            attempt,
        });
        self.violations.extend(broken);
    }

    /// What the sender of a refresh token hears.
    pub(crate) fn heard(&mut self, token: &str, pid: Pid, heard: Heard) {
        let sent = self.sent.get_mut(token);
        let open = sent.and_then(|sent| {
            sent.iter_mut()
                .rev()
                .find(|sent| sent.pid == pid && sent.heard.is_none())
        });
        if let Some(sent) = open {
            sent.heard = Some(heard);
        }
    }

    pub(crate) fn sends_code(&mut self, code: &str, pid: Pid) {
        let before = self.codes.entry(code.to_owned()).or_default();
        let spent = before.iter().any(|(_, heard)| *heard != Some(Heard::NotSent));
        before.push((pid, None));
        if spent {
            self.broken(format!("{code} was sent twice"));
        }
    }

    pub(crate) fn heard_of_code(&mut self, code: &str, pid: Pid, heard: Heard) {
        let open = self.codes.get_mut(code).and_then(|sent| {
            sent.iter_mut()
                .rev()
                .find(|(its, heard)| *its == pid && heard.is_none())
        });
        if let Some(sent) = open {
            sent.1 = Some(heard);
        }
    }

    pub(crate) fn was_sent(&self, code: &str) -> bool {
        self.codes
            .get(code)
            .is_some_and(|sent| sent.iter().any(|(_, heard)| *heard != Some(Heard::NotSent)))
    }

    /// A process is no more: nobody hears what it was waiting for, and what it heard is lost with it unless it is durable.
    pub(crate) fn died(&mut self, pid: Pid) {
        for sent in self.sent.values_mut().flatten().filter(|sent| sent.pid == pid) {
            sent.heard = Some(match sent.heard {
                Some(Heard::NotSent) => Heard::NotSent,
                _ => Heard::Died,
            });
        }
        for (_, heard) in self
            .codes
            .values_mut()
            .flatten()
            .filter(|(its, heard)| *its == pid && heard.is_none())
        {
            *heard = Some(Heard::Died);
        }
    }

    /// A caller was given an access token.
    pub(crate) fn handed_out(&mut self, access_token: &str, pid: Pid, now: u64, server: &Server) {
        let by_itself = (pid, access_token.to_owned());
        let seen =
            self.visible_access_tokens.contains(access_token) && !self.refused_writes.contains(&by_itself);
        if !self.durable_access_tokens.contains(access_token) && !seen {
            self.broken(format!("{access_token} was handed out before it was durable"));
        }
        let nobody_can_tell = self.clock_was_wrong && self.rebooted;
        if server.is_expired(access_token, now) && !nobody_can_tell {
            self.broken(format!("{access_token} was handed out after it expired"));
        }
    }

    /// Nothing goes wrong any more, and a process has started and looked.
    pub(crate) fn settled(&mut self) {
        let found = self.durable.sign_in.clone().filter(|_| self.durable.lives);
        if let Some(sign_in) = found
            && self.forgotten.contains(&sign_in)
        {
            self.broken(format!(
                "everything was forgotten, and the session of {sign_in} is there"
            ));
        }
    }

    /// A caller was told that the session is over.
    pub(crate) fn told_of_end(&mut self, reason: &str) {
        let known = match reason {
            "signed_out" => self.end_was_asked,
            "expired_or_revoked" | "rotation_lost" => self.durable.ended.is_some() || self.end_was_asked,
            _ => false,
        };
        if !known {
            self.broken(format!(
                "a caller was told that the session ended as {reason}, and it did not"
            ));
        }
    }
}
