//! Checking that everything a store has is as it was signed.

use crate::core::LocalCore;
use crate::corestore::Corestore;
use crate::flat_tree;
use crate::merkle::{Node, NodeSource, Tree};
use crate::storage::op::CoreId;
use hyperspace_api::{Core, CoreError, Key};
use std::fmt;

/// What was found wrong with one core.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The core, if that much can be told.
    pub key: Option<Key>,
    /// What is wrong.
    pub fault: Fault,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The core cannot be opened.
    #[error("cannot be opened: {0}")]
    Unreadable(String),
    /// The signature is not one of the tree's.
    #[error("the signature over {length} blocks is wrong: {reason}")]
    Signature {
        /// Blocks in the tree.
        length: u64,
        /// In what way.
        reason: String,
    },
    /// A block that should be here is not, or its bytes are not what was stored.
    #[error("block {0} is damaged")]
    Block(u64),
    /// A block is what was stored, but not what the tree says.
    #[error("block {0} is not the one that was signed")]
    Forged(u64),
    /// A tree node is missing or does not follow from those below it.
    #[error("tree node {0} is missing or wrong")]
    Node(u64),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.key {
            Some(key) => write!(f, "core {key}: {}", self.fault),
            None => write!(f, "a core {}", self.fault),
        }
    }
}

/// What was checked, and what was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Cores looked at.
    pub cores: u64,
    /// Blocks read and hashed.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Everything that is wrong, at most [`MAX_PROBLEMS`].
    pub problems: Vec<Problem>,
}

/// Problems after which no more are noted.
pub const MAX_PROBLEMS: usize = 10_000;

/// Checks all cores of a store: that each block has its checksum and is the one in the tree,
/// that the tree's nodes follow from each other up to the roots, and that the roots are
/// signed. Reads everything there is; the store can be used meanwhile.
///
/// Fails only if the store cannot be read at all; what is wrong with its cores is in the
/// report.
pub async fn verify(store: &Corestore) -> Result<Report, CoreError> {
    let mut report = Report::default();
    for id in store.core_ids().await? {
        let store = store.clone();
        // Hashing and reading take their time: not on a thread that others wait for.
        let part = tokio::task::spawn_blocking(move || verify_core(&store, id))
            .await
            .map_err(|error| CoreError::Io { message: error.to_string(), errno: 0 })?;
        report.cores += part.cores;
        report.blocks += part.blocks;
        report.bytes += part.bytes;
        let room = MAX_PROBLEMS.saturating_sub(report.problems.len());
        report.problems.extend(part.problems.into_iter().take(room));
    }
    Ok(report)
}

fn verify_core(store: &Corestore, id: CoreId) -> Report {
    let core = match store.open_id(id) {
        Ok(Some(core)) => core,
        // Deleted meanwhile.
        Ok(None) => return Report::default(),
        Err(error) => {
            let problem = Problem { key: None, fault: Fault::Unreadable(error.to_string()) };
            return Report { cores: 1, problems: vec![problem], ..Report::default() };
        }
    };
    loop {
        let fork = core.fork();
        let report = Check { core: &core, report: Report { cores: 1, ..Report::default() } }.run();
        // If its history was rewritten while we looked, we have seen neither the old one nor
        // the new one.
        if core.fork() == fork {
            return report;
        }
    }
}

struct Check<'a> {
    core: &'a LocalCore,
    report: Report,
}

impl Check<'_> {
    fn note(&mut self, fault: Fault) {
        if self.report.problems.len() < MAX_PROBLEMS {
            self.report.problems.push(Problem { key: Some(self.core.key()), fault });
        }
    }

    fn run(mut self) -> Report {
        let (fork, length, signature) = self.core.signed_head();
        let roots = flat_tree::full_roots(length).map(|root| self.node(root)).collect::<Vec<_>>();
        for (root, index) in roots.iter().zip(flat_tree::full_roots(length)) {
            if root.is_none() {
                self.note(Fault::Node(index));
            }
        }
        let roots: Vec<Node> = roots.into_iter().flatten().collect();
        if length > 0 || !signature.is_empty() {
            self.check_signature(fork, length, roots.clone(), &signature);
        }
        for root in roots {
            self.check_nodes(root);
        }
        self.check_blocks(length);
        self.report
    }

    /// A node, if it is there and can be read.
    fn node(&self, index: u64) -> Option<Node> {
        self.core.nodes().node(index).ok().flatten()
    }

    fn check_signature(&mut self, fork: u64, length: u64, roots: Vec<Node>, signature: &[u8]) {
        // Roots that are missing were noted.
        let Ok(tree) = Tree::from_roots(fork, length, roots) else { return };
        let authority = self.core.shared().authority();
        if let Err(error) = authority.verifier.verify(&tree, Some(signature)) {
            self.note(Fault::Signature { length, reason: error.to_string() });
        }
    }

    /// Follows the tree down from a node that is good, as far as it is kept.
    fn check_nodes(&mut self, root: Node) {
        let mut stack = vec![root];
        while let Some(node) = stack.pop() {
            let Some((left, right)) = flat_tree::children(node.index) else { continue };
            match (self.node(left), self.node(right)) {
                (Some(left), Some(right)) => {
                    if Node::parent(&left, &right) == node {
                        stack.extend([left, right]);
                    } else {
                        self.note(Fault::Node(node.index));
                    }
                }
                // Sparse cores do not have all nodes. Those of the blocks they hold are looked
                // for there.
                _ => continue,
            }
        }
    }

    fn check_blocks(&mut self, length: u64) {
        let mut at = 0;
        while let Some((start, end)) = self.core.held_run(at, length) {
            for index in start..end {
                let block = match self.core.read_waiting(index) {
                    Ok(Some(block)) => block,
                    // Cleared meanwhile, unless its bytes were found to be wrong.
                    Ok(None) if !self.core.is_damaged(index) => continue,
                    _ => {
                        self.note(Fault::Block(index));
                        continue;
                    }
                };
                self.report.blocks += 1;
                self.report.bytes += block.len() as u64;
                match self.node(2 * index) {
                    None => self.note(Fault::Node(2 * index)),
                    Some(leaf) if leaf != Node::leaf(index, &block) => self.note(Fault::Forged(index)),
                    Some(_) => {}
                }
            }
            at = end;
        }
    }
}
