//! The files by which a host names its apps: nothing is approved of that another reader does not find there, and what we
//! write ourselves is.

use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::input::{is_clean, loose};
use crate::protocol::association::{
    AndroidApp, AppId, Association, Fetched, Finding, Fingerprint, ServerCheck, Severity, check_interstitial,
    check_redirect, check_registration, matches_for_fuzzing,
};
use crate::protocol::redirect::RedirectUri;

const REDIRECT: &str = "https://app.example.com/oauth/callback";
const APP: &str = "ABCDE12345.com.example.app";
const PACKAGE: &str = "com.example.app";
const CODE: &str = "code=SplxlOBeZQQYbYS6WxSbIA&state=af0ifjsldkj&iss=https%3A%2F%2Flogin.example.com";

static FINGERPRINT: LazyLock<String> = LazyLock::new(|| ["A1"; 32].join(":"));
pub(super) static OURS: LazyLock<Association> =
    LazyLock::new(|| of(REDIRECT, APP, PACKAGE, &FINGERPRINT).unwrap());

fn of(redirect: &str, app: &str, package: &str, fingerprint: &str) -> Option<Association> {
    let redirect = RedirectUri::parse(redirect).ok()?;
    let app = AppId::parse(app).ok()?;
    let android = AndroidApp::new(package, [Fingerprint::parse(fingerprint).ok()?]).ok()?;
    Some(
        Association::new(&redirect)
            .ok()?
            .with_app_id(app)
            .with_android(android),
    )
}

/// The input is either file, robots.txt, a server's metadata, Google's view. Where it has several lines, they are also a
/// path, an App ID, a package and a fingerprint to write the files for; and a pattern and a text to compare.
pub fn association(data: &[u8]) {
    for content_type in ["application/json", "text/html"] {
        let answer = Fetched::answer(200, [("content-type", content_type)], data);
        let of_json = content_type == "application/json";
        let apple = OURS.check_apple(&answer);
        are_fit_to_be_shown(&apple);
        if has(&apple, "aasa_good") {
            assert!(of_json, "a web page was approved of");
            is_apples(data);
        }
        let android = OURS.check_assetlinks(&answer);
        are_fit_to_be_shown(&android);
        if has(&android, "assetlinks_good") {
            assert!(of_json, "a web page was approved of");
            is_androids(data);
        }
        are_fit_to_be_shown(OURS.check_robots(&answer).as_slice());
        are_fit_to_be_shown(OURS.check_apple_root(&answer).as_slice());
        are_fit_to_be_shown(&[OURS.check_apple_copy(&answer, &answer)]);
        let page = check_interstitial(REDIRECT, &answer);
        are_fit_to_be_shown(&page);
        assert!(!has(&page, "interstitial_good"), "without a policy");
        let server = ServerCheck::new("https://as.example", None).unwrap();
        let findings = server.check("https://as.example/metadata", &answer, Some(0));
        are_fit_to_be_shown(&findings);
        assert!(!has(&findings, "server_good") || server.metadata(&answer).is_some());
    }
    for status in [204, 301, 404, 500] {
        let answer = Fetched::answer(status, [("location".as_bytes(), data)], data);
        let findings = [OURS.check_apple(&answer), OURS.check_assetlinks(&answer)].concat();
        assert!(
            findings
                .iter()
                .all(|finding| finding.severity() == Severity::Error)
        );
        let redirect = RedirectUri::parse(REDIRECT).unwrap();
        let finding = check_registration(&redirect, "client", &answer);
        are_fit_to_be_shown(std::slice::from_ref(&finding));
        let is_there = data == REDIRECT.as_bytes() || data.starts_with(format!("{REDIRECT}?").as_bytes());
        assert!(finding.code() != "redirect_registered" || (is_there && status == 301));
    }
    are_fit_to_be_shown(
        OURS.check_google(&Fetched::answer::<&str, &str>(200, [], data))
            .as_slice(),
    );
    is_googles(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    are_fit_to_be_shown(&check_redirect(text, Some(text)));
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (path, app, package, fingerprint) = (line(), line(), line(), line());
    if app.is_empty() {
        return;
    }
    patterns(path, app);
    if let Some(written) = of(
        &format!("https://app.example.com/{path}"),
        app,
        package,
        fingerprint,
    ) {
        is_approved(&written);
    }
}

pub(super) fn has(findings: &[Finding], wanted: &str) -> bool {
    findings.iter().any(|finding| finding.code() == wanted)
}

pub(super) fn are_fit_to_be_shown(findings: &[Finding]) {
    assert!(findings.len() <= 200);
    for finding in findings {
        assert!(
            is_clean(finding.subject(), 400) && is_clean(finding.found(), 400),
            "{finding:?}"
        );
        assert!(is_clean(finding.remedy(), 400) && !finding.why().is_empty());
        assert!(
            !finding.subject().is_empty() && !finding.found().is_empty(),
            "{finding:?}"
        );
    }
}

/// Another reader, which takes the last of two members, must find the app where it has to be.
fn is_apples(data: &[u8]) {
    assert!(!data.starts_with(b"\xef\xbb\xbf") && data.len() <= 128 * 1024);
    let file = loose(data).expect("approved of what another reader does not read");
    let names = |list: &Value| {
        list.as_array()
            .is_some_and(|list| list.iter().any(|name| name == APP))
    };
    assert!(
        names(&file["webcredentials"]["apps"]),
        "approved without webcredentials: {file}"
    );
    let details = file["applinks"]["details"].as_array().expect("details");
    let own: Vec<&Value> = details
        .iter()
        .filter(|entry| names(&entry["appIDs"]) || entry["appID"] == APP)
        .collect();
    assert!(!own.is_empty(), "approved without applinks: {file}");
    // What is compared in other ways than to the letter is not repeated here.
    let text = String::from_utf8_lossy(data);
    if ["\\", "caseSensitive", "percentEncoded", "$("]
        .iter()
        .any(|word| text.contains(word))
    {
        return;
    }
    let components = own.iter().flat_map(|entry| rules(entry));
    let first = components.into_iter().find(|(rule, _)| fits(rule));
    assert!(
        first.is_some_and(|(_, excludes)| !excludes),
        "approved of a link that does not open: {file}"
    );
}

/// Components, or paths as components; each with whether it excludes.
fn rules(entry: &Value) -> Vec<(Map<String, Value>, bool)> {
    if let Some(components) = entry["components"].as_array() {
        let objects = components.iter().filter_map(Value::as_object).cloned();
        return objects
            .map(|rule| {
                let excludes = rule.get("exclude") == Some(&Value::Bool(true));
                (rule, excludes)
            })
            .collect();
    }
    let paths = entry["paths"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    paths
        .map(|path| {
            let pattern = path.strip_prefix("NOT ").unwrap_or(path);
            let rule = std::iter::once(("/".to_owned(), pattern.into())).collect();
            (rule, pattern != path)
        })
        .collect()
}

fn fits(rule: &Map<String, Value>) -> bool {
    let part = |name: &str, text: &str| match rule.get(name) {
        Some(Value::String(pattern)) => glob(pattern.as_bytes(), text.as_bytes()),
        _ => true,
    };
    let items = rule.get("?").and_then(Value::as_object);
    let query = items.into_iter().flatten().all(|(name, pattern)| {
        let pairs = CODE.split('&').filter_map(|pair| pair.split_once('='));
        let mut values: Vec<&str> = pairs
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value)
            .collect();
        if values.is_empty() {
            values.push("");
        }
        let pattern = pattern.as_str().unwrap_or_default();
        values
            .iter()
            .all(|value| glob(pattern.as_bytes(), value.as_bytes()))
    });
    part("/", "/oauth/callback") && part("?", CODE) && part("#", "") && query
}

/// The textbook's way, which goes back to the last star: for ASCII texts.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if pattern.get(p) == Some(&b'*') {
            star = Some((p, t));
            p += 1;
        } else if pattern.get(p).is_some_and(|c| *c == b'?' || *c == text[t]) {
            (p, t) = (p + 1, t + 1);
        } else if let Some((at, taken)) = star {
            star = Some((at, taken + 1));
            (p, t) = (at + 1, taken + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

fn patterns(pattern: &str, text: &str) {
    if !pattern.contains("$(") && pattern.is_ascii() && text.is_ascii() {
        let expected = glob(pattern.as_bytes(), text.as_bytes());
        assert_eq!(
            matches_for_fuzzing(pattern, text),
            expected,
            "{pattern:?} {text:?}"
        );
    }
}

fn is_androids(data: &[u8]) {
    let file = loose(data).expect("approved of what another reader does not read");
    let statements = file.as_array().expect("a list");
    let is_own = |statement: &&Value| {
        let target = &statement["target"];
        let relations = statement["relation"].as_array().into_iter().flatten();
        let prints = target["sha256_cert_fingerprints"]
            .as_array()
            .into_iter()
            .flatten();
        target["package_name"] == PACKAGE
            && target["namespace"] == "android_app"
            && relations
                .into_iter()
                .any(|one| one == "delegate_permission/common.handle_all_urls")
            && prints.into_iter().any(|one| one == FINGERPRINT.as_str())
    };
    assert!(
        statements.iter().any(|statement| is_own(&statement)),
        "approved without the app: {file}"
    );
}

/// Google's answer names the app in a statement of its own form.
fn is_googles(data: &[u8]) {
    let answer = Fetched::answer::<&str, &str>(200, [], data);
    if OURS
        .check_google(&answer)
        .is_some_and(|finding| finding.code() == "assetlinks_google_good")
    {
        let body = loose(data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data))
            .expect("what another reader does not read");
        let statements = body["statements"].as_array().expect("statements");
        let names = |one: &&Value| {
            let app = &one["target"]["androidApp"];
            let print = app["certificate"]["sha256Fingerprint"]
                .as_str()
                .unwrap_or_default();
            app["packageName"] == PACKAGE && print.to_ascii_uppercase() == *FINGERPRINT
        };
        assert!(statements.iter().any(|one| names(&one)), "{body}");
    }
}

/// What is written is approved of.
fn is_approved(association: &Association) {
    let as_json = [("content-type", "application/json")];
    let apple = Fetched::answer(200, as_json, association.apple_file());
    let android = Fetched::answer(200, as_json, association.assetlinks_file());
    let findings = [
        association.check_apple(&apple),
        association.check_assetlinks(&android),
    ]
    .concat();
    let good = findings
        .iter()
        .all(|finding| finding.severity() <= Severity::Note);
    assert!(
        good && has(&findings, "aasa_good") && has(&findings, "assetlinks_good"),
        "{findings:?}"
    );
    assert_eq!(
        association.check_apple_copy(&apple, &apple).code(),
        "aasa_copy_good"
    );
}
