//! Proofs that someone changed, and plain garbage.

use super::*;

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
fn additional_nodes_in_the_wrong_place_are_noticed_as_such() {
    let (reader, _, proof) = shapes().swap_remove(1);
    let at = |change: fn(&mut Vec<Node>)| {
        let mut proof = proof.clone();
        change(&mut proof.upgrade.as_mut().expect("an upgrade").additional_nodes);
        verify(&reader.nodes, &reader.tree, &proof, &verifier())
    };
    assert!(at(|_| ()).is_ok());
    assert!(matches!(at(|nodes| nodes.swap(0, 1)), Err(VerifyError::Unexpected { expected: 26, .. })));
    assert!(matches!(
        at(|nodes| {
            nodes.remove(0);
        }),
        Err(VerifyError::Unexpected { expected: 26, .. })
    ));
    assert!(matches!(
        at(|nodes| {
            nodes.pop();
        }),
        Err(VerifyError::Signature(_))
    ));
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
    #![proptest_config(ProptestConfig::with_cases(128))]

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
