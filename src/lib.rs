//! Gatepass.

#[cfg(feature = "test-server")]
pub mod test_server;
