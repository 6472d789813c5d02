//! One place for all cores of a store.
pub(crate) mod bitfield;
pub(crate) mod cache;
mod catalog;
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
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { primary_key: None, cache_bytes: 32 << 20, tail_bytes: 64 << 20, idle_cores: 512 }
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
