//! A process of its own with a storage of its own: this program, started again, doing what it reads from its input.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
#[cfg(all(feature = "keyring", target_os = "linux"))]
use std::time::Duration;

use gatepass::{
    CommitOutcome, EncryptedFileStorage, FileKey, FileLock, Generation, ProcessLock as _, RecordKey,
    SecureStorage, StorageFailure,
};

const KIND: &str = "GATEPASS_TEST_STORAGE";
const DIRECTORY: &str = "GATEPASS_TEST_DIRECTORY";
#[cfg(all(feature = "keyring", target_os = "linux"))]
const TIMEOUT: &str = "GATEPASS_TEST_TIMEOUT_MS";
/// Tells our lines from those of the test harness.
const MARK: &str = ">>> ";

/// The id of the app whose sessions the tests keep.
#[cfg(all(feature = "keyring", target_os = "linux"))]
pub(crate) const APP: &str = "com.example.storage-test";

pub(crate) struct Child {
    pub(crate) process: std::process::Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    /// A process over encrypted files.
    pub(crate) fn over_files(directory: &Path) -> Self {
        Self::start(Command::new(std::env::current_exe().unwrap()), "files", directory)
    }

    /// `program` must start this program with the arguments that follow.
    pub(crate) fn start(mut program: Command, kind: &str, directory: &Path) -> Self {
        let mut process = program
            .args(["--exact", "child::child", "--nocapture", "--test-threads=1"])
            .env(KIND, kind)
            .env(DIRECTORY, directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let stdout = BufReader::new(process.stdout.take().unwrap());
        Self {
            process,
            stdin,
            stdout,
        }
    }

    /// A process over the keychain of this D-Bus session.
    #[cfg(all(feature = "keyring", target_os = "linux"))]
    pub(crate) fn over_keychain(directory: &Path, session: &str, timeout: Duration) -> Self {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.env("DBUS_SESSION_BUS_ADDRESS", session);
        program.env(TIMEOUT, timeout.as_millis().to_string());
        Self::start(program, "keychain", directory)
    }

    pub(crate) fn tell(&mut self, what: &str) {
        writeln!(self.stdin, "{what}").unwrap();
    }

    /// Its next answer.
    pub(crate) fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert!(
                self.stdout.read_line(&mut line).unwrap() > 0,
                "the child has ended"
            );
            // The harness writes `test child::child ... ` before the first of them.
            if let Some((_, answer)) = line.split_once(MARK) {
                return answer.trim_end().to_owned();
            }
        }
    }

    pub(crate) fn ask(&mut self, what: &str) -> String {
        self.tell(what);
        self.answer()
    }

    /// As the system does it: without a word. What it held is released when this returns.
    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// What a child does. As a test of its own it does nothing.
#[test]
fn child() {
    let Ok(kind) = std::env::var(KIND) else { return };
    let directory = std::env::var(DIRECTORY).unwrap();
    let open = || -> Arc<dyn SecureStorage> {
        match kind.as_str() {
            #[cfg(all(feature = "keyring", target_os = "linux"))]
            "keychain" => {
                let timeout = std::env::var(TIMEOUT).unwrap().parse().unwrap();
                let builder = gatepass::KeychainStorage::builder(APP)
                    .directory(&directory)
                    .timeout(Duration::from_millis(timeout));
                Arc::new(builder.build().unwrap())
            }
            _ => Arc::new(EncryptedFileStorage::open(&directory, FileKey::Bytes([1; 32])).unwrap()),
        }
    };
    let storage = open();
    let mut locks = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match words[..] {
            ["load", name] => match storage.load(&key(name)) {
                Ok(Some(stored)) => format!("present {}", String::from_utf8_lossy(&stored.bytes)),
                Ok(None) => "absent".to_owned(),
                Err(failure) => describe(&failure),
            },
            ["put", name, value] => match put(&*storage, &key(name), value.as_bytes()) {
                Ok(_) => "committed".to_owned(),
                Err(failure) => describe(&failure),
            },
            // Over what is lost.
            ["create", name, value] => {
                match storage.commit(&key(name), Generation::ABSENT, value.as_bytes()) {
                    Ok(CommitOutcome::Committed(_)) => "committed".to_owned(),
                    Ok(CommitOutcome::Conflict(_)) => "conflict".to_owned(),
                    Err(failure) => describe(&failure),
                }
            }
            ["put-large", name, length] => {
                match put(&*storage, &key(name), &vec![b'x'; length.parse().unwrap()]) {
                    Ok(_) => "committed".to_owned(),
                    Err(failure) => describe(&failure),
                }
            }
            ["count", name, times] => {
                count(&*storage, &key(name), times.parse().unwrap());
                "counted".to_owned()
            }
            ["churn", name] => churn(&*storage, &key(name)),
            ["lock", name] => match FileLock::new(&directory).try_lock(name).unwrap() {
                Some(guard) => {
                    locks.push(guard);
                    "held".to_owned()
                }
                None => "busy".to_owned(),
            },
            #[cfg(feature = "conformance")]
            ["conformance"] => {
                /// Any storage, as the suite takes it.
                #[derive(Debug)]
                struct Any(Arc<dyn SecureStorage>);
                impl SecureStorage for Any {
                    fn load(&self, key: &RecordKey) -> Result<Option<gatepass::Stored>, StorageFailure> {
                        self.0.load(key)
                    }
                    fn commit(
                        &self,
                        key: &RecordKey,
                        expected: Generation,
                        bytes: &[u8],
                    ) -> Result<CommitOutcome, StorageFailure> {
                        self.0.commit(key, expected, bytes)
                    }
                    fn remove(
                        &self,
                        key: &RecordKey,
                        expected: Generation,
                    ) -> Result<CommitOutcome, StorageFailure> {
                        self.0.remove(key, expected)
                    }
                    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure> {
                        self.0.list(prefix)
                    }
                    fn place(&self) -> Option<String> {
                        self.0.place()
                    }
                    fn process_lock(&self) -> Option<Arc<dyn gatepass::ProcessLock>> {
                        self.0.process_lock()
                    }
                }
                gatepass::conformance::storage(|| Arc::new(Any(open())));
                "kept".to_owned()
            }
            _ => panic!("{line:?}"),
        };
        println!("{MARK}{answer}");
    }
}

pub(crate) fn key(name: &str) -> RecordKey {
    RecordKey::new(name).unwrap()
}

fn describe(failure: &StorageFailure) -> String {
    match failure {
        StorageFailure::Locked => "locked".to_owned(),
        StorageFailure::Lost(why) => format!("lost: {why}"),
        StorageFailure::Failed(why) => format!("failed: {why}"),
        other => format!("{other:?}"),
    }
}

/// Writes over whatever is there.
pub(crate) fn put(
    storage: &dyn SecureStorage,
    key: &RecordKey,
    value: &[u8],
) -> Result<Generation, StorageFailure> {
    loop {
        let now = storage.load(key)?;
        let expected = now.map_or(Generation::ABSENT, |stored| stored.generation);
        if let CommitOutcome::Committed(generation) = storage.commit(key, expected, value)? {
            return Ok(generation);
        }
    }
}

fn count(storage: &dyn SecureStorage, key: &RecordKey, times: u32) {
    for _ in 0..times {
        loop {
            let stored = storage.load(key).unwrap();
            let (number, at) = stored.map_or((0, Generation::ABSENT), |stored| {
                let text = String::from_utf8(stored.bytes.to_vec()).unwrap();
                (text.parse::<u64>().unwrap(), stored.generation)
            });
            let next = (number + 1).to_string();
            if let CommitOutcome::Committed(_) = storage.commit(key, at, next.as_bytes()).unwrap() {
                break;
            }
        }
    }
}

/// Writes for ever, and says after each write which one it was.
fn churn(storage: &dyn SecureStorage, key: &RecordKey) -> String {
    for number in 0u64.. {
        let generation = put(storage, key, &pattern(number)).unwrap();
        println!("{MARK}{} {number}", generation.0);
    }
    String::new()
}

/// A value that cannot be half there.
pub(crate) fn pattern(number: u64) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    let length = usize::try_from(number % 7 * 4000).unwrap();
    bytes.resize(8 + length, bytes[7]);
    bytes
}
