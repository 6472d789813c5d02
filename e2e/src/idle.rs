//! A server that announces topics and has peers, and is asked for nothing. It and its peers
//! are real servers, in a DHT of their own on loopback.

use crate::dht::Dht;
use crate::peer::Peer;
use anyhow::{Context, ensure};
use bytes::Bytes;
use hyperspace_api::{Core, Corestore, GetOptions, OpenTarget};
use hyperspace_client::RemoteHypercore;
use std::time::Duration;

/// Longer than it takes to find a peer and to hear of a block.
const PATIENCE: Duration = Duration::from_secs(60);

/// The server and its peers.
pub struct Idle {
    /// Has one topic for each of its cores.
    pub server: Peer,
    /// Have one of the cores each.
    pub peers: Vec<Peer>,
    /// Those of the server, and then theirs: they are open.
    cores: Vec<RemoteHypercore>,
    dht: Dht,
}

impl Idle {
    /// Starts them; returns when all are announced, and all peers connected.
    pub async fn start(topics: usize, peers: usize) -> anyhow::Result<Self> {
        let dht = Dht::new();
        let server = Peer::start(&dht).await?;
        let mut idle = Self { server, peers: Vec::new(), cores: Vec::new(), dht };
        for at in 0..topics {
            let name = format!("core {at}");
            let core = idle.server.client.corestore(None).open(OpenTarget::Name(name.clone())).await?;
            core.append(vec![Bytes::from(name)], Some(0)).await?;
            idle.server.join(&core, true).await?;
            idle.cores.push(core);
        }
        for at in 0..peers {
            let key = idle.cores[at].key();
            let peer = Peer::start(&idle.dht).await?;
            let core = peer.client.corestore(None).open(OpenTarget::Key(key)).await?;
            peer.join(&core, false).await?;
            // They are connected, and speak of the core.
            let block = tokio::time::timeout(PATIENCE, core.get(0, GetOptions::default())).await;
            ensure!(block.context("a block, in time")?? == format!("core {at}"), "another block");
            idle.cores.push(core);
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
