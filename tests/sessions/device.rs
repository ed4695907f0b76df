//! Records that came to another device in a backup.

use std::sync::Arc;

use gatepass::{
    EndReason, ErrorKind, Generation, MemoryStorage, SecureStorage as _, SessionState, StoredSession,
};

use crate::support::reached::Reached;
use crate::support::{TestBed, token_requests};

/// All records of the test bed, as a backup would bring them elsewhere.
fn copy(bed: &TestBed) -> Arc<MemoryStorage> {
    let copy = Arc::new(MemoryStorage::default());
    for key in bed.storage.list("").unwrap() {
        let stored = bed.storage.load(&key).unwrap().unwrap();
        copy.commit(&key, Generation::ABSENT, &stored.bytes).unwrap();
    }
    copy
}

#[tokio::test]
async fn rr_31_a_session_that_was_restored_on_another_device_ends_there_and_lives_on_here() {
    let bed = TestBed::new();
    let phone = bed.client_with(|builder| builder.storage(Reached::on("phone", &bed.storage)));
    let session = bed.sign_in(&phone).await.unwrap();
    let records = copy(&bed);
    assert!(
        !bed.everything_stored().contains("phone"),
        "kept as a digest only"
    );

    let tablet = Reached::on("tablet", &records);
    let client = bed.client_with(|builder| builder.storage(tablet.clone()));
    let known = StoredSession::all(&*tablet).unwrap();
    assert_eq!(known[0].state, SessionState::Ended(EndReason::DeviceChanged));
    assert!(client.session().await.unwrap().is_none());
    assert_eq!(
        client.state().get(),
        SessionState::Ended(EndReason::DeviceChanged)
    );
    client.drain().await;
    let kept = records.list("session.").unwrap().remove(0);
    let kept = records.load(&kept).unwrap().unwrap();
    let kept = String::from_utf8_lossy(&kept.bytes).into_owned();
    assert!(!kept.contains("refresh_token"), "{kept}");
    assert_eq!(
        token_requests(&bed.server).len(),
        1,
        "nothing was sent from there"
    );
    assert!(
        bed.server
            .requests()
            .iter()
            .all(|request| request.path() != "/revoke"),
        "nor given back"
    );

    // Where the user signed in, nothing has changed, and a restart there changes nothing.
    session.refresh().await.unwrap();
    let restarted = bed.client_with(|builder| builder.storage(Reached::on("phone", &bed.storage)));
    restarted
        .session()
        .await
        .unwrap()
        .unwrap()
        .refresh()
        .await
        .unwrap();
    // And the other device can have a session of its own.
    bed.sign_in(&client).await.unwrap().refresh().await.unwrap();
    session.refresh().await.unwrap();
}

#[tokio::test]
async fn rr_31_a_handle_from_before_learns_it_at_its_next_need() {
    let bed = TestBed::new();
    let phone = Reached::on("phone", &bed.storage);
    let client = bed.client_with(|builder| builder.storage(phone));
    bed.sign_in(&client).await.unwrap();
    // Storage that cannot name its device has no say.
    let unnamed = bed.client();
    let session = unnamed.session().await.unwrap().unwrap();
    session.refresh().await.unwrap();
    let tablet = Reached::on("tablet", &bed.storage);
    assert!(
        bed.client_with(|builder| builder.storage(tablet))
            .session()
            .await
            .unwrap()
            .is_none()
    );
    let error = session.refresh().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SessionEnded(EndReason::DeviceChanged));
}
