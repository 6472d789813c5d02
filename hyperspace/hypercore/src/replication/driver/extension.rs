//! Messages between those who use a core and those who use it elsewhere, which are none of
//! hypercore's business.

use super::channel::Channel;
use super::core::ReplicatedCore;
use crate::core::LocalCore;
use crate::replication::wire::{MAX_EXTENSION_NAME, Message};
use bytes::Bytes;
use hyperspace_api::{CoreError, Key, Peer};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Messages that wait to be received; more are dropped.
const WAITING: usize = 256;

/// The largest message: a frame of the transport has to hold it.
const MAX_PAYLOAD: usize = (16 << 20) - 1024;

/// Who is given an extension's messages.
pub(crate) struct Registered {
    to: mpsc::Sender<(Peer, Bytes)>,
    dropped: Arc<AtomicU64>,
}

impl Registered {
    pub(super) fn receive(&self, peer: Peer, payload: Bytes) {
        // A small message must not keep the memory of a large frame.
        let payload = if payload.len() < 4096 { Bytes::copy_from_slice(&payload) } else { payload };
        if self.to.try_send((peer, payload)).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Answers what peers ask by an extension, of whatever core: there is nothing to register
/// with each.
pub trait Answerer: Send + Sync + 'static {
    /// A peer has sent something about `core`. Must return at once.
    fn asked(&self, core: &LocalCore, payload: Bytes, reply: Reply);
}

/// The way back to who has asked.
pub struct Reply {
    channel: Arc<Channel>,
    name: String,
}

impl Reply {
    pub(super) fn new(channel: Arc<Channel>, name: &str) -> Self {
        Self { channel, name: name.to_owned() }
    }

    /// Who has asked.
    pub fn peer(&self) -> Peer {
        self.channel.remote()
    }

    /// Sends a message back. `false` if the peer is gone, or has too much to read already.
    pub fn send(&self, payload: impl Into<Bytes>) -> bool {
        let payload = payload.into();
        let message = Message::Extension { name: self.name.clone(), payload };
        !self.channel.connection.link.is_full() && self.channel.send(&message)
    }
}

/// An extension of one core: sends to those peers of the core who have registered the same
/// name, and receives from them. Dropped, it is no longer registered.
///
/// Payloads are as they are sent. (npm hypercore, for an extension without an encoding of its
/// own, puts the length in front, as [`Writer::buffer`](crate::encoding::Writer::buffer).)
pub struct Extension {
    core: Arc<ReplicatedCore>,
    name: String,
    from: mpsc::Receiver<(Peer, Bytes)>,
    dropped: Arc<AtomicU64>,
}

impl Extension {
    pub(super) fn register(core: Arc<ReplicatedCore>, name: &str) -> Result<Self, CoreError> {
        if name.is_empty() || name.len() > MAX_EXTENSION_NAME {
            return Err(CoreError::Invalid(format!("a name has 1 to {MAX_EXTENSION_NAME} bytes")));
        }
        let (to, from) = mpsc::channel(WAITING);
        let dropped = Arc::new(AtomicU64::new(0));
        {
            let mut extensions = core.extensions.lock();
            if extensions.contains_key(name) {
                return Err(CoreError::Invalid(format!("extension {name} is registered already")));
            }
            extensions.insert(name.to_owned(), Registered { to, dropped: dropped.clone() });
        }
        Ok(Self { core, name: name.to_owned(), from, dropped })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The next message, and from whom.
    pub async fn receive(&mut self) -> Option<(Peer, Bytes)> {
        self.from.recv().await
    }

    /// How many messages came when too many waited already.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Sends a message to the peer of that public key, on all its connections. Gives on how many: none if it is
    /// gone, or has too much to read already.
    pub fn send(&self, peer: Key, payload: impl Into<Bytes>) -> Result<usize, CoreError> {
        self.send_to(payload.into(), |other| other.remote_public_key == peer)
    }

    /// Sends a message to all peers; gives how many it went to.
    pub fn broadcast(&self, payload: impl Into<Bytes>) -> Result<usize, CoreError> {
        self.send_to(payload.into(), |_| true)
    }

    fn send_to(&self, payload: Bytes, to: impl Fn(&Peer) -> bool) -> Result<usize, CoreError> {
        if payload.len() > MAX_PAYLOAD {
            return Err(CoreError::Invalid("the message is too large".into()));
        }
        let peers: Vec<_> = self.core.peers.lock().values().cloned().collect();
        let message = Message::Extension { name: self.name.clone(), payload };
        let sent = peers.iter().filter(|channel| {
            to(&channel.remote()) && !channel.connection.link.is_full() && channel.send(&message)
        });
        Ok(sent.count())
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        self.core.extensions.lock().remove(&self.name);
        self.core.changed();
    }
}
