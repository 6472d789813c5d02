//! Readers that have only what they were sent.

use super::*;
use hypercore::merkle::{ProduceError, WithHints};

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
    fn a_seek_arrives_before_any_block(blocks in blocks(90), byte in any::<u64>(), choice in any::<u64>()) {
        let writer = Original::new(0, blocks);
        let bytes = byte % (writer.tree.byte_length() + 1);
        let mut reader = Sparse::default();
        let upgrade = Some(UpgradeRequest { start: 0, length: writer.tree.length() });
        reader.take(&writer.answer(&Request { upgrade, ..Request::default() }).unwrap()).unwrap();
        let mut hints = Nodes::new();
        let mut rounds = 0;
        loop {
            let known = WithHints { source: &reader.nodes, hints: &hints };
            let position = seek::locate(&known, &reader.tree, bytes, 0).unwrap();
            let Position::Below { node, .. } = position else {
                prop_assert_eq!(Ok(position), seek::locate(&writer.nodes, &writer.tree, bytes, 0));
                break;
            };
            rounds += 1;
            prop_assert!(rounds < 20, "each round gets further");
            // As npm does: the way from any block below, and the byte's own way.
            let block = flat_tree::left_span(node) / 2 + choice % flat_tree::count_leaves(node);
            let nodes = missing_nodes(&reader.nodes, &reader.tree, 2 * block).unwrap();
            let request = Request {
                hash: Some(HashRequest { index: 2 * block, nodes }),
                seek: Some(SeekRequest { bytes, padding: 0 }).filter(|_| choice % 2 == 0),
                ..Request::default()
            };
            let proof = writer.answer(&request).unwrap();
            let verified = verify(&reader.nodes, &reader.tree, &proof, &verifier()).unwrap();
            hints.extend(verified.hints.iter().map(|node| (node.index, *node)));
            reader.take(&proof).unwrap();
        }
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

    #[test]
    fn a_sparse_core_answers_what_it_can(
        blocks in blocks(60), held in prop::collection::vec(any::<u64>(), 0..12), asks in prop::collection::vec(ask(), 1..12),
    ) {
        let writer = Original::new(0, blocks);
        let length = writer.tree.length();
        let mut sparse = Sparse::default();
        let upgrade = Some(UpgradeRequest { start: 0, length });
        sparse.take(&writer.answer(&Request { upgrade, ..Request::default() }).unwrap()).unwrap();
        for index in held {
            let index = index % length;
            let nodes = missing_nodes(&sparse.nodes, &sparse.tree, 2 * index).unwrap();
            let block = Some(BlockRequest { index, nodes });
            sparse.take(&writer.answer(&Request { block, ..Request::default() }).unwrap()).unwrap();
        }
        for ask in asks {
            let request = match ask {
                Ask::Upgrade { to, block, .. } => {
                    let start = to % length;
                    Request {
                        upgrade: Some(UpgradeRequest { start, length: length - start }),
                        block: block.map(|block| BlockRequest { index: start + block % (length - start), nodes: 0 }),
                        ..Request::default()
                    }
                }
                Ask::Block(index) | Ask::Both { block: index, .. } => {
                    Request { block: Some(BlockRequest { index: index % length, nodes: 0 }), ..Request::default() }
                }
                Ask::Hash { index, seek } => Request {
                    hash: Some(HashRequest { index: index % (2 * length - 1), nodes: 0 }),
                    seek: seek.map(|seek| SeekRequest { bytes: seek % (writer.tree.byte_length() + 1), padding: 0 }),
                    ..Request::default()
                },
            };
            match produce(&sparse.nodes, &sparse.tree, &request, 0) {
                // As good as the writer's own, but that a seek may not get as near.
                Ok(proof) => {
                    let mut expected = produce(&writer.nodes, &writer.tree, &request, 0).unwrap();
                    expected.seek.clone_from(&proof.seek);
                    if request.seek.is_none() {
                        prop_assert_eq!(proof, expected);
                    }
                }
                Err(ProduceError::Read(ReadError::Missing(index))) => {
                    prop_assert!(!sparse.nodes.contains_key(&index) && writer.nodes.contains_key(&index));
                }
                Err(error) => prop_assert_eq!(Err(error), produce(&writer.nodes, &writer.tree, &request, 0)),
            }
        }
    }
}

#[test]
fn what_was_checked_before_a_change_is_checked_again() {
    let writer = Original::new(0, distinct(9, "block"));
    let ask =
        |start, length| Request { upgrade: Some(UpgradeRequest { start, length }), ..Request::default() };
    let mut reader = Sparse::default();
    reader.take(&Original::new(0, distinct(5, "block")).answer(&ask(0, 5)).unwrap()).unwrap();
    let block = Request { block: Some(BlockRequest { index: 2, nodes: 2 }), ..Request::default() };
    let check =
        |request| verify(&reader.nodes, &reader.tree, &writer.answer(request).unwrap(), &verifier()).unwrap();
    let (upgrade, block) = (check(&ask(5, 4)), check(&block));
    assert!(upgrade.is_current(&reader.tree) && block.is_current(&reader.tree));
    // After an append, a block still fits, a longer tree does not.
    let longer = reader.tree.append(&["another"]).tree;
    assert!(!upgrade.is_current(&longer) && block.is_current(&longer));
    // After a cut or on another fork, nothing does.
    let cut = writer.tree.truncate(&writer.nodes, 4, 0).unwrap();
    assert!(!upgrade.is_current(&cut) && !block.is_current(&cut));
    let forked = reader.tree.clone().with_fork(1);
    assert!(!upgrade.is_current(&forked) && !block.is_current(&forked));
}
