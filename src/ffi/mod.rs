//! The surface for Kotlin and Swift, by UniFFI: mirror types and delegation. It decides nothing.
//!
//! Nothing outside this folder knows of UniFFI. The names begin with `Ffi`, because no app sees them: the façades
//! do, and give them the names of the standards.
//!
//! Rules of the border:
//! - An exported async function only awaits work of the core's own executor. So it needs no runtime where it is
//!   polled, which is on the app's threads; and a caller that stops waiting stops nothing.
//! - Every method of a foreign trait returns a `Result` whose error can be made of an exception nobody expected:
//!   UniFFI panics otherwise. The text of such an exception is dropped unread, for it may hold anything.
//! - A type that holds a secret exports its redacted `Display`, so that Kotlin's `toString` and Swift's
//!   `description` are that one, and not a list of the fields.
#![allow(
    unsafe_code,
    reason = "UniFFI's macros write `extern \"C\"` functions and unsafe trait implementations; there is no other unsafe code here"
)]
#![allow(
    clippy::result_large_err,
    clippy::large_enum_variant,
    reason = "an error is made once, and is on its way into a buffer"
)]

/// `Debug` that prints what `Display` prints: Swift shows the one in some places and the other elsewhere, Kotlin one.
macro_rules! debug_as_display {
    ($($name:ident),+) => {$(
        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                ::std::fmt::Display::fmt(self, f)
            }
        }
    )+};
}
use debug_as_display;

#[cfg(feature = "association")]
mod association;
mod choices;
mod client;
mod config;
#[cfg(feature = "conformance")]
mod conformance;
mod error;
mod http;
mod key_wrap;
mod listener;
mod live;
mod session;
mod storage;
#[cfg(feature = "test-server")]
mod test_server;
#[cfg(test)]
#[cfg(all(feature = "http", feature = "test-server"))]
mod tests;
mod user_agent;

uniffi::setup_scaffolding!("gatepass");
