//! Peers that were announced and are no more: nobody waits long for them.

use crate::support::{Dht, Node, block, core_of, soon};
use hyperspace::Bootstrap;
use hyperspace_api::{Core, Corestore, GetOptions, Key, OpenTarget};
use hyperspace_client::{Endpoint, HyperspaceClient, NetworkConfig, NetworkEvent, RemoteHypercore};
use hyperspace_e2e::scratch::Scratch;
use hyperspace_e2e::server::Server;
use std::time::{Duration, Instant};

/// Four seconds are promised; a machine that is busy takes longer.
const BOUND: Duration = Duration::from_secs(8);
/// Ten are, after a peer was lost.
const RETURN: Duration = Duration::from_secs(15);
/// Nothing is waited for.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A server in a process of its own, which can be killed.
struct Doomed {
    server: Server,
    scratch: Scratch,
}

impl Doomed {
    fn new(dht: &Dht) -> Self {
        let Bootstrap::Nodes(nodes) = dht.bootstrap() else { panic!("the DHT has nodes") };
        let scratch = Scratch::new();
        let server = Server::start_with(&scratch, &["--bootstrap", &nodes[0].to_string()]);
        Self { server, scratch }
    }

    /// Announces the core `key`, and is killed.
    async fn announce_and_die(self, key: Key) {
        let client = HyperspaceClient::connect(Endpoint::Unix(self.scratch.socket())).await.unwrap();
        let core = client.corestore(None).open(OpenTarget::Key(key)).await.unwrap();
        let config =
            NetworkConfig { announce: Some(true), flush: true, ..NetworkConfig::new(core.discovery_key()) };
        soon("the announcement", client.network().configure(config)).await.unwrap();
        self.server.kill();
    }
}

/// How long a read takes of what nobody has.
async fn read_in_vain(core: &RemoteHypercore, index: u64) -> Duration {
    let began = Instant::now();
    let options = GetOptions { timeout: None, ..GetOptions::default() };
    let error = soon("an answer", core.get(index, options)).await.unwrap_err();
    assert_eq!(error.to_string(), "Block not available from peers");
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_announced_and_is_dead_is_not_waited_for() {
    let dht = Dht::new().await;
    let key = Key::from([9; 32]);
    for _ in 0..3 {
        Doomed::new(&dht).announce_and_die(key).await;
    }
    let reader = Node::new(&dht).await;
    let copy = reader.open(OpenTarget::Key(key)).await;
    assert_eq!(dht.peers_of(copy.discovery_key()).await.len(), 3);
    let config = NetworkConfig { lookup: Some(true), ..NetworkConfig::new(copy.discovery_key()) };
    reader.configure(config).await;
    let took = read_in_vain(&copy, 0).await;
    assert!(took < BOUND, "{took:?}");
    // They may be dialled still, or again, but nobody waits for that.
    let took = read_in_vain(&copy, 1).await;
    assert!(took < AT_ONCE, "{took:?}");
    // Who looks for something else may meet them as well, and waits no longer.
    let other = reader.open(OpenTarget::Key([8; 32].into())).await;
    let took = read_in_vain(&other, 0).await;
    assert!(took < BOUND, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_answers_is_not_held_up_by_the_dead() {
    let dht = Dht::new().await;
    let writer = Node::new(&dht).await;
    let core = core_of(&writer, 3).await;
    for _ in 0..3 {
        Doomed::new(&dht).announce_and_die(core.key()).await;
    }
    writer.join(core.discovery_key(), true, false).await;
    let reader = Node::new(&dht).await;
    let copy = reader.same(&core).await;
    let config = NetworkConfig { lookup: Some(true), ..NetworkConfig::new(core.discovery_key()) };
    reader.configure(config).await;
    let began = Instant::now();
    let got = soon("a block", copy.get(2, GetOptions::default())).await.unwrap();
    assert_eq!(got, block(2));
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_was_lost_is_expected_back_for_a_while() {
    let dht = Dht::new().await;
    let (writer, reader) = (Node::new(&dht).await, Node::new(&dht).await);
    let core = core_of(&writer, 3).await;
    writer.join(core.discovery_key(), true, false).await;
    let copy = reader.same(&core).await;
    reader.join(core.discovery_key(), false, true).await;
    assert_eq!(soon("a block", copy.get(0, GetOptions::default())).await.unwrap(), block(0));
    let mut events = reader.client.network().events();
    writer.stop().await;
    soon("the end", async { while !matches!(events.recv().await, Ok(NetworkEvent::PeerRemove(_))) {} }).await;
    let took = read_in_vain(&copy, 1).await;
    assert!(took < RETURN, "{took:?}");
    let took = read_in_vain(&copy, 2).await;
    assert!(took < AT_ONCE, "{took:?}");
}
