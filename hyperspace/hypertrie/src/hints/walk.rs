//! Which blocks a query needs: a walk through the trie as far as it is here.

use super::{BLOCKS_MAX, Listing, NEAR, NEWEST, Query};
use crate::node::Node;
use crate::path::DIGITS;
use crate::{Trie, TrieOptions};
use hyperspace_api::{Core, CoreError, GetOptions};
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

/// Bytes of nodes that are kept during one walk.
const CACHE: usize = 64 * 1024;

/// The blocks that `query` needs of the trie in `core`, as far as they are held here:
/// nobody is asked. At most 2176, those needed first at the start.
///
/// # Errors
/// What the core says; [`CoreError::Corrupt`] for what is no trie.
pub async fn answer<C: Core>(core: &C, query: &Query) -> Result<Vec<u64>, CoreError> {
    let mut blocks = Vec::new();
    answer_by(core, query, NEAR, |block| blocks.push(block)).await?;
    Ok(blocks)
}

/// The same, with at most `near` blocks that were not asked for; `tell` hears of each block
/// as soon as it is found.
///
/// # Errors
/// As [`answer`].
pub async fn answer_by<C: Core>(
    core: &C,
    query: &Query,
    near: usize,
    mut tell: impl FnMut(u64) + Send,
) -> Result<(), CoreError> {
    let version = match query.head.checked_add(1) {
        None => core.length(),
        Some(version) if version <= core.length() => version,
        Some(_) => return Ok(()),
    };
    let options = TrieOptions { get: GetOptions::LOCAL, cache_bytes: CACHE, ..TrieOptions::default() };
    let trie = Trie::new(core.clone(), options);
    trie.read_header().await?;
    if query.head == NEWEST {
        // Who knows no version yet has not even that.
        tell(0);
    }
    Walk { trie, told: HashSet::new(), tell, near, max: BLOCKS_MAX }.run(version, query).await
}

struct Walk<C, F> {
    trie: Trie<C>,
    told: HashSet<u64>,
    tell: F,
    near: usize,
    max: usize,
}

impl<C: Core, F: FnMut(u64) + Send> Walk<C, F> {
    /// Block `seq`, which is then told of. `None` if it is not here, or enough was told.
    async fn visit(&mut self, seq: u64) -> Result<Option<Arc<Node>>, CoreError> {
        if self.told.len() >= self.max {
            return Ok(None);
        }
        match self.trie.node(seq).await {
            Ok(node) => {
                if self.told.insert(seq) {
                    (self.tell)(seq);
                }
                Ok(Some(node).filter(|node| !node.is_reset()))
            }
            Err(CoreError::NotDownloaded) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every pointer leads back, so that all of this ends.
    async fn run(&mut self, version: u64, query: &Query) -> Result<(), CoreError> {
        if version <= 1 {
            return Ok(());
        }
        let path = self.trie.path(&query.key, query.hidden)?;
        let mut next = self.visit(version - 1).await?;
        let mut from = 0;
        while let Some(node) = next {
            let to = path.diverge(&node.path).unwrap_or(path.len());
            // The entries above the key, and its own.
            let ends = (1..=path.depth() as u32).map(|depth| depth * DIGITS + 1);
            for position in ends.filter(|end| (from..=to).contains(end)) {
                for seq in node.table.to(position, crate::path::END) {
                    self.visit(seq).await?;
                }
            }
            if to >= path.prefix_len() {
                return self.below(node, path.prefix_len(), query.list).await;
            }
            next = None;
            for seq in node.table.to(to, path.digit(to)) {
                if let Some(child) = self.visit(seq).await?
                    && path.diverge(&child.path).is_none_or(|at| at > to)
                {
                    next = Some(child);
                    break;
                }
            }
            from = to + 1;
        }
        Ok(())
    }

    /// What is below a key, of which `node` is some entry: the names in it first, then
    /// what is below those.
    async fn below(&mut self, node: Arc<Node>, start: u32, list: Option<Listing>) -> Result<(), CoreError> {
        let names = if list == Some(Listing::All) { u32::MAX } else { start + DIGITS };
        if list.is_none() {
            self.max = self.near.max(self.told.len());
        }
        let mut level = VecDeque::from([(node, start)]);
        let mut deeper = VecDeque::new();
        while let Some((node, from)) = level.pop_front() {
            self.open(&node, from..names, &mut level).await?;
            // Whatever is there by that name, its own entry tells what it is.
            if names != u32::MAX {
                for seq in node.table.to(names, crate::path::END) {
                    self.visit(seq).await?;
                }
            }
            deeper.push_back((node, from.max(names)));
        }
        self.max = self.max.min(self.near.max(self.told.len()));
        while let Some((node, from)) = deeper.pop_front() {
            self.open(&node, from..u32::MAX, &mut deeper).await?;
        }
        Ok(())
    }

    async fn open(
        &mut self,
        node: &Node,
        positions: std::ops::Range<u32>,
        to: &mut VecDeque<(Arc<Node>, u32)>,
    ) -> Result<(), CoreError> {
        if positions.is_empty() {
            return Ok(());
        }
        for slot in node.table.range(positions) {
            if let Some(child) = self.visit(slot.seq).await? {
                to.push_back((child, slot.position + 1));
            }
        }
        Ok(())
    }
}
