//! A core's state in memory: its log's head, what is held, and everything committed that
//! the database does not have yet.
//!
//! Readers look here first, and in the database for the rest. When a journal has been
//! folded into the database, what came from it is [dropped](Tail::folded) here. A store
//! without a disk folds nothing: there, the tail is all there is.

use super::bitfield::Bitfield;
use super::extent::{Extent, Place, concat};
use super::nodes::{NodePage, PageKey, covers};
use super::op::{Head, Op};
use crate::merkle::{Node, Tree};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

/// The number of a journal; 0 for what is not journaled.
pub type JournalId = u64;

/// See [`Tail::damaged`].
const MAX_DAMAGED: usize = 10_000;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Tail {
    /// The log's state.
    pub head: Head,
    /// Its tree, once somebody needed it.
    pub tree: Option<Arc<Tree>>,
    /// Which blocks are held.
    pub held: Bitfield,
    /// Blocks that were found to be damaged, and are no longer among the held ones. At most
    /// [`MAX_DAMAGED`] are remembered.
    pub damaged: BTreeSet<u64>,
    extents: BTreeMap<u64, (JournalId, Extent)>,
    nodes: HashMap<PageKey, (JournalId, NodePage)>,
    user_data: HashMap<Bytes, (JournalId, Option<Bytes>)>,
    /// What the database has from this length on is no longer part of the core.
    cut: Option<(JournalId, u64)>,
}

/// What in a cache of the database does not hold any more.
#[derive(Debug, Default)]
pub struct Stale {
    /// All of it.
    pub everything: bool,
    /// These pages of nodes.
    pub pages: Vec<PageKey>,
}

/// What the tail knows about something.
#[derive(Debug, PartialEq, Eq)]
pub enum Known<T> {
    /// This is it.
    Here(T),
    /// It does not exist.
    Gone,
    /// The database will tell.
    Ask,
}

impl Tail {
    /// The state of a core as the database has it.
    pub fn stored(head: Head, held: Bitfield) -> Self {
        Self { head, held, ..Self::default() }
    }

    /// Makes what was committed visible.
    pub fn apply(&mut self, op: &Op, journal: JournalId) {
        match op {
            Op::Head { head, .. } => {
                self.head = head.clone();
                self.tree = None;
            }
            Op::Nodes { nodes, .. } => self.insert_nodes(nodes, journal),
            Op::Extent { extent, .. } => {
                self.forget(extent.range());
                self.held.set(extent.range());
                self.held.forget_changes();
                if !self.damaged.is_empty() {
                    self.damaged.retain(|index| !extent.range().contains(index));
                }
                self.extents.insert(extent.first(), (journal, extent.clone()));
            }
            Op::Clear { start, end, .. } => {
                self.forget(*start..*end);
                self.held.clear(*start..*end);
                self.held.forget_changes();
            }
            Op::Truncate { length, .. } => {
                self.forget(*length..u64::MAX);
                self.held.truncate(*length);
                self.held.forget_changes();
                self.nodes.retain(|key, (_, page)| {
                    page.truncate(*key, *length);
                    !page.is_empty()
                });
                let lowest = self.cut.map_or(*length, |(_, cut)| cut.min(*length));
                self.cut = Some((journal, lowest));
            }
            Op::UserData { key, value, .. } => {
                self.user_data.insert(key.clone(), (journal, value.clone()));
            }
            Op::Delete { .. } => *self = Self::default(),
            Op::Core { .. } | Op::Alias { .. } | Op::Setting { .. } | Op::Flushed => {}
        }
    }

    fn insert_nodes(&mut self, nodes: &[Node], journal: JournalId) {
        for (key, run) in PageKey::runs(nodes) {
            let (newest, page) = self.nodes.entry(key).or_default();
            *newest = journal;
            for node in run {
                page.insert(PageKey::of(node.index).1, node);
            }
        }
    }

    /// Drops blocks from the extents that are here.
    fn forget(&mut self, blocks: Range<u64>) {
        if blocks.is_empty()
            || self.extents.last_key_value().is_none_or(|(_, (_, last))| last.end() <= blocks.start)
        {
            return;
        }
        let from = self.covering(blocks.start).map_or(blocks.start, |(_, extent)| extent.first());
        let hit: Vec<u64> = self.extents.range(from..blocks.end).map(|(first, _)| *first).collect();
        for first in hit {
            let Some((journal, extent)) = self.extents.remove(&first) else { continue };
            for part in extent.without(blocks.clone()).into_iter().flatten() {
                // A part must not keep the memory of the whole.
                let part = match part.place() {
                    Place::Inline(data) => part.with_data(concat(std::slice::from_ref(data))),
                    Place::Segment { .. } => part,
                };
                self.extents.insert(part.first(), (journal, part));
            }
        }
    }

    fn covering(&self, index: u64) -> Option<&(JournalId, Extent)> {
        let (_, found) = self.extents.range(..=index).next_back()?;
        found.1.range().contains(&index).then_some(found)
    }

    /// Treats a block as missing, since its bytes are not what was stored.
    pub fn lose(&mut self, index: u64) {
        self.held.clear(index..index + 1);
        self.held.forget_changes();
        if self.damaged.len() < MAX_DAMAGED {
            self.damaged.insert(index);
        }
    }

    /// The extent that has block `index`.
    pub fn extent(&self, index: u64) -> Known<&Extent> {
        if !self.held.get(index) {
            return Known::Gone;
        }
        match self.covering(index) {
            Some((_, extent)) => Known::Here(extent),
            None => Known::Ask,
        }
    }

    /// A tree node.
    pub fn node(&self, index: u64) -> Known<Node> {
        let (key, slot) = PageKey::of(index);
        if let Some(node) = self.nodes.get(&key).and_then(|(_, page)| page.get(slot, index)) {
            return Known::Here(node);
        }
        if self.cut.is_some_and(|(_, length)| covers(index, length)) {
            return Known::Gone;
        }
        Known::Ask
    }

    /// A value of the user's.
    pub fn user_data(&self, key: &[u8]) -> Known<Bytes> {
        match self.user_data.get(key) {
            Some((_, Some(value))) => Known::Here(value.clone()),
            Some((_, None)) => Known::Gone,
            None => Known::Ask,
        }
    }

    /// Everything up to `journal` is in the database now. Tells what was read from there
    /// before, and may be something else since.
    pub fn folded(&mut self, journal: JournalId) -> Stale {
        let mut stale = Stale::default();
        self.extents.retain(|_, (newest, _)| *newest > journal);
        self.nodes.retain(|key, (newest, _)| {
            stale.pages.push(*key);
            *newest > journal
        });
        self.user_data.retain(|_, (newest, _)| *newest > journal);
        if self.nodes.is_empty() {
            self.nodes = HashMap::new();
        }
        if self.cut.is_some_and(|(newest, _)| newest <= journal) {
            self.cut = None;
            stale.everything = true;
        }
        stale
    }
}
