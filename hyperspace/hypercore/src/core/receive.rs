//! How a core grows by what peers send: proofs are checked against the tree, and what they
//! prove is stored, many of them in one commit.

use super::LocalCore;
use super::shared::{Authority, Nodes};
use crate::manifest::{Manifest, Verifier};
use crate::merkle::proof::Proof;
use crate::merkle::{Node, NodeSource, Reorg, Tree, VerifyError, verify};
use crate::storage::op::{Head, MAX_LENGTH, Op};
use bytes::Bytes;
use hyperspace_api::{CoreError, CoreEvent};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What a peer sent: a proof, and perhaps the core's manifest.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// The proof. An empty one proves nothing, and is fine.
    pub proof: Proof,
    /// The manifest. Has to be the core's.
    pub manifest: Option<Manifest>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// The block that it brought, and its size.
    pub block: Option<(u64, u64)>,
    /// Was it missing before?
    pub stored: bool,
    /// Is the core longer now?
    pub upgraded: bool,
    /// Is the manifest known only now?
    pub manifest: bool,
    /// See [`Verified::hints`](crate::merkle::Verified::hints).
    pub hints: Vec<Node>,
}

/// Why nothing came of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Whoever sent it lies, or is broken.
    #[error("{0}")]
    Invalid(String),
    /// The core has changed since it was asked for.
    #[error("out of date")]
    Outdated,
    /// What is stored here could not be read.
    #[error("{0}")]
    Storage(CoreError),
}

impl From<VerifyError<CoreError>> for Refused {
    fn from(error: VerifyError<CoreError>) -> Self {
        match error {
            VerifyError::Read(crate::merkle::ReadError::Source(error)) => Self::Storage(error),
            error if error.is_invalid() => Self::Invalid(error.to_string()),
            _ => Self::Outdated,
        }
    }
}

/// The core's nodes, and above them those that are about to be stored.
struct Overlay<'a> {
    new: &'a HashMap<u64, Node>,
    stored: Nodes<'a>,
}

impl NodeSource for Overlay<'_> {
    type Error = CoreError;

    fn node(&self, index: u64) -> Result<Option<Node>, CoreError> {
        match self.new.get(&index) {
            Some(node) => Ok(Some(*node)),
            None => self.stored.node(index),
        }
    }
}

/// What a batch adds up to before it is committed.
#[derive(Default)]
struct Gathered {
    nodes: HashMap<u64, Node>,
    blocks: BTreeMap<u64, Bytes>,
    tree: Option<(Arc<Tree>, Bytes)>,
    authority: Option<Arc<Authority>>,
}

impl LocalCore {
    /// Checks what peers sent, in this order, and stores what holds with one commit. Of what
    /// does not hold, nothing is kept. Fails only if the store does; then nothing was stored.
    ///
    /// A proof of a newer fork is refused as out of date here: see
    /// [`begin_reorg`](Self::begin_reorg).
    pub fn receive(&self, batch: &[Received]) -> Result<Vec<Result<Accepted, Refused>>, CoreError> {
        self.shared.check_open(&self.engine)?;
        let _changes = self.shared.writer.lock();
        self.check_not_frozen()?;
        let before = self.shared.tree(&self.engine)?;
        let mut gathered = Gathered::default();
        let outcomes: Vec<_> =
            batch.iter().map(|received| self.check(received, &before, &mut gathered)).collect();
        self.store(gathered, &before)?;
        for outcome in outcomes.iter().flatten() {
            if let (Some((index, byte_length)), true) = (outcome.block, outcome.stored) {
                self.shared.emit(|| CoreEvent::Download { index, byte_length });
            }
        }
        Ok(outcomes)
    }

    fn check(
        &self,
        received: &Received,
        before: &Arc<Tree>,
        gathered: &mut Gathered,
    ) -> Result<Accepted, Refused> {
        let authority = gathered.authority.clone().unwrap_or_else(|| self.shared.authority());
        let learnt = self.learn_manifest(received.manifest.as_ref(), &authority)?;
        let verifier = learnt.as_ref().map_or(&authority.verifier, |learnt| &learnt.verifier);
        let tree = gathered.tree.as_ref().map_or(before, |(tree, _)| tree);
        let proof = &received.proof;
        let mut accepted = Accepted { manifest: learnt.is_some(), ..Accepted::default() };
        let is_empty =
            proof.block.is_none() && proof.hash.is_none() && proof.seek.is_none() && proof.upgrade.is_none();
        if !is_empty {
            let source = Overlay { new: &gathered.nodes, stored: self.nodes() };
            let verified = verify(&source, tree, proof, verifier)?;
            if let Some(upgrade) = verified.upgrade {
                if upgrade.tree.length() > MAX_LENGTH {
                    return Err(Refused::Invalid("the core is too long".into()));
                }
                accepted.upgraded = true;
                let signature = upgrade.signature.unwrap_or_default().into();
                gathered.tree = Some((Arc::new(upgrade.tree), signature));
            }
            gathered.nodes.extend(verified.nodes.iter().map(|node| (node.index, *node)));
            accepted.hints = verified.hints;
            if let Some(block) = &proof.block {
                accepted.block = Some((block.index, block.value.len() as u64));
                accepted.stored = !gathered.blocks.contains_key(&block.index)
                    && !self.shared.tail.read().held.get(block.index);
                if accepted.stored {
                    gathered.blocks.insert(block.index, block.value.clone());
                }
            }
        }
        if let Some(learnt) = learnt {
            gathered.authority = Some(learnt);
        }
        Ok(accepted)
    }

    /// What the core's manifest makes of its authority, if it was not known yet.
    pub(super) fn learn_manifest(
        &self,
        manifest: Option<&Manifest>,
        authority: &Authority,
    ) -> Result<Option<Arc<Authority>>, Refused> {
        let Some(manifest) = manifest else { return Ok(None) };
        if !manifest.belongs_to(&self.shared.key) {
            return Err(Refused::Invalid("the manifest is of another core".into()));
        }
        if authority.manifest.is_some() {
            return Ok(None);
        }
        Ok(Some(Arc::new(authority.with_manifest(&self.shared.key, manifest))))
    }

    fn store(&self, gathered: Gathered, before: &Tree) -> Result<(), CoreError> {
        let Gathered { nodes, blocks, tree, authority } = gathered;
        let core = self.shared.id;
        let mut ops = Vec::new();
        if let Some(authority) = &authority {
            ops.push(Op::Core { core, record: authority.record.clone() });
        }
        let mut reservations = Vec::new();
        for (first, run) in runs(blocks) {
            let placed = self.engine.place(first, &run)?;
            ops.extend(placed.extents.into_iter().map(|extent| Op::Extent { core, extent }));
            reservations.extend(placed.reservation);
        }
        if !nodes.is_empty() {
            let mut nodes: Vec<Node> = nodes.into_values().collect();
            nodes.sort_unstable_by_key(|node| node.index);
            ops.push(Op::Nodes { core, nodes });
        }
        let tree = tree.map(|(tree, signature)| {
            ops.push(head(core, &tree, signature));
            tree
        });
        if ops.is_empty() {
            return Ok(());
        }
        self.shared.commit(&self.engine, ops, tree.clone())?;
        drop(reservations);
        if let Some(authority) = authority {
            *self.shared.authority.write() = authority;
        }
        if let Some(tree) = tree.filter(|tree| tree.length() > before.length()) {
            let (length, byte_length) = (tree.length(), tree.byte_length());
            self.shared.emit(|| CoreEvent::Append { length, byte_length });
        }
        self.shared.changed.notify_waiters();
        Ok(())
    }

    /// Checks the proof of a newer fork: an upgrade from zero, signed. Nothing is stored.
    pub fn begin_reorg(&self, received: &Received) -> Result<Reorg, Refused> {
        let authority = self.shared.authority();
        let learnt = self.learn_manifest(received.manifest.as_ref(), &authority)?;
        let verifier: &Verifier = learnt.as_ref().map_or(&authority.verifier, |learnt| &learnt.verifier);
        let tree = self.shared.tree(&self.engine).map_err(Refused::Storage)?;
        let reorg = Reorg::new(&self.nodes(), &tree, &received.proof, verifier)?;
        if reorg.upgrade().tree.length() > MAX_LENGTH {
            return Err(Refused::Invalid("the core is too long".into()));
        }
        if learnt.is_some() {
            let manifest = Received { manifest: received.manifest.clone(), ..Received::default() };
            self.receive(&[manifest]).map_err(Refused::Storage)?;
        }
        Ok(reorg)
    }

    /// Goes on with a reorganisation by the answer to its request.
    pub fn narrow_reorg(&self, reorg: &mut Reorg, proof: &Proof) -> Result<(), Refused> {
        let tree = self.shared.tree(&self.engine).map_err(Refused::Storage)?;
        Ok(reorg.narrow(&self.nodes(), &tree, proof)?)
    }

    /// Takes over the newer history: what both share stays, the rest is dropped. Gives the
    /// length of what stayed; `None` if the core is at that fork already.
    pub fn apply_reorg(&self, reorg: &Reorg) -> Result<Option<u64>, CoreError> {
        self.shared.check_open(&self.engine)?;
        let _changes = self.shared.writer.lock();
        self.check_not_frozen()?;
        let old = self.shared.tree(&self.engine)?;
        let new = &reorg.upgrade().tree;
        if !reorg.is_done() || new.fork() <= old.fork() {
            return Ok(None);
        }
        let core = self.shared.id;
        let ancestors = reorg.ancestors().min(old.length());
        let mut nodes: Vec<Node> = reorg.nodes().copied().collect();
        nodes.sort_unstable_by_key(|node| node.index);
        let signature = reorg.upgrade().signature.clone().unwrap_or_default().into();
        let mut ops = vec![Op::Truncate { core, length: ancestors }];
        if !nodes.is_empty() {
            ops.push(Op::Nodes { core, nodes });
        }
        ops.push(head(core, new, signature));
        self.shared.commit(&self.engine, ops, Some(Arc::new(new.clone())))?;
        let fork = new.fork();
        self.shared.emit(|| CoreEvent::Truncate { length: ancestors, fork });
        if new.length() > ancestors {
            let (length, byte_length) = (new.length(), new.byte_length());
            self.shared.emit(|| CoreEvent::Append { length, byte_length });
        }
        self.shared.changed.notify_waiters();
        Ok(Some(ancestors))
    }
}

fn head(core: u64, tree: &Tree, signature: Bytes) -> Op {
    let (fork, length, byte_length) = (tree.fork(), tree.length(), tree.byte_length());
    Op::Head { core, head: Head { fork, length, byte_length, signature } }
}

/// Blocks, cut where one is missing.
fn runs(blocks: BTreeMap<u64, Bytes>) -> Vec<(u64, Vec<Bytes>)> {
    let mut runs: Vec<(u64, Vec<Bytes>)> = Vec::new();
    for (index, block) in blocks {
        match runs.last_mut() {
            Some((first, run)) if *first + run.len() as u64 == index => run.push(block),
            _ => runs.push((index, vec![block])),
        }
    }
    runs
}
