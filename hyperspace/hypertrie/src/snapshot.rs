//! One version of a trie, and how a key is found in it.

use crate::hints::{Asking, Listing, Query};
use crate::node::Node;
use crate::path::{END, Path, is_boundary};
use crate::table::Slot;
use crate::writer::Pending;
use crate::{CONCURRENCY, Trie};
use futures::{StreamExt, TryStreamExt, stream};
use hyperspace_api::{Core, CoreError};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// One version of a trie: what a map held after a certain block. It never changes.
#[derive(Clone, Debug)]
pub struct Snapshot<C> {
    trie: Trie<C>,
    version: u64,
    pending: Option<Arc<Pending>>,
}

/// All that one walk to a key can tell: see [`Snapshot::lookup`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Lookup {
    /// The entries whose keys lead to this one, from the outermost in; not itself.
    pub ancestors: Vec<Arc<Node>>,
    /// The entry of the key itself.
    pub node: Option<Arc<Node>>,
    /// Some entry below the key, if there is any and it was met on the way: it shows
    /// that the key is a directory although it may have no entry of its own.
    pub below: Option<Arc<Node>>,
    /// Are there entries below the key?
    pub has_below: bool,
}

impl<C: Core> Snapshot<C> {
    pub(crate) fn new(trie: Trie<C>, version: u64) -> Self {
        Self { trie, version, pending: None }
    }

    pub(crate) fn with_pending(trie: Trie<C>, version: u64, pending: Arc<Pending>) -> Self {
        Self { trie, version, pending: Some(pending) }
    }

    /// The trie it is a version of.
    pub fn trie(&self) -> &Trie<C> {
        &self.trie
    }

    /// Blocks that make up this version, those not yet appended included.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The entry of `key`.
    ///
    /// # Errors
    /// What [`Core::get`] says, and [`CoreError::Corrupt`] for blocks that are no trie.
    pub async fn get(&self, key: &str, hidden: bool) -> Result<Option<Arc<Node>>, CoreError> {
        let path = self.trie.path(key, hidden)?;
        let len = path.len();
        let asking = self.asking(key, hidden, None);
        Ok(asking.as_ref().unwrap_or(self).descend(&path, len).await?.ok())
    }

    /// The entry of `key`, or else the last one that was met on the way to it: one
    /// of those with most of their path in common. `None` only of an empty trie.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn closest(&self, key: &str, hidden: bool) -> Result<Option<Arc<Node>>, CoreError> {
        let path = self.trie.path(key, hidden)?;
        let len = path.len();
        Ok(match self.descend(&path, len).await? {
            Ok(node) => Some(node),
            Err(closest) => closest,
        })
    }

    /// The entry of `key`, those above it, and whether there are any below: in one
    /// walk, so that mounts, files in the place of directories, and directories
    /// that exist only by what they hold, cost no walk of their own.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn lookup(&self, key: &str, hidden: bool) -> Result<Lookup, CoreError> {
        let path = self.trie.path(key, hidden)?;
        match self.asking(key, hidden, None) {
            Some(asking) => asking.walk(&path).await,
            None => self.walk(&path).await,
        }
    }

    async fn walk(&self, path: &Path) -> Result<Lookup, CoreError> {
        let mut found = Lookup::default();
        let (mut from, mut next) = (0, self.head().await?);
        while let Some(node) = next {
            let parting = path.diverge(&node.path);
            let to = parting.unwrap_or(path.len());
            for depth in (1..path.depth() as u32).filter(|depth| (from..=to).contains(&(depth * 32 + 1))) {
                let position = depth * 32 + 1;
                if node.path.digit(position) == END {
                    found.ancestors.push(node.clone());
                } else if let Some(seq) = node.table.to(position, END).next() {
                    found.ancestors.extend(self.member(&node, position, END, seq).await?);
                }
            }
            if to >= path.prefix_len() {
                // Digits before a key's end are those of entries below it.
                let below = node.table.at(path.prefix_len()).any(|slot| slot.digit != END);
                if to == path.len() {
                    found.has_below = below;
                    found.node = Some(node);
                } else {
                    let seq = node.table.to(path.prefix_len(), END).next();
                    if let Some(seq) = seq {
                        found.node = self.member(&node, path.prefix_len(), END, seq).await?;
                    }
                    found.has_below = true;
                    found.below = Some(node);
                }
                return Ok(found);
            }
            next = self.child(&node, path, to).await?;
            from = to + 1;
        }
        Ok(found)
    }

    /// The same version, which tells what it needs blocks for, if there is whom to tell.
    pub(crate) fn asking(&self, key: &str, hidden: bool, list: Option<Listing>) -> Option<Self> {
        let hints = self.trie.hints.clone()?;
        let query = Query { head: self.version.checked_sub(1)?, key: key.to_owned(), hidden, list };
        let asking = Asking { hints, query, asked: AtomicBool::new(false) };
        let trie = Trie { asking: Some(Arc::new(asking)), ..self.trie.clone() };
        Some(Self { trie, ..self.clone() })
    }

    /// The newest node; `None` when the trie is empty.
    pub(crate) async fn head(&self) -> Result<Option<Arc<Node>>, CoreError> {
        match self.version.checked_sub(1) {
            None | Some(0) => Ok(None),
            Some(seq) => self.entry(seq).await,
        }
    }

    /// Walks towards `path` until a node shares its first `digits` digits. `Err` has
    /// the last node of a walk that failed.
    pub(crate) async fn descend(
        &self,
        path: &Path,
        digits: u32,
    ) -> Result<Result<Arc<Node>, Option<Arc<Node>>>, CoreError> {
        let Some(mut node) = self.head().await? else {
            return Ok(Err(None));
        };
        loop {
            let parting = path.diverge(&node.path);
            let Some(at) = parting.filter(|at| *at < digits) else {
                return Ok(Ok(node));
            };
            match self.child(&node, path, at).await? {
                Some(child) => node = child,
                None => return Ok(Err(Some(node))),
            }
        }
    }

    /// Where a walk to `path` goes from `node`, which it parts with at `position`.
    pub(crate) async fn child(
        &self,
        node: &Node,
        path: &Path,
        position: u32,
    ) -> Result<Option<Arc<Node>>, CoreError> {
        for seq in node.table.to(position, path.digit(position)) {
            let Some(child) = self.member(node, position, path.digit(position), seq).await? else {
                continue;
            };
            if !is_boundary(position) || path.component_at(position) == child.path.component_at(position) {
                return Ok(Some(child));
            }
        }
        Ok(None)
    }

    /// Node `seq`, to which `node` points from `position` under `digit`, if it truly
    /// belongs there. `None` if it is no entry (batches of the original may leave
    /// pointers to a [reset](Node::is_reset)).
    pub(crate) async fn member(
        &self,
        node: &Node,
        position: u32,
        digit: u8,
        seq: u64,
    ) -> Result<Option<Arc<Node>>, CoreError> {
        let Some(child) = self.entry(seq).await? else {
            return Ok(None);
        };
        belongs(node, &child, Slot { position, digit, seq })?;
        Ok(Some(child))
    }

    /// Node `seq`, unless it is no entry.
    pub(crate) async fn entry(&self, seq: u64) -> Result<Option<Arc<Node>>, CoreError> {
        let node = match self.pending(seq) {
            Some(node) => node,
            None => self.trie.node(seq).await?,
        };
        Ok(Some(node).filter(|node| !node.is_reset()))
    }

    /// Node `seq`, if it can be had at once.
    pub(crate) fn node_now(&self, seq: u64) -> Result<Option<Arc<Node>>, CoreError> {
        match self.pending(seq) {
            Some(node) => Ok(Some(node)),
            None => self.trie.node_now(seq),
        }
    }

    /// Nodes `seqs`, in their order, several at a time.
    pub(crate) async fn nodes(&self, seqs: Vec<u64>) -> Result<Vec<Arc<Node>>, CoreError> {
        let fetch = |seq| async move {
            match self.pending(seq) {
                Some(node) => Ok(node),
                None => self.trie.node(seq).await,
            }
        };
        stream::iter(seqs).map(fetch).buffered(CONCURRENCY).try_collect().await
    }

    fn pending(&self, seq: u64) -> Option<Arc<Node>> {
        self.pending.as_ref()?.node(seq)
    }
}

/// Checks that `child` may stand in `slot` of `node`: it shares the path up to there,
/// and has that digit (or, at a boundary, only another text).
///
/// With this, every node of a listing is reached by one way only, and listings end.
pub(crate) fn belongs(node: &Node, child: &Node, slot: Slot) -> Result<(), CoreError> {
    let at = slot.position;
    if node.path.diverge(&child.path) == Some(at) && child.path.digit(at) == slot.digit {
        return Ok(());
    }
    Err(CoreError::Corrupt(format!(
        "block {} points to block {} at {at}, where it does not belong",
        node.seq, child.seq
    )))
}
