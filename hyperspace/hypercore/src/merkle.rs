//! The Merkle tree over a core's blocks: appending, finding bytes, making and checking
//! proofs.
//!
//! Nothing here reads or writes a disk. A [`Tree`] is what is kept in memory of a core: its
//! roots. Other nodes are read through [`NodeSource`], and what an operation adds is handed
//! back for the caller to store.

pub mod message;
mod node;
mod producer;
pub mod proof;
mod reorg;
pub mod seek;
mod tree;
mod verifier;

pub use node::{Node, NodeSource, ReadError};
pub use producer::{ProduceError, produce};
pub use reorg::{Reorg, ReorgError};
pub use tree::{Batch, RootsError, Tree};
pub use verifier::{Upgrade, Verified, VerifyError, check_conflict, missing_nodes, verify};
