//! The login keychain of macOS.

use security_framework::base::Error;
use security_framework::passwords::{get_generic_password, set_generic_password};
use zeroize::Zeroizing;

use super::Vault;
use crate::ports::StorageFailure;

/// The item's account in Keychain Access.
const USER: &str = "gatepass data key";

/// `errSecItemNotFound`
const NOT_FOUND: i32 = -25300;
/// What the user or the state of the session forbids for now: `errSecUserCanceled`, `errSecAuthFailed`,
/// `errSecInteractionRequired`, `errSecInteractionNotAllowed`.
const LOCKED: [i32; 4] = [-128, -25293, -25315, -25308];

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
}

impl Vault for SystemVault {
    fn read(&self) -> Result<Option<Zeroizing<Vec<u8>>>, StorageFailure> {
        match get_generic_password(&self.service, USER) {
            Ok(secret) => Ok(Some(Zeroizing::new(secret))),
            Err(error) if error.code() == NOT_FOUND => Ok(None),
            Err(error) => Err(failure(error)),
        }
    }

    fn write(&self, secret: &[u8]) -> Result<(), StorageFailure> {
        set_generic_password(&self.service, USER, secret).map_err(failure)
    }
}

fn failure(error: Error) -> StorageFailure {
    match error.code() {
        code if LOCKED.contains(&code) => StorageFailure::Locked,
        code => StorageFailure::Failed(format!("the keychain of macOS failed: {code}")),
    }
}
