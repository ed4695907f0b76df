//! Where sessions are kept: the keychain, a directory of encrypted files, or memory. Never one in place of another.

use std::ffi::OsStr;
use std::fmt;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use etcetera::BaseStrategy as _;
use gatepass::{EncryptedFileStorage, FileKey, KeychainStorage, MemoryStorage, Secret, SecureStorage};

use crate::failure::Failure;
use crate::report::Report;
use crate::settings::environment;

/// The file that tells that a directory is a store.
const KEY_FILE: &str = "gatepass.key";
/// What the key of the sessions is called in the keychain.
const APP_ID: &str = "io.gatepass.cli";
/// How long the keychain may wait for a person who sits there. A script waits for as long as the library thinks fit.
const PATIENCE: Duration = Duration::from_secs(120);
const PASSPHRASE: &str = "GATEPASS_STORE_PASSPHRASE";

/// What `--store` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoreName {
    Keychain,
    File(PathBuf),
    Memory,
}

impl StoreName {
    /// Reads `keychain`, `file:PATH` or `memory`. The path may be any that the system can have.
    pub(crate) fn parse(text: &OsStr) -> Result<Self, String> {
        match text.to_str() {
            Some("keychain") => return Ok(Self::Keychain),
            Some("memory") => return Ok(Self::Memory),
            _ => {}
        }
        match after_file(text) {
            Some(path) if path.as_os_str().is_empty() => Err("file: needs a directory".to_owned()),
            Some(path) => Ok(Self::File(at_home(path))),
            None => Err("a store is keychain, file:PATH or memory".to_owned()),
        }
    }

    /// The same, with a relative path taken from this directory.
    pub(crate) fn below(self, directory: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(directory.join(path)),
            other => other,
        }
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keychain => f.write_str("keychain"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Memory => f.write_str("memory"),
        }
    }
}

#[cfg(unix)]
fn after_file(text: &OsStr) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let path = text.as_bytes().strip_prefix(b"file:")?;
    Some(PathBuf::from(OsStr::from_bytes(path)))
}

#[cfg(not(unix))]
fn after_file(text: &OsStr) -> Option<PathBuf> {
    text.to_str()?.strip_prefix("file:").map(PathBuf::from)
}

/// No shell expands the `~` of `file:~/sessions`.
fn at_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), etcetera::home_dir()) {
        (Ok(below), Ok(home)) => home.join(below),
        _ => path,
    }
}

/// The program's own directory for what it is configured with; `None` for a user without a home.
pub(crate) fn config_directory() -> Option<PathBuf> {
    let strategy = etcetera::base_strategy::choose_native_strategy().ok()?;
    // What etcetera calls the configuration directory of macOS is for the system's own preference files.
    let directory = if cfg!(target_os = "macos") {
        strategy.data_dir()
    } else {
        strategy.config_dir()
    };
    Some(directory.join("gatepass"))
}

/// What the store is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// To keep a session in it: it is made if it is not there.
    Keep,
    /// To look for sessions: one that is not there has none.
    Look,
}

/// Opens a store. Blocks: reads the disk, and with a passphrase computes for some 100 ms.
pub(crate) fn open(
    name: &StoreName,
    purpose: Purpose,
    report: &Report,
) -> Result<Arc<dyn SecureStorage>, Failure> {
    report.opens(name);
    match name {
        StoreName::Keychain => {
            let mut builder = KeychainStorage::builder(APP_ID);
            if std::io::stderr().is_terminal() {
                builder = builder.timeout(PATIENCE);
            }
            Ok(Arc::new(builder.build()?))
        }
        StoreName::Memory => Ok(Arc::new(MemoryStorage::default())),
        StoreName::File(directory) => open_files(directory, purpose, report),
    }
}

fn open_files(
    directory: &Path,
    purpose: Purpose,
    report: &Report,
) -> Result<Arc<dyn SecureStorage>, Failure> {
    let is_new = matches!(directory.join(KEY_FILE).try_exists(), Ok(false));
    if purpose == Purpose::Look && matches!(directory.try_exists(), Ok(false)) {
        // Looking makes no directory. What is not there holds nothing.
        return Ok(Arc::new(MemoryStorage::default()));
    }
    refuse_shared(directory)?;
    let passphrase = environment(PASSPHRASE)?;
    if passphrase.is_none() && std::env::var_os(PASSPHRASE).is_some() {
        // Most likely another variable that was meant to have one: not to be taken for "without".
        return Err(Failure::configuration(
            "store_passphrase_empty",
            format!("{PASSPHRASE} is set and empty; set it to the passphrase, or unset it"),
        ));
    }
    let by_file = passphrase.is_none();
    let key = passphrase.map_or(FileKey::BesideTheRecords, |text| {
        FileKey::Passphrase(Secret::new(text))
    });
    let storage = EncryptedFileStorage::open(directory, key)?;
    if is_new && by_file {
        report.warn(&format!(
            "{0} is a new store. Its key lies in it, in {KEY_FILE}, for you alone (mode 600): whoever can read your \
             files, a backup included, can read the sessions. To have them protected by a passphrase instead, remove {0} \
             and set {PASSPHRASE}.",
            directory.display()
        ));
    }
    Ok(Arc::new(storage))
}

/// A directory that several users share can be nobody's store, and closing it would be worse than useless.
fn refuse_shared(directory: &Path) -> Result<(), Failure> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        const STICKY: u32 = 0o1000;
        if std::fs::metadata(directory).is_ok_and(|about| about.mode() & STICKY != 0) {
            return Err(Failure::configuration(
                "store_shared",
                format!(
                    "{} is a directory that users share; use a directory of its own, such as --store file:~/.gatepass",
                    directory.display()
                ),
            ));
        }
    }
    #[cfg(not(unix))]
    let _ = directory;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_stores() {
        let parse = |text: &str| StoreName::parse(OsStr::new(text));
        assert_eq!(parse("keychain"), Ok(StoreName::Keychain));
        assert_eq!(parse("memory"), Ok(StoreName::Memory));
        assert_eq!(parse("file:/a/b"), Ok(StoreName::File("/a/b".into())));
        assert_eq!(
            parse("file:a").map(|store| store.below(Path::new("/etc"))),
            Ok(StoreName::File("/etc/a".into()))
        );
        for wrong in ["", "file:", "file", "/a/b", "Keychain", "memory:"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
