//! Ctrl-C and SIGTERM.
#![cfg(unix)]

use std::process::Command;

use std::sync::Arc;

use gatepass::test_server::TestServer;
use gatepass::{AllowHttpOnLoopback, Client, EncryptedFileStorage, FileKey, SessionState};

use crate::support::{Running, World, at, names};

#[tokio::test]
async fn a_signal_ends_in_a_typed_error() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    for signal in ["-INT", "-TERM"] {
        let mut program = Running::start(world.gatepass(&at(&server, &[])));
        program.next();
        program.signal(signal);
        let events = program.rest();
        assert_eq!(names(&events), ["error"]);
        assert_eq!(
            (&events[0]["kind"], &events[0]["stage"]),
            (&"cancelled".into(), &"user_agent".into())
        );
        assert_eq!(program.exit_code(), Some(3));
    }
}

/// A server that takes a connection and then says nothing.
#[test]
fn a_signal_while_a_server_is_silent() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", silent.local_addr().unwrap());
    let world = World::new();
    for times in [1, 2] {
        let mut program = Running::start(world.gatepass(&[
            "sign-in",
            "--json",
            "--allow-http-on-loopback",
            "--issuer",
            &issuer,
            "--client-id",
            "x",
        ]));
        let connection = silent.accept().unwrap();
        for _ in 0..times {
            program.signal("-INT");
        }
        let events = program.rest();
        assert_eq!(names(&events), ["error"], "{times}");
        assert_eq!(events[0]["kind"], "cancelled");
        assert_eq!(program.exit_code(), Some(3));
        // Until here the request was still waiting for its answer.
        drop(connection);
    }
}

/// The earliest that a test can be sure of: the program waits for its configuration file, which never says anything.
#[test]
fn a_signal_before_anything_has_begun() {
    let world = World::new();
    let pipe = world.path("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for signal in ["-INT", "-TERM"] {
        let config = pipe.to_str().unwrap();
        let mut program = Running::start(world.gatepass(&["status", "--json", "--config", config]));
        // Opens once the program has.
        let silent = std::fs::File::options().write(true).open(&pipe).unwrap();
        program.signal(signal);
        let events = program.rest();
        assert_eq!(names(&events), ["error"]);
        assert_eq!(
            (&events[0]["kind"], &events[0]["code"]),
            (&"cancelled".into(), &"interrupted".into())
        );
        assert_eq!(program.exit_code(), Some(3));
        drop(silent);
    }
}

/// A port that the system gives to nobody while it is free: it hands out those above.
fn port_of_its_own() -> u16 {
    let first = 10_000 + u16::try_from(std::process::id() % 20_000).unwrap();
    let is_free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (first..).find(is_free).unwrap()
}

#[tokio::test]
async fn na_11_bi_99_a_program_is_killed_while_the_browser_is_open_and_the_next_one_finishes_the_sign_in() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    let redirect = format!("http://127.0.0.1:{}/callback", port_of_its_own());
    let mut program = Running::start(world.gatepass(&at(&server, &["--redirect", &redirect])));
    let url = program.next()["url"].as_str().unwrap().to_owned();
    program.signal("-KILL");
    assert_eq!(program.exit_code(), None);
    // The user goes on in the browser, which stops before the address that nobody listens on.
    let browser = server.browser();
    let sent_to = browser.sign_in(&url, &server.users()[0]).await.unwrap();
    browser.deliver(&sent_to).await.unwrap_err();

    // A command that only looks opens no port, and leaves the sign-in as it is.
    assert_eq!(world.run(&["status"]).status.code(), Some(10));
    browser.deliver(&sent_to).await.unwrap_err();

    // A program that stays, over the same store.
    let storage = EncryptedFileStorage::open(world.path("store"), FileKey::BesideTheRecords).unwrap();
    let client = Client::builder(server.issuer(), server.client_id())
        .several_accounts()
        .allow_http_on_loopback(AllowHttpOnLoopback)
        .storage(Arc::new(storage))
        .build()
        .unwrap();
    assert!(client.session().await.unwrap().is_none());
    // The user loads the page again.
    assert_eq!(browser.deliver(&sent_to).await.unwrap(), 200);
    client
        .state()
        .wait_for(|state| *state == SessionState::SignedIn)
        .await;
    client.drain().await;

    let status = world.one(&["status"]);
    assert_eq!(status["subject"], server.users()[0].subject());
    let exchanges = server.requests();
    let exchanges = exchanges.iter().filter(|request| request.path() == "/token");
    assert_eq!(exchanges.count(), 1);
    world.token(&["--refresh"]);
}

#[tokio::test]
async fn bi_99_the_redirect_of_a_program_that_was_killed_can_be_pasted_into_the_next() {
    let server = TestServer::start().unwrap();
    let world = World::new();
    let mut killed = Running::start(world.gatepass(&at(&server, &[])));
    let url = killed.next()["url"].as_str().unwrap().to_owned();
    killed.signal("-KILL");
    assert_eq!(killed.exit_code(), None);
    let sent_to = server.browser().sign_in(&url, &server.users()[0]).await.unwrap();
    let mut next = Running::start(world.gatepass(&at(&server, &[])));
    assert_eq!(next.next()["event"], "authorization_url");
    next.paste(&sent_to);
    assert_eq!(names(&next.rest()), ["redirect_received", "signed_in"]);
    assert_eq!(next.exit_code(), Some(0));
    assert_eq!(world.one(&["status"])["subject"], server.users()[0].subject());
}
