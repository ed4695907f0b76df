//! What must hold for any bytes: one function for each fuzz target, which panics where it does not.
//!
//! No part of the API: with the feature `fuzzing` the targets in `fuzz/` call these, and the tests below replay the
//! seeds and everything that was ever found. A property is told by what it promises ("no redirect is accepted that
//! reads otherwise a second time"), and checked with means of its own: another JSON reader, another decoder of queries,
//! a digest that an attacker cannot know.

// A property that does not hold panics: that is how a fuzzer is told.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod answers;
#[cfg(feature = "association")]
mod app_file;
#[cfg(feature = "association")]
mod association;
mod callback;
mod id_token;
mod input;
mod jws;
mod keys;
mod metadata;
mod record;
mod samples;
#[cfg(feature = "encrypted-file")]
mod sealed;
mod session;
mod text;
mod token;

pub use answers::error_response;
#[cfg(feature = "association")]
pub use app_file::app_file;
#[cfg(feature = "association")]
pub use association::association;
pub use callback::callback_url;
pub use id_token::id_token;
pub use jws::compact_jws;
pub use keys::jwks;
pub use metadata::metadata;
pub use record::stored_record;
#[cfg(feature = "encrypted-file")]
pub use sealed::sealed_record;
pub use session::stored_token;
pub use text::{redirect_uri, www_authenticate};
pub use token::token_response;

/// A property by the name of its target.
pub type Property = fn(&[u8]);

/// All of them.
pub const TARGETS: &[(&str, Property)] = &[
    ("callback_url", callback_url),
    ("token_response", token_response),
    ("error_response", error_response),
    ("metadata", metadata),
    ("jwks", jwks),
    ("compact_jws", compact_jws),
    ("id_token", id_token),
    ("www_authenticate", www_authenticate),
    ("stored_record", stored_record),
    #[cfg(feature = "encrypted-file")]
    ("sealed_record", sealed_record),
    ("redirect_uri", redirect_uri),
    ("stored_token", stored_token),
    #[cfg(feature = "association")]
    ("association", association),
    #[cfg(feature = "association")]
    ("app_file", app_file),
];

#[cfg(test)]
mod tests;
