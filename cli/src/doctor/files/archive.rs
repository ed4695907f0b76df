//! What a build packs: APK, AAR, AAB and IPA, all of them ZIP archives. Unpacks what is looked at, and counts as it does.

use std::fs::File;
use std::io::{self, Read};

use gatepass::association::{
    Association, Element, Finding, Property, backup_rules_unseen, check_backup_rules, check_manifest,
    entitlements_in, is_backup_rules, signature_place, unreadable,
};
use zip::ZipArchive;

use super::{property_list, read, xml};

/// How much of a program is unpacked to get at the signature at its end, in bytes.
const MAX_PROGRAM: u64 = 1024 * 1024 * 1024;
/// The load commands stand at the beginning.
const MAX_HEAD: u64 = 1024 * 1024;
/// Resources are unpacked to find rules for backups: so many, each so long, in bytes.
const MAX_RESOURCES: usize = 5_000;
const MAX_RESOURCE: u64 = 64 * 1024;

const IN_AN_APK: &str = "AndroidManifest.xml";
const IN_A_BUNDLE: &str = "base/manifest/AndroidManifest.xml";

type Archive = ZipArchive<File>;

pub(super) fn look(
    association: Option<&Association>,
    file: File,
    subject: &str,
) -> Result<Vec<Finding>, String> {
    let mut archive = ZipArchive::new(file).map_err(|error| format!("a ZIP archive that {error}"))?;
    if archive.index_for_name(IN_A_BUNDLE).is_some() {
        return android(association, &mut archive, subject, IN_A_BUNDLE, of_a_bundle);
    }
    if archive.index_for_name(IN_AN_APK).is_some() {
        return android(association, &mut archive, subject, IN_AN_APK, xml);
    }
    let is_info = |name: &String| match name.split('/').collect::<Vec<_>>()[..] {
        ["Payload", app, "Info.plist"] => app.ends_with(".app"),
        _ => false,
    };
    let info = names(&archive).find(is_info);
    match info {
        Some(info) => apple(association, &mut archive, subject, &info),
        None => Err("a ZIP archive that is no APK, AAR, AAB or IPA".to_owned()),
    }
}

/// The names of what is in it, as far as they are text.
fn names(archive: &Archive) -> impl Iterator<Item = String> + '_ {
    archive
        .file_names()
        .filter_map(|name| Some(name.ok()?.into_owned()))
}

fn entry(archive: &mut Archive, name: &str) -> Result<Vec<u8>, String> {
    let entry = archive
        .by_name(name)
        .map_err(|error| format!("{name} in it: {error}"))?;
    read(entry).map_err(|why| format!("{name} in it: {why}"))
}

fn of_a_bundle(bytes: &[u8]) -> Result<Element, String> {
    Element::from_proto_xml(bytes).map_err(|why| format!("the manifest of an app bundle: {why}"))
}

type Reader = fn(&[u8]) -> Result<Element, String>;

fn android(
    association: Option<&Association>,
    archive: &mut Archive,
    subject: &str,
    name: &str,
    reader: Reader,
) -> Result<Vec<Finding>, String> {
    let manifest = reader(&entry(archive, name)?)?;
    let place = format!("{subject}, {name}");
    let mut findings = check_manifest(association, &place, &manifest);
    let named = manifest.backup_rules();
    if named.is_empty() {
        return Ok(findings);
    }
    // A manifest in an APK names them by number, and builds shorten the names of files. What they are shows.
    let rules = backup_rules(archive, reader);
    if rules.is_empty() {
        findings.push(backup_rules_unseen(&place, &named.join(", ")));
    }
    for (name, rules) in rules {
        findings.extend(check_backup_rules(&format!("{subject}, {name}"), &rules));
    }
    Ok(findings)
}

fn backup_rules(archive: &mut Archive, reader: Reader) -> Vec<(String, Element)> {
    let is_resource =
        |name: &String| name.ends_with(".xml") && (name.starts_with("res/") || name.starts_with("base/res/"));
    let resources: Vec<String> = names(archive).filter(is_resource).take(MAX_RESOURCES).collect();
    let mut found = Vec::new();
    for name in resources {
        let Ok(entry) = archive.by_name(&name) else {
            continue;
        };
        if entry.size() > MAX_RESOURCE {
            continue;
        }
        let mut bytes = Vec::new();
        // What says that it is short and is not is cut, and so is no document.
        if entry.take(MAX_RESOURCE).read_to_end(&mut bytes).is_ok()
            && let Ok(document) = reader(&bytes)
            && is_backup_rules(&document)
        {
            found.push((name, document));
        }
    }
    found
}

/// The Info.plist of an app, and the entitlements that its program was signed with.
fn apple(
    association: Option<&Association>,
    archive: &mut Archive,
    subject: &str,
    info: &str,
) -> Result<Vec<Finding>, String> {
    let list = property_list(&entry(archive, info)?).map_err(|why| format!("{info}: {why}"))?;
    let mut findings = list.check(association, &format!("{subject}, {info}"));
    let Some(program) = list.get("CFBundleExecutable").and_then(Property::text) else {
        findings.push(unreadable(subject, "no CFBundleExecutable in its Info.plist"));
        return Ok(findings);
    };
    let program = format!("{}{program}", info.trim_end_matches("Info.plist"));
    let place = format!("{subject}, entitlements of {program}");
    match entitlements(archive, &program) {
        Ok(list) => findings.extend(list.check(association, &place)),
        Err(why) => findings.push(unreadable(&place, &why)),
    }
    Ok(findings)
}

fn entitlements(archive: &mut Archive, program: &str) -> Result<Property, String> {
    let mut entry = archive.by_name(program).map_err(|error| error.to_string())?;
    let mut head = Vec::new();
    let broken = |error: io::Error| error.to_string();
    (&mut entry)
        .take(MAX_HEAD)
        .read_to_end(&mut head)
        .map_err(broken)?;
    let place = signature_place(&head)?;
    if place.end > MAX_PROGRAM {
        return Err(format!("the program is longer than {MAX_PROGRAM} bytes"));
    }
    // The signature is at the end, perhaps in what is read already.
    let known = head
        .get(usize::try_from(place.start).unwrap_or(usize::MAX)..)
        .unwrap_or_default();
    let mut signature = known.to_vec();
    let skipped = place.start.saturating_sub(head.len() as u64);
    io::copy(&mut (&mut entry).take(skipped), &mut io::sink()).map_err(broken)?;
    let missing = (place.end - place.start).saturating_sub(signature.len() as u64);
    (&mut entry)
        .take(missing)
        .read_to_end(&mut signature)
        .map_err(broken)?;
    property_list(entitlements_in(&signature)?)
}
