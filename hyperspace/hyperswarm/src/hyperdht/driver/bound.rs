//! What a node begins with: its sockets, and the nodes that it knows.

use super::super::endpoint::Options;
use super::super::node::{Config, Dht};
use super::sockets::{Received, Sockets};
use crate::dht;
use crate::dht::bootstrap::{BootstrapNode, Remembered};
use crate::key_pair::KeyPair;
use crate::udx::Udx;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The sockets, and what the node begins with.
pub(in super::super) struct Bound {
    pub(super) sockets: Sockets,
    pub(super) received: Received,
    pub(super) dht: Dht,
    /// Nodes whose addresses are looked up by their names if nobody else is there.
    pub(super) names: Vec<(String, u16)>,
    pub(super) remembered: Option<Remembered>,
    /// By which relays know us.
    pub(super) relay_pair: KeyPair,
}

impl Bound {
    pub(in super::super) async fn new(options: Options) -> io::Result<Self> {
        let (sockets, received) = Sockets::bind(&options)?;
        let address = sockets.address();
        let remembered = options.remember.map(Remembered::at);
        let nodes = match remembered.clone() {
            None => Vec::new(),
            // They are only hints: without them, it takes a little longer.
            Some(file) => tokio::task::spawn_blocking(move || file.read()).await?.unwrap_or_else(|error| {
                tracing::warn!(%error, "the nodes of the last time cannot be read");
                Vec::new()
            }),
        };
        let bootstrap: Vec<_> = options.bootstrap.iter().filter_map(|node| node.address).collect();
        let names = options.bootstrap.into_iter().filter_map(|BootstrapNode { name, .. }| name).collect();
        let config = dht::Config {
            bootstrap,
            nodes,
            ephemeral: options.ephemeral,
            firewalled: options.firewalled,
            test_reachability: options.test_reachability,
            public_address: options.is_first.then_some(address),
            server_port: address.port(),
            ..dht::Config::default()
        };
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let wall_clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let dht = Dht::new(Config { dht: config, wall_clock }, seed, Instant::now());
        let relay_pair = KeyPair::generate().map_err(io::Error::other)?;
        Ok(Self { sockets, received, dht, names, remembered, relay_pair })
    }

    pub(in super::super) fn address(&self) -> SocketAddrV4 {
        self.sockets.address()
    }

    pub(in super::super) fn udx(&self) -> Udx {
        self.sockets.udx().clone()
    }
}

/// Looks the names of nodes up.
pub(super) async fn resolve(names: Vec<(String, u16)>) -> Vec<SocketAddrV4> {
    let mut found = Vec::new();
    for (name, port) in names {
        match tokio::net::lookup_host((name.as_str(), port)).await {
            Ok(addresses) => found.extend(addresses.filter_map(|address| match address {
                SocketAddr::V4(address) => Some(address),
                SocketAddr::V6(_) => None,
            })),
            Err(error) => tracing::debug!(%error, name, "a bootstrap node cannot be found"),
        }
    }
    found
}
