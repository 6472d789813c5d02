//! Many nodes that find each other, and what is measured of them.

use crate::network::{Connected, Network, SERVER_PORT};
use hyperswarm::KeyPair;
use hyperswarm::dht::{self, Id, node_id};
use hyperswarm::hyperdht::{Announcement, Config, Dht, Event, Summary};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(120);

pub fn config(bootstrap: Vec<SocketAddrV4>) -> dht::Config {
    dht::Config {
        bootstrap,
        ephemeral: Some(false),
        firewalled: false,
        server_port: SERVER_PORT,
        ..dht::Config::default()
    }
}

pub fn dht(config: dht::Config, seed: [u8; 32], now: Instant) -> Dht {
    let wall_clock = Duration::from_secs(1_700_000_000);
    Dht::new(Config { dht: config, wall_clock }, seed, now)
}

/// The first node of a network, which all others know of.
pub fn first(network: &mut Network<Dht>) -> usize {
    let seed = network.random.bytes();
    network.add(Connected::Openly, |now, address| {
        let public_address = Some(SocketAddrV4::new(address, SERVER_PORT));
        dht(dht::Config { public_address, ..config(Vec::new()) }, seed, now)
    })
}

/// One more, which is to be found.
pub fn join(network: &mut Network<Dht>, bootstrap: usize) -> usize {
    let bootstrap = vec![network.address(bootstrap)];
    let seed = network.random.bytes();
    network.add(Connected::Openly, |now, _| dht(config(bootstrap), seed, now))
}

/// A network of so many nodes, which come one after the other, and have come to rest.
pub fn grown(seed: u64, nodes: usize) -> Network<Dht> {
    let mut network = Network::new(seed);
    let bootstrap = first(&mut network);
    for _ in 1..nodes {
        join(&mut network, bootstrap);
        network.run(Duration::from_millis(20));
    }
    network.run(Duration::from_secs(30));
    network
}

/// What came of a lookup.
#[derive(Clone, Debug, Default)]
pub struct Looked {
    /// The peers that were found.
    pub found: Vec<[u8; 32]>,
    pub summary: Summary,
    pub time: Duration,
    /// What whoever looked has sent and received meanwhile, its other business included.
    pub messages: u64,
}

impl Looked {
    /// How many nodes were asked.
    pub fn asked(&self) -> usize {
        self.summary.outcome.successes + self.summary.outcome.failures
    }
}

pub fn lookup(network: &mut Network<Dht>, host: usize, topic: Id) -> Looked {
    let (started, before) = (network.now, network.messages(host));
    let id = network.with(host, |dht, now| dht.lookup(now, topic));
    let mut looked = Looked::default();
    let summary = network.wait(host, PATIENCE, |event| match event {
        Event::Peers { operation, peers, .. } if operation == id => {
            looked.found.extend(peers.peers.iter().map(|peer| peer.public_key));
            None
        }
        Event::Finished { operation, summary } if operation == id => Some(summary),
        _ => None,
    });
    looked.summary = summary.expect("a lookup ends");
    looked.time = network.now - started;
    looked.messages = network.messages(host) - before;
    looked
}

pub fn announce(network: &mut Network<Dht>, host: usize, topic: Id, pair: &KeyPair) -> Summary {
    let relays = vec![network.address(host)];
    let announcement = Announcement::new(topic, pair, relays);
    let id = network.with(host, |dht, now| dht.announce(now, announcement));
    finished(network, host, id).expect("an announcement ends")
}

pub fn finished(
    network: &mut Network<Dht>,
    host: usize,
    id: hyperswarm::hyperdht::OperationId,
) -> Option<Summary> {
    network.wait(host, PATIENCE, |event| match event {
        Event::Finished { operation, summary } if operation == id => Some(summary),
        _ => None,
    })
}

/// The `count` nodes that are closest to a target, of all that are there.
pub fn closest(network: &Network<Dht>, target: &Id, count: usize) -> Vec<SocketAddrV4> {
    let mut all: Vec<(Id, SocketAddrV4)> = network
        .alive()
        .into_iter()
        .filter(|host| !network.machine(*host).node().is_ephemeral())
        .map(|host| {
            let address = network.address(host);
            let id = node_id(address);
            (std::array::from_fn(|at| id[at] ^ target[at]), address)
        })
        .collect();
    all.sort_unstable();
    all.truncate(count);
    all.into_iter().map(|(_, address)| address).collect()
}
