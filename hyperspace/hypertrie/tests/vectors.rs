//! The trie against what npm hypertrie 5.1.3 wrote: 150 operations, 160 blocks.

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hyperspace_api::memory::{MemoryCore, MemoryStore};
use hyperspace_api::{Core, Corestore, OpenTarget};
use hypertrie::{Header, ListOptions, Node, Snapshot, Trie, TrieOptions, Writer, component_hash, flags};
use serde_json::{Value, json};
use std::sync::Arc;

fn vectors() -> Value {
    serde_json::from_str(include_str!("vectors/hypertrie.json")).unwrap()
}

fn blocks(vectors: &Value) -> Vec<Bytes> {
    let blocks = vectors["blocks"].as_array().unwrap();
    blocks.iter().map(|block| HEXLOWER.decode(block.as_str().unwrap().as_bytes()).unwrap().into()).collect()
}

async fn new_core() -> MemoryCore {
    MemoryStore::new().open(OpenTarget::New).await.unwrap()
}

/// The trie as the original wrote it.
async fn original(vectors: &Value) -> Trie<MemoryCore> {
    let core = new_core().await;
    core.append(blocks(vectors), Some(0)).await.unwrap();
    Trie::new(core, TrieOptions::default())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

async fn apply(writer: &mut Writer<MemoryCore>, kind: &str, key: &str, value: &Value, flags: u64) -> u64 {
    match kind {
        "put" => {
            let value = Bytes::copy_from_slice(text(value).as_bytes());
            writer.put(key, Some(value), flags).await.unwrap();
            1
        }
        "del" => u64::from(writer.del(key, false).await.unwrap()),
        other => panic!("{other}"),
    }
}

/// Writes the original's operations anew; commits after each one if `each`.
async fn rewritten(vectors: &Value, each: bool) -> Vec<Bytes> {
    let core = new_core().await;
    let header = Header::new(Some(Bytes::from_static(&[0xaa; 32])), Some("hyperdrive"));
    core.append(vec![header.to_block()], Some(0)).await.unwrap();
    let trie = Trie::new(core.clone(), TrieOptions::default());
    let mut writer = Writer::new(trie, 1);
    for op in vectors["ops"].as_array().unwrap() {
        let mut appended = 0;
        if text(&op["op"]) == "batch" {
            for op in op["ops"].as_array().unwrap() {
                appended += apply(&mut writer, text(&op[0]), text(&op[1]), &op[2], 0).await;
            }
        } else {
            let flags = op["flags"].as_u64().unwrap_or(0);
            appended += apply(&mut writer, text(&op["op"]), text(&op["key"]), &op["value"], flags).await;
        }
        if let Some(expected) = op["appended"].as_u64() {
            assert_eq!(appended, expected, "{op}");
        }
        if each {
            core.append(writer.blocks().to_vec(), Some(writer.base())).await.unwrap();
            writer.committed(writer.len());
        }
    }
    core.append(writer.blocks().to_vec(), Some(writer.base())).await.unwrap();
    let mut written = Vec::new();
    for index in 0..core.length() {
        written.push(core.get(index, Default::default()).await.unwrap());
    }
    written
}

#[tokio::test]
async fn writes_the_same_blocks() {
    let vectors = vectors();
    for each in [true, false] {
        let written = rewritten(&vectors, each).await;
        let expected = blocks(&vectors);
        assert_eq!(written.len(), expected.len());
        for (index, (ours, theirs)) in written.iter().zip(&expected).enumerate() {
            assert_eq!(HEXLOWER.encode(ours), HEXLOWER.encode(theirs), "block {index}");
        }
    }
}

fn value(node: &Node) -> String {
    String::from_utf8(node.value.clone().unwrap().to_vec()).unwrap()
}

async fn listed(snapshot: &Snapshot<MemoryCore>, prefix: &str, options: ListOptions) -> Vec<Arc<Node>> {
    snapshot.list(prefix, options).await.unwrap()
}

#[tokio::test]
async fn lists_in_the_same_order() {
    let vectors = vectors();
    let trie = original(&vectors).await;
    let live = trie.live();
    let rows = |nodes: Vec<Arc<Node>>| -> Value {
        nodes.iter().map(|node| json!([node.key(), value(node), node.seq])).collect()
    };
    let keys = |nodes: Vec<Arc<Node>>| -> Value { nodes.iter().map(|node| json!(node.key())).collect() };
    let all = ListOptions::default();

    assert_eq!(rows(listed(&live, "", all).await), vectors["list"]);
    assert_eq!(rows(listed(&live, "/", ListOptions { hidden: true, ..all }).await), vectors["listHidden"]);
    assert_eq!(keys(listed(&live, "", ListOptions { reverse: true, ..all }).await), vectors["listReverse"]);
    assert_eq!(keys(listed(&live, "dir", ListOptions { gt: true, ..all }).await), vectors["listDirGt"]);
    let flat = listed(&live, "dir", ListOptions { recursive: false, ..all }).await;
    let flat: Value = flat.iter().map(|node| json!([node.key(), node.seq])).collect();
    assert_eq!(flat, vectors["listDirNonRecursive"]);

    let three = listed(&live, "", ListOptions { limit: Some(3), ..all }).await;
    assert_eq!(rows(three).as_array().unwrap()[..], vectors["list"].as_array().unwrap()[..3]);
}

#[tokio::test]
async fn finds_every_entry() {
    let vectors = vectors();
    let live = original(&vectors).await.live();
    for (name, hidden) in [("list", false), ("listHidden", true)] {
        for row in vectors[name].as_array().unwrap() {
            let node = live.get(text(&row[0]), hidden).await.unwrap().unwrap();
            assert_eq!(json!([node.key(), value(&node), node.seq]), *row);
            assert_eq!(node.hidden(), hidden);
        }
    }
    assert!(live.get("dir", false).await.unwrap().is_none());
    assert!(live.get("dir/dir", false).await.unwrap().is_none());
    assert!(live.get("x4", false).await.unwrap().is_none());
    let header = live.trie().read_header().await.unwrap();
    assert_eq!(header.subtype.as_deref(), Some("hyperdrive"));
}

#[tokio::test]
async fn compares_versions_as_the_original_does() {
    let vectors = vectors();
    let trie = original(&vectors).await;
    let diff = trie.live().diff(&trie.at(60), "", false).await.unwrap();
    let seq = |node: &Option<Arc<Node>>| node.as_ref().map(|node| node.seq);
    let rows: Value = diff.iter().map(|d| json!([d.key, seq(&d.left), seq(&d.right)])).collect();
    assert_eq!(rows, vectors["diffVs60"]);
}

#[tokio::test]
async fn a_slash_at_the_end_is_another_spelling() {
    let mut writer = Writer::new(Trie::new(new_core().await, TrieOptions::default()), 1);
    for key in ["dir", "dir/", "dir/a", "/dir/b/"] {
        writer.put(key, Some(Bytes::from(key)), 0).await.unwrap();
    }
    let keys = |nodes: Vec<Arc<Node>>| nodes.iter().map(|node| node.key().to_owned()).collect::<Vec<_>>();
    let all = ListOptions::default();
    assert_eq!(keys(listed(&writer.snapshot(), "dir", all).await), ["dir/", "dir/b/", "dir/a"]);
    for key in ["dir", "dir/", "/dir"] {
        assert_eq!(value(&writer.snapshot().get(key, false).await.unwrap().unwrap()), "dir/");
    }
    assert!(writer.del("dir", false).await.unwrap());
    assert!(!writer.del("dir/", false).await.unwrap());
    assert!(writer.del("dir/b", false).await.unwrap());
    assert_eq!(keys(listed(&writer.snapshot(), "", all).await), ["dir/a"]);
}

#[test]
fn hashes() {
    for (text, hash) in vectors()["hashes"].as_object().unwrap() {
        assert_eq!(HEXLOWER.encode(&component_hash(text.as_bytes()).to_le_bytes()), hash.as_str().unwrap());
    }
    assert_eq!(flags(1, true), 257);
}
