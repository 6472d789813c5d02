//! Many cores, many peers, and those who do not belong.

use super::line::{Line, Node};
use bytes::Bytes;
use hypercore::hyperspace_api::{Core, CoreError, GetOptions};
use std::time::Duration;

async fn until(mut done: impl FnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await
    .expect("it comes to that");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_cores_over_one_connection() {
    let (a, b) = (Node::new(1), Node::new(2));
    let mut keys = Vec::new();
    for at in 0..1000 {
        let core = a.store.open_name(format!("core {at}")).unwrap();
        core.append(vec![Bytes::from(format!("block of {at}"))], None).await.unwrap();
        keys.push(core.key());
    }
    let _line = Line::new(&a, &b);
    let mut open = Vec::new();
    for key in &keys {
        let core = b.store.open_key(*key).unwrap();
        open.push((b.replication.follow(&core), core));
    }
    for (at, (_, core)) in open.iter().enumerate() {
        assert_eq!(core.get(0, GetOptions::default()).await.unwrap(), format!("block of {at}"));
    }
    assert_eq!((a.replication.cores(), b.replication.cores()), (1000, 1000));
    // What nobody follows any more is let go of, in time; what is followed stays.
    assert_eq!(a.replication.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_core_that_is_not_there_is_refused() {
    let (a, b, c) = (Node::new(1), Node::new(2), Node::new(3));
    let elsewhere = c.store.open_name("core").unwrap();
    let read = b.store.open_key(elsewhere.key()).unwrap();
    let _line = Line::new(&a, &b);
    assert_eq!(read.get(0, GetOptions::default()).await, Err(CoreError::NotAvailable));
    assert_eq!(read.update(None).await, Ok(false));
    assert_eq!(a.replication.cores(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_know_the_key_is_cut_off() {
    let (a, b) = (Node::new(1), Node::new(2));
    let written = a.store.open_name("core").unwrap();
    written.append(vec!["secret".into()], None).await.unwrap();
    let read = b.store.open_key(written.key()).unwrap();
    let _followed = b.replication.follow(&read);
    // Somebody in the middle, who passes on what both sides say.
    Line::with_secrets(&a, &b, [[1; 64], [2; 64]]).over().await;
    assert!(a.replication.is_banned(&b.key) || b.replication.is_banned(&a.key));
    assert_eq!(read.length(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_reach_those_who_have_them() {
    let (a, b, c) = (Node::new(1), Node::new(2), Node::new(3));
    let written = a.store.open_name("core").unwrap();
    let key = written.key();
    let mut ours = written.extension("greeting").unwrap();
    let mut other = written.extension("other").unwrap();
    assert!(written.extension("greeting").is_err(), "one at a time");
    let read = b.store.open_key(key).unwrap();
    let mut theirs = read.extension("greeting").unwrap();
    let deaf = c.store.open_key(key).unwrap();
    let _followed = (b.replication.follow(&read), c.replication.follow(&deaf));
    let _lines = (Line::new(&a, &b), Line::new(&a, &c));
    until(|| written.peers().len() == 2 && read.peers().len() == 1).await;
    assert_eq!(ours.broadcast("hello all"), Ok(2));
    let (from, hello) = theirs.receive().await.unwrap();
    assert_eq!((from.remote_public_key, &hello[..]), (a.key, &b"hello all"[..]));
    assert_eq!(theirs.send(from.remote_public_key, "hello you"), Ok(1));
    assert_eq!(ours.receive().await.unwrap().1, "hello you");
    assert_eq!(ours.send(key, "?"), Ok(0), "nobody has that key");
    drop(theirs);
    assert_eq!(ours.broadcast(vec![7; 100_000]), Ok(2), "they ignore it");
    let again = read.extension("other").unwrap();
    again.broadcast("last").unwrap();
    assert_eq!(other.receive().await.unwrap().1, "last");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swarm_of_readers_feeds_itself() {
    let writer = Node::new(1);
    let content: Vec<Bytes> = (0..400u32).map(|at| Bytes::from(vec![at as u8; 2000])).collect();
    let written = writer.store.open_name("core").unwrap();
    written.append(content.clone(), None).await.unwrap();
    let readers: Vec<Node> = (2..8).map(Node::new).collect();
    let mut lines = vec![Line::new(&writer, &readers[0]), Line::new(&writer, &readers[1])];
    for (at, reader) in readers.iter().enumerate() {
        for other in &readers[at + 1..] {
            lines.push(Line::new(reader, other));
        }
    }
    let mut done = Vec::new();
    for reader in &readers {
        let core = reader.store.open_key(written.key()).unwrap();
        let followed = reader.replication.follow(&core);
        done.push(tokio::spawn(async move {
            let _followed = followed;
            core.update(Some(400)).await.unwrap();
            core.download(0, 400).await.unwrap();
            core
        }));
    }
    for core in done {
        let core = tokio::time::timeout(Duration::from_secs(30), core).await.expect("in time").unwrap();
        for (index, block) in content.iter().enumerate() {
            assert_eq!(core.get(index as u64, GetOptions::LOCAL).await.as_ref(), Ok(block));
        }
    }
    let uploaded = written.traffic().uploaded.blocks;
    assert!(uploaded < 1200, "the writer is not asked for everything by everybody: {uploaded}");
}
