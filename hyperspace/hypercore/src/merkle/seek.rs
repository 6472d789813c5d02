//! From blocks to bytes and back.
//!
//! Each node counts the bytes below it, so that both ways cost one walk down the tree.
//! Encrypted blocks carry some bytes of padding each, which offsets do not count.

use super::node::{Node, NodeSource, ReadError, require};
use super::tree::{Tree, WithRoots};
use crate::flat_tree;
use std::ops::Range;

/// Where a byte is, as far as the nodes that are kept can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// In block `index`, `offset` bytes from its start; (length, 0) for the very end.
    Block {
        /// The block.
        index: u64,
        /// Bytes from its start.
        offset: u64,
    },
    /// Somewhere below a node whose children are not kept: `bytes` from its start.
    Below {
        /// The node.
        node: u64,
        /// Bytes from the node's start.
        bytes: u64,
    },
}

/// A node's size without the padding of its blocks.
pub(super) fn content_size(node: &Node, padding: u64) -> u64 {
    node.size.saturating_sub(padding.saturating_mul(flat_tree::count_leaves(node.index)))
}

/// Bytes before node `index` (stored bytes: padding included).
pub fn byte_offset<S: NodeSource>(source: &S, tree: &Tree, index: u64) -> Result<u64, ReadError<S::Error>> {
    padded_offset(source, tree, index, 0)
}

/// Bytes before node `index`, padding left out.
pub(super) fn padded_offset<S: NodeSource>(
    source: &S,
    tree: &Tree,
    index: u64,
    padding: u64,
) -> Result<u64, ReadError<S::Error>> {
    let mut offset = 0;
    for root in &tree.roots {
        if !flat_tree::contains(root.index, index) {
            offset += content_size(root, padding);
            continue;
        }
        let mut at = root.index;
        while at != index {
            let (left, right) = flat_tree::children(at).ok_or(ReadError::OutOfBounds)?;
            if index < at {
                at = left;
            } else {
                offset += content_size(&require(source, left)?, padding);
                at = right;
            }
        }
        return Ok(offset);
    }
    if index == 2 * tree.length { Ok(offset) } else { Err(ReadError::OutOfBounds) }
}

/// The bytes that block `index` takes, counted from the core's start (stored bytes).
pub fn block_bytes<S: NodeSource>(
    source: &S,
    tree: &Tree,
    index: u64,
) -> Result<Range<u64>, ReadError<S::Error>> {
    if index >= tree.length {
        return Err(ReadError::OutOfBounds);
    }
    let start = byte_offset(source, tree, 2 * index)?;
    let leaf = require(&WithRoots { tree, source }, 2 * index)?;
    Ok(start..start + leaf.size)
}

/// Finds byte number `bytes` of the core; with `padding` bytes left out of each block.
/// The core's byte length is a place too, its end; what lies beyond is out of bounds.
pub fn locate<S: NodeSource>(
    source: &S,
    tree: &Tree,
    bytes: u64,
    padding: u64,
) -> Result<Position, ReadError<S::Error>> {
    let mut bytes = bytes;
    for root in &tree.roots {
        let size = content_size(root, padding);
        if bytes < size {
            return descend(source, root.index, bytes, padding);
        }
        bytes -= size;
    }
    if bytes == 0 {
        Ok(Position::Block { index: tree.length, offset: 0 })
    } else {
        Err(ReadError::OutOfBounds)
    }
}

fn descend<S: NodeSource>(
    source: &S,
    root: u64,
    mut bytes: u64,
    padding: u64,
) -> Result<Position, ReadError<S::Error>> {
    let mut at = root;
    while let Some((left, right)) = flat_tree::children(at) {
        let Some(node) = source.node(left)? else {
            return Ok(Position::Below { node: at, bytes });
        };
        let size = content_size(&node, padding);
        if bytes < size {
            at = left;
        } else {
            bytes -= size;
            at = right;
        }
    }
    Ok(Position::Block { index: at / 2, offset: bytes })
}
