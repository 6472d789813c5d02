//! Requests, and the answers that npm hypercore gives.

use super::*;
use hypercore::encoding::{Reader, Writer};
use hypercore::flat_tree;
use hypercore::manifest::Verifier;
use hypercore::merkle::message::{DataMessage, RequestMessage};
use hypercore::merkle::proof::{BlockRequest, HashRequest, Request, SeekRequest, UpgradeRequest};
use hypercore::merkle::{Reorg, VerifyError, produce, verify};

fn request(value: &Value) -> RequestMessage {
    let pair = |name: &str, second: &str| {
        let part = &value[name];
        let first = if name == "seek" {
            "bytes"
        } else if name == "upgrade" {
            "start"
        } else {
            "index"
        };
        part.is_object().then(|| (number(&part[first]), number(&part[second])))
    };
    RequestMessage {
        id: value["id"].as_u64().unwrap_or(1),
        fork: value["fork"].as_u64().unwrap_or(0),
        request: Request {
            block: pair("block", "nodes").map(|(index, nodes)| BlockRequest { index, nodes }),
            hash: pair("hash", "nodes").map(|(index, nodes)| HashRequest { index, nodes }),
            seek: pair("seek", "padding").map(|(bytes, padding)| SeekRequest { bytes, padding }),
            upgrade: pair("upgrade", "length").map(|(start, length)| UpgradeRequest { start, length }),
        },
        manifest: value["manifest"] == true,
        priority: value["priority"].as_u64().unwrap_or(0),
    }
}

fn encode(request: &RequestMessage) -> String {
    let mut writer = Writer::new();
    request.encode(&mut writer);
    hex(writer.as_slice())
}

fn encode_data(data: &DataMessage) -> String {
    let mut writer = Writer::new();
    data.encode(&mut writer);
    hex(writer.as_slice())
}

fn decode_data(value: &Value) -> DataMessage {
    DataMessage::decode(&Bytes::from(bytes(value))).expect("a Data message")
}

fn indexes(nodes: &[Node]) -> Vec<u64> {
    nodes.iter().map(|node| node.index).collect()
}

/// What we answer.
fn answer(message: &RequestMessage) -> Result<DataMessage, String> {
    let (tree, nodes) = log_tree(20);
    let core = named_manifest("v1_single");
    let mut proof = produce(&nodes, &tree, &message.request, 0).map_err(|error| {
        assert!(error.is_invalid());
        error.to_string()
    })?;
    if let Some(block) = &mut proof.block {
        block.value = blocks()[block.index as usize].clone();
    }
    if let Some(upgrade) = &mut proof.upgrade {
        let verifier = Verifier::new(&core.key(), Some(&core));
        upgrade.signature = Some(verifier.sign(&tree, &key_pair(1)).expect("the signer signs"));
    }
    Ok(DataMessage { request: message.id, proof, manifest: message.manifest.then_some(core) })
}

#[test]
fn answers_are_the_same() {
    let proofs = list(section("proofs"));
    assert_eq!(proofs.len(), 26);
    for expected in proofs {
        let message = request(&expected["request"]);
        assert_eq!(encode(&message), text(&expected["requestHex"]));
        let decoded = RequestMessage::decode(&mut Reader::new(&bytes(&expected["requestHex"])));
        assert_eq!(decoded, Ok(message));
        match answer(&message) {
            Err(error) => assert_eq!(
                format!("INVALID_OPERATION: INVALID_OPERATION: {error}"),
                text(&expected["error"]),
                "{}",
                expected["request"]
            ),
            Ok(data) => {
                assert!(expected["error"].is_null(), "{}", expected["request"]);
                let lists = [
                    ("block", data.proof.block.as_ref().map(|part| indexes(&part.nodes))),
                    ("hash", data.proof.hash.as_ref().map(|part| indexes(&part.nodes))),
                    ("seek", data.proof.seek.as_ref().map(|part| indexes(&part.nodes))),
                    ("upgrade", data.proof.upgrade.as_ref().map(|part| indexes(&part.nodes))),
                    ("additional", data.proof.upgrade.as_ref().map(|part| indexes(&part.additional_nodes))),
                ];
                for (name, made) in lists {
                    let expected = &expected["nodeIndexes"][name];
                    let expected = expected.is_array().then(|| list(expected).iter().map(number).collect());
                    assert_eq!(made, expected, "{name}");
                }
                assert_eq!(encode_data(&data), text(&expected["dataHex"]), "{}", expected["request"]);
                assert_eq!(decode_data(&expected["dataHex"]), data);
            }
        }
    }
}

/// A reader that has what the request says it has: the beginning of the tree, and the nodes
/// down to where the answer is expected to reach.
fn reader(request: &Request) -> (Tree, HashMap<u64, Node>) {
    match request.upgrade {
        Some(upgrade) => log_tree(upgrade.start as usize),
        None => log_tree(20),
    }
}

#[test]
fn answers_are_accepted() {
    let core = named_manifest("v1_single");
    let verifier = Verifier::new(&core.key(), Some(&core));
    let (full, all) = log_tree(20);
    for expected in list(section("proofs")).iter().filter(|expected| expected["error"].is_null()) {
        let message = request(&expected["request"]);
        let data = decode_data(&expected["dataHex"]);
        let (tree, nodes) = reader(&message.request);
        let verified = verify(&nodes, &tree, &data.proof, &verifier)
            .unwrap_or_else(|error| panic!("{}: {error}", expected["request"]));
        assert!(verified.is_current(&tree));
        for node in &verified.nodes {
            assert_eq!(all.get(&node.index), Some(node));
        }
        assert_eq!(verified.upgrade.is_some(), message.request.upgrade.is_some());
        if let Some(upgrade) = verified.upgrade {
            assert_eq!(upgrade.tree, full);
        }
        if let Some(manifest) = data.manifest {
            assert!(manifest.belongs_to(&key(&section("log")["key"])));
        }
    }
}

#[test]
fn a_reader_follows_the_fork() {
    let fork = section("fork");
    let core = named_manifest("v1_single");
    let verifier = Verifier::new(&core.key(), Some(&core));
    let (tree, nodes) = log_tree(20);
    let data = decode_data(&fork["proofHex"]);
    assert_eq!(verify(&nodes, &tree, &data.proof, &verifier), Err(VerifyError::Fork(1)));

    let mut reorg = Reorg::new(&nodes, &tree, &data.proof, &verifier).expect("a signed fork");
    assert_eq!(reorg.upgrade().tree, forked_tree().0);
    // Roots [7, 19, 25, 28]: the first to differ is 25, blocks 12 and 13.
    assert_eq!(reorg.wants(), Some(12..14));
    let probe = request(&fork["hashProbe"]["request"]);
    assert_eq!(reorg.request(12), probe.request.hash);
    assert_eq!(reorg.request(11), None);
    reorg.narrow(&nodes, &tree, &decode_data(&fork["hashProbe"]["dataHex"]).proof).expect("the probe fits");
    assert!(reorg.is_done());
    assert_eq!((reorg.wants(), reorg.ancestors()), (None, 12));
}

#[test]
fn the_fork_proof_is_made_the_same() {
    let fork = section("fork");
    let core = named_manifest("v1_single");
    let verifier = Verifier::new(&core.key(), Some(&core));
    let (tree, nodes) = forked_tree();
    let expected = decode_data(&fork["proofHex"]);
    let upgrade = Some(UpgradeRequest { start: 0, length: 15 });
    let mut proof = produce(&nodes, &tree, &Request { upgrade, ..Request::default() }, 0).expect("a proof");
    proof.upgrade.as_mut().expect("an upgrade").signature = verifier.sign(&tree, &key_pair(1)).ok();
    assert_eq!(proof, expected.proof);
    let probe = request(&fork["hashProbe"]["request"]);
    let expected = decode_data(&fork["hashProbe"]["dataHex"]);
    assert_eq!(produce(&nodes, &tree, &probe.request, 0), Ok(expected.proof));
}

#[test]
fn sample_messages_are_the_same() {
    let mut count = 0;
    for sample in list(section("wire")) {
        let (name, fields, encoded) = (text(&sample[1]), &sample[2], &sample[3]);
        match name {
            "request" => {
                let message = request(fields);
                assert_eq!(encode(&message), text(encoded));
                assert_eq!(RequestMessage::decode(&mut Reader::new(&bytes(encoded))), Ok(message));
            }
            "data" => {
                let message = decode_data(encoded);
                assert_eq!(encode_data(&message), text(encoded));
                assert_eq!(message.request, number(&fields["request"]));
                let nodes = |part: &Value, name: &str| list(&part[name]).iter().map(node).collect::<Vec<_>>();
                if let Some(block) = &message.proof.block {
                    assert_eq!(block.index, number(&fields["block"]["index"]));
                    assert_eq!(block.value, bytes(&fields["block"]["value"]));
                    assert_eq!(block.nodes, nodes(&fields["block"], "nodes"));
                }
                if let Some(upgrade) = &message.proof.upgrade {
                    assert_eq!(upgrade.nodes, nodes(&fields["upgrade"], "nodes"));
                    assert_eq!(upgrade.additional_nodes, nodes(&fields["upgrade"], "additionalNodes"));
                }
            }
            _ => continue,
        }
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn random_requests_are_answered_the_same() {
    let cases: Vec<Value> =
        serde_json::from_str(include_str!("../vectors/random-proofs.json")).expect("the vectors are JSON");
    let core = named_manifest("v1_single");
    let verifier = Verifier::new(&core.key(), Some(&core));
    let mut answered = 0;
    for case in &cases {
        let blocks: Vec<Bytes> = (0..number(&case["length"]))
            .map(|at| vec![at as u8; (at as usize * 7 + 3) % 23].into())
            .collect();
        let batch = Tree::new(0).append(&blocks);
        let nodes: HashMap<u64, Node> = batch.nodes.into_iter().map(|node| (node.index, node)).collect();
        let message =
            RequestMessage::decode(&mut Reader::new(&bytes(&case["requestHex"]))).expect("a Request");
        if asks_for_a_byte_that_npm_misplaces(&message.request, &batch.tree) {
            let _ = produce(&nodes, &batch.tree, &message.request, 0);
            continue;
        }
        let Ok(mut proof) = produce(&nodes, &batch.tree, &message.request, 0) else {
            assert!(case["error"].is_string(), "{case}: {message:?}");
            continue;
        };
        assert!(case["error"].is_null(), "{case}: {message:?}");
        if let Some(block) = &mut proof.block {
            block.value = blocks[block.index as usize].clone();
        }
        if let Some(upgrade) = &mut proof.upgrade {
            upgrade.signature = verifier.sign(&batch.tree, &key_pair(1)).ok();
        }
        let data = DataMessage { request: 1, proof, manifest: None };
        assert_eq!(encode_data(&data), text(&case["dataHex"]), "{message:?}");
        answered += 1;
    }
    assert!(answered > 300, "{answered}");
}

/// hypercore 11.37.1 computes the byte offset of a node right of the first root as NaN, so that
/// a seek below such a node gets the way to the node's last block, be the byte where it may.
/// Ours gets the way to the byte.
fn asks_for_a_byte_that_npm_misplaces(request: &Request, tree: &Tree) -> bool {
    let target = request.block.map(|block| 2 * block.index).or(request.hash.map(|hash| hash.index));
    let first = tree.roots()[0].index;
    request.seek.is_some() && target.is_some_and(|target| !flat_tree::contains(first, target))
}
