//! Canaries, and the cat that finds them: every secret of a journey, looked for in every form a program prints bytes in.
//!
//! A secret counts as seen as soon as sixteen bytes of it in a row are: half a token is too much. What is searched is the
//! text itself and what it says decoded: percent escapes, backslash escapes, base64 at any alignment, hexadecimal digits,
//! and the lists of numbers that `Debug` makes of bytes.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// So many bytes of a secret in a row are a leak. A diagnostic id is the beginning of a random text of its own, and shorter.
pub(crate) const WINDOW: usize = 16;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// What the tokens, codes and sessions of the test server begin with. The underscores keep them from being found by chance.
const MARKS: [(&str, &str); 6] = [
    ("gpt_at_", "access token"),
    ("gpt_rt_", "refresh token"),
    ("gpt_co_", "code"),
    ("gpt_pr_", "pushed request"),
    ("gpt_se_", "browser session"),
    ("gpt_pa_", "sign-in page"),
];

/// Bytes in a row, and whose they are.
type Window = ([u8; WINDOW], String);

/// The secrets known so far.
#[derive(Default)]
pub(crate) struct Canaries {
    known: BTreeSet<Vec<u8>>,
    kinds: BTreeSet<String>,
    /// By their first eight bytes, the windows of all secrets: which secret.
    windows: HashMap<u64, Vec<Window>, BuildHasherDefault<Spread>>,
}

/// Spreads eight bytes well enough: every byte of every log is looked up.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        panic!("only numbers are looked up")
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32);
    }
}

/// A secret where none may be. Its text is not told, only what it is and how it was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hit {
    pub(crate) what: String,
    pub(crate) form: &'static str,
    pub(crate) near: String,
}

impl Canaries {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    pub(crate) fn kinds(&self) -> BTreeSet<String> {
        self.kinds.clone()
    }

    /// From here on this must be seen nowhere. Shorter than a window nothing is a secret.
    pub(crate) fn add(&mut self, what: &str, secret: &[u8]) {
        self.kinds.insert(what.to_owned());
        if secret.len() < WINDOW || !self.known.insert(secret.to_vec()) {
            return;
        }
        for window in secret.windows(WINDOW) {
            let window: [u8; WINDOW] = window.try_into().unwrap();
            // What a server may put around it is no secret.
            if window.contains(&b' ') {
                continue;
            }
            let begins = u64::from_le_bytes(window[..8].try_into().unwrap());
            let known = self.windows.entry(begins).or_default();
            if known.iter().all(|(other, _)| *other != window) {
                known.push((window, what.to_owned()));
            }
        }
    }

    /// A token in three parts: what its header says is public, and the same in all of them.
    pub(crate) fn add_jwt(&mut self, what: &str, token: &str) {
        for part in token.split('.').skip(1) {
            self.add(what, part.as_bytes());
        }
    }

    /// Every secret in a text.
    pub(crate) fn find(&self, text: &[u8]) -> BTreeSet<Hit> {
        let mut hits = BTreeSet::new();
        self.look("as it is", text, text, &mut hits);
        let escaped = [("percent-encoded", percent(text)), ("escaped", backslash(text))];
        for (form, decoded) in &escaped {
            if let Some(decoded) = decoded {
                self.look(form, decoded, decoded, &mut hits);
            }
        }
        let plain = escaped.iter().filter_map(|(_, decoded)| decoded.as_deref());
        for text in std::iter::once(text).chain(plain) {
            for (form, decoded) in base64_runs(text)
                .into_iter()
                .chain(hex_runs(text))
                .chain(number_runs(text))
            {
                self.look(form, &decoded, text, &mut hits);
            }
        }
        hits
    }

    fn look(&self, form: &'static str, text: &[u8], whole: &[u8], hits: &mut BTreeSet<Hit>) {
        // Decoded bytes say nothing about where they stood.
        let shown = if std::ptr::eq(text, whole) { text } else { &[] };
        let near = |at: usize| {
            let before = &shown[..at.min(shown.len())];
            let from = before
                .iter()
                .rposition(|b| *b == b'\n')
                .map_or(0, |line| line + 1);
            let line = &before[from..];
            String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned()
        };
        for (at, window) in text.windows(8).enumerate() {
            let begins: [u8; 8] = window.try_into().unwrap();
            if window[0] == b'g' && begins.starts_with(b"gpt_") {
                for (mark, what) in MARKS {
                    // With a character of the random part behind it: the mark itself is in the source.
                    if begins.starts_with(mark.as_bytes()) {
                        hits.insert(Hit {
                            what: what.to_owned(),
                            form,
                            near: near(at),
                        });
                    }
                }
            }
            let Some(candidates) = self.windows.get(&u64::from_le_bytes(begins)) else {
                continue;
            };
            let Some(here) = text.get(at..at + WINDOW) else {
                continue;
            };
            for (_, what) in candidates.iter().filter(|(known, _)| known == here) {
                hits.insert(Hit {
                    what: what.clone(),
                    form,
                    near: near(at),
                });
            }
        }
    }
}

/// `None` where nothing is encoded.
fn percent(text: &[u8]) -> Option<Vec<u8>> {
    text.contains(&b'%').then(|| {
        let mut decoded = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((&first, tail)) = rest.split_first() {
            let byte = (first == b'%').then(|| hex_byte(tail)).flatten();
            decoded.push(byte.unwrap_or(first));
            rest = if byte.is_some() { &tail[2..] } else { tail };
        }
        decoded
    })
}

/// `\u0067`, `\u{67}`, `\x67` and `\"`.
fn backslash(text: &[u8]) -> Option<Vec<u8>> {
    text.contains(&b'\\').then(|| {
        let mut decoded = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((&first, tail)) = rest.split_first() {
            let (byte, used) = match (first, tail) {
                (b'\\', [b'x', digits @ ..]) => (hex_byte(digits), 3),
                (b'\\', [b'u', b'0', b'0', digits @ ..]) => (hex_byte(digits), 5),
                (b'\\', [b'u', b'{', digits @ ..]) if digits.get(2) == Some(&b'}') => (hex_byte(digits), 5),
                (b'\\', [other, ..]) => (Some(*other), 1),
                _ => (None, 0),
            };
            decoded.push(byte.unwrap_or(first));
            rest = if byte.is_some() { &tail[used..] } else { tail };
        }
        decoded
    })
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

type Runs = Vec<(&'static str, Vec<u8>)>;

/// The stretches of characters that pass `belongs`, if they are long enough to hold a window.
fn runs(text: &[u8], least: usize, belongs: impl Fn(u8) -> bool) -> Vec<&[u8]> {
    text.split(|b| !belongs(*b))
        .filter(|run| run.len() >= least)
        .collect()
}

fn base64_runs(text: &[u8]) -> Runs {
    let belongs = |b: u8| b.is_ascii_alphanumeric() || b"+/-_".contains(&b);
    let mut found = Vec::new();
    for run in runs(text, WINDOW * 4 / 3, belongs) {
        let run: Vec<u8> = run
            .iter()
            .map(|b| match b {
                b'+' => b'-',
                b'/' => b'_',
                other => *other,
            })
            .collect();
        for offset in 0..4 {
            let rest = &run[offset.min(run.len())..];
            let rest = &rest[..rest.len() - usize::from(rest.len() % 4 == 1)];
            found.extend(BASE64.decode(rest).ok().map(|decoded| ("base64", decoded)));
        }
    }
    found
}

fn hex_runs(text: &[u8]) -> Runs {
    let mut found = Vec::new();
    for run in runs(text, WINDOW * 2, |b| b.is_ascii_hexdigit()) {
        for offset in 0..2 {
            let bytes = run[offset..].chunks_exact(2).filter_map(hex_byte).collect();
            found.push(("hexadecimal", bytes));
        }
    }
    found
}

/// `[103, 112, 116]`, `0x67, 0x70`, `67:70` and the same over several lines.
fn number_runs(text: &[u8]) -> Runs {
    let mut found = Vec::new();
    for run in runs(text, WINDOW * 2, |b| {
        b.is_ascii_hexdigit() || b.is_ascii_whitespace() || b",:x".contains(&b)
    }) {
        let run = String::from_utf8_lossy(run);
        let numbers = || {
            run.split([',', ':', ' ', '\n', '\r', '\t'])
                .filter(|n| !n.is_empty())
        };
        let decimal = numbers().filter_map(|n| n.parse::<u8>().ok()).collect();
        found.push(("a list of numbers", decimal));
        let hex = numbers().filter_map(|n| u8::from_str_radix(n.trim_start_matches("0x"), 16).ok());
        found.push(("a list of numbers", hex.collect()));
    }
    found
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};

    use super::*;

    const SECRET: &str = "Zq8~k_P4-xT.w9LmB2vR7sJc";

    fn known() -> Canaries {
        let mut canaries = Canaries::new();
        canaries.add("password", SECRET.as_bytes());
        canaries
    }

    fn forms(text: &str) -> Vec<&'static str> {
        known().find(text.as_bytes()).iter().map(|hit| hit.form).collect()
    }

    #[test]
    fn every_form_of_a_secret_is_found() {
        let bytes = SECRET.as_bytes();
        let hex = |separator: &str| {
            let digits: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
            digits.join(separator)
        };
        let percent: String = bytes.iter().map(|b| format!("%{b:02X}")).collect();
        let json: String = bytes.iter().map(|b| format!("\\u{b:04x}")).collect();
        let debug: String = bytes.iter().map(|b| format!("\\u{{{b:x}}}")).collect();
        for (text, form) in [
            (SECRET.to_owned(), "as it is"),
            (format!("Error {{ code: {SECRET:?} }}"), "as it is"),
            (percent.clone(), "percent-encoded"),
            (percent.to_ascii_lowercase(), "percent-encoded"),
            (json, "escaped"),
            (debug, "escaped"),
            (hex(""), "hexadecimal"),
            (hex("").to_uppercase(), "hexadecimal"),
            (format!("0{}", hex("")), "hexadecimal"),
            (hex(":"), "a list of numbers"),
            (format!("0x{}", hex(", 0x")), "a list of numbers"),
            (format!("{bytes:?}"), "a list of numbers"),
            (format!("{bytes:#?}"), "a list of numbers"),
            (format!("{:?}", bytes.to_vec()), "a list of numbers"),
        ] {
            let text = format!("before: {text} after");
            assert!(forms(&text).contains(&form), "{form}: {text}");
        }
        for before in ["", "a", "ab", "abc"] {
            let standard = BASE64_STANDARD.encode(format!("{before}{SECRET}"));
            let url = BASE64_URL_SAFE_NO_PAD.encode(format!("{before}{SECRET} and more"));
            for text in [standard, url] {
                assert!(forms(&format!("Basic {text}")).contains(&"base64"), "{text}");
            }
        }
    }

    #[test]
    fn a_part_of_a_secret_is_found_and_less_is_none() {
        for from in 0..SECRET.len() - WINDOW {
            let part = &SECRET[from..from + WINDOW];
            assert_eq!(forms(&format!("token {part}…")), ["as it is"], "{part}");
            assert!(forms(&part[1..]).is_empty());
        }
        assert!(forms("Zq8~k_P4-xT.w9L but no more").is_empty());
        assert!(forms(&SECRET.to_lowercase()).is_empty());
    }

    #[test]
    fn a_token_of_the_test_server_is_found_without_being_known() {
        let found = Canaries::new().find(b"refresh_token=gpt_rt_AbCd");
        assert_eq!(found.first().unwrap().what, "refresh token");
        let hidden = BASE64_STANDARD.encode("x gpt_co_AbCdEfGh");
        assert_eq!(
            Canaries::new().find(hidden.as_bytes()).first().unwrap().form,
            "base64"
        );
    }

    #[test]
    fn the_header_of_a_jwt_is_public_and_the_rest_is_not() {
        let mut canaries = Canaries::new();
        canaries.add_jwt(
            "ID token",
            "eyJhbGciOiJSUzI1NiJ9aaaa.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJlLXNpZw",
        );
        assert!(canaries.find(b"eyJhbGciOiJSUzI1NiJ9aaaa").is_empty());
        assert!(!canaries.find(b"eyJzdWIiOiJhbGljZSJ9").is_empty());
        assert!(!canaries.find(b"c2lnbmF0dXJlLXNpZw").is_empty());
    }
}
