//! Text that must not be seen: tokens, codes, verifiers, keys.
//!
//! One type for all of them, so that one place decides how a secret prints (it does not), how it is compared
//! (in constant time, by name) and what happens when the last owner lets go (the bytes are overwritten).

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::{Zeroizing, optimization_barrier};

/// A secret text. Redacted when printed, overwritten when the last clone is dropped.
///
/// It is deliberately neither `PartialEq`, `Display` nor `Serialize`: a secret leaves only through
/// [`Secret::expose`], which a reviewer can search for. A clone shares the bytes; there is one copy in memory.
///
/// ```
/// use gatepass::Secret;
///
/// let secret = Secret::new(String::from("hunter2"));
/// assert_eq!(format!("{secret:?}"), "Secret(redacted, 7 bytes)");
/// assert_eq!(secret.expose(), "hunter2");
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Text>);

/// The one copy of the bytes.
struct Text(String);

impl Drop for Text {
    /// Overwrites all that was allocated. As one fill, which `Zeroizing` does byte by byte: of a long token that is the
    /// larger part of the time that reading it takes.
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.clear();
        // Within what is allocated, so nothing moves.
        bytes.resize(bytes.capacity(), 0);
        optimization_barrier(bytes.as_slice());
    }
}

impl Secret {
    /// Takes ownership of the text. Nothing is copied, so no second copy stays behind.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(Text(text)))
    }

    /// The text itself. Whoever calls this answers for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0.0
    }

    /// Compares in constant time. The lengths may be learnt from the time taken, the content may not.
    ///
    /// ```
    /// let secret = gatepass::Secret::new(String::from("hunter2"));
    /// assert!(secret.matches("hunter2"));
    /// assert!(!secret.matches("hunter"));
    /// ```
    #[must_use]
    pub fn matches(&self, other: &str) -> bool {
        self.expose().as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(redacted, {} bytes)", self.expose().len())
    }
}

/// Declares a secret with a name of its own, so that a refresh token cannot be passed for an access token.
macro_rules! secret_newtype {
    ($(#[$meta:meta])* $vis:vis $name:ident) => {
        $(#[$meta])*
        #[derive(Clone)]
        $vis struct $name($crate::secret::Secret);

        impl $name {
            /// Takes ownership of the text without copying it.
            #[must_use]
            $vis fn new(text: String) -> Self {
                Self($crate::secret::Secret::new(text))
            }

            /// The text itself. Whoever calls this answers for where it goes.
            #[must_use]
            $vis fn expose(&self) -> &str {
                self.0.expose()
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}
pub(crate) use secret_newtype;

/// Bytes that are written one after the other and hold secrets: when they need more room, the room they had is overwritten,
/// which a `Vec` leaves as it is.
#[derive(Default)]
pub(crate) struct SecretBuffer(Zeroizing<Vec<u8>>);

/// Room for a record or a token response, so that most never grow.
const FIRST_ROOM: usize = 4096;

impl SecretBuffer {
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        let needed = self.0.len().saturating_add(bytes.len());
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.saturating_mul(2).max(FIRST_ROOM));
            larger.extend_from_slice(&self.0);
            // The old bytes are overwritten as they are dropped.
            drop(std::mem::replace(&mut self.0, Zeroizing::new(larger)));
        }
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

impl std::io::Write for SecretBuffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Overwrites the stack below the caller, where ciphers and digests have left what they worked on.
#[cfg(feature = "sealed-file")]
#[inline(never)]
pub(crate) fn scrub_stack() {
    let mut below = [0_u8; 16 * 1024];
    zeroize::Zeroize::zeroize(&mut below);
    std::hint::black_box(&below);
}

/// So many bytes of a secret in a row are too much to show. Shorter than this nothing is a secret, and could be a part of
/// any word.
const PART: usize = 8;
const REDACTED: &str = "(redacted)";

/// Takes secrets out of a text that somebody else wrote, whole or in part, in letters of either case, percent-encoded or
/// not. `None` if there are none: then the text can stay as it is.
///
/// For what is said back by mistake. Who means to tell a secret to a log can always write it in another way.
pub(crate) fn redact(text: &str, secrets: &[&str]) -> Option<String> {
    let units = units(text);
    let mut secret_at = vec![false; units.len()];
    // Each text is gone through once, however long the other is.
    let said: HashSet<[u8; PART]> = units.windows(PART).filter_map(part_of_units).collect();
    let mut known = HashSet::new();
    for secret in secrets {
        let parts = secret.as_bytes().windows(PART);
        known.extend(parts.filter_map(part).filter(|part| said.contains(part)));
    }
    for (at, here) in units.windows(PART).enumerate() {
        if part_of_units(here).is_some_and(|here| known.contains(&here)) {
            secret_at
                .iter_mut()
                .skip(at)
                .take(PART)
                .for_each(|unit| *unit = true);
        }
    }
    if !secret_at.contains(&true) {
        return None;
    }
    let mut shown = String::with_capacity(text.len());
    let mut was_secret = false;
    for ((_, written), is_secret) in units.iter().zip(secret_at) {
        match (was_secret, is_secret) {
            (false, true) => shown.push_str(REDACTED),
            (_, false) => shown.push_str(written),
            (true, true) => {}
        }
        was_secret = is_secret;
    }
    Some(shown)
}

fn part(bytes: &[u8]) -> Option<[u8; PART]> {
    let mut part: [u8; PART] = bytes.try_into().ok()?;
    part.make_ascii_lowercase();
    Some(part)
}

fn part_of_units(units: &[(u8, &str)]) -> Option<[u8; PART]> {
    let mut part = [0; PART];
    for (into, (byte, _)) in part.iter_mut().zip(units) {
        *into = byte.to_ascii_lowercase();
    }
    (units.len() == PART).then_some(part)
}

/// What a text says, byte by byte, and how each is written. A letter outside ASCII is one unit, and no secret has it.
fn units(text: &str) -> Vec<(u8, &str)> {
    let mut units = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let escaped = (first == '%')
            .then(|| {
                rest.get(1..3)
                    .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            })
            .flatten();
        let byte = escaped.or(u8::try_from(first).ok()).unwrap_or(0);
        let length = if escaped.is_some() { 3 } else { first.len_utf8() };
        let (written, after) = rest.split_at(length);
        units.push((byte, written));
        rest = after;
    }
    units
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "8xLOxBtZp8-GRb2.kQ_7Fq1~m+/=Ab";

    #[test]
    fn a_buffer_holds_what_was_written_and_grows_by_itself() {
        let mut buffer = SecretBuffer::default();
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let mut places = Vec::new();
        for part in bytes.chunks(33) {
            buffer.extend(part);
            places.push((buffer.0.as_ptr(), buffer.0.capacity()));
        }
        places.dedup();
        assert_eq!(
            places.len(),
            3,
            "4 KiB, twice as much, and twice that: {places:?}"
        );
        assert_eq!(*buffer.into_bytes(), bytes);
    }

    #[test]
    fn a_secret_is_taken_out_of_what_somebody_says() {
        let redact = |text: &str| redact(text, &[TOKEN, "state678", "short"]);
        let percent: String = TOKEN.bytes().map(|b| format!("%{b:02x}")).collect();
        for said in [
            TOKEN.to_owned(),
            TOKEN.to_uppercase(),
            percent.to_uppercase(),
            TOKEN.replace('+', "%2B").replace('/', "%2f"),
            percent,
            TOKEN[..8].to_owned(),
            TOKEN[7..23].to_owned(),
            "STATE678".to_owned(),
        ] {
            let expected = Some("für (redacted), %zz%".to_owned());
            assert_eq!(redact(&format!("für {said}, %zz%")), expected, "{said}");
        }
        for harmless in [
            "",
            "short",
            "state67",
            "%",
            "%é9",
            "größe",
            &TOKEN[..7],
            "invalid_grant",
        ] {
            assert_eq!(redact(harmless), None, "{harmless}");
        }
        assert_eq!(
            redact(&format!("{TOKEN}{TOKEN} state678")).unwrap(),
            "(redacted) (redacted)"
        );
        assert_eq!(super::redact(TOKEN, &[""]), None);
    }

    #[test]
    fn debug_never_shows_the_text() {
        let secret = Secret::new("correct horse".to_owned());
        assert!(!format!("{secret:?} {secret:#?}").contains("horse"));
    }

    #[test]
    fn matches_compares_the_whole_text() {
        let secret = Secret::new("abc".to_owned());
        assert!(secret.matches("abc"));
        assert!(!secret.matches("abd"));
        assert!(!secret.matches("abcd"));
        assert!(!secret.matches(""));
    }
}
