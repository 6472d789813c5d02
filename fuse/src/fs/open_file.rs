//! The content of one file while it is open or not yet committed.
//!
//! What reads see is a stack: staged ranges, above the committed bytes as far as no
//! truncation cut them off, above zeros. Nothing here waits with the lock held: a
//! read looks up what lies where, lets go, and only then asks the drive for bytes.

use super::staging::{MEMORY, Staging};
use super::stream::WINDOW;
use super::sync_log::Unsynced;
use crate::errno::Errno;
use bytes::{Bytes, BytesMut};
use hyperdrive::{Drive, Extent, Reader, Stat};
use hyperspace_api::Corestore;
use parking_lot::{Mutex, MutexGuard};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Notify;

/// Largest file: what a signed 64-bit offset reaches.
pub(crate) const MAX_SIZE: u64 = i64::MAX as u64;

/// Bytes that are in the drive already.
pub(crate) enum Base<S: Corestore> {
    /// A small file as it was just committed.
    Bytes(Bytes),
    /// A range of the content core.
    Extent { reader: Arc<Reader<S>>, extent: Extent },
}

impl<S: Corestore> Clone for Base<S> {
    fn clone(&self) -> Self {
        match self {
            Self::Bytes(bytes) => Self::Bytes(bytes.clone()),
            Self::Extent { reader, extent } => Self::Extent { reader: reader.clone(), extent: *extent },
        }
    }
}

impl<S: Corestore> Base<S> {
    /// The content that `stat`, of `leaf`, tells of.
    pub(crate) fn of(leaf: &Drive<S>, stat: &Stat) -> Self {
        if stat.size == 0 {
            return Self::Bytes(Bytes::new());
        }
        Self::Extent { reader: Arc::new(leaf.reader(stat)), extent: stat.extent() }
    }

    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Extent { extent, .. } => extent.size,
        }
    }

    /// The bytes of `range`, which must not end after [`Self::size`].
    async fn read(&self, range: Range<u64>) -> Result<Bytes, Errno> {
        let length = (range.end - range.start) as usize;
        let bytes = match self {
            Self::Bytes(bytes) => bytes.slice(range.start as usize..range.end as usize),
            Self::Extent { reader, .. } => reader.read(range.start, length).await?,
        };
        if bytes.len() != length {
            tracing::warn!(want = length, got = bytes.len(), "a file's blocks are shorter than its size");
            return Err(Errno::EIO);
        }
        Ok(bytes)
    }
}

pub(crate) struct OpenFile<S: Corestore> {
    state: Mutex<State<S>>,
    /// Held through a commit: one at a time.
    pub(crate) committing: tokio::sync::Mutex<()>,
    /// Told whenever a chunk has reached the drive.
    pub(crate) drained: Notify,
}

/// See the module's text.
pub(crate) struct State<S: Corestore> {
    /// The drive whose content core holds `base`.
    pub(crate) leaf: Drive<S>,
    pub(crate) base: Base<S>,
    /// What follows `base`, on its way to the drive.
    pub(crate) in_flight: Option<Bytes>,
    /// Bytes of `base`, and of what is on its way, that still count.
    pub(crate) base_limit: u64,
    pub(crate) staging: Staging,
    pub(crate) size: u64,
    /// Ms since 1970.
    pub(crate) mtime: u64,
    /// Changes to the content so far, and how many of them are committed.
    pub(crate) changes: u64,
    pub(crate) saved: u64,
    /// The smallest size since the running commit began.
    pub(crate) shrunk_to: u64,
    /// A task appends what is staged.
    pub(crate) draining: bool,
    /// Nothing stands against doing so.
    pub(crate) may_stream: bool,
    /// The drive has something newer than `base`.
    pub(crate) stale: bool,
    /// Changes that neither a commit nor the sync log has.
    pub(crate) unsynced: Unsynced,
    /// What the drive's index names, on the disk: records of the sync log build on it.
    pub(crate) named: Option<Extent>,
    /// Commits so far.
    pub(crate) commits: u64,
}

impl<S: Corestore> State<S> {
    pub(crate) fn dirty(&self) -> bool {
        self.changes != self.saved
    }

    fn changed(&mut self, mtime: u64) {
        self.changes += 1;
        self.mtime = mtime;
    }

    /// Stages `data` at `offset`. No data is no change.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8], mtime: u64) -> Result<(), Errno> {
        if data.is_empty() {
            return Ok(());
        }
        let end = offset.checked_add(data.len() as u64).filter(|end| *end <= MAX_SIZE);
        let end = end.ok_or(Errno::EFBIG)?;
        let most = if self.streams() { WINDOW } else { MEMORY };
        self.staging.write(offset, data, most)?;
        self.unsynced.wrote(offset, end);
        self.size = self.size.max(end);
        self.changed(mtime);
        Ok(())
    }

    /// Cuts the file off, or lengthens it by zeros.
    pub(crate) fn truncate(&mut self, size: u64, mtime: u64) -> Result<(), Errno> {
        if size > MAX_SIZE {
            return Err(Errno::EFBIG);
        }
        if size < self.size {
            self.staging.truncate(size)?;
            self.unsynced.cut(size);
            self.base_limit = self.base_limit.min(size);
            self.shrunk_to = self.shrunk_to.min(size);
            if size == 0 && self.in_flight.is_none() {
                // What is written now starts anew, and may be streamed.
                self.base = Base::Bytes(Bytes::new());
            }
        }
        self.size = size;
        self.changed(mtime);
        Ok(())
    }

    /// Takes over what the drive has now; a file with changes of its own keeps those.
    pub(crate) fn refresh(&mut self, leaf: &Drive<S>, stat: &Stat) {
        self.stale = false;
        let same = match &self.base {
            Base::Extent { extent, .. } => *extent == stat.extent(),
            Base::Bytes(bytes) => bytes.is_empty() && stat.size == 0,
        };
        if self.dirty() || same {
            return;
        }
        self.leaf = leaf.clone();
        self.base = Base::of(leaf, stat);
        self.named = None;
        self.base_limit = stat.size;
        self.size = stat.size;
        self.mtime = stat.mtime;
    }

    /// What lies in `range`, cut at `limit`.
    fn lay_out(&self, range: Range<u64>, limit: u64) -> Result<Vec<Piece>, Errno> {
        let end = range.end.min(limit);
        let mut out = Vec::new();
        if range.start >= end {
            return Ok(out);
        }
        for (piece, staged) in self.staging.ranges().pieces(range.start..end) {
            if staged {
                out.push(Piece::Bytes(self.staging.read(piece)?));
                continue;
            }
            let in_base = self.base_limit.min(self.base.size()).clamp(piece.start, piece.end);
            let in_drive = self.base_limit.clamp(in_base, piece.end);
            if piece.start < in_base {
                out.push(Piece::Base(piece.start..in_base));
            }
            if let Some(flying) = self.in_flight.as_ref().filter(|_| in_base < in_drive) {
                let at = |offset| (offset - self.base.size()) as usize;
                out.push(Piece::Bytes(flying.slice(at(in_base)..at(in_drive))));
            }
            if in_drive < piece.end {
                out.push(Piece::Zeros((piece.end - in_drive) as usize));
            }
        }
        Ok(out)
    }
}

/// Where a part of a read comes from.
enum Piece {
    Bytes(Bytes),
    Base(Range<u64>),
    Zeros(usize),
}

impl<S: Corestore> OpenFile<S> {
    /// As `stat`, of `leaf`, describes it.
    pub(crate) fn new(leaf: Drive<S>, stat: &Stat, staging: Arc<PathBuf>) -> Self {
        let state = State {
            base: Base::of(&leaf, stat),
            leaf,
            base_limit: stat.size,
            staging: Staging::new(staging),
            size: stat.size,
            mtime: stat.mtime,
            changes: 0,
            saved: 0,
            shrunk_to: u64::MAX,
            in_flight: None,
            draining: false,
            may_stream: true,
            stale: false,
            unsynced: Unsynced::default(),
            named: None,
            commits: 0,
        };
        Self { state: Mutex::new(state), committing: tokio::sync::Mutex::default(), drained: Notify::new() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State<S>> {
        self.state.lock()
    }

    pub(crate) fn dirty(&self) -> bool {
        self.state().dirty()
    }

    /// At most `length` bytes from `offset`; fewer only at the file's end.
    pub(crate) async fn read(&self, offset: u64, length: usize) -> Result<Bytes, Errno> {
        let (pieces, base) = {
            let state = self.state();
            let end = offset.saturating_add(length as u64);
            (state.lay_out(offset..end, state.size)?, state.base.clone())
        };
        assemble(pieces, &base).await
    }

    /// Exactly `length` bytes from `offset`, as the file is now; zeros after its end.
    pub(crate) async fn read_padded(&self, offset: u64, length: usize) -> Result<Bytes, Errno> {
        let (pieces, base) = {
            let state = self.state();
            (state.lay_out(offset..offset + length as u64, u64::MAX)?, state.base.clone())
        };
        assemble(pieces, &base).await
    }
}

async fn assemble<S: Corestore>(mut pieces: Vec<Piece>, base: &Base<S>) -> Result<Bytes, Errno> {
    if pieces.len() == 1 {
        return match pieces.remove(0) {
            Piece::Bytes(bytes) => Ok(bytes),
            Piece::Base(range) => base.read(range).await,
            Piece::Zeros(length) => Ok(vec![0; length].into()),
        };
    }
    let mut out = BytesMut::new();
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => out.extend_from_slice(&bytes),
            Piece::Base(range) => out.extend_from_slice(&base.read(range).await?),
            Piece::Zeros(length) => out.resize(out.len() + length, 0),
        }
    }
    Ok(out.freeze())
}
