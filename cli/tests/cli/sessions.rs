//! `sessions`: all of all issuers.

use gatepass::test_server::TestServer;

use crate::support::{World, events, fields, names, stdout};

#[tokio::test]
async fn two_issuers_and_two_accounts() {
    let (one, two) = (TestServer::start().unwrap(), TestServer::start().unwrap());
    let world = World::new();
    assert!(stdout(&world.expect(0, &["sessions"])).contains("holds no session"));
    assert_eq!(stdout(&world.expect(0, &["sessions", "--json"])), "");
    world.sign_in(&one, 0, &[]).await;
    world.sign_in(&one, 1, &["--add-account"]).await;
    world.sign_in(&two, 0, &[]).await;
    let listed = events(&world.expect(0, &["sessions", "--json"]));
    assert_eq!(names(&listed), ["session"; 3]);
    assert_eq!(
        fields(&listed[0]),
        [
            "can_refresh",
            "client_id",
            "display_name",
            "event",
            "id",
            "issuer",
            "reason",
            "scope",
            "signed_in_at",
            "state",
            "subject"
        ]
    );
    let issuers: Vec<_> = listed
        .iter()
        .map(|session| session["issuer"].as_str().unwrap())
        .collect();
    assert_eq!(
        issuers,
        [two.issuer(), one.issuer(), one.issuer()],
        "the latest first"
    );
    let of_one = events(&world.expect(0, &["sessions", "--json", "--issuer", one.issuer()]));
    assert_eq!(of_one.len(), 2);
    let table = stdout(&world.expect(0, &["sessions"]));
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(table.lines().next().unwrap().contains("ACCOUNT"), "{table}");
    // One that ended, and one that was signed out.
    two.revoke_everything();
    world.error(9, &["token", "--refresh", "--issuer", two.issuer()]);
    world.one(&["sign-out", "--account", one.users()[1].subject()]);
    let states = |session: &serde_json::Value| (session["state"].clone(), session["reason"].clone());
    let listed = events(&world.expect(0, &["sessions", "--json"]));
    let states: Vec<_> = listed.iter().map(states).collect();
    assert!(
        states.contains(&("ended".into(), "expired_or_revoked".into())),
        "{states:?}"
    );
    assert!(
        states.contains(&("signed_out".into(), serde_json::Value::Null)),
        "{states:?}"
    );
    assert_eq!(states[0].0, "signed_in");
}
