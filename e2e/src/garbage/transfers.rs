//! What is transferred while garbage comes: a core from a server to its peer, over and over;
//! bytes that come back, by way of a relay and over a socket that was opened to get through a firewall.

use crate::dht::Dht;
use crate::echo::{Serving, open};
use crate::peer::Peer;
use anyhow::{Context, ensure};
use bytes::Bytes;
use hyperspace_api::{Core, Corestore, GetOptions, OpenTarget};
use hyperspace_client::RemoteHypercore;
use hyperswarm::hyperdht::{DialOptions, Dialed, Endpoint, ListenOptions, Options};
use hyperswarm::{Event, KeyPair, PublicKey};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(60);
const BLOCKS: u64 = 128;
const BLOCK: usize = 64 << 10;
/// On its way to and fro at a time.
const WINDOW: usize = 256 << 10;

fn block(index: u64) -> Bytes {
    let start = index.to_le_bytes();
    start.iter().copied().cycle().take(BLOCK).collect()
}

/// A server with a core, and a peer that has found it in the DHT and takes it again and again.
pub(super) struct Served {
    giver: Peer,
    taker: Peer,
    bytes: Arc<AtomicU64>,
    taking: JoinSet<anyhow::Result<()>>,
    _core: RemoteHypercore,
}

impl Served {
    pub(super) async fn start(dht: &Dht) -> anyhow::Result<Self> {
        let (giver, taker) = (Peer::start(dht).await?, Peer::start(dht).await?);
        let core = giver.client.corestore(None).open(OpenTarget::New).await?;
        core.append((0..BLOCKS).map(block).collect(), Some(0)).await?;
        giver.join(&core, true).await?;
        let copy = taker.client.corestore(None).open(OpenTarget::Key(core.key())).await?;
        taker.join(&copy, false).await?;
        let bytes = Arc::new(AtomicU64::new(0));
        let mut taking = JoinSet::new();
        taking.spawn(take(copy, Arc::clone(&bytes)));
        Ok(Self { giver, taker, bytes, taking, _core: core })
    }

    pub(super) fn bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes)
    }

    pub(super) async fn server_key(&self) -> anyhow::Result<PublicKey> {
        Ok(*self.giver.client.network().public_key().await?.as_bytes())
    }

    pub(super) fn server_pid(&mut self) -> u32 {
        self.giver.pid()
    }

    pub(super) fn peer_pid(&mut self) -> u32 {
        self.taker.pid()
    }

    /// What both have said.
    pub(super) fn said(&mut self) -> String {
        [&mut self.giver, &mut self.taker].map(|node| node.server.process().said()).join("\n")
    }

    /// Everybody is there, and nothing has failed.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        ensure!(self.giver.server.alive() && self.taker.server.alive(), "ended:\n{}", self.said());
        match self.taking.try_join_next() {
            Some(ended) => ended.context("taking")?,
            None => Ok(()),
        }
    }
}

/// Takes all blocks, forgets them, and so on.
async fn take(core: RemoteHypercore, bytes: Arc<AtomicU64>) -> anyhow::Result<()> {
    for round in 0.. {
        for start in (0..BLOCKS).step_by(16) {
            timeout(PATIENCE, core.download(start, start + 16)).await.context("no blocks, in time")??;
            bytes.fetch_add(16 * BLOCK as u64, Ordering::Relaxed);
        }
        // And they are what they were.
        let index = round % BLOCKS;
        let found = core.get(index, GetOptions::default()).await?;
        ensure!(found == block(index), "another block {index}");
        core.clear(0, BLOCKS).await?;
    }
    Ok(())
}

async fn endpoint(dht: &Dht) -> anyhow::Result<Endpoint> {
    let options = Options {
        bootstrap: vec![dht.bootstrap().parse::<std::net::SocketAddrV4>()?.into()],
        host: Ipv4Addr::LOCALHOST,
        port: 0,
        ephemeral: Some(true),
        // On one machine, everybody could be reached.
        test_reachability: false,
        ..Options::default()
    };
    let endpoint = Endpoint::bind(options).await?;
    ensure!(timeout(PATIENCE, endpoint.ready()).await.context("the DHT, in time")?, "closed");
    Ok(endpoint)
}

/// Two of ours in this process, one of whom serves, and sends everything back. Neither can be
/// reached by strangers.
pub(super) struct Echoed {
    bytes: Arc<AtomicU64>,
    key: PublicKey,
    ports: Vec<u16>,
    _serving: Serving,
    echoing: JoinSet<()>,
    _endpoints: [Endpoint; 2],
}

impl Echoed {
    async fn start(dht: &Dht, relay: Option<PublicKey>) -> anyhow::Result<Self> {
        let (here, there) = (endpoint(dht).await?, endpoint(dht).await?);
        let [ours, theirs] = [KeyPair::generate()?, KeyPair::generate()?];
        let (alone, key) = (relay.is_some(), theirs.public_key());
        let options =
            ListenOptions { share_local_address: !alone, holepunch: !alone, ..ListenOptions::default() };
        let server = there.listen(&theirs, options).await?;
        timeout(PATIENCE, server.announced()).await.context("announced, in time")?;
        let serving = Serving::new(server);
        let options =
            DialOptions { relay_through: relay, local_connection: false, ..DialOptions::new(&ours) };
        let dialed = timeout(PATIENCE, here.dial(&key, options)).await.context("met, in time")??;
        ensure!(dialed.is_relayed == alone, "they have met elsewhere");
        let (server, own) = (there.local_address().port(), dialed.remote_address.port());
        ensure!(alone || own != server, "it was not necessary to punch");
        let ports = vec![server, own];
        let bytes = Arc::new(AtomicU64::new(0));
        let mut echoing = JoinSet::new();
        echoing.spawn(echo_on(dialed, Arc::clone(&bytes)));
        Ok(Self { bytes, key, ports, _serving: serving, echoing, _endpoints: [here, there] })
    }

    /// They meet at that relay.
    pub(super) async fn relayed(dht: &Dht, relay: PublicKey) -> anyhow::Result<Self> {
        Self::start(dht, Some(relay)).await
    }

    /// They punch: the server has a socket of its own for the connection.
    pub(super) async fn punched(dht: &Dht) -> anyhow::Result<Self> {
        Self::start(dht, None).await
    }

    pub(super) fn bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.bytes)
    }

    /// The key of the one who serves.
    pub(super) fn key(&self) -> PublicKey {
        self.key
    }

    /// Where that one is found, and where the other has found it.
    pub(super) fn ports(&self) -> Vec<u16> {
        self.ports.clone()
    }

    /// Nothing has failed.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.echoing.try_join_next() {
            Some(ended) => ended.context("echoing"),
            None => Ok(()),
        }
    }
}

/// Sends and sees it come back, for ever.
async fn echo_on(dialed: Dialed, bytes: Arc<AtomicU64>) {
    let mut connection = open(dialed).await;
    let channel = connection.open("echo", b"", "").expect("it is open");
    let chunk = Bytes::from(vec![7; 16 << 10]);
    let mut under_way = 0;
    loop {
        while under_way < WINDOW {
            connection.send(channel, 0, chunk.clone()).expect("there is room");
            under_way += chunk.len();
        }
        match connection.next().await {
            Some(Event::Message { payload, .. }) => {
                assert_eq!(payload, chunk);
                under_way -= payload.len();
                bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
            }
            Some(_) => {}
            None => panic!("closed: {:?}", connection.error()),
        }
    }
}
