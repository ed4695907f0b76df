//! A keychain that is slow, locked, empty, forgetful or full of something else. The real one: `tests/storage`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::adapters::encrypted_file::EncryptedFileStorage;
use crate::adapters::file_key::FileKey;
use crate::ports::conformance;

/// Far longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);
/// For what is meant to run out.
const IMPATIENCE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
enum Mood {
    #[default]
    Works,
    Hangs,
    IsLocked,
    Fails,
    Forgets,
    Panics,
}

/// A keychain in memory that every "process" of a test shares.
#[derive(Clone, Debug, Default)]
struct TestVault(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    secret: Mutex<Option<Vec<u8>>>,
    mood: Mutex<Mood>,
    changed: Condvar,
    asked: AtomicUsize,
    writes: AtomicUsize,
}

impl TestVault {
    fn is(&self, mood: Mood) {
        *lock(&self.0.mood) = mood;
        self.0.changed.notify_all();
    }

    fn mood(&self) -> Answer<Mood> {
        let mut mood = lock(&self.0.mood);
        while *mood == Mood::Hangs {
            mood = self.0.changed.wait(mood).unwrap();
        }
        match *mood {
            Mood::IsLocked => Err(StorageFailure::Locked),
            Mood::Fails => Err(StorageFailure::Failed("as told".to_owned())),
            Mood::Panics => panic!("as told"),
            mood => Ok(mood),
        }
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }
}

impl Vault for TestVault {
    fn read(&self) -> Answer<Option<Zeroizing<Vec<u8>>>> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        self.mood()?;
        Ok(lock(&self.0.secret).clone().map(Zeroizing::new))
    }

    fn write(&self, secret: &[u8]) -> Answer<()> {
        self.0.writes.fetch_add(1, Ordering::SeqCst);
        if self.mood()? != Mood::Forgets {
            *lock(&self.0.secret) = Some(secret.to_vec());
        }
        Ok(())
    }
}

/// As a process of its own would have it.
fn start(vault: &TestVault, directory: &TempDir, timeout: Duration) -> KeychainStorage {
    let directory = directory.path().join("records");
    let keychain = Arc::new(Keychain::new(Box::new(vault.clone()), directory.clone()));
    KeychainStorage(Sealed::new(
        FileStorage::new(directory),
        Keys { keychain, timeout },
    ))
}

fn name() -> RecordKey {
    RecordKey::new("session.x").unwrap()
}

fn put(storage: &KeychainStorage, value: &[u8]) -> Answer<CommitOutcome> {
    storage.commit(&name(), Generation::ABSENT, value)
}

fn value(storage: &KeychainStorage) -> Vec<u8> {
    storage.load(&name()).unwrap().unwrap().bytes.to_vec()
}

#[test]
fn it_keeps_the_contract() {
    let (vault, directory) = (TestVault::default(), tempfile::tempdir().unwrap());
    conformance::storage(|| Arc::new(start(&vault, &directory, PATIENCE)));
    assert_eq!(vault.0.writes.load(Ordering::SeqCst), 1, "one key");
}

#[test]
fn the_keychain_is_asked_once_in_a_process() {
    let (vault, directory) = (TestVault::default(), tempfile::tempdir().unwrap());
    put(&start(&vault, &directory, PATIENCE), b"1").unwrap();
    let (storage, before) = (start(&vault, &directory, PATIENCE), vault.asked());
    assert!(
        storage
            .load(&RecordKey::new("absent").unwrap())
            .unwrap()
            .is_none()
    );
    assert_eq!(vault.asked(), before, "that needs no key");
    for _ in 0..3 {
        assert_eq!(value(&storage), b"1");
    }
    let now = storage.load(&name()).unwrap().unwrap().generation;
    storage.commit(&name(), now, b"2").unwrap();
    assert_eq!(vault.asked(), before + 1);
}

#[test]
fn rr_29_a_keychain_that_cannot_answer_is_not_an_empty_one() {
    let (vault, directory) = (TestVault::default(), tempfile::tempdir().unwrap());
    put(&start(&vault, &directory, PATIENCE), b"1").unwrap();
    for mood in [Mood::IsLocked, Mood::Fails, Mood::Hangs, Mood::Panics] {
        vault.is(mood);
        let storage = start(&vault, &directory, IMPATIENCE);
        conformance::storage_that_cannot_answer(&storage, &name());
        vault.is(Mood::Works);
        let storage = start(&vault, &directory, PATIENCE);
        assert_eq!(value(&storage), b"1", "after {mood:?}");
    }
}

#[test]
fn one_thread_waits_for_a_keychain_that_hangs_and_its_answer_counts() {
    let (vault, directory) = (TestVault::default(), tempfile::tempdir().unwrap());
    put(&start(&vault, &directory, PATIENCE), b"1").unwrap();
    let before = vault.asked();
    vault.is(Mood::Hangs);
    let storage = start(&vault, &directory, IMPATIENCE);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..3 {
                    assert_eq!(storage.load(&name()).unwrap_err(), StorageFailure::Locked);
                }
            });
        }
    });
    assert_eq!(vault.asked(), before + 1);
    vault.is(Mood::Works);
    // The one that waited gets its answer, and it serves everybody.
    while storage.load(&name()).is_err() {}
    assert_eq!(value(&storage), b"1");
    assert_eq!(vault.asked(), before + 1);
}

#[test]
fn several_first_starts_make_one_key() {
    for _ in 0..10 {
        let (vault, directory) = (TestVault::default(), tempfile::tempdir().unwrap());
        thread::scope(|scope| {
            for number in 0..4 {
                let (vault, directory) = (&vault, &directory);
                scope.spawn(move || {
                    let key = RecordKey::new(&format!("session.{number}")).unwrap();
                    let storage = start(vault, directory, PATIENCE);
                    storage.commit(&key, Generation::ABSENT, &[number]).unwrap();
                });
            }
        });
        assert_eq!(vault.0.writes.load(Ordering::SeqCst), 1);
        let storage = start(&vault, &directory, PATIENCE);
        for number in 0..4 {
            let key = RecordKey::new(&format!("session.{number}")).unwrap();
            assert_eq!(storage.load(&key).unwrap().unwrap().bytes[..], [number]);
        }
    }
}

#[test]
fn bi_95_a_reset_keychain_is_lost_until_the_next_sign_in() {
    let (vault, directory) = (TestVault::default(), tempfile::tempdir().unwrap());
    let running = start(&vault, &directory, PATIENCE);
    put(&running, b"1").unwrap();
    *lock(&vault.0.secret) = None;
    let storage = start(&vault, &directory, PATIENCE);
    for _ in 0..2 {
        let outcome = storage.load(&name());
        assert!(matches!(outcome, Err(StorageFailure::Lost(_))), "{outcome:?}");
    }
    assert!(lock(&vault.0.secret).is_none(), "reading makes no key");
    assert_eq!(storage.list("").unwrap(), [name()]);
    // The next sign-in, over the lost record.
    put(&storage, b"2").unwrap();
    assert_eq!(value(&storage), b"2");
    assert_eq!(value(&start(&vault, &directory, PATIENCE)), b"2");
    // The process that still knew the old key finds the new one, and writes with it.
    assert_eq!(value(&running), b"2");
    let now = running.load(&name()).unwrap().unwrap().generation;
    running.commit(&name(), now, b"3").unwrap();
    assert_eq!(value(&start(&vault, &directory, PATIENCE)), b"3");
}

#[test]
fn a_process_that_knows_an_old_key_does_not_seal_with_it() {
    let (vault, directory) = (TestVault::default(), tempfile::tempdir().unwrap());
    let running = start(&vault, &directory, PATIENCE);
    put(&running, b"1").unwrap();
    *lock(&vault.0.secret) = None;
    let other = RecordKey::new("session.y").unwrap();
    let storage = start(&vault, &directory, PATIENCE);
    storage.commit(&other, Generation::ABSENT, b"y").unwrap();
    let now = running.load(&name()).unwrap().unwrap().generation;
    running.commit(&name(), now, b"2").unwrap();
    assert_eq!(value(&start(&vault, &directory, PATIENCE)), b"2");
}

#[test]
fn files_that_are_gone_are_absent_and_the_key_stays() {
    let (vault, directory) = (TestVault::default(), tempfile::tempdir().unwrap());
    put(&start(&vault, &directory, PATIENCE), b"1").unwrap();
    std::fs::remove_dir_all(directory.path().join("records")).unwrap();
    let storage = start(&vault, &directory, PATIENCE);
    assert!(storage.load(&name()).unwrap().is_none());
    put(&storage, b"2").unwrap();
    assert_eq!(vault.0.writes.load(Ordering::SeqCst), 1);
}

#[test]
fn what_is_not_our_key_is_left_alone() {
    let (vault, directory) = (TestVault::default(), tempfile::tempdir().unwrap());
    for other in [&b""[..], b"hunter2", &[0xff; 32], b"AAAA"] {
        *lock(&vault.0.secret) = Some(other.to_vec());
        let outcome = put(&start(&vault, &directory, PATIENCE), b"1");
        assert!(matches!(outcome, Err(StorageFailure::Failed(_))), "{outcome:?}");
        assert_eq!(lock(&vault.0.secret).as_deref(), Some(other));
    }
}

#[test]
fn a_keychain_that_keeps_nothing_is_not_written_with() {
    let (vault, directory) = (TestVault::default(), tempfile::tempdir().unwrap());
    vault.is(Mood::Forgets);
    let storage = start(&vault, &directory, PATIENCE);
    let outcome = put(&storage, b"1");
    assert!(matches!(outcome, Err(StorageFailure::Failed(_))), "{outcome:?}");
    assert!(storage.load(&name()).unwrap().is_none());
}

#[test]
fn a_directory_of_another_kind_is_refused_by_both() {
    let (vault, directory) = (TestVault::default(), tempfile::tempdir().unwrap());
    let path = directory.path().join("records");
    let files = EncryptedFileStorage::open(&path, FileKey::Bytes([1; 32])).unwrap();
    files.commit(&name(), Generation::ABSENT, b"1").unwrap();
    conformance::storage_that_cannot_answer(&start(&vault, &directory, PATIENCE), &name());
    assert!(lock(&vault.0.secret).is_none(), "no key was made");

    let directory = tempfile::tempdir().unwrap();
    put(&start(&vault, &directory, PATIENCE), b"1").unwrap();
    let error = EncryptedFileStorage::open(directory.path().join("records"), FileKey::BesideTheRecords);
    assert_eq!(error.unwrap_err().code(), "storage_wrong_key");
}

#[test]
fn a_damaged_note_costs_nothing() {
    let (vault, directory) = (TestVault::default(), tempfile::tempdir().unwrap());
    let storage = start(&vault, &directory, PATIENCE);
    put(&storage, b"1").unwrap();
    for damaged in [
        &b""[..],
        b"{",
        b"{\"format\":1,\"kept\":\"keychain\",\"id\":\"AA==\"}",
    ] {
        std::fs::write(directory.path().join("records").join(key_file::KEY_FILE), damaged).unwrap();
        let now = storage.load(&name()).unwrap().unwrap().generation;
        storage.commit(&name(), now, b"2").unwrap();
        assert_eq!(value(&start(&vault, &directory, PATIENCE)), b"2");
    }
}

#[test]
fn an_app_id_is_checked_and_tells_apps_apart() {
    for wrong in [
        "",
        ".",
        "..",
        "a/b",
        "a b",
        "../x",
        ".x",
        "x.",
        "a\\b",
        "ä",
        &"x".repeat(101),
    ] {
        let error = KeychainStorage::builder(wrong)
            .directory("x")
            .build()
            .unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::Configuration, "storage_app_id"),
            "{wrong:?}"
        );
    }
    let place = |id: &str| {
        KeychainStorage::builder(id)
            .directory(id)
            .build()
            .unwrap()
            .place()
    };
    assert_eq!(place("com.example.app"), place("com.example.app"));
    assert_ne!(place("com.example.app"), place("com.example.other"));
}
