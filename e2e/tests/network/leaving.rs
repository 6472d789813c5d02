//! Leaving topics, going away, and coming back.

use crate::support::{Dht, Node, block, core_of, soon};
use hyperspace_api::{Core, GetOptions};
use hyperspace_client::NetworkConfig;

#[tokio::test(flavor = "multi_thread")]
async fn who_has_left_is_not_found() {
    let dht = Dht::new().await;
    let node = Node::new(&dht).await;
    let core = core_of(&node, 1).await;
    let topic = core.discovery_key();
    node.join(topic, true, true).await;
    assert_eq!(dht.peers_of(topic).await, [node.key().await]);
    node.join(topic, false, false).await;
    soon("the DHT to forget", async { while !dht.peers_of(topic).await.is_empty() {} }).await;

    // A session that ends takes its wishes with it.
    let other = hyperspace_client::HyperspaceClient::connect(node.endpoint()).await.unwrap();
    let config = NetworkConfig { announce: Some(true), flush: true, ..NetworkConfig::new(topic) };
    other.network().configure(config).await.unwrap();
    assert_eq!(dht.peers_of(topic).await.len(), 1);
    drop(other);
    soon("the DHT to forget", async { while !dht.peers_of(topic).await.is_empty() {} }).await;

    // And so does a server.
    node.join(topic, true, true).await;
    assert_eq!(dht.peers_of(topic).await.len(), 1);
    node.stop().await;
    assert_eq!(dht.peers_of(topic).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_is_announced_again_under_the_same_key() {
    let dht = Dht::new().await;
    let node = Node::new(&dht).await;
    let core = core_of(&node, 1).await;
    let topic = core.discovery_key();
    let key = node.key().await;
    let config = NetworkConfig {
        announce: Some(true),
        remember: Some(true),
        flush: true,
        ..NetworkConfig::new(topic)
    };
    node.configure(config).await;
    drop(core);
    let node = node.restarted().await;
    assert_eq!(node.key().await, key);
    // Without a client having asked for it.
    soon("the announcement", async { while dht.peers_of(topic).await != [key] {} }).await;
    let status = node.client.network().status(topic).await.unwrap().expect("it is joined");
    assert!(status.announce && !status.lookup && status.remember);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_announce_is_kept() {
    let dht = Dht::new().await;
    let config =
        hyperspace::Config { bootstrap: dht.bootstrap(), no_announce: true, ..hyperspace::Config::default() };
    let (silent, other) = (Node::with(config).await, Node::new(&dht).await);
    let core = core_of(&silent, 1).await;
    silent.join(core.discovery_key(), true, true).await;
    assert_eq!(dht.peers_of(core.discovery_key()).await.len(), 0);
    let status = silent.client.network().status(core.discovery_key()).await.unwrap().expect("it is joined");
    assert!(!status.announce && status.lookup);
    // It looks for others all the same.
    let theirs = core_of(&other, 1).await;
    other.join(theirs.discovery_key(), true, false).await;
    let copy = silent.same(&theirs).await;
    silent.join(theirs.discovery_key(), true, true).await;
    assert_eq!(soon("a block", copy.get(0, GetOptions::default())).await.unwrap(), block(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_waits_for_a_writer_who_comes_back() {
    let dht = Dht::new().await;
    let (writer, reader) = (Node::new(&dht).await, Node::new(&dht).await);
    let core = core_of(&writer, 10).await;
    let topic = core.discovery_key();
    let config = NetworkConfig {
        announce: Some(true),
        remember: Some(true),
        flush: true,
        ..NetworkConfig::new(topic)
    };
    writer.configure(config).await;
    let copy = reader.same(&core).await;
    reader.join(topic, false, true).await;
    assert_eq!(soon("a block", copy.get(0, GetOptions::default())).await.unwrap(), block(0));
    drop(core);
    let writer = writer.restarted().await;
    // It was there a moment ago: whoever reads waits for it.
    assert_eq!(soon("a block", copy.get(1, GetOptions::default())).await.unwrap(), block(1));
    // Gone for good, what is not here is unavailable, and what is here stays.
    writer.stop().await;
    let error = soon("an answer", copy.get(9, GetOptions::default())).await.unwrap_err();
    assert_eq!(error.to_string(), "Block not available from peers");
    assert_eq!(copy.get(1, GetOptions::default()).await.unwrap(), block(1));
}
