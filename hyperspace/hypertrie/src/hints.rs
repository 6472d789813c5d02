//! Hints between peers: which blocks somebody is about to need.
//!
//! Whoever looks something up in a trie that is elsewhere learns of each block only
//! from the one before it, and waits a round trip for each. So it tells its peers what
//! it looks for; one that has the trie walks its own copy, and answers with the blocks
//! that the walk will touch, and some of those that are looked for next.
//!
//! The messages are those of the extension `hypertrie` of npm hypertrie 5. Answers are
//! hints only: every block is fetched and proved as any other. Whoever can be given blocks
//! says so in its query, in a field that the original ignores ([`Query::encode_for_blocks`]),
//! and gets the blocks themselves instead of their numbers, which spares a round trip. How
//! many of those that are looked for next should come along it says, too: over a long line
//! that was idle TCP takes a round trip for the first 15 KB, and whoever needs others than
//! these has to wait for all of them.

use crate::node::Node;
use crate::path::DIGITS;
use crate::{Trie, TrieOptions};
use bytes::Bytes;
use hyperspace_api::{Core, CoreError, GetOptions};
use prost::Message;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The extension's name.
pub const EXTENSION: &str = "hypertrie";
/// Blocks of one answer message.
const BLOCKS: usize = 128;
/// Blocks told for one query.
pub const BLOCKS_MAX: usize = 2176;
/// Of these, those that were not asked for, but are looked for next, unless whoever asks
/// wants fewer.
pub const NEAR: usize = 512;
/// Bytes of a message: a key has at most 64 KiB.
const MESSAGE_MAX: usize = 80 * 1024;
/// Bytes of nodes that are kept during one walk.
const CACHE: usize = 64 * 1024;

const RECURSIVE: u32 = 1;
const HIDDEN: u32 = 8;

/// The head of the newest version that whoever answers has: for who knows none yet.
pub const NEWEST: u64 = u64::MAX;

/// What somebody looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The block of the newest node of the version, or [`NEWEST`].
    pub head: u64,
    /// The key.
    pub key: String,
    /// Is it a hidden one?
    pub hidden: bool,
    /// What is below the key? Else the key itself.
    pub list: Option<Listing>,
}

/// What of all that is below a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// One entry for each name.
    Names,
    /// Everything.
    All,
}

/// Tells peers what is looked for, and fetches what they answer. Must return at once.
pub trait Hints: std::fmt::Debug + Send + Sync {
    /// A block has to be waited for.
    fn ask(&self, query: Query);
}

/// A query that is asked once, when the first block has to be waited for.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) hints: Arc<dyn Hints>,
    pub(crate) query: Query,
    pub(crate) asked: AtomicBool,
}

impl Asking {
    pub(crate) fn ask(&self) {
        if !self.asked.swap(true, Ordering::Relaxed) {
            self.hints.ask(self.query.clone());
        }
    }
}

#[derive(Message)]
struct Extension {
    #[prost(message, optional, tag = "1")]
    cache: Option<Cache>,
    #[prost(message, optional, tag = "2")]
    iterator: Option<Iterator>,
    #[prost(message, optional, tag = "3")]
    get: Option<Get>,
    /// Ours: the blocks themselves, please; and so many of those that are looked for next.
    #[prost(uint32, optional, tag = "16")]
    blocks: Option<u32>,
}

#[derive(Message)]
struct Cache {
    #[prost(uint64, required, tag = "1")]
    start: u64,
    #[prost(uint64, required, tag = "2")]
    end: u64,
    #[prost(uint64, repeated, packed = "true", tag = "3")]
    blocks: Vec<u64>,
}

#[derive(Message)]
struct Iterator {
    #[prost(uint64, optional, tag = "1")]
    head: Option<u64>,
    #[prost(string, optional, tag = "2")]
    key: Option<String>,
    #[prost(uint32, optional, tag = "3")]
    flags: Option<u32>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    checkpoint: Option<Bytes>,
}

#[derive(Message)]
struct Get {
    #[prost(uint64, optional, tag = "1")]
    head: Option<u64>,
    #[prost(string, optional, tag = "2")]
    key: Option<String>,
}

impl Query {
    /// As it is sent.
    pub fn encode(&self) -> Vec<u8> {
        self.message().encode_to_vec()
    }

    /// The same, by who takes the blocks themselves for an answer, and `near` of those that
    /// are looked for next.
    pub fn encode_for_blocks(&self, near: usize) -> Vec<u8> {
        let near = u32::try_from(near).unwrap_or(u32::MAX);
        Extension { blocks: Some(near), ..self.message() }.encode_to_vec()
    }

    fn message(&self) -> Extension {
        let (head, key) = (Some(self.head), Some(self.key.clone()));
        let hidden = if self.hidden { HIDDEN } else { 0 };
        let flags = match self.list {
            // A get has no flags.
            None if !self.hidden => {
                let get = Some(Get { head, key });
                return Extension { get, ..Extension::default() };
            }
            None | Some(Listing::Names) => hidden,
            Some(Listing::All) => hidden | RECURSIVE,
        };
        let iterator = Some(Iterator { head, key, flags: Some(flags), checkpoint: None });
        Extension { iterator, ..Extension::default() }
    }

    /// Reads a query; `None` if it is something else, or nothing.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let message = decode(message)?;
        if let Some(Get { head, key }) = message.get {
            return Some(Self { head: head?, key: key.unwrap_or_default(), hidden: false, list: None });
        }
        let Iterator { head, key, flags, checkpoint: _ } = message.iterator?;
        let flags = flags.unwrap_or(0);
        let list = Some(if flags & RECURSIVE != 0 { Listing::All } else { Listing::Names });
        Some(Self { head: head?, key: key.unwrap_or_default(), hidden: flags & HIDDEN != 0, list })
    }
}

fn decode(message: &[u8]) -> Option<Extension> {
    if message.len() > MESSAGE_MAX {
        return None;
    }
    Extension::decode(message).ok()
}

/// Is this a query by who takes the blocks themselves for an answer? Then how many of those
/// that are looked for next, 512 at most.
pub fn asks_for_blocks(message: &[u8]) -> Option<usize> {
    let near = decode(message)?.blocks?;
    Some(NEAR.min(near as usize))
}

/// The answer as it is sent: several messages, none if there is nothing to tell.
pub fn encode_answer(blocks: &[u64]) -> Vec<Vec<u8>> {
    let message = |blocks: &[u64]| {
        let start = blocks.iter().min().copied().unwrap_or(0);
        let end = blocks.iter().max().map_or(0, |last| last.saturating_add(1));
        let cache = Some(Cache { start, end, blocks: blocks.to_vec() });
        Extension { cache, ..Extension::default() }.encode_to_vec()
    };
    blocks.chunks(BLOCKS).map(message).collect()
}

/// The blocks that an answer tells of; `None` if the message is something else.
pub fn decode_answer(message: &[u8]) -> Option<Vec<u64>> {
    let mut blocks = decode(message)?.cache?.blocks;
    blocks.truncate(BLOCKS_MAX);
    Some(blocks)
}

/// The blocks that `query` needs of the trie in `core`, as far as they are held here:
/// nobody is asked. At most 2176, those needed first at the start.
///
/// # Errors
/// What the core says; [`CoreError::Corrupt`] for what is no trie.
pub async fn answer<C: Core>(core: &C, query: &Query) -> Result<Vec<u64>, CoreError> {
    let mut blocks = Vec::new();
    answer_by(core, query, NEAR, |block| blocks.push(block)).await?;
    Ok(blocks)
}

/// The same, with at most `near` blocks that were not asked for; `tell` hears of each block
/// as soon as it is found.
///
/// # Errors
/// As [`answer`].
pub async fn answer_by<C: Core>(
    core: &C,
    query: &Query,
    near: usize,
    mut tell: impl FnMut(u64) + Send,
) -> Result<(), CoreError> {
    let version = match query.head.checked_add(1) {
        None => core.length(),
        Some(version) if version <= core.length() => version,
        Some(_) => return Ok(()),
    };
    let options = TrieOptions { get: GetOptions::LOCAL, cache_bytes: CACHE, ..TrieOptions::default() };
    let trie = Trie::new(core.clone(), options);
    trie.read_header().await?;
    if query.head == NEWEST {
        // Who knows no version yet has not even that.
        tell(0);
    }
    Walk { trie, told: HashSet::new(), tell, near, max: BLOCKS_MAX }.run(version, query).await
}

struct Walk<C, F> {
    trie: Trie<C>,
    told: HashSet<u64>,
    tell: F,
    near: usize,
    max: usize,
}

impl<C: Core, F: FnMut(u64) + Send> Walk<C, F> {
    /// Block `seq`, which is then told of. `None` if it is not here, or enough was told.
    async fn visit(&mut self, seq: u64) -> Result<Option<Arc<Node>>, CoreError> {
        if self.told.len() >= self.max {
            return Ok(None);
        }
        match self.trie.node(seq).await {
            Ok(node) => {
                if self.told.insert(seq) {
                    (self.tell)(seq);
                }
                Ok(Some(node).filter(|node| !node.is_reset()))
            }
            Err(CoreError::NotDownloaded) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every pointer leads back, so that all of this ends.
    async fn run(&mut self, version: u64, query: &Query) -> Result<(), CoreError> {
        if version <= 1 {
            return Ok(());
        }
        let path = self.trie.path(&query.key, query.hidden)?;
        let mut next = self.visit(version - 1).await?;
        let mut from = 0;
        while let Some(node) = next {
            let to = path.diverge(&node.path).unwrap_or(path.len());
            // The entries above the key, and its own.
            let ends = (1..=path.depth() as u32).map(|depth| depth * DIGITS + 1);
            for position in ends.filter(|end| (from..=to).contains(end)) {
                for seq in node.table.to(position, crate::path::END) {
                    self.visit(seq).await?;
                }
            }
            if to >= path.prefix_len() {
                return self.below(node, path.prefix_len(), query.list).await;
            }
            next = None;
            for seq in node.table.to(to, path.digit(to)) {
                if let Some(child) = self.visit(seq).await?
                    && path.diverge(&child.path).is_none_or(|at| at > to)
                {
                    next = Some(child);
                    break;
                }
            }
            from = to + 1;
        }
        Ok(())
    }

    /// What is below a key, of which `node` is some entry: the names in it first, then
    /// what is below those.
    async fn below(&mut self, node: Arc<Node>, start: u32, list: Option<Listing>) -> Result<(), CoreError> {
        let names = if list == Some(Listing::All) { u32::MAX } else { start + DIGITS };
        if list.is_none() {
            self.max = self.near.max(self.told.len());
        }
        let mut level = VecDeque::from([(node, start)]);
        let mut deeper = VecDeque::new();
        while let Some((node, from)) = level.pop_front() {
            self.open(&node, from..names, &mut level).await?;
            // Whatever is there by that name, its own entry tells what it is.
            if names != u32::MAX {
                for seq in node.table.to(names, crate::path::END) {
                    self.visit(seq).await?;
                }
            }
            deeper.push_back((node, from.max(names)));
        }
        self.max = self.max.min(self.near.max(self.told.len()));
        while let Some((node, from)) = deeper.pop_front() {
            self.open(&node, from..u32::MAX, &mut deeper).await?;
        }
        Ok(())
    }

    async fn open(
        &mut self,
        node: &Node,
        positions: std::ops::Range<u32>,
        to: &mut VecDeque<(Arc<Node>, u32)>,
    ) -> Result<(), CoreError> {
        if positions.is_empty() {
            return Ok(());
        }
        for slot in node.table.range(positions) {
            if let Some(child) = self.visit(slot.seq).await? {
                to.push_back((child, slot.position + 1));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Header, ListOptions, Writer, flags};
    use hyperspace_api::memory::{MemoryCore, MemoryStore};
    use hyperspace_api::{Corestore, OpenTarget};
    use proptest::prelude::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
    }

    /// A trie of `names` names in each of `names` folders of each of `names` folders.
    async fn trie(names: usize) -> MemoryCore {
        let core = MemoryStore::new().open(OpenTarget::New).await.unwrap();
        core.append(vec![Header::new(None, None).to_block()], None).await.unwrap();
        let mut writer = Writer::new(Trie::new(core.clone(), TrieOptions::default()), 1);
        for a in 0..names {
            for b in 0..names {
                for c in 0..names {
                    writer.put(&format!("{a}/{b}/{c}"), Some("x".into()), flags(0, false)).await.unwrap();
                }
            }
        }
        writer.put("mounts/x", Some("y".into()), flags(0, true)).await.unwrap();
        core.append(writer.blocks().to_vec(), None).await.unwrap();
        core
    }

    /// Is what `query` asks for to be had from the blocks that it is answered with?
    async fn suffices(core: &MemoryCore, query: &Query) -> bool {
        let told = answer(core, query).await.unwrap();
        let copy = MemoryStore::new().open(OpenTarget::New).await.unwrap();
        let mut blocks = Vec::new();
        for seq in 0..core.length() {
            blocks.push(core.get(seq, GetOptions::LOCAL).await.unwrap());
        }
        copy.append(blocks, None).await.unwrap();
        for seq in (1..core.length()).filter(|seq| !told.contains(seq)) {
            copy.clear(seq, seq + 1).await.unwrap();
        }
        let snapshot = Trie::new(copy, TrieOptions::default()).at(query.head + 1);
        let found = match query.list {
            None => snapshot.lookup(&query.key, query.hidden).await.map(drop),
            Some(Listing::Names) => snapshot.children(&query.key, query.hidden).await.map(drop),
            Some(Listing::All) => {
                let options = ListOptions { hidden: query.hidden, ..ListOptions::default() };
                snapshot.list(&query.key, options).await.map(drop)
            }
        };
        found.is_ok()
    }

    #[test]
    fn an_answer_has_all_that_is_needed() {
        run(async {
            let core = trie(9).await;
            let head = core.length() - 1;
            for key in ["", "3", "3/4", "3/4/5", "3/4/5/6", "nothing", "3/nothing"] {
                for list in [None, Some(Listing::Names), Some(Listing::All)] {
                    let query = Query { head, key: key.into(), hidden: false, list };
                    assert!(suffices(&core, &query).await, "{query:?}");
                }
            }
            let list = Some(Listing::All);
            assert!(suffices(&core, &Query { head, key: "mounts".into(), hidden: true, list }).await);
            // One lookup brings what is looked for next.
            let near =
                answer(&core, &Query { head, key: "3".into(), hidden: false, list: None }).await.unwrap();
            assert!(near.len() > 80 && near.len() <= NEAR, "{}", near.len());
            // By who knows nothing yet, and wants little.
            let newest = Query { head: NEWEST, key: "3".into(), hidden: false, list: None };
            let mut told = Vec::new();
            answer_by(&core, &newest, 20, |block| told.push(block)).await.unwrap();
            assert_eq!((told[0], told[1]), (0, head));
            assert!(told.len() > 15 && told.len() <= 30, "{told:?}");
            assert!(told.iter().skip(1).all(|block| near.contains(block)), "the same, but fewer");
            // What is to come, and what is not here.
            let query = Query { head: head + 1, key: "3".into(), hidden: false, list: None };
            assert_eq!(answer(&core, &query).await.unwrap(), []);
            core.clear(1, head).await.unwrap();
            let query = Query { head, ..query };
            assert_eq!(answer(&core, &query).await.unwrap(), [head]);
        });
    }

    #[test]
    fn the_bytes_are_those_of_the_original() {
        let get = Query { head: 5, key: "k".into(), hidden: false, list: None };
        assert_eq!(get.encode(), [0x1a, 5, 8, 5, 0x12, 1, b'k']);
        assert_eq!(Query::decode(&get.encode()), Some(get.clone()));
        assert_eq!(Query::decode(&get.encode_for_blocks(7)), Some(get.clone()));
        assert_eq!(get.encode_for_blocks(64), [0x1a, 5, 8, 5, 0x12, 1, b'k', 0x80, 1, 64]);
        assert_eq!(asks_for_blocks(&get.encode_for_blocks(64)), Some(64));
        assert_eq!(asks_for_blocks(&get.encode_for_blocks(usize::MAX)), Some(NEAR));
        assert_eq!(asks_for_blocks(&get.encode()), None);
        let list = Query { head: 5, key: "k".into(), hidden: true, list: Some(Listing::All) };
        assert_eq!(list.encode(), [0x12, 7, 8, 5, 0x12, 1, b'k', 0x18, 9]);
        assert_eq!(Query::decode(&list.encode()), Some(list));
        let answer = encode_answer(&[3, 1, 300]);
        assert_eq!(answer, [[0x0a, 11, 8, 1, 0x10, 0xad, 2, 0x1a, 4, 3, 1, 0xac, 2]]);
        assert_eq!(decode_answer(&answer[0]), Some(vec![3, 1, 300]));
        assert_eq!(encode_answer(&[]).len(), 0);
        assert_eq!(encode_answer(&[7; 300]).len(), 3);
    }

    proptest! {
        #[test]
        fn garbage(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let answer = decode_answer(&bytes);
            prop_assert!(answer.is_none_or(|blocks| blocks.len() <= BLOCKS_MAX));
            if let Some(query) = Query::decode(&bytes) {
                let again = Query::decode(&query.encode()).unwrap();
                prop_assert_eq!((again.head, again.key), (query.head, query.key));
            }
        }
    }
}
