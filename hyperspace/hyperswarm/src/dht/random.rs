//! Random numbers that a node can be given: the same seed, the same numbers, so that a
//! simulation can be run again; and nobody without the seed can tell what comes next.

use crate::hash::keyed_hash;

/// BLAKE2b of a counter, keyed with the seed.
pub(crate) struct Random {
    seed: [u8; 32],
    counter: u64,
}

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        self.counter += 1;
        keyed_hash(&self.seed, &[&self.counter.to_le_bytes()])
    }

    pub(crate) fn number(&mut self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// Below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }
}
