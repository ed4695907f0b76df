//! Which sign-ins in a storage wait for the keys of their servers: for programs that manage several clients.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::flow::FlowRecord;
use crate::error::Result;
use crate::ports::SecureStorage;
use crate::protocol::json::Object;
use crate::session::context::storage_error;

/// A sign-in whose tokens are stored and wait for the server's signing keys.
/// [`Client::session`](crate::Client::session) of a client with this issuer and client id finishes it.
///
/// ```
/// use gatepass::{MemoryStorage, SecureStorage, WaitingSignIn};
///
/// fn remind(storage: &dyn SecureStorage) -> gatepass::Result<usize> {
///     let waiting = WaitingSignIn::all(storage)?;
///     for WaitingSignIn { issuer, client_id, since, .. } in &waiting {
///         println!("{client_id} at {issuer}: signed in at {since:?}, not verified yet");
///     }
///     Ok(waiting.len())
/// }
/// assert_eq!(remind(&MemoryStorage::default())?, 0);
/// # Ok::<(), gatepass::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitingSignIn {
    /// The issuer, exactly as configured.
    pub issuer: String,
    /// The client id.
    pub client_id: String,
    /// When the tokens came, by the clock of the device.
    pub since: SystemTime,
}

impl WaitingSignIn {
    /// All that wait in a storage, whichever client they belong to.
    ///
    /// Blocks for as long as the storage does: not for an async task.
    ///
    /// ```
    /// use gatepass::{MemoryStorage, WaitingSignIn};
    ///
    /// assert!(WaitingSignIn::all(&MemoryStorage::default())?.is_empty());
    /// # Ok::<(), gatepass::Error>(())
    /// ```
    ///
    /// # Errors
    /// If storage cannot list its records. One that cannot be read is passed over.
    pub fn all(storage: &dyn SecureStorage) -> Result<Vec<Self>> {
        let mut waiting = Vec::new();
        for key in storage.list("flow.").map_err(storage_error)? {
            if let Ok(Some(stored)) = storage.load(&key) {
                waiting.extend(Self::of(&stored.bytes));
            }
        }
        Ok(waiting)
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        let flow = FlowRecord::decode(bytes).ok()?;
        let tokens = &flow.provisional()?.tokens;
        let metadata = Object::parse(&flow.metadata).ok()?;
        let millis = u64::try_from(tokens.since_unix_millis).unwrap_or_default();
        Some(Self {
            issuer: metadata.get("issuer").and_then(Value::as_str)?.to_owned(),
            client_id: flow.client_id.clone(),
            since: SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(millis))?,
        })
    }
}
