//! Pages of Merkle nodes.
//!
//! A page is a perfect subtree of seven levels, 127 nodes: the walk from a leaf to the
//! root of a million blocks touches three pages. Level 0 has the leaves and the six
//! levels above them; what is above those is numbered as a tree of its own and cut up
//! the same way.

use super::StoreError;
use crate::encoding::{Reader, Writer};
use crate::flat_tree;
use crate::merkle::Node;

/// Levels of pages: enough for 2^41 blocks.
pub const LEVELS: u8 = 6;

/// Low bits of a node's index that number it within its page.
const BITS: u32 = 7;

/// Which page of a core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PageKey {
    /// How many pages lie between it and the leaves.
    pub level: u8,
    /// Its number within the level.
    pub page: u64,
}

impl PageKey {
    /// The page of a node, and the node's place in it.
    pub fn of(node: u64) -> (Self, u8) {
        let mut at = node;
        let mut level = 0;
        while at & 127 == 127 && level < LEVELS - 1 {
            at >>= BITS;
            level += 1;
        }
        (Self { level, page: at >> BITS }, (at & 127) as u8)
    }

    /// Nodes, cut where the page changes: neighbours mostly share one.
    pub fn runs(nodes: &[Node]) -> impl Iterator<Item = (Self, &[Node])> {
        nodes.chunk_by(|a, b| Self::of(a.index).0 == Self::of(b.index).0).filter_map(|run| {
            let (key, _) = Self::of(run.first()?.index);
            Some((key, run))
        })
    }

    /// The node at a place in the page.
    fn node(&self, slot: u8) -> u64 {
        (0..self.level).fold(self.page << BITS | u64::from(slot), |at, _| at << BITS | 127)
    }

    /// The page of each level in which nodes over block `length` begin.
    pub fn boundary(level: u8, length: u64) -> Self {
        Self { level, page: length >> (6 + BITS * u32::from(level)) }
    }
}

/// The nodes of a page that we have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePage {
    present: u128,
    nodes: Vec<(u64, [u8; 32])>,
}

impl NodePage {
    fn rank(&self, slot: u8) -> usize {
        (self.present & ((1 << slot) - 1)).count_ones() as usize
    }

    /// Puts a node at its place.
    pub fn insert(&mut self, slot: u8, node: &Node) {
        let rank = self.rank(slot);
        let value = (node.size, node.hash);
        if self.present >> slot & 1 == 1 {
            self.nodes[rank] = value;
        } else {
            self.present |= 1 << slot;
            self.nodes.insert(rank, value);
        }
    }

    /// The node at a place; `index` is what it is called.
    pub fn get(&self, slot: u8, index: u64) -> Option<Node> {
        if self.present >> slot & 1 == 0 {
            return None;
        }
        let (size, hash) = self.nodes[self.rank(slot)];
        Some(Node { index, size, hash })
    }

    /// Is there nothing in it?
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// All its nodes; `key` is the page's own.
    pub fn iter(&self, key: PageKey) -> impl Iterator<Item = Node> {
        (0..128u8)
            .filter(|slot| self.present >> slot & 1 == 1)
            .zip(&self.nodes)
            .map(move |(slot, (size, hash))| Node { index: key.node(slot), size: *size, hash: *hash })
    }

    /// Drops the nodes that cover any block from `length` on.
    pub fn truncate(&mut self, key: PageKey, length: u64) {
        let kept: Vec<Node> = self.iter(key).filter(|node| !covers(node.index, length)).collect();
        *self = Self::default();
        for node in &kept {
            self.insert(PageKey::of(node.index).1, node);
        }
    }

    /// Takes over all nodes of `newer`.
    pub fn merge(&mut self, key: PageKey, newer: &NodePage) {
        if self.is_empty() {
            self.clone_from(newer);
            return;
        }
        for node in newer.iter(key) {
            self.insert(PageKey::of(node.index).1, &node);
        }
    }

    /// Bytes it takes in memory, roughly.
    pub fn weight(&self) -> usize {
        self.nodes.capacity() * 40 + 64
    }

    /// As stored: a bit a place, then size and hash of those that are there.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(20 + self.nodes.len() * 40);
        out.raw(&self.present.to_le_bytes());
        for (size, hash) in &self.nodes {
            out.uint64(*size).raw(hash);
        }
        out.into_vec()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let damaged = || StoreError::Damaged("a page of tree nodes".into());
        let mut input = Reader::new(bytes);
        let present = u128::from_le_bytes(input.fixed()?);
        if input.remaining() != present.count_ones() as usize * 40 {
            return Err(damaged());
        }
        let mut nodes = Vec::with_capacity(present.count_ones() as usize);
        while !input.is_empty() {
            nodes.push((input.uint64()?, input.fixed()?));
        }
        Ok(Self { present, nodes })
    }
}

/// Does the node cover any block from `length` on?
pub fn covers(node: u64, length: u64) -> bool {
    flat_tree::blocks(node).end > length
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn node(index: u64) -> Node {
        Node { index, size: index * 3, hash: [index as u8; 32] }
    }

    proptest! {
        #[test]
        fn every_node_has_a_place_of_its_own(index in 0u64..1 << 41) {
            let (key, slot) = PageKey::of(index);
            prop_assert_eq!(key.node(slot), index);
            prop_assert!(slot < 127 || key.level == LEVELS - 1);
        }

        #[test]
        fn nodes_past_a_length_are_at_or_past_the_boundary(index in 0u64..1 << 40, length in 0u64..1 << 39) {
            let (key, _) = PageKey::of(index);
            if covers(index, length) {
                prop_assert!(key.page >= PageKey::boundary(key.level, length).page);
            } else {
                prop_assert!(key.page <= PageKey::boundary(key.level, length).page);
            }
        }

        #[test]
        fn behaves_as_a_map(inserts in prop::collection::vec(0u64..600, 0..200), length in 0u64..300) {
            let mut pages: BTreeMap<PageKey, NodePage> = BTreeMap::new();
            for index in &inserts {
                let (key, slot) = PageKey::of(*index);
                pages.entry(key).or_default().insert(slot, &node(*index));
            }
            let find = |pages: &BTreeMap<PageKey, NodePage>, index| {
                let (key, slot) = PageKey::of(index);
                pages.get(&key).and_then(|page| page.get(slot, index))
            };
            for index in 0..600 {
                prop_assert_eq!(find(&pages, index), inserts.contains(&index).then(|| node(index)));
            }
            for (key, page) in &mut pages {
                prop_assert_eq!(&NodePage::decode(&page.encode()).unwrap(), &*page);
                page.truncate(*key, length);
            }
            for index in 0..600 {
                let kept = inserts.contains(&index) && !covers(index, length);
                prop_assert_eq!(find(&pages, index), kept.then(|| node(index)));
            }
        }

        #[test]
        fn decodes_anything_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = NodePage::decode(&bytes);
        }
    }
}
