//! Sealing: values encrypted with one data key, in one format for every platform.
//!
//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03): fast without hardware, and its nonce of 24 bytes may be drawn at
//! random for as many records as there will ever be. The name of the record is authenticated with it, so that two
//! records cannot be swapped. What storage below can still do is to give an older value back.

use std::fmt;
use std::sync::Arc;

use chacha20poly1305::aead::{AeadInOut as _, KeyInit as _};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::ports::{
    CommitOutcome, Generation, ProcessLock, RecordKey, SecureStorage, StorageFailure, Stored,
};
use crate::secret::scrub_stack;

/// The format of a sealed value: format, its complement (so that a flipped bit is not taken for a newer format), the id
/// of the key, the nonce, the encrypted value, the tag of 16 bytes.
const FORMAT: u8 = 1;
const NONCE: usize = 24;
/// What a seal adds to a value.
const SEAL: usize = 1 + 1 + 8 + NONCE + 16;

/// How often another writer may come between our reading and our writing.
const ATTEMPTS: u32 = 64;

/// Tells one data key from another, and nothing about either.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyId(pub(crate) [u8; 8]);

/// What values are sealed with: 32 random bytes, overwritten when dropped.
pub(crate) struct DataKey {
    /// On the heap: a key that is handed on by value would leave copies on the stack.
    key: Box<Zeroizing<[u8; 32]>>,
    id: KeyId,
}

impl DataKey {
    pub(crate) fn new(key: Box<Zeroizing<[u8; 32]>>) -> Self {
        let digest = Self::digest(&key);
        scrub_stack();
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Self {
            key,
            id: KeyId([a, b, c, d, e, f, g, h]),
        }
    }

    #[inline(never)]
    fn digest(key: &[u8; 32]) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(b"gatepass data key id");
        digest.update(key);
        digest.finalize().into()
    }

    /// From bytes that somebody else keeps. `None` if they are not 32.
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key = Box::new(Zeroizing::new([0; 32]));
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(bytes);
        Some(Self::new(key))
    }

    pub(crate) fn random() -> Result<Self, StorageFailure> {
        let mut key = Box::new(Zeroizing::new([0; 32]));
        fill(key.as_mut_slice())?;
        Ok(Self::new(key))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.key
    }

    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    /// Seals a value under a name.
    pub(crate) fn seal(&self, name: &str, value: &[u8]) -> Result<Vec<u8>, StorageFailure> {
        let mut nonce = [0; NONCE];
        fill(&mut nonce)?;
        self.seal_with(nonce, name, value)
    }

    pub(crate) fn seal_with(
        &self,
        nonce: [u8; NONCE],
        name: &str,
        value: &[u8],
    ) -> Result<Vec<u8>, StorageFailure> {
        // Room for the tag as well, so that the plain value is not left behind by a move.
        let mut encrypted = Zeroizing::new(Vec::with_capacity(value.len().saturating_add(16)));
        encrypted.extend_from_slice(value);
        let done = self.encrypt(&XNonce::from(nonce), &context(self.id, name), &mut encrypted);
        // The cipher works on several blocks at a time, on the stack.
        scrub_stack();
        done.map_err(|_| StorageFailure::Failed("a value is too long to be sealed".to_owned()))?;
        let mut sealed = vec![FORMAT, !FORMAT];
        sealed.extend_from_slice(&self.id.0);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&encrypted);
        Ok(sealed)
    }

    /// Opens what was sealed under a name. Takes any bytes.
    pub(crate) fn open(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopened> {
        let envelope = Envelope::parse(sealed)?;
        if envelope.key != self.id {
            return Err(Unopened::OtherKey(envelope.key));
        }
        let mut value = Zeroizing::new(envelope.encrypted.to_vec());
        let done = self.decrypt(&XNonce::from(envelope.nonce), &context(self.id, name), &mut value);
        scrub_stack();
        done.map_err(|_| Unopened::Damaged("is damaged or not the record that was sealed under this name"))?;
        Ok(value)
    }

    #[inline(never)]
    fn encrypt(
        &self,
        nonce: &XNonce,
        context: &[u8],
        value: &mut Vec<u8>,
    ) -> chacha20poly1305::aead::Result<()> {
        XChaCha20Poly1305::new(Key::cast_from_core(&self.key)).encrypt_in_place(nonce, context, value)
    }

    #[inline(never)]
    fn decrypt(
        &self,
        nonce: &XNonce,
        context: &[u8],
        value: &mut Vec<u8>,
    ) -> chacha20poly1305::aead::Result<()> {
        XChaCha20Poly1305::new(Key::cast_from_core(&self.key)).decrypt_in_place(nonce, context, value)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(redacted)")
    }
}

pub(super) fn fill(bytes: &mut [u8]) -> Result<(), StorageFailure> {
    getrandom::fill(bytes)
        .map_err(|error| StorageFailure::Failed(format!("the system's random source failed: {error}")))
}

/// What is authenticated besides the value.
fn context(key: KeyId, name: &str) -> Vec<u8> {
    let mut context = b"gatepass sealed record".to_vec();
    context.push(FORMAT);
    context.extend_from_slice(&key.0);
    context.extend_from_slice(name.as_bytes());
    context
}

/// Why a sealed value was not opened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// It is no sealed value, or not the one that was sealed under this name.
    Damaged(&'static str),
    /// Sealed with another key.
    OtherKey(KeyId),
    /// Of a later format.
    Newer(u8),
}

struct Envelope<'a> {
    key: KeyId,
    nonce: [u8; NONCE],
    encrypted: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn parse(sealed: &'a [u8]) -> Result<Self, Unopened> {
        let short = Unopened::Damaged("is cut short");
        let Some(([format, complement], rest)) = sealed.split_first_chunk::<2>() else {
            return Err(short);
        };
        if *format != !complement {
            return Err(Unopened::Damaged("is not sealed"));
        }
        if *format != FORMAT {
            return Err(Unopened::Newer(*format));
        }
        let Some((key, rest)) = rest.split_first_chunk::<8>() else {
            return Err(short);
        };
        let Some((nonce, encrypted)) = rest.split_first_chunk::<NONCE>() else {
            return Err(short);
        };
        Ok(Self {
            key: KeyId(*key),
            nonce: *nonce,
            encrypted,
        })
    }
}

/// Where the data key comes from. Blocks; each answer is kept by whoever implements this.
pub(crate) trait DataKeys: Send + Sync + fmt::Debug {
    /// The key with this id; `Lost` if it certainly is gone.
    fn key(&self, id: KeyId) -> Result<Arc<DataKey>, StorageFailure>;

    /// The key to seal with. Made if there certainly is none.
    fn sealing_key(&self) -> Result<Arc<DataKey>, StorageFailure>;
}

/// A key that is there from the start.
impl DataKeys for Arc<DataKey> {
    fn key(&self, id: KeyId) -> Result<Arc<DataKey>, StorageFailure> {
        if id == self.id() {
            return Ok(Self::clone(self));
        }
        let why = "it is sealed with a key that is not the one of this storage";
        Err(StorageFailure::Lost(why.to_owned()))
    }

    fn sealing_key(&self) -> Result<Arc<DataKey>, StorageFailure> {
        Ok(Self::clone(self))
    }
}

/// Storage that seals its values on their way to the storage below, and opens them on their way back.
#[derive(Debug)]
pub(crate) struct Sealed<S, K> {
    records: S,
    keys: K,
}

impl<S: SecureStorage, K: DataKeys> Sealed<S, K> {
    pub(crate) fn new(records: S, keys: K) -> Self {
        Self { records, keys }
    }

    fn open(&self, name: &RecordKey, sealed: &Stored) -> Result<Stored, StorageFailure> {
        let opened = Envelope::parse(&sealed.bytes)
            .map_err(|why| describe(name, why))
            .and_then(|envelope| self.keys.key(envelope.key))?
            .open(name.as_str(), &sealed.bytes)
            .map_err(|why| describe(name, why))?;
        Ok(Stored {
            bytes: opened,
            generation: sealed.generation,
        })
    }

    /// Writes or removes. A record that can never be opened again stands at [`Generation::ABSENT`].
    fn change(
        &self,
        name: &RecordKey,
        expected: Generation,
        write: impl Fn(Generation) -> Result<CommitOutcome, StorageFailure>,
    ) -> Result<CommitOutcome, StorageFailure> {
        let mut at = expected;
        for _ in 0..ATTEMPTS {
            let current = match write(at)? {
                CommitOutcome::Conflict(Some(current)) => current,
                // Meanwhile the lost record was removed by somebody else, and ABSENT is what it looks like.
                CommitOutcome::Conflict(None) if at != expected => {
                    at = expected;
                    continue;
                }
                outcome => return Ok(outcome),
            };
            match self.open(name, &current) {
                Ok(current) => return Ok(CommitOutcome::Conflict(Some(current))),
                Err(StorageFailure::Lost(_)) if expected == Generation::ABSENT => at = current.generation,
                Err(failure) => return Err(failure),
            }
        }
        Err(StorageFailure::Failed(format!(
            "the record {name:?} is written by others all the time"
        )))
    }
}

fn describe(name: &RecordKey, why: Unopened) -> StorageFailure {
    match why {
        Unopened::Damaged(why) => StorageFailure::Lost(format!("the record {name:?} {why}")),
        Unopened::OtherKey(_) => {
            StorageFailure::Lost(format!("the record {name:?} is sealed with another key"))
        }
        Unopened::Newer(format) => StorageFailure::Failed(format!(
            "the record {name:?} was sealed by a newer version of this library (format {format})"
        )),
    }
}

impl<S: SecureStorage, K: DataKeys> SecureStorage for Sealed<S, K> {
    fn load(&self, key: &RecordKey) -> Result<Option<Stored>, StorageFailure> {
        // Whether there is a record can be told without the key.
        self.records
            .load(key)?
            .map(|sealed| self.open(key, &sealed))
            .transpose()
    }

    fn commit(
        &self,
        key: &RecordKey,
        expected: Generation,
        bytes: &[u8],
    ) -> Result<CommitOutcome, StorageFailure> {
        let sealed = self.keys.sealing_key()?.seal(key.as_str(), bytes)?;
        self.change(key, expected, |at| self.records.commit(key, at, &sealed))
    }

    fn remove(&self, key: &RecordKey, expected: Generation) -> Result<CommitOutcome, StorageFailure> {
        self.change(key, expected, |at| self.records.remove(key, at))
    }

    fn list(&self, prefix: &str) -> Result<Vec<RecordKey>, StorageFailure> {
        self.records.list(prefix)
    }

    fn reserve(&self, key: &RecordKey, bytes: usize) -> Result<(), StorageFailure> {
        self.records.reserve(key, bytes.saturating_add(SEAL))
    }

    fn place(&self) -> Option<String> {
        self.records.place()
    }

    fn device(&self) -> Option<String> {
        self.records.device()
    }

    fn process_lock(&self) -> Option<Arc<dyn ProcessLock>> {
        self.records.process_lock()
    }
}

#[cfg(test)]
mod tests;
