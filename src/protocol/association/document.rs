//! JSON as somebody wrote it by hand: names that come twice are reported, not refused, so that the rest is looked at too.

use std::fmt;

use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::protocol::json::MAX_DEPTH;

/// More repeated names than this are not told.
const MAX_REPEATED: usize = 5;

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
        let mut repeated = Vec::new();
        let mut reader = serde_json::Deserializer::from_str(text);
        let seed = Seed {
            depth: MAX_DEPTH,
            path: String::new(),
            repeated: &mut repeated,
        };
        let value = seed
            .deserialize(&mut reader)
            .and_then(|value| reader.end().map(|()| value));
        match value {
            Ok(value) => Ok(Self { value, repeated }),
            Err(error) => Err(error.to_string()),
        }
    }
}

struct Seed<'a> {
    depth: usize,
    path: String,
    repeated: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Seed<'_> {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.depth
            .checked_sub(1)
            .ok_or_else(|| E::custom("nested too deeply"))
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut items = Vec::new();
        loop {
            let inner = Seed {
                depth,
                path: format!("{}[{}]", self.path, items.len()),
                repeated: &mut *self.repeated,
            };
            match seq.next_element_seed(inner)? {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let mut members = Map::new();
        while let Some(name) = map.next_key::<String>()? {
            let path = match self.path.as_str() {
                "" => name.clone(),
                outer => format!("{outer}.{name}"),
            };
            let known = members.contains_key(&name);
            if known && self.repeated.len() < MAX_REPEATED {
                self.repeated.push(path.clone());
            }
            let inner = Seed {
                depth,
                path,
                repeated: &mut *self.repeated,
            };
            let value = map.next_value_seed(inner)?;
            if !known {
                members.insert(name, value);
            }
        }
        Ok(Value::Object(members))
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
