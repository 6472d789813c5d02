//! One block of a bee.

use bytes::Bytes;
use hyperspace_api::CoreError;
use prost::Message;

/// What block 0 says that the core is.
const PROTOCOL: &str = "hyperbee";
/// Keys in a node: one that gets another is split.
pub(crate) const MAX_KEYS: usize = 8;
/// Bytes of a block's index. A block has the nodes of one path and their new neighbours, of
/// 200 bytes or so each; this would do for hundreds of them.
const MAX_INDEX: usize = 64 * 1024;

#[derive(Message)]
struct Header {
    #[prost(string, required, tag = "1")]
    protocol: String,
}

/// Both have to be there.
#[derive(Message)]
struct Node {
    #[prost(bytes = "bytes", optional, tag = "1")]
    index: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    key: Option<Bytes>,
}

#[derive(Message)]
struct Index {
    #[prost(message, repeated, tag = "1")]
    levels: Vec<Pointers>,
}

#[derive(Message)]
struct Pointers {
    #[prost(uint64, repeated, packed = "true", tag = "1")]
    keys: Vec<u64>,
    #[prost(uint64, repeated, packed = "true", tag = "2")]
    children: Vec<u64>,
}

/// Does block 0 say that its core is a bee?
pub fn is_header(block: &[u8]) -> bool {
    Header::decode(block).is_ok_and(|header| header.protocol == PROTOCOL)
}

/// A block: the key that was put or deleted, and the nodes that were written for that. The
/// first of them is the root of the tree after it, unless more was appended at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Block {
    /// Which.
    pub seq: u64,
    /// The key.
    pub key: Bytes,
    /// The nodes.
    pub levels: Vec<Level>,
}

/// A node of the tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Level {
    /// The blocks that have its keys, which are sorted; at most eight.
    pub keys: Vec<u64>,
    /// What is before, between and after the keys; nothing in a leaf.
    pub children: Vec<Child>,
}

/// Where a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Child {
    /// Its block.
    pub seq: u64,
    /// Which of the block's nodes it is.
    pub offset: u64,
}

impl Block {
    /// Reads block `seq`.
    ///
    /// # Errors
    /// [`CoreError::Corrupt`] if it is none of a bee.
    pub fn decode(block: Bytes, seq: u64) -> Result<Self, CoreError> {
        let bad =
            |why: &dyn std::fmt::Display| CoreError::Corrupt(format!("block {seq} is none of a bee: {why}"));
        let node = Node::decode(block).map_err(|error| bad(&error))?;
        let (Some(index), Some(key)) = (node.index, node.key) else {
            return Err(bad(&"it has no index or no key"));
        };
        if index.len() > MAX_INDEX {
            return Err(bad(&"its index is too large"));
        }
        let index = Index::decode(index).map_err(|error| bad(&error))?;
        let mut levels = Vec::with_capacity(index.levels.len());
        for Pointers { keys, children } in index.levels {
            let (children, odd) = children.as_chunks::<2>();
            let right = children.is_empty() || children.len() == keys.len() + 1;
            if keys.len() > MAX_KEYS || !right || !odd.is_empty() {
                return Err(bad(&"a node has too many keys or children"));
            }
            let children = children.iter().map(|&[seq, offset]| Child { seq, offset }).collect();
            levels.push(Level { keys, children });
        }
        // Copied, not sliced: a small key must not keep a large value alive.
        Ok(Self { seq, key: Bytes::copy_from_slice(&key), levels })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_header() {
        assert!(is_header(b"\x0a\x08hyperbee"));
        assert!(is_header(b"\x0a\x08hyperbee\x12\x00"));
        assert!(!is_header(b"\x0a\x09hypertrie"));
        assert!(!is_header(b""));
    }

    #[test]
    fn the_first_block_of_a_drive() {
        let block = Bytes::from_static(b"\x0a\x05\x0a\x03\x0a\x01\x01\x12\x0dfiles\x00/secret\x1a\x02{}");
        let level = Level { keys: vec![1], children: vec![] };
        let read = Block { seq: 1, key: Bytes::from_static(b"files\0/secret"), levels: vec![level] };
        assert_eq!(Block::decode(block, 1), Ok(read));
    }

    #[test]
    fn what_no_bee_writes() {
        // Nine keys; one key and one child; half a child; no key; no index.
        let nine = b"\x0a\x0d\x0a\x0b\x0a\x09\x01\x02\x03\x04\x05\x06\x07\x08\x09\x12\x01k";
        let one = b"\x0a\x09\x0a\x07\x0a\x01\x01\x12\x02\x01\x01\x12\x01k";
        let half = b"\x0a\x08\x0a\x06\x0a\x01\x01\x12\x01\x01\x12\x01k";
        for bad in [&nine[..], one, half, b"\x0a\x00", b"\x12\x01k"] {
            assert!(Block::decode(Bytes::from_static(bad), 1).is_err(), "{bad:?}");
        }
        let mut large = vec![0x0a, 0x82, 0x80, 0x04];
        large.extend([0x0a, 0x00].repeat(MAX_INDEX / 2 + 1));
        large.extend(b"\x12\x01k");
        let error = Block::decode(large.into(), 1).unwrap_err();
        assert!(error.to_string().contains("too large"), "{error}");
    }

    proptest! {
        #[test]
        fn garbage(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            is_header(&bytes);
            let _ = Block::decode(bytes.into(), 7);
        }
    }
}
