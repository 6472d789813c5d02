//! Decoded nodes, kept within a bound of bytes.
//!
//! Two generations: what is used moves to the young one; when that fills half of the
//! bound, it becomes the old one, and what was still old is let go. That keeps what a
//! least-recently-used list would keep, to a factor of two, without links to mend at
//! every read.

use crate::node::Node;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// Nodes by their block. Blocks never change, so all versions share them.
#[derive(Debug)]
pub(crate) struct NodeCache {
    bytes: usize,
    generations: Mutex<Generations>,
}

type Nodes = HashMap<u64, Arc<Node>, BuildHasherDefault<SeqHasher>>;

#[derive(Debug, Default)]
struct Generations {
    young: Nodes,
    old: Nodes,
    /// Weight of `young`.
    weight: usize,
    /// How often the core was truncated.
    truncations: u64,
}

impl NodeCache {
    /// Keeps about `bytes` bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, generations: Mutex::default() }
    }

    pub(crate) fn get(&self, seq: u64) -> Option<Arc<Node>> {
        let mut generations = self.generations.lock();
        if let Some(node) = generations.young.get(&seq) {
            return Some(node.clone());
        }
        let node = generations.old.remove(&seq)?;
        generations.add(node.clone(), self.bytes);
        Some(node)
    }

    /// To be asked before a block is read that may be [inserted](Self::insert) then.
    pub(crate) fn truncations(&self) -> u64 {
        self.generations.lock().truncations
    }

    /// Keeps `node`, unless the core was truncated since it began to be read.
    pub(crate) fn insert(&self, node: Arc<Node>, truncations: u64) {
        let mut generations = self.generations.lock();
        if generations.truncations == truncations {
            generations.add(node, self.bytes);
        }
    }

    /// Forgets blocks `length` and later: the core was truncated.
    pub(crate) fn truncate(&self, length: u64) {
        let generations = &mut *self.generations.lock();
        generations.truncations += 1;
        generations.young.retain(|seq, _| *seq < length);
        generations.old.retain(|seq, _| *seq < length);
        generations.weight = generations.young.values().map(|node| node.weight()).sum();
    }
}

impl Generations {
    fn add(&mut self, node: Arc<Node>, bytes: usize) {
        self.weight += node.weight();
        if let Some(before) = self.young.insert(node.seq, node) {
            self.weight -= before.weight();
        }
        if self.weight > bytes / 2 {
            self.old = std::mem::take(&mut self.young);
            self.weight = 0;
        }
    }
}

/// Spreads block numbers. They index our own log: nobody gains by choosing them.
#[derive(Default)]
struct SeqHasher(u64);

impl Hasher for SeqHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(self.0 ^ u64::from(*byte)));
    }

    fn write_u64(&mut self, seq: u64) {
        self.0 = seq.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component_hash;
    use crate::path::Path;

    fn node(seq: u64) -> Arc<Node> {
        let path = Path::new("key", false, component_hash).unwrap();
        Arc::new(Node { seq, value: None, flags: 0, path, table: Default::default() })
    }

    #[test]
    fn stays_within_its_bound_and_keeps_what_is_used() {
        let weight = node(1).weight();
        let cache = NodeCache::new(weight * 100);
        for seq in 1..1000 {
            cache.insert(node(seq), 0);
            assert!(cache.get(1).is_some());
        }
        let held = (1..1000).filter(|seq| cache.get(*seq).is_some()).count();
        assert!((50..=102).contains(&held), "{held}");
        cache.truncate(999);
        assert!(cache.get(999).is_none() && cache.get(998).is_some());
        // Read before the truncation, arrived after it.
        cache.insert(node(999), 0);
        assert!(cache.get(999).is_none());
        cache.insert(node(999), cache.truncations());
        assert!(cache.get(999).is_some());
    }
}
