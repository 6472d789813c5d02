//! A writer never shows what a loss of power could take back.

use super::line::{Line, Node};
use bytes::Bytes;
use hypercore::hyperspace_api::{Core, GetOptions};
use hypercore::{Corestore, StoreOptions};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[tokio::test(flavor = "multi_thread")]
async fn peers_see_only_what_is_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let a = Node::of(1, Corestore::open(dir.path(), StoreOptions::default()).unwrap());
    let b = Node::new(2);
    let written = a.store.open_name("core").unwrap();
    written.append(vec!["first".into()], None).await.unwrap();
    let read = b.store.open_key(written.key()).unwrap();
    let _followed = b.replication.follow(&read);
    let _line = Line::new(&a, &b);
    let writing = Arc::new(AtomicBool::new(true));
    let watch = tokio::task::spawn_blocking({
        let (written, read, writing) = (written.clone(), read.clone(), writing.clone());
        move || {
            let mut seen = 0;
            while writing.load(Ordering::Acquire) {
                // First what the reader has, then what is safe: that only grows.
                let shown = read.length();
                let flushed = written.flushed_length();
                assert!(shown <= flushed, "{shown} shown, {flushed} flushed");
                seen = seen.max(shown);
                std::thread::yield_now();
            }
            seen
        }
    });
    let mut events = read.events();
    for at in 0..500u32 {
        written.append(vec![Bytes::from(at.to_le_bytes().to_vec())], None).await.unwrap();
        if at % 50 == 0 {
            // It comes by itself: a flush is asked for since somebody waits.
            while read.length() < u64::from(at) + 2 {
                events.recv().await.ok();
            }
        }
    }
    while read.length() < 501 {
        events.recv().await.ok();
    }
    writing.store(false, Ordering::Release);
    assert!(watch.await.unwrap() > 0);
    assert_eq!(read.get(500, GetOptions::default()).await.unwrap(), 499u32.to_le_bytes()[..]);
    // What was shown in between was signed, too.
    let report = hypercore::verify::verify(&b.store).await.unwrap();
    assert_eq!(report.problems, []);
}
