//! The contract of [`SecureStorage`] as a suite that any adapter can be run against.

// A suite is a test wherever it is compiled; public with the feature `conformance`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, unreachable_pub)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::{Arc, CommitOutcome, Generation, RecordKey, SecureStorage, StorageFailure, Stored};

/// Every record of the suite begins so.
const OURS: &str = "conformance.";

/// Runs every clause of the contract of [`SecureStorage`] that can be seen from outside.
///
/// `open` opens the storage: each call gives a handle to the same records, as a second start of the app would. (An adapter
/// that cannot be opened twice gives clones of one `Arc`.) The records of the suite begin with `conformance.`; what it
/// writes it removes, and others it leaves alone. Takes some seconds on a disk. Blocks.
///
/// ```
/// # #[cfg(feature = "conformance")] {
/// use std::sync::Arc;
/// use gatepass::MemoryStorage;
///
/// let storage = Arc::new(MemoryStorage::default());
/// gatepass::conformance::storage(|| storage.clone());
/// # }
/// ```
///
/// # Panics
/// Where a clause is not kept; the message says which.
pub fn storage<S: SecureStorage + 'static>(open: impl Fn() -> Arc<S>) {
    let open = || -> Arc<dyn SecureStorage> { open() };
    clear(&*open());
    absence(&*open());
    a_commit_is_conditional(&open);
    a_removal_is_conditional(&*open());
    generations_never_repeat(&open);
    values_come_back_whole(&open);
    names_are_their_own(&*open());
    lists_are_complete(&open);
    one_of_many_creates(&open);
    no_write_is_lost(&open);
    a_reader_sees_whole_values_in_order(&open);
    a_list_holds_what_stays(&open);
    places_tell_storages_apart(&open);
    the_lock_excludes(&open);
    clear(&*open());
}

/// Runs what storage must do while it cannot answer (locked, unreachable, forbidden): say so, and touch nothing. `there`
/// names a record that exists.
///
/// ```
/// use gatepass::{CommitOutcome, Generation, RecordKey, SecureStorage, StorageFailure, Stored};
///
/// /// Storage of yours, locked.
/// #[derive(Debug)]
/// struct Locked;
///
/// impl SecureStorage for Locked {
///     fn load(&self, _: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
///         Err(StorageFailure::Locked)
///     }
///     fn commit(&self, _: &RecordKey, _: Generation, _: &[u8]) -> Result<CommitOutcome, StorageFailure> {
///         Err(StorageFailure::Locked)
///     }
///     fn remove(&self, _: &RecordKey, _: Generation) -> Result<CommitOutcome, StorageFailure> {
///         Err(StorageFailure::Locked)
///     }
///     fn list(&self, _: &str) -> Result<Vec<RecordKey>, StorageFailure> {
///         Err(StorageFailure::Locked)
///     }
/// }
///
/// let there = RecordKey::new("session.of-before").unwrap();
/// gatepass::conformance::storage_that_cannot_answer(&Locked, &there);
/// ```
///
/// # Panics
/// Where it guesses.
pub fn storage_that_cannot_answer(storage: &dyn SecureStorage, there: &RecordKey) {
    for _ in 0..2 {
        for outcome in [
            storage.load(there).map(|_| ()),
            storage.commit(there, Generation::ABSENT, b"x").map(|_| ()),
            storage.commit(there, Generation(u64::MAX), b"x").map(|_| ()),
        ] {
            match outcome {
                Err(StorageFailure::Locked | StorageFailure::Failed(_)) => {}
                other => panic!("storage that cannot answer answers {other:?}"),
            }
        }
    }
}

fn key(name: &str) -> RecordKey {
    RecordKey::new(&format!("{OURS}{name}")).unwrap()
}

fn committed(outcome: Result<CommitOutcome, StorageFailure>) -> Generation {
    match outcome {
        Ok(CommitOutcome::Committed(generation)) => generation,
        other => panic!("not committed: {other:?}"),
    }
}

fn conflict(outcome: Result<CommitOutcome, StorageFailure>) -> Option<Stored> {
    match outcome {
        Ok(CommitOutcome::Conflict(current)) => current,
        other => panic!("no conflict: {other:?}"),
    }
}

fn clear(storage: &dyn SecureStorage) {
    for key in storage.list(OURS).unwrap() {
        if let Some(stored) = storage.load(&key).unwrap() {
            committed(storage.remove(&key, stored.generation));
        }
    }
}

fn absence(storage: &dyn SecureStorage) {
    let key = key("absent");
    assert!(storage.load(&key).unwrap().is_none());
    assert!(conflict(storage.commit(&key, Generation(1), b"x")).is_none());
    assert!(conflict(storage.remove(&key, Generation(1))).is_none());
    committed(storage.remove(&key, Generation::ABSENT));
    assert!(storage.load(&key).unwrap().is_none(), "a conflict writes nothing");
}

fn a_commit_is_conditional(open: &impl Fn() -> Arc<dyn SecureStorage>) {
    let (storage, other) = (open(), open());
    let key = key("conditional");
    let first = committed(storage.commit(&key, Generation::ABSENT, b"one"));
    assert!(first > Generation::ABSENT);
    let seen = other.load(&key).unwrap().unwrap();
    assert_eq!((&seen.bytes[..], seen.generation), (&b"one"[..], first));
    for wrong in [Generation::ABSENT, Generation(first.0 + 1), Generation(u64::MAX)] {
        let current = conflict(other.commit(&key, wrong, b"never")).unwrap();
        assert_eq!(
            (&current.bytes[..], current.generation),
            (&b"one"[..], first),
            "a conflict tells what is there"
        );
    }
    let second = committed(other.commit(&key, first, b"two"));
    assert!(second > first);
    assert_eq!(
        &conflict(storage.commit(&key, first, b"never")).unwrap().bytes[..],
        b"two"
    );
    // The same bytes again are a write like any other.
    assert!(committed(storage.commit(&key, second, b"two")) > second);
    let printed = format!("{storage:?} {:?}", storage.load(&key));
    assert!(
        !printed.contains("two") && !printed.contains("116, 119, 111"),
        "{printed}"
    );
}

fn a_removal_is_conditional(storage: &dyn SecureStorage) {
    let key = key("removed");
    let first = committed(storage.commit(&key, Generation::ABSENT, b"one"));
    let second = committed(storage.commit(&key, first, b"two"));
    for wrong in [Generation::ABSENT, first, Generation(second.0 + 1)] {
        assert_eq!(&conflict(storage.remove(&key, wrong)).unwrap().bytes[..], b"two");
    }
    committed(storage.remove(&key, second));
    assert!(storage.load(&key).unwrap().is_none());
    assert!(conflict(storage.remove(&key, second)).is_none());
    assert!(conflict(storage.commit(&key, second, b"never")).is_none());
}

fn generations_never_repeat(open: &impl Fn() -> Arc<dyn SecureStorage>) {
    let (key, other) = (key("generations"), key("generations.other"));
    let mut seen = BTreeSet::new();
    for round in 0..5 {
        let storage = open();
        let mut at = Generation::ABSENT;
        for _ in 0..=round {
            at = committed(storage.commit(&key, at, b"x"));
            assert!(seen.last().is_none_or(|last| *last < at), "{at:?} after {seen:?}");
            seen.insert(at);
            let its = committed(storage.commit(&other, Generation::ABSENT, b"x"));
            committed(storage.remove(&other, its));
        }
        committed(storage.remove(&key, at));
        for old in &seen {
            assert!(
                conflict(storage.commit(&key, *old, b"never")).is_none(),
                "{old:?} came again"
            );
        }
    }
}

fn values_come_back_whole(open: &impl Fn() -> Arc<dyn SecureStorage>) {
    let key = key("values");
    let mut at = Generation::ABSENT;
    for length in [0, 1, 255, 256, 4095, 65_536, 1 << 20, 3, 0] {
        let value: Vec<u8> = (0..length)
            .map(|n: usize| (n % 251) as u8 ^ (n >> 8) as u8)
            .collect();
        at = committed(open().commit(&key, at, &value));
        let stored = open().load(&key).unwrap().unwrap();
        assert!(
            *stored.bytes == value && stored.generation == at,
            "{length} bytes come back as {}",
            stored.bytes.len()
        );
    }
    committed(open().remove(&key, at));
}

/// Names that something on the way might take for another, or for something of its own.
fn names_are_their_own(storage: &dyn SecureStorage) {
    let longest = "z".repeat(120);
    let names = [
        ".",
        "..",
        "...",
        "-",
        "--help",
        "_",
        "0",
        "a",
        "a.",
        ".a",
        "a.b",
        "a-b",
        "a_b",
        "a..b",
        "con",
        "nul",
        "aux.x",
        "com1",
        "a.record",
        "a.lock",
        "a.tmp",
        "a.record.lock",
        "gp.a.record",
        "gatepass.key",
        "lock",
        &longest,
        &longest[..119],
    ];
    // No prefix: the names as they are. What somebody else keeps under one of them is left alone.
    let keys: Vec<_> = names
        .iter()
        .map(|name| RecordKey::new(name).unwrap())
        .filter(|key| storage.load(key).unwrap().is_none())
        .collect();
    let written: Vec<_> = keys
        .iter()
        .map(|key| committed(storage.commit(key, Generation::ABSENT, key.as_str().as_bytes())))
        .collect();
    let listed = storage.list("").unwrap();
    for (key, generation) in keys.iter().zip(&written) {
        let stored = storage.load(key).unwrap().unwrap();
        assert_eq!(&stored.bytes[..], key.as_str().as_bytes(), "{key:?}");
        assert_eq!(stored.generation, *generation, "{key:?}");
        assert!(listed.contains(key), "{key:?} is not in {listed:?}");
    }
    for (index, key) in keys.iter().enumerate() {
        committed(storage.remove(key, written[index]));
        assert!(storage.load(key).unwrap().is_none(), "{key:?}");
        if let Some(next) = keys.get(index + 1) {
            assert!(
                storage.load(next).unwrap().is_some(),
                "{next:?} went with {key:?}"
            );
        }
    }
}

fn lists_are_complete(open: &impl Fn() -> Arc<dyn SecureStorage>) {
    let storage = open();
    let keys = ["list", "list.a", "list.b", "list.bb", "lisp"].map(key);
    let generations: Vec<_> = keys
        .iter()
        .map(|key| committed(storage.commit(key, Generation::ABSENT, b"x")))
        .collect();
    committed(storage.remove(&keys[1], generations[1]));
    let listed = |prefix: &str| {
        let mut names = open().list(&format!("{OURS}{prefix}")).unwrap();
        names.sort();
        names
    };
    assert_eq!(
        listed("list"),
        [keys[0].clone(), keys[2].clone(), keys[3].clone()]
    );
    assert_eq!(listed("list.b"), [keys[2].clone(), keys[3].clone()]);
    assert_eq!(listed("list.a"), [], "a removed record is not listed");
    assert_eq!(listed("nothing"), []);
    clear(&*storage);
    assert_eq!(listed(""), []);
}

fn one_of_many_creates(open: &impl Fn() -> Arc<dyn SecureStorage>) {
    let key = key("created");
    for _ in 0..5 {
        let won: Vec<Generation> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4u8)
                .map(|number| {
                    let (storage, key) = (open(), &key);
                    scope.spawn(move || storage.commit(key, Generation::ABSENT, &[number]).unwrap())
                })
                .collect();
            let outcomes = threads.into_iter().map(|thread| thread.join().unwrap());
            outcomes
                .filter_map(|outcome| match outcome {
                    CommitOutcome::Committed(generation) => Some(generation),
                    CommitOutcome::Conflict(_) => None,
                })
                .collect()
        });
        assert_eq!(won.len(), 1, "one of four creates the record");
        committed(open().remove(&key, won[0]));
    }
}

/// Counts with several threads, each through a handle of its own.
fn no_write_is_lost(open: &impl Fn() -> Arc<dyn SecureStorage>) {
    const THREADS: u64 = 4;
    const EACH: u64 = 25;
    let key = key("counted");
    committed(open().commit(&key, Generation::ABSENT, &0u64.to_be_bytes()));
    let generations: Vec<Generation> = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                let (storage, key) = (open(), &key);
                scope.spawn(move || {
                    let mut mine = Vec::new();
                    let mut current = storage.load(key).unwrap().unwrap();
                    while mine.len() < EACH as usize {
                        let count = u64::from_be_bytes(current.bytes[..].try_into().unwrap());
                        match storage.commit(key, current.generation, &(count + 1).to_be_bytes()) {
                            Ok(CommitOutcome::Committed(generation)) => {
                                mine.push(generation);
                                current = storage.load(key).unwrap().unwrap();
                            }
                            Ok(CommitOutcome::Conflict(now)) => current = now.unwrap(),
                            Err(failure) => panic!("{failure:?}"),
                        }
                    }
                    mine
                })
            })
            .collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap())
            .collect()
    });
    let stored = open().load(&key).unwrap().unwrap();
    assert_eq!(
        stored.bytes[..],
        (THREADS * EACH).to_be_bytes(),
        "a write was lost"
    );
    let distinct: BTreeSet<_> = generations.iter().copied().collect();
    assert_eq!(distinct.len(), generations.len(), "a generation came twice");
    assert_eq!(distinct.last(), Some(&stored.generation));
    committed(open().remove(&key, stored.generation));
}

fn a_reader_sees_whole_values_in_order(open: &impl Fn() -> Arc<dyn SecureStorage>) {
    let key = key("read");
    let value = |number: u8| vec![number; 1000 + usize::from(number) * 100];
    let mut at = committed(open().commit(&key, Generation::ABSENT, &value(0)));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let (storage, key, done) = (open(), &key, &done);
                scope.spawn(move || {
                    let mut last = (Generation::ABSENT, 0);
                    while !done.load(Ordering::Relaxed) {
                        let stored = storage.load(key).unwrap().unwrap();
                        let number = stored.bytes[0];
                        assert_eq!(*stored.bytes, value(number), "a part of a value");
                        assert!((stored.generation, number) >= last, "an older value came back");
                        last = (stored.generation, number);
                    }
                })
            })
            .collect();
        let storage = open();
        for number in 1..=50 {
            at = committed(storage.commit(&key, at, &value(number)));
        }
        done.store(true, Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    committed(open().remove(&key, at));
}

fn a_list_holds_what_stays(open: &impl Fn() -> Arc<dyn SecureStorage>) {
    let stays = key("stays");
    let mut stayed = committed(open().commit(&stays, Generation::ABSENT, b"x"));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let lister = {
            let (storage, stays, done) = (open(), &stays, &done);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let listed = storage.list(OURS).unwrap();
                    let count = listed.iter().filter(|key| *key == stays).count();
                    assert_eq!(count, 1, "{listed:?}");
                }
            })
        };
        let storage = open();
        for round in 0..20 {
            let comes = key(&format!("comes.{round}"));
            let its = committed(storage.commit(&comes, Generation::ABSENT, b"x"));
            stayed = committed(storage.commit(&stays, stayed, b"y"));
            committed(storage.remove(&comes, its));
        }
        done.store(true, Ordering::Relaxed);
        lister.join().unwrap();
    });
    committed(open().remove(&stays, stayed));
}

fn places_tell_storages_apart(open: &impl Fn() -> Arc<dyn SecureStorage>) {
    let (storage, other) = (open(), open());
    assert_eq!(storage.place(), storage.place(), "a place is constant");
    assert_eq!(storage.place(), other.place(), "one place has one name");
    assert_ne!(storage.place().as_deref(), Some(""));
}

fn the_lock_excludes(open: &impl Fn() -> Arc<dyn SecureStorage>) {
    let (Some(lock), Some(other)) = (open().process_lock(), open().process_lock()) else {
        return;
    };
    let name = format!("{OURS}locked");
    let held = lock.try_lock(&name).unwrap().unwrap();
    assert!(other.try_lock(&name).unwrap().is_none(), "two holders");
    assert!(
        lock.try_lock(&name).unwrap().is_none(),
        "two holders in one handle"
    );
    let elsewhere = other.try_lock(&format!("{name}.too")).unwrap();
    assert!(elsewhere.is_some(), "another name is free");
    // A lock excludes who locks, not who reads and writes.
    assert!(open().load(&key("locked")).unwrap().is_none());
    drop(held);
    assert!(
        other.try_lock(&name).unwrap().is_some(),
        "a lock that was let go of"
    );
}
