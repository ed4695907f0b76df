//! What the answers of an authorization server's endpoints have in common: content type, error body, waiting time.

use std::time::Duration;

use ::http::{HeaderMap, StatusCode, header};
use serde_json::Value;

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

/// Takes what was sent out of the texts of an error. Before they are cut: half a token is too much. Shorter than eight
/// bytes nothing is a secret, and could be a part of any word.
pub(crate) fn redact(object: &mut Object, sent: &[&str]) {
    for name in ["error", "error_description", "error_uri"] {
        if let Some(Value::String(text)) = object.0.get_mut(name) {
            for secret in sent.iter().filter(|secret| secret.len() >= 8) {
                if text.contains(secret) {
                    *text = text.replace(secret, "(redacted)");
                }
            }
        }
    }
}

/// The `error` of an OAuth error body, if it is one.
pub(crate) fn oauth_error(object: &Object, status: StatusCode) -> Option<ServerError> {
    let error = object.str("error").filter(|error| !error.is_empty())?;
    Some(ServerError {
        error: Some(text::clean(error, 128)),
        description: object.str("error_description").map(|d| text::clean(d, 512)),
        uri: object.str("error_uri").and_then(https_only),
        status: Some(status.as_u16()),
    })
}

/// `Retry-After` in its form of seconds (RFC 9110 §10.2.3), at most five minutes for someone who is waiting.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(300);
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if value.bytes().all(|b| b.is_ascii_digit()) && !value.is_empty() {
        return Some(value.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST));
    }
    None
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
