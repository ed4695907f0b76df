//! `forget`: only what is certainly meant, and only if it is said twice.

use gatepass::test_server::TestServer;

use crate::support::{World, events, fields};

#[tokio::test]
async fn everything_of_one_client_and_nothing_of_another() {
    let (one, two) = (TestServer::start().unwrap(), TestServer::start().unwrap());
    let world = World::new();
    world.sign_in(&one, 0, &[]).await;
    world.sign_in(&one, 1, &["--add-account"]).await;
    world.sign_in(&two, 0, &[]).await;
    // Nobody can be asked here.
    let error = world.error(
        2,
        &["forget", "--issuer", one.issuer(), "--client-id", one.client_id()],
    );
    assert_eq!(error["code"], "not_confirmed");
    let error = world.error(2, &["forget", "--yes"]);
    assert_eq!(error["code"], "client_ambiguous");
    assert_eq!(events(&world.expect(0, &["sessions", "--json"])).len(), 3);
    let before = one.requests().len();
    let forgotten = world.one(&["forget", "--yes", "--issuer", one.issuer()]);
    assert_eq!(fields(&forgotten), ["client_id", "event", "issuer", "sessions"]);
    assert_eq!(
        (&forgotten["event"], &forgotten["sessions"]),
        (&"forgotten".into(), &2.into())
    );
    assert_eq!(one.requests().len(), before, "no server is told");
    let left = events(&world.expect(0, &["sessions", "--json"]));
    assert_eq!(left.len(), 1);
    assert_eq!(left[0]["issuer"], two.issuer());
    // The only one left is certain.
    world.one(&["forget", "--yes"]);
    let error = world.error(2, &["forget", "--yes"]);
    assert_eq!(error["code"], "client_unknown");
}
