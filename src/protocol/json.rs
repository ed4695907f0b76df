//! JSON as security objects need it: UTF-8, no name twice, bounded depth, members taken by type.
//!
//! RFC 8259 §4 leaves the meaning of a repeated name open, so two readers of one token could see two different
//! users; a repeated name is refused (RFC 7519 §4, RFC 8725).

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use zeroize::{Zeroize as _, Zeroizing};

use crate::secret::SecretBuffer;

/// The deepest nesting accepted.
pub(crate) const MAX_DEPTH: usize = 32;

/// A JSON object that kept the rules above. Its texts may be tokens: they do not print, and are overwritten when it is
/// dropped.
#[derive(Clone, Default)]
pub(crate) struct Object(pub(crate) Map<String, Value>);

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

/// A value that may hold tokens, until it is known to be an object.
struct Wiped(Value);

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        _ => {}
    }
}

/// Why bytes are not such an object. Holds no content: it may be a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JsonError {
    Syntax,
    NotAnObject,
    Duplicate,
    TooDeep,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "not valid JSON",
            Self::NotAnObject => "JSON, but not an object",
            Self::Duplicate => "a JSON object with a repeated member name",
            Self::TooDeep => "JSON nested too deeply",
        })
    }
}

impl Object {
    /// Parses one object that fills the whole input. A leading byte-order mark is tolerated (RFC 8259 §8.1).
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, JsonError> {
        Self::read(bytes, &mut Refused)
    }

    /// The same of an object that is refused for its repeated names: those that say two things say nothing, the rest is
    /// there. For what must be saved from an answer that is not used.
    pub(crate) fn salvage(bytes: &[u8]) -> Result<Self, JsonError> {
        Self::read(bytes, &mut Void)
    }

    fn read(bytes: &[u8], repeated: &mut impl Repeated) -> Result<Self, JsonError> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let plain = bytes.contains(&b'\\').then(|| without_needless_escapes(bytes));
        let bytes = plain.as_ref().map_or(bytes, |plain| plain.as_slice());
        let value = match value_of(bytes, repeated) {
            // One lifetime that no float holds must not cost the tokens beside it (RFC 8259 §6 leaves the range to us).
            Err(e) if e.to_string().starts_with(OUT_OF_RANGE) => {
                value_of(&without_huge_numbers(bytes), repeated)
            }
            read => read,
        };
        match &mut value.map_err(|e| classify(&e))?.0 {
            Value::Object(map) => Ok(Self(std::mem::take(map))),
            _ => Err(JsonError::NotAnObject),
        }
    }

    /// As text, in a buffer that is overwritten.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut buffer = SecretBuffer::default();
        // Neither a buffer in memory nor a map of texts can fail.
        drop(serde_json::to_writer(&mut buffer, &self.0));
        buffer.into_bytes()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A string member; `None` if it is missing or of another type.
    pub(crate) fn str(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    /// A string member that is present and not empty, moved out so that no copy of it stays behind.
    pub(crate) fn take_string(&mut self, name: &str) -> Option<String> {
        if self.str(name).is_none_or(|s| s.is_empty()) {
            return None;
        }
        match self.0.remove(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// An array of strings; `None` if it is missing or anything in it is of another type (RFC 8414 §3.2: an
    /// absent list means the default).
    pub(crate) fn strings(&self, name: &str) -> Option<Vec<String>> {
        let items = self.get(name)?.as_array()?;
        items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect()
    }

    /// A boolean member; anything else counts as absent.
    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        self.get(name).and_then(Value::as_bool)
    }

    /// A `NumericDate` (RFC 7519 §2): seconds, perhaps with a fraction, which is dropped.
    pub(crate) fn numeric_date(&self, name: &str) -> Option<i64> {
        number_to_seconds(self.get(name)?.as_number()?)
    }
}

/// A member of an object, as far as it is of use without looking further into it.
#[derive(Debug, PartialEq)]
pub(crate) enum Member<'a> {
    /// Where nothing was escaped, the very bytes that were read.
    Text(Cow<'a, str>),
    Number(Number),
    Null,
    /// An object, an array, `true` or `false`.
    Other,
}

impl From<Value> for Member<'_> {
    fn from(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text.into()),
            Value::Number(number) => Self::Number(number),
            Value::Null => Self::Null,
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => Self::Other,
        }
    }
}

/// Reads an object of which only these members matter. The whole is held to the same rules as by [`Object::parse`],
/// but of the rest nothing is kept, and of these no copy is made.
pub(crate) fn pick<'a, const N: usize>(
    bytes: &'a [u8],
    names: &[&str; N],
) -> Result<[Option<Member<'a>>; N], JsonError> {
    pick_quickly(bytes, names).or_else(|_| {
        // The slower reader tells what is wrong with it, and knows what can be forgiven.
        let mut object = Object::parse(bytes)?;
        Ok(names.map(|name| object.0.remove(name).map(Member::from)))
    })
}

fn pick_quickly<'a, const N: usize>(
    bytes: &'a [u8],
    names: &[&str; N],
) -> serde_json::Result<[Option<Member<'a>>; N]> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    // At once, not string by string: that is several times as fast.
    let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let picked = serde::Deserializer::deserialize_map(&mut reader, Pick { names })?;
    reader.end()?;
    Ok(picked)
}

/// A number as whole seconds, if it is finite and within the years a clock can show.
#[allow(clippy::cast_possible_truncation, reason = "the range is checked first")]
pub(crate) fn number_to_seconds(number: &Number) -> Option<i64> {
    const YEAR_9999: i64 = 253_402_300_799;
    let seconds = number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        (float.is_finite() && float.abs() <= YEAR_9999 as f64).then_some(float as i64)
    })?;
    (seconds.abs() <= YEAR_9999).then_some(seconds)
}

/// The same JSON, without the escapes that strings do not need: `\/`, and `\u0041` for a letter. The parser copies a string
/// with an escape in it to a place of its own, which nobody overwrites, and some servers write the slashes of tokens so.
fn without_needless_escapes(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut rest = bytes;
    let mut in_string = false;
    while let Some((first, after)) = rest.split_first() {
        let (kept, used) = match (first, after) {
            (b'"', _) => {
                in_string = !in_string;
                (None, 1)
            }
            (b'\\', [b'/', ..]) if in_string => (Some(b'/'), 2),
            (b'\\', [b'u', digits @ ..]) if in_string => (needless(digits), 6),
            // Whatever it stands for, the next character does not end the string.
            (b'\\', [_, ..]) => (None, 2),
            _ => (None, 1),
        };
        let used = if *first == b'\\' && kept.is_none() {
            2
        } else {
            used
        };
        let (written, after) = rest.split_at_checked(used).unwrap_or((rest, &[]));
        match kept {
            Some(byte) => plain.push(byte),
            None => plain.extend_from_slice(written),
        }
        rest = after;
    }
    plain
}

/// A visible ASCII character that four digits stand for, if it needs no escape.
fn needless(digits: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(digits.get(..4)?).ok()?;
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    let byte = u8::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
    (matches!(byte, 0x20..=0x7e) && !matches!(byte, b'"' | b'\\')).then_some(byte)
}

const DUPLICATE: &str = "duplicate name";
const TOO_DEEP: &str = "too deep";
/// As the JSON library says it.
const OUT_OF_RANGE: &str = "number out of range";

/// What becomes of a name that comes twice.
pub(crate) trait Repeated {
    /// A name that was there before: whether to read on.
    fn again<E: serde::de::Error>(&mut self, name: &str) -> Result<(), E>;
    /// And its second value has been read: what the first becomes.
    fn settle(&mut self, first: &mut Value, second: Value);
    /// What follows stands in an array, or behind a name.
    fn enter(&mut self, _: Step<'_>) {}
    fn leave(&mut self) {}
}

#[cfg_attr(
    not(feature = "association"),
    allow(dead_code, reason = "only what is told of association files asks where")
)]
pub(crate) enum Step<'a> {
    Item(usize),
    Name(&'a str),
}

/// It is an error.
struct Refused;

impl Repeated for Refused {
    fn again<E: serde::de::Error>(&mut self, _: &str) -> Result<(), E> {
        Err(E::custom(DUPLICATE))
    }

    fn settle(&mut self, _: &mut Value, second: Value) {
        drop(Wiped(second));
    }
}

/// It stands at `null`, unless it says the same thing each time.
struct Void;

impl Repeated for Void {
    fn again<E>(&mut self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn settle(&mut self, first: &mut Value, second: Value) {
        let second = Wiped(second);
        if *first != second.0 {
            wipe(first);
            *first = Value::Null;
        }
    }
}

/// As [`value_of`], for files that everybody may see: what becomes of names that come twice is for the caller to say. The error
/// may quote the text.
#[cfg(feature = "association")]
pub(crate) fn public_value_of(bytes: &[u8], repeated: &mut impl Repeated) -> serde_json::Result<Value> {
    value_of(bytes, repeated).map(|mut value| value.0.take())
}

/// The one value that the bytes are.
fn value_of(bytes: &[u8], repeated: &mut impl Repeated) -> serde_json::Result<Wiped> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let strict = Strict {
        depth: MAX_DEPTH,
        repeated,
    };
    let value = Wiped(strict.deserialize(&mut reader)?);
    reader.end()?;
    Ok(value)
}

/// The same text with `null` for each number that is too large for a float.
fn without_huge_numbers(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut kept = Zeroizing::new(Vec::with_capacity(text.len()));
    let (mut rest, mut quoted) = (text, false);
    while let Some((&first, after)) = rest.split_first() {
        let is_number = !quoted && matches!(first, b'-' | b'0'..=b'9');
        let escape = quoted && first == b'\\';
        let taken = if is_number {
            rest.iter()
                .take_while(|byte| b"0123456789+-.eE".contains(byte))
                .count()
        } else if escape {
            2
        } else {
            1
        };
        quoted ^= first == b'"';
        let (token, after) = rest.split_at_checked(taken).unwrap_or((rest, after));
        let huge = is_number
            && std::str::from_utf8(token).is_ok_and(|token| token.parse().is_ok_and(f64::is_infinite));
        kept.extend_from_slice(if huge { b"null" } else { token });
        rest = after;
    }
    kept
}

fn classify(error: &serde_json::Error) -> JsonError {
    let text = error.to_string();
    if text.starts_with(DUPLICATE) {
        JsonError::Duplicate
    } else if text.starts_with(TOO_DEEP) || text.starts_with("recursion limit") {
        JsonError::TooDeep
    } else {
        JsonError::Syntax
    }
}

/// Builds a [`Value`] under the rules of this file.
struct Strict<'r, R> {
    depth: usize,
    repeated: &'r mut R,
}

impl<R> Strict<'_, R> {
    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.depth.checked_sub(1).ok_or_else(|| E::custom(TOO_DEEP))
    }
}

impl<'de, R: Repeated> DeserializeSeed<'de> for Strict<'_, R> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, R: Repeated> Visitor<'de> for Strict<'_, R> {
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

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let repeated = self.repeated;
        let mut items = Wiped(Value::Array(Vec::new()));
        loop {
            let at = items.0.as_array().map_or(0, Vec::len);
            repeated.enter(Step::Item(at));
            let item = seq.next_element_seed(Strict {
                depth,
                repeated: &mut *repeated,
            })?;
            repeated.leave();
            match (item, &mut items.0) {
                (Some(item), Value::Array(items)) => items.push(item),
                _ => return Ok(items.0.take()),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let depth = self.deeper()?;
        let repeated = self.repeated;
        let mut members = Object::default();
        while let Some(name) = map.next_key::<String>()? {
            let is_again = members.0.contains_key(&name);
            if is_again {
                repeated.again(&name)?;
            }
            repeated.enter(Step::Name(&name));
            let value = map.next_value_seed(Strict {
                depth,
                repeated: &mut *repeated,
            })?;
            repeated.leave();
            if !is_again {
                members.0.insert(name, value);
            } else if let Some(first) = members.0.get_mut(&name) {
                repeated.settle(first, value);
            }
        }
        Ok(Value::Object(std::mem::take(&mut members.0)))
    }
}

/// The visitor of [`pick_quickly`].
struct Pick<'n, const N: usize> {
    names: &'n [&'n str; N],
}

impl<'de, const N: usize> Visitor<'de> for Pick<'_, N> {
    type Value = [Option<Member<'de>>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let inner = Check { depth: MAX_DEPTH - 1 };
        let mut found = [const { None }; N];
        let mut others = BTreeSet::new();
        while let Some(name) = map.next_key_seed(Name)? {
            let place = self.names.iter().position(|wanted| *wanted == name);
            match place.and_then(|place| found.get_mut(place)) {
                Some(Some(_)) => return Err(A::Error::custom(DUPLICATE)),
                Some(place) => *place = Some(map.next_value_seed(inner)?),
                None if others.insert(name) => drop(map.next_value_seed(inner)?),
                None => return Err(A::Error::custom(DUPLICATE)),
            }
        }
        Ok(found)
    }
}

/// The name of a member, without a copy where nothing in it was escaped.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

/// Holds a value to the rules of this file and keeps it only if it is a text or a number.
#[derive(Clone, Copy)]
struct Check {
    depth: usize,
}

impl Check {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        self.depth
            .checked_sub(1)
            .map(|depth| Self { depth })
            .ok_or_else(|| E::custom(TOO_DEEP))
    }
}

impl<'de> DeserializeSeed<'de> for Check {
    type Value = Member<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Check {
    type Value = Member<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Member::Other)
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Member::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Member::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Number::from_f64(value).map_or(Member::Null, Member::Number))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Member::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Member::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Member::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        while seq.next_element_seed(inner)?.is_some() {}
        Ok(Member::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let inner = self.deeper()?;
        let mut names = BTreeSet::new();
        while let Some(name) = map.next_key_seed(Name)? {
            if !names.insert(name) {
                return Err(A::Error::custom(DUPLICATE));
            }
            map.next_value_seed(inner)?;
        }
        Ok(Member::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jw_19_bi_46_a_repeated_name_is_refused_at_any_depth() {
        assert_eq!(
            Object::parse(br#"{"a":1,"a":1}"#).unwrap_err(),
            JsonError::Duplicate
        );
        assert_eq!(
            Object::parse(br#"{"a":{"b":1,"b":2}}"#).unwrap_err(),
            JsonError::Duplicate
        );
        assert_eq!(
            Object::parse(br#"{"a":1,"\u0061":1}"#).unwrap_err(),
            JsonError::Duplicate
        );
    }

    #[test]
    fn bi_45_depth_is_bounded_without_overflowing_the_stack() {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{{\"a\":{}1{}}}", open.repeat(10_000), close.repeat(10_000));
            assert_eq!(Object::parse(deep.as_bytes()).unwrap_err(), JsonError::TooDeep);
        }
        let fits = format!(
            "{{\"a\":{}1{}}}",
            "[".repeat(MAX_DEPTH - 1),
            "]".repeat(MAX_DEPTH - 1)
        );
        assert!(Object::parse(fits.as_bytes()).is_ok());
    }

    #[test]
    fn bi_43_45_47_only_one_whole_utf8_object() {
        for bad in [
            &b""[..],
            b"{",
            b"{} x",
            b"{}{}",
            b"\xff\xfe{\x00}\x00",
            b"{\"a\":\"\xff\"}",
            br#"{"a":"\ud800"}"#,
        ] {
            assert_eq!(Object::parse(bad).unwrap_err(), JsonError::Syntax, "{bad:?}");
        }
        for bad in [&b"[]"[..], b"\"x\"", b"1", b"null", b"true"] {
            assert_eq!(Object::parse(bad).unwrap_err(), JsonError::NotAnObject);
        }
        assert!(
            Object::parse(b"\xef\xbb\xbf{}").is_ok(),
            "a leading byte-order mark is tolerated"
        );
    }

    #[test]
    fn escapes_that_no_string_needs_are_resolved_and_no_others() {
        for (text, plain) in [
            (r#"{"a":"x\/y\u002d\u002Fz"}"#, r#"{"a":"x/y-/z"}"#),
            (r#"{"a\u0061":"\u0041"}"#, r#"{"aa":"A"}"#),
            (r#"{"a":"\\/\\u0041\"/\""}"#, r#"{"a":"\\/\\u0041\"/\""}"#),
            (
                r#"{"a":"\u0022\u005c\u000a\u00e9\ud83d\ude00"}"#,
                r#"{"a":"\u0022\u005c\u000a\u00e9\ud83d\ude00"}"#,
            ),
            // No JSON, and it stays none.
            (r#"{\u0022a":1}"#, r#"{\u0022a":1}"#),
            (r#"{"a":"\u+041\u00"}"#, r#"{"a":"\u+041\u00"}"#),
            (r#"{"a":"\"#, r#"{"a":"\"#),
            (r"\/", r"\/"),
        ] {
            assert_eq!(
                &*without_needless_escapes(text.as_bytes()),
                plain.as_bytes(),
                "{text}"
            );
            let plainly: Result<Value, _> = serde_json::from_str(text);
            let ours = Object::parse(text.as_bytes()).map(|object| Value::Object(object.0.clone()));
            assert_eq!(ours.ok(), plainly.ok(), "{text}");
        }
    }

    #[test]
    fn an_object_does_not_print_its_texts() {
        let object = Object::parse(br#"{"access_token":"t0k"}"#).unwrap();
        assert_eq!(format!("{object:?}"), "{\"access_token\"}");
    }

    #[test]
    fn jw_19_bi_43_45_46_picked_members_keep_the_same_rules() {
        let deep = |n: usize| format!("{{\"x\":{}1{}}}", "[".repeat(n), "]".repeat(n));
        for text in [
            "",
            "{",
            "{} x",
            "{}{}",
            "{}",
            "[]",
            "[] x",
            "[{\"a\":1,\"a\":2}]",
            "\"x\"",
            "1",
            "1.5",
            "-1",
            "null",
            "true",
            "\u{feff}{}",
            r#"{"a":"\ud800"}"#,
            r#"{"a":1,"a":1}"#,
            r#"{"x":1,"x":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"x":1,"\u0078":1}"#,
            r#"{"x":{"b":1,"b":2}}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[{"b":1,"c":2},{"b":1}],"x":[],"y":{}}"#,
            r#"{"a":1e400}"#,
            r#"{"a":1e400,"a":1}"#,
            r#"{"x":1e400,"a":"b"}"#,
            r#"{"":1,"a":""}"#,
            &deep(MAX_DEPTH - 1),
            &deep(MAX_DEPTH),
            &deep(10_000),
        ] {
            let whole = Object::parse(text.as_bytes()).map(|_| ());
            let picked = pick(text.as_bytes(), &["a", "b"]).map(|_| ());
            assert_eq!(picked, whole, "{text:.60}");
            let quickly = pick_quickly(text.as_bytes(), &["a", "b"]).is_ok();
            assert_eq!(quickly, whole.is_ok() && !text.contains("e400"), "{text:.60}");
        }
        assert_eq!(
            pick(b"{\"x\":\"\xff\"}", &["a"]).unwrap_err(),
            JsonError::Syntax,
            "what is passed over is held to the rules, too"
        );
        let [a, b, c, d] = pick(
            br#"{"b":7,"x":1,"a":"\u0041b","c":[1],"y":{"a":1}}"#,
            &["a", "b", "c", "d"],
        )
        .unwrap();
        assert_eq!(a, Some(Member::Text("Ab".into())));
        assert_eq!(b, Some(Member::Number(7.into())));
        assert_eq!((c, d), (Some(Member::Other), None));
        // What only the slower reader can read.
        let picked = pick(br#"{"a":1e400,"b":"x","c":true}"#, &["a", "b", "c"]).unwrap();
        let [a, b, c] = picked.map(Option::unwrap);
        assert_eq!((a, b, c), (Member::Null, Member::Text("x".into()), Member::Other));
    }

    #[test]
    fn oc_37_numeric_dates_may_have_a_fraction_and_must_be_finite() {
        let object = Object::parse(br#"{"a":1.9,"b":1e400,"c":"1","d":-5,"e":1e18}"#).unwrap();
        assert_eq!(object.numeric_date("a"), Some(1));
        assert_eq!(object.numeric_date("b"), None);
        assert_eq!(object.numeric_date("c"), None);
        assert_eq!(object.numeric_date("d"), Some(-5));
        assert_eq!(object.numeric_date("e"), None);
    }

    #[test]
    fn bi_34_a_number_that_no_float_holds_is_no_value_and_costs_nothing_else() {
        let digits = "9".repeat(400);
        for huge in ["1e309", "-1e309", "1E+999", digits.as_str(), "17e9999"] {
            let text = format!(r#"{{"a":{huge},"b":["x\\\"1e309",{huge} ,2],"1e400":"{huge}"}}"#);
            let object = Object::parse(text.as_bytes()).unwrap();
            assert_eq!(object.get("a"), Some(&Value::Null), "{text}");
            assert_eq!(
                object.get("b").unwrap(),
                &serde_json::json!(["x\\\"1e309", null, 2])
            );
            assert_eq!(object.str("1e400"), Some(huge), "text is left alone");
        }
        for bad in [
            r#"{"a":1e309"#,
            r#"{"a":1e309e}"#,
            r#"{"a":1e309,"b":"\"#,
            r#"{"a":1e309,"a":1}"#,
        ] {
            assert!(Object::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn bi_46_what_is_said_once_can_be_salvaged() {
        let object =
            Object::salvage(br#"{"a":1,"b":2,"a":3,"c":"x","c":"x","a":1,"d":{"e":1,"e":2}}"#).unwrap();
        assert_eq!(object.get("a"), Some(&Value::Null), "two things are nothing");
        assert_eq!(
            (object.get("b"), object.str("c")),
            (Some(&Value::from(2)), Some("x"))
        );
        assert_eq!(object.get("d"), Some(&serde_json::json!({ "e": null })));
        assert!(Object::salvage(b"{} x").is_err());
    }

    #[test]
    fn bi_45_a_hundred_thousand_members_are_only_members() {
        let members: Vec<String> = (0..100_000).map(|n| format!("\"{n}\":{n}")).collect();
        let object = Object::parse(format!("{{{}}}", members.join(",")).as_bytes()).unwrap();
        assert_eq!(object.get("99999"), Some(&Value::from(99_999)));
    }
}
