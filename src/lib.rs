//! Gatepass.
