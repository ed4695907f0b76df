//! XML as an app bundle (AAB) has it: aapt's `XmlNode`, in protocol buffers. Only what a manifest needs; any bytes end in an
//! element or in a word about what is wrong.

use super::manifest::{Element, MAX_DEPTH, qualified};

/// A manifest has some hundred elements.
const MAX_ELEMENTS: usize = 20_000;
/// Longer values are cut, in characters.
const MAX_VALUE: usize = 2_000;

type Outcome<T> = Result<T, &'static str>;
const CUT_OFF: &str = "it is cut off";

/// The outermost element.
pub(super) fn read(bytes: &[u8]) -> Outcome<Element> {
    node(bytes, MAX_DEPTH, &mut 0)?.ok_or("it has no element")
}

/// `XmlNode`: an element, or a text, which says nothing here.
fn node(bytes: &[u8], depth: usize, count: &mut usize) -> Outcome<Option<Element>> {
    let depth = depth.checked_sub(1).ok_or("it is nested too deeply")?;
    let mut read = None;
    for field in Fields(bytes) {
        if let (1, Wire::Bytes(bytes)) = field? {
            *count += 1;
            if *count > MAX_ELEMENTS {
                return Err("it has too many elements");
            }
            read = Some(element(bytes, depth, count)?);
        }
    }
    Ok(read)
}

/// `XmlElement`: name 3, attributes 4, children 5.
fn element(bytes: &[u8], depth: usize, count: &mut usize) -> Outcome<Element> {
    let (mut name, mut attributes, mut children) = (String::new(), Vec::new(), Vec::new());
    for field in Fields(bytes) {
        match field? {
            (3, Wire::Bytes(bytes)) => name = text(bytes),
            (4, Wire::Bytes(bytes)) => attributes.push(attribute(bytes)?),
            (5, Wire::Bytes(bytes)) => children.extend(node(bytes, depth, count)?),
            _ => {}
        }
    }
    Ok(Element::new(&name, attributes, children))
}

/// `XmlAttribute`: namespace 1, name 2, the value as it was written 3, as it was compiled 6.
fn attribute(bytes: &[u8]) -> Outcome<(String, String)> {
    let (mut namespace, mut name, mut value, mut compiled) = Default::default();
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(bytes)) => namespace = text(bytes),
            (2, Wire::Bytes(bytes)) => name = text(bytes),
            (3, Wire::Bytes(bytes)) => value = text(bytes),
            (6, Wire::Bytes(bytes)) => compiled = item(bytes)?,
            _ => {}
        }
    }
    let value = if value.is_empty() { compiled } else { value };
    Ok((qualified(&namespace, &name), value))
}

/// `Item`: a reference 1, texts 2 and 3, a primitive 7.
fn item(bytes: &[u8]) -> Outcome<String> {
    let mut read = String::new();
    for field in Fields(bytes) {
        match field? {
            (1, Wire::Bytes(bytes)) => read = reference(bytes)?,
            (2 | 3, Wire::Bytes(bytes)) => {
                for field in Fields(bytes) {
                    if let (1, Wire::Bytes(bytes)) = field? {
                        read = text(bytes);
                    }
                }
            }
            (7, Wire::Bytes(bytes)) => read = primitive(bytes)?,
            _ => {}
        }
    }
    Ok(read)
}

/// `Reference`: number 2, name 3.
fn reference(bytes: &[u8]) -> Outcome<String> {
    let mut read = String::new();
    for field in Fields(bytes) {
        match field? {
            (2, Wire::Number(id)) if read.is_empty() => read = format!("@0x{id:08x}"),
            (3, Wire::Bytes(bytes)) => read = format!("@{}", text(bytes)),
            _ => {}
        }
    }
    Ok(read)
}

/// `Primitive`: numbers 6 and 7, true or false 8.
#[allow(
    clippy::cast_possible_truncation,
    reason = "int32 is written as 64 bits where it is negative"
)]
fn primitive(bytes: &[u8]) -> Outcome<String> {
    let mut read = String::new();
    for field in Fields(bytes) {
        match field? {
            (6, Wire::Number(number)) => read = (number as i32).to_string(),
            (7, Wire::Number(number)) => read = format!("0x{number:x}"),
            (8, Wire::Number(number)) => read = (number != 0).to_string(),
            _ => {}
        }
    }
    Ok(read)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(MAX_VALUE).collect()
}

/// What stands behind the number of a field.
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Floats: nothing here is one.
    Other,
}

/// The fields of a message, one after the other. Ends after the first that cannot be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn field(&mut self) -> Outcome<(u64, Wire<'a>)> {
        let tag = self.number()?;
        let wire = match tag & 7 {
            0 => Wire::Number(self.number()?),
            1 => {
                self.take(8)?;
                Wire::Other
            }
            2 => {
                let length = usize::try_from(self.number()?).map_err(|_| CUT_OFF)?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Other
            }
            _ => return Err("it is no XML of an app bundle"),
        };
        Ok((tag >> 3, wire))
    }

    fn take(&mut self, length: usize) -> Outcome<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT_OFF)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Seven bits a byte, the lowest first; what is beyond 64 is dropped.
    fn number(&mut self) -> Outcome<u64> {
        let mut number = 0;
        for shift in (0..70).step_by(7) {
            let [byte] = self.take(1)? else {
                return Err(CUT_OFF);
            };
            number |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err("a number in it is too long")
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Outcome<(u64, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}
