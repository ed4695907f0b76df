//! The files of an app, as builds pack them: whatever is written in their formats is read back as it was, and any other
//! bytes end in something small.
//!
//! The writers here are written by the formats' descriptions, not after the readers.

use super::association::{OURS, are_fit_to_be_shown, has};
use crate::protocol::association::{
    Element, Property, check_backup_rules, check_manifest, entitlements_in, signature_place,
};

const ANDROID: &str = "http://schemas.android.com/apk/res/android";
/// Words that findings hang on, so that what is made of bytes means something.
const WORDS: [&str; 24] = [
    "manifest",
    "application",
    "activity",
    "intent-filter",
    "data",
    "action",
    "category",
    "queries",
    "intent",
    "uses-permission",
    "name",
    "scheme",
    "host",
    "path",
    "autoVerify",
    "exported",
    "https",
    "app.example.com",
    "/oauth/callback",
    "true",
    "CFBundleURLTypes",
    "CFBundleIdentifier",
    "keychain-access-groups",
    "exclude",
];

/// The input is a binary manifest, one of an app bundle, a binary property list, a program or its signature; and what a
/// document is made of that is then written in each of these formats.
pub fn app_file(data: &[u8]) {
    let documents = [Element::from_binary_xml(data), Element::from_proto_xml(data)];
    for element in documents.into_iter().flatten() {
        is_small(&element);
        are_fit_to_be_shown(&check_backup_rules("rules", &element));
        are_fit_to_be_shown(&check_manifest(Some(&OURS), "a manifest", &element));
    }
    assert!(Element::from_binary_xml(data).is_err() || Element::is_binary_xml(data));
    if let Ok(list) = Property::from_binary(data) {
        assert!(Property::is_binary(data));
        assert!(values(&list, 0) <= 20_000, "a small file grew");
        let findings = list.check(Some(&OURS), "a list");
        are_fit_to_be_shown(&findings);
        assert!(
            !has(&findings, "entitlements_good")
                || list.get("com.apple.developer.associated-domains").is_some()
        );
    }
    if let Ok(place) = signature_place(data) {
        assert!(place.end - place.start <= 32 * 1024 * 1024);
    }
    if let Ok(entitlements) = entitlements_in(data) {
        assert!(entitlements.len() < data.len());
    }
    if data.len() > 512 {
        return;
    }
    let mut bytes = Bytes(data);
    let tree = tree(&mut bytes, 6);
    for utf8 in [true, false] {
        let read = Element::from_binary_xml(&binary_xml(&tree, utf8));
        assert_eq!(read.as_ref(), Ok(&tree.element()), "binary XML, UTF-8: {utf8}");
    }
    assert_eq!(
        Element::from_proto_xml(&proto_node(&tree)),
        Ok(tree.element()),
        "XML of a bundle"
    );
    let list = property(&mut Bytes(data), 6);
    for size in [1, 2, 4] {
        let written = binary_plist(&list, size);
        if let Some(written) = written {
            assert_eq!(
                Property::from_binary(&written).as_ref(),
                Ok(&list),
                "references of {size}"
            );
        }
    }
    for fat in [false, true] {
        let (program, signature) = program(data, fat);
        let place = signature_place(&program).expect("a program that is signed");
        let found = &program[place.start as usize..place.end as usize];
        assert_eq!(found, signature);
        assert_eq!(entitlements_in(found), Ok(data));
    }
}

fn is_small(element: &Element) {
    fn depth(element: &Element) -> usize {
        1 + element.children().iter().map(depth).max().unwrap_or(0)
    }
    assert!(depth(element) <= 32);
}

fn values(list: &Property, depth: usize) -> usize {
    assert!(depth < 32);
    1 + match list {
        Property::List(items) => items.iter().map(|item| values(item, depth + 1)).sum(),
        Property::Dictionary(entries) => entries
            .iter()
            .map(|(_, value)| 1 + values(value, depth + 1))
            .sum(),
        _ => 0,
    }
}

/// Bytes to decide by. Where they end all is zero.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> usize {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        usize::from(*first)
    }

    /// A word, or the bytes that follow as far as they are text.
    fn text(&mut self) -> String {
        let choice = self.next();
        if choice < 200 {
            return WORDS[choice % WORDS.len()].to_owned();
        }
        let (text, rest) = self.0.split_at((choice - 200).min(self.0.len()));
        self.0 = rest;
        // Long enough that a length takes two bytes.
        String::from_utf8_lossy(text).repeat(if choice == 255 { 20 } else { 1 })
    }
}

/// An element that can be written.
struct Tree {
    name: String,
    /// Whether it is Android's, its name, its value.
    attributes: Vec<(bool, String, Value)>,
    children: Vec<Tree>,
}

enum Value {
    Text(String),
    Flag(bool),
    Number(i32),
    Reference(u32),
}

impl Value {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Flag(flag) => flag.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Reference(id) => format!("@0x{id:08x}"),
        }
    }
}

fn tree(bytes: &mut Bytes<'_>, depth: usize) -> Tree {
    let name = bytes.text();
    let attributes = (0..bytes.next() % 4).map(|_| {
        let (is_androids, name) = (!bytes.next().is_multiple_of(3), bytes.text());
        let value = match bytes.next() % 6 {
            0 => Value::Flag(bytes.next().is_multiple_of(2)),
            1 => Value::Number(i32::from(bytes.next() as u8 as i8)),
            2 => Value::Reference(0x7f00_0000 + bytes.next() as u32),
            _ => Value::Text(bytes.text()),
        };
        (is_androids, name, value)
    });
    let attributes = attributes.collect();
    let count = if depth == 0 { 0 } else { bytes.next() % 4 };
    let children = (0..count).map(|_| tree(bytes, depth - 1)).collect();
    Tree {
        name,
        attributes,
        children,
    }
}

impl Tree {
    fn element(&self) -> Element {
        let attributes = self.attributes.iter().map(|(is_androids, name, value)| {
            let name = if *is_androids {
                format!("android:{name}")
            } else {
                name.clone()
            };
            (name, value.text())
        });
        let children = self.children.iter().map(Self::element).collect();
        Element::new(&self.name, attributes.collect(), children)
    }
}

/// As `ResourceTypes.h` tells: a header, the strings, the numbers of known attributes (none here), the elements.
fn binary_xml(tree: &Tree, utf8: bool) -> Vec<u8> {
    let (mut strings, mut body) = (vec![ANDROID.to_owned()], Vec::new());
    write_element(tree, &mut strings, &mut body);
    let (mut offsets, mut texts) = (Vec::new(), Vec::new());
    for string in &strings {
        offsets.extend((texts.len() as u32).to_le_bytes());
        if utf8 {
            for length in [string.encode_utf16().count(), string.len()] {
                if length > 0x7f {
                    texts.push((length >> 8) as u8 | 0x80);
                }
                texts.push(length as u8);
            }
            texts.extend(string.bytes());
            texts.push(0);
        } else {
            texts.extend((string.encode_utf16().count() as u16).to_le_bytes());
            texts.extend(string.encode_utf16().flat_map(u16::to_le_bytes));
            texts.extend([0, 0]);
        }
    }
    texts.resize(texts.len().next_multiple_of(4), 0);
    let flags: u32 = if utf8 { 0x100 } else { 0 };
    let start = 28 + offsets.len();
    let words = [strings.len() as u32, 0, flags, start as u32, 0]
        .map(u32::to_le_bytes)
        .concat();
    let pool = chunk(1, 28, &[&words[..], &offsets, &texts].concat());
    chunk(3, 8, &[pool, chunk(0x180, 8, &[]), body].concat())
}

fn chunk(kind: u16, header: u16, rest: &[u8]) -> Vec<u8> {
    let size = 8 + rest.len() as u32;
    [
        &kind.to_le_bytes()[..],
        &header.to_le_bytes(),
        &size.to_le_bytes(),
        rest,
    ]
    .concat()
}

fn write_element(tree: &Tree, strings: &mut Vec<String>, body: &mut Vec<u8>) {
    let mut index = |text: &str| {
        strings.push(text.to_owned());
        strings.len() as u32 - 1
    };
    let name = index(&tree.name);
    let mut rows = Vec::new();
    for (is_androids, name, value) in &tree.attributes {
        let (raw, kind, data) = match value {
            Value::Text(text) => {
                let text = index(text);
                (text, 3_u8, text)
            }
            Value::Flag(flag) => (u32::MAX, 0x12, if *flag { u32::MAX } else { 0 }),
            Value::Number(number) => (u32::MAX, 0x10, number.cast_unsigned()),
            Value::Reference(id) => (u32::MAX, 1, *id),
        };
        let namespace = if *is_androids { 0 } else { u32::MAX };
        rows.extend([namespace, index(name), raw].map(u32::to_le_bytes).concat());
        rows.extend([8, 0, 0, kind]);
        rows.extend(data.to_le_bytes());
    }
    // The line and the comment, the namespace and the name; then where attributes are, their size and count.
    let node = [1, u32::MAX, u32::MAX, name].map(u32::to_le_bytes).concat();
    let counts = [20, 20, tree.attributes.len() as u16, 0, 0, 0]
        .map(u16::to_le_bytes)
        .concat();
    body.extend(chunk(0x102, 16, &[&node[..], &counts, &rows].concat()));
    for child in &tree.children {
        write_element(child, strings, body);
    }
    body.extend(chunk(0x103, 16, &node));
}

/// As `Resources.proto` of aapt tells.
fn proto_node(tree: &Tree) -> Vec<u8> {
    let mut element = delimited(3, tree.name.as_bytes());
    for (is_androids, name, value) in &tree.attributes {
        let mut attribute = Vec::new();
        if *is_androids {
            attribute.extend(delimited(1, ANDROID.as_bytes()));
        }
        attribute.extend(delimited(2, name.as_bytes()));
        let item = match value {
            Value::Text(text) => {
                attribute.extend(delimited(3, text.as_bytes()));
                delimited(2, &delimited(1, text.as_bytes()))
            }
            Value::Flag(flag) => delimited(7, &[vec![8 << 3], varint(u64::from(*flag))].concat()),
            Value::Number(number) => delimited(
                7,
                &[vec![6 << 3], varint(i64::from(*number).cast_unsigned())].concat(),
            ),
            Value::Reference(id) => delimited(1, &[vec![2 << 3], varint(u64::from(*id))].concat()),
        };
        attribute.extend(delimited(6, &item));
        element.extend(delimited(4, &attribute));
    }
    for child in &tree.children {
        element.extend(delimited(5, &proto_node(child)));
    }
    // The element, and where it stood in the source: a message of two numbers.
    [delimited(1, &element), delimited(3, &[8, 1, 16, 1])].concat()
}

fn delimited(field: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![field << 3 | 2], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

fn varint(mut number: u64) -> Vec<u8> {
    let mut written = Vec::new();
    while number > 0x7f {
        written.push(number as u8 | 0x80);
        number >>= 7;
    }
    written.push(number as u8);
    written
}

fn property(bytes: &mut Bytes<'_>, depth: usize) -> Property {
    let count = if depth == 0 { 0 } else { bytes.next() % 20 };
    match bytes.next() % 4 {
        0 if depth > 0 => {
            let entries = (0..count).map(|_| (bytes.text(), property(bytes, depth - 1)));
            Property::Dictionary(entries.collect())
        }
        1 if depth > 0 => Property::List((0..count).map(|_| property(bytes, depth - 1)).collect()),
        2 => Property::Other,
        _ => Property::Text(bytes.text()),
    }
}

/// As CoreFoundation's `CFBinaryPList.c` tells. `None` where the objects are too many for references of this size.
fn binary_plist(list: &Property, size: usize) -> Option<Vec<u8>> {
    let mut objects = Vec::new();
    let top = write_property(list, size, &mut objects);
    if objects.len() >= 1 << (8 * size) || objects.len() > 10_000 {
        return None;
    }
    let (mut file, mut offsets) = (b"bplist00".to_vec(), Vec::new());
    for object in &objects {
        offsets.extend((file.len() as u32).to_be_bytes());
        file.extend(object);
    }
    let table = file.len() as u64;
    file.extend(offsets);
    file.extend([0, 0, 0, 0, 0, 0, 4, size as u8]);
    for number in [objects.len() as u64, top, table] {
        file.extend(number.to_be_bytes());
    }
    Some(file)
}

fn write_property(list: &Property, size: usize, objects: &mut Vec<Vec<u8>>) -> u64 {
    let reference = |index: u64| index.to_be_bytes()[8 - size..].to_vec();
    let written = match list {
        Property::Text(text) if text.is_ascii() => [marker(5, text.len()), text.as_bytes().to_vec()].concat(),
        Property::Text(text) => {
            let units: Vec<u16> = text.encode_utf16().collect();
            [
                marker(6, units.len()),
                units.iter().flat_map(|unit| unit.to_be_bytes()).collect(),
            ]
            .concat()
        }
        Property::List(items) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| write_property(item, size, objects))
                .collect();
            [
                marker(0xa, items.len()),
                items.into_iter().flat_map(reference).collect(),
            ]
            .concat()
        }
        Property::Dictionary(entries) => {
            let names = entries.iter().map(|(name, _)| Property::Text(name.clone()));
            let names: Vec<_> = names.map(|name| write_property(&name, size, objects)).collect();
            let values: Vec<_> = entries
                .iter()
                .map(|(_, value)| write_property(value, size, objects))
                .collect();
            let references = names.into_iter().chain(values).flat_map(reference).collect();
            [marker(0xd, entries.len()), references].concat()
        }
        // True; a date; a number.
        Property::Other => match objects.len() % 3 {
            0 => vec![0x09],
            1 => [vec![0x33], 1.5_f64.to_be_bytes().to_vec()].concat(),
            _ => vec![0x11, 1, 2],
        },
    };
    objects.push(written);
    objects.len() as u64 - 1
}

fn marker(kind: u8, length: usize) -> Vec<u8> {
    match length {
        0..15 => vec![kind << 4 | length as u8],
        15..256 => vec![kind << 4 | 0xf, 0x10, length as u8],
        _ => [&[kind << 4 | 0xf, 0x12][..], &(length as u32).to_be_bytes()].concat(),
    }
}

/// A program as `mach-o/loader.h` tells, signed with these entitlements; and its signature.
fn program(entitlements: &[u8], fat: bool) -> (Vec<u8>, Vec<u8>) {
    let blob = |magic: u32, bytes: &[u8]| {
        [
            &magic.to_be_bytes()[..],
            &(8 + bytes.len() as u32).to_be_bytes(),
            bytes,
        ]
        .concat()
    };
    let requirements = blob(0xfade_0c01, &[0; 4]);
    let own = blob(0xfade_7171, entitlements);
    let second = 28 + requirements.len() as u32;
    let index = [2_u32, 2, 28, 5, second].map(u32::to_be_bytes).concat();
    let signature = blob(0xfade_0cc0, &[index, requirements, own].concat());
    let segment = [0x19_u32, 24, 0, 0, 0, 0].map(u32::to_le_bytes).concat();
    let text = [0x90; 40];
    let at = 32 + segment.len() + 16 + text.len();
    let signed = [0x1d_u32, 16, at as u32, signature.len() as u32]
        .map(u32::to_le_bytes)
        .concat();
    let header = [0xfeed_facf_u32, 0x0100_000c, 0, 2, 2, 40, 0, 0]
        .map(u32::to_le_bytes)
        .concat();
    let thin = [&header[..], &segment, &signed, &text, &signature].concat();
    if !fat {
        return (thin, signature);
    }
    let table = [0xcafe_babe_u32, 1, 0x0100_000c, 0, 64, thin.len() as u32, 6]
        .map(u32::to_be_bytes)
        .concat();
    ([table, vec![0; 64 - 28], thin].concat(), signature)
}
