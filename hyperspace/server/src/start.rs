//! Starting a whole server: store, sessions and socket, in this process.

use crate::config::{self, Endpoint};
use crate::listen::{ListenError, Listener};
use crate::networker::Swarm;
use crate::peers::{Peers, Replicated, SwarmOptions};
use crate::store::swarm_keys;
use crate::{Bootstrap, Limits, OnClient, Options, Server};
use hypercore::replication::{Replication, ReplicationOptions};
use hypercore::{Corestore, StoreError, StoreOptions};
use hyperspace_api::{CoreError, Key};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// In the folder of the data: the nodes of the DHT that were known the last time.
const DHT_NODES: &str = "dht-nodes";

/// What server to start.
#[derive(Clone, Default)]
pub struct Config {
    /// Where the data is.
    pub storage: Storage,
    /// Where to listen; `None` for the default socket.
    pub endpoint: Option<Endpoint>,
    /// What one client may cost.
    pub limits: Limits,
    /// Never announce anything.
    pub no_announce: bool,
    /// Through which nodes the swarm is entered; by default, it is not.
    pub bootstrap: Bootstrap,
    /// The UDP port to prefer.
    pub network_port: Option<u16>,
    /// Relays to meet at with peers when there is no direct way.
    pub relays: Vec<Key>,
    /// Where peers may call; nowhere by default.
    pub listen: Vec<SocketAddr>,
    /// Peers to call, each `HOST:PORT`.
    pub peers: Vec<String>,
    /// Told when clients come and go.
    pub on_client: Option<OnClient>,
}

/// Where a server keeps its data.
#[derive(Clone, Debug)]
pub enum Storage {
    /// In this folder.
    Folder(PathBuf),
    /// Nowhere but in memory.
    Memory,
}

impl Default for Storage {
    fn default() -> Self {
        Self::Folder(config::default_storage())
    }
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It cannot listen.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Its storage is another's.
    #[error(
        "the storage in {} is already in use by another server; stop that one, or choose another folder with --storage",
        .0.display()
    )]
    StorageInUse(PathBuf),
    /// Its storage cannot be opened.
    #[error("cannot open the storage in {folder}")]
    Storage {
        /// Where it is.
        folder: Storage,
        /// What is wrong with it.
        source: StoreError,
    },
    /// Peers cannot call there.
    #[error("cannot listen for peers on {address}: {source}")]
    Peers {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The swarm cannot be entered.
    #[error("cannot enter the swarm: no UDP socket can be bound: {0}")]
    Swarm(io::Error),
    /// A peer cannot be called.
    #[error("{0}")]
    Peer(CoreError),
    /// Cores cannot be exchanged with peers.
    #[error("cannot replicate: {0}")]
    Replication(CoreError),
    /// Its own records cannot be read.
    #[error("cannot read what the server remembers: {0}")]
    Records(CoreError),
}

impl fmt::Display for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Memory => f.write_str("memory"),
        }
    }
}

/// A server that runs in this process. Dropping it stops it without waiting; see
/// [`RunningServer::shutdown`].
pub struct RunningServer {
    endpoint: Endpoint,
    listening: Vec<SocketAddr>,
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), CoreError>>>,
}

/// Starts a server; it accepts clients when this returns. Must be called within a
/// tokio runtime, which it then lives on.
pub async fn start(config: Config) -> Result<RunningServer, StartError> {
    // The socket first: it is what tells that another server is running.
    let endpoint = config.endpoint.clone().unwrap_or_else(|| Endpoint::Unix(config::socket_path(None)));
    let listener = Listener::bind(endpoint).await?;
    let store = open(config.storage.clone()).await?;
    let keys = swarm_keys(&store);
    let replication =
        Replication::new(&store, ReplicationOptions::default()).map_err(StartError::Replication)?;
    let peers = Arc::new(Peers::new(replication, keys));
    if let Some(bootstrap) = config.bootstrap.nodes() {
        let remember = match &config.storage {
            Storage::Folder(folder) => Some(folder.join(DHT_NODES)),
            Storage::Memory => None,
        };
        let relays = config.relays.clone();
        let options = SwarmOptions { bootstrap, remember, port: config.network_port, relays };
        peers.enter_swarm(options).await.map_err(StartError::Swarm)?;
    }
    let mut listening = Vec::new();
    for address in config.listen {
        match peers.listen(address).await {
            Ok(at) => listening.push(at),
            Err(source) => return Err(StartError::Peers { address, source }),
        }
    }
    for address in &config.peers {
        peers.add_peer(address).map_err(StartError::Peer)?;
    }
    let options = Options {
        limits: config.limits,
        no_announce: config.no_announce,
        on_client: config.on_client.clone(),
        swarm: Some(peers.clone()),
    };
    let store = Replicated::new(store, peers);
    let server = Server::new(store, options).await.map_err(StartError::Records)?;
    let stop = server.stop_token();
    let endpoint = listener.endpoint().clone();
    let task = tokio::spawn(async move {
        let accepted = server.accept(&listener).await;
        let closed = server.close().await;
        drop(listener);
        accepted.map_err(|error| CoreError::io("cannot start the server's threads", error)).and(closed)
    });
    Ok(RunningServer { endpoint, listening, stop, task: Some(task) })
}

async fn open(storage: Storage) -> Result<Corestore, StartError> {
    let place = storage.clone();
    let opening = tokio::task::spawn_blocking(move || match storage {
        Storage::Folder(folder) => Corestore::open(folder, StoreOptions::default()),
        Storage::Memory => Corestore::memory(),
    });
    let opened = match opening.await {
        Ok(opened) => opened,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    };
    opened.map_err(|source| match source {
        StoreError::InUse(folder) => StartError::StorageInUse(folder),
        source => StartError::Storage { folder: place, source },
    })
}

impl RunningServer {
    /// Where it listens.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Where peers may call.
    pub fn listening(&self) -> &[SocketAddr] {
        &self.listening
    }

    /// Stops it: ends all sessions, flushes, removes the socket. Returns when that is
    /// done.
    pub async fn shutdown(mut self) -> Result<(), CoreError> {
        self.stop.cancel();
        self.wait().await
    }

    /// Ready when the server has stopped, because a client asked it to.
    pub fn wait(&mut self) -> Pin<Box<dyn Future<Output = Result<(), CoreError>> + Send + '_>> {
        Box::pin(async {
            let Some(task) = &mut self.task else { return Ok(()) };
            let result = task.await;
            self.task = None;
            match result {
                Ok(result) => result,
                Err(error) => Err(CoreError::Invalid(format!("the server failed: {error}"))),
            }
        })
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
