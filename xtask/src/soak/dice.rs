//! Random instants that a seed brings again.

use std::time::Duration;

/// SplitMix64: small, well spread, and the same on every machine. Nothing secret hangs on it.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// Less than this; 0 if it is 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next().checked_rem(limit).unwrap_or(0)
    }

    /// Shorter than this.
    pub(crate) fn instant(&mut self, longest: Duration) -> Duration {
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.below(micros))
    }
}

/// A millionth.
const PARTS: u64 = 1_000_000;

/// Aims at a window of some milliseconds that nobody knows: half of the instants are anywhere, the other half near those that
/// have hit. It thinks in parts of a whole whose length changes with the load of the machine.
pub(crate) struct Aim {
    /// As long as what is aimed at takes.
    pub(crate) longest: Duration,
    /// In millionths of it.
    hits: Vec<u64>,
}

impl Aim {
    pub(crate) fn within(longest: Duration) -> Self {
        let hits = Vec::new();
        Self { longest, hits }
    }

    pub(crate) fn next(&self, dice: &mut Dice) -> Duration {
        const NEAR: u64 = PARTS / 20;
        let near = usize::try_from(dice.below(self.hits.len() as u64)).unwrap_or(0);
        let part = match self.hits.get(near) {
            Some(hit) if dice.below(2) == 0 => (hit + dice.below(2 * NEAR)).saturating_sub(NEAR),
            _ => dice.below(PARTS),
        };
        Duration::from_micros(self.micros().saturating_mul(part) / PARTS)
    }

    pub(crate) fn hit(&mut self, instant: Duration) {
        let micros = u64::try_from(instant.as_micros()).unwrap_or(u64::MAX);
        self.hits
            .extend(micros.saturating_mul(PARTS).checked_div(self.micros()));
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.longest.as_micros()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_brings_the_same_instants_again_and_a_hit_draws_others() {
        let aimed = |hit: Option<Duration>| {
            let (mut dice, mut aim) = (Dice::new(7), Aim::within(Duration::from_secs(1)));
            hit.into_iter().for_each(|hit| aim.hit(hit));
            (0..1_000).map(|_| aim.next(&mut dice)).collect::<Vec<_>>()
        };
        assert_eq!(aimed(None), aimed(None));
        let window = Duration::from_millis(650)..Duration::from_millis(750);
        let near = |instants: Vec<Duration>| instants.iter().filter(|at| window.contains(at)).count();
        assert!((50..200).contains(&near(aimed(None))));
        assert!((450..650).contains(&near(aimed(Some(Duration::from_millis(700))))));
        assert!(aimed(None).iter().all(|at| *at < Duration::from_secs(1)));
    }
}
