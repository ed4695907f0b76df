//! Sessions over their whole life: several of them, tokens that wait for keys, several APIs, and their end, against the
//! test server.
#![cfg(all(feature = "http", feature = "loopback", feature = "test-server"))]
// Test code outside a #[test] function, which clippy's own exception does not see.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

mod accounts;
mod apis;
mod device;
mod journey;
mod left_open;
mod sign_out;
mod waiting;

#[path = "../support/mod.rs"]
mod support;
