//! Reads while journals are folded beneath them.

use bytes::Bytes;
use hypercore::hyperspace_api::{Core, GetOptions, Seek};
use hypercore::{Corestore, StoreOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const SIZE: usize = 64 * 1024;

fn block(index: u64) -> Bytes {
    let mut block = vec![index as u8; SIZE];
    block[..8].copy_from_slice(&index.to_le_bytes());
    block.into()
}

/// Whatever is appended, folded and evicted meanwhile, what was written is read, and found by
/// its bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn large_blocks_are_read_while_journals_are_folded() {
    let dir = tempfile::tempdir().unwrap();
    let options = StoreOptions { cache_bytes: 100_000, ..StoreOptions::default() };
    let store = Corestore::open(dir.path(), options).unwrap();
    let core = store.open_name("core").unwrap();
    core.append(vec![block(0)], None).await.unwrap();
    let written = Arc::new(AtomicU64::new(1));
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..6u64)
        .map(|reader| {
            let (core, written, done) = (core.clone(), written.clone(), done.clone());
            tokio::spawn(async move {
                let (mut at, mut reads) = (reader * 7919 + 1, 0u64);
                while !done.load(Ordering::Acquire) {
                    at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let index = (at >> 33) % written.load(Ordering::Acquire);
                    let got = core.get(index, GetOptions::LOCAL).await;
                    assert_eq!(got.as_ref().map(|got| got == &block(index)), Ok(true), "block {index}");
                    let found = core.seek(index * SIZE as u64 + 5, GetOptions::LOCAL).await;
                    assert_eq!(found, Ok(Seek { index, offset: 5 }));
                    reads += 1;
                    if reads.is_multiple_of(16) {
                        tokio::task::yield_now().await;
                    }
                }
                reads
            })
        })
        .collect();
    for round in 0..60u64 {
        let first = written.load(Ordering::Acquire);
        for index in first..first + 1 + round % 12 {
            core.append(vec![block(index)], None).await.unwrap();
            written.store(index + 1, Ordering::Release);
        }
        store.settle().await.unwrap();
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
}
