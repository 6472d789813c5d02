//! One node of the tree, and where nodes come from.

use crate::crypto::{Hash, leaf_hash, parent_hash};
use crate::encoding::{DecodeError, Reader, Writer};
use crate::flat_tree;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;

/// A node: what is below it, in size and in hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Node {
    /// Its place, as [`flat_tree`] counts.
    pub index: u64,
    /// Bytes of the blocks below it.
    pub size: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Node {
    /// The fewest bytes of an encoded node.
    pub const MIN_BYTES: usize = 34;

    /// The node of a block.
    pub fn leaf(block: u64, value: &[u8]) -> Self {
        Self { index: 2 * block, size: value.len() as u64, hash: leaf_hash(value) }
    }

    /// The node above two siblings, in any order.
    pub fn parent(a: &Self, b: &Self) -> Self {
        Self {
            index: flat_tree::parent(a.index),
            size: a.size.saturating_add(b.size),
            hash: parent_hash(a, b),
        }
    }

    /// Reads a node as it is sent.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { index: reader.uint()?, size: reader.uint()?, hash: reader.fixed()? })
    }

    /// Writes a node as it is sent.
    pub fn encode(&self, writer: &mut Writer) {
        writer.uint(self.index).uint(self.size).raw(&self.hash);
    }
}

/// Where the nodes of a core are kept.
pub trait NodeSource {
    /// Why a node could not be read.
    type Error;

    /// The node at `index`, or `None` if it is not kept (the core may be sparse).
    fn node(&self, index: u64) -> Result<Option<Node>, Self::Error>;
}

impl<S: NodeSource + ?Sized> NodeSource for &S {
    type Error = S::Error;

    fn node(&self, index: u64) -> Result<Option<Node>, S::Error> {
        (**self).node(index)
    }
}

impl NodeSource for HashMap<u64, Node> {
    type Error = Infallible;

    fn node(&self, index: u64) -> Result<Option<Node>, Infallible> {
        Ok(self.get(&index).copied())
    }
}

impl NodeSource for BTreeMap<u64, Node> {
    type Error = Infallible;

    fn node(&self, index: u64) -> Result<Option<Node>, Infallible> {
        Ok(self.get(&index).copied())
    }
}

/// A source, and besides it [hints](super::Verified::hints): for finding the way to a byte
/// before the block there has come.
#[derive(Clone, Copy, Debug)]
pub struct WithHints<'a, S> {
    /// What is stored.
    pub source: &'a S,
    /// What is not, and may say a wrong size; by index.
    pub hints: &'a HashMap<u64, Node>,
}

impl<S: NodeSource> NodeSource for WithHints<'_, S> {
    type Error = S::Error;

    fn node(&self, index: u64) -> Result<Option<Node>, S::Error> {
        Ok(self.source.node(index)?.or_else(|| self.hints.get(&index).copied()))
    }
}

/// Why something could not be found in a tree.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError<E> {
    /// The source failed.
    #[error("{0}")]
    Source(E),
    /// A node that is needed is not kept here.
    #[error("tree node {0} is not stored")]
    Missing(u64),
    /// What was asked for lies outside the tree.
    #[error("out of the tree's bounds")]
    OutOfBounds,
}

impl<E> From<E> for ReadError<E> {
    fn from(error: E) -> Self {
        Self::Source(error)
    }
}

/// The node at `index`, which has to be there.
pub(crate) fn require<S: NodeSource>(source: &S, index: u64) -> Result<Node, ReadError<S::Error>> {
    source.node(index)?.ok_or(ReadError::Missing(index))
}
