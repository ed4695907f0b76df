//! `sign-in` that stays signed in.

use gatepass::test_server::TestServer;

use crate::support::{Running, World, at, events, fields, names, stderr};

#[tokio::test]
async fn whoever_signed_in_stays_signed_in_across_processes() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    let events = world.sign_in(&server, 0, &[]).await;
    assert_eq!(names(&events), ["redirect_received", "signed_in"]);
    let signed_in = &events[1];
    assert_eq!(
        fields(signed_in),
        [
            "can_refresh",
            "client_id",
            "display_name",
            "event",
            "expires_in",
            "id",
            "issuer",
            "scope",
            "signed_in_at",
            "subject"
        ]
    );
    let status = world.one(&["status"]);
    assert_eq!(status["signed_in"], true);
    for field in ["id", "issuer", "client_id", "subject", "signed_in_at"] {
        assert_eq!(status[field], signed_in[field], "{field}");
    }
    assert_eq!(status["subject"], server.users()[0].subject());
}

#[tokio::test]
async fn a_second_sign_in_says_that_somebody_is() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    let before = server.requests().len();
    let output = world
        .gatepass(&at(&server, &["--scope", "openid", "--scope", "email"]))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    let events = events(&output);
    assert_eq!(names(&events), ["already_signed_in"]);
    assert_eq!(events[0]["subject"], server.users()[0].subject());
    assert!(
        stderr(&output).contains("does not have the scope email"),
        "{}",
        stderr(&output)
    );
    assert_eq!(server.requests().len(), before);
    // Unless it is meant.
    let again = world.sign_in(&server, 0, &["--again"]).await;
    assert_eq!(names(&again), ["redirect_received", "signed_in"]);
    assert_eq!(world.one(&["status"])["sessions"], 1);
}

#[tokio::test]
async fn another_account_is_beside_the_first() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    world.sign_in(&server, 1, &["--add-account"]).await;
    let asked = server.requests();
    assert!(
        asked
            .iter()
            .any(|request| request.query_value("prompt") == Some("select_account consent"))
    );
    let status = world.one(&["status"]);
    assert_eq!(status["can_refresh"], true);
    assert_eq!(status["sessions"], 2);
    assert_eq!(status["subject"], server.users()[1].subject());
}

#[tokio::test]
async fn without_openid_there_is_one_session_and_no_account_to_add() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    let scope = ["--scope", "profile", "--scope", "offline_access"];
    world.sign_in(&server, 0, &scope).await;
    assert_eq!(world.one(&["status"])["subject"], serde_json::Value::Null);
    world.token(&["--refresh"]);
    let arguments = at(&server, &[&scope[..], &["--add-account"]].concat()).concat_json();
    let error = world.error(2, &arguments);
    assert_eq!(error["code"], "add_account_without_openid");
}

/// `error` adds `--json` itself.
trait WithoutJson<'a> {
    fn concat_json(self) -> Vec<&'a str>;
}

impl<'a> WithoutJson<'a> for Vec<&'a str> {
    fn concat_json(self) -> Vec<&'a str> {
        self.into_iter()
            .filter(|argument| *argument != "--json")
            .collect()
    }
}

#[test]
fn a_session_in_memory_is_told_to_end() {
    let world = World::new();
    let error = world.error(10, &["token", "--store", "memory"]);
    assert_eq!(error["code"], "not_signed_in");
}

#[tokio::test]
async fn a_journey_does_not_end_a_session_that_is_stored() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    // In memory, beside it.
    let events = world.sign_in(&server, 0, &["--journey"]).await;
    assert_eq!(events.last().unwrap()["event"], "signed_out");
    assert_eq!(world.one(&["status"])["signed_in"], true);
    // In the same store, it would be the one.
    let store = format!("file:{}", world.path("store").display());
    let more = ["--journey", "--store", &store];
    let error = world.error(2, &at(&server, &more).concat_json());
    assert_eq!(error["code"], "already_signed_in");
}

#[test]
fn an_issuer_and_a_client_id_go_together() {
    let world = World::new();
    let error = world.error(2, &["sign-in", "--issuer", "https://as.example"]);
    assert_eq!(error["code"], "client_id_missing");
    let error = world.error(2, &["sign-in", "--client-id", "x"]);
    assert_eq!(error["code"], "issuer_missing");
    let error = world.error(2, &["sign-in", "--again"]);
    assert_eq!(error["code"], "issuer_missing");
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_file_is_made_for_its_owner_alone_and_told_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = TestServer::start().unwrap();
    let world = World::new();
    let first = world
        .gatepass(&at(&server, &["--timeout", "1"]))
        .output()
        .unwrap();
    assert!(stderr(&first).contains("mode 600"), "{}", stderr(&first));
    let key = std::fs::metadata(world.path("store/gatepass.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let second = world
        .gatepass(&at(&server, &["--timeout", "1"]))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(4));
    assert!(!stderr(&second).contains("mode 600"), "{}", stderr(&second));
}

#[tokio::test]
async fn a_passphrase_is_needed_where_one_was_used() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    let mut command = world.gatepass(&at(&server, &[]));
    command.env("GATEPASS_STORE_PASSPHRASE", "correct horse");
    let mut program = Running::start(command);
    program.visit(&server, 0).await;
    assert_eq!(names(&program.rest()), ["redirect_received", "signed_in"]);
    let with = |passphrase: &str| {
        let mut command = world.gatepass(&["status", "--json"]);
        let output = command
            .env("GATEPASS_STORE_PASSPHRASE", passphrase)
            .output()
            .unwrap();
        output.status.code()
    };
    assert_eq!(with("correct horse"), Some(0));
    assert_eq!(with("battery staple"), Some(2));
    assert_eq!(with(""), Some(2));
    assert_eq!(world.error(2, &["status"])["code"], "storage_wrong_key");
}
