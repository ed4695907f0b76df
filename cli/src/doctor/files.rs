//! Files of an app: a manifest as text, in an APK or in an AAR; entitlements; an Info.plist.
//!
//! What a file is follows from what is in it. Reads as much as such a file may be long, and no more.

use std::fs::File;
use std::io::{Read, Seek as _};
use std::path::Path;

use gatepass::association::{
    Association, Element, Entitlements, Finding, check_bundle, check_manifest, unreadable,
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
        let bytes = manifest_in(file)?;
        let subject = format!("{subject}, AndroidManifest.xml");
        return Ok(check_manifest(association, &subject, &manifest(&bytes)?));
    }
    let bytes = read(file)?;
    if bytes.starts_with(b"bplist") {
        return Err("a binary property list; make it text first: plutil -convert xml1 FILE".to_owned());
    }
    if Element::is_binary_xml(&bytes) {
        return Ok(check_manifest(association, subject, &manifest(&bytes)?));
    }
    let text = text(&bytes)?;
    let document = parse(text)?;
    match document.root_element().tag_name().name() {
        "plist" => property_list(association, subject, document.root_element()),
        _ => Ok(check_manifest(
            association,
            subject,
            &element(document.root_element(), MAX_DEPTH),
        )),
    }
}

/// The manifest of an APK or an AAR.
fn manifest_in(file: File) -> Result<Vec<u8>, String> {
    let mut archive = zip::ZipArchive::new(file).map_err(|error| format!("a ZIP archive that {error}"))?;
    let entry = archive
        .by_name("AndroidManifest.xml")
        .map_err(|error| format!("AndroidManifest.xml in it: {error}"))?;
    read(entry)
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

fn manifest(bytes: &[u8]) -> Result<Element, String> {
    if Element::is_binary_xml(bytes) {
        return Element::from_binary_xml(bytes).map_err(|why| format!("binary XML: {why}"));
    }
    Ok(element(parse(text(bytes)?)?.root_element(), MAX_DEPTH))
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

/// Entitlements, or the Info.plist that a bundle has.
fn property_list(
    association: Option<&Association>,
    subject: &str,
    plist: Node<'_, '_>,
) -> Result<Vec<Finding>, String> {
    let dictionary = plist
        .children()
        .find(Node::is_element)
        .filter(|node| node.has_tag_name("dict"))
        .ok_or("a property list without a dictionary")?;
    if let Some(types) = value(dictionary, "CFBundleURLTypes").or(value(dictionary, "CFBundleIdentifier")) {
        let schemes: Vec<&str> = types
            .descendants()
            .filter(|node| node.has_tag_name("dict"))
            .flat_map(|entry| strings(value(entry, "CFBundleURLSchemes")))
            .collect();
        let bundle_id = value(dictionary, "CFBundleIdentifier").and_then(|node| node.text());
        return Ok(check_bundle(association, subject, bundle_id, &schemes));
    }
    let owned = |name| {
        strings(value(dictionary, name))
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let mut entitlements = Entitlements::default();
    entitlements.associated_domains = owned("com.apple.developer.associated-domains");
    entitlements.keychain_groups = owned("keychain-access-groups");
    entitlements.application_identifier = ["application-identifier", "com.apple.application-identifier"]
        .iter()
        .find_map(|name| value(dictionary, name))
        .and_then(|node| node.text())
        .map(str::to_owned);
    Ok(entitlements.check(association, subject))
}

/// What stands behind a key of a dictionary.
fn value<'a, 'input>(dictionary: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    let key = dictionary
        .children()
        .find(|node| node.has_tag_name("key") && node.text().map(str::trim) == Some(name))?;
    key.next_sibling_element()
}

/// The texts of an array.
fn strings<'a>(array: Option<Node<'a, '_>>) -> Vec<&'a str> {
    let items = array.into_iter().flat_map(|array| array.children());
    items
        .filter(|node| node.has_tag_name("string"))
        .filter_map(|node| node.text())
        .collect()
}
