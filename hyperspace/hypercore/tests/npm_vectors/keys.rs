//! Constants, key pairs, corestore's derivations, capabilities.

use super::*;
use hypercore::crypto::namespace::{self, Namespace, capability};

#[test]
fn constants_are_the_same() {
    let constants = section("constants");
    for (number, (name, constant)) in [
        ("TREE", namespace::TREE),
        ("REPLICATE_INITIATOR", namespace::REPLICATE_INITIATOR),
        ("REPLICATE_RESPONDER", namespace::REPLICATE_RESPONDER),
        ("MANIFEST", namespace::MANIFEST),
        ("DEFAULT_NAMESPACE", namespace::DEFAULT_NAMESPACE),
        ("DEFAULT_ENCRYPTION", namespace::DEFAULT_ENCRYPTION),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(constant, hash(&constants[name]), "{name}");
        assert_eq!(constant, namespace::constant("hypercore", number as u8), "{name}");
    }
    assert_eq!(namespace::CORESTORE, hash(&constants["CORESTORE_NS"]));
    assert_eq!(namespace::CORESTORE, namespace::constant("corestore", 0));
}

#[test]
fn key_pairs_are_the_same() {
    for expected in list(section("keyPairs")) {
        let pair = KeyPair::from_seed(&hash(&expected["seed"]));
        assert_eq!(pair.public_key(), hash(&expected["publicKey"]));
        assert_eq!(hex(&pair.secret_key()), text(&expected["secretKey"]));
        assert_eq!(KeyPair::from_secret_key(&pair.secret_key()), Some(pair.clone()));
        let discovery_key = Key::from(pair.public_key()).discovery_key();
        assert_eq!(discovery_key.to_string(), text(&expected["discoveryKey"]));
    }
}

#[test]
fn a_secret_key_of_two_pairs_is_refused() {
    let mut secret = key_pair(1).secret_key();
    secret[32..].copy_from_slice(&key_pair(2).public_key());
    assert_eq!(KeyPair::from_secret_key(&secret), None);
}

#[test]
fn corestore_derives_the_same_keys() {
    let section = section("corestore");
    let primary_key = hash(&section["primaryKey"]);
    let entries = list(&section["entries"]);
    assert_eq!(entries.len(), 5);
    for entry in entries {
        let namespace = list(&entry["path"])
            .iter()
            .fold(Namespace::default(), |namespace, name| namespace.child(text(name).as_bytes()));
        assert_eq!(namespace.0, hash(&entry["ns"]));
        let name = text(&entry["name"]).as_bytes();
        assert_eq!(namespace.seed(&primary_key, name), hash(&entry["seed"]));
        let pair = namespace.key_pair(&primary_key, name);
        assert_eq!(pair.public_key(), hash(&entry["publicKey"]));
        let mut manifest = Manifest::single_signer(pair.public_key());
        let key = manifest.key();
        assert_eq!(key.to_string(), text(&entry["key"]));
        assert_eq!(key.to_z32(), text(&entry["id"]));
        assert_eq!(key.discovery_key().to_string(), text(&entry["discoveryKey"]));
        manifest.version = 2;
        assert_eq!(manifest.key().to_string(), text(&entry["keyIfManifestV2"]));
    }
}

#[test]
fn capabilities_are_the_same() {
    let section = section("capability");
    let handshake: [u8; 64] = bytes(&section["handshakeHash"]).try_into().expect("64 bytes");
    let key = key(&section["key"]);
    assert_eq!(capability(&handshake, &key, true), hash(&section["initiator"]));
    assert_eq!(capability(&handshake, &key, false), hash(&section["responder"]));
}
