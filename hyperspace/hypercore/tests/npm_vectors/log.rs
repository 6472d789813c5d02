//! Node hashes, tree hashes, and what is signed how.

use super::*;
use hypercore::manifest::Verifier;
use hypercore::merkle::NodeSource;

#[test]
fn every_node_of_the_log_is_the_same() {
    let (_, nodes) = log_tree(20);
    let expected = list(&section("log")["nodes"]);
    assert_eq!(nodes.len(), expected.len());
    for value in expected {
        let expected = Node { index: number(&value[0]), size: number(&value[1]), hash: hash(&value[2]) };
        assert_eq!(nodes.node(expected.index), Ok(Some(expected)));
    }
}

#[test]
fn roots_and_signatures_of_every_length_are_the_same() {
    let log = section("log");
    let pair = key_pair(1);
    let core = named_manifest("v1_single");
    assert_eq!(core.key(), key(&log["key"]));
    let verifier = Verifier::new(&core.key(), Some(&core));
    let v0_manifest = named_manifest("v0_single");
    let v0 = Verifier::new(&v0_manifest.key(), Some(&v0_manifest));
    let compat_key = Key::from(pair.public_key());
    let compat = Verifier::new(&compat_key, None);
    let legacy = Verifier::legacy(&compat_key);
    assert!(compat.is_compat() && legacy.is_compat() && !verifier.is_compat());
    assert!(Verifier::new(&compat_key, Some(&core)).is_compat());

    let mut grown = Tree::new(0);
    for (at, expected) in list(&log["lengths"]).iter().enumerate() {
        let (tree, nodes) = log_tree(at + 1);
        grown = grown.append(&blocks()[at..=at]).tree;
        assert_eq!(grown, tree);
        assert_eq!(tree.length(), number(&expected["length"]));
        assert_eq!(tree.byte_length(), number(&expected["byteLength"]));
        let roots: Vec<Node> = list(&expected["roots"]).iter().map(node).collect();
        assert_eq!(tree.roots(), roots);
        assert_eq!(Tree::from_roots(0, tree.length(), roots), Ok(tree.clone()));
        assert_eq!(Tree::load(&nodes, 0, tree.length()), Ok(tree.clone()));
        assert_eq!(tree.hash(), hash(&expected["treeHash"]));
        if expected["signable"].is_string() {
            assert_eq!(verifier.signable(&tree, 0), Some(bytes(&expected["signable"])));
        }
        for (verifier, field) in [
            (&verifier, "signature"),
            (&v0, "v0Signature"),
            (&compat, "compatSignature"),
            (&legacy, "ultraLegacySignature"),
        ] {
            if expected[field].is_null() {
                // Recorded only for the first lengths.
                assert!(at >= 5 && field != "signature", "{field} of length {}", at + 1);
                continue;
            }
            let signature = bytes(&expected[field]);
            assert_eq!(verifier.sign(&tree, &pair), Ok(signature.clone()), "{field}");
            assert_eq!(verifier.verify(&tree, Some(&signature)), Ok(()), "{field}");
            let other_fork = tree.clone().with_fork(1);
            assert!(verifier.verify(&other_fork, Some(&signature)).is_err(), "{field}");
            assert!(verifier.verify(&tree, None).is_err(), "{field}");
        }
    }
    assert_eq!(grown.length(), 20);
}

#[test]
fn rewriting_history_signs_the_same() {
    let fork = section("fork");
    let core = named_manifest("v1_single");
    let verifier = Verifier::new(&core.key(), Some(&core));
    let (tree, nodes) = log_tree(20);
    let cut = tree.truncate(&nodes, 12, 1).expect("all nodes are there");
    let expected = &fork["afterTruncate"];
    assert_eq!((cut.length(), cut.fork()), (number(&expected["length"]), number(&expected["fork"])));
    assert_eq!(cut.hash(), hash(&expected["treeHash"]));
    assert_eq!(verifier.sign(&cut, &key_pair(1)), Ok(bytes(&expected["signature"])));

    let (forked, _) = forked_tree();
    let expected = &fork["afterAppend"];
    assert_eq!((forked.length(), forked.fork()), (number(&expected["length"]), number(&expected["fork"])));
    assert_eq!(forked.hash(), hash(&expected["treeHash"]));
    assert_eq!(verifier.signable(&forked, 0), Some(bytes(&expected["signable"])));
    assert_eq!(verifier.sign(&forked, &key_pair(1)), Ok(bytes(&expected["signature"])));
}
