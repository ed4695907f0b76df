//! `sign-out`, as far as it is asked to reach.

use gatepass::test_server::TestServer;

use crate::support::{Running, World, events, fields, names};

fn revocations(server: &TestServer) -> usize {
    let requests = server.requests();
    requests
        .iter()
        .filter(|request| request.path() == "/revoke")
        .count()
}

#[tokio::test]
async fn here_and_at_the_server_or_only_here() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    for (how, came_of_it, asked) in [("revoke", "done", 1), ("local", "not_needed", 1)] {
        world.sign_in(&server, 0, &[]).await;
        let signed_out = world.one(&["sign-out", "--how", how]);
        assert_eq!(
            fields(&signed_out),
            [
                "browser_session",
                "client_id",
                "event",
                "id",
                "issuer",
                "revocation",
                "subject"
            ]
        );
        assert_eq!(signed_out["event"], "signed_out");
        assert_eq!(signed_out["revocation"], came_of_it);
        assert_eq!(revocations(&server), asked, "{how}");
        world.expect(10, &["status"]);
    }
}

#[tokio::test]
async fn without_the_server_the_user_is_signed_out_here_and_told() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    drop(server);
    let output = world.expect(6, &["sign-out", "--json"]);
    let events = events(&output);
    assert_eq!(names(&events), ["signed_out", "error"]);
    assert_eq!(events[0]["revocation"], "queued");
    world.expect(10, &["status"]);
}

#[tokio::test]
async fn all_are_all_whatever_becomes_of_one() {
    let (one, two, gone) = (
        TestServer::start().unwrap(),
        TestServer::start().unwrap(),
        TestServer::start().unwrap(),
    );
    let world = World::new();
    world.sign_in(&one, 0, &[]).await;
    world.sign_in(&one, 1, &["--add-account"]).await;
    world.sign_in(&two, 0, &[]).await;
    world.sign_in(&gone, 0, &[]).await;
    drop(gone);
    let output = world.expect(6, &["sign-out", "--all", "--json"]);
    let events = events(&output);
    assert_eq!(
        names(&events),
        ["signed_out", "signed_out", "signed_out", "signed_out", "error"]
    );
    assert_eq!((revocations(&one), revocations(&two)), (2, 1));
    world.expect(10, &["status"]);
    world.expect(0, &["sign-out", "--all"]);
}

#[tokio::test]
async fn one_account_leaves_the_other() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    world.sign_in(&server, 0, &[]).await;
    world.sign_in(&server, 1, &["--add-account"]).await;
    let bob = server.users()[1].subject();
    assert_eq!(world.one(&["sign-out", "--account", bob])["subject"], bob);
    assert_eq!(world.one(&["status"])["subject"], server.users()[0].subject());
    world.token(&["--refresh"]);
}

/// A browser that does what the test does: it hands over the URL that it is to open.
#[cfg(unix)]
#[tokio::test]
async fn in_the_browser_too() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = TestServer::start().unwrap();
    let world = World::new();
    let opener = world.path("browser");
    let pipe = world.path("pipe");
    std::fs::write(
        &opener,
        format!("#!/bin/sh\necho \"$1\" > '{}'\n", pipe.display()),
    )
    .unwrap();
    std::fs::set_permissions(&opener, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    for (redirect, came_of_it) in [(true, "ended"), (false, "opened")] {
        world.sign_in(&server, 0, &[]).await;
        let mut arguments = vec!["sign-out", "--json", "--how", "end-session"];
        if redirect {
            arguments.extend(["--post-logout-redirect", "http://127.0.0.1/signed-out"]);
        }
        let mut command = world.gatepass(&arguments);
        command.env("BROWSER", &opener);
        let mut program = Running::start(command);
        let url = std::fs::read_to_string(&pipe).unwrap();
        let browser = server.browser();
        if let Some(back) = browser.sign_out(url.trim()).await.unwrap() {
            assert!(redirect);
            browser.deliver(&back).await.unwrap();
        }
        let signed_out = program.next();
        assert_eq!(signed_out["revocation"], "done");
        assert_eq!(signed_out["browser_session"], came_of_it);
        assert_eq!(program.exit_code(), Some(0));
    }
    // Without a browser: signed out here and there, and the rest is told.
    world.sign_in(&server, 0, &[]).await;
    let output = world.expect(5, &["sign-out", "--json", "--how", "end-session"]);
    let events = events(&output);
    assert_eq!(names(&events), ["signed_out", "error"]);
    assert_eq!(events[0]["browser_session"], "failed");
    world.expect(10, &["status"]);
}
