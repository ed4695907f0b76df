//! The entitlements that an Apple program was signed with: in the code signature at its end, which is data of the Mach-O
//! format. Any bytes end in the entitlements or in a word about what is wrong.

use std::ops::Range;

const CODE_SIGNATURE: u32 = 0x1d;
const SUPER_BLOB: u32 = 0xfade_0cc0;
const ENTITLEMENTS: u32 = 0xfade_7171;
/// A program has some dozens of commands, a signature some five parts.
const MAX_COMMANDS: u32 = 10_000;
const MAX_PARTS: u32 = 100;
/// A longer signature is not read, in bytes: one has a digest for each page of the program.
const MAX_SIGNATURE: u64 = 32 * 1024 * 1024;

const CUT_OFF: &str = "the program is cut off";

/// Where the signature of a program lies, in bytes from the beginning, by its first megabyte. Of a program for several
/// processors that of the first counts: all have the same entitlements.
///
/// ```
/// use gatepass::association::signature_place;
///
/// assert!(signature_place(b"#!/bin/sh").is_err());
/// ```
///
/// # Errors
/// What is wrong with it, for people.
pub fn signature_place(head: &[u8]) -> Result<Range<u64>, &'static str> {
    // Several programs in one file: the numbers of that table are big-endian.
    let start = match big(head, 0) {
        Some(0xcafe_babe) => big(head, 16).ok_or(CUT_OFF)?,
        _ => 0,
    };
    let program = head.get(start as usize..).ok_or(CUT_OFF)?;
    let header = match little(program, 0) {
        Some(0xfeed_facf) => 32,
        Some(0xfeed_face) => 28,
        _ => return Err("not a program of Apple's systems"),
    };
    let count = little(program, 16).ok_or(CUT_OFF)?;
    if count > MAX_COMMANDS {
        return Err("the program has too many load commands");
    }
    let mut rest = program.get(header..).ok_or(CUT_OFF)?;
    for _ in 0..count {
        let (kind, size) = (little(rest, 0).ok_or(CUT_OFF)?, little(rest, 4).ok_or(CUT_OFF)?);
        if kind == CODE_SIGNATURE {
            let (at, size) = (little(rest, 8).ok_or(CUT_OFF)?, little(rest, 12).ok_or(CUT_OFF)?);
            let at = u64::from(start) + u64::from(at);
            if u64::from(size) > MAX_SIGNATURE {
                return Err("the signature is too long");
            }
            return Ok(at..at + u64::from(size));
        }
        rest = match rest.get(size as usize..) {
            Some(rest) if size >= 8 => rest,
            _ => return Err(CUT_OFF),
        };
    }
    Err("the program is not signed")
}

/// The entitlements in a signature: a property list as XML.
///
/// ```
/// use gatepass::association::entitlements_in;
///
/// assert!(entitlements_in(b"").is_err());
/// ```
///
/// # Errors
/// What is wrong with it, for people.
pub fn entitlements_in(signature: &[u8]) -> Result<&[u8], &'static str> {
    const CUT_OFF: &str = "the signature is cut off";
    if big(signature, 0) != Some(SUPER_BLOB) {
        return Err("the signature has another form");
    }
    let count = big(signature, 8).ok_or(CUT_OFF)?;
    for part in 0..count.min(MAX_PARTS) as usize {
        let at = big(signature, 12 + part * 8 + 4).ok_or(CUT_OFF)? as usize;
        let blob = signature.get(at..).ok_or(CUT_OFF)?;
        if big(blob, 0) == Some(ENTITLEMENTS) {
            let length = big(blob, 4).ok_or(CUT_OFF)? as usize;
            return blob.get(8..length).ok_or(CUT_OFF);
        }
    }
    Err("the program was signed without entitlements")
}

fn big(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn little(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
