//! Chance, for what nobody must guess.

use std::fmt::Debug;

/// The random source gave nothing.
#[derive(Clone, Debug)]
pub struct RandomFailure(
    /// A text for people.
    pub String,
);

/// The random port.
///
/// # Contract
/// Cryptographically secure, from the operating system (RFC 7636 §7.1). Never a fallback: a source that has
/// nothing says so, and the flow does not start. Does not block once the device has started.
pub trait Random: Send + Sync + Debug {
    /// Fills the whole buffer.
    ///
    /// # Errors
    /// [`RandomFailure`] if the source has nothing; the buffer is then unspecified.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomFailure>;
}
