//! The stored form of a sign-in that is under way: everything a redirect needs to be finished, perhaps by another
//! process than the one that opened the browser.

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result, Stage};
use crate::protocol::callback::AuthorizationCode;
use crate::protocol::json::Object;
use crate::protocol::pkce::CodeVerifier;
use crate::protocol::redirect::RedirectUri;
use crate::protocol::resource::Resource;
use crate::protocol::token::RefreshToken;
use crate::secret::Secret;
use crate::session::record::{SignedIn, Zeroing, decode_signed_in, encode_signed_in};

const VERSION: u64 = 1;

/// A pending sign-in. Bound to its issuer, its redirect URI and this app's storage (RFC 9700 §4.4.2).
pub(crate) struct FlowRecord {
    pub(crate) client_id: String,
    pub(crate) state: Secret,
    pub(crate) nonce: Secret,
    pub(crate) verifier: CodeVerifier,
    pub(crate) redirect: RedirectUri,
    pub(crate) scope: String,
    pub(crate) max_age: Option<u32>,
    pub(crate) acr_values: Vec<String>,
    /// The APIs that the grant is for (RFC 8707 §2.2).
    pub(crate) resources: Vec<Resource>,
    pub(crate) diagnostic_id: String,
    /// When it expires, by the wall clock: another boot may have to decide.
    pub(crate) expires_unix_millis: i64,
    /// The metadata that the request was made with; the code goes to no other token endpoint.
    pub(crate) metadata: Vec<u8>,
    pub(crate) progress: Progress,
}

/// How far the sign-in is.
pub(crate) enum Progress {
    /// It waits for its redirect.
    Waiting,
    /// A redirect took it, at this time by the wall clock: its code is being exchanged, and is not exchanged again.
    Claimed { unix_millis: i64 },
    /// The code was exchanged for these tokens, and the ID token among them is not verified yet.
    Provisional(Provisional),
}

/// Tokens that wait for the server's keys.
pub(crate) struct Provisional {
    pub(crate) tokens: Box<SignedIn>,
    /// Spent; the ID token may hold a digest of it (OpenID Connect Core §3.3.2.11).
    pub(crate) code: AuthorizationCode,
}

impl FlowRecord {
    /// The tokens that wait, if the sign-in has come that far.
    pub(crate) fn provisional(&self) -> Option<&Provisional> {
        match &self.progress {
            Progress::Provisional(provisional) => Some(provisional),
            Progress::Waiting | Progress::Claimed { .. } => None,
        }
    }

    pub(crate) fn refresh_token(&self) -> Option<RefreshToken> {
        self.provisional()
            .and_then(|provisional| provisional.tokens.refresh_token.clone())
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let (claimed, tokens, code) = match &self.progress {
            Progress::Waiting => (Value::Null, Value::Null, Value::Null),
            Progress::Claimed { unix_millis } => (Value::from(*unix_millis), Value::Null, Value::Null),
            Progress::Provisional(provisional) => {
                let mut members = Map::new();
                encode_signed_in(&provisional.tokens, &mut members);
                let code = Value::from(provisional.code.expose());
                (Value::Null, Value::Object(members), code)
            }
        };
        let resources: Vec<&str> = self.resources.iter().map(Resource::as_str).collect();
        let value = Zeroing(json!({
            "v": VERSION,
            "client_id": self.client_id,
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
            "code": code,
            "acr_values": self.acr_values,
            "resources": resources,
        }));
        Zeroizing::new(value.0.to_string().into_bytes())
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let unreadable = || {
            Error::new(
                ErrorKind::Interrupted,
                Stage::Storage,
                "flow_unreadable",
                "the pending sign-in cannot be read any more; begin it anew",
            )
        };
        let mut object = Object::parse(bytes).map_err(|_| unreadable())?;
        match object.get("v").and_then(Value::as_u64) {
            Some(VERSION) => {}
            Some(newer) if newer > VERSION => {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    Stage::Storage,
                    "record_newer",
                    "the pending sign-in was written by a newer version of this app; update the app",
                ));
            }
            _ => return Err(unreadable()),
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
            (_, Some(Value::Object(tokens))) => Progress::Provisional(Provisional {
                tokens: Box::new(decode_signed_in(&mut Object(tokens))),
                code: AuthorizationCode::new(object.take_string("code").ok_or_else(unreadable)?),
            }),
            (Some(unix_millis), _) => Progress::Claimed { unix_millis },
            (None, _) => Progress::Waiting,
        };
        let resources = object.strings("resources").unwrap_or_default();
        let acr_values = object.strings("acr_values").unwrap_or_default();
        let mut text = |name: &str| object.take_string(name).ok_or_else(unreadable);
        Ok(Self {
            client_id: text("client_id")?,
            state: Secret::new(text("state")?),
            nonce: Secret::new(text("nonce")?),
            verifier: CodeVerifier::new(text("verifier")?),
            redirect: RedirectUri::parse(&text("redirect")?).map_err(|_| unreadable())?,
            diagnostic_id: text("diagnostic_id")?,
            metadata: text("metadata")?.into_bytes(),
            scope: object.take_string("scope").unwrap_or_default(),
            max_age,
            acr_values,
            resources: resources
                .iter()
                .map(|uri| Resource::parse(uri).map_err(|_| unreadable()))
                .collect::<Result<_>>()?,
            expires_unix_millis,
            progress,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::scope::Scope;

    fn record(progress: Progress) -> FlowRecord {
        FlowRecord {
            client_id: "my-app".into(),
            state: Secret::new("S".into()),
            nonce: Secret::new("N".into()),
            verifier: CodeVerifier::new("V".into()),
            redirect: RedirectUri::parse("http://127.0.0.1:4711/callback").unwrap(),
            scope: "openid".into(),
            max_age: Some(60),
            acr_values: vec!["urn:gold".into()],
            resources: vec![Resource::parse("https://api.example.com/").unwrap()],
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
            sign_in: Some("gp-1".into()),
            claims: None,
            scope: Scope::from_response("openid"),
            refresh_token: Some(RefreshToken::new("R".into())),
            access_token: None,
            others: Vec::new(),
            id_token: None,
            provisional: true,
            journal: None,
        };
        for progress in [
            Progress::Waiting,
            Progress::Claimed { unix_millis: 9 },
            Progress::Provisional(Provisional {
                tokens: Box::new(tokens),
                code: AuthorizationCode::new("C".into()),
            }),
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
