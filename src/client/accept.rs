//! The redirect that came back: found by its state, checked, and taken once.

use std::sync::Arc;

use tracing::warn;

use super::Inner;
use super::flow::{FlowRecord, Progress};
use super::pending::expired;
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::{CommitOutcome, Generation, RecordKey};
use crate::protocol::callback::{self, Callback, ValidatedCallback};
use crate::protocol::metadata::AuthorizationServer;
use crate::session::Moment;
use crate::sync::lock;

/// A redirect that was turned down.
pub(super) struct TurnedDown {
    pub(super) error: Error,
    /// It belonged to a pending sign-in, which is over now.
    #[cfg_attr(
        not(feature = "loopback"),
        allow(dead_code, reason = "only the listener asks")
    )]
    pub(super) ends_flow: bool,
    /// Its record was removed here, and by nobody else.
    #[cfg_attr(
        not(feature = "loopback"),
        allow(dead_code, reason = "only the listener asks")
    )]
    pub(super) removed: bool,
}

/// A redirect that passed its checks and took its pending sign-in: nobody else can.
pub(super) struct Accepted {
    pub(super) flow: FlowRecord,
    pub(super) key: RecordKey,
    pub(super) stored: Generation,
    pub(super) callback: ValidatedCallback,
}

impl Inner {
    /// Checks a redirect and takes its pending sign-in. Believes nothing before the state is known to be ours.
    pub(super) async fn accept(&self, url: &str) -> Result<Accepted, TurnedDown> {
        let keep = |error: Error| TurnedDown {
            error,
            ends_flow: false,
            removed: false,
        };
        let callback = Callback::parse(url).map_err(keep)?;
        let key = self
            .context
            .names
            .flow(callback.state().map_err(keep)?)
            .map_err(keep)?;
        let Some(stored) = self.context.load(&key).await.map_err(keep)? else {
            // If it was begun here, its caller waits for what will not come any more.
            let attempt = lock(&self.attempts).get(key.as_str()).map(Arc::clone);
            if attempt.is_some_and(|attempt| !attempt.is_claimed()) {
                self.end_attempt(&key, Err(gone()), None);
            }
            return Err(keep(Error::protocol(
                Stage::Callback,
                "no_pending_sign_in",
                "RFC 6749 §10.12",
                "the callback belongs to no sign-in that is under way: it was finished or called off, or never begun here",
            )));
        };
        let mut flow = FlowRecord::decode(&stored.bytes).map_err(keep)?;
        if !matches!(flow.progress, Progress::Waiting) {
            return Err(keep(Error::new(
                ErrorKind::AlreadyHandled,
                Stage::Callback,
                "already_handled",
                "the callback was delivered before, and is being handled",
            )));
        }
        let server = self.server_of(&flow).map_err(keep)?;
        // An alias stands for the redirect that this client is configured with, and for no other that a sign-in began with.
        let callback = match &self.redirect_alias {
            Some(alias) if flow.redirect == self.redirect => callback.handed_on_from(&flow.redirect, alias),
            _ => callback,
        };
        let expected = callback::Expected {
            redirect: &flow.redirect,
            state: &flow.state,
            issuer: server.issuer_identifier(),
            iss_required: server.sends_iss(),
        };
        let outcome = callback.validate(&expected).map_err(|mut refusal| {
            // A server that says back what it was asked does not get it into our error.
            refusal.error = refusal.error.without(&flow.secrets());
            refusal
        });
        if let Err(refusal) = &outcome
            && !refusal.ends_flow
        {
            return Err(keep(
                refusal.error.clone().with_diagnostic_id(&flow.diagnostic_id),
            ));
        }
        // One that was begun here has a deadline by a clock that nobody sets.
        let begun_here = lock(&self.attempts).contains_key(key.as_str());
        if !begun_here && flow.left_millis(&*self.context.ports.clock) == 0 {
            return Err(self
                .finish_refused(
                    &key,
                    stored.generation,
                    expired().at_stage(Stage::Callback),
                    &flow,
                )
                .await);
        }
        let callback = match outcome {
            Ok(callback) => callback,
            Err(refusal) => {
                return Err(self
                    .finish_refused(&key, stored.generation, refusal.error, &flow)
                    .await);
            }
        };
        // RFC 6749 §4.1.2: a code is used once. The conditional write lets one delivery through, in any process.
        flow.progress = Progress::Claimed;
        flow.at = Moment::now(&*self.context.ports.clock);
        let attempt = lock(&self.attempts).get(key.as_str()).map(Arc::clone);
        let claim = attempt.as_ref().map(|attempt| attempt.claim());
        let generation = stored.generation;
        let written = self.context.commit(&key, generation, flow.encode()).await;
        match written {
            Ok(CommitOutcome::Committed(stored)) => {
                if let Some(claim) = claim {
                    claim.redirect_received();
                }
                Ok(Accepted {
                    flow,
                    key,
                    stored,
                    callback,
                })
            }
            Ok(CommitOutcome::Conflict(_)) => Err(keep(Error::new(
                ErrorKind::AlreadyHandled,
                Stage::Callback,
                "already_handled",
                "the callback was delivered twice at once; the other delivery is being handled",
            ))),
            // Nothing was written, and the same redirect can be tried again once the device is unlocked.
            Err(error) if error.kind() == ErrorKind::StorageLocked => Err(keep(error)),
            // It may have been written all the same, and then every later delivery would find it taken.
            Err(error) => {
                let stored = self.written_as(&key, &flow.encode()).await;
                let stored = stored.unwrap_or(generation);
                Err(self.finish_refused(&key, stored, error, &flow).await)
            }
        }
    }

    /// The generation of this record, where a write that failed has happened all the same.
    pub(super) async fn written_as(&self, key: &RecordKey, bytes: &[u8]) -> Option<Generation> {
        let found = self.context.load(key).await.ok()??;
        // Another's, or what says that it is to be forgotten, is not ours to go on with.
        (*found.bytes == *bytes).then_some(found.generation)
    }

    /// Ends the pending sign-in that a refused redirect belonged to.
    async fn finish_refused(
        &self,
        key: &RecordKey,
        stored: Generation,
        error: Error,
        flow: &FlowRecord,
    ) -> TurnedDown {
        let error = error.with_diagnostic_id(&flow.diagnostic_id);
        warn!(diagnostic_id = %flow.diagnostic_id, code = error.code(), "the redirect ends the sign-in");
        let removal = self.context.remove(key, stored).await;
        if !matches!(removal, Ok(CommitOutcome::Conflict(_))) {
            self.end_attempt(key, Err(error.clone()), None);
        }
        TurnedDown {
            error,
            ends_flow: true,
            removed: matches!(removal, Ok(CommitOutcome::Committed(_))),
        }
    }

    pub(super) fn server_of(&self, flow: &FlowRecord) -> Result<AuthorizationServer> {
        AuthorizationServer::parse(&flow.metadata, &self.context.issuer, self.context.policy)
    }
}

/// The record of a sign-in that was begun here is no longer there.
pub(super) fn gone() -> Error {
    Error::new(
        ErrorKind::Interrupted,
        Stage::Callback,
        "sign_in_gone",
        "the sign-in is no longer in storage: it was finished by another process of this app, or everything was forgotten",
    )
}
