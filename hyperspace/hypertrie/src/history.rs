//! The nodes of a version in the order in which they were written.

use crate::CONCURRENCY;
use crate::node::Node;
use crate::snapshot::Snapshot;
use hyperspace_api::{Core, CoreError};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// A history under way: see [`Snapshot::history`].
#[derive(Debug)]
pub struct History<C> {
    snapshot: Snapshot<C>,
    left: Range<u64>,
    reverse: bool,
    read: VecDeque<Arc<Node>>,
}

impl<C: Core> Snapshot<C> {
    /// The nodes in the blocks of `range`, from the oldest on or, if `reverse`, from
    /// the newest back. A delete is a neighbour put again, or a
    /// [reset](Node::is_reset): to see what it took, [compare](Self::diff) the version
    /// with the one before.
    pub fn history(&self, range: Range<u64>, reverse: bool) -> History<C> {
        let left = range.start.max(1)..range.end.min(self.version());
        History { snapshot: self.clone(), left, reverse, read: VecDeque::new() }
    }
}

impl<C: Core> History<C> {
    /// The next node.
    ///
    /// # Errors
    /// As [`Snapshot::get`]; the same node can be asked for again.
    pub async fn next(&mut self) -> Result<Option<Arc<Node>>, CoreError> {
        if self.read.is_empty() {
            let Range { start, end } = self.left;
            let count = end.saturating_sub(start).min(CONCURRENCY as u64);
            let (seqs, left): (Vec<u64>, _) = if self.reverse {
                ((end - count..end).rev().collect(), start..end - count)
            } else {
                ((start..start + count).collect(), start + count..end)
            };
            self.read = self.snapshot.nodes(seqs).await?.into();
            self.left = left;
        }
        Ok(self.read.pop_front())
    }
}
