//! Puts and deletes that are not in the core yet.

use crate::node::{HIDDEN, Node};
use crate::{Snapshot, Trie, del, put};
use bytes::Bytes;
use hyperspace_api::{Core, CoreError};
use parking_lot::RwLock;
use std::sync::Arc;

/// Makes new nodes upon a version of the trie, and keeps them until they are appended.
///
/// Every [`snapshot`](Self::snapshot) sees what was done before it was taken, at once.
/// To commit: append [`blocks`](Self::blocks) to the core with [`base`](Self::base)
/// as the expected length, and call [`committed`](Self::committed). On a conflict,
/// make a new writer upon the new version and do everything again.
#[derive(Debug)]
pub struct Writer<C> {
    trie: Trie<C>,
    base: u64,
    pending: Arc<Pending>,
    blocks: Vec<Bytes>,
    bytes: u64,
}

/// Nodes that come after the first `base` blocks of the core. Only ever added to, so
/// that snapshots may share it; what takes nodes away makes another.
#[derive(Debug)]
pub(crate) struct Pending {
    base: u64,
    nodes: RwLock<Vec<Arc<Node>>>,
}

impl Pending {
    pub(crate) fn node(&self, seq: u64) -> Option<Arc<Node>> {
        let index = usize::try_from(seq.checked_sub(self.base)?).ok()?;
        self.nodes.read().get(index).cloned()
    }

    fn of(base: u64, nodes: Vec<Arc<Node>>) -> Arc<Self> {
        Arc::new(Self { base, nodes: RwLock::new(nodes) })
    }
}

impl<C: Core> Writer<C> {
    /// Writes upon version `version`, which has been appended in full and is at least
    /// 1: block 0 is the [`Header`](super::Header).
    pub fn new(trie: Trie<C>, version: u64) -> Self {
        let base = version.max(1);
        Self { trie, base, pending: Pending::of(base, Vec::new()), blocks: Vec::new(), bytes: 0 }
    }

    /// Stores `value` under `key`, in the place of any entry that is there. Whether
    /// the key is hidden is one of the `flags`: see [`Node::flags`].
    ///
    /// # Errors
    /// [`CoreError::Invalid`] if the key has no component or is too long; else as
    /// [`Snapshot::get`]. Nothing has changed then.
    pub async fn put(&mut self, key: &str, value: Option<Bytes>, flags: u64) -> Result<Arc<Node>, CoreError> {
        let path = self.trie.path(key, flags & HIDDEN != 0)?;
        if path.is_empty() {
            return Err(CoreError::Invalid(format!("The key {key:?} is empty")));
        }
        let node = put::put(&self.snapshot(), path, value, flags, None).await?;
        Ok(self.push(node))
    }

    /// Deletes `key`; `false` if it was not there.
    ///
    /// # Errors
    /// As [`Snapshot::get`]. Nothing has changed then.
    pub async fn del(&mut self, key: &str, hidden: bool) -> Result<bool, CoreError> {
        let path = self.trie.path(key, hidden)?;
        let node = del::del(&self.snapshot(), &path).await?;
        Ok(node.map(|node| self.push(node)).is_some())
    }

    fn push(&mut self, node: Node) -> Arc<Node> {
        let node = Arc::new(node);
        let block = node.encode();
        self.bytes += block.len() as u64;
        self.blocks.push(block);
        self.pending.nodes.write().push(node.clone());
        node
    }

    /// The trie as it is with everything done so far. Cheap.
    pub fn snapshot(&self) -> Snapshot<C> {
        Snapshot::with_pending(self.trie.clone(), self.version(), self.pending.clone())
    }

    /// The trie it writes to.
    pub fn trie(&self) -> &Trie<C> {
        &self.trie
    }

    /// Blocks in the core, as far as this writer knows.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// The core's length once everything is appended.
    pub fn version(&self) -> u64 {
        self.base + self.blocks.len() as u64
    }

    /// The blocks to append, in order. Cloning them copies no bytes.
    pub fn blocks(&self) -> &[Bytes] {
        &self.blocks
    }

    /// Blocks to append.
    pub fn len(&self) -> usize {
        self.blocks.len()
    }

    /// Is there nothing to append?
    pub fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    /// Bytes to append.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The first `count` blocks are in the core now, where they were expected to be.
    /// More may have been added while they were on their way.
    pub fn committed(&mut self, count: usize) {
        let count = count.min(self.blocks.len());
        self.bytes -= self.blocks.drain(..count).map(|block| block.len() as u64).sum::<u64>();
        self.base += count as u64;
        let nodes = self.pending.nodes.read().clone();
        let (done, left) = nodes.split_at(count.min(nodes.len()));
        let truncations = self.trie.cache.truncations();
        done.iter().for_each(|node| self.trie.cache.insert(node.clone(), truncations));
        self.pending = Pending::of(self.base, left.to_vec());
    }

    /// Undoes everything after the first `len` blocks: an earlier [`len`](Self::len).
    /// Snapshots that were taken in between keep what they saw.
    pub fn roll_back(&mut self, len: usize) {
        if len >= self.blocks.len() {
            return;
        }
        self.bytes -= self.blocks.drain(len..).map(|block| block.len() as u64).sum::<u64>();
        let mut nodes = self.pending.nodes.read().clone();
        nodes.truncate(len);
        self.pending = Pending::of(self.base, nodes);
    }
}
