#![doc = include_str!("../docs/crate.md")]

mod adapters;
mod client;
mod error;
#[cfg(feature = "uniffi")]
mod ffi;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals;
mod ports;
mod protocol;
mod secret;
mod session;
mod sync;
#[cfg(feature = "test-server")]
pub mod test_server;

#[cfg(feature = "encrypted-file")]
pub use adapters::encrypted_file::EncryptedFileStorage;
#[cfg(feature = "encrypted-file")]
pub use adapters::file_key::FileKey;
#[cfg(feature = "encrypted-file")]
pub use adapters::file_lock::FileLock;
#[cfg(feature = "keyring")]
#[cfg(not(any(target_os = "android", target_os = "ios")))]
pub use adapters::keychain::{KeychainStorage, KeychainStorageBuilder};
pub use adapters::memory::MemoryStorage;
#[cfg(feature = "http")]
pub use adapters::reqwest::ReqwestTransport;
#[cfg(feature = "loopback")]
pub use adapters::system_browser::SystemBrowser;
pub use client::{Canceller, Client, ClientBuilder, PendingSignIn, SignInProgress, WaitingSignIn};
// UniFFI's macros look for this name here.
pub use error::{Delivery, EndReason, Error, ErrorKind, Fault, NextStep, Result, ServerError, Stage};
#[cfg(feature = "uniffi")]
#[doc(hidden)]
pub use ffi::UniFfiTag;
pub use ports::{
    BoxFuture, Clock, CommitOutcome, EventSink, Generation, HttpFailure, HttpFailureReason, HttpRequest,
    HttpResponse, HttpTransport, LockFailure, LockGuard, NoEvents, ProcessLock, Random, RandomFailure,
    RecordKey, SecureStorage, SessionEvent, SessionId, SigningFailure, SigningKey, Spawner, StorageFailure,
    Stored, UserAgent, UserAgentFailure, UserAgentRequest, UserAgentReturn,
};
pub use protocol::authorization::{Prompt, SignInOptions};
pub use protocol::endpoint::AllowHttpOnLoopback;
pub use protocol::id_token::Claims;
pub use protocol::metadata::AuthorizationServer;
pub use protocol::redirect::{RedirectKind, RedirectUri};
pub use protocol::target::Target;
pub use protocol::token::AccessToken;
pub use protocol::userinfo::Userinfo;
pub use protocol::www_authenticate::Challenge;
pub use secret::Secret;
pub use session::{
    ApiRequest, ApiResponse, Authorized, BrowserSession, OnUnknownOutcome, Revocation, Session, SessionHttp,
    SessionState, SignOut, SignedOut, StoredSession,
};
pub use sync::Watch;

/// Checks of a claimed-https redirect: the association files of its host, the redirect, the server. Pure functions over what
/// was fetched; `gatepass doctor` is made of them, and the debug build of an app can be too.
#[cfg(feature = "association")]
pub mod association {
    pub use crate::protocol::association::{
        AndroidApp, AppId, Association, Element, Entitlements, FetchFailure, Fetched, Finding, Fingerprint,
        Interstitial, PlistValue, RegistrationProbe, ServerCheck, Severity, backup_rules_unseen,
        check_backup_rules, check_bundle, check_interstitial, check_manifest, check_redirect,
        check_registration, entitlements_in, is_backup_rules, signature_place, unreadable,
    };
}

/// The contracts of the ports as suites, for adapters of your own. Those of the storage panic with what was not kept,
/// that of HTTP makes a report.
#[cfg(any(test, feature = "conformance"))]
pub mod conformance {
    pub use crate::ports::conformance::{storage, storage_that_cannot_answer};
    pub use crate::ports::http::conformance::{Finding, HttpSuite, Report, Verdict};
}

/// The manual, in pages; there is nothing in it to call.
///
#[cfg(doc)]
#[doc = include_str!("../docs/guide/index.md")]
pub mod guide {
    /// A signed-in desktop program, from nothing.
    ///
    #[doc = include_str!("../docs/guide/tutorial.md")]
    pub mod tutorial {}
    /// One thing at a time: APIs, accounts, storage, browsers, sign-out, logging, proxies.
    ///
    #[doc = include_str!("../docs/guide/how_to.md")]
    pub mod how_to {}
    /// The sign-in, step by step, with the clause and the attack behind each check.
    ///
    #[doc = include_str!("../docs/guide/how_sign_in_works.md")]
    pub mod how_sign_in_works {}
    /// Refresh, rotation, crashes, and what is stored.
    ///
    #[doc = include_str!("../docs/guide/how_sessions_live.md")]
    pub mod how_sessions_live {}
    /// An authorization server in the process of your tests: lost answers, broken standards, time travel.
    ///
    #[cfg_attr(
        all(feature = "test-server", feature = "http", feature = "loopback"),
        doc = include_str!("../docs/testing.md")
    )]
    #[cfg_attr(
        not(all(feature = "test-server", feature = "http", feature = "loopback")),
        doc = "The page is in documentation that is built with the feature `test-server`: `cargo doc --features test-server`."
    )]
    pub mod testing {}
    /// Every kind and every code, and what to do about it.
    ///
    #[doc = include_str!("../docs/errors.md")]
    pub mod errors {}
}

/// The README's example compiles, or the tests fail.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
