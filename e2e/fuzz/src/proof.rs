//! Proofs: whatever a peer answers, nothing is believed but what was signed.

use bytes::Bytes;
use compact_encoding::Reader;
use hypercore::crypto::KeyPair;
use hypercore::manifest::{Manifest, Verifier};
use hypercore::merkle::proof::{BlockRequest, HashRequest, Request, SeekRequest};
use hypercore::merkle::{Node, Tree, produce, verify};
use hypercore::replication::wire::{DataMessage, Message, RequestMessage};
use std::collections::HashMap;
use std::sync::LazyLock;

const BLOCKS: u64 = 21;

fn block(index: u64) -> Vec<u8> {
    format!("block {index}").into_bytes()
}

/// A core: all its nodes, its tree, and who checks its signatures.
static CORE: LazyLock<(HashMap<u64, Node>, Tree, Verifier)> = LazyLock::new(|| {
    let empty = Tree::default();
    let blocks: Vec<_> = (0..BLOCKS).map(block).collect();
    let batch = empty.append(&blocks);
    let nodes = batch.nodes.iter().map(|node| (node.index, *node)).collect();
    let manifest = Manifest::single_signer(KeyPair::from_seed(&[7; 32]).public_key());
    (nodes, batch.tree, Verifier::new(&manifest.key(), Some(&manifest)))
});

pub fn run(input: &[u8]) {
    let _ = RequestMessage::decode(&mut Reader::new(input));
    let Ok(message) = DataMessage::decode(&Bytes::copy_from_slice(input)) else { return };
    let (nodes, tree, verifier) = &*CORE;
    // The reader knows the roots alone.
    let roots: HashMap<u64, Node> = tree.roots().iter().map(|node| (node.index, *node)).collect();
    let Ok(verified) = verify(&roots, tree, &message.proof, verifier) else { return };
    assert!(verified.upgrade.is_none(), "nobody has signed that");
    for node in &verified.nodes {
        assert_eq!(nodes.get(&node.index), Some(node));
    }
    if let Some(proven) = &message.proof.block {
        assert_eq!(proven.value, block(proven.index));
    }
}

/// Proofs of blocks, of nodes and of bytes.
pub fn samples() -> Vec<Vec<u8>> {
    let (nodes, tree, _) = &*CORE;
    let mut samples = Vec::new();
    for index in 0..BLOCKS {
        let by_block = Request { block: Some(BlockRequest { index, nodes: 2 }), ..Request::default() };
        let hash = Some(HashRequest { index: 2 * index, nodes: 2 });
        let seek = Some(SeekRequest { bytes: 7 * index, padding: 0 });
        for request in [by_block, Request { hash, seek, ..Request::default() }] {
            let Ok(mut proof) = produce(nodes, tree, &request, 0) else { continue };
            if let Some(part) = &mut proof.block {
                part.value = block(index).into();
            }
            let data = DataMessage { request: 1, proof, manifest: None };
            samples.push(Message::Data(Box::new(data)).to_bytes().to_vec());
        }
    }
    assert!(samples.len() > BLOCKS as usize);
    samples
}
