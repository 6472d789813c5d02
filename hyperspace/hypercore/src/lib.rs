//! Signed append-only logs: Merkle tree, manifests, storage, corestore.
//!
//! * [`Corestore`] keeps many cores in one directory, or in memory; [`LocalCore`] is one
//!   of them. Both implement the traits of [`hyperspace_api`].
//! * [`storage`] says how they are kept on the disk.
//! * [`merkle`], [`manifest`], [`crypto`], [`flat_tree`] and [`encoding`] are the format,
//!   and do no I/O.
#![forbid(unsafe_code)]

pub mod core;
pub mod corestore;
pub mod crypto;
pub mod flat_tree;
pub mod manifest;
pub mod merkle;
pub mod replication;
pub mod storage;
pub mod verify;

pub use crate::core::LocalCore;
pub use compact_encoding as encoding;
pub use corestore::{Corestore, ListedCore};
pub use hyperspace_api;
pub use storage::{StoreError, StoreOptions};
