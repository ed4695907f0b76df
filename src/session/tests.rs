//! Tests of the machine as a whole: against the rules written a second time, and in every order that threads can take.

mod interleavings;
mod pace;
mod readme;
mod rotation;
pub(super) mod world;
