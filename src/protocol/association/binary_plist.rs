//! Apple's binary property lists, as they are in every app that was built: a table of objects that name each other.
//!
//! Only what Info.plist and entitlements need. Any bytes end in a value or in a word about what is wrong. An object that is
//! named a thousand times counts a thousand times, so a small file cannot grow without end.

use super::property_list::{MAX_DEPTH, Property};

/// An Info.plist has some hundred values.
const MAX_VALUES: usize = 20_000;
/// All texts together, in bytes. No honest list comes near.
const MAX_TEXT: usize = 4 * 1024 * 1024;
const TRAILER: usize = 32;

type Outcome<T> = Result<T, &'static str>;
const CUT_OFF: &str = "it is cut off";

/// Whether bytes begin as a binary property list does.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    bytes.starts_with(b"bplist00")
}

/// The outermost value.
pub(super) fn read(bytes: &[u8]) -> Outcome<Property> {
    if !is_binary(bytes) {
        return Err("not a binary property list");
    }
    let body = bytes.len().checked_sub(TRAILER).ok_or(CUT_OFF)?;
    let (objects, trailer) = bytes.split_at_checked(body).ok_or(CUT_OFF)?;
    let (offset_size, reference_size) = match trailer.get(6..8) {
        Some(&[offset, reference]) if (1..=8).contains(&offset) && (1..=8).contains(&reference) => {
            (usize::from(offset), usize::from(reference))
        }
        _ => return Err("its trailer cannot be read"),
    };
    let word = |at: usize| trailer.get(at..at + 8).and_then(number).ok_or(CUT_OFF);
    let (count, top, table) = (word(8)?, word(16)?, word(24)?);
    let length = count.checked_mul(offset_size).ok_or(CUT_OFF)?;
    let offsets = objects.get(table..).and_then(|rest| rest.get(..length));
    let mut list = List {
        objects,
        offsets: offsets.ok_or(CUT_OFF)?,
        offset_size,
        reference_size,
        values: 0,
        text: 0,
    };
    list.value(top, MAX_DEPTH)
}

struct List<'a> {
    objects: &'a [u8],
    offsets: &'a [u8],
    offset_size: usize,
    reference_size: usize,
    /// How many values were read, and how many bytes of text.
    values: usize,
    text: usize,
}

impl<'a> List<'a> {
    fn value(&mut self, index: usize, depth: usize) -> Outcome<Property> {
        let depth = depth.checked_sub(1).ok_or("it is nested too deeply")?;
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err("it has too many values");
        }
        let at = index.checked_mul(self.offset_size).ok_or(CUT_OFF)?;
        let offset = self
            .offsets
            .get(at..)
            .and_then(|rest| rest.get(..self.offset_size));
        let offset = offset
            .and_then(number)
            .ok_or("it names an object that is not there")?;
        let (marker, rest) = self
            .objects
            .get(offset..)
            .and_then(<[u8]>::split_first)
            .ok_or(CUT_OFF)?;
        match marker >> 4 {
            0x5 => {
                let (length, rest) = count(*marker, rest)?;
                let text = rest.get(..length).ok_or(CUT_OFF)?;
                self.texts(length)?;
                Ok(Property::Text(String::from_utf8_lossy(text).into_owned()))
            }
            0x6 => {
                let (length, rest) = count(*marker, rest)?;
                let length = length.checked_mul(2).ok_or(CUT_OFF)?;
                let units = rest.get(..length).ok_or(CUT_OFF)?.chunks_exact(2);
                self.texts(length)?;
                let units = units.filter_map(|unit| Some(u16::from_be_bytes(*unit.first_chunk()?)));
                let text = char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER));
                Ok(Property::Text(text.collect()))
            }
            // A list or a set.
            0xa | 0xc => {
                let (length, rest) = count(*marker, rest)?;
                let items = self.references(rest, length)?;
                let items = items.map(|index| self.value(index?, depth));
                Ok(Property::List(items.collect::<Outcome<_>>()?))
            }
            0xd => {
                let (length, rest) = count(*marker, rest)?;
                let names = self.references(rest, length)?;
                let values = rest.get(length * self.reference_size..).ok_or(CUT_OFF)?;
                let values = self.references(values, length)?;
                let mut entries = Vec::new();
                for (name, value) in names.zip(values) {
                    let Property::Text(name) = self.value(name?, depth)? else {
                        return Err("a name in it is no text");
                    };
                    entries.push((name, self.value(value?, depth)?));
                }
                Ok(Property::Dictionary(entries))
            }
            _ => Ok(Property::Other),
        }
    }

    fn texts(&mut self, length: usize) -> Outcome<()> {
        self.text += length;
        if self.text > MAX_TEXT {
            return Err("its texts are too long");
        }
        Ok(())
    }

    /// So many references to objects.
    fn references(
        &self,
        bytes: &'a [u8],
        count: usize,
    ) -> Outcome<impl Iterator<Item = Outcome<usize>> + use<'a>> {
        let length = count.checked_mul(self.reference_size).ok_or(CUT_OFF)?;
        let bytes = bytes.get(..length).ok_or(CUT_OFF)?;
        let references = bytes.chunks_exact(self.reference_size);
        Ok(references.map(|bytes| number(bytes).ok_or(CUT_OFF)))
    }
}

/// How many items an object has: in its marker, or where that is full in a number behind it.
fn count(marker: u8, rest: &[u8]) -> Outcome<(usize, &[u8])> {
    if marker & 0x0f != 0x0f {
        return Ok((usize::from(marker & 0x0f), rest));
    }
    let (kind, rest) = rest.split_first().ok_or(CUT_OFF)?;
    let size = 1_usize << (kind & 0x0f).min(4);
    match (kind >> 4, rest.split_at_checked(size)) {
        (0x1, Some((length, rest))) => Ok((number(length).ok_or(CUT_OFF)?, rest)),
        _ => Err("a length in it is no number"),
    }
}

/// Big-endian, of any size that fits.
fn number(bytes: &[u8]) -> Option<usize> {
    bytes.iter().try_fold(0_usize, |number, byte| {
        number.checked_mul(256)?.checked_add(usize::from(*byte))
    })
}
