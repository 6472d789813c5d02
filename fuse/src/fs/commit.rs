//! From staged bytes to the drive.
//!
//! A file is one range of blocks in the content core, so a change anywhere writes
//! the file anew, except that one which only grew, and still ends the core, is grown
//! in place. Writers may go on while a commit runs: what they add is committed next.

use super::Filesystem;
use super::open_file::{Base, OpenFile};
use super::sync_log::Unsynced;
use super::types::now;
use crate::errno::Errno;
use bytes::Bytes;
use hyperdrive::{Content, ContentSource, Drive, Extent, Op, Stat};
use hyperspace_api::{Core, CoreError, Corestore};
use std::io;
use std::sync::Arc;

/// Files up to this size go to the drive as bytes, and share a batch with others.
const INLINE: u64 = 1 << 20;
/// A file shorter than this is written anew rather than grown.
const GROW_FROM: u64 = 64 << 10;
/// Growing happens in steps of this size.
const GROW_STEP: u64 = 1 << 20;

/// How the drive gets the content.
enum Way<S: Corestore> {
    /// It has it already: nothing, or a range that is not named in the index yet.
    Held(Base<S>),
    /// By its bytes.
    Inline,
    /// The committed range and what comes after it.
    Grow(Extent),
    /// All of it, streamed.
    Stream,
}

impl<S: Corestore> Filesystem<S> {
    /// Brings what was written to `ino` into the drive. Does nothing for a file that
    /// has no changes or no name any more.
    pub(crate) async fn commit_file(&self, ino: u64) -> Result<(), Errno> {
        let Some(file) = self.open_file(ino) else { return Ok(()) };
        let _one = file.committing.lock().await;
        if self.is_orphan(ino) {
            return Ok(());
        }
        let (leaf, way, size, mtime, changes) = {
            let mut state = file.state();
            if !state.dirty() {
                return Ok(());
            }
            state.shrunk_to = u64::MAX;
            state.unsynced = Unsynced::default();
            state.named = None;
            state.commits += 1;
            (state.leaf.clone(), way(&state), state.size, state.mtime, state.changes)
        };
        let base = self.bring(&file, &leaf, way, size).await?;
        let content = match &base {
            Base::Bytes(bytes) if bytes.is_empty() => Content::Empty,
            Base::Bytes(bytes) => Content::Bytes(bytes.clone()),
            Base::Extent { extent, .. } => Content::Extent(*extent),
        };
        self.set_content(ino, content, mtime).await?;

        // Who asked the drive before this must know that the answer is old; so is what an
        // orphan was remembered by.
        let mut inodes = self.inodes.lock();
        if let Some(node) = inodes.get_mut(ino) {
            node.cached = Some((mtime, size));
            node.committed = self.edited();
            node.left = None;
        }
        let mut state = file.state();
        state.saved = changes;
        state.base_limit = base.size().min(state.shrunk_to);
        state.base = base;
        state.in_flight = None;
        state.may_stream = true;
        if state.changes == changes {
            state.staging.clear();
        }
        drop((state, inodes));
        self.tell_twins(ino);
        Ok(())
    }

    /// Gives the drive the bytes; the answer is where they are.
    async fn bring(
        &self,
        file: &Arc<OpenFile<S>>,
        leaf: &Drive<S>,
        way: Way<S>,
        size: u64,
    ) -> Result<Base<S>, Errno> {
        match way {
            Way::Held(base) => return Ok(base),
            Way::Inline => return Ok(Base::Bytes(file.read_padded(0, size as usize).await?)),
            Way::Grow(mut extent) => {
                while extent.size < size {
                    let more = GROW_STEP.min(size - extent.size) as usize;
                    let bytes = file.read_padded(extent.size, more).await?;
                    match leaf.extend_content(extent, bytes).await? {
                        Some(longer) => extent = longer,
                        None => break,
                    }
                }
                if extent.size == size {
                    return Ok(held_in(leaf, extent));
                }
            }
            Way::Stream => {}
        }
        if size <= INLINE {
            return Ok(Base::Bytes(file.read_padded(0, size as usize).await?));
        }
        let extent = leaf.write_content(Source(file.clone()), size).await?;
        Ok(held_in(leaf, extent))
    }

    /// Names the content in the index. A file that another writer deleted stays deleted.
    async fn set_content(&self, ino: u64, content: Content, mtime: u64) -> Result<(), Errno> {
        let _names = self.names.read().await;
        let Ok((_, path)) = self.writable_path(ino) else { return Ok(()) };
        match self.root.apply(vec![Op::SetContent { path, content, mtime }]).await {
            Err(error) if error.errno() == libc::ENOENT => {
                tracing::warn!("a file with changes was deleted by another writer");
                Ok(())
            }
            done => Ok(done?),
        }
    }

    /// Commits every file; the first error is returned after all were tried.
    pub async fn commit_all(&self) -> Result<(), Errno> {
        let mut result = Ok(());
        let files = self.inodes.lock().contents();
        for (ino, _) in files {
            result = result.and(self.commit_file(ino).await);
            self.settle(ino);
        }
        result = result.and(self.save_directory_times().await);
        result.and(self.drives.commit_all().await.map_err(Errno::from))
    }

    /// [`commit_all`](Self::commit_all), and returns when it is on the disk.
    pub async fn sync_all(&self) -> Result<(), Errno> {
        let committed = self.commit_all().await;
        let flushed = self.drives.flush_all().await;
        committed.and(flushed.map_err(Errno::from))
    }

    /// Would anything be lost if this process were to end now: content, or names?
    pub fn is_unsaved(&self) -> bool {
        let files = self.inodes.lock().contents();
        let unsaved = |(ino, file): &(u64, Arc<OpenFile<S>>)| {
            file.dirty() && !self.is_orphan(*ino) && !self.is_logged(*ino, file)
        };
        self.drives.waits() || files.iter().any(unsaved)
    }

    /// [`sync_all`](Self::sync_all), before the end. While the server is away and has all
    /// that would be lost, there is nothing to be done: `false`. (What it has not got is the
    /// times of directories, at most.)
    pub async fn save(&self) -> Result<bool, Errno> {
        if !self.is_unsaved() && self.is_away().await {
            return Ok(false);
        }
        self.sync_all().await.map(|()| true)
    }

    /// Is the server away?
    async fn is_away(&self) -> bool {
        matches!(self.root.metadata_core().info().await, Err(CoreError::Disconnected(_)))
    }

    /// Returns when the changes to `ino` are on the disk: committed, or in the
    /// sync log.
    pub async fn fsync(&self, ino: u64) -> Result<(), Errno> {
        if let Some(file) = self.open_file(ino)
            && !self.is_orphan(ino)
            && self.log_changes(ino, &file).await?
        {
            return Ok(());
        }
        self.commit_and_flush(ino).await
    }

    /// Commits `ino`, and returns when it is on the disk.
    pub(super) async fn commit_and_flush(&self, ino: u64) -> Result<(), Errno> {
        self.commit_file(ino).await?;
        let Some(file) = self.open_file(ino) else { return Ok(self.root.flush().await?) };
        let (leaf, commits) = {
            let state = file.state();
            (state.leaf.clone(), state.commits)
        };
        leaf.flush().await?;
        self.logged_from_here(ino, &file, commits).await;
        Ok(())
    }
}

fn way<S: Corestore>(state: &super::open_file::State<S>) -> Way<S> {
    let (size, limit) = (state.size, state.base_limit);
    if state.in_flight.is_some() {
        // Streaming it failed half-way.
        return if size <= INLINE { Way::Inline } else { Way::Stream };
    }
    if state.staging.is_empty() && limit == size && state.base.size() == size {
        return Way::Held(state.base.clone());
    }
    if let Base::Extent { extent, .. } = &state.base
        && extent.size >= GROW_FROM
        && limit == extent.size
        && size > limit
        && state.staging.ranges().iter().next().is_none_or(|first| first.start >= limit)
    {
        return Way::Grow(*extent);
    }
    if size <= INLINE { Way::Inline } else { Way::Stream }
}

/// A file whose content is `extent` of `leaf`.
pub(crate) fn held_in<S: Corestore>(leaf: &Drive<S>, extent: Extent) -> Base<S> {
    let Extent { offset, blocks, byte_offset, size } = extent;
    Base::of(leaf, &Stat { offset, blocks, byte_offset, size, mtime: now(), ..Stat::default() })
}

/// A file as it is while it is streamed out.
pub(super) struct Source<S: Corestore>(pub(super) Arc<OpenFile<S>>);

impl<S: Corestore> ContentSource for Source<S> {
    async fn read_at(&self, offset: u64, length: usize) -> io::Result<Bytes> {
        Ok(self.0.read_padded(offset, length).await?)
    }
}
