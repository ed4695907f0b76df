//! `doctor` and apple-app-site-association: each broken file with what is found in it.

use serde_json::{Value, json};

use crate::hosts::{Flaw, Reply, Web};

pub(crate) const APP: &str = "ABCDE12345.com.example.app";
const URL: &str = "https://app.example.com/.well-known/apple-app-site-association";
const COPY: &str = "https://app-site-association.cdn-apple.com/a/v1/app.example.com";

fn arguments() -> Vec<&'static str> {
    vec![
        "--redirect",
        "https://app.example.com/oauth/callback",
        "--apple-app-id",
        APP,
        "--no-apple-copy",
    ]
}

fn good() -> Value {
    json!({
        "applinks": { "details": [{ "appIDs": [APP], "components": [{ "/": "/oauth/callback" }] }] },
        "webcredentials": { "apps": [APP] },
    })
}

/// The good file with one place of it changed: a JSON pointer and what is there instead. `null` removes.
fn with(pointer: &str, value: Value) -> Reply {
    let mut file = good();
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
    Reply::json(file.to_string())
}

fn components(components: Value) -> Reply {
    with("/applinks/details/0/components", components)
}

fn paths(paths: Value) -> Reply {
    with("/applinks/details/0", json!({ "appID": APP, "paths": paths }))
}

/// Every case: its name, what the host answers, all the codes that are not good, and the exit code.
fn all(cases: Vec<(&str, Reply, &[&str])>) {
    assert!(!cases.is_empty());
    let web = Web::new();
    let mut wrong = Vec::new();
    for (name, reply, expected) in cases {
        web.at(URL, reply);
        let diagnosis = web.doctor(&arguments());
        let codes = diagnosis.codes();
        if codes != expected {
            wrong.push(format!("{name}: {codes:?}, expected {expected:?}"));
        }
        let worst = diagnosis.sum["worst"].as_str().unwrap();
        let exit = match worst {
            "error" => 12,
            "warning" => 11,
            _ => 0,
        };
        assert_eq!(diagnosis.exit, Some(exit), "{name}");
        for finding in &diagnosis.findings {
            for field in ["subject", "found", "why"] {
                assert_ne!(finding[field], "", "{name}: {field} of {finding}");
            }
            let needs = ["warning", "error"].contains(&finding["severity"].as_str().unwrap());
            assert!(!needs || finding["remedy"].is_string(), "{name}: {finding}");
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn pl_02_good_files_are_good() {
    all(vec![
        ("the plain one", Reply::json(good().to_string()), &[]),
        (
            "a charset",
            Reply::of("application/json; charset=utf-8", good().to_string()),
            &[],
        ),
        ("white space", Reply::json(format!("\n\n  {}\n", good())), &[]),
        ("a wildcard", components(json!([{ "/": "/oauth/*" }])), &[]),
        (
            "one character",
            components(json!([{ "/": "/oauth/callbac?" }])),
            &[],
        ),
        (
            "any case",
            components(json!([{ "/": "/OAUTH/callback", "caseSensitive": false }])),
            &[],
        ),
        (
            "not encoded",
            components(json!([{ "/": "/oauth/callback", "percentEncoded": false }])),
            &[],
        ),
        (
            "exclude elsewhere",
            components(json!([{ "/": "/help/*", "exclude": true }, { "/": "/oauth/callback" }])),
            &[],
        ),
        (
            "the second component",
            components(json!([{ "/": "/other" }, { "/": "/oauth/callback", "comment": "us" }])),
            &[],
        ),
        (
            "a query that is there",
            components(json!([{ "/": "/oauth/callback", "?": { "state": "?*" } }])),
            &[],
        ),
        (
            "a variable of Apple's",
            components(json!([{ "/": "/oauth/$(lower)allback" }])),
            &[],
        ),
        (
            "a variable of its own",
            with(
                "/applinks",
                json!({
                    "substitutionVariables": { "word": ["callback", "cb"] },
                    "details": [{ "appIDs": [APP], "components": [{ "/": "/oauth/$(word)" }] }],
                }),
            ),
            &[],
        ),
        (
            "defaults",
            with(
                "/applinks",
                json!({
                    "defaults": { "caseSensitive": false },
                    "details": [{ "appIDs": [APP], "components": [{ "/": "/OAuth/Callback" }] }],
                }),
            ),
            &[],
        ),
        (
            "the form of iOS 12",
            with(
                "/applinks",
                json!({
                    "apps": [],
                    "details": [{ "appID": APP, "paths": ["NOT /help/*", "/oauth/*"] }],
                }),
            ),
            &[],
        ),
        (
            "other apps too",
            with(
                "/webcredentials/apps",
                json!(["ZYXWV98765.com.example.other", APP]),
            ),
            &[],
        ),
        (
            "other services too",
            with("/webcredentials", json!({ "apps": [APP], "future": 1 })),
            &[],
        ),
    ]);
}

#[test]
fn pl_02_what_is_no_such_file() {
    let text = good().to_string();
    let mut marked = b"\xef\xbb\xbf".to_vec();
    marked.extend(text.bytes());
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut utf16_marked = vec![0xff, 0xfe];
    utf16_marked.extend(&utf16);
    let duplicate = text.replacen("{\"applinks\"", "{\"applinks\":{},\"applinks\"", 1);
    let nested = format!("{}{}", "[".repeat(200), "]".repeat(200));
    all(vec![
        ("no file", Reply::status(404), &["file_status"]),
        ("forbidden", Reply::status(403), &["file_status"]),
        ("a broken server", Reply::status(500), &["file_status"]),
        (
            "a status near 200",
            Reply::Answer(
                203,
                vec!["Content-Type: application/json".into()],
                text.clone().into(),
            ),
            &["file_status"],
        ),
        (
            "a redirect to www",
            Reply::redirect(
                301,
                "https://www.example.com/.well-known/apple-app-site-association",
            ),
            &["file_redirect"],
        ),
        (
            "a redirect to a login",
            Reply::redirect(302, "/login"),
            &["file_redirect"],
        ),
        (
            "a redirect to nowhere",
            Reply::Answer(307, vec![], vec![]),
            &["file_redirect"],
        ),
        ("nobody answers", Reply::HangUp, &["file_unreachable"]),
        ("an empty file", Reply::json(""), &["file_empty"]),
        ("white space only", Reply::json(" \n"), &["file_empty"]),
        (
            "a web page",
            Reply::of("text/html", "<!doctype html><title>App</title>"),
            &["file_html"],
        ),
        (
            "a web page that says JSON",
            Reply::json("<html></html>"),
            &["file_html"],
        ),
        (
            "an XML file",
            Reply::of("application/xml", "<?xml version=\"1.0\"?><plist/>"),
            &["file_html"],
        ),
        (
            "no type",
            Reply::Answer(200, vec![], text.clone().into()),
            &["aasa_content_type"],
        ),
        (
            "the type of a download",
            Reply::of("application/octet-stream", &text),
            &["aasa_content_type"],
        ),
        (
            "the type of a text",
            Reply::of("text/plain", &text),
            &["aasa_content_type"],
        ),
        (
            "signed",
            Reply::of("application/pkcs7-mime", [0x30, 0x82, 0x01, 0x00, 0x06]),
            &["aasa_content_type", "aasa_signed"],
        ),
        (
            "compressed",
            Reply::json([0x1f, 0x8b]).with("Content-Encoding: gzip"),
            &["file_encoded"],
        ),
        (
            "a byte-order mark",
            Reply::json(marked),
            &["file_byte_order_mark"],
        ),
        ("UTF-16", Reply::json(utf16), &["file_encoding"]),
        (
            "UTF-16 with a mark",
            Reply::json(utf16_marked),
            &["file_encoding"],
        ),
        ("Latin-1", Reply::json(b"{\"a\":\"\xe9\"}"), &["file_encoding"]),
        (
            "a comma too many",
            Reply::json(text.replacen("]}}", "],}}", 1)),
            &["file_not_json"],
        ),
        (
            "a comment",
            Reply::json(format!("// ours\n{text}")),
            &["file_not_json"],
        ),
        (
            "cut off",
            Reply::json(&text[..text.len() - 1]),
            &["file_not_json"],
        ),
        (
            "two files",
            Reply::json(format!("{text}{text}")),
            &["file_not_json"],
        ),
        ("nested", Reply::json(nested), &["file_not_json"]),
        (
            "a duplicate name",
            Reply::json(duplicate),
            &[
                "aasa_applinks_app",
                "aasa_applinks_malformed",
                "file_duplicate_name",
            ],
        ),
        ("a list", Reply::json(format!("[{text}]")), &["aasa_not_object"]),
        ("null", Reply::json("null"), &["aasa_not_object"]),
        (
            "130 kB",
            Reply::json(format!("{text}{}", " ".repeat(130 * 1024))),
            &["file_too_long"],
        ),
        (
            "5 MB",
            Reply::json(format!("{text}{}", " ".repeat(5_000_000))),
            &["file_too_long"],
        ),
    ]);
}

#[test]
fn pl_02_what_the_sections_say() {
    all(vec![
        (
            "an empty object",
            Reply::json("{}"),
            &["aasa_applinks_missing", "aasa_webcredentials_missing"],
        ),
        (
            "applinks only",
            with("/webcredentials", Value::Null),
            &["aasa_webcredentials_missing"],
        ),
        (
            "webcredentials only",
            with("/applinks", Value::Null),
            &["aasa_applinks_missing"],
        ),
        (
            "webcredentials in other letters",
            Reply::json(good().to_string().replace("webcredentials", "webCredentials")),
            &["aasa_member_case"],
        ),
        (
            "appIDs in other letters",
            Reply::json(good().to_string().replace("appIDs", "appIds")),
            &["aasa_applinks_app", "aasa_member_case"],
        ),
        (
            "webcredentials as a list",
            with("/webcredentials", json!([APP])),
            &["aasa_webcredentials_malformed"],
        ),
        (
            "no apps",
            with("/webcredentials", json!({})),
            &["aasa_webcredentials_malformed"],
        ),
        (
            "apps as a text",
            with("/webcredentials/apps", json!(APP)),
            &["aasa_webcredentials_malformed"],
        ),
        (
            "apps with a number",
            with("/webcredentials/apps", json!([APP, 7])),
            &["aasa_app_id_form"],
        ),
        (
            "an empty list of apps",
            with("/webcredentials/apps", json!([])),
            &["aasa_webcredentials_app"],
        ),
        (
            "another app",
            with("/webcredentials/apps", json!(["ABCDE12345.com.example.other"])),
            &["aasa_webcredentials_app"],
        ),
        (
            "the bundle id alone",
            with("/webcredentials/apps", json!(["com.example.app"])),
            &["aasa_app_id_prefix"],
        ),
        (
            "another prefix",
            with("/webcredentials/apps", json!(["ZYXWV98765.com.example.app"])),
            &["aasa_app_id_prefix"],
        ),
        (
            "the app in other letters",
            with("/webcredentials/apps", json!(["ABCDE12345.com.example.App"])),
            &["aasa_app_id_case"],
        ),
        (
            "a wildcard for apps",
            with("/webcredentials/apps", json!(["ABCDE12345.*"])),
            &["aasa_app_id_wildcard", "aasa_webcredentials_app"],
        ),
        (
            "an entry that is no app id",
            with("/webcredentials/apps", json!([APP, "example"])),
            &["aasa_app_id_form"],
        ),
        (
            "applinks as a list",
            with("/applinks", json!([])),
            &["aasa_applinks_malformed"],
        ),
        (
            "no details",
            with("/applinks", json!({ "apps": [] })),
            &["aasa_applinks_app", "aasa_applinks_malformed"],
        ),
        (
            "details as in iOS 8",
            with("/applinks/details", json!({ APP: { "paths": ["*"] } })),
            &["aasa_everything", "aasa_old_details"],
        ),
        (
            "details of texts",
            with("/applinks/details", json!([APP])),
            &["aasa_applinks_app", "aasa_applinks_malformed"],
        ),
        (
            "apps that are listed",
            with(
                "/applinks",
                json!({ "apps": [APP], "details": [{ "appIDs": [APP], "components": [{ "/": "/oauth/*" }] }] }),
            ),
            &["aasa_old_apps"],
        ),
        (
            "no app in an entry",
            with("/applinks/details/0", json!({ "components": [] })),
            &["aasa_applinks_app", "aasa_applinks_malformed"],
        ),
        (
            "another app in applinks",
            with(
                "/applinks/details/0/appIDs",
                json!(["ABCDE12345.com.example.other"]),
            ),
            &["aasa_applinks_app"],
        ),
        (
            "appIDs as a text",
            with("/applinks/details/0/appIDs", json!(APP)),
            &["aasa_applinks_app", "aasa_applinks_malformed"],
        ),
    ]);
}

#[test]
fn pl_02_which_links_open_the_app() {
    all(vec![
        (
            "neither components nor paths",
            with("/applinks/details/0", json!({ "appIDs": [APP] })),
            &["aasa_components_missing", "aasa_path_unmatched"],
        ),
        ("no component", components(json!([])), &["aasa_path_unmatched"]),
        (
            "another path",
            components(json!([{ "/": "/callback" }])),
            &["aasa_path_unmatched"],
        ),
        (
            "a path that goes on",
            components(json!([{ "/": "/oauth/callback/*" }])),
            &["aasa_path_unmatched"],
        ),
        (
            "a path that stops",
            components(json!([{ "/": "/oauth/" }])),
            &["aasa_path_unmatched"],
        ),
        (
            "other letters",
            components(json!([{ "/": "/OAuth/Callback" }])),
            &["aasa_path_unmatched"],
        ),
        (
            "a path without a slash",
            components(json!([{ "/": "oauth/callback" }])),
            &["aasa_path_form", "aasa_path_unmatched"],
        ),
        (
            "a whole URL",
            components(json!([{ "/": "https://app.example.com/oauth/callback" }])),
            &["aasa_path_form", "aasa_path_unmatched"],
        ),
        (
            "excluded first",
            components(json!([{ "/": "/oauth/*", "exclude": true }, { "/": "/oauth/callback" }])),
            &["aasa_path_excluded"],
        ),
        (
            "a wildcard that wants one more",
            components(json!([{ "/": "/oauth/callback?*" }])),
            &["aasa_path_unmatched"],
        ),
        (
            "a code is wanted",
            components(json!([{ "/": "/oauth/callback", "?": { "code": "?*" } }])),
            &["aasa_error_unmatched"],
        ),
        (
            "no query is wanted",
            components(json!([{ "/": "/oauth/callback", "?": "" }])),
            &["aasa_path_unmatched"],
        ),
        (
            "an error is excluded",
            components(json!([{ "?": { "error": "?*" }, "exclude": true }, { "/": "/oauth/callback" }])),
            &["aasa_error_unmatched"],
        ),
        (
            "a fragment is wanted",
            components(json!([{ "/": "/oauth/callback", "#": "?*" }])),
            &["aasa_path_unmatched"],
        ),
        (
            "everything",
            components(json!([{ "/": "*" }])),
            &["aasa_everything"],
        ),
        (
            "an empty component",
            components(json!([{}])),
            &["aasa_everything"],
        ),
        (
            "a component that is a text",
            components(json!(["/oauth/callback"])),
            &["aasa_component_form", "aasa_path_unmatched"],
        ),
        (
            "components as an object",
            components(json!({ "/": "/oauth/callback" })),
            &["aasa_component_form", "aasa_path_unmatched"],
        ),
        (
            "exclude as a text",
            components(json!([{ "/": "/oauth/callback", "exclude": "true" }])),
            &["aasa_component_form"],
        ),
        (
            "a member nobody knows",
            components(json!([{ "/": "/oauth/callback", "path": "/x" }])),
            &["aasa_component_form"],
        ),
        (
            "a member in other letters",
            components(json!([{ "/": "/oauth/callback", "casesensitive": false }])),
            &["aasa_member_case"],
        ),
        (
            "a variable nobody declared",
            components(json!([{ "/": "/oauth/$(word)" }])),
            &["aasa_path_unmatched", "aasa_variable"],
        ),
        (
            "old paths without it",
            paths(json!(["/help/*"])),
            &["aasa_path_unmatched"],
        ),
        (
            "old paths that exclude it",
            paths(json!(["NOT /oauth/*", "*"])),
            &["aasa_path_excluded"],
        ),
        (
            "old paths without a slash",
            paths(json!(["oauth/callback"])),
            &["aasa_path_form", "aasa_path_unmatched"],
        ),
        (
            "old paths as a text",
            paths(json!("/oauth/callback")),
            &["aasa_component_form", "aasa_path_unmatched"],
        ),
        (
            "patterns without end",
            with(
                "/applinks",
                json!({
                    "substitutionVariables": { "v": vec!["*o*".repeat(90); 200] },
                    "details": [{ "appIDs": [APP], "components": [{ "/": "$(v)".repeat(500) }] }],
                }),
            ),
            &["aasa_too_complicated"],
        ),
    ]);
}

#[test]
fn pl_02_the_connection() {
    for flaw in [
        Flaw::Expired,
        Flaw::OtherName,
        Flaw::UnknownAuthority,
        Flaw::SelfSigned,
        Flaw::NotYet,
        Flaw::NoIntermediate,
        Flaw::ForClients,
        Flaw::NoTls,
        Flaw::HangsUp,
    ] {
        let web = Web::flawed(flaw);
        web.at(URL, Reply::json(good().to_string()));
        let diagnosis = web.doctor(&arguments());
        // Who hangs up says nothing of TLS.
        let code = if flaw == Flaw::HangsUp {
            "file_unreachable"
        } else {
            "file_tls"
        };
        assert_eq!(diagnosis.codes(), [code], "{flaw:?}");
        assert_eq!(diagnosis.exit, Some(12));
    }
    let web = Web::new();
    web.at(URL, Reply::Silence);
    let diagnosis = web.doctor(&[&arguments()[..], &["--timeout", "1"]].concat());
    assert_eq!(diagnosis.codes(), ["file_timeout"]);
    // The proxy knows no such host.
    let nowhere = Web::new().doctor(&arguments());
    assert_eq!(nowhere.codes(), ["file_unreachable"]);
}

#[test]
fn the_file_at_its_old_place_is_found() {
    let web = Web::new();
    web.at(
        "https://app.example.com/apple-app-site-association",
        Reply::json(good().to_string()),
    );
    assert_eq!(web.doctor(&arguments()).codes(), ["aasa_at_root", "file_status"]);
}

#[test]
fn apples_copy_is_held_against_the_file() {
    let mut arguments = arguments();
    arguments.pop();
    let web = Web::new();
    web.at(URL, Reply::json(good().to_string()));
    // Nobody is at Apple's address.
    assert_eq!(web.doctor(&arguments).codes(), ["aasa_copy_unreachable"]);
    web.at(COPY, Reply::json(format!("{:#}", good())));
    let same = web.doctor(&arguments);
    assert_eq!(same.codes(), [""; 0]);
    same.finding("aasa_copy_good");
    web.at(COPY, Reply::json("{}"));
    let other = web.doctor(&arguments);
    assert_eq!((other.codes(), other.exit), (vec!["aasa_copy_differs"], Some(11)));
    web.at(COPY, Reply::status(404));
    assert_eq!(web.doctor(&arguments).codes(), ["aasa_copy_missing"]);
}

#[test]
fn without_an_app_the_form_is_looked_at_and_several_apps_are_each() {
    let web = Web::new();
    web.at(URL, Reply::json(good().to_string()));
    let redirect = [
        "--redirect",
        "https://app.example.com/oauth/callback",
        "--no-apple-copy",
    ];
    // Both files, then, and there is none for Android.
    assert_eq!(web.doctor(&redirect).codes(), ["aasa_app_unknown", "file_status"]);
    let second = [
        &arguments()[..],
        &["--apple-app-id", "ABCDE12345.com.example.second"],
    ]
    .concat();
    let diagnosis = web.doctor(&second);
    assert_eq!(
        diagnosis.codes(),
        ["aasa_applinks_app", "aasa_webcredentials_app"]
    );
    let finding = diagnosis.finding("aasa_webcredentials_app");
    assert!(
        finding["remedy"]
            .as_str()
            .unwrap()
            .contains("ABCDE12345.com.example.second")
    );
}
