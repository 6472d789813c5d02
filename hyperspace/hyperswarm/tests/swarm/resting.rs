//! Suspended, a swarm on real sockets is silent: not one datagram leaves. Resumed, it is back
//! where it was.

use hyperswarm::hyperdht::{Endpoint, Options as DhtOptions};
use hyperswarm::swarm::{Event, Events, Join, Options, Swarm};
use hyperswarm::{Connection, KeyPair};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

const TOPIC: [u8; 32] = [7; 32];

/// Longer than the pauses of whatever is sent again and again: nodes that relay to us are
/// asked every 3 seconds, and connections are kept alive every 5.
const LONG: Duration = Duration::from_millis(6500);

/// A ping of the DHT, for everybody.
const PING: [u8; 11] = [0x03, 4, 1, 0, 127, 0, 0, 1, 1, 1, 0];

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("in time")
}

async fn bind(options: DhtOptions) -> Endpoint {
    let local = DhtOptions { host: Ipv4Addr::LOCALHOST, port: 0, ..options };
    Endpoint::bind(local).await.expect("sockets")
}

/// Nodes that keep things for others, and the address of the first.
async fn network() -> (Vec<Endpoint>, SocketAddrV4) {
    let first = bind(DhtOptions { is_first: true, ..DhtOptions::default() }).await;
    let address = first.local_address();
    let mut nodes = vec![first];
    for _ in 0..4 {
        let lasting = DhtOptions { ephemeral: Some(false), firewalled: false, ..DhtOptions::default() };
        let node = bind(DhtOptions { bootstrap: vec![address.into()], ..lasting }).await;
        assert!(soon(node.wait_until(|status| status.ready && status.id.is_some())).await);
        nodes.push(node);
    }
    (nodes, address)
}

struct Peer {
    swarm: Swarm,
    events: Events,
    endpoint: Endpoint,
    connections: BTreeMap<hyperswarm::swarm::ConnectionId, Connection>,
}

impl Peer {
    async fn new(bootstrap: SocketAddrV4, seed: u8) -> Self {
        let endpoint = bind(DhtOptions { bootstrap: vec![bootstrap.into()], ..DhtOptions::default() }).await;
        assert!(soon(endpoint.ready()).await);
        let pair = KeyPair::from_seed(&[seed; 32]);
        let (swarm, events) = Swarm::new(endpoint.clone(), Options::new(pair)).expect("random numbers");
        Self { swarm, events, endpoint, connections: BTreeMap::new() }
    }

    /// Takes what comes until there are so many connections.
    async fn until(&mut self, connections: usize) {
        soon(async {
            while self.connections.len() != connections {
                match self.events.next().await.expect("it is not closed") {
                    Event::Connection(connected) => {
                        self.connections.insert(connected.id, connected.connection);
                    }
                    Event::Closed(id) => drop(self.connections.remove(&id)),
                    Event::Banned(_) => {}
                }
            }
        })
        .await;
    }

    async fn finds(&self, key: [u8; 32]) -> bool {
        let mut lookup = self.endpoint.lookup(TOPIC).await.expect("it runs");
        let mut found = false;
        while let Some((_, peers)) = soon(lookup.next()).await {
            found |= peers.peers.iter().any(|peer| peer.public_key == key);
        }
        found
    }

    async fn close(self) {
        soon(self.swarm.close()).await;
        soon(self.endpoint.close()).await;
    }
}

/// Somebody who asks a node whether it is there.
struct Stranger(UdpSocket);

impl Stranger {
    fn new() -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("it is one");
        Self(socket)
    }

    fn ask(&self, node: SocketAddrV4) {
        self.0.send_to(&PING, node).expect("it is sent");
    }

    /// Has anything come so far?
    fn has_heard(&self) -> bool {
        self.0.set_nonblocking(true).expect("it is one");
        let heard = self.0.recv(&mut [0; 100]).is_ok();
        self.0.set_nonblocking(false).expect("it is one");
        heard
    }

    /// Waits for an answer.
    fn hear(&self) {
        tokio::task::block_in_place(|| self.0.recv(&mut [0; 100])).expect("it answers");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn not_one_datagram_leaves_until_it_is_resumed() {
    let (_nodes, bootstrap) = network().await;
    let (mut here, mut there) = (Peer::new(bootstrap, 1).await, Peer::new(bootstrap, 2).await);
    let (key, address) = (here.swarm.public_key(), here.endpoint.local_address());
    let announced = here.swarm.join(TOPIC, Join::default());
    assert!(soon(announced.flushed()).await);
    let _looking = there.swarm.join(TOPIC, Join::default());
    here.until(1).await;
    there.until(1).await;
    let stranger = Stranger::new();
    stranger.ask(address);
    stranger.hear();

    assert!(soon(here.swarm.suspend()).await);
    let sent = here.endpoint.udx().sent();
    assert!(here.endpoint.status().suspended && sent > 0);
    // The other side need not wait until it has not answered for long.
    tokio::time::timeout(Duration::from_secs(5), there.until(0)).await.expect("it is told");
    here.until(0).await;
    assert!(!there.finds(key).await);
    assert!(there.endpoint.find_peer(&key).await.expect("it runs").is_empty());
    // Whatever is wanted meanwhile, and whoever asks.
    let other = here.swarm.join([8; 32], Join::default());
    here.swarm.join_peer(there.swarm.public_key());
    assert!(here.endpoint.lookup(TOPIC).await.expect("it runs").next().await.is_none());
    there.swarm.join_peer(key);
    let until = tokio::time::Instant::now() + LONG;
    while tokio::time::Instant::now() < until {
        stranger.ask(address);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(here.endpoint.udx().sent(), sent);
    assert!(!stranger.has_heard());

    here.swarm.resume();
    assert!(soon(announced.flushed()).await && soon(other.flushed()).await);
    assert!(there.finds(key).await);
    here.until(1).await;
    there.until(1).await;
    assert_eq!(here.endpoint.local_address(), address);
    stranger.ask(address);
    stranger.hear();
    here.close().await;
    there.close().await;
}

/// Undone while it is under way, it is as if it had not been; and however often.
#[tokio::test(flavor = "multi_thread")]
async fn suspended_and_resumed_in_one_breath() {
    let (_nodes, bootstrap) = network().await;
    let (mut here, mut there) = (Peer::new(bootstrap, 1).await, Peer::new(bootstrap, 2).await);
    let announced = here.swarm.join(TOPIC, Join::default());
    assert!(soon(announced.flushed()).await);
    let _looking = there.swarm.join(TOPIC, Join::default());
    there.until(1).await;
    for pause in [0, 1, 3, 10, 30, 100, 300] {
        let suspended = here.swarm.suspend();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        here.swarm.resume();
        // Either way.
        soon(suspended).await;
    }
    assert!(soon(announced.flushed()).await);
    assert!(!here.endpoint.status().suspended);
    assert!(there.finds(here.swarm.public_key()).await);
    soon(here.swarm.wait_until(|stats| stats.connections == 1)).await;
    // And for good.
    assert!(soon(here.swarm.suspend()).await);
    let sent = here.endpoint.udx().sent();
    here.until(0).await;
    soon(there.swarm.wait_until(|stats| stats.connections == 0)).await;
    assert_eq!(here.endpoint.udx().sent(), sent);
    // Closed while it is suspended, it ends at once.
    soon(here.close()).await;
    there.close().await;
}
