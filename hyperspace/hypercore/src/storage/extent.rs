//! Extents: runs of neighbouring blocks that were stored together.
//!
//! An extent is one record in the journal and one row in the database, however many
//! blocks it has. Its table gives each block's size (and so its place within the extent)
//! and crc32c.

use super::StoreError;
use super::segment::SegmentId;
use crate::encoding::{Reader, Writer};
use bytes::{Bytes, BytesMut};
use std::ops::Range;
use std::sync::Arc;

/// Blocks in one extent at most; so that a set of them fits a `u128`.
pub const MAX_BLOCKS: usize = 128;

/// An extent of blocks below [`LARGE`] bytes is closed once it has this many bytes: what
/// is read, checked and cached in one go to get at a single small block.
pub const SMALL_BYTES: usize = 32 * 1024;

/// Blocks of this size are read one by one, and are not kept in the cache: the system's
/// page cache serves them well enough.
pub const LARGE: usize = 16 * 1024;

/// Bytes in one extent at most.
const MAX_BYTES: u64 = 1 << 30;

/// Where an extent's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here.
    Inline(Bytes),
    /// In a segment file, from `offset` on.
    Segment {
        /// Which.
        id: SegmentId,
        /// Where the first block's first byte is.
        offset: u64,
    },
}

/// Where a block ends within its extent, and its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    end: u32,
    crc: u32,
}

/// Neighbouring blocks, stored together. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extent {
    first: u64,
    table: Arc<[Entry]>,
    place: Place,
}

/// Where one block's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Located {
    /// Here.
    Inline(Bytes),
    /// In a segment file.
    Segment {
        /// Which.
        id: SegmentId,
        /// Where it begins.
        offset: u64,
        /// Its size.
        size: usize,
    },
}

impl Extent {
    /// Puts blocks together, all of them at `place`.
    fn new(first: u64, blocks: &[Bytes], place: Place) -> Self {
        let mut end = 0;
        let table = blocks
            .iter()
            .map(|block| {
                end += u32::try_from(block.len()).expect("split() keeps extents below 1 GiB");
                Entry { end, crc: crc32c::crc32c(block) }
            })
            .collect();
        Self { first, table, place }
    }

    /// Index of the first block.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// How many blocks there are.
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// Index after the last block.
    pub fn end(&self) -> u64 {
        self.first + self.table.len() as u64
    }

    /// Indexes of the blocks.
    pub fn range(&self) -> Range<u64> {
        self.first..self.end()
    }

    /// Where its bytes are.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Bytes of all blocks.
    pub fn size(&self) -> u64 {
        self.table.last().map_or(0, |entry| u64::from(entry.end))
    }

    fn bytes_of(&self, at: usize) -> Range<usize> {
        let start = if at == 0 { 0 } else { self.table[at - 1].end as usize };
        start..self.table[at].end as usize
    }

    fn position(&self, index: u64) -> Option<usize> {
        self.range().contains(&index).then(|| (index - self.first) as usize)
    }

    /// Size and checksum of block `index`.
    pub fn check_of(&self, index: u64) -> Option<(usize, u32)> {
        let at = self.position(index)?;
        Some((self.bytes_of(at).len(), self.table[at].crc))
    }

    /// Where block `index` is.
    pub fn locate(&self, index: u64) -> Option<Located> {
        let bytes = self.bytes_of(self.position(index)?);
        Some(match &self.place {
            Place::Inline(data) => Located::Inline(data.slice(bytes)),
            Place::Segment { id, offset } => {
                Located::Segment { id: *id, offset: offset + bytes.start as u64, size: bytes.len() }
            }
        })
    }

    /// The part of it that lies in `blocks`; `None` if there is none.
    pub fn slice(&self, blocks: Range<u64>) -> Option<Self> {
        let start = blocks.start.max(self.first);
        let end = blocks.end.min(self.end());
        if start >= end {
            return None;
        }
        if (start..end) == self.range() {
            return Some(self.clone());
        }
        let (from, to) = ((start - self.first) as usize, (end - self.first) as usize);
        let cut = self.bytes_of(from).start;
        let table = self.table[from..to]
            .iter()
            .map(|entry| Entry { end: entry.end - cut as u32, crc: entry.crc })
            .collect();
        let place = match &self.place {
            Place::Inline(data) => Place::Inline(data.slice(cut..self.bytes_of(to - 1).end)),
            Place::Segment { id, offset } => Place::Segment { id: *id, offset: offset + cut as u64 },
        };
        Some(Self { first: start, table, place })
    }

    /// What is left of it without `blocks`: at most two parts.
    pub fn without(&self, blocks: Range<u64>) -> [Option<Self>; 2] {
        [self.slice(self.first..blocks.start), self.slice(blocks.end..self.end())]
    }

    /// The same extent with its bytes here.
    pub fn with_data(&self, data: Bytes) -> Self {
        debug_assert_eq!(data.len() as u64, self.size());
        Self { first: self.first, table: self.table.clone(), place: Place::Inline(data) }
    }

    /// A bit for each block (the lowest for the first) whose bytes in `data` fail their check.
    pub fn bad_blocks(&self, data: &[u8]) -> u128 {
        let mut bad = 0;
        for (at, entry) in self.table.iter().enumerate() {
            if data.get(self.bytes_of(at)).is_none_or(|block| crc32c::crc32c(block) != entry.crc) {
                bad |= 1 << at;
            }
        }
        bad
    }

    /// The same extent, with its bytes in a segment.
    pub fn at(&self, id: SegmentId, offset: u64) -> Self {
        Self { place: Place::Segment { id, offset }, ..self.clone() }
    }

    /// Writes the table: four bytes of size and four of crc32c a block.
    pub fn write_table(&self, out: &mut Writer) {
        for at in 0..self.table.len() {
            out.uint32(self.bytes_of(at).len() as u32).uint32(self.table[at].crc);
        }
    }

    /// Reads an extent back: its table of `count` blocks, and the bytes after it unless
    /// they are in `segment`.
    pub fn read(
        first: u64,
        count: u64,
        segment: Option<(SegmentId, u64)>,
        input: &mut Reader<'_>,
    ) -> Result<Self, StoreError> {
        let damaged = || StoreError::Damaged("an extent's table".into());
        if count == 0 || count > MAX_BLOCKS as u64 {
            return Err(damaged());
        }
        let mut table = Vec::with_capacity(count as usize);
        let mut end = 0u64;
        for _ in 0..count {
            end += u64::from(input.uint32()?);
            let crc = input.uint32()?;
            if end > MAX_BYTES {
                return Err(damaged());
            }
            table.push(Entry { end: end as u32, crc });
        }
        let place = match segment {
            Some((id, offset)) if offset.checked_add(end).is_some() => Place::Segment { id, offset },
            Some(_) => return Err(damaged()),
            None => Place::Inline(Bytes::copy_from_slice(input.take(end as usize)?)),
        };
        Ok(Self { first, table: table.into(), place })
    }
}

/// Cuts the blocks of one append into extents, each given the bytes it has: `place` is
/// asked once an extent, with its blocks and where they begin among the bytes of all.
pub fn split(first: u64, blocks: &[Bytes], mut place: impl FnMut(&[Bytes], u64) -> Place) -> Vec<Extent> {
    let mut extents = Vec::new();
    let (mut from, mut bytes, mut before) = (0, 0u64, 0u64);
    for at in 0..blocks.len() {
        let size = blocks[at].len() as u64;
        let count = at - from;
        let full = count == MAX_BLOCKS
            || bytes + size > MAX_BYTES
            // Small blocks are read an extent at a time, large ones never are.
            || (bytes >= SMALL_BYTES as u64 && bytes / (count.max(1) as u64) < LARGE as u64)
            || (count > 0 && (size >= LARGE as u64) != (bytes / count as u64 >= LARGE as u64));
        if full && count > 0 {
            extents.push(Extent::new(
                first + from as u64,
                &blocks[from..at],
                place(&blocks[from..at], before),
            ));
            (from, before, bytes) = (at, before + bytes, 0);
        }
        bytes += size;
    }
    if from < blocks.len() {
        extents.push(Extent::new(first + from as u64, &blocks[from..], place(&blocks[from..], before)));
    }
    extents
}

/// Joins extents that follow each other into fewer and larger ones, as [`split`] would have
/// cut them.
#[derive(Default)]
pub struct Joiner {
    run: Vec<Extent>,
    count: usize,
    size: u64,
}

impl Joiner {
    /// Adds an extent. Gives one that is complete, if this one does not go with it.
    pub fn push(&mut self, next: Extent) -> Option<Extent> {
        let done = if self.takes(&next) { None } else { self.finish() };
        self.count += next.count();
        self.size += next.size();
        self.run.push(next);
        done
    }

    fn takes(&self, next: &Extent) -> bool {
        let (Some(head), Some(last)) = (self.run.first(), self.run.last()) else { return true };
        let neighbours = match (&head.place, &next.place) {
            (Place::Inline(_), Place::Inline(_)) => true,
            (Place::Segment { id, offset }, Place::Segment { id: next_id, offset: next_offset }) => {
                id == next_id && offset + self.size == *next_offset
            }
            _ => false,
        };
        let large = self.size / self.count as u64 >= LARGE as u64;
        let size = self.size + next.size();
        neighbours
            && last.end() == next.first
            && self.count + next.count() <= MAX_BLOCKS
            && large == (next.size() / next.count() as u64 >= LARGE as u64)
            && size <= if large { MAX_BYTES } else { SMALL_BYTES as u64 }
    }

    /// What is left.
    pub fn finish(&mut self) -> Option<Extent> {
        let (run, count) = (std::mem::take(&mut self.run), std::mem::take(&mut self.count));
        let size = std::mem::take(&mut self.size);
        if run.len() < 2 {
            return run.into_iter().next();
        }
        let mut table = Vec::with_capacity(count);
        let mut bytes = BytesMut::new();
        let mut base = 0;
        for extent in &run {
            table.extend(extent.table.iter().map(|entry| Entry { end: base + entry.end, crc: entry.crc }));
            base += extent.size() as u32;
            if let Place::Inline(data) = &extent.place {
                bytes.reserve(size as usize - bytes.len());
                bytes.extend_from_slice(data);
            }
        }
        let head = run.first()?;
        let place = match head.place {
            Place::Inline(_) => Place::Inline(bytes.freeze()),
            Place::Segment { id, offset } => Place::Segment { id, offset },
        };
        Some(Extent { first: head.first, table: table.into(), place })
    }
}

/// All bytes of the blocks in one buffer of its own.
pub fn concat(blocks: &[Bytes]) -> Bytes {
    let mut data = BytesMut::with_capacity(blocks.iter().map(Bytes::len).sum());
    blocks.iter().for_each(|block| data.extend_from_slice(block));
    data.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks() -> impl Strategy<Value = Vec<Bytes>> {
        let size = prop_oneof![4 => 0usize..300, 1 => 3000usize..40_000];
        prop::collection::vec((size, any::<u8>()), 1..300)
            .prop_map(|sizes| sizes.into_iter().map(|(size, fill)| Bytes::from(vec![fill; size])).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn split_keeps_every_block(blocks in blocks(), first in 0u64..1 << 40) {
            let extents = split(first, &blocks, |blocks, _| Place::Inline(concat(blocks)));
            let mut next = first;
            for extent in &extents {
                prop_assert_eq!(extent.first(), next);
                prop_assert!(extent.count() <= MAX_BLOCKS);
                for index in extent.range() {
                    let block = &blocks[(index - first) as usize];
                    prop_assert_eq!(extent.locate(index), Some(Located::Inline(block.clone())));
                    prop_assert_eq!(extent.check_of(index), Some((block.len(), crc32c::crc32c(block))));
                }
                next = extent.end();
                let mut out = Writer::new();
                extent.write_table(&mut out);
                let Place::Inline(data) = extent.place() else { panic!("inline") };
                out.raw(data);
                let read = Extent::read(
                    extent.first(), extent.count() as u64, None, &mut Reader::new(out.as_slice()),
                );
                prop_assert_eq!(&read.unwrap(), extent);
            }
            prop_assert_eq!(next, first + blocks.len() as u64);
        }

        #[test]
        fn joining_loses_nothing(blocks in blocks(), cuts in prop::collection::vec(1usize..40, 300)) {
            let (mut extents, mut rest, mut cuts) = (Vec::new(), blocks.as_slice(), cuts.into_iter());
            while !rest.is_empty() {
                let (part, after) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
                let first = (blocks.len() - rest.len()) as u64;
                extents.extend(split(first, part, |blocks, _| Place::Inline(concat(blocks))));
                rest = after;
            }
            let before = extents.len();
            let mut joiner = Joiner::default();
            let mut joined: Vec<_> = extents.into_iter().filter_map(|extent| joiner.push(extent)).collect();
            joined.extend(joiner.finish());
            prop_assert!(joined.len() <= before);
            for (index, block) in blocks.iter().enumerate() {
                let found = joined.iter().find_map(|extent| extent.locate(index as u64));
                prop_assert_eq!(found, Some(Located::Inline(block.clone())));
            }
        }

        #[test]
        fn parts_hold_what_the_whole_held(blocks in blocks(), a in 0u64..300, b in 0u64..300) {
            let (a, b) = (a.min(b), a.max(b));
            for extent in split(0, &blocks, |_, before| Place::Segment { id: 7, offset: 1000 + before }) {
                let [left, right] = extent.without(a..b);
                for index in extent.range() {
                    let kept = [&left, &right].into_iter().flatten().find_map(|part| part.locate(index));
                    let whole = extent.locate(index);
                    prop_assert_eq!(kept, if (a..b).contains(&index) { None } else { whole.clone() });
                    let inside = extent.slice(a..b).and_then(|part| part.locate(index));
                    prop_assert_eq!(inside, if (a..b).contains(&index) { whole } else { None });
                }
            }
        }
    }
}
