//! What is asked about a tree, and what answers it.
//!
//! A [`Request`] names what the asker lacks; a [`Proof`] has the nodes by which the asker
//! checks the answer against what it knows already.

use super::Node;
use bytes::Bytes;

/// The most nodes in one list of a proof. A tree of 2^53 blocks has no path, and no list of
/// roots, that is longer.
pub const MAX_NODES: usize = 128;

/// What is asked of a tree. Any parts may be combined, but if both a block and a hash are
/// asked for, the block is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// A block.
    pub block: Option<BlockRequest>,
    /// A node.
    pub hash: Option<HashRequest>,
    /// The way to a byte.
    pub seek: Option<SeekRequest>,
    /// What makes the asker's tree longer.
    pub upgrade: Option<UpgradeRequest>,
}

/// Asks for a block, and the way up to a node that the asker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockRequest {
    /// The block.
    pub index: u64,
    /// How many levels above the block the asker knows a node. Of no account for blocks that
    /// an upgrade in the same request brings.
    pub nodes: u64,
}

/// Asks for a node, and the way up to one that the asker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashRequest {
    /// The node, as [`flat_tree`](crate::flat_tree) counts.
    pub index: u64,
    /// How many levels above it the asker knows a node.
    pub nodes: u64,
}

/// Asks for the way to a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeekRequest {
    /// Bytes from the core's start, padding left out.
    pub bytes: u64,
    /// Bytes of padding in each block.
    pub padding: u64,
}

/// Asks for what makes a tree of `start` blocks one of `start + length`. The answer always
/// reaches the answerer's own length, since only that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpgradeRequest {
    /// The asker's length.
    pub start: u64,
    /// How many blocks more.
    pub length: u64,
}

/// Nodes that answer a [`Request`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proof {
    /// The fork of the tree that answers.
    pub fork: u64,
    /// The block asked for.
    pub block: Option<BlockProof>,
    /// The node asked for.
    pub hash: Option<HashProof>,
    /// The way to the byte asked for.
    pub seek: Option<SeekProof>,
    /// What makes the asker's tree longer.
    pub upgrade: Option<UpgradeProof>,
}

impl Proof {
    /// Does it have what was asked for, and nothing else? (Only a seek may stay unanswered:
    /// the byte may lie where no node leads nearer.) That it holds is another question.
    pub fn answers(&self, request: &Request) -> bool {
        let block = request.block.map(|block| block.index);
        let hash = request.hash.filter(|_| block.is_none()).map(|hash| hash.index);
        self.block.as_ref().map(|part| part.index) == block
            && self.hash.as_ref().map(|part| part.index) == hash
            && self.seek.as_ref().is_none_or(|part| request.seek.is_some_and(|seek| seek.bytes == part.bytes))
            && self.upgrade.is_some() == request.upgrade.is_some()
    }
}

/// A block, and the siblings on the way up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockProof {
    /// The block.
    pub index: u64,
    /// Its bytes.
    pub value: Bytes,
    /// The siblings, bottom to top.
    pub nodes: Vec<Node>,
}

/// A node, and the siblings on the way up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HashProof {
    /// The node.
    pub index: u64,
    /// The node itself, then the siblings, bottom to top.
    pub nodes: Vec<Node>,
}

/// The node at a byte, and the siblings on the way up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeekProof {
    /// The byte.
    pub bytes: u64,
    /// The node that is nearest to it, then the siblings, bottom to top.
    pub nodes: Vec<Node>,
}

/// What makes a tree longer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpgradeProof {
    /// The length from which on.
    pub start: u64,
    /// How many blocks more, as asked.
    pub length: u64,
    /// What a tree of `start` blocks lacks, left to right, less what a block or seek part
    /// leads to.
    pub nodes: Vec<Node>,
    /// What lies beyond the length asked for.
    pub additional_nodes: Vec<Node>,
    /// The signature of the whole, in the form that the core's manifest asks for.
    pub signature: Option<Vec<u8>>,
}
