//! Puts packets in order again, and says how much more may come.

use super::packet::MAX_RANGES;
use super::ranges::Ranges;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

/// Packets further ahead than this are not kept: libudx looks no further, either.
const AHEAD: u64 = 1 << 16;
/// What it costs to keep a packet, beside its bytes.
const COST: usize = 96;
/// A peer may exceed the window by a packet or two; a hostile one by no more than this.
const SLACK: usize = 64 << 10;
/// What is kept of an empty buffer.
const KEPT: usize = 64 << 10;

/// What became of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There is no room for it, or it cannot be meant: it will have to come again.
    Refused,
    /// It is here: the sender should know.
    Kept,
}

#[derive(Debug)]
struct Early {
    payload: Box<[u8]>,
    end: bool,
}

/// The receiving half of a stream.
#[derive(Debug)]
pub(super) struct Receiver {
    /// The number of the packet that is waited for.
    next: u64,
    /// In order, to be read.
    ready: VecDeque<u8>,
    /// Packets that came before their turn; which ones, and what they cost.
    early: BTreeMap<u64, Early>,
    received: Ranges,
    /// The last of them.
    latest: u64,
    charge: usize,
    limit: usize,
    ended: bool,
    /// Nobody reads any more.
    discarding: bool,
    /// The window that the peer was last told.
    told: u32,
}

impl Receiver {
    pub(super) fn new(next: u64, limit: u32) -> Self {
        Self {
            next,
            ready: VecDeque::new(),
            early: BTreeMap::new(),
            received: Ranges::default(),
            latest: 0,
            charge: 0,
            limit: limit as usize,
            ended: false,
            discarding: false,
            told: limit,
        }
    }

    /// A packet of data, or the end, or both.
    pub(super) fn insert(&mut self, seq: u64, payload: &[u8], end: bool) -> Outcome {
        if seq < self.next || self.ended {
            return Outcome::Kept;
        }
        let held = self.ready.len() + self.charge;
        if seq == self.next {
            if held + payload.len() > self.limit + SLACK {
                return Outcome::Refused;
            }
            self.take(payload, end);
            self.take_early();
            return Outcome::Kept;
        }
        // One that was missing for long is worth more than one that is early.
        let cost = payload.len() + COST;
        if seq - self.next > AHEAD || held + cost > self.limit {
            return Outcome::Refused;
        }
        self.latest = seq;
        let mut new = false;
        self.received.insert(seq..seq + 1, |_| new = true);
        if new {
            self.charge += cost;
            self.early.insert(seq, Early { payload: payload.into(), end });
        }
        Outcome::Kept
    }

    fn take(&mut self, payload: &[u8], end: bool) {
        self.next += 1;
        self.ended = end;
        if !self.discarding {
            self.ready.extend(payload);
        }
    }

    fn take_early(&mut self) {
        while !self.ended
            && let Some(entry) = self.early.first_entry()
            && *entry.key() == self.next
        {
            let early = entry.remove();
            self.charge -= early.payload.len() + COST;
            self.take(&early.payload, early.end);
        }
        self.received.forget_below(self.next);
        if self.ended {
            // Nothing can come after the end.
            self.early.clear();
            self.received.clear();
            self.charge = 0;
        }
    }

    /// The number of the packet that is waited for.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Everything has come.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// What came early: the lowest ranges, as many as fit a packet. If these are not all,
    /// then the last is the one of the packet that came last, since the other side measures
    /// by when it hears of a packet.
    pub(super) fn early(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut lowest = self.received.iter().take(MAX_RANGES).collect::<Vec<_>>();
        if lowest.len() == MAX_RANGES
            && let Some(latest) = self.received.around(self.latest)
            && let Some(last) = lowest.last_mut().filter(|last| last.start < latest.start)
        {
            *last = latest;
        }
        lowest.into_iter()
    }

    pub(super) fn readable(&self) -> usize {
        self.ready.len()
    }

    /// Takes bytes that are in order. Tells whether the peer should know that there is room
    /// again.
    pub(super) fn read(&mut self, mut into: &mut [u8]) -> (usize, bool) {
        let mut read = 0;
        let (one, two) = self.ready.as_slices();
        for from in [one, two] {
            let count = from.len().min(into.len());
            let (now, later) = into.split_at_mut(count);
            now.copy_from_slice(&from[..count]);
            into = later;
            read += count;
        }
        self.ready.drain(..read);
        if self.ready.is_empty() && self.ready.capacity() > KEPT {
            self.ready = VecDeque::new();
        }
        (read, self.has_reopened())
    }

    /// The peer may be waiting for room, and there is some.
    fn has_reopened(&self) -> bool {
        let told = self.told as usize;
        !self.ended && told < self.limit / 4 && self.window() as usize > told.max(self.limit / 2)
    }

    /// From now on, nothing is kept.
    pub(super) fn discard(&mut self) -> bool {
        self.discarding = true;
        self.ready = VecDeque::new();
        self.has_reopened()
    }

    /// Packets that nothing can complete any more.
    pub(super) fn forget_early(&mut self) {
        self.early.clear();
        self.received.clear();
        self.charge = 0;
    }

    pub(super) fn window(&self) -> u32 {
        let held = self.ready.len() + self.charge;
        u32::try_from(self.limit.saturating_sub(held)).unwrap_or(u32::MAX)
    }

    /// The window, which the peer is told now.
    pub(super) fn tell_window(&mut self) -> u32 {
        self.told = self.window();
        self.told
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.ready.len() + self.early.values().map(|early| early.payload.len() + COST).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn payload(seq: u64) -> Vec<u8> {
        vec![seq as u8; (seq % 7) as usize]
    }

    proptest! {
        #[test]
        fn whatever_the_order_it_comes_out_right(mut order in prop::collection::vec(0..40u64, 0..200), start: u32) {
            let start = u64::from(start);
            let mut receiver = Receiver::new(start, 1 << 20);
            order.extend(0..40);
            for seq in order {
                prop_assert_eq!(receiver.insert(start + seq, &payload(seq), seq == 39), Outcome::Kept);
                prop_assert!(receiver.early().all(|range| range.start > receiver.next()));
                prop_assert_eq!(receiver.window() as usize, (1 << 20) - receiver.held());
            }
            let mut read = vec![0; 1000];
            let (count, _) = receiver.read(&mut read);
            let expected: Vec<u8> = (0..40).flat_map(payload).collect();
            prop_assert_eq!(&read[..count], &expected[..]);
            prop_assert!(receiver.ended() && receiver.held() == 0);
        }

        #[test]
        fn nobody_fills_the_memory(packets in prop::collection::vec((0..100_000u64, 0..1500usize, any::<bool>()), 0..300)) {
            let limit = 20_000;
            let mut receiver = Receiver::new(5, limit);
            for (seq, size, discard) in packets {
                if discard && seq == 0 {
                    receiver.discard();
                }
                receiver.insert(seq, &vec![0; size], seq % 1000 == 999);
                prop_assert!(receiver.held() <= limit as usize + SLACK);
            }
        }
    }

    #[test]
    fn the_range_of_the_latest_is_always_told() {
        let mut receiver = Receiver::new(0, 1 << 20);
        let mut expected = Vec::new();
        for seq in (1..400).step_by(2) {
            receiver.insert(seq, b"x", false);
            expected.push(seq..seq + 1);
            let mut told = expected.clone();
            if told.len() > MAX_RANGES {
                told.drain(MAX_RANGES - 1..told.len() - 1);
            }
            assert!(receiver.early().eq(told));
        }
        receiver.insert(3, b"x", false);
        assert_eq!(receiver.early().last(), Some(99..100));
    }

    #[test]
    fn a_window_that_was_shut_opens_again() {
        let mut receiver = Receiver::new(0, 4000);
        for seq in 0..4 {
            assert_eq!(receiver.insert(seq, &[1; 1000], false), Outcome::Kept);
        }
        assert_eq!(receiver.tell_window(), 0);
        assert_eq!(receiver.read(&mut [0; 1000]), (1000, false));
        assert_eq!(receiver.read(&mut [0; 1001]), (1001, true));
        assert_eq!(receiver.tell_window(), 2001);
        assert_eq!(receiver.read(&mut [0; 4000]), (1999, false));
    }
}
