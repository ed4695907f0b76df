//! The kinds of keys, and what does not open.

use tempfile::TempDir;

use super::*;
use crate::adapters::key_file::KEY_FILE;
use crate::error::NextStep;
use crate::ports::conformance;
use crate::secret::Secret;

/// As cheap as Argon2 lets it be.
const QUICK: Kdf = Kdf {
    argon2id_memory_kib: 64,
    passes: 1,
    lanes: 1,
};

fn passphrase(text: &str) -> FileKey {
    FileKey::Passphrase(Secret::new(text.to_owned()))
}

fn open(directory: &TempDir, key: &FileKey) -> Result<EncryptedFileStorage> {
    EncryptedFileStorage::open_with(&directory.path().join("a/b"), key, QUICK)
}

fn name() -> RecordKey {
    RecordKey::new("session.x").unwrap()
}

fn kinds() -> [FileKey; 3] {
    [
        passphrase("open sesame"),
        FileKey::Bytes([7; 32]),
        FileKey::BesideTheRecords,
    ]
}

#[test]
fn every_kind_of_key_keeps_the_contract() {
    for key in kinds() {
        let directory = tempfile::tempdir().unwrap();
        conformance::storage(|| Arc::new(open(&directory, &key).unwrap()));
    }
}

#[test]
fn a_directory_without_a_name_is_a_mistake_of_the_app() {
    for path in ["", "a\0b"] {
        let error = EncryptedFileStorage::open(path, FileKey::Bytes([7; 32])).unwrap_err();
        assert_eq!(
            (error.kind(), error.code(), error.next_step()),
            (
                ErrorKind::Configuration,
                "storage_directory",
                NextStep::FixConfiguration
            ),
            "{path:?}"
        );
        assert!(error.to_string().contains("absolute path"), "{error}");
    }
}

#[test]
fn the_right_key_opens_and_every_other_is_told_so() {
    for (index, key) in kinds().iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let storage = open(&directory, key).unwrap();
        storage.commit(&name(), Generation::ABSENT, b"value").unwrap();
        assert_eq!(
            &open(&directory, key)
                .unwrap()
                .load(&name())
                .unwrap()
                .unwrap()
                .bytes[..],
            b"value"
        );
        let mut others = vec![passphrase("other"), passphrase(""), FileKey::Bytes([8; 32])];
        others.extend(
            kinds()
                .into_iter()
                .enumerate()
                .filter(|(other, _)| *other != index)
                .map(|(_, key)| key),
        );
        for other in others {
            let error = open(&directory, &other).unwrap_err();
            assert_eq!(
                (error.kind(), error.code()),
                (ErrorKind::Configuration, "storage_wrong_key"),
                "{other:?}"
            );
        }
        assert_eq!(
            &open(&directory, key)
                .unwrap()
                .load(&name())
                .unwrap()
                .unwrap()
                .bytes[..],
            b"value"
        );
    }
}

#[test]
fn an_empty_passphrase_is_none() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(
        open(&directory, &passphrase("")).unwrap_err().code(),
        "storage_wrong_key"
    );
}

#[test]
fn neither_value_nor_key_is_on_the_disk() {
    const CANARY: &[u8] = b"canary-7f3a-refresh-token";
    for key in kinds() {
        let directory = tempfile::tempdir().unwrap();
        let storage = open(&directory, &key).unwrap();
        storage.commit(&name(), Generation::ABSENT, CANARY).unwrap();
        for entry in std::fs::read_dir(directory.path().join("a/b")).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            for secret in [CANARY, b"open sesame", &[7; 32]] {
                assert!(!bytes.windows(secret.len()).any(|part| part == secret), "{key:?}");
            }
        }
    }
}

#[test]
fn a_damaged_key_file_is_told() {
    for key in kinds() {
        let directory = tempfile::tempdir().unwrap();
        let storage = open(&directory, &key).unwrap();
        storage.commit(&name(), Generation::ABSENT, b"value").unwrap();
        let file = directory.path().join("a/b").join(KEY_FILE);
        let whole = std::fs::read(&file).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&file, &whole[..length]).unwrap();
            assert_eq!(
                open(&directory, &key).unwrap_err().kind(),
                ErrorKind::StorageLost,
                "{length}"
            );
        }
        let newer = String::from_utf8(whole.clone())
            .unwrap()
            .replace("\"format\": 1", "\"format\": 2");
        std::fs::write(&file, newer).unwrap();
        let error = open(&directory, &key).unwrap_err();
        assert_eq!(
            (error.kind(), error.code()),
            (ErrorKind::StorageLocked, "storage_unavailable")
        );
        std::fs::remove_file(&file).unwrap();
        assert_eq!(
            open(&directory, &key).unwrap_err().kind(),
            ErrorKind::StorageLost,
            "records without a key"
        );
        std::fs::write(&file, &whole).unwrap();
        assert!(open(&directory, &key).is_ok());
    }
}

#[test]
fn a_key_file_cannot_ask_for_all_memory() {
    let directory = tempfile::tempdir().unwrap();
    open(&directory, &passphrase("open sesame")).unwrap();
    let file = directory.path().join("a/b").join(KEY_FILE);
    let text = std::fs::read_to_string(&file).unwrap();
    for (from, to) in [
        (
            "\"argon2id_memory_kib\": 64",
            "\"argon2id_memory_kib\": 4294967295",
        ),
        ("\"passes\": 1", "\"passes\": 4294967295"),
        ("\"lanes\": 1", "\"lanes\": 65536"),
        ("\"lanes\": 1", "\"lanes\": 0"),
    ] {
        assert!(text.contains(from), "{text}");
        std::fs::write(&file, text.replace(from, to)).unwrap();
        let error = open(&directory, &passphrase("open sesame")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageLost, "{to}");
    }
}

/// The parameters that apps get, once: they are slow on purpose.
#[test]
fn a_passphrase_costs_what_rfc_9106_says() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("files");
    EncryptedFileStorage::open(&path, passphrase("open sesame")).unwrap();
    let file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path.join(KEY_FILE)).unwrap()).unwrap();
    assert_eq!(
        (
            &file["kdf"]["argon2id_memory_kib"],
            &file["kdf"]["passes"],
            &file["kdf"]["lanes"]
        ),
        (&65_536.into(), &3.into(), &4.into())
    );
    assert!(EncryptedFileStorage::open(&path, passphrase("open sesame")).is_ok());
}

#[test]
fn one_directory_is_one_place() {
    let directory = tempfile::tempdir().unwrap();
    let storage = open(&directory, &FileKey::BesideTheRecords).unwrap();
    let roundabout = directory.path().join("a/../a/b/.");
    let again = EncryptedFileStorage::open(roundabout, FileKey::BesideTheRecords).unwrap();
    assert_eq!(storage.place(), again.place());
    assert!(storage.process_lock().is_some());
}
