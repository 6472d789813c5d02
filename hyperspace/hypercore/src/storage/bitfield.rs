//! Which blocks of a core are held.
//!
//! Most cores are held from the start to some block without a gap, which one number
//! tells. What is held beyond it is in pages of 32,768 bits; a page that is full or empty
//! takes no memory to speak of.

use super::StoreError;
use crate::encoding::{Reader, Writer};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Bits in a page.
pub const PAGE_BITS: u64 = 32_768;
pub(crate) const WORDS: usize = (PAGE_BITS / 64) as usize;

/// Some of a core's blocks.
#[derive(Clone, Debug, Default)]
pub struct Bitfield {
    contiguous: u64,
    /// Bits from `contiguous` on; those below it mean nothing.
    pages: BTreeMap<u64, Page>,
    /// Pages that differ from what was loaded.
    touched: BTreeSet<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Full,
    Bits(Box<[u64; WORDS]>),
}

impl Page {
    pub(crate) fn empty() -> Self {
        Self::Bits(Box::new([0; WORDS]))
    }

    pub(crate) fn word(&self, at: usize) -> u64 {
        match self {
            Self::Full => u64::MAX,
            Self::Bits(words) => words[at],
        }
    }

    pub(crate) fn put(&mut self, bits: Range<u64>, value: bool) {
        if bits == (0..PAGE_BITS) {
            *self = if value { Self::Full } else { Self::empty() };
            return;
        }
        if let Self::Full = self {
            if value {
                return;
            }
            *self = Self::Bits(Box::new([u64::MAX; WORDS]));
        }
        let Self::Bits(words) = self else { return };
        for (at, mask) in masks(bits) {
            if value { words[at] |= mask } else { words[at] &= !mask }
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Bits(words) if words.iter().all(|word| *word == 0))
    }
}

/// The words of a page that a range of its bits touches, each with the bits in question.
pub(crate) fn masks(bits: Range<u64>) -> impl Iterator<Item = (usize, u64)> {
    (bits.start / 64..bits.end.div_ceil(64)).map(move |word| {
        let from = bits.start.saturating_sub(word * 64);
        let to = (bits.end - word * 64).min(64);
        let mask = if to - from == 64 { u64::MAX } else { ((1 << (to - from)) - 1) << from };
        (word as usize, mask)
    })
}

/// A range cut at page borders: the page, and the bits in it.
fn by_page(range: Range<u64>) -> impl Iterator<Item = (u64, Range<u64>)> {
    (range.start / PAGE_BITS..range.end.div_ceil(PAGE_BITS)).map(move |page| {
        let base = page * PAGE_BITS;
        (page, range.start.saturating_sub(base)..(range.end - base).min(PAGE_BITS))
    })
}

impl Bitfield {
    /// Every block below this one is held.
    pub fn contiguous(&self) -> u64 {
        self.contiguous
    }

    /// Is block `index` held?
    pub fn get(&self, index: u64) -> bool {
        index < self.contiguous
            || self.pages.get(&(index / PAGE_BITS)).is_some_and(|page| {
                let bit = index % PAGE_BITS;
                page.word((bit / 64) as usize) >> (bit % 64) & 1 == 1
            })
    }

    /// How many of the blocks are held.
    pub fn count(&self, range: Range<u64>) -> u64 {
        let low = range.end.min(self.contiguous).saturating_sub(range.start);
        let start = range.start.max(self.contiguous);
        if start >= range.end {
            return low;
        }
        let (first, last) = (start / PAGE_BITS, (range.end - 1) / PAGE_BITS);
        let high: u64 = self
            .pages
            .range(first..=last)
            .map(|(number, page)| {
                let base = number * PAGE_BITS;
                let bits = start.saturating_sub(base)..(range.end - base).min(PAGE_BITS);
                masks(bits).map(|(at, mask)| u64::from((page.word(at) & mask).count_ones())).sum::<u64>()
            })
            .sum();
        low + high
    }

    /// The first block of `range` that is held (`value`) or missing.
    pub fn find(&self, range: Range<u64>, value: bool) -> Option<u64> {
        let mut at = range.start;
        if at < self.contiguous && at < range.end {
            if value {
                return Some(at);
            }
            at = self.contiguous;
        }
        while at < range.end {
            let number = at / PAGE_BITS;
            let Some(page) = self.pages.get(&number) else {
                if !value {
                    return Some(at);
                }
                let next = self.pages.range(number..).next().map(|(next, _)| next * PAGE_BITS)?;
                at = next;
                continue;
            };
            let base = number * PAGE_BITS;
            let bits = at - base..(range.end - base).min(PAGE_BITS);
            for (word, mask) in masks(bits) {
                let found = if value { page.word(word) } else { !page.word(word) } & mask;
                if found != 0 {
                    return Some(base + word as u64 * 64 + u64::from(found.trailing_zeros()));
                }
            }
            at = base + PAGE_BITS;
        }
        None
    }

    /// `count` words of 32 bits, lowest first, from block `start` (a multiple of 32) on.
    pub fn words(&self, start: u64, count: usize) -> Vec<u32> {
        (0..count as u64)
            .map(|at| {
                let first = start + 32 * at;
                let below = self.contiguous.saturating_sub(first).min(32) as u32;
                let held = u32::MAX.checked_shr(32 - below).unwrap_or(0);
                match self.pages.get(&(first / PAGE_BITS)) {
                    // Bits below the mark mean nothing.
                    Some(page) if below < 32 => {
                        let bit = first % PAGE_BITS;
                        held | ((page.word((bit / 64) as usize) >> (bit % 64)) as u32 & !held)
                    }
                    _ => held,
                }
            })
            .collect()
    }

    /// Marks blocks as held.
    pub fn set(&mut self, range: Range<u64>) {
        if range.end <= self.contiguous || range.is_empty() {
            return;
        }
        if range.start > self.contiguous {
            for (number, bits) in by_page(range) {
                self.pages.entry(number).or_insert_with(Page::empty).put(bits, true);
                self.touched.insert(number);
            }
            return;
        }
        self.contiguous = range.end;
        if self.pages.is_empty() {
            return;
        }
        // What was an island may have joined the mainland.
        let end = self.find_gap();
        self.contiguous = end;
        while let Some(page) = self.pages.first_entry() {
            if (page.key() + 1) * PAGE_BITS > end {
                break;
            }
            let (number, _) = page.remove_entry();
            self.touched.insert(number);
        }
    }

    fn find_gap(&self) -> u64 {
        self.find(self.contiguous..u64::MAX / 2, false).unwrap_or(self.contiguous)
    }

    /// Marks blocks as missing.
    pub fn clear(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        if range.start < self.contiguous {
            let islands = range.end.min(self.contiguous)..self.contiguous;
            self.contiguous = range.start;
            // Bits below the old mark meant nothing; from now on they do.
            for (number, bits) in by_page(range.start..islands.start) {
                if let Some(page) = self.pages.get_mut(&number) {
                    page.put(bits, false);
                }
                self.touched.insert(number);
            }
            for (number, bits) in by_page(islands).filter(|(_, bits)| !bits.is_empty()) {
                self.pages.entry(number).or_insert_with(Page::empty).put(bits, true);
                self.touched.insert(number);
            }
        }
        let numbers: Vec<u64> = self
            .pages
            .range(range.start / PAGE_BITS..=(range.end - 1) / PAGE_BITS)
            .map(|(n, _)| *n)
            .collect();
        for number in numbers {
            let base = number * PAGE_BITS;
            let bits = range.start.saturating_sub(base)..(range.end - base).min(PAGE_BITS);
            if let Some(page) = self.pages.get_mut(&number) {
                page.put(bits, false);
                if page.is_empty() {
                    self.pages.remove(&number);
                }
            }
            self.touched.insert(number);
        }
    }

    /// Marks everything from `length` on as missing.
    pub fn truncate(&mut self, length: u64) {
        self.clear(length..u64::MAX / 2);
    }

    /// A bitfield as stored: its mark. Its pages follow.
    pub fn load(contiguous: u64) -> Self {
        Self { contiguous, ..Self::default() }
    }

    /// Puts in a page as stored.
    pub fn load_page(&mut self, number: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.pages.insert(number, decode(bytes)?);
        Ok(())
    }

    /// The pages that changed since the last call: what to store, or `None` to forget it.
    pub fn take_changes(&mut self) -> Vec<(u64, Option<Vec<u8>>)> {
        let touched = std::mem::take(&mut self.touched);
        touched.into_iter().map(|number| (number, self.pages.get(&number).map(encode))).collect()
    }

    /// Forgets which pages changed: nobody is going to store them.
    pub fn forget_changes(&mut self) {
        self.touched.clear();
    }
}

/// As lengths of runs, the first of zeros. Its worst case, 32,768 runs of one, is no
/// catastrophe.
fn encode(page: &Page) -> Vec<u8> {
    let mut out = Writer::new();
    let (mut value, mut at) = (false, 0);
    while at < PAGE_BITS {
        let start = at;
        while at < PAGE_BITS {
            let word = page.word((at / 64) as usize);
            let differing = if value { !word } else { word } >> (at % 64);
            let same = u64::from(differing.trailing_zeros()).min(64 - at % 64);
            at += same;
            if at % 64 != 0 || same == 0 {
                break;
            }
        }
        out.uint(at - start);
        value = !value;
    }
    out.into_vec()
}

fn decode(bytes: &[u8]) -> Result<Page, StoreError> {
    let damaged = || StoreError::Damaged("a page of held blocks".into());
    let mut input = Reader::new(bytes);
    let mut page = Page::empty();
    let (mut value, mut at) = (false, 0);
    while !input.is_empty() {
        let run = input.uint()?;
        if run > PAGE_BITS - at {
            return Err(damaged());
        }
        if value && run > 0 {
            page.put(at..at + run, true);
        }
        at += run;
        value = !value;
    }
    if at == PAGE_BITS { Ok(page) } else { Err(damaged()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPACE: u64 = 3 * PAGE_BITS;

    #[derive(Clone, Debug)]
    enum Act {
        Set(u64, u64),
        Clear(u64, u64),
        Truncate(u64),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let edge = prop_oneof![0..SPACE, 0..200u64, Just(PAGE_BITS), Just(2 * PAGE_BITS), Just(SPACE)];
        let range = (edge.clone(), prop_oneof![edge.clone(), 1..70u64]);
        let act = prop_oneof![
            3 => range.clone().prop_map(|(a, b)| Act::Set(a.min(b), a.max(b))),
            2 => range.prop_map(|(a, b)| Act::Clear(a.min(b), a.max(b))),
            1 => edge.prop_map(Act::Truncate),
        ];
        prop::collection::vec(act, 1..12)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn behaves_as_a_vec_of_bools(acts in acts(), a in 0..SPACE, b in 0..SPACE) {
            let mut bits = vec![false; SPACE as usize];
            let mut field = Bitfield::default();
            let mut rows: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
            for act in acts {
                match act {
                    Act::Set(a, b) => {
                        bits[a as usize..b as usize].fill(true);
                        field.set(a..b);
                    }
                    Act::Clear(a, b) => {
                        bits[a as usize..b as usize].fill(false);
                        field.clear(a..b);
                    }
                    Act::Truncate(a) => {
                        bits[a as usize..].fill(false);
                        field.truncate(a);
                    }
                }
                for (number, row) in field.take_changes() {
                    match row {
                        Some(row) => rows.insert(number, row),
                        None => rows.remove(&number),
                    };
                }
            }
            let mut stored = Bitfield::load(field.contiguous());
            for (number, row) in &rows {
                stored.load_page(*number, row).unwrap();
            }
            let words: Vec<u32> = bits
                .chunks(32)
                .map(|bits| bits.iter().rev().fold(0, |word, bit| word << 1 | u32::from(*bit)))
                .collect();
            prop_assert_eq!(field.words(0, words.len()), words.as_slice());
            prop_assert_eq!(field.words(64, 3), &words[2..5]);
            let (a, b) = (a.min(b), a.max(b));
            for field in [&field, &stored] {
                let prefix = bits.iter().take_while(|bit| **bit).count() as u64;
                prop_assert_eq!(field.contiguous(), prefix);
                for index in (0..SPACE).step_by(37).chain([a, b, PAGE_BITS - 1, PAGE_BITS]) {
                    prop_assert_eq!(field.get(index), bits[index as usize], "{}", index);
                }
                let range = &bits[a as usize..b as usize];
                prop_assert_eq!(field.count(a..b), range.iter().filter(|bit| **bit).count() as u64);
                for value in [true, false] {
                    let found = range.iter().position(|bit| *bit == value).map(|at| a + at as u64);
                    prop_assert_eq!(field.find(a..b, value), found);
                }
            }
        }

        #[test]
        fn decodes_anything_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
        }
    }
}
