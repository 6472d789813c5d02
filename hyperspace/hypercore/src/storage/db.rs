//! The database: its tables, and how they are read.
//!
//! Rows of a core are numbered so that its extents lie side by side: the core's number in
//! the upper bits, the first block's index (or the page's number) in the lower 40. The
//! body of every row is [sealed](super::seal).

use super::bitfield::Bitfield;
use super::engine::StoredCore;
use super::error::StoreError;
use super::extent::{Extent, Place};
use super::lock::open_private;
use super::nodes::{NodePage, PageKey};
use super::op::{CoreId, MAX_CORES, MAX_LENGTH, read_head, read_record};
use super::seal::{seal, unseal};
use super::segment::SegmentId;
use crate::encoding::{Reader, Writer};
use bytes::Bytes;
use hyperspace_api::Key;
use parking_lot::{Mutex, MutexGuard};
use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use rustix::fs::OFlags;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The format of the directory.
pub const FORMAT: i64 = 1;

/// Connections for readers.
const READERS: usize = 3;

/// The bits of a row's number that are not the core's.
const LOW_BITS: u32 = 40;

const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE cores (
    id INTEGER PRIMARY KEY,
    discovery BLOB NOT NULL UNIQUE,
    body BLOB NOT NULL
);
CREATE TABLE aliases (
    namespace BLOB NOT NULL,
    name BLOB NOT NULL,
    core INTEGER NOT NULL,
    PRIMARY KEY (namespace, name)
) WITHOUT ROWID;
CREATE INDEX aliases_by_core ON aliases (core);
CREATE TABLE extents (
    id INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    size INTEGER NOT NULL,
    segment INTEGER,
    offset INTEGER,
    body BLOB NOT NULL
);
CREATE INDEX extents_by_place ON extents (segment, offset, size) WHERE segment IS NOT NULL;
CREATE TABLE nodes (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE held (id INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE user_data (
    core INTEGER NOT NULL,
    key BLOB NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (core, key)
) WITHOUT ROWID;
CREATE TABLE settings (key BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE freed (
    id INTEGER PRIMARY KEY,
    segment INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    size INTEGER NOT NULL
);
";

/// The number of a row that belongs to a core.
pub fn row_id(core: CoreId, low: u64) -> i64 {
    debug_assert!(core < MAX_CORES && low <= 1 << LOW_BITS);
    (core << LOW_BITS).saturating_add(low) as i64
}

/// The core that a row belongs to.
pub fn core_of(id: i64) -> CoreId {
    id as u64 >> LOW_BITS
}

/// The part of a row's number that is not the core's.
pub fn low_of(id: i64) -> u64 {
    id as u64 & ((1 << LOW_BITS) - 1)
}

/// The number of the row of a page of nodes.
pub fn page_id(core: CoreId, key: PageKey) -> i64 {
    row_id(core, u64::from(key.level) << 37 | key.page)
}

/// A core's row, without the discovery key.
pub fn core_body(id: CoreId, stored: &StoredCore) -> Vec<u8> {
    let mut out = Writer::new();
    super::op::write_record(&stored.record, &mut out);
    super::op::write_head(&stored.head, &mut out);
    out.uint(stored.held.contiguous());
    seal(id.to_le_bytes(), out.into_vec())
}

/// The body of an extent's row.
fn extent_body(extent: &Extent, core: CoreId) -> Vec<u8> {
    let mut table = Writer::with_capacity(extent.count() * 8 + 4);
    extent.write_table(&mut table);
    let place = match extent.place() {
        Place::Inline(_) => None,
        Place::Segment { id, offset } => Some((*id, *offset)),
    };
    let mut body = seal(extent_seal(row_id(core, extent.first()), place), table.into_vec());
    if let Place::Inline(data) = extent.place() {
        body.extend_from_slice(data);
    }
    body
}

/// Writes an extent's row.
pub fn write_extent(db: &Connection, core: CoreId, extent: &Extent) -> Result<(), StoreError> {
    let (segment, offset) = match extent.place() {
        Place::Inline(_) => (None, None),
        Place::Segment { id, offset } => (Some(*id), Some(*offset as i64)),
    };
    let values = params![
        row_id(core, extent.first()),
        extent.count() as i64,
        extent.size() as i64,
        segment,
        offset,
        extent_body(extent, core)
    ];
    db.prepare_cached(
        "INSERT OR REPLACE INTO extents (id, count, size, segment, offset, body) VALUES (?, ?, ?, ?, ?, ?)",
    )
    .and_then(|mut insert| insert.execute(values))
    .map(drop)
    .map_err(StoreError::sql("writing the database"))
}

/// What the checksum of an extent's table covers besides the table.
fn extent_seal(id: i64, place: Option<(SegmentId, u64)>) -> [u8; 20] {
    let (segment, offset) = place.unwrap_or((0, 0));
    let mut row = [0; 20];
    row[..8].copy_from_slice(&id.to_le_bytes());
    row[8..12].copy_from_slice(&segment.to_le_bytes());
    row[12..].copy_from_slice(&offset.to_le_bytes());
    row
}

/// Reads an extent from the columns id, count, segment, offset, body.
pub fn read_extent(row: &rusqlite::Row<'_>) -> Result<Extent, StoreError> {
    let sql = || StoreError::sql("reading blocks");
    let damaged = || StoreError::Damaged("a row of blocks".into());
    let id: i64 = row.get(0).map_err(sql())?;
    let count: i64 = row.get(1).map_err(sql())?;
    let segment: Option<SegmentId> = row.get(2).map_err(sql())?;
    let offset: Option<i64> = row.get(3).map_err(sql())?;
    let body = row.get_ref(4).map_err(sql())?.as_blob().map_err(|_| damaged())?;
    let place = match (segment, offset) {
        (Some(segment), Some(offset)) => Some((segment, offset as u64)),
        _ => None,
    };
    let table = usize::try_from(count).ok().and_then(|count| count.checked_mul(8)?.checked_add(4));
    let (table, data) = table.and_then(|size| body.split_at_checked(size)).ok_or_else(damaged)?;
    let mut whole = unseal(extent_seal(id, place), table, "a table of blocks")?.to_vec();
    whole.extend_from_slice(data);
    Extent::read(low_of(id), count as u64, place, &mut Reader::new(&whole))
}

/// What a value of the user's is sealed with.
pub fn user_row(core: CoreId, key: &[u8]) -> Vec<u8> {
    [&core.to_le_bytes(), key].concat()
}

/// The connection that writes.
pub fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let sql = || StoreError::sql("opening the database");
    // SQLite would let others read it; the files beside it get the permissions of this one.
    drop(open_private(path, OFlags::RDWR | OFlags::CREATE)?);
    let db = Connection::open(path).map_err(sql())?;
    db.set_prepared_statement_cache_capacity(64);
    db.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -8192;
         PRAGMA temp_store = MEMORY;
         PRAGMA secure_delete = OFF;",
    )
    .map_err(sql())?;
    let format: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sql())?;
    match format {
        FORMAT => Ok(db),
        0 => {
            db.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {FORMAT}; COMMIT;"))
                .map_err(sql())?;
            Ok(db)
        }
        found => Err(StoreError::Format { path: path.to_path_buf(), found, known: FORMAT }),
    }
}

/// A number kept for the store as a whole; 0 until it is set.
pub fn meta(db: &Connection, key: &str) -> Result<i64, StoreError> {
    db.prepare_cached("SELECT value FROM meta WHERE key = ?")
        .and_then(|mut query| query.query_row([key], |row| row.get(0)).optional())
        .map(Option::unwrap_or_default)
        .map_err(StoreError::sql("reading the store's state"))
}

/// A core, with all its pages of held blocks.
pub fn load_core(db: &Connection, core: CoreId) -> Result<Option<StoredCore>, StoreError> {
    let sql = || StoreError::sql("reading a core");
    let body: Option<Vec<u8>> = db
        .prepare_cached("SELECT body FROM cores WHERE id = ?")
        .and_then(|mut query| query.query_row([core as i64], |row| row.get(0)).optional())
        .map_err(sql())?;
    let Some(body) = body else { return Ok(None) };
    let mut input = Reader::new(unseal(core.to_le_bytes(), &body, "a core's row")?);
    let record = read_record(&mut input)?;
    let head = read_head(&mut input)?;
    let contiguous = input.uint()?;
    if contiguous > MAX_LENGTH {
        return Err(StoreError::Damaged("a core's contiguous length".into()));
    }
    let mut held = Bitfield::load(contiguous);
    let mut query = db.prepare_cached("SELECT id, body FROM held WHERE id >= ? AND id < ?").map_err(sql())?;
    let mut rows = query.query(params![row_id(core, 0), row_id(core + 1, 0)]).map_err(sql())?;
    while let Some(row) = rows.next().map_err(sql())? {
        let id: i64 = row.get(0).map_err(sql())?;
        let body: Vec<u8> = row.get(1).map_err(sql())?;
        // A page that is lost costs a download; a core that does not open costs more.
        match unseal(id.to_le_bytes(), &body, "a page of held blocks") {
            Ok(body) => held.load_page(low_of(id), body)?,
            Err(error) => tracing::error!(core = %Key::from(record.key), page = low_of(id), "{error}"),
        }
    }
    Ok(Some(StoredCore { record, head, held }))
}

/// A page of nodes.
pub fn load_page(db: &Connection, core: CoreId, key: PageKey) -> Result<Option<NodePage>, StoreError> {
    let id = page_id(core, key);
    let body: Option<Vec<u8>> = db
        .prepare_cached("SELECT body FROM nodes WHERE id = ?")
        .and_then(|mut query| query.query_row([id], |row| row.get(0)).optional())
        .map_err(StoreError::sql("reading tree nodes"))?;
    body.map(|body| NodePage::decode(unseal(id.to_le_bytes(), &body, "a page of tree nodes")?)).transpose()
}

/// The extent with a block.
pub fn load_extent(db: &Connection, core: CoreId, index: u64) -> Result<Option<Extent>, StoreError> {
    let sql = || StoreError::sql("reading blocks");
    let mut query = db
        .prepare_cached(
            "SELECT id, count, segment, offset, body FROM extents
             WHERE id <= ? AND id >= ? ORDER BY id DESC LIMIT 1",
        )
        .map_err(sql())?;
    let mut rows = query.query(params![row_id(core, index), row_id(core, 0)]).map_err(sql())?;
    let Some(row) = rows.next().map_err(sql())? else { return Ok(None) };
    let extent = read_extent(row)?;
    Ok(extent.range().contains(&index).then_some(extent))
}

/// Reads the database, from several threads at once.
pub struct Db {
    path: PathBuf,
    readers: Vec<Mutex<Option<Connection>>>,
    next: AtomicUsize,
}

impl Db {
    /// For a database that exists.
    pub fn new(path: PathBuf) -> Self {
        Self { path, readers: (0..READERS).map(|_| Mutex::new(None)).collect(), next: AtomicUsize::new(0) }
    }

    /// Runs a query on a connection that nobody uses.
    pub fn read<T>(&self, query: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let free = self.readers.iter().find_map(Mutex::try_lock);
        let mut reader: MutexGuard<'_, _> = match free {
            Some(free) => free,
            None => self.readers[self.next.fetch_add(1, Ordering::Relaxed) % READERS].lock(),
        };
        if reader.is_none() {
            *reader = Some(self.connect()?);
        }
        match &*reader {
            Some(db) => query(db),
            None => Err(StoreError::Closed(String::new())),
        }
    }

    fn connect(&self) -> Result<Connection, StoreError> {
        let sql = || StoreError::sql("opening the database");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.path, flags).map_err(sql())?;
        db.set_prepared_statement_cache_capacity(32);
        db.execute_batch("PRAGMA cache_size = -3072; PRAGMA temp_store = MEMORY;").map_err(sql())?;
        Ok(db)
    }

    /// Lets go of all connections.
    pub fn close(&self) {
        for reader in &self.readers {
            *reader.lock() = None;
        }
    }

    /// The core of a name.
    pub fn alias(&self, namespace: &[u8; 32], name: &Bytes) -> Result<Option<CoreId>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT core FROM aliases WHERE namespace = ? AND name = ?")
                .and_then(|mut query| {
                    query.query_row(params![&namespace[..], &name[..]], |row| row.get::<_, i64>(0)).optional()
                })
                .map(|core| core.map(|core| core as CoreId))
                .map_err(StoreError::sql("looking a name up"))
        })
    }

    /// The core of a discovery key.
    pub fn core_of(&self, discovery_key: &[u8; 32]) -> Result<Option<CoreId>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT id FROM cores WHERE discovery = ?")
                .and_then(|mut query| {
                    query.query_row([&discovery_key[..]], |row| row.get::<_, i64>(0)).optional()
                })
                .map(|core| core.map(|core| core as CoreId))
                .map_err(StoreError::sql("looking a core up"))
        })
    }

    /// All cores.
    pub fn cores(&self) -> Result<Vec<CoreId>, StoreError> {
        self.read(|db| {
            db.prepare_cached("SELECT id FROM cores ORDER BY id")
                .and_then(|mut query| {
                    query.query_map([], |row| Ok(row.get::<_, i64>(0)? as CoreId))?.collect::<Result<_, _>>()
                })
                .map_err(StoreError::sql("listing the cores"))
        })
    }

    /// A core.
    pub fn load_core(&self, core: CoreId) -> Result<Option<StoredCore>, StoreError> {
        self.read(|db| load_core(db, core))
    }

    /// The extent with a block.
    pub fn extent(&self, core: CoreId, index: u64) -> Result<Option<Extent>, StoreError> {
        self.read(|db| load_extent(db, core, index))
    }

    /// A page of nodes.
    pub fn page(&self, core: CoreId, key: PageKey) -> Result<Option<NodePage>, StoreError> {
        self.read(|db| load_page(db, core, key))
    }

    /// A value that the user keeps with a core.
    pub fn user_data(&self, core: CoreId, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.value(
            "SELECT body FROM user_data WHERE core = ? AND key = ?",
            params![core as i64, key],
            &user_row(core, key),
        )
    }

    /// A setting of the store.
    pub fn setting(&self, key: &Bytes) -> Result<Option<Bytes>, StoreError> {
        self.value("SELECT body FROM settings WHERE key = ?", params![&key[..]], key)
    }

    fn value(&self, query: &str, at: impl rusqlite::Params, row: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let body: Option<Vec<u8>> = self.read(|db| {
            db.prepare_cached(query)
                .and_then(|mut query| query.query_row(at, |row| row.get(0)).optional())
                .map_err(StoreError::sql("reading a value"))
        })?;
        body.map(|body| Ok(Bytes::copy_from_slice(unseal(row, &body, "a stored value")?))).transpose()
    }
}
