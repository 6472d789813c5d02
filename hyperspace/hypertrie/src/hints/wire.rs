//! Queries and answers as they are sent: the messages of the extension.

use super::{BLOCKS_MAX, Listing, NEAR, Query};
use bytes::Bytes;
use prost::Message;

/// Blocks of one answer message.
const BLOCKS: usize = 128;
/// Bytes of a message: a key has at most 64 KiB.
const MESSAGE_MAX: usize = 80 * 1024;

const RECURSIVE: u32 = 1;
const HIDDEN: u32 = 8;

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
