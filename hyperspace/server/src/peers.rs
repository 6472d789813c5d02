//! Whom we are connected with: peers by their address, over plain TCP, which is how a LAN or
//! a server peer is pinned; and peers that the swarm finds.
//!
//! [`Peers`] listens, calls the addresses it was given, again and again as long as they do
//! not answer, and joins topics of the swarm. Every connection is a secret stream; on it all
//! cores of the store are replicated, those that the peer asks for and we hold included. Two
//! peers have one connection, whoever called whom.
//!
//! | file | what |
//! |---|---|
//! | `bees` | answers to who looks something up in a bee |
//! | `extensions` | messages of programs, beside the cores |
//! | `in_swarm` | peers that the swarm finds |
//! | `link` | replication's view of a connection |
//! | `connection` | one connection, from handshake to end |
//! | `following` | cores that peers are asked for |
//! | `registry` | who is connected: one connection a peer |
//! | `replicated` | a store, as the server uses it, whose cores peers are asked for |
//! | `tcp` | listening, and calling |
//! | `tries` | answers to who looks something up in a trie |
//!
//! # Bounds
//! [`MAX_CONNECTIONS`] connections at a time, handshakes included; more callers are turned
//! away. [`MAX_ADDRESSES`] addresses to call.

mod bees;
mod connection;
mod extensions;
mod following;
mod in_swarm;
mod link;
mod registry;
mod replicated;
mod tcp;
mod tries;

pub use replicated::Replicated;

use crate::extensions::ExtensionEnd;
use crate::networker::{ConnectionInfo, DhtInfo, Nat, PeerAddress, Presence, Swarm, SwarmEvent};
use extensions::NetworkExtensions;
use following::Following;
use hypercore::replication::{Expected, Replication};
use hyperspace_api::{CoreError, DiscoveryKey, Key, Peer};
use hyperswarm::KeyPair;
use hyperswarm::dht::bootstrap::BootstrapNode;
use in_swarm::InSwarm;
use parking_lot::Mutex;
use registry::Registry;
use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;
use tcp::Called;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at a time.
pub const MAX_CONNECTIONS: usize = 1024;
/// Addresses that are called.
pub const MAX_ADDRESSES: usize = 1024;
/// Somebody who was found, or whose address was given, is dialled: what only peers have is
/// waited for so long for him to answer. A peer who is gone, and still announced, never does.
const ANSWER: Duration = Duration::from_secs(4);
/// So long after a connection was lost, the peer may be back when it is dialled again:
/// what only peers have is waited for.
const RETURN: Duration = Duration::from_secs(10);
/// The longest address, in bytes: a host name has at most 253.
const MAX_ADDRESS: usize = 300;

/// See the module's text. Dropped, it hangs up.
pub struct Peers {
    inner: Arc<Inner>,
}

struct Inner {
    replication: Replication,
    keys: KeyPair,
    registry: Registry,
    extensions: Arc<NetworkExtensions>,
    called: Mutex<BTreeMap<String, Called>>,
    places: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// While an address that is called may be reached soon.
    hope: Mutex<Option<Expected>>,
    following: Following,
    /// Nothing if we are not in the swarm.
    in_swarm: OnceLock<InSwarm>,
}

/// How the swarm is entered.
#[derive(Clone, Debug, Default)]
pub struct SwarmOptions {
    /// Through which nodes.
    pub bootstrap: Vec<BootstrapNode>,
    /// A file in which nodes are remembered for the next start.
    pub remember: Option<PathBuf>,
    /// The UDP port to prefer.
    pub port: Option<u16>,
    /// Relays to meet at with peers when there is no direct way.
    pub relays: Vec<Key>,
}

impl Peers {
    /// Nobody yet. `keys` is who we are. Must be called within a tokio runtime.
    pub fn new(replication: Replication, keys: KeyPair) -> Self {
        bees::answer(&replication);
        tries::answer(&replication);
        let inner = Arc::new(Inner {
            replication,
            keys,
            registry: Registry::default(),
            extensions: Arc::default(),
            called: Mutex::default(),
            places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            hope: Mutex::default(),
            following: Following::default(),
            in_swarm: OnceLock::new(),
        });
        let scout: Weak<Inner> = Arc::downgrade(&inner);
        inner.replication.set_scout(scout);
        Self { inner }
    }

    /// Takes calls at `address`; the answer is where exactly.
    pub async fn listen(&self, address: SocketAddr) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let at = listener.local_addr()?;
        let inner = self.inner.clone();
        let stop = inner.stop.clone();
        self.inner.tasks.spawn(stop.run_until_cancelled_owned(async move { inner.accept(listener).await }));
        Ok(at)
    }

    /// Enters the swarm. Nobody is waited for. To be called once, before anything else.
    pub async fn enter_swarm(&self, options: SwarmOptions) -> io::Result<()> {
        let in_swarm = InSwarm::enter(&self.inner, options).await?;
        if self.inner.in_swarm.set(in_swarm).is_err() {
            return Err(io::Error::other("this is in the swarm already"));
        }
        Ok(())
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.inner.stop.cancel();
    }
}

/// `HOST:PORT`, with a port.
fn check_address(address: &str) -> Result<(), CoreError> {
    let port = address.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse());
    match port {
        Some(Ok(1u16..)) if address.len() <= MAX_ADDRESS => Ok(()),
        _ => Err(CoreError::Invalid(format!(
            "'{}' is no address of a peer: HOST:PORT is expected",
            address.chars().take(MAX_ADDRESS).collect::<String>().escape_debug()
        ))),
    }
}

impl Swarm for Peers {
    fn set(&self, topic: DiscoveryKey, presence: Presence) {
        if let Some(in_swarm) = self.inner.in_swarm.get() {
            in_swarm.set(topic, presence);
            if presence.lookup {
                self.inner.look_anew(topic, in_swarm);
            }
        }
    }

    fn flushed(&self, topic: DiscoveryKey) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(self.inner.clone().looked_for(topic))
    }

    fn peers(&self) -> Vec<Peer> {
        self.inner.registry.peers()
    }

    fn events(&self) -> broadcast::Receiver<SwarmEvent> {
        self.inner.registry.events()
    }

    fn remote_address(&self) -> Option<String> {
        self.dht()?.remote_address.map(|address| address.to_string())
    }

    fn holepunchable(&self) -> Option<bool> {
        match self.dht()?.nat {
            Nat::Open | Nat::Consistent => Some(true),
            Nat::Random => Some(false),
            Nat::Unknown => None,
        }
    }

    fn dht(&self) -> Option<DhtInfo> {
        self.inner.in_swarm.get().map(InSwarm::dht)
    }

    fn connections(&self) -> Vec<ConnectionInfo> {
        self.inner.registry.connections()
    }

    fn found(&self) -> Pin<Box<dyn Future<Output = HashMap<Key, Vec<DiscoveryKey>>> + Send>> {
        match self.inner.in_swarm.get() {
            Some(in_swarm) => Box::pin(in_swarm.found()),
            None => Box::pin(std::future::ready(HashMap::new())),
        }
    }

    fn add_peer(&self, address: &str) -> Result<(), CoreError> {
        check_address(address)?;
        self.inner.clone().call(address)
    }

    fn remove_peer(&self, address: &str) -> bool {
        let removed = self.inner.called.lock().remove(address).is_some();
        self.inner.look_for_hope();
        removed
    }

    fn extension(&self, name: &str) -> Result<Box<dyn ExtensionEnd>, CoreError> {
        self.inner.extensions.register(name)
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            self.inner.stop.cancel();
            self.inner.tasks.close();
            self.inner.tasks.wait().await;
        })
    }

    fn peer_addresses(&self) -> Vec<PeerAddress> {
        let called = self.inner.called.lock();
        called.iter().map(|(address, called)| called.describe(address)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for good in ["localhost:1", "10.0.0.1:65535", "[::1]:80", "a.example.org:3282"] {
            assert!(check_address(good).is_ok(), "{good}");
        }
        let long = format!("{}:1", "a".repeat(MAX_ADDRESS));
        for bad in ["", "localhost", ":80", "localhost:", "localhost:0", "localhost:65536", "a:-1", &long] {
            assert!(check_address(bad).is_err(), "{bad}");
        }
    }
}
