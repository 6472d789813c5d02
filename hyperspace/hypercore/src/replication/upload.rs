//! Giving peers what they ask for.
//!
//! What one peer asks about one core waits in an [`UploadQueue`] until there is room on its
//! connection; [`answer`] then reads it straight from storage. Whoever drives this takes from
//! the queues of all peers in turn.
//!
//! What a peer asks for need not be blocks: an extension may be asked which blocks somebody
//! is about to need, and then [gives](UploadQueue::give) them along, which spares a round trip.

use super::replicator::Work;
use super::wants;
use super::wire::{Bitfield, DataMessage, Message, NoData, Range, Reason, RequestMessage, Want};
use crate::core::{LocalCore, NotServed};
use crate::flat_tree;
use crate::merkle::proof::{BlockRequest, Proof, Request, UpgradeRequest};
use std::collections::{HashSet, VecDeque};

/// What may wait for one peer of one core. Twice what any known peer asks for at a time.
pub const MAX_QUEUED: usize = 2048;

/// What is remembered of what a peer was given unasked: blocks, and nodes.
const MAX_GIVEN: usize = 16_384;

/// What one peer asks about one core, the urgent first.
#[derive(Debug, Default)]
pub struct UploadQueue {
    urgent: VecDeque<RequestMessage>,
    normal: VecDeque<RequestMessage>,
    wants: VecDeque<Want>,
    gifts: VecDeque<u64>,
    given: Given,
    /// The block with which a peer that has nothing yet is given the tree.
    introduction: Option<u64>,
    introduced: bool,
    pushes: VecDeque<(u64, u64)>,
}

/// What a peer was given unasked, so that nothing is given twice.
#[derive(Debug, Default)]
struct Given {
    fork: u64,
    /// The peer's length, as far as it told us.
    length: u64,
    blocks: HashSet<u64>,
    /// Nodes that it has since.
    nodes: HashSet<u64>,
}

impl Given {
    /// Notes that a block is given; how many nodes above it prove it. `None` if it was given
    /// before.
    fn take(&mut self, index: u64) -> Option<u64> {
        let root = flat_tree::full_roots(self.length).find(|root| flat_tree::contains(*root, 2 * index))?;
        if !self.blocks.insert(index) {
            return None;
        }
        let (mut at, mut levels) = (2 * index, 0);
        while at != root && self.nodes.insert(at) {
            self.nodes.insert(flat_tree::sibling(at));
            at = flat_tree::parent(at);
            levels += 1;
        }
        if self.blocks.len().max(self.nodes.len()) > MAX_GIVEN {
            *self = Self { fork: self.fork, length: self.length, ..Self::default() };
        }
        Some(levels)
    }
}

/// A peer asks faster than anybody could answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer asks for more than {MAX_QUEUED} things at a time")]
pub struct Flooded;

impl UploadQueue {
    /// How much waits.
    pub fn len(&self) -> usize {
        self.urgent.len()
            + self.normal.len()
            + self.wants.len()
            + self.gifts.len()
            + self.pushes.len()
            + usize::from(self.introduction.is_some())
    }

    /// Does nothing wait?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds what a peer asks, or takes out what it no longer wants.
    pub fn push(&mut self, work: Work) -> Result<(), Flooded> {
        if let Work::Cancel(id) = work {
            self.urgent.retain(|request| request.id != id);
            self.normal.retain(|request| request.id != id);
            return Ok(());
        }
        if self.len() >= MAX_QUEUED {
            // That we want to give more is not its fault.
            let ours = matches!(work, Work::Push { .. } | Work::Give { .. });
            return if ours { Ok(()) } else { Err(Flooded) };
        }
        match work {
            Work::Request(request) if request.priority > 0 => self.urgent.push_back(request),
            Work::Request(request) => self.normal.push_back(request),
            Work::Want(want) if !self.wants.contains(&want) => self.wants.push_back(want),
            Work::Push { index, length } => self.pushes.push_back((index, length)),
            Work::Give { index, .. } => self.gifts.push_back(index),
            Work::Want(_) | Work::Cancel(_) => {}
        }
        Ok(())
    }

    /// Takes back a request that cannot be answered yet: it is the next again.
    pub fn put_back(&mut self, work: Work) {
        match work {
            Work::Request(request) if request.priority > 0 => self.urgent.push_front(request),
            Work::Request(request) => self.normal.push_front(request),
            Work::Want(_) | Work::Push { .. } | Work::Give { .. } | Work::Cancel(_) => {}
        }
    }

    /// Gives a block to a peer that has a core of that fork and length, and has said that it
    /// takes what we think it needs; unless it was given before, or too much waits.
    pub fn give(&mut self, fork: u64, length: u64, block: u64) {
        if self.given.fork != fork {
            self.given = Given { fork, ..Given::default() };
            self.gifts.clear();
        }
        self.given.length = length;
        if self.len() < MAX_QUEUED && !self.given.blocks.contains(&block) {
            self.gifts.push_back(block);
        }
    }

    /// Gives a block to a peer that has nothing yet, and with the first one the tree.
    pub fn give_all(&mut self, fork: u64, length: u64, block: u64) {
        if std::mem::replace(&mut self.introduced, true) {
            return self.give(fork, length, block);
        }
        self.given = Given { fork, length, ..Given::default() };
        self.given.blocks.insert(block);
        self.introduction = Some(block);
    }

    fn pop_gift(&mut self) -> Option<Work> {
        if let Some(index) = self.introduction.take() {
            return Some(Work::Push { index, length: 0 });
        }
        while let Some(index) = self.gifts.pop_front() {
            if let Some(nodes) = self.given.take(index) {
                return Some(Work::Give { index, fork: self.given.fork, nodes });
            }
        }
        None
    }

    /// What is to be answered next.
    pub fn pop(&mut self) -> Option<Work> {
        self.urgent
            .pop_front()
            .map(Work::Request)
            .or_else(|| self.wants.pop_front().map(Work::Want))
            .or_else(|| self.pop_gift())
            .or_else(|| self.normal.pop_front().map(Work::Request))
            .or_else(|| self.pushes.pop_front().map(|(index, length)| Work::Push { index, length }))
    }
}

/// The answer to what a peer asks, from storage. `None` if there is nothing to say.
pub fn answer(core: &LocalCore, work: &Work) -> Option<Message> {
    match work {
        Work::Request(request) => Some(answer_request(core, request)),
        Work::Want(want) => answer_want(core, want),
        Work::Push { index, length } => push(core, *index, *length),
        Work::Give { index, fork, nodes } => give(core, *index, *fork, *nodes),
        Work::Cancel(_) => None,
    }
}

fn answer_request(core: &LocalCore, message: &RequestMessage) -> Message {
    let no_data = |reason| Message::NoData(NoData { request: message.id, reason });
    // Who asks about another history than ours has not heard of the newer one yet. No reason is
    // given: a peer of hypercore 11 that hears of 32 would never ask us anything again.
    let served = match core.served() {
        Ok(Some(served)) if served.tree.fork() == message.fork => served,
        Ok(_) => return no_data(Reason::Unknown),
        Err(_) => return no_data(Reason::NotAvailable),
    };
    let manifest =
        if message.manifest { core.shared().authority().verifier.manifest().cloned() } else { None };
    let proof = if message.request == Request::default() {
        // Only the manifest is asked for.
        Ok(Proof { fork: message.fork, ..Proof::default() })
    } else if served.tree.length() == 0 {
        Err(NotServed::NotAvailable)
    } else {
        core.prove(&served, &message.request)
    };
    let proof = match proof {
        Ok(proof) => proof,
        Err(NotServed::NotAvailable) if manifest.is_some() => {
            Proof { fork: message.fork, ..Proof::default() }
        }
        Err(NotServed::NotAvailable) => return no_data(Reason::NotAvailable),
        Err(NotServed::Invalid) => return no_data(Reason::InvalidRequest),
    };
    Message::Data(Box::new(DataMessage { request: message.id, proof, manifest }))
}

/// A block that nobody asked for, with what makes it proven to a peer of that length.
fn push(core: &LocalCore, index: u64, length: u64) -> Option<Message> {
    let served = core.served().ok().flatten()?;
    let ours = served.tree.length();
    let root = flat_tree::full_roots(length.min(ours)).find(|root| flat_tree::contains(*root, 2 * index));
    let nodes = root.map_or(0, |root| u64::from(flat_tree::depth(root)));
    let upgrade = match root {
        Some(_) => None,
        None => Some(UpgradeRequest { start: length, length: ours.checked_sub(length)? }),
    };
    let request = Request { block: Some(BlockRequest { index, nodes }), upgrade, ..Request::default() };
    let proof = core.prove(&served, &request).ok()?;
    let manifest = if length == 0 { core.shared().authority().verifier.manifest().cloned() } else { None };
    Some(Message::Data(Box::new(DataMessage { request: 0, proof, manifest })))
}

/// A block that was not asked for by its number.
fn give(core: &LocalCore, index: u64, fork: u64, nodes: u64) -> Option<Message> {
    let served = core.served().ok().flatten().filter(|served| served.tree.fork() == fork)?;
    let request = Request { block: Some(BlockRequest { index, nodes }), ..Request::default() };
    let proof = core.prove(&served, &request).ok()?;
    Some(Message::Data(Box::new(DataMessage { request: 0, proof, manifest: None })))
}

fn answer_want(core: &LocalCore, want: &Want) -> Option<Message> {
    let length = core.served().ok().flatten()?.tree.length();
    let end = want.start.saturating_add(want.length.min(wants::MAX_LENGTH));
    let contiguous = core.contiguous_length().min(length);
    if contiguous == length || end <= contiguous || (want.any && want.start < contiguous) {
        return Some(Message::Range(Range { drop: false, start: 0, length: contiguous }));
    }
    if want.any {
        let (start, _) = core.held_run(want.start, end.min(length))?;
        return Some(Message::Range(Range { drop: false, start, length: 1 }));
    }
    let start = want.start / 32 * 32;
    let end = end.min(length).max(start);
    let mut words = core.shared().tail.read().held.words(start, (end - start).div_ceil(32) as usize);
    if let (Some(last), rest @ 1..) = (words.last_mut(), end % 32) {
        // What is not served yet does not show.
        *last &= u32::MAX >> (32 - rest);
    }
    // Bits that are left out are zeros; one word at least says that there is nothing.
    let used = words.iter().rposition(|word| *word != 0).map_or(1, |last| last + 1);
    words.resize(used, 0);
    Some(Message::Bitfield(Bitfield { start, words }))
}

/// The size of the block that a message brings.
pub fn block_of(message: &Message) -> Option<(u64, u64)> {
    match message {
        Message::Data(data) => data.proof.block.as_ref().map(|block| (block.index, block.value.len() as u64)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(id: u64, priority: u64) -> Work {
        Work::Request(RequestMessage { id, priority, ..RequestMessage::default() })
    }

    #[test]
    fn urgent_first_cancelled_never_and_no_more_than_fits() {
        let mut queue = UploadQueue::default();
        for id in 1..=4 {
            queue.push(request(id, id % 2)).unwrap();
        }
        queue.push(Work::Cancel(3)).unwrap();
        queue.push(Work::Cancel(99)).unwrap();
        let order: Vec<Work> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [request(1, 1), request(2, 0), request(4, 0)]);
        for id in 0..MAX_QUEUED as u64 {
            queue.push(request(id, 0)).unwrap();
        }
        assert_eq!(queue.push(request(0, 0)), Err(Flooded));
        assert_eq!(queue.push(Work::Cancel(7)), Ok(()));
        assert_eq!(queue.push(request(0, 0)), Ok(()));
    }
}
