//! Recorded sessions: every Request and Data in them is read, and written back the same.

use super::frames::messages;
use super::*;
use hypercore::encoding::{Reader, Writer};
use hypercore::manifest::Verifier;
use hypercore::merkle::message::{DataMessage, RequestMessage};
use hypercore::merkle::{Reorg, verify};
use std::collections::BTreeSet;

fn check(name: &str) -> Vec<DataMessage> {
    let mut answers = Vec::new();
    for frame in list(section(name)).iter().filter(|frame| frame[1] != "note") {
        for (kind, body) in messages(&bytes(&frame[2])) {
            let mut writer = Writer::new();
            match kind {
                1 => {
                    RequestMessage::decode(&mut Reader::new(&body)).expect("a Request").encode(&mut writer);
                }
                3 => {
                    let data = DataMessage::decode(&Bytes::from(body.clone())).expect("a Data");
                    data.encode(&mut writer);
                    answers.push(data);
                }
                _ => continue,
            }
            assert_eq!(hex(writer.as_slice()), hex(&body), "{name}: {frame}");
        }
    }
    answers
}

/// Follows the core by these answers; gives its length and the blocks that came.
fn follow(answers: &[DataMessage]) -> (u64, BTreeSet<u64>) {
    let core = named_manifest("v1_single");
    let verifier = Verifier::new(&core.key(), Some(&core));
    let mut nodes = HashMap::new();
    let mut tree = Tree::new(0);
    let mut got = BTreeSet::new();
    for data in answers {
        if data.proof.fork > tree.fork() {
            assert_eq!(data.manifest, Some(core.clone()));
            let reorg = Reorg::new(&nodes, &tree, &data.proof, &verifier).expect("a signed fork");
            assert!(reorg.is_done());
            assert_eq!(reorg.ancestors(), 0);
            nodes.extend(reorg.nodes().map(|node| (node.index, *node)));
            tree = reorg.upgrade().tree.clone();
            continue;
        }
        let verified = verify(&nodes, &tree, &data.proof, &verifier).expect("an answer that holds");
        nodes.extend(verified.nodes.iter().map(|node| (node.index, *node)));
        if let Some(upgrade) = verified.upgrade {
            tree = upgrade.tree;
        }
        got.extend(data.proof.block.as_ref().map(|block| block.index));
    }
    (tree.length(), got)
}

#[test]
fn a_whole_session_is_verified() {
    assert_eq!(follow(&check("transcript")), (16, (0..16).collect()));
}

#[test]
fn a_session_with_a_sparse_peer_is_verified() {
    assert_eq!(follow(&check("transcriptSparse")), (16, BTreeSet::from([7, 10])));
}
