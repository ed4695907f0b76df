//! Android's binary XML, as it is in every APK: chunks with a pool of strings before elements that name them.
//!
//! Only what a manifest needs. Any bytes end in an element or in a word about what is wrong.

use super::manifest::{Element, MAX_DEPTH};

/// A manifest has some dozens; a file that was made to hurt has millions.
const MAX_ELEMENTS: usize = 20_000;
const MAX_ATTRIBUTES: usize = 500;
/// Longer values are cut, in characters: none that is looked at comes near.
const MAX_VALUE: usize = 2_000;

const XML: u16 = 0x0003;
const STRINGS: u16 = 0x0001;
const RESOURCES: u16 = 0x0180;
const START_ELEMENT: u16 = 0x0102;
const END_ELEMENT: u16 = 0x0103;
const UTF8: u32 = 1 << 8;
const NONE: u32 = u32::MAX;

/// Attributes that are known by their number: some builds leave their names out.
const ATTRIBUTES: [(u32, &str); 17] = [
    (0x0101_0003, "name"),
    (0x0101_0010, "exported"),
    (0x0101_001d, "launchMode"),
    (0x0101_0026, "mimeType"),
    (0x0101_0027, "scheme"),
    (0x0101_0028, "host"),
    (0x0101_0029, "port"),
    (0x0101_002a, "path"),
    (0x0101_002b, "pathPrefix"),
    (0x0101_002c, "pathPattern"),
    (0x0101_0202, "targetActivity"),
    (0x0101_0280, "allowBackup"),
    (0x0101_04eb, "fullBackupContent"),
    (0x0101_04ee, "autoVerify"),
    (0x0101_063e, "dataExtractionRules"),
    (0x0101_0631, "pathAdvancedPattern"),
    (0x0101_0632, "pathSuffix"),
];

/// Whether bytes begin as binary XML does.
pub(super) fn is_binary(bytes: &[u8]) -> bool {
    u16_at(bytes, 0) == Some(XML) && u16_at(bytes, 2) == Some(8)
}

/// The outermost element.
pub(super) fn read(bytes: &[u8]) -> Result<Element, &'static str> {
    if !is_binary(bytes) {
        return Err("not Android's binary XML");
    }
    let mut pool = Pool::default();
    let mut resources: Vec<u32> = Vec::new();
    let mut open: Vec<Element> = Vec::new();
    let mut count = 0_usize;
    let mut rest = bytes.get(8..).unwrap_or_default();
    while !rest.is_empty() {
        let (kind, header, size) = match (u16_at(rest, 0), u16_at(rest, 2), u32_at(rest, 4)) {
            (Some(kind), Some(header), Some(size)) => (kind, usize::from(header), size as usize),
            _ => return Err("it is cut off"),
        };
        let chunk = rest.get(..size).filter(|_| size >= 8 && header <= size);
        let chunk = chunk.ok_or("it is cut off")?;
        rest = rest.get(size..).unwrap_or_default();
        match kind {
            STRINGS if pool.is_empty() => pool = Pool::read(chunk).ok_or("its strings cannot be read")?,
            RESOURCES => {
                let ids = chunk.get(header..).unwrap_or_default().chunks_exact(4);
                resources = ids.filter_map(|id| u32_at(id, 0)).collect();
            }
            START_ELEMENT => {
                count += 1;
                if open.len() >= MAX_DEPTH || count > MAX_ELEMENTS {
                    return Err("it has too many elements");
                }
                let body = chunk.get(header..).unwrap_or_default();
                open.push(element(body, &pool, &resources).ok_or("an element cannot be read")?);
            }
            END_ELEMENT => match (open.pop(), open.last_mut()) {
                (Some(done), Some(outer)) => outer.push(done),
                (Some(done), None) => return Ok(done),
                (None, _) => return Err("an element ends that did not begin"),
            },
            _ => {}
        }
    }
    Err("it is cut off")
}

fn element(body: &[u8], pool: &Pool<'_>, resources: &[u32]) -> Option<Element> {
    let name = pool.get(u32_at(body, 4)?)?;
    let start = usize::from(u16_at(body, 8)?);
    let size = usize::from(u16_at(body, 10)?);
    let count = usize::from(u16_at(body, 12)?);
    if size < 20 || count > MAX_ATTRIBUTES {
        return None;
    }
    let mut attributes = Vec::with_capacity(count);
    let table = body.get(start..)?;
    for at in 0..count {
        let row = table.get(at * size..)?.get(..20)?;
        let index = u32_at(row, 4)?;
        let known = resources.get(index as usize).and_then(|id| {
            let known = ATTRIBUTES.iter().find(|(known, _)| known == id);
            known.map(|(_, name)| format!("android:{name}"))
        });
        let name = match known {
            Some(name) => name,
            None => {
                let name = pool.get(index)?;
                let namespace = pool.get(u32_at(row, 0)?).unwrap_or_default();
                super::manifest::qualified(&namespace, &name)
            }
        };
        let (kind, data) = (row.get(15).copied()?, u32_at(row, 16)?);
        let raw = u32_at(row, 8)?;
        let value = match kind {
            0x03 => pool.get(data).unwrap_or_default(),
            // Anything but zero is true.
            0x12 => (data != 0).to_string(),
            0x10 => (data.cast_signed()).to_string(),
            0x11 => format!("0x{data:x}"),
            0x01 => format!("@0x{data:08x}"),
            _ if raw != NONE => pool.get(raw).unwrap_or_default(),
            _ => String::new(),
        };
        attributes.push((name, value));
    }
    Some(Element::new(&name, attributes, Vec::new()))
}

/// The strings of a file, read when asked for.
#[derive(Default)]
struct Pool<'a> {
    offsets: &'a [u8],
    strings: &'a [u8],
    is_utf8: bool,
}

impl<'a> Pool<'a> {
    fn read(chunk: &'a [u8]) -> Option<Self> {
        let header = usize::from(u16_at(chunk, 2)?);
        let count = u32_at(chunk, 8)? as usize;
        let flags = u32_at(chunk, 16)?;
        let start = u32_at(chunk, 20)? as usize;
        let length = count.checked_mul(4)?;
        Some(Self {
            offsets: chunk.get(header..)?.get(..length)?,
            strings: chunk.get(start..)?,
            is_utf8: flags & UTF8 != 0,
        })
    }

    fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    fn get(&self, index: u32) -> Option<String> {
        let offset = u32_at(self.offsets, (index as usize).checked_mul(4)?)? as usize;
        let text = self.strings.get(offset..)?;
        if self.is_utf8 {
            // The length in characters, then in bytes; each in one byte or two.
            let (_, text) = short_length(text)?;
            let (bytes, text) = short_length(text)?;
            let text = String::from_utf8_lossy(text.get(..bytes)?);
            return Some(text.chars().take(MAX_VALUE).collect());
        }
        let first = usize::from(u16_at(text, 0)?);
        let (units, text) = if first & 0x8000 == 0 {
            (first, text.get(2..)?)
        } else {
            let second = usize::from(u16_at(text, 2)?);
            ((first & 0x7fff) << 16 | second, text.get(4..)?)
        };
        let units = text.get(..units.checked_mul(2)?)?.chunks_exact(2);
        let units = units.filter_map(|unit| u16_at(unit, 0)).take(MAX_VALUE);
        Some(
            char::decode_utf16(units)
                .map(|c| c.unwrap_or('\u{fffd}'))
                .collect(),
        )
    }
}

fn short_length(text: &[u8]) -> Option<(usize, &[u8])> {
    let (first, rest) = text.split_first()?;
    if first & 0x80 == 0 {
        return Some((usize::from(*first), rest));
    }
    let (second, rest) = rest.split_first()?;
    Some((usize::from(first & 0x7f) << 8 | usize::from(*second), rest))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}
