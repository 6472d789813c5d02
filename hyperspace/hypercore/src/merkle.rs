//! The Merkle tree over a core's blocks: appending, finding bytes, making and checking
//! proofs.
//!
//! Nothing here reads or writes a disk. A [`Tree`] is what is kept in memory of a core: its
//! roots. Other nodes are read through [`NodeSource`], and what an operation adds is handed
//! back for the caller to store.
//!
//! A writer appends and signs; a reader asks, and believes what it can check:
//!
//! ```
//! use hypercore::crypto::KeyPair;
//! use hypercore::manifest::{Manifest, Verifier};
//! use hypercore::merkle::proof::{BlockRequest, Request, UpgradeRequest};
//! use hypercore::merkle::{Node, Tree, produce, verify};
//! use std::collections::HashMap;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let pair = KeyPair::from_seed(&[1; 32]);
//! let manifest = Manifest::single_signer(pair.public_key());
//! let verifier = Verifier::new(&manifest.key(), Some(&manifest));
//!
//! // The writer.
//! let blocks = ["zero", "one", "two"];
//! let batch = Tree::new(0).append(&blocks);
//! let nodes: HashMap<u64, Node> = batch.nodes.iter().map(|node| (node.index, *node)).collect();
//! let signature = verifier.sign(&batch.tree, &pair)?;
//!
//! // The reader has nothing yet, and wants block 1.
//! let request = Request {
//!     block: Some(BlockRequest { index: 1, nodes: 0 }),
//!     upgrade: Some(UpgradeRequest { start: 0, length: 3 }),
//!     ..Request::default()
//! };
//!
//! // The writer answers.
//! let mut proof = produce(&nodes, &batch.tree, &request, 0)?;
//! proof.block.as_mut().unwrap().value = blocks[1].into();
//! proof.upgrade.as_mut().unwrap().signature = Some(signature);
//!
//! // The reader checks, and now has the tree, and all nodes from block 1 up to a root.
//! let verified = verify(&HashMap::new(), &Tree::new(0), &proof, &verifier)?;
//! assert_eq!(verified.upgrade.unwrap().tree, batch.tree);
//! # Ok(()) }
//! ```

pub mod message;
mod node;
mod producer;
pub mod proof;
mod reorg;
pub mod seek;
mod tree;
mod verifier;

pub use node::{Node, NodeSource, ReadError, WithHints};
pub use producer::{ProduceError, produce};
pub use reorg::{Reorg, ReorgError};
pub use tree::{Batch, RootsError, Tree};
pub use verifier::{Upgrade, Verified, VerifyError, check_conflict, missing_nodes, verify};
