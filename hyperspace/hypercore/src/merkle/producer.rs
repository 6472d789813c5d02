//! Making proofs.

use super::node::{Node, NodeSource, ReadError, require};
use super::proof::{
    BlockProof, HashProof, Proof, Request, SeekProof, SeekRequest, UpgradeProof, UpgradeRequest,
};
use super::seek::{content_size, padded_offset};
use super::tree::{Tree, WithRoots};
use crate::flat_tree;

/// Why a request gets no proof.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProduceError<E> {
    /// The request makes no sense for this tree.
    #[error("{0}")]
    Invalid(&'static str),
    /// The nodes could not be had.
    #[error(transparent)]
    Read(#[from] ReadError<E>),
}

impl<E> ProduceError<E> {
    /// Is it the asker's fault? Else it is merely not available here.
    pub fn is_invalid(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::Read(ReadError::OutOfBounds))
    }
}

/// The node that a block or hash part is about.
#[derive(Clone, Copy)]
struct Target {
    index: u64,
    /// Is it a block, whose value stands for its node?
    is_block: bool,
    levels: u64,
    last_block: u64,
}

/// Makes the proof that answers `request`, about the tree of `tree` and `source`.
///
/// The caller fills in the block's value, and the tree's signature. `prologue` is the length
/// of the core's prologue, 0 if it has none: an upgrade must cover it as a whole. An empty
/// tree, or a seek alone, gives an empty proof.
pub fn produce<S: NodeSource>(
    source: &S,
    tree: &Tree,
    request: &Request,
    prologue: u64,
) -> Result<Proof, ProduceError<S::Error>> {
    let source = &WithRoots { tree, source };
    let mut proof = Proof { fork: tree.fork(), ..Proof::default() };
    if tree.length() == 0 {
        return Ok(proof);
    }
    let upgrade = request.upgrade.map(|upgrade| widen(upgrade, prologue));
    let (from, to) = range(tree, upgrade)?;
    let target = target(request, to)?;

    let mut parts = Parts { source, target, seek: request.seek.is_some(), path: None, way: None };
    match (target, request.seek) {
        (Some(target), Some(_)) if upgrade.is_some() && target.index >= 2 * from => {
            return Err(ProduceError::Invalid("Cannot both do a seek and block/hash request when upgrading"));
        }
        (Some(target), _) if upgrade.is_some() && target.index < 2 * from && target.last_block >= from => {
            // Neither below the asker's tree nor in what is new.
            return Err(ProduceError::Invalid("Invalid block request"));
        }
        (Some(target), seek) if upgrade.is_none() || target.last_block < from => {
            let root = climb(target, to)?;
            let seek_root = match seek {
                Some(seek) => seek_within(source, tree, root, seek)?,
                None => root,
            };
            parts.emit(seek_root, root)?;
        }
        _ => {}
    }

    if let Some(upgrade) = upgrade {
        let sub_tree = match (request.seek, target) {
            (Some(seek), _) => seek_from_roots(source, to, seek)?,
            (None, Some(target)) => Some(target.index),
            (None, None) => None,
        };
        let mut nodes = Vec::new();
        for index in flat_tree::subtrees(from, to) {
            match sub_tree {
                Some(sub_tree) if parts.is_empty() && flat_tree::contains(index, sub_tree) => {
                    parts.emit(sub_tree, index)?;
                }
                _ => nodes.push(require(source, index)?),
            }
        }
        let additional_nodes = flat_tree::subtrees(to, tree.length())
            .map(|index| require(source, index))
            .collect::<Result<_, _>>()?;
        proof.upgrade = Some(UpgradeProof {
            start: upgrade.start,
            length: upgrade.length,
            nodes,
            additional_nodes,
            signature: None,
        });
    }

    let invalid = ProduceError::Invalid("Invalid block request");
    if let Some(block) = request.block {
        let nodes = parts.path.ok_or(invalid)?;
        proof.block = Some(BlockProof { index: block.index, nodes, ..BlockProof::default() });
    } else if let Some(hash) = request.hash {
        let nodes = parts.path.ok_or(invalid)?;
        proof.hash = Some(HashProof { index: hash.index, nodes });
    }
    if let (Some(seek), Some(nodes)) = (request.seek, parts.way) {
        proof.seek = Some(SeekProof { bytes: seek.bytes, nodes });
    }
    Ok(proof)
}

/// An upgrade that starts within the prologue is one to its end.
fn widen(upgrade: UpgradeRequest, prologue: u64) -> UpgradeRequest {
    if upgrade.start < prologue { UpgradeRequest { start: 0, length: prologue } } else { upgrade }
}

/// The blocks that the upgrade brings; without one, the whole tree.
fn range<E>(tree: &Tree, upgrade: Option<UpgradeRequest>) -> Result<(u64, u64), ProduceError<E>> {
    let Some(upgrade) = upgrade else {
        return Ok((0, tree.length()));
    };
    match upgrade.start.checked_add(upgrade.length) {
        Some(to) if upgrade.start < to && to <= tree.length() => Ok((upgrade.start, to)),
        _ => Err(ProduceError::Invalid("Invalid upgrade")),
    }
}

fn target<E>(request: &Request, to: u64) -> Result<Option<Target>, ProduceError<E>> {
    let target = match (request.block, request.hash) {
        (Some(block), _) if block.index < to => {
            Target { index: 2 * block.index, is_block: true, levels: block.nodes, last_block: block.index }
        }
        (None, Some(hash)) if hash.index < 2 * to && flat_tree::right_span(hash.index) < 2 * to => Target {
            index: hash.index,
            is_block: false,
            levels: hash.nodes,
            last_block: flat_tree::right_span(hash.index) / 2,
        },
        (None, None) => return Ok(None),
        _ => return Err(ProduceError::Invalid("Invalid block request")),
    };
    Ok(Some(target))
}

/// The ancestor up to which the asker wants siblings; all of it has to be in the tree.
fn climb<E>(target: Target, to: u64) -> Result<u64, ProduceError<E>> {
    let mut index = target.index;
    for _ in 0..target.levels {
        index = flat_tree::parent(index);
        // Ends soon: the ancestors of a block of the tree soon exceed it.
        if flat_tree::contains(index, 2 * to) {
            return Err(ProduceError::Invalid("Nodes is out of bounds"));
        }
    }
    Ok(index)
}

/// The block, hash and seek parts of a proof in the making.
struct Parts<'a, S> {
    source: &'a S,
    target: Option<Target>,
    seek: bool,
    /// The block's or node's way up.
    path: Option<Vec<Node>>,
    /// The seek's.
    way: Option<Vec<Node>>,
}

impl<S: NodeSource> Parts<'_, S> {
    fn is_empty(&self) -> bool {
        self.path.is_none() && self.way.is_none()
    }

    /// Lists what leads from the target, and from `seek_root`, up to `root`.
    fn emit(&mut self, seek_root: u64, root: u64) -> Result<(), ReadError<S::Error>> {
        let Some(target) = self.target else {
            self.way = Some(self.way(seek_root, root)?);
            return Ok(());
        };
        let mut path = Vec::new();
        if !target.is_block {
            path.push(require(self.source, target.index)?);
        }
        let mut at = target.index;
        while at != root {
            let sibling = flat_tree::sibling(at);
            if self.seek && sibling != seek_root && flat_tree::contains(sibling, seek_root) {
                self.way = Some(self.way(seek_root, sibling)?);
            } else {
                path.push(require(self.source, sibling)?);
            }
            at = flat_tree::parent(at);
        }
        self.path = Some(path);
        Ok(())
    }

    /// The node `from`, and its siblings on the way up to `root`.
    fn way(&self, from: u64, root: u64) -> Result<Vec<Node>, ReadError<S::Error>> {
        let mut nodes = vec![require(self.source, from)?];
        let mut at = from;
        while at != root {
            nodes.push(require(self.source, flat_tree::sibling(at))?);
            at = flat_tree::parent(at);
        }
        Ok(nodes)
    }
}

/// The node nearest to a byte below `root`, which has to hold it.
fn seek_within<S: NodeSource>(
    source: &S,
    tree: &Tree,
    root: u64,
    seek: SeekRequest,
) -> Result<u64, ProduceError<S::Error>> {
    let invalid = ProduceError::Invalid("Invalid seek");
    let start = padded_offset(source, tree, root, seek.padding)?;
    let bytes = seek.bytes.checked_sub(start).ok_or(invalid)?;
    if bytes > 0 && content_size(&require(source, root)?, seek.padding) <= bytes {
        return Err(ProduceError::Invalid("Invalid seek"));
    }
    Ok(seek_below(source, root, bytes, seek.padding)?)
}

/// The node nearest to a byte in a tree of `length` blocks; none past its end.
fn seek_from_roots<S: NodeSource>(
    source: &S,
    length: u64,
    seek: SeekRequest,
) -> Result<Option<u64>, ReadError<S::Error>> {
    let mut bytes = seek.bytes;
    for root in flat_tree::full_roots(length) {
        let size = content_size(&require(source, root)?, seek.padding);
        if bytes == size {
            return Ok(Some(root));
        }
        if bytes < size {
            return seek_below(source, root, bytes, seek.padding).map(Some);
        }
        bytes -= size;
    }
    Ok(None)
}

/// Walks down towards a byte, until it is where a node starts or ends, or no further node
/// is kept.
fn seek_below<S: NodeSource>(
    source: &S,
    root: u64,
    mut bytes: u64,
    padding: u64,
) -> Result<u64, ReadError<S::Error>> {
    let mut at = root;
    if bytes == 0 {
        return Ok(at);
    }
    while let Some((left, right)) = flat_tree::children(at) {
        let Some(node) = source.node(left)? else {
            return Ok(at);
        };
        let size = content_size(&node, padding);
        if size == bytes {
            return Ok(left);
        }
        if size > bytes {
            at = left;
        } else {
            bytes -= size;
            at = right;
        }
    }
    Ok(at)
}
