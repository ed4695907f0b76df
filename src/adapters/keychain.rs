//! Sessions in sealed files whose key is in the keychain of the system: Secret Service, macOS, Windows.
//!
//! The keychain holds 32 bytes, so that none of its limits matters, and is asked once in a process. It may block for as
//! long as it likes, on a thread that nobody waits for longer than the app allows.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use etcetera::BaseStrategy as _;
use tracing::{debug, info, warn};
use zeroize::Zeroizing;

use super::file_lock::Held;
use super::file_storage::FileStorage;
use super::key_file;
use super::sealing::{DataKey, DataKeys, KeyId, Sealed};
use crate::error::{Error, ErrorKind, Result, Stage};
use crate::ports::{
    CommitOutcome, Generation, ProcessLock, RecordKey, SecureStorage, StorageFailure, Stored,
};
use crate::sync::lock;

#[cfg(target_os = "macos")]
#[path = "keychain/macos.rs"]
mod system;
#[cfg(all(unix, not(target_os = "macos")))]
#[path = "keychain/secret_service.rs"]
mod system;
#[cfg(windows)]
#[path = "keychain/windows.rs"]
mod system;

/// No clock has room for every `Duration`.
const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a caller waits for the keychain.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a first start waits for another first start, which may be waiting for the user.
const FIRST_START_PATIENCE: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(20);
/// Locked while the data key is made.
const FIRST_START_LOCK: &str = "gatepass.keychain.lock";

type Answer<T> = std::result::Result<T, StorageFailure>;

/// Secure storage for desktop apps: the records in encrypted files (XChaCha20-Poly1305), their key in the keychain of the
/// system: the Secret Service of Linux and BSD desktops, the login keychain of macOS, the credential store of Windows.
///
/// - Nothing is asked of the keychain before the first record is read or written, and one question serves the process.
/// - A keychain that is locked, whose prompt the user dismisses, or that does not answer within the
///   [timeout](KeychainStorageBuilder::timeout) is `Locked`: nothing is lost, and the next attempt asks again. At most one
///   thread waits for it, however often it is asked.
/// - Where there is none (a server, a container) every operation fails and says so. There is no fallback: choose
///   [`EncryptedFileStorage`](crate::EncryptedFileStorage) yourself.
/// - Records whose key is gone from the keychain (a reset keychain) are `Lost`, and the next sign-in makes a new key.
/// - Several processes may share it; the storage brings the [process lock](SecureStorage::process_lock).
///
/// ```no_run
/// use std::sync::Arc;
/// use gatepass::{Client, KeychainStorage};
///
/// let storage = KeychainStorage::new("com.example.my-app")?;
/// let client = Client::builder("https://login.example.com", "my-app").storage(Arc::new(storage)).build()?;
/// # Ok::<(), gatepass::Error>(())
/// ```
pub struct KeychainStorage(Sealed<FileStorage, Keys>);

impl KeychainStorage {
    /// The storage of the app with this id, in the user's data directory (`~/.local/share/ID/gatepass`,
    /// `~/Library/Application Support/ID/gatepass`, `%LOCALAPPDATA%\ID\gatepass`). Does no I/O.
    ///
    /// The id is what tells apps apart in the keychain: a name of your own in reverse, `com.example.my-app`; letters,
    /// digits, `.`, `-` and `_`, at most 100, and no dot at either end.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if it is no such id, or if the user has no home directory.
    pub fn new(app_id: impl Into<String>) -> Result<Self> {
        Self::builder(app_id).build()
    }

    /// As [`new`](Self::new), with more to choose.
    pub fn builder(app_id: impl Into<String>) -> KeychainStorageBuilder {
        KeychainStorageBuilder {
            app_id: app_id.into(),
            directory: None,
            timeout: TIMEOUT,
        }
    }
}

/// The configuration of a [`KeychainStorage`].
///
/// ```no_run
/// use std::time::Duration;
/// use gatepass::KeychainStorage;
///
/// let storage = KeychainStorage::builder("com.example.my-app")
///     .directory("/var/lib/my-app/sessions")
///     .timeout(Duration::from_secs(60))
///     .build()?;
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct KeychainStorageBuilder {
    app_id: String,
    directory: Option<PathBuf>,
    timeout: Duration,
}

impl KeychainStorageBuilder {
    /// Where the encrypted files are, in place of the user's data directory. Made with the first write, for this user alone
    /// (mode 700). All processes of an app must use the same one.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// How long an operation waits for the keychain; 10 seconds unless set. An unlocked keychain takes milliseconds. One that
    /// asks the user for a password takes as long as the user does: an app that wants to wait for that sets a minute or two,
    /// one that rather says "locked" and tries again leaves it. The prompt stays either way, and its answer counts.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Checks the configuration. Does no I/O.
    ///
    /// # Errors
    /// As [`KeychainStorage::new`].
    pub fn build(self) -> Result<KeychainStorage> {
        let refuse = |code, why: String| Err(Error::new(ErrorKind::Configuration, Stage::Storage, code, why));
        let id = &self.app_id;
        let fits = (1..=100).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
            && !id.starts_with('.')
            && !id.ends_with('.');
        if !fits {
            return refuse(
                "storage_app_id",
                format!("the app id {id:?} must be like com.example.my-app: letters, digits, '.', '-', '_'"),
            );
        }
        let directory = match self.directory {
            Some(directory) => directory,
            None => match data_directory() {
                Some(data) => data.join(id).join("gatepass"),
                None => {
                    let why =
                        "this user has no home directory; name one with KeychainStorageBuilder::directory";
                    return refuse("storage_directory", why.to_owned());
                }
            },
        };
        let directory = match std::path::absolute(&directory) {
            Ok(directory) => directory,
            Err(error) => return refuse("storage_directory", format!("{}: {error}", directory.display())),
        };
        let keys = Keys {
            keychain: Keychain::of(id, &directory),
            timeout: self.timeout,
        };
        Ok(KeychainStorage(Sealed::new(FileStorage::new(directory), keys)))
    }
}

/// Where this user's programs keep their data on this machine.
fn data_directory() -> Option<PathBuf> {
    let strategy = etcetera::base_strategy::choose_native_strategy().ok()?;
    // What etcetera calls the data directory of Windows follows the user to other machines. The key does not.
    Some(match cfg!(windows) {
        true => strategy.cache_dir(),
        false => strategy.data_dir(),
    })
}

/// A place for one secret in the system's keychain. Every call may block for ever.
trait Vault: Send + Sync + fmt::Debug {
    /// The secret; `None` only if there certainly is none.
    fn read(&self) -> Answer<Option<Zeroizing<Vec<u8>>>>;

    /// Puts a secret where there was none.
    fn write(&self, secret: &[u8]) -> Answer<()>;
}

/// The data key, by way of the keychain.
#[derive(Debug)]
struct Keys {
    keychain: Arc<Keychain>,
    timeout: Duration,
}

/// One app's key in one process. Shared by all storages over the same directory.
#[derive(Debug)]
struct Keychain {
    vault: Box<dyn Vault>,
    files: FileStorage,
    state: Mutex<State>,
    answered: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What was read last.
    key: Option<Arc<DataKey>>,
    /// Whether a thread is asking just now. There is never a second one.
    asking: bool,
    /// How many questions were answered, and how the last one was.
    answers: u64,
    last: Option<Answer<Option<Arc<DataKey>>>>,
}

impl Keychain {
    fn new(vault: Box<dyn Vault>, directory: PathBuf) -> Self {
        Self {
            vault,
            files: FileStorage::new(directory),
            state: Mutex::default(),
            answered: Condvar::new(),
        }
    }

    /// The same for everybody in this process who has the same key and the same files.
    fn of(app_id: &str, directory: &std::path::Path) -> Arc<Self> {
        type Known = HashMap<(String, PathBuf), Weak<Keychain>>;
        static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
        let mut known = lock(KNOWN.get_or_init(Mutex::default));
        known.retain(|_, keychain| keychain.strong_count() > 0);
        let name = (app_id.to_owned(), directory.to_owned());
        if let Some(keychain) = known.get(&name).and_then(Weak::upgrade) {
            return keychain;
        }
        let vault = Box::new(system::SystemVault::new(app_id));
        let keychain = Arc::new(Self::new(vault, directory.to_owned()));
        known.insert(name, Arc::downgrade(&keychain));
        keychain
    }

    /// Asks on a thread of its own, and waits for at most this long. `None` if there certainly is no key and none is to be
    /// made.
    fn ask(self: &Arc<Self>, make: bool, timeout: Duration) -> Answer<Option<Arc<DataKey>>> {
        let deadline = Instant::now() + timeout.min(LONGEST_WAIT);
        let mut state = lock(&self.state);
        loop {
            // A question that is under way already may be another one; its answer counts if it is a key.
            let (ours, before) = (!state.asking, state.answers);
            if ours {
                state.asking = true;
                state.last = None;
                // Where there is no thread to be had the asker goes, and takes this lock.
                drop(state);
                let asker = Asker(Arc::clone(self));
                std::thread::Builder::new()
                    .name("gatepass-keychain".to_owned())
                    .spawn(move || asker.ask(make))
                    .map_err(|error| {
                        StorageFailure::Failed(format!("no thread for the keychain: {error}"))
                    })?;
                state = lock(&self.state);
            }
            while state.answers == before {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    warn!(
                        seconds = timeout.as_secs(),
                        "the keychain does not answer: it waits for the user, or hangs"
                    );
                    return Err(StorageFailure::Locked);
                }
                state = self
                    .answered
                    .wait_timeout(state, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            match state.last.clone() {
                Some(Ok(None)) if make && !ours => {}
                Some(answer) => return answer,
                None => {}
            }
        }
    }

    /// On the asking thread: blocks for as long as it takes.
    fn question(&self, make: bool) -> Answer<Option<Arc<DataKey>>> {
        key_file::check_kept_in_keychain(&self.files)?;
        if let Some(key) = self.read()? {
            if make {
                self.note(key.id())?;
            }
            return Ok(Some(key));
        }
        if !make {
            return Ok(None);
        }
        // The directory, for the lock in it.
        drop(self.files.write()?);
        let _first = self.first_start()?;
        if let Some(key) = self.read()? {
            debug!("another process made the key meanwhile");
            self.note(key.id())?;
            return Ok(Some(key));
        }
        let made = DataKey::random()?;
        self.vault
            .write(Zeroizing::new(STANDARD.encode(made.bytes())).as_bytes())?;
        // What counts is what comes back.
        let key = self.read()?.ok_or_else(|| {
            StorageFailure::Failed("the keychain does not keep what is put into it".to_owned())
        })?;
        self.note(key.id())?;
        info!("a new key for stored sign-ins is in the keychain");
        Ok(Some(key))
    }

    fn read(&self) -> Answer<Option<Arc<DataKey>>> {
        let Some(text) = self.vault.read()? else {
            return Ok(None);
        };
        let bytes = STANDARD.decode(&*text).map(Zeroizing::new);
        let key = bytes.ok().and_then(|bytes| DataKey::from_slice(&bytes));
        // Somebody else's, or of a later version: not ours to judge, let alone to write over.
        let key = key.ok_or_else(|| {
            StorageFailure::Failed("the keychain holds something else under the name of our key".to_owned())
        })?;
        Ok(Some(Arc::new(key)))
    }

    /// Waits for its turn to make the key. A process that is stopped there must not stop us for ever.
    fn first_start(&self) -> Answer<Held> {
        let path = self.files.directory().join(FIRST_START_LOCK);
        match Held::wait(&path, FIRST_START_PATIENCE, POLL) {
            Ok(Some(held)) => Ok(held),
            // It waits for the keychain, as we would.
            Ok(None) => Err(StorageFailure::Locked),
            Err(error) => Err(StorageFailure::Failed(format!("{}: {error}", path.display()))),
        }
    }

    /// Leaves word in the directory which key is in use, so that processes that know an older one ask again.
    fn note(&self, id: KeyId) -> Answer<()> {
        if key_file::keychain_id(&self.files)? == Some(id) {
            return Ok(());
        }
        key_file::note_keychain_id(&self.files.write()?, id)
    }
}

/// The right to ask. Answers when it is dropped, whatever happened.
struct Asker(Arc<Keychain>);

impl Asker {
    fn ask(self, make: bool) {
        let answer = self.0.question(make);
        let mut state = lock(&self.0.state);
        if let Ok(Some(key)) = &answer {
            state.key = Some(Arc::clone(key));
        }
        state.last = Some(answer);
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.asking = false;
        state.answers = state.answers.wrapping_add(1);
        if std::thread::panicking() {
            state.last = Some(Err(StorageFailure::Failed(
                "asking the keychain panicked".to_owned(),
            )));
        }
        self.0.answered.notify_all();
    }
}

impl Keys {
    fn cached(&self) -> Option<Arc<DataKey>> {
        lock(&self.keychain.state).key.clone()
    }
}

impl DataKeys for Keys {
    fn key(&self, id: KeyId) -> Answer<Arc<DataKey>> {
        if let Some(key) = self.cached().filter(|key| key.id() == id) {
            return Ok(key);
        }
        match self.keychain.ask(false, self.timeout)? {
            Some(key) if key.id() == id => Ok(key),
            Some(_) => Err(StorageFailure::Lost(
                "it is sealed with a key that is no longer in the keychain; there is a newer one".to_owned(),
            )),
            None => Err(StorageFailure::Lost(
                "its key is no longer in the keychain".to_owned(),
            )),
        }
    }

    fn sealing_key(&self) -> Answer<Arc<DataKey>> {
        if let Some(key) = self.cached()
            && key_file::keychain_id(&self.keychain.files)? == Some(key.id())
        {
            return Ok(key);
        }
        self.keychain
            .ask(true, self.timeout)?
            .ok_or_else(|| StorageFailure::Failed("the keychain gave no key".to_owned()))
    }
}

impl fmt::Debug for KeychainStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KeychainStorage").field(&self.0.place()).finish()
    }
}

impl SecureStorage for KeychainStorage {
    fn load(&self, key: &RecordKey) -> Answer<Option<Stored>> {
        self.0.load(key)
    }

    fn commit(&self, key: &RecordKey, expected: Generation, bytes: &[u8]) -> Answer<CommitOutcome> {
        self.0.commit(key, expected, bytes)
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Answer<CommitOutcome> {
        self.0.remove(key, expected)
    }

    fn list(&self, prefix: &str) -> Answer<Vec<RecordKey>> {
        self.0.list(prefix)
    }

    fn reserve(&self, key: &RecordKey, bytes: usize) -> Answer<()> {
        self.0.reserve(key, bytes)
    }

    fn place(&self) -> Option<String> {
        self.0.place()
    }

    fn process_lock(&self) -> Option<Arc<dyn ProcessLock>> {
        self.0.process_lock()
    }
}

#[cfg(test)]
mod tests;
