//! Association tests
