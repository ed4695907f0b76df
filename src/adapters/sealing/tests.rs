//! The format, and everything that must not open.

use super::*;
use crate::adapters::memory::MemoryStorage;
use crate::ports::conformance;

const NAME: &str = "session.x";

fn data_key(byte: u8) -> Arc<DataKey> {
    Arc::new(DataKey::new(Box::new(Zeroizing::new([byte; 32]))))
}

fn name() -> RecordKey {
    RecordKey::new(NAME).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn it_keeps_the_contract() {
    let below = Arc::new(MemoryStorage::default());
    conformance::storage(|| Arc::new(Sealed::new(Below(below.clone()), data_key(1))));
}

/// What is on disks already must stay readable. Checked against libsodium's XChaCha20-Poly1305.
#[test]
fn the_format_is_fixed() {
    let key = DataKey::new(Box::new(Zeroizing::new(std::array::from_fn(|n| n as u8))));
    let nonce = std::array::from_fn(|n| 0x40 + n as u8);
    let sealed = key.seal_with(nonce, NAME, b"a value").unwrap();
    let expected = "01fe1017044d500a9404404142434445464748494a4b4c4d4e4f5051525354555657\
                    b5197311bc951c7c644022e3c7590545fb15943264737f";
    assert_eq!(hex(&sealed), expected);
    assert_eq!(&key.open(NAME, &sealed).unwrap()[..], b"a value");
}

#[test]
fn a_nonce_is_used_once() {
    let key = data_key(1);
    let (one, two) = (key.seal(NAME, b"x").unwrap(), key.seal(NAME, b"x").unwrap());
    assert_ne!(one[10..34], two[10..34]);
    assert_ne!(one[34..], two[34..]);
}

#[test]
fn what_was_changed_does_not_open() {
    let key = data_key(1);
    let sealed = key.seal(NAME, b"value").unwrap();
    for length in 0..sealed.len() {
        assert!(
            matches!(key.open(NAME, &sealed[..length]), Err(Unopened::Damaged(_))),
            "{length}"
        );
    }
    for bit in 0..sealed.len() * 8 {
        let mut changed = sealed.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let why = key.open(NAME, &changed).unwrap_err();
        let expected = match bit / 8 {
            2..10 => matches!(why, Unopened::OtherKey(_)),
            _ => matches!(why, Unopened::Damaged(_)),
        };
        assert!(expected, "{bit}: {why:?}");
    }
    let mut newer = sealed.clone();
    (newer[0], newer[1]) = (2, !2);
    assert_eq!(key.open(NAME, &newer).unwrap_err(), Unopened::Newer(2));
    assert!(
        matches!(key.open("session.y", &sealed), Err(Unopened::Damaged(_))),
        "swapped"
    );
    assert!(matches!(
        data_key(2).open(NAME, &sealed),
        Err(Unopened::OtherKey(_))
    ));
}

#[test]
fn bi_95_another_key_is_lost_and_never_absent_and_can_be_written_over() {
    let below = Arc::new(MemoryStorage::default());
    let (old, new) = (data_key(1), data_key(2));
    let generation = match below.commit(&name(), Generation::ABSENT, &old.seal(NAME, b"old").unwrap()) {
        Ok(CommitOutcome::Committed(generation)) => generation,
        other => panic!("{other:?}"),
    };
    let sealed = Sealed::new(Below(below.clone()), new.clone());
    assert!(matches!(sealed.load(&name()), Err(StorageFailure::Lost(_))));
    assert_eq!(sealed.list("").unwrap(), [name()]);
    for stale in [Generation(generation.0 + 1), Generation(u64::MAX)] {
        let outcome = sealed.commit(&name(), stale, b"new");
        assert!(matches!(outcome, Err(StorageFailure::Lost(_))), "{outcome:?}");
    }
    let outcome = sealed.commit(&name(), Generation::ABSENT, b"new");
    assert!(
        matches!(outcome, Ok(CommitOutcome::Committed(now)) if now > generation),
        "{outcome:?}"
    );
    assert_eq!(&sealed.load(&name()).unwrap().unwrap().bytes[..], b"new");
    // And the other way round.
    let sealed = Sealed::new(Below(below), old);
    let outcome = sealed.remove(&name(), Generation::ABSENT);
    assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{outcome:?}");
    assert!(sealed.load(&name()).unwrap().is_none());
}

#[test]
fn bi_95_a_newer_sealing_is_neither_lost_nor_written_over() {
    let below = Arc::new(MemoryStorage::default());
    below
        .commit(&name(), Generation::ABSENT, &[2, !2, 1, 2, 3])
        .unwrap();
    let sealed = Sealed::new(Below(below.clone()), data_key(1));
    conformance::storage_that_cannot_answer(&sealed, &name());
    assert_eq!(below.load(&name()).unwrap().unwrap().bytes[..], [2, !2, 1, 2, 3]);
}

#[test]
fn rr_29_a_locked_key_is_not_an_absent_record() {
    #[derive(Debug)]
    struct Locked;
    impl DataKeys for Locked {
        fn key(&self, _: KeyId) -> Result<Arc<DataKey>, StorageFailure> {
            Err(StorageFailure::Locked)
        }
        fn sealing_key(&self) -> Result<Arc<DataKey>, StorageFailure> {
            Err(StorageFailure::Locked)
        }
    }
    let below = Arc::new(MemoryStorage::default());
    let value = data_key(1).seal(NAME, b"x").unwrap();
    below.commit(&name(), Generation::ABSENT, &value).unwrap();
    let sealed = Sealed::new(Below(below), Locked);
    conformance::storage_that_cannot_answer(&sealed, &name());
    // A conflict would have to say what is there.
    assert_eq!(
        sealed.remove(&name(), Generation(9)).unwrap_err(),
        StorageFailure::Locked
    );
    let absent = RecordKey::new("absent").unwrap();
    assert!(sealed.load(&absent).unwrap().is_none(), "that needs no key");
}

#[test]
fn a_key_prints_nothing() {
    let key = data_key(0xab);
    let sealed = Sealed::new(Below(Arc::default()), key.clone());
    let printed = format!("{key:?} {sealed:?}");
    assert!(
        !printed.contains("ab, ab") && !printed.contains("171"),
        "{printed}"
    );
}

/// Storage that the test can look into.
#[derive(Debug)]
struct Below(Arc<MemoryStorage>);

impl SecureStorage for Below {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        self.0.load(key)
    }
    fn commit(&self, key: &RecordKey, at: Generation, bytes: &[u8]) -> Result<CommitOutcome, StorageFailure> {
        self.0.commit(key, at, bytes)
    }
    fn remove(&self, key: &RecordKey, at: Generation) -> Result<CommitOutcome, StorageFailure> {
        self.0.remove(key, at)
    }
    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure> {
        self.0.list(prefix)
    }
}
