//! Disk space, descriptors, memory: what many cores and much data take, and give back.

use bytes::Bytes;
use hypercore::hyperspace_api::{Core, GetOptions};
use hypercore::{Corestore, StoreOptions};
use std::path::Path;
use std::time::{Duration, Instant};

fn open(dir: &Path) -> Corestore {
    Corestore::open(dir, StoreOptions::default()).unwrap()
}

fn disk(store: &Corestore) -> u64 {
    store.stats().unwrap().disk_bytes
}

#[tokio::test]
async fn clearing_gives_the_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let core = store.open_name("a").unwrap();
    let large = Bytes::from(vec![9; 65_536]);
    for _ in 0..16 {
        core.append(vec![large.clone(); 16], None).await.unwrap();
    }
    store.settle().await.unwrap();
    let full = disk(&store);
    assert!(full >= 16 << 20, "{full}");
    core.clear(64, 192).await.unwrap();
    store.settle().await.unwrap();
    let half = disk(&store);
    assert!(full - half >= (8 << 20) - 200_000, "{full} {half}");
    assert_eq!(core.info().await.unwrap().disk_bytes, 8 << 20);
    for index in [0, 63, 192, 255] {
        assert_eq!(core.get(index, GetOptions::LOCAL).await.unwrap(), large);
    }
    // What was cleared bit by bit, sharing pages with its neighbours, comes back as well.
    let odd = Bytes::from(vec![8; 5000]);
    let first = core.length();
    for _ in 0..400 {
        core.append(vec![odd.clone()], None).await.unwrap();
    }
    store.settle().await.unwrap();
    let before = disk(&store);
    for index in (first..first + 400).step_by(2).chain((first + 1..first + 400).step_by(2)) {
        core.clear(index, index + 1).await.unwrap();
        if index % 50 == 0 {
            store.settle().await.unwrap();
        }
    }
    store.settle().await.unwrap();
    assert!(before - disk(&store) >= 1_500_000, "{before} {}", disk(&store));
    core.clear(0, core.length()).await.unwrap();
    store.settle().await.unwrap();
    store.close().await.unwrap();
    let store = open(dir.path());
    assert!(disk(&store) < 2 << 20, "{}", disk(&store));
    let core = store.open_name("a").unwrap();
    assert_eq!(core.downloaded(0, core.length()).await.unwrap(), 0);
}

#[tokio::test]
async fn where_holes_cannot_be_punched_what_is_left_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { punch_holes: false, ..Default::default() };
    let store = Corestore::open(dir.path(), options).unwrap();
    let core = store.open_name("a").unwrap();
    let block = |index: u64| Bytes::from(vec![index as u8; 65_536]);
    for index in 0..160 {
        core.append(vec![block(index)], None).await.unwrap();
    }
    store.settle().await.unwrap();
    // Somebody reads all the time, and must never notice.
    let reader = tokio::spawn({
        let core = core.clone();
        async move {
            loop {
                for index in (0..160).step_by(10) {
                    assert_eq!(core.get(index, GetOptions::LOCAL).await.unwrap(), block(index));
                }
                tokio::task::yield_now().await;
            }
        }
    });
    for index in (0..160).filter(|index| index % 10 != 0) {
        core.clear(index, index + 1).await.unwrap();
        if index % 20 == 1 {
            store.settle().await.unwrap();
        }
    }
    for _ in 0..3 {
        store.settle().await.unwrap();
    }
    assert!(disk(&store) < 4 << 20, "{}", disk(&store));
    reader.abort();
    assert!(reader.await.unwrap_err().is_cancelled());
    store.close().await.unwrap();
    let core = open(dir.path()).open_name("a").unwrap();
    for index in (0..160).step_by(10) {
        assert_eq!(core.get(index, GetOptions::LOCAL).await.unwrap(), block(index));
    }
}

#[tokio::test]
async fn truncating_and_deleting_give_the_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (a, b) = (store.open_name("a").unwrap(), store.open_name("b").unwrap());
    for _ in 0..8 {
        for core in [&a, &b] {
            core.append(vec![Bytes::from(vec![9; 65_536]); 16], None).await.unwrap();
        }
    }
    store.settle().await.unwrap();
    let full = disk(&store);
    a.truncate(64, None).unwrap();
    store.settle().await.unwrap();
    assert!(full - disk(&store) >= (4 << 20) - 200_000, "{full} {}", disk(&store));
    store.delete(&b.key()).await.unwrap();
    assert!(full - disk(&store) >= (12 << 20) - 400_000, "{full} {}", disk(&store));
    for index in 0..64 {
        assert_eq!(a.get(index, GetOptions::LOCAL).await.unwrap().len(), 65_536);
    }
}

#[tokio::test]
async fn writers_wait_when_the_database_lags() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { tail_bytes: 200_000, ..Default::default() };
    let store = Corestore::open(dir.path(), options).unwrap();
    let core = store.open_name("a").unwrap();
    for _ in 0..300 {
        core.append(vec![Bytes::from(vec![1; 3000])], None).await.unwrap();
        assert!(store.stats().unwrap().tail_bytes <= 210_000);
    }
    for index in 0..300 {
        assert_eq!(core.get(index, GetOptions::LOCAL).await.unwrap().len(), 3000);
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn ten_thousand_cores() {
    const CORES: u32 = 10_000;
    let dir = tempfile::tempdir().unwrap();
    let before = descriptors();
    let store = open(dir.path());
    for number in 0..CORES {
        let core = store.open_name(number.to_be_bytes()).unwrap();
        core.append(vec![Bytes::copy_from_slice(&number.to_le_bytes())], None).await.unwrap();
    }
    assert!(descriptors() - before < 40, "{}", descriptors());
    store.close().await.unwrap();
    drop(store);
    let start = Instant::now();
    let store = open(dir.path());
    let one = store.open_name(77u32.to_be_bytes()).unwrap();
    assert_eq!(one.get(0, GetOptions::LOCAL).await.unwrap(), &77u32.to_le_bytes()[..]);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    for number in (0..CORES).step_by(97) {
        let core = store.open_name(number.to_be_bytes()).unwrap();
        assert_eq!(core.get(0, GetOptions::LOCAL).await.unwrap(), &number.to_le_bytes()[..]);
    }
    assert_eq!(store.list().await.unwrap().len(), CORES as usize);
    assert!(store.open_cores() <= 1000);
    assert!(descriptors() - before < 40, "{}", descriptors());
}
