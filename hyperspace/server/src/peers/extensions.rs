//! Extensions of the network: a channel for each on every connection, if both sides have
//! registered it.
//!
//! Locks: what is registered, then the channels of one connection. Whether a message is an
//! extension's is asked for every message of a connection, and takes only the second.

use crate::extensions::{ExtensionEnd, Receiving};
use bytes::Bytes;
use hyperspace_api::{CoreError, Key, Peer};
use hyperswarm::Sender;
use hyperswarm::protomux::ChannelId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// The protocol of the channels; the id is the extension's name, the only message its
/// payload.
pub(super) const PROTOCOL: &str = "hyperspace/extension";

/// Bytes of a name.
const MAX_NAME: usize = 256;
/// Bytes of a payload: less than a frame of the transport holds.
const MAX_PAYLOAD: usize = 8 << 20;
/// Messages that wait to be received; more are dropped.
const WAITING: usize = 256;

/// What is registered, and with whom.
#[derive(Default)]
pub(super) struct NetworkExtensions {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    registered: HashMap<String, mpsc::Sender<(Peer, Bytes)>>,
    connections: HashMap<u64, Arc<OnConnection>>,
    last: u64,
}

/// The extensions on one connection.
struct OnConnection {
    peer: Peer,
    sender: Sender,
    channels: Mutex<HashMap<ChannelId, Channel>>,
}

struct Channel {
    name: String,
    /// Where its messages go.
    to: mpsc::Sender<(Peer, Bytes)>,
    /// Do both sides have it?
    open: bool,
}

/// A connection's part in it, until it is dropped.
pub(super) struct Joined {
    extensions: Arc<NetworkExtensions>,
    number: u64,
    on: Arc<OnConnection>,
}

impl NetworkExtensions {
    /// A connection is open: all that is registered is offered on it.
    pub(super) fn join(self: &Arc<Self>, peer: Peer, sender: Sender) -> Joined {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        let on = Arc::new(OnConnection { peer, sender, channels: Mutex::default() });
        state.registered.iter().for_each(|(name, to)| on.offer(name, to));
        state.connections.insert(number, on.clone());
        Joined { extensions: self.clone(), number, on }
    }

    /// Registers an extension with all peers.
    pub(super) fn register(self: &Arc<Self>, name: &str) -> Result<Box<dyn ExtensionEnd>, CoreError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(CoreError::Invalid(format!("An extension's name has 1 to {MAX_NAME} bytes")));
        }
        let mut state = self.state.lock();
        let (to, from) = mpsc::channel(WAITING);
        state.connections.values().for_each(|on| on.offer(name, &to));
        state.registered.insert(name.to_owned(), to);
        Ok(Box::new(End { extensions: self.clone(), name: name.to_owned(), from }))
    }
}

impl OnConnection {
    fn offer(&self, name: &str, to: &mpsc::Sender<(Peer, Bytes)>) {
        // Locked for the whole time, so that the peer's answer does not come too early.
        let mut channels = self.channels.lock();
        if !channels.values().any(|channel| channel.name == name)
            && let Ok(id) = self.sender.open(PROTOCOL, name.as_bytes(), Bytes::new())
        {
            channels.insert(id, Channel { name: name.to_owned(), to: to.clone(), open: false });
        }
    }
}

impl Joined {
    /// The peer offers an extension.
    pub(super) fn requested(&self, id: &[u8]) {
        let state = self.extensions.state.lock();
        let name = std::str::from_utf8(id).ok();
        match name.and_then(|name| Some((name, state.registered.get(name)?))) {
            Some((name, to)) => self.on.offer(name, to),
            None => self.on.sender.refuse(PROTOCOL, id),
        }
    }

    /// Is it one of these channels, and now open on both sides?
    pub(super) fn opened(&self, channel: ChannelId) -> bool {
        self.on.channels.lock().get_mut(&channel).map(|channel| channel.open = true).is_some()
    }

    /// If it is one of these channels: a message.
    pub(super) fn message(&self, channel: ChannelId, payload: &Bytes) -> bool {
        let channels = self.on.channels.lock();
        let Some(Channel { name, to, .. }) = channels.get(&channel) else { return false };
        if payload.len() <= MAX_PAYLOAD
            // It is not for us to slow a connection down for its sake.
            && to.try_send((self.on.peer.clone(), Bytes::copy_from_slice(payload))).is_err()
        {
            tracing::debug!(name, "a message of an extension was dropped: nobody reads them");
        }
        true
    }

    /// If it is one of these channels: it is closed.
    pub(super) fn closed(&self, channel: ChannelId) -> bool {
        self.on.channels.lock().remove(&channel).is_some()
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.extensions.state.lock().connections.remove(&self.number);
    }
}

struct End {
    extensions: Arc<NetworkExtensions>,
    name: String,
    from: mpsc::Receiver<(Peer, Bytes)>,
}

impl ExtensionEnd for End {
    fn receive(&mut self) -> Receiving<'_> {
        Box::pin(self.from.recv())
    }

    fn send(&self, to: Option<Key>, payload: Bytes) {
        let state = self.extensions.state.lock();
        let wanted = |on: &&Arc<OnConnection>| to.is_none_or(|to| on.peer.remote_public_key == to);
        for on in state.connections.values().filter(wanted) {
            let channels = on.channels.lock();
            let ours = channels.iter().find(|(_, channel)| channel.open && channel.name == self.name);
            if let Some((id, _)) = ours
                && let Err(error) = on.sender.send(*id, 0, payload.clone())
            {
                tracing::debug!(name = self.name, %error, "a message of an extension was not sent");
            }
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut state = self.extensions.state.lock();
        state.registered.remove(&self.name);
        for on in state.connections.values() {
            on.channels.lock().retain(|id, channel| {
                let ours = channel.name == self.name;
                if ours {
                    on.sender.close_channel(*id);
                }
                !ours
            });
        }
    }
}
