//! Durable storage through the public API, by several real processes: killed, stopped, short of disk. The tests of a real
//! Secret Service need one: `cargo xtask test keychain`.
#![cfg(all(unix, feature = "encrypted-file"))]
// Helpers outside #[test] functions, which clippy's own exception does not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout
)]

mod child;
mod files;
#[cfg(all(feature = "keyring", target_os = "linux"))]
mod secret_service;
