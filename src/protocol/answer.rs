//! What the answers of an authorization server's endpoints have in common: content type, error body, waiting time.

use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};

use super::callback::https_only;
use super::json::Object;
use super::text;
use crate::error::{Error, ServerError};

/// Whether the content type is `application/json`, in UTF-8 if it says.
pub(crate) fn is_json_content(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()) else {
        return false;
    };
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let charset_fits = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    essence.eq_ignore_ascii_case("application/json") && charset_fits
}

/// Whether the content type is this one, whatever its parameters.
pub(crate) fn is_content(headers: &HeaderMap, essence: &str) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|found| found.trim().eq_ignore_ascii_case(essence))
}

/// A text from the server without what was sent. Cleaned first: a token with a control character in its middle would
/// come together only afterwards. Before it is cut: half a token is too much. Shorter than eight bytes nothing is a
/// secret, and could be a part of any word.
pub(crate) fn redacted(text: &str, sent: &[&str]) -> String {
    let mut text = text::clean(text, usize::MAX);
    for secret in sent.iter().filter(|secret| secret.len() >= 8) {
        if text.contains(secret) {
            text = text.replace(secret, "(redacted)");
        }
    }
    text
}

/// The `error` of an OAuth error body, if it is one. `sent` is what was secret in the request: a server that quotes it
/// does not get it into our error.
pub(crate) fn oauth_error(object: &Object, status: StatusCode, sent: &[&str]) -> Option<ServerError> {
    let error = object.str("error").filter(|error| !error.is_empty())?;
    let shown = |text: &str, max| text::clean(&redacted(text, sent), max);
    // A URL parser brings letters into one form, so this text is looked through as it would be shown. With a part taken out
    // it would lead nowhere.
    let uri = object.str("error_uri").and_then(https_only);
    let uri = uri.filter(|uri| redacted(uri, sent) == *uri);
    Some(ServerError {
        error: Some(shown(error, 128)),
        description: object.str("error_description").map(|text| shown(text, 512)),
        uri,
        status: Some(status.as_u16()),
    })
}

/// The longest that someone who waits is asked to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// The same for what waits in a queue, with nobody watching.
const LONGEST_QUEUED: Duration = Duration::from_secs(24 * 3600);

/// `Retry-After` (RFC 9110 §10.2.3), at most five minutes.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    requested_wait(headers).map(|wait| wait.min(LONGEST_WAIT))
}

/// The same, at most a day, for what can wait in a queue.
pub(crate) fn retry_after_queued(headers: &HeaderMap) -> Option<Duration> {
    requested_wait(headers).map(|wait| wait.min(LONGEST_QUEUED))
}

/// Seconds, or the time until a date. That is counted from the `Date` of the same answer, so that the clock of this
/// device has no say in it; an answer that bears no date of its own names no time either.
fn requested_wait(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty() {
        return Some(value.parse().map_or(Duration::MAX, Duration::from_secs));
    }
    let (then, now) = (
        http_date(value)?,
        http_date(headers.get(header::DATE)?.to_str().ok()?)?,
    );
    Some(Duration::from_secs(
        u64::try_from(then.saturating_sub(now)).unwrap_or(0),
    ))
}

/// When the server made this answer, in seconds since 1970. Not from a cache, which would tell the time of long ago
/// (RFC 9111 §5.1), and not where the header comes twice.
pub(crate) fn server_date(headers: &HeaderMap) -> Option<i64> {
    if headers.contains_key(header::AGE) {
        return None;
    }
    let mut dates = headers.get_all(header::DATE).iter();
    match (dates.next(), dates.next()) {
        (Some(date), None) => http_date(date.to_str().ok()?),
        _ => None,
    }
}

/// A date in any of the three forms of RFC 9110 §5.6.7, as seconds since 1970.
fn http_date(text: &str) -> Option<i64> {
    let time = httpdate::parse_http_date(text.trim()).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// With the time to wait, if the server named one.
pub(crate) fn with_wait(error: Error, headers: &HeaderMap) -> Error {
    match retry_after(headers) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

pub(crate) fn status_only(status: StatusCode) -> ServerError {
    ServerError {
        status: Some(status.as_u16()),
        ..ServerError::default()
    }
}

/// The host of a URL, fit to be shown.
pub(crate) fn host_of(url: &str) -> Option<String> {
    url::Url::parse(url)
        .ok()?
        .host_str()
        .map(|host| text::clean(host, 253))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";

    #[test]
    fn rr_14_bi_87_retry_after_in_both_forms() {
        let wait = |pairs: &[(&'static str, &str)]| {
            let headers = headers(pairs);
            (
                retry_after(&headers).map(|wait| wait.as_secs()),
                retry_after_queued(&headers).map(|wait| wait.as_secs()),
            )
        };
        let both = |seconds| (Some(seconds), Some(seconds));
        for (value, expected) in [
            ("0", both(0)),
            ("7", both(7)),
            (" 7 ", both(7)),
            ("301", (Some(300), Some(301))),
            ("1000000000000", (Some(300), Some(86_400))),
            ("99999999999999999999999999", (Some(300), Some(86_400))),
            ("Sun, 06 Nov 1994 12:02:00 GMT", both(120)),
            ("Sunday, 06-Nov-94 12:02:00 GMT", both(120)),
            ("Sun Nov  6 12:02:00 1994", both(120)),
            ("Sun, 06 Nov 1994 11:59:59 GMT", both(0)), // past
            ("Fri, 31 Dec 9999 23:59:59 GMT", (Some(300), Some(86_400))),
            ("-1", (None, None)),
            ("1.5", (None, None)),
            ("soon", (None, None)),
            ("", (None, None)),
            ("Sun, 06 Nov 1994 25:02:00 GMT", (None, None)),
        ] {
            assert_eq!(
                wait(&[("retry-after", value), ("date", NOON)]),
                expected,
                "{value}"
            );
        }
        assert_eq!(
            wait(&[("retry-after", "Sun, 06 Nov 1994 12:02:00 GMT")]),
            (None, None),
            "no clock to hold it against"
        );
        assert_eq!(wait(&[("date", NOON)]), (None, None));
    }

    #[test]
    fn rr_50_bi_88_the_date_of_an_answer() {
        let date = |pairs: &[(&'static str, &str)]| server_date(&headers(pairs));
        for good in [NOON, "Sunday, 06-Nov-94 12:00:00 GMT", "Sun Nov  6 12:00:00 1994"] {
            assert_eq!(date(&[("date", good)]), Some(784_123_200), "{good}");
        }
        assert_eq!(date(&[("date", NOON), ("age", "0")]), None, "from a cache");
        assert_eq!(date(&[("date", NOON), ("date", NOON)]), None);
        assert_eq!(date(&[]), None);
        for junk in [
            "",
            "now",
            "Sun, 06 Nov 1994",
            "Sun, 32 Nov 1994 12:00:00 GMT",
            "784123200",
            "\u{e9}",
        ] {
            assert_eq!(date(&[("date", junk)]), None, "{junk}");
        }
    }

    #[test]
    fn oa_28_an_error_body_is_untrusted_text() {
        let of = |body: &str| {
            let object = Object::parse(body.as_bytes()).unwrap();
            oauth_error(&object, StatusCode::UNAUTHORIZED, &[])
        };
        let error =
            of(r#"{"error":"invalid_client","error_description":"a\r\nb","error_uri":"javascript:x","x":1}"#)
                .unwrap();
        assert_eq!(error.error.as_deref(), Some("invalid_client"));
        assert_eq!(error.description.as_deref(), Some("ab"));
        assert_eq!((error.uri, error.status), (None, Some(401)));
        for none in ["{}", r#"{"error":""}"#, r#"{"error":7}"#, r#"{"error":null}"#] {
            assert!(of(none).is_none(), "{none}");
        }
    }
}
