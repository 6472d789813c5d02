//! Manifests of every version, and their keys.

use super::*;

#[test]
fn manifests_and_their_keys_are_the_same() {
    let manifests = section("manifests").as_object().expect("an object");
    assert_eq!(manifests.len(), 14);
    for (name, expected) in manifests {
        let made = manifest(&expected["manifest"]);
        assert_eq!(hex(&made.to_vec()), text(&expected["encoded"]), "{name}");
        assert_eq!(Manifest::from_slice(&bytes(&expected["encoded"])), Ok(made.clone()), "{name}");
        assert_eq!(made.key().to_string(), text(&expected["key"]), "{name}");
        assert_eq!(made.key().discovery_key().to_string(), text(&expected["discoveryKey"]), "{name}");
        assert_eq!(made.validate(), Ok(()), "{name}");
        assert!(made.belongs_to(&made.key()));
        assert!(!made.is_compat(&made.key()));
        assert!(!made.belongs_to(&Key::from([1; 32])));
    }
}

#[test]
fn makers_give_the_recorded_manifests() {
    let keys = [1, 2, 3].map(|number| key_pair(number).public_key());
    assert_eq!(Manifest::single_signer(keys[0]), named_manifest("v1_single"));
    assert_eq!(Manifest::multi_signer(&keys, None), Ok(named_manifest("v1_2of3")));
    let prologue = Prologue { hash: [7; 32], length: 300 };
    assert_eq!(Manifest::fixed(prologue), named_manifest("v1_static"));
}

#[test]
fn version_3_reads_as_1_does_and_4_is_refused() {
    let mut manifest = Manifest { version: 3, ..named_manifest("v2_all") };
    assert_eq!(Manifest::from_slice(&manifest.to_vec()), Ok(manifest.clone()));
    manifest.version = 4;
    assert!(Manifest::from_slice(&manifest.to_vec()).is_err());
}

#[test]
fn an_encoding_that_is_cut_is_refused() {
    for expected in section("manifests").as_object().expect("an object").values() {
        let encoded = bytes(&expected["encoded"]);
        for length in 0..encoded.len() {
            assert!(Manifest::from_slice(&encoded[..length]).is_err());
        }
    }
}
