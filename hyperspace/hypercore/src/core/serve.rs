//! What peers may be told of a core, and given.

use super::LocalCore;
use crate::merkle::proof::{Proof, Request};
use crate::merkle::{ProduceError, ReadError, Tree, produce};
use bytes::Bytes;
use hyperspace_api::{Core, CoreError};
use std::sync::Arc;

/// How often a state is read anew because the core has changed meanwhile.
const ATTEMPTS: usize = 8;

/// The state of a core that peers may see: signed, and as safe on the disk as it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Served {
    /// The tree.
    pub tree: Arc<Tree>,
    /// Its signature, empty for an empty core.
    pub signature: Bytes,
}

/// Why a peer gets nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotServed {
    /// It is not there, or not any more.
    NotAvailable,
    /// The request makes no sense.
    Invalid,
}

impl LocalCore {
    /// What peers may see. Of a core that we write, that is what survives a loss of power:
    /// see [`flushed_length`](Self::flushed_length). `None` while a truncation is not on the
    /// disk yet.
    pub fn served(&self) -> Result<Option<Arc<Served>>, CoreError> {
        self.shared.check_open(&self.engine)?;
        let authority = self.shared.authority();
        if authority.record.frozen {
            return Ok(None);
        }
        let flushed = authority.can_sign().then(|| self.shared.flushed(&self.engine));
        let mut known = self.shared.served.lock();
        for _ in 0..ATTEMPTS {
            let (fork, length, signature) = self.signed_head();
            if flushed.is_some_and(|(flushed_fork, _)| flushed_fork != fork) {
                return Ok(None);
            }
            let shown = flushed.map_or(length, |(_, flushed)| flushed.min(length));
            if let Some(served) = known.as_ref()
                && (served.tree.fork(), served.tree.length()) == (fork, shown)
            {
                return Ok(Some(served.clone()));
            }
            let served = if shown == length {
                let tree = self.shared.tree(&self.engine)?;
                if (tree.fork(), tree.length()) != (fork, length) {
                    continue;
                }
                Served { tree, signature }
            } else {
                // Nobody has seen this length yet, but it is a beginning of what is signed.
                let tree = match Tree::load(&self.nodes(), fork, shown) {
                    Ok(tree) => tree,
                    Err(ReadError::Source(error)) => return Err(error),
                    Err(_) => continue,
                };
                let Some(pair) = authority.key_pair() else { return Ok(None) };
                let Ok(signature) = authority.verifier.sign(&tree, pair) else { return Ok(None) };
                Served { tree: Arc::new(tree), signature: signature.into() }
            };
            let served = Arc::new(served);
            *known = Some(served.clone());
            return Ok(Some(served));
        }
        Ok(None)
    }

    /// Is there anything that peers may not see before it is flushed?
    pub fn has_unflushed(&self) -> bool {
        self.shared.authority().can_sign()
            && self.shared.flushed(&self.engine) != (self.fork(), self.length())
    }

    /// The proof that answers a peer's request, with its block.
    pub fn prove(&self, served: &Served, request: &Request) -> Result<Proof, NotServed> {
        let length = served.tree.length();
        let prologue = self.shared.authority().verifier.prologue().map_or(0, |prologue| prologue.length);
        if let Some(block) = request.block
            && (block.index >= length || !self.shared.tail.read().held.get(block.index))
        {
            return Err(NotServed::NotAvailable);
        }
        let mut proof = produce(&self.nodes(), &served.tree, request, prologue).map_err(|error| {
            if let ProduceError::Read(ReadError::Source(error)) = &error {
                tracing::warn!(core = %self.shared.key, "reading the tree for a peer: {error}");
            }
            if error.is_invalid() { NotServed::Invalid } else { NotServed::NotAvailable }
        })?;
        if let Some(block) = &mut proof.block {
            match self.read_waiting(block.index) {
                Ok(Some(value)) => block.value = value,
                Ok(None) => return Err(NotServed::NotAvailable),
                Err(error) => {
                    tracing::warn!(core = %self.shared.key, "reading a block for a peer: {error}");
                    return Err(NotServed::NotAvailable);
                }
            }
        }
        if let Some(upgrade) = &mut proof.upgrade {
            upgrade.signature = Some(served.signature.to_vec()).filter(|signature| !signature.is_empty());
        }
        Ok(proof)
    }
}
