//! Signed append-only logs: Merkle tree, manifests, storage, corestore.
