//! What is wanted of peers: blocks, ranges, bytes, a longer core.

use crate::merkle::Node;
use hyperspace_api::{CoreError, Seek};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Names something that is wanted of a core's peers.
pub type DemandId = u64;

/// Something that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// One block, soon.
    Block {
        /// Which.
        index: u64,
        /// Give up once no peer can have it.
        if_available: bool,
    },
    /// All blocks of `start..end`, those past the core's end once they exist.
    Range {
        /// The first.
        start: u64,
        /// After the last.
        end: u64,
        /// From the first to the last; else from several places at once.
        linear: bool,
    },
    /// The block that has a byte.
    Seek {
        /// Which.
        bytes: u64,
        /// Give up once no peer can tell.
        if_available: bool,
    },
    /// A core of at least this length.
    Update {
        /// Blocks.
        length: u64,
    },
}

impl Demand {
    /// Is it to end with an error once no peer can give what is wanted?
    pub fn gives_up(&self) -> bool {
        matches!(self, Self::Block { if_available: true, .. } | Self::Seek { if_available: true, .. })
    }
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is here.
    Done,
    /// The byte was found.
    Found(Seek),
    /// No peer can give it.
    NotAvailable,
    /// It cannot be stored here.
    Failed(CoreError),
}

/// Who wants one block.
#[derive(Debug, Default)]
pub(super) struct BlockDemand {
    /// Those who wait, and whether they give up.
    pub(super) waiters: Vec<(DemandId, bool)>,
    /// Peers that said they do not have it.
    pub(super) lacking: Vec<u64>,
}

#[derive(Debug)]
pub(super) struct RangeDemand {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) linear: bool,
    /// Everything before is held.
    pub(super) low: u64,
    /// Everything before is held, or was asked for.
    pub(super) asked: u64,
    /// Goes up when blocks have to be asked for again.
    pub(super) epoch: u64,
}

#[derive(Debug)]
pub(super) struct SeekDemand {
    pub(super) bytes: u64,
    pub(super) if_available: bool,
    /// See [`Verified::hints`](crate::merkle::Verified::hints).
    pub(super) hints: HashMap<u64, Node>,
    /// Requests so far.
    pub(super) steps: u32,
    /// Is one out?
    pub(super) in_flight: bool,
}

/// Everything that is wanted of one core.
#[derive(Debug, Default)]
pub(super) struct Demands {
    next: DemandId,
    pub(super) blocks: BTreeMap<u64, BlockDemand>,
    pub(super) ranges: BTreeMap<DemandId, RangeDemand>,
    pub(super) seeks: BTreeMap<DemandId, SeekDemand>,
    pub(super) updates: BTreeMap<DemandId, u64>,
    /// The block that a waiter waits for.
    waiting: HashMap<DemandId, u64>,
    /// Blocks that somebody waits for, and that nobody was asked for.
    idle: BTreeSet<u64>,
}

impl Demands {
    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty() && self.ranges.is_empty() && self.seeks.is_empty() && self.updates.is_empty()
    }

    pub(super) fn add(&mut self, demand: Demand) -> DemandId {
        self.next += 1;
        let id = self.next;
        match demand {
            Demand::Block { index, if_available } => {
                self.blocks.entry(index).or_default().waiters.push((id, if_available));
                self.waiting.insert(id, index);
                self.idle.insert(index);
            }
            Demand::Range { start, end, linear } => {
                let range = RangeDemand { start, end, linear, low: start, asked: start, epoch: 0 };
                self.ranges.insert(id, range);
            }
            Demand::Seek { bytes, if_available } => {
                let (hints, steps, in_flight) = Default::default();
                self.seeks.insert(id, SeekDemand { bytes, if_available, hints, steps, in_flight });
            }
            Demand::Update { length } => {
                self.updates.insert(id, length);
            }
        }
        id
    }

    /// Takes a demand back. Gives the block that nobody waits for any more.
    pub(super) fn remove(&mut self, id: DemandId) -> Option<u64> {
        self.ranges.remove(&id);
        self.seeks.remove(&id);
        self.updates.remove(&id);
        let index = self.waiting.remove(&id)?;
        let block = self.blocks.get_mut(&index)?;
        block.waiters.retain(|(waiter, _)| *waiter != id);
        if !block.waiters.is_empty() {
            return None;
        }
        self.blocks.remove(&index);
        self.idle.remove(&index);
        Some(index)
    }

    /// A block is here: those who waited for it.
    pub(super) fn take_block(&mut self, index: u64) -> Vec<DemandId> {
        let Some(block) = self.blocks.remove(&index) else { return Vec::new() };
        self.idle.remove(&index);
        let waiters: Vec<_> = block.waiters.into_iter().map(|(id, _)| id).collect();
        for id in &waiters {
            self.waiting.remove(id);
        }
        waiters
    }

    /// Does any range want that block?
    pub(super) fn in_range(&self, index: u64) -> bool {
        self.ranges.values().any(|range| (range.start..range.end).contains(&index))
    }

    /// Does anybody want that block?
    pub(super) fn want(&self, index: u64) -> bool {
        self.blocks.contains_key(&index) || self.in_range(index) || !self.seeks.is_empty()
    }

    /// The blocks that somebody waits for, and that nobody was asked for.
    pub(super) fn idle(&self) -> impl Iterator<Item = u64> {
        self.idle.iter().copied()
    }

    /// Was a block asked for, or not any more?
    pub(super) fn set_idle(&mut self, index: u64, idle: bool) {
        if !idle {
            self.idle.remove(&index);
        } else if self.blocks.contains_key(&index) {
            self.idle.insert(index);
        }
    }

    /// A block has to be asked for again.
    pub(super) fn ask_again(&mut self, index: u64) {
        self.set_idle(index, true);
        for range in self.ranges.values_mut() {
            if (range.start..range.end).contains(&index) {
                range.asked = range.asked.min(index);
                range.epoch += 1;
            }
        }
    }

    /// Does anything lie at or past the core's end?
    pub(super) fn reach(&self, length: u64) -> bool {
        self.blocks.last_key_value().is_some_and(|(index, _)| *index >= length)
            || self.ranges.values().any(|range| range.end > length)
            || self.updates.values().any(|min| *min > length)
    }

    /// Those who wait, all of them.
    pub(super) fn take_all(&mut self) -> Vec<DemandId> {
        let mut all: Vec<DemandId> = self.waiting.keys().copied().collect();
        all.extend(self.ranges.keys().chain(self.seeks.keys()).chain(self.updates.keys()));
        let next = self.next;
        *self = Self { next, ..Self::default() };
        all.sort_unstable();
        all
    }
}
