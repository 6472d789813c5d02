//! Following a core whose history was rewritten: finding the last block that both histories
//! share.

use super::node::{Node, NodeSource, ReadError};
use super::proof::{HashRequest, Proof};
use super::tree::{Tree, WithRoots};
use super::verifier::{Met, Upgrade, VerifyError, verify_alone};
use crate::flat_tree;
use crate::manifest::Verifier;
use std::collections::HashMap;
use std::ops::Range;

/// Why a reorganisation does not go on: see [`VerifyError`].
pub type ReorgError<E> = VerifyError<E>;

/// A newer fork of a core: its signed tree, and how much of ours it keeps.
///
/// The signed roots alone say only which of them differ. While [`wants`](Self::wants) names
/// a node below the first that does, ask for it, and [`narrow`](Self::narrow) by the answer.
/// Then truncate to [`ancestors`](Self::ancestors), and take over the tree.
#[derive(Clone, Debug)]
pub struct Reorg {
    upgrade: Upgrade,
    /// Nodes of the newer tree.
    nodes: HashMap<u64, Node>,
    /// Nodes of which only the hash is known for sure.
    hints: HashMap<u64, Node>,
    /// The node known to differ that is furthest down; none when all is the same.
    differs: Option<Node>,
    ancestors: u64,
    done: bool,
}

impl Reorg {
    /// Checks the proof of a fork newer than ours: an upgrade from zero, signed.
    pub fn new<S: NodeSource>(
        source: &S,
        tree: &Tree,
        proof: &Proof,
        verifier: &Verifier,
    ) -> Result<Self, ReorgError<S::Error>> {
        if proof.fork <= tree.fork() {
            return Err(VerifyError::Fork(proof.fork));
        }
        let (met, upgrade) = verify_alone(proof, verifier)?;
        if let Some(prologue) = verifier.prologue()
            && upgrade.tree.length() <= prologue.length
            && tree.length() >= prologue.length
        {
            // Nobody signs a prologue, nor its fork: one that is complete stays as it is.
            return Err(VerifyError::Fork(proof.fork));
        }
        let (nodes, hints) = Default::default();
        let mut reorg = Self { upgrade, nodes, hints, differs: None, ancestors: 0, done: false };
        reorg.learn(met);
        for root in reorg.upgrade.tree.roots() {
            if !same(source, tree, root)? {
                reorg.differs = Some(*root);
                break;
            }
        }
        reorg.descend(source, tree)?;
        Ok(reorg)
    }

    /// The newer tree, with its signature.
    pub fn upgrade(&self) -> &Upgrade {
        &self.upgrade
    }

    /// The nodes of the newer tree that are proven, to be stored.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// How many blocks both histories share, once [`is_done`](Self::is_done).
    pub fn ancestors(&self) -> u64 {
        self.ancestors
    }

    /// Is [`ancestors`](Self::ancestors) known for sure?
    pub fn is_done(&self) -> bool {
        self.done
    }

    /// The blocks of the newer history of which one has to be asked for, or `None` when
    /// done. Any will do; ask each peer for one that it has.
    pub fn wants(&self) -> Option<Range<u64>> {
        let differs = self.differs.filter(|_| !self.done)?;
        Some(flat_tree::blocks(differs.index))
    }

    /// The request for one of the blocks of [`wants`](Self::wants), to be sent with the new
    /// fork's number.
    pub fn request(&self, block: u64) -> Option<HashRequest> {
        let differs = self.differs.filter(|_| !self.done)?;
        flat_tree::blocks(differs.index)
            .contains(&block)
            .then(|| HashRequest { index: 2 * block, nodes: flat_tree::depth(differs.index).into() })
    }

    /// Goes on by the answer to [`request`](Self::request).
    pub fn narrow<S: NodeSource>(
        &mut self,
        source: &S,
        tree: &Tree,
        proof: &Proof,
    ) -> Result<(), ReorgError<S::Error>> {
        let Some(differs) = self.differs.filter(|_| !self.done) else {
            return Ok(());
        };
        if proof.fork != self.upgrade.tree.fork() {
            return Err(VerifyError::Fork(proof.fork));
        }
        let mut met = Met::default();
        match met.climb_parts(proof)? {
            Some(root) if root.index == differs.index && root.hash == differs.hash => {}
            Some(root) if root.index == differs.index => return Err(VerifyError::Checksum(root.index)),
            // An answer to an earlier request, which others were quicker to answer.
            _ => return Err(VerifyError::Outdated),
        }
        self.learn(met);
        self.descend(source, tree)
    }

    fn learn(&mut self, met: Met) {
        self.nodes.extend(met.nodes.into_iter().map(|node| (node.index, node)));
        self.hints.extend(met.hints.into_iter().map(|node| (node.index, node)));
    }

    fn node(&self, index: u64) -> Option<&Node> {
        self.nodes.get(&index).or_else(|| self.hints.get(&index))
    }

    /// Walks down to the first difference, as far as nodes are known.
    fn descend<S: NodeSource>(&mut self, source: &S, tree: &Tree) -> Result<(), ReorgError<S::Error>> {
        let Some(mut differs) = self.differs else {
            // The newer history is the beginning of ours.
            (self.ancestors, self.done) = (self.upgrade.tree.length(), true);
            return Ok(());
        };
        while let Some((left, right)) = flat_tree::children(differs.index) {
            let (Some(left), Some(right)) = (self.node(left), self.node(right)) else {
                break;
            };
            differs = if same(source, tree, left)? { *right } else { *left };
        }
        self.differs = Some(differs);
        self.ancestors = flat_tree::blocks(differs.index).start;
        // At a leaf, or past our own end, there is nothing more to tell apart.
        self.done = flat_tree::depth(differs.index) == 0 || self.ancestors >= tree.length();
        Ok(())
    }
}

/// Is the node one of ours, with the same content?
fn same<S: NodeSource>(source: &S, tree: &Tree, node: &Node) -> Result<bool, ReorgError<S::Error>> {
    if flat_tree::right_span(node.index) >= 2 * tree.length() {
        return Ok(false);
    }
    let known = WithRoots { tree, source }.node(node.index).map_err(ReadError::Source)?;
    Ok(known.is_some_and(|known| known.hash == node.hash))
}
