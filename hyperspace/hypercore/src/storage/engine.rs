//! The store's one way in: commits, lookups, flushes.

use super::cache::Budget;
use super::catalog::Catalog;
use super::disk::Disk;
use super::error::StoreError;
use super::extent::{Extent, Place, concat, split};
use super::nodes::{NodePage, PageKey};
use super::op::{CoreId, CoreRecord, Head, MAX_CORES, Op};
use super::segment::SegmentId;
use super::tail::{JournalId, Known};
use super::{Stats, StoreOptions, bitfield::Bitfield};
use bytes::Bytes;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Number of a commit, counted since the store was opened.
pub type Lsn = u64;

/// Where a commit went.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Its journal.
    pub journal: JournalId,
    /// Its number.
    pub lsn: Lsn,
}

/// A core with something in memory that the database does not have yet. The journal keeps
/// it alive until that has changed.
pub trait Tailed: Send + Sync {
    /// Everything up to `journal` is in the database.
    fn folded(&self, journal: JournalId);
}

/// A core as the database has it.
pub struct StoredCore {
    /// Its record.
    pub record: CoreRecord,
    /// Its log's state.
    pub head: Head,
    /// Which blocks are held.
    pub held: Bitfield,
}

/// Keeps everything, on a disk or in memory only.
pub struct Engine {
    disk: Option<Disk>,
    catalog: Arc<Mutex<Catalog>>,
    budget: Budget,
    next_core: AtomicU64,
    /// Commits of a store without a disk.
    commits: AtomicU64,
    closed: AtomicBool,
}

impl Engine {
    /// A store without a disk.
    pub fn memory() -> Self {
        Self {
            disk: None,
            catalog: Arc::default(),
            budget: Budget::new(0),
            next_core: AtomicU64::new(1),
            commits: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// The store in a directory, which is made if need be; and its primary key.
    pub fn open(dir: &Path, options: &StoreOptions) -> Result<(Self, [u8; 32]), StoreError> {
        let catalog = Arc::default();
        let (disk, primary_key, next_core) = Disk::open(dir, options, Arc::clone(&catalog))?;
        let engine = Self {
            disk: Some(disk),
            catalog,
            budget: Budget::new(options.cache_bytes),
            next_core: AtomicU64::new(next_core),
            commits: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        };
        Ok((engine, primary_key))
    }

    /// Is there anything behind the caches?
    pub fn caches(&self) -> bool {
        self.disk.is_some()
    }

    /// What the caches may take.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// A number for a new core.
    pub fn new_core_id(&self) -> Result<CoreId, StoreError> {
        let id = self.next_core.fetch_add(1, Ordering::Relaxed);
        if id < MAX_CORES {
            Ok(id)
        } else {
            Err(StoreError::Invalid("the store has had too many cores".into()))
        }
    }

    /// Waits until there is room for further commits.
    pub async fn admit(&self) {
        if let Some(disk) = &self.disk {
            disk.admit().await;
        }
    }

    /// Makes extents of new blocks; what belongs in segments is written there.
    pub fn place(&self, first: u64, blocks: &[Bytes]) -> Result<Placed<'_>, StoreError> {
        let inline = |blocks: &[Bytes], _| Place::Inline(concat(blocks));
        match &self.disk {
            None => Ok(Placed { extents: split(first, blocks, inline), reservation: None }),
            Some(disk) => disk.place(first, blocks),
        }
    }

    /// Commits `ops`: when this returns, they survive the end of the process. `apply` makes
    /// them visible; it runs before any later commit does. `of` is the core they are about.
    pub fn commit(
        &self,
        ops: Vec<Op>,
        of: Option<(CoreId, Arc<dyn Tailed>)>,
        apply: impl FnOnce(&[Op], Stamp),
    ) -> Result<Stamp, StoreError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(StoreError::Closed(String::new()));
        }
        let visible = |ops: &[Op], stamp: Stamp| {
            let mut catalog = None;
            for op in ops {
                if matches!(op, Op::Core { .. } | Op::Alias { .. } | Op::Setting { .. }) {
                    catalog.get_or_insert_with(|| self.catalog.lock()).apply(op, stamp.journal);
                }
            }
            drop(catalog);
            apply(ops, stamp);
        };
        match &self.disk {
            Some(disk) => disk.commit(ops, of, visible),
            None => {
                let lsn = self.commits.fetch_add(1, Ordering::Relaxed) + 1;
                let stamp = Stamp { journal: 0, lsn };
                visible(&ops, stamp);
                Ok(stamp)
            }
        }
    }

    /// Up to which commit everything is flushed.
    pub fn flushed(&self) -> Lsn {
        self.disk.as_ref().map_or(Lsn::MAX, Disk::flushed)
    }

    /// Returns when everything committed before is on the disk.
    pub async fn flush(&self) -> Result<(), StoreError> {
        match &self.disk {
            Some(disk) => disk.flush().await,
            None => Ok(()),
        }
    }

    /// Returns when everything committed before is in the database, and the space of what
    /// was cleared is given back.
    pub async fn settle(&self) -> Result<(), StoreError> {
        match &self.disk {
            Some(disk) => disk.settle().await,
            None => Ok(()),
        }
    }

    /// Refuses further commits, puts everything into the database, and returns when that
    /// is on the disk.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.closed.store(true, Ordering::Release);
        match &self.disk {
            Some(disk) => disk.close().await,
            None => Ok(()),
        }
    }

    /// Was [`close`](Self::close) called?
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// What is in the catalog, or else in the database.
    fn lookup<T>(
        &self,
        pending: impl FnOnce(&Catalog) -> Known<T>,
        stored: impl FnOnce(&Disk) -> Result<Option<T>, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let pending = pending(&self.catalog.lock());
        match (pending, &self.disk) {
            (Known::Here(value), _) => Ok(Some(value)),
            (Known::Ask, Some(disk)) => stored(disk),
            (Known::Gone, _) | (Known::Ask, None) => Ok(None),
        }
    }

    /// The core of a name.
    pub fn alias(&self, namespace: &[u8; 32], name: &Bytes) -> Result<Option<CoreId>, StoreError> {
        self.lookup(|catalog| catalog.alias(namespace, name), |disk| disk.db().alias(namespace, name))
    }

    /// The core of a discovery key.
    pub fn core_of(&self, discovery_key: &[u8; 32]) -> Result<Option<CoreId>, StoreError> {
        self.lookup(|catalog| catalog.core(discovery_key), |disk| disk.db().core_of(discovery_key))
    }

    /// A setting of the store.
    pub fn setting(&self, key: &Bytes) -> Result<Option<Bytes>, StoreError> {
        self.lookup(|catalog| catalog.setting(key), |disk| disk.db().setting(key))
    }

    /// Makes a core that was deleted unknown.
    pub fn forget(&self, discovery_key: [u8; 32], alias: Option<([u8; 32], Bytes)>, stamp: Stamp) {
        self.catalog.lock().delete(discovery_key, alias, stamp.journal);
    }

    /// The cores that are not in a database.
    pub fn pending_cores(&self) -> Vec<CoreId> {
        self.catalog.lock().cores().collect()
    }

    /// The cores that are.
    pub fn stored_cores(&self) -> Result<Vec<CoreId>, StoreError> {
        self.disk.as_ref().map_or(Ok(Vec::new()), |disk| disk.db().cores())
    }

    /// A core as the database has it.
    pub fn load_core(&self, core: CoreId) -> Result<Option<StoredCore>, StoreError> {
        self.disk.as_ref().map_or(Ok(None), |disk| disk.db().load_core(core))
    }

    /// The extent with block `index`, as the database has it.
    pub fn load_extent(&self, core: CoreId, index: u64) -> Result<Option<Extent>, StoreError> {
        self.disk.as_ref().map_or(Ok(None), |disk| disk.db().extent(core, index))
    }

    /// A page of nodes, as the database has it.
    pub fn load_page(&self, core: CoreId, key: PageKey) -> Result<Option<NodePage>, StoreError> {
        self.disk.as_ref().map_or(Ok(None), |disk| disk.db().page(core, key))
    }

    /// A value of the user's, as the database has it.
    pub fn load_user_data(&self, core: CoreId, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.disk.as_ref().map_or(Ok(None), |disk| disk.db().user_data(core, key))
    }

    /// Bytes of a segment. `None` if that would mean waiting for the disk, unless `wait`.
    pub fn read_segment(
        &self,
        id: SegmentId,
        offset: u64,
        size: usize,
        wait: bool,
    ) -> Result<Option<Bytes>, StoreError> {
        match &self.disk {
            Some(disk) => disk.segments().read(id, offset, size, wait),
            None => Err(StoreError::Damaged("a block in a segment, in a store that has none".into())),
        }
    }

    /// The store in numbers.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let mut stats = self.disk.as_ref().map_or_else(|| Ok(Stats::default()), Disk::stats)?;
        stats.cache_bytes = self.budget.bytes() as u64;
        Ok(stats)
    }
}

/// Extents of blocks that are about to be committed.
pub struct Placed<'a> {
    /// The extents.
    pub extents: Vec<Extent>,
    /// Keeps the segment they are in from being taken for empty, until they are committed.
    pub reservation: Option<super::segment::Reservation<'a>>,
}
