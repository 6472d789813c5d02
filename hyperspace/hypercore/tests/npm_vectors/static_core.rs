//! A core that nobody signs: its manifest fixes its content.

use super::*;
use hypercore::manifest::{SignatureError, Verifier};
use hypercore::merkle::message::DataMessage;
use hypercore::merkle::proof::{Proof, Request, UpgradeRequest};
use hypercore::merkle::{Reorg, VerifyError, produce};

fn data(name: &str) -> DataMessage {
    DataMessage::decode(&Bytes::from(bytes(&section("staticCore")[name]))).expect("a Data message")
}

fn verifier() -> Verifier {
    let manifest = manifest(&section("staticCore")["manifest"]);
    Verifier::new(&manifest.key(), Some(&manifest))
}

fn read(proof: &Proof) -> Result<Reorg, VerifyError<std::convert::Infallible>> {
    Reorg::new(&HashMap::new(), &Tree::new(0), proof, &verifier())
}

#[test]
fn its_key_is_the_same() {
    let section = section("staticCore");
    let manifest = manifest(&section["manifest"]);
    assert_eq!(hex(&manifest.to_vec()), text(&section["encodedManifest"]));
    assert_eq!(manifest.key(), key(&section["key"]));
    assert_eq!(manifest.key().discovery_key().to_string(), text(&section["discoveryKey"]));
    assert_eq!(data("upgradeHex").manifest, Some(manifest));
}

#[test]
fn its_proofs_hold_whatever_their_signature() {
    let (forked, _) = forked_tree();
    for name in ["upgradeHex", "blockHex", "partialHex"] {
        let mut proof = data(name).proof;
        // The recorded proofs are on the source core's fork, as if rewritten once.
        let fork = proof.fork;
        proof.fork = 1;
        assert_eq!(read(&proof).expect(name).upgrade().tree, forked, "{name} on fork {fork}");
        proof.upgrade.as_mut().expect("an upgrade").signature = None;
        assert_eq!(read(&proof).expect(name).upgrade().tree, forked, "{name}, unsigned");
    }
}

#[test]
fn a_part_of_the_prologue_is_widened_to_all_of_it() {
    let (tree, nodes) = forked_tree();
    let expected = data("partialHex").proof;
    let upgrade = Some(UpgradeRequest { start: 0, length: 4 });
    let mut proof = produce(&nodes, &tree, &Request { upgrade, ..Request::default() }, 15).expect("a proof");
    proof.upgrade.as_mut().expect("an upgrade").signature =
        expected.upgrade.as_ref().and_then(|upgrade| upgrade.signature.clone());
    assert_eq!(proof.upgrade, expected.upgrade);
}

#[test]
fn other_content_is_refused() {
    let mut proof = data("upgradeHex").proof;
    proof.fork = 1;
    proof.upgrade.as_mut().expect("an upgrade").nodes[2].hash[0] ^= 1;
    assert_eq!(read(&proof).expect_err("changed"), VerifyError::Signature(SignatureError::Prologue));

    let mut proof = data("upgradeHex").proof;
    proof.fork = 1;
    proof.upgrade.as_mut().expect("an upgrade").length = 12;
    assert_eq!(read(&proof).expect_err("shorter"), VerifyError::Prologue);

    // Nothing above the prologue can be signed.
    let (longer, _) = {
        let batch = forked_tree().0.append(&["more"]);
        (batch.tree, batch.nodes)
    };
    assert!(
        verifier()
            .verify(&longer, data("upgradeHex").proof.upgrade.expect("one").signature.as_deref())
            .is_err()
    );
    assert_eq!(verifier().verify(&log_tree(15).0, None), Err(SignatureError::Prologue));
    assert_eq!(verifier().verify(&log_tree(3).0, None), Err(SignatureError::Prologue));
}

#[test]
fn an_unsigned_fork_number_replaces_nothing() {
    let (tree, nodes) = forked_tree();
    let mut proof = data("upgradeHex").proof;
    proof.fork = 9;
    assert!(matches!(Reorg::new(&nodes, &tree, &proof, &verifier()), Err(VerifyError::Fork(9))));
}
