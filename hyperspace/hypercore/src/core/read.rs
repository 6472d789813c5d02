//! How a core is read: blocks, byte offsets, numbers.

use super::LocalCore;
use super::network::within;
use crate::merkle::{ReadError, Tree, seek};
use crate::storage::StoreError;
use crate::storage::cache::{Cached, Lookup};
use crate::storage::extent::{Extent, LARGE, Located, Place, SMALL_BYTES};
use crate::storage::tail::Known;
use bytes::Bytes;
use hyperspace_api::{Core, CoreError, CoreInfo, GetOptions, Seek};
use std::sync::Arc;

/// How often a read is begun anew because what it found had moved meanwhile.
const RETRIES: u32 = 8;

/// A read that did not go through.
enum Miss {
    /// The block is not held.
    NotHeld,
    /// It is, but not in memory.
    Wait,
    /// It does not say what it should, or could not be read.
    Failed(StoreError),
}

impl LocalCore {
    /// The block, if that takes no waiting.
    pub(super) fn read_now(&self, index: u64) -> Option<Bytes> {
        self.shared.check_open(&self.engine).ok()?;
        self.read(index, false).ok()
    }

    pub(super) async fn get_block(&self, index: u64, options: GetOptions) -> Result<Bytes, CoreError> {
        self.shared.check_open(&self.engine)?;
        match self.read_off_thread(index).await {
            Ok(Some(block)) => return Ok(block),
            Ok(None) => {}
            Err(error) => return Err(error),
        }
        if !options.wait {
            return Err(CoreError::NotDownloaded);
        }
        if self.view.is_some_and(|view| index >= view.length) {
            return Err(CoreError::NotAvailable);
        }
        within(options.timeout, async {
            loop {
                let changed = self.shared.changed.notified();
                tokio::pin!(changed);
                // From here on no change is missed.
                changed.as_mut().enable();
                match self.fetch(index, options.if_available).await {
                    // Without anybody to ask, it can still be written here.
                    Err(CoreError::NotAvailable) if !options.if_available => changed.await,
                    other => other?,
                }
                self.shared.check_open(&self.engine)?;
                if let Some(block) = self.read_off_thread(index).await? {
                    return Ok(block);
                }
            }
        })
        .await
    }

    /// The block if it is held. Reads that have to wait for the disk do so on a thread that
    /// is there for that.
    async fn read_off_thread(&self, index: u64) -> Result<Option<Bytes>, CoreError> {
        let miss = match self.read(index, false) {
            Err(Miss::Wait) => {
                let core = self.clone();
                tokio::task::spawn_blocking(move || core.read(index, true))
                    .await
                    .map_err(|error| CoreError::Io { message: error.to_string(), errno: 0 })?
            }
            other => other,
        };
        match miss {
            Ok(block) => Ok(Some(block)),
            Err(Miss::NotHeld | Miss::Wait) => Ok(None),
            Err(Miss::Failed(error)) => Err(error.into()),
        }
    }

    /// The block if it is held, however long the disk takes.
    pub(crate) fn read_waiting(&self, index: u64) -> Result<Option<Bytes>, CoreError> {
        match self.read(index, true) {
            Ok(block) => Ok(Some(block)),
            Err(Miss::NotHeld | Miss::Wait) => Ok(None),
            Err(Miss::Failed(error)) => Err(error.into()),
        }
    }

    /// Was the block found to be damaged since the core was opened?
    pub(crate) fn is_damaged(&self, index: u64) -> bool {
        self.shared.tail.read().damaged.contains(&index)
    }

    fn read(&self, index: u64, wait: bool) -> Result<Bytes, Miss> {
        if index >= self.length() {
            return Err(Miss::NotHeld);
        }
        for last in (0..RETRIES).map(|attempt| attempt + 1 == RETRIES) {
            let found = match self.shared.tail.read().extent(index) {
                Known::Gone => return Err(Miss::NotHeld),
                Known::Here(extent) => match extent.locate(index) {
                    Some(Located::Inline(block)) => return Ok(block),
                    _ => Some(extent.clone()),
                },
                Known::Ask => None,
            };
            let block = match found {
                Some(extent) => self.read_from(&extent, index, wait),
                None => self.read_stored(index, wait),
            };
            match block {
                Ok(Some(block)) => return Ok(block),
                Ok(None) => return Err(Miss::Wait),
                Err(StoreError::Damaged(what)) => {
                    // It may have been cleared or moved while we looked.
                    self.shared.cache.forget_extent(index);
                    if last {
                        return self.damaged(index, &what);
                    }
                }
                Err(error) => return Err(Miss::Failed(error)),
            }
        }
        Err(Miss::NotHeld)
    }

    /// Reports a block whose bytes are not what was stored, and treats it as missing until
    /// the core is opened anew.
    fn damaged(&self, index: u64, what: &str) -> Result<Bytes, Miss> {
        let mut tail = self.shared.tail.write();
        if tail.held.get(index) {
            tracing::error!(core = %self.shared.key, index, "a stored block is damaged, and treated as missing: {what}");
            tail.lose(index);
        }
        Err(Miss::NotHeld)
    }

    /// The block by way of cache and database.
    fn read_stored(&self, index: u64, wait: bool) -> Result<Option<Bytes>, StoreError> {
        let (cached, generation) = match self.shared.cache.extent(index) {
            Lookup::Hit(cached, generation) => (cached, generation),
            Lookup::Miss(generation) => {
                let extent = self
                    .engine
                    .load_extent(self.shared.id, index)?
                    .ok_or_else(|| StoreError::Damaged("no row in the database has it".into()))?;
                let bad = match extent.place() {
                    Place::Inline(data) => extent.bad_blocks(data),
                    Place::Segment { .. } => 0,
                };
                let cached = Cached::new(extent, bad, index);
                (self.engine.budget().put_extent(&self.shared.cache, cached, generation), generation)
            }
        };
        let cached = match self.read_ahead(cached, index, generation, wait)? {
            Some(cached) => cached,
            None => return Ok(None),
        };
        if cached.bad >> (index - cached.extent.first()) & 1 == 1 {
            return Err(StoreError::Damaged("its checksum differs".into()));
        }
        match cached.extent.locate(index) {
            Some(Located::Inline(block)) => Ok(Some(block)),
            _ => self.read_from(&cached.extent, index, wait),
        }
    }

    /// If small blocks are read one after the other, gets the whole extent with one read; who
    /// jumps about gets by with less.
    fn read_ahead(
        &self,
        cached: Arc<Cached>,
        index: u64,
        generation: u64,
        wait: bool,
    ) -> Result<Option<Arc<Cached>>, StoreError> {
        let Place::Segment { id, offset } = cached.extent.place() else { return Ok(Some(cached)) };
        if !is_small(&cached.extent) || !cached.is_walk(index) {
            return Ok(Some(cached));
        }
        let Some(data) = self.engine.read_segment(*id, *offset, cached.extent.size() as usize, wait)? else {
            return Ok(None);
        };
        let bad = cached.extent.bad_blocks(&data);
        let whole = Cached::new(cached.extent.with_data(data), bad, index);
        Ok(Some(self.engine.budget().put_extent(&self.shared.cache, whole, generation)))
    }

    /// One block out of a segment.
    fn read_from(&self, extent: &Extent, index: u64, wait: bool) -> Result<Option<Bytes>, StoreError> {
        let (Some(Located::Segment { id, offset, size }), Some((_, crc))) =
            (extent.locate(index), extent.check_of(index))
        else {
            return Err(StoreError::Damaged("it is not where it should be".into()));
        };
        let Some(block) = self.engine.read_segment(id, offset, size, wait)? else { return Ok(None) };
        if crc32c::crc32c(&block) != crc {
            return Err(StoreError::Damaged("its checksum differs".into()));
        }
        Ok(Some(block))
    }

    pub(super) async fn seek_byte(&self, byte_offset: u64) -> Result<Seek, CoreError> {
        self.shared.check_open(&self.engine)?;
        if byte_offset > self.byte_length() {
            return Err(CoreError::SeekNotAvailable);
        }
        let tree = self.view_tree()?;
        match seek::locate(&self.nodes(), &tree, byte_offset, 0) {
            Ok(seek::Position::Block { index, offset }) => Ok(Seek { index, offset }),
            Ok(seek::Position::Below { .. }) | Err(ReadError::Missing(_) | ReadError::OutOfBounds) => {
                Err(CoreError::SeekNotAvailable)
            }
            Err(ReadError::Source(error)) => Err(error),
        }
    }

    /// The tree of what this handle sees.
    fn view_tree(&self) -> Result<Arc<Tree>, CoreError> {
        match self.view {
            None => self.shared.tree(&self.engine),
            Some(view) => match Tree::load(&self.nodes(), view.fork, view.length) {
                Ok(tree) => Ok(Arc::new(tree)),
                Err(ReadError::Source(error)) => Err(error),
                Err(_) => Err(CoreError::SeekNotAvailable),
            },
        }
    }

    pub(super) fn describe(&self) -> Result<CoreInfo, CoreError> {
        let (length, byte_length) = (self.length(), self.byte_length());
        // The lock is not held any longer: what follows takes it again, and a writer who comes
        // in between would wait for us, and we for him.
        let contiguous_length = self.shared.tail.read().held.contiguous().min(length);
        // What is sparse has to be looked through.
        let disk_bytes = if contiguous_length == length { byte_length } else { self.held_bytes()? };
        let (fork, traffic) = (self.fork(), self.traffic());
        let (uploaded, downloaded) = (traffic.uploaded, traffic.downloaded);
        Ok(CoreInfo { length, byte_length, fork, contiguous_length, disk_bytes, uploaded, downloaded })
    }
}

/// Is the extent read and cached whole?
fn is_small(extent: &Extent) -> bool {
    extent.size() as usize <= SMALL_BYTES + LARGE && extent.size() as usize / extent.count() < LARGE
}

impl LocalCore {
    /// Bytes of the blocks that are held, by walking the tree to the ends of each run.
    fn held_bytes(&self) -> Result<u64, CoreError> {
        let tree = match self.view_tree() {
            Ok(tree) => tree,
            Err(CoreError::SeekNotAvailable) => return Ok(0),
            Err(error) => return Err(error),
        };
        let (mut at, mut sum) = (0, 0);
        while let Some((start, end)) = self.held_run(at, tree.length()) {
            let offset = |index: u64| match seek::byte_offset(&self.nodes(), &tree, 2 * index) {
                Ok(offset) => Ok(Some(offset)),
                Err(ReadError::Source(error)) => Err(error),
                // Cut while we looked.
                Err(_) => Ok(None),
            };
            if let (Some(start), Some(end)) = (offset(start)?, offset(end)?) {
                sum += end.saturating_sub(start);
            }
            at = end;
        }
        Ok(sum)
    }

    /// The first run of held blocks at or after `from`.
    pub(crate) fn held_run(&self, from: u64, length: u64) -> Option<(u64, u64)> {
        let tail = self.shared.tail.read();
        let start = tail.held.find(from..length, true)?;
        Some((start, tail.held.find(start..length, false).unwrap_or(length)))
    }
}
