//! A server that announces topics and has peers, and is asked for nothing. It and its peers
//! are real servers, in a DHT of their own on loopback.

use crate::dht::Dht;
use crate::scratch::Scratch;
use crate::server::Server;
use anyhow::{Context, ensure};
use bytes::Bytes;
use hyperspace_api::{Core, Corestore, GetOptions, OpenTarget};
use hyperspace_client::{Endpoint, HyperspaceClient, NetworkConfig, RemoteHypercore};
use std::time::Duration;

/// Longer than it takes to find a peer and to hear of a block.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, and a client that has its cores open.
pub struct Node {
    server: Server,
    client: HyperspaceClient,
    cores: Vec<RemoteHypercore>,
    _scratch: Scratch,
}

impl Node {
    async fn start(bootstrap: &str) -> anyhow::Result<Self> {
        let scratch = Scratch::new();
        let server = Server::start_with(&scratch, &["--bootstrap", bootstrap]);
        let client = HyperspaceClient::connect(Endpoint::Unix(scratch.socket())).await?;
        Ok(Self { server, client, cores: Vec::new(), _scratch: scratch })
    }

    /// Has a core open, and is in the swarm for it.
    async fn join(&mut self, core: RemoteHypercore, announce: bool) -> anyhow::Result<()> {
        let config = NetworkConfig {
            announce: Some(announce),
            lookup: Some(!announce),
            flush: true,
            ..NetworkConfig::new(core.discovery_key())
        };
        self.client.network().configure(config).await?;
        self.cores.push(core);
        Ok(())
    }

    /// The memory that is resident, in MB.
    pub fn memory(&self) -> f64 {
        self.server.usage().resident as f64 * 1024.0 / 1e6
    }

    /// Its process.
    pub fn pid(&mut self) -> u32 {
        self.server.process().pid()
    }
}

/// The server and its peers.
pub struct Idle {
    /// Has one topic for each of its cores.
    pub server: Node,
    /// Have one of the cores each.
    pub peers: Vec<Node>,
    dht: Dht,
}

impl Idle {
    /// Starts them; returns when all are announced, and all peers connected.
    pub async fn start(topics: usize, peers: usize) -> anyhow::Result<Self> {
        let dht = Dht::new();
        let server = Node::start(dht.bootstrap()).await?;
        let mut idle = Self { server, peers: Vec::new(), dht };
        for at in 0..topics {
            let name = format!("core {at}");
            let core = idle.server.client.corestore(None).open(OpenTarget::Name(name.clone())).await?;
            core.append(vec![Bytes::from(name)], Some(0)).await?;
            idle.server.join(core, true).await?;
        }
        for at in 0..peers {
            let key = idle.server.cores[at].key();
            let mut peer = Node::start(idle.dht.bootstrap()).await?;
            let core = peer.client.corestore(None).open(OpenTarget::Key(key)).await?;
            peer.join(core, false).await?;
            // They are connected, and speak of the core.
            let block = tokio::time::timeout(PATIENCE, peer.cores[0].get(0, GetOptions::default())).await;
            ensure!(block.context("a block, in time")?? == format!("core {at}"), "another block");
            idle.peers.push(peer);
        }
        idle.check().await?;
        Ok(idle)
    }

    /// All of them are connected.
    pub async fn check(&self) -> anyhow::Result<()> {
        let (connected, all) = (self.server.client.network().peers().await?.len(), self.peers.len());
        ensure!(connected == all, "{connected} of {all} peers are connected");
        Ok(())
    }
}
