//! `doctor` and assetlinks.json: each broken file with what is found in it.

use serde_json::{Value, json};

use crate::hosts::{Reply, Web};

pub(crate) const PACKAGE: &str = "com.example.app";
const URL: &str = "https://app.example.com/.well-known/assetlinks.json";
const RELATION: &str = "delegate_permission/common.handle_all_urls";

/// A fingerprint of one byte, over and over.
pub(crate) fn print(byte: &str) -> String {
    [byte; 32].join(":")
}

fn statement() -> Value {
    json!({
        "relation": [RELATION],
        "target": {
            "namespace": "android_app",
            "package_name": PACKAGE,
            "sha256_cert_fingerprints": [print("A1")],
        },
    })
}

fn with(pointer: &str, value: Value) -> Reply {
    let mut file = statement();
    if value.is_null() {
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        file.pointer_mut(parent)
            .unwrap()
            .as_object_mut()
            .unwrap()
            .remove(name);
    } else {
        *file.pointer_mut(pointer).unwrap() = value;
    }
    Reply::json(json!([file]).to_string())
}

fn prints(list: Value) -> Reply {
    with("/target/sha256_cert_fingerprints", list)
}

fn dynamic(rules: Value) -> Reply {
    let mut file = statement();
    file["relation_extensions"] = json!({ RELATION: { "dynamic_app_link_components": rules } });
    Reply::json(json!([file]).to_string())
}

fn codes_of(web: &Web, fingerprints: &[&str]) -> (Vec<String>, Option<i32>) {
    let mut arguments = vec![
        "--no-google-view",
        "--redirect",
        "https://app.example.com/oauth/callback",
        "--android-package",
        PACKAGE,
    ];
    for fingerprint in fingerprints {
        arguments.extend(["--fingerprint", fingerprint]);
    }
    let diagnosis = web.doctor(&arguments);
    (
        diagnosis.codes().into_iter().map(str::to_owned).collect(),
        diagnosis.exit,
    )
}

fn all(cases: Vec<(&str, Reply, &[&str])>) {
    let web = Web::new();
    let mut wrong = Vec::new();
    for (name, reply, expected) in cases {
        web.at(URL, reply);
        let (codes, exit) = codes_of(&web, &[&print("A1")]);
        if codes != expected {
            wrong.push(format!("{name}: {codes:?}, expected {expected:?}"));
        }
        assert_eq!(
            exit == Some(0),
            expected.iter().all(|code| code.ends_with("_more")),
            "{name}: {exit:?}"
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn pl_25_good_files_are_good() {
    let other = json!({
        "relation": [RELATION],
        "target": { "namespace": "android_app", "package_name": "com.example.other", "sha256_cert_fingerprints": [print("B2")] },
    });
    let web_site = json!({
        "relation": ["delegate_permission/common.get_login_creds"],
        "target": { "namespace": "web", "site": "https://app.example.com" },
    });
    all(vec![
        (
            "the plain one",
            Reply::json(json!([statement()]).to_string()),
            &[],
        ),
        (
            "other relations too",
            with(
                "/relation",
                json!(["delegate_permission/common.get_login_creds", RELATION]),
            ),
            &[],
        ),
        (
            "other apps and sites too",
            Reply::json(json!([other, web_site, statement()]).to_string()),
            &[],
        ),
        (
            "dynamic rules that fit",
            dynamic(json!([{ "/": "/oauth/*" }])),
            &[],
        ),
        (
            "dynamic rules that exclude something else",
            dynamic(json!([{ "/": "/help/*", "exclude": true }])),
            &[],
        ),
        (
            "a change of keys",
            prints(json!([print("A1"), print("B2")])),
            &["assetlinks_fingerprint_more"],
        ),
    ]);
}

#[test]
fn pl_25_what_is_no_such_file() {
    let text = json!([statement()]).to_string();
    let mut marked = b"\xef\xbb\xbf".to_vec();
    marked.extend(text.bytes());
    let duplicate = text.replacen("{\"relation\"", "{\"relation\":[],\"relation\"", 1);
    assert_ne!(duplicate, text);
    all(vec![
        ("no file", Reply::status(404), &["file_status"]),
        (
            "a redirect",
            Reply::redirect(301, "https://www.example.com/.well-known/assetlinks.json"),
            &["file_redirect"],
        ),
        (
            "a web page",
            Reply::of("text/html", "<!doctype html>"),
            &["file_html"],
        ),
        (
            "a text",
            Reply::of("text/plain", &text),
            &["assetlinks_content_type"],
        ),
        (
            "no type",
            Reply::Answer(200, vec![], text.clone().into()),
            &["assetlinks_content_type"],
        ),
        ("an empty file", Reply::json(""), &["file_empty"]),
        ("not JSON", Reply::json("[{relation: []}]"), &["file_not_json"]),
        (
            "a byte-order mark",
            Reply::json(marked),
            &["file_byte_order_mark"],
        ),
        (
            "a duplicate name",
            Reply::json(duplicate),
            &["assetlinks_relation", "file_duplicate_name"],
        ),
        (
            "an object",
            Reply::json(statement().to_string()),
            &["assetlinks_not_list"],
        ),
        (
            "5 MB",
            Reply::json(format!("{text}{}", " ".repeat(5_000_000))),
            &["file_too_long"],
        ),
        ("nobody answers", Reply::HangUp, &["file_unreachable"]),
    ]);
}

#[test]
fn pl_25_what_the_statements_say() {
    let short = ["A1"; 20].join(":");
    all(vec![
        (
            "an empty list",
            Reply::json("[]"),
            &["assetlinks_package_missing"],
        ),
        (
            "a list of texts",
            Reply::json(json!([PACKAGE]).to_string()),
            &["assetlinks_package_missing", "assetlinks_statement_form"],
        ),
        (
            "no target",
            with("/target", Value::Null),
            &["assetlinks_package_missing", "assetlinks_statement_form"],
        ),
        (
            "another relation",
            with("/relation", json!(["delegate_permission/common.get_login_creds"])),
            &["assetlinks_relation"],
        ),
        (
            "no relation",
            with("/relation", json!([])),
            &["assetlinks_relation"],
        ),
        (
            "the relation as a text",
            with("/relation", json!(RELATION)),
            &["assetlinks_statement_form"],
        ),
        (
            "the relation in other letters",
            with("/relation", json!([RELATION.to_uppercase()])),
            &["assetlinks_relation"],
        ),
        (
            "the namespace in other letters",
            with("/target/namespace", json!("Android_App")),
            &["assetlinks_namespace"],
        ),
        (
            "no namespace",
            with("/target/namespace", Value::Null),
            &["assetlinks_namespace"],
        ),
        (
            "another package",
            with("/target/package_name", json!("com.example.other")),
            &["assetlinks_package_missing"],
        ),
        (
            "the package in other letters",
            with("/target/package_name", json!("com.example.App")),
            &["assetlinks_package_case"],
        ),
        (
            "a wildcard for packages",
            with("/target/package_name", json!("com.example.*")),
            &["assetlinks_package_missing"],
        ),
        (
            "members in other letters",
            Reply::json(
                json!([statement()])
                    .to_string()
                    .replace("package_name", "Package_Name"),
            ),
            &["assetlinks_member_case", "assetlinks_package_missing"],
        ),
        (
            "an include",
            Reply::json(json!([{ "include": "https://example.com/more.json" }]).to_string()),
            &["assetlinks_include", "assetlinks_package_missing"],
        ),
        (
            "no fingerprints",
            prints(json!([])),
            &["assetlinks_fingerprint_missing"],
        ),
        (
            "another fingerprint",
            prints(json!([print("B2")])),
            &["assetlinks_fingerprint_missing"],
        ),
        (
            "a fingerprint in small letters",
            prints(json!([print("a1")])),
            &["assetlinks_fingerprint_form", "assetlinks_fingerprint_missing"],
        ),
        (
            "a fingerprint without colons",
            prints(json!(["A1".repeat(32)])),
            &["assetlinks_fingerprint_form", "assetlinks_fingerprint_missing"],
        ),
        (
            "SHA-1",
            prints(json!([short])),
            &["assetlinks_fingerprint_form", "assetlinks_fingerprint_missing"],
        ),
        (
            "Base64",
            prints(json!(["oaGhoaGhoaE="])),
            &["assetlinks_fingerprint_form", "assetlinks_fingerprint_missing"],
        ),
        (
            "white space",
            prints(json!([format!(" {}", print("A1"))])),
            &["assetlinks_fingerprint_form", "assetlinks_fingerprint_missing"],
        ),
        (
            "fingerprints as a text",
            prints(json!(print("A1"))),
            &["assetlinks_fingerprint_missing", "assetlinks_statement_form"],
        ),
        (
            "dynamic rules that exclude it",
            dynamic(json!([{ "/": "/oauth/*", "exclude": true }])),
            &["assetlinks_dynamic_unmatched"],
        ),
    ]);
}

#[test]
fn pl_25_certificates_that_change() {
    let (old, new) = (print("A1"), print("B2"));
    let web = Web::new();
    let codes = |listed: Value, own: &[&str]| {
        web.at(URL, prints(listed));
        codes_of(&web, own)
    };
    // Before: the host lists the new one already. Then both are in the field. Afterwards the old one goes.
    assert_eq!(
        codes(json!([old, new]), &[&old]),
        (vec!["assetlinks_fingerprint_more".into()], Some(0))
    );
    assert_eq!(codes(json!([old, new]), &[&old, &new]), (vec![], Some(0)));
    assert_eq!(
        codes(json!([new]), &[&old, &new]),
        (vec!["assetlinks_fingerprint_partly".into()], Some(11))
    );
    assert_eq!(codes(json!([new]), &[&new]), (vec![], Some(0)));
    assert_eq!(
        codes(json!([new]), &[&old]),
        (vec!["assetlinks_fingerprint_missing".into()], Some(12))
    );
    // Any form that tools print is taken on the command line.
    assert_eq!(codes(json!([old]), &[&"a1".repeat(32)]), (vec![], Some(0)));
    assert_eq!(
        codes(json!([old]), &[]),
        (vec!["assetlinks_fingerprint_unknown".into()], Some(0))
    );
}

#[test]
fn robots_that_keep_google_away() {
    const ROBOTS: &str = "https://app.example.com/robots.txt";
    let web = Web::new();
    web.at(URL, Reply::json(json!([statement()]).to_string()));
    for (robots, is_kept_away) in [
        ("", false),
        ("User-agent: *\nDisallow:\n", false),
        ("User-agent: *\nDisallow: /\n", true),
        ("User-agent: *\nDisallow: /.well-known/\n", true),
        ("user-agent: *\ndisallow: /*.json$ # all of them\n", true),
        ("User-agent: *\nDisallow: /\nAllow: /.well-known/\n", false),
        ("User-agent: other\nDisallow: /\n", false),
        ("User-agent: other\nUser-agent: Googlebot\nDisallow: /\n", true),
        (
            "User-agent: *\nDisallow: /\n\nUser-agent: Googlebot\nAllow: /\n",
            false,
        ),
        (
            "User-agent: *\nAllow: /\n\nUser-agent: Googlebot\nDisallow: /.well\n",
            true,
        ),
    ] {
        web.at(ROBOTS, Reply::of("text/plain", robots));
        let expected: &[&str] = if is_kept_away { &["assetlinks_robots"] } else { &[] };
        assert_eq!(codes_of(&web, &[&print("A1")]).0, expected, "{robots:?}");
    }
    web.at(ROBOTS, Reply::status(404));
    assert_eq!(codes_of(&web, &[&print("A1")]).1, Some(0));
}

const GOOGLE: &str = "https://digitalassetlinks.googleapis.com/v1/statements:list";

/// As Google's service answers: a statement for each certificate.
fn google(package: &str, prints: &[String]) -> Reply {
    let statements: Vec<_> = prints
        .iter()
        .map(|print| {
            json!({
                "source": { "web": { "site": "https://app.example.com." } },
                "relation": RELATION,
                "target": { "androidApp": { "packageName": package, "certificate": { "sha256Fingerprint": print } } },
            })
        })
        .collect();
    Reply::json(json!({ "statements": statements, "maxAge": "599.9s", "debugString": "…" }).to_string())
}

/// What is found beside the host's own file, which is good.
fn googles(web: &Web, prints: &[&str]) -> Value {
    let mut arguments = vec![
        "--redirect",
        "https://app.example.com/oauth/callback",
        "--android-package",
        PACKAGE,
    ];
    for print in prints {
        arguments.extend(["--fingerprint", print]);
    }
    let diagnosis = web.doctor(&arguments);
    diagnosis.finding("assetlinks_good");
    let is_googles = |finding: &&Value| finding["code"].as_str().unwrap().starts_with("assetlinks_google");
    let found: Vec<_> = diagnosis.findings.iter().filter(is_googles).cloned().collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}

#[test]
fn pl_25_what_google_sees() {
    let web = Web::new();
    web.at(URL, with("/target/namespace", json!("android_app")));
    let own = print("A1");
    for (name, reply, code) in [
        (
            "the app",
            google(PACKAGE, std::slice::from_ref(&own)),
            "assetlinks_google_good",
        ),
        (
            "the app among others",
            google(PACKAGE, &[print("B2"), own.to_lowercase()]),
            "assetlinks_google_good",
        ),
        (
            "another app",
            google("com.example.other", std::slice::from_ref(&own)),
            "assetlinks_google_missing",
        ),
        ("nothing", Reply::json("{}"), "assetlinks_google_missing"),
        (
            "that it could not fetch",
            Reply::json(r#"{"errorCode":["ERROR_CODE_FETCH_ERROR"]}"#),
            "assetlinks_google_missing",
        ),
        (
            "another certificate",
            google(PACKAGE, &[print("B2")]),
            "assetlinks_google_older",
        ),
        (
            "statements of another form",
            Reply::json(r#"{"statements":{"target":7}}"#),
            "assetlinks_google_missing",
        ),
        (
            "too many requests",
            Reply::status(429),
            "assetlinks_google_unreachable",
        ),
        ("no JSON", Reply::json("x"), "assetlinks_google_unreachable"),
        ("a list", Reply::json("[]"), "assetlinks_google_unreachable"),
        ("nobody answers", Reply::HangUp, "assetlinks_google_unreachable"),
    ] {
        web.at(GOOGLE, reply);
        let finding = googles(&web, &[&own]);
        assert_eq!(finding["code"], code, "{name}: {finding}");
    }
    let asked = web.requests();
    let asked = asked
        .iter()
        .find(|request| request.starts_with("digitalassetlinks"));
    assert_eq!(
        asked.map(String::as_str),
        Some(
            "digitalassetlinks.googleapis.com/v1/statements:list?source.web.site=https://app.example.com\
             &relation=delegate_permission/common.handle_all_urls"
        )
    );
}

/// A new signing certificate, from the first file that lists it to the last build of the old one.
#[test]
fn pl_25_a_certificate_is_rolled_over_in_stages() {
    let web = Web::new();
    let (old, new) = (print("A1"), print("B2"));
    let host = |list: &[&String]| web.at(URL, prints(json!(list)));
    let saw = |list: &[&String]| {
        let list: Vec<String> = list.iter().map(|print| (*print).clone()).collect();
        web.at(GOOGLE, google(PACKAGE, &list));
    };
    let codes = |known: &[&str]| {
        let mut arguments = vec![
            "--redirect",
            "https://app.example.com/oauth/callback",
            "--android-package",
            PACKAGE,
        ];
        known
            .iter()
            .for_each(|print| arguments.extend(["--fingerprint", print]));
        let diagnosis = web.doctor(&arguments);
        (
            diagnosis
                .codes()
                .into_iter()
                .map(str::to_owned)
                .collect::<Vec<_>>(),
            diagnosis.exit,
        )
    };
    // Before: one certificate everywhere.
    host(&[&old]);
    saw(&[&old]);
    assert_eq!(codes(&[&old]), (vec![], Some(0)));
    // Somebody ships a build with the new one first.
    assert_eq!(
        codes(&[&new]),
        (
            vec![
                "assetlinks_fingerprint_missing".into(),
                "assetlinks_google_older".into()
            ],
            Some(12)
        )
    );
    // Both are published; Google has not looked again.
    host(&[&old, &new]);
    assert_eq!(
        codes(&[&old, &new]),
        (vec!["assetlinks_google_older".into()], Some(11))
    );
    // Now it has: builds with the new one may go out.
    saw(&[&old, &new]);
    assert_eq!(codes(&[&old, &new]), (vec![], Some(0)));
    // The old builds are gone, and their certificate is one too many.
    assert_eq!(
        codes(&[&new]),
        (vec!["assetlinks_fingerprint_more".into()], Some(0))
    );
    // Taken off too early: who still names both is told.
    host(&[&new]);
    assert_eq!(
        codes(&[&old, &new]),
        (vec!["assetlinks_fingerprint_partly".into()], Some(11))
    );
    saw(&[&new]);
    assert_eq!(codes(&[&new]), (vec![], Some(0)));
}
