//! The trie against a sorted map, under hashes that collide all the time.

use bytes::Bytes;
use hyperspace_api::memory::{MemoryCore, MemoryStore};
use hyperspace_api::{Core, Corestore, OpenTarget};
use hypertrie::{
    ComponentHash, Header, ListOptions, Node, Snapshot, Trie, TrieOptions, Writer, component_hash, flags,
};
use proptest::collection::vec;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One hash for every name; two; and names that differ only in their last digits,
/// of which the very last stands at the boundary.
fn one(_: &[u8]) -> u64 {
    0x1234_5678_9abc_def0
}
fn two(name: &[u8]) -> u64 {
    u64::from(name.first().is_some_and(|byte| byte % 2 == 1)) << 20
}
fn late(name: &[u8]) -> u64 {
    component_hash(name) & (0b111 << 61)
}

const HASHES: [ComponentHash; 4] = [one, two, late, component_hash];
const NAMES: [&str; 7] = ["a", "b", "c", "dir", "é", "", "hello.txt"];

#[derive(Clone, Debug)]
enum Step {
    Put(String, u8, bool),
    Del(String, bool),
    /// Appends what is pending.
    Commit,
    /// Makes a few changes and undoes them.
    RollBack(Vec<(String, bool)>),
    /// Remembers this version, to look at it once more at the end.
    Remember,
}

fn key() -> impl Strategy<Value = String> {
    vec(prop::sample::select(&NAMES[..]), 1..4)
        .prop_map(|names| names.join("/"))
        .prop_filter("keys that normalise to nothing, or whose ends would be dropped", |key| {
            !key.starts_with('/') && !key.ends_with('/') && !key.is_empty()
        })
}

fn step() -> impl Strategy<Value = Step> {
    let hidden = || prop::bool::weighted(0.15);
    prop_oneof![
        8 => (key(), any::<u8>(), hidden()).prop_map(|(key, value, hidden)| Step::Put(key, value, hidden)),
        6 => (key(), hidden()).prop_map(|(key, hidden)| Step::Del(key, hidden)),
        1 => Just(Step::Commit),
        1 => vec((key(), any::<bool>()), 0..4).prop_map(Step::RollBack),
        1 => Just(Step::Remember),
    ]
}

/// Entries by (hidden, components).
type Model = BTreeMap<(bool, Vec<String>), u8>;

fn split(key: &str) -> Vec<String> {
    key.split('/').filter(|_| !key.is_empty()).map(str::to_owned).collect()
}

fn byte(node: &Node) -> u8 {
    node.value.as_ref().unwrap()[0]
}

fn options(hidden: bool) -> ListOptions {
    ListOptions { hidden, ..ListOptions::default() }
}

async fn check(snapshot: &Snapshot<MemoryCore>, model: &Model) {
    for hidden in [false, true] {
        for prefix in ["", "a", "dir/a", "a//b", "missing"] {
            check_list(snapshot, model, prefix, hidden).await;
        }
        for key in ["a", "b", "dir", "dir/a", "a/b/c", "a//b", "é/é", "nothing/here"] {
            check_lookup(snapshot, model, key, hidden).await;
        }
    }
    for ((hidden, key), value) in model {
        let node = snapshot.get(&key.join("/"), *hidden).await.unwrap().expect("it was put");
        assert_eq!(byte(&node), *value);
        assert_eq!((node.key(), node.user_flags()), (&*key.join("/"), u64::from(*value) % 3));
    }
}

async fn check_list(snapshot: &Snapshot<MemoryCore>, model: &Model, prefix: &str, hidden: bool) {
    let at = split(prefix);
    let expected: Vec<_> =
        model.iter().filter(|((h, key), _)| *h == hidden && key.starts_with(&at)).collect();
    let keys = |nodes: &[Arc<Node>]| nodes.iter().map(|node| split(node.key())).collect::<Vec<_>>();

    let found = snapshot.list(prefix, options(hidden)).await.unwrap();
    let listed: BTreeMap<_, _> = found.iter().map(|node| (split(node.key()), byte(node))).collect();
    assert_eq!(listed.len(), found.len(), "an entry was listed twice");
    assert!(listed.iter().eq(expected.iter().map(|((_, key), value)| (key, *value))));

    // Parents come before what is below them; siblings with one hash by name.
    let order = keys(&found);
    for (index, key) in order.iter().enumerate() {
        assert!(order[..index].iter().all(|before| before == key || !before.starts_with(key)), "{order:?}");
    }
    let mut reversed =
        keys(&snapshot.list(prefix, ListOptions { reverse: true, ..options(hidden) }).await.unwrap());
    reversed.reverse();
    assert_eq!(reversed, order);

    let gt = keys(&snapshot.list(prefix, ListOptions { gt: true, ..options(hidden) }).await.unwrap());
    let without: Vec<_> = order.iter().filter(|key| **key != at).cloned().collect();
    assert_eq!(gt, without);
    let first =
        keys(&snapshot.list(prefix, ListOptions { limit: Some(2), ..options(hidden) }).await.unwrap());
    assert_eq!(first, order[..order.len().min(2)]);

    let below = |name: &str| -> Vec<String> { at.iter().cloned().chain([name.to_owned()]).collect() };
    let names: BTreeSet<_> = without.iter().map(|key| key[at.len()].clone()).collect();
    let flat = ListOptions { recursive: false, gt: true, ..options(hidden) };
    let flat: BTreeSet<_> =
        snapshot.list(prefix, flat).await.unwrap().iter().map(|n| split(n.key())[at.len()].clone()).collect();
    assert_eq!(flat, names);
    let children = snapshot.children(prefix, hidden).await.unwrap();
    assert!(children.iter().map(|child| &child.name).eq(names.iter()));
    for child in children {
        let key = below(&child.name);
        assert_eq!(child.node.as_deref().map(byte), model.get(&(hidden, key.clone())).copied());
        assert_eq!(
            child.has_below,
            without.iter().any(|other| other.len() > key.len() && other.starts_with(&key))
        );
    }
}

async fn check_lookup(snapshot: &Snapshot<MemoryCore>, model: &Model, key: &str, hidden: bool) {
    let path = split(key);
    let found = snapshot.lookup(key, hidden).await.unwrap();
    assert_eq!(found.node.as_deref().map(byte), model.get(&(hidden, path.clone())).copied());
    let ancestors: Vec<_> = (1..path.len())
        .map(|depth| path[..depth].to_vec())
        .filter(|above| model.contains_key(&(hidden, above.clone())))
        .collect();
    assert_eq!(found.ancestors.iter().map(|node| split(node.key())).collect::<Vec<_>>(), ancestors);
    let has_below = model.keys().any(|(h, k)| *h == hidden && k.len() > path.len() && k.starts_with(&path));
    assert_eq!(found.has_below, has_below);
    if let Some(below) = found.below {
        assert!(split(below.key()).starts_with(&path) && split(below.key()).len() > path.len());
    }
    let closest = snapshot.closest(key, hidden).await.unwrap();
    assert_eq!(closest.is_some(), !model.is_empty());
    if let Some(node) = found.node {
        assert_eq!(closest.unwrap().seq, node.seq);
    }
}

async fn check_diff(new: &Snapshot<MemoryCore>, left: &Model, old: &Snapshot<MemoryCore>, right: &Model) {
    for (hidden, prefix) in [(false, ""), (true, ""), (false, "a"), (false, "dir/a")] {
        let at = split(prefix);
        let diff = new.diff(old, prefix, hidden).await.unwrap();
        let keys: BTreeSet<_> = diff.iter().map(|d| d.key.clone()).collect();
        assert_eq!(keys.len(), diff.len(), "a key was named twice");
        for node in &diff {
            let key = (hidden, split(&node.key));
            assert!(key.1.starts_with(&at));
            assert_eq!(node.left.as_deref().map(byte), left.get(&key).copied(), "{}", node.key);
            assert_eq!(node.right.as_deref().map(byte), right.get(&key).copied(), "{}", node.key);
        }
        let changed: BTreeSet<_> = diff.iter().filter(|d| d.is_change()).map(|d| d.key.clone()).collect();
        let expected: BTreeSet<_> = left
            .keys()
            .chain(right.keys())
            .filter(|key| key.0 == hidden && key.1.starts_with(&at) && left.get(key) != right.get(key))
            .map(|key| key.1.join("/"))
            .collect();
        assert_eq!(changed, expected);
    }
}

async fn put(writer: &mut Writer<MemoryCore>, key: &str, value: u8, hidden: bool) {
    let bytes = Bytes::copy_from_slice(&[value]);
    writer.put(key, Some(bytes), flags(u64::from(value) % 3, hidden)).await.unwrap();
}

async fn commit(writer: &mut Writer<MemoryCore>) {
    let core = writer.trie().core().clone();
    core.append(writer.blocks().to_vec(), Some(writer.base())).await.unwrap();
    writer.committed(writer.len());
    assert!(writer.is_empty() && writer.bytes() == 0);
}

async fn run(steps: Vec<Step>, hash: ComponentHash, cache_bytes: usize) {
    let core = MemoryStore::new().open(OpenTarget::New).await.unwrap();
    core.append(vec![Header::new(None, None).to_block()], Some(0)).await.unwrap();
    let options = TrieOptions { hash, cache_bytes, ..TrieOptions::default() };
    let mut writer = Writer::new(Trie::new(core.clone(), options), 1);
    let mut model = Model::new();
    let mut remembered = vec![(writer.snapshot(), model.clone())];
    for step in steps {
        match step {
            Step::Put(key, value, hidden) => {
                put(&mut writer, &key, value, hidden).await;
                model.insert((hidden, split(&key)), value);
            }
            Step::Del(key, hidden) => {
                let before = writer.len();
                let deleted = writer.del(&key, hidden).await.unwrap();
                assert_eq!(deleted, model.remove(&(hidden, split(&key))).is_some(), "{key}");
                assert_eq!(writer.len() - before, usize::from(deleted));
            }
            Step::Commit => commit(&mut writer).await,
            Step::RollBack(ops) => {
                let (len, bytes) = (writer.len(), writer.bytes());
                for (key, deletes) in ops {
                    if deletes {
                        writer.del(&key, false).await.unwrap();
                    } else {
                        put(&mut writer, &key, 1, false).await;
                    }
                }
                writer.roll_back(len);
                assert_eq!((writer.len(), writer.bytes()), (len, bytes));
            }
            Step::Remember => remembered.push((writer.snapshot(), model.clone())),
        }
        let found = writer.snapshot().list("", ListOptions::default()).await.unwrap();
        assert_eq!(found.len(), model.keys().filter(|(hidden, _)| !hidden).count());
    }
    check(&writer.snapshot(), &model).await;
    commit(&mut writer).await;

    // A reader that has never seen the writer finds the same.
    let reader = Trie::new(core, options);
    check(&reader.live(), &model).await;
    for (snapshot, then) in &remembered {
        check(snapshot, then).await;
        check(&reader.at(snapshot.version()), then).await;
        let old = reader.at(snapshot.version());
        check_diff(&reader.live(), &model, &old, then).await;
        check_diff(&old, then, &reader.live(), &model).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn is_a_map_with_history(
        steps in vec(step(), 1..60),
        hash in prop::sample::select(&HASHES[..]),
        cache in prop::sample::select(&[0, 4000, 1 << 20][..]),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps, hash, cache));
    }
}
