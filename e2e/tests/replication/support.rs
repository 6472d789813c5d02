//! Servers in this process, and clients of them.

use bytes::Bytes;
use hyperspace::{Config, Endpoint, RunningServer, Storage};
use hyperspace_api::{Core, Corestore, OpenTarget};
use hyperspace_client::{HyperspaceClient, RemoteHypercore};
use std::net::SocketAddr;
use std::time::Duration;
use tempfile::TempDir;

/// Longer than anything here takes, on a busy machine.
pub const LONG: Duration = Duration::from_secs(60);

/// A server, a client of it, and where peers call it.
pub struct Node {
    pub client: HyperspaceClient,
    pub at: SocketAddr,
    server: Option<RunningServer>,
    folder: TempDir,
    peers: Vec<String>,
}

impl Node {
    /// A server that keeps its data in a folder of its own, and calls `peers`.
    pub async fn new(peers: &[SocketAddr]) -> Self {
        let folder = tempfile::Builder::new().prefix("hs-").tempdir_in("/tmp").unwrap();
        let peers: Vec<_> = peers.iter().map(ToString::to_string).collect();
        Self::start(folder, peers, SocketAddr::from(([127, 0, 0, 1], 0))).await
    }

    async fn start(folder: TempDir, peers: Vec<String>, at: SocketAddr) -> Self {
        let endpoint = Endpoint::Unix(folder.path().join("socket"));
        let config = Config {
            storage: Storage::Folder(folder.path().join("storage")),
            endpoint: Some(endpoint.clone()),
            listen: vec![at],
            peers: peers.clone(),
            ..Config::default()
        };
        let server = hyperspace::start(config).await.unwrap();
        let at = server.listening()[0];
        let client =
            HyperspaceClient::connect(hyperspace_client::Endpoint::Unix(folder.path().join("socket")))
                .await
                .unwrap();
        Self { client, at, server: Some(server), folder, peers }
    }

    pub async fn stop(mut self) -> Stopped {
        self.server.take().unwrap().shutdown().await.unwrap();
        Stopped { folder: self.folder, peers: self.peers, at: self.at }
    }

    pub async fn open(&self, target: OpenTarget) -> RemoteHypercore {
        self.client.corestore(None).open(target).await.unwrap()
    }

    /// The core of `other`, as it is known here.
    pub async fn same(&self, other: &RemoteHypercore) -> RemoteHypercore {
        self.open(OpenTarget::Key(other.key())).await
    }
}

/// A server that was stopped.
pub struct Stopped {
    folder: TempDir,
    peers: Vec<String>,
    at: SocketAddr,
}

impl Stopped {
    /// Starts it again, at the same address.
    pub async fn start(self) -> Node {
        Node::start(self.folder, self.peers, self.at).await
    }
}

/// Block `index` of a core of this test.
pub fn block(index: u64) -> Bytes {
    format!("block {index} {}", "x".repeat(index as usize % 300)).into()
}

/// Waits, at most [`LONG`].
pub async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LONG, work).await {
        Ok(done) => done,
        Err(_) => panic!("{what}: not within {LONG:?}"),
    }
}

/// Appends blocks `from..to`.
pub async fn append(core: &RemoteHypercore, from: u64, to: u64) {
    core.append((from..to).map(block).collect(), Some(from)).await.unwrap();
}

/// Returns when `core` is so long.
pub async fn grown(core: &RemoteHypercore, length: u64) {
    let mut events = core.events();
    while core.length() < length {
        events.recv().await.unwrap();
    }
}
