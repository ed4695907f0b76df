//! `doctor` and the files of an app: manifests as text and as the build packs them, entitlements, Info.plist.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::hosts::Diagnosis;
use crate::support::World;

const REDIRECT: &str = "https://app.example.com/oauth/callback";
const APP: &str = "ABCDE12345.com.example.app";

pub(crate) fn manifest() -> String {
    r#"<?xml version="1.0" encoding="utf-8"?>
<manifest xmlns:android="http://schemas.android.com/apk/res/android" package="com.example.app">
  <uses-permission android:name="android.permission.INTERNET"/>
  <queries>
    <intent><action android:name="android.support.customtabs.action.CustomTabsService"/></intent>
  </queries>
  <application android:allowBackup="false">
    <activity android:name=".Other" android:exported="false"/>
    <activity android:name=".Redirect" android:exported="true" android:launchMode="singleTask">
      <intent-filter android:autoVerify="true">
        <action android:name="android.intent.action.VIEW"/>
        <category android:name="android.intent.category.DEFAULT"/>
        <category android:name="android.intent.category.BROWSABLE"/>
        <data android:scheme="https"/>
        <data android:host="app.example.com"/>
        <data android:path="/oauth/callback"/>
      </intent-filter>
    </activity>
  </application>
</manifest>"#
        .to_owned()
}

pub(crate) fn entitlements(domains: &[&str]) -> String {
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\"><dict>\
         <key>application-identifier</key><string>ABCDE12345.com.example.app</string>\
         <key>keychain-access-groups</key><array><string>ABCDE12345.shared</string></array>\
         <key>com.apple.developer.associated-domains</key><array>",
    );
    for domain in domains {
        write!(text, "<string>{domain}</string>").unwrap();
    }
    text + "</array></dict></plist>"
}

fn info(bundle: &str, scheme: &str) -> String {
    format!(
        "<plist version=\"1.0\"><dict><key>CFBundleIdentifier</key><string>{bundle}</string>\
         <key>CFBundleURLTypes</key><array><dict><key>CFBundleURLSchemes</key><array><string>{scheme}</string>\
         </array></dict></array></dict></plist>"
    )
}

pub(crate) fn doctor(world: &World, path: &Path) -> Diagnosis {
    let output = world.run(&[
        "doctor",
        "--json",
        "--offline",
        "--redirect",
        REDIRECT,
        "--apple-app-id",
        APP,
        "--android-package",
        "com.example.app",
        path.to_str().unwrap(),
    ]);
    Diagnosis::of(&output)
}

fn all(cases: &[(&str, String, &[&str])]) {
    let world = World::new();
    let mut wrong = Vec::new();
    for (name, text, expected) in cases {
        let path = world.path("file");
        std::fs::write(&path, text).unwrap();
        let diagnosis = doctor(&world, &path);
        if diagnosis.codes() != *expected {
            wrong.push(format!("{name}: {:?}, expected {expected:?}", diagnosis.codes()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The manifest with a piece of it replaced, which must be there.
pub(crate) fn with(from: &str, to: &str) -> String {
    let text = manifest();
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

#[test]
fn pl_29_what_a_manifest_says() {
    all(&[
        ("the good one", manifest(), &[]),
        ("a byte-order mark", format!("\u{feff}{}", manifest()), &[]),
        ("a prefix", with(r#"android:path="/oauth/callback""#, r#"android:pathPrefix="/oauth/""#), &[]),
        ("a pattern", with(r#"android:path="/oauth/callback""#, r#"android:pathPattern="/oauth/.*""#), &[]),
        ("any path", with(r#"<data android:path="/oauth/callback"/>"#, ""), &[]),
        ("a wildcard for hosts", with(r#""app.example.com""#, r#""*.example.com""#), &[]),
        ("another host", with(r#""app.example.com""#, r#""example.com""#), &["manifest_filter_missing"]),
        ("http only", with(r#"android:scheme="https""#, r#"android:scheme="http""#), &["manifest_filter_missing"]),
        ("a host that the build fills in", with(r#""app.example.com""#, r#""${host}""#), &["manifest_placeholder"]),
        ("another path", with("/oauth/callback", "/callback"), &["manifest_path"]),
        ("another prefix", with(r#"android:path="/oauth/callback""#, r#"android:pathPrefix="/help""#), &["manifest_path"]),
        ("no VIEW", with("android.intent.action.VIEW", "android.intent.action.MAIN"), &["manifest_filter_incomplete"]),
        ("no DEFAULT", with(r#"<category android:name="android.intent.category.DEFAULT"/>"#, ""), &["manifest_filter_incomplete"]),
        ("not verified", with(r#" android:autoVerify="true""#, ""), &["manifest_auto_verify"]),
        ("verified by tools", with(r#" android:autoVerify"#, r#" xmlns:tools="http://schemas.android.com/tools" tools:autoVerify"#), &["manifest_auto_verify"]),
        ("not exported", with(r#"android:exported="true""#, r#"android:exported="false""#), &["manifest_exported"]),
        ("silent about export", with(r#" android:exported="true""#, ""), &["manifest_exported"]),
        ("a scheme too many", with(r#"<data android:scheme="https"/>"#, r#"<data android:scheme="https"/><data android:scheme="com.example.app"/>"#), &["manifest_schemes"]),
        ("the standard launch mode", with(r#" android:launchMode="singleTask""#, ""), &["manifest_launch_mode"]),
        ("no queries", with("CustomTabsService", "Other"), &["manifest_queries"]),
        ("backups", with(r#" android:allowBackup="false""#, ""), &["manifest_backup"]),
        ("backups with rules", with(r#"android:allowBackup="false""#, r#"android:dataExtractionRules="@xml/rules""#), &["backup_rules_unseen"]),
        ("no INTERNET", with("permission.INTERNET", "permission.CAMERA"), &["manifest_internet"]),
        ("another package", with(r#"package="com.example.app""#, r#"package="com.example.debug""#), &["manifest_package"]),
        ("something else", "<resources/>".to_owned(), &["app_file_unreadable"]),
        ("cut off", manifest()[..200].to_owned(), &["app_file_unreadable"]),
        ("nothing", String::new(), &["app_file_unreadable"]),
        ("depth", "<a>".repeat(50_000), &["app_file_unreadable"]),
        ("depth that ends", format!("{}{}", "<a>".repeat(50_000), "</a>".repeat(50_000)), &["app_file_unreadable"]),
        ("5 MB", format!("<manifest>{}</manifest>", " ".repeat(5_000_000)), &["app_file_unreadable"]),
        ("entities of entities", "<!DOCTYPE a [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;&a;&a;&a;&a;&a;\">\
          <!ENTITY c \"&b;&b;&b;&b;&b;&b;&b;&b;\"><!ENTITY d \"&c;&c;&c;&c;&c;&c;&c;&c;\">]><a>&d;&d;&d;&d;</a>".to_owned(), &["app_file_unreadable"]),
    ]);
}

#[test]
fn pl_02_what_entitlements_say() {
    let (web, links) = ("webcredentials:app.example.com", "applinks:app.example.com");
    all(&[
        ("the good ones", entitlements(&[web, links]), &[]),
        (
            "a wildcard",
            entitlements(&["webcredentials:*.example.com", links]),
            &[],
        ),
        (
            "both modes",
            entitlements(&[web, links, "webcredentials:app.example.com?mode=developer"]),
            &[],
        ),
        ("none", entitlements(&[]), &["entitlements_domains_missing"]),
        (
            "applinks only",
            entitlements(&[links]),
            &["entitlements_webcredentials"],
        ),
        (
            "webcredentials only",
            entitlements(&[web]),
            &["entitlements_applinks"],
        ),
        (
            "another host",
            entitlements(&["webcredentials:example.com", links]),
            &["entitlements_webcredentials"],
        ),
        (
            "the wildcard of the host itself",
            entitlements(&["webcredentials:*.app.example.com", links]),
            &["entitlements_webcredentials"],
        ),
        (
            "a scheme",
            entitlements(&[web, links, "applinks:https://app.example.com"]),
            &["entitlements_domain_form"],
        ),
        (
            "a path",
            entitlements(&[web, "applinks:app.example.com/oauth"]),
            &["entitlements_applinks", "entitlements_domain_form"],
        ),
        (
            "for developers",
            entitlements(&["webcredentials:app.example.com?mode=developer", links]),
            &["entitlements_developer_mode"],
        ),
        (
            "another app",
            entitlements(&[web, links]).replace("ABCDE12345.com", "ZYXWV98765.com"),
            &["entitlements_app_id"],
        ),
        (
            "no keychain group",
            entitlements(&[web, links]).replace("keychain-access-groups", "x"),
            &["entitlements_keychain_group"],
        ),
        ("an Info.plist", info("com.example.app", "com.example.app"), &[]),
        (
            "an Info.plist to fill in",
            info("$(PRODUCT_BUNDLE_IDENTIFIER)", "com.example.app"),
            &[],
        ),
        (
            "a scheme of the web",
            info("com.example.app", "https"),
            &["info_plist_scheme"],
        ),
        (
            "another bundle",
            info("com.example.other", "com.example.app"),
            &["info_plist_bundle_id"],
        ),
        (
            "a list",
            "<plist><array/></plist>".to_owned(),
            &["app_file_unreadable"],
        ),
        ("binary", "bplist00".to_owned(), &["app_file_unreadable"]),
    ]);
}

#[test]
fn what_is_not_there() {
    let world = World::new();
    let diagnosis = doctor(&world, Path::new("nowhere/AndroidManifest.xml"));
    assert_eq!(
        (diagnosis.codes(), diagnosis.exit),
        (vec!["app_file_unreadable"], Some(12))
    );
    let directory = doctor(&world, &world.path("."));
    assert_eq!(directory.codes(), ["app_file_unreadable"]);
}

/// Where elements begin and end, in their order.
fn walk<'a, 'i>(node: roxmltree::Node<'a, 'i>, edges: &mut Vec<(bool, roxmltree::Node<'a, 'i>)>) {
    edges.push((true, node));
    for child in node.children().filter(roxmltree::Node::is_element) {
        walk(child, edges);
    }
    edges.push((false, node));
}

/// As aapt writes it: strings in a pool, known attributes by number.
fn binary(utf8: bool) -> Vec<u8> {
    let text = manifest();
    let document = roxmltree::Document::parse(&text).unwrap();
    let ids = [
        ("name", 0x0101_0003_u32),
        ("exported", 0x0101_0010),
        ("launchMode", 0x0101_001d),
        ("scheme", 0x0101_0027),
        ("host", 0x0101_0028),
        ("path", 0x0101_002a),
        ("allowBackup", 0x0101_0280),
        ("autoVerify", 0x0101_04ee),
    ];
    let mut strings: Vec<String> = ids.iter().map(|(name, _)| (*name).to_owned()).collect();
    let mut index = |text: &str| {
        let known = strings.iter().position(|known| known == text);
        known.unwrap_or_else(|| {
            strings.push(text.to_owned());
            strings.len() - 1
        }) as u32
    };
    let mut body = Vec::new();
    let mut chunk = |kind: u16, parts: &[u32], halves: &[u16], rest: &[u8]| {
        let size = 16 + 4 * parts.len() + 2 * halves.len() + rest.len();
        body.extend(kind.to_le_bytes());
        body.extend(16_u16.to_le_bytes());
        body.extend((size as u32).to_le_bytes());
        body.extend([0; 4]);
        body.extend([0xff; 4]);
        parts.iter().for_each(|part| body.extend(part.to_le_bytes()));
        halves.iter().for_each(|half| body.extend(half.to_le_bytes()));
        body.extend(rest);
    };
    let mut edges = Vec::new();
    walk(document.root_element(), &mut edges);
    for (begins, node) in edges {
        match begins {
            true => {
                let mut rows = Vec::new();
                for attribute in node.attributes() {
                    let namespace = attribute.namespace().map_or(u32::MAX, &mut index);
                    let (kind, data) = match attribute.value() {
                        "true" => (0x12_u8, u32::MAX),
                        "false" => (0x12, 0),
                        "singleTask" => (0x10, 2),
                        text => (0x03, index(text)),
                    };
                    for word in [namespace, index(attribute.name()), u32::MAX] {
                        rows.extend(word.to_le_bytes());
                    }
                    rows.extend([8, 0, 0, kind]);
                    rows.extend(data.to_le_bytes());
                }
                let count = (rows.len() / 20) as u16;
                let name = index(node.tag_name().name());
                chunk(0x0102, &[u32::MAX, name], &[20, 20, count, 0, 0, 0], &rows);
            }
            false => {
                let name = index(node.tag_name().name());
                chunk(0x0103, &[u32::MAX, name], &[], &[]);
            }
        }
    }
    let (mut offsets, mut data) = (Vec::new(), Vec::new());
    for string in &strings {
        offsets.extend((data.len() as u32).to_le_bytes());
        if utf8 {
            data.extend([string.chars().count() as u8, string.len() as u8]);
            data.extend(string.bytes());
            data.push(0);
        } else {
            data.extend((string.encode_utf16().count() as u16).to_le_bytes());
            data.extend(string.encode_utf16().flat_map(u16::to_le_bytes));
            data.extend([0, 0]);
        }
    }
    data.resize(data.len().next_multiple_of(4), 0);
    let start = 28 + offsets.len();
    let flags = if utf8 { 1_u32 << 8 } else { 0 };
    let mut pool = vec![0x01, 0x00, 28, 0];
    for word in [
        (start + data.len()) as u32,
        strings.len() as u32,
        0,
        flags,
        start as u32,
        0,
    ] {
        pool.extend(word.to_le_bytes());
    }
    pool.extend(offsets);
    pool.extend(data);
    let mut map = vec![0x80, 0x01, 8, 0];
    map.extend((8 + 4 * ids.len() as u32).to_le_bytes());
    ids.iter().for_each(|(_, id)| map.extend(id.to_le_bytes()));
    let mut file = vec![0x03, 0x00, 8, 0];
    file.extend((8 + pool.len() as u32 + map.len() as u32 + body.len() as u32).to_le_bytes());
    [pool, map, body]
        .concat()
        .into_iter()
        .for_each(|byte| file.push(byte));
    file
}

fn archive(world: &World, name: &str, entry: &str, bytes: &[u8]) -> PathBuf {
    archive_of(world, name, &[(entry, bytes)])
}

pub(crate) fn archive_of(world: &World, name: &str, entries: &[(&str, &[u8])]) -> PathBuf {
    let path = world.path(name);
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
    for (entry, bytes) in entries {
        archive
            .start_file(*entry, zip::write::SimpleFileOptions::default())
            .unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap();
    path
}

#[test]
fn an_apk_and_an_aar_are_read_as_they_are_packed() {
    let world = World::new();
    for utf8 in [false, true] {
        let apk = archive(&world, "app.apk", "AndroidManifest.xml", &binary(utf8));
        let diagnosis = doctor(&world, &apk);
        assert_eq!(diagnosis.codes(), [""; 0], "{diagnosis:?}");
        diagnosis.finding("manifest_good");
    }
    let aar = archive(
        &world,
        "library.aar",
        "AndroidManifest.xml",
        manifest().as_bytes(),
    );
    assert_eq!(doctor(&world, &aar).codes(), [""; 0]);
    let other = archive(&world, "other.zip", "something.txt", b"x");
    assert_eq!(doctor(&world, &other).codes(), ["app_file_unreadable"]);
    // A file that unpacks to more than any manifest is.
    let bomb = archive(&world, "bomb.apk", "AndroidManifest.xml", &vec![b' '; 50_000_000]);
    assert!(std::fs::metadata(&bomb).unwrap().len() < 100_000);
    assert_eq!(doctor(&world, &bomb).codes(), ["app_file_unreadable"]);
    let broken = world.path("broken.apk");
    std::fs::write(&broken, b"PK\x03\x04 and no more").unwrap();
    assert_eq!(doctor(&world, &broken).codes(), ["app_file_unreadable"]);
}
