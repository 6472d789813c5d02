//! Which blocks a peer has, as far as it told us.
//!
//! A peer has everything below its contiguous length. Beyond that we only know pages of
//! 32,768 blocks, and only those we asked about, so that the length of a core costs nothing.
//! At most [`MAX_PAGES`] pages of a peer are remembered (4 KiB each); what a peer says of
//! more is forgotten, oldest first.

use super::wire;
use crate::storage::bitfield::{PAGE_BITS, Page, WORDS, masks};
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

/// Pages of one peer that are remembered.
pub const MAX_PAGES: usize = 128;

/// Pages about which a peer is asked at a time.
pub const MAX_ASKED: usize = 8;

/// What is known about a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Has {
    /// The peer has it.
    Yes,
    /// It has it not.
    No,
    /// It did not say.
    Unknown,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct RemoteHave {
    contiguous: u64,
    pages: BTreeMap<u64, Known>,
    clock: u64,
    asked: usize,
}

#[derive(Debug)]
struct Known {
    bits: Page,
    state: State,
    used: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Some bits were told; those that are not set mean nothing.
    Hearsay,
    /// We asked at that time.
    Asked(Instant),
    /// All bits are known.
    Told,
}

impl RemoteHave {
    /// Every block below this one is there.
    pub fn contiguous(&self) -> u64 {
        self.contiguous
    }

    /// Does the peer have that block?
    pub fn get(&self, index: u64) -> Has {
        if index < self.contiguous {
            return Has::Yes;
        }
        match self.pages.get(&(index / PAGE_BITS)) {
            Some(known) if bit(&known.bits, index % PAGE_BITS) => Has::Yes,
            Some(known) if known.state == State::Told => Has::No,
            _ => Has::Unknown,
        }
    }

    /// The first block of `range` that the peer has, or of which we do not know.
    pub fn next(&self, range: Range<u64>) -> Option<(u64, Has)> {
        let mut at = range.start;
        while at < range.end {
            if at < self.contiguous {
                return Some((at, Has::Yes));
            }
            let number = at / PAGE_BITS;
            let end = ((number + 1) * PAGE_BITS).min(range.end);
            let Some(known) = self.pages.get(&number) else { return Some((at, Has::Unknown)) };
            if let Some(found) = first_set(&known.bits, at % PAGE_BITS, end - number * PAGE_BITS) {
                return Some((number * PAGE_BITS + found, Has::Yes));
            }
            if known.state != State::Told {
                return Some((at, Has::Unknown));
            }
            at = end;
        }
        None
    }

    /// Is an answer about the block's page on its way?
    pub fn is_asked(&self, index: u64) -> bool {
        self.pages.get(&(index / PAGE_BITS)).is_some_and(|known| matches!(known.state, State::Asked(_)))
    }

    /// Notes that the peer is asked about the block's page, and gives the message; `None` if
    /// that was done, or has to wait. Pages that are forgotten for it are taken back.
    pub fn ask(&mut self, now: Instant, index: u64, out: &mut Vec<wire::Message>) -> bool {
        let number = index / PAGE_BITS;
        match self.pages.get(&number).map(|known| known.state) {
            Some(State::Asked(_) | State::Told) => return false,
            _ if self.asked >= MAX_ASKED => return false,
            _ => {}
        }
        let clock = self.tick();
        let known = self.pages.entry(number).or_insert_with(Known::empty);
        (known.state, known.used) = (State::Asked(now), clock);
        self.asked += 1;
        out.push(wire::Message::Want(want(number)));
        self.shrink(Some(number), out);
        true
    }

    /// Peers do not answer at all when they have nothing in a page: those asked before
    /// `then` will not. Tells if there were any.
    pub fn give_up(&mut self, then: Instant) -> bool {
        if self.asked == 0 {
            return false;
        }
        let mut any = false;
        for known in self.pages.values_mut() {
            if matches!(known.state, State::Asked(at) if at <= then) {
                known.state = State::Told;
                self.asked -= 1;
                any = true;
            }
        }
        any
    }

    /// When the oldest question was asked that has no answer.
    pub fn oldest_question(&self) -> Option<Instant> {
        if self.asked == 0 {
            return None;
        }
        self.pages
            .values()
            .filter_map(|known| match known.state {
                State::Asked(at) => Some(at),
                _ => None,
            })
            .min()
    }

    /// The peer turned out not to have a block.
    pub fn lacks(&mut self, index: u64) {
        if index < self.contiguous {
            self.cut(index);
        }
        if let Some(known) = self.pages.get_mut(&(index / PAGE_BITS)) {
            let at = index % PAGE_BITS;
            known.bits.put(at..at + 1, false);
        }
    }

    /// The peer told of a range.
    pub fn range(&mut self, range: &wire::Range) {
        let end = range.end();
        if range.drop {
            if range.start < self.contiguous && range.length > 0 {
                self.cut(range.start);
            }
            for (number, known) in self.pages.range_mut(range.start / PAGE_BITS..=end / PAGE_BITS) {
                if let Some(bits) = within(*number, range.start..end) {
                    known.bits.put(bits, false);
                }
            }
        } else if range.start <= self.contiguous {
            self.extend(end);
        } else if range.length > 0 {
            self.set(range.start..end);
        }
        self.shrink(None, &mut Vec::new());
    }

    /// The peer told of bits, which are the truth.
    pub fn bitfield(&mut self, bitfield: &wire::Bitfield) {
        // Bits of a page's middle would be of no use: nobody asks for those.
        let (mut number, offset) = (bitfield.start / PAGE_BITS, bitfield.start % PAGE_BITS);
        if self.contiguous > bitfield.start {
            self.contiguous = bitfield.start;
        }
        if offset != 0 {
            let last = (bitfield.start + 32 * bitfield.words.len() as u64) / PAGE_BITS;
            let hit: Vec<u64> = self.pages.range(number..=last).map(|(number, _)| *number).collect();
            for number in hit {
                self.remove(number);
            }
            return;
        }
        for words in bitfield.words.chunks(2 * WORDS).take(MAX_PAGES) {
            let mut bits = Box::new([0u64; WORDS]);
            for (at, word) in words.iter().enumerate() {
                bits[at / 2] |= u64::from(*word) << (32 * (at % 2));
            }
            self.told(number, bits);
            if words.len() < 2 * WORDS && number > bitfield.start / PAGE_BITS {
                // Not all of a page that may not be what was asked for.
                if let Some(known) = self.pages.get_mut(&number) {
                    known.state = State::Hearsay;
                }
            }
            number += 1;
        }
        if bitfield.words.is_empty() {
            self.told(number, Box::new([0; WORDS]));
        }
        self.shrink(None, &mut Vec::new());
    }

    fn told(&mut self, number: u64, bits: Box<[u64; WORDS]>) {
        let bits = if bits.iter().all(|word| *word == u64::MAX) { Page::Full } else { Page::Bits(bits) };
        let used = self.tick();
        let old = self.pages.insert(number, Known { bits, state: State::Told, used });
        if old.is_some_and(|old| matches!(old.state, State::Asked(_))) {
            self.asked -= 1;
        }
    }

    /// The peer's core is only that long now.
    pub fn truncate(&mut self, length: u64) {
        self.contiguous = self.contiguous.min(length);
        let first = length / PAGE_BITS;
        for (number, known) in self.pages.range_mut(first..) {
            if let Some(bits) = within(*number, length..u64::MAX) {
                known.bits.put(bits, false);
            }
        }
    }

    fn extend(&mut self, end: u64) {
        if end <= self.contiguous {
            return;
        }
        self.contiguous = end;
        // What was known below says less than that.
        while let Some((number, _)) = self.pages.first_key_value() {
            let number = *number;
            if (number + 1) * PAGE_BITS > end {
                if let (Some(known), Some(bits)) = (self.pages.get_mut(&number), within(number, 0..end)) {
                    known.bits.put(bits, true);
                }
                break;
            }
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) -> Option<State> {
        let state = self.pages.remove(&number)?.state;
        self.asked -= usize::from(matches!(state, State::Asked(_)));
        Some(state)
    }

    fn cut(&mut self, at: u64) {
        let contiguous = std::mem::replace(&mut self.contiguous, at);
        // The page around the gap is known; what lies further on has to be asked for again.
        let number = at / PAGE_BITS;
        let end = ((number + 1) * PAGE_BITS).min(contiguous);
        if at + 1 < end {
            self.set(at + 1..end);
        }
    }

    fn set(&mut self, range: Range<u64>) {
        let first = range.start / PAGE_BITS;
        let last = (range.end - 1) / PAGE_BITS;
        let used = self.tick();
        for number in first..=last.min(first + MAX_PAGES as u64) {
            let Some(bits) = within(number, range.clone()) else { break };
            let known = self.pages.entry(number).or_insert_with(Known::empty);
            known.bits.put(bits, true);
            known.used = used;
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Forgets the pages that were of use longest ago.
    fn shrink(&mut self, keep: Option<u64>, out: &mut Vec<wire::Message>) {
        while self.pages.len() > MAX_PAGES {
            let oldest = self
                .pages
                .iter()
                .filter(|(number, _)| Some(**number) != keep)
                .min_by_key(|(_, known)| (known.state != State::Hearsay, known.used))
                .map(|(number, _)| *number);
            let Some(number) = oldest else { return };
            if self.remove(number).is_some_and(|state| state != State::Hearsay) {
                out.push(wire::Message::Unwant(want(number)));
            }
        }
    }
}

impl Known {
    fn empty() -> Self {
        Self { bits: Page::empty(), state: State::Hearsay, used: 0 }
    }
}

fn want(number: u64) -> wire::Want {
    wire::Want { start: number * PAGE_BITS, length: PAGE_BITS, any: false }
}

/// The part of `range` that lies in a page, as bits of it.
fn within(number: u64, range: Range<u64>) -> Option<Range<u64>> {
    let base = number * PAGE_BITS;
    let bits = range.start.saturating_sub(base)..range.end.saturating_sub(base).min(PAGE_BITS);
    (bits.start < bits.end).then_some(bits)
}

fn bit(page: &Page, at: u64) -> bool {
    page.word((at / 64) as usize) >> (at % 64) & 1 == 1
}

fn first_set(page: &Page, from: u64, to: u64) -> Option<u64> {
    if from >= to {
        return None;
    }
    masks(from..to).find_map(|(at, mask)| {
        let found = page.word(at) & mask;
        (found != 0).then(|| at as u64 * 64 + u64::from(found.trailing_zeros()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const SPACE: u64 = 3 * PAGE_BITS;

    #[derive(Clone, Debug)]
    enum Say {
        Range(bool, u64, u64),
        Page(u64, Vec<u32>),
        Lacks(u64),
    }

    fn say() -> impl Strategy<Value = Say> {
        let edge = prop_oneof![0..SPACE, 0..100u64, Just(PAGE_BITS), Just(PAGE_BITS - 1)];
        prop_oneof![
            (any::<bool>(), edge.clone(), 0..70_000u64)
                .prop_map(|(drop, start, length)| Say::Range(drop, start, length)),
            (0..3u64, prop::collection::vec(any::<u32>(), 0..1200))
                .prop_map(|(page, words)| Say::Page(page, words)),
            edge.prop_map(Say::Lacks),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Whatever is said, a yes is only given for what was said last.
        #[test]
        fn never_claims_what_was_not_said(says in prop::collection::vec(say(), 1..12)) {
            let mut have = RemoteHave::default();
            let mut truth: BTreeSet<u64> = BTreeSet::new();
            for say in says {
                match say {
                    Say::Range(drop, start, length) => {
                        let length = length.min(SPACE - start);
                        have.range(&wire::Range { drop, start, length });
                        for index in start..start + length {
                            if drop { truth.remove(&index); } else { truth.insert(index); }
                        }
                    }
                    Say::Page(page, words) => {
                        for bit in 0..PAGE_BITS.max(32 * words.len() as u64) {
                            let word = words.get(bit as usize / 32).copied().unwrap_or(0);
                            let index = page * PAGE_BITS + bit;
                            if index >= SPACE { break; }
                            if word >> (bit % 32) & 1 == 1 { truth.insert(index); } else { truth.remove(&index); }
                        }
                        let words = words[..words.len().min((SPACE - page * PAGE_BITS) as usize / 32)].to_vec();
                        have.bitfield(&wire::Bitfield { start: page * PAGE_BITS, words });
                    }
                    Say::Lacks(index) => {
                        have.lacks(index);
                        truth.remove(&index);
                    }
                }
            }
            let mut at = 0;
            while let Some((index, has)) = have.next(at..SPACE) {
                prop_assert!(index >= at);
                prop_assert_eq!(have.get(index), has);
                if has == Has::Yes {
                    prop_assert!(truth.contains(&index), "{}", index);
                }
                at = index + 1 + index % 997;
            }
            for index in truth.iter().step_by(1013) {
                prop_assert!(have.get(*index) != Has::No, "{}", index);
            }
        }
    }

    #[test]
    fn what_a_stranger_says_is_bounded() {
        let mut have = RemoteHave::default();
        for at in 0..5000u64 {
            have.range(&wire::Range { drop: false, start: (at + 1) << 38, length: 1 << 50 });
        }
        assert!(have.pages.len() <= MAX_PAGES);
        have.range(&wire::Range { drop: false, start: 0, length: 1 << 53 });
        assert_eq!(have.get(1 << 50), Has::Yes);
        have.range(&wire::Range { drop: true, start: 7, length: 1 << 50 });
        assert_eq!(have.get(1 << 49), Has::Unknown);
        assert_eq!((have.get(6), have.get(7)), (Has::Yes, Has::Unknown));
    }

    #[test]
    fn a_page_is_asked_for_once() {
        let now = Instant::now();
        let (mut have, mut out) = (RemoteHave::default(), Vec::new());
        assert!(have.ask(now, 40_000, &mut out) && !have.ask(now, 40_001, &mut out));
        assert_eq!(out, [wire::Message::Want(wire::Want { start: 32_768, length: 32_768, any: false })]);
        assert_eq!(have.get(40_000), Has::Unknown);
        have.bitfield(&wire::Bitfield { start: 32_768, words: vec![2] });
        assert_eq!(have.next(32_768..98_304), Some((32_769, Has::Yes)));
        assert_eq!(have.next(32_770..98_304), Some((65_536, Has::Unknown)));
        // Who has nothing there does not answer.
        assert!(have.ask(now, 65_536, &mut out));
        assert!(have.give_up(now));
        assert_eq!(have.next(32_770..98_304), None);
    }
}
