//! The contract, and a directory in every state that it can be found in.

use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;
use crate::adapters::directory::NewFile;
use crate::adapters::file_lock::Held;
use crate::ports::conformance;

fn key(name: &str) -> RecordKey {
    RecordKey::new(name).unwrap()
}

/// A new handle, as another process would have.
fn at(directory: &TempDir) -> FileStorage {
    FileStorage::new(directory.path().join("records"))
}

fn path(directory: &TempDir, name: &str) -> PathBuf {
    directory.path().join("records").join(name)
}

fn put(storage: &FileStorage, name: &str, value: &[u8]) -> Generation {
    let now = storage.load(&key(name)).unwrap();
    let expected = now.map_or(Generation::ABSENT, |stored| stored.generation);
    match storage.commit(&key(name), expected, value).unwrap() {
        CommitOutcome::Committed(generation) => generation,
        conflict @ CommitOutcome::Conflict(_) => panic!("{conflict:?}"),
    }
}

fn value(storage: &FileStorage, name: &str) -> Vec<u8> {
    storage.load(&key(name)).unwrap().unwrap().bytes.to_vec()
}

#[test]
fn it_keeps_the_contract() {
    let directory = tempfile::tempdir().unwrap();
    conformance::storage(|| Arc::new(at(&directory)));
}

#[test]
fn nothing_is_left_behind() {
    let directory = tempfile::tempdir().unwrap();
    let storage = at(&directory);
    assert!(storage.load(&key("a")).unwrap().is_none());
    assert!(storage.list("").unwrap().is_empty());
    assert!(
        !directory.path().join("records").exists(),
        "reading makes nothing"
    );
    let first = put(&storage, "a", b"1");
    storage.remove(&key("a"), first).unwrap();
    let mut names = storage.names().unwrap();
    names.sort();
    assert_eq!(names, [FLOOR_FILE, LOCK_FILE], "no grave for what was removed");
}

#[test]
fn only_its_owner_can_read_it() {
    let directory = tempfile::tempdir().unwrap();
    put(&at(&directory), "a", b"1");
    let mode = |name| {
        std::fs::metadata(path(&directory, name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(""), 0o700);
    for name in ["gp.a.record", LOCK_FILE, FLOOR_FILE] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
}

#[test]
fn a_directory_open_to_others_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    put(&at(&directory), "a", b"1");
    for mode in [0o755, 0o770, 0o701] {
        std::fs::set_permissions(path(&directory, ""), PermissionsExt::from_mode(mode)).unwrap();
        let storage = at(&directory);
        for outcome in [
            storage.load(&key("b")).map(|_| ()),
            storage.commit(&key("a"), Generation::ABSENT, b"2").map(|_| ()),
            storage.list("").map(|_| ()),
        ] {
            let Err(StorageFailure::Failed(why)) = outcome else {
                panic!("{mode:o}: {outcome:?}");
            };
            assert!(why.contains("chmod 700"), "{why}");
        }
    }
    std::fs::set_permissions(path(&directory, ""), PermissionsExt::from_mode(0o700)).unwrap();
    assert_eq!(value(&at(&directory), "a"), b"1");
}

/// A record's file cut at every length, and with every bit flipped.
#[test]
fn bi_95_a_damaged_record_is_lost_and_never_absent() {
    let directory = tempfile::tempdir().unwrap();
    put(&at(&directory), "a", b"value");
    let file = path(&directory, "gp.a.record");
    let whole = std::fs::read(&file).unwrap();
    assert_eq!(whole.len(), HEADER + 5);
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    let flipped = (0..whole.len() * 8).map(|bit| {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let longer = [[&whole[..], b"\0"].concat(), vec![0; whole.len()]];
    let storage = at(&directory);
    for damaged in cut.chain(flipped).chain(longer) {
        std::fs::write(&file, &damaged).unwrap();
        let outcome = storage.load(&key("a"));
        assert!(
            matches!(outcome, Err(StorageFailure::Lost(_))),
            "{outcome:?}: {damaged:x?}"
        );
    }
    assert_eq!(storage.list("").unwrap(), [key("a")], "it is there");
    let outcome = storage.commit(&key("a"), Generation(7), b"x");
    assert!(matches!(outcome, Err(StorageFailure::Lost(_))), "{outcome:?}");
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(value(&storage, "a"), b"value");
}

#[test]
fn what_is_lost_can_be_written_anew_and_its_generation_does_not_come_again() {
    let directory = tempfile::tempdir().unwrap();
    let storage = at(&directory);
    let first = put(&storage, "a", b"1");
    let second = put(&storage, "a", b"2");
    std::fs::write(path(&directory, "gp.a.record"), b"").unwrap();
    let third = match storage.commit(&key("a"), Generation::ABSENT, b"3").unwrap() {
        CommitOutcome::Committed(generation) => generation,
        conflict @ CommitOutcome::Conflict(_) => panic!("{conflict:?}"),
    };
    assert!(first < second && second < third);
    assert_eq!(value(&storage, "a"), b"3");
    std::fs::write(path(&directory, "gp.a.record"), b"").unwrap();
    storage.remove(&key("a"), Generation::ABSENT).unwrap();
    assert!(storage.load(&key("a")).unwrap().is_none());
    assert!(put(&storage, "a", b"4") > third);
}

#[test]
fn bi_95_a_newer_format_is_neither_lost_nor_written_over() {
    let directory = tempfile::tempdir().unwrap();
    put(&at(&directory), "a", b"value");
    let file = path(&directory, "gp.a.record");
    let mut newer = std::fs::read(&file).unwrap();
    (newer[9], newer[10]) = (2, !2);
    for content in [&newer[..], &newer[..11 + 44]] {
        std::fs::write(&file, content).unwrap();
        conformance::storage_that_cannot_answer(&at(&directory), &key("a"));
        assert_eq!(std::fs::read(&file).unwrap(), content);
    }
}

#[test]
fn records_that_change_places_are_found_out() {
    let directory = tempfile::tempdir().unwrap();
    put(&at(&directory), "a", b"1");
    std::fs::rename(path(&directory, "gp.a.record"), path(&directory, "gp.b.record")).unwrap();
    let outcome = at(&directory).load(&key("b"));
    assert!(matches!(outcome, Err(StorageFailure::Lost(_))), "{outcome:?}");
    assert!(at(&directory).load(&key("a")).unwrap().is_none());
}

#[test]
fn what_is_no_plain_file_is_not_followed_and_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    put(&at(&directory), "a", b"1");
    let file = path(&directory, "gp.b.record");
    std::fs::create_dir(&file).unwrap();
    conformance::storage_that_cannot_answer(&at(&directory), &key("b"));
    std::fs::remove_dir(&file).unwrap();
    symlink(path(&directory, "gp.a.record"), &file).unwrap();
    conformance::storage_that_cannot_answer(&at(&directory), &key("b"));
    std::fs::remove_file(&file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    conformance::storage_that_cannot_answer(&at(&directory), &key("b"));
    std::fs::remove_file(&file).unwrap();
    std::fs::File::create(&file).unwrap().set_len(1 << 40).unwrap();
    conformance::storage_that_cannot_answer(&at(&directory), &key("b"));
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let storage = at(&directory);
    put(&storage, "a", b"1");
    let foreign = [
        "notes.txt",
        "gp.UPPER.record",
        "gp..tmp",
        "gatepass.tmp",
        "gatepass.key",
        "gp.x.record~",
    ];
    for name in foreign {
        std::fs::write(path(&directory, name), b"mine").unwrap();
    }
    assert_eq!(at(&directory).list("").unwrap(), [key("a")]);
    put(&at(&directory), "b", b"1");
    for name in foreign {
        assert_eq!(std::fs::read(path(&directory, name)).unwrap(), b"mine", "{name}");
    }
}

#[test]
fn what_a_killed_writer_left_is_cleared() {
    let directory = tempfile::tempdir().unwrap();
    put(&at(&directory), "a", b"1");
    let rubbish = path(&directory, "gatepass.0123456789abcdef.tmp");
    for clearing in [
        (|storage: &FileStorage| drop(storage.list("").unwrap())) as fn(&FileStorage),
        |storage| {
            put(storage, "a", b"2");
        },
    ] {
        std::fs::write(&rubbish, b"half").unwrap();
        clearing(&at(&directory));
        assert!(!rubbish.exists());
    }
}

#[test]
fn a_directory_that_goes_while_in_use_is_not_empty() {
    let directory = tempfile::tempdir().unwrap();
    let storage = at(&directory);
    put(&storage, "a", b"1");
    let away = directory.path().join("away");
    std::fs::rename(path(&directory, ""), &away).unwrap();
    conformance::storage_that_cannot_answer(&storage, &key("a"));
    assert!(storage.list("").is_err());
    // As an unmounted disk leaves it.
    std::fs::create_dir(path(&directory, "")).unwrap();
    std::fs::set_permissions(path(&directory, ""), PermissionsExt::from_mode(0o700)).unwrap();
    conformance::storage_that_cannot_answer(&storage, &key("a"));
    std::fs::remove_dir(path(&directory, "")).unwrap();
    std::fs::rename(&away, path(&directory, "")).unwrap();
    assert_eq!(value(&storage, "a"), b"1");
}

#[test]
fn a_writer_that_is_stopped_does_not_stop_the_others_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    put(&at(&directory), "a", b"1");
    let stopped = Held::take(&path(&directory, LOCK_FILE)).unwrap().unwrap();
    let storage = FileStorage {
        patience: Duration::from_millis(20),
        ..at(&directory)
    };
    let outcome = storage.commit(&key("b"), Generation::ABSENT, b"1");
    assert!(matches!(outcome, Err(StorageFailure::Failed(_))), "{outcome:?}");
    assert_eq!(value(&storage, "a"), b"1", "reading needs no turn");
    drop(stopped);
    put(&storage, "b", b"1");
}

/// A directory that was made anew must not repeat what a process that knew the old one still has in mind.
#[test]
fn generations_rise_over_the_end_of_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = Generation::ABSENT;
    for _ in 0..10 {
        last = put(&at(&directory), "a", b"1");
    }
    for end in [
        (|directory: &TempDir| std::fs::remove_dir_all(path(directory, "")).unwrap()) as fn(&TempDir),
        |directory| {
            std::fs::remove_file(path(directory, "gp.a.record")).unwrap();
            std::fs::write(path(directory, FLOOR_FILE), b"damaged").unwrap();
        },
    ] {
        end(&directory);
        let next = put(&at(&directory), "a", b"1");
        assert!(next > last, "{next:?} after {last:?}");
        last = next;
    }
}

#[test]
fn any_bytes_are_read() {
    let whole = file(Kind::Record, "a", Generation(3), b"value");
    assert_eq!(
        parse(Kind::Record, "a", &whole).unwrap().generation,
        Generation(3)
    );
    assert!(parse(Kind::Floor, "a", &whole).is_err());
    assert!(parse(Kind::Record, "b", &whole).is_err());
    let none = file(Kind::Record, "a", Generation(0), b"value");
    assert!(
        parse(Kind::Record, "a", &none).is_err(),
        "no record is of no generation"
    );
    let last = file(Kind::Record, "a", Generation(u64::MAX), b"value");
    let directory = tempfile::tempdir().unwrap();
    put(&at(&directory), "a", b"x");
    std::fs::write(path(&directory, "gp.a.record"), last).unwrap();
    let outcome = at(&directory).commit(&key("a"), Generation(u64::MAX), b"x");
    assert!(matches!(outcome, Err(StorageFailure::Failed(_))), "{outcome:?}");
}

/// The layout, so that it does not change by accident.
#[test]
fn the_format_is_fixed() {
    let bytes = file(Kind::Record, "session.x", Generation(0x0102_0304), b"value");
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = "676174657061737372 01fe 0000000001020304 00000005 \
                    89fef64bba20056eeaf4b666a81a5afd707fda438f6ff5e7875277c1362cc252 76616c7565";
    assert_eq!(hex, expected.replace(' ', ""));
}

/// A directory on a disk that is full when somebody says so: what is there can still be written over.
#[derive(Debug)]
struct Filling {
    directory: SystemDirectory,
    is_full: Arc<AtomicBool>,
    copies: bool,
}

impl Filling {
    fn check(&self) -> io::Result<()> {
        match self.is_full.load(Ordering::Relaxed) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl Directory for Filling {
    fn path(&self) -> &Path {
        self.directory.path()
    }
    fn create(&self) -> io::Result<()> {
        self.directory.create()
    }
    fn exists(&self) -> io::Result<bool> {
        self.directory.exists()
    }
    fn objection(&self) -> io::Result<Option<String>> {
        self.directory.objection()
    }
    fn read(&self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        self.directory.read(name, limit)
    }
    fn names(&self) -> io::Result<Vec<String>> {
        self.directory.names()
    }
    fn create_new(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        self.check()?;
        self.directory.create_new(name)
    }
    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        self.directory.size(name)
    }
    fn overwrite(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        if self.copies {
            self.check()?;
        }
        self.directory.overwrite(name)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.directory.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        // What goes makes room.
        self.is_full
            .fetch_and(!name.ends_with(".spare"), Ordering::Relaxed);
        self.directory.remove(name)
    }
    fn sync(&self) -> io::Result<()> {
        self.directory.sync()
    }
    fn lock(&self, name: &str, patience: Duration) -> io::Result<Option<Box<dyn Send>>> {
        self.directory.lock(name, patience)
    }
    fn now(&self) -> std::time::SystemTime {
        self.directory.now()
    }
    fn number(&self) -> io::Result<u64> {
        self.directory.number()
    }
}

#[test]
fn rr_10_room_that_was_kept_takes_the_next_value_when_the_disk_is_full() {
    // On file systems that write in place, and on those that never do.
    for copies in [false, true] {
        let temporary = tempfile::tempdir().unwrap();
        let is_full = Arc::new(AtomicBool::new(false));
        let storage = FileStorage::over(Box::new(Filling {
            directory: SystemDirectory::new(temporary.path().join("records")),
            is_full: Arc::clone(&is_full),
            copies,
        }));
        let first = put(&storage, "a", b"old");
        storage.reserve(&key("a"), 5_000).unwrap();
        is_full.store(true, Ordering::Relaxed);
        let other = storage.commit(&key("b"), Generation::ABSENT, b"other");
        assert!(
            matches!(&other, Err(StorageFailure::Failed(why)) if why.contains("the disk is full")),
            "{other:?}"
        );
        assert_eq!(value(&storage, "a"), b"old");
        let long = vec![b'n'; 5_000];
        let Ok(CommitOutcome::Committed(second)) = storage.commit(&key("a"), first, &long) else {
            panic!("there was room");
        };
        assert_eq!(value(&storage, "a"), long);

        // It was taken, and the room of one write is not that of two.
        is_full.store(true, Ordering::Relaxed);
        assert!(storage.commit(&key("a"), second, &long).is_err());
        assert!(
            storage.reserve(&key("a"), 5_000).is_err(),
            "nothing is promised that cannot be kept"
        );
        is_full.store(false, Ordering::Relaxed);
        storage.reserve(&key("a"), 5_000).unwrap();
        storage.remove(&key("a"), second).unwrap();
        let mut names = storage.names().unwrap();
        names.sort();
        assert_eq!(names, [FLOOR_FILE, LOCK_FILE], "and it goes with the record");
    }
}
