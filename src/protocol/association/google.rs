//! Google's own view of a host: what its Digital Asset Links service answers, which is what verification on devices goes by.

use serde_json::Value;

use super::app::Fingerprint;
use super::finding::{Check, Finding};
use super::links::HANDLE_ALL_URLS;
use super::{Association, Fetched};
use crate::protocol::json::Object;

/// No more is read, in bytes: a statement for each certificate of each app.
pub(super) const MAX_BYTES: usize = 1024 * 1024;

pub(super) fn check(association: &Association, subject: &str, fetched: &Fetched) -> Option<Finding> {
    let app = association.android()?;
    let found = |check, text: &str| Some(Finding::new(check, subject, text));
    let answer = match fetched.file(subject, MAX_BYTES) {
        Ok(body) => Object::parse(body),
        Err(why) => return found(Check::GoogleUnreachable, why.found()),
    };
    let Ok(answer) = answer else {
        return found(Check::GoogleUnreachable, "an answer that is no JSON");
    };
    let listed: Vec<&str> = answer
        .get("statements")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|statement| statement.get("relation").and_then(Value::as_str) == Some(HANDLE_ALL_URLS))
        .filter_map(|statement| statement.pointer("/target/androidApp"))
        .filter(|target| target.get("packageName").and_then(Value::as_str) == Some(app.package()))
        .filter_map(|target| target.pointer("/certificate/sha256Fingerprint")?.as_str())
        .collect();
    // It keeps what it fetched for so long.
    let age = answer
        .str("maxAge")
        .map(|age| format!("; it looks again within {age}"));
    let age = age.unwrap_or_default();
    if listed.is_empty() {
        return found(
            Check::GoogleMissing,
            &format!("no statement about {}{age}", app.package()),
        );
    }
    let is_missing = |own: &&Fingerprint| {
        !listed
            .iter()
            .any(|known| known.eq_ignore_ascii_case(own.as_str()))
    };
    let missing: Vec<_> = app.fingerprints().iter().filter(is_missing).collect();
    match missing.first() {
        None => found(
            Check::GoogleGood,
            &format!("{} with all its certificates", app.package()),
        ),
        Some(first) => found(
            Check::GoogleOlder,
            &format!(
                "{} of {} certificates missing: {first}{age}",
                missing.len(),
                app.fingerprints().len()
            ),
        ),
    }
}
