//! A directory of files as records need it: what the system does for us, and what it promises to have done.
//!
//! Apart from the rest so that the algorithm over it can be run where the system forgets what it was not told to keep.

use std::fmt::Debug;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::file_lock::{Held, create_private, sync_directory};

/// How often a lock is asked for while another holder has it.
const POLL: Duration = Duration::from_millis(2);

/// Files in one directory, each by its name, and the lock among those who write there.
///
/// After a crash of the machine a file holds what was in it at its last [`sync`](NewFile::sync), and the directory the names
/// that it had at its last [`sync`](Directory::sync). What was done to either since may be there or not, each change by
/// itself.
pub trait Directory: Debug + Send + Sync {
    /// Where it is, for texts.
    fn path(&self) -> &Path;

    /// Makes it, for this user alone; one that is there stays.
    ///
    /// # Errors
    /// If it cannot be made.
    fn create(&self) -> io::Result<()>;

    /// Whether it is there.
    ///
    /// # Errors
    /// If nobody can say.
    fn exists(&self) -> io::Result<bool>;

    /// Why it must not be used, if it must not.
    ///
    /// # Errors
    /// If it cannot be looked at.
    fn objection(&self) -> io::Result<Option<String>>;

    /// A whole file, or its first `limit` bytes; `None` if there is none.
    ///
    /// # Errors
    /// If it is there and cannot be read.
    fn read(&self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>>;

    /// The names of everything in it. One that is no text is left out.
    ///
    /// # Errors
    /// If it cannot be read.
    fn names(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file of a name that is not there yet, for this user alone.
    ///
    /// # Errors
    /// If it cannot be made.
    fn create_new(&self, name: &str) -> io::Result<Box<dyn NewFile>>;

    /// How long a file is, in bytes; `None` if there is nothing of this name.
    ///
    /// # Errors
    /// If nobody can say.
    fn size(&self, name: &str) -> io::Result<Option<u64>>;

    /// Opens a file to be written over from its beginning, in the room that it has.
    ///
    /// # Errors
    /// If there is none, or it cannot be opened.
    fn overwrite(&self, name: &str) -> io::Result<Box<dyn NewFile>>;

    /// Gives a file another name, in place of what had it.
    ///
    /// # Errors
    /// If that cannot be done; then it has its old name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// If that cannot be done, also where there is none.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes its names durable.
    ///
    /// # Errors
    /// If that cannot be done.
    fn sync(&self) -> io::Result<()>;

    /// Takes the lock that this file stands for until what comes is dropped; `None` if another holder still has it when
    /// `patience` is over. Blocks.
    ///
    /// # Errors
    /// If it cannot be locked at all.
    fn lock(&self, name: &str, patience: Duration) -> io::Result<Option<Box<dyn Send>>>;

    /// The time by the wall clock.
    fn now(&self) -> SystemTime;

    /// A number that no other writer draws, for names.
    ///
    /// # Errors
    /// If the system has no randomness.
    fn number(&self) -> io::Result<u64>;
}

/// A file that is being written.
pub trait NewFile: Send {
    /// Writes more of it.
    ///
    /// # Errors
    /// If it cannot be written, a full disk for example.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts off what lies behind this many bytes.
    ///
    /// # Errors
    /// If that cannot be done.
    fn cut(&mut self, length: u64) -> io::Result<()>;

    /// Makes what was written durable.
    ///
    /// # Errors
    /// If that cannot be done.
    fn sync(&mut self) -> io::Result<()>;
}

/// A directory of the system.
#[derive(Debug)]
pub(super) struct SystemDirectory(PathBuf);

impl SystemDirectory {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }
}

impl Directory for SystemDirectory {
    fn path(&self) -> &Path {
        &self.0
    }

    fn create(&self) -> io::Result<()> {
        create_private(&self.0)
    }

    fn exists(&self) -> io::Result<bool> {
        self.0.try_exists()
    }

    /// Nobody else may look in, let alone put files there.
    fn objection(&self) -> io::Result<Option<String>> {
        let about = std::fs::metadata(&self.0)?;
        if !about.is_dir() {
            return Ok(Some("is not a directory".to_owned()));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt as _;
            let me = rustix::process::geteuid().as_raw();
            if about.uid() != me {
                let why = format!(
                    "belongs to the user {}, and this process runs as {me}",
                    about.uid()
                );
                return Ok(Some(why));
            }
            if about.mode() & 0o077 != 0 {
                let mode = about.mode() & 0o777;
                let why = format!("is open to other users (mode {mode:o}); close it with chmod 700");
                return Ok(Some(why));
            }
        }
        Ok(None)
    }

    fn read(&self, name: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            // What is no plain file is not followed and not waited for.
            let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
            options.custom_flags(flags.bits().cast_signed());
        }
        let file = match options.open(self.0.join(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no plain file"));
        }
        let mut bytes = Vec::new();
        file.take(u64::try_from(limit).unwrap_or(u64::MAX))
            .read_to_end(&mut bytes)?;
        Ok(Some(bytes))
    }

    fn names(&self) -> io::Result<Vec<String>> {
        std::fs::read_dir(&self.0)?
            .filter_map(|entry| {
                entry
                    .map(|entry| entry.file_name().into_string().ok())
                    .transpose()
            })
            .collect()
    }

    fn create_new(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Box::new(options.open(self.0.join(name))?))
    }

    fn size(&self, name: &str) -> io::Result<Option<u64>> {
        match std::fs::symlink_metadata(self.0.join(name)) {
            Ok(about) => Ok(Some(about.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn overwrite(&self, name: &str) -> io::Result<Box<dyn NewFile>> {
        let mut options = OpenOptions::new();
        options.write(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt as _;
            options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        }
        Ok(Box::new(options.open(self.0.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.0.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        sync_directory(&self.0)
    }

    fn lock(&self, name: &str, patience: Duration) -> io::Result<Option<Box<dyn Send>>> {
        let held = Held::wait(&self.0.join(name), patience, POLL)?;
        Ok(held.map(|held| Box::new(held) as Box<dyn Send>))
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn number(&self) -> io::Result<u64> {
        getrandom::u64().map_err(io::Error::other)
    }
}

impl NewFile for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
