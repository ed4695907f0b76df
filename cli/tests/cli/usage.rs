//! Wrong usage and configuration: told, in JSON too, and exit code 2.

use crate::support::{events, gatepass, names, stderr};

#[test]
fn wrong_usage_and_configuration_exit_with_2() {
    for arguments in [
        &["sign-in", "--issuer", "https://as.example"][..],
        &[
            "sign-in",
            "--json",
            "--issuer",
            "http://127.0.0.1:1",
            "--client-id",
            "x",
        ],
        &["sign-in", "--json", "--issuer", "as.example", "--client-id", "x"],
        &["sign-in", "--json", "--redirect", "myapp://callback"],
        &["sign-in", "--json", "--api", "ftp://api.example.com"],
        &["sign-in", "--json", "--scope", "openid profile"],
        &["frobnicate"],
    ] {
        let output = gatepass(arguments).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{arguments:?}: {}",
            stderr(&output)
        );
        if arguments.contains(&"--json") {
            let events = events(&output);
            assert_eq!(names(&events), ["error"], "{arguments:?}");
            assert_eq!(events[0]["kind"], "configuration");
            assert_eq!(events[0]["next_step"], "fix_configuration");
        }
    }
}

#[test]
fn wrong_usage_is_told_in_json_too() {
    let output = gatepass(&["sign-in", "--json", "--timeout", "0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let events = events(&output);
    assert_eq!(names(&events), ["error"]);
    assert_eq!(events[0]["kind"], "configuration");
}
