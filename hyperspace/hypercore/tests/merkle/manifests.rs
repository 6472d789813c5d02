//! Trees of cores with several signers, or with a prologue.

use super::*;
use hypercore::manifest::{Patched, Prologue, SignatureError, signed_length};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn signers_at_different_lengths_are_combined(
        lengths in prop::collection::vec(1u64..40, 1..6), quorum in 1u64..6, version in 0u64..4, spoil in any::<u16>(),
    ) {
        let quorum = quorum.min(lengths.len() as u64);
        let pairs: Vec<KeyPair> = (0..lengths.len()).map(|at| KeyPair::from_seed(&[at as u8; 32])).collect();
        let keys: Vec<_> = pairs.iter().map(KeyPair::public_key).collect();
        let manifest = Manifest {
            version,
            allow_patch: true,
            ..Manifest::multi_signer(&keys, Some(quorum)).unwrap()
        };
        let verifier = Verifier::new(&manifest.key(), Some(&manifest));
        let all = Original::new(0, distinct(40, "block"));
        let tree_at = |length| Tree::load(&all.nodes, 0, length).unwrap();
        let common = signed_length(&lengths, quorum).unwrap();
        let parts: Vec<Patched> = (pairs.iter().zip(&lengths))
            .filter(|(_, length)| **length >= common)
            .take(quorum as usize)
            .map(|(pair, length)| Patched {
                proof: hypercore::manifest::Proof {
                    patch: length - common,
                    ..verifier.sign_part(&tree_at(*length), pair).unwrap()
                },
                nodes: flat_tree::subtrees(common, *length).map(|index| all.nodes[&index]).collect(),
            })
            .collect();
        prop_assert_eq!(parts.len() as u64, quorum, "enough signers reach the common length");
        let signature = verifier.combine(common, &parts);
        prop_assert_eq!(verifier.verify(&tree_at(common), Some(&signature)), Ok(()));
        // It is of that length only, unless a longer tree was signed by all of them.
        if common > 1 {
            prop_assert!(verifier.verify(&tree_at(common - 1), Some(&signature)).is_err());
        }
        let mut spoiled = signature.clone();
        let bit = usize::from(spoil) % (8 * spoiled.len());
        spoiled[bit / 8] ^= 1 << (bit % 8);
        // Of version 0's patches, where they end and what they need is not read.
        if version > 0 {
            prop_assert!(verifier.verify(&tree_at(common), Some(&spoiled)).is_err());
        } else {
            let _ = verifier.verify(&tree_at(common), Some(&spoiled));
        }
        // Without the nodes, only who signed this very length counts.
        if parts.iter().any(|part| part.proof.patch > 0) {
            let bare: Vec<Patched> = parts.iter().map(|part| Patched { nodes: vec![], ..part.clone() }).collect();
            let bare = verifier.combine(common, &bare);
            prop_assert_eq!(verifier.verify(&tree_at(common), Some(&bare)), Err(SignatureError::Patch));
        }
    }

    #[test]
    fn a_prologue_comes_whole_and_the_rest_is_signed(fixed in 1u64..30, signed in 0u64..30, asked in 1u64..60) {
        let blocks = distinct(fixed + signed, "block");
        let all = Original::new(0, blocks.clone());
        let prologue = Original::new(0, blocks[..fixed as usize].to_vec());
        let manifest = Manifest {
            prologue: Some(Prologue { hash: prologue.tree.hash(), length: fixed }),
            ..Manifest::single_signer(key_pair().public_key())
        };
        let verifier = Verifier::new(&manifest.key(), Some(&manifest));
        let upgrade = |start, length| Request { upgrade: Some(UpgradeRequest { start, length }), ..Request::default() };
        let sign = |proof: &mut Proof, tree: &Tree| {
            let signature = verifier.sign(tree, &key_pair()).ok().filter(|_| tree.length() > fixed);
            proof.upgrade.as_mut().unwrap().signature = signature;
        };
        // Whatever is asked of an empty reader, the prologue comes as a whole.
        let asked = asked.min(all.tree.length());
        let mut proof = produce(&all.nodes, &all.tree, &upgrade(0, asked), fixed).unwrap();
        sign(&mut proof, &all.tree);
        prop_assert_eq!(proof.upgrade.as_ref().unwrap().length, fixed);
        let verified = verify(&Nodes::new(), &Tree::new(0), &proof, &verifier).unwrap();
        prop_assert_eq!(&verified.upgrade.unwrap().tree, &all.tree);
        // The prologue alone needs no signature; what is above it does.
        let alone = produce(&prologue.nodes, &prologue.tree, &upgrade(0, fixed), fixed).unwrap();
        let verified = verify(&Nodes::new(), &Tree::new(0), &alone, &verifier).unwrap();
        prop_assert_eq!(&verified.upgrade.unwrap().tree, &prologue.tree);
        if signed > 0 {
            let mut rest = produce(&all.nodes, &all.tree, &upgrade(fixed, signed), fixed).unwrap();
            let refused = verify(&prologue.nodes, &prologue.tree, &rest, &verifier);
            prop_assert_eq!(refused, Err(VerifyError::Signature(SignatureError::Missing)));
            sign(&mut rest, &all.tree);
            let verified = verify(&prologue.nodes, &prologue.tree, &rest, &verifier).unwrap();
            prop_assert_eq!(&verified.upgrade.unwrap().tree, &all.tree);
        }
        // Other content of the same length is refused, and so is a part.
        let other = Original::new(0, distinct(fixed, "other"));
        let wrong = produce(&other.nodes, &other.tree, &upgrade(0, fixed), fixed).unwrap();
        let refused = verify(&Nodes::new(), &Tree::new(0), &wrong, &verifier);
        prop_assert_eq!(refused, Err(VerifyError::Signature(SignatureError::Prologue)));
        // Even the signers cannot put other content in its place.
        let signed = Original::new(0, distinct(fixed + 1, "other"));
        let mut wrong = produce(&signed.nodes, &signed.tree, &upgrade(0, fixed), fixed).unwrap();
        sign(&mut wrong, &signed.tree);
        let refused = verify(&Nodes::new(), &Tree::new(0), &wrong, &verifier);
        prop_assert_eq!(refused, Err(VerifyError::Signature(SignatureError::Prologue)));
        if fixed > 1 {
            let mut part = produce(&all.nodes, &all.tree, &upgrade(0, fixed - 1), 0).unwrap();
            sign(&mut part, &all.tree);
            prop_assert_eq!(verify(&Nodes::new(), &Tree::new(0), &part, &verifier), Err(VerifyError::Prologue));
        }
    }
}
