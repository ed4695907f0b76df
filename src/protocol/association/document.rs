//! JSON as somebody wrote it by hand: names that come twice are reported, not refused, so that the rest is looked at too.

use serde_json::{Map, Value};

use crate::protocol::json;

/// A file's JSON. Of a name that comes twice the first is kept.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) value: Value,
    /// Where names come twice, as `applinks.details[0].appIDs`.
    pub(super) repeated: Vec<String>,
}

impl Document {
    /// One value that fills the text. The error says where it goes wrong.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        json::read_telling(text).map(|(value, repeated)| Self { value, repeated })
    }
}

/// A member by its name; or, where it is not there, the name that differs from it in case only.
pub(super) fn member<'a>(object: &'a Map<String, Value>, name: &str) -> (Option<&'a Value>, Option<&'a str>) {
    match object.get(name) {
        Some(value) => (Some(value), None),
        None => {
            let near = object.keys().find(|known| known.eq_ignore_ascii_case(name));
            (None, near.map(String::as_str))
        }
    }
}

/// The kind of a value, for people.
pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
