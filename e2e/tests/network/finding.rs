//! Who announces a topic is found by whoever looks it up, and both exchange cores.

use crate::support::{Dht, Node, block, core_of, soon};
use hyperspace_api::{Core, GetOptions, OpenTarget};
use hyperspace_client::{NetworkConfig, NetworkEvent};

#[tokio::test(flavor = "multi_thread")]
async fn a_core_is_read_by_its_key_alone() {
    let dht = Dht::new().await;
    let (writer, reader) = (Node::new(&dht).await, Node::new(&dht).await);
    let core = core_of(&writer, 100).await;
    writer.join(core.discovery_key(), true, false).await;

    let mut events = reader.client.network().events();
    let copy = reader.same(&core).await;
    reader.join(core.discovery_key(), false, true).await;
    for index in [99, 0, 50] {
        let got = soon("a block", copy.get(index, GetOptions::default())).await.unwrap();
        assert_eq!(got, block(index));
    }
    let Ok(NetworkEvent::PeerAdd(peer)) = soon("a peer", events.recv()).await else { panic!("no peer came") };
    assert_eq!(*peer.remote_public_key.as_bytes(), writer.key().await);
    assert_eq!(peer.kind, "udx");
    assert_eq!(reader.client.network().peers().await.unwrap(), std::slice::from_ref(&peer));
    assert_eq!(copy.peers(), std::slice::from_ref(&peer));

    let info = reader.client.network().info().await.unwrap();
    let node = info.dht.expect("it is in the swarm");
    assert!(node.ready && node.online && node.nodes >= 4, "{node:?}");
    assert_eq!(info.topics.len(), 1);
    assert_eq!((info.topics[0].announce, info.topics[0].lookup, info.topics[0].peers), (false, true, 1));
    assert_eq!(info.connections.len(), 1);
    assert_eq!(info.connections[0].peer, peer);
    assert!(info.connections[0].is_initiator);
    assert!(info.connections[0].received > 100, "{:?}", info.connections);

    // What is appended from now on comes by itself.
    let mut events = copy.events();
    core.append((100..110).map(block).collect(), None).await.unwrap();
    soon("the news", async {
        while copy.length() < 110 {
            events.recv().await.unwrap();
        }
    })
    .await;
    assert_eq!(soon("news", copy.get(109, GetOptions::default())).await.unwrap(), block(109));
    // And the other way: who announces serves whatever he has.
    let other = core_of(&reader, 5).await;
    let back = writer.same(&other).await;
    assert_eq!(soon("a block", back.get(4, GetOptions::default())).await.unwrap(), block(4));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_waits_for_the_topic_that_was_just_joined() {
    let dht = Dht::new().await;
    let (writer, reader) = (Node::new(&dht).await, Node::new(&dht).await);
    let core = core_of(&writer, 3).await;
    writer.join(core.discovery_key(), true, false).await;
    let copy = reader.same(&core).await;
    // Not flushed: `if_available` is answered when the topic was looked up.
    let config = NetworkConfig { lookup: Some(true), ..NetworkConfig::new(core.discovery_key()) };
    reader.configure(config).await;
    assert_eq!(soon("a block", copy.get(2, GetOptions::default())).await.unwrap(), block(2));

    // A core of which nobody knows is looked for, and then known to be unavailable.
    let nobody = reader.open(OpenTarget::Key([9; 32].into())).await;
    let config = NetworkConfig { lookup: Some(true), ..NetworkConfig::new(nobody.discovery_key()) };
    reader.configure(config).await;
    let error = soon("an answer", nobody.get(0, GetOptions::default())).await.unwrap_err();
    assert_eq!(error.to_string(), "Block not available from peers");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_topics_and_servers() {
    let dht = Dht::new().await;
    let seeder = Node::new(&dht).await;
    let mut cores = Vec::new();
    for _ in 0..50 {
        let core = core_of(&seeder, 2).await;
        let config = NetworkConfig { announce: Some(true), ..NetworkConfig::new(core.discovery_key()) };
        seeder.configure(config).await;
        cores.push(core);
    }
    // The last is announced when all are asked for.
    seeder.join(cores[49].discovery_key(), true, false).await;
    for reader in [Node::new(&dht).await, Node::new(&dht).await, Node::new(&dht).await] {
        for core in &cores {
            let config = NetworkConfig { lookup: Some(true), ..NetworkConfig::new(core.discovery_key()) };
            reader.configure(config).await;
        }
        for core in &cores {
            let copy = reader.same(core).await;
            assert_eq!(soon("a block", copy.get(1, GetOptions::default())).await.unwrap(), block(1));
        }
        // One connection, whatever the number of topics.
        assert_eq!(reader.client.network().peers().await.unwrap().len(), 1);
        reader.stop().await;
    }
    let info = seeder.client.network().info().await.unwrap();
    assert_eq!(info.topics.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_and_the_swarm_lead_to_one_connection() {
    let dht = Dht::new().await;
    let listening = hyperspace::Config {
        bootstrap: dht.bootstrap(),
        listen: vec![([127, 0, 0, 1], 0).into()],
        ..hyperspace::Config::default()
    };
    let writer = Node::with(listening).await;
    let core = core_of(&writer, 3).await;
    writer.join(core.discovery_key(), true, false).await;
    let reader = Node::new(&dht).await;
    let copy = reader.same(&core).await;
    reader.join(core.discovery_key(), false, true).await;
    assert_eq!(soon("a block", copy.get(0, GetOptions::default())).await.unwrap(), block(0));
    let kinds =
        |peers: Vec<hyperspace_api::Peer>| peers.into_iter().map(|peer| peer.kind).collect::<Vec<_>>();
    assert_eq!(kinds(reader.client.network().peers().await.unwrap()), ["udx"]);

    // The address counts more, and takes over.
    let address = writer.listening()[0].to_string();
    reader.client.network().add_peer(&address, false).await.unwrap();
    soon("tcp", async {
        while kinds(reader.client.network().peers().await.unwrap()) != ["tcp"] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(soon("a block", copy.get(1, GetOptions::default())).await.unwrap(), block(1));
    // Once it is no longer called, the swarm's connection is what there is.
    reader.client.network().remove_peer(&address).await.unwrap();
    soon("udx", async {
        while kinds(reader.client.network().peers().await.unwrap()) != ["udx"] {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(soon("a block", copy.get(2, GetOptions::default())).await.unwrap(), block(2));
}
