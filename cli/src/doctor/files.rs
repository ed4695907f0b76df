//! Files of an app: a manifest as text, in an APK, an AAR or an AAB; entitlements and an Info.plist, by themselves or in an
//! IPA.
//!
//! What a file is follows from what is in it. Reads as much as such a file may be long, and no more.

mod archive;

use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::Path;

use gatepass::association::{
    Association, Element, Finding, Property, backup_rules_unseen, check_backup_rules, check_manifest,
    unreadable,
};
use roxmltree::{Document, Node, ParsingOptions};

/// A manifest or a property list is never longer, in bytes.
const MAX_TEXT: u64 = 4 * 1024 * 1024;
/// Nor does one have more elements and texts.
const MAX_NODES: u32 = 100_000;
/// Deeper elements are left out.
const MAX_DEPTH: usize = 32;

/// What a file gives. Blocks.
pub(super) fn check(association: Option<&Association>, path: &Path) -> Vec<Finding> {
    let subject = path.display().to_string();
    match look(association, path, &subject) {
        Ok(findings) => findings,
        Err(why) => vec![unreadable(&subject, &why)],
    }
}

fn look(association: Option<&Association>, path: &Path, subject: &str) -> Result<Vec<Finding>, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    let mut magic = [0; 4];
    let begins = file.read(&mut magic).map_err(|error| error.to_string())?;
    file.rewind().map_err(|error| error.to_string())?;
    if magic.get(..begins).is_some_and(|magic| magic == b"PK\x03\x04") {
        return archive::look(association, file, subject);
    }
    let bytes = read(file)?;
    if Property::is_binary(&bytes) {
        return Ok(property_list(&bytes)?.check(association, subject));
    }
    if Element::is_binary_xml(&bytes) {
        return Ok(check_manifest(association, subject, &xml(&bytes)?));
    }
    let document = parse(text(&bytes)?)?;
    match document.root_element().tag_name().name() {
        "plist" => Ok(property(document.root_element(), MAX_DEPTH).check(association, subject)),
        "data-extraction-rules" | "full-backup-content" => Ok(check_backup_rules(
            subject,
            &element(document.root_element(), MAX_DEPTH),
        )),
        _ => {
            let manifest = element(document.root_element(), MAX_DEPTH);
            let mut findings = check_manifest(association, subject, &manifest);
            for rules in manifest.backup_rules() {
                findings.extend(rules_beside(path, subject, rules));
            }
            Ok(findings)
        }
    }
}

/// The rules for backups of a manifest in its source: `res/xml` stands beside it.
fn rules_beside(manifest: &Path, subject: &str, rules: &str) -> Vec<Finding> {
    let name = rules.strip_prefix("@xml/").filter(|name| {
        let is_part = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        !name.is_empty() && name.bytes().all(is_part)
    });
    let Some((name, folder)) = name.zip(manifest.parent()) else {
        return vec![backup_rules_unseen(subject, rules)];
    };
    let path = folder.join("res/xml").join(format!("{name}.xml"));
    let Ok(file) = File::open(&path) else {
        return vec![backup_rules_unseen(subject, rules)];
    };
    let subject = path.display().to_string();
    match read(file).and_then(|bytes| xml(&bytes)) {
        Ok(rules) => check_backup_rules(&subject, &rules),
        Err(why) => vec![unreadable(&subject, &why)],
    }
}

fn read(from: impl Read) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_TEXT + 1).read_to_end(&mut bytes);
    match read {
        Ok(length) if length as u64 > MAX_TEXT => Err(format!("longer than {MAX_TEXT} bytes")),
        Ok(_) => Ok(bytes),
        Err(error) => Err(error.to_string()),
    }
}

/// A document of Android, as text or packed.
fn xml(bytes: &[u8]) -> Result<Element, String> {
    if Element::is_binary_xml(bytes) {
        return Element::from_binary_xml(bytes).map_err(|why| format!("binary XML: {why}"));
    }
    Ok(element(parse(text(bytes)?)?.root_element(), MAX_DEPTH))
}

/// A property list, as text or packed.
fn property_list(bytes: &[u8]) -> Result<Property, String> {
    if Property::is_binary(bytes) {
        return Property::from_binary(bytes).map_err(|why| format!("a binary property list: {why}"));
    }
    let document = parse(text(bytes)?)?;
    match document.root_element() {
        root if root.has_tag_name("plist") => Ok(property(root, MAX_DEPTH)),
        _ => Err("not a property list".to_owned()),
    }
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|_| "neither text in UTF-8 nor a file that is known".to_owned())
}

fn parse(text: &str) -> Result<Document<'_>, String> {
    let options = ParsingOptions {
        // Property lists have one. Nothing outside the file is read.
        allow_dtd: true,
        nodes_limit: MAX_NODES,
        ..ParsingOptions::default()
    };
    Document::parse_with_options(text, options).map_err(|error| format!("not XML: {error}"))
}

fn element(node: Node<'_, '_>, depth: usize) -> Element {
    let attributes = node.attributes().map(|attribute| {
        let name = Element::attribute_name(attribute.namespace().unwrap_or_default(), attribute.name());
        (name, attribute.value().to_owned())
    });
    let children = node.children().filter(|child| child.is_element() && depth > 0);
    let children = children.map(|child| element(child, depth.saturating_sub(1)));
    Element::new(node.tag_name().name(), attributes.collect(), children.collect())
}

/// A property list as XML: `plist` holds one value, `dict` names and values in turn.
fn property(node: Node<'_, '_>, depth: usize) -> Property {
    let mut items = node.children().filter(|child| child.is_element() && depth > 0);
    let inner = |node| property(node, depth.saturating_sub(1));
    match node.tag_name().name() {
        "plist" => items.next().map_or(Property::Other, inner),
        "string" => Property::Text(node.text().unwrap_or_default().to_owned()),
        "array" => Property::List(items.map(inner).collect()),
        "dict" => {
            let mut entries = Vec::new();
            while let (Some(name), Some(value)) = (items.next(), items.next()) {
                entries.push((name.text().unwrap_or_default().trim().to_owned(), inner(value)));
            }
            Property::Dictionary(entries)
        }
        _ => Property::Other,
    }
}
