//! Grants that are to be given back to the server (RFC 7009): written down before the server is asked, so that neither a
//! lost network nor the end of the process forgets one. Signing out never waits for it.

use std::sync::Arc;

use serde_json::{Map, Value};
use tracing::debug;
use zeroize::Zeroizing;

use super::context::Context;
use super::names::digest;
use super::pace::asked_for;
use super::record::SignedIn;
use super::sign_out::Revocation;
use crate::error::{Delivery, Error, ErrorKind, Result};
use crate::ports::{CommitOutcome, Generation, RecordKey};
use crate::protocol::id_token::Claims;
use crate::protocol::json::Object;
use crate::protocol::token::RefreshToken;

const VERSION: u64 = 1;
/// A grant that could not be given back for so long is left to expire at the server.
const KEPT_MILLIS: i64 = 7 * 24 * 3_600_000;
/// And so is one that the server was asked about so often.
const MAX_TRIES: u64 = 20;
/// The first pause; each try doubles it.
const PAUSE_MILLIS: i64 = 60_000;
const LONGEST_PAUSE_MILLIS: i64 = 12 * 3_600_000;

/// One that waits.
struct Waiting {
    token: RefreshToken,
    /// A digest of the subject, where it is known.
    whose: Option<String>,
    since_unix_millis: i64,
    /// How often the server was asked.
    tries: u64,
    not_before_unix_millis: i64,
}

impl Context {
    /// Gives a grant back: asks the server now, and later if it cannot be reached.
    pub(crate) async fn give_back(&self, token: &RefreshToken, claims: Option<&Claims>) -> Revocation {
        let now = self.ports.clock.unix_millis();
        let waiting = Waiting {
            token: token.clone(),
            whose: claims.map(|claims| digest(claims.subject())),
            since_unix_millis: now,
            tries: 0,
            not_before_unix_millis: now,
        };
        let written = async {
            let key = self.names.revocation(token.expose())?;
            let outcome = self.commit(&key, Generation::ABSENT, waiting.encode()).await?;
            Ok::<_, Error>((key, outcome))
        };
        match written.await {
            Ok((key, CommitOutcome::Committed(generation))) => self.ask(&key, generation, waiting).await,
            // It waits already.
            Ok((key, CommitOutcome::Conflict(Some(stored)))) => {
                self.ask(&key, stored.generation, waiting).await
            }
            Ok((_, CommitOutcome::Conflict(None))) | Err(_) => match self.revoke(token).await {
                Ok(true) => Revocation::Done,
                Ok(false) => Revocation::NotOffered,
                Err(error) => Revocation::Failed(error),
            },
        }
    }

    /// As [`give_back`](Context::give_back), for one that nobody waits for.
    pub(crate) fn give_back_quietly(self: &Arc<Self>, token: RefreshToken, claims: Option<&Claims>) {
        let (context, claims) = (Arc::clone(self), claims.cloned());
        self.spawn(async move {
            if let Revocation::Queued(error) | Revocation::Failed(error) =
                context.give_back(&token, claims.as_ref()).await
            {
                debug!(
                    code = error.code(),
                    "a refresh token that is not kept was not revoked"
                );
            }
        });
    }

    /// Asks about those that wait and are due.
    pub(crate) fn give_back_what_waits(self: &Arc<Self>) {
        let context = Arc::clone(self);
        self.spawn(async move {
            if let Err(error) = context.ask_about_all().await {
                debug!(code = error.code(), "the grants to be given back cannot be read");
            }
        });
    }

    /// The user has signed in again: where a server has one grant for a user and an app, giving back one of before would end
    /// the new session. Best effort: what cannot be read now is not asked about either.
    pub(super) async fn keep_grants_of(&self, signed_in: &SignedIn) {
        let Some(whose) = signed_in.claims.as_ref().map(|claims| digest(claims.subject())) else {
            return;
        };
        let Ok(keys) = self.list(&self.names.revocations()).await else {
            return;
        };
        for key in keys {
            if let Ok(Some(stored)) = self.load(&key).await
                && let Some(waiting) = Waiting::decode(&stored.bytes)
                && waiting.whose.as_ref() == Some(&whose)
            {
                drop(self.remove(&key, stored.generation).await);
            }
        }
    }

    /// None waits any more, whether the server was told or not.
    pub(crate) async fn forget_revocations(&self) -> Result<()> {
        let mut outcome = Ok(());
        for key in self.list(&self.names.revocations()).await? {
            outcome = outcome.and(self.remove_record(&key).await);
        }
        outcome
    }

    async fn ask_about_all(&self) -> Result<()> {
        for key in self.list(&self.names.revocations()).await? {
            let stored = match self.load(&key).await {
                Ok(Some(stored)) => stored,
                Ok(None) => continue,
                // One that is lost holds up no other.
                Err(error) if error.kind() == ErrorKind::StorageLost => {
                    drop(self.remove_record(&key).await);
                    continue;
                }
                Err(error) => return Err(error),
            };
            if is_newer(&stored.bytes) {
                // Written by a newer version of the app, which will ask.
                continue;
            }
            let now = self.ports.clock.unix_millis();
            match Waiting::decode(&stored.bytes) {
                Some(waiting) if waiting.is_kept(now) => {
                    if waiting.is_due(now) {
                        drop(self.ask(&key, stored.generation, waiting).await);
                    }
                }
                _ => drop(self.remove(&key, stored.generation).await),
            }
        }
        Ok(())
    }

    async fn ask(&self, key: &RecordKey, stored: Generation, mut waiting: Waiting) -> Revocation {
        let done = match self.revoke(&waiting.token).await {
            Ok(true) => Revocation::Done,
            Ok(false) => Revocation::NotOffered,
            Err(error) if is_final(&error) => Revocation::Failed(error),
            Err(error) => {
                waiting.failed(&error, self.ports.clock.unix_millis());
                if let Err(failure) = self.commit(key, stored, waiting.encode()).await {
                    // The record of before is still there.
                    debug!(code = failure.code(), "a try to give a grant back is not counted");
                }
                return Revocation::Queued(error);
            }
        };
        if let Err(error) = self.remove(key, stored).await {
            // It is asked about once more, and the server does not mind (RFC 7009 §2.2).
            debug!(code = error.code(), "a grant that was given back still waits");
        }
        done
    }
}

/// Whether asking again is of no use: the server has understood, and said no.
fn is_final(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Network(_) | ErrorKind::RateLimited => false,
        ErrorKind::Server => error.server().is_some_and(|server| {
            server.error.is_some() && server.status.is_some_and(|s| (400..500).contains(&s))
        }),
        _ => false,
    }
}

/// Whether a record is of a later version than this one writes.
fn is_newer(bytes: &[u8]) -> bool {
    let version = |object: Object| object.get("v").and_then(Value::as_u64);
    Object::parse(bytes)
        .ok()
        .and_then(version)
        .is_some_and(|version| version > VERSION)
}

impl Waiting {
    fn is_kept(&self, now: i64) -> bool {
        // A clock that was set back says nothing about the age.
        self.tries < MAX_TRIES && now.saturating_sub(self.since_unix_millis) < KEPT_MILLIS
    }

    fn is_due(&self, now: i64) -> bool {
        // Never longer than the longest pause, whatever was done to the clock.
        let pause = self.not_before_unix_millis.saturating_sub(now);
        pause <= 0 || pause > LONGEST_PAUSE_MILLIS.saturating_mul(2)
    }

    fn failed(&mut self, error: &Error, now: i64) {
        if error.kind() == ErrorKind::Network(Delivery::NotSent) {
            // The server was not asked.
            self.not_before_unix_millis = now;
            return;
        }
        let pause = PAUSE_MILLIS
            .saturating_mul(1 << self.tries.min(16))
            .min(LONGEST_PAUSE_MILLIS);
        let asked = i64::try_from(asked_for(error)).unwrap_or(i64::MAX);
        self.tries = self.tries.saturating_add(1);
        self.not_before_unix_millis = now.saturating_add(pause.max(asked));
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut members = Map::new();
        let mut insert = |name: &str, value: Value| members.insert(name.to_owned(), value);
        insert("v", VERSION.into());
        insert("refresh_token", self.token.expose().into());
        if let Some(whose) = &self.whose {
            insert("whose", whose.as_str().into());
        }
        insert("since_unix_millis", self.since_unix_millis.into());
        insert("tries", self.tries.into());
        insert("not_before_unix_millis", self.not_before_unix_millis.into());
        Object(members).encode()
    }

    /// `None` if it cannot be read: then nobody can give it back.
    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut object = Object::parse(bytes).ok()?;
        if object.get("v").and_then(Value::as_u64) != Some(VERSION) {
            return None;
        }
        Some(Self {
            since_unix_millis: object.get("since_unix_millis")?.as_i64()?,
            tries: object.get("tries")?.as_u64()?,
            not_before_unix_millis: object.get("not_before_unix_millis")?.as_i64()?,
            whose: object.take_string("whose"),
            token: RefreshToken::new(object.take_string("refresh_token")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Stage;

    fn waiting() -> Waiting {
        Waiting {
            token: RefreshToken::new("R".to_owned()),
            whose: Some("digest".to_owned()),
            since_unix_millis: 0,
            tries: 0,
            not_before_unix_millis: 0,
        }
    }

    fn unreachable(delivery: Delivery) -> Error {
        Error::new(ErrorKind::Network(delivery), Stage::Revocation, "connect", "no")
    }

    #[test]
    fn rv_11_at_most_seven_days_or_twenty_tries() {
        let mut waiting = waiting();
        let mut now = 0;
        let mut tries = 0;
        while waiting.is_kept(now) {
            assert!(waiting.is_due(now));
            waiting.failed(&unreachable(Delivery::UnknownOutcome), now);
            assert!(waiting.not_before_unix_millis > now);
            now = waiting.not_before_unix_millis;
            tries += 1;
        }
        assert!((10..=20).contains(&tries), "{tries} tries");
        assert!(now <= KEPT_MILLIS + LONGEST_PAUSE_MILLIS);
        assert!(!waiting_since(0).is_kept(KEPT_MILLIS));
    }

    fn waiting_since(since_unix_millis: i64) -> Waiting {
        Waiting {
            since_unix_millis,
            ..waiting()
        }
    }

    #[test]
    fn rv_11_what_was_not_sent_is_no_try() {
        let mut waiting = waiting();
        for _ in 0..100 {
            waiting.failed(&unreachable(Delivery::NotSent), 5);
        }
        assert_eq!(waiting.tries, 0);
        assert!(waiting.is_due(5));
    }

    #[test]
    fn rv_08_a_server_that_says_when_is_not_asked_before() {
        let mut waiting = waiting();
        let busy = Error::new(ErrorKind::Server, Stage::Revocation, "revocation_refused", "no")
            .with_retry_after(std::time::Duration::from_secs(7_200));
        waiting.failed(&busy, 1_000);
        assert_eq!(waiting.not_before_unix_millis, 7_201_000);
    }

    #[test]
    fn it_comes_back_as_it_went() {
        let bytes = waiting().encode();
        assert_eq!(Waiting::decode(&bytes).unwrap().encode(), bytes);
        for cut in 0..bytes.len() {
            assert!(Waiting::decode(&bytes[..cut]).is_none());
        }
    }
}
