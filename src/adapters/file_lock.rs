//! The process lock made real: files locked through the system, which lets go of them when their holder dies.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fs4::{FileExt, TryLockError};
use sha2::{Digest as _, Sha256};

use crate::ports::{LockFailure, LockGuard, ProcessLock, RecordKey};

/// How often a lock file may be removed under our hands before we give up.
const ATTEMPTS: u32 = 16;

/// A process lock by files in a directory: `flock` on Unix, `LockFileEx` on Windows.
///
/// Two holders exclude each other whether they are two processes or two handles in one. The system lets go of a lock
/// when its holder ends, however it ends. The files stay; they are empty, and there is one for each name.
///
/// Storage that this crate brings has its lock already ([`SecureStorage::process_lock`](crate::SecureStorage::process_lock)).
/// This is for storage of your own.
///
/// ```no_run
/// use std::sync::Arc;
/// use gatepass::{Client, FileLock};
///
/// let client = Client::builder("https://login.example.com", "my-app")
///     .process_lock(Arc::new(FileLock::new("/var/lib/my-app/locks")))
///     .build()?;
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileLock {
    directory: PathBuf,
}

impl FileLock {
    /// Locks by files in this directory, which is created with the first lock (open to its owner only). Does no I/O. The
    /// directory must be on a local disk: what a network file system makes of locks is its own affair.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
        }
    }
}

impl ProcessLock for FileLock {
    fn try_lock(&self, name: &str) -> Result<Option<LockGuard>, LockFailure> {
        let failed =
            |error: io::Error| LockFailure(format!("no lock in {}: {error}", self.directory.display()));
        create_private(&self.directory).map_err(failed)?;
        let held = Held::take(&self.directory.join(file_name(name))).map_err(failed)?;
        Ok(held.map(|held| Box::new(held) as LockGuard))
    }
}

/// A name of ours as it is; any other by its digest, for it may hold what a file system takes for something else.
fn file_name(name: &str) -> String {
    if RecordKey::new(name).is_some() {
        return format!("gp.{name}.lock");
    }
    let digest = Sha256::digest(name.as_bytes());
    digest
        .iter()
        .fold("gatepass.".to_owned(), |text, byte| format!("{text}{byte:02x}"))
        + ".lock"
}

/// A directory that only its owner can enter, and what is missing above it.
pub(super) fn create_private(directory: &Path) -> io::Result<()> {
    if directory.is_dir() {
        return Ok(());
    }
    if directory.exists() {
        // Else the system would say that it exists, to somebody who wants it to.
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "it is not a directory",
        ));
    }
    let missing: Vec<&Path> = directory
        .ancestors()
        .take_while(|above| !above.as_os_str().is_empty() && !above.exists())
        .collect();
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)?;
    // A new directory is durable once the one that names it is. One that may be written but not read cannot be asked.
    for above in missing.iter().filter_map(|new| new.parent()) {
        drop(sync_directory(above));
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    // Windows has no such call; NTFS writes names to its journal in order.
    #[cfg(unix)]
    match directory.as_os_str().is_empty() {
        true => File::open(".")?.sync_all()?,
        false => File::open(directory)?.sync_all()?,
    }
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}

/// A lock file that is ours until this is dropped.
#[derive(Debug)]
pub(super) struct Held(File);

impl Held {
    /// Takes the lock, asking for it again and again with this pause; `None` if another holder still has it when `patience`
    /// is over. Blocks the thread.
    pub(super) fn wait(path: &Path, patience: Duration, pause: Duration) -> io::Result<Option<Self>> {
        let deadline = Instant::now() + patience;
        loop {
            match Self::take(path)? {
                None if Instant::now() < deadline => std::thread::sleep(pause),
                taken => return Ok(taken),
            }
        }
    }

    /// Takes the lock, or says that another holder has it. Never waits.
    pub(super) fn take(path: &Path) -> io::Result<Option<Self>> {
        for _ in 0..ATTEMPTS {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            #[cfg(unix)]
            {
                use std::os::unix::fs::OpenOptionsExt as _;
                let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
                options.mode(0o600).custom_flags(flags.bits().cast_signed());
            }
            let file = options.open(path)?;
            // By the trait's name: a newer standard library has a method of the same name, which Android does not support.
            match FileExt::try_lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            let held = Self(file);
            // Whoever opens the path from now on must meet our lock, so the file must still be the one at the path.
            if held.is_at(path)? {
                return Ok(Some(held));
            }
        }
        Err(io::Error::other(format!(
            "{} keeps being removed",
            path.display()
        )))
    }

    #[cfg(unix)]
    fn is_at(&self, path: &Path) -> io::Result<bool> {
        use std::os::unix::fs::MetadataExt as _;
        let ours = self.0.metadata()?;
        match std::fs::symlink_metadata(path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A locked file stays at its path: another's request to remove it waits for us.
    #[cfg(not(unix))]
    fn is_at(&self, _path: &Path) -> io::Result<bool> {
        Ok(true)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing would do, but for a child that was being started just now and shares the open file.
        drop(FileExt::unlock(&self.0));
    }
}
