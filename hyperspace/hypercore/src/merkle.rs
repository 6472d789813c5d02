//! The Merkle tree over a core's blocks: appending, finding bytes, making and checking
//! proofs.
//!
//! Nothing here reads or writes a disk. A [`Tree`] is what is kept in memory of a core: its
//! roots. Other nodes are read through [`NodeSource`], and what an operation adds is handed
//! back for the caller to store.

mod node;
pub mod seek;
mod tree;

pub use node::{Node, NodeSource, ReadError};
pub use tree::{Batch, RootsError, Tree};
