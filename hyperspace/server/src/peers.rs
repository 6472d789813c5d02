//! Peers by their address: plain TCP, which is how a LAN or a server peer is pinned.
//!
//! [`Peers`] listens, and calls the addresses it was given, again and again as long as they
//! do not answer. Every connection is a secret stream; on it all cores of the store are
//! replicated, those that the peer asks for and we hold included. Two peers have one
//! connection, whoever called whom.
//!
//! | file | what |
//! |---|---|
//! | `bees` | answers to who looks something up in a bee |
//! | `extensions` | messages of programs, beside the cores |
//! | `link` | replication's view of a connection |
//! | `connection` | one connection, from handshake to end |
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
mod link;
mod registry;
mod replicated;
mod tcp;
mod tries;

pub use replicated::Replicated;

use crate::extensions::ExtensionEnd;
use crate::networker::{PeerAddress, Presence, Swarm, SwarmEvent};
use extensions::NetworkExtensions;
use hypercore::LocalCore;
use hypercore::replication::{Followed, Replication};
use hyperspace_api::{CoreError, DiscoveryKey, Peer};
use hyperswarm::KeyPair;
use parking_lot::Mutex;
use registry::Registry;
use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use tcp::Called;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at a time.
pub const MAX_CONNECTIONS: usize = 1024;
/// Addresses that are called.
pub const MAX_ADDRESSES: usize = 1024;
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
}

impl Peers {
    /// Nobody yet. `keys` is who we are. Must be called within a tokio runtime.
    pub fn new(replication: Replication, keys: KeyPair) -> Self {
        bees::answer(&replication);
        tries::answer(&replication);
        Self {
            inner: Arc::new(Inner {
                replication,
                keys,
                registry: Registry::default(),
                extensions: Arc::default(),
                called: Mutex::default(),
                places: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
                stop: CancellationToken::new(),
                tasks: TaskTracker::new(),
            }),
        }
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

    /// Asks all peers for `core`, as long as the guard lives.
    fn follow(&self, core: &LocalCore) -> Followed {
        self.inner.replication.follow(core)
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
    // Whom we are connected with does not depend on topics.
    fn set(&self, _: DiscoveryKey, _: Presence) {}

    fn flushed(&self, _: DiscoveryKey) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let inner = self.inner.clone();
        Box::pin(async move { inner.first_calls().await })
    }

    fn peers(&self) -> Vec<Peer> {
        self.inner.registry.peers()
    }

    fn events(&self) -> broadcast::Receiver<SwarmEvent> {
        self.inner.registry.events()
    }

    fn remote_address(&self) -> Option<String> {
        None
    }

    fn holepunchable(&self) -> Option<bool> {
        None
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
