//! The nouns and traits on both sides of the Hyperspace RPC line.
//!
//! A [`Core`] is a signed append-only log; a [`Corestore`] keeps many of them.
//! The local store (crate `hypercore`) and the remote client (`hyperspace-client`)
//! both implement these traits, and the drive (`hyperdrive`) knows nothing else:
//! a remote drive is a regular drive with remote cores inside.
//!
//! [`memory`] has the simplest implementation, for tests and examples:
//!
//! ```
//! use hyperspace_api::{Core, Corestore, GetOptions, OpenTarget, memory::MemoryStore};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), hyperspace_api::CoreError> {
//! let store = MemoryStore::new();
//! let core = store.open(OpenTarget::Name("notes".into())).await?;
//! core.append(vec!["hello".into()], None).await?;
//! assert_eq!(core.get(0, GetOptions::default()).await?, "hello");
//! # Ok(()) }
//! ```
#![forbid(unsafe_code)]

mod error;
mod key;
pub mod memory;

pub use error::CoreError;
pub use key::{DiscoveryKey, Key, KeyError};

use bytes::Bytes;
use std::future::Future;
use std::time::Duration;
use tokio::sync::broadcast;

/// Which core to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenTarget {
    /// An existing core, ours or somebody else's.
    Key(Key),
    /// The writable core of that name (the same name gives the same core).
    Name(String),
    /// A new writable core.
    New,
}

/// How [`Core::get`] behaves when the block is not held locally.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetOptions {
    /// Ask peers for it; else fail with [`CoreError::NotDownloaded`].
    pub wait: bool,
    /// Fail with [`CoreError::NotAvailable`] once it is clear that no peer has it;
    /// else wait for a peer that does.
    pub if_available: bool,
    /// Give up after this long with [`CoreError::Timeout`]; `None` never does.
    pub timeout: Option<Duration>,
}

impl Default for GetOptions {
    fn default() -> Self {
        Self { wait: true, if_available: true, timeout: None }
    }
}

impl GetOptions {
    /// Only what is held locally.
    pub const LOCAL: Self = Self { wait: false, if_available: true, timeout: None };
}

/// Where a byte offset lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seek {
    /// The block that holds it; the core's length for its very end.
    pub index: u64,
    /// Bytes from that block's start.
    pub offset: u64,
}

/// What an append came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Index of the first block appended.
    pub first: u64,
    /// The core's length afterwards, in blocks.
    pub length: u64,
    /// The core's length afterwards, in bytes.
    pub byte_length: u64,
}

/// A core in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CoreInfo {
    /// Blocks.
    pub length: u64,
    /// Bytes of all blocks, held or not.
    pub byte_length: u64,
    /// How often the core's history was rewritten.
    pub fork: u64,
    /// Every block below this one is held.
    pub contiguous_length: u64,
    /// Bytes that the held blocks take on the disk.
    pub disk_bytes: u64,
    /// What went to peers since it is replicated.
    pub uploaded: Traffic,
    /// What came from them.
    pub downloaded: Traffic,
}

/// What was exchanged with a peer, or about a core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Traffic {
    /// Counts a block.
    pub fn add(&mut self, bytes: u64) {
        self.blocks += 1;
        self.bytes += bytes;
    }
}

/// Something that happened to a core.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreEvent {
    /// It is longer now.
    Append {
        /// Blocks.
        length: u64,
        /// Bytes.
        byte_length: u64,
    },
    /// Its history was rewritten from `length` on.
    Truncate {
        /// Blocks that are left.
        length: u64,
        /// The new fork.
        fork: u64,
    },
    /// A block came in from a peer.
    Download {
        /// Which.
        index: u64,
        /// Its size.
        byte_length: u64,
    },
    /// A block went out to a peer.
    Upload {
        /// Which.
        index: u64,
        /// Its size.
        byte_length: u64,
    },
    /// A peer has the core open.
    PeerOpen(Peer),
    /// A peer left.
    PeerRemove(Peer),
    /// A peer has proven that the core was signed with two different contents of one length.
    /// From now on it takes nothing more, from peers or from its owner, and all that would
    /// change it fails with [`CoreError::Frozen`]; what is held stays readable.
    Frozen,
    /// The core was closed beneath its users.
    Closed,
}

/// Somebody who replicates with us.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its Noise public key.
    pub remote_public_key: Key,
    /// Its address, for people to read.
    pub remote_address: String,
    /// The transport: `tcp`, `utp` or `udx`.
    pub kind: String,
}

/// A signed append-only log of blocks.
///
/// Cheap to clone; every clone is the same open core, and the last one dropped
/// closes it.
pub trait Core: Clone + Send + Sync + 'static {
    /// The key that verifies it, and by which everybody knows it.
    fn key(&self) -> Key;

    /// What it is announced under: says nothing of the key.
    fn discovery_key(&self) -> DiscoveryKey {
        self.key().discovery_key()
    }

    /// May we append?
    fn writable(&self) -> bool;

    /// Blocks, as far as known here without asking anyone.
    fn length(&self) -> u64;

    /// Bytes, as far as known here.
    fn byte_length(&self) -> u64;

    /// Appends `blocks` as one atomic batch, acknowledged when it survives the
    /// death of the process (see [`Core::flush`] for power loss).
    ///
    /// With `expected_length`, fails with [`CoreError::Conflict`] and appends
    /// nothing if the core's length is another. An empty batch appends nothing.
    fn append(
        &self,
        blocks: Vec<Bytes>,
        expected_length: Option<u64>,
    ) -> impl Future<Output = Result<Appended, CoreError>> + Send;

    /// Block `index`.
    fn get(&self, index: u64, options: GetOptions) -> impl Future<Output = Result<Bytes, CoreError>> + Send;

    /// Block `index` if it can be had at once: from memory, or from a disk read of
    /// microseconds. `None` says nothing about whether it is held.
    fn get_now(&self, _index: u64) -> Option<Bytes> {
        None
    }

    /// Is block `index` held locally?
    fn has(&self, index: u64) -> impl Future<Output = Result<bool, CoreError>> + Send;

    /// Asks peers whether the core has grown to at least `min_length` blocks
    /// (`None`: by one), and waits for the answer. `true` if the length is now
    /// what was asked for; `false` when nobody has more.
    fn update(&self, min_length: Option<u64>) -> impl Future<Output = Result<bool, CoreError>> + Send;

    /// Finds the block that holds byte `byte_offset`.
    fn seek(
        &self,
        byte_offset: u64,
        options: GetOptions,
    ) -> impl Future<Output = Result<Seek, CoreError>> + Send;

    /// Fetches the blocks `start..end`; returns when all are held. Dropping the
    /// future gives up.
    fn download(&self, start: u64, end: u64) -> impl Future<Output = Result<(), CoreError>> + Send;

    /// How many of the blocks `start..end` are held.
    fn downloaded(&self, start: u64, end: u64) -> impl Future<Output = Result<u64, CoreError>> + Send;

    /// Drops the blocks `start..end` and gives their disk space back.
    fn clear(&self, start: u64, end: u64) -> impl Future<Output = Result<(), CoreError>> + Send;

    /// Returns when everything appended before is on the disk.
    fn flush(&self) -> impl Future<Output = Result<(), CoreError>> + Send;

    /// The core in numbers.
    fn info(&self) -> impl Future<Output = Result<CoreInfo, CoreError>> + Send;

    /// The peers that have it open.
    fn peers(&self) -> Vec<Peer>;

    /// Everything that happens to it from now on. A receiver that lags too far
    /// behind is told how many events it missed; it should then look anew.
    fn events(&self) -> broadcast::Receiver<CoreEvent>;
}

/// Keeps many cores.
pub trait Corestore: Clone + Send + Sync + 'static {
    /// Its cores.
    type Core: Core;

    /// Opens a core. The same target gives the same core.
    fn open(&self, target: OpenTarget) -> impl Future<Output = Result<Self::Core, CoreError>> + Send;
}
