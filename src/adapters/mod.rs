//! The ports made real: HTTP, storage, clock, randomness, threads, the loopback listener, the system browser.

pub(crate) mod executor;
#[cfg(feature = "loopback")]
pub(crate) mod loopback;
pub(crate) mod memory;
pub(crate) mod random;
#[cfg(feature = "http")]
pub(crate) mod reqwest;
#[cfg(feature = "loopback")]
pub(crate) mod system_browser;
pub(crate) mod system_clock;
