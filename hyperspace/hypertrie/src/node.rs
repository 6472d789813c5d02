//! One entry of the trie, and its block.

use crate::hash::ComponentHash;
use crate::path::Path;
use crate::table::Table;
use bytes::Bytes;
use hyperspace_api::CoreError;
use prost::Message;

/// The bit of [`Node::flags`] that marks a hidden entry. Hidden entries are a
/// name space of their own: a key can stand in both.
pub const HIDDEN: u64 = 1;

/// The bits of [`Node::flags`] below those that a trie's user may use.
const USER_SHIFT: u32 = 8;

/// The flags of an entry.
pub fn flags(user: u64, hidden: bool) -> u64 {
    user << USER_SHIFT | u64::from(hidden)
}

/// An entry as some block of the core has it: a key, its value, and the way to all
/// the entries that were there when it was written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Node {
    /// Its block.
    pub seq: u64,
    /// What is stored under the key.
    pub value: Option<Bytes>,
    /// Bit 0 is [`HIDDEN`]; bits 8 and up are the user's.
    pub flags: u64,
    pub(crate) path: Path,
    pub(crate) table: Table,
}

#[derive(Message)]
struct Block {
    #[prost(string, required, tag = "1")]
    key: String,
    #[prost(bytes = "bytes", optional, tag = "2")]
    value: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    table: Option<Bytes>,
    #[prost(uint64, optional, tag = "4")]
    seq: Option<u64>,
    #[prost(uint64, optional, tag = "5")]
    flags: Option<u64>,
}

impl Node {
    /// The key, without a slash before it.
    pub fn key(&self) -> &str {
        self.path.key()
    }

    /// Is it in the name space of hidden keys?
    pub fn hidden(&self) -> bool {
        self.flags & HIDDEN != 0
    }

    /// The flags of the trie's user.
    pub fn user_flags(&self) -> u64 {
        self.flags >> USER_SHIFT
    }

    /// A node without key empties the trie: the last entry was deleted.
    pub fn is_reset(&self) -> bool {
        self.path.is_empty()
    }

    /// The block.
    pub(crate) fn encode(&self) -> Bytes {
        let block = Block {
            key: self.path.key().to_owned(),
            value: self.value.clone(),
            table: Some(self.table.encode().into()),
            seq: Some(self.seq),
            flags: Some(self.flags),
        };
        block.encode_to_vec().into()
    }

    /// Reads block `seq`. (The number within the block is not looked at, as the
    /// original does not.)
    pub(crate) fn decode(block: Bytes, seq: u64, hash: ComponentHash) -> Result<Self, CoreError> {
        let bad =
            |why: &dyn std::fmt::Display| CoreError::Corrupt(format!("block {seq} is no trie node: {why}"));
        let block = Block::decode(block).map_err(|error| bad(&error))?;
        let flags = block.flags.unwrap_or(0);
        let path =
            Path::of(block.key, flags & HIDDEN != 0, hash).ok_or_else(|| bad(&"its key is too long"))?;
        let table = block.table.unwrap_or_default();
        let table = Table::decode(&table, seq, path.len()).map_err(|error| bad(&error.0))?;
        // Copied, not sliced: a small value must not keep a large network buffer alive.
        let value = block.value.map(|value| Bytes::copy_from_slice(&value));
        Ok(Self { seq, value, flags, path, table })
    }

    /// Bytes of memory, roughly.
    pub(crate) fn weight(&self) -> usize {
        size_of::<Self>()
            + self.path.key().len()
            + self.path.depth() * 16
            + self.table.heap_bytes()
            + self.value.as_ref().map_or(0, |value| value.len() + 32)
    }
}
