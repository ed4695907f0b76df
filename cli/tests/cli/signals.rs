//! Ctrl-C and SIGTERM.
#![cfg(unix)]

use std::process::Command;

use gatepass::test_server::TestServer;

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
