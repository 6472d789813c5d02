//! What is large costs only what is asked of it. A process of its own, whose memory is measured.

// Not all of it is of use here.
#[allow(dead_code)]
#[path = "network/line.rs"]
mod line;

use bytes::Bytes;
use hypercore::hyperspace_api::{Core, GetOptions};
use hypercore::{Corestore, StoreOptions};
use line::{Line, Node};
use tokio::sync::Mutex;

/// One at a time.
static MEASURING: Mutex<()> = Mutex::const_new(());

/// Bytes of memory that this process has in use.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("this is Linux");
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).expect("a number");
    pages * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_a_long_core_takes_little_memory() {
    let _measuring = MEASURING.lock().await;
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [a, b] = [0, 1].map(|at| {
        let store = Corestore::open(dirs[at].path(), StoreOptions::default()).unwrap();
        Node::of(at as u8 + 1, store)
    });
    let written = a.store.open_name("core").unwrap();
    const LENGTH: u64 = 500_000;
    for at in 0..LENGTH / 10_000 {
        let blocks = (0..10_000).map(|index| Bytes::from((at * 10_000 + index).to_le_bytes().to_vec()));
        written.append(blocks.collect(), None).await.unwrap();
    }
    a.store.settle().await.unwrap();
    // So that what is large is met by a peer that has only parts of it.
    written.clear(1000, LENGTH - 1000).await.unwrap();
    written.append(vec!["last".into()], None).await.unwrap();
    a.store.settle().await.unwrap();
    let read = b.store.open_key(written.key()).unwrap();
    let before = resident();
    let _followed = b.replication.follow(&read);
    let _line = Line::new(&a, &b);
    assert_eq!(read.update(Some(LENGTH + 1)).await, Ok(true));
    for index in [0, 999, LENGTH - 1, LENGTH - 999] {
        assert_eq!(read.get(index, GetOptions::default()).await.unwrap(), index.to_le_bytes()[..]);
    }
    assert!(read.get(LENGTH / 2, GetOptions::default()).await.is_err());
    read.download(0, 1000).await.unwrap();
    let grown = resident().saturating_sub(before);
    assert!(grown < 32 << 20, "{} MiB", grown >> 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_core_costs_its_channel() {
    let _measuring = MEASURING.lock().await;
    let (a, b) = (Node::new(1), Node::new(2));
    const CORES: usize = 2000;
    let cores: Vec<_> = (0..CORES)
        .map(|at| {
            let core = a.store.open_name(format!("core {at}")).unwrap();
            core.append_now(&[Bytes::from(at.to_string())], None).unwrap();
            b.store.open_key(core.key()).unwrap()
        })
        .collect();
    let before = resident();
    let followed: Vec<_> = cores.iter().map(|core| b.replication.follow(core)).collect();
    let _line = Line::new(&a, &b);
    for core in &cores {
        assert_eq!(core.update(Some(1)).await, Ok(true));
    }
    let each = resident().saturating_sub(before) / (2 * CORES as u64);
    assert!(each < 16 << 10, "{each} bytes a core and side");
    drop(followed);
}
