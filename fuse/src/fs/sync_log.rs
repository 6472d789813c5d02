//! The sync log: what `fsync` promised of files that change a little at a time.
//!
//! A file is one range of blocks in its drive, so committing a change in the middle
//! writes the file anew. A database that syncs after every transaction would write
//! itself as often. So the second and later `fsync` of a file that is not small only
//! append *what changed* to a core of their own, and flush that; the file itself is
//! committed a little later, once for many of them. If this process dies first, the
//! next mount of the drive plays the log back.
//!
//! A record names the file by its path and by the content that the index names for it;
//! it counts only as long as both still hold. Hence a file that was committed,
//! deleted or replaced since needs no mark in the log, and a rename commits first.
//!
//! The log is cleared when everything in it is committed. Bounds: [`MAX_RECORD`] bytes
//! a record, [`MAX_RECORDS`] records and [`MAX_BYTES`] bytes in all; beyond them files
//! are committed as if there were no log. Only one mount of a drive has it: one that
//! finds somebody else's record where its own should come next does without.

use super::Filesystem;
use super::found::Found;
use super::inodes::Place;
use super::open_file::{OpenFile, State};
use super::ranges::RangeSet;
use crate::errno::Errno;
use bytes::Bytes;
use hyperdrive::{Content, Extent, Op};
use hyperspace_api::{Core, CoreError, Corestore, GetOptions, Key, OpenTarget};
use prost::Message;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Smaller files are committed: that costs no more than a record.
const MIN_SIZE: u64 = 64 << 10;
/// Changed bytes of one record.
const MAX_RECORD: u64 = 1 << 20;
/// Ranges of one record.
const MAX_RANGES: usize = 4096;
/// Records that are not cleared yet.
const MAX_RECORDS: u64 = 1 << 16;
/// Changed bytes that are not cleared yet.
const MAX_BYTES: u64 = 256 << 20;
/// How long a file's changes stay in the log alone: this, and the time that writing
/// the file takes at [`WRITE_SPEED`], so that no more than half of the time is spent so.
const DELAY: Duration = Duration::from_secs(2);
/// Bytes a second.
const WRITE_SPEED: u64 = 64 << 20;

/// What was done to a file since it was last committed or logged.
#[derive(Debug)]
pub(crate) struct Unsynced {
    ranges: RangeSet,
    /// The smallest size that it was cut to.
    cut: u64,
}

impl Default for Unsynced {
    fn default() -> Self {
        Self { ranges: RangeSet::default(), cut: u64::MAX }
    }
}

impl Unsynced {
    pub(crate) fn wrote(&mut self, offset: u64, end: u64) {
        self.ranges.insert(offset..end);
    }

    pub(crate) fn cut(&mut self, size: u64) {
        self.ranges.truncate(size);
        self.cut = self.cut.min(size);
    }

    fn is_nothing(&self) -> bool {
        self.cut == u64::MAX && self.ranges.iter().next().is_none()
    }

    fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }
}

/// One `fsync` of one file, as it is stored: a block of the log's core.
#[derive(Clone, PartialEq, Message)]
struct Record {
    /// In the root drive.
    #[prost(string, tag = "1")]
    path: String,
    /// The content that the changes are to be made to, as in an [`Extent`].
    #[prost(uint64, repeated, tag = "2")]
    extent: Vec<u64>,
    /// Cut to this size first.
    #[prost(uint64, optional, tag = "3")]
    cut: Option<u64>,
    #[prost(message, repeated, tag = "4")]
    writes: Vec<Write>,
    /// The size after all.
    #[prost(uint64, tag = "5")]
    size: u64,
    /// Ms since 1970.
    #[prost(uint64, tag = "6")]
    mtime: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Write {
    #[prost(uint64, tag = "1")]
    offset: u64,
    #[prost(bytes = "bytes", tag = "2")]
    data: Bytes,
}

impl Record {
    fn extent(&self) -> Option<Extent> {
        let &[offset, blocks, byte_offset, size] = self.extent.as_slice() else { return None };
        Some(Extent { offset, blocks, byte_offset, size })
    }
}

/// The log of one mount. The lock is held across appends to a core of our own only.
pub(crate) struct SyncLog<C: Core>(tokio::sync::Mutex<Log<C>>);

struct Log<C: Core> {
    core: Option<C>,
    /// Blocks of the core, as far as we wrote them.
    length: u64,
    /// The first one that is not cleared.
    first: u64,
    /// Changed bytes since.
    bytes: u64,
    /// Files whose last changes are in the log alone.
    live: HashSet<u64>,
    /// Somebody else writes it, or it cannot be written.
    off: bool,
}

impl<C: Core> Default for SyncLog<C> {
    fn default() -> Self {
        let log = Log { core: None, length: 0, first: 0, bytes: 0, live: HashSet::new(), off: false };
        Self(tokio::sync::Mutex::new(log))
    }
}

impl<C: Core> Log<C> {
    async fn append(
        &mut self,
        store: &impl Corestore<Core = C>,
        root: Key,
        record: &Record,
    ) -> Result<bool, CoreError> {
        if self.off || self.length - self.first >= MAX_RECORDS || self.bytes >= MAX_BYTES {
            return Ok(false);
        }
        let core = match &self.core {
            Some(core) => core.clone(),
            None => {
                let core = open(store, root).await?;
                (self.length, self.first) = (core.length(), core.length());
                self.core.insert(core).clone()
            }
        };
        match core.append(vec![record.encode_to_vec().into()], Some(self.length)).await {
            Ok(appended) => self.length = appended.length,
            Err(CoreError::Conflict { .. }) => {
                tracing::info!(
                    "another mount of this drive syncs, too: files are committed at once from now on"
                );
                self.off = true;
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
        core.flush().await?;
        self.bytes += record.writes.iter().map(|write| write.data.len() as u64).sum::<u64>();
        Ok(true)
    }

    /// Gives the log's space back, if nothing in it counts any more.
    async fn clear(&mut self) {
        let Some(core) = self.core.as_ref().filter(|_| self.live.is_empty() && !self.off) else { return };
        if self.first == self.length {
            return;
        }
        match core.clear(self.first, self.length).await {
            Ok(()) => (self.first, self.bytes) = (self.length, 0),
            Err(error) => tracing::debug!(%error, "the sync log was not cleared"),
        }
    }
}

async fn open<S: Corestore>(store: &S, root: Key) -> Result<S::Core, CoreError> {
    store.open(OpenTarget::Name(format!("hyperdrive-sync-log-{root}"))).await
}

impl<S: Corestore> State<S> {
    /// Is a record worth more than a commit?
    fn loggable(&self) -> Option<Extent> {
        let bytes = self.unsynced.bytes();
        let worth = self.size >= MIN_SIZE && bytes <= MAX_RECORD && bytes <= self.size / 2;
        let whole = self.in_flight.is_none() && !self.draining;
        let few = self.unsynced.ranges.iter().nth(MAX_RANGES).is_none();
        self.named.filter(|_| worth && whole && few && self.dirty())
    }
}

impl<S: Corestore> Filesystem<S> {
    /// Makes the changes of `ino` durable by a record. `false`: it must be committed.
    pub(super) async fn log_changes(&self, ino: u64, file: &Arc<OpenFile<S>>) -> Result<bool, Errno> {
        if file.state().loggable().is_none() {
            return Ok(false);
        }
        let Ok(Place::Drive { path, network: false, .. }) = self.place(ino) else { return Ok(false) };
        let _one = file.committing.lock().await;
        let Some((mut record, unsynced, leaf)) = take(file, path) else { return Ok(false) };
        // Whatever happens below, a change that is in no record must be committed.
        let logged = async {
            for range in unsynced.ranges.iter() {
                let data = file.read_padded(range.start, (range.end - range.start) as usize).await?;
                record.writes.push(Write { offset: range.start, data });
            }
            // Names and attributes that are not committed yet are part of the promise.
            leaf.flush().await?;
            let mut log = self.sync_log.0.lock().await;
            if !log.append(self.drives.store(), self.root.key(), &record).await? {
                return Ok(false);
            }
            if log.live.insert(ino) {
                self.commit_later(ino, record.size);
            }
            Ok::<_, Errno>(true)
        }
        .await;
        if !matches!(logged, Ok(true)) {
            file.state().named = None;
        }
        logged
    }

    /// Is everything that was done to `ino` in records?
    pub(super) fn is_logged(&self, ino: u64, file: &OpenFile<S>) -> bool {
        let all = {
            let state = file.state();
            // Nothing is named after a commit or a record that failed.
            state.named.is_some() && state.unsynced.is_nothing()
        };
        // Whoever has one of the locks is at it: that is not yet done.
        let _one = file.committing.try_lock();
        all && _one.is_ok() && self.sync_log.0.try_lock().is_ok_and(|log| log.live.contains(&ino))
    }

    /// After a commit that is on the disk: records may build on it. `commits` was read
    /// before the flush.
    pub(super) async fn logged_from_here(&self, ino: u64, file: &OpenFile<S>, commits: u64) {
        if file.state().size < MIN_SIZE {
            return;
        }
        let _one = file.committing.lock().await;
        let Ok(Found { located, network: false, .. }) = self.locate(ino, None).await else { return };
        let mut state = file.state();
        if state.commits == commits && located.stat.is_file() {
            state.named = Some(located.stat.extent());
        }
    }

    /// Commits a file some time after its first record.
    fn commit_later(&self, ino: u64, size: u64) {
        let (this, delay) = (self.this.clone(), DELAY + Duration::from_secs(size / WRITE_SPEED));
        self.runtime.spawn(async move {
            loop {
                tokio::time::sleep(delay).await;
                let Some(fs) = this.upgrade() else { return };
                match fs.retire(ino).await {
                    Ok(()) => return,
                    // Nothing is lost: it is in the log, and is tried again.
                    Err(error) => tracing::warn!(%error, "a synced file could not be committed yet"),
                }
            }
        });
    }

    /// Commits `ino`, so that its records do not count any more.
    async fn retire(&self, ino: u64) -> Result<(), Errno> {
        if !self.sync_log.0.lock().await.live.contains(&ino) {
            return Ok(());
        }
        self.commit_and_flush(ino).await?;
        let mut log = self.sync_log.0.lock().await;
        // A record that was added meanwhile builds on the commit; its file is live again.
        let again = self.open_file(ino).is_some_and(|file| file.dirty());
        if again {
            drop(log);
            self.commit_later(ino, 0);
            return Ok(());
        }
        log.live.remove(&ino);
        log.clear().await;
        Ok(())
    }

    /// Commits every file that has records: a path is about to change.
    pub(super) async fn retire_all(&self) -> Result<(), Errno> {
        let live: Vec<u64> = self.sync_log.0.lock().await.live.iter().copied().collect();
        for ino in live {
            if self.open_file(ino).is_some_and(|file| file.dirty()) {
                self.commit_and_flush(ino).await?;
            }
        }
        Ok(())
    }

    /// After everything was committed and flushed, and nobody writes any more.
    pub(crate) async fn close_log(&self) {
        let mut log = self.sync_log.0.lock().await;
        log.live.clear();
        log.clear().await;
    }

    /// Makes the changes that a mount which died had promised and not committed. Returns
    /// how many files had such. To be called before the drive is shown.
    pub async fn recover(&self) -> Result<usize, Errno> {
        if self.options.read_only || !self.root.writable() {
            return Ok(0);
        }
        let core = open(self.drives.store(), self.root.key()).await?;
        let length = core.length();
        let mut records = Vec::new();
        // What was cleared is a prefix.
        for index in (length.saturating_sub(MAX_RECORDS)..length).rev() {
            match core.get(index, GetOptions::LOCAL).await {
                Ok(block) => records.push(block),
                Err(CoreError::NotDownloaded) => break,
                Err(error) => return Err(error.into()),
            }
        }
        if records.is_empty() {
            return Ok(0);
        }
        let first = length - records.len() as u64;
        let mut files: BTreeMap<String, Vec<Record>> = BTreeMap::new();
        for block in records.into_iter().rev() {
            let Ok(record) = Record::decode(block) else {
                tracing::warn!("a record of the sync log is damaged");
                continue;
            };
            let of_file = files.entry(record.path.clone()).or_default();
            if of_file.last().is_some_and(|last| last.extent != record.extent) {
                of_file.clear(); // It was committed in between.
            }
            of_file.push(record);
        }
        let mut recovered = 0;
        for (path, records) in files {
            recovered += usize::from(self.play_back(path, records).await?);
        }
        self.drives.flush_all().await?;
        core.clear(first, length).await?;
        Ok(recovered)
    }

    /// Makes the changes of `records` to the file at `path`, if it still has the
    /// content they build on.
    async fn play_back(&self, path: String, records: Vec<Record>) -> Result<bool, Errno> {
        let located = match self.root.locate(&path).await {
            Ok(located) => located,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        let named = records.last().and_then(Record::extent);
        if !located.stat.is_file() || named != Some(located.stat.extent()) {
            return Ok(false);
        }
        let file = self.open_content(&located.drive, &located.stat);
        let mut mtime = located.stat.mtime;
        for record in &records {
            let mut state = file.state();
            mtime = record.mtime;
            if let Some(cut) = record.cut {
                let cut = cut.min(state.size);
                state.truncate(cut, mtime)?;
            }
            for write in &record.writes {
                state.write(write.offset, &write.data, mtime)?;
            }
            state.truncate(record.size, mtime)?;
        }
        let size = file.state().size;
        let content = match size {
            0 => Content::Empty,
            _ => Content::Extent(located.drive.write_content(super::commit::Source(file), size).await?),
        };
        self.root.apply(vec![Op::SetContent { path: path.clone(), content, mtime }]).await?;
        tracing::info!(path, "synced changes of a mount that died were made");
        Ok(true)
    }
}

/// A record of everything that is in no record yet, its data still missing.
fn take<S: Corestore>(file: &OpenFile<S>, path: String) -> Option<(Record, Unsynced, hyperdrive::Drive<S>)> {
    let mut state = file.state();
    let extent = state.loggable()?;
    let unsynced = std::mem::take(&mut state.unsynced);
    let record = Record {
        path,
        extent: vec![extent.offset, extent.blocks, extent.byte_offset, extent.size],
        cut: (unsynced.cut != u64::MAX).then_some(unsynced.cut),
        writes: Vec::new(),
        size: state.size,
        mtime: state.mtime,
    };
    Some((record, unsynced, state.leaf.clone()))
}
