//! A real server in a DHT of its own, and a client of it.

use crate::dht::Dht;
use crate::scratch::Scratch;
use crate::server::Server;
use hyperspace_api::Core;
use hyperspace_client::{Endpoint, HyperspaceClient, NetworkConfig, RemoteHypercore};

/// One of those who find each other there.
pub struct Peer {
    pub(crate) server: Server,
    pub(crate) client: HyperspaceClient,
    _scratch: Scratch,
}

impl Peer {
    pub(crate) async fn start(dht: &Dht) -> anyhow::Result<Self> {
        let scratch = Scratch::new();
        let server = Server::start_with(&scratch, &["--bootstrap", dht.bootstrap()]);
        let client = HyperspaceClient::connect(Endpoint::Unix(scratch.socket())).await?;
        Ok(Self { server, client, _scratch: scratch })
    }

    /// Is announced as one who has that core, or looks for such; returns when that is done.
    pub(crate) async fn join(&self, core: &RemoteHypercore, announce: bool) -> anyhow::Result<()> {
        let config = NetworkConfig {
            announce: Some(announce),
            lookup: Some(!announce),
            flush: true,
            ..NetworkConfig::new(core.discovery_key())
        };
        self.client.network().configure(config).await?;
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
