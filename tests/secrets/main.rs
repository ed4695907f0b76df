//! Nothing secret is said: not in logs at the most verbose, not by `Debug` or `Display`, not in errors, not by panics, not
//! in a file. Every secret of every journey is a canary, and everything that is said is searched for it.
//!
//! `canary.rs` knows the secrets and finds them, `ears.rs` hears all that is said, `world.rs` has a client whose ports tell
//! of every secret that passes through them. The other files are journeys: good ones, and every one that goes wrong.
#![cfg(all(
    feature = "http",
    feature = "loopback",
    feature = "encrypted-file",
    feature = "test-server"
))]
// Helpers outside #[test] functions, which clippy's own exception does not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod canary;
mod ears;
mod faults;
mod files;
mod hostile;
mod journeys;
mod planted;
mod ports;
mod world;
