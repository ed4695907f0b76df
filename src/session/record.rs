//! The stored form of a session: one record, written as a whole.
//!
//! JSON with a version number. Members that a reader does not know are passed over, so that a newer version can
//! add some; a record of a newer *version* is refused with a typed error, never taken for "no session".

use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::moment::{Expiry, Moment};
use crate::error::{EndReason, Error, ErrorKind, Result, Stage};
use crate::ports::Clock;
use crate::protocol::id_token::Claims;
use crate::protocol::json::Object;
use crate::protocol::scope::Scope;
use crate::protocol::target::Target;
use crate::protocol::token::{AccessToken, IdToken, RefreshToken};

const VERSION: u64 = 1;
/// A session keeps tokens for at most this many targets besides its own.
const MAX_OTHERS: usize = 32;
/// So many sign-ins are remembered after their sessions.
const MAX_FINISHED: usize = 16;

/// A session as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct SessionRecord {
    /// Rises with each sign-in and sign-out. Whoever holds an older one has no say any more.
    pub(crate) epoch: u64,
    /// Rises with each pair of tokens.
    pub(crate) generation: u64,
    /// Whose it is; `None` where everything was to be forgotten.
    pub(crate) owner: Option<Owner>,
    /// The sign-ins that the last sessions here came from, the latest last: what is left of one of them must not bring it
    /// back, and its grant is not that of nobody.
    pub(crate) finished: Vec<String>,
    pub(crate) standing: Standing,
}

/// Which client at which server a record belongs to: its name tells only a digest of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) issuer: String,
    pub(crate) client_id: String,
}

/// What the record says of the session.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    SignedIn(Box<SignedIn>),
    /// Ended, for this reason. No token is kept; the hint helps the user to sign in again.
    Ended {
        reason: EndReason,
        login_hint: Option<String>,
        /// When, by the wall clock.
        at_unix_millis: i64,
        /// The sign-in that it came from: what is left of that must not bring it back.
        sign_in: Option<String>,
    },
}

/// A session that lives.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    /// When the user signed in, by the wall clock.
    pub(crate) since_unix_millis: i64,
    /// The diagnostic id of the sign-in that it came from, which tells that one from every other.
    pub(crate) sign_in: Option<String>,
    pub(crate) claims: Option<Claims>,
    pub(crate) scope: Scope,
    pub(crate) refresh_token: Option<RefreshToken>,
    /// For what the sign-in asked for.
    pub(crate) access_token: Option<StoredAccessToken>,
    /// For other APIs, out of the same grant.
    pub(crate) others: Vec<(Target, StoredAccessToken)>,
    /// Kept as a hint for sign-out at the server.
    pub(crate) id_token: Option<IdToken>,
    /// The tokens are durable, but the ID token that came with them is not verified yet: not to be used.
    pub(crate) provisional: bool,
    /// A refresh was begun: the request may have been sent, and its outcome is not in this record.
    pub(crate) journal: Option<Journal>,
    /// A digest of the device that the user signed in on, where storage can name it.
    pub(crate) device: Option<String>,
    /// Which attempt the newest tokens are from: of two that raced, those of the later one count.
    pub(crate) attempt: u64,
}

/// An access token and until when it can be used, by both clocks.
#[derive(Clone, Debug)]
pub(crate) struct StoredAccessToken {
    pub(crate) token: AccessToken,
    /// The generation of the session that it came with.
    pub(crate) generation: u64,
    /// `None`: the server did not say, so until an API refuses it.
    pub(crate) expiry: Option<Expiry>,
}

/// Written durably before the first byte of a refresh request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Journal {
    pub(crate) attempt_id: String,
    /// An earlier attempt with this same refresh token ended with nobody knowing its outcome.
    pub(crate) uncertain: bool,
    /// Rises with each attempt of the session.
    pub(crate) number: u64,
    /// When it was begun; `None` in a record that does not say.
    pub(crate) begun: Option<Moment>,
    /// It was begun without the lock: that this is free says nothing about whether it still runs.
    pub(crate) without_lock: bool,
}

impl Journal {
    /// How long ago the attempt was begun, in milliseconds; for ever, if that cannot be told.
    pub(crate) fn age(&self, clock: &dyn Clock) -> u64 {
        let begun = self.begun.as_ref();
        begun.and_then(|begun| begun.elapsed(clock)).unwrap_or(u64::MAX)
    }
}

impl SignedIn {
    /// The number of the last attempt that the record tells of, 0 if there was none.
    pub(crate) fn last_attempt(&self) -> u64 {
        let journal = self.journal.as_ref().map_or(0, |journal| journal.number);
        self.attempt.max(journal)
    }

    pub(crate) fn token_for(&self, target: &Target) -> Option<&StoredAccessToken> {
        if target.is_default() {
            return self.access_token.as_ref();
        }
        self.others
            .iter()
            .find(|(known, _)| known == target)
            .map(|(_, token)| token)
    }

    /// What no error of this session may tell.
    pub(crate) fn secrets(&self) -> Vec<&str> {
        let others = self.others.iter().map(|(_, access)| access);
        let access = self
            .access_token
            .iter()
            .chain(others)
            .map(|access| access.token.expose());
        let refresh = self.refresh_token.iter().map(RefreshToken::expose);
        let id = self.id_token.iter().map(IdToken::expose);
        access.chain(refresh).chain(id).collect()
    }

    /// The token that came with this generation, whatever it is for.
    pub(crate) fn newest_token(&self, generation: u64) -> Option<&StoredAccessToken> {
        let others = self.others.iter().map(|(_, token)| token);
        let mut all = self.access_token.iter().chain(others);
        all.find(|token| token.generation == generation)
    }

    /// Takes a new token in. Of those for other APIs the latest are kept.
    pub(crate) fn set_token(&mut self, target: &Target, token: StoredAccessToken) {
        if target.is_default() {
            self.access_token = Some(token);
            return;
        }
        self.others.retain(|(known, _)| known != target);
        if self.others.len() >= MAX_OTHERS {
            self.others.remove(0);
        }
        self.others.push((target.clone(), token));
    }
}

impl SessionRecord {
    pub(crate) fn signed_in(&self) -> Option<&SignedIn> {
        match &self.standing {
            Standing::SignedIn(signed_in) => Some(signed_in),
            Standing::Ended { .. } => None,
        }
    }

    /// Whether this user is signed in by it.
    pub(crate) fn is_of(&self, user: &Claims) -> bool {
        let claims = self.signed_in().and_then(|session| session.claims.as_ref());
        claims.is_some_and(|claims| claims.subject() == user.subject())
    }

    /// The sign-in that the session came from.
    pub(crate) fn sign_in(&self) -> Option<&str> {
        match &self.standing {
            Standing::SignedIn(session) => session.sign_in.as_deref(),
            Standing::Ended { sign_in, .. } => sign_in.as_deref(),
        }
    }

    /// The user has signed out: of this session, where its record is still there and not all of it is to be forgotten.
    pub(crate) fn signed_out(epoch: u64, generation: u64, at_unix_millis: i64, of: Option<&Self>) -> Self {
        Self {
            epoch,
            generation,
            owner: of.and_then(|of| of.owner.clone()),
            finished: of.map(|of| of.finished.clone()).unwrap_or_default(),
            standing: Standing::Ended {
                reason: EndReason::SignedOut,
                login_hint: None,
                at_unix_millis,
                sign_in: of.and_then(|of| of.sign_in().map(str::to_owned)),
            },
        }
    }

    /// The session of another device than this one: it goes on there, and is over here.
    pub(crate) fn on_another_device(&self, device: Option<&str>, at_unix_millis: i64) -> Option<Self> {
        let begun_on = self.signed_in()?.device.as_deref()?;
        (begun_on != device?).then(|| self.ended(EndReason::DeviceChanged, at_unix_millis))
    }

    /// Puts the tokens that came last, and the record, under a later generation.
    pub(crate) fn raise(&mut self, generation: u64) {
        let was = std::mem::replace(&mut self.generation, generation);
        if let Standing::SignedIn(session) = &mut self.standing {
            let others = session.others.iter_mut().map(|(_, token)| token);
            for token in session.access_token.iter_mut().chain(others) {
                if token.generation == was {
                    token.generation = generation;
                }
            }
        }
    }

    /// Whether a session here came from this sign-in, as far as anybody remembers.
    pub(crate) fn has_finished(&self, sign_in: &str) -> bool {
        self.sign_in() == Some(sign_in) || self.finished.iter().any(|finished| finished == sign_in)
    }

    /// What the record of the next session here remembers.
    pub(crate) fn finished_by_now(&self) -> Vec<String> {
        let mut finished = self.finished.clone();
        finished.extend(self.sign_in().map(str::to_owned));
        finished.split_off(finished.len().saturating_sub(MAX_FINISHED))
    }

    /// The same session, over: no token, but a hint that helps the user to sign in again.
    pub(crate) fn ended(&self, reason: EndReason, at_unix_millis: i64) -> Self {
        let claims = self.signed_in().and_then(|session| session.claims.as_ref());
        let login_hint = claims.and_then(|claims| {
            let name = claims.get("email").or_else(|| claims.get("preferred_username"))?;
            name.as_str().map(str::to_owned)
        });
        Self {
            epoch: self.epoch,
            generation: self.generation.saturating_add(1),
            owner: self.owner.clone(),
            finished: self.finished.clone(),
            standing: Standing::Ended {
                reason,
                login_hint,
                at_unix_millis,
                sign_in: self.signed_in().and_then(|session| session.sign_in.clone()),
            },
        }
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut members = Map::new();
        members.insert("v".into(), VERSION.into());
        members.insert("epoch".into(), self.epoch.into());
        members.insert("generation".into(), self.generation.into());
        if let Some(owner) = &self.owner {
            members.insert("issuer".into(), owner.issuer.as_str().into());
            members.insert("client_id".into(), owner.client_id.as_str().into());
        }
        if !self.finished.is_empty() {
            members.insert("finished".into(), self.finished.clone().into());
        }
        match &self.standing {
            Standing::Ended {
                reason,
                login_hint,
                at_unix_millis,
                sign_in,
            } => {
                insert_some(&mut members, "sign_in", sign_in.as_deref());
                members.insert("ended".into(), reason.name().into());
                members.insert("at_unix_millis".into(), (*at_unix_millis).into());
                insert_some(&mut members, "login_hint", login_hint.as_deref());
            }
            Standing::SignedIn(session) => encode_signed_in(session, &mut members),
        }
        Object(members).encode()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self> {
        let unreadable = |why: &str| {
            Error::new(
                ErrorKind::StorageLost,
                Stage::Storage,
                "record_unreadable",
                format!("the stored session cannot be read: {why}"),
            )
        };
        let mut object = Object::parse(bytes).map_err(|e| unreadable(&format!("it is {e}")))?;
        let number = |object: &Object, name: &str| object.get(name).and_then(Value::as_u64);
        match number(&object, "v") {
            Some(VERSION) => {}
            Some(newer) if newer > VERSION => {
                return Err(Error::new(
                    ErrorKind::Configuration,
                    Stage::Storage,
                    "record_newer",
                    "the stored session was written by a newer version of this app; update the app",
                ));
            }
            _ => return Err(unreadable("it has no version")),
        }
        let epoch = number(&object, "epoch").ok_or_else(|| unreadable("it has no epoch"))?;
        let generation = number(&object, "generation").ok_or_else(|| unreadable("it has no generation"))?;
        let owner = match (object.take_string("issuer"), object.take_string("client_id")) {
            (Some(issuer), Some(client_id)) => Some(Owner { issuer, client_id }),
            _ => None,
        };
        let finished = object.strings("finished").unwrap_or_default();
        let standing = match object.str("ended").map(str::to_owned) {
            Some(reason) => Standing::Ended {
                reason: end_reason(&reason).ok_or_else(|| unreadable("it ended for an unknown reason"))?,
                login_hint: object.take_string("login_hint"),
                at_unix_millis: object
                    .get("at_unix_millis")
                    .and_then(Value::as_i64)
                    .unwrap_or_default(),
                sign_in: object.take_string("sign_in"),
            },
            None => Standing::SignedIn(Box::new(decode_signed_in(&mut object))),
        };
        Ok(Self {
            epoch,
            generation,
            owner,
            finished,
            standing,
        })
    }
}

pub(crate) fn encode_signed_in(session: &SignedIn, members: &mut Map<String, Value>) {
    members.insert("scope".into(), session.scope.tokens().collect::<Vec<_>>().into());
    members.insert("since_unix_millis".into(), session.since_unix_millis.into());
    insert_some(members, "sign_in", session.sign_in.as_deref());
    insert_some(members, "device", session.device.as_deref());
    if session.provisional {
        members.insert("provisional".into(), true.into());
    }
    if let Some(claims) = &session.claims {
        members.insert("claims".into(), Value::Object(claims.object().0.clone()));
    }
    insert_some(
        members,
        "refresh_token",
        session.refresh_token.as_ref().map(RefreshToken::expose),
    );
    insert_some(
        members,
        "id_token",
        session.id_token.as_ref().map(IdToken::expose),
    );
    if let Some(access) = &session.access_token {
        encode_access_token(access, members);
    }
    if !session.others.is_empty() {
        let others = session.others.iter().map(|(target, access)| {
            let mut members = Map::new();
            members.insert("target".into(), target.to_value());
            encode_access_token(access, &mut members);
            Value::Object(members)
        });
        members.insert("others".into(), others.collect());
    }
    if session.attempt > 0 {
        members.insert("attempt".into(), session.attempt.into());
    }
    if let Some(journal) = &session.journal {
        members.insert(
            "journal".into(),
            json!({
                "attempt_id": journal.attempt_id,
                "uncertain": journal.uncertain,
                "number": journal.number,
                "begun": journal.begun.as_ref().map(Moment::to_value),
                "without_lock": journal.without_lock,
            }),
        );
    }
}

pub(crate) fn decode_signed_in(object: &mut Object) -> SignedIn {
    let access_token = decode_access_token(object);
    let others = match object.0.remove("others") {
        Some(Value::Array(others)) => others.into_iter().filter_map(decode_other).collect(),
        _ => Vec::new(),
    };
    let journal = object.get("journal").map(|journal| Journal {
        attempt_id: journal
            .get("attempt_id")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned(),
        uncertain: journal.get("uncertain").and_then(Value::as_bool).unwrap_or(true),
        number: journal.get("number").and_then(Value::as_u64).unwrap_or_default(),
        begun: journal.get("begun").and_then(Moment::from_value),
        without_lock: journal
            .get("without_lock")
            .and_then(Value::as_bool)
            .unwrap_or_default(),
    });
    let claims = match object.0.remove("claims") {
        Some(Value::Object(claims)) => Claims::from_stored(Object(claims)),
        _ => None,
    };
    SignedIn {
        sign_in: object.take_string("sign_in"),
        device: object.take_string("device"),
        since_unix_millis: object
            .get("since_unix_millis")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
        claims,
        scope: Scope::from_response(&object.strings("scope").unwrap_or_default().join(" ")),
        refresh_token: object.take_string("refresh_token").map(RefreshToken::new),
        access_token,
        others,
        id_token: object.take_string("id_token").map(IdToken::new),
        provisional: object.bool("provisional").unwrap_or(false),
        journal,
        attempt: object.get("attempt").and_then(Value::as_u64).unwrap_or_default(),
    }
}

fn encode_access_token(access: &StoredAccessToken, members: &mut Map<String, Value>) {
    insert_some(members, "access_token", Some(access.token.expose()));
    members.insert("token_generation".into(), access.generation.into());
    if let Some(expiry) = &access.expiry {
        members.insert(
            "expiry".into(),
            json!({
                "lifetime_millis": expiry.lifetime_millis,
                "boot_millis": expiry.boot_millis,
                "boot_id": expiry.boot_id,
                "unix_millis": expiry.unix_millis,
            }),
        );
    }
}

fn decode_access_token(object: &mut Object) -> Option<StoredAccessToken> {
    let of_the_record = object
        .get("generation")
        .and_then(Value::as_u64)
        .unwrap_or_default();
    let expiry = object.get("expiry").and_then(|expiry| {
        Some(Expiry {
            lifetime_millis: expiry.get("lifetime_millis")?.as_u64()?,
            boot_millis: expiry.get("boot_millis")?.as_u64()?,
            boot_id: expiry.get("boot_id")?.as_str().map(str::to_owned),
            unix_millis: expiry.get("unix_millis")?.as_i64()?,
        })
    });
    let generation = object.get("token_generation").and_then(Value::as_u64);
    Some(StoredAccessToken {
        token: AccessToken::new(object.take_string("access_token")?),
        generation: generation.unwrap_or(of_the_record),
        expiry,
    })
}

fn decode_other(value: Value) -> Option<(Target, StoredAccessToken)> {
    let Value::Object(members) = value else {
        return None;
    };
    let mut object = Object(members);
    let target = Target::from_value(object.get("target")?)?;
    Some((target, decode_access_token(&mut object)?))
}

fn insert_some(members: &mut Map<String, Value>, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        members.insert(name.to_owned(), value.into());
    }
}

fn end_reason(name: &str) -> Option<EndReason> {
    use EndReason as R;
    [
        R::ExpiredOrRevoked,
        R::RotationLost,
        R::KeyLost,
        R::StorageLost,
        R::DeviceChanged,
        R::SubjectChanged,
        R::SignedOut,
    ]
    .into_iter()
    .find(|reason| reason.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> SessionRecord {
        let claims = Object::parse(br#"{"sub":"alice","email":"alice@example.com"}"#).unwrap();
        SessionRecord {
            epoch: 3,
            generation: 7,
            owner: Some(Owner {
                issuer: "https://as.example".into(),
                client_id: "my-app".into(),
            }),
            finished: vec!["gp-0".into()],
            standing: Standing::SignedIn(Box::new(SignedIn {
                since_unix_millis: 9,
                sign_in: None,
                device: Some("d".into()),
                claims: Claims::from_stored(claims),
                scope: Scope::from_tokens(["openid", "profile"]).unwrap(),
                refresh_token: Some(RefreshToken::new("R".into())),
                access_token: Some(StoredAccessToken {
                    token: AccessToken::new("A".into()),
                    generation: 7,
                    expiry: Some(Expiry {
                        lifetime_millis: 60_000,
                        boot_millis: 5,
                        boot_id: Some("b".into()),
                        unix_millis: -1,
                    }),
                }),
                others: vec![(
                    Target::resource("https://b.example/").unwrap(),
                    StoredAccessToken {
                        token: AccessToken::new("B".into()),
                        generation: 6,
                        expiry: None,
                    },
                )],
                id_token: Some(IdToken::new("I".into())),
                provisional: true,
                journal: Some(Journal {
                    attempt_id: "x".into(),
                    uncertain: true,
                    number: 5,
                    begun: Some(Moment {
                        boot_millis: 4,
                        boot_id: Some("b".into()),
                        unix_millis: -2,
                    }),
                    without_lock: false,
                }),
                attempt: 4,
            })),
        }
    }

    #[test]
    fn a_record_comes_back_as_it_went() {
        let bytes = record().encode();
        assert_eq!(SessionRecord::decode(&bytes).unwrap().encode(), bytes);
        let ended = SessionRecord {
            epoch: 4,
            generation: 7,
            owner: None,
            finished: Vec::new(),
            standing: Standing::Ended {
                reason: EndReason::RotationLost,
                login_hint: Some("a@b".into()),
                at_unix_millis: 11,
                sign_in: Some("gp-1".into()),
            },
        };
        assert_eq!(
            SessionRecord::decode(&ended.encode()).unwrap().encode(),
            ended.encode()
        );
    }

    /// The format on disk is a promise to every app that shipped: a change to it is a new version.
    #[test]
    fn version_1_on_disk() {
        assert_eq!(
            std::str::from_utf8(&record().encode()).unwrap(),
            concat!(
                r#"{"access_token":"A","attempt":4,"claims":{"email":"alice@example.com","sub":"alice"},"client_id":"my-app","device":"d","epoch":3,"#,
                r#""expiry":{"boot_id":"b","boot_millis":5,"lifetime_millis":60000,"unix_millis":-1},"finished":["gp-0"],"generation":7,"#,
                r#""id_token":"I","issuer":"https://as.example","journal":{"attempt_id":"x","begun":{"boot_id":"b","#,
                r#""boot_millis":4,"unix_millis":-2},"number":5,"uncertain":true,"without_lock":false},"#,
                r#""others":[{"access_token":"B","target":{"resources":["https://b.example/"],"scope":null},"token_generation":6}],"#,
                r#""provisional":true,"#,
                r#""refresh_token":"R","scope":["openid","profile"],"since_unix_millis":9,"token_generation":7,"v":1}"#
            )
        );
    }

    #[test]
    fn bi_95_what_cannot_be_read_is_an_error_never_no_session() {
        let whole = record().encode();
        for cut in 0..whole.len() {
            assert_eq!(
                SessionRecord::decode(&whole[..cut]).unwrap_err().kind(),
                ErrorKind::StorageLost,
                "{cut}"
            );
        }
        let newer = SessionRecord::decode(br#"{"v":2,"epoch":1,"generation":1}"#).unwrap_err();
        assert_eq!(
            (newer.kind(), newer.code()),
            (ErrorKind::Configuration, "record_newer")
        );
        let unknown = SessionRecord::decode(br#"{"v":1,"epoch":1,"generation":1,"from_the_future":{}}"#);
        assert!(unknown.is_ok(), "unknown members are passed over");
    }
}
