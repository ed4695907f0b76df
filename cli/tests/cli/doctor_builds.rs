//! `doctor` and what builds pack: app bundles, IPAs with the entitlements that their program was signed with, rules for
//! backups; and archives that were made to hurt.

use roxmltree::Node;

use crate::doctor_files::{archive_of, doctor, entitlements, manifest, with};
use crate::support::World;

const GOOD_RULES: &str = r#"<data-extraction-rules>
  <cloud-backup><exclude domain="root" path="no_backup/gatepass/"/></cloud-backup>
  <device-transfer><include domain="file" path="pictures"/></device-transfer>
</data-extraction-rules>"#;
const HALF_RULES: &str = r#"<data-extraction-rules>
  <cloud-backup><exclude domain="root" path="no_backup/gatepass/"/></cloud-backup>
</data-extraction-rules>"#;
const OLD_RULES: &str = r#"<full-backup-content><exclude domain="file" path="other"/></full-backup-content>"#;

fn delimited(field: u8, bytes: &[u8]) -> Vec<u8> {
    let (mut written, mut length) = (vec![field << 3 | 2], bytes.len());
    while length > 0x7f {
        written.push(length as u8 | 0x80);
        length >>= 7;
    }
    written.push(length as u8);
    [written, bytes.to_vec()].concat()
}

/// As aapt writes it into a bundle.
fn bundled(node: Node<'_, '_>) -> Vec<u8> {
    let mut element = delimited(3, node.tag_name().name().as_bytes());
    for attribute in node.attributes() {
        let namespace = attribute.namespace().map(|uri| delimited(1, uri.as_bytes()));
        let (name, value) = (attribute.name().as_bytes(), attribute.value().as_bytes());
        let written = [
            namespace.unwrap_or_default(),
            delimited(2, name),
            delimited(3, value),
        ]
        .concat();
        element.extend(delimited(4, &written));
    }
    for child in node.children().filter(Node::is_element) {
        element.extend(delimited(5, &bundled(child)));
    }
    delimited(1, &element)
}

fn bundle(text: &str) -> Vec<u8> {
    bundled(roxmltree::Document::parse(text).unwrap().root_element())
}

#[test]
fn pl_29_an_app_bundle_is_read_as_it_is_packed() {
    let world = World::new();
    const PLACE: &str = "base/manifest/AndroidManifest.xml";
    for (name, text, expected) in [
        ("good", manifest(), &[][..]),
        (
            "not verified",
            with(r#" android:autoVerify="true""#, ""),
            &["manifest_auto_verify"],
        ),
        (
            "another host",
            with("app.example.com", "example.com"),
            &["manifest_filter_missing"],
        ),
    ] {
        let path = archive_of(
            &world,
            "app.aab",
            &[("BundleConfig.pb", b""), (PLACE, &bundle(&text))],
        );
        assert_eq!(doctor(&world, &path).codes(), expected, "{name}");
    }
    for broken in [&b"\x0a"[..], b"", b"<manifest/>", &bundle(&manifest())[..200]] {
        let path = archive_of(&world, "broken.aab", &[(PLACE, broken)]);
        assert_eq!(
            doctor(&world, &path).codes(),
            ["app_file_unreadable"],
            "{broken:?}"
        );
    }
}

#[test]
fn pl_32_the_rules_for_backups_are_read_wherever_they_are() {
    let world = World::new();
    let ruled = with(
        r#"android:allowBackup="false""#,
        r#"android:dataExtractionRules="@xml/rules""#,
    );
    let source = world.path("source");
    std::fs::create_dir_all(source.join("res/xml")).unwrap();
    std::fs::write(source.join("AndroidManifest.xml"), &ruled).unwrap();
    for (rules, expected) in [
        (GOOD_RULES, &[][..]),
        (HALF_RULES, &["backup_rules_incomplete"]),
        (OLD_RULES, &["backup_rules_incomplete"]),
        ("<resources/>", &["app_file_unreadable"]),
        ("no XML", &["app_file_unreadable"]),
    ] {
        std::fs::write(source.join("res/xml/rules.xml"), rules).unwrap();
        let diagnosis = doctor(&world, &source.join("AndroidManifest.xml"));
        assert_eq!(diagnosis.codes(), expected, "{rules}");
    }
    for (rules, code) in [
        (GOOD_RULES, "backup_rules_good"),
        (HALF_RULES, "backup_rules_incomplete"),
        (OLD_RULES, "backup_rules_incomplete"),
        ("<resources/>", "backup_rules_unseen"),
    ] {
        let aar = [
            ("AndroidManifest.xml", ruled.as_bytes()),
            ("res/xml/rules.xml", rules.as_bytes()),
        ];
        doctor(&world, &archive_of(&world, "x.aar", &aar)).finding(code);
        let (packed, packed_rules) = (bundle(&ruled), bundle(rules));
        let other = ("base/res/xml/other.xml", &b"no document"[..]);
        let aab = [
            ("base/manifest/AndroidManifest.xml", &packed[..]),
            other,
            ("base/res/xml/rules.xml", &packed_rules),
        ];
        doctor(&world, &archive_of(&world, "x.aab", &aab)).finding(code);
        let file = world.path("rules.xml");
        std::fs::write(&file, rules).unwrap();
        let code = if code == "backup_rules_unseen" {
            "app_file_unreadable"
        } else {
            code
        };
        doctor(&world, &file).finding(code);
    }
    // A name that leads out of the folder leads nowhere.
    let outside = with(
        r#"android:allowBackup="false""#,
        r#"android:fullBackupContent="@xml/../../secret""#,
    );
    std::fs::write(source.join("AndroidManifest.xml"), outside).unwrap();
    assert_eq!(
        doctor(&world, &source.join("AndroidManifest.xml")).codes(),
        ["backup_rules_unseen"]
    );
}

/// A program that was signed with entitlements, as long as programs are.
fn program(entitlements: &str) -> Vec<u8> {
    let blob = |magic: u32, bytes: &[u8]| {
        [
            &magic.to_be_bytes()[..],
            &(8 + bytes.len() as u32).to_be_bytes(),
            bytes,
        ]
        .concat()
    };
    let own = blob(0xfade_7171, entitlements.as_bytes());
    let index = [1_u32, 5, 20].map(u32::to_be_bytes).concat();
    let signature = blob(0xfade_0cc0, &[index, own].concat());
    let text = vec![0x90; 1_300_000];
    let at = (32 + 16 + text.len()) as u32;
    let header = [0xfeed_facf_u32, 0x0100_000c, 0, 2, 1, 16, 0, 0];
    let signed = [0x1d_u32, 16, at, signature.len() as u32];
    let words = [&header[..], &signed]
        .concat()
        .into_iter()
        .flat_map(u32::to_le_bytes)
        .collect();
    [words, text, signature].concat()
}

/// Binary, by another's hand than ours.
fn info(scheme: &str, program: Option<&str>) -> Vec<u8> {
    let mut list = plist::Dictionary::new();
    list.insert("CFBundleIdentifier".to_owned(), "com.example.app".into());
    let mut entry = plist::Dictionary::new();
    entry.insert(
        "CFBundleURLSchemes".to_owned(),
        plist::Value::Array(vec![scheme.into()]),
    );
    list.insert(
        "CFBundleURLTypes".to_owned(),
        plist::Value::Array(vec![entry.into()]),
    );
    list.insert("Größe".to_owned(), 7.into());
    if let Some(program) = program {
        list.insert("CFBundleExecutable".to_owned(), program.into());
    }
    let mut bytes = Vec::new();
    plist::to_writer_binary(&mut bytes, &plist::Value::Dictionary(list)).unwrap();
    bytes
}

#[test]
fn pl_02_an_ipa_is_read_as_it_is_packed() {
    let world = World::new();
    const INFO: &str = "Payload/Example.app/Info.plist";
    const PROGRAM: &str = "Payload/Example.app/Example";
    let domains = ["webcredentials:app.example.com", "applinks:app.example.com"];
    let good = program(&entitlements(&domains));
    let links_only = program(&entitlements(&domains[1..]));
    let cut = &good[..good.len() - 40];
    for (name, info, program, expected) in [
        (
            "good",
            info("com.example.app", Some("Example")),
            &good[..],
            &[][..],
        ),
        (
            "a scheme of the web",
            info("https", Some("Example")),
            &good,
            &["info_plist_scheme"],
        ),
        (
            "no webcredentials",
            info("x.y", Some("Example")),
            &links_only,
            &["entitlements_webcredentials"],
        ),
        (
            "another program",
            info("x.y", Some("Other")),
            &good,
            &["app_file_unreadable"],
        ),
        ("no program", info("x.y", None), &good, &["app_file_unreadable"]),
        (
            "not signed",
            info("x.y", Some("Example")),
            b"\xcf\xfa\xed\xfe",
            &["app_file_unreadable"],
        ),
        (
            "cut off",
            info("x.y", Some("Example")),
            cut,
            &["app_file_unreadable"],
        ),
        (
            "not a list",
            b"bplist00 and no more".to_vec(),
            &good,
            &["app_file_unreadable"],
        ),
    ] {
        let entries = [
            ("Payload/Example.app/Frameworks/Info.plist", &b"x"[..]),
            (INFO, &info),
            (PROGRAM, program),
        ];
        let diagnosis = doctor(&world, &archive_of(&world, "app.ipa", &entries));
        assert_eq!(diagnosis.codes(), expected, "{name}: {:?}", diagnosis.findings);
    }
    let path = world.path("Info.plist");
    std::fs::write(&path, info("com.example.app", None)).unwrap();
    assert_eq!(doctor(&world, &path).codes(), [""; 0]);
}

#[test]
fn the_keychain_group() {
    let world = World::new();
    let path = world.path("App.entitlements");
    let domains = ["webcredentials:app.example.com", "applinks:app.example.com"];
    for (group, wanted, expected) in [
        ("ABCDE12345.shared", "shared", &[][..]),
        ("ABCDE12345.shared", "ABCDE12345.shared", &[]),
        ("ABCDE12345.shared", "com.example.app", &[]),
        ("$(AppIdentifierPrefix)shared", "shared", &[]),
        ("ABCDE12345.shared", "other", &["entitlements_keychain_missing"]),
        ("shared", "shared", &["entitlements_keychain_form"]),
    ] {
        let text = entitlements(&domains).replace("ABCDE12345.shared", group);
        std::fs::write(&path, text).unwrap();
        let output = world.run(&[
            "doctor",
            "--json",
            "--offline",
            "--redirect",
            "https://app.example.com/oauth/callback",
            "--keychain-group",
            wanted,
            path.to_str().unwrap(),
        ]);
        let diagnosis = crate::hosts::Diagnosis::of(&output);
        assert_eq!(diagnosis.codes(), expected, "{group} {wanted}");
    }
}

#[test]
fn archives_made_to_hurt_end_in_a_finding() {
    let world = World::new();
    // A list in which each list names the next one eight times: 8^20 values.
    let (mut bomb, mut offsets) = (b"bplist00".to_vec(), Vec::new());
    for at in 1..=20 {
        offsets.push(bomb.len() as u8);
        bomb.push(0xa8);
        bomb.extend([at; 8]);
    }
    offsets.push(bomb.len() as u8);
    bomb.push(0x09);
    let table = bomb.len() as u64;
    bomb.extend(&offsets);
    bomb.extend([0, 0, 0, 0, 0, 0, 1, 1]);
    for number in [offsets.len() as u64, 0, table] {
        bomb.extend(number.to_be_bytes());
    }
    let path = world.path("bomb.plist");
    std::fs::write(&path, &bomb).unwrap();
    let diagnosis = doctor(&world, &path);
    assert_eq!(diagnosis.codes(), ["app_file_unreadable"]);
    let found = diagnosis.finding("app_file_unreadable")["found"].to_string();
    assert!(found.contains("too many values"), "{found}");
    let manifest = vec![b' '; 50_000_000];
    let path = archive_of(
        &world,
        "bomb.aab",
        &[("base/manifest/AndroidManifest.xml", &manifest)],
    );
    assert_eq!(doctor(&world, &path).codes(), ["app_file_unreadable"]);
    // Resources by the thousand, each of which unpacks to more than any rules are.
    let ruled = with(
        r#"android:allowBackup="false""#,
        r#"android:dataExtractionRules="@xml/rules""#,
    );
    let names: Vec<String> = (0..300).map(|n| format!("res/xml/{n}.xml")).collect();
    let long = vec![b'<'; 70_000];
    let mut entries: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), &long[..])).collect();
    entries.push(("AndroidManifest.xml", ruled.as_bytes()));
    let path = archive_of(&world, "many.aar", &entries);
    assert_eq!(doctor(&world, &path).codes(), ["backup_rules_unseen"]);
}
