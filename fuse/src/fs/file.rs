//! Open files.

use super::found::Found;
use super::inodes::Place;
use super::open_file::{MAX_SIZE, OpenFile};
use super::types::{Handle, Kind, Opened, now};
use super::{Filesystem, Open};
use crate::errno::Errno;
use bytes::Bytes;
use hyperspace_api::Corestore;

/// Bytes copied at a time when content cannot be shared.
const COPY_STEP: u64 = 1 << 20;
/// Bytes copied by one call at most: the caller asks again.
const COPY_MOST: u64 = 16 << 20;
/// Files that do not reach this are not looked at for streaming.
const STREAM_FROM: usize = 512 << 10;
/// What one call can report as copied.
const SHARE_MOST: u64 = i32::MAX as u64;

impl<S: Corestore> Filesystem<S> {
    /// Opens a file; with `O_TRUNC` in `flags` it is empty afterwards.
    pub async fn open(&self, ino: u64, flags: i32) -> Result<Opened, Errno> {
        let mut keep = true;
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0;
        match self.open_named(ino, writes).await {
            // Its name was taken away since it was found: it is opened all the same.
            Err(Errno::ENOENT | Errno::ESTALE) if self.is_orphan(ino) => self.open_orphan(ino)?,
            opened => keep = opened?,
        }
        if flags & libc::O_TRUNC != 0
            && let Some(file) = self.open_file(ino)
        {
            let mut state = file.state();
            if state.size > 0 {
                state.truncate(0, now())?;
            }
        }
        let handle = self.handles.lock().give(Open::File { writes });
        Ok(Opened { handle, keep })
    }

    /// Opens what has a name; is what the kernel may have cached of it still right?
    async fn open_named(&self, ino: u64, writes: bool) -> Result<bool, Errno> {
        if writes {
            self.writable_path(ino)?;
        }
        if let Place::Network = self.place(ino)? {
            return Err(Errno::EISDIR);
        }
        loop {
            let Found { located, seen, .. } = self.locate(ino, None).await?;
            match Kind::of(located.stat.mode) {
                Kind::File => {}
                Kind::Dir => return Err(Errno::EISDIR),
                Kind::Symlink => return Err(Errno::ELOOP),
            }
            if writes && !located.drive.writable() {
                return Err(Errno::EROFS);
            }
            let mut inodes = self.inodes.lock();
            if inodes.committed_since(ino, seen.edits) {
                continue; // What was found is older than the commit.
            }
            let node = inodes.get_mut(ino).ok_or(Errno::ESTALE)?;
            if node.orphan.is_some() {
                return Err(Errno::ESTALE);
            }
            node.handles += 1;
            let current = (located.stat.mtime, located.stat.size);
            let dirty = node.content.as_ref().is_some_and(|file| file.dirty());
            let keep = dirty || node.cached.is_none_or(|cached| cached == current);
            node.cached = Some(current);
            match &node.content {
                Some(file) => file.state().refresh(&located.drive, &located.stat),
                None => node.content = Some(self.open_content(&located.drive, &located.stat)),
            }
            return Ok(keep);
        }
    }

    /// Opens what had a name when it was found.
    fn open_orphan(&self, ino: u64) -> Result<(), Errno> {
        let mut inodes = self.inodes.lock();
        let node = inodes.get_mut(ino).ok_or(Errno::ESTALE)?;
        if node.content.is_none() {
            let (Some(stat), Some(drive)) = (&node.orphan, &node.left) else { return Err(Errno::ESTALE) };
            if !stat.is_file() {
                return Err(Errno::ESTALE);
            }
            node.content = Some(self.open_content(drive, stat));
        }
        node.handles += 1;
        Ok(())
    }

    /// At most `length` bytes from `offset`; fewer only at the file's end.
    pub async fn read(&self, ino: u64, offset: u64, length: usize) -> Result<Bytes, Errno> {
        let file = self.open_file(ino).ok_or(Errno::EBADF)?;
        if file.state().stale && !self.is_orphan(ino) {
            match self.locate(ino, None).await {
                Ok(Found { located, seen, .. }) if located.stat.is_file() => {
                    let inodes = self.inodes.lock();
                    let mut state = file.state();
                    if inodes.committed_since(ino, seen.edits) {
                        state.stale = false; // Our commit came after the other's change.
                    } else {
                        state.refresh(&located.drive, &located.stat);
                    }
                }
                // Another writer deleted or replaced it; what was opened can still be read.
                Ok(_) | Err(Errno::ENOENT) => file.state().stale = false,
                Err(error) => return Err(error),
            }
        }
        self.in_time(file.read(offset, length)).await
    }

    /// Stages `data` at `offset`. Does not wait for anything but, for a large file, the
    /// page cache of the staging directory.
    pub fn write(&self, ino: u64, offset: u64, data: &[u8]) -> Result<(), Errno> {
        let file = self.open_file(ino).ok_or(Errno::EBADF)?;
        let size = file.state().size;
        self.room_for(offset.saturating_sub(size))?;
        file.state().write(offset, data, now())?;
        if data.len() >= STREAM_FROM || offset >= STREAM_FROM as u64 {
            self.stream(ino, &file);
        }
        Ok(())
    }

    /// A descriptor of the file was closed: what it wrote is committed, so that
    /// `close` can tell if that failed.
    pub async fn flush(&self, ino: u64, handle: Handle) -> Result<(), Errno> {
        let writes = matches!(self.handles.lock().open.get(&handle.0), Some(Open::File { writes: true }));
        if writes { self.commit_file(ino).await } else { Ok(()) }
    }

    /// The last descriptor of a handle is gone, and so are its mappings.
    pub async fn release(&self, ino: u64, handle: Handle) -> Result<(), Errno> {
        let opened = self.handles.lock().open.remove(&handle.0);
        // Pages of a mapping may have been written back after the last close.
        let committed = match opened {
            Some(Open::File { writes: true }) => self.commit_file(ino).await,
            _ => Ok(()),
        };
        if let Some(node) = self.inodes.lock().get_mut(ino) {
            node.handles = node.handles.saturating_sub(1);
        }
        self.settle(ino);
        committed
    }

    /// Makes the file at least `offset + length` long; its space comes from the drive
    /// when it is committed. Only the plain mode 0 exists.
    pub fn fallocate(&self, ino: u64, offset: u64, length: u64, mode: i32) -> Result<(), Errno> {
        if mode != 0 {
            return Err(Errno::EOPNOTSUPP);
        }
        let end = offset.checked_add(length).filter(|end| *end <= MAX_SIZE).ok_or(Errno::EFBIG)?;
        let file = self.open_file(ino).ok_or(Errno::EBADF)?;
        let size = file.state().size;
        self.room_for(end.saturating_sub(size))?;
        let mut state = file.state();
        if end > state.size {
            state.truncate(end, now())?;
        }
        Ok(())
    }

    /// `SEEK_DATA` and `SEEK_HOLE`: a drive has no holes, so all is data.
    pub fn lseek(&self, ino: u64, offset: i64, whence: i32) -> Result<i64, Errno> {
        let file = self.open_file(ino).ok_or(Errno::EBADF)?;
        let size = i64::try_from(file.state().size).map_err(|_| Errno::EFBIG)?;
        if offset < 0 || offset >= size {
            return Err(Errno::ENXIO);
        }
        match whence {
            libc::SEEK_DATA => Ok(offset),
            libc::SEEK_HOLE => Ok(size),
            _ => Err(Errno::EINVAL),
        }
    }

    /// Copies within the mount. A whole committed file copied into an empty one of the
    /// same drive shares its blocks: nothing is read or written.
    pub async fn copy_file_range(&self, from: (u64, u64), to: (u64, u64), length: u64) -> Result<u64, Errno> {
        let source = self.open_file(from.0).ok_or(Errno::EBADF)?;
        let target = self.open_file(to.0).ok_or(Errno::EBADF)?;
        if from.0 != to.0
            && from.1 == 0
            && to.1 == 0
            && let Some(copied) = share(&source, &target, length)?
        {
            return Ok(copied);
        }
        let mut copied = 0;
        let most = length.min(COPY_MOST);
        while copied < most {
            let step = COPY_STEP.min(most - copied) as usize;
            let bytes = source.read(from.1 + copied, step).await?;
            if bytes.is_empty() {
                break;
            }
            self.write(to.0, to.1 + copied, &bytes)?;
            copied += bytes.len() as u64;
        }
        Ok(copied)
    }
}

/// Gives `target`, if it is empty, all of `source`, if that has no changes.
fn share<S: Corestore>(
    source: &OpenFile<S>,
    target: &OpenFile<S>,
    length: u64,
) -> Result<Option<u64>, Errno> {
    let (leaf, base, size) = {
        let state = source.state();
        if state.dirty()
            || state.size == 0
            || state.size > length.min(SHARE_MOST)
            || state.base_limit < state.size
        {
            return Ok(None);
        }
        (state.leaf.key(), state.base.clone(), state.size)
    };
    let mut state = target.state();
    if state.size != 0 || state.in_flight.is_some() || !state.staging.is_empty() || state.leaf.key() != leaf {
        return Ok(None);
    }
    state.base = base;
    state.named = None;
    state.base_limit = size;
    state.truncate(size, now())?;
    Ok(Some(size))
}
