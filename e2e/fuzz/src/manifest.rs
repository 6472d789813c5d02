//! Manifests and signatures.

use compact_encoding::Reader;
use hypercore::crypto::KeyPair;
use hypercore::manifest::{Envelope, Manifest, Verifier};
use hypercore::merkle::Tree;

pub fn run(input: &[u8]) {
    if let Ok(manifest) = Manifest::from_slice(input) {
        let again = Manifest::from_slice(&manifest.to_vec()).expect("what was written is read");
        assert_eq!(again, manifest);
        let _ = manifest.validate();
        let verifier = Verifier::new(&manifest.key(), Some(&manifest));
        // Nobody can sign by chance.
        assert!(verifier.verify(&Tree::default(), Some(input)).is_err() || manifest.prologue.is_some());
    }
    let _ = Envelope::decode_v0(&mut Reader::new(input));
    let _ = Envelope::decode_v1(&mut Reader::new(input));
}

/// Manifests of each version, and envelopes.
pub fn samples() -> Vec<Vec<u8>> {
    let one = Manifest::single_signer(KeyPair::from_seed(&[7; 32]).public_key());
    let mut two = Manifest { quorum: 2, allow_patch: true, ..one.clone() };
    two.signers.push(one.signers[0]);
    let manifests =
        [Manifest { version: 0, ..one.clone() }, two.clone(), Manifest { version: 2, ..two }, one];
    let mut samples: Vec<_> = manifests.iter().map(Manifest::to_vec).collect();
    samples.push([&[1, 0][..], &[7; 64], &[0, 1, 3, 8], &[9; 32]].concat());
    samples
}
