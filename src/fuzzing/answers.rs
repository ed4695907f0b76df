//! Errors of every endpoint, and the headers that come with them: untrusted text, bounded waits, and never a success.

use std::sync::LazyLock;
use std::time::Duration;

use ::http::StatusCode;
use url::Url;

use super::input::{Answer, has_clean_texts, is_clean};
use crate::error::{Error, Stage};
use crate::protocol::answer;
use crate::protocol::json::Object;
use crate::protocol::par::PushedRequest;
use crate::protocol::revocation;
use crate::protocol::text;
use crate::protocol::token::{RefreshToken, TokenAnswer};
use crate::protocol::userinfo::{Userinfo, UserinfoAnswer};

/// What went out with the request.
const SENT: &str = "a-secret-that-was-sent";

static ENDPOINT: LazyLock<Url> = LazyLock::new(|| Url::parse("https://as.example/par").unwrap());

/// The input is an answer: status, headers, empty line, body.
pub fn error_response(data: &[u8]) {
    let answer = Answer::read(data);
    waits(&answer);
    let (status, headers, body) = (answer.status, &answer.headers, answer.body);
    let error_of = |read| match read {
        TokenAnswer::Granted(_) => None,
        TokenAnswer::Unusable { error, .. }
        | TokenAnswer::GrantRefused(error)
        | TokenAnswer::Rejected(error)
        | TokenAnswer::Unknown(error) => Some(error),
    };
    let token = TokenAnswer::read(status, headers, body, Stage::TokenExchange, &[SENT]);
    if !status.is_success() {
        assert!(
            !matches!(token, TokenAnswer::Granted(_) | TokenAnswer::Unusable { .. }),
            "tokens out of an error"
        );
    }
    if let Some(error) = error_of(token) {
        is_fit_to_be_shown(&error, status);
        assert!(
            !format!("{error} {error:?}").contains(SENT),
            "what was sent is in an error"
        );
    }

    match PushedRequest::read(&ENDPOINT, status, headers, body, &[SENT]) {
        Ok(pushed) => {
            assert_eq!(status, StatusCode::CREATED);
            assert!(!pushed.expires_in().is_zero() && pushed.expires_in() <= Duration::from_secs(24 * 3600));
        }
        Err(error) => {
            is_fit_to_be_shown(&error, status);
            assert!(
                !format!("{error} {error:?}").contains(SENT),
                "what was sent is in an error"
            );
        }
    }
    match Userinfo::read(status, headers, body, "alice") {
        Ok(UserinfoAnswer::Claims(userinfo)) => {
            assert!(status.is_success());
            assert_eq!(userinfo.get("sub").and_then(|sub| sub.as_str()), Some("alice"));
            let again = Object::parse(userinfo.to_json().as_bytes()).unwrap();
            assert_eq!(again.str("sub"), Some("alice"));
        }
        Ok(UserinfoAnswer::Signed(_)) => assert!(status.is_success()),
        Err(error) => is_fit_to_be_shown(&error, status),
    }
    let sent = RefreshToken::new(SENT.to_owned());
    match revocation::read(status, headers, body, &sent) {
        Ok(()) => assert_eq!(status, StatusCode::OK),
        Err(error) => {
            is_fit_to_be_shown(&error, status);
            assert!(
                !format!("{error} {error:?}").contains(SENT),
                "what was sent is in an error"
            );
        }
    }

    let shown = text::clean(&String::from_utf8_lossy(body), 16);
    assert!(is_clean(&shown, 16));
    assert_eq!(text::clean(&shown, 16), shown);
    assert_eq!(
        text::is_vschar(&shown),
        !shown.is_empty() && shown.chars().all(|c| matches!(c, ' '..='~'))
    );
    if let Ok(object) = Object::parse(body) {
        match (answer::oauth_error(&object, status), object.str("error")) {
            (Some(server), Some(error)) => {
                assert!(!error.is_empty());
                assert_eq!(server.status, Some(status.as_u16()));
                assert_eq!(server.error, Some(text::clean(error, 128)));
            }
            (None, error) => assert!(error.is_none_or(str::is_empty)),
            (Some(_), None) => panic!("an error out of nothing"),
        }
    }
    if let Some(host) = headers.get("location").and_then(|to| to.to_str().ok()) {
        let host = answer::host_of(host);
        assert!(host.is_none_or(|host| is_clean(&host, 253) && !host.contains(['/', '@'])));
    }
}

fn waits(answer: &Answer<'_>) {
    let (wait, queued) = (
        answer::retry_after(&answer.headers),
        answer::retry_after_queued(&answer.headers),
    );
    assert_eq!(wait.is_some(), queued.is_some());
    assert!(wait.is_none_or(|wait| wait <= Duration::from_secs(300)));
    assert!(queued.is_none_or(|queued| queued <= Duration::from_secs(24 * 3600)));
    assert!(wait <= queued);
    let header = |name| answer.headers.get(name).and_then(|value| value.to_str().ok());
    let seconds = header("retry-after").and_then(|text| text.trim().parse::<u64>().ok());
    if let (Some(seconds), Some(wait)) = (seconds, wait) {
        assert_eq!(wait, Duration::from_secs(seconds.min(300)));
    }
    if wait.is_some() && header("retry-after").is_some_and(|text| text.contains(':')) {
        assert!(
            header("date").is_some(),
            "a date was held against the clock of the device"
        );
    }
    if let Some(date) = answer::server_date(&answer.headers) {
        assert!(!answer.headers.contains_key("age"), "the time of long ago");
        assert_eq!(answer.headers.get_all("date").iter().count(), 1);
        let time = std::time::UNIX_EPOCH + Duration::from_secs(date.unsigned_abs());
        let again = httpdate::fmt_http_date(time).parse().unwrap();
        let headers = std::iter::once((::http::header::DATE, again)).collect();
        assert_eq!(answer::server_date(&headers), Some(date));
    }
    let of_json = answer::is_json_content(&answer.headers);
    assert!(!of_json || answer::is_content(&answer.headers, "application/json"));
    let kind = answer.content_type().to_ascii_lowercase();
    assert!(!of_json || kind.starts_with("application/json") || kind.trim_start() != kind);
}

fn is_fit_to_be_shown(error: &Error, status: StatusCode) {
    assert!(!error.to_string().is_empty());
    assert!(
        is_clean(&error.to_string(), 4096),
        "a text that forges a log: {error:?}"
    );
    if let Some(server) = error.server() {
        has_clean_texts(server);
        assert!(server.status.is_none_or(|known| known == status.as_u16()));
    }
}
