//! What lies on disks already, as bytes that this or an earlier version wrote (`tests/golden`): each opens with a client and
//! comes to the state it stands for. Cut anywhere, with any bit turned, or of a version to come it is a typed answer: never
//! a panic, and never "signed out".

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use gatepass::{
    Client, EndReason, ErrorKind, Generation, MemoryStorage, RecordKey, SecureStorage, Session, SessionState,
    SignInOptions, StoredSession, Target,
};
use serde_json::Value;

use crate::refresh::{SAMPLE_ACCESS_TOKEN, SAMPLE_ID_TOKEN};
use crate::world::{REDIRECT, World, granted, html, oauth_error, sign_in};

fn folder(case: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/v1")
        .join(case)
}

/// The records of one folder, by their names.
fn records(case: &str) -> Vec<(RecordKey, Vec<u8>)> {
    let files = fs::read_dir(folder(case)).unwrap();
    let mut records: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (RecordKey::new(&name).unwrap(), fs::read(path).unwrap())
        })
        .collect();
    records.sort();
    records
}

/// An app that has these records.
struct App {
    world: World,
    storage: Arc<MemoryStorage>,
}

impl App {
    fn of(case: &str) -> Self {
        Self::with(&records(case))
    }

    fn with(records: &[(RecordKey, Vec<u8>)]) -> Self {
        let storage = MemoryStorage::default();
        for (key, bytes) in records {
            storage.commit(key, Generation::ABSENT, bytes).unwrap();
        }
        Self {
            world: World::new(),
            storage: Arc::new(storage),
        }
    }

    fn client(&self) -> Client {
        self.world
            .client_with(|builder| builder.storage(self.storage.clone()))
    }

    async fn session(&self) -> (Client, Session) {
        let client = self.client();
        let session = client.session().await.unwrap().unwrap();
        assert_eq!(client.state().get(), SessionState::SignedIn);
        (client, session)
    }

    fn stored(&self, prefix: &str) -> Vec<Vec<u8>> {
        let keys = self.storage.list(prefix).unwrap();
        let load = |key| self.storage.load(key).unwrap().unwrap().bytes.to_vec();
        keys.iter().map(load).collect()
    }
}

fn peeked(session: &Session) -> Option<String> {
    session.peek().map(|token| token.expose().to_owned())
}

#[tokio::test]
async fn version_1_of_a_session() {
    let app = App::of("signed-in");
    let (_, session) = app.session().await;
    assert_eq!(peeked(&session).as_deref(), Some("A1"));
    assert_eq!(session.claims().unwrap().subject(), "248289761001");
    assert_eq!(
        session.claims().unwrap().get("email").unwrap(),
        "jane@example.com"
    );
    assert_eq!(session.scope(), ["openid", "profile", "offline_access"]);
    assert_eq!(session.expires_in().unwrap().as_secs(), 3_600);
    let since = session.signed_in_at().duration_since(std::time::UNIX_EPOCH);
    assert_eq!(since.unwrap().as_secs(), 1_311_281_000);
    app.world.net.answer([granted("R2", "A2")]);
    session.refresh().await.unwrap();
    assert_eq!(app.world.net.refreshes(), ["R1"]);
    assert_eq!(peeked(&session).as_deref(), Some("A2"));

    let listed = StoredSession::all(&*App::of("signed-in").storage).unwrap();
    assert_eq!(listed[0].issuer, "https://server.example.com");
    assert_eq!(listed[0].client_id, "s6BhdRkqt3");
    assert_eq!(listed[0].display_name.as_deref(), Some("jane@example.com"));
    assert!(listed[0].can_refresh);

    // The least that a session can be.
    let app = App::of("sparse");
    let (_, session) = app.session().await;
    assert_eq!(peeked(&session).as_deref(), Some("A1"));
    app.world.net.answer([granted("R2", "A2")]);
    session.refresh().await.unwrap();
    assert_eq!(app.world.net.refreshes(), ["R1"]);
}

#[tokio::test]
async fn version_1_of_a_session_with_tokens_for_several_apis() {
    let app = App::of("several-apis");
    let (_, session) = app.session().await;
    let calendar = Target::resource("https://calendar.example.com/").unwrap();
    assert_eq!(session.peek_for(&calendar).unwrap().expose(), "B1");
    assert_eq!(peeked(&session).as_deref(), Some("A1"));
    app.world.net.answer([granted("R3", "A3")]);
    session.refresh().await.unwrap();
    assert_eq!(app.world.net.refreshes(), ["R2"]);
    assert_eq!(session.peek_for(&calendar).unwrap().expose(), "B1");
}

#[tokio::test]
async fn version_1_of_a_session_whose_refresh_was_open() {
    for case in ["refresh-open", "refresh-uncertain"] {
        let app = App::of(case);
        let (client, session) = app.session().await;
        assert_eq!(peeked(&session).as_deref(), Some("A1"), "{case}");
        assert!(app.world.net.refreshes().is_empty(), "{case}: not at load");
        app.world.net.answer([granted("R2", "A2")]);
        client.catch_up().await.unwrap();
        assert_eq!(app.world.net.refreshes(), ["R1"], "{case}");
        assert_eq!(peeked(&session).as_deref(), Some("A2"), "{case}");

        // Where the server refuses, it is known why.
        let app = App::of(case);
        let (client, session) = app.session().await;
        app.world.net.answer([oauth_error(400, "invalid_grant")]);
        session.refresh().await.unwrap_err();
        let over = SessionState::Ended(EndReason::RotationLost);
        assert_eq!(client.state().get(), over, "{case}");
    }
}

#[tokio::test]
async fn version_1_of_a_session_whose_tokens_wait_for_keys() {
    let app = App::of("refresh-unverified");
    let (_, session) = app.session().await;
    assert_eq!(peeked(&session), None, "withheld");
    let token = session.access_token().await.unwrap();
    assert_eq!(token.expose(), SAMPLE_ACCESS_TOKEN, "verified by now");
    assert!(app.world.net.refreshes().is_empty());
}

#[tokio::test]
async fn version_1_of_a_session_that_ended() {
    for (name, reason) in [
        ("expired_or_revoked", EndReason::ExpiredOrRevoked),
        ("rotation_lost", EndReason::RotationLost),
        ("key_lost", EndReason::KeyLost),
        ("storage_lost", EndReason::StorageLost),
        ("device_changed", EndReason::DeviceChanged),
        ("subject_changed", EndReason::SubjectChanged),
    ] {
        let app = App::of(&format!("ended-{name}"));
        let client = app.client();
        assert!(client.session().await.unwrap().is_none(), "{name}");
        assert_eq!(client.state().get(), SessionState::Ended(reason));
        let listed = StoredSession::all(&*app.storage).unwrap();
        assert_eq!(listed[0].state, SessionState::Ended(reason));
        assert_eq!(listed[0].display_name.as_deref(), Some("jane@example.com"));
        // The next sign-in takes its place.
        app.world.net.answer([granted("R9", "A9")]);
        let session = sign_in(&client).await.unwrap();
        assert_eq!(peeked(&session).as_deref(), Some("A9"), "{name}");
    }
    for case in ["signed-out", "erased"] {
        let app = App::of(case);
        let client = app.client();
        assert!(client.session().await.unwrap().is_none(), "{case}");
        assert_eq!(client.state().get(), SessionState::SignedOut, "{case}");
    }
}

/// The redirect of a stored sign-in, as the browser brings it.
fn redirect_of(case: &str) -> String {
    let (_, bytes) = &records(case)[0];
    let record: Value = serde_json::from_slice(bytes).unwrap();
    let state = record["state"].as_str().unwrap();
    format!("{REDIRECT}?code=C1&state={state}")
}

#[tokio::test]
async fn version_1_of_a_sign_in() {
    let app = App::of("sign-in-waiting");
    app.world.net.answer([granted("R1", "A1")]);
    let session = app
        .client()
        .resume_sign_in(&redirect_of("sign-in-waiting"))
        .await
        .unwrap();
    assert_eq!(peeked(&session).as_deref(), Some("A1"));
    let exchange = &app.world.net.sent_to("/token")[0];
    assert!(
        exchange.contains("code=C1")
            && exchange.contains("code_verifier=NwyQVeDuB-6BtZgrYyUjfMQhotC441g7N_0Gw371n4Q")
    );
    assert!(app.stored("flow.").is_empty(), "it is done");

    // Its code was on its way when the process died: it is sent no second time.
    let app = App::of("sign-in-claimed");
    let client = app.client();
    let error = client
        .resume_sign_in(&redirect_of("sign-in-claimed"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyHandled);
    assert!(app.world.net.sent_to("/token").is_empty());

    // Its tokens waited for keys, which are there now.
    let app = App::of("sign-in-unverified");
    let (_, session) = app.session().await;
    assert_eq!(peeked(&session).as_deref(), Some(SAMPLE_ACCESS_TOKEN));
    assert_eq!(session.claims().unwrap().subject(), "248289761001");
    assert!(app.world.net.sent_to("/token").is_empty());

    // Everything was forgotten in the midst of it.
    let app = App::of("sign-in-forgotten");
    let client = app.client();
    assert!(client.session().await.unwrap().is_none());
    assert_eq!(client.state().get(), SessionState::SignedOut);
}

#[tokio::test]
async fn version_1_of_what_is_known_of_the_server() {
    let app = App::of("server");
    let client = app.client();
    let pending = client.begin_sign_in(SignInOptions::default()).await.unwrap();
    assert!(
        pending
            .authorization_url()
            .starts_with("https://server.example.com/authorize?")
    );
    client.authorization_server().await.unwrap();
    assert!(
        app.world
            .net
            .sent_to("/.well-known/openid-configuration")
            .is_empty()
    );
    pending.cancel();
    client.drain().await;
    assert!(app.world.net.sent_to("/jwks").is_empty());
}

#[tokio::test]
async fn version_1_of_a_grant_to_be_given_back() {
    let app = App::of("revocation");
    let client = app.client();
    client.catch_up().await.unwrap();
    client.drain().await;
    assert!(app.world.net.sent_to("/revoke")[0].contains("token=R1"));
    assert!(app.stored("revoke.").is_empty());
    assert_eq!(client.state().get(), SessionState::SignedOut);
}

/// The same records as a later version within version 1 writes them, and as a version to come does.
fn changed(case: &str, change: impl Fn(&mut Value)) -> Vec<(RecordKey, Vec<u8>)> {
    let records = records(case).into_iter();
    let records = records.map(|(key, bytes)| {
        let mut record = serde_json::from_slice(&bytes).unwrap();
        change(&mut record);
        (key, record.to_string().into_bytes())
    });
    records.collect()
}

fn from_the_future(value: &mut Value) {
    let Value::Object(members) = value else { return };
    members.values_mut().for_each(from_the_future);
    members.insert("from_the_future".into(), serde_json::json!({ "a": [1, null] }));
}

#[tokio::test]
async fn bi_95_members_that_are_not_known_are_passed_over() {
    for case in ["signed-in", "several-apis", "refresh-open", "refresh-uncertain"] {
        let app = App::with(&changed(case, from_the_future));
        let (_, session) = app.session().await;
        assert_eq!(peeked(&session).as_deref(), Some("A1"), "{case}");
    }
    let app = App::with(&changed("ended-key_lost", from_the_future));
    let client = app.client();
    client.session().await.unwrap();
    assert_eq!(client.state().get(), SessionState::Ended(EndReason::KeyLost));
    let app = App::with(&changed("sign-in-waiting", from_the_future));
    app.world.net.answer([granted("R1", "A1")]);
    let resumed = app.client().resume_sign_in(&redirect_of("sign-in-waiting")).await;
    resumed.unwrap();
    let app = App::with(&changed("revocation", from_the_future));
    let client = app.client();
    client.catch_up().await.unwrap();
    client.drain().await;
    assert_eq!(app.world.net.sent_to("/revoke").len(), 1);
}

#[tokio::test]
async fn bi_95_what_a_version_to_come_wrote_is_told_and_stays_as_it_is() {
    let newer = |record: &mut Value| record["v"] = 2.into();
    for case in [
        "signed-in",
        "refresh-open",
        "refresh-unverified",
        "ended-rotation_lost",
        "signed-out",
    ] {
        let app = App::with(&changed(case, newer));
        let before = app.stored("session.");
        let client = app.client();
        let told = |error: gatepass::Error| {
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Configuration, "record_newer"),
                "{case}"
            );
        };
        told(client.session().await.unwrap_err());
        told(client.sessions().await.unwrap_err());
        told(client.catch_up().await.unwrap_err());
        told(StoredSession::all(&*app.storage).unwrap_err());
        app.world.net.answer([granted("R9", "A9")]);
        told(sign_in(&client).await.unwrap_err());
        client.drain().await;
        assert_eq!(client.state().get(), SessionState::Loading, "{case}");
        assert_eq!(app.stored("session."), before, "{case}");
    }
    for case in ["sign-in-waiting", "sign-in-claimed", "sign-in-unverified"] {
        let app = App::with(&changed(case, newer));
        let before = app.stored("flow.");
        let client = app.client();
        let error = client.resume_sign_in(&redirect_of(case)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Configuration, "record_newer"),
            "{case}"
        );
        assert!(client.session().await.unwrap().is_none());
        client.catch_up().await.unwrap();
        // Nor does a sign-in of now take it away.
        app.world.net.answer([granted("R9", "A9")]);
        sign_in(&client).await.unwrap();
        client.drain().await;
        assert_eq!(app.stored("flow."), before, "{case}");
    }
    let app = App::with(&changed("revocation", |record| {
        if record.get("tries").is_some() {
            record["v"] = 2.into();
        }
    }));
    let before = app.stored("revoke.");
    let client = app.client();
    client.catch_up().await.unwrap();
    client.drain().await;
    assert_eq!(app.stored("revoke."), before);
    // What is known of the server is a copy of what it says: it is asked for again.
    let app = App::with(&changed("server", newer));
    app.client().authorization_server().await.unwrap();
    assert_eq!(
        app.world.net.sent_to("/.well-known/openid-configuration").len(),
        1
    );
}

/// The record cut at every length, and with every bit turned.
fn damages(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    let turned = (0..bytes.len() * 8).map(|bit| {
        let mut turned = bytes.to_vec();
        turned[bit / 8] ^= 1 << (bit % 8);
        turned
    });
    cut.chain(turned)
}

#[tokio::test]
async fn bi_95_a_damaged_session_is_a_typed_state_and_never_signed_out() {
    for case in ["refresh-uncertain", "ended-rotation_lost"] {
        let (key, whole) = records(case).remove(0);
        for damaged in damages(&whole) {
            let what = || format!("{case}: {}", String::from_utf8_lossy(&damaged));
            let app = App::with(&[(key.clone(), damaged.clone())]);
            let client = app.client();
            let found = client.session().await;
            let state = client.state().get();
            match found {
                Ok(Some(_)) => assert_eq!(state, SessionState::SignedIn, "{}", what()),
                Ok(None) => assert!(
                    case == "ended-rotation_lost" && state == SessionState::Ended(EndReason::RotationLost),
                    "{state:?} {}",
                    what()
                ),
                Err(error) => match error.code() {
                    "record_unreadable" => {
                        assert_eq!(state, SessionState::Ended(EndReason::StorageLost), "{}", what());
                    }
                    code => {
                        assert_eq!(code, "record_newer", "{}", what());
                        assert_eq!(state, SessionState::Loading, "{}", what());
                    }
                },
            }
            assert_eq!(app.stored("session.").concat(), damaged, "a look changes nothing");
        }
    }
}

#[tokio::test]
async fn bi_95_damage_elsewhere_does_not_touch_the_session() {
    let session = records("signed-in").remove(0);
    for case in ["sign-in-unverified", "sign-in-forgotten", "server", "revocation"] {
        let (key, whole) = records(case).remove(0);
        // Long texts of one kind: a part of them stands for the rest.
        let step = whole.len().div_ceil(150);
        for damaged in damages(&whole).step_by(step) {
            let app = App::with(&[session.clone(), (key.clone(), damaged)]);
            // Whatever endpoint it names now.
            app.world.net.answer((0..12).map(|_| html(404)));
            let client = app.client();
            let found = client.session().await.unwrap().unwrap();
            let caught_up = client.catch_up().await;
            client.drain().await;
            if let Err(error) = caught_up {
                assert_eq!(error.code(), "sign_in_unverified", "{case}");
            }
            assert_eq!(client.state().get(), SessionState::SignedIn, "{case}");
            assert!(found.peek().is_some(), "{case}");
        }
    }
}

#[cfg(feature = "encrypted-file")]
mod files {
    use std::path::Path;

    use gatepass::{EncryptedFileStorage, FileKey, Secret, SignOut};
    use tempfile::TempDir;

    use super::*;

    fn key(name: &str) -> FileKey {
        match name {
            "bytes" => FileKey::Bytes([7; 32]),
            "passphrase" => FileKey::Passphrase(Secret::new("correct horse battery staple".to_owned())),
            _ => FileKey::BesideTheRecords,
        }
    }

    /// A directory as it was written. Version control keeps no permissions, and others must not read it.
    fn laid_out(name: &str) -> TempDir {
        let directory = TempDir::new().unwrap();
        private(directory.path(), 0o700);
        for file in fs::read_dir(folder(&format!("files-{name}"))).unwrap() {
            let from = file.unwrap().path();
            let to = directory.path().join(from.file_name().unwrap());
            fs::copy(&from, &to).unwrap();
            private(&to, 0o600);
        }
        directory
    }

    fn private(path: &Path, mode: u32) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        #[cfg(not(unix))]
        let _ = (path, mode);
    }

    fn record_in(directory: &TempDir) -> PathBuf {
        let files = fs::read_dir(directory.path()).unwrap();
        let mut paths = files.map(|file| file.unwrap().path());
        paths
            .find(|path| path.extension().is_some_and(|ending| ending == "record"))
            .unwrap()
    }

    #[tokio::test]
    async fn version_1_of_the_encrypted_files() {
        for name in ["bytes", "passphrase", "beside"] {
            let directory = laid_out(name);
            let storage = Arc::new(EncryptedFileStorage::open(directory.path(), key(name)).unwrap());
            let world = World::new();
            let client = world.client_with(|builder| builder.storage(storage.clone()));
            let session = client.session().await.unwrap().unwrap();
            assert_eq!(peeked(&session).as_deref(), Some("A1"), "{name}");
            // And it is written again.
            world.net.answer([granted("R2", "A2")]);
            session.refresh().await.unwrap();
            assert_eq!(world.net.refreshes(), ["R1"], "{name}");
            session.sign_out(SignOut::Local).await.unwrap();
            assert!(client.session().await.unwrap().is_none(), "{name}");
        }
    }

    #[tokio::test]
    async fn bi_95_a_damaged_file_is_lost_or_of_a_later_version_and_never_signed_out() {
        let directory = laid_out("bytes");
        let storage = Arc::new(EncryptedFileStorage::open(directory.path(), key("bytes")).unwrap());
        let world = World::new();
        let path = record_in(&directory);
        let whole = fs::read(&path).unwrap();
        // All of the headers; of what is encrypted every seventh, which moves through the bits of a byte.
        let headers = 9 * 128;
        let damages = damages(&whole).enumerate();
        let cut = whole.len();
        let damages = damages.filter(|(at, _)| *at < cut + headers || at % 7 == 0);
        for (at, damaged) in damages {
            fs::write(&path, &damaged).unwrap();
            let client = world.client_with(|builder| builder.storage(storage.clone()));
            let error = client.session().await.unwrap_err();
            let state = client.state().get();
            match error.kind() {
                ErrorKind::StorageLost => {
                    assert_eq!(state, SessionState::Ended(EndReason::StorageLost), "{at}")
                }
                kind => {
                    assert_eq!(kind, ErrorKind::StorageLocked, "{at}: {error:?}");
                    assert_eq!(state, SessionState::StorageLocked, "{at}");
                }
            }
            assert_eq!(fs::read(&path).unwrap(), damaged, "{at}: a look changes nothing");
        }
        fs::write(&path, &whole).unwrap();
        let client = world.client_with(|builder| builder.storage(storage.clone()));
        assert_eq!(
            peeked(&client.session().await.unwrap().unwrap()).as_deref(),
            Some("A1")
        );
    }
}

#[test]
fn the_sample_is_the_one_of_the_standard() {
    let (_, bytes) = &records("refresh-unverified")[0];
    let record: Value = serde_json::from_slice(bytes).unwrap();
    assert_eq!(record["id_token"], SAMPLE_ID_TOKEN);
}
