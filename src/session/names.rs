//! The names of what one client keeps in storage.
//!
//! A name tells what kind of record it is and whose, and nothing else: the parts that say whose are digests, so that
//! neither an issuer, nor a user, nor the state of a sign-in can be read from a list of files or keychain items.

use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result, Stage};
use crate::ports::RecordKey;

/// What every name of a session begins with.
pub(crate) const SESSIONS: &str = "session.";

/// The names of one client's records.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    client: String,
    issuer: String,
}

impl Names {
    pub(crate) fn new(issuer: &str, client_id: &str) -> Self {
        Self {
            // A line break is in neither: both were checked before.
            client: digest(&format!("{issuer}\n{client_id}")),
            issuer: digest(issuer),
        }
    }

    /// The session of a client that has one at a time.
    pub(crate) fn only_session(&self) -> Result<RecordKey> {
        name(self.sessions())
    }

    /// The session of one user, of a client that has several. The user is known by issuer and subject together, never by
    /// an address (OpenID Connect Core §5.7).
    pub(crate) fn session_of(&self, subject: &str) -> Result<RecordKey> {
        name(format!("{}.{}", self.sessions(), digest(subject)))
    }

    /// What the names of all sessions of this client begin with; the whole name of the only one.
    pub(crate) fn sessions(&self) -> String {
        format!("{SESSIONS}{}", self.client)
    }

    /// The sign-in with this state.
    pub(crate) fn flow(&self, state: &str) -> Result<RecordKey> {
        name(format!("{}{}", self.flows(), digest(state)))
    }

    /// What the names of all sign-ins of this client begin with.
    pub(crate) fn flows(&self) -> String {
        format!("flow.{}.", self.client)
    }

    /// A grant to be given back, by its refresh token.
    pub(crate) fn revocation(&self, token: &str) -> Result<RecordKey> {
        name(format!("{}{}", self.revocations(), digest(token)))
    }

    /// What the names of all grants to be given back begin with.
    pub(crate) fn revocations(&self) -> String {
        format!("revoke.{}.", self.client)
    }

    /// What is known of the server.
    pub(crate) fn server(&self) -> Result<RecordKey> {
        name(format!("server.{}", self.issuer))
    }
}

/// 128 bits of SHA-256 in hexadecimal: no two meet by chance, and it fits every keychain.
/// A device, as records name it.
pub(super) fn device(name: &str) -> String {
    digest(&format!("device\n{name}"))
}

pub(super) fn digest(text: &str) -> String {
    let digest = Sha256::digest(text);
    digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn name(text: String) -> Result<RecordKey> {
    RecordKey::new(&text).ok_or_else(|| Error::internal(Stage::Storage, "a record name breaks its own rules"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_issuers_clients_or_users_do_not_share_a_record() {
        let session = |issuer: &str, client: &str| Names::new(issuer, client).only_session().unwrap();
        assert_ne!(
            session("https://a.example", "x"),
            session("https://a.example/", "x")
        );
        assert_ne!(
            session("https://a.example", "x"),
            session("https://a.example", "y")
        );
        assert_eq!(
            session("https://a.example", "x"),
            session("https://a.example", "x")
        );
        let names = Names::new("https://a.example", "x");
        assert_ne!(
            names.session_of("alice").unwrap(),
            names.session_of("bob").unwrap()
        );
        assert_ne!(names.session_of("alice").unwrap(), names.only_session().unwrap());
    }

    #[test]
    fn a_name_tells_nothing() {
        let names = Names::new("https://a.example", "x");
        for name in [
            names.flow("the-state").unwrap(),
            names.session_of("alice").unwrap(),
            names.server().unwrap(),
        ] {
            for secret in ["the-state", "alice", "a.example"] {
                assert!(!name.as_str().contains(secret), "{name:?}");
            }
        }
    }

    #[test]
    fn the_names_of_one_kind_begin_alike() {
        let names = Names::new("https://a.example", "x");
        let flow = names.flow("s").unwrap();
        assert!(flow.as_str().starts_with(&names.flows()));
        for session in [names.only_session().unwrap(), names.session_of("a").unwrap()] {
            assert!(session.as_str().starts_with(&names.sessions()));
            assert!(session.as_str().starts_with(SESSIONS));
        }
    }
}
