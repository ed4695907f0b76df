//! Several accounts, several issuers, and what a storage tells of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gatepass::test_server::{Endpoint, Mistake, TestServer, TestUser};
use gatepass::{
    Client, CommitOutcome, EndReason, ErrorKind, Generation, MemoryStorage, RecordKey, SecureStorage,
    Session, SessionState, SignInOptions, SignOut, StorageFailure, Stored, StoredSession,
};

use crate::support::reached::Reached;
use crate::support::{TestBed, paths, until};

fn bed() -> TestBed {
    TestBed::new()
}

fn several(bed: &TestBed) -> Client {
    bed.client_with(|builder| builder.several_accounts())
}

async fn sign_in_as(bed: &TestBed, client: &Client, user: &TestUser) -> Session {
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = bed
        .server
        .browser()
        .sign_in(pending.authorization_url(), user)
        .await
        .unwrap();
    bed.server.browser().deliver(&redirect).await.unwrap();
    pending.wait().await.unwrap()
}

fn subjects(sessions: &[Session]) -> Vec<String> {
    let subject = |session: &Session| session.claims().unwrap().subject().to_owned();
    sessions.iter().map(subject).collect()
}

#[tokio::test]
async fn two_users_are_signed_in_side_by_side_and_found_at_the_next_start() {
    let bed = bed();
    let (alice, bob) = (bed.server.users()[0].clone(), bed.server.users()[1].clone());
    let client = several(&bed);
    let first = sign_in_as(&bed, &client, &alice).await;
    bed.clock.advance(std::time::Duration::from_secs(60));
    let second = sign_in_as(&bed, &client, &bob).await;
    assert_ne!(first.id(), second.id());
    assert_ne!(
        first.access_token().await.unwrap().expose(),
        second.access_token().await.unwrap().expose()
    );

    let restarted = several(&bed);
    let found = restarted.sessions().await.unwrap();
    assert_eq!(
        subjects(&found),
        [bob.subject(), alice.subject()],
        "the latest first"
    );
    assert_eq!(found[1].id(), first.id(), "an id outlives the process");
    let current = restarted.session().await.unwrap().unwrap();
    assert_eq!(current.id(), second.id());
    for session in &found {
        session.refresh().await.unwrap();
        let userinfo = session.userinfo().await.unwrap();
        assert!(userinfo.to_json().contains(session.claims().unwrap().subject()));
    }
}

#[tokio::test]
async fn the_same_user_again_has_one_session() {
    let bed = bed();
    let alice = bed.server.users()[0].clone();
    let client = several(&bed);
    let first = sign_in_as(&bed, &client, &alice).await;
    let again = sign_in_as(&bed, &client, &alice).await;
    assert_eq!(first.id(), again.id());
    assert_eq!(client.sessions().await.unwrap().len(), 1);
    assert!(
        first.access_token().await.is_err(),
        "the handle of before is over"
    );
    again.access_token().await.unwrap();
}

#[tokio::test]
async fn signing_one_user_out_leaves_the_other() {
    let bed = bed();
    let client = several(&bed);
    let alice = sign_in_as(&bed, &client, &bed.server.users()[0].clone()).await;
    let bob = sign_in_as(&bed, &client, &bed.server.users()[1].clone()).await;
    let state = client.state();
    alice.sign_out(SignOut::Revoke).await.unwrap();
    assert_eq!(alice.state().get(), SessionState::SignedOut);
    assert_eq!(bob.state().get(), SessionState::SignedIn);
    assert_eq!(state.get(), SessionState::SignedIn, "somebody is signed in");
    bob.refresh().await.unwrap();
    bob.sign_out(SignOut::Revoke).await.unwrap();
    assert_eq!(state.get(), SessionState::SignedOut);
    assert!(client.sessions().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_app_that_comes_to_allow_several_keeps_the_session_it_had() {
    let bed = bed();
    let one = bed.sign_in(&bed.client()).await.unwrap();
    let client = several(&bed);
    assert_eq!(client.session().await.unwrap().unwrap().id(), one.id());
    let again = sign_in_as(&bed, &client, &bed.server.users()[0].clone()).await;
    assert_eq!(again.id(), one.id(), "the same user, the same session");
    sign_in_as(&bed, &client, &bed.server.users()[1].clone()).await;
    assert_eq!(client.sessions().await.unwrap().len(), 2);
}

#[tokio::test]
async fn oc_42_several_accounts_need_a_subject_to_tell_them_apart() {
    let bed = bed();
    let client = bed.client_with(|builder| builder.several_accounts().scopes(["profile"]));
    let error = client.begin_sign_in(SignInOptions::default()).await.unwrap_err();
    assert_eq!(error.code(), "several_accounts_without_openid");
}

#[tokio::test]
async fn a_storage_tells_of_the_sessions_of_all_issuers() {
    let bed = bed();
    let other = TestServer::start().unwrap();
    let here = bed.sign_in(&bed.client()).await.unwrap();
    let there = bed.client_of(&other);
    let pending = there.begin_sign_in(SignInOptions::default()).await.unwrap();
    let redirect = other
        .browser()
        .sign_in(pending.authorization_url(), &other.users()[1])
        .await
        .unwrap();
    other.browser().deliver(&redirect).await.unwrap();
    let elsewhere = pending.wait().await.unwrap();

    let storage = bed.storage.clone();
    let all = move || StoredSession::all(&*storage).unwrap();
    let mut issuers: Vec<String> = all().into_iter().map(|session| session.issuer).collect();
    issuers.sort();
    let mut expected = [bed.server.issuer().to_owned(), other.issuer().to_owned()];
    expected.sort();
    assert_eq!(issuers, expected);

    elsewhere.sign_out(SignOut::Local).await.unwrap();
    let states: Vec<_> = all()
        .into_iter()
        .map(|session| (session.id, session.state))
        .collect();
    assert!(states.contains(&(here.id().clone(), SessionState::SignedIn)));
    assert!(states.contains(&(elsewhere.id().clone(), SessionState::SignedOut)));
    let printed = format!("{:?}", all());
    assert!(!printed.contains(bed.server.users()[0].email()), "{printed}");
}

#[tokio::test]
async fn forgetting_everything_leaves_no_token_and_no_name() {
    let bed = bed();
    let client = several(&bed);
    let alice = sign_in_as(&bed, &client, &bed.server.users()[0].clone()).await;
    sign_in_as(&bed, &client, &bed.server.users()[1].clone()).await;
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    client.forget_everything().await.unwrap();

    assert_eq!(
        pending.wait().await.unwrap_err().kind(),
        gatepass::ErrorKind::Cancelled
    );
    assert!(alice.peek().is_none());
    assert_eq!(client.state().get(), SessionState::SignedOut);
    assert!(StoredSession::all(&*bed.storage).unwrap().is_empty());
    client.drain().await;
    let left = bed.everything_stored();
    for secret in [
        bed.server.issuer(),
        bed.server.users()[0].subject(),
        "token",
        "verifier",
    ] {
        assert!(!left.contains(secret), "{secret} is left in {left}");
    }
    // A refresh that was under way meets the end.
    assert!(alice.refresh().await.is_err());
    until(|| bed.everything_stored() == left).await;
    sign_in_as(&bed, &client, &bed.server.users()[0].clone()).await;
}

#[tokio::test]
async fn what_is_under_way_while_everything_is_forgotten_writes_nothing_afterwards() {
    let bed = bed();
    let client = bed.client();
    let session = bed.sign_in(&client).await.unwrap();
    bed.keys_are_stored().await;
    let gate = bed.server.fault(Endpoint::Token).next(1).hold_answer().unwrap();
    let refresh = tokio::spawn(async move { session.refresh().await });
    gate.arrived(1).await;
    client.forget_everything().await.unwrap();
    gate.release();
    // Its token is newer than the session, so it is revoked: for that the server has to be found again.
    assert!(refresh.await.unwrap().is_err());
    client.drain().await;
    assert!(paths(&bed.server).contains(&"/revoke".to_owned()));
    let left = bed.everything_stored();
    assert!(!left.contains(bed.server.issuer()), "{left}");

    // The next sign-in is a new beginning: what it needs is kept again, and nothing of it asked for twice.
    let asked = bed.server.requests().len();
    bed.sign_in(&client).await.unwrap();
    bed.keys_are_stored().await;
    let again = paths(&bed.server).split_off(asked);
    assert!(!again.iter().any(|path| path.contains("well-known")), "{again:?}");
    assert!(bed.everything_stored().contains("authorization_endpoint"));
}

#[tokio::test]
async fn na_22_two_servers_do_not_share_a_redirect_unless_both_name_themselves() {
    let (bed, other) = (bed(), TestServer::start().unwrap());
    let here = bed.client();
    here.begin_sign_in(SignInOptions::default()).await.unwrap();
    // Both send `iss`, so the callback tells them apart.
    let there = bed.client_of(&other);
    there.begin_sign_in(SignInOptions::default()).await.unwrap();

    let silent = TestServer::start().unwrap();
    silent.misbehave(Mistake::IssNotAdvertised);
    let client = bed.client_of(&silent);
    let error = client.begin_sign_in(SignInOptions::default()).await.unwrap_err();
    assert_eq!(error.code(), "redirect_shared");
    drop((here, there));
    // The clients of before are gone once their sign-ins have ended; an app with another storage never minded.
    bed_of(&silent)
        .begin_sign_in(SignInOptions::default())
        .await
        .unwrap();
}

fn bed_of(server: &TestServer) -> Client {
    bed().client_of(server)
}

/// Counts what is read of sessions.
#[derive(Debug, Default)]
struct Counting(MemoryStorage, AtomicUsize);

impl SecureStorage for Counting {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        let is_session = key.as_str().starts_with("session.");
        self.1.fetch_add(usize::from(is_session), Ordering::SeqCst);
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

#[tokio::test]
async fn a_sign_in_costs_no_more_the_more_accounts_there_are() {
    let mut reads = Vec::new();
    for others in [0, 50] {
        let bed = bed();
        let storage = Arc::new(Counting::default());
        let client = || bed.client_with(|builder| builder.several_accounts().storage(storage.clone()));
        let alice = bed.server.users()[0].clone();
        let session = sign_in_as(&bed, &client(), &alice).await;
        let key = storage.list("session.").unwrap().pop().unwrap();
        let stored = storage.load(&key).unwrap().unwrap().bytes;
        let record = String::from_utf8(stored.to_vec()).unwrap();
        for other in 0..others {
            let record = record.replace(alice.subject(), &format!("user-{other}"));
            let key = RecordKey::new(&format!("{}-{other}", key.as_str())).unwrap();
            storage
                .commit(&key, Generation::ABSENT, record.as_bytes())
                .unwrap();
        }
        let client = client();
        assert_eq!(client.sessions().await.unwrap().len(), others + 1);
        let before = storage.1.load(Ordering::SeqCst);
        let again = sign_in_as(&bed, &client, &alice).await;
        assert_eq!(again.id(), session.id(), "the same user, the same session");
        reads.push(storage.1.load(Ordering::SeqCst) - before);
    }
    assert_eq!(reads[0], reads[1], "reads with one account and with 51");
}

#[tokio::test]
async fn rr_23_a_handle_of_a_lost_session_does_nothing_to_that_of_the_next_user_in_another_process() {
    let bed = bed();
    let process = || bed.client_with(|builder| builder.storage(Reached::of(&bed.storage)));
    let old = bed.sign_in(&process()).await.unwrap();
    // That process has not seen it yet, and neither has the one in which somebody else signs in.
    let key = bed.storage.list("session.").unwrap().remove(0);
    let stored = bed.storage.load(&key).unwrap().unwrap();
    bed.storage.remove(&key, stored.generation).unwrap();
    bed.clock.advance(std::time::Duration::from_secs(1));
    let new = sign_in_as(&bed, &process(), &bed.server.users()[1]).await;
    let sent = bed.server.requests().len();

    let error = old.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::SignedOut));
    assert!(old.peek().is_none());
    old.sign_out(SignOut::Revoke).await.unwrap();
    assert_eq!(bed.server.requests().len(), sent);
    new.refresh().await.unwrap();
    assert_eq!(
        process()
            .session()
            .await
            .unwrap()
            .unwrap()
            .claims()
            .unwrap()
            .subject(),
        bed.server.users()[1].subject()
    );
}
