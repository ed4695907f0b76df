//! What is left of the secrets in memory. A client lives in a process of its own, whose allocator looks into every block
//! before it is given back, and whose memory is searched from outside after the sign-out.
//!
//! In one run everything is Gatepass's own: the transport overwrites its buffers, and nothing may be left. In another the
//! transport is reqwest, and what HTTP leaves behind is counted and printed: `cargo test --test memory -- --nocapture`.
#![cfg(all(
    target_os = "linux",
    feature = "http",
    feature = "loopback",
    feature = "encrypted-file",
    feature = "test-server"
))]
// Helpers outside #[test] functions, which clippy's own exception does not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout
)]

mod allocator;
mod child;
mod parent;
#[path = "../support/plain_http.rs"]
mod plain_http;

/// What the texts of the child's random octets begin with: sixteen characters, of which a diagnostic id has twelve.
const MARK: &[u8; 16] = b"gatepassRandoms_";
/// The octets that make that text, and then the number of the draw.
const MARK_OCTETS: [u8; 12] = [
    0x81, 0xab, 0x5e, 0xa5, 0xab, 0x2c, 0x45, 0xa9, 0xdd, 0xa2, 0x6b, 0x3f,
];
/// A key that the child opens its storage with in one of the runs.
const APP_KEY: [u8; 32] = *b"\x91\xc3\x07app key of a memory test\x88\x99\xaa\xbb\xcc";

/// The kinds of secrets that are looked for, in blocks that are given back and in memory that is held.
const KINDS: [&str; 5] = ["refresh token", "access token", "code", "app key", "octets"];

/// What of a token follows its mark.
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// Which secret begins here: one of [`KINDS`], or a random text, by the number of its draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Kind(usize),
    Text(usize),
    /// The octets that a random text was made of.
    Octets(usize),
}

fn secret_at(rest: &[u8]) -> Option<Found> {
    let token = |mark: &[u8]| {
        let tail = rest.strip_prefix(mark)?;
        (tail.len() >= 8 && tail[..8].iter().all(|b| is_token_character(*b))).then_some(())
    };
    match rest.first()? {
        b'g' => {
            if let Some(tail) = rest.strip_prefix(MARK.as_slice()) {
                let digit = |at: usize| tail.get(at).and_then(|b| b64(*b));
                let number = digit(0)? << 2 | digit(1)? >> 4;
                return Some(Found::Text(number));
            }
            let marks: [&[u8]; 3] = [b"gpt_rt_", b"gpt_at_", b"gpt_co_"];
            marks
                .iter()
                .position(|mark| token(mark).is_some())
                .map(Found::Kind)
        }
        0x91 if rest.starts_with(&APP_KEY) => Some(Found::Kind(3)),
        0x81 => {
            let number = rest.strip_prefix(&MARK_OCTETS)?.first()?;
            Some(Found::Octets(usize::from(*number)))
        }
        _ => None,
    }
}

/// A character of the base64 alphabet as its six bits.
fn b64(byte: u8) -> Option<usize> {
    Some(match byte {
        b'A'..=b'Z' => usize::from(byte - b'A'),
        b'a'..=b'z' => usize::from(byte - b'a') + 26,
        b'0'..=b'9' => usize::from(byte - b'0') + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    })
}
