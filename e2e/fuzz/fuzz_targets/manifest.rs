//! Manifests and signatures.
#![no_main]

use compact_encoding::Reader;
use hypercore::manifest::{Envelope, Manifest, Verifier};
use hypercore::merkle::Tree;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
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
});
