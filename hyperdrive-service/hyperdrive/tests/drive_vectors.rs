//! A drive that npm hyperdrive 10.21.0 wrote: every path, attribute and byte of it.

mod common;

use bytes::Bytes;
use common::{grouped, run};
use data_encoding::HEXLOWER;
use hyperdrive::trie::{Trie, TrieOptions};
use hyperdrive::{Attrs, Drives, Op, RenameMode, Stat, WalkOptions};
use hyperspace_api::memory::{MemoryCore, MemoryStore};
use hyperspace_api::{Core, CoreError, Corestore, Key, OpenTarget};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// Cores under keys that were given elsewhere.
#[derive(Clone)]
struct Given {
    store: MemoryStore,
    cores: Arc<HashMap<Key, MemoryCore>>,
}

impl Corestore for Given {
    type Core = MemoryCore;

    async fn open(&self, target: OpenTarget) -> Result<MemoryCore, CoreError> {
        match &target {
            OpenTarget::Key(key) if self.cores.contains_key(key) => Ok(self.cores[key].clone()),
            _ => self.store.open(target).await,
        }
    }
}

fn bytes(value: &Value) -> Bytes {
    match value.as_str() {
        Some(hex) => HEXLOWER.decode(hex.as_bytes()).unwrap().into(),
        None => {
            vec![value["byte"].as_u64().unwrap() as u8; value["length"].as_u64().unwrap() as usize].into()
        }
    }
}

fn key(value: &Value) -> Key {
    value.as_str().unwrap().parse().unwrap()
}

async fn load(vectors: &Value) -> Given {
    let store = MemoryStore::new();
    let mut cores = HashMap::new();
    for drive in [&vectors["drive"], &vectors["other"]] {
        for (name, blocks) in [("key", "metadata"), ("contentKey", "content")] {
            let core = store.open(OpenTarget::New).await.unwrap();
            core.append(drive[blocks].as_array().unwrap().iter().map(bytes).collect(), None).await.unwrap();
            cores.insert(key(&drive[name]), core);
        }
    }
    Given { store, cores: Arc::new(cores) }
}

#[test]
fn all_that_npm_wrote_is_there() {
    run(async {
        let vectors: Value = serde_json::from_str(include_str!("vectors/hyperdrive10.json")).unwrap();
        let drives = Drives::new(load(&vectors).await, grouped());
        let drive = drives.open(key(&vectors["drive"]["key"]), None).await.unwrap();

        let tree = vectors["tree"].as_object().unwrap();
        for (path, expected) in tree {
            let located = drive.locate(path).await.unwrap();
            let stat = &located.stat;
            let number = |name: &str| expected[name].as_u64().unwrap();
            assert_eq!(
                (stat.mode.into(), stat.uid.into(), stat.gid.into(), stat.size, stat.mtime),
                (number("mode"), number("uid"), number("gid"), number("size"), number("mtime")),
                "{path}"
            );
            assert_eq!(stat.linkname.as_deref(), expected["link"].as_str(), "{path}");
            if stat.is_dir() {
                continue;
            }
            let read = drive.read_file(path).await.unwrap();
            match expected["content"].as_str() {
                Some(text) => assert_eq!(read, text, "{path}"),
                None => assert!(read == bytes(&expected["content"]), "{path}"),
            }
        }
        // And nothing else, but for the directories that npm does not list.
        let mut paths: Vec<_> = tree.keys().map(String::as_str).collect();
        paths.extend(["/", "/implicit", "/implicit/deep"]);
        paths.sort_unstable();
        let mut found: Vec<_> = drive
            .walk("/", WalkOptions::default())
            .await
            .unwrap()
            .into_iter()
            .map(|(path, _)| path)
            .collect();
        found.sort_unstable();
        assert_eq!(found, paths);

        let xattrs = drive.stat("/hello.txt").await.unwrap().metadata;
        assert_eq!(xattrs.into_iter().collect::<Vec<_>>(), [("user.kept".into(), "v1".into())]);
        let mounts = drive.mounts(true).await.unwrap();
        let told: Vec<_> = mounts.iter().map(|mount| (mount.path.as_str(), mount.version)).collect();
        assert_eq!(told, [("/dir/then", Some(1)), ("/mnt", None)]);
        let before = vectors["before"].as_u64().unwrap();
        assert_eq!(drive.tags().await.unwrap()["tag"], before);
        let then = drive.checkout(before).unwrap();
        assert!(then.stat("/hello.txt").await.is_ok() && then.stat("/hello.txt2").await.is_err());
    });
}

/// What npm wrote is what we would write, byte for byte.
#[test]
fn records_are_written_as_npm_writes_them() {
    run(async {
        let vectors: Value = serde_json::from_str(include_str!("vectors/hyperdrive10.json")).unwrap();
        let store = load(&vectors).await;
        let core = store.open(OpenTarget::Key(key(&vectors["drive"]["key"]))).await.unwrap();
        let trie = Trie::new(core, TrieOptions::default());
        let mut history = trie.live().history(1..u64::MAX, false);
        let mut kinds = [0; 4];
        while let Some(node) = history.next().await.unwrap() {
            let Some(value) = node.value.clone().filter(|_| !node.hidden()) else { continue };
            let stat = Stat::decode(value.clone()).unwrap();
            // A removed attribute, which we do not keep the name of.
            if stat.metadata.len() == 1 && value.windows(12).any(|bytes| bytes == b"user.removed") {
                continue;
            }
            assert_eq!(stat.encode(), value, "{}", node.key());
            let kind = [stat.is_symlink(), stat.mount.is_some(), stat.is_dir(), stat.is_file()];
            kinds[kind.iter().position(|is| *is).unwrap()] += 1;
        }
        assert!(kinds.iter().all(|count| *count > 0), "{kinds:?}");
    });
}

#[test]
fn it_goes_on_from_there() {
    run(async {
        let vectors: Value = serde_json::from_str(include_str!("vectors/hyperdrive10.json")).unwrap();
        let store = load(&vectors).await;
        let key = key(&vectors["drive"]["key"]);
        let drive = Drives::new(store.clone(), grouped()).open(key, None).await.unwrap();
        drive.put_file("/ours", "ours", Attrs::file()).await.unwrap();
        drive.rename("/dir", "/renamed", RenameMode::Replace).await.unwrap();
        drive.apply(vec![Op::Rmdir { path: "/mnt".into() }]).await.unwrap();
        drive.flush().await.unwrap();
        let drive = Drives::new(store, grouped()).open(key, None).await.unwrap();
        assert_eq!(drive.read_file("/ours").await.unwrap(), "ours");
        assert!(drive.read_file("/renamed/large").await.unwrap() == vec![7; (1 << 20) + 10]);
        assert!(drive.readdir("/renamed/then").await.unwrap().is_empty());
        assert_eq!(drive.mounts(false).await.unwrap().len(), 1);
    });
}
