//! Listing what is under a prefix.
//!
//! The order is the original's: an entry before what is below it, siblings by their
//! hashes; siblings with one hash by their names.

use crate::CONCURRENCY;
use crate::hints::Listing;
use crate::node::Node;
use crate::path::{DIGITS, END};
use crate::snapshot::{Snapshot, belongs};
use crate::table::Slot;
use hyperspace_api::{Core, CoreError};
use std::collections::VecDeque;
use std::sync::Arc;

/// Blocks asked for at once when a listing first meets one that is not at hand; each
/// later time twice as many, up to [`CONCURRENCY`].
const FIRST_WAVE: usize = 8;

/// What to list, and how.
#[derive(Clone, Copy, Debug)]
pub struct ListOptions {
    /// Everything below the prefix; else one entry for each name directly below it,
    /// whichever entry with that name was put last (see also [`Snapshot::children`]).
    pub recursive: bool,
    /// Leave out the entry of the prefix itself.
    pub gt: bool,
    /// The other way round.
    pub reverse: bool,
    /// Hidden entries in the place of the visible ones.
    pub hidden: bool,
    /// At most so many.
    pub limit: Option<usize>,
}

impl Default for ListOptions {
    fn default() -> Self {
        Self { recursive: true, gt: false, reverse: false, hidden: false, limit: None }
    }
}

impl<C: Core> Snapshot<C> {
    /// The entries under `prefix`, which is a whole path: `a` has `a/b` under it, and
    /// not `ab`. All of them are held in memory: [`iter`](Self::iter) gives them
    /// one by one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn list(&self, prefix: &str, options: ListOptions) -> Result<Vec<Arc<Node>>, CoreError> {
        let mut iter = self.iter(prefix, options).await?;
        let mut nodes = Vec::new();
        while let Some(node) = iter.next().await? {
            nodes.push(node);
        }
        Ok(nodes)
    }

    /// The entries under `prefix`, one by one. Blocks that are not at hand are asked
    /// for ahead, many at a time.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn iter(&self, prefix: &str, options: ListOptions) -> Result<Iter<C>, CoreError> {
        let path = self.trie().path(prefix, options.hidden)?;
        let start = path.prefix_len();
        let list = if options.recursive { Listing::All } else { Listing::Names };
        let snapshot = self.asking(prefix, options.hidden, Some(list)).unwrap_or_else(|| self.clone());
        let mut stack = Vec::new();
        if let Ok(node) = snapshot.descend(&path, start).await? {
            stack.push(Step::Open(node, start));
        }
        Ok(Iter {
            snapshot,
            start,
            end: if options.recursive { u32::MAX } else { start + DIGITS },
            gt: options.gt,
            reverse: options.reverse,
            left: options.limit.unwrap_or(usize::MAX),
            wave: FIRST_WAVE,
            stack,
        })
    }
}

/// A listing under way: see [`Snapshot::iter`].
#[derive(Debug)]
pub struct Iter<C> {
    snapshot: Snapshot<C>,
    /// Digits of the prefix.
    start: u32,
    /// Digits that tell entries apart.
    end: u32,
    gt: bool,
    reverse: bool,
    left: usize,
    wave: usize,
    /// What is to come, the nearest last.
    stack: Vec<Step>,
}

/// A part of the trie that is still to be listed. Parts have no entry in common,
/// whatever the blocks say: [`belongs`] sees to that.
#[derive(Debug)]
enum Step {
    /// This entry.
    Emit(Arc<Node>),
    /// This node, and those to which it points from the position on.
    Open(Arc<Node>, u32),
    /// What is behind a pointer of this node.
    Fetch(Arc<Node>, Slot),
    /// All that share this node's digits up to a boundary and have the digit after
    /// it: some of their names have the same hash, and have to be told apart.
    Collided(Arc<Node>, u32, u8),
}

impl<C: Core> Iter<C> {
    /// The next entry.
    ///
    /// # Errors
    /// As [`Snapshot::get`]. After one the listing has ended.
    pub async fn next(&mut self) -> Result<Option<Arc<Node>>, CoreError> {
        if self.left == 0 {
            self.stack.clear();
        }
        let next = self.advance().await;
        match &next {
            Ok(Some(_)) => self.left -= 1,
            _ => self.stack.clear(),
        }
        next
    }

    async fn advance(&mut self) -> Result<Option<Arc<Node>>, CoreError> {
        while let Some(step) = self.stack.pop() {
            match step {
                Step::Emit(node) => return Ok(Some(node)),
                Step::Open(node, from) => self.open(node, from),
                Step::Collided(node, position, digit) => self.part(&node, position, digit).await?,
                Step::Fetch(node, slot) => match self.snapshot.node_now(slot.seq)? {
                    Some(child) => self.enter(&node, child, slot)?,
                    None => {
                        self.stack.push(Step::Fetch(node, slot));
                        self.fetch().await?;
                    }
                },
            }
        }
        Ok(None)
    }

    /// Replaces a node by itself and its pointers, in their order. Those from earlier
    /// positions enclose those from later ones.
    fn open(&mut self, node: Arc<Node>, from: u32) {
        let mut end = self.end.min(node.path.len());
        let is_prefix = self.gt && node.path.len() == self.start + 1;
        if !is_prefix && node.table.range(from..end).next().is_none() {
            // Most are leaves.
            self.stack.push(Step::Emit(node));
            return;
        }
        let mut inmost = Step::Emit(node.clone());
        // Several with the node's own digit at a boundary: only its name tells the node
        // from them, and what else is in it is opened once that is done.
        let own = node.table.range(from..end).find(|slot| slot.digit == node.path.digit(slot.position));
        if let Some(slot) = own {
            end = slot.position + 1;
            inmost = Step::Collided(node.clone(), slot.position, slot.digit);
        }
        let reverse = self.reverse;
        let side =
            |slot: &Slot| rank(slot.digit, reverse).cmp(&rank(node.path.digit(slot.position), reverse));

        let slots = node.table.range(from..end);
        let after: Vec<_> = slots.clone().filter(|slot| side(slot).is_gt()).collect();
        for position in after.chunk_by(|a, b| a.position == b.position) {
            self.push(&node, position);
        }
        if !is_prefix || matches!(inmost, Step::Collided(..)) {
            self.stack.push(inmost);
        }
        let before: Vec<_> = slots.filter(|slot| side(slot).is_lt()).collect();
        for position in before.chunk_by(|a, b| a.position == b.position).rev() {
            self.push(&node, position);
        }
    }

    /// Pushes the pointers of one position, on one side of the node's own digit.
    fn push(&mut self, node: &Arc<Node>, slots: &[Slot]) {
        // The last one pushed comes first.
        let mut ranks = [3, 2, 1, 0, END];
        if self.reverse {
            ranks.reverse();
        }
        for digit in ranks {
            let mut same = slots.iter().filter(|slot| slot.digit == digit);
            let Some(slot) = same.next() else { continue };
            if self.gt && slot.position == self.start && digit == END {
                continue;
            }
            self.stack.push(match same.next() {
                None => Step::Fetch(node.clone(), *slot),
                Some(_) => Step::Collided(node.clone(), slot.position, digit),
            });
        }
    }

    fn enter(&mut self, node: &Node, child: Arc<Node>, slot: Slot) -> Result<(), CoreError> {
        if !child.is_reset() {
            belongs(node, &child, slot)?;
            self.stack.push(Step::Open(child, slot.position + 1));
        }
        Ok(())
    }

    /// Tells names with one hash apart, and orders them.
    async fn part(&mut self, node: &Arc<Node>, position: u32, digit: u8) -> Result<(), CoreError> {
        let mut members = Vec::new();
        for seq in node.table.to(position, digit) {
            members.extend(self.snapshot.member(node, position, digit, seq).await?);
        }
        if node.path.digit(position) == digit {
            members.push(node.clone());
        }
        members.sort_by(|a, b| a.path.component_at(position).cmp(&b.path.component_at(position)));
        if members.windows(2).any(|pair| pair[0].path.diverge(&pair[1].path) != Some(position)) {
            return Err(CoreError::Corrupt(format!(
                "block {} points twice to one name at {position}, or to names with different hashes",
                node.seq
            )));
        }
        if !self.reverse {
            members.reverse();
        }
        self.stack.extend(members.into_iter().map(|member| Step::Open(member, position + 1)));
        Ok(())
    }

    /// Fetches the node that is next, and with it some of those that come after.
    async fn fetch(&mut self) -> Result<(), CoreError> {
        let wave = self.wave.min(self.left).max(1);
        self.wave = (self.wave * 2).min(CONCURRENCY);
        let mut ahead = VecDeque::new();
        let mut seqs = Vec::with_capacity(wave);
        while seqs.len() < wave
            && let Some(step) = self.stack.pop()
        {
            match step {
                Step::Open(node, from) => {
                    self.open(node, from);
                    continue;
                }
                Step::Fetch(node, slot) => match self.snapshot.node_now(slot.seq)? {
                    Some(child) => {
                        self.enter(&node, child, slot)?;
                        continue;
                    }
                    None => {
                        seqs.push(slot.seq);
                        ahead.push_back(Step::Fetch(node, slot));
                    }
                },
                other => ahead.push_back(other),
            }
        }
        let mut fetched = self.snapshot.nodes(seqs).await?;
        while let Some(step) = ahead.pop_back() {
            match step {
                Step::Fetch(node, slot) => {
                    let child = fetched.pop();
                    child.map_or(Ok(()), |child| self.enter(&node, child, slot))?;
                }
                other => self.stack.push(other),
            }
        }
        Ok(())
    }
}

/// Where a digit stands in the order of a listing.
fn rank(digit: u8, reverse: bool) -> u8 {
    let rank = (digit + 1) % 5;
    if reverse { 4 - rank } else { rank }
}
