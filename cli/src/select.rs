//! Which of the stored sessions is meant.

use gatepass::{EndReason, SessionState, StoredSession};

use crate::failure::Failure;
use crate::report::plain;

/// What was said about the session that is meant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    pub(crate) issuer: Option<String>,
    pub(crate) client_id: Option<String>,
    pub(crate) account: Option<String>,
}

impl Choice {
    /// Whether the session may be meant.
    pub(crate) fn takes(&self, session: &StoredSession) -> bool {
        let is =
            |wanted: &Option<String>, value: &str| wanted.as_deref().is_none_or(|wanted| wanted == value);
        is(&self.issuer, &session.issuer)
            && is(&self.client_id, &session.client_id)
            && self.account.as_deref().is_none_or(|who| is_account(session, who))
    }

    /// Whether a client may be meant.
    pub(crate) fn takes_client(&self, issuer: &str, client_id: &str) -> bool {
        self.issuer.as_deref().is_none_or(|wanted| wanted == issuer)
            && self.client_id.as_deref().is_none_or(|wanted| wanted == client_id)
    }

    /// All sessions that live and may be meant, the latest sign-in first.
    pub(crate) fn live<'a>(&self, all: &'a [StoredSession]) -> Vec<&'a StoredSession> {
        all.iter()
            .filter(|session| is_live(session) && self.takes(session))
            .collect()
    }

    /// The one that is meant: the only one, or the latest sign-in. An account is one session or an error.
    pub(crate) fn one<'a>(&self, all: &'a [StoredSession]) -> Result<&'a StoredSession, Failure> {
        let live = self.live(all);
        match live.as_slice() {
            [] => Err(self.nobody(all)),
            [first, _, ..] if self.account.is_none() => Ok(first),
            [only] => Ok(only),
            several => Err(Failure::configuration(
                "account_ambiguous",
                format!(
                    "{} sessions are meant by this account; say more with --issuer, --client-id or the id:\n{}",
                    several.len(),
                    list(several)
                ),
            )),
        }
    }

    /// Nobody is signed in of those who are meant. Says who is, and who was.
    fn nobody(&self, all: &[StoredSession]) -> Failure {
        if let Some((session, reason)) = self.ended(all) {
            return Failure::ended(
                reason,
                format!(
                    "the session of {} at {} ended: {}; sign in again: gatepass sign-in",
                    name(session),
                    plain(&session.issuer),
                    why(reason)
                ),
            );
        }
        let others: Vec<_> = all.iter().filter(|session| is_live(session)).collect();
        if others.is_empty() {
            return Failure::not_signed_in("nobody is signed in; sign in with: gatepass sign-in");
        }
        let who = match (&self.account, &self.issuer) {
            (Some(account), _) => format!("{} is not signed in", plain(account)),
            (None, Some(issuer)) => format!("nobody is signed in at {}", plain(&shown_url(issuer))),
            (None, None) => "nobody of this client is signed in".to_owned(),
        };
        Failure::not_signed_in(format!("{who}; those who are:\n{}", list(&others)))
    }

    /// One that is over without the user's doing, where none lives.
    pub(crate) fn ended<'a>(&self, all: &'a [StoredSession]) -> Option<(&'a StoredSession, EndReason)> {
        all.iter()
            .filter(|session| self.takes(session))
            .find_map(|session| match session.state {
                SessionState::Ended(reason) => Some((session, reason)),
                _ => None,
            })
    }
}

pub(crate) fn is_live(session: &StoredSession) -> bool {
    session.state == SessionState::SignedIn
}

fn is_account(session: &StoredSession, who: &str) -> bool {
    session.id.as_str() == who
        || session.subject.as_deref() == Some(who)
        || session.display_name.as_deref() == Some(who)
}

/// What to call the user of a session, on a terminal.
pub(crate) fn name(session: &StoredSession) -> String {
    let name = session.display_name.as_deref().or(session.subject.as_deref());
    let nobody = if is_live(session) { "somebody" } else { "-" };
    name.map_or_else(|| nobody.to_owned(), plain)
}

/// A configured URL without what may be a secret in it: user information, query and fragment.
pub(crate) fn shown_url(text: &str) -> String {
    match url::Url::parse(text) {
        Ok(url) if url.username().is_empty() && url.password().is_none() => {
            match text.find(['?', '#']).and_then(|at| text.get(..at)) {
                Some(before) => format!("{before}?…"),
                None => text.to_owned(),
            }
        }
        Ok(url) => format!("{}://…@{}", url.scheme(), url.host_str().unwrap_or("…")),
        // Nobody knows where what begins.
        Err(_) if text.contains(['@', '?', '#']) => "…".to_owned(),
        Err(_) => text.to_owned(),
    }
}

fn list(sessions: &[&StoredSession]) -> String {
    let lines: Vec<_> = sessions
        .iter()
        .map(|session| {
            format!(
                "  {} at {}, client {}, id {}",
                name(session),
                plain(&session.issuer),
                plain(&session.client_id),
                session.id
            )
        })
        .collect();
    lines.join("\n")
}

/// An end in words.
pub(crate) fn why(reason: EndReason) -> &'static str {
    match reason {
        EndReason::ExpiredOrRevoked => "it expired or was revoked at the server",
        EndReason::RotationLost => "the server's answer with the next refresh token never arrived",
        EndReason::KeyLost => "its key is gone",
        EndReason::StorageLost => "the store lost it",
        EndReason::DeviceChanged => "it was restored on another device",
        EndReason::SubjectChanged => "the server answered for another user",
        EndReason::SignedOut => "the user signed out",
        _ => "for a reason that this version does not know",
    }
}
