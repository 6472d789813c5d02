//! Content that waits to be appended, and where it came to lie afterwards.
//!
//! Until it is appended its place is not known: another process may append first.
//! So it gets a provisional one, from [`PROVISIONAL`] up, which is never given
//! twice. It is [`PROVISIONAL`] plus the place it will have if nobody comes in
//! between; only where somebody did is its true place noted. A provisional extent
//! thus stays good for as long as the drive is open, whoever holds it.

use super::{BLOCK_SIZE, blocks_of, total};
use crate::Extent;
use bytes::{Bytes, BytesMut};
use std::collections::{BTreeMap, VecDeque};

/// The first provisional block and byte. Fits what JavaScript counts exactly.
pub(crate) const PROVISIONAL: u64 = 1 << 52;
/// Noted places; beyond these the oldest are forgotten.
const MOVED_MAX: usize = 65_536;
/// Bytes that a waiting file may grow to in place.
const GROW_MAX: u64 = 4 * 1024 * 1024;

/// A block of a core, and the byte at which it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    block: u64,
    byte: u64,
}

/// One file's blocks.
struct Run {
    at: Place,
    blocks: Vec<Bytes>,
    bytes: u64,
}

/// What was appended elsewhere than expected.
struct Moved {
    blocks: u64,
    from: Place,
    to: Place,
}

pub(super) struct Pending {
    runs: VecDeque<Run>,
    /// So many runs, from the front, are being appended.
    sealed: usize,
    bytes: u64,
    /// The next provisional place.
    next: Place,
    /// By first provisional block.
    moved: BTreeMap<u64, Moved>,
}

/// Where an extent lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placed {
    /// In the core.
    Core(Extent),
    /// Here, not appended yet.
    Pending(Vec<Bytes>),
    /// Nowhere: never given, or forgotten.
    Unknown,
}

impl Default for Pending {
    fn default() -> Self {
        Self {
            runs: VecDeque::new(),
            sealed: 0,
            bytes: 0,
            next: Place { block: PROVISIONAL, byte: PROVISIONAL },
            moved: BTreeMap::new(),
        }
    }
}

impl Pending {
    /// Adds a file, when the core has `length` blocks and `byte_length` bytes.
    pub(super) fn push(&mut self, content: &Bytes, length: u64, byte_length: u64) -> Extent {
        if self.runs.is_empty() && PROVISIONAL + length > self.next.block {
            self.next =
                Place { block: PROVISIONAL + length, byte: (PROVISIONAL + byte_length).max(self.next.byte) };
        }
        let blocks = blocks_of(content);
        let run = Run { at: self.next, bytes: content.len() as u64, blocks };
        let extent = Extent {
            offset: run.at.block,
            blocks: run.blocks.len() as u64,
            byte_offset: run.at.byte,
            size: run.bytes,
        };
        self.next.block += extent.blocks;
        self.next.byte += extent.size;
        self.bytes += extent.size;
        self.runs.push_back(run);
        extent
    }

    /// Grows the file at `extent` if it is the last that waits.
    pub(super) fn grow(&mut self, extent: Extent, more: &Bytes) -> Option<Extent> {
        if self.sealed == self.runs.len() {
            return None;
        }
        let run = self.runs.back_mut()?;
        let whole = run.at.block == extent.offset
            && run.blocks.len() as u64 == extent.blocks
            && run.bytes == extent.size;
        let added = more.len() as u64;
        if !whole || run.bytes + added > GROW_MAX {
            return None;
        }
        let last = run.blocks.last().map_or(BLOCK_SIZE, Bytes::len);
        let fill = BLOCK_SIZE.saturating_sub(last).min(more.len());
        if fill > 0
            && let Some(block) = run.blocks.last_mut()
        {
            let mut filled = BytesMut::with_capacity(last + fill);
            filled.extend_from_slice(block);
            filled.extend_from_slice(&more[..fill]);
            *block = filled.freeze();
        }
        run.blocks.extend(blocks_of(&more.slice(fill..)));
        run.bytes += added;
        self.bytes += added;
        self.next = Place { block: run.at.block + run.blocks.len() as u64, byte: run.at.byte + run.bytes };
        Some(Extent { blocks: run.blocks.len() as u64, size: run.bytes, ..extent })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Forgets the last files that wait, as far as they are these (in the order in
    /// which they came).
    pub(super) fn forget(&mut self, extents: &[Extent]) {
        for extent in extents.iter().rev() {
            let last = self.runs.len() > self.sealed;
            let Some(run) = self.runs.pop_back_if(|run| last && run.at.block == extent.offset) else {
                return;
            };
            self.bytes -= run.bytes;
            self.next = run.at;
        }
    }

    pub(super) fn place(&self, extent: Extent) -> Placed {
        if extent.offset < PROVISIONAL {
            return Placed::Core(extent);
        }
        if extent.end() > self.next.block {
            return Placed::Unknown;
        }
        let first = self.runs.front().map_or(self.next.block, |run| run.at.block);
        if extent.offset >= first {
            return self.waiting(extent).map_or(Placed::Unknown, Placed::Pending);
        }
        let moved = self.moved.range(..=extent.offset).next_back().map(|(_, moved)| moved);
        let to = match moved.filter(|moved| extent.offset < moved.from.block + moved.blocks) {
            Some(moved) => Place {
                block: moved.to.block + (extent.offset - moved.from.block),
                byte: moved.to.byte + extent.byte_offset.saturating_sub(moved.from.byte),
            },
            None => Place {
                block: extent.offset - PROVISIONAL,
                byte: extent.byte_offset.saturating_sub(PROVISIONAL),
            },
        };
        Placed::Core(Extent { offset: to.block, byte_offset: to.byte, ..extent })
    }

    fn waiting(&self, extent: Extent) -> Option<Vec<Bytes>> {
        let after = self.runs.partition_point(|run| run.at.block <= extent.offset);
        let run = self.runs.get(after.checked_sub(1)?)?;
        let start = usize::try_from(extent.offset - run.at.block).ok()?;
        let end = start.checked_add(usize::try_from(extent.blocks).ok()?)?;
        run.blocks.get(start..end).map(<[Bytes]>::to_vec)
    }

    /// The blocks to append now: whole files, about `limit` bytes.
    pub(super) fn seal(&mut self, limit: u64) -> Vec<Bytes> {
        let mut bytes = 0;
        self.sealed = self
            .runs
            .iter()
            .take_while(|run| {
                let fits = bytes == 0 || bytes + run.bytes <= limit;
                bytes += run.bytes;
                fits
            })
            .count();
        self.runs.iter().take(self.sealed).flat_map(|run| run.blocks.iter().cloned()).collect()
    }

    /// They could not be appended.
    pub(super) fn unseal(&mut self) {
        self.sealed = 0;
    }

    /// They were: from `block`, which starts at `byte`.
    pub(super) fn settle(&mut self, block: u64, byte: u64) {
        let mut to = Place { block, byte };
        for run in self.runs.drain(..std::mem::take(&mut self.sealed)) {
            self.bytes -= run.bytes;
            let blocks = run.blocks.len() as u64;
            debug_assert_eq!(total(&run.blocks), run.bytes);
            let expected = to.block + PROVISIONAL == run.at.block && to.byte + PROVISIONAL == run.at.byte;
            if !expected {
                Self::note(&mut self.moved, Moved { blocks, from: run.at, to });
            }
            to = Place { block: to.block + blocks, byte: to.byte + run.bytes };
        }
        while self.moved.len() > MOVED_MAX {
            self.moved.pop_first();
        }
    }

    /// Notes where something lies, together with what was noted right before it.
    fn note(moved: &mut BTreeMap<u64, Moved>, new: Moved) {
        if let Some((_, last)) = moved.range_mut(..new.from.block).next_back()
            && last.from.block + last.blocks == new.from.block
            && last.to.block + last.blocks == new.to.block
            && new.from.byte.wrapping_sub(last.from.byte) == new.to.byte.wrapping_sub(last.to.byte)
        {
            last.blocks += new.blocks;
            return;
        }
        moved.insert(new.from.block, new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Grow(usize),
        Foreign(u64),
        Commit { fails: bool },
        Forget(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1usize..200_000).prop_map(Step::Push),
            2 => (1usize..100_000).prop_map(Step::Grow),
            1 => (1u64..4).prop_map(Step::Foreign),
            2 => any::<bool>().prop_map(|fails| Step::Commit { fails }),
            1 => (1usize..1000).prop_map(Step::Forget),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// Whatever happens, an extent that was given shows its own bytes.
        #[test]
        fn extents_stay_good(steps in proptest::collection::vec(step(), 1..40)) {
            let mut pending = Pending::default();
            let mut core: Vec<Bytes> = Vec::new();
            let mut given: Vec<(Extent, Vec<u8>)> = Vec::new();
            for (n, step) in steps.into_iter().enumerate() {
                let fill = |len: usize| vec![n as u8 + 1; len];
                match step {
                    Step::Push(len) => {
                        let bytes = fill(len);
                        let extent = pending.push(&bytes.clone().into(), core.len() as u64, total(&core));
                        given.push((extent, bytes));
                    }
                    Step::Grow(len) => {
                        if let Some((extent, bytes)) = given.last().cloned()
                            && let Some(grown) = pending.grow(extent, &fill(len).into())
                        {
                            given.push((grown, [bytes, fill(len)].concat()));
                        }
                    }
                    Step::Foreign(blocks) => core.extend((0..blocks).map(|_| Bytes::from_static(b"other"))),
                    Step::Forget(len) => {
                        let mut push = || pending.push(&fill(len).into(), core.len() as u64, total(&core));
                        let (one, kept, two) = (push(), push(), push());
                        given.push((kept, fill(len)));
                        pending.forget(&[one, two]);
                    }
                    Step::Commit { fails } => {
                        let blocks = pending.seal(300_000);
                        if fails {
                            pending.unseal();
                        } else if !blocks.is_empty() {
                            let (block, byte) = (core.len() as u64, total(&core));
                            core.extend(blocks);
                            pending.settle(block, byte);
                        }
                    }
                }
                for (extent, bytes) in &given {
                    let found = match pending.place(*extent) {
                        Placed::Pending(blocks) => blocks.concat(),
                        Placed::Core(real) => {
                            let range = real.offset as usize..real.end() as usize;
                            prop_assert_eq!(total(&core[..range.start]), real.byte_offset);
                            core[range].concat()
                        }
                        Placed::Unknown => panic!("{extent:?} is lost"),
                    };
                    prop_assert_eq!(&found[..bytes.len()], bytes.as_slice());
                }
            }
        }

        #[test]
        fn any_extent_has_a_place_or_none(offset: u64, blocks: u64, byte_offset: u64, size: u64) {
            let mut pending = Pending::default();
            pending.push(&Bytes::from_static(b"x"), 3, 9);
            pending.place(Extent { offset, blocks, byte_offset, size });
            pending.place(Extent { offset: offset | PROVISIONAL, blocks, byte_offset, size });
        }
    }

    #[test]
    fn a_lone_writer_notes_nothing() {
        let mut pending = Pending::default();
        let (mut length, mut bytes) = (7, 70);
        for _ in 0..10 {
            pending.push(&Bytes::from_static(b"abc"), length, bytes);
            pending.seal(1 << 20);
            pending.settle(length, bytes);
            length += 1;
            bytes += 3;
        }
        assert!(pending.moved.is_empty());
    }
}
