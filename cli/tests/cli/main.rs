//! The program as a user meets it: its words, its JSON, its exit codes.

// Helpers outside #[test] functions, which clippy's own exception does not see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod association;
mod completions;
mod config;
mod doctor;
mod doctor_android;
mod doctor_apple;
mod doctor_builds;
mod doctor_files;
mod doctor_server;
mod forget;
mod hosts;
mod journey;
mod mishaps;
mod output;
mod secrets;
mod serve;
mod sessions;
mod sign_in;
mod sign_out;
mod signals;
mod status;
mod support;
mod token;
mod usage;
