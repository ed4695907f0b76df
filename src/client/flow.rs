//! The stored form of a sign-in that is under way: everything a redirect needs to be finished, perhaps by another
//! process than the one that opened the browser.

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result, Stage};
use crate::protocol::json::Object;
use crate::protocol::pkce::CodeVerifier;
use crate::protocol::redirect::RedirectUri;
use crate::secret::Secret;
use crate::session::record::{SignedIn, Zeroing, decode_signed_in, encode_signed_in};

const VERSION: u64 = 1;

/// A pending sign-in. Bound to its issuer, its redirect URI and this app's storage (RFC 9700 §4.4.2).
pub(super) struct FlowRecord {
    pub(super) state: Secret,
    pub(super) nonce: Secret,
    pub(super) verifier: CodeVerifier,
    pub(super) redirect: RedirectUri,
    pub(super) scope: String,
    pub(super) max_age: Option<u32>,
    pub(super) diagnostic_id: String,
    /// When it expires, by the wall clock: another boot may have to decide.
    pub(super) expires_unix_millis: i64,
    /// The metadata that the request was made with; the code goes to no other token endpoint.
    pub(super) metadata: Vec<u8>,
    pub(super) progress: Progress,
}

/// How far the sign-in is.
pub(super) enum Progress {
    /// It waits for its redirect.
    Waiting,
    /// A redirect took it, at this time by the wall clock: its code is being exchanged, and is not exchanged again.
    Claimed { unix_millis: i64 },
    /// The code was exchanged for these tokens, and the ID token among them is not verified yet.
    Provisional(Box<SignedIn>),
}

impl FlowRecord {
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let (claimed, tokens) = match &self.progress {
            Progress::Waiting => (Value::Null, Value::Null),
            Progress::Claimed { unix_millis } => (Value::from(*unix_millis), Value::Null),
            Progress::Provisional(tokens) => {
                let mut members = Map::new();
                encode_signed_in(tokens, &mut members);
                (Value::Null, Value::Object(members))
            }
        };
        let value = Zeroing(json!({
            "v": VERSION,
            "state": self.state.expose(),
            "nonce": self.nonce.expose(),
            "verifier": self.verifier.expose(),
            "redirect": self.redirect.as_str(),
            "scope": self.scope,
            "max_age": self.max_age,
            "diagnostic_id": self.diagnostic_id,
            "expires_unix_millis": self.expires_unix_millis,
            "metadata": String::from_utf8_lossy(&self.metadata),
            "claimed_unix_millis": claimed,
            "tokens": tokens,
        }));
        Zeroizing::new(value.0.to_string().into_bytes())
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let unreadable = || {
            Error::new(
                ErrorKind::Interrupted,
                Stage::Storage,
                "flow_unreadable",
                "the pending sign-in cannot be read any more; begin it anew",
            )
        };
        let mut object = Object::parse(bytes).map_err(|_| unreadable())?;
        if object.get("v").and_then(Value::as_u64) != Some(VERSION) {
            return Err(unreadable());
        }
        let max_age = object
            .get("max_age")
            .and_then(Value::as_u64)
            .and_then(|age| u32::try_from(age).ok());
        let expires_unix_millis = object
            .get("expires_unix_millis")
            .and_then(Value::as_i64)
            .ok_or_else(unreadable)?;
        let progress = match (
            object.get("claimed_unix_millis").and_then(Value::as_i64),
            object.0.remove("tokens"),
        ) {
            (_, Some(Value::Object(tokens))) => {
                Progress::Provisional(Box::new(decode_signed_in(&mut Object(tokens))))
            }
            (Some(unix_millis), _) => Progress::Claimed { unix_millis },
            (None, _) => Progress::Waiting,
        };
        let mut text = |name: &str| object.take_string(name).ok_or_else(unreadable);
        Ok(Self {
            state: Secret::new(text("state")?),
            nonce: Secret::new(text("nonce")?),
            verifier: CodeVerifier::new(text("verifier")?),
            redirect: RedirectUri::parse(&text("redirect")?)?,
            diagnostic_id: text("diagnostic_id")?,
            metadata: text("metadata")?.into_bytes(),
            scope: object.take_string("scope").unwrap_or_default(),
            max_age,
            expires_unix_millis,
            progress,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::scope::Scope;
    use crate::protocol::token::RefreshToken;

    fn record(progress: Progress) -> FlowRecord {
        FlowRecord {
            state: Secret::new("S".into()),
            nonce: Secret::new("N".into()),
            verifier: CodeVerifier::new("V".into()),
            redirect: RedirectUri::parse("http://127.0.0.1:4711/callback").unwrap(),
            scope: "openid".into(),
            max_age: Some(60),
            diagnostic_id: "gp-1".into(),
            expires_unix_millis: 7,
            metadata: b"{}".to_vec(),
            progress,
        }
    }

    #[test]
    fn a_pending_sign_in_comes_back_as_it_went() {
        let tokens = SignedIn {
            since_unix_millis: 5,
            claims: None,
            scope: Scope::from_response("openid"),
            refresh_token: Some(RefreshToken::new("R".into())),
            access_token: None,
            id_token: None,
            provisional: true,
            journal: None,
        };
        for progress in [
            Progress::Waiting,
            Progress::Claimed { unix_millis: 9 },
            Progress::Provisional(Box::new(tokens)),
        ] {
            let bytes = record(progress).encode();
            assert_eq!(FlowRecord::decode(&bytes).unwrap().encode(), bytes);
            for cut in 0..bytes.len() {
                assert_eq!(
                    FlowRecord::decode(&bytes[..cut]).err().unwrap().code(),
                    "flow_unreadable"
                );
            }
        }
    }
}
