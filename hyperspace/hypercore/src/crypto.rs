//! Hashes, keys and signatures, and how the protocol names what it hashes.
//!
//! Everything is BLAKE2b-256 and Ed25519 as libsodium does them. Where a hash has a key,
//! it is BLAKE2's own key parameter, never a prefix of the message.
//!
//! The key of the core `notes` in the store of a primary key, as npm corestore 7 has it:
//!
//! ```
//! use hypercore::crypto::namespace::Namespace;
//! use hypercore::manifest::Manifest;
//!
//! let primary_key = [0; 32];
//! let pair = Namespace::default().key_pair(&primary_key, b"notes");
//! let key = Manifest::single_signer(pair.public_key()).key();
//! # assert_ne!(key.as_bytes(), &pair.public_key());
//! ```

mod block_cipher;
mod hash;
mod keys;
pub mod namespace;

pub use block_cipher::{BlockCipher, PADDING};
pub(crate) use hash::keyed;
pub use hash::{Hash, hash, hash_leaves, hash_pairs, keyed_hash, leaf_hash, parent_hash, tree_hash};
pub use keys::{KeyPair, PublicKey, SIGNATURE_BYTES, Signature, verify};
