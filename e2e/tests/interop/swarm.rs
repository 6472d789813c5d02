//! Eight peers at once, half of them with half of the blocks.

use crate::js::JsPeer;
use crate::rust::RustPeer;
use crate::side::{Digest, Kind, Side, block};

const BLOCKS: u64 = 8000;

/// Our server with the core, and seven more that got it from there, Node's and ours by
/// turns; of all eight, every other one has but one half. All listen; their ports.
async fn eight() -> (String, Vec<(Side, u16)>) {
    let writer = Side::Rust(RustPeer::start().await.expect("a server starts"));
    let key = writer.create(Kind::V1, "core").await.expect("a core").expect("ours");
    writer.append(&key, 0, BLOCKS, 0, 500).await.expect("appended");
    let origin = writer.listen().await.expect("it listens");
    let mut peers = vec![(writer, origin)];
    for number in 1..8 {
        let peer = if number % 4 < 2 {
            Side::Js(JsPeer::start().expect("node starts"))
        } else {
            Side::Rust(RustPeer::start().await.expect("a server starts"))
        };
        peer.connect(origin).await.expect("it calls");
        peer.open(&key).await.expect("it opens");
        let (start, end) = match number {
            1 | 5 => (0, BLOCKS / 2),
            3 | 7 => (BLOCKS / 2, BLOCKS),
            _ => (0, BLOCKS),
        };
        peer.download(&key, start, end).await.expect("it downloads");
        peer.disconnect().await.expect("it hangs up");
        let port = peer.listen().await.expect("it listens");
        peers.push((peer, port));
    }
    (key, peers)
}

async fn reads_from_all(reader: Side) {
    let (key, peers) = eight().await;
    let before = served(&key, &peers).await;
    reader.open(&key).await.expect("it opens");
    for (_, port) in &peers {
        reader.connect(*port).await.expect("it calls");
    }
    let download = reader.download(&key, 0, BLOCKS);
    tokio::time::timeout(std::time::Duration::from_secs(60), download)
        .await
        .expect("in time")
        .expect("it downloads");
    let digest = reader.digest(&key, 0, BLOCKS).await.expect("it has all");
    assert_eq!(digest, Digest::of((0..BLOCKS).map(|index| block(index, 0))));
    let after = served(&key, &peers).await;
    // A core that nobody was interested in for a while is counted anew.
    let gave = after.iter().zip(&before).map(|(after, before)| after.checked_sub(*before).unwrap_or(*after));
    let gave: Vec<u64> = gave.collect();
    assert!(gave.iter().filter(|gave| **gave > 0).count() >= 2, "one has given all: {gave:?}");
    // What is slow to come from one is asked of another, too: that much may come twice.
    assert!(gave.iter().sum::<u64>() < BLOCKS * 3 / 2, "{gave:?}");
    for (peer, _) in &peers {
        assert_eq!(peer.faults().await.expect("it answers"), Vec::<String>::new());
    }
    assert_eq!(reader.faults().await.expect("it answers"), Vec::<String>::new());
}

async fn served(key: &str, peers: &[(Side, u16)]) -> Vec<u64> {
    let mut served = Vec::new();
    for (peer, _) in peers {
        served.push(peer.info(key).await.expect("it answers").blocks_out);
    }
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn we_read_from_eight_peers() {
    reads_from_all(Side::Rust(RustPeer::start().await.expect("a server starts"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn node_reads_from_eight_peers() {
    reads_from_all(Side::Js(JsPeer::start().expect("node starts"))).await;
}
