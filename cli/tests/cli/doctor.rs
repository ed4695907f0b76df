//! `doctor` as a whole: its words, its usage, the redirect.

use crate::hosts::{Reply, Web};
use crate::support::{World, stderr, stdout};

#[test]
fn what_people_read_says_what_why_and_how_to_mend_it() {
    let web = Web::new();
    web.at(
        "https://app.example.com/.well-known/apple-app-site-association",
        Reply::json("{}"),
    );
    let arguments = [
        "doctor",
        "--redirect",
        "https://app.example.com/cb",
        "--apple-app-id",
        "ABCDE12345.com.example.app",
    ];
    let output = web.command(&arguments).output().unwrap();
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(12), "{text}{}", stderr(&output));
    for words in [
        "Redirect",
        "✓ redirect_good",
        "Apple: apple-app-site-association",
        "✗ aasa_webcredentials_missing",
        "no member webcredentials",
        "why",
        "mend",
        "This will not work.",
    ] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    assert!(!text.contains('\u{1b}'), "colour where there is no terminal");
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    assert!(stderr(&output).is_empty(), "{}", stderr(&output));
}

#[test]
fn what_a_host_says_does_nothing_to_a_terminal() {
    let web = Web::new();
    let evil = "\u{1b}[31m\u{202e}\r\n\u{9b}";
    let file = serde_json::json!({ "webcredentials": { "apps": [evil] }, "applinks": { "details": [] }, });
    web.at(
        "https://app.example.com/.well-known/apple-app-site-association",
        Reply::of("text/plain; x=\u{202e}", file.to_string()),
    );
    let output = web
        .command(&[
            "doctor",
            "--redirect",
            "https://app.example.com/cb",
            "--no-apple-copy",
        ])
        .output()
        .unwrap();
    let text = stdout(&output);
    assert!(text.contains("aasa_app_id_form"), "{text}");
    assert!(
        !text
            .chars()
            .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'),
        "{text:?}"
    );
}

#[test]
fn na_29_the_redirect() {
    let world = World::new();
    for (redirect, codes, exit) in [
        ("https://app.example.com/cb", &["redirect_good"][..], 0),
        ("https://app.example.com:8443/cb", &["redirect_port"], 11),
        ("https://192.0.2.1/cb", &["redirect_host"], 12),
        ("https://intranet/cb", &["redirect_host"], 12),
        ("https://App.example.com/cb", &["redirect_invalid"], 12),
        (
            "https://app.example.com/cb?secret=hunter2-canary",
            &["redirect_invalid"],
            12,
        ),
        (
            "https://user:hunter2-canary@app.example.com/c\"b#x",
            &["redirect_invalid"],
            12,
        ),
        ("myapp://cb", &["redirect_invalid"], 12),
        ("com.example.app:/cb", &["redirect_private_use"], 11),
        ("http://127.0.0.1/cb", &["redirect_loopback"], 0),
    ] {
        let output = world.run(&["doctor", "--json", "--offline", "--redirect", redirect]);
        let diagnosis = crate::hosts::Diagnosis::of(&output);
        let found: Vec<_> = diagnosis
            .findings
            .iter()
            .map(|finding| finding["code"].as_str().unwrap())
            .collect();
        assert_eq!((&found[..], diagnosis.exit), (codes, Some(exit)), "{redirect}");
        assert!(!stdout(&output).contains("hunter2-canary"), "{}", stdout(&output));
    }
    let same = world.run(&[
        "doctor",
        "--json",
        "--offline",
        "--issuer",
        "https://app.example.com",
        "--redirect",
        "https://app.example.com/cb",
    ]);
    assert_eq!(
        crate::hosts::Diagnosis::of(&same).codes(),
        ["redirect_issuer_host"]
    );
}

#[test]
fn there_must_be_something_to_look_at() {
    let world = World::new();
    assert_eq!(world.error(2, &["doctor"])["code"], "nothing_to_check");
    let wrong = [
        "doctor",
        "--redirect",
        "https://app.example.com/cb",
        "--apple-app-id",
        "x",
    ];
    assert_eq!(world.error(2, &wrong)["code"], "app_id_malformed");
}

#[cfg(unix)]
#[test]
fn a_signal_ends_it_while_it_waits() {
    let web = Web::new();
    web.at(
        "https://login.example.com/.well-known/openid-configuration",
        Reply::Silence,
    );
    let mut running = crate::support::Running::start(web.command(&[
        "doctor",
        "--json",
        "--issuer",
        "https://login.example.com",
        "--timeout",
        "600",
    ]));
    // It has asked, so it waits.
    while web.requests().is_empty() {
        std::thread::yield_now();
    }
    running.signal("-TERM");
    let events = running.rest();
    assert_eq!(events[0]["code"], "interrupted");
    assert_eq!(running.exit_code(), Some(3));
}
