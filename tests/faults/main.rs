//! What a hostile world does to a session: storage that refuses, locks, loses and lies, servers that answer with
//! anything, other processes at the worst moment. Every port here is the test's own, so each step can be stopped.

// Helpers outside #[test] functions, which clippy's own exception does not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod clocks;
mod foreground;
mod golden;
mod held;
mod knowledge;
mod refresh;
mod sign_in;
mod staleness;
mod storage;
mod userinfo;
mod world;
