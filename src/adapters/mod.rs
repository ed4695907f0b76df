//! The ports made real: HTTP, storage, clock, randomness, threads, the loopback listener, the system browser.

#[cfg(feature = "sealed-file")]
#[cfg_attr(
    not(feature = "internals"),
    allow(unreachable_pub, reason = "it is a door of `internals`")
)]
pub(crate) mod directory;
#[cfg(feature = "encrypted-file")]
pub(crate) mod encrypted_file;
pub(crate) mod executor;
#[cfg(feature = "encrypted-file")]
pub(crate) mod file_key;
#[cfg(feature = "sealed-file")]
pub(crate) mod file_lock;
#[cfg(feature = "sealed-file")]
pub(crate) mod file_storage;
#[cfg(feature = "sealed-file")]
pub(crate) mod key_file;
#[cfg(feature = "keyring")]
#[cfg(not(any(target_os = "android", target_os = "ios")))]
pub(crate) mod keychain;
#[cfg(feature = "loopback")]
pub(crate) mod loopback;
pub(crate) mod memory;
#[cfg(feature = "sealed-file")]
#[allow(dead_code, reason = "only a façade has such a keystore")]
pub(crate) mod platform_key;
pub(crate) mod random;
#[cfg(feature = "http")]
pub(crate) mod reqwest;
#[cfg(feature = "sealed-file")]
pub(crate) mod sealing;
#[cfg(feature = "loopback")]
pub(crate) mod system_browser;
pub(crate) mod system_clock;
