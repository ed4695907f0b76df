//! The stored form of a sign-in that is under way: everything a redirect needs to be finished, perhaps by another
//! process than the one that opened the browser.

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::Clock;
use crate::protocol::callback::AuthorizationCode;
use crate::protocol::json::Object;
use crate::protocol::pkce::CodeVerifier;
use crate::protocol::redirect::RedirectUri;
use crate::protocol::resource::Resource;
use crate::protocol::token::RefreshToken;
use crate::secret::Secret;
use crate::session::Moment;
use crate::session::record::{SignedIn, decode_signed_in, encode_signed_in};

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
    /// When it was begun, or its redirect came, or its tokens: whichever came last.
    pub(crate) at: Moment,
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
    /// A redirect took it: its code is being exchanged, and is not exchanged again.
    Claimed,
    /// The code was exchanged for these tokens, and the ID token among them is not verified yet.
    Provisional(Provisional),
}

/// Tokens that wait for the server's keys.
pub(crate) struct Provisional {
    pub(crate) tokens: Box<SignedIn>,
    /// Spent; the ID token may hold a digest of it (OpenID Connect Core §3.3.2.11).
    pub(crate) code: AuthorizationCode,
    /// When they came, by the server's clock as far as it was known then, in seconds since 1970: the process that verifies
    /// them may not know it.
    pub(crate) received_seconds: i64,
}

/// What takes the place of a sign-in that is under way when everything is forgotten, or when it is given up: whoever is
/// about to finish it finds this, and finishes nothing. It says nothing of whose it was.
pub(crate) struct Forgotten {
    pub(crate) at: Moment,
    /// The diagnostic id of the sign-in: should its session have been stored all the same, that one goes too.
    pub(crate) sign_in: Option<String>,
}

impl Forgotten {
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let value = json!({
            "v": VERSION,
            "forgotten_unix_millis": self.at.unix_millis(),
            "at": self.at.to_value(),
            "sign_in": self.sign_in,
        });
        Zeroizing::new(value.to_string().into_bytes())
    }

    /// `None` if the record is anything else.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut object = Object::parse(bytes).ok()?;
        let unix_millis = object.get("forgotten_unix_millis")?.as_i64()?;
        Some(Self {
            at: moment(&object).unwrap_or_else(|| Moment::by_the_wall(unix_millis)),
            sign_in: object.take_string("sign_in"),
        })
    }
}

fn moment(object: &Object) -> Option<Moment> {
    object.get("at").and_then(Moment::from_value)
}

impl FlowRecord {
    /// The tokens that wait, if the sign-in has come that far.
    pub(crate) fn provisional(&self) -> Option<&Provisional> {
        match &self.progress {
            Progress::Provisional(provisional) => Some(provisional),
            Progress::Waiting | Progress::Claimed => None,
        }
    }

    /// For how many milliseconds its redirect may still come, if it has not come yet. A wall clock that is set while the
    /// browser is open changes nothing.
    pub(crate) fn left_millis(&self, clock: &dyn Clock) -> u64 {
        let left = match self.at.elapsed_since_boot(clock) {
            Some(elapsed) => self
                .expires_unix_millis
                .saturating_sub(self.at.unix_millis())
                .saturating_sub_unsigned(elapsed),
            None => self.expires_unix_millis.saturating_sub(clock.unix_millis()),
        };
        u64::try_from(left).unwrap_or_default()
    }

    /// What no error of this sign-in may tell. The redirect's own code is known to whoever has read it.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        let mut secrets = vec![self.state.expose(), self.nonce.expose(), self.verifier.expose()];
        if let Some(Provisional { tokens, code, .. }) = self.provisional() {
            secrets.push(code.expose());
            secrets.extend(tokens.secrets());
        }
        secrets
    }

    pub(crate) fn refresh_token(&self) -> Option<RefreshToken> {
        self.provisional()
            .and_then(|provisional| provisional.tokens.refresh_token.clone())
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let resources: Vec<&str> = self.resources.iter().map(Resource::as_str).collect();
        let mut object = Object::default();
        // One by one: the macro would copy what is given to it, and nobody overwrites the first copy.
        let mut insert = |name: &str, value: Value| drop(object.0.insert(name.to_owned(), value));
        insert("v", VERSION.into());
        insert("client_id", self.client_id.as_str().into());
        insert("state", self.state.expose().into());
        insert("nonce", self.nonce.expose().into());
        insert("verifier", self.verifier.expose().into());
        insert("redirect", self.redirect.as_str().into());
        insert("scope", self.scope.as_str().into());
        insert("max_age", self.max_age.into());
        insert("diagnostic_id", self.diagnostic_id.as_str().into());
        insert("at", self.at.to_value());
        insert("expires_unix_millis", self.expires_unix_millis.into());
        insert("metadata", String::from_utf8_lossy(&self.metadata).into());
        insert("acr_values", self.acr_values.as_slice().into());
        insert("resources", resources.into());
        let (mut claimed, mut tokens, mut code) = (Value::Null, Value::Null, Value::Null);
        match &self.progress {
            Progress::Waiting => {}
            Progress::Claimed => claimed = self.at.unix_millis().into(),
            Progress::Provisional(provisional) => {
                let mut members = Map::new();
                encode_signed_in(&provisional.tokens, &mut members);
                tokens = Value::Object(members);
                code = provisional.code.expose().into();
            }
        }
        insert("claimed_unix_millis", claimed);
        insert("tokens", tokens);
        insert("code", code);
        if let Some(provisional) = self.provisional() {
            insert("received_seconds", provisional.received_seconds.into());
        }
        object.encode()
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
        let claimed = object.get("claimed_unix_millis").and_then(Value::as_i64);
        let progress = match (claimed, object.0.remove("tokens")) {
            (_, Some(Value::Object(tokens))) => Progress::Provisional(Provisional {
                tokens: Box::new(decode_signed_in(&mut Object(tokens))),
                code: AuthorizationCode::new(object.take_string("code").ok_or_else(unreadable)?),
                received_seconds: object
                    .get("received_seconds")
                    .and_then(Value::as_i64)
                    .ok_or_else(unreadable)?,
            }),
            (Some(_), _) => Progress::Claimed,
            (None, _) => Progress::Waiting,
        };
        let by_the_wall = match &progress {
            Progress::Provisional(provisional) => provisional.tokens.since_unix_millis,
            Progress::Claimed | Progress::Waiting => claimed.unwrap_or(expires_unix_millis),
        };
        let at = moment(&object).unwrap_or_else(|| Moment::by_the_wall(by_the_wall));
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
            at,
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
            at: Moment::by_the_wall(5),
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
            device: None,
            attempt: 0,
        };
        for progress in [
            Progress::Waiting,
            Progress::Claimed,
            Progress::Provisional(Provisional {
                tokens: Box::new(tokens),
                code: AuthorizationCode::new("C".into()),
                received_seconds: 6,
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
