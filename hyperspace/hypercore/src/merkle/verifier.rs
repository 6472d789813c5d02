//! Checking proofs.
//!
//! A proof is walked as it was made: each node has to be the one expected next, so that
//! what a peer sends can neither lead elsewhere nor cost more than its own bytes.
//!
//! A node's hash covers its size, but who does not know what was hashed cannot tell. A node
//! that was computed, from a block or from two nodes, has its true size once the hash that
//! it leads to is known to be true; and so has every sibling met on the way, since the sum
//! is true as well. Only of the two nodes where a hash or seek part starts are both sizes
//! the sender's word: these are [`hints`](Verified::hints).

use super::node::{Node, NodeSource, ReadError};
use super::proof::{Proof, UpgradeProof};
use super::tree::{Tree, WithRoots};
use crate::encoding::MAX_UINT;
use crate::flat_tree;
use crate::manifest::{SignatureError, Verifier, check_prologue};

/// Why a proof is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError<E> {
    /// A node is not the one that has to come here.
    #[error("the proof has node {got:?} where {expected} has to be")]
    Unexpected {
        /// What had to come.
        expected: u64,
        /// What came, if anything did.
        got: Option<u64>,
    },
    /// A number beyond what the format allows.
    #[error("the proof is about a tree that is too large")]
    TooLarge,
    /// The hash that the proof leads to is not the one known here.
    #[error("Invalid checksum at node {0}")]
    Checksum(u64),
    /// The proof leads to a node that is not known here, so that it proves nothing.
    #[error("the proof leads to node {0}, which is not known here")]
    Unconnected(u64),
    /// The tree that the proof leads to is not signed as it must be.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// An upgrade of a core with a prologue has to bring all of it.
    #[error("the proof does not cover the prologue")]
    Prologue,
    /// It is about another fork.
    #[error("the proof is about fork {0}")]
    Fork(u64),
    /// The tree here has moved on since this was asked for: ask again. Nobody's fault.
    #[error("the proof is out of date")]
    Outdated,
    /// The signers signed two histories of one fork: what is known here, and this.
    #[error("the core was signed with two different contents")]
    Conflict,
    /// The nodes known here could not be read.
    #[error(transparent)]
    Read(#[from] ReadError<E>),
}

impl<E> VerifyError<E> {
    /// Is the peer that sent it to be mistrusted? Else it was only unlucky.
    pub fn is_invalid(&self) -> bool {
        !matches!(self, Self::Outdated | Self::Fork(_) | Self::Read(_))
    }
}

/// A proof that holds: what to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Nodes that are proven now: those of the proof, and the parents between them.
    pub nodes: Vec<Node>,
    /// Nodes whose hash is proven, but not how they share the size of their parent. They show
    /// the way to a byte, and are not to be stored.
    pub hints: Vec<Node>,
    /// The longer tree, if the proof makes the tree longer.
    pub upgrade: Option<Upgrade>,
    fork: u64,
    length: u64,
}

/// A longer tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The tree.
    pub tree: Tree,
    /// Its signature, to be stored with it.
    pub signature: Option<Vec<u8>>,
}

impl Verified {
    /// May it still be stored, now that the core's tree is `tree`? Otherwise the core was
    /// changed meanwhile, and the proof has to be checked anew.
    pub fn is_current(&self, tree: &Tree) -> bool {
        self.fork == tree.fork()
            && if self.upgrade.is_some() {
                self.length == tree.length()
            } else {
                self.length <= tree.length()
            }
    }
}

/// Takes the nodes of a proof in the order in which they are needed.
struct Queue<'a> {
    nodes: std::slice::Iter<'a, Node>,
    /// A node computed from another part of the proof, which stands in for a listed one.
    extra: Option<Node>,
}

impl<'a> Queue<'a> {
    fn new(nodes: &'a [Node], extra: Option<Node>) -> Self {
        Self { nodes: nodes.iter(), extra }
    }

    fn is_empty(&self) -> bool {
        self.extra.is_none() && self.nodes.len() == 0
    }

    fn take<E>(&mut self, expected: u64) -> Result<Node, VerifyError<E>> {
        if let Some(extra) = self.extra.take_if(|extra| extra.index == expected) {
            return Ok(extra);
        }
        match self.nodes.next() {
            Some(node) if node.index == expected => Ok(*node),
            other => Err(VerifyError::Unexpected { expected, got: other.map(|node| node.index) }),
        }
    }
}

/// What the walk through a proof has met; proven once that to which it leads is.
#[derive(Default)]
pub(super) struct Met {
    pub(super) nodes: Vec<Node>,
    /// See [`Verified::hints`].
    pub(super) hints: Vec<Node>,
}

impl Met {
    /// Climbs from a computed node by the siblings in `queue`, to its end.
    fn climb<E>(&mut self, computed: Node, mut queue: Queue<'_>) -> Result<Node, VerifyError<E>> {
        let mut at = computed;
        self.nodes.push(at);
        while !queue.is_empty() {
            let sibling = queue.take(self.sibling(&at)?)?;
            self.nodes.push(sibling);
            at = self.join(&at, &sibling)?;
            self.nodes.push(at);
        }
        Ok(at)
    }

    /// The same from a node that was merely listed.
    fn climb_listed<E>(&mut self, listed: Node, mut queue: Queue<'_>) -> Result<Node, VerifyError<E>> {
        if queue.is_empty() {
            return Ok(listed);
        }
        let computed = queue.extra;
        let sibling = queue.take(self.sibling(&listed)?)?;
        let to = if computed.is_some() && queue.extra.is_none() { &mut self.nodes } else { &mut self.hints };
        to.extend([listed, sibling]);
        let parent = self.join(&listed, &sibling)?;
        self.climb(parent, queue)
    }

    fn sibling<E>(&self, node: &Node) -> Result<u64, VerifyError<E>> {
        if node.index > MAX_UINT { Err(VerifyError::TooLarge) } else { Ok(flat_tree::sibling(node.index)) }
    }

    fn join<E>(&self, a: &Node, b: &Node) -> Result<Node, VerifyError<E>> {
        let parent = Node::parent(a, b);
        if parent.size > MAX_UINT { Err(VerifyError::TooLarge) } else { Ok(parent) }
    }

    /// Climbs the block, hash and seek parts, to the node to which they lead, if there are
    /// any.
    pub(super) fn climb_parts<E>(&mut self, proof: &Proof) -> Result<Option<Node>, VerifyError<E>> {
        let way = match proof.seek.as_ref().and_then(|seek| seek.nodes.split_first()) {
            Some((first, rest)) => Some(self.climb_listed(*first, Queue::new(rest, None))?),
            None => None,
        };
        if let Some(block) = &proof.block {
            if block.index > MAX_UINT / 2 {
                return Err(VerifyError::TooLarge);
            }
            let leaf = Node::leaf(block.index, &block.value);
            return self.climb(leaf, Queue::new(&block.nodes, way)).map(Some);
        }
        if let Some(hash) = &proof.hash {
            let mut queue = Queue::new(&hash.nodes, way);
            let first = queue.take(hash.index)?;
            return self.climb_listed(first, queue).map(Some);
        }
        Ok(way)
    }
}

/// What an upgrade leads to.
struct Grown {
    tree: Tree,
    /// The node that was computed from the other parts, if the upgrade made no use of it.
    unused: Option<Node>,
}

/// Grows `tree` by an upgrade. Nothing is proven yet.
fn grow<E>(
    mut tree: Tree,
    upgrade: &UpgradeProof,
    extra: Option<Node>,
    verifier: &Verifier,
    met: &mut Met,
) -> Result<Grown, VerifyError<E>> {
    let to = upgrade
        .start
        .checked_add(upgrade.length)
        .filter(|to| *to <= MAX_UINT / 2)
        .ok_or(VerifyError::TooLarge)?;
    let prologue = verifier.prologue().filter(|prologue| prologue.length > 0);
    if prologue.is_some_and(|prologue| {
        upgrade.start < prologue.length && (upgrade.start > 0 || to < prologue.length)
    }) {
        return Err(VerifyError::Prologue);
    }
    let mut queue = Queue::new(&upgrade.nodes, extra);
    for index in flat_tree::subtrees(tree.length(), to) {
        let node = queue.take(index)?;
        met.nodes.push(node);
        tree.push_root(node, |parent| met.nodes.push(parent));
    }
    if let Some(prologue) = prologue
        && tree.length() == prologue.length
    {
        check_prologue(prologue, &tree)?;
    }
    for node in &upgrade.additional_nodes {
        // Any subtree that begins where the tree ends keeps the tree whole.
        let blocks = flat_tree::blocks(node.index.min(flat_tree::MAX_INDEX));
        if blocks.start != tree.length() || blocks.end > MAX_UINT / 2 {
            return Err(VerifyError::Unexpected { expected: 2 * tree.length(), got: Some(node.index) });
        }
        met.nodes.push(*node);
        tree.push_root(*node, |parent| met.nodes.push(parent));
    }
    if tree.byte_length() > MAX_UINT {
        return Err(VerifyError::TooLarge);
    }
    Ok(Grown { tree, unused: queue.extra })
}

/// Checks a proof against the core's tree.
///
/// What comes back may be stored if [`Verified::is_current`] still says so then. `verifier`
/// knows the core's manifest; if the core has none yet, it has to be made from the one that
/// came with the proof (after [`Manifest::belongs_to`](crate::manifest::Manifest::belongs_to)),
/// or from none.
pub fn verify<S: NodeSource>(
    source: &S,
    tree: &Tree,
    proof: &Proof,
    verifier: &Verifier,
) -> Result<Verified, VerifyError<S::Error>> {
    if proof.fork != tree.fork() {
        return Err(VerifyError::Fork(proof.fork));
    }
    let source = &WithRoots { tree, source };
    let mut met = Met::default();
    let mut unproven = met.climb_parts(proof)?;
    let mut upgrade = None;
    if let Some(part) = &proof.upgrade {
        let base = base(source, tree, part.start)?;
        let grown = grow(base, part, unproven, verifier, &mut met)?;
        unproven = grown.unused;
        if grown.tree.length() > tree.length() {
            verifier.verify(&grown.tree, part.signature.as_deref())?;
            check_prefix(tree, part.start, &met.nodes)?;
            upgrade = Some(Upgrade { tree: grown.tree, signature: part.signature.clone() });
        } else {
            check_known(source, tree, &grown.tree, part.signature.as_deref(), verifier)?;
        }
    }
    if let Some(node) = unproven {
        check_node(source, tree, &node)?;
    }
    let Met { nodes, hints } = met;
    Ok(Verified { nodes, hints, upgrade, fork: tree.fork(), length: tree.length() })
}

/// The tree from which an upgrade goes on: usually ours as it is.
fn base<S: NodeSource>(source: &S, tree: &Tree, start: u64) -> Result<Tree, VerifyError<S::Error>> {
    if start == tree.length() {
        return Ok(tree.clone());
    }
    if start > tree.length() {
        return Err(VerifyError::Outdated);
    }
    match Tree::load(source, tree.fork(), start) {
        Ok(base) => Ok(base),
        Err(ReadError::Missing(_)) => Err(VerifyError::Outdated),
        Err(error) => Err(error.into()),
    }
}

/// A longer tree, made from less than ours, has to hold ours.
fn check_prefix<E>(tree: &Tree, start: u64, nodes: &[Node]) -> Result<(), VerifyError<E>> {
    if start == tree.length() {
        return Ok(());
    }
    for root in tree.roots() {
        // A root left of `start` was taken from ours; others have to be in the proof.
        if flat_tree::blocks(root.index).end <= start {
            continue;
        }
        match nodes.iter().find(|node| node.index == root.index) {
            Some(node) if node == root => {}
            Some(_) => return Err(VerifyError::Conflict),
            None => return Err(VerifyError::Outdated),
        }
    }
    Ok(())
}

/// Is a tree that is no longer than ours the beginning of ours?
fn check_known<S: NodeSource>(
    source: &S,
    ours: &Tree,
    tree: &Tree,
    signature: Option<&[u8]>,
    verifier: &Verifier,
) -> Result<(), VerifyError<S::Error>> {
    if tree.length() == ours.length() && tree.roots() == ours.roots() {
        return Ok(());
    }
    for root in tree.roots() {
        match source.node(root.index).map_err(ReadError::Source)? {
            Some(known) if known.hash == root.hash => {}
            Some(_) => {
                verifier.verify(tree, signature)?;
                return Err(VerifyError::Conflict);
            }
            None => return Err(VerifyError::Outdated),
        }
    }
    Ok(())
}

/// Is it a node of our tree?
fn check_node<S: NodeSource>(source: &S, tree: &Tree, node: &Node) -> Result<(), VerifyError<S::Error>> {
    let known = if flat_tree::right_span(node.index) < 2 * tree.length() {
        source.node(node.index).map_err(ReadError::Source)?
    } else {
        None
    };
    match known {
        Some(known) if known.hash == node.hash => Ok(()),
        Some(_) => Err(VerifyError::Checksum(node.index)),
        None => Err(VerifyError::Unconnected(node.index)),
    }
}

/// Checks a proof on its own, from an empty tree: it has to be a signed upgrade from zero.
pub(super) fn verify_alone<E>(proof: &Proof, verifier: &Verifier) -> Result<(Met, Upgrade), VerifyError<E>> {
    let part = proof.upgrade.as_ref().ok_or(VerifyError::Signature(SignatureError::Missing))?;
    let mut met = Met::default();
    let unproven = met.climb_parts(proof)?;
    let grown = grow(Tree::new(proof.fork), part, unproven, verifier, &mut met)?;
    if let Some(node) = grown.unused {
        return Err(VerifyError::Unconnected(node.index));
    }
    verifier.verify(&grown.tree, part.signature.as_deref())?;
    Ok((met, Upgrade { tree: grown.tree, signature: part.signature.clone() }))
}

/// Is `proof`, an upgrade from zero, signed, and at odds with what is known here? Such a
/// core must not be trusted any more.
pub fn check_conflict<S: NodeSource>(
    source: &S,
    tree: &Tree,
    proof: &Proof,
    verifier: &Verifier,
) -> Result<bool, VerifyError<S::Error>> {
    if proof.fork != tree.fork() {
        return Ok(false);
    }
    let (met, upgrade) = verify_alone(proof, verifier)?;
    let source = &WithRoots { tree, source };
    for node in met.nodes.iter().chain(upgrade.tree.roots()) {
        if flat_tree::right_span(node.index) < 2 * tree.length()
            && source
                .node(node.index)
                .map_err(ReadError::Source)?
                .is_some_and(|known| known.hash != node.hash)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// How many levels above a node the nearest node is that is kept here: what a request for
/// that node, or that block, has to say as `nodes`. 0 for what lies beyond the tree.
pub fn missing_nodes<S: NodeSource>(source: &S, tree: &Tree, index: u64) -> Result<u64, S::Error> {
    let source = &WithRoots { tree, source };
    let end = 2 * tree.length();
    let mut at = index.min(flat_tree::MAX_INDEX);
    if flat_tree::right_span(at) >= end {
        return Ok(0);
    }
    let mut levels = 0;
    while !flat_tree::contains(at, end) && source.node(at)?.is_none() {
        levels += 1;
        at = flat_tree::parent(at);
    }
    Ok(levels)
}
