//! How a core changes: append, clear, truncate.

use super::{LocalCore, MAX_BLOCK};
use crate::manifest::SignatureError;
use crate::merkle::Tree;
use crate::storage::op::{Head, MAX_LENGTH, Op};
use bytes::Bytes;
use hyperspace_api::{Appended, Core, CoreError, CoreEvent};
use std::sync::Arc;

impl LocalCore {
    /// [`Core::append`] without waiting for anything: hashes, signs, commits. Does not heed
    /// the limit on what may wait to be written into the database.
    pub fn append_now(&self, blocks: &[Bytes], expected_length: Option<u64>) -> Result<Appended, CoreError> {
        self.shared.check_open(&self.engine)?;
        let authority = self.shared.authority();
        let key_pair = match authority.key_pair() {
            Some(pair) if self.view.is_none() => pair,
            _ => return Err(CoreError::NotWritable),
        };
        if let Some(block) = blocks.iter().find(|block| block.len() > MAX_BLOCK) {
            return Err(CoreError::BlockTooLarge { size: block.len() as u64, max: MAX_BLOCK as u64 });
        }
        let _changes = self.shared.writer.lock();
        self.check_not_frozen()?;
        let first = self.shared.length();
        if expected_length.is_some_and(|expected| expected != first) {
            return Err(CoreError::Conflict { length: first });
        }
        if blocks.is_empty() {
            return Ok(Appended { first, length: first, byte_length: self.byte_length() });
        }
        if first + blocks.len() as u64 > MAX_LENGTH {
            return Err(CoreError::Invalid("the core would be too long".into()));
        }
        let batch = self.shared.tree(&self.engine)?.append(blocks);
        let signature = authority.verifier.sign(&batch.tree, key_pair).map_err(unsigned)?;
        let placed = self.engine.place(first, blocks)?;
        let mut ops = Vec::with_capacity(placed.extents.len() + 2);
        ops.extend(placed.extents.into_iter().map(|extent| Op::Extent { core: self.shared.id, extent }));
        ops.push(Op::Nodes { core: self.shared.id, nodes: batch.nodes });
        ops.push(self.head(&batch.tree, signature));
        let tree = Arc::new(batch.tree);
        self.shared.commit(&self.engine, ops, Some(tree.clone()))?;
        drop(placed.reservation);
        let (length, byte_length) = (tree.length(), tree.byte_length());
        self.shared.emit(|| CoreEvent::Append { length, byte_length });
        self.shared.changed.notify_waiters();
        self.tell_peers();
        Ok(Appended { first, length, byte_length })
    }

    fn head(&self, tree: &Tree, signature: Vec<u8>) -> Op {
        Op::Head {
            core: self.shared.id,
            head: Head {
                fork: tree.fork(),
                length: tree.length(),
                byte_length: tree.byte_length(),
                signature: signature.into(),
            },
        }
    }

    /// Rewrites history: cuts the core to `length` blocks, as `fork` (by default the next).
    pub fn truncate(&self, length: u64, fork: Option<u64>) -> Result<(), CoreError> {
        self.shared.check_open(&self.engine)?;
        let authority = self.shared.authority();
        let key_pair = match authority.key_pair() {
            Some(pair) if self.view.is_none() => pair,
            _ => return Err(CoreError::NotWritable),
        };
        let _changes = self.shared.writer.lock();
        self.check_not_frozen()?;
        let tree = self.shared.tree(&self.engine)?;
        if length > tree.length() {
            return Err(CoreError::Invalid(format!("the core has only {} blocks", tree.length())));
        }
        let fork = fork.unwrap_or(tree.fork() + 1);
        if fork <= tree.fork() {
            return Err(CoreError::Invalid(format!("the fork has to be above {}", tree.fork())));
        }
        let tree = tree
            .truncate(&self.nodes(), length, fork)
            .map_err(|error| CoreError::Corrupt(format!("core {}: {error}", self.shared.key)))?;
        // npm signs the empty tree as well; its signature keeps the fork from being forged.
        let signature = authority.verifier.sign(&tree, key_pair).map_err(unsigned)?;
        let ops = vec![Op::Truncate { core: self.shared.id, length }, self.head(&tree, signature)];
        self.shared.commit(&self.engine, ops, Some(Arc::new(tree)))?;
        self.shared.emit(|| CoreEvent::Truncate { length, fork });
        self.shared.changed.notify_waiters();
        self.tell_peers();
        Ok(())
    }

    /// Whoever is to tell peers gets to know that the core has changed.
    fn tell_peers(&self) {
        if let Some(core) = self.replicated() {
            core.changed();
        }
    }

    /// [`Core::clear`] without waiting for anything. The space comes back within a second.
    pub fn clear_now(&self, start: u64, end: u64) -> Result<(), CoreError> {
        self.shared.check_open(&self.engine)?;
        let _changes = self.shared.writer.lock();
        let end = end.min(self.shared.length());
        if start >= end || self.shared.tail.read().held.find(start..end, true).is_none() {
            return Ok(());
        }
        let op = Op::Clear { core: self.shared.id, start, end };
        self.shared.commit(&self.engine, vec![op], None)?;
        if let Some(core) = self.replicated() {
            core.cleared(start, end);
        }
        Ok(())
    }
}

/// A key pair is only kept if it may sign, so this takes a damaged manifest.
fn unsigned(error: SignatureError) -> CoreError {
    CoreError::Corrupt(format!("cannot sign: {error}"))
}
