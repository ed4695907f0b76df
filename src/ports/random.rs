//! Chance, for what nobody must guess.

use std::fmt::Debug;

/// The random source gave nothing.
///
/// ```
/// use gatepass::RandomFailure;
/// use std::io::Read;
///
/// fn fill(mut device: impl Read, buffer: &mut [u8]) -> Result<(), RandomFailure> {
///     device.read_exact(buffer).map_err(|error| RandomFailure(error.to_string()))
/// }
/// assert!(fill(std::io::empty(), &mut [0; 32]).is_err());
/// ```
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
///
/// ```
/// use gatepass::{Random, RandomFailure};
///
/// /// For a test that must repeat. Never for anything else.
/// #[derive(Debug)]
/// struct Counting(std::sync::atomic::AtomicU8);
///
/// impl Random for Counting {
///     fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomFailure> {
///         for byte in buffer {
///             *byte = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Random: Send + Sync + Debug {
    /// Fills the whole buffer.
    ///
    /// # Errors
    /// [`RandomFailure`] if the source has nothing; the buffer is then unspecified.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomFailure>;
}
