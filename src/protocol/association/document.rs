//! JSON as somebody wrote it by hand: names that come twice are reported, not refused, so that the rest is looked at too.

use serde_json::{Map, Value};

use crate::protocol::json::{Repeated, Step, public_value_of};

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
        let mut told = Told::default();
        match public_value_of(text.as_bytes(), &mut told) {
            Ok(value) => Ok(Self {
                value,
                repeated: told.places,
            }),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The first is kept, and the place told, as `applinks.details[0].appIDs`: in a file that somebody wrote by hand the rest is
/// worth a look, too.
#[derive(Default)]
struct Told {
    path: String,
    /// How long the path was at each step before it.
    steps: Vec<usize>,
    places: Vec<String>,
}

/// More repeated names than this are not told.
const MAX_TOLD: usize = 5;

impl Repeated for Told {
    fn again<E>(&mut self, name: &str) -> Result<(), E> {
        if self.places.len() < MAX_TOLD {
            self.enter(Step::Name(name));
            self.places.push(self.path.clone());
            self.leave();
        }
        Ok(())
    }

    fn settle(&mut self, _: &mut Value, _: Value) {}

    fn enter(&mut self, step: Step<'_>) {
        self.steps.push(self.path.len());
        match step {
            Step::Item(at) => self.path.push_str(&format!("[{at}]")),
            Step::Name(name) => {
                if !self.path.is_empty() {
                    self.path.push('.');
                }
                self.path.push_str(name);
            }
        }
    }

    fn leave(&mut self) {
        self.path.truncate(self.steps.pop().unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_repeated_names_the_place_can_be_told() {
        let text = r#"{"a":{"b":[1,{"c":1,"c":2}]},"a":3,"":{"":1,"":2}}"#;
        let document = Document::read(text).unwrap();
        assert_eq!(document.value["a"], serde_json::json!({ "b": [1, { "c": 1 }] }));
        assert_eq!(document.repeated, ["a.b[1].c", "a", ""]);
        let many: Vec<String> = (0..20).map(|n| format!("\"{}\":1", n / 2)).collect();
        let document = Document::read(&format!("{{{}}}", many.join(","))).unwrap();
        assert_eq!(document.repeated.len(), MAX_TOLD);
        assert!(Document::read("[1] x").is_err() && Document::read(&"[".repeat(1000)).is_err());
    }
}
