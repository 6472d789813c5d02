//! The swarm for tokio, under tokio's paused clock.

use crate::net::{World, pair};
use hyperswarm::swarm::{Connected, ConnectionId, Event, Events, Firewall, Join, Options, Swarm};
use hyperswarm::{Connection, Event as ChannelEvent, PublicKey};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

const TOPIC: [u8; 32] = [7; 32];
const SERVER: Join = Join { server: true, client: false, limit: None };
const CLIENT: Join = Join { server: false, client: true, limit: None };

struct Peer {
    swarm: Swarm,
    events: Events,
    connections: BTreeMap<ConnectionId, Connection>,
    host: Arc<crate::net::Host>,
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), what).await.expect("in time")
}

impl Peer {
    fn new(world: &World, number: u8) -> Self {
        Self::with(world, Options::new(pair(number)))
    }

    fn with(world: &World, options: Options) -> Self {
        let host = world.host();
        let (swarm, events) = Swarm::over(Arc::clone(&host), options).expect("random numbers");
        Self { swarm, events, connections: BTreeMap::new(), host }
    }

    fn key(&self) -> PublicKey {
        self.swarm.public_key()
    }

    /// Takes what comes until there are so many connections.
    async fn until(&mut self, connections: usize) {
        soon(async {
            while self.connections.len() != connections {
                match self.events.next().await.expect("it is not closed") {
                    Event::Connection(Connected { id, connection, peer, .. }) => {
                        assert_eq!(connection.remote_public_key(), peer.public_key);
                        self.connections.insert(id, connection);
                    }
                    Event::Closed(id) => drop(self.connections.remove(&id).expect("it was open")),
                    Event::Banned(_) => {}
                }
            }
        })
        .await;
    }

    fn connection(&mut self) -> &mut Connection {
        self.connections.values_mut().next().expect("there is one")
    }
}

async fn connected(world: &World) -> (Peer, Peer) {
    let (mut server, mut client) = (Peer::new(world, 1), Peer::new(world, 2));
    let serving = server.swarm.join(TOPIC, SERVER);
    assert!(soon(serving.flushed()).await);
    assert_eq!(world.announced(&TOPIC), [server.key()].into());
    let looking = client.swarm.join(TOPIC, CLIENT);
    assert!(soon(looking.flushed()).await);
    server.until(1).await;
    client.until(1).await;
    assert!(soon(client.swarm.flush()).await);
    // They are wanted as long as the swarm is.
    std::mem::forget((serving, looking));
    (server, client)
}

#[tokio::test(start_paused = true)]
async fn connections_are_the_programs() {
    let world = World::default();
    let (mut server, mut client) = connected(&world).await;
    let status = client.swarm.status().await;
    assert_eq!((status.connections.len(), status.topics.len(), status.peers.len()), (1, 1, 1));
    assert!(status.connections[0].is_initiator && status.peers[0].topics == [TOPIC]);
    server.connection().pair("test", None);
    let channel = client.connection().open("test", b"", "").expect("it is open");
    client.connection().send(channel, 0, "hello").expect("it is open");
    let asked = soon(server.connection().next()).await;
    assert!(matches!(asked, Some(ChannelEvent::Requested { .. })), "{asked:?}");
    // Dropped, it ends; and is dialled again.
    server.connections.clear();
    let event = soon(client.events.next()).await;
    assert!(matches!(event, Some(Event::Closed(_))), "{event:?}");
    client.connections.clear();
    assert!(soon(client.swarm.expecting(Some(TOPIC), Duration::from_secs(4))).await);
    client.until(1).await;
    let stats = client.swarm.stats();
    assert_eq!((stats.client_opened, stats.client_closed, stats.connections), (2, 1, 1));
}

#[tokio::test(start_paused = true)]
async fn closed_it_takes_back_everything() {
    let world = World::default();
    let (server, mut client) = connected(&world).await;
    let other = server.swarm.join([8; 32], Join::default());
    assert!(soon(other.flushed()).await);
    soon(server.swarm.close()).await;
    assert!(world.announced(&TOPIC).is_empty() && world.announced(&[8; 32]).is_empty());
    assert!(!world.is_listening(&pair(1).public_key()));
    client.until(0).await;
    // Nothing of it has any effect any more, nor does anything wait.
    soon(other.destroy()).await;
    assert!(!soon(server.swarm.flush()).await);
    soon(server.swarm.close()).await;
    let Peer { mut events, .. } = server;
    while let Some(event) = soon(events.next()).await {
        assert!(matches!(event, Event::Connection(_) | Event::Closed(_)), "{event:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn closed_without_a_network_it_ends_in_time() {
    let world = World::default();
    let (server, mut client) = connected(&world).await;
    world.cut();
    let started = tokio::time::Instant::now();
    soon(server.swarm.close()).await;
    assert!(started.elapsed() <= Duration::from_secs(11), "{:?}", started.elapsed());
    drop(server.connections);
    client.until(0).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_it_ends_at_once() {
    let world = World::default();
    let (server, mut client) = connected(&world).await;
    drop(server.events);
    drop(server.connections);
    client.until(0).await;
    assert!(!soon(server.swarm.flush()).await);
    assert_eq!(world.announced(&TOPIC).len(), 1, "nobody was told");
}

#[tokio::test(start_paused = true)]
async fn a_discovery_that_is_dropped_leaves() {
    let world = World::default();
    let peer = Peer::new(&world, 1);
    let discovery = peer.swarm.join(TOPIC, Join::default());
    assert!(soon(discovery.flushed()).await);
    assert_eq!(world.announced(&TOPIC).len(), 1);
    drop(discovery);
    soon(peer.swarm.wait_until(|stats| stats.topics == 0)).await;
    assert!(world.announced(&TOPIC).is_empty());
    // Left before it was announced, and joined again at once.
    drop(peer.swarm.join(TOPIC, Join::default()));
    let discovery = peer.swarm.join(TOPIC, SERVER);
    assert!(soon(discovery.flushed()).await);
    assert_eq!(world.announced(&TOPIC).len(), 1);
    discovery.change(CLIENT);
    assert!(soon(discovery.flushed()).await);
    assert!(world.announced(&TOPIC).is_empty());
    soon(discovery.destroy()).await;
    assert_eq!(peer.swarm.stats().topics, 0);
}

#[tokio::test(start_paused = true)]
async fn both_at_once_and_one_is_left() {
    for round in 0..20 {
        let world = World::default();
        let (mut a, mut b) = (Peer::new(&world, 10 + round), Peer::new(&world, 100 + round));
        let joined = [&a, &b].map(|peer| peer.swarm.join([peer.key()[0]; 32], SERVER));
        for discovery in &joined {
            assert!(soon(discovery.flushed()).await);
        }
        a.swarm.join_peer(b.key());
        b.swarm.join_peer(a.key());
        tokio::time::sleep(Duration::from_secs(30)).await;
        a.until(1).await;
        b.until(1).await;
        for peer in [&a, &b] {
            let stats = peer.swarm.stats();
            assert_eq!((stats.connections, stats.connecting), (1, 0));
        }
        let greater = if a.key() > b.key() { &mut a } else { &mut b };
        assert!(greater.connection().is_initiator());
    }
}

#[tokio::test(start_paused = true)]
async fn suspended_and_resumed() {
    let world = World::default();
    let (mut server, mut client) = connected(&world).await;
    assert!(soon(server.swarm.suspend()).await);
    assert!(world.announced(&TOPIC).is_empty() && !world.is_listening(&server.key()));
    assert!(*server.host.silent.borrow());
    server.until(0).await;
    client.until(0).await;
    // Joined meanwhile, it is looked up afterwards.
    let joined = server.swarm.join([9; 32], Join::default());
    server.swarm.resume();
    assert!(soon(server.swarm.suspend()).await && *server.host.silent.borrow());
    server.swarm.resume();
    assert!(soon(joined.flushed()).await && !*server.host.silent.borrow());
    assert!(world.announced(&[9; 32]).contains(&server.key()));
    client.until(1).await;
    server.until(1).await;
    assert_eq!(world.announced(&TOPIC).len(), 1);
    // Undone before it was done, more than once.
    for _ in 0..5 {
        let suspended = server.swarm.suspend();
        server.swarm.resume();
        assert!(!soon(suspended).await);
    }
    client.until(0).await;
    client.until(1).await;
}

#[tokio::test(start_paused = true)]
async fn the_network_is_renewed() {
    let world = World::default();
    let (server, client) = connected(&world).await;
    let before = client.swarm.stats().refreshes;
    client.host.renewals.send_modify(|renewals| *renewals += 1);
    soon(client.swarm.wait_until(|stats| stats.refreshes > before)).await;
    assert_eq!(server.swarm.stats().connections, 1, "what lives is left alone");
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_never_comes() {
    let world = World::default();
    let refused = pair(2).public_key();
    let firewall: Firewall = Arc::new(move |key, _| *key == refused);
    let mut server = Peer::with(&world, Options { firewall: Some(firewall), ..Options::new(pair(1)) });
    let (mut bad, mut good) = (Peer::new(&world, 2), Peer::new(&world, 3));
    let joined = [&server, &bad, &good].map(|peer| peer.swarm.join(TOPIC, Join::default()));
    good.until(2).await;
    server.until(1).await;
    bad.until(1).await;
    tokio::time::sleep(Duration::from_secs(1500)).await;
    assert_eq!([&server, &bad, &good].map(|peer| peer.swarm.stats().connections), [1, 1, 2]);
    drop(joined);
}

#[tokio::test(start_paused = true)]
async fn while_nobody_takes_connections_no_more_are_made() {
    let world = World::default();
    let mut server = Peer::new(&world, 0);
    let serving = server.swarm.join(TOPIC, SERVER);
    assert!(soon(serving.flushed()).await);
    // More than twice as many as may wait.
    let mut clients: Vec<Peer> = (1..=180).map(|number| Peer::new(&world, number)).collect();
    let looking: Vec<_> = clients.iter().map(|peer| peer.swarm.join(TOPIC, CLIENT)).collect();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let waiting = server.swarm.stats().connections;
    assert!((64..=130).contains(&waiting), "{waiting} wait");
    server.until(180).await;
    for client in &mut clients {
        client.until(1).await;
    }
    drop(looking);
}
