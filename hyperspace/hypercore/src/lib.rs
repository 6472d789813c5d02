//! Signed append-only logs: Merkle tree, manifests, storage, corestore.

pub mod crypto;
pub mod encoding;
pub mod flat_tree;
pub mod manifest;
pub mod merkle;
