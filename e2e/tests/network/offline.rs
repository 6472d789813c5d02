//! A network that does not answer delays nothing that is here.

use crate::support::{Node, block, core_of, soon};
use hyperspace::{Bootstrap, Config};
use hyperspace_api::{Core, GetOptions, OpenTarget};
use hyperspace_client::NetworkConfig;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_nodes_delay_nothing_local() {
    // Bound, so that nobody else has it, and read by nobody.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = deaf.local_addr().unwrap().to_string().parse().unwrap();
    let began = Instant::now();
    let config = Config { bootstrap: Bootstrap::Nodes(vec![address]), ..Config::default() };
    let node = Node::with(config).await;
    let core = core_of(&node, 1000).await;
    let topic = core.discovery_key();
    // Seeding what nobody can be told of is no error either.
    let config = NetworkConfig { announce: Some(true), lookup: Some(true), ..NetworkConfig::new(topic) };
    node.configure(config).await;
    for index in 0..1000 {
        assert_eq!(core.get(index, GetOptions::default()).await.unwrap(), block(index));
    }
    let info = node.client.network().info().await.unwrap();
    assert!(!info.dht.expect("there is a node").ready);
    // Six tries of a second each is what the DHT is given: all this came before.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());

    // What only peers have is waited for, and no longer than for the DHT to be found dead.
    let nobody = node.open(OpenTarget::Key([9; 32].into())).await;
    let config = NetworkConfig { lookup: Some(true), ..NetworkConfig::new(nobody.discovery_key()) };
    node.configure(config).await;
    let error = soon("an answer", nobody.get(0, GetOptions::default())).await.unwrap_err();
    assert_eq!(error.to_string(), "Block not available from peers");
    // And the end comes, though nobody can be told.
    node.configure(NetworkConfig { announce: Some(false), lookup: Some(false), ..NetworkConfig::new(topic) })
        .await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_swarm_there_is_none() {
    let node = Node::with(Config::default()).await;
    let core = core_of(&node, 1).await;
    node.join(core.discovery_key(), true, true).await;
    let info = node.client.network().info().await.unwrap();
    assert_eq!(info.dht, None);
    assert_eq!(info.topics.len(), 1);
    let status = node.client.status().await.unwrap();
    assert_eq!(status.holepunchable, None);
}
