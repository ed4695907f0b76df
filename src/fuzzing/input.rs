//! How a target reads its bytes: as text wherever it can, so that a seed can be read, and written, by hand.

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use url::Url;

use crate::error::ServerError;

/// The first line and what comes after it.
pub(super) fn first_line(data: &[u8]) -> (&[u8], &[u8]) {
    match data.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&data[..at], &data[at + 1..]),
        None => (data, &[]),
    }
}

/// An answer as it stands on the wire, without the version: a line with the status, headers, an empty line, the body.
pub(super) struct Answer<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: &'a [u8],
}

impl<'a> Answer<'a> {
    /// Takes any bytes: what is no status is 200, and a line that is no header is left out.
    pub(super) fn read(data: &'a [u8]) -> Self {
        let (status, mut rest) = first_line(data);
        let status = std::str::from_utf8(status)
            .ok()
            .and_then(|text| text.parse().ok());
        let mut headers = HeaderMap::new();
        loop {
            let line;
            (line, rest) = first_line(rest);
            if line.is_empty() {
                break;
            }
            let Some(colon) = line.iter().position(|byte| *byte == b':') else {
                continue;
            };
            let value = line[colon + 1..].trim_ascii_start();
            if let (Ok(name), Ok(value)) = (
                HeaderName::from_bytes(&line[..colon]),
                HeaderValue::from_bytes(value),
            ) && headers.len() < 64
            {
                headers.append(name, value);
            }
        }
        Self {
            status: status
                .and_then(|code: u16| StatusCode::from_u16(code).ok())
                .unwrap_or(StatusCode::OK),
            headers,
            body: rest,
        }
    }

    pub(super) fn content_type(&self) -> &str {
        let value = self.headers.get("content-type");
        value.and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Changes single bytes of `text`: three bytes of `edits` say where (two) and how (one, XOR).
pub(super) fn edited(text: &[u8], edits: &[u8]) -> Vec<u8> {
    let mut edited = text.to_vec();
    for edit in edits.chunks_exact(3) {
        let at = usize::from(u16::from_be_bytes([edit[0], edit[1]]));
        let at = at % edited.len().max(1);
        if let Some(byte) = edited.get_mut(at) {
            *byte ^= edit[2];
        }
    }
    edited
}

/// 16 hexadecimal digits that follow from `data` and are not in it.
pub(super) fn unguessable(data: &[u8]) -> String {
    use sha2::Digest as _;
    let digest = sha2::Sha256::digest(data);
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether text that a server sent was made fit to be shown. "(redacted)" may stand in it for eight characters or more after
/// it was cut, which makes it up to a quarter longer.
pub(super) fn is_clean(text: &str, max: usize) -> bool {
    let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    text.chars().count() <= max + max / 4 && !text.chars().any(|c| c.is_control() || turns(c))
}

/// What a server said of an error, as it is shown: no text forges a log, and a link leads to a page by https.
pub(super) fn has_clean_texts(server: &ServerError) {
    assert!(server.error.as_deref().is_none_or(|text| is_clean(text, 128)));
    assert!(
        server
            .description
            .as_deref()
            .is_none_or(|text| is_clean(text, 512))
    );
    if let Some(uri) = &server.uri {
        let url = Url::parse(uri).unwrap();
        assert_eq!((url.scheme(), url.as_str()), ("https", uri.as_str()));
    }
}

/// JSON as another reader sees it: it takes the last of two members of one name, and no number larger than a float.
pub(super) fn loose(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)).ok()
}

/// What an object says by a member, where that is a text and it says no two things; the outer `None` where the reader does
/// not take it at all.
pub(super) fn said_once(bytes: &[u8], name: &str) -> Option<Option<String>> {
    struct Members(Vec<(String, Value)>);
    impl<'de> Deserialize<'de> for Members {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(Self(Vec::new()))
        }
    }
    impl<'de> Visitor<'de> for Members {
        type Value = Self;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
            while let Some(member) = map.next_entry()? {
                self.0.push(member);
            }
            Ok(self)
        }
    }
    let body = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let Members(members) = serde_json::from_slice(body).ok()?;
    let mut values = members
        .iter()
        .filter(|(known, _)| known == name)
        .map(|(_, value)| value);
    let first = values.next();
    let text = first.and_then(Value::as_str).filter(|text| !text.is_empty());
    let agreed = values.all(|value| Some(value) == first);
    Some(text.filter(|_| agreed).map(str::to_owned))
}

/// Whether a number in it is none that a computer counts with: those lose their last digit when they are read, and are
/// not the same when they are written.
pub(super) fn has_fraction(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(all) => all.iter().any(has_fraction),
        Value::Object(all) => all.values().any(has_fraction),
        _ => false,
    }
}
