//! Local copies of what others wrote: fetched as a whole, or dropped.
//!
//! Files lie next to each other in the content core, so what is fetched is not file by
//! file but long ranges of blocks, several at a time.

use super::Drive;
use crate::DriveError;
use futures::{StreamExt, TryStreamExt, stream};
use hyperspace_api::{Core, CoreError, Corestore, Key};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Ranges that are fetched at once.
const AT_ONCE: usize = 32;
/// Blocks of a range, at most, unless there would be too many ranges.
const PIECE_BLOCKS: u64 = 128;
/// Ranges into which files may be cut: their records can claim any number of blocks.
const PIECES_MAX: u64 = 1 << 16;
/// How often is looked how far it is.
const EVERY: Duration = Duration::from_millis(200);
/// Questions that are asked at once.
const QUESTIONS: usize = 64;

/// How far a download is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files that are wanted.
    pub files: u64,
    /// Their blocks, those that several share counted once.
    pub blocks: u64,
    /// The bytes of these.
    pub bytes: u64,
    /// Blocks that are here.
    pub held_blocks: u64,
    /// About the bytes of these.
    pub held_bytes: u64,
}

/// What was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleared {
    /// Files.
    pub files: u64,
    /// Blocks of theirs that were here.
    pub blocks: u64,
    /// The bytes of these.
    pub bytes: u64,
}

/// A range of blocks.
struct Piece<C> {
    core: C,
    start: u64,
    end: u64,
    bytes: u64,
}

/// The blocks of some files, without those counted that were seen before.
#[derive(Default)]
struct Ranges(BTreeMap<u64, (u64, u64)>);

impl Ranges {
    /// Adds the range `start..end`, of `bytes` bytes.
    fn add(&mut self, start: u64, end: u64, bytes: u64) {
        let (known_end, known_bytes) = self.0.get(&start).copied().unwrap_or((start, 0));
        if end > known_end {
            self.0.insert(start, (end, bytes.max(known_bytes)));
        }
    }

    /// As few and as many as are good to fetch, in order, none of them overlapping.
    fn pieces(self) -> Vec<(u64, u64, u64)> {
        let mut pieces: Vec<(u64, u64, u64)> = Vec::new();
        let all = self.0.iter().fold(0u64, |all, (start, (end, _))| all.saturating_add(end - start));
        let most = PIECE_BLOCKS.max(all / PIECES_MAX);
        let mut done = 0;
        for (start, (end, bytes)) in self.0 {
            let (mut at, all) = (start.max(done), end - start);
            while at < end {
                let stop = end.min(at.saturating_add(most));
                let share = share(bytes, stop - start, all) - share(bytes, at - start, all);
                match pieces.last_mut() {
                    Some(last) if last.1 == at && stop - last.0 <= most => {
                        (last.1, last.2) = (stop, last.2 + share);
                    }
                    _ => pieces.push((at, stop, share)),
                }
                at = stop;
            }
            done = done.max(end);
        }
        pieces
    }
}

/// `part` blocks' bytes, when `whole` of them have `bytes`.
fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(bytes) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

impl<S: Corestore> Drive<S> {
    /// Fetches the content of every file at and below `path`, through mounts; returns
    /// when all of it is held. `tell` hears how far it is, now and then. Dropping the
    /// future gives up; what has come stays.
    ///
    /// # Errors
    /// As [`walk`](Self::walk); `ETIMEDOUT` when nothing has come for as long as the
    /// drive waits for a block.
    pub async fn download(&self, path: &str, mut tell: impl FnMut(Progress)) -> Result<Progress, DriveError> {
        let (files, pieces) = self.pieces(path).await?;
        let mut held: Vec<u64> = stream::iter(&pieces)
            .map(|piece| piece.core.downloaded(piece.start, piece.end))
            .buffered(QUESTIONS)
            .try_collect()
            .await?;
        let at = |held: &[u64]| {
            let mut progress = Progress { files, ..Progress::default() };
            for (piece, held) in pieces.iter().zip(held) {
                let blocks = piece.end - piece.start;
                progress.blocks += blocks;
                progress.bytes += piece.bytes;
                progress.held_blocks += held;
                progress.held_bytes += share(piece.bytes, *held, blocks);
            }
            progress
        };
        let missing = |held: &[u64]| -> Vec<usize> {
            let whole = |(piece, held): (&Piece<_>, &u64)| piece.end - piece.start == *held;
            pieces
                .iter()
                .zip(held)
                .enumerate()
                .filter(|(_, piece)| !whole(*piece))
                .map(|(at, _)| at)
                .collect()
        };
        let fetch =
            async |at: usize| pieces[at].core.download(pieces[at].start, pieces[at].end).await.map(|()| at);
        let mut fetched = std::pin::pin!(stream::iter(missing(&held)).map(fetch).buffer_unordered(AT_ONCE));
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = (at(&held), Instant::now());
        tell(last.0);
        loop {
            tokio::select! {
                next = fetched.next() => match next {
                    Some(at) => {
                        let at = at?;
                        held[at] = pieces[at].end - pieces[at].start;
                    }
                    None => return Ok(at(&held)),
                },
                _ = ticks.tick() => {
                    // They are begun in their order.
                    for at in missing(&held).into_iter().take(AT_ONCE) {
                        held[at] = pieces[at].core.downloaded(pieces[at].start, pieces[at].end).await?;
                    }
                }
            }
            let now = at(&held);
            if now != last.0 {
                last = (now, Instant::now());
                tell(now);
            } else if last.1.elapsed() > self.inner.timeout() {
                return Err(CoreError::Timeout.into());
            }
        }
    }

    /// Gives back the disk space of every file at and below `path`, through mounts.
    /// The files are still there: their content is fetched again when it is read.
    ///
    /// # Errors
    /// As [`walk`](Self::walk). `EPERM` for a drive of ours: nobody else may have its
    /// content.
    pub async fn clear(&self, path: &str) -> Result<Cleared, DriveError> {
        for (drive, path, _) in self.files(path).await? {
            if drive.metadata_core().writable() {
                return Err(DriveError::NotPermitted(format!("'{path}' is ours, and may be nowhere else")));
            }
        }
        let (files, pieces) = self.pieces(path).await?;
        let mut cleared = Cleared { files, ..Cleared::default() };
        for Piece { core, start, end, bytes } in pieces {
            let held = core.downloaded(start, end).await?;
            core.clear(start, end).await?;
            cleared.blocks += held;
            cleared.bytes += share(bytes, held, end - start);
        }
        Ok(cleared)
    }

    /// How many files there are at and below `path`, and what of the cores is theirs.
    async fn pieces(&self, path: &str) -> Result<(u64, Vec<Piece<S::Core>>), DriveError> {
        let mut files = 0;
        let mut cores: BTreeMap<Key, (S::Core, Ranges)> = BTreeMap::new();
        for (drive, _, stat) in self.files(path).await? {
            files += 1;
            if let Some((core, range)) = drive.blocks_of(&stat).await?
                && !range.is_empty()
            {
                let (_, ranges) = cores.entry(core.key()).or_insert_with(|| (core, Ranges::default()));
                ranges.add(range.start, range.end, stat.size);
            }
        }
        let pieces = cores.into_values().flat_map(|(core, ranges)| {
            let piece = move |(start, end, bytes)| Piece { core: core.clone(), start, end, bytes };
            ranges.pieces().into_iter().map(piece)
        });
        Ok((files, pieces.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ranges(list: &[(u64, u64, u64)]) -> Vec<(u64, u64, u64)> {
        let mut ranges = Ranges::default();
        list.iter().for_each(|(start, end, bytes)| ranges.add(*start, *end, *bytes));
        ranges.pieces()
    }

    #[test]
    fn neighbours_go_together_and_giants_apart() {
        assert_eq!(ranges(&[(3, 4, 10), (0, 2, 5), (2, 3, 1)]), [(0, 4, 16)]);
        assert_eq!(ranges(&[(0, 1, 5), (2, 3, 5)]), [(0, 1, 5), (2, 3, 5)]);
        assert_eq!(ranges(&[(0, 300, 3000)]), [(0, 128, 1280), (128, 256, 1280), (256, 300, 440)]);
        assert_eq!(ranges(&[(1, u64::MAX, 7)]).len() as u64, PIECES_MAX + 1);
        // Two files that share their blocks.
        assert_eq!(ranges(&[(0, 10, 100), (0, 10, 100), (5, 10, 50)]), [(0, 10, 100)]);
    }

    proptest! {
        #[test]
        fn every_block_is_in_one_piece(list in proptest::collection::vec((0u64..500, 1u64..300, 0u64..9), 0..20)) {
            let list: Vec<_> = list.into_iter().map(|(start, blocks, size)| (start, start + blocks, blocks * size)).collect();
            let pieces = ranges(&list);
            for block in 0..900 {
                let wanted = list.iter().any(|(start, end, _)| (*start..*end).contains(&block));
                let found = pieces.iter().filter(|(start, end, _)| (*start..*end).contains(&block)).count();
                prop_assert_eq!(found, usize::from(wanted));
            }
            prop_assert!(pieces.iter().all(|(start, end, _)| start < end && end - start <= PIECE_BLOCKS));
        }
    }
}
