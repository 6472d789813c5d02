//! Bytes that were written but not committed: any offset, any order.
//!
//! Up to [`MEMORY`] bytes lie in one window of memory; what needs more goes to an
//! unlinked temporary file, at the same offsets as in the file itself, so that a
//! random writer costs no more memory than a small file does. Only the ranges that
//! were written are held: the rest of the file stays where it was committed.

use super::ranges::RangeSet;
use bytes::Bytes;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Span of staged bytes that is still kept in memory, per file.
pub(crate) const MEMORY: u64 = 1 << 20;

/// A writer of so many bytes at a time will write more.
const LARGE: usize = 64 << 10;

/// The written ranges of one file.
#[derive(Debug)]
pub(crate) struct Staging {
    ranges: RangeSet,
    store: Store,
    /// Where a temporary file would be made.
    dir: Arc<PathBuf>,
}

#[derive(Debug)]
enum Store {
    /// The bytes from `start` on; what is between written ranges is zero.
    Window { start: u64, bytes: Vec<u8> },
    /// A sparse file with the same offsets.
    File(File),
}

impl Store {
    const EMPTY: Self = Self::Window { start: 0, bytes: Vec::new() };
}

impl Staging {
    /// Nothing written; temporary files go to `dir`.
    pub(crate) fn new(dir: Arc<PathBuf>) -> Self {
        Self { ranges: RangeSet::default(), store: Store::EMPTY, dir }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The written ranges, in order.
    pub(crate) fn ranges(&self) -> &RangeSet {
        &self.ranges
    }

    /// Stages `data` at `offset`, in memory as long as all that is staged spans at most
    /// `most` bytes. On an error nothing has changed.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8], most: u64) -> io::Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let end = offset + data.len() as u64;
        if let Store::Window { start, bytes } = &mut self.store {
            if bytes.is_empty() {
                *start = offset;
                if data.len() >= LARGE {
                    bytes.reserve(MEMORY as usize);
                }
            }
            let (low, high) = (offset.min(*start), end.max(*start + bytes.len() as u64));
            if high - low <= most {
                if low < *start {
                    let shift = (*start - low) as usize;
                    bytes.splice(0..0, std::iter::repeat_n(0, shift));
                    *start = low;
                }
                let at = (offset - low) as usize;
                if at == bytes.len() {
                    bytes.extend_from_slice(data);
                } else {
                    if bytes.len() < at + data.len() {
                        bytes.resize(at + data.len(), 0);
                    }
                    bytes[at..at + data.len()].copy_from_slice(data);
                }
                self.ranges.insert(offset..end);
                return Ok(());
            }
            self.spill()?;
        }
        let Store::File(file) = &self.store else { unreachable!("spill left a file") };
        file.write_all_at(data, offset)?;
        self.ranges.insert(offset..end);
        Ok(())
    }

    /// Moves the window to a temporary file.
    fn spill(&mut self) -> io::Result<()> {
        let file = temporary(&self.dir)?;
        if let Store::Window { start, bytes } = &self.store {
            for range in self.ranges.iter() {
                let at = (range.start - start) as usize..(range.end - start) as usize;
                file.write_all_at(&bytes[at], range.start)?;
            }
        }
        self.store = Store::File(file);
        Ok(())
    }

    /// The staged bytes of `range`, which must lie in [`Self::ranges`].
    pub(crate) fn read(&self, range: Range<u64>) -> io::Result<Bytes> {
        let length = (range.end - range.start) as usize;
        match &self.store {
            Store::Window { start, bytes } => {
                let at = (range.start - start) as usize;
                Ok(Bytes::copy_from_slice(&bytes[at..at + length]))
            }
            Store::File(file) => {
                let mut out = vec![0; length];
                file.read_exact_at(&mut out, range.start)?;
                Ok(out.into())
            }
        }
    }

    /// Forgets everything from `size` on.
    pub(crate) fn truncate(&mut self, size: u64) -> io::Result<()> {
        self.ranges.truncate(size);
        if self.ranges.is_empty() {
            self.clear();
            return Ok(());
        }
        match &mut self.store {
            Store::Window { start, bytes } => bytes.truncate(size.saturating_sub(*start) as usize),
            // Gives the space back; the ranges alone decide what is read.
            Store::File(file) if file.metadata()?.len() > size => file.set_len(size)?,
            Store::File(_) => {}
        }
        Ok(())
    }

    /// Takes everything, if that is one range in memory of at least `least` bytes.
    pub(crate) fn take(&mut self, least: u64) -> Option<Bytes> {
        let span = self.ranges.span().filter(|span| span.end - span.start >= least)?;
        let Store::Window { start, bytes } = &mut self.store else { return None };
        if self.ranges.iter().count() != 1 || *start != span.start {
            return None;
        }
        let mut bytes = std::mem::take(bytes);
        bytes.truncate((span.end - span.start) as usize);
        self.clear();
        Some(bytes.into())
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.ranges = RangeSet::default();
        self.store = Store::EMPTY;
    }
}

/// A file without a name.
fn temporary(dir: &Path) -> io::Result<File> {
    tempfile::tempfile_in(dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn staging() -> Staging {
        Staging::new(Arc::new(std::env::temp_dir()))
    }

    #[derive(Clone, Debug)]
    enum Step {
        Write(u64, usize, u8),
        Truncate(u64),
    }

    /// Offsets in steps of 16 KiB, so that some cases stay in the window and others do not.
    fn step() -> impl Strategy<Value = Step> {
        let offset = (0..100u64, 0..3u64).prop_map(|(k, j)| k * 16384 + j);
        prop_oneof![
            5 => (offset.clone(), 1..40_000usize, any::<u8>()).prop_map(|(o, n, b)| Step::Write(o, n, b)),
            1 => offset.prop_map(Step::Truncate),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn gives_back_what_was_written(steps in prop::collection::vec(step(), 1..16)) {
            let mut staging = staging();
            let mut model = vec![None; 2 << 20];
            for step in steps {
                match step {
                    Step::Write(offset, n, byte) => {
                        staging.write(offset, &vec![byte; n], MEMORY).unwrap();
                        model[offset as usize..offset as usize + n].fill(Some(byte));
                    }
                    Step::Truncate(size) => {
                        staging.truncate(size).unwrap();
                        model[size as usize..].fill(None);
                    }
                }
                for (range, held) in staging.ranges().pieces(0..model.len() as u64) {
                    let want = &model[range.start as usize..range.end as usize];
                    if held {
                        let got = staging.read(range).unwrap();
                        prop_assert!(got.iter().zip(want).all(|(g, w)| Some(*g) == *w));
                    } else {
                        prop_assert!(want.iter().all(Option::is_none));
                    }
                }
            }
        }
    }

    #[test]
    fn a_far_append_stays_in_memory() {
        let mut staging = staging();
        staging.write(1 << 40, b"tail", MEMORY).unwrap();
        assert!(matches!(staging.store, Store::Window { .. }));
        staging.write(0, b"head", MEMORY).unwrap();
        assert!(matches!(staging.store, Store::File(_)));
        assert_eq!(staging.read((1 << 40)..(1 << 40) + 4).unwrap(), "tail");
    }
}
