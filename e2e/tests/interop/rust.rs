//! A peer of ours: a server, as `hyperspace::start` puts it together, and a client of it.
//! Its store is at hand, too, for what no client can ask for: rewriting history, and
//! kinds of cores that are made elsewhere only.

use anyhow::{Context, bail};
use hypercore::crypto::KeyPair;
use hypercore::manifest::Manifest;
use hypercore::replication::{Replication, ReplicationOptions};
use hypercore::{Corestore as LocalStore, LocalCore, StoreOptions};
use hyperspace::networker::Swarm;
use hyperspace::peers::{Peers, Replicated};
use hyperspace::{Options, Server};
use hyperspace_api::{Core, CoreEvent, Corestore, Key, OpenTarget};
use hyperspace_client::{ClientOptions, DownloadRange, HyperspaceClient, RemoteHypercore};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::side::Kind;

pub struct RustPeer {
    store: LocalStore,
    peers: Arc<Peers>,
    _server: Server<Replicated>,
    client: HyperspaceClient,
    cores: Mutex<HashMap<String, Opened>>,
    lives: Mutex<Vec<JoinHandle<()>>>,
    calls: Mutex<Option<SocketAddr>>,
    _folder: TempDir,
}

/// A core, as the client has it and as the store does.
#[derive(Clone)]
pub struct Opened {
    pub remote: RemoteHypercore,
    pub local: LocalCore,
}

impl RustPeer {
    pub async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("hs-").tempdir_in("/tmp")?;
        let store = LocalStore::open(folder.path(), StoreOptions::default())?;
        let replication = Replication::new(&store, ReplicationOptions::default())?;
        let peers = Arc::new(Peers::new(replication, hyperswarm::KeyPair::generate()?));
        let options = Options { swarm: Some(peers.clone()), ..Options::default() };
        let server = Server::new(Replicated::new(store.clone(), peers.clone()), options).await?;
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        server.serve_stream(theirs);
        // What is read must have come from the store.
        let options = ClientOptions { cache_bytes: 0, ..ClientOptions::default() };
        let client = HyperspaceClient::connect_stream(ours, options).await?;
        Ok(Self {
            store,
            peers,
            _server: server,
            client,
            cores: Mutex::default(),
            lives: Mutex::default(),
            calls: Mutex::default(),
            _folder: folder,
        })
    }

    pub async fn listen(&self) -> anyhow::Result<u16> {
        Ok(self.peers.listen(SocketAddr::from(([127, 0, 0, 1], 0))).await?.port())
    }

    pub fn connect(&self, port: u16) -> anyhow::Result<()> {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        self.peers.add_peer(&address.to_string())?;
        *self.calls.lock().expect("unpoisoned") = Some(address);
        Ok(())
    }

    /// Hangs up where it has called.
    pub fn disconnect(&self) -> anyhow::Result<()> {
        let address = self.calls.lock().expect("unpoisoned").take().context("it has called nobody")?;
        if !self.peers.remove_peer(&address.to_string()) {
            bail!("{address} was not called");
        }
        Ok(())
    }

    /// A core to write. `None` of a kind that we cannot sign.
    pub async fn create(&self, kind: Kind, name: &str) -> anyhow::Result<Option<String>> {
        let mut seed = [0; 32];
        seed.copy_from_slice(&blake2b_simd::blake2b(name.as_bytes()).as_bytes()[..32]);
        let pair = KeyPair::from_seed(&seed);
        let target = match kind {
            Kind::V1 => OpenTarget::Name(name.to_owned()),
            Kind::V0 => {
                let manifest = Manifest { version: 0, ..Manifest::single_signer(pair.public_key()) };
                OpenTarget::Key(self.store.open_manifest(&manifest, Some(&pair))?.key())
            }
            Kind::Compat => OpenTarget::Key(self.store.open_compat(&pair)?.key()),
            Kind::Multi => return Ok(None),
        };
        self.remember(target).await.map(Some)
    }

    pub async fn open(&self, key: &str) -> anyhow::Result<()> {
        self.remember(OpenTarget::Key(key.parse::<Key>()?)).await.map(drop)
    }

    async fn remember(&self, target: OpenTarget) -> anyhow::Result<String> {
        let remote = self.client.corestore(None).open(target).await?;
        let local = self.store.open_key(remote.key())?;
        let key = remote.key().to_string();
        self.cores.lock().expect("unpoisoned").insert(key.clone(), Opened { remote, local });
        Ok(key)
    }

    pub fn core(&self, key: &str) -> anyhow::Result<Opened> {
        self.cores.lock().expect("unpoisoned").get(key).cloned().with_context(|| format!("{key} is not open"))
    }

    /// Everything, and what is yet to come.
    pub fn live(&self, key: &str) -> anyhow::Result<()> {
        let core = self.core(key)?.remote;
        let live = core.download_range(DownloadRange::live(0));
        let task = tokio::spawn(async move {
            let _ = live.await;
        });
        self.lives.lock().expect("unpoisoned").push(task);
        Ok(())
    }

    /// Peers whose proofs we have not believed.
    pub fn faults(&self) -> Vec<String> {
        let cores = self.cores.lock().expect("unpoisoned");
        let lies = cores.iter().map(|(key, core)| (key, core.local.traffic().lies));
        lies.filter(|(_, lies)| *lies > 0).map(|(key, lies)| format!("{lies} lies about {key}")).collect()
    }

    /// Waits until blocks `0..length` are here, on that fork.
    pub async fn reach(&self, key: &str, length: u64, fork: u64) -> anyhow::Result<()> {
        let core = self.core(key)?.remote;
        loop {
            let mut events = core.events();
            let info = core.info().await?;
            if info.fork >= fork && info.length >= length {
                break;
            }
            // Who has missed some looks anew, too.
            while matches!(events.recv().await, Ok(CoreEvent::Download { .. } | CoreEvent::Upload { .. })) {}
        }
        Ok(core.download(0, length).await?)
    }
}

impl Drop for RustPeer {
    fn drop(&mut self) {
        self.lives.lock().expect("unpoisoned").iter().for_each(JoinHandle::abort);
    }
}
