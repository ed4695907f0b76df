//! Signing out: here first, then at the server.

use std::sync::Arc;

use super::context::{COMMIT_ATTEMPTS, contended};
use super::end_session::BrowserSession;
use super::record::{SessionRecord, Standing};
use super::{Session, Slot};
use crate::error::{EndReason, Error, ErrorKind, Result};
use crate::ports::{CommitOutcome, Generation, SessionEvent};
use crate::protocol::id_token::Claims;
use crate::protocol::token::{IdToken, RefreshToken};

/// How far a sign-out reaches.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
/// # fn main() -> Outcome { signed_in(async |client, session, api| {
/// use gatepass::SignOut;
///
/// session.sign_out(SignOut::Revoke).await?;
/// assert!(client.session().await?.is_none());
/// assert!(session.access_token().await.is_err());
/// # Ok(()) }) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignOut {
    /// Forget the session on this device only. The grant at the server lives on.
    Local,
    /// Forget it here, then revoke the grant at the server (RFC 7009), without opening a browser.
    #[default]
    Revoke,
    /// Forget it here, revoke the grant, then end the user's session at the server as well, in the browser (OpenID Connect
    /// RP-Initiated Logout 1.0), so that the next sign-in asks for the password again. Other apps that the user reached
    /// through the same server may be signed out with it.
    EndSession,
}

/// What came of a sign-out. Here the user is signed out in every case.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
/// # fn main() -> Outcome { signed_in(async |client, session, api| {
/// use gatepass::{BrowserSession, Revocation, SignOut};
///
/// let signed_out = session.sign_out(SignOut::Revoke).await?;
/// assert!(matches!(signed_out.revocation, Revocation::Done));
/// assert!(matches!(signed_out.browser_session, BrowserSession::NotAsked));
/// # Ok(()) }) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SignedOut {
    /// What came of the revocation at the server.
    pub revocation: Revocation,
    /// What came of ending the session in the browser.
    pub browser_session: BrowserSession,
}

/// What came of revoking the grant.
///
/// ```
/// # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/example_setup.rs"));
/// # fn main() -> Outcome { signed_in(async |client, session, api| {
/// use gatepass::{Revocation, SignOut};
///
/// let text = match session.sign_out(SignOut::Local).await?.revocation {
///     Revocation::Done => "Signed out, here and at the server.",
///     Revocation::NotNeeded => "Signed out.",
///     // Failed, or not offered: for a lost device, say where else it can be done.
///     _ => "Signed out here. To sign out everywhere, visit your account page.",
/// };
/// assert_eq!(text, "Signed out.");
/// # Ok(()) }) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Revocation {
    /// The server revoked it.
    Done,
    /// It was not asked for, there was no refresh token to revoke, or the session was over before.
    NotNeeded,
    /// The server offers no revocation: the grant lives until it expires there.
    NotOffered,
    /// The server could not be reached, for this reason. It is asked again when the app next talks to it, for at most
    /// seven days and twenty times; until then the grant lives there.
    Queued(Error),
    /// The server refused, for good. The grant may live until it expires there.
    Failed(Error),
}

impl Session {
    /// Signs out. The local part is done, durably, before the server is asked, so it holds without a network; a
    /// refresh that is under way cannot bring the session back.
    ///
    /// With [`SignOut::EndSession`] it then waits for the browser to come back, for at most five minutes; the user may as well
    /// close it.
    ///
    /// Safe to cancel: dropping the future stops the waiting, never the sign-out.
    ///
    /// ```no_run
    /// # async fn example(session: gatepass::Session) -> gatepass::Result<()> {
    /// use gatepass::{Revocation, SignOut};
    ///
    /// let signed_out = session.sign_out(SignOut::Revoke).await?;
    /// if let Revocation::Queued(error) | Revocation::Failed(error) = signed_out.revocation {
    ///     println!("signed out here; the server was not told: {error}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Only if secure storage cannot be written: then the user is not signed out. A revocation that failed is told
    /// in [`SignedOut::revocation`].
    pub async fn sign_out(&self, how: SignOut) -> Result<SignedOut> {
        let slot = Arc::clone(&self.slot);
        let epoch = self.epoch;
        self.slot
            .context
            .run(async move { slot.sign_out(epoch, how).await })
            .await
    }
}

impl Session {
    /// Everything was to be forgotten while this session was being stored: it goes, at the server too, and its name with it.
    ///
    /// # Errors
    /// Storage does not take that it is over.
    pub(crate) async fn forget(&self) -> Result<()> {
        self.sign_out(SignOut::Revoke).await?;
        // Another may have begun meanwhile, whose user has asked for it.
        self.slot.erase_if_over().await
    }
}

/// What may be left in storage when a record is erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leftovers {
    None,
    /// The record of a sign-in that could not be removed: what takes the place of its session remembers that it was, by a
    /// number, or the sign-in would be finished anew.
    OfSignIns,
}

/// What the server is told with.
struct Forgotten {
    refresh_token: Option<RefreshToken>,
    id_token: Option<IdToken>,
    claims: Option<Claims>,
}

impl Forgotten {
    /// `None` if the session was over before.
    fn of(record: SessionRecord) -> Option<Self> {
        match record.standing {
            Standing::SignedIn(session) => Some(Self {
                refresh_token: session.refresh_token,
                id_token: session.id_token,
                claims: session.claims,
            }),
            Standing::Ended { .. } => None,
        }
    }
}

impl Slot {
    async fn sign_out(self: &Arc<Self>, epoch: u64, how: SignOut) -> Result<SignedOut> {
        let Some(forgotten) = self.forget(epoch).await? else {
            return Ok(SignedOut {
                revocation: Revocation::NotNeeded,
                browser_session: BrowserSession::NotAsked,
            });
        };
        self.emit(SessionEvent::SignedOut);
        // The grant outlives the session in the browser, so it goes first.
        let revocation = match (how, forgotten.refresh_token) {
            (SignOut::Local, _) | (_, None) => Revocation::NotNeeded,
            (SignOut::Revoke | SignOut::EndSession, Some(token)) => {
                self.context.give_back(&token, forgotten.claims.as_ref()).await
            }
        };
        let browser_session = match how {
            SignOut::Local | SignOut::Revoke => BrowserSession::NotAsked,
            SignOut::EndSession => self.context.end_session(forgotten.id_token.as_ref()).await,
        };
        Ok(SignedOut {
            revocation,
            browser_session,
        })
    }

    /// Replaces the record, whatever it is, by one that says nothing but that the session is over.
    pub(crate) async fn erase(&self, leftovers: Leftovers) -> Result<()> {
        self.erase_where(|_| true, leftovers).await
    }

    /// As [`erase`](Slot::erase), unless somebody is signed in.
    pub(crate) async fn erase_if_over(&self) -> Result<()> {
        let is_over = |record: &SessionRecord| record.signed_in().is_none();
        self.erase_where(is_over, Leftovers::None).await
    }

    async fn erase_where(
        &self,
        goes: impl Fn(&SessionRecord) -> bool + Send,
        leftovers: Leftovers,
    ) -> Result<()> {
        for _ in 0..COMMIT_ATTEMPTS {
            let (least_epoch, least_generation) = self.after_newest();
            let read = match self.read_to_replace().await {
                // Of a newer version: whatever it holds, it goes.
                Err(error) if error.kind() == ErrorKind::Configuration => {
                    self.context.remove_record(&self.key).await?;
                    self.publish_erased(least_epoch, least_generation);
                    return Ok(());
                }
                read => read?,
            };
            let (old, expected) = match read {
                Some((Ok(stored), _)) if !goes(&stored) => return Ok(()),
                Some((stored, raw)) => (stored.ok(), raw.generation),
                // There was a session: what is under way for it, or held, must not bring it back.
                None if self.is_known() || self.is_holding() => (None, Generation::ABSENT),
                None => {
                    // What storage cannot read any more may still lie there.
                    match self.context.remove(&self.key, Generation::ABSENT).await? {
                        CommitOutcome::Committed(_) => return Ok(()),
                        CommitOutcome::Conflict(_) => continue,
                    }
                }
            };
            let (epoch, generation) = old.as_ref().map_or((0, 0), |old| (old.epoch, old.generation));
            let mut record = SessionRecord::signed_out(
                least_epoch.max(epoch.saturating_add(1)),
                least_generation.max(generation.saturating_add(1)),
                self.context.ports.clock.unix_millis(),
                None,
            );
            if let (Leftovers::OfSignIns, Some(old)) = (leftovers, &old) {
                record.finished = old.finished_by_now();
            }
            let written = self.context.commit(&self.key, expected, record.encode()).await?;
            if let CommitOutcome::Committed(_) = written {
                self.let_go();
                self.publish(&record);
                self.emit(SessionEvent::SignedOut);
                return Ok(());
            }
        }
        Err(contended())
    }

    /// There is no record any more; what is in memory goes as well.
    fn publish_erased(&self, epoch: u64, generation: u64) {
        self.let_go();
        if !self.is_known() {
            return;
        }
        let now = self.context.ports.clock.unix_millis();
        self.publish(&SessionRecord::signed_out(epoch, generation, now, None));
        self.emit(SessionEvent::SignedOut);
    }

    /// Replaces the record by one without tokens, of the next epoch: whatever is still under way for the old one
    /// meets it and is dropped. `None` if this session was over before.
    async fn forget(&self, epoch: u64) -> Result<Option<Forgotten>> {
        for _ in 0..COMMIT_ATTEMPTS {
            let read = match self.read_confirmed().await {
                // Nobody can read it any more, so nobody could sign out of it either: it is written over.
                Err(error) if error.kind() == ErrorKind::StorageLost => {
                    if self.is_later_than(epoch) {
                        return Ok(None);
                    }
                    let held = self.held_of(epoch);
                    // Another session may have been stored in its place since.
                    let goes = |record: &SessionRecord| record.epoch == epoch || record.signed_in().is_none();
                    self.erase_where(goes, Leftovers::None).await?;
                    return Ok(held.and_then(Forgotten::of));
                }
                read => read?,
            };
            let Some((stored, raw)) = read else {
                if self.is_later_than(epoch) {
                    return Ok(None);
                }
                self.publish_lost();
                // What is under way for it must not bring it back.
                if self.end_in_place_of(None, epoch).await? {
                    return Ok(self.let_go_of(epoch).and_then(Forgotten::of));
                }
                continue;
            };
            if stored.epoch != epoch {
                self.publish(&stored);
                return Ok(None);
            }
            // One that ended elsewhere without the user's doing could still be brought back; after this it cannot.
            if let Standing::Ended {
                reason: EndReason::SignedOut,
                ..
            } = &stored.standing
            {
                self.publish(&stored);
                return Ok(None);
            }
            if !self
                .end_in_place_of(Some((&stored, raw.generation)), epoch)
                .await?
            {
                continue;
            }
            // Tokens that storage refused earlier are the newest ones.
            let held = self.let_go_of(epoch).and_then(Forgotten::of);
            return Ok(held.or_else(|| Forgotten::of(stored)));
        }
        Err(contended())
    }

    /// Writes that the user signed out, in place of this record; `false` if it is not there any more.
    async fn end_in_place_of(&self, old: Option<(&SessionRecord, Generation)>, epoch: u64) -> Result<bool> {
        let (least_epoch, least_generation) = self.after_newest();
        let generation = old.map_or(0, |(old, _)| old.generation);
        let record = SessionRecord::signed_out(
            least_epoch.max(epoch.saturating_add(1)),
            least_generation.max(generation.saturating_add(1)),
            self.context.ports.clock.unix_millis(),
            old.map(|(old, _)| old),
        );
        let expected = old.map_or(Generation::ABSENT, |(_, generation)| generation);
        let written = self.context.commit(&self.key, expected, record.encode()).await?;
        let ended = matches!(written, CommitOutcome::Committed(_));
        if ended {
            self.publish(&record);
        }
        Ok(ended)
    }
}
