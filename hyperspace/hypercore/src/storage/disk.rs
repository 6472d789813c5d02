//! A store on the disk: commits go through here.

use super::catalog::Catalog;
use super::db::{Db, meta, open_writer};
use super::engine::{Lsn, Placed, Stamp, Tailed};
use super::error::StoreError;
use super::extent::{Place, concat, split};
use super::journal::{Journal, Record};
use super::lock::{DirLock, primary_key};
use super::op::{CoreId, Op};
use super::reclaim::{forget, reclaim};
use super::recover::recover;
use super::segment::Segments;
use super::tail::JournalId;
use super::worker::{Folder, Signal};
use super::{Stats, StoreOptions};
use bytes::Bytes;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use tokio::sync::Notify;

/// An append of this many bytes goes to a segment; a smaller one stays in the journal and
/// the database.
const SEGMENT_FROM: usize = 4096;

/// A journal of this size is folded without waiting for the second to pass.
const JOURNAL_BYTES: usize = 8 << 20;

/// A directory that is open. Dropping it closes it.
pub struct Disk {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What commits, readers and the threads in the background share.
pub struct Shared {
    pub dir: PathBuf,
    pub segments: Segments,
    pub db: Db,
    pub catalog: Arc<Mutex<Catalog>>,
    pub log: Mutex<Log>,
    /// Everything up to this commit is on the disk.
    pub flushed: AtomicU64,
    /// Bytes in journals that are not folded.
    pub tail_bytes: AtomicUsize,
    pub tail_limit: usize,
    /// The last fold failed; why.
    pub trouble: Mutex<Option<String>>,
    pub in_trouble: AtomicBool,
    /// Tells those who wait for room.
    pub room: Notify,
    pub fold: Signal,
    pub flush: Signal,
    pub lock: Mutex<Option<DirLock>>,
}

/// The journal that is written, and what was committed to it.
pub struct Log {
    pub journal: Option<Journal>,
    /// The one after it, made in advance.
    pub spare: Option<Journal>,
    pub lsn: Lsn,
    pub ops: Vec<Op>,
    pub pins: HashMap<CoreId, Arc<dyn Tailed>>,
    pub bytes: usize,
    /// Journals that were written before, and are not folded yet.
    pub closed: Vec<(JournalId, Arc<File>)>,
    /// Why nothing can be committed any more; empty if the store was closed.
    pub failed: Option<String>,
}

impl Disk {
    /// Opens a directory. Also gives its primary key, and the number of the next new core.
    pub fn open(
        dir: &Path,
        options: &StoreOptions,
        catalog: Arc<Mutex<Catalog>>,
    ) -> Result<(Self, [u8; 32], CoreId), StoreError> {
        let lock = DirLock::take(dir)?;
        let key = primary_key(dir, options.primary_key)?;
        let db_path = dir.join("hyperspace.db");
        let db = open_writer(&db_path)?;
        let segment_dir = dir.join("segments");
        let journal = recover(dir, &segment_dir, &db, meta(&db, "folded")? as JournalId)?;
        let segments = Segments::open(segment_dir, options.punch_holes, |id| end_of_segment(&db, id))?;
        if let Some(last) = reclaim(&db, &segments, &segments.settled())? {
            forget(&db, last)?;
        }
        let next_core = meta(&db, "next_core")?.max(1) as CoreId;
        let log = Log {
            journal: Some(Journal::create(dir, journal)?),
            spare: None,
            lsn: 0,
            ops: Vec::new(),
            pins: HashMap::new(),
            bytes: 0,
            closed: Vec::new(),
            failed: None,
        };
        super::lock::sync_dir(dir)?;
        let shared = Arc::new(Shared {
            dir: dir.to_path_buf(),
            segments,
            db: Db::new(db_path),
            catalog,
            log: Mutex::new(log),
            flushed: AtomicU64::new(0),
            tail_bytes: AtomicUsize::new(0),
            tail_limit: options.tail_bytes,
            trouble: Mutex::new(None),
            in_trouble: AtomicBool::new(false),
            room: Notify::new(),
            fold: Signal::default(),
            flush: Signal::default(),
            lock: Mutex::new(Some(lock)),
        });
        let disk = Self { shared: shared.clone(), threads: Mutex::default() };
        disk.spawn("fold", {
            let shared = shared.clone();
            move || Folder::new(shared, db).run()
        })?;
        disk.spawn("flush", move || super::worker::run_flusher(&shared))?;
        Ok((disk, key, next_core))
    }

    fn spawn(&self, name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let thread = std::thread::Builder::new()
            .name(format!("hypercore-{name}"))
            .spawn(work)
            .map_err(StoreError::io("starting a thread"))?;
        self.threads.lock().push(thread);
        Ok(())
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.shared.db
    }

    /// The segments.
    pub fn segments(&self) -> &Segments {
        &self.shared.segments
    }

    /// Waits until there is room for further commits.
    pub async fn admit(&self) {
        let shared = &self.shared;
        while shared.tail_bytes.load(Ordering::Acquire) > shared.tail_limit {
            let room = shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            // While folding fails, waiting is no use: the commit will tell.
            if shared.tail_bytes.load(Ordering::Acquire) <= shared.tail_limit
                || shared.in_trouble.load(Ordering::Acquire)
            {
                return;
            }
            shared.fold.hurry();
            room.await;
        }
    }

    /// Makes extents of new blocks.
    pub fn place(&self, first: u64, blocks: &[Bytes]) -> Result<Placed<'_>, StoreError> {
        let size: usize = blocks.iter().map(Bytes::len).sum();
        if size < SEGMENT_FROM {
            let extents = split(first, blocks, |blocks, _| Place::Inline(concat(blocks)));
            return Ok(Placed { extents, reservation: None });
        }
        let (id, offset, reservation) = self.shared.segments.write(blocks)?;
        let extents = split(first, blocks, |_, before| Place::Segment { id, offset: offset + before });
        Ok(Placed { extents, reservation: Some(reservation) })
    }

    /// See [`Engine::commit`](super::engine::Engine::commit).
    pub fn commit(
        &self,
        ops: Vec<Op>,
        of: Option<(CoreId, Arc<dyn Tailed>)>,
        apply: impl FnOnce(&[Op], Stamp),
    ) -> Result<Stamp, StoreError> {
        let shared = &self.shared;
        if shared.in_trouble.load(Ordering::Acquire)
            && shared.tail_bytes.load(Ordering::Acquire) > shared.tail_limit
            && let Some(trouble) = &*shared.trouble.lock()
        {
            return Err(StoreError::Io {
                doing: "writing the database".into(),
                source: std::io::Error::other(trouble.clone()),
            });
        }
        let record = Record::new(&ops)?;
        let size = record.len();
        let mut log = shared.log.lock();
        if let Some(why) = &log.failed {
            return Err(StoreError::Closed(why.clone()));
        }
        let Some(journal) = &mut log.journal else { return Err(StoreError::Closed(String::new())) };
        let id = journal.id();
        if let Err(error) = journal.append(record) {
            if let StoreError::Closed(why) = &error {
                log.failed = Some(why.clone());
            }
            return Err(error);
        }
        log.lsn += 1;
        let stamp = Stamp { journal: id, lsn: log.lsn };
        apply(&ops, stamp);
        let was_clean = log.ops.is_empty();
        log.ops.extend(ops);
        log.pins.extend(of);
        let was_small = log.bytes < JOURNAL_BYTES;
        log.bytes += size;
        shared.tail_bytes.fetch_add(size, Ordering::AcqRel);
        let is_large = log.bytes >= JOURNAL_BYTES;
        drop(log);
        if is_large && was_small {
            shared.fold.hurry();
        } else if was_clean {
            shared.fold.soon();
        }
        Ok(stamp)
    }

    /// Up to which commit everything is on the disk.
    pub fn flushed(&self) -> Lsn {
        self.shared.flushed.load(Ordering::Acquire)
    }

    /// Returns when everything committed before is on the disk.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let target = self.shared.log.lock().lsn;
        if self.flushed() >= target {
            return Ok(());
        }
        self.shared.flush.ask().await
    }

    /// Returns when everything committed before is in the database.
    pub async fn settle(&self) -> Result<(), StoreError> {
        self.shared.fold.ask().await
    }

    /// Ends everything; returns when that is done.
    pub async fn close(&self) -> Result<(), StoreError> {
        self.shared.flush.stop();
        self.shared.fold.ask_last().await
    }

    /// The store in numbers.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        use std::os::unix::fs::MetadataExt;
        let doing = || format!("listing {}", self.shared.dir.display());
        let mut disk_bytes: u64 = self.shared.segments.list()?.values().sum();
        for entry in std::fs::read_dir(&self.shared.dir).map_err(StoreError::io(doing()))? {
            let meta = entry.and_then(|entry| entry.metadata());
            disk_bytes += meta.map_or(0, |meta| if meta.is_file() { meta.blocks() * 512 } else { 0 });
        }
        let tail_bytes = self.shared.tail_bytes.load(Ordering::Relaxed) as u64;
        Ok(Stats { disk_bytes, tail_bytes, cache_bytes: 0 })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.shared.flush.stop();
        self.shared.fold.stop();
        for thread in self.threads.get_mut().drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

/// After the last byte of a segment that the database refers to.
fn end_of_segment(db: &Connection, id: super::segment::SegmentId) -> Result<u64, StoreError> {
    db.query_row(
        "SELECT offset + size FROM extents WHERE segment = ? ORDER BY segment DESC, offset DESC LIMIT 1",
        [id],
        |row| row.get::<_, i64>(0),
    )
    .optional()
    .map(|end| end.unwrap_or(0) as u64)
    .map_err(StoreError::sql("opening the segments"))
}
