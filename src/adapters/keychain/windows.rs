//! The credential store of Windows. It holds 2,560 bytes at most, which is why the records are in files.

use std::collections::HashMap;

use keyring_core::api::CredentialStoreApi as _;
use keyring_core::{Entry, Error};
use windows_native_keyring_store::Store;
use zeroize::Zeroizing;

use super::Vault;
use crate::ports::StorageFailure;

/// The item's user in the Credential Manager.
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

    fn entry(&self) -> Result<Entry, Error> {
        // On this machine only: the records do not roam either.
        let modifiers = HashMap::from([("persistence", "Local")]);
        Store::new()?.build(&self.service, USER, Some(&modifiers))
    }
}

impl Vault for SystemVault {
    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StorageFailure> {
        match self.entry().and_then(|entry| entry.get_secret()) {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(Error::NoEntry) => Ok(None),
            Err(error) => Err(failure(error)),
        }
    }

    fn write(&self, secret: &[u8]) -> Result<(), StorageFailure> {
        self.entry()
            .and_then(|entry| entry.set_secret(secret))
            .map_err(failure)
    }
}

fn failure(error: Error) -> StorageFailure {
    match error {
        Error::NoStorageAccess(_) => StorageFailure::Locked,
        Error::PlatformFailure(error) => {
            StorageFailure::Failed(format!("Windows' credential store failed: {error}"))
        }
        _ => StorageFailure::Failed("Windows' credential store failed".to_owned()),
    }
}
