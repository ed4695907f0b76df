//! What a hostile world does to a session: storage that refuses, locks, loses and lies, servers that answer with
//! anything, other processes at the worst moment. Every port here is the test's own, so each step can be stopped.

mod refresh;
mod sign_in;
mod storage;
mod world;
