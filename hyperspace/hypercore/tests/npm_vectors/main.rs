//! Byte for byte what npm's packages do: every section of `tests/vectors/hypercore-11.json`.

mod encodings;
mod encryption;
#[path = "../common/frames.rs"]
mod frames;
mod keys;
mod log;
mod manifests;
mod multisig;
mod proofs;
mod static_core;
mod transcript;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hypercore::crypto::KeyPair;
use hypercore::manifest::{Manifest, Prologue, Signer};
use hypercore::merkle::{Node, Tree};
use hyperspace_api::Key;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

/// The recorded facts.
static VECTORS: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../vectors/hypercore-11.json")).expect("the vectors are JSON")
});

/// A section of them.
fn section(name: &str) -> &'static Value {
    let section = &VECTORS[name];
    assert!(!section.is_null(), "no section {name}");
    section
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}"))
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("not a number: {value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}

fn bytes(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(text(value).as_bytes()).expect("hex")
}

fn hash(value: &Value) -> [u8; 32] {
    bytes(value).try_into().expect("32 bytes")
}

fn key(value: &Value) -> Key {
    hash(value).into()
}

fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// Key pair number `number`, from one.
fn key_pair(number: usize) -> KeyPair {
    KeyPair::from_seed(&hash(&section("keyPairs")[number - 1]["seed"]))
}

/// A node as an object.
fn node(value: &Value) -> Node {
    Node { index: number(&value["index"]), size: number(&value["size"]), hash: hash(&value["hash"]) }
}

fn manifest(value: &Value) -> Manifest {
    Manifest {
        version: number(&value["version"]),
        allow_patch: value["allowPatch"].as_bool().expect("a flag"),
        quorum: number(&value["quorum"]),
        signers: list(&value["signers"])
            .iter()
            .map(|signer| Signer {
                namespace: hash(&signer["namespace"]),
                public_key: hash(&signer["publicKey"]),
            })
            .collect(),
        prologue: value["prologue"].is_object().then(|| Prologue {
            hash: hash(&value["prologue"]["hash"]),
            length: number(&value["prologue"]["length"]),
        }),
        linked: value["linked"].is_array().then(|| list(&value["linked"]).iter().map(key).collect()),
        user_data: value["userData"].is_string().then(|| bytes(&value["userData"])),
    }
}

/// The manifest of that name.
fn named_manifest(name: &str) -> Manifest {
    manifest(&section("manifests")[name]["manifest"])
}

/// The blocks of the recorded log.
fn blocks() -> Vec<Bytes> {
    list(&section("log")["blockText"])
        .iter()
        .map(|block| Bytes::copy_from_slice(text(block).as_bytes()))
        .collect()
}

/// The recorded log up to a length, made by us.
fn log_tree(length: usize) -> (Tree, HashMap<u64, Node>) {
    let batch = Tree::new(0).append(&blocks()[..length]);
    (batch.tree, batch.nodes.into_iter().map(|node| (node.index, node)).collect())
}

/// The recorded log after its history was cut to 12 blocks and went on otherwise to 15.
fn forked_tree() -> (Tree, HashMap<u64, Node>) {
    let (tree, mut nodes) = log_tree(12);
    let batch = tree.with_fork(1).append(&["fork 0", "fork 1", "fork 2"]);
    nodes.extend(batch.nodes.iter().map(|node| (node.index, *node)));
    (batch.tree, nodes)
}

#[test]
fn every_section_has_its_test() {
    let tested = [
        "description",
        "constants",
        "compact",
        "flat",
        "keyPairs",
        "corestore",
        "manifests",
        "log",
        "proofs",
        "fork",
        "staticCore",
        "capability",
        "wire",
        "multisig",
        "encryption",
        "transcript",
        "transcriptSparse",
        // A matter of the drive crate.
        "hyperbeeExtension",
    ];
    for name in VECTORS.as_object().expect("an object").keys() {
        assert!(tested.contains(&name.as_str()), "section {name} has no test");
    }
}
