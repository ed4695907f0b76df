//! For those who keep a copy of what is published: told of every change, before whoever waits for it goes on.
//!
//! A façade across the FFI hands out the token of its copy, without a call. What is told is read after the change and
//! numbered before it is read, so of two tellings that overtake each other the one with the higher number is right.

#![allow(dead_code, reason = "in a build without a façade nobody keeps a copy")]

use std::fmt::Debug;
use std::sync::Arc;

use super::SessionState;
use super::snapshot::Snapshot;
use crate::ports::SessionId;

/// Who keeps a copy. Called with no lock held, on the core's executor; it may call back in, and must not block.
pub(crate) trait Observer: Send + Sync + Debug {
    /// Something is published.
    fn published(&self, publication: Publication);
}

/// What is published now.
#[derive(Debug)]
pub(crate) struct Publication {
    /// Rises. One that is lower than another that was told is older than that.
    pub(crate) order: u64,
    /// Of the client: whether anybody is signed in.
    pub(crate) state: SessionState,
    /// The session that changed, if one did.
    pub(crate) session: Option<PublishedSession>,
    /// The clocks when this was read.
    pub(crate) boot_millis: u64,
    pub(crate) unix_millis: i64,
}

/// One session as it is published now.
#[derive(Debug)]
pub(crate) struct PublishedSession {
    pub(crate) id: SessionId,
    pub(crate) epoch: u64,
    pub(crate) state: SessionState,
    /// The token that the sign-in asked for.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
}
