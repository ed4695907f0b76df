//! Encrypted files and the file lock, by processes that do not know of each other.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::Path;
use std::process::Command;

use gatepass::{EncryptedFileStorage, FileKey, FileLock, ProcessLock as _, SecureStorage as _};

use tempfile::TempDir;

use crate::child::{Child, key, pattern};

/// A directory for this user alone.
fn private() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700)).unwrap();
    directory
}

fn open(directory: &Path) -> EncryptedFileStorage {
    EncryptedFileStorage::open(directory, FileKey::Bytes([1; 32])).unwrap()
}

#[test]
fn no_write_of_several_processes_is_lost() {
    let directory = private();
    let mut children: Vec<_> = (0..4).map(|_| Child::over_files(directory.path())).collect();
    for child in &mut children {
        child.tell("count counted 25");
    }
    for child in &mut children {
        assert_eq!(child.answer(), "counted");
    }
    assert_eq!(children[0].ask("load counted"), "present 100");
}

#[test]
fn rr_10_a_killed_writer_leaves_the_old_record_or_the_new_one() {
    let directory = private();
    let storage = open(directory.path());
    for round in 0..25 {
        let mut child = Child::over_files(directory.path());
        child.tell("churn churned");
        let mut last = (0, 0);
        for _ in 0..=round % 5 {
            let answer = child.answer();
            let (generation, number) = answer.split_once(' ').unwrap();
            last = (generation.parse().unwrap(), number.parse().unwrap());
        }
        // Somewhere in the middle of a later write.
        child.kill();
        let stored = storage.load(&key("churned")).unwrap().unwrap();
        let number = u64::from_be_bytes(stored.bytes[..8].try_into().unwrap());
        assert_eq!(*stored.bytes, pattern(number), "a part of a write");
        assert!(
            (stored.generation.0, number) >= last,
            "what was said to be durable is not"
        );
    }
    storage.list("").unwrap();
    let rubbish = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .find(|name| name.ends_with(".tmp"));
    assert_eq!(rubbish, None);
}

#[test]
fn a_lock_excludes_processes_and_dies_with_its_holder() {
    let directory = private();
    let lock = FileLock::new(directory.path().join("locks"));
    let mut child = Child::over_files(&directory.path().join("locks"));
    assert_eq!(child.ask("lock session.x"), "held");
    assert!(lock.try_lock("session.x").unwrap().is_none());
    let other = lock.try_lock("session.y").unwrap().unwrap();
    assert_eq!(child.ask("lock session.y"), "busy");
    drop(other);
    assert_eq!(child.ask("lock session.y"), "held");
    child.kill();
    let first = lock.try_lock("session.x").unwrap();
    assert!(first.is_some(), "the lock outlived its holder");
    assert!(
        lock.try_lock("session.x").unwrap().is_none(),
        "two handles in one process"
    );
    // A name that no file could have.
    for odd in ["", "../../etc/passwd", "a/b", "NUL", "ß", &"x".repeat(5000)] {
        let held = lock.try_lock(odd).unwrap();
        assert!(held.is_some() && lock.try_lock(odd).unwrap().is_none(), "{odd:?}");
    }
}

#[test]
fn a_lock_file_that_was_removed_is_made_anew_and_excludes() {
    let directory = private();
    let lock = FileLock::new(directory.path());
    let held = lock.try_lock("session.x").unwrap().unwrap();
    std::fs::remove_file(directory.path().join("gp.session.x.lock")).unwrap();
    // The old holder can no longer be seen; the new one is one.
    let second = lock.try_lock("session.x").unwrap().unwrap();
    assert!(lock.try_lock("session.x").unwrap().is_none());
    drop(held);
    assert!(lock.try_lock("session.x").unwrap().is_none());
    drop(second);
    assert!(lock.try_lock("session.x").unwrap().is_some());
}

/// A limit on the size of files, which any user can set: writing fails in the middle, as on a full disk.
#[test]
fn rr_10_a_write_that_does_not_fit_leaves_the_old_record() {
    let directory = private();
    let mut shell = Command::new("sh");
    // Blocks of 512 bytes. Past the limit a program is killed unless it ignores the signal, and then gets an error.
    shell.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\""]);
    shell.arg(std::env::current_exe().unwrap());
    does_not_fit(
        Child::start(shell, "files", directory.path()),
        directory.path(),
        100_000,
    );
}

/// A disk that is full, where a test may mount one.
#[test]
fn rr_10_a_full_disk_leaves_the_old_record() {
    let directory = private();
    let script = "mount -t tmpfs -o size=128k,mode=700 gatepass-test \"$GATEPASS_TEST_DIRECTORY\"";
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "sh", "-c", script]);
    probe.env("GATEPASS_TEST_DIRECTORY", directory.path());
    if !probe.output().is_ok_and(|probe| probe.status.success()) {
        println!("not run: mounting a small disk needs root and `unshare`");
        return;
    }
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "sh", "-c", &format!("{script} && exec \"$0\" \"$@\"")]);
    shell.arg(std::env::current_exe().unwrap());
    let mut child = Child::start(shell, "files", directory.path());
    assert_eq!(child.ask("put session.x old"), "committed");
    let answer = child.ask("put-large session.x 200000");
    assert!(
        answer.starts_with("failed: ") && answer.contains("the disk is full"),
        "{answer}"
    );
    assert_eq!(child.ask("load session.x"), "present old");
    // Nothing of the failed write takes the room that the next one needs.
    for _ in 0..5 {
        assert_eq!(child.ask("put-large session.x 40000"), "committed");
        assert!(child.ask("put-large session.y 200000").starts_with("failed: "));
    }
    assert_eq!(child.ask("load session.y"), "absent");
}

fn does_not_fit(mut child: Child, directory: &Path, length: usize) {
    assert_eq!(child.ask("put session.x old"), "committed");
    for _ in 0..3 {
        let answer = child.ask(&format!("put-large session.x {length}"));
        assert!(answer.starts_with("failed: "), "{answer}");
        assert_eq!(child.ask("load session.x"), "present old");
    }
    assert_eq!(child.ask("put session.x new"), "committed");
    assert_eq!(
        &open(directory).load(&key("session.x")).unwrap().unwrap().bytes[..],
        b"new"
    );
    let names = std::fs::read_dir(directory).unwrap();
    assert!(
        !names
            .map(|entry| entry.unwrap().path())
            .any(|path| path.extension().is_some_and(|e| e == "tmp")),
        "half a write is left"
    );
}

/// As a process of root's meets the files of a user whom it works for.
#[test]
fn files_of_another_user_are_refused() {
    let directory = private();
    if std::fs::metadata(directory.path()).unwrap().uid() != 0 {
        println!("not run: giving files away needs root");
        return;
    }
    let files = directory.path().join("files");
    drop(open(&files));
    std::os::unix::fs::chown(&files, Some(65_534), None).unwrap();
    let error = EncryptedFileStorage::open(&files, FileKey::Bytes([1; 32])).unwrap_err();
    assert_eq!(error.code(), "storage_unavailable");
    assert!(error.to_string().contains("belongs to the user 65534"), "{error}");
}

#[test]
fn a_directory_that_others_can_enter_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let error = EncryptedFileStorage::open(directory.path(), FileKey::BesideTheRecords).unwrap_err();
    assert_eq!(error.code(), "storage_unavailable");
    assert!(error.to_string().contains("chmod 700"), "{error}");
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "nothing was written"
    );
}
