//! One place for all cores of a store: a directory, or memory only.
//!
//! ```text
//! LOCK                 taken while the directory is in use
//! primary-key          32 secret bytes
//! journal-….log        what was committed last, record by record
//! hyperspace.db        everything else but the blocks of larger appends (SQLite)
//! segments/….seg       those: files that are only ever written at their end
//! ```
//!
//! # The way of a commit
//! An append of 4 KiB or more is written to a segment. Then one record goes to the journal
//! with one `write`: the blocks of smaller appends, or where in which segment they are; new
//! tree nodes; the head. That takes microseconds, and survives the end of the process. At
//! last it is added to the core's tail in memory, where readers find it.
//!
//! Within a second, or when the journal has grown to 8 MiB, a thread closes the journal and
//! folds it: flushes the segments, puts all its commits into the database in one
//! transaction (which flushes that), drops the tails, removes the journal. Many small commits
//! become few rows: blocks are kept as extents, tree nodes in pages.
//!
//! # Promises
//! 1. What was acknowledged survives kill -9.
//! 2. After a loss of power the store is as it was at some moment, and no earlier than the
//!    last flush; [`LocalCore::flushed_length`](crate::LocalCore::flushed_length) tells what
//!    has been flushed. A flush writes segments first, then journals, so that no journal can
//!    be flushed before the blocks it refers to; after a crash, the journal's end is where
//!    that is not so.
//! 3. Every block has a crc32c, and so has every row of the database. What fails is
//!    reported and treated as missing, never returned.
//! 4. What is cleared is first dropped from the database, and then punched out of its file;
//!    or, where the filesystem cannot do that, what is left is copied.
//!
//! # Bounds
//! The tails of all cores take at most [`StoreOptions::tail_bytes`], beyond which writers
//! wait; what is cached of the database [`StoreOptions::cache_bytes`]; SQLite's own caches
//! below 20 MiB; some two dozen descriptors, however many cores there are. Opening a store
//! reads nothing of any core.
pub(crate) mod bitfield;
pub(crate) mod cache;
mod catalog;
mod compact;
pub(crate) mod db;
mod disk;
pub(crate) mod engine;
mod error;
pub(crate) mod extent;
mod fold;
mod journal;
mod lock;
pub(crate) mod nodes;
pub(crate) mod op;
mod reclaim;
mod recover;
mod seal;
pub(crate) mod segment;
pub(crate) mod tail;
mod worker;

pub use error::StoreError;

/// How a store is to be opened.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The primary key of a store that is made; a random one if there is none. A store that
    /// exists has to have this one.
    pub primary_key: Option<[u8; 32]>,
    /// Bytes that may be kept in memory of what was read from the disk.
    pub cache_bytes: usize,
    /// Bytes that may be committed and not yet be in the database; more make writers wait.
    pub tail_bytes: usize,
    /// Cores that stay open though nobody uses them.
    pub idle_cores: usize,
    /// Give space back by punching holes into files. If that is turned off, or the filesystem
    /// cannot do it, what is left of a file is copied once most of it is unused.
    pub punch_holes: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            primary_key: None,
            cache_bytes: 32 << 20,
            tail_bytes: 32 << 20,
            idle_cores: 512,
            punch_holes: true,
        }
    }
}

/// A store in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Bytes that the store takes on the disk.
    pub disk_bytes: u64,
    /// Bytes in memory of what was read from the disk.
    pub cache_bytes: u64,
    /// Bytes committed, and not yet in the database.
    pub tail_bytes: u64,
}
