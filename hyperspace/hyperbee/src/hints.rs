//! Hints between peers: which blocks somebody is about to need.
//!
//! Whoever looks something up in a bee that is elsewhere learns of each block only from the
//! one before it, and waits a round trip for each. So it tells its peers what it looks for;
//! one that has the bee walks its own copy, and answers with the blocks that the walk took.
//!
//! The messages are those of the extension `hyperbee` of npm hyperbee 2, with their length in
//! front, as npm hypercore puts it there. Answers are hints only: every block is fetched and
//! proved as any other.
//!
//! # Bounds
//! A query is read if it has at most 80 KiB. Answering it reads at most 2,176 blocks, and no
//! more once 8 MiB have been read, none of them from elsewhere; so at most 17 messages, of
//! 1.3 KiB at most each, are sent for it.

use crate::block::is_header;
use crate::range;
use crate::walk::{Limits, MAX_DEPTH, Stop, Walk};
use bytes::Bytes;
use compact_encoding::{Reader, Writer};
use hyperspace_api::{Core, CoreError, GetOptions};
use prost::Message;

/// The extension's name.
pub const EXTENSION: &str = "hyperbee";
/// Blocks of one answer message.
const BLOCKS: usize = 128;
/// What one query may cost.
const LIMITS: Limits = Limits { blocks: 2048 + BLOCKS, bytes: 8 << 20, steps: 1 << 16 };
/// Bytes of a message: what is looked up is seldom longer than a path.
const MESSAGE_MAX: usize = 80 * 1024;

/// What somebody looks for in a version: the first so many blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The version.
    pub version: u64,
    /// What is looked for.
    pub of: Of,
}

/// What somebody looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of {
    /// A key.
    Key(Bytes),
    /// All keys of a range, some of which may have been read already.
    Range {
        /// The range.
        range: Range,
        /// How far it was read: from the root on, each node, and what of it is next. Empty if
        /// it is only begun with.
        checkpoint: Vec<Checkpoint>,
    },
}

/// A range of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// No key before this one.
    pub lower: Option<Bound>,
    /// No key after this one.
    pub upper: Option<Bound>,
    /// At most so many.
    pub limit: Option<u64>,
    /// From its end to its start.
    pub reverse: bool,
}

/// An end of a range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The key.
    pub key: Bytes,
    /// Is it in the range itself?
    pub inclusive: bool,
}

/// How far a node was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its block.
    pub seq: u64,
    /// Which of the block's nodes it is.
    pub offset: u64,
    /// What of it is next: child n is 2n, key n is 2n + 1.
    pub next: u64,
}

#[derive(Message)]
struct Extension {
    #[prost(message, optional, tag = "1")]
    cache: Option<Cache>,
    #[prost(message, optional, tag = "2")]
    get: Option<Get>,
    #[prost(message, optional, tag = "3")]
    iterator: Option<Iterator>,
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
struct Get {
    #[prost(uint64, optional, tag = "1")]
    version: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    key: Option<Bytes>,
}

#[derive(Message)]
struct Iterator {
    #[prost(uint64, optional, tag = "1")]
    version: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    gte: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    gt: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    lte: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "5")]
    lt: Option<Bytes>,
    #[prost(uint64, optional, tag = "6")]
    limit: Option<u64>,
    #[prost(bool, optional, tag = "7")]
    reverse: Option<bool>,
    #[prost(uint64, repeated, packed = "true", tag = "8")]
    checkpoint: Vec<u64>,
}

fn bound(exclusive: Option<Bytes>, inclusive: Option<Bytes>) -> Option<Bound> {
    let inclusive = inclusive.map(|key| Bound { key, inclusive: true });
    exclusive.map(|key| Bound { key, inclusive: false }).or(inclusive)
}

fn keys(bound: &Option<Bound>) -> (Option<Bytes>, Option<Bytes>) {
    match bound {
        Some(Bound { key, inclusive: true }) => (Some(key.clone()), None),
        Some(Bound { key, inclusive: false }) => (None, Some(key.clone())),
        None => (None, None),
    }
}

impl Query {
    /// As it is sent.
    pub fn encode(&self) -> Vec<u8> {
        let version = Some(self.version);
        let (get, iterator) = match &self.of {
            Of::Key(key) => (Some(Get { version, key: Some(key.clone()) }), None),
            Of::Range { range, checkpoint } => {
                let (gte, gt) = keys(&range.lower);
                let (lte, lt) = keys(&range.upper);
                let limit = Some(range.limit.unwrap_or(0));
                let reverse = Some(range.reverse);
                let checkpoint = checkpoint.iter().flat_map(|at| [at.seq, at.offset, at.next]).collect();
                (None, Some(Iterator { version, gte, gt, lte, lt, limit, reverse, checkpoint }))
            }
        };
        encode(&Extension { cache: None, get, iterator })
    }

    /// Reads a query; `None` if it is something else, or nothing.
    pub fn decode(message: &[u8]) -> Option<Self> {
        let message = decode(message)?;
        if let Some(Get { version, key }) = message.get {
            return Some(Self { version: version?, of: Of::Key(key.unwrap_or_default()) });
        }
        let Iterator { version, gte, gt, lte, lt, limit, reverse, checkpoint } = message.iterator?;
        let (checkpoint, odd) = checkpoint.as_chunks::<3>();
        if checkpoint.len() > MAX_DEPTH || !odd.is_empty() {
            return None;
        }
        let range = Range {
            lower: bound(gt, gte),
            upper: bound(lt, lte),
            limit: limit.filter(|limit| *limit > 0),
            reverse: reverse.unwrap_or(false),
        };
        let checkpoint = checkpoint.iter().map(|&[seq, offset, next]| Checkpoint { seq, offset, next });
        Some(Self { version: version?, of: Of::Range { range, checkpoint: checkpoint.collect() } })
    }
}

fn encode(message: &Extension) -> Vec<u8> {
    let mut out = Writer::new();
    out.buffer(&message.encode_to_vec());
    out.into_vec()
}

fn decode(message: &[u8]) -> Option<Extension> {
    if message.len() > MESSAGE_MAX {
        return None;
    }
    // Copied, so that a key keeps no larger buffer alive than the message was.
    let message = Bytes::copy_from_slice(Reader::new(message).buffer().ok()?);
    Extension::decode(message).ok()
}

/// The answer as it is sent: several messages, none if there is nothing to tell.
pub fn encode_answer(blocks: &[u64]) -> Vec<Vec<u8>> {
    let message = |blocks: &[u64]| {
        let start = blocks.iter().min().copied().unwrap_or(0);
        let end = blocks.iter().max().map_or(0, |last| last.saturating_add(1));
        let cache = Some(Cache { start, end, blocks: blocks.to_vec() });
        encode(&Extension { cache, get: None, iterator: None })
    };
    blocks.chunks(BLOCKS).map(message).collect()
}

/// The blocks that an answer tells of; `None` if the message is something else.
pub fn decode_answer(message: &[u8]) -> Option<Vec<u64>> {
    let mut blocks = decode(message)?.cache?.blocks;
    blocks.truncate(LIMITS.blocks);
    Some(blocks)
}

/// The blocks that `query` needs of the bee in `core`, as far as they are held here: nobody is
/// asked. Those needed first are at the start.
///
/// # Errors
/// What the core says; [`CoreError::Corrupt`] for what is no bee.
pub async fn answer<C: Core>(core: &C, query: &Query) -> Result<Vec<u64>, CoreError> {
    if query.version > core.length() {
        return Ok(Vec::new());
    }
    match core.get(0, GetOptions::LOCAL).await {
        Ok(header) if !is_header(&header) => return Err(CoreError::Corrupt("the core holds no bee".into())),
        // Who has only some blocks does not have to have this one.
        Ok(_) | Err(CoreError::NotDownloaded) => {}
        Err(error) => return Err(error),
    }
    let mut walk = Walk::new(core, query.version, LIMITS);
    let ended = match &query.of {
        Of::Key(key) => get(&mut walk, key).await,
        Of::Range { range, checkpoint } => range::walk(&mut walk, range, checkpoint).await,
    };
    match ended {
        Ok(()) | Err(Stop::Enough) => Ok(walk.into_told()),
        Err(Stop::Failed(error)) => Err(error),
    }
}

async fn get<C: Core>(walk: &mut Walk<'_, C>, key: &[u8]) -> Result<(), Stop> {
    let Some(mut node) = walk.root().await? else { return Ok(()) };
    for _ in 0..MAX_DEPTH {
        match walk.search(&node, key).await? {
            Err(at) if !node.level().children.is_empty() => node = walk.child(&node, at).await?,
            _ => return Ok(()),
        }
    }
    Err(Stop::Enough)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn garbage(bytes in proptest::collection::vec(any::<u8>(), 0..200), framed: bool) {
            let mut framed_bytes = Writer::new();
            framed_bytes.buffer(&bytes);
            let bytes = if framed { framed_bytes.into_vec() } else { bytes };
            let answer = decode_answer(&bytes);
            prop_assert!(answer.is_none_or(|blocks| blocks.len() <= LIMITS.blocks));
            if let Some(query) = Query::decode(&bytes) {
                prop_assert_eq!(Query::decode(&query.encode()), Some(query));
            }
        }
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let key = |size| Query { version: 2, of: Of::Key(vec![b'k'; size].into()) };
        assert!(Query::decode(&key(64 << 10).encode()).is_some());
        assert!(Query::decode(&key(MESSAGE_MAX).encode()).is_none());
        let at = Checkpoint { seq: 1, offset: 0, next: 0 };
        let way = |length| Query {
            version: 2,
            of: Of::Range { range: Range::default(), checkpoint: vec![at; length] },
        };
        assert!(Query::decode(&way(MAX_DEPTH).encode()).is_some());
        assert!(Query::decode(&way(MAX_DEPTH + 1).encode()).is_none());
    }
}
