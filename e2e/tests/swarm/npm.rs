//! Node, with a network of hyperdht nodes, or with many swarms.

use hyperspace_e2e::told::{Told, hex, unhex};
use serde_json::json;
use std::ops::{Deref, DerefMut};

pub struct Npm(Told);

impl Deref for Npm {
    type Target = Told;

    fn deref(&self) -> &Told {
        &self.0
    }
}

impl DerefMut for Npm {
    fn deref_mut(&mut self) -> &mut Told {
        &mut self.0
    }
}

impl Npm {
    async fn start(arguments: &[&str]) -> Self {
        Self(Told::start(arguments).await)
    }

    /// A network.
    pub async fn network() -> Self {
        Self::start(&["net/dht-peer.js", "testnet", "8"]).await
    }

    /// Swarms in that network: none yet.
    pub async fn swarms(network: &Self) -> Self {
        Self::start(&["net/swarm-peer.js", &network.bootstrap.port().to_string()]).await
    }

    /// A relay in that network, or an end of one.
    pub async fn relay(network: &Self) -> Self {
        Self::start(&["net/relay-peer.js", &network.bootstrap.port().to_string()]).await
    }

    /// A new swarm; its key.
    pub async fn create(&mut self, name: u8, seed: u8) -> [u8; 32] {
        unhex(&self.ask(json!({ "do": "create", "name": name, "seed": hex(&[seed; 32]) })).await)
    }

    pub async fn join(&mut self, name: u8, topic: [u8; 32], server: bool, client: bool) {
        let topic = hex(&topic);
        let join = json!({ "do": "join", "name": name, "topic": topic, "server": server, "client": client });
        self.ask(join).await;
    }

    /// With whom it is connected.
    pub async fn connections(&mut self, name: u8) -> Vec<String> {
        let all = self.ask(json!({ "do": "connections", "name": name })).await;
        serde_json::from_value(all).expect("keys")
    }

    /// Waits until it has just so many connections.
    pub async fn until(&mut self, name: u8, connections: usize) {
        self.ask(json!({ "do": "until", "name": name, "connections": connections })).await;
    }

    /// Who is found by that topic.
    pub async fn lookup(&mut self, name: u8, topic: [u8; 32]) -> Vec<String> {
        let all = self.ask(json!({ "do": "lookup", "name": name, "topic": hex(&topic) })).await;
        serde_json::from_value(all).expect("keys")
    }
}
