//! A DHT, servers that know nothing of each other but that, and their clients.

use bytes::Bytes;
use hyperspace::{Bootstrap, Config, Endpoint, RunningServer, Storage};
use hyperspace_api::{Core, Corestore, DiscoveryKey, OpenTarget};
use hyperspace_client::{HyperspaceClient, NetworkConfig, RemoteHypercore};
use hyperswarm::hyperdht;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

/// Longer than anything here takes, on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// A DHT of its own.
pub struct Dht(Vec<hyperdht::Endpoint>);

impl Dht {
    pub async fn new() -> Self {
        let options = hyperdht::Options {
            host: Ipv4Addr::LOCALHOST,
            port: 0,
            ephemeral: Some(false),
            firewalled: false,
            ..hyperdht::Options::default()
        };
        let first = hyperdht::Options { is_first: true, ..options.clone() };
        let mut nodes = vec![hyperdht::Endpoint::bind(first).await.unwrap()];
        let bootstrap = vec![nodes[0].local_address().into()];
        for _ in 0..3 {
            let options = hyperdht::Options { bootstrap: bootstrap.clone(), ..options.clone() };
            nodes.push(hyperdht::Endpoint::bind(options).await.unwrap());
        }
        for node in &nodes {
            assert!(soon("a node", node.ready()).await);
        }
        Self(nodes)
    }

    /// How a server enters it.
    pub fn bootstrap(&self) -> Bootstrap {
        Bootstrap::Nodes(vec![self.0[0].local_address().into()])
    }

    /// Whom its nodes name for a topic.
    pub async fn peers_of(&self, topic: DiscoveryKey) -> Vec<[u8; 32]> {
        let mut lookup = self.0[3].lookup(*topic.as_bytes()).await.unwrap();
        let mut found = Vec::new();
        while let Some((_, peers)) = soon("a lookup", lookup.next()).await {
            found.extend(peers.peers.into_iter().map(|peer| peer.public_key));
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// A server and a client of it.
pub struct Node {
    pub client: HyperspaceClient,
    server: RunningServer,
    folder: TempDir,
    config: Config,
}

impl Node {
    pub async fn new(dht: &Dht) -> Self {
        Self::with(Config { bootstrap: dht.bootstrap(), ..Config::default() }).await
    }

    pub async fn with(config: Config) -> Self {
        let folder = tempfile::Builder::new().prefix("hs-").tempdir_in("/tmp").unwrap();
        Self::start(folder, config).await
    }

    async fn start(folder: TempDir, config: Config) -> Self {
        let socket = folder.path().join("socket");
        let config = Config {
            storage: Storage::Folder(folder.path().join("storage")),
            endpoint: Some(Endpoint::Unix(socket.clone())),
            ..config
        };
        let server = soon("a server", hyperspace::start(config.clone())).await.unwrap();
        let client = HyperspaceClient::connect(hyperspace_client::Endpoint::Unix(socket)).await.unwrap();
        Self { client, server, folder, config }
    }

    /// Where peers may call it over TCP.
    pub fn listening(&self) -> &[std::net::SocketAddr] {
        self.server.listening()
    }

    /// Stops it, and starts it again.
    pub async fn restarted(self) -> Self {
        let Self { client, server, folder, config } = self;
        drop(client);
        soon("the end", server.shutdown()).await.unwrap();
        Self::start(folder, config).await
    }

    /// Stops it.
    pub async fn stop(self) {
        drop(self.client);
        soon("the end", self.server.shutdown()).await.unwrap();
    }

    /// The path of its socket.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Where clients find it.
    pub fn endpoint(&self) -> hyperspace_client::Endpoint {
        hyperspace_client::Endpoint::Unix(self.socket())
    }

    pub async fn open(&self, target: OpenTarget) -> RemoteHypercore {
        self.client.corestore(None).open(target).await.unwrap()
    }

    /// The core of `other`, as it is known here.
    pub async fn same(&self, other: &RemoteHypercore) -> RemoteHypercore {
        self.open(OpenTarget::Key(other.key())).await
    }

    /// Announces a topic, or looks it up, or both; returns when that is done.
    pub async fn join(&self, topic: DiscoveryKey, announce: bool, lookup: bool) {
        self.configure(NetworkConfig {
            announce: Some(announce),
            lookup: Some(lookup),
            flush: true,
            ..NetworkConfig::new(topic)
        })
        .await;
    }

    pub async fn configure(&self, config: NetworkConfig) {
        soon("a topic", self.client.network().configure(config)).await.unwrap();
    }

    pub async fn key(&self) -> [u8; 32] {
        *self.client.network().public_key().await.unwrap().as_bytes()
    }
}

/// Block `index` of a core of this test.
pub fn block(index: u64) -> Bytes {
    format!("block {index}").into()
}

/// A core of so many blocks.
pub async fn core_of(node: &Node, length: u64) -> RemoteHypercore {
    let core = node.open(OpenTarget::New).await;
    core.append((0..length).map(block).collect(), Some(0)).await.unwrap();
    core
}

/// Waits, at most [`LONG`].
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {LONG:?}"),
    }
}
