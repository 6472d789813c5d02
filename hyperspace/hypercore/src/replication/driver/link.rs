//! What replication needs of a connection to a peer.

use super::channel::Channel;
use bytes::Bytes;
use hyperspace_api::{DiscoveryKey, Key, Peer};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;

/// Sends on a connection that has channels (a secret stream with protomux on it): opens
/// channels of the protocol [`PROTOCOL`](crate::replication::wire::PROTOCOL) for discovery
/// keys, sends messages on them, closes them. What the peer does is told to
/// [`Attached`](super::Attached).
///
/// Nothing of it may block, but [`ready`](Self::ready); it is called from any thread. On a
/// connection that is over, nothing happens.
pub trait Link: Send + Sync + 'static {
    /// Names a channel.
    type Channel: Copy + Eq + Hash + Send + Sync + 'static;

    /// Opens a channel; or, if the peer has opened one for that discovery key, that. It may be
    /// sent on at once. `None` if that cannot be.
    fn open(&self, discovery_key: &DiscoveryKey, handshake: Bytes) -> Option<Self::Channel>;

    /// Rejects a channel that the peer has opened.
    fn refuse(&self, discovery_key: &DiscoveryKey);

    /// Queues a message whose body is the parts, one behind the other. `false` if it cannot be
    /// sent any more.
    fn send(&self, channel: Self::Channel, kind: u32, parts: &[Bytes]) -> bool;

    /// Closes a channel.
    fn close(&self, channel: Self::Channel);

    /// Does so much wait to be sent that nothing large should be added? A megabyte is enough
    /// to keep any line busy.
    fn is_full(&self) -> bool;

    /// Returns when that is no longer so, or the connection is over.
    fn ready(&self) -> impl Future<Output = ()> + Send;

    /// Ends the connection: the peer does not keep to the protocol.
    fn give_up(&self, reason: &str);

    /// Runs `sends`, holding back what it sends, so that it goes in as few frames as it can.
    fn corked(&self, sends: &mut dyn FnMut()) {
        sends();
    }
}

/// Whom a connection leads to.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// The key that the peer has proved to hold.
    pub remote_public_key: Key,
    /// Its address, for people to read.
    pub remote_address: String,
    /// The transport: `tcp`, `utp` or `udx`.
    pub kind: String,
    /// The Noise handshake's hash, the same on both sides.
    pub handshake_hash: [u8; 64],
    /// Did we open the connection?
    pub is_initiator: bool,
}

impl ConnectionInfo {
    pub(super) fn peer(&self) -> Peer {
        Peer {
            remote_public_key: self.remote_public_key,
            remote_address: self.remote_address.clone(),
            kind: self.kind.clone(),
        }
    }
}

/// A [`Link`], whatever its channels are called.
pub(super) trait AnyLink: Send + Sync {
    fn open(&self, key: &DiscoveryKey, handshake: Bytes, channel: &Arc<Channel>) -> bool;
    fn refuse(&self, key: &DiscoveryKey);
    fn send(&self, channel: &Channel, kind: u32, parts: &[Bytes]) -> bool;
    fn close(&self, channel: &Channel);
    fn is_full(&self) -> bool;
    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
    fn give_up(&self, reason: &str);
    fn corked(&self, sends: &mut dyn FnMut());
}

/// A link, and what its channels are to us.
pub(super) struct Named<L: Link> {
    pub(super) link: L,
    names: Mutex<Names<L::Channel>>,
}

struct Names<C> {
    channels: HashMap<C, Arc<Channel>>,
    /// By our own number of the peer.
    own: HashMap<u64, C>,
}

impl<L: Link> Named<L> {
    pub(super) fn new(link: L) -> Self {
        Self { link, names: Mutex::new(Names { channels: HashMap::new(), own: HashMap::new() }) }
    }

    /// The channel of that name.
    pub(super) fn channel(&self, name: L::Channel) -> Option<Arc<Channel>> {
        self.names.lock().channels.get(&name).cloned()
    }

    /// Forgets a channel.
    pub(super) fn take(&self, name: L::Channel) -> Option<Arc<Channel>> {
        let mut names = self.names.lock();
        let channel = names.channels.remove(&name)?;
        names.own.remove(&channel.peer);
        Some(channel)
    }

    /// Forgets all.
    pub(super) fn take_all(&self) -> Vec<Arc<Channel>> {
        let mut names = self.names.lock();
        names.own.clear();
        names.channels.drain().map(|(_, channel)| channel).collect()
    }

    fn name(&self, channel: &Channel) -> Option<L::Channel> {
        self.names.lock().own.get(&channel.peer).copied()
    }
}

impl<L: Link> AnyLink for Named<L> {
    fn open(&self, key: &DiscoveryKey, handshake: Bytes, channel: &Arc<Channel>) -> bool {
        // Locked for the whole time, so that the peer's answer does not come too early.
        let mut names = self.names.lock();
        let Some(name) = self.link.open(key, handshake) else { return false };
        names.channels.insert(name, channel.clone());
        names.own.insert(channel.peer, name);
        true
    }

    fn refuse(&self, key: &DiscoveryKey) {
        self.link.refuse(key);
    }

    fn send(&self, channel: &Channel, kind: u32, parts: &[Bytes]) -> bool {
        self.name(channel).is_some_and(|name| self.link.send(name, kind, parts))
    }

    fn close(&self, channel: &Channel) {
        let name = {
            let mut names = self.names.lock();
            let name = names.own.remove(&channel.peer);
            name.inspect(|name| drop(names.channels.remove(name)))
        };
        if let Some(name) = name {
            self.link.close(name);
        }
    }

    fn is_full(&self) -> bool {
        self.link.is_full()
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.link.ready())
    }

    fn give_up(&self, reason: &str) {
        self.link.give_up(reason);
    }

    fn corked(&self, sends: &mut dyn FnMut()) {
        self.link.corked(sends);
    }
}
