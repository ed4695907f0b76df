//! Text that must not be seen: tokens, codes, verifiers, keys.
//!
//! One type for all of them, so that one place decides how a secret prints (it does not), how it is compared
//! (in constant time, by name) and what happens when the last owner lets go (the bytes are overwritten).

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::optimization_barrier;

/// A secret text. Redacted when printed, overwritten when the last clone is dropped.
///
/// It is deliberately neither `PartialEq`, `Display` nor `Serialize`: a secret leaves only through
/// [`Secret::expose`], which a reviewer can search for. A clone shares the bytes; there is one copy in memory.
///
/// ```
/// use gatepass::Secret;
///
/// let secret = Secret::new(String::from("hunter2"));
/// assert_eq!(format!("{secret:?}"), "Secret(redacted, 7 bytes)");
/// assert_eq!(secret.expose(), "hunter2");
/// ```
#[derive(Clone)]
pub struct Secret(Arc<Text>);

/// The one copy of the bytes.
struct Text(String);

impl Drop for Text {
    /// Overwrites all that was allocated. As one fill, which `Zeroizing` does byte by byte: of a long token that is the
    /// larger part of the time that reading it takes.
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.clear();
        // Within what is allocated, so nothing moves.
        bytes.resize(bytes.capacity(), 0);
        optimization_barrier(bytes.as_slice());
    }
}

impl Secret {
    /// Takes ownership of the text. Nothing is copied, so no second copy stays behind.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Arc::new(Text(text)))
    }

    /// The text itself. Whoever calls this answers for where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0.0
    }

    /// Compares in constant time. The lengths may be learnt from the time taken, the content may not.
    ///
    /// ```
    /// let secret = gatepass::Secret::new(String::from("hunter2"));
    /// assert!(secret.matches("hunter2"));
    /// assert!(!secret.matches("hunter"));
    /// ```
    #[must_use]
    pub fn matches(&self, other: &str) -> bool {
        self.expose().as_bytes().ct_eq(other.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret(redacted, {} bytes)", self.expose().len())
    }
}

/// Declares a secret with a name of its own, so that a refresh token cannot be passed for an access token.
macro_rules! secret_newtype {
    ($(#[$meta:meta])* $vis:vis $name:ident) => {
        $(#[$meta])*
        #[derive(Clone)]
        $vis struct $name($crate::secret::Secret);

        impl $name {
            /// Takes ownership of the text without copying it.
            #[must_use]
            $vis fn new(text: String) -> Self {
                Self($crate::secret::Secret::new(text))
            }

            /// The text itself. Whoever calls this answers for where it goes.
            #[must_use]
            $vis fn expose(&self) -> &str {
                self.0.expose()
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(redacted)"))
            }
        }
    };
}
pub(crate) use secret_newtype;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_text() {
        let secret = Secret::new("correct horse".to_owned());
        assert!(!format!("{secret:?} {secret:#?}").contains("horse"));
    }

    #[test]
    fn matches_compares_the_whole_text() {
        let secret = Secret::new("abc".to_owned());
        assert!(secret.matches("abc"));
        assert!(!secret.matches("abd"));
        assert!(!secret.matches("abcd"));
        assert!(!secret.matches(""));
    }
}
