//! The Merkle tree against the simplest thing that could be right: all nodes, computed one
//! by one from all blocks.

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

/// Something to ask, as numbers to be scaled to the core.
#[derive(Clone, Debug)]
enum Ask {
    Upgrade { to: u64, block: Option<u64>, seek: Option<u64> },
    Block(u64),
    Hash { index: u64, seek: Option<u64> },
    Both { block: u64, to: u64 },
}

fn ask() -> impl Strategy<Value = Ask> {
    let number = 0u64..1 << 32;
    prop_oneof![
        (number.clone(), prop::option::of(number.clone()), prop::option::of(number.clone()))
            .prop_map(|(to, block, seek)| Ask::Upgrade { to, block, seek }),
        number.clone().prop_map(Ask::Block),
        (number.clone(), prop::option::of(number.clone()))
            .prop_map(|(index, seek)| Ask::Hash { index, seek }),
        (number.clone(), number).prop_map(|(block, to)| Ask::Both { block, to }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn batches_make_the_tree_of_the_definition(batches in prop::collection::vec(prop::collection::vec(block(), 0..40), 0..6)) {
        let mut tree = Tree::new(3);
        let mut nodes = Nodes::new();
        let mut all = Vec::new();
        for batch in batches {
            let made = tree.append(&batch);
            all.extend(batch);
            for node in made.nodes {
                prop_assert_eq!(nodes.insert(node.index, node), None, "a node is made once");
            }
            tree = made.tree;
            let expected = all_nodes(&all);
            prop_assert_eq!(&nodes, &expected);
            prop_assert_eq!(&tree, &Tree::load(&expected, 3, all.len() as u64).unwrap());
            prop_assert_eq!(tree.byte_length(), all.iter().map(|block| block.len() as u64).sum::<u64>());
        }
    }

    #[test]
    fn truncating_gives_the_tree_of_what_is_left(blocks in blocks(60), cut in 0usize..60) {
        let writer = Original::new(0, blocks);
        let cut = cut.min(writer.blocks.len());
        let left = Original::new(4, writer.blocks[..cut].to_vec());
        prop_assert_eq!(writer.tree.truncate(&writer.nodes, cut as u64, 4), Ok(left.tree));
        let beyond = writer.tree.length() + 1;
        prop_assert_eq!(writer.tree.truncate(&writer.nodes, beyond, 1), Err(ReadError::OutOfBounds));
    }

    #[test]
    fn bytes_are_found_where_they_are(blocks in blocks(60), padding in prop_oneof![Just(0u64), Just(8)]) {
        let padded: Vec<Bytes> = blocks.iter()
            .map(|block| [&vec![0; padding as usize][..], block].concat().into()).collect();
        let writer = Original::new(0, padded);
        let mut offset = 0;
        for (index, block) in blocks.iter().enumerate() {
            let (index, size) = (index as u64, block.len() as u64);
            for at in [0, size / 2, size.saturating_sub(1)] {
                if at < size {
                    prop_assert_eq!(
                        seek::locate(&writer.nodes, &writer.tree, offset + at, padding),
                        Ok(Position::Block { index, offset: at })
                    );
                }
            }
            let start = offset + index * padding;
            prop_assert_eq!(
                seek::block_bytes(&writer.nodes, &writer.tree, index),
                Ok(start..start + padding + size)
            );
            offset += size;
        }
        let end = Position::Block { index: blocks.len() as u64, offset: 0 };
        prop_assert_eq!(seek::locate(&writer.nodes, &writer.tree, offset, padding), Ok(end));
        prop_assert_eq!(seek::locate(&writer.nodes, &writer.tree, offset + 1, padding), Err(ReadError::OutOfBounds));
    }

    #[test]
    fn a_sparse_reader_learns_only_what_is_true(blocks in blocks(90), asks in prop::collection::vec(ask(), 1..25)) {
        let writer = Original::new(0, blocks);
        let length = writer.tree.length();
        let mut reader = Sparse::default();
        for ask in asks {
            let have = reader.tree.length();
            let upgrade = |to: u64| {
                let to = have + 1 + to % (length - have).max(1);
                Some(UpgradeRequest { start: have, length: to - have }).filter(|_| have < length)
            };
            let byte = |seek: u64| SeekRequest { bytes: seek % (writer.tree.byte_length() + 1), padding: 0 };
            let path = |index| missing_nodes(&reader.nodes, &reader.tree, index).unwrap();
            let request = match ask {
                Ask::Upgrade { to, block, seek } => {
                    let upgrade = upgrade(to);
                    let end = upgrade.map_or(have, |upgrade| upgrade.start + upgrade.length);
                    let block = block.filter(|_| have < end).map(|block| have + block % (end - have).max(1));
                    Request {
                        upgrade,
                        block: block.map(|index| BlockRequest { index, nodes: 0 }),
                        seek: seek.filter(|_| block.is_none()).map(byte),
                        ..Request::default()
                    }
                }
                Ask::Block(index) if have > 0 => {
                    let index = index % have;
                    Request { block: Some(BlockRequest { index, nodes: path(2 * index) }), ..Request::default() }
                }
                Ask::Hash { index, seek } if have > 0 => {
                    let index = index % (2 * have - 1);
                    let nodes = path(index);
                    if flat_tree::right_span(index) >= 2 * have {
                        continue;
                    }
                    // Only bytes below the node that the proof leads to can be asked for.
                    let root = flat_tree::ancestor(index, nodes as u32);
                    let start = seek::byte_offset(&writer.nodes, &writer.tree, root).unwrap();
                    let size = writer.nodes[&root].size;
                    let seek = seek.map(|seek| SeekRequest { bytes: start + seek % size.max(1), padding: 0 });
                    Request { hash: Some(HashRequest { index, nodes }), seek, ..Request::default() }
                }
                Ask::Both { block, to } if have > 0 => {
                    let index = block % have;
                    let block = Some(BlockRequest { index, nodes: path(2 * index) });
                    Request { block, upgrade: upgrade(to), ..Request::default() }
                }
                _ => continue,
            };
            if request == Request::default() {
                continue;
            }
            let proof = writer.answer(&request).expect("a request that makes sense");
            // What is sent is what arrives.
            let message = DataMessage { request: 1, proof, manifest: None };
            let mut encoded = hypercore::encoding::Writer::new();
            message.encode(&mut encoded);
            let arrived = DataMessage::decode(&Bytes::from(encoded.into_vec())).unwrap();
            prop_assert_eq!(&arrived, &message);
            prop_assert!(arrived.proof.answers(&request));
            if let Err(error) = reader.take(&arrived.proof) {
                return Err(TestCaseError::fail(format!("{request:?}: {error}")));
            }
            if request.upgrade.is_some() {
                prop_assert_eq!(&reader.tree, &writer.tree, "an upgrade leads to the end");
            }
            if let Some(block) = request.block {
                prop_assert!(reader.nodes.contains_key(&(2 * block.index)));
            }
            for (index, node) in &reader.nodes {
                prop_assert_eq!(Some(node), writer.nodes.get(index));
            }
        }
    }

    #[test]
    fn a_seek_arrives(blocks in blocks(90), byte in any::<u64>()) {
        let writer = Original::new(0, blocks);
        let byte = byte % (writer.tree.byte_length() + 1);
        let mut reader = Sparse::default();
        let seek = Some(SeekRequest { bytes: byte, padding: 0 });
        let upgrade = Some(UpgradeRequest { start: 0, length: writer.tree.length() });
        reader.take(&writer.answer(&Request { seek, upgrade, ..Request::default() }).unwrap()).unwrap();
        let expected = seek::locate(&writer.nodes, &writer.tree, byte, 0).unwrap();
        let mut rounds = 0;
        loop {
            let position = seek::locate(&reader.nodes, &reader.tree, byte, 0).unwrap();
            let Position::Below { node, .. } = position else {
                prop_assert_eq!(position, expected);
                break;
            };
            rounds += 1;
            prop_assert!(rounds < 20, "each round gets further");
            let index = flat_tree::left_span(node);
            let block = Some(BlockRequest { index: index / 2, nodes: flat_tree::depth(node).into() });
            reader.take(&writer.answer(&Request { block, seek, ..Request::default() }).unwrap()).unwrap();
        }
    }

    #[test]
    fn rewritten_history_is_followed_to_the_last_common_block(
        common in 0u64..40, old in 0u64..40, new in 0u64..40, held in prop::collection::vec(any::<u64>(), 0..20),
    ) {
        let shared = distinct(common, "common");
        let before = Original::new(0, [shared.clone(), distinct(old, "old")].concat());
        let after = Original::new(1, [shared, distinct(new, "new")].concat());
        prop_assume!(after.tree.length() > 0);
        // The reader may hold all nodes, or only some.
        let mut reader = Sparse::default();
        if before.tree.length() > 0 {
            let upgrade = Some(UpgradeRequest { start: 0, length: before.tree.length() });
            reader.take(&before.answer(&Request { upgrade, ..Request::default() }).unwrap()).unwrap();
            for index in held {
                let index = index % before.tree.length();
                let nodes = missing_nodes(&reader.nodes, &reader.tree, 2 * index).unwrap();
                let block = Some(BlockRequest { index, nodes });
                reader.take(&before.answer(&Request { block, ..Request::default() }).unwrap()).unwrap();
            }
        }
        let upgrade = Some(UpgradeRequest { start: 0, length: after.tree.length() });
        let proof = after.answer(&Request { upgrade, ..Request::default() }).unwrap();
        let mut reorg = Reorg::new(&reader.nodes, &reader.tree, &proof, &verifier()).unwrap();
        let mut rounds = 0;
        while let Some(wanted) = reorg.wants() {
            rounds += 1;
            prop_assert!(rounds < 10, "each answer halves what is left at least");
            let hash = reorg.request(wanted.start + rounds % (wanted.end - wanted.start));
            let proof = after.answer(&Request { hash, ..Request::default() }).unwrap();
            reorg.narrow(&reader.nodes, &reader.tree, &proof).unwrap();
        }
        prop_assert!(reorg.is_done());
        prop_assert_eq!(&reorg.upgrade().tree, &after.tree);
        // A sparse reader may not know how much is common, but never takes too much.
        prop_assert!(reorg.ancestors() <= common.min(before.tree.length()).min(after.tree.length()));
        for node in reorg.nodes() {
            prop_assert_eq!(Some(node), after.nodes.get(&node.index));
        }
        let full = Reorg::new(&before.nodes, &before.tree, &proof, &verifier());
        if let Ok(mut reorg) = full {
            while let Some(wanted) = reorg.wants() {
                let hash = reorg.request(wanted.end - 1);
                let proof = after.answer(&Request { hash, ..Request::default() }).unwrap();
                reorg.narrow(&before.nodes, &before.tree, &proof).unwrap();
            }
            prop_assert_eq!(reorg.ancestors(), common, "who has all nodes finds all that is common");
        }
    }

    #[test]
    fn two_histories_of_one_fork_are_noticed(common in 0u64..20, ours in 1u64..20, theirs in 1u64..20) {
        let shared = distinct(common, "common");
        let ours = Original::new(0, [shared.clone(), distinct(ours, "ours")].concat());
        let theirs = Original::new(0, [shared, distinct(theirs, "theirs")].concat());
        let length = ours.tree.length().min(theirs.tree.length());
        let probe = Request { upgrade: Some(UpgradeRequest { start: 0, length }), ..Request::default() };
        let conflict = |answerer: &Original| {
            check_conflict(&ours.nodes, &ours.tree, &answerer.answer(&probe).unwrap(), &verifier())
        };
        prop_assert_eq!(conflict(&theirs), Ok(true));
        prop_assert_eq!(conflict(&ours), Ok(false));
        let longer = Original::new(0, [ours.blocks.clone(), distinct(5, "more")].concat());
        prop_assert_eq!(conflict(&longer), Ok(false));
    }

    #[test]
    fn an_answer_that_comes_late_is_no_reason_for_mistrust(first in 1u64..30, second in 1u64..30, third in 0u64..30) {
        // Two upgrades are asked for from length `first`; one answer is stored before the
        // other, which may reach further, is looked at.
        let all = distinct(first + second + third, "block");
        let at = |length: u64| Original::new(0, all[..length as usize].to_vec());
        let ask = |start, length| Request { upgrade: Some(UpgradeRequest { start, length }), ..Request::default() };
        let mut reader = Sparse::default();
        reader.take(&at(first).answer(&ask(0, first)).unwrap()).unwrap();
        let early = at(first + second).answer(&ask(first, second)).unwrap();
        let late = at(first + second + third).answer(&ask(first, second + third)).unwrap();
        reader.take(&early).unwrap();
        prop_assert_eq!(reader.take(&early), Ok(()), "what is known is no upgrade any more");
        match reader.take(&late) {
            Ok(()) => prop_assert_eq!(&reader.tree, &at(first + second + third).tree),
            Err(error) => prop_assert!(!error.is_invalid(), "{}", error),
        }
    }
}

/// Proofs of every shape, with the reader and what it asked.
fn shapes() -> Vec<(Sparse, Request, Proof)> {
    let writer = Original::new(0, distinct(21, "block"));
    let upgrade = |start, length| Some(UpgradeRequest { start, length });
    let seek = |bytes| Some(SeekRequest { bytes, padding: 0 });
    [
        (0, Request { upgrade: upgrade(0, 21), ..Request::default() }),
        (0, Request { upgrade: upgrade(0, 13), ..Request::default() }),
        (5, Request { upgrade: upgrade(5, 16), ..Request::default() }),
        (
            5,
            Request {
                upgrade: upgrade(5, 8),
                block: Some(BlockRequest { index: 11, nodes: 0 }),
                ..Request::default()
            },
        ),
        (6, Request { upgrade: upgrade(6, 15), seek: seek(150), ..Request::default() }),
        (21, Request { block: Some(BlockRequest { index: 9, nodes: 4 }), ..Request::default() }),
        (
            21,
            Request {
                block: Some(BlockRequest { index: 9, nodes: 4 }),
                seek: seek(30),
                ..Request::default()
            },
        ),
        (21, Request { hash: Some(HashRequest { index: 9, nodes: 3 }), ..Request::default() }),
        (
            21,
            Request { hash: Some(HashRequest { index: 8, nodes: 4 }), seek: seek(100), ..Request::default() },
        ),
    ]
    .into_iter()
    .map(|(have, request)| {
        let mut reader = Sparse::default();
        if have > 0 {
            let old = Original::new(0, writer.blocks[..have].to_vec());
            let request = Request { upgrade: upgrade(0, have as u64), ..Request::default() };
            reader.take(&old.answer(&request).expect("an answer")).expect("a true answer");
        }
        (reader, request, writer.answer(&request).expect("an answer"))
    })
    .collect()
}

#[test]
fn no_flipped_bit_makes_anything_false_believed() {
    let writer = Original::new(0, distinct(21, "block"));
    let mut refused = 0;
    for (reader, request, proof) in shapes() {
        assert!(verify(&reader.nodes, &reader.tree, &proof, &verifier()).is_ok());
        let mut encoded = Writer::new();
        DataMessage { request: 1, proof: proof.clone(), manifest: None }.encode(&mut encoded);
        let encoded = encoded.into_vec();
        for bit in 0..8 * encoded.len() {
            let mut changed = encoded.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let Ok(message) = DataMessage::decode(&Bytes::from(changed)) else {
                refused += 1;
                continue;
            };
            let Ok(verified) = verify(&reader.nodes, &reader.tree, &message.proof, &verifier()) else {
                refused += 1;
                continue;
            };
            for node in &verified.nodes {
                assert_eq!(Some(node), writer.nodes.get(&node.index), "bit {bit} of {proof:?}");
            }
            if let Some(upgrade) = &verified.upgrade {
                assert_eq!(upgrade.tree, writer.tree, "bit {bit} of {proof:?}");
            }
            if let Some(block) = &message.proof.block {
                assert_eq!(block.value, writer.blocks[block.index as usize], "bit {bit} of {proof:?}");
            }
            if message.proof.answers(&request) {
                let asked =
                    |proof: &Proof| (proof.block.clone(), proof.hash.as_ref().map(|hash| hash.nodes[0].hash));
                assert_eq!(asked(&message.proof), asked(&proof));
            } else {
                refused += 1;
            }
        }
    }
    assert!(refused > 10_000, "{refused}");
}

#[test]
fn sizes_that_only_add_up_are_not_stored() {
    let (reader, _, mut proof) = shapes().swap_remove(7);
    let hash = proof.hash.as_mut().expect("a hash proof");
    hash.nodes[0].size += 1;
    hash.nodes[1].size -= 1;
    let verified = verify(&reader.nodes, &reader.tree, &proof, &verifier()).expect("their hashes are right");
    assert_eq!(verified.hints.len(), 2);
    let writer = Original::new(0, distinct(21, "block"));
    for node in &verified.nodes {
        assert_eq!(Some(node), writer.nodes.get(&node.index));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_is_refused_and_nothing_worse(garbage in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = RequestMessage::decode(&mut Reader::new(&garbage));
        if let Ok(data) = DataMessage::decode(&Bytes::from(garbage)) {
            let (reader, ..) = shapes().swap_remove(5);
            let _ = verify(&reader.nodes, &reader.tree, &data.proof, &verifier());
            let _ = Reorg::new(&reader.nodes, &reader.tree, &data.proof, &verifier());
        }
    }

    #[test]
    fn wild_requests_are_refused_and_nothing_worse(
        numbers in prop::array::uniform8(prop_oneof![0u64..50, any::<u64>(), Just(u64::MAX), (0u32..64).prop_map(|bit| (1 << bit) - 1)]),
        parts in 0u8..16,
    ) {
        let [a, b, c, d, e, f, g, h] = numbers;
        let request = Request {
            block: (parts & 1 > 0).then_some(BlockRequest { index: a, nodes: b }),
            hash: (parts & 2 > 0).then_some(HashRequest { index: c, nodes: d }),
            seek: (parts & 4 > 0).then_some(SeekRequest { bytes: e, padding: f }),
            upgrade: (parts & 8 > 0).then_some(UpgradeRequest { start: g, length: h }),
        };
        let writer = Original::new(0, distinct(21, "block"));
        writer.answer(&request);
        let _ = missing_nodes(&writer.nodes, &writer.tree, c);
        let _ = seek::locate(&writer.nodes, &writer.tree, e, f);
        let _ = seek::block_bytes(&writer.nodes, &writer.tree, a);
        let _ = Tree::load(&writer.nodes, 0, g);
    }

    #[test]
    fn wild_proofs_are_refused_and_nothing_worse(
        shape in 0usize..9,
        numbers in prop::collection::vec(prop_oneof![0u64..50, any::<u64>(), Just(u64::MAX), (0u32..64).prop_map(|bit| (1 << bit) - 1)], 40),
    ) {
        let (reader, _, mut proof) = shapes().swap_remove(shape);
        let mut numbers = numbers.into_iter();
        let mut change = |value: &mut u64| if let Some(number) = numbers.next() && number % 3 > 0 { *value = number };
        let mut change_nodes = |nodes: &mut Vec<Node>| for node in nodes {
            change(&mut node.index);
            change(&mut node.size);
        };
        if let Some(block) = &mut proof.block { change_nodes(&mut block.nodes) }
        if let Some(hash) = &mut proof.hash { change_nodes(&mut hash.nodes) }
        if let Some(seek) = &mut proof.seek { change_nodes(&mut seek.nodes) }
        if let Some(upgrade) = &mut proof.upgrade {
            change_nodes(&mut upgrade.nodes);
            change_nodes(&mut upgrade.additional_nodes);
            change(&mut upgrade.start);
            change(&mut upgrade.length);
        }
        if let Some(block) = &mut proof.block { change(&mut block.index) }
        if let Some(hash) = &mut proof.hash { change(&mut hash.index) }
        let _ = verify(&reader.nodes, &reader.tree, &proof, &verifier());
    }
}
