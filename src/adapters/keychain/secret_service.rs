//! The Secret Service of a Linux or BSD desktop (GNOME Keyring, KWallet, KeePassXC), over D-Bus.
//!
//! Any call may block: a prompt waits for the user, and a service that hangs answers nobody.

use std::collections::HashMap;

use secret_service::blocking::{Collection, Item, SecretService};
use secret_service::{EncryptionType, Error};
use zbus::DBusError as _;
use zeroize::Zeroizing;

use super::Vault;
use crate::ports::StorageFailure;

/// The item's name in the programs that show a keyring.
const USER: &str = "gatepass data key";

/// The item of one app.
#[derive(Debug)]
pub(super) struct SystemVault {
    service: String,
}

impl SystemVault {
    pub(super) fn new(service: &str) -> Self {
        Self {
            service: service.to_owned(),
        }
    }

    fn attributes(&self) -> HashMap<&str, &str> {
        HashMap::from([("service", self.service.as_str()), ("username", USER)])
    }

    /// The items of ours that are there. Empty only if there certainly is none.
    fn items<'a>(&self, service: &'a SecretService<'_>) -> Result<Vec<Item<'a>>, Error> {
        for attempt in 0..2 {
            let found = service.search_items(self.attributes())?;
            if !found.locked.is_empty() {
                service.unlock_all(&found.locked.iter().collect::<Vec<_>>())?;
            }
            let items: Vec<_> = found.unlocked.into_iter().chain(found.locked).collect();
            if !items.is_empty() || attempt > 0 {
                return Ok(items);
            }
            // Some services do not look into what is locked. Ours is in the default collection, and if there is no such
            // thing, nothing that is locked may hide it.
            match service.get_default_collection() {
                Ok(collection) => unlock(&collection)?,
                Err(Error::NoResult) => {
                    for collection in service.get_all_collections()? {
                        collection.ensure_unlocked()?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(Vec::new())
    }
}

/// Asks the user where that is needed.
fn unlock(collection: &Collection<'_>) -> Result<(), Error> {
    if collection.is_locked()? {
        collection.unlock()?;
    }
    collection.ensure_unlocked()
}

impl Vault for SystemVault {
    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StorageFailure> {
        let read = || {
            let service = SecretService::connect(EncryptionType::Dh)?;
            let items = self.items(&service)?;
            // Were there two by a race of two first starts, everybody takes the older one.
            let mut oldest: Option<((u64, usize, String), Item<'_>)> = None;
            for item in items {
                let path = item.item_path.to_string();
                let age = (item.get_created()?, path.len(), path);
                if oldest.as_ref().is_none_or(|(least, _)| age < *least) {
                    oldest = Some((age, item));
                }
            }
            oldest
                .map(|(_, item)| item.get_secret().map(Zeroizing::new))
                .transpose()
        };
        read().map_err(failure)
    }

    fn write(&self, secret: &[u8]) -> Result<(), StorageFailure> {
        let write = || {
            let service = SecretService::connect(EncryptionType::Dh)?;
            let collection = match service.get_default_collection() {
                // A new user has none; the service asks for a password to make it.
                Err(Error::NoResult) => service.create_collection("Default keyring", "default")?,
                other => other?,
            };
            unlock(&collection)?;
            let label = format!("{}: key of the stored sign-in", self.service);
            // Never in place of another: what is sealed with that one would be lost.
            collection.create_item(&label, self.attributes(), secret, false, "text/plain")?;
            Ok(())
        };
        write().map_err(failure)
    }
}

const ABSENT: &str = "there is no Secret Service (GNOME Keyring, KWallet, KeePassXC) on this D-Bus session; \
                      choose EncryptedFileStorage explicitly, or start one";

/// No text of the service's goes further than the names of its errors: nobody knows what it quotes.
fn failure(error: Error) -> StorageFailure {
    let failed = |why: &str| StorageFailure::Failed(why.to_owned());
    match error {
        Error::Locked | Error::Prompt => StorageFailure::Locked,
        Error::Unavailable => failed(ABSENT),
        Error::Zbus(zbus::Error::MethodError(name, ..)) => refused(&name),
        Error::Zbus(zbus::Error::FDO(error)) => refused(&error.name()),
        Error::ZbusFdo(error) => refused(&error.name()),
        Error::Zbus(zbus::Error::Connection(error, _)) => failed(&format!("{ABSENT} (no bus: {error})")),
        Error::Zbus(zbus::Error::InputOutput(error)) => {
            failed(&format!("the D-Bus session went away: {error}"))
        }
        Error::Crypto(_) => failed("what the Secret Service sends cannot be decrypted"),
        Error::NoResult => failed("the Secret Service has no collection to keep keys in"),
        Error::PromptDisconnected => failed("the Secret Service went away while it asked the user"),
        _ => failed("the Secret Service does not speak as it should"),
    }
}

/// What the name of a D-Bus error means.
fn refused(name: &str) -> StorageFailure {
    match name {
        "org.freedesktop.Secret.Error.IsLocked" => StorageFailure::Locked,
        "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner" => {
            StorageFailure::Failed(ABSENT.to_owned())
        }
        name => StorageFailure::Failed(format!("the Secret Service failed: {name}")),
    }
}
