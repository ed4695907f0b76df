//! `application/x-www-form-urlencoded` (RFC 6749 appendix B): strict when reading, plain when writing.
//!
//! The usual decoders replace what they cannot decode. A redirect comes from whoever can make a link, so here a
//! broken escape or a byte that is not UTF-8 is an error, and so is a name that occurs twice
//! (RFC 6749 §3.1: parameters must not be included more than once).

use url::form_urlencoded;
use zeroize::Zeroizing;

/// Why a query is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FormError {
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    Encoding,
    /// A name that occurs twice.
    Duplicate,
}

/// Decoded parameters, each name once. A code may be among them: they are overwritten when they are dropped.
pub(crate) struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    pub(crate) fn parse(query: &str) -> Result<Self, FormError> {
        let mut pairs: Vec<(String, Zeroizing<String>)> = Vec::new();
        for part in query.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let name = std::mem::take(&mut *decode(name)?);
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(FormError::Duplicate);
            }
            pairs.push((name, decode(value)?));
        }
        Ok(Self(pairs))
    }

    /// A parameter; an empty value counts as absent (RFC 6749 §3.1).
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .filter(|v| !v.is_empty())
    }
}

fn decode(text: &str) -> Result<Zeroizing<String>, FormError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let high = rest.next().and_then(hex).ok_or(FormError::Encoding)?;
                let low = rest.next().and_then(hex).ok_or(FormError::Encoding)?;
                high << 4 | low
            }
            other => other,
        });
    }
    match String::from_utf8(std::mem::take(&mut *bytes)) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            Err(FormError::Encoding)
        }
    }
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

/// Appends a name or a value as it stands in a query.
pub(crate) fn append(target: &mut String, text: &str) {
    // Most of them need no escape, and then all that is left is a copy.
    let plain = text.bytes().fold(1, |plain, byte| {
        plain & PLAIN.get(usize::from(byte)).copied().unwrap_or_default()
    });
    if plain == 1 {
        target.push_str(text);
    } else {
        target.extend(form_urlencoded::byte_serialize(text.as_bytes()));
    }
}

/// One for each byte that `application/x-www-form-urlencoded` leaves as it is.
const PLAIN: [u8; 256] = {
    let mut plain = [0; 256];
    let mut byte = 0u8;
    while byte < 128 {
        let is_plain = byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'-' | b'.' | b'_');
        if let Some((_, rest)) = plain.split_at_mut_checked(byte as usize)
            && let Some(place) = rest.first_mut()
        {
            *place = is_plain as u8;
        }
        byte += 1;
    }
    plain
};

/// Encodes a request body. The buffer may hold a code or a token and is overwritten when dropped.
pub(crate) fn encode<'a>(
    pairs: impl IntoIterator<Item = (&'a str, &'a str), IntoIter: Clone>,
) -> Zeroizing<Vec<u8>> {
    let pairs = pairs.into_iter();
    // Room for everything even if every byte is escaped: growing would leave half-written copies on the heap.
    let longest: usize = pairs
        .clone()
        .map(|(name, value)| 3 * (name.len() + value.len()) + 2)
        .sum();
    let mut body = form_urlencoded::Serializer::new(String::with_capacity(longest));
    body.extend_pairs(pairs);
    Zeroizing::new(body.finish().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tv_10_appendix_b_encoding() {
        assert_eq!(&encode([("a", " %&+£€")])[..], b"a=+%25%26%2B%C2%A3%E2%82%AC");
        let back = Form::parse("a=+%25%26%2B%C2%A3%E2%82%AC").unwrap();
        assert_eq!(back.get("a"), Some(" %&+£€"));
    }

    #[test]
    fn bi_05_06_07_duplicates_are_refused_even_if_equal_or_encoded() {
        for query in [
            "code=a&code=a",
            "state=1&x=2&state=1",
            "c%6fde=a&code=b",
            "iss=&iss=a",
        ] {
            assert_eq!(Form::parse(query).err(), Some(FormError::Duplicate), "{query}");
        }
    }

    #[test]
    fn bi_20_21_broken_escapes_and_foreign_bytes_are_refused() {
        for query in ["code=%", "code=%z1", "code=%1", "code=%FF%FE", "%ff=1"] {
            assert_eq!(Form::parse(query).err(), Some(FormError::Encoding), "{query}");
        }
        assert_eq!(Form::parse("a=b+c%20d").unwrap().get("a"), Some("b c d"));
    }

    #[test]
    fn tv_10_appended_text_is_escaped_as_the_url_standard_has_it() {
        for letter in '\0'..'\u{800}' {
            let text = format!("a{letter}b");
            let mut own = String::new();
            append(&mut own, &text);
            assert_eq!(
                own,
                form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>()
            );
        }
    }

    #[test]
    fn oa_08_an_empty_value_is_absent() {
        let form = Form::parse("code=&state&x=1").unwrap();
        assert_eq!(
            (form.get("code"), form.get("state"), form.get("x")),
            (None, None, Some("1"))
        );
    }
}
