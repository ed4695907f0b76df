//! What an accident or an attack leaves behind: records that cannot be read, sign-ins that wait, stores that are no place.

use gatepass::test_server::{CannedAnswer, Endpoint, PlannedFault, TestServer};

use crate::support::{Running, World, at, events, names, stderr, stdout};

/// Flips a byte in every record of a session.
fn damage_sessions(world: &World) {
    let mut damaged = 0;
    for entry in std::fs::read_dir(world.path("store")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("gp.session.") && name.ends_with(".record") {
            let mut bytes = std::fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert!(damaged > 0);
}

#[tokio::test]
async fn a_damaged_record_is_told_and_a_new_sign_in_gets_past_it() {
    let server = TestServer::start().unwrap();
    for more in [&[][..], &["--again"]] {
        let world = World::new();
        world.sign_in(&server, 0, &[]).await;
        damage_sessions(&world);
        for verb in ["status", "token", "sessions", "sign-out"] {
            assert_eq!(world.error(8, &[verb])["kind"], "storage_lost", "{verb}");
        }
        assert!(stderr(&world.expect(8, &["status"])).contains("gatepass sign-in --again"));
        world.sign_in(&server, 0, more).await;
        assert_eq!(world.one(&["status"])["state"], "signed_in");
    }
}

#[tokio::test]
async fn a_damaged_record_can_be_forgotten_where_it_is_said_whose_it_is() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    damage_sessions(&world);
    world.error(8, &["forget", "--yes"]);
    let named = [
        "forget",
        "--yes",
        "--issuer",
        server.issuer(),
        "--client-id",
        server.client_id(),
    ];
    let output = world.expect(0, &named);
    assert!(
        stderr(&output).contains("could not be read"),
        "{}",
        stderr(&output)
    );
    world.expect(10, &["status"]);
}

/// A sign-in whose tokens are stored and wait for keys, and the fault that keeps those away.
async fn awaiting_keys(world: &World, server: &TestServer) -> (Running, PlannedFault) {
    let down = server
        .fault(Endpoint::JwkSet)
        .every()
        .answer(CannedAnswer::status(503))
        .unwrap();
    let mut program = Running::start(world.gatepass(&at(server, &[])));
    program.visit(server, 0).await;
    let asked = down.fired();
    // The keys are asked for ahead of the redirect as well: this time it is for the tokens, which are stored by then.
    while down.fired() < asked.max(1) + 1 {
        tokio::task::yield_now().await;
    }
    (program, down)
}

#[tokio::test]
async fn a_sign_in_that_waits_for_keys_is_finished_by_the_next_command() {
    let server = TestServer::start().unwrap();
    for verb in ["status", "token"] {
        let world = World::new();
        let (mut program, down) = awaiting_keys(&world, &server).await;
        program.child.kill().unwrap();
        program.child.wait().unwrap();
        let waiting = world.run(&["status"]);
        assert_eq!(waiting.status.code(), Some(10));
        assert!(
            stderr(&waiting).contains("not finished yet"),
            "{}",
            stderr(&waiting)
        );
        down.lift();
        assert_eq!(events(&world.expect(0, &[verb, "--json"])).len(), 1);
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_signal_while_keys_are_awaited_ends_the_program_and_keeps_the_tokens() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    let (mut program, down) = awaiting_keys(&world, &server).await;
    program.signal("-TERM");
    // Without an end of its own it would take the library's 90 s.
    let begun = std::time::Instant::now();
    let events = program.rest();
    assert_eq!(names(&events).last(), Some(&"error"), "{events:?}");
    assert_eq!(program.exit_code(), Some(3));
    assert!(begun.elapsed() < std::time::Duration::from_secs(30));
    down.lift();
    assert_eq!(world.one(&["status"])["state"], "signed_in");
}

#[cfg(unix)]
#[test]
fn a_directory_that_users_share_is_no_store() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let shared = world.path("shared");
    std::fs::create_dir(&shared).unwrap();
    std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o1777)).unwrap();
    let output = world.expect(2, &["status", "--store", &format!("file:{}", shared.display())]);
    let text = stderr(&output);
    assert!(text.contains("a directory of its own"), "{text}");
    assert!(!text.contains("chmod") && !text.contains("keychain"), "{text}");
}

#[cfg(unix)]
#[tokio::test]
async fn trouble_with_a_directory_is_not_blamed_on_the_keychain() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    let store = world.path("store");
    std::fs::set_permissions(&store, std::fs::Permissions::from_mode(0o755)).unwrap();
    let reading = world.expect(8, &["status"]);
    assert_advised(&stderr(&reading), "chmod 700");

    // A file in its place.
    std::fs::remove_dir_all(&store).unwrap();
    std::fs::write(&store, b"").unwrap();
    assert_advised(&stderr(&world.expect(8, &["status"])), "not a directory");
}

#[cfg(unix)]
fn assert_advised(text: &str, what: &str) {
    assert!(text.contains(what), "{text}");
    assert!(text.contains("Put that right"), "{text}");
    assert!(!text.contains("keychain"), "{text}");
}

#[test]
fn a_password_in_a_url_is_not_repeated() {
    let world = World::new();
    for url in [
        "https://u:hunter2@h.example",
        "https://h.example/?x=hunter2",
        "https://u:hunter2@h:bad",
    ] {
        for arguments in [
            &["config", "--issuer", url, "--api", url][..],
            &["config", "--json", "--issuer", url, "--api", url],
            &["sign-in", "--issuer", url, "--client-id", "x"],
            &[
                "sign-in",
                "--issuer",
                "https://h.example",
                "--client-id",
                "x",
                "--api",
                url,
                "--json",
            ],
            &["token", "--issuer", url],
        ] {
            if arguments.contains(&"https://h.example") && !url.contains('@') {
                // A good URL for an API; the sign-in would go on.
                continue;
            }
            let output = world.run(arguments);
            let said = stdout(&output) + &stderr(&output);
            assert!(
                !said.is_empty() && !said.contains("hunter2"),
                "{arguments:?}: {said}"
            );
        }
    }
}

#[tokio::test]
async fn nobody_is_told_to_try_again_with_a_session_that_is_gone() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    drop(server);
    let text = stderr(&world.expect(6, &["sign-out"]));
    assert!(
        text.contains("gone here") && !text.contains("Try again"),
        "{text}"
    );
}

#[tokio::test]
async fn status_of_another_account_says_who_is_signed_in() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    let text = stdout(&world.expect(10, &["status", "--account", "mallory"]));
    assert!(
        text.contains("mallory is not signed in") && text.contains(server.issuer()),
        "{text}"
    );
    let output = world.expect(10, &["status", "--account", "mallory", "--json"]);
    assert_eq!(names(&events(&output)), ["status"]);
}
