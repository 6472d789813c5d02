//! Reading cores of others.

use super::line::{Line, Node};
use bytes::Bytes;
use hypercore::hyperspace_api::{Core, CoreError, CoreEvent, GetOptions, Seek};
use hypercore::replication::{Answerer, Reply};
use hypercore::{Corestore, LocalCore, StoreOptions};
use std::sync::Arc;
use std::time::Duration;

fn blocks(count: usize, size: usize) -> Vec<Bytes> {
    (0..count)
        .map(|at| {
            let mut block = format!("{at} ").into_bytes();
            block.resize(size.max(8), at as u8);
            block.into()
        })
        .collect()
}

const WAIT: GetOptions =
    GetOptions { wait: true, if_available: false, timeout: Some(Duration::from_secs(20)) };

#[tokio::test(flavor = "multi_thread")]
async fn a_core_is_read_as_if_it_were_here() {
    let (a, b) = (Node::new(1), Node::new(2));
    let content = blocks(3000, 100);
    let written = a.store.open_name("core").unwrap();
    written.append(content.clone(), None).await.unwrap();
    let read = b.store.open_key(written.key()).unwrap();
    assert_eq!(read.get(5, GetOptions::default()).await, Err(CoreError::NotAvailable));
    assert_eq!(read.update(None).await, Ok(false));

    let line = Line::new(&a, &b);
    assert_eq!(read.get(5, GetOptions::default()).await.unwrap(), content[5]);
    assert_eq!(read.get(7, GetOptions::LOCAL).await, Err(CoreError::NotDownloaded));
    assert_eq!((read.length(), read.byte_length()), (3000, 300_000));
    assert_eq!(read.update(Some(3000)).await, Ok(true));
    assert_eq!(read.update(None).await, Ok(false));
    assert_eq!(read.seek(123_456, WAIT).await, Ok(Seek { index: 1234, offset: 56 }));
    assert_eq!(read.seek(300_001, GetOptions::default()).await, Err(CoreError::SeekNotAvailable));
    assert_eq!(read.get(3000, GetOptions::default()).await, Err(CoreError::NotAvailable));
    let soon = GetOptions { timeout: Some(Duration::from_millis(50)), ..WAIT };
    assert_eq!(read.get(3000, soon).await, Err(CoreError::Timeout));

    read.download(0, 3000).await.unwrap();
    for (index, block) in content.iter().enumerate() {
        assert_eq!(read.get(index as u64, GetOptions::LOCAL).await.as_ref(), Ok(block));
    }
    let traffic = read.traffic();
    assert_eq!((traffic.downloaded.blocks, traffic.downloaded.bytes), (3000, 300_000));
    assert_eq!(written.traffic().uploaded, traffic.downloaded);
    assert_eq!(read.peers().iter().map(|peer| peer.remote_public_key).collect::<Vec<_>>(), [a.key]);
    assert_eq!(traffic.peers[0].downloaded, traffic.downloaded);
    line.cut().await;
    assert_eq!((read.peers(), written.peers()), (vec![], vec![]));
    // Without peers it is not replicated any more; what was exchanged stays known.
    while a.replication.cores() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(written.traffic().uploaded, traffic.downloaded);
    let _line = Line::new(&a, &b);
    let again = Node::new(3);
    let third = again.store.open_key(written.key()).unwrap();
    let _line = Line::new(&a, &again);
    third.download(0, 10).await.unwrap();
    assert_eq!(written.traffic().uploaded.blocks, 3010);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_gets_it_when_it_is_written() {
    let (a, b) = (Node::new(1), Node::new(2));
    let written = a.store.open_name("core").unwrap();
    let read = b.store.open_key(written.key()).unwrap();
    let waiting: Vec<_> = (0..20u64)
        .map(|index| {
            let read = read.clone();
            tokio::spawn(async move { read.get(index, WAIT).await })
        })
        .collect();
    let _line = Line::new(&a, &b);
    for block in blocks(20, 50) {
        written.append(vec![block], None).await.unwrap();
    }
    for (got, block) in waiting.into_iter().zip(blocks(20, 50)) {
        assert_eq!(got.await.unwrap(), Ok(block));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_events() {
    let (a, b) = (Node::new(1), Node::new(2));
    let written = a.store.open_name("core").unwrap();
    let read = b.store.open_key(written.key()).unwrap();
    let (mut seen, mut given) = (read.events(), written.events());
    let _followed = b.replication.follow(&read);
    let line = Line::new(&a, &b);
    assert!(matches!(seen.recv().await, Ok(CoreEvent::PeerOpen(peer)) if peer.remote_public_key == a.key));
    written.append(blocks(3, 10), None).await.unwrap();
    assert_eq!(seen.recv().await, Ok(CoreEvent::Append { length: 3, byte_length: 30 }));
    assert_eq!(read.get(1, GetOptions::default()).await.unwrap(), blocks(3, 10)[1]);
    assert_eq!(seen.recv().await, Ok(CoreEvent::Download { index: 1, byte_length: 10 }));
    written.truncate(2, None).unwrap();
    assert_eq!(seen.recv().await, Ok(CoreEvent::Truncate { length: 2, fork: 1 }));
    assert_eq!((read.length(), read.fork()), (2, 1));
    line.cut().await;
    assert!(matches!(seen.recv().await, Ok(CoreEvent::PeerRemove(_))));
    let mut uploads = Vec::new();
    while let Ok(event) = given.try_recv() {
        uploads.extend(matches!(event, CoreEvent::Upload { .. }).then_some(event));
    }
    assert_eq!(uploads, [CoreEvent::Upload { index: 1, byte_length: 10 }]);
}

#[tokio::test(flavor = "multi_thread")]
async fn looking_for_peers_puts_the_answer_off() {
    let (a, b) = (Node::new(1), Node::new(2));
    let written = a.store.open_name("core").unwrap();
    written.append(blocks(3, 10), None).await.unwrap();
    let read = b.store.open_key(written.key()).unwrap();
    let looking = b.replication.looking(&read);
    let get = tokio::spawn({
        let read = read.clone();
        async move { read.get(0, GetOptions::default()).await }
    });
    let hopeless = tokio::spawn({
        let read = read.clone();
        async move { read.get(9, GetOptions::default()).await }
    });
    let _line = Line::new(&a, &b);
    assert_eq!(get.await.unwrap().unwrap(), blocks(3, 10)[0]);
    assert!(!hopeless.is_finished());
    drop(looking);
    assert_eq!(hopeless.await.unwrap(), Err(CoreError::NotAvailable));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_blocks_on_the_disk_of_both() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [a, b] = [0, 1].map(|at| {
        let store = Corestore::open(dirs[at].path(), StoreOptions::default()).unwrap();
        Node::of(at as u8 + 1, store)
    });
    let content = blocks(300, 65_536);
    let written = a.store.open_name("core").unwrap();
    written.append(content.clone(), None).await.unwrap();
    let read = b.store.open_key(written.key()).unwrap();
    let _line = Line::new(&a, &b);
    read.download(0, 300).await.unwrap();
    for (index, block) in content.iter().enumerate() {
        assert_eq!(read.get(index as u64, GetOptions::LOCAL).await.as_ref(), Ok(block));
    }
    read.flush().await.unwrap();
    b.store.settle().await.unwrap();
    let report = hypercore::verify::verify(&b.store).await.unwrap();
    assert_eq!((report.blocks, report.problems), (300, vec![]));
    // And it is all there after it is opened anew.
    let key = read.key();
    drop((read, _line));
    b.store.close().await.unwrap();
    drop(b);
    let store = reopen(dirs[1].path()).await;
    let again = store.open_key(key).unwrap();
    assert_eq!((again.length(), again.contiguous_length()), (300, 300));
    assert!(again.manifest().is_some());
}

/// The store, once the last thread that had it open has let go of it.
async fn reopen(dir: &std::path::Path) -> Corestore {
    loop {
        match Corestore::open(dir, StoreOptions::default()) {
            Err(hypercore::StoreError::InUse(_)) => tokio::task::yield_now().await,
            other => return other.unwrap(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_ends_what_waits() {
    let (a, b) = (Node::new(1), Node::new(2));
    let written = a.store.open_name("core").unwrap();
    let read = b.store.open_key(written.key()).unwrap();
    let _line = Line::new(&a, &b);
    let wait = |read: hypercore::LocalCore| tokio::spawn(async move { read.get(0, WAIT).await });
    let waiting = wait(read.clone());
    tokio::task::yield_now().await;
    b.store.close().await.unwrap();
    assert_eq!(waiting.await.unwrap(), Err(CoreError::Closed));

    let c = Node::new(3);
    let waiting = wait(c.store.open_key(written.key()).unwrap());
    let _line = Line::new(&a, &c);
    tokio::task::yield_now().await;
    drop(c.replication);
    c.store.close().await.unwrap();
    assert_eq!(waiting.await.unwrap(), Err(CoreError::Closed));
}

/// Gives these blocks to whoever asks for anything.
struct Giver(Vec<u64>);

impl Answerer for Giver {
    fn asked(&self, _: &LocalCore, _: Bytes, reply: Reply) {
        assert!(reply.can_give());
        reply.give(&self.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_is_asked_for_what_is_needed_first() {
    let (a, b) = (Node::new(1), Node::new(2));
    let written = a.store.open_name("core").unwrap();
    written.append(blocks(100, 10), None).await.unwrap();
    a.replication.answer("blocks", Arc::new(Giver(vec![50, 3, 99, 3])));
    let read = b.store.open_key(written.key()).unwrap();
    let _followed = b.replication.follow(&read);
    let extension = read.extension("blocks").unwrap();
    extension.greet("whatever", 10).unwrap();
    let mut seen = read.events();
    let _line = Line::new(&a, &b);
    let mut came = Vec::new();
    while came.len() < 3 {
        if let CoreEvent::Download { index, .. } = seen.recv().await.unwrap() {
            came.push(index);
        }
    }
    assert_eq!(came, [50, 3, 99]);
    assert_eq!(read.length(), 100);
    // Now that something is here, it is asked for by the peer that has it.
    extension.consult("more", 10).unwrap();
    read.download(0, 100).await.unwrap();
    assert_eq!(read.traffic().downloaded.blocks, 100);
    assert_eq!(read.traffic().lies, 0);
}
