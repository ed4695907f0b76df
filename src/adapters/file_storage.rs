//! Records as files in a directory, one each: the durable half of secure storage. What is in them must be sealed before.
//!
//! A file is replaced as a whole (written beside, made durable, renamed), so a crash leaves the old one or the new one.
//! Writers take turns by a lock file; readers need none. A directory that holds records holds:
//!
//! | name | what |
//! |---|---|
//! | `gp.NAME.record` | a record |
//! | `gp.NAME.spare` | room for the next value of a record, for when the disk is full |
//! | `gp.NAME.lock` | the process lock of a record |
//! | `gatepass.lock` | locked while somebody writes |
//! | `gatepass.floor` | the highest generation of any record that was removed |
//! | `gatepass.HEX.tmp` | what a writer has not renamed yet; without a writer it is rubbish |
//!
//! A record's own name stands between a prefix and an ending, so that no name meets a device of Windows, a hidden file, or
//! a file of ours.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};

use super::directory::{Directory, SystemDirectory};
use super::file_lock::FileLock;
use super::sealing::fill;
use crate::ports::{
    CommitOutcome, Generation, ProcessLock, RecordKey, SecureStorage, StorageFailure, Stored,
};
use crate::sync::lock;

/// How long another writer may take. One that is stopped must not stop us for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest value. The contract asks for 1 MiB; sealing adds a little.
const VALUE_LIMIT: usize = 4 << 20;

/// Room is kept in steps of this.
const BLOCK: usize = 4096;

const LOCK_FILE: &str = "gatepass.lock";
const FLOOR_FILE: &str = "gatepass.floor";

type Result<T> = std::result::Result<T, StorageFailure>;

/// Records in a directory. Several instances and processes may share it. Does not encrypt.
#[derive(Debug)]
pub(crate) struct FileStorage {
    directory: Box<dyn Directory>,
    patience: Duration,
    writing: Mutex<()>,
    /// Whether the directory was there once: then it must not be taken for a new one when it is gone.
    seen: AtomicBool,
    /// Whether the rubbish of dead writers was cleared by this instance.
    cleared: AtomicBool,
    /// The records whose next value may take the room that was kept for it.
    reserved: Mutex<BTreeSet<RecordKey>>,
}

/// The right to write, against other threads and other processes.
pub(super) struct Writing<'a> {
    storage: &'a FileStorage,
    _process: Box<dyn Send>,
    _thread: MutexGuard<'a, ()>,
}

/// What is where a record would be.
enum Found {
    Absent,
    Whole(Stored),
    /// Damaged for good, for this reason.
    Damaged(String),
}

impl FileStorage {
    /// Does no I/O. The directory is created with the first write.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self::over(Box::new(SystemDirectory::new(directory)))
    }

    /// As [`new`](FileStorage::new), in a directory of any kind.
    pub(crate) fn over(directory: Box<dyn Directory>) -> Self {
        Self {
            directory,
            patience: PATIENCE,
            writing: Mutex::new(()),
            seen: AtomicBool::new(false),
            cleared: AtomicBool::new(false),
            reserved: Mutex::default(),
        }
    }

    pub(super) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Waits for its turn; creates the directory if it was never there.
    pub(super) fn write(&self) -> Result<Writing<'_>> {
        let thread = lock(&self.writing);
        if !self.exists()? {
            self.directory
                .create()
                .map_err(|error| self.failed("the directory cannot be created", &error))?;
            self.check_directory()?;
        }
        let process = self
            .directory
            .lock(LOCK_FILE, self.patience)
            .map_err(|error| self.failed("it cannot be locked", &error))?
            .ok_or_else(|| {
                StorageFailure::Failed(format!(
                    "another process has been writing to {} for {} s",
                    self.directory().display(),
                    self.patience.as_secs()
                ))
            })?;
        let writing = Writing {
            storage: self,
            _process: process,
            _thread: thread,
        };
        if !self.has_floor()? {
            writing.set_floor(writing.high_water()?)?;
        }
        self.seen.store(true, Ordering::Relaxed);
        if !self.cleared.swap(true, Ordering::Relaxed) {
            writing.clear()?;
        }
        Ok(writing)
    }

    /// Whether there is a directory; an error if there was one and it is gone.
    pub(super) fn exists(&self) -> Result<bool> {
        if self.has_floor()? {
            self.check_directory()?;
            self.seen.store(true, Ordering::Relaxed);
            return Ok(true);
        }
        if self.seen.load(Ordering::Relaxed) {
            // Unmounted or removed while in use: what was in it is not known to be gone.
            let why = format!("{} is no longer there", self.directory().display());
            return Err(StorageFailure::Failed(why));
        }
        let exists = self.directory.exists();
        let exists = exists.map_err(|error| self.failed("it cannot be looked at", &error))?;
        if exists {
            self.check_directory()?;
        }
        Ok(exists)
    }

    fn has_floor(&self) -> Result<bool> {
        match self.directory.size(FLOOR_FILE) {
            Ok(size) => Ok(size.is_some()),
            Err(error) => Err(self.failed("it cannot be looked at", &error)),
        }
    }

    fn check_directory(&self) -> Result<()> {
        match self.directory.objection() {
            Ok(None) => Ok(()),
            Ok(Some(why)) => {
                let directory = self.directory().display();
                Err(StorageFailure::Failed(format!("{directory} {why}")))
            }
            Err(error) => Err(self.failed("it cannot be looked at", &error)),
        }
    }

    fn find(&self, key: &RecordKey) -> Result<Found> {
        let read = match self.read(&record_file(key))? {
            Some(bytes) => parse(Kind::Record, key.as_str(), &bytes),
            None => return self.exists().map(|_| Found::Absent),
        };
        match read {
            Ok(stored) => Ok(Found::Whole(stored)),
            Err(Unreadable::Damaged(why)) => Ok(Found::Damaged(format!("the record {key:?} {why}"))),
            Err(Unreadable::Newer(version)) => Err(StorageFailure::Failed(format!(
                "the record {key:?} was written by a newer version of this library (format {version})"
            ))),
        }
    }

    /// A whole file, `None` if there is none.
    pub(super) fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let limit = HEADER.saturating_add(VALUE_LIMIT);
        match self.directory.read(name, limit.saturating_add(1)) {
            Ok(Some(bytes)) if bytes.len() > limit => Err(StorageFailure::Failed(format!(
                "{name} in {} is larger than any record",
                self.directory().display()
            ))),
            Ok(read) => Ok(read),
            Err(error) => Err(self.failed(&format!("{name} cannot be read"), &error)),
        }
    }

    fn names(&self) -> Result<Vec<String>> {
        self.directory
            .names()
            .map_err(|error| self.failed("it cannot be listed", &error))
    }

    fn failed(&self, what: &str, error: &io::Error) -> StorageFailure {
        let hint = if is_full(error) { "the disk is full: " } else { "" };
        StorageFailure::Failed(format!("{}: {what}: {hint}{error}", self.directory().display()))
    }
}

impl Writing<'_> {
    /// Puts a whole file in place of what was there, durably.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.replace_by(name, bytes, None)
    }

    /// As [`replace`](Writing::replace); where the disk is full, in the room of this spare file.
    fn replace_by(&self, name: &str, bytes: &[u8], spare: Option<&str>) -> Result<()> {
        let failed = |error: io::Error| self.storage.failed(&format!("{name} cannot be written"), &error);
        let directory = &*self.storage.directory;
        let number = directory.number().map_err(failed)?;
        let temporary = format!("gatepass.{number:016x}.tmp");
        let written = match write_new(directory, &temporary, bytes) {
            Ok(()) => directory.rename(&temporary, name),
            Err(error) => match spare.filter(|_| is_full(&error)) {
                Some(spare) => {
                    drop(directory.remove(&temporary));
                    write_over(directory, spare, &temporary, bytes)
                        .and_then(|from| directory.rename(from, name))
                }
                None => Err(error),
            },
        };
        if let Err(error) = written {
            drop(directory.remove(&temporary));
            return Err(failed(error));
        }
        directory.sync().map_err(failed)
    }

    /// Removes a file durably; one that is not there is removed already.
    pub(super) fn remove_file(&self, name: &str) -> Result<()> {
        let directory = &*self.storage.directory;
        let removed = match directory.remove(name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        removed
            .and_then(|()| directory.sync())
            .map_err(|error| self.storage.failed(&format!("{name} cannot be removed"), &error))
    }

    /// The room that was kept for this record, if it was kept for this very write.
    fn spare_of(&self, key: &RecordKey) -> Option<String> {
        lock(&self.storage.reserved)
            .contains(key)
            .then(|| spare_file(key))
    }

    /// Keeps room for a value of a record.
    fn reserve(&self, key: &RecordKey, bytes: usize) -> Result<()> {
        let directory = &*self.storage.directory;
        let name = spare_file(key);
        let failed = |error: io::Error| {
            let what = format!("no room can be kept for {key:?}");
            self.storage.failed(&what, &error)
        };
        let there = directory.size(&name).map_err(failed)?;
        if there.is_none_or(|size| size < u64::try_from(bytes).unwrap_or(u64::MAX)) {
            if there.is_some() {
                directory.remove(&name).map_err(failed)?;
            }
            // Written and made durable, for only then it is certain that there is room; and noise, because a file system that
            // compresses keeps no room for anything else.
            let mut noise = vec![0; bytes];
            fill(&mut noise)?;
            if let Err(error) = write_new(directory, &name, &noise) {
                drop(directory.remove(&name));
                return Err(failed(error));
            }
        }
        lock(&self.storage.reserved).insert(key.clone());
        Ok(())
    }

    /// Whether there is no record at all, not even a damaged one.
    pub(super) fn finds_no_record(&self) -> Result<bool> {
        Ok(!self
            .storage
            .names()?
            .iter()
            .any(|name| record_key(name).is_some()))
    }

    fn change(&self, key: &RecordKey, expected: Generation, bytes: Option<&[u8]>) -> Result<CommitOutcome> {
        let (current, damaged) = match self.storage.find(key)? {
            Found::Absent => (None, false),
            Found::Whole(stored) => (Some(stored), false),
            Found::Damaged(_) if expected == Generation::ABSENT => (None, true),
            Found::Damaged(why) => return Err(StorageFailure::Lost(why)),
        };
        let at = current
            .as_ref()
            .map_or(Generation::ABSENT, |stored| stored.generation);
        if at != expected {
            return Ok(CommitOutcome::Conflict(current));
        }
        let last = if damaged {
            // Its generation is not known. The clock is above every generation: they start from it and rise slower.
            self.high_water()?.max(self.floor()?)
        } else if at == Generation::ABSENT {
            self.floor()?
        } else {
            at
        };
        let generation = last
            .0
            .checked_add(1)
            .map(Generation)
            .ok_or_else(|| StorageFailure::Failed("a record was written too often".to_owned()))?;
        let name = record_file(key);
        match bytes {
            Some(bytes) => {
                let bytes = file(Kind::Record, key.as_str(), generation, bytes);
                let spare = self.spare_of(key);
                self.replace_by(&name, &bytes, spare.as_deref())?;
                lock(&self.storage.reserved).remove(key);
            }
            None if current.is_none() && !damaged => return Ok(CommitOutcome::Committed(last)),
            None => {
                // Before the record goes, or a crash between the two would let its generation come again.
                self.set_floor(generation.max(self.floor()?))?;
                self.remove_file(&name)?;
                // Of no use any more, and harmless where it stays.
                drop(self.storage.directory.remove(&spare_file(key)));
            }
        }
        Ok(CommitOutcome::Committed(generation))
    }

    /// What every new record's generation is above.
    fn floor(&self) -> Result<Generation> {
        let Some(bytes) = self.storage.read(FLOOR_FILE)? else {
            return self.high_water();
        };
        match parse(Kind::Floor, "", &bytes) {
            Ok(floor) => Ok(floor.generation),
            Err(Unreadable::Damaged(_)) => self.high_water(),
            Err(Unreadable::Newer(version)) => Err(StorageFailure::Failed(format!(
                "{} is of a newer version of this library (format {version})",
                self.storage.directory().display()
            ))),
        }
    }

    fn set_floor(&self, floor: Generation) -> Result<()> {
        self.replace(FLOOR_FILE, &file(Kind::Floor, "", floor, &[]))
    }

    /// A generation that no record here has had, where nothing remembers: by the clock, in microseconds, which pass faster than
    /// records can be made durable. A directory that
    /// is removed and made anew so starts above the old one, whose records other processes may still have in mind.
    fn high_water(&self) -> Result<Generation> {
        let since = self
            .storage
            .directory
            .now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let mut highest = Generation(u64::try_from(since.as_micros()).unwrap_or(u64::MAX / 2));
        for key in self.storage.names()?.iter().filter_map(|name| record_key(name)) {
            if let Found::Whole(stored) = self.storage.find(&key)? {
                highest = highest.max(stored.generation);
            }
        }
        Ok(highest)
    }

    /// Clears what dead writers left. Whoever writes holds the lock, and we hold it.
    fn clear(&self) -> Result<()> {
        for name in self.storage.names()?.iter().filter(|name| is_temporary(name)) {
            self.remove_file(name)?;
        }
        Ok(())
    }
}

impl SecureStorage for FileStorage {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>> {
        match self.find(key)? {
            Found::Absent => Ok(None),
            Found::Whole(stored) => Ok(Some(stored)),
            Found::Damaged(why) => Err(StorageFailure::Lost(why)),
        }
    }

    fn commit(&self, key: &RecordKey, expected: Generation, bytes: &[u8]) -> Result<CommitOutcome> {
        if bytes.len() > VALUE_LIMIT {
            return Err(StorageFailure::Failed(format!(
                "a value of {} bytes is more than the {VALUE_LIMIT} that fit",
                bytes.len()
            )));
        }
        self.write()?.change(key, expected, Some(bytes))
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome> {
        self.write()?.change(key, expected, None)
    }

    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>> {
        if !self.exists()? {
            return Ok(Vec::new());
        }
        // While names are moved about, a directory may be read without one that stays.
        let writing = self.write()?;
        writing.clear()?;
        Ok(self
            .names()?
            .iter()
            .filter_map(|name| record_key(name))
            .filter(|key| key.as_str().starts_with(prefix))
            .collect())
    }

    fn reserve(&self, key: &RecordKey, bytes: usize) -> Result<()> {
        // In whole blocks, so that a value that grows a little finds its room kept already.
        let bytes = HEADER.saturating_add(bytes).saturating_add(BLOCK - 1) / BLOCK * BLOCK;
        self.write()?.reserve(key, bytes)
    }

    fn place(&self) -> Option<String> {
        Some(format!("files in {}", self.directory().display()))
    }

    fn process_lock(&self) -> Option<Arc<dyn ProcessLock>> {
        Some(Arc::new(FileLock::new(self.directory())))
    }
}

fn write_new(directory: &dyn Directory, name: &str, bytes: &[u8]) -> io::Result<()> {
    let mut file = directory.create_new(name)?;
    file.write(bytes)?;
    file.sync()
}

/// Writes a file into the room of another one; gives the name that it then has. Some file systems never write in place:
/// there the other one makes room by going.
fn write_over<'a>(
    directory: &dyn Directory,
    spare: &'a str,
    temporary: &'a str,
    bytes: &[u8],
) -> io::Result<&'a str> {
    let in_place = || {
        let mut file = directory.overwrite(spare)?;
        file.write(bytes)?;
        file.cut(u64::try_from(bytes.len()).unwrap_or(u64::MAX))?;
        file.sync()
    };
    match in_place() {
        Ok(()) => Ok(spare),
        Err(_) => {
            directory.remove(spare)?;
            write_new(directory, temporary, bytes)?;
            Ok(temporary)
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn spare_file(key: &RecordKey) -> String {
    format!("gp.{}.spare", key.as_str())
}

fn record_file(key: &RecordKey) -> String {
    format!("gp.{}.record", key.as_str())
}

fn record_key(file: &str) -> Option<RecordKey> {
    RecordKey::new(file.strip_prefix("gp.")?.strip_suffix(".record")?)
}

fn is_temporary(name: &str) -> bool {
    name.strip_prefix("gatepass.")
        .and_then(|rest| rest.strip_suffix(".tmp"))
        .is_some_and(|hex| hex.len() == 16 && hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// What a file is. Part of its header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Record = b'r' as isize,
    Floor = b'f' as isize,
}

/// Why a file gives no record.
#[derive(Debug, PartialEq, Eq)]
enum Unreadable {
    Damaged(&'static str),
    Newer(u8),
}

const MAGIC: &[u8; 8] = b"gatepass";
const FORMAT: u8 = 1;
/// Magic, kind, format, the format's complement (so that a flipped bit is not taken for a newer format), generation and
/// length (big-endian), SHA-256 of all of these, the record's name and the value.
const HEADER: usize = 8 + 1 + 1 + 1 + 8 + 4 + 32;
const BEFORE_DIGEST: usize = HEADER - 32;

/// The bytes of a file.
fn file(kind: Kind, name: &str, generation: Generation, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER.saturating_add(value.len()));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[kind as u8, FORMAT, !FORMAT]);
    bytes.extend_from_slice(&generation.0.to_be_bytes());
    // A value is within its limit, far below what four bytes count.
    bytes.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
    let digest = digest(&bytes, name, value);
    bytes.extend_from_slice(&digest);
    bytes.extend_from_slice(value);
    bytes
}

/// Takes any bytes.
fn parse(kind: Kind, name: &str, bytes: &[u8]) -> std::result::Result<Stored, Unreadable> {
    let mut rest = bytes;
    if take(&mut rest)? != *MAGIC {
        return Err(Unreadable::Damaged("does not begin as one of ours"));
    }
    let [its_kind, format, complement] = take(&mut rest)?;
    if format != !complement {
        return Err(Unreadable::Damaged("has a damaged header"));
    }
    if format != FORMAT {
        return Err(Unreadable::Newer(format));
    }
    let generation = u64::from_be_bytes(take(&mut rest)?);
    let length = u32::from_be_bytes(take(&mut rest)?);
    let stated: [u8; 32] = take(&mut rest)?;
    if usize::try_from(length) != Ok(rest.len()) {
        return Err(Unreadable::Damaged("is not as long as it says"));
    }
    let header = bytes.get(..BEFORE_DIGEST).unwrap_or_default();
    if its_kind != kind as u8 || stated != digest(header, name, rest) || generation == 0 {
        return Err(Unreadable::Damaged("is damaged: its check sum is wrong"));
    }
    Ok(Stored::new(rest.to_vec(), Generation(generation)))
}

fn take<const N: usize>(rest: &mut &[u8]) -> std::result::Result<[u8; N], Unreadable> {
    let (head, tail) = rest
        .split_first_chunk::<N>()
        .ok_or(Unreadable::Damaged("is cut short"))?;
    *rest = tail;
    Ok(*head)
}

fn digest(header: &[u8], name: &str, value: &[u8]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(header);
    digest.update(u64::try_from(name.len()).unwrap_or(u64::MAX).to_be_bytes());
    digest.update(name);
    digest.update(value);
    digest.finalize().into()
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
