//! Wrong usage and configuration: told, in JSON too, and exit code 2.

use crate::support::{World, events, fields, gatepass, names, stderr};

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

#[test]
fn the_fields_of_an_error_are_the_same_whoever_failed() {
    let world = World::new();
    for (code, arguments) in [
        (2, &["frobnicate"][..]),
        (10, &["token"]),
        (2, &["status", "--config", "nowhere"]),
        (
            2,
            &[
                "sign-in",
                "--store",
                "memory",
                "--issuer",
                "as.example",
                "--client-id",
                "x",
            ],
        ),
    ] {
        assert_eq!(
            fields(&world.error(code, arguments)),
            [
                "code",
                "diagnostic_id",
                "event",
                "kind",
                "message",
                "next_step",
                "retryable",
                "server_description",
                "server_error",
                "stage"
            ],
            "{arguments:?}"
        );
    }
}

#[test]
fn every_command_has_a_help_worth_reading() {
    let world = World::new();
    for command in [
        "sign-in",
        "token",
        "status",
        "sign-out",
        "forget",
        "config",
        "completions",
        "serve",
        "doctor",
        "association",
        "interstitial",
    ] {
        let help = crate::support::stdout(&world.expect(0, &[command, "--help"]));
        assert!(help.contains("Examples:"), "{command}");
    }
    let help = crate::support::stdout(&world.expect(0, &["--help"]));
    assert!(help.contains("Exit codes:") && help.contains("$(gatepass token)"));
}

/// A clock that a variable could set would bring expired tokens back to life.
#[cfg(not(feature = "soak"))]
#[test]
fn what_soak_tests_need_is_not_in_the_program() {
    let output = gatepass(&["soak-session"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let program = std::fs::read(env!("CARGO_BIN_EXE_gatepass")).unwrap();
    let holds = |text: &str| program.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("GATEPASS_STORE_PASSPHRASE"));
    assert!(!holds("GATEPASS_SOAK_CLOCK"));
}
