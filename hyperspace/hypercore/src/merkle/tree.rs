//! A core's tree as its roots, and how it grows and shrinks.

use super::node::{Node, NodeSource, ReadError, require};
use crate::crypto::{Hash, hash_leaves, hash_pairs, tree_hash};
use crate::encoding::MAX_UINT;
use crate::flat_tree;

/// The state of a core's tree: how often its history was rewritten, and its roots.
///
/// Two trees with the same roots hold the same blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    pub(super) fork: u64,
    pub(super) length: u64,
    pub(super) byte_length: u64,
    pub(super) roots: Vec<Node>,
}

/// Nodes that cannot be a tree's roots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these nodes are not the roots of a tree of {length} blocks")]
pub struct RootsError {
    /// The length that was to be.
    pub length: u64,
}

/// What an append adds: nodes to store, and the tree afterwards (to be signed).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The new nodes: first the leaves, then level by level upwards, each level from left
    /// to right.
    pub nodes: Vec<Node>,
    /// The tree with the blocks appended.
    pub tree: Tree,
}

impl Tree {
    /// An empty tree.
    pub fn new(fork: u64) -> Self {
        Self { fork, ..Self::default() }
    }

    /// The tree of these roots, given left to right.
    pub fn from_roots(fork: u64, length: u64, roots: Vec<Node>) -> Result<Self, RootsError> {
        let error = RootsError { length };
        if length > MAX_UINT || !roots.iter().map(|root| root.index).eq(flat_tree::full_roots(length)) {
            return Err(error);
        }
        let byte_length = roots
            .iter()
            .try_fold(0u64, |sum, root| sum.checked_add(root.size))
            .filter(|sum| *sum <= MAX_UINT)
            .ok_or(error)?;
        Ok(Self { fork, length, byte_length, roots })
    }

    /// The tree of `length` blocks, its roots read from `source`.
    pub fn load<S: NodeSource>(source: &S, fork: u64, length: u64) -> Result<Self, ReadError<S::Error>> {
        let roots =
            flat_tree::full_roots(length).map(|root| require(source, root)).collect::<Result<_, _>>()?;
        Self::from_roots(fork, length, roots).map_err(|_| ReadError::OutOfBounds)
    }

    /// How often history was rewritten.
    pub fn fork(&self) -> u64 {
        self.fork
    }

    /// Blocks.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Bytes of all blocks, as stored.
    pub fn byte_length(&self) -> u64 {
        self.byte_length
    }

    /// The roots, left to right.
    pub fn roots(&self) -> &[Node] {
        &self.roots
    }

    /// The root at `index`.
    pub fn root(&self, index: u64) -> Option<&Node> {
        self.roots.iter().find(|root| root.index == index)
    }

    /// The hash over the roots.
    pub fn hash(&self) -> Hash {
        tree_hash(&self.roots)
    }

    /// The same tree under another fork number.
    pub fn with_fork(mut self, fork: u64) -> Self {
        self.fork = fork;
        self
    }

    /// Appends blocks. Hashes several at a time; the tree itself stays as it is.
    pub fn append<B: AsRef<[u8]>>(&self, blocks: &[B]) -> Batch {
        let (old, new) = (self.length, self.length + blocks.len() as u64);
        // At most one parent a leaf, plus one a level where old roots join in.
        let mut nodes = Vec::with_capacity(2 * blocks.len() + self.roots.len());
        let mut sizes = blocks.iter().map(|block| block.as_ref().len() as u64);
        let mut index = 2 * old;
        hash_leaves(blocks, |hash| {
            nodes.push(Node { index, size: sizes.next().unwrap_or_default(), hash });
            index += 2;
        });
        // Kept for as long as the core is open.
        let mut roots = Vec::with_capacity(new.count_ones() as usize + 1);
        let mut level = 0..nodes.len();
        let mut pairs = Vec::with_capacity(level.len() / 2 + 1);
        for depth in 0u32.. {
            // At this depth, the old tree had `old >> depth` nodes and the new one has
            // `new >> depth`; those in between are `level`.
            let before = self.roots.iter().find(|root| flat_tree::depth(root.index) == depth);
            if level.is_empty() {
                // Above the last new node, what was a root is still one.
                roots.extend(self.roots.iter().rev().filter(|r| flat_tree::depth(r.index) >= depth));
                break;
            }
            if (new >> depth) & 1 == 1 {
                roots.push(nodes[level.end - 1]);
            }
            pairs.clear();
            let mut rest = level.clone();
            if let Some(left) = before {
                pairs.push([*left, nodes[rest.start]]);
                rest.start += 1;
            }
            pairs.extend(nodes[rest].chunks_exact(2).map(|pair| [pair[0], pair[1]]));
            level = level.end..level.end + pairs.len();
            let mut parents = pairs.iter();
            hash_pairs(&pairs, |hash| {
                if let Some([left, right]) = parents.next() {
                    nodes.push(Node {
                        index: flat_tree::parent(left.index),
                        size: left.size + right.size,
                        hash,
                    });
                }
            });
        }
        roots.reverse();
        let byte_length = roots.iter().map(|root| root.size).sum();
        Batch { nodes, tree: Self { fork: self.fork, length: new, byte_length, roots } }
    }

    /// Cuts the tree to its first `length` blocks, as `fork`.
    pub fn truncate<S: NodeSource>(
        &self,
        source: &S,
        length: u64,
        fork: u64,
    ) -> Result<Self, ReadError<S::Error>> {
        if length > self.length {
            return Err(ReadError::OutOfBounds);
        }
        Self::load(&WithRoots { tree: self, source }, fork, length)
    }

    /// [`push_root`](Self::push_root), when the new parents do not matter.
    pub(crate) fn push(&mut self, node: Node) {
        self.push_root(node, |_| ());
    }

    /// Adds the node that follows the last root, and joins roots that have become
    /// siblings; tells `joined` each node that this makes.
    pub(super) fn push_root(&mut self, node: Node, mut joined: impl FnMut(Node)) {
        self.length += flat_tree::count_leaves(node.index);
        self.byte_length = self.byte_length.saturating_add(node.size);
        let mut last = node;
        while let Some(left) = self
            .roots
            .pop_if(|left| !flat_tree::is_left(last.index) && left.index == flat_tree::sibling(last.index))
        {
            last = Node::parent(&left, &last);
            joined(last);
        }
        self.roots.push(last);
    }
}

/// A source that knows a tree's roots, whether they are stored already or not.
pub(super) struct WithRoots<'a, S> {
    pub(super) tree: &'a Tree,
    pub(super) source: &'a S,
}

impl<S: NodeSource> NodeSource for WithRoots<'_, S> {
    type Error = S::Error;

    fn node(&self, index: u64) -> Result<Option<Node>, S::Error> {
        match self.tree.root(index) {
            Some(root) => Ok(Some(*root)),
            None => self.source.node(index),
        }
    }
}
