//! Block 0 of a trie's core: what the core is.

use bytes::Bytes;
use hyperspace_api::CoreError;
use prost::Message;

/// The first block. For a drive, `metadata` is the key of its content core.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Header {
    /// What the other blocks are; `hypertrie` for a trie.
    #[prost(string, required, tag = "1")]
    pub r#type: String,
    /// Whatever the user of the trie wants to keep there.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub metadata: Option<Bytes>,
    /// What the trie is used for: `hyperdrive`, `mountable-hypertrie`, or nothing.
    #[prost(string, optional, tag = "3")]
    pub subtype: Option<String>,
}

impl Header {
    /// The type of a trie.
    pub const TYPE: &str = "hypertrie";

    /// The header of a trie.
    pub fn new(metadata: Option<Bytes>, subtype: Option<&str>) -> Self {
        Self { r#type: Self::TYPE.to_owned(), metadata, subtype: subtype.map(str::to_owned) }
    }

    /// The block.
    pub fn to_block(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    /// Reads the block.
    ///
    /// # Errors
    /// [`CoreError::Corrupt`] if it is no header of a trie.
    pub fn from_block(block: &[u8]) -> Result<Self, CoreError> {
        match Self::decode(block) {
            Ok(header) if header.r#type == Self::TYPE => Ok(header),
            Ok(header) => {
                let found: String = header.r#type.chars().take(32).collect();
                Err(CoreError::Corrupt(format!("the core holds no trie but {found:?}")))
            }
            Err(error) => Err(CoreError::Corrupt(format!("the core holds no trie: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_a_drive() {
        let header = Header::new(Some(Bytes::from_static(&[0xaa; 32])), Some("hyperdrive"));
        let block = header.to_block();
        assert_eq!(&block[..13], b"\x0a\x09hypertrie\x12\x20");
        assert_eq!(&block[45..], b"\x1a\x0ahyperdrive");
        assert_eq!(Header::from_block(&block), Ok(header));
        assert!(Header::from_block(b"\x0a\x08hyperbee").is_err());
        assert!(Header::from_block(b"hello").is_err());
    }
}
