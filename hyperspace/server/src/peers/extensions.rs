//! Extensions of the network: a channel for each on every connection, if both sides have
//! registered it.

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
    connections: HashMap<u64, OnConnection>,
    last: u64,
}

/// The extensions on one connection.
struct OnConnection {
    peer: Peer,
    sender: Sender,
    /// By name; with whether both sides have it.
    channels: HashMap<String, (ChannelId, bool)>,
}

/// A connection's part in it, until it is dropped.
pub(super) struct Joined {
    extensions: Arc<NetworkExtensions>,
    number: u64,
}

impl NetworkExtensions {
    /// A connection is open: all that is registered is offered on it.
    pub(super) fn join(self: &Arc<Self>, peer: Peer, sender: Sender) -> Joined {
        let mut state = self.state.lock();
        state.last += 1;
        let number = state.last;
        let mut on = OnConnection { peer, sender, channels: HashMap::new() };
        state.registered.keys().for_each(|name| on.offer(name));
        state.connections.insert(number, on);
        Joined { extensions: self.clone(), number }
    }

    /// Registers an extension with all peers.
    pub(super) fn register(self: &Arc<Self>, name: &str) -> Result<Box<dyn ExtensionEnd>, CoreError> {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(CoreError::Invalid(format!("An extension's name has 1 to {MAX_NAME} bytes")));
        }
        let mut state = self.state.lock();
        let (to, from) = mpsc::channel(WAITING);
        state.registered.insert(name.to_owned(), to);
        state.connections.values_mut().for_each(|on| on.offer(name));
        Ok(Box::new(End { extensions: self.clone(), name: name.to_owned(), from }))
    }
}

impl OnConnection {
    fn offer(&mut self, name: &str) {
        if !self.channels.contains_key(name)
            && let Ok(channel) = self.sender.open(PROTOCOL, name.as_bytes(), Bytes::new())
        {
            self.channels.insert(name.to_owned(), (channel, false));
        }
    }
}

impl Joined {
    /// The peer offers an extension.
    pub(super) fn requested(&self, id: &[u8]) {
        let mut state = self.extensions.state.lock();
        let State { registered, connections, .. } = &mut *state;
        let Some(on) = connections.get_mut(&self.number) else { return };
        match std::str::from_utf8(id) {
            Ok(name) if registered.contains_key(name) => on.offer(name),
            _ => on.sender.refuse(PROTOCOL, id),
        }
    }

    /// Is it one of these channels, and now open on both sides?
    pub(super) fn opened(&self, channel: ChannelId) -> bool {
        let mut state = self.extensions.state.lock();
        let channels = state.connections.get_mut(&self.number).map(|on| on.channels.values_mut());
        let found = channels.into_iter().flatten().find(|(known, _)| *known == channel);
        found.map(|(_, open)| *open = true).is_some()
    }

    /// If it is one of these channels: a message.
    pub(super) fn message(&self, channel: ChannelId, payload: &Bytes) -> bool {
        let state = self.extensions.state.lock();
        let Some(on) = state.connections.get(&self.number) else { return false };
        let Some((name, _)) = on.channels.iter().find(|(_, (known, _))| *known == channel) else {
            return false;
        };
        if let Some(to) = state.registered.get(name)
            && payload.len() <= MAX_PAYLOAD
            // It is not for us to slow a connection down for its sake.
            && to.try_send((on.peer.clone(), Bytes::copy_from_slice(payload))).is_err()
        {
            tracing::debug!(name, "a message of an extension was dropped: nobody reads them");
        }
        true
    }

    /// If it is one of these channels: it is closed.
    pub(super) fn closed(&self, channel: ChannelId) -> bool {
        let mut state = self.extensions.state.lock();
        let Some(on) = state.connections.get_mut(&self.number) else { return false };
        let before = on.channels.len();
        on.channels.retain(|_, (known, _)| *known != channel);
        on.channels.len() < before
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
        let wanted = |on: &&OnConnection| to.is_none_or(|to| on.peer.remote_public_key == to);
        for on in state.connections.values().filter(wanted) {
            if let Some((channel, true)) = on.channels.get(&self.name)
                && let Err(error) = on.sender.send(*channel, 0, payload.clone())
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
        for on in state.connections.values_mut() {
            if let Some((channel, _)) = on.channels.remove(&self.name) {
                on.sender.close_channel(channel);
            }
        }
    }
}
