//! What a store promises, on the disk and in memory.

use bytes::Bytes;
use hypercore::crypto::{self, KeyPair};
use hypercore::hyperspace_api::{Core, CoreError, CoreEvent, GetOptions, OpenTarget, Seek};
use hypercore::manifest::{Manifest, Verifier};
use hypercore::merkle::Tree;
use hypercore::{Corestore, LocalCore, StoreError, StoreOptions};
use std::path::Path;
use std::time::Duration;

const LOCAL: GetOptions = GetOptions::LOCAL;

fn open(dir: &Path) -> Corestore {
    Corestore::open(dir, StoreOptions::default()).unwrap()
}

fn blocks(texts: &[&str]) -> Vec<Bytes> {
    texts.iter().map(|text| Bytes::copy_from_slice(text.as_bytes())).collect()
}

/// Does the core hold what `expected` says, signed as it should be?
async fn check(core: &LocalCore, expected: &[Option<Bytes>]) {
    assert_eq!(core.length(), expected.len() as u64);
    for (index, block) in expected.iter().enumerate() {
        let index = index as u64;
        assert_eq!(core.has(index).await.unwrap(), block.is_some(), "block {index}");
        assert_eq!(core.get(index, LOCAL).await.ok(), *block, "block {index}");
    }
}

fn check_signature(core: &LocalCore, blocks: &[Bytes]) {
    let tree = Tree::new(core.fork()).append(blocks).tree;
    let verifier = Verifier::new(&core.key(), core.manifest().as_ref());
    assert_eq!(verifier.verify(&tree, Some(&core.signature())), Ok(()));
}

#[tokio::test]
async fn what_is_appended_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let all: Vec<Bytes> = (0..300u32)
        .map(|at| match at % 10 {
            0 => Bytes::from(vec![at as u8; 70_000]),
            1 => Bytes::from(vec![at as u8; 5000]),
            _ => Bytes::from(at.to_string()),
        })
        .collect();
    let (store, mut keys) = (open(dir.path()), Vec::new());
    for (name, step) in [("ones", 1), ("sevens", 7), ("all", 300)] {
        let core = store.open_name(name).unwrap();
        for part in all.chunks(step) {
            core.append(part.to_vec(), None).await.unwrap();
        }
        keys.push(core.key());
        check(&core, &all.iter().cloned().map(Some).collect::<Vec<_>>()).await;
    }
    store.settle().await.unwrap();
    let expected: Vec<_> = all.iter().cloned().map(Some).collect();
    check(&store.open_name("ones").unwrap(), &expected).await;
    store.close().await.unwrap();
    drop(store);
    for _ in 0..2 {
        let store = open(dir.path());
        for (name, key) in ["ones", "sevens", "all"].iter().zip(&keys) {
            let core = store.open_name(name).unwrap();
            assert_eq!(core.key(), *key);
            assert!(core.writable());
            check(&core, &expected).await;
            check_signature(&core, &all);
            let info = core.info().await.unwrap();
            assert_eq!((info.length, info.contiguous_length), (300, 300));
            assert_eq!(info.byte_length, all.iter().map(|block| block.len() as u64).sum::<u64>());
            let third: u64 = all[..3].iter().map(|block| block.len() as u64).sum();
            assert_eq!(core.seek(third, LOCAL).await, Ok(Seek { index: 3, offset: 0 }));
        }
        drop(store);
    }
}

#[tokio::test]
async fn key_pairs_are_those_of_corestore_7() {
    // From hypercore-11-vectors.json, section corestore.
    let vectors: serde_json::Value = serde_json::from_str(include_str!("vectors/hypercore-11.json")).unwrap();
    let hex = |value: &serde_json::Value| {
        data_encoding::HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
    };
    let section = &vectors["corestore"];
    let primary_key: [u8; 32] = hex(&section["primaryKey"]).try_into().unwrap();
    let store = Corestore::memory_with(StoreOptions { primary_key: Some(primary_key), ..Default::default() })
        .unwrap();
    let mut seen = 0;
    for case in section["entries"].as_array().unwrap() {
        let mut namespaced = store.clone();
        for name in case["path"].as_array().unwrap() {
            namespaced = namespaced.namespace(name.as_str().unwrap());
        }
        let core = namespaced.open_name(case["name"].as_str().unwrap()).unwrap();
        assert_eq!(core.key().as_bytes().as_slice(), hex(&case["key"]));
        seen += 1;
    }
    assert!(seen > 0);
}

#[tokio::test]
async fn lookups_agree() {
    for store in [Corestore::memory().unwrap(), open(&tempfile::tempdir().unwrap().keep())] {
        let core = store.open_name("a").unwrap();
        core.append(blocks(&["one"]), None).await.unwrap();
        for settled in [false, true] {
            if settled {
                store.settle().await.unwrap();
            }
            for same in [
                store.open_key(core.key()).unwrap(),
                store.open_discovery_key(&core.discovery_key()).unwrap().unwrap(),
                store.open_name("a").unwrap(),
                store.open_now(OpenTarget::Name("a".into())).unwrap(),
            ] {
                assert_eq!((same.key(), same.length(), same.writable()), (core.key(), 1, true));
            }
            assert_ne!(store.namespace("x").open_name("a").unwrap().key(), core.key());
            assert_ne!(store.open_now(OpenTarget::New).unwrap().key(), core.key());
            assert_eq!(store.default_core().unwrap().key(), store.open_name("default").unwrap().key());
        }
        let pair = KeyPair::from_seed(&[5; 32]);
        let read_only = store.open_key(Manifest::single_signer(pair.public_key()).key()).unwrap();
        assert!(!read_only.writable());
        let writable = store.open_key_pair(&pair).unwrap();
        assert!(read_only.writable(), "the same core, which we can write now");
        writable.append(blocks(&["x"]), None).await.unwrap();
        let compat = store.open_compat(&pair).unwrap();
        assert_eq!(*compat.key().as_bytes(), pair.public_key());
        compat.append(blocks(&["y"]), None).await.unwrap();
        assert_eq!(compat.signature().len(), crypto::SIGNATURE_BYTES);
        check_signature(&compat, &blocks(&["y"]));

        let listed = store.list().await.unwrap();
        let named = listed.iter().find(|listed| listed.key == core.key()).unwrap();
        assert_eq!((named.length, named.byte_length, named.writable), (1, 3, true));
        assert_eq!(named.name.as_ref().unwrap().1, "a");
        let stranger = store.open_key([9; 32].into()).unwrap();
        assert_eq!(stranger.append(blocks(&["z"]), None).await, Err(CoreError::NotWritable));
        assert!(
            store
                .open_discovery_key(&hypercore::hyperspace_api::Key::from([8; 32]).discovery_key())
                .unwrap()
                .is_none()
        );
    }
}

#[tokio::test]
async fn appends_that_expect_another_length_conflict() {
    let store = Corestore::memory().unwrap();
    let core = store.open_name("a").unwrap();
    let mut events = core.events();
    assert_eq!(core.append(vec![], Some(0)).await.unwrap().length, 0);
    core.append(blocks(&["ab", "", "cde"]), Some(0)).await.unwrap();
    assert_eq!(events.recv().await, Ok(CoreEvent::Append { length: 3, byte_length: 5 }));
    assert_eq!(core.append(blocks(&["x"]), Some(2)).await, Err(CoreError::Conflict { length: 3 }));
    assert_eq!(core.append(vec![], Some(2)).await, Err(CoreError::Conflict { length: 3 }));
    let huge = Bytes::from(vec![0; hypercore::core::MAX_BLOCK + 1]);
    assert!(matches!(core.append(vec![huge], None).await, Err(CoreError::BlockTooLarge { .. })));
    assert_eq!(core.length(), 3);
    for (at, expected) in [(0, (0, 0)), (1, (0, 1)), (2, (2, 0)), (4, (2, 2)), (5, (3, 0))] {
        assert_eq!(core.seek(at, LOCAL).await, Ok(Seek { index: expected.0, offset: expected.1 }));
    }
    assert_eq!(core.seek(6, LOCAL).await, Err(CoreError::SeekNotAvailable));
}

#[tokio::test]
async fn missing_blocks_are_told_or_waited_for() {
    let store = Corestore::memory().unwrap();
    let core = store.open_name("a").unwrap();
    core.append(blocks(&["a", "b"]), None).await.unwrap();
    core.clear(0, 1).await.unwrap();
    for index in [0, 2] {
        assert_eq!(core.get(index, LOCAL).await, Err(CoreError::NotDownloaded));
        assert_eq!(core.get(index, GetOptions::default()).await, Err(CoreError::NotAvailable));
        let patient =
            GetOptions { if_available: false, timeout: Some(Duration::from_millis(20)), wait: true };
        assert_eq!(core.get(index, patient).await, Err(CoreError::Timeout));
    }
    assert_eq!(core.download(1, 2).await, Ok(()));
    assert_eq!(core.download(0, 2).await, Err(CoreError::NotAvailable));
    assert_eq!(core.update(Some(2)).await, Ok(true));
    assert_eq!(core.update(Some(3)).await, Ok(false));
    assert_eq!(core.update(None).await, Ok(false));
    let forever = GetOptions { if_available: false, timeout: None, wait: true };
    let waiting = tokio::spawn({
        let core = core.clone();
        async move { core.get(2, forever).await }
    });
    tokio::task::yield_now().await;
    core.append(blocks(&["c"]), None).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), "c");
    let waiting = tokio::spawn({
        let core = core.clone();
        async move { core.get(9, forever).await }
    });
    tokio::task::yield_now().await;
    store.close().await.unwrap();
    assert_eq!(waiting.await.unwrap(), Err(CoreError::Closed));
    assert_eq!(core.get(1, LOCAL).await, Err(CoreError::Closed));
    assert_eq!(core.append(blocks(&["d"]), None).await, Err(CoreError::Closed));
}

#[tokio::test]
async fn snapshots_stay_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let core = store.open_name("a").unwrap();
    core.append(blocks(&["a", "bb", "ccc"]), None).await.unwrap();
    let snapshot = core.snapshot();
    core.append(blocks(&["d"]), None).await.unwrap();
    store.settle().await.unwrap();
    assert_eq!((snapshot.length(), snapshot.byte_length(), snapshot.writable()), (3, 6, false));
    assert_eq!(snapshot.get(3, LOCAL).await, Err(CoreError::NotDownloaded));
    assert_eq!(snapshot.seek(3, LOCAL).await, Ok(Seek { index: 2, offset: 0 }));
    assert_eq!(snapshot.append(blocks(&["x"]), None).await, Err(CoreError::NotWritable));
    core.truncate(1, None).unwrap();
    assert_eq!(snapshot.get(0, LOCAL).await.unwrap(), "a");
    assert_eq!(snapshot.get(2, LOCAL).await, Err(CoreError::NotDownloaded));
}

#[tokio::test]
async fn deleted_cores_are_gone() {
    for store in [Corestore::memory().unwrap(), open(&tempfile::tempdir().unwrap().keep())] {
        let core = store.open_name("a").unwrap();
        let mut events = core.events();
        core.append(blocks(&["one", "two"]), None).await.unwrap();
        core.append(vec![vec![1; 100_000].into()], None).await.unwrap();
        core.set_user_data(b"k", Some("v".into())).unwrap();
        assert!(store.delete(&core.key()).await.unwrap());
        assert!(!store.delete(&core.key()).await.unwrap());
        assert_eq!(core.get(0, LOCAL).await, Err(CoreError::Closed));
        assert!(matches!(events.recv().await, Ok(CoreEvent::Append { .. })));
        assert!(matches!(events.recv().await, Ok(CoreEvent::Append { .. })));
        assert_eq!(events.recv().await, Ok(CoreEvent::Closed));
        assert_eq!(store.list().await.unwrap(), []);
        let again = store.open_name("a").unwrap();
        assert_eq!((again.key(), again.length()), (core.key(), 0));
        assert_eq!(again.user_data(b"k").unwrap(), None);
    }
}

#[tokio::test]
async fn settings_and_user_data_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let core = store.open_name("a").unwrap();
    store.put_setting("net", Some("old".into())).unwrap();
    store.put_setting("net", Some("new".into())).unwrap();
    store.put_setting("gone", Some("x".into())).unwrap();
    store.put_setting("gone", None).unwrap();
    core.set_user_data(b"k", Some("v".into())).unwrap();
    for settled in 0..3 {
        let (store, core) = match settled {
            0 => (store.clone(), core.clone()),
            1 => {
                store.settle().await.unwrap();
                (store.clone(), core.clone())
            }
            _ => {
                store.close().await.unwrap();
                let store = open(dir.path());
                (store.clone(), store.open_name("a").unwrap())
            }
        };
        assert_eq!(store.setting("net").unwrap().unwrap(), "new");
        assert_eq!(store.setting("gone").unwrap(), None);
        assert_eq!(core.user_data(b"k").unwrap().unwrap(), "v");
        assert_eq!(core.user_data(b"other").unwrap(), None);
    }
}

#[tokio::test]
async fn a_directory_has_one_owner_and_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let error = Corestore::open(dir.path(), StoreOptions::default()).err().unwrap();
    assert!(matches!(error, StoreError::InUse(_)), "{error}");
    assert!(error.to_string().contains("already in use"));
    store.close().await.unwrap();
    let other = StoreOptions { primary_key: Some([1; 32]), ..Default::default() };
    assert!(matches!(Corestore::open(dir.path(), other), Err(StoreError::OtherPrimaryKey(_))));
    let same = StoreOptions { primary_key: Some(*store.primary_key()), ..Default::default() };
    let again = Corestore::open(dir.path(), same).unwrap();
    assert_eq!(again.primary_key(), store.primary_key());
    use std::os::unix::fs::PermissionsExt;
    for file in ["primary-key", "LOCK", "hyperspace.db", "hyperspace.db-wal"] {
        let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[tokio::test]
async fn threads_append_side_by_side() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let core = store.open_name("shared").unwrap();
    let threads: Vec<_> = (0..4u8)
        .map(|number| {
            let (core, own) = (core.clone(), store.open_name([number]).unwrap());
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let mut mine = Vec::new();
                for at in 0..100u8 {
                    let block = Bytes::from(vec![number; if at % 9 == 0 { 6000 } else { usize::from(at) }]);
                    let appended = runtime.block_on(core.append(vec![block.clone()], None)).unwrap();
                    assert_eq!(appended.length, appended.first + 1);
                    mine.push((appended.first, block.clone()));
                    runtime.block_on(own.append(vec![block], Some(u64::from(at)))).unwrap();
                }
                mine
            })
        })
        .collect();
    let mut expected: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    expected.sort();
    assert_eq!(core.length(), 400);
    store.settle().await.unwrap();
    for (index, block) in expected {
        assert_eq!(core.get(index, LOCAL).await.unwrap(), block);
    }
}

#[tokio::test]
async fn memory_makes_no_files_and_gives_room_back() {
    let dir = tempfile::tempdir().unwrap();
    let before = std::fs::read_dir("/proc/self/fd").unwrap().count();
    let store = Corestore::memory().unwrap();
    let core = store.open_name("a").unwrap();
    for _ in 0..20 {
        core.append(vec![vec![7; 100_000].into(), "small".into()], None).await.unwrap();
    }
    core.flush().await.unwrap();
    core.clear(0, 39).await.unwrap();
    assert_eq!(core.info().await.unwrap().disk_bytes, 5);
    assert_eq!(store.stats().unwrap().disk_bytes, 0);
    assert!(std::fs::read_dir("/proc/self/fd").unwrap().count() <= before + 8);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn idle_cores_are_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = Corestore::open(dir.path(), StoreOptions { idle_cores: 10, ..Default::default() }).unwrap();
    let used = store.open_name("used").unwrap();
    for at in 0..200u32 {
        let core = store.open_name(at.to_be_bytes()).unwrap();
        core.append(blocks(&["x"]), None).await.unwrap();
    }
    store.settle().await.unwrap();
    assert!(store.open_cores() <= 12, "{}", store.open_cores());
    used.append(blocks(&["y"]), None).await.unwrap();
    assert_eq!(store.open_name("used").unwrap().length(), 1);
    for at in 0..200u32 {
        assert_eq!(store.open_name(at.to_be_bytes()).unwrap().get(0, LOCAL).await.unwrap(), "x");
    }
}

#[tokio::test]
async fn only_what_is_flushed_may_be_shown() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let core = store.open_name("a").unwrap();
    core.append(blocks(&["a", "b"]), None).await.unwrap();
    assert_eq!(core.flushed_length(), 0);
    core.flush().await.unwrap();
    assert_eq!(core.flushed_length(), 2);
    for _ in 0..200 {
        core.append(blocks(&["c"]), None).await.unwrap();
    }
    assert_eq!(core.flushed_length(), 2);
    core.flush().await.unwrap();
    assert_eq!(core.flushed_length(), 202);
    core.truncate(50, None).unwrap();
    assert_eq!(core.flushed_length(), 0, "nobody may hear of the new fork yet");
    core.append(blocks(&["d"]), None).await.unwrap();
    core.flush().await.unwrap();
    assert_eq!(core.flushed_length(), 51);
    core.append(blocks(&["e"]), None).await.unwrap();
    // By itself, within a second.
    for _ in 0..300 {
        if core.flushed_length() == 52 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not flushed after three seconds");
}
