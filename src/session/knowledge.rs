//! What is known of the server: its metadata and its signing keys, in memory and in storage, each with its age.
//!
//! Kept in storage so that the next start of the app needs no request before the browser opens, and a redirect into a
//! new process none but the code exchange itself. What is stored is read with the same checks as what is fetched.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{Mutex, OnceCell};
use tracing::{debug, warn};
use zeroize::Zeroizing;

use ::http::StatusCode;
use url::Url;

use super::context::Context;
use super::pace::Rest;
use crate::error::{Error, ErrorKind, Result, ServerError, Stage};
use crate::ports::{CommitOutcome, Generation, HttpResponse};
use crate::protocol::endpoint;
use crate::protocol::json::Object;
use crate::protocol::jwk::{self, JwkSet};
use crate::protocol::metadata::{self, AuthorizationServer};
use crate::protocol::token::retry_after;
use crate::sync::lock;

/// A key set that was fetched less than this long ago is not fetched again for an unknown `kid`: a thousand
/// forged tokens must not become a thousand requests.
const KEYS_MIN_AGE_MILLIS: u64 = 60_000;
/// Metadata and keys older than this are fetched again when they are next needed.
const MAX_AGE_MILLIS: u64 = 24 * 60 * 60 * 1000;
const VERSION: u64 = 1;

/// What one client knows of its server.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    loaded: OnceCell<()>,
    metadata: Shelf<AuthorizationServer>,
    keys: Shelf<JwkSet>,
    /// The stored record.
    stored: Mutex<Kept>,
}

/// Where one document is in memory. Whoever looks at it or forgets it waits for nobody.
#[derive(Debug)]
struct Shelf<T> {
    /// Held while the server is asked, so that those who come meanwhile have the same answer.
    asking: Mutex<()>,
    content: std::sync::Mutex<Content<T>>,
}

#[derive(Debug)]
struct Content<T> {
    known: Option<Known<T>>,
    rest: Rest,
    /// How often everything was forgotten: what was asked for before that is put down nowhere.
    forgotten: u64,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self {
            asking: Mutex::default(),
            content: std::sync::Mutex::new(Content {
                known: None,
                rest: Rest::default(),
                forgotten: 0,
            }),
        }
    }
}

impl<T> Shelf<T> {
    /// What is known, with its age in milliseconds.
    fn known(&self, now: u64) -> Option<(Arc<T>, u64)> {
        let content = lock(&self.content);
        let known = content.known.as_ref()?;
        Some((Arc::clone(&known.value), known.fetched.age(now)))
    }

    /// How often everything was forgotten so far.
    fn era(&self) -> u64 {
        lock(&self.content).forgotten
    }

    /// Whether the server may be asked now.
    fn admit(&self, now: u64) -> Result<()> {
        lock(&self.content).rest.admit(now)
    }

    fn failed(&self, now: u64, error: Error) -> Error {
        lock(&self.content).rest.failed(now, error)
    }

    /// The server gave it. `false` if everything was forgotten since the server was asked.
    fn put(&self, known: Known<T>, era: u64) -> bool {
        let mut content = lock(&self.content);
        content.rest.succeeded();
        let is_wanted = content.forgotten == era;
        if is_wanted {
            content.known = Some(known);
        }
        is_wanted
    }

    /// As [`put`](Shelf::put), from elsewhere: what is known already is as good.
    fn put_if_unknown(&self, known: Known<T>, era: u64) {
        let mut content = lock(&self.content);
        if content.known.is_none() && content.forgotten == era {
            content.known = Some(known);
        }
    }

    fn forget(&self) {
        let mut content = lock(&self.content);
        content.forgotten = content.forgotten.saturating_add(1);
        content.known = None;
        content.rest = Rest::default();
    }
}

/// The stored record, as this process last wrote or read it.
#[derive(Debug, Default)]
struct Kept {
    generation: Generation,
    document: Document,
    /// Everything was forgotten, and no sign-in has begun since: what is learnt meanwhile, by a revocation say, is
    /// written nowhere, as the issuer's name would be back with it.
    forgotten: bool,
}

/// A document that passed its checks, and when it was fetched.
#[derive(Debug)]
struct Known<T> {
    value: Arc<T>,
    fetched: Fetched,
}

impl<T> Known<T> {
    /// As old as the request for it: what the server changed while it answered may not be in it.
    fn fetched(value: &Arc<T>, asked_at: u64) -> Self {
        Self {
            value: Arc::clone(value),
            fetched: Fetched(i64::try_from(asked_at).unwrap_or(i64::MAX)),
        }
    }
}

/// When something was fetched, by the boot clock: before this run of the device, it may be less than nothing.
#[derive(Clone, Copy, Debug)]
struct Fetched(i64);

impl Fetched {
    /// Ages are told by the clock that nobody sets, so this is never in the future.
    fn age(self, boot_millis: u64) -> u64 {
        let now = i64::try_from(boot_millis).unwrap_or(i64::MAX);
        u64::try_from(now.saturating_sub(self.0)).unwrap_or(0)
    }
}

/// The stored form: the documents as the server sent them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    metadata: Option<(String, i64)>,
    keys: Option<(String, i64)>,
}

/// Which keys will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keys {
    /// Those at hand, whatever their age.
    AtHand,
    /// Those at hand unless they are old.
    NotOld,
    /// Newer ones, because a token names a key that those at hand do not have.
    Newer,
}

/// Keys, and whether asking for newer ones would be of use now.
pub(crate) struct KeysAnswer {
    pub(crate) keys: Arc<JwkSet>,
    /// By the boot clock: from here on newer ones may be asked for. `None` if these were fetched for this very call.
    pub(crate) newer_from: Option<u64>,
}

impl Context {
    /// The server's metadata: the copy at hand, else fetched. While the server does not give it out an old copy
    /// will do.
    pub(crate) async fn server(&self) -> Result<Arc<AuthorizationServer>> {
        self.load_knowledge().await;
        let shelf = &self.knowledge.metadata;
        if let Some(known) = self.not_old(shelf) {
            return Ok(known);
        }
        let _asking = shelf.asking.lock().await;
        if let Some(known) = self.not_old(shelf) {
            return Ok(known);
        }
        let (era, now) = (shelf.era(), self.ports.clock.boot_millis());
        let old = shelf.known(now);
        let fetched = match shelf.admit(now) {
            Ok(()) => self.fetch_metadata().await.map_err(|error| {
                let now = self.ports.clock.boot_millis();
                shelf.failed(now, error)
            }),
            Err(resting) => Err(resting),
        };
        match (fetched, old) {
            (Ok(server), old) => {
                if let Some((old, _)) = old {
                    let taken_back = server.weaker_than(&old);
                    if !taken_back.is_empty() {
                        warn!(?taken_back, "the server's metadata protects less than before");
                    }
                }
                let value = Arc::new(server);
                let text = String::from_utf8_lossy(value.document()).into_owned();
                if shelf.put(Known::fetched(&value, now), era) {
                    self.keep(|document, now| document.metadata = Some((text, now)))
                        .await;
                }
                Ok(value)
            }
            // The issuer is somebody else's: nothing that was believed of it before holds.
            (Err(error), _) if error.code() == "issuer_mismatch" => Err(error),
            (Err(error), Some((old, _))) => {
                warn!(
                    code = error.code(),
                    "the metadata at hand is old, and newer cannot be had"
                );
                Ok(old)
            }
            (Err(error), None) => Err(error),
        }
    }

    fn not_old<T>(&self, shelf: &Shelf<T>) -> Option<Arc<T>> {
        let (value, age) = shelf.known(self.ports.clock.boot_millis())?;
        (age < MAX_AGE_MILLIS).then_some(value)
    }

    /// Takes over metadata that a pending sign-in kept, so that a redirect into a new process costs no request.
    pub(crate) async fn remember_server(&self, server: AuthorizationServer) {
        self.load_knowledge().await;
        let shelf = &self.knowledge.metadata;
        let known = Known::fetched(&Arc::new(server), self.ports.clock.boot_millis());
        shelf.put_if_unknown(known, shelf.era());
    }

    /// The metadata led to an endpoint that is not there: the next who needs it asks again.
    pub(crate) fn doubt_server(&self) {
        if let Some(known) = &mut lock(&self.knowledge.metadata.content).known {
            known.fetched = Fetched(i64::MIN);
        }
    }

    /// The server's signing keys.
    pub(crate) async fn keys(&self, server: &AuthorizationServer, which: Keys) -> Result<KeysAnswer> {
        self.load_knowledge().await;
        if let Some(enough) = self.enough_keys(which) {
            return Ok(enough);
        }
        let shelf = &self.knowledge.keys;
        let _asking = shelf.asking.lock().await;
        if let Some(enough) = self.enough_keys(which) {
            return Ok(enough);
        }
        let (era, now) = (shelf.era(), self.ports.clock.boot_millis());
        let url = server.require_jwks_uri()?.clone();
        shelf.admit(now)?;
        let (value, text) = self
            .fetch_keys(url)
            .await
            .map_err(|error| shelf.failed(self.ports.clock.boot_millis(), error))?;
        if shelf.put(Known::fetched(&value, now), era) {
            self.keep(|document, now| document.keys = Some((text, now))).await;
        }
        Ok(KeysAnswer {
            keys: value,
            newer_from: None,
        })
    }

    /// Those in memory, if they will do.
    fn enough_keys(&self, which: Keys) -> Option<KeysAnswer> {
        let now = self.ports.clock.boot_millis();
        let (keys, age) = self.knowledge.keys.known(now)?;
        let enough = match which {
            Keys::AtHand => true,
            Keys::NotOld => age < MAX_AGE_MILLIS,
            Keys::Newer => age < KEYS_MIN_AGE_MILLIS,
        };
        let wait = KEYS_MIN_AGE_MILLIS.saturating_sub(age);
        enough.then(|| KeysAnswer {
            keys,
            newer_from: Some(now.saturating_add(wait)),
        })
    }

    async fn fetch_keys(&self, url: Url) -> Result<(Arc<JwkSet>, String)> {
        let response = self.get_json(Stage::Jwks, url, jwk::MAX_SET_BYTES).await?;
        if !response.status.is_success() {
            let clause = "OpenID Connect Core §10.1";
            return Err(unavailable(Stage::Jwks, "jwks_refused", &response).with_clause(clause));
        }
        let value = Arc::new(JwkSet::parse(&response.body)?);
        Self::put_up_with(value.oddities());
        Ok((value, String::from_utf8_lossy(&response.body).into_owned()))
    }

    /// The keys in memory or in storage. Asks no server.
    pub(crate) async fn keys_at_hand(&self) -> Option<Arc<JwkSet>> {
        self.load_knowledge().await;
        let (keys, _) = self.knowledge.keys.known(self.ports.clock.boot_millis())?;
        Some(keys)
    }

    /// Forgets everything, in memory and in storage. Waits for no server: what it still answers is kept nowhere.
    pub(crate) async fn forget_knowledge(&self) -> Result<()> {
        self.knowledge.metadata.forget();
        self.knowledge.keys.forget();
        let mut stored = self.knowledge.stored.lock().await;
        stored.document = Document::default();
        stored.forgotten = true;
        self.remove_record(&self.names.server()?).await
    }

    /// A sign-in begins: from here on what is known of the server is kept again, even if everything was forgotten
    /// before.
    pub(crate) async fn keep_knowledge(&self) {
        let mut stored = self.knowledge.stored.lock().await;
        if std::mem::take(&mut stored.forgotten) && stored.document.holds_anything() {
            self.write_knowledge(&mut stored).await;
        }
    }

    /// Reads, once, what an earlier run of the app has learnt.
    async fn load_knowledge(&self) {
        self.knowledge.loaded.get_or_init(|| self.read_knowledge()).await;
    }

    async fn read_knowledge(&self) {
        let (metadata, keys) = (&self.knowledge.metadata, &self.knowledge.keys);
        let (metadata_era, keys_era) = (metadata.era(), keys.era());
        let loaded = async { self.load(&self.names.server()?).await }.await;
        let stored = match loaded {
            Ok(Some(stored)) => stored,
            Ok(None) => return,
            // It can all be asked for again.
            Err(error) => {
                debug!(code = error.code(), "what is known of the server cannot be read");
                return;
            }
        };
        let document = Document::decode(&stored.bytes).unwrap_or_default();
        let age = |unix_millis: i64| {
            let age = self.ports.clock.unix_millis().saturating_sub(unix_millis);
            // A clock that was set back says nothing about the age.
            if age < 0 { i64::MAX } else { age }
        };
        let boot = i64::try_from(self.ports.clock.boot_millis()).unwrap_or(i64::MAX);
        if let Some((text, fetched)) = &document.metadata
            && let Ok(server) = AuthorizationServer::parse(text.as_bytes(), &self.issuer, self.policy)
        {
            let known = Known {
                value: Arc::new(server),
                fetched: Fetched(boot.saturating_sub(age(*fetched))),
            };
            metadata.put_if_unknown(known, metadata_era);
        }
        if let Some((text, fetched)) = &document.keys
            && let Ok(set) = JwkSet::parse(text.as_bytes())
        {
            let known = Known {
                value: Arc::new(set),
                fetched: Fetched(boot.saturating_sub(age(*fetched))),
            };
            keys.put_if_unknown(known, keys_era);
        }
        let mut kept = self.knowledge.stored.lock().await;
        kept.generation = stored.generation;
        kept.document = document;
    }

    /// Writes down what was learnt.
    async fn keep(&self, change: impl FnOnce(&mut Document, i64) + Send) {
        let mut stored = self.knowledge.stored.lock().await;
        change(&mut stored.document, self.ports.clock.unix_millis());
        if !stored.forgotten {
            self.write_knowledge(&mut stored).await;
        }
    }

    /// Best effort: it can be asked for again.
    async fn write_knowledge(&self, stored: &mut Kept) {
        if let Err(error) = self.try_to_write(stored).await {
            debug!(
                code = error.code(),
                "what is known of the server cannot be stored"
            );
        }
    }

    async fn try_to_write(&self, stored: &mut Kept) -> Result<()> {
        let key = self.names.server()?;
        for _ in 0..2 {
            let bytes = stored.document.encode();
            match self.commit(&key, stored.generation, bytes).await? {
                CommitOutcome::Committed(generation) => {
                    stored.generation = generation;
                    return Ok(());
                }
                // Another process has learnt the same; ours is as good.
                CommitOutcome::Conflict(current) => {
                    stored.generation = current.map_or(Generation::ABSENT, |current| current.generation);
                }
            }
        }
        Ok(())
    }

    async fn fetch_metadata(&self) -> Result<AuthorizationServer> {
        let mut first_refusal = None;
        for place in self.issuer.metadata_urls() {
            let url = endpoint::parse(&place, "the metadata URL", Stage::Discovery, self.policy)?;
            let response = self
                .get_json(Stage::Discovery, url, metadata::MAX_DOCUMENT_BYTES)
                .await?;
            if AuthorizationServer::is_document(response.status, &response.headers, &response.body) {
                return AuthorizationServer::parse(&response.body, &self.issuer, self.policy);
            }
            debug!(
                status = response.status.as_u16(),
                "no metadata at one of its places"
            );
            if response.status == StatusCode::TOO_MANY_REQUESTS || response.status.is_server_error() {
                // The server is there and cannot answer now: the issuer is not to blame.
                return Err(unavailable(Stage::Discovery, "metadata_unavailable", &response));
            }
            first_refusal.get_or_insert(response.status);
        }
        let status = first_refusal.map(|status| status.as_u16());
        Err(Error::new(
            ErrorKind::Server,
            Stage::Discovery,
            "metadata_not_found",
            format!(
                "there is no metadata for the issuer {:?}; check that the issuer URL is right",
                self.issuer
            ),
        )
        .with_clause("OpenID Connect Discovery §4")
        .with_server(ServerError {
            status,
            ..ServerError::default()
        }))
    }
}

impl Document {
    fn holds_anything(&self) -> bool {
        self.metadata.is_some() || self.keys.is_some()
    }

    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let part = |part: &Option<(String, i64)>| match part {
            Some((text, fetched)) => json!({ "text": text, "fetched_unix_millis": fetched }),
            None => Value::Null,
        };
        let value = json!({ "v": VERSION, "metadata": part(&self.metadata), "keys": part(&self.keys) });
        Zeroizing::new(value.to_string().into_bytes())
    }

    /// Of another version, or broken: then it is as if nothing had been known.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let object = Object::parse(bytes).ok()?;
        if object.get("v").and_then(Value::as_u64) != Some(VERSION) {
            return None;
        }
        let part = |name: &str| {
            let part = object.get(name)?;
            let text = part.get("text")?.as_str()?.to_owned();
            Some((text, part.get("fetched_unix_millis")?.as_i64()?))
        };
        Some(Self {
            metadata: part("metadata"),
            keys: part("keys"),
        })
    }
}

/// An error for a document that the server did not give out, by its status.
fn unavailable(stage: Stage, code: &'static str, response: &HttpResponse) -> Error {
    let kind = match response.status {
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::RateLimited,
        _ => ErrorKind::Server,
    };
    let what = if stage == Stage::Jwks {
        "its signing keys"
    } else {
        "its metadata"
    };
    let server = ServerError {
        status: Some(response.status.as_u16()),
        ..ServerError::default()
    };
    let error = Error::new(
        kind,
        stage,
        code,
        format!("the server does not give out {what} now"),
    )
    .with_server(server);
    match retry_after(&response.headers) {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_comes_back_as_it_went() {
        let document = Document {
            metadata: Some(("{\"issuer\":\"x\"}".into(), 7)),
            keys: None,
        };
        let bytes = document.encode();
        assert_eq!(Document::decode(&bytes).unwrap().encode(), bytes);
        for cut in 0..bytes.len() {
            assert!(Document::decode(&bytes[..cut]).is_none());
        }
        let newer = String::from_utf8(bytes.to_vec())
            .unwrap()
            .replace("\"v\":1", "\"v\":2");
        assert!(
            Document::decode(newer.as_bytes()).is_none(),
            "another version says nothing"
        );
    }

    #[test]
    fn an_age_is_never_in_the_future() {
        assert_eq!(Fetched(100).age(40), 0);
        assert_eq!(Fetched(100).age(140), 40);
        assert_eq!(Fetched(i64::MIN).age(140), u64::try_from(i64::MAX).unwrap());
        assert_eq!(Fetched(-60).age(40), 100);
    }
}
