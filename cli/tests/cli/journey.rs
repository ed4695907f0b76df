//! `sign-in` through the whole life of a session: at the test server it brings along, or with `--journey` at any.

use std::io::Write as _;

use gatepass::test_server::TestServer;

use crate::support::{Running, at, events, gatepass, names, stderr};

const WHOLE_JOURNEY: [&str; 7] = [
    "authorization_url",
    "redirect_received",
    "signed_in",
    "api_call",
    "refreshed",
    "api_call",
    "signed_out",
];

#[test]
fn headless_json_is_the_whole_journey() {
    let output = gatepass(&["sign-in", "--headless", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let events = events(&output);
    assert_eq!(names(&events), WHOLE_JOURNEY);
    assert!(
        events[0]["url"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
    assert!(
        events[2]["issuer"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:")
    );
    assert!(events[2]["subject"].as_str().unwrap().contains("alice"));
    assert_eq!(events[2]["scope"], "openid profile offline_access");
    assert!((290..=300).contains(&events[2]["expires_in"].as_u64().unwrap()));
    assert_eq!(events[3]["status"], 200);
    assert_eq!(events[5]["status"], 200);
}

#[test]
fn without_a_display_it_says_so_and_plays_the_browser_itself() {
    let output = gatepass(&["sign-in"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("there is no display"),
        "{}",
        stderr(&output)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("Signed in as"));
}

#[cfg(unix)]
#[test]
fn an_opener_that_fails_is_told_and_replaced() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let opener = folder.path().join("broken-browser");
    std::fs::write(&opener, "#!/bin/sh\nexit 3\n").unwrap();
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Only this opener can be found.
    let output = gatepass(&["sign-in", "--json"])
        .env("BROWSER", &opener)
        .env("PATH", folder.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("broken-browser failed"),
        "{}",
        stderr(&output)
    );
    assert_eq!(names(&events(&output)), WHOLE_JOURNEY);
}

#[test]
fn at_a_real_server_a_missing_browser_is_a_typed_error() {
    let server = TestServer::start().unwrap();
    let output = gatepass(&[
        "sign-in",
        "--journey",
        "--json",
        "--issuer",
        server.issuer(),
        "--client-id",
        server.client_id(),
        "--allow-http-on-loopback",
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(5));
    let events = events(&output);
    assert_eq!(names(&events), ["authorization_url", "error"]);
    let error = &events[1];
    for (field, value) in [
        ("kind", "no_browser"),
        ("code", "no_browser"),
        ("stage", "user_agent"),
        ("next_step", "ask_user"),
    ] {
        assert_eq!(error[field], value, "{error}");
    }
    assert_eq!(error["retryable"], false);
    assert!(error["diagnostic_id"].as_str().unwrap().starts_with("gp-"));
}

#[cfg(unix)]
#[test]
fn a_browser_that_never_comes_back_ends_at_the_deadline() {
    // `true` is a browser that opens at once and shows nothing.
    let output = gatepass(&["sign-in", "--json", "--timeout", "1"])
        .env("BROWSER", "true")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let events = events(&output);
    assert_eq!(names(&events), ["authorization_url", "error"]);
    assert_eq!(events[1]["kind"], "flow_expired");
    assert_eq!(events[1]["next_step"], "sign_in_again");
}

fn journey(server: &TestServer, more: &[&str]) -> Running {
    Running::start(gatepass(&at(server, &[&["--journey"], more].concat())))
}

#[tokio::test]
async fn no_browser_waits_for_the_loopback_redirect() {
    let server = TestServer::start().unwrap();
    let mut program = journey(&server, &["--api", &server.api_url()]);
    let url = program.next()["url"].as_str().unwrap().to_owned();
    // The end of standard input is not the end of the sign-in.
    drop(program.stdin.take());
    let browser = server.browser();
    let redirect = browser.sign_in(&url, &server.users()[0]).await.unwrap();
    assert_eq!(browser.deliver(&redirect).await.unwrap(), 200);
    let events = program.rest();
    assert_eq!(names(&events), &WHOLE_JOURNEY[1..]);
    assert_eq!(program.exit_code(), Some(0));
    let api_calls = server
        .requests()
        .iter()
        .filter(|request| request.path() == "/api/me")
        .count();
    assert_eq!(api_calls, 2);
}

#[tokio::test]
async fn no_browser_takes_a_pasted_redirect_and_turns_others_down() {
    let server = TestServer::start().unwrap();
    for redirect in [
        "com.example.app:/callback",
        "https://app.example.com/callback",
        "http://127.0.0.1/callback",
    ] {
        let mut program = journey(&server, &["--redirect", redirect]);
        let url = program.next()["url"].as_str().unwrap().to_owned();
        let came_back = server.browser().sign_in(&url, &server.users()[1]).await.unwrap();
        program.paste("what?");
        program.stdin.as_mut().unwrap().write_all(b"\xff\xfe\n").unwrap();
        program.paste(&format!("{redirect}?code=forged&state=forged"));
        program.paste(&came_back);
        let events = program.rest();
        assert_eq!(names(&events), &WHOLE_JOURNEY[1..], "{redirect}");
        assert_eq!(program.exit_code(), Some(0));
    }
}

#[tokio::test]
async fn a_user_who_declines() {
    let server = TestServer::start().unwrap();
    let mut program = journey(&server, &[]);
    let url = program.next()["url"].as_str().unwrap().to_owned();
    let browser = server.browser();
    let redirect = browser.deny(&url).await.unwrap();
    browser.deliver(&redirect).await.unwrap();
    let events = program.rest();
    assert_eq!(names(&events), ["error"]);
    assert_eq!(events[0]["kind"], "cancelled");
    assert_eq!(events[0]["server_error"], "access_denied");
    assert_eq!(program.exit_code(), Some(3));
}

#[test]
fn a_server_that_is_not_there_is_a_network_error() {
    let output = gatepass(&[
        "sign-in",
        "--journey",
        "--json",
        "--no-browser",
        "--allow-http-on-loopback",
        "--issuer",
        "http://127.0.0.1:1",
        "--client-id",
        "x",
    ])
    .output()
    .unwrap();
    assert_eq!(output.status.code(), Some(6));
    let events = events(&output);
    assert_eq!(
        (&events[0]["kind"], &events[0]["stage"]),
        (&"network".into(), &"discovery".into())
    );
    assert_eq!(events[0]["retryable"], true);
}

#[test]
fn the_last_event_is_the_outcome() {
    // An API that is not there, and one that refuses: both end in an error, after the sign-out.
    let refusing = TestServer::start().unwrap();
    for (api, kind, code) in [
        ("http://127.0.0.1:1/x".to_owned(), "network", 6),
        (format!("{}/nothing-here", refusing.issuer()), "server", 7),
    ] {
        let output = gatepass(&["sign-in", "--headless", "--json", "--api", &api])
            .output()
            .unwrap();
        let events = events(&output);
        let names = names(&events);
        assert_eq!(names[names.len() - 2..], ["signed_out", "error"], "{names:?}");
        assert_eq!(events.last().unwrap()["kind"], kind);
        assert_eq!(output.status.code(), Some(code));
    }
}

#[test]
fn a_redirect_that_the_server_does_not_know_is_a_configuration_error() {
    let output = gatepass(&[
        "sign-in",
        "--headless",
        "--json",
        "--redirect",
        "https://x.example.com/cb",
    ])
    .output()
    .unwrap();
    let events = events(&output);
    assert_eq!(names(&events), ["authorization_url", "error"]);
    assert_eq!(events[1]["kind"], "configuration");
    assert_eq!(events[1]["next_step"], "fix_configuration");
    assert_eq!(output.status.code(), Some(2));
}
