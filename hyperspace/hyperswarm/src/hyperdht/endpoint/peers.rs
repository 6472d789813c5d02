//! Connections to peers: servers that wait for them, and dials.

use super::super::connect::{DialError, Dialing, ListenOptions};
use super::super::driver::{Accepts, Dropped, Reply, Request};
use super::super::signing::target_of;
use super::{DhtError, Endpoint, Handle};
use crate::connection::{self, Connection, ConnectionError};
use crate::dht::Id;
use crate::key_pair::{KeyPair, PublicKey};
use crate::secret_stream::Opening;
use crate::udx::{Config, UdxSocket, UdxStream};
use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// How to dial.
#[derive(Clone, Debug)]
pub struct DialOptions {
    /// Who dials.
    pub pair: KeyPair,
    /// Nodes that may pass on to the peer, if some are known.
    pub relay_addresses: Vec<SocketAddrV4>,
    /// A third peer at which to meet until there is a direct way.
    pub relay_through: Option<PublicKey>,
    /// Try to meet in a private network?
    pub local_connection: bool,
    /// Open our firewall for the peer before it is asked whether that is of use?
    pub fast_open: bool,
    /// Try to get through firewalls?
    pub holepunch: bool,
    /// Notified when the peer has answered and is not reached yet: it is there, and what
    /// follows, which may take half a minute, is about what stands between us.
    pub answered: Option<Arc<Notify>>,
}

impl DialOptions {
    /// As usual.
    pub fn new(pair: &KeyPair) -> Self {
        Self {
            pair: pair.clone(),
            relay_addresses: Vec::new(),
            relay_through: None,
            local_connection: true,
            fast_open: true,
            holepunch: true,
            answered: None,
        }
    }
}

/// A way to a peer that has proved its key: a stream that is connected, and the keys with
/// which it is to be encrypted.
pub struct Dialed {
    /// Who.
    pub remote_public_key: PublicKey,
    /// The stream.
    pub stream: UdxStream,
    /// The socket of ours by which it goes.
    pub socket: UdxSocket,
    /// What was agreed on.
    pub opening: Opening,
    /// Where it is.
    pub remote_address: SocketAddr,
    /// Where it can be found the next time, if we dialled.
    pub relay_addresses: Vec<SocketAddrV4>,
    /// Did we dial?
    pub is_initiator: bool,
    /// Does it lead over a third peer, for now?
    pub is_relayed: bool,
}

impl Dialed {
    /// Makes a connection of it. That waits until something of the peer has come.
    pub async fn connect(self, options: connection::Options) -> Result<Connection, ConnectionError> {
        Connection::open_with(self.stream, self.opening, options).await
    }
}

impl fmt::Debug for Dialed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialed")
            .field("stream", &self.stream)
            .field("remote_address", &self.remote_address)
            .field("is_initiator", &self.is_initiator)
            .field("is_relayed", &self.is_relayed)
            .finish_non_exhaustive()
    }
}

/// Waits for those who dial a key. Dropped, it is closed in the background.
pub struct Server {
    id: Id,
    accepts: Accepts,
    requests: mpsc::Sender<Request>,
    dropped: mpsc::UnboundedSender<Dropped>,
    closed: bool,
}

impl Server {
    /// The next peer. None when the server or its node is closed. Those that nobody takes
    /// wait, at most 128 of them.
    pub async fn accept(&mut self) -> Option<Dialed> {
        self.accepts.accepted.recv().await
    }

    /// Where it is found: to be told with the topics that it announces.
    pub fn relay_addresses(&self) -> Vec<SocketAddrV4> {
        self.accepts.announced.borrow().clone().unwrap_or_default()
    }

    /// The same, as it changes. `None`, until it has announced itself.
    pub(crate) fn watch_relay_addresses(&self) -> watch::Receiver<Option<Vec<SocketAddrV4>>> {
        self.accepts.announced.clone()
    }

    /// Waits until it has announced itself, or has found nobody to whom it could. It goes on
    /// trying.
    pub fn announced(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut announced = self.accepts.announced.clone();
        async move {
            // If it is no more, there is nothing to wait for.
            let _ = announced.wait_for(Option::is_some).await;
        }
    }

    /// Takes back what it has announced.
    pub async fn close(mut self) {
        self.closed = true;
        let (done, wait) = oneshot::channel();
        if self.requests.send(Request::Unlisten { server: self.id, done }).await.is_ok() {
            let _ = wait.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !self.closed {
            // If the node is no more, nor is it.
            let _ = self.dropped.send(Dropped::Server(self.id));
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("relay_addresses", &self.relay_addresses()).finish_non_exhaustive()
    }
}

/// Ends a dial that nobody waits for any more.
struct Waiting<'a> {
    dropped: &'a mpsc::UnboundedSender<Dropped>,
    stream: Option<u32>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(stream) = self.stream {
            let _ = self.dropped.send(Dropped::Dial(stream));
        }
    }
}

impl Endpoint {
    /// Waits for peers who dial this key, and from now on announces that.
    pub async fn listen(&self, pair: &KeyPair, options: ListenOptions) -> Result<Server, DhtError> {
        let (reply, accepts) = oneshot::channel();
        self.request(Request::Listen { pair: pair.clone(), options, reply }).await?;
        let accepts = accepts.await.map_err(|_| DhtError::Closed)?.ok_or(DhtError::AlreadyListening)?;
        Ok(Server {
            id: target_of(&pair.public_key()),
            accepts,
            requests: self.inner.handle.requests.clone(),
            dropped: self.inner.handle.dropped.clone(),
            closed: false,
        })
    }

    /// Finds the holder of a key, and a way to it. Dropped, it is given up.
    ///
    /// That the handshake is done proves who the peer is; that the way leads there is known
    /// only when something has come by it.
    pub async fn dial(&self, key: &PublicKey, options: DialOptions) -> Result<Dialed, DialError> {
        self.inner.handle.dial(key, options).await
    }
}

impl Handle {
    pub(in super::super) async fn dial(
        &self,
        key: &PublicKey,
        options: DialOptions,
    ) -> Result<Dialed, DialError> {
        let DialOptions {
            pair,
            relay_addresses,
            relay_through,
            local_connection,
            fast_open,
            holepunch,
            answered,
        } = options;
        let stream = self.udx.stream(Config::default()).map_err(|_| DialError::NoResources)?;
        let id = stream.id();
        let dialing = Box::new(Dialing {
            stream: id,
            key: *key,
            pair,
            relay_addresses,
            relay_through,
            local_connection,
            fast_open,
            holepunch,
        });
        let (reply, dialed) = oneshot::channel();
        let reply = Reply { dialed: reply, answered };
        let mut waiting = Waiting { dropped: &self.dropped, stream: None };
        let request = Request::Dial { stream, dialing, reply };
        self.requests.send(request).await.map_err(|_| DialError::Closed)?;
        waiting.stream = Some(id);
        let dialed = dialed.await.unwrap_or(Err(DialError::Closed));
        waiting.stream = None;
        dialed
    }
}
