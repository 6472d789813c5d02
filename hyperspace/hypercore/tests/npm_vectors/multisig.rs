//! Envelopes of several signers, of one length and of different ones.

use super::*;
use hypercore::flat_tree;
use hypercore::manifest::{Patched, Proof, SignatureError, Verifier};

/// Signers 0 and 2 (the recorded ones; Ed25519 gives the same bytes each time) at the given
/// lengths, for a core of the first one's length.
fn envelope(verifier: &Verifier, lengths: [usize; 2]) -> Vec<u8> {
    let (_, all) = log_tree(20);
    let parts: Vec<Patched> = [(key_pair(1), lengths[0]), (key_pair(3), lengths[1])]
        .into_iter()
        .map(|(pair, length)| {
            let proof = verifier.sign_part(&log_tree(length).0, &pair).expect("a signer");
            Patched {
                proof: Proof { patch: (length - lengths[0]) as u64, ..proof },
                nodes: flat_tree::subtrees(lengths[0] as u64, length as u64)
                    .map(|index| all[&index])
                    .collect(),
            }
        })
        .collect();
    verifier.combine(lengths[0] as u64, &parts)
}

#[test]
fn envelopes_are_the_same_and_hold() {
    for (name, expected) in section("multisig").as_object().expect("an object") {
        let manifest = named_manifest(name);
        assert_eq!(manifest.key(), key(&expected["key"]));
        let verifier = Verifier::new(&manifest.key(), Some(&manifest));
        let tree = log_tree(4).0;
        assert_eq!(hex(&envelope(&verifier, [4, 4])), text(&expected["full4"]), "{name}");
        assert_eq!(verifier.verify(&tree, Some(&bytes(&expected["full4"]))), Ok(()), "{name}");
        if expected["patched4"].is_string() {
            let patched = bytes(&expected["patched4"]);
            assert_eq!(hex(&envelope(&verifier, [4, 6])), hex(&patched), "{name}");
            assert_eq!(verifier.verify(&tree, Some(&patched)), Ok(()), "{name}");
            assert_eq!(verifier.verify(&log_tree(5).0, Some(&patched)), Err(SignatureError::Mismatch));
        }
    }
}

#[test]
fn patches_count_only_where_they_are_allowed() {
    let manifest = named_manifest("v1_2of3");
    let verifier = Verifier::new(&manifest.key(), Some(&manifest));
    let patched = envelope(&verifier, [4, 6]);
    assert_eq!(verifier.verify(&log_tree(4).0, Some(&patched)), Err(SignatureError::Mismatch));
}

#[test]
fn a_quorum_is_of_different_signers_who_all_signed() {
    let manifest = named_manifest("v1_2of3");
    let verifier = Verifier::new(&manifest.key(), Some(&manifest));
    let tree = log_tree(7).0;
    let part = |number| Patched {
        proof: verifier.sign_part(&tree, &key_pair(number)).expect("a signer"),
        nodes: Vec::new(),
    };
    let check = |parts: &[Patched]| verifier.verify(&tree, Some(&verifier.combine(7, parts)));
    assert_eq!(check(&[part(2), part(1)]), Ok(()));
    assert_eq!(check(&[part(3), part(1), part(2)]), Ok(()));
    assert_eq!(check(&[part(2)]), Err(SignatureError::Quorum));
    assert_eq!(check(&[]), Err(SignatureError::Quorum));
    assert_eq!(check(&[part(2), part(2)]), Err(SignatureError::Signer));
    let mut stranger = part(2);
    stranger.proof.signer = 3;
    assert_eq!(check(&[part(1), stranger]), Err(SignatureError::Signer));
    let mut wrong = part(2);
    wrong.proof.signer = 0;
    // One bad signature among the first ones fails all, be there ever so many good ones.
    assert_eq!(check(&[wrong.clone(), part(2), part(3)]), Err(SignatureError::Mismatch));
    assert_eq!(check(&[part(2), part(3), wrong]), Ok(()));
    // One signer cannot sign alone.
    assert_eq!(verifier.sign(&tree, &key_pair(1)), Err(SignatureError::Quorum));
    assert!(!verifier.is_sole_signer(&key_pair(1)));
}

#[test]
fn without_a_quorum_nothing_holds() {
    let manifest = Manifest { quorum: 0, ..named_manifest("v1_2of3") };
    let verifier = Verifier::new(&manifest.key(), Some(&manifest));
    let signature = envelope(&verifier, [4, 4]);
    assert_eq!(verifier.verify(&log_tree(4).0, Some(&signature)), Err(SignatureError::Quorum));
}
