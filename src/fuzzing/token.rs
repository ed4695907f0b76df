//! Answers of the token endpoint: what they may grant, and that a refresh token in one is never dropped.

use std::time::Duration;

use serde_json::Value;

use super::input::{Answer, is_clean, loose, said_once, unguessable};
use super::samples::CLIENT;
use crate::error::{Delivery, ErrorKind, Stage};
use crate::protocol::form::Form;
use crate::protocol::json::{JsonError, Object};
use crate::protocol::scope::Scope;
use crate::protocol::token::{self, RefreshToken, TokenAnswer, TokenResponse};

/// What went out with the request. A server may quote it; we do not.
const SENT: &str = "refresh-token-0";

/// The input is an answer: status, headers, empty line, body.
pub fn token_response(data: &[u8]) {
    let answer = Answer::read(data);
    let read = TokenAnswer::read(
        answer.status,
        &answer.headers,
        answer.body,
        Stage::Refresh,
        &[SENT],
    );
    // Independently: JSON by a reader that takes the last of two members of one name.
    let strict = strictly(answer.body);
    let loose = loose(answer.body);
    if let (Some(strict), Some(loose)) = (&strict, &loose) {
        assert_eq!(*loose, Value::Object(strict.0.clone()));
    }
    let said = |name: &str| {
        let text = strict.as_ref().and_then(|object| object.str(name));
        text.filter(|text| !text.is_empty())
    };
    let promised = said("refresh_token");

    let is_tokens = answer.status.is_success() && said("error").is_none();
    match &read {
        TokenAnswer::Granted(response) => {
            assert!(is_tokens);
            granted(response, &said, loose.as_ref());
            let kept = response.refresh_token.as_ref().map(RefreshToken::expose);
            assert_eq!(kept, promised, "a refresh token was lost");
        }
        TokenAnswer::Unusable { refresh_token, .. } => {
            assert!(is_tokens || strict.is_none());
            let kept = refresh_token.as_ref().map(RefreshToken::expose);
            let promised = match &strict {
                Some(_) => Some(promised.map(str::to_owned)),
                // A member that stands twice: not to be used, but what is said once is not lost.
                None => said_once(answer.body, "refresh_token"),
            };
            if let Some(promised) = promised {
                assert_eq!(kept, promised.as_deref(), "a refresh token was lost");
            }
        }
        TokenAnswer::GrantRefused(_) => {
            // Only the server's own word, in an answer that is OAuth's.
            assert_eq!(said("error"), Some("invalid_grant"));
            assert!(!answer.status.is_redirection() && !answer.status.is_server_error());
            assert_ne!(
                answer.status.as_u16(),
                429,
                "a server with too much to do looked at nothing"
            );
        }
        TokenAnswer::Rejected(error) => {
            assert!(!answer.status.is_server_error(), "a 5xx leaves the outcome open");
            assert_ne!(error.kind(), ErrorKind::Network(Delivery::UnknownOutcome));
        }
        TokenAnswer::Unknown(_) => {
            assert!(answer.status.is_success() || answer.status.is_server_error());
            assert!(
                promised.is_none() || !is_tokens || said("access_token").is_none(),
                "a refresh token was lost"
            );
        }
    }
    if let Some(strict) = &strict {
        no_token_shows(&answer, strict);
    }
    let error = match &read {
        TokenAnswer::Granted(_) => return,
        TokenAnswer::Unusable { error, .. }
        | TokenAnswer::GrantRefused(error)
        | TokenAnswer::Rejected(error)
        | TokenAnswer::Unknown(error) => error,
    };
    assert!(!error.to_string().is_empty());
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains(SENT), "the token that was sent is in an error");
    if let Some(server) = error.server() {
        assert!(server.error.as_deref().is_none_or(|text| is_clean(text, 128)));
        assert!(
            server
                .description
                .as_deref()
                .is_none_or(|text| is_clean(text, 512))
        );
    }
}

/// Strict JSON, and its members by type.
fn strictly(body: &[u8]) -> Option<Object> {
    let salvaged = Object::salvage(body);
    let object = match Object::parse(body) {
        Ok(object) => object,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            // Only what stands twice is passed over.
            assert!(error == JsonError::Duplicate || salvaged.is_err());
            return None;
        }
    };
    assert_eq!(salvaged.unwrap().0, object.0);
    for (name, value) in &object.0 {
        assert_eq!(object.str(name), value.as_str());
        assert_eq!(object.bool(name), value.as_bool());
        let texts = value
            .as_array()
            .map(|all| all.iter().map(|one| one.as_str().map(str::to_owned)));
        assert_eq!(object.strings(name), texts.and_then(Iterator::collect));
        let date = object.numeric_date(name);
        assert!(date.is_none() || value.is_number());
        assert!(date.is_none_or(|date| date.unsigned_abs() <= 253_402_300_799));
        if value
            .as_i64()
            .is_some_and(|number| number.unsigned_abs() < 1 << 32)
        {
            assert_eq!(date, value.as_i64());
        }
    }
    Some(object)
}

/// The same answer with tokens that are nowhere else in it: none of them is in what it comes to, but for the tokens.
fn no_token_shows(answer: &Answer<'_>, object: &Object) {
    let mut object = object.0.clone();
    let canary = unguessable(answer.body);
    for name in ["access_token", "refresh_token", "id_token"] {
        if let Some(Value::String(token)) = object.get_mut(name) {
            *token = format!("{canary}-{name}");
        }
    }
    let body = Value::Object(object).to_string();
    let read = TokenAnswer::read(
        answer.status,
        &answer.headers,
        body.as_bytes(),
        Stage::Refresh,
        &[SENT],
    );
    assert!(!format!("{read:?}").contains(&canary), "a token is printed");
    let error = match &read {
        TokenAnswer::Granted(_) => return,
        TokenAnswer::Unusable { error, .. }
        | TokenAnswer::GrantRefused(error)
        | TokenAnswer::Rejected(error)
        | TokenAnswer::Unknown(error) => error,
    };
    assert!(!error.to_string().contains(&canary), "a token is in an error");
}

fn granted<'a>(response: &TokenResponse, said: &impl Fn(&'a str) -> Option<&'a str>, loose: Option<&Value>) {
    let token = response.access_token.expose();
    assert_eq!(Some(token), said("access_token"));
    assert!(
        token.bytes().all(|byte| (0x21..=0x7e).contains(&byte)),
        "a token that breaks a header"
    );
    assert!(said("token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")));
    assert_ne!(said("refresh_token"), Some(token));
    assert_eq!(
        response.id_token.as_ref().map(|token| token.expose()),
        said("id_token")
    );
    let year = Duration::from_secs(365 * 24 * 3600);
    assert!(response.expires_in.is_none_or(|life| life <= year));
    let Some(loose) = loose else { return };
    match &loose["expires_in"] {
        Value::Number(seconds) => {
            let life = response.expires_in.expect("a number is a statement");
            if let Some(seconds) = seconds.as_u64() {
                assert_eq!(life, Duration::from_secs(seconds).min(year));
            } else {
                assert!(seconds.as_f64().unwrap() > 0.0 || life.is_zero());
            }
        }
        Value::String(text) if text.parse::<u64>().is_err() => {
            assert!(response.expires_in.is_none() || text.bytes().all(|b| b.is_ascii_digit()));
        }
        Value::String(_) => {}
        _ => assert_eq!(response.expires_in, None, "neither zero nor for ever"),
    }
    match (&response.scope, loose["scope"].as_str()) {
        (Some(scope), Some(text)) => {
            for token in scope.tokens() {
                assert!(text.split(' ').any(|said| said == token));
                assert!(!token.contains(['"', '\\']) && token.bytes().all(|b| b.is_ascii_graphic()));
            }
            // What came is what may be asked for again, and no more.
            assert!(scope.require_within(scope).is_ok());
            let again = Scope::from_tokens(scope.tokens()).expect("of our own grammar");
            let spaced = Scope::from_tokens([text.to_owned() + " x"]).unwrap_err();
            assert_eq!(spaced.code(), "scope_malformed");
            assert_eq!(&again, scope);
            assert_eq!(&Scope::from_response(scope.as_str()), scope);
            let more = Scope::from_tokens([unheard_of(scope)]).unwrap();
            assert!(more.require_within(scope).is_err(), "a refresh widened the grant");
        }
        (None, None) => {}
        _ => panic!("a scope out of nothing, or none out of one"),
    }
    // What is sent next time is the token that came.
    if let Some(refresh_token) = &response.refresh_token {
        let body = token::refresh_request(CLIENT, refresh_token, response.scope.as_ref(), &[]);
        let form = Form::parse(std::str::from_utf8(&body).unwrap())
            .map_err(drop)
            .unwrap();
        assert_eq!(form.get("refresh_token"), Some(refresh_token.expose()));
        assert_eq!(form.get("grant_type"), Some("refresh_token"));
        assert_eq!(form.get("client_id"), Some(CLIENT));
    }
}

fn unheard_of(scope: &Scope) -> String {
    let longest = scope.tokens().map(str::len).max().unwrap_or_default();
    "x".repeat(longest + 1)
}
