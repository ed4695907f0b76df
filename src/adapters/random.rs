//! The operating system's random source.

use crate::ports::{Random, RandomFailure};

/// `getrandom(2)` and its like on other systems.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomFailure> {
        getrandom::fill(buffer)
            .map_err(|error| RandomFailure(format!("the operating system gives no random numbers: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn pk_03_octets_do_not_repeat() {
        let mut seen = HashSet::new();
        for _ in 0..100_000 {
            let mut octets = [0u8; 32];
            SystemRandom.fill(&mut octets).unwrap();
            assert!(seen.insert(octets));
        }
    }
}
