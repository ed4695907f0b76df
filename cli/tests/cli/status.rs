//! `status`: an answer and an exit code, without a request.

use std::time::Duration;

use gatepass::test_server::TestServer;
use serde_json::Value;

use crate::support::{World, events, fields, stdout};

const FIELDS: [&str; 14] = [
    "can_refresh",
    "client_id",
    "display_name",
    "event",
    "expires_in",
    "id",
    "issuer",
    "reason",
    "scope",
    "sessions",
    "signed_in",
    "signed_in_at",
    "state",
    "subject",
];

#[tokio::test]
async fn the_fields_are_the_same_whoever_is_signed_in() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    let status = |code| {
        let output = world.expect(code, &["status", "--json"]);
        let mut events = events(&output);
        assert_eq!(events.len(), 1);
        let status = events.remove(0);
        assert_eq!(fields(&status), FIELDS);
        (status["state"].clone(), status["reason"].clone(), status)
    };
    assert_eq!(status(10).0, "signed_out");
    world.sign_in(&server, 0, &[]).await;
    let (state, reason, signed_in) = status(0);
    assert_eq!((state, reason), ("signed_in".into(), Value::Null));
    assert!((200..=300).contains(&signed_in["expires_in"].as_u64().unwrap()));
    server.revoke_everything();
    world.error(9, &["token", "--refresh"]);
    let (state, reason, _) = status(9);
    assert_eq!((state, reason), ("ended".into(), "expired_or_revoked".into()));
    world.sign_in(&server, 0, &[]).await;
    assert_eq!(status(0).0, "signed_in");
    world.one(&["sign-out"]);
    assert_eq!(status(10).0, "signed_out");
}

#[tokio::test]
async fn nobody_is_asked_even_if_the_token_has_expired() {
    let server = TestServer::builder()
        .access_token_lifetime(Duration::from_millis(1))
        .start()
        .unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    let before = server.requests().len();
    let output = world.expect(0, &["status"]);
    assert!(
        stdout(&output).contains("expired; refreshed when needed"),
        "{}",
        stdout(&output)
    );
    assert_eq!(world.one(&["status"])["expires_in"], 0);
    assert_eq!(server.requests().len(), before);
}

#[cfg(unix)]
#[tokio::test]
async fn a_store_that_is_lost_is_not_nobody() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    std::fs::remove_file(world.path("store/gatepass.key")).unwrap();
    let error = world.error(8, &["status"]);
    assert_eq!(error["kind"], "storage_lost");
}

/// No desktop here, so no keychain: that is said, and nothing else is used in its place.
#[cfg(target_os = "linux")]
#[test]
fn a_keychain_that_is_not_there_is_told() {
    let world = World::new();
    let output = world
        .gatepass(&[
            "sign-in",
            "--json",
            "--no-browser",
            "--issuer",
            "https://127.0.0.1:1",
            "--client-id",
            "x",
        ])
        .env("GATEPASS_STORE", "keychain")
        .output()
        .unwrap();
    let events = events(&output);
    assert_eq!(events[0]["event"], "error");
    assert!(matches!(output.status.code(), Some(6 | 8)), "{events:?}");
}
