//! What comes of what should not come, through the public API: each outcome is an error that names its stage and its
//! clause, and leaves alone the session of a user who had signed in before.
//!
//! One file for each kind of input. The dense cases are at the pure functions in `src/protocol`; the table of all of them
//! is in `docs/errors.md`.
#![cfg(all(feature = "http", feature = "loopback", feature = "test-server"))]
// Test code outside a #[test] function, which clippy's own exception does not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod bed;
mod callback;
mod http;
mod id_token;
mod metadata;
mod token;

#[path = "../support/mod.rs"]
mod support;
