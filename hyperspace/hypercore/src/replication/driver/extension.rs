//! Messages between those who use a core and those who use it elsewhere, which are none of
//! hypercore's business.

use super::channel::Channel;
use super::core::{Input, ReplicatedCore};
use crate::core::LocalCore;
use crate::replication::wire::{self, MAX_EXTENSION_NAME, Message};
use bytes::Bytes;
use hyperspace_api::{CoreError, Key, Peer};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// Messages that wait to be received; more are dropped.
const WAITING: usize = 256;

/// Greetings of a core.
const MAX_GREETINGS: usize = 4;

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
    /// What the peer told last of its state.
    remote: Option<wire::Sync>,
}

impl Reply {
    pub(super) fn new(channel: Arc<Channel>, name: &str, remote: Option<wire::Sync>) -> Self {
        Self { channel, name: name.to_owned(), remote }
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

    /// Does the peer have the same history, or has it said nothing yet, so that it can be
    /// given blocks?
    pub fn can_give(&self) -> bool {
        self.remote.is_none_or(|remote| remote.fork == self.channel.core.core.fork())
    }

    /// Gives blocks to the peer, which has to [expect](Extension::consult) that; those that it
    /// was not given before, and that are here. What is given first goes first.
    ///
    /// A peer that has nothing yet is given the tree with the first of them.
    pub fn give(&self, blocks: &[u64]) {
        match self.remote.filter(|remote| remote.length > 0) {
            Some(remote) => self.channel.give(remote.fork, remote.length, blocks),
            None => {
                if let Ok(Some(served)) = self.channel.core.core.served() {
                    self.channel.give_all(served.tree.fork(), served.tree.length(), blocks);
                }
            }
        }
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

    /// Sends a message that asks for blocks to the peer that is likely to answer best, and
    /// takes up to `blocks` blocks that it [gives](Reply::give) by way of an answer. To all
    /// peers, if none of them has the core as we know it.
    pub fn consult(&self, payload: impl Into<Bytes>, blocks: u64) -> Result<(), CoreError> {
        let payload = payload.into();
        check_size(&payload)?;
        self.core.input(Input::Consult { name: self.name.clone(), payload, blocks });
        Ok(())
    }

    /// The same as [`consult`](Self::consult), for as long as nothing of the core is here, with
    /// every peer that comes: before it has said what it has, which spares a round trip. Of
    /// several greetings, the last four count.
    pub fn greet(&self, payload: impl Into<Bytes>, blocks: u64) -> Result<(), CoreError> {
        let payload = payload.into();
        check_size(&payload)?;
        self.core.greetings.lock().add(&self.name, payload.clone(), blocks);
        self.consult(payload, blocks)
    }

    fn send_to(&self, payload: Bytes, to: impl Fn(&Peer) -> bool) -> Result<usize, CoreError> {
        check_size(&payload)?;
        let peers: Vec<_> = self.core.peers.lock().values().cloned().collect();
        let message = Message::Extension { name: self.name.clone(), payload };
        let sent = peers.iter().filter(|channel| {
            to(&channel.remote()) && !channel.connection.link.is_full() && channel.send(&message)
        });
        Ok(sent.count())
    }
}

/// What peers of a core of which nothing is here are asked as soon as they come.
#[derive(Default)]
pub(super) struct Greetings(VecDeque<Greeting>);

struct Greeting {
    name: String,
    payload: Bytes,
    blocks: u64,
}

impl Greetings {
    fn add(&mut self, name: &str, payload: Bytes, blocks: u64) {
        self.0.retain(|greeting| greeting.name != name || greeting.payload != payload);
        if self.0.len() == MAX_GREETINGS {
            self.0.pop_front();
        }
        self.0.push_back(Greeting { name: name.to_owned(), payload, blocks });
    }

    fn remove(&mut self, name: &str) {
        self.0.retain(|greeting| greeting.name != name);
    }

    /// As messages.
    pub(super) fn messages(&self) -> Vec<Message> {
        let message = |Greeting { name, payload, .. }: &Greeting| Message::Extension {
            name: name.clone(),
            payload: payload.clone(),
        };
        self.0.iter().map(message).collect()
    }

    /// Blocks that may come of them.
    pub(super) fn blocks(&self) -> u64 {
        self.0.iter().map(|greeting| greeting.blocks).max().unwrap_or(0)
    }
}

fn check_size(payload: &Bytes) -> Result<(), CoreError> {
    if payload.len() > MAX_PAYLOAD {
        return Err(CoreError::Invalid("the message is too large".into()));
    }
    Ok(())
}

impl Drop for Extension {
    fn drop(&mut self) {
        self.core.extensions.lock().remove(&self.name);
        self.core.greetings.lock().remove(&self.name);
        self.core.changed();
    }
}
