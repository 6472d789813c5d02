//! Encryption of blocks: XSalsa20, as hypercore 11 does it.
//!
//! A stored block is an 8-byte prefix, then the content; hashes and sizes cover both. The
//! prefix is the fork at which the block was appended, blinded, and part of the nonce, so
//! that no index is ever encrypted twice under the same one. Nothing here authenticates: the
//! tree and its signature do. A wrong key gives garbage, not an error.

use super::hash::{hash, keyed_hash};
use super::namespace::DEFAULT_ENCRYPTION;
use hyperspace_api::Key;
use salsa20::XSalsa20;
use salsa20::cipher::{KeyIvInit, StreamCipher};

/// Bytes by which a stored block is longer than its content.
pub const PADDING: usize = 8;

/// Encrypts and decrypts the blocks of one core.
#[derive(Clone)]
pub struct BlockCipher {
    block_key: [u8; 32],
    blinding_key: [u8; 32],
}

impl BlockCipher {
    /// The cipher of a core under an encryption key. Which way the keys are derived depends
    /// on whether the core is [compat](crate::manifest::Manifest::is_compat).
    pub fn new(key: &Key, encryption_key: &[u8; 32], compat: bool) -> Self {
        Self::from_block_key(if compat {
            keyed_hash(key.as_bytes(), &[encryption_key])
        } else {
            hash(&[&DEFAULT_ENCRYPTION, key.as_bytes(), encryption_key])
        })
    }

    /// The cipher of a key that is used as it is.
    pub fn from_block_key(block_key: [u8; 32]) -> Self {
        Self { block_key, blinding_key: hash(&[&block_key]) }
    }

    /// Encrypts block `index`, appended at `fork`.
    pub fn encrypt(&self, index: u64, fork: u64, content: &[u8]) -> Vec<u8> {
        let prefix = self.blind(index, fork.to_le_bytes());
        let mut block = Vec::with_capacity(PADDING + content.len());
        block.extend_from_slice(&prefix);
        block.extend_from_slice(content);
        apply(&self.block_key, index, prefix, &mut block[PADDING..]);
        block
    }

    /// Decrypts block `index`; `None` if it is too short to be encrypted.
    pub fn decrypt(&self, index: u64, block: &[u8]) -> Option<Vec<u8>> {
        let (prefix, content) = block.split_first_chunk::<PADDING>()?;
        let mut content = content.to_vec();
        apply(&self.block_key, index, *prefix, &mut content);
        Some(content)
    }

    /// The fork at which an encrypted block was appended.
    pub fn fork(&self, index: u64, block: &[u8]) -> Option<u64> {
        let (prefix, _) = block.split_first_chunk::<PADDING>()?;
        Some(u64::from_le_bytes(self.blind(index, *prefix)))
    }

    /// Blinds a fork number, or reads a blinded one.
    fn blind(&self, index: u64, mut fork: [u8; PADDING]) -> [u8; PADDING] {
        apply(&self.blinding_key, index, [0; PADDING], &mut fork);
        fork
    }
}

impl std::fmt::Debug for BlockCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlockCipher").finish_non_exhaustive()
    }
}

/// Adds the key stream of a block onto `bytes`: encrypts and decrypts.
fn apply(key: &[u8; 32], index: u64, prefix: [u8; PADDING], bytes: &mut [u8]) {
    let mut nonce = [0; 24];
    nonce[..8].copy_from_slice(&index.to_le_bytes());
    nonce[8..16].copy_from_slice(&prefix);
    XSalsa20::new(key.into(), &nonce.into()).apply_keystream(bytes);
}
