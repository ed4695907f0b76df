//! Sealed records: what was sealed under a name opens under it, and nothing else opens at all.

use std::sync::{Arc, LazyLock};

use zeroize::Zeroizing;

use super::input::{edited, first_line, unguessable};
use crate::adapters::memory::MemoryStorage;
use crate::adapters::sealing::{DataKey, Sealed, Unopened};
use crate::ports::{CommitOutcome, Generation, RecordKey, SecureStorage, StorageFailure};

static KEY: LazyLock<Arc<DataKey>> =
    LazyLock::new(|| Arc::new(DataKey::new(Box::new(Zeroizing::new([7; 32])))));
static OTHER: LazyLock<Arc<DataKey>> =
    LazyLock::new(|| Arc::new(DataKey::new(Box::new(Zeroizing::new([8; 32])))));

/// `o`: the rest is what is found in storage. Anything else: the first line is a name, the second a list of changes (three
/// bytes each, in hexadecimal or raw), the rest a value to seal.
pub fn sealed_record(data: &[u8]) {
    if let [b'o', found @ ..] = data {
        arbitrary(found);
        return;
    }
    match DataKey::from_slice(data) {
        Some(key) => assert_eq!((key.bytes().as_slice(), data.len()), (data, 32)),
        None => assert_ne!(data.len(), 32),
    }
    assert_eq!(DataKey::from_slice(KEY.bytes()).unwrap().id(), KEY.id());
    let (name, rest) = first_line(data);
    let (edits, value) = first_line(rest);
    let Ok(name) = std::str::from_utf8(name) else {
        return;
    };
    // From the input, so that a finding comes again.
    let mut nonce = [0; 24];
    for (byte, digit) in nonce.iter_mut().zip(unguessable(data).bytes().cycle()) {
        *byte = digit;
    }
    let sealed = KEY.seal_with(nonce, name, value).unwrap();
    assert_eq!(
        &*KEY.open(name, &sealed).unwrap(),
        value,
        "sealed, and not to be opened"
    );
    assert_eq!(sealed.len(), value.len() + 2 + 8 + 24 + 16);
    if value.len() >= 16 {
        let shows = sealed.windows(value.len()).any(|window| window == value);
        assert!(!shows, "sealed, and to be read");
    }
    // Under another name, with another key, cut, or changed in any bit: never.
    assert!(KEY.open(&format!("{name}x"), &sealed).is_err());
    assert_eq!(
        OTHER.open(name, &sealed).unwrap_err(),
        Unopened::OtherKey(KEY.id())
    );
    let cut = edits.first().map_or(0, |byte| usize::from(*byte)) % sealed.len();
    assert!(KEY.open(name, &sealed[..cut]).is_err(), "cut");
    assert!(KEY.open(name, &[&sealed[..], b"x"].concat()).is_err(), "longer");
    let changed = edited(&sealed, edits);
    if changed != sealed {
        assert!(KEY.open(name, &changed).is_err(), "changed, and opened");
    }
    through_storage(name, value, &changed, changed == sealed);
}

fn arbitrary(found: &[u8]) {
    let refused = KEY.open("session.x", found).expect_err("a forgery opened");
    match refused {
        Unopened::Newer(format) => assert!(format > 1 || format == 0),
        Unopened::OtherKey(id) => assert_ne!(id, KEY.id()),
        Unopened::Damaged(why) => assert!(!why.is_empty()),
    }
    stored("session.x", found, None);
}

fn through_storage(name: &str, value: &[u8], changed: &[u8], same: bool) {
    let Some(key) = RecordKey::new(name) else { return };
    let sealed = Sealed::new(MemoryStorage::default(), Arc::clone(&KEY));
    let committed = sealed.commit(&key, Generation::ABSENT, value).unwrap();
    let CommitOutcome::Committed(generation) = committed else {
        panic!("a conflict with nobody");
    };
    let loaded = sealed.load(&key).unwrap().expect("taken for none");
    assert_eq!((&**loaded.bytes, loaded.generation), (value, generation));
    match sealed.commit(&key, Generation::ABSENT, b"other").unwrap() {
        CommitOutcome::Conflict(Some(current)) => assert_eq!(&**current.bytes, value),
        other => panic!("written over: {other:?}"),
    }
    assert_eq!(sealed.list("").unwrap(), std::slice::from_ref(&key));
    assert!(
        sealed.place().is_none() && sealed.process_lock().is_none(),
        "of memory"
    );
    assert!(!format!("{sealed:?}").contains("[7, 7"), "a key is printed");
    assert!(matches!(
        sealed.remove(&key, generation).unwrap(),
        CommitOutcome::Committed(_)
    ));
    assert!(sealed.load(&key).unwrap().is_none());
    stored(name, changed, same.then_some(value));
}

/// Bytes in storage are a value or a typed failure, never nothing; and a lost one can be written over.
fn stored(name: &str, found: &[u8], value: Option<&[u8]>) {
    let Some(key) = RecordKey::new(name) else { return };
    let records = MemoryStorage::default();
    records.commit(&key, Generation::ABSENT, found).unwrap();
    let sealed = Sealed::new(records, Arc::clone(&KEY));
    match (sealed.load(&key), value) {
        (Ok(Some(stored)), Some(value)) => assert_eq!(&**stored.bytes, value),
        (Ok(found), _) => panic!("{:?}", found.map(|found| found.bytes.len())),
        (Err(failure), None) => {
            let written = sealed.commit(&key, Generation::ABSENT, b"anew");
            match failure {
                StorageFailure::Lost(_) => {
                    assert!(matches!(written, Ok(CommitOutcome::Committed(_))));
                    assert_eq!(&**sealed.load(&key).unwrap().unwrap().bytes, b"anew");
                }
                // Of a newer version: others can read it, so it is not written over.
                StorageFailure::Failed(_) => assert!(written.is_err()),
                StorageFailure::Locked => panic!("locked"),
            }
        }
        (Err(failure), Some(_)) => panic!("{failure:?}"),
    }
}
