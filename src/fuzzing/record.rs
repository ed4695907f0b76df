//! Records in storage: whole or a typed error, never "no session", and the same again when they are written.

use std::time::Duration;

use serde_json::Value;

use super::input::has_fraction;
use super::session::Virtual;
use crate::adapters::memory::MemoryStorage;
use crate::client::flow::{FlowRecord, Forgotten, Progress};
use crate::error::{EndReason, ErrorKind};
use crate::ports::{Clock as _, Generation, SecureStorage};
use crate::protocol::json::Object;
use crate::protocol::redirect::RedirectUri;
use crate::protocol::target::Target;
use crate::protocol::token::RefreshToken;
use crate::session::StoredSession;
use crate::session::knowledge::Document;
use crate::session::moment::Moment;
use crate::session::names::Names;
use crate::session::record::{SessionRecord, SignedIn, Standing};

/// The input is a record as it stands in storage: of a session, of a sign-in, or of what is known of a server.
pub fn stored_record(data: &[u8]) {
    session(data);
    sign_in(data);
    if let Some(document) = Document::decode(data) {
        let written = document.encode();
        assert_eq!(Document::decode(&written).unwrap().encode(), written);
    }
}

/// What JSON says, by another reader.
fn member<'a>(document: &'a Option<Object>, name: &str) -> Option<&'a Value> {
    document.as_ref()?.get(name)
}

fn session(data: &[u8]) {
    let document = Object::parse(data).ok();
    let text = |name| {
        let text = member(&document, name).and_then(Value::as_str);
        text.filter(|text| !text.is_empty())
    };
    let storage = MemoryStorage::default();
    let key = Names::new("https://as.example", "app").only_session().unwrap();
    storage.commit(&key, Generation::ABSENT, data).unwrap();
    let listed = StoredSession::all(&storage);

    let record = match SessionRecord::decode(data) {
        Ok(record) => record,
        Err(error) => {
            let newer = member(&document, "v")
                .and_then(Value::as_u64)
                .is_some_and(|v| v > 1);
            let expected = if newer {
                (ErrorKind::Configuration, "record_newer")
            } else {
                (ErrorKind::StorageLost, "record_unreadable")
            };
            assert_eq!((error.kind(), error.code()), expected);
            let listed = listed.expect_err("what cannot be read was taken for no session");
            assert_eq!(listed.code(), error.code());
            return;
        }
    };
    assert_eq!(listed.unwrap().len(), usize::from(record.owner.is_some()));
    let written = record.encode();
    let again = SessionRecord::decode(&written).expect("written, and not to be read");
    let has_fraction = document.as_ref().is_some_and(|d| d.0.values().any(has_fraction));
    assert!(
        has_fraction || again.encode() == written,
        "another record the second time"
    );
    // Tokens do not print; they are compared by themselves.
    assert_eq!(
        format!("{again:?}"),
        format!("{record:?}"),
        "something was forgotten"
    );
    assert_eq!(all_tokens(&again), all_tokens(&record), "a stored token was lost");
    // Half a record is no record.
    let cut = data.len() % written.len();
    let half = SessionRecord::decode(&written[..cut]).unwrap_err();
    assert_eq!(half.kind(), ErrorKind::StorageLost);

    match &record.standing {
        Standing::SignedIn(signed_in) => {
            assert_eq!(text("ended"), None);
            tokens(signed_in, &text);
            let ended = record.ended(EndReason::RotationLost, 7);
            assert!(ended.epoch == record.epoch && ended.generation >= record.generation);
            is_over(&ended);
            assert_eq!(
                signed_in.claims.is_some(),
                signed_in.claims.as_ref().is_some_and(|user| record.is_of(user))
            );
            on_a_device(&record, signed_in.device.as_deref());
            raised(&record);
        }
        Standing::Ended { .. } => {
            assert!(text("ended").is_some(), "an end out of nothing");
            assert!(record.on_another_device(Some("another"), 7).is_none());
        }
    }
    ends(&record);
}

/// What is over keeps no token.
fn is_over(ended: &SessionRecord) {
    assert!(ended.signed_in().is_none() && all_tokens(ended).is_empty());
    let bytes = ended.encode();
    let kept = Object::parse(&bytes).unwrap();
    for token in ["access_token", "refresh_token", "id_token", "others", "claims"] {
        assert!(kept.get(token).is_none(), "an end that keeps {token}");
    }
}

/// A session is over on every device but its own, and nothing is concluded where one of the two is not known.
fn on_a_device(record: &SessionRecord, own: Option<&str>) {
    assert!(record.on_another_device(own, 7).is_none());
    assert!(record.on_another_device(None, 7).is_none());
    let elsewhere = record.on_another_device(Some("another"), 7);
    assert_eq!(elsewhere.is_some(), own.is_some_and(|own| own != "another"));
    if let Some(ended) = elsewhere {
        is_over(&ended);
        assert_eq!(ended.sign_in(), record.sign_in());
    }
}

/// The tokens that came last stay those that came last.
fn raised(record: &SessionRecord) {
    let mut later = record.clone();
    later.raise(record.generation.saturating_add(1));
    assert_eq!(all_tokens(&later), all_tokens(record));
    let newest = |record: &SessionRecord| {
        let token = record.signed_in()?.newest_token(record.generation)?;
        Some(token.token.expose().to_owned())
    };
    // A record with a token of a later generation than its own contradicts itself.
    let is_ahead = |session: &SignedIn| session.newest_token(later.generation).is_some();
    if newest(record).is_some() && !record.signed_in().is_some_and(is_ahead) {
        assert_eq!(newest(&later), newest(record));
    }
}

/// Whoever signs out, of whatever, has no session, and the sign-in that it came from does not bring it back.
fn ends(record: &SessionRecord) {
    let (epoch, generation) = (
        record.epoch.saturating_add(1),
        record.generation.saturating_add(1),
    );
    let over = SessionRecord::signed_out(epoch, generation, 7, Some(record));
    is_over(&over);
    assert_eq!(over.owner, record.owner);
    assert_eq!(
        (over.sign_in(), &over.finished),
        (record.sign_in(), &record.finished)
    );
    let erased = SessionRecord::signed_out(epoch, generation, 7, None);
    is_over(&erased);
    assert!(erased.owner.is_none() && erased.sign_in().is_none() && erased.finished.is_empty());
    let finished = record.finished_by_now();
    assert!(finished.len() <= 16);
    if let Some(sign_in) = record.sign_in() {
        assert!(record.has_finished(sign_in) && over.has_finished(sign_in) && !erased.has_finished(sign_in));
        assert_eq!(finished.last().map(String::as_str), Some(sign_in));
    }
    for earlier in &record.finished {
        assert!(record.has_finished(earlier));
    }
}

/// However it was written, an instant is the same again, and the two clocks do not contradict each other about it.
fn moment(at: &Moment, clock: &Virtual) {
    assert_eq!(Moment::from_value(&at.to_value()).as_ref(), Some(at));
    let since_boot = at.elapsed_since_boot(clock);
    let elapsed = at.elapsed(clock);
    if since_boot.is_some() {
        assert!(
            !at.is_of_another_boot(clock),
            "of this run of the device and of another"
        );
        assert_eq!(elapsed, since_boot, "the wall clock was asked");
    } else if elapsed.is_none() {
        assert!(
            at.unix_millis() > clock.unix_millis(),
            "long ago, and nobody can tell how long"
        );
    }
}

fn all_tokens(record: &SessionRecord) -> Vec<&str> {
    let Some(session) = record.signed_in() else {
        return Vec::new();
    };
    let own = session.access_token.iter();
    let access = own.chain(session.others.iter().map(|(_, access)| access));
    let mut tokens: Vec<&str> = access.map(|access| access.token.expose()).collect();
    tokens.extend(session.refresh_token.iter().map(RefreshToken::expose));
    tokens.extend(session.id_token.iter().map(|token| token.expose()));
    tokens
}

fn tokens<'a>(signed_in: &SignedIn, text: &impl Fn(&'static str) -> Option<&'a str>) {
    let refresh_token = signed_in.refresh_token.as_ref().map(RefreshToken::expose);
    assert_eq!(refresh_token, text("refresh_token"), "a stored token was lost");
    let access_token = signed_in
        .access_token
        .as_ref()
        .map(|access| access.token.expose());
    assert_eq!(access_token, text("access_token"), "a stored token was lost");
    let id_token = signed_in.id_token.as_ref().map(|token| token.expose());
    assert_eq!(id_token, text("id_token"));
    let found = signed_in.token_for(&Target::default());
    assert_eq!(found.map(|access| access.token.expose()), access_token);
    // None of them may be in an error.
    for token in [refresh_token, access_token, id_token].into_iter().flatten() {
        assert!(signed_in.secrets().contains(&token));
    }
    let clock = Virtual::default();
    if let Some(begun) = signed_in
        .journal
        .as_ref()
        .and_then(|journal| journal.begun.as_ref())
    {
        moment(begun, &clock);
    }
    if let Some(journal) = &signed_in.journal {
        assert!(signed_in.last_attempt() >= journal.number);
        assert!(
            journal.begun.is_some() || journal.age(&clock) == u64::MAX,
            "begun nobody knows when"
        );
    }
    let expiry = Moment::now(&clock).expiry(Duration::from_millis(signed_in.last_attempt()));
    assert!(expiry.boot_millis >= clock.boot_millis() && expiry.unix_millis >= clock.unix_millis());
    // The bound on tokens for other targets is kept, and the newest stays.
    let mut more = signed_in.clone();
    if let Some(access) = &signed_in.access_token {
        let before = more.others.len();
        let newest = Target::resource("urn:newest").unwrap();
        more.set_token(&newest, access.clone());
        assert!(more.others.len() <= before.max(31) + 1);
        assert!(more.token_for(&newest).is_some());
        more.set_token(&Target::default(), access.clone());
        assert!(more.newest_token(access.generation).is_some());
    }
}

fn sign_in(data: &[u8]) {
    if let Some(forgotten) = Forgotten::decode(data) {
        let again = Forgotten::decode(&forgotten.encode()).unwrap();
        moment(&forgotten.at, &Virtual::default());
        assert_eq!((again.at, again.sign_in), (forgotten.at, forgotten.sign_in));
    }
    let has_fraction = Object::parse(data).is_ok_and(|d| d.0.values().any(has_fraction));
    let record = match FlowRecord::decode(data) {
        Ok(record) => record,
        Err(error) => {
            let known = match error.code() {
                "flow_unreadable" => ErrorKind::Interrupted,
                "record_newer" => ErrorKind::Configuration,
                other => panic!("{other} of a stored sign-in"),
            };
            assert_eq!(error.kind(), known);
            return;
        }
    };
    let written = record.encode();
    let again = FlowRecord::decode(&written).expect("written, and not to be read");
    assert!(
        has_fraction || again.encode() == written,
        "another record the second time"
    );
    for (is, was) in [(&again.state, &record.state), (&again.nonce, &record.nonce)] {
        assert!(was.matches(is.expose()));
    }
    assert_eq!(again.verifier.expose(), record.verifier.expose());
    assert_eq!(again.secrets(), record.secrets());
    assert!(record.secrets().contains(&record.verifier.expose()));
    assert_eq!(
        (
            &again.client_id,
            &again.scope,
            again.max_age,
            again.expires_unix_millis
        ),
        (
            &record.client_id,
            &record.scope,
            record.max_age,
            record.expires_unix_millis
        )
    );
    assert_eq!(
        (
            &again.acr_values,
            &again.resources,
            &again.diagnostic_id,
            &again.metadata
        ),
        (
            &record.acr_values,
            &record.resources,
            &record.diagnostic_id,
            &record.metadata
        )
    );
    match (&again.progress, &record.progress) {
        (Progress::Waiting, Progress::Waiting) => {}
        (Progress::Claimed, Progress::Claimed) => assert_eq!(again.at, record.at),
        (Progress::Provisional(is), Progress::Provisional(was)) => {
            assert_eq!(is.code.expose(), was.code.expose());
            assert_eq!(format!("{:?}", is.tokens), format!("{:?}", was.tokens));
        }
        _ => panic!("as far as it never was, or no longer as far"),
    }
    let cut = data.len() % written.len();
    assert!(FlowRecord::decode(&written[..cut]).is_err(), "half a record");
    let redirect = RedirectUri::parse(record.redirect.as_str()).unwrap();
    assert_eq!(redirect, record.redirect);
    let (is, was) = (record.refresh_token(), again.refresh_token());
    assert_eq!(
        is.as_ref().map(RefreshToken::expose),
        was.as_ref().map(RefreshToken::expose)
    );
    let waits = matches!(record.progress, Progress::Provisional(_));
    assert!(waits || is.is_none());
    time_left(&record);
}

/// Time passes for a redirect that is awaited, and at its end no more is left of it.
fn time_left(record: &FlowRecord) {
    let clock = Virtual::default();
    moment(&record.at, &clock);
    let left = record.left_millis(&clock);
    // As long as the wall clock can show it.
    if left < 1 << 42 {
        clock.advance(left / 2);
        let later = record.left_millis(&clock);
        assert!(later <= left, "{later} ms are left, and {left} were");
        clock.advance(left);
        assert_eq!(record.left_millis(&clock), 0);
    }
}
