//! `sign-out`, as far as it is asked to reach.

use gatepass::test_server::TestServer;

use crate::support::{World, events, fields, names};

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
            ["client_id", "event", "id", "issuer", "revocation", "subject"]
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
    assert_eq!(events[0]["revocation"], "failed");
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
