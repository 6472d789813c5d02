//! The numbering of tree nodes: a binary tree laid out in one line (npm `flat-tree`).
//!
//! Block `b` is node `2·b`; odd numbers are parents. A node's depth is the number of its
//! trailing one bits.
//!
//! ```text
//! 3        ┌──── 3 ────┐
//!       ┌─ 1 ─┐     ┌─ 5 ─┐
//!       0     2     4     6
//! ```
//!
//! Indexes may be anything up to [`MAX_INDEX`]; beyond it results are meaningless, since
//! they would not fit (what comes off the wire is at most 2^53 − 1, twice which is well
//! below).

/// The largest index that these functions take.
pub const MAX_INDEX: u64 = (1 << 60) - 1;

/// The node at `depth` that is number `offset` from the left.
pub fn index(depth: u32, offset: u64) -> u64 {
    (offset << (depth + 1)) + (1 << depth) - 1
}

/// How far above the leaves a node is.
pub fn depth(index: u64) -> u32 {
    index.trailing_ones()
}

/// How many nodes of its depth are left of it.
pub fn offset(index: u64) -> u64 {
    index >> (depth(index) + 1)
}

/// The node above.
pub fn parent(node: u64) -> u64 {
    index(depth(node) + 1, offset(node) >> 1)
}

/// The `levels`-th node above.
pub fn ancestor(node: u64, levels: u32) -> u64 {
    index(depth(node) + levels, offset(node) >> levels)
}

/// The other child of the node above.
pub fn sibling(node: u64) -> u64 {
    index(depth(node), offset(node) ^ 1)
}

/// Is the node the left child of its parent?
pub fn is_left(node: u64) -> bool {
    offset(node) & 1 == 0
}

/// The two nodes below; none for a leaf.
pub fn children(node: u64) -> Option<(u64, u64)> {
    let half = (1 << depth(node)) >> 1;
    (half > 0).then(|| (node - half, node + half))
}

/// The first leaf below a node (itself for a leaf).
pub fn left_span(node: u64) -> u64 {
    node + 1 - count_leaves(node)
}

/// The last leaf below a node.
pub fn right_span(node: u64) -> u64 {
    node + count_leaves(node) - 1
}

/// How many leaves are below a node.
pub fn count_leaves(node: u64) -> u64 {
    1 << depth(node)
}

/// The blocks below a node.
pub fn blocks(node: u64) -> std::ops::Range<u64> {
    let first = left_span(node) / 2;
    first..first + count_leaves(node)
}

/// Is `other` in the subtree of `node` (or `node` itself)?
pub fn contains(node: u64, other: u64) -> bool {
    (left_span(node)..=right_span(node)).contains(&other)
}

/// The roots of a tree of `length` blocks, left to right: the largest perfect subtree
/// first.
pub fn full_roots(length: u64) -> Subtrees {
    subtrees(0, length)
}

/// The largest perfect subtrees that cover the blocks `start..end`, left to right: what a
/// tree of `start` blocks lacks to become one of `end`.
pub fn subtrees(start: u64, end: u64) -> Subtrees {
    Subtrees { start, end }
}

/// See [`subtrees`].
#[derive(Clone, Debug)]
pub struct Subtrees {
    /// The first block that is not covered yet.
    start: u64,
    /// The first that will not be.
    end: u64,
}

impl Iterator for Subtrees {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let fits = self.end.checked_sub(self.start)?.checked_ilog2()?;
        // A subtree starts at a multiple of its leaves.
        let leaves = 1 << fits.min(self.start.trailing_zeros());
        let node = 2 * self.start + leaves - 1;
        self.start += leaves;
        Some(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_leaf_is_its_own_span() {
        assert_eq!((depth(6), offset(6), children(6)), (0, 3, None));
        assert_eq!((left_span(6), right_span(6), blocks(6)), (6, 6, 3..4));
    }

    #[test]
    fn twenty_blocks_have_two_roots() {
        assert_eq!(full_roots(20).collect::<Vec<_>>(), [15, 35]);
        assert_eq!(full_roots(0).next(), None);
    }

    #[test]
    fn growth_is_by_what_lies_right_of_the_old_roots() {
        assert_eq!(subtrees(5, 20).collect::<Vec<_>>(), [10, 13, 23, 35]);
        assert_eq!(subtrees(6, 13).collect::<Vec<_>>(), [13, 19, 24]);
        assert_eq!(subtrees(20, 20).next(), None);
        assert_eq!(subtrees(20, 5).next(), None);
    }

    proptest! {
        #[test]
        fn relations_agree(node in 0..=MAX_INDEX >> 8, levels in 0u32..6) {
            prop_assert_eq!(index(depth(node), offset(node)), node);
            prop_assert_eq!(sibling(sibling(node)), node);
            prop_assert_eq!(parent(sibling(node)), parent(node));
            prop_assert_eq!(children(parent(node)), Some(if is_left(node) {
                (node, sibling(node))
            } else {
                (sibling(node), node)
            }));
            let climbed = (0..levels).fold(node, |at, _| parent(at));
            prop_assert_eq!(ancestor(node, levels), climbed);
            prop_assert!(contains(climbed, node));
            prop_assert_eq!(contains(node, climbed), levels == 0);
        }

        #[test]
        fn full_roots_cover_every_block_once(length in 0u64..1 << 40) {
            let mut next = 0;
            let mut last_size = u64::MAX;
            for root in full_roots(length) {
                prop_assert_eq!(blocks(root).start, next);
                prop_assert!(count_leaves(root) < last_size);
                next = blocks(root).end;
                last_size = count_leaves(root);
            }
            prop_assert_eq!(next, length);
        }
    }
}
