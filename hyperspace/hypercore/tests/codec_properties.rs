//! Every encoding reads back, and every decoder is given garbage.

use bytes::Bytes;
use hypercore::crypto::{KeyPair, hash_leaves, hash_pairs, leaf_hash, parent_hash, verify};
use hypercore::encoding::{DecodeError, MAX_UINT, Reader, Writer};
use hypercore::manifest::{
    Envelope, Manifest, ManifestError, Prologue, Proof, SignatureError, Signer, Verifier,
};
use hypercore::merkle::{Node, Tree};
use hyperspace_api::Key;
use proptest::prelude::*;

/// Numbers of all magnitudes.
fn number() -> impl Strategy<Value = u64> {
    (0u32..54).prop_flat_map(|bits| 0..=(MAX_UINT >> (53 - bits)))
}

fn node() -> impl Strategy<Value = Node> {
    (number(), number(), any::<[u8; 32]>()).prop_map(|(index, size, hash)| Node { index, size, hash })
}

fn signer() -> impl Strategy<Value = Signer> {
    any::<([u8; 32], [u8; 32])>().prop_map(|(namespace, public_key)| Signer { namespace, public_key })
}

fn manifest() -> impl Strategy<Value = Manifest> {
    let prologue = (any::<[u8; 32]>(), number()).prop_map(|(hash, length)| Prologue { hash, length });
    (
        1u64..=3,
        any::<bool>(),
        number(),
        prop::collection::vec(signer(), 0..5),
        prop::option::of(prologue),
        prop::option::of(prop::collection::vec(any::<[u8; 32]>().prop_map(Key::from), 0..4)),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
    )
        .prop_map(|(version, allow_patch, quorum, signers, prologue, linked, user_data)| Manifest {
            version,
            allow_patch,
            quorum,
            signers,
            prologue,
            linked,
            user_data,
        })
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let proof = (number(), any::<[u8; 32]>(), number()).prop_map(|(signer, half, patch)| {
        let mut signature = [0; 64];
        signature[16..48].copy_from_slice(&half);
        // A core's length and its patch together are a number, too.
        Proof { signer, signature, patch: patch / 2 }
    });
    (prop::collection::vec(proof, 0..4), prop::collection::vec(node(), 0..4))
        .prop_map(|(proofs, nodes)| Envelope { proofs, nodes })
}

/// Bytes that look like lengths more often than chance would have it.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![any::<u8>(), Just(0), Just(1), Just(2), Just(0xfd), Just(0xfe), Just(0xff)];
    prop::collection::vec(byte, 0..400)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn numbers_read_back_in_the_shortest_form(value in number()) {
        let mut writer = Writer::new();
        writer.uint(value);
        let length = match value { 0..=252 => 1, 253..=0xffff => 3, 0x1_0000..=0xffff_ffff => 5, _ => 9 };
        prop_assert_eq!(writer.as_slice().len(), length);
        prop_assert_eq!(Reader::new(writer.as_slice()).uint(), Ok(value));
        for cut in 0..length {
            prop_assert_eq!(Reader::new(&writer.as_slice()[..cut]).uint(), Err(DecodeError::OutOfBounds));
        }
        for signed in [value as i64 / 2, -(value as i64 / 2)] {
            let mut writer = Writer::new();
            writer.int(signed);
            prop_assert_eq!(Reader::new(writer.as_slice()).int(), Ok(signed));
        }
    }

    #[test]
    fn longer_forms_than_needed_are_read(value in 0u64..=0xffff) {
        let long = [&[0xfe][..], &(value as u32).to_le_bytes()].concat();
        prop_assert_eq!(Reader::new(&long).uint(), Ok(value));
        let longest = [&[0xff][..], &value.to_le_bytes()].concat();
        prop_assert_eq!(Reader::new(&longest).uint(), Ok(value));
    }

    #[test]
    fn numbers_beyond_what_javascript_holds_are_refused(value in MAX_UINT + 1..) {
        let encoded = [&[0xff][..], &value.to_le_bytes()].concat();
        prop_assert_eq!(Reader::new(&encoded).uint(), Err(DecodeError::TooLarge));
    }

    #[test]
    fn lexints_sort_as_their_values_do(a in 0u64..1 << 32, b in 0u64..1 << 32) {
        let encode = |value| {
            let mut writer = Writer::new();
            writer.lexint(value);
            writer.into_vec()
        };
        prop_assert_eq!(a.cmp(&b), encode(a).cmp(&encode(b)));
        prop_assert_eq!(Reader::new(&encode(a)).lexint(), Ok(a));
    }

    #[test]
    fn large_lexints_keep_their_highest_bits(value in 1u64 << 32..=MAX_UINT) {
        let mut writer = Writer::new();
        writer.lexint(value);
        let read = Reader::new(writer.as_slice()).lexint().unwrap();
        prop_assert!(read <= value && value - read < 1 << 10, "{} {}", read, value);
    }

    #[test]
    fn a_length_is_never_trusted(claim in prop_oneof![41u64..0x20_0000, 41u64..=MAX_UINT], rest in prop::collection::vec(any::<u8>(), 0..40)) {
        let mut writer = Writer::new();
        writer.uint(claim).raw(&rest);
        prop_assert_eq!(Reader::new(writer.as_slice()).buffer(), Err(DecodeError::OutOfBounds));
        prop_assert_eq!(Reader::new(writer.as_slice()).string(), Err(DecodeError::OutOfBounds));
        prop_assert_eq!(Reader::new(writer.as_slice()).uint32_array(), Err(DecodeError::OutOfBounds));
        let items = Reader::new(writer.as_slice()).array(0, |_| -> Result<(), _> { panic!("no item was sent") });
        prop_assert_eq!(items, Err(DecodeError::TooLong));
    }

    #[test]
    fn manifests_read_back(manifest in manifest()) {
        let encoded = manifest.to_vec();
        prop_assert_eq!(Manifest::from_slice(&encoded), Ok(manifest.clone()));
        let _ = (manifest.validate(), manifest.key());
        let v0 = Manifest { version: 0, linked: None, user_data: None, prologue: None, ..manifest };
        prop_assert_eq!(Manifest::from_slice(&v0.to_vec()), Ok(v0));
    }

    #[test]
    fn envelopes_read_back(envelope in envelope(), length in number()) {
        let mut writer = Writer::new();
        envelope.encode_v1(&mut writer);
        prop_assert_eq!(Envelope::decode_v1(&mut Reader::new(writer.as_slice())), Ok(envelope.clone()));
        let mut writer = Writer::new();
        envelope.encode_v0(&mut writer, length / 2);
        prop_assert_eq!(Envelope::decode_v0(&mut Reader::new(writer.as_slice())), Ok(envelope));
    }

    #[test]
    fn garbage_is_refused_and_nothing_worse(garbage in garbage()) {
        let reader = || Reader::new(&garbage);
        let _ = (reader().uint(), reader().int(), reader().lexint(), reader().string(), reader().buffer());
        let _ = (reader().optional_buffer(), reader().uint32_array(), reader().uint64be(), reader().bool());
        let _ = reader().array(1, |reader| reader.buffer());
        let _ = Node::decode(&mut reader());
        let _ = (Envelope::decode_v0(&mut reader()), Envelope::decode_v1(&mut reader()));
        let tree = Tree::new(0).append(&["a"]).tree;
        for version in 0..4 {
            let mut bytes = garbage.clone();
            bytes.insert(0, version);
            if let Ok(manifest) = Manifest::from_slice(&bytes) {
                let _ = Verifier::new(&manifest.key(), Some(&manifest)).verify(&tree, Some(&garbage));
            }
        }
    }

    #[test]
    fn garbage_is_no_signature(garbage in garbage(), version in 0u64..4, allow_patch: bool, signers in 1u8..4) {
        let keys = (0..signers).map(|number| KeyPair::from_seed(&[number; 32]).public_key());
        let manifest = Manifest {
            version,
            allow_patch,
            quorum: 1,
            signers: keys.map(Signer::new).collect(),
            ..Manifest::single_signer([0; 32])
        };
        let tree = Tree::new(0).append(&["a", "b", "c"]).tree;
        let verifier = Verifier::new(&manifest.key(), Some(&manifest));
        prop_assert!(verifier.verify(&tree, Some(&garbage)).is_err());
        // Nor is one of which a bit was flipped.
        let pair = KeyPair::from_seed(&[0; 32]);
        let mut signature = verifier.sign(&tree, &pair).unwrap();
        prop_assert_eq!(verifier.verify(&tree, Some(&signature)), Ok(()));
        let half = signature.len() / 2;
        let bit = usize::from(garbage.first().copied().unwrap_or_default()) % 128;
        signature[half + bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(verifier.verify(&tree, Some(&signature)), Err(SignatureError::Mismatch));
    }

    #[test]
    fn hashing_side_by_side_changes_nothing(
        sizes in prop::collection::vec(prop_oneof![6 => 0usize..300, 1 => 4000usize..4200, 1 => 9000usize..20_000], 0..70),
    ) {
        let blocks: Vec<Bytes> = sizes.iter().map(|size| vec![*size as u8; *size].into()).collect();
        let mut hashes = Vec::new();
        hash_leaves(&blocks, |hash| hashes.push(hash));
        prop_assert_eq!(&hashes, &blocks.iter().map(|block| leaf_hash(block)).collect::<Vec<_>>());
        let nodes: Vec<Node> = (0u64..).zip(&blocks).map(|(index, block)| Node::leaf(index, block)).collect();
        let pairs: Vec<[Node; 2]> = nodes.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect();
        let mut hashes = Vec::new();
        hash_pairs(&pairs, |hash| hashes.push(hash));
        let expected: Vec<_> = pairs.iter().map(|[left, right]| parent_hash(left, right)).collect();
        prop_assert_eq!(&hashes, &expected);
        let swapped: Vec<_> = pairs.iter().map(|[left, right]| parent_hash(right, left)).collect();
        prop_assert_eq!(&hashes, &swapped, "the smaller index is on the left");
    }

    #[test]
    fn signatures_hold_for_what_was_signed(seed: [u8; 32], message in prop::collection::vec(any::<u8>(), 0..200)) {
        let pair = KeyPair::from_seed(&seed);
        let signature = pair.sign(&message);
        prop_assert!(verify(&pair.public_key(), &message, &signature));
        let mut other = message.clone();
        other.push(0);
        prop_assert!(!verify(&pair.public_key(), &other, &signature));
        prop_assert!(!verify(&[0; 32], &message, &signature));
    }
}

#[test]
fn options_that_make_no_manifest_are_refused() {
    let keys = [[1; 32], [2; 32]];
    assert_eq!(Manifest::multi_signer(&keys, Some(3)), Err(ManifestError::Quorum { quorum: 3, signers: 2 }));
    assert_eq!(Manifest::multi_signer(&keys, None).map(|manifest| manifest.quorum), Ok(2));
    assert_eq!(Manifest::multi_signer(&[], None).map(|manifest| manifest.quorum), Ok(0));
    let manifest = Manifest::single_signer([1; 32]);
    let old = Manifest { user_data: Some(vec![1]), ..manifest.clone() };
    assert_eq!(old.validate(), Err(ManifestError::TooOld(1)));
    assert_eq!(Manifest { version: 2, ..old }.validate(), Ok(()));
    assert_eq!(Manifest { version: 4, ..manifest }.validate(), Err(ManifestError::Version(4)));
}

#[test]
fn a_key_of_small_order_signs_nothing() {
    // With the neutral element as key and as R, S = 0 fits any message under lax rules.
    let mut key = [0; 32];
    key[0] = 1;
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(!verify(&key, b"anything", &signature));
}
