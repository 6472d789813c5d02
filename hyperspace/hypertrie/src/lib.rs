//! The hypertrie: a map from paths to values in the blocks of one core.
//!
//! It is the index of a hyperdrive 10, byte for byte that of npm hypertrie 5.1.3.
//! Block 0 is a [`Header`]; every other block is a [`Node`]: one key, its value, and
//! pointers from which every key that was in the trie at that moment can be reached.
//! So each length of the core is a version of the map, and reading an old one is
//! reading from an earlier node.
//!
//! * [`Trie`] is a core and the nodes decoded from it.
//! * [`Snapshot`] is one version: look up, list, compare.
//! * [`Writer`] puts and deletes upon a version. What it made is read through its own
//!   snapshots at once, and becomes blocks when its user appends them.
//! * [`hints`] spare those who read a trie that is elsewhere most round trips.
//!
//! Blocks are a stranger's. Pointers that do not lead to an earlier block, or that
//! lead to a key that does not belong there, are [`CoreError::Corrupt`]; each walk is
//! bounded by the key's length, each listing by the number of blocks. Where the
//! original goes wrong, this does not: in deleting keys whose hashes collide, or that
//! were put with a slash at their end, and in batches that empty the trie.
//!
//! Knows nothing of drives: no `Stat`, no mounts, no cores but the one.

#![forbid(unsafe_code)]

mod cache;
mod children;
mod del;
mod diff;
mod hash;
mod header;
pub mod hints;
mod history;
mod iter;
mod node;
mod path;
mod put;
mod snapshot;
mod table;
mod writer;

pub use children::Child;
pub use diff::{Diff, DiffNode};
use hints::{Asking, Hints};

pub use hash::{ComponentHash, component_hash};
pub use header::Header;
pub use history::History;
pub use iter::{Iter, ListOptions};
pub use node::{HIDDEN, Node, flags};
pub use snapshot::{Lookup, Snapshot};
pub use writer::Writer;

use bytes::Bytes;
use cache::NodeCache;
use hyperspace_api::{Core, CoreError, GetOptions};
use path::Path;
use std::sync::Arc;

/// Blocks that one operation asks for at the same time, when they are not at hand.
const CONCURRENCY: usize = 64;

/// How a trie reads.
#[derive(Clone, Copy, Debug)]
pub struct TrieOptions {
    /// How blocks are read that are not held here.
    pub get: GetOptions,
    /// Bytes of decoded nodes that are kept.
    pub cache_bytes: usize,
    /// The hash of a component. The format fixes it; see [`ComponentHash`].
    pub hash: ComponentHash,
}

impl Default for TrieOptions {
    fn default() -> Self {
        Self { get: GetOptions::default(), cache_bytes: 32 << 20, hash: component_hash }
    }
}

/// A core that holds a trie. Clones share it, and the nodes decoded from it.
#[derive(Clone, Debug)]
pub struct Trie<C> {
    core: C,
    options: TrieOptions,
    cache: Arc<NodeCache>,
    hints: Option<Arc<dyn Hints>>,
    /// What blocks are needed for at present.
    asking: Option<Arc<Asking>>,
}

impl<C: Core> Trie<C> {
    /// The trie in `core`. Nothing is read or written yet.
    pub fn new(core: C, options: TrieOptions) -> Self {
        let cache = Arc::new(NodeCache::new(options.cache_bytes));
        Self { core, options, cache, hints: None, asking: None }
    }

    /// Its core.
    pub fn core(&self) -> &C {
        &self.core
    }

    /// The same trie, with another way to read blocks that are not held here.
    pub fn with_get(&self, get: GetOptions) -> Self {
        Self { options: TrieOptions { get, ..self.options }, ..self.clone() }
    }

    /// The same trie, which tells by `hints` what is looked for whenever a block is not
    /// here.
    #[must_use]
    pub fn with_hints(self, hints: Arc<dyn Hints>) -> Self {
        Self { hints: Some(hints), ..self }
    }

    /// Tells now, if there is whom to tell: what is looked for next will need blocks.
    pub fn hint(&self, query: hints::Query) {
        if let Some(hints) = &self.hints {
            hints.ask(query);
        }
    }

    /// Block 0.
    ///
    /// # Errors
    /// [`CoreError::Corrupt`] if the core holds something else, and what
    /// [`Core::get`] says.
    pub async fn read_header(&self) -> Result<Header, CoreError> {
        let block = match self.core.get_now(0) {
            Some(block) => block,
            None => self.core.get(0, self.options.get).await?,
        };
        Header::from_block(&block)
    }

    /// The version after the first `version` blocks; 0 and 1 are empty.
    pub fn at(&self, version: u64) -> Snapshot<C> {
        Snapshot::new(self.clone(), version)
    }

    /// The newest version that is known here.
    pub fn live(&self) -> Snapshot<C> {
        self.at(self.core.length())
    }

    /// To be told when the core's history was rewritten from block `length` on.
    pub fn truncated(&self, length: u64) {
        self.cache.truncate(length);
    }

    fn path(&self, key: &str, hidden: bool) -> Result<Path, CoreError> {
        Path::new(key, hidden, self.options.hash).ok_or_else(|| {
            CoreError::Invalid(format!(
                "A key of {} bytes is too long; {} are allowed",
                key.len(),
                Path::MAX_KEY
            ))
        })
    }

    /// Node `seq`, if it can be had at once.
    fn node_now(&self, seq: u64) -> Result<Option<Arc<Node>>, CoreError> {
        if let Some(node) = self.cache.get(seq) {
            return Ok(Some(node));
        }
        let truncations = self.cache.truncations();
        self.core.get_now(seq).map(|block| self.decode(seq, block, truncations)).transpose()
    }

    /// Node `seq`, from wherever it must come.
    async fn node(&self, seq: u64) -> Result<Arc<Node>, CoreError> {
        if let Some(node) = self.node_now(seq)? {
            return Ok(node);
        }
        let truncations = self.cache.truncations();
        let block = self.fetch(seq).await?;
        self.decode(seq, block, truncations)
    }

    async fn fetch(&self, seq: u64) -> Result<Bytes, CoreError> {
        if let Some(asking) = &self.asking {
            match self.core.get(seq, GetOptions::LOCAL).await {
                Err(CoreError::NotDownloaded) if self.options.get.wait => asking.ask(),
                got => return got,
            }
        }
        self.core.get(seq, self.options.get).await
    }

    fn decode(&self, seq: u64, block: Bytes, truncations: u64) -> Result<Arc<Node>, CoreError> {
        let node = Arc::new(Node::decode(block, seq, self.options.hash)?);
        self.cache.insert(node.clone(), truncations);
        Ok(node)
    }
}
