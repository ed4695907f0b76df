//! How long a process goes by what it knows, when another one has refreshed the session or signed out of it. Two clients
//! over one storage that know nothing of each other, as two processes do, and a clock that the test moves.

use std::sync::Arc;

use gatepass::{
    Client, ClientBuilder, CommitOutcome, EndReason, ErrorKind, Generation, RecordKey, SecureStorage,
    Session, SessionState, SignOut, StorageFailure, Stored,
};
use serde_json::json;

use crate::world::{Answer, Disk, World, granted, json_answer};

/// The disk as one process reaches it. It has no name that another process would know it by.
#[derive(Debug)]
struct Reached(Arc<Disk>);

impl SecureStorage for Reached {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        self.0.load(key)
    }

    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> Result<CommitOutcome, StorageFailure> {
        self.0.commit(key, expected, bytes)
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome, StorageFailure> {
        self.0.remove(key, expected)
    }

    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure> {
        self.0.list(prefix)
    }
}

/// The app and its extension, each with the session that it found in storage.
struct Both {
    world: World,
    app: Client,
    in_app: Session,
    in_extension: Session,
}

impl Both {
    async fn new() -> Self {
        Self::in_world(World::signed_in()).await
    }

    async fn in_world(world: World) -> Self {
        let process = |builder: ClientBuilder| builder.storage(Arc::new(Reached(world.disk.clone())));
        let app = world.client_with(process);
        let extension = world.client_with(process);
        let in_app = app.session().await.unwrap().unwrap();
        let in_extension = extension.session().await.unwrap().unwrap();
        Self {
            world,
            app,
            in_app,
            in_extension,
        }
    }

    async fn refresh_in_extension(&self) {
        self.world.net.answer([granted("R2", "A2")]);
        self.in_extension.refresh().await.unwrap();
    }

    fn peeked(&self) -> Option<String> {
        self.in_app.peek().map(|token| token.expose().to_owned())
    }
}

/// A token that lives for an hour is handed out until five seconds before its end.
const LAST_MILLIS: u64 = 3_600_000 - 5_000;
/// It is refreshed, or what another process refreshed is taken, from a tenth of its life before that end; a little earlier
/// from token to token.
const AHEAD_MILLIS: u64 = 3_600_000 - 360_000;

#[tokio::test]
async fn peek_is_no_staler_after_a_refresh_elsewhere_than_its_token_lives() {
    let both = Both::new().await;
    both.refresh_in_extension().await;
    assert_eq!(both.peeked().as_deref(), Some("A1"), "it has not looked");
    both.world.clock.advance(LAST_MILLIS - 1);
    assert_eq!(both.peeked().as_deref(), Some("A1"), "as long as it lives");
    both.world.clock.advance(1);
    assert_eq!(both.peeked(), None, "and no longer");
    // The other's token came later, and lives on: it is taken, and nothing is sent.
    assert_eq!(both.world.net.refreshes(), ["R1"]);
}

#[tokio::test]
async fn whoever_asks_for_a_token_sees_a_refresh_elsewhere_before_the_end() {
    let both = Both::new().await;
    both.world.clock.advance(60_000);
    both.refresh_in_extension().await;
    both.world.clock.advance(AHEAD_MILLIS - 60_000);
    let token = both.in_app.access_token().await.unwrap();
    assert_eq!(token.expose(), "A2");
    assert_eq!(both.peeked().as_deref(), Some("A2"));
    assert_eq!(both.world.net.refreshes(), ["R1"], "taken from storage");
}

#[tokio::test]
async fn peek_is_no_staler_after_a_sign_out_elsewhere_than_its_token_lives() {
    let both = Both::new().await;
    both.in_extension.sign_out(SignOut::Local).await.unwrap();
    assert_eq!(both.peeked().as_deref(), Some("A1"), "it has not looked");
    both.world.clock.advance(LAST_MILLIS - 1);
    assert_eq!(both.peeked().as_deref(), Some("A1"), "as long as it lives");
    both.world.clock.advance(1);
    assert_eq!(both.peeked(), None, "and no longer");
    let error = both.in_app.access_token().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SignedOut));
    assert_eq!(both.app.state().get(), SessionState::SignedOut);
    assert!(both.world.net.refreshes().is_empty());
}

#[tokio::test]
async fn whoever_asks_for_a_token_sees_a_sign_out_elsewhere_before_the_end() {
    let both = Both::new().await;
    both.in_extension.sign_out(SignOut::Local).await.unwrap();
    both.world.clock.advance(AHEAD_MILLIS);
    // A token that could still be used is not handed out: the session is over.
    let error = both.in_app.access_token().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SignedOut));
    assert_eq!(both.peeked(), None);
    assert_eq!(both.app.state().get(), SessionState::SignedOut);
}

#[tokio::test]
async fn a_look_at_storage_ends_what_is_stale_at_once() {
    for look in ["session", "sessions", "catch_up", "refresh", "sign_out"] {
        let both = Both::new().await;
        both.in_extension.sign_out(SignOut::Local).await.unwrap();
        assert_eq!(both.peeked().as_deref(), Some("A1"));
        match look {
            "session" => assert!(both.app.session().await.unwrap().is_none()),
            "sessions" => assert!(both.app.sessions().await.unwrap().is_empty()),
            "catch_up" => both.app.catch_up().await.unwrap(),
            "refresh" => drop(both.in_app.refresh().await.unwrap_err()),
            _ => drop(both.in_app.sign_out(SignOut::Local).await.unwrap()),
        }
        assert_eq!(both.peeked(), None, "{look}");
        assert_eq!(both.app.state().get(), SessionState::SignedOut, "{look}");
    }
    for look in ["session", "catch_up"] {
        let both = Both::new().await;
        both.refresh_in_extension().await;
        match look {
            "session" => assert!(both.app.session().await.unwrap().is_some()),
            _ => both.app.catch_up().await.unwrap(),
        }
        assert_eq!(both.peeked().as_deref(), Some("A2"), "{look}");
    }
}

/// A token of which the server did not say how long it lives is bounded by the API that refuses it.
#[tokio::test]
async fn rr_26_a_token_without_a_lifetime_is_stale_until_an_api_refuses_it_or_storage_is_looked_at() {
    let forever = || {
        let world = World::signed_in();
        let mut record = world.disk.session();
        record.as_object_mut().unwrap().remove("expiry");
        world.disk.write(&record);
        world
    };
    let both = Both::in_world(forever()).await;
    both.in_extension.sign_out(SignOut::Local).await.unwrap();
    both.world.clock.advance(365 * 24 * 3_600_000);
    assert_eq!(both.peeked().as_deref(), Some("A1"));
    both.app.catch_up().await.unwrap();
    assert_eq!(both.peeked(), None);

    let both = Both::in_world(forever()).await;
    both.in_extension.sign_out(SignOut::Local).await.unwrap();
    both.world
        .net
        .answer([Answer::Http(401, "text/plain", String::new())]);
    let refused = both
        .in_app
        .http()
        .get("https://api.example.com/orders")
        .send()
        .await;
    assert_eq!(
        refused.unwrap_err().kind(),
        ErrorKind::SessionEnded(EndReason::SignedOut)
    );
    assert_eq!(both.peeked(), None);

    let both = Both::in_world(forever()).await;
    both.refresh_in_extension().await;
    both.world.net.answer([
        Answer::Http(401, "text/plain", String::new()),
        json_answer(200, json!({ "orders": [] })),
    ]);
    let answered = both
        .in_app
        .http()
        .get("https://api.example.com/orders")
        .send()
        .await
        .unwrap();
    assert_eq!(answered.status().as_u16(), 200);
    assert_eq!(both.peeked().as_deref(), Some("A2"));
    assert_eq!(both.world.net.refreshes(), ["R1"], "taken from storage");
}
