//! The Merkle tree against the simplest thing that could be right: all nodes, computed one
//! by one from all blocks.

mod forks;
mod manifests;
mod reading;
mod tampering;
mod tree;

use bytes::Bytes;
use hypercore::crypto::KeyPair;
use hypercore::encoding::{Reader, Writer};
use hypercore::flat_tree;
use hypercore::manifest::{Manifest, Verifier};
use hypercore::merkle::message::{DataMessage, RequestMessage};
use hypercore::merkle::proof::{BlockRequest, HashRequest, Proof, Request, SeekRequest, UpgradeRequest};
use hypercore::merkle::seek::{self, Position};
use hypercore::merkle::{
    Node, ReadError, Reorg, Tree, VerifyError, check_conflict, missing_nodes, produce, verify,
};
use proptest::prelude::*;
use std::collections::HashMap;

type Nodes = HashMap<u64, Node>;

fn key_pair() -> KeyPair {
    KeyPair::from_seed(&[7; 32])
}

fn verifier() -> Verifier {
    let manifest = Manifest::single_signer(key_pair().public_key());
    Verifier::new(&manifest.key(), Some(&manifest))
}

/// Every node over these blocks, by the definition.
fn all_nodes(blocks: &[Bytes]) -> Nodes {
    fn fill(index: u64, blocks: &[Bytes], nodes: &mut Nodes) -> Node {
        let node = match flat_tree::children(index) {
            None => Node::leaf(index / 2, &blocks[index as usize / 2]),
            Some((left, right)) => Node::parent(&fill(left, blocks, nodes), &fill(right, blocks, nodes)),
        };
        nodes.insert(index, node);
        node
    }
    let mut nodes = Nodes::new();
    for root in flat_tree::full_roots(blocks.len() as u64) {
        fill(root, blocks, &mut nodes);
    }
    nodes
}

/// A core that has everything, and signs.
struct Original {
    blocks: Vec<Bytes>,
    nodes: Nodes,
    tree: Tree,
}

impl Original {
    fn new(fork: u64, blocks: Vec<Bytes>) -> Self {
        let nodes = all_nodes(&blocks);
        let tree = Tree::load(&nodes, fork, blocks.len() as u64).expect("all nodes are there");
        Self { blocks, nodes, tree }
    }

    fn answer(&self, request: &Request) -> Option<Proof> {
        let mut proof = match produce(&self.nodes, &self.tree, request, 0) {
            Ok(proof) => proof,
            Err(error) => {
                assert!(error.is_invalid(), "all nodes are there: {error}");
                return None;
            }
        };
        if let Some(block) = &mut proof.block {
            block.value = self.blocks[block.index as usize].clone();
        }
        if let Some(upgrade) = &mut proof.upgrade {
            upgrade.signature = verifier().sign(&self.tree, &key_pair()).ok();
        }
        Some(proof)
    }
}

/// A core that has only what it was sent.
#[derive(Default)]
struct Sparse {
    nodes: Nodes,
    tree: Tree,
}

impl Sparse {
    fn take(&mut self, proof: &Proof) -> Result<(), VerifyError<std::convert::Infallible>> {
        let verified = verify(&self.nodes, &self.tree, proof, &verifier())?;
        assert!(verified.is_current(&self.tree));
        self.nodes.extend(verified.nodes.iter().map(|node| (node.index, *node)));
        if let Some(upgrade) = verified.upgrade {
            assert_eq!(verifier().verify(&upgrade.tree, upgrade.signature.as_deref()), Ok(()));
            self.tree = upgrade.tree;
        }
        Ok(())
    }
}

fn block() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (4000usize..4200, any::<u8>()).prop_map(|(length, byte)| vec![byte; length]),
    ]
    .prop_map(Bytes::from)
}

fn blocks(most: usize) -> impl Strategy<Value = Vec<Bytes>> {
    prop::collection::vec(block(), 1..most)
}

/// Blocks no two of which are alike.
fn distinct(length: u64, salt: &str) -> Vec<Bytes> {
    (0..length).map(|at| Bytes::from(format!("{salt} {at} {}", "x".repeat(at as usize % 7)))).collect()
}
