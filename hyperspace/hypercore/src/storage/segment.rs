//! Segments: files of blocks, only ever written at their end.
//!
//! What is no longer needed is punched out of a file where it lies; a file with nothing
//! left in it is removed. Only a few files are open at a time.

use super::StoreError;
use super::extent::{Extent, Place};
use super::lock::{open_private, sync_dir};
use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::{Errno, ReadWriteFlags};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The number of a segment; never 0.
pub type SegmentId = u32;

/// A segment is full at this size; only what does not fit in an empty one makes it larger.
pub const SEGMENT_BYTES: u64 = 256 << 20;

/// Files that stay open for reading.
const OPEN_FILES: usize = 16;

/// Slices in one `pwritev`.
const SLICES: usize = 512;

/// What filesystems give back is a multiple of this.
const PAGE: u64 = 4096;

/// The segments of a store.
pub struct Segments {
    dir: PathBuf,
    state: Mutex<State>,
    readers: Mutex<VecDeque<(SegmentId, Arc<File>)>>,
    /// Held while files are flushed, so that who finds nothing left to flush knows that it is
    /// done, not just begun.
    syncing: Mutex<()>,
    /// The filesystem cannot punch holes.
    no_holes: AtomicBool,
}

struct State {
    /// The one that is written, and its end.
    active: Option<(SegmentId, Arc<File>, u64)>,
    newest: SegmentId,
    /// Where writes that are not committed yet begin.
    in_flight: HashMap<SegmentId, BTreeSet<u64>>,
    /// Written since the last flush.
    dirty: HashMap<SegmentId, Arc<File>>,
    /// Files were made since the last flush.
    dirty_dir: bool,
}

/// Room in a segment that was written, and is about to be committed.
pub struct Reservation<'a> {
    segments: &'a Segments,
    id: SegmentId,
    offset: u64,
}

/// Up to where in each segment everything was committed at some moment: below that, what no
/// commit of before that moment refers to is not in use.
#[derive(Clone, Debug)]
pub struct Settled {
    newest: SegmentId,
    limits: HashMap<SegmentId, u64>,
}

impl Settled {
    /// The limit in a segment.
    pub fn limit(&self, id: SegmentId) -> u64 {
        if id > self.newest { 0 } else { self.limits.get(&id).copied().unwrap_or(u64::MAX) }
    }
}

impl Segments {
    /// The segments in a directory. `end_of` tells where what the database refers to ends.
    pub fn open(
        dir: PathBuf,
        punch_holes: bool,
        end_of: impl FnOnce(SegmentId) -> Result<u64, StoreError>,
    ) -> Result<Self, StoreError> {
        let doing = || format!("opening {}", dir.display());
        match std::fs::create_dir(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(StoreError::io(doing())(error));
            }
            _ => {}
        }
        let mut newest = None;
        for entry in std::fs::read_dir(&dir).map_err(StoreError::io(doing()))? {
            let name = entry.map_err(StoreError::io(doing()))?.file_name();
            let id =
                name.to_str().and_then(|name| SegmentId::from_str_radix(name.strip_suffix(".seg")?, 16).ok());
            newest = newest.max(id);
        }
        let mut active = None;
        if let Some(id) = newest {
            let file = open_private(&file_path(&dir, id), OFlags::RDWR)?;
            let size = file.metadata().map_err(StoreError::io(doing()))?.len();
            // The file may end before what the database believes to be in it, if it was
            // damaged. New blocks must not come to lie where those are thought to be.
            let end = size.max(end_of(id)?);
            if end < SEGMENT_BYTES {
                active = Some((id, Arc::new(file), end));
            }
        }
        let state = State {
            active,
            newest: newest.unwrap_or(0),
            in_flight: HashMap::new(),
            dirty: HashMap::new(),
            dirty_dir: true,
        };
        Ok(Self {
            dir,
            state: Mutex::new(state),
            readers: Mutex::default(),
            syncing: Mutex::new(()),
            no_holes: AtomicBool::new(!punch_holes),
        })
    }

    /// Writes blocks one after the other. Tells where the first one is.
    pub fn write(&self, blocks: &[Bytes]) -> Result<(SegmentId, u64, Reservation<'_>), StoreError> {
        let size = blocks.iter().map(|block| block.len() as u64).sum();
        let (file, reservation) = self.reserve(size)?;
        let (id, mut at) = (reservation.id, reservation.offset);
        for group in blocks.chunks(SLICES) {
            let mut slices: Vec<IoSlice<'_>> = group.iter().map(|block| IoSlice::new(block)).collect();
            let mut left = slices.as_mut_slice();
            IoSlice::advance_slices(&mut left, 0);
            while !left.is_empty() {
                match rustix::io::pwritev(&file, left, at) {
                    Ok(0) => {
                        return Err(StoreError::io(self.doing("writing", id))(std::io::ErrorKind::WriteZero));
                    }
                    Ok(written) => {
                        at += written as u64;
                        IoSlice::advance_slices(&mut left, written);
                    }
                    Err(Errno::INTR) => {}
                    Err(error) => return Err(StoreError::io(self.doing("writing", id))(error)),
                }
            }
        }
        Ok((id, reservation.offset, reservation))
    }

    fn reserve(&self, size: u64) -> Result<(Arc<File>, Reservation<'_>), StoreError> {
        let mut state = self.state.lock();
        if state.active.as_ref().is_none_or(|(_, _, end)| *end > 0 && end + size > SEGMENT_BYTES) {
            let id =
                state.newest.checked_add(1).ok_or_else(|| StoreError::Invalid("too many segments".into()))?;
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
            let file = open_private(&file_path(&self.dir, id), flags)?;
            state.newest = id;
            state.dirty_dir = true;
            state.active = Some((id, Arc::new(file), 0));
        }
        let Some((id, file, end)) = &mut state.active else {
            return Err(StoreError::Damaged("no segment to write to".into()));
        };
        let (id, file, offset) = (*id, file.clone(), *end);
        *end += size;
        state.in_flight.entry(id).or_default().insert(offset);
        state.dirty.entry(id).or_insert_with(|| file.clone());
        Ok((file, Reservation { segments: self, id, offset }))
    }

    /// Where in each segment everything written so far is also committed.
    pub fn settled(&self) -> Settled {
        let state = self.state.lock();
        let mut limits: HashMap<SegmentId, u64> =
            state.in_flight.iter().filter_map(|(id, offsets)| Some((*id, *offsets.first()?))).collect();
        if let Some((id, _, end)) = &state.active {
            limits.entry(*id).or_insert(*end);
        }
        Settled { newest: state.newest, limits }
    }

    /// Flushes everything written before.
    pub fn sync(&self) -> Result<(), StoreError> {
        let _syncing = self.syncing.lock();
        let (dirty, dirty_dir) = {
            let mut state = self.state.lock();
            (std::mem::take(&mut state.dirty), std::mem::take(&mut state.dirty_dir))
        };
        for (id, file) in &dirty {
            rustix::fs::fdatasync(file).map_err(StoreError::io(self.doing("flushing", *id)))?;
        }
        if dirty_dir {
            sync_dir(&self.dir)?;
        }
        Ok(())
    }

    fn doing(&self, what: &str, id: SegmentId) -> String {
        format!("{what} {}", file_path(&self.dir, id).display())
    }

    fn reader(&self, id: SegmentId) -> Result<Arc<File>, StoreError> {
        let mut readers = self.readers.lock();
        if let Some(at) = readers.iter().position(|(open, _)| *open == id) {
            let file = readers[at].1.clone();
            if at > 0
                && let Some(entry) = readers.remove(at)
            {
                readers.push_front(entry);
            }
            return Ok(file);
        }
        let file = match open_private(&file_path(&self.dir, id), OFlags::RDONLY) {
            Ok(file) => Arc::new(file),
            Err(StoreError::Io { source, doing }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::Damaged(format!("{doing}: {source}")));
            }
            Err(error) => return Err(error),
        };
        readers.push_front((id, file.clone()));
        readers.truncate(OPEN_FILES);
        Ok(file)
    }

    /// Reads bytes. `None` if that would mean waiting for the disk, unless `wait`.
    pub fn read(
        &self,
        id: SegmentId,
        offset: u64,
        size: usize,
        wait: bool,
    ) -> Result<Option<Bytes>, StoreError> {
        let file = self.reader(id)?;
        let mut data = vec![0; size];
        if !wait {
            let read =
                rustix::io::preadv2(&file, &mut [IoSliceMut::new(&mut data)], offset, ReadWriteFlags::NOWAIT);
            match read {
                Ok(read) if read == size => return Ok(Some(data.into())),
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => return Ok(None),
                // Not every filesystem can tell; those that cannot are mostly in memory.
                Err(_) => {}
            }
        }
        match file.read_exact_at(&mut data, offset) {
            Ok(()) => Ok(Some(data.into())),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(StoreError::Damaged(format!("{} ends too soon", file_path(&self.dir, id).display())))
            }
            Err(error) => Err(StoreError::io(self.doing("reading", id))(error)),
        }
    }

    /// Gives the space of a range back, as far as it is made of whole pages.
    pub fn punch(&self, id: SegmentId, range: std::ops::Range<u64>) -> Result<(), StoreError> {
        let (start, end) = (range.start.next_multiple_of(PAGE), range.end / PAGE * PAGE);
        if start >= end || self.no_holes.load(Ordering::Relaxed) {
            return Ok(());
        }
        let file = match open_private(&file_path(&self.dir, id), OFlags::RDWR) {
            Ok(file) => file,
            Err(StoreError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&file, mode, start, end - start) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.no_holes.store(true, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => Err(StoreError::io(self.doing("clearing a part of", id))(error)),
        }
    }

    /// Was the filesystem found unable to punch holes?
    pub fn cannot_punch(&self) -> bool {
        self.no_holes.load(Ordering::Relaxed)
    }

    /// Copies bytes to where new blocks are written.
    pub fn copy(
        &self,
        id: SegmentId,
        offset: u64,
        size: u64,
    ) -> Result<(SegmentId, u64, Reservation<'_>), StoreError> {
        let from = self.reader(id)?;
        let (to, reservation) = self.reserve(size)?;
        let mut buffer = vec![0; size.min(1 << 20) as usize];
        let mut done = 0;
        while done < size {
            let part = &mut buffer[..(size - done).min(1 << 20) as usize];
            from.read_exact_at(part, offset + done).map_err(StoreError::io(self.doing("reading", id)))?;
            to.write_all_at(part, reservation.offset + done)
                .map_err(StoreError::io(self.doing("writing", reservation.id)))?;
            done += part.len() as u64;
        }
        Ok((reservation.id, reservation.offset, reservation))
    }

    /// Writes no more to the segment that is written, so that it can be compacted.
    pub fn seal(&self, id: SegmentId) {
        self.state.lock().active.take_if(|(active, _, _)| *active == id);
    }

    /// Is this the segment that is written?
    pub fn is_active(&self, id: SegmentId) -> bool {
        self.state.lock().active.as_ref().is_some_and(|(active, _, _)| *active == id)
    }

    /// Removes a segment that nothing refers to.
    pub fn remove(&self, id: SegmentId) -> Result<(), StoreError> {
        self.readers.lock().retain(|(open, _)| *open != id);
        self.state.lock().dirty.remove(&id);
        match std::fs::remove_file(file_path(&self.dir, id)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(StoreError::io(self.doing("removing", id))(error))
            }
            _ => Ok(()),
        }
    }

    /// All segments, with the bytes that each takes on the disk.
    pub fn list(&self) -> Result<BTreeMap<SegmentId, u64>, StoreError> {
        use std::os::unix::fs::MetadataExt;
        let doing = || format!("listing {}", self.dir.display());
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(&self.dir).map_err(StoreError::io(doing()))? {
            let entry = entry.map_err(StoreError::io(doing()))?;
            let name = entry.file_name();
            let id =
                name.to_str().and_then(|name| SegmentId::from_str_radix(name.strip_suffix(".seg")?, 16).ok());
            if let (Some(id), Ok(meta)) = (id, entry.metadata()) {
                found.insert(id, meta.blocks() * 512);
            }
        }
        Ok(found)
    }
}

fn file_path(dir: &Path, id: SegmentId) -> PathBuf {
    dir.join(format!("{id:08x}.seg"))
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut state = self.segments.state.lock();
        if let Some(offsets) = state.in_flight.get_mut(&self.id) {
            offsets.remove(&self.offset);
            if offsets.is_empty() {
                state.in_flight.remove(&self.id);
            }
        }
    }
}

/// Are an extent's blocks in their segment as they should be?
pub fn is_sound(dir: &Path, extent: &Extent) -> bool {
    let Place::Segment { id, offset } = extent.place() else { return true };
    let mut data = vec![0; extent.size() as usize];
    let read = File::open(file_path(dir, *id)).and_then(|file| file.read_exact_at(&mut data, *offset));
    read.is_ok() && extent.bad_blocks(&data) == 0
}
