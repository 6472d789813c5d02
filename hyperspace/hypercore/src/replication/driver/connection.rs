//! One connection: its channels, and how much of what came on it is not processed yet.

use super::Shared;
use super::channel::Channel;
use super::core::{Input, ReplicatedCore};
use super::link::{AnyLink, ConnectionInfo, Link, Named};
use super::pool::{Pool, Task, Turn};
use crate::encoding::Reader;
use crate::replication::replicator::Work;
use crate::replication::wire::{Handshake, RequestMessage, capability};
use bytes::Bytes;
use hyperspace_api::{CoreEvent, DiscoveryKey};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Bytes that came on a connection and may wait to be processed. More are not taken.
pub const MAX_UNPROCESSED: usize = 8 << 20;

/// What a message that waits takes besides its bytes.
const OVERHEAD: usize = 128;

/// Discovery keys that a peer has rejected, which it is not asked for again.
const MAX_REJECTED: usize = 1 << 16;

/// See the module's text.
pub(super) struct Connection {
    pub(super) id: u64,
    pub(super) info: ConnectionInfo,
    pub(super) link: Arc<dyn AnyLink>,
    pub(super) shared: Arc<Shared>,
    state: Mutex<State>,
    unprocessed: AtomicUsize,
    processed: Notify,
    needs_room: Notify,
    over: AtomicBool,
}

#[derive(Default)]
struct State {
    channels: HashMap<DiscoveryKey, Arc<Channel>>,
    rejected: HashSet<DiscoveryKey>,
    /// Channels with something to send, once there is room.
    crowded: Vec<Arc<Channel>>,
}

/// Bytes that wait to be processed. Dropped, they are.
pub(super) struct Held {
    connection: Arc<Connection>,
    bytes: usize,
}

impl Drop for Held {
    fn drop(&mut self) {
        let before = self.connection.unprocessed.fetch_sub(self.bytes, Ordering::AcqRel);
        if before >= MAX_UNPROCESSED / 2 && before - self.bytes < MAX_UNPROCESSED / 2 {
            self.connection.processed.notify_waiters();
        }
    }
}

impl Connection {
    pub(super) fn new(id: u64, info: ConnectionInfo, link: Arc<dyn AnyLink>, shared: Arc<Shared>) -> Self {
        Self {
            id,
            info,
            link,
            shared,
            state: Mutex::default(),
            unprocessed: AtomicUsize::new(0),
            processed: Notify::new(),
            needs_room: Notify::new(),
            over: AtomicBool::new(false),
        }
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    /// Opens a core's channel, unless there is one. `asked`: the peer has opened it already.
    /// `false` if the core is no longer replicated by this.
    pub(super) fn open(self: &Arc<Self>, core: &Arc<ReplicatedCore>, asked: bool) -> bool {
        let key = core.core.shared().discovery_key;
        let channel = {
            let mut state = self.state.lock();
            if self.over.load(Ordering::Acquire)
                || state.channels.contains_key(&key)
                || (!asked && state.rejected.contains(&key))
            {
                return true;
            }
            let channel = Arc::new(Channel::new(self.shared.next_id(), core.clone(), self.clone()));
            if !core.input(Input::Expect { peer: channel.peer }) {
                return false;
            }
            state.rejected.remove(&key);
            state.channels.insert(key, channel.clone());
            channel
        };
        let secret = capability(&self.info.handshake_hash, &core.core.shared().key, self.info.is_initiator);
        let handshake = Handshake { seeks: true, capability: secret };
        if !self.link.open(&key, handshake.to_vec().into(), &channel) {
            channel.end();
        } else {
            channel.greet();
        }
        true
    }

    /// The peer has opened a channel as well.
    fn opened(self: &Arc<Self>, channel: &Arc<Channel>, handshake: &[u8]) {
        let core = &channel.core;
        let expected =
            capability(&self.info.handshake_hash, &core.core.shared().key, !self.info.is_initiator);
        match Handshake::decode(&mut Reader::new(handshake)) {
            Ok(handshake) if handshake.capability == expected => {
                if channel.open.swap(true, Ordering::AcqRel) {
                    return;
                }
                core.peers.lock().insert(channel.peer, channel.clone());
                core.core.shared().emit(|| CoreEvent::PeerOpen(channel.remote()));
                core.input(Input::Connect { peer: channel.peer, seeks: handshake.seeks });
                channel.greet();
            }
            // It knows the discovery key, and not the key.
            _ => self.punish("it does not know a core's key"),
        }
    }

    /// Ends the connection to a peer that does not keep to the protocol, and refuses it for a
    /// while.
    pub(super) fn punish(&self, reason: &str) {
        tracing::warn!(peer = %self.info.remote_public_key, "a peer is cut off: {reason}");
        self.shared.ban(self.info.remote_public_key);
        self.link.give_up(reason);
    }

    /// A channel is no more.
    pub(super) fn forget(&self, channel: &Arc<Channel>) {
        let key = channel.core.core.shared().discovery_key;
        let mut state = self.state.lock();
        if state.channels.get(&key).is_some_and(|known| Arc::ptr_eq(known, channel)) {
            state.channels.remove(&key);
        }
        state.crowded.retain(|crowded| !Arc::ptr_eq(crowded, channel));
    }

    /// A channel goes on when there is room.
    pub(super) fn wait_for_room(&self, channel: &Arc<Channel>) {
        let mut state = self.state.lock();
        if !state.crowded.iter().any(|crowded| Arc::ptr_eq(crowded, channel)) {
            state.crowded.push(channel.clone());
        }
        drop(state);
        self.needs_room.notify_one();
    }

    /// Wakes channels when there is room, for as long as the connection lasts.
    pub(super) async fn watch(self: Arc<Self>) {
        while !self.over.load(Ordering::Acquire) {
            self.needs_room.notified().await;
            self.link.ready().await;
            let crowded = std::mem::take(&mut self.state.lock().crowded);
            crowded.iter().for_each(Channel::wake);
        }
    }

    fn hold(self: &Arc<Self>, bytes: usize) -> Held {
        let bytes = bytes + OVERHEAD;
        self.unprocessed.fetch_add(bytes, Ordering::AcqRel);
        Held { connection: self.clone(), bytes }
    }

    async fn room(&self) {
        while self.unprocessed.load(Ordering::Acquire) >= MAX_UNPROCESSED {
            let processed = self.processed.notified();
            tokio::pin!(processed);
            processed.as_mut().enable();
            if self.unprocessed.load(Ordering::Acquire) < MAX_UNPROCESSED {
                return;
            }
            processed.await;
        }
    }
}

/// A connection on which a store's cores are replicated. Whoever owns the connection tells
/// it, in their order, what the peer does on channels of the protocol
/// [`PROTOCOL`](crate::replication::wire::PROTOCOL). Dropped when the connection is over.
pub struct Attached<L: Link> {
    connection: Arc<Connection>,
    named: Arc<Named<L>>,
}

impl<L: Link> Attached<L> {
    pub(super) fn new(connection: Arc<Connection>, named: Arc<Named<L>>) -> Self {
        Self { connection, named }
    }

    /// The peer has opened a channel that we have not: it wants that core. It is opened or
    /// refused soon.
    pub fn requested(&self, discovery_key: DiscoveryKey) {
        let connection = self.connection.clone();
        self.connection.shared.pool.wake(Arc::new(Lookup {
            connection,
            discovery_key,
            turn: Turn::default(),
        }));
    }

    /// A channel is open on both sides; `handshake` is the peer's.
    pub fn opened(&self, channel: L::Channel, handshake: &[u8]) {
        if let Some(channel) = self.named.channel(channel) {
            self.connection.opened(&channel, handshake);
        }
    }

    /// A message. Returns when the next one may come: awaiting it before anything more is
    /// read from the connection keeps what waits here below [`MAX_UNPROCESSED`].
    pub async fn message(&self, channel: L::Channel, kind: u32, payload: Bytes) {
        let Some(channel) = self.named.channel(channel) else { return };
        if !channel.open.load(Ordering::Acquire) {
            return;
        }
        let asked = match kind {
            // What is asked of us does not wait for what we ask.
            1 => RequestMessage::decode(&mut Reader::new(&payload)).map(Work::Request),
            2 => Reader::new(&payload).uint().map(Work::Cancel),
            _ => {
                let held = self.connection.hold(payload.len());
                let input = Input::Message { peer: channel.peer, kind: kind.into(), body: payload, held };
                channel.core.input(input);
                return self.wait(kind).await;
            }
        };
        match asked {
            Ok(work) => {
                if let Err(error) = channel.ask(work) {
                    self.connection.punish(&error.to_string());
                }
            }
            Err(error) => self.connection.punish(&error.to_string()),
        }
    }

    async fn wait(&self, kind: u32) {
        self.connection.room().await;
        if kind == 3 {
            // What cannot be stored must not pile up, either.
            self.connection.shared.store.admit().await;
        }
    }

    /// The peer has closed or rejected a channel.
    pub fn closed(&self, channel: L::Channel, rejected: bool) {
        let Some(channel) = self.named.take(channel) else { return };
        if rejected {
            let mut state = self.connection.state.lock();
            if state.rejected.len() < MAX_REJECTED {
                state.rejected.insert(channel.core.core.shared().discovery_key);
            }
        }
        channel.end();
        // It closes what neither side wants. If we have come to want it since, it has to be
        // opened again.
        if !rejected && channel.core.is_wanted() {
            self.connection.open(&channel.core, false);
        }
    }

    /// How many cores are open on it.
    pub fn channels(&self) -> usize {
        self.connection.state.lock().channels.len()
    }
}

impl<L: Link> Drop for Attached<L> {
    fn drop(&mut self) {
        self.connection.over.store(true, Ordering::Release);
        self.connection.shared.connections.lock().remove(&self.connection.id);
        self.connection.needs_room.notify_one();
        let mut channels = self.named.take_all();
        channels.extend(self.connection.state.lock().channels.drain().map(|(_, channel)| channel));
        channels.iter().for_each(Channel::end);
    }
}

/// Looks whether we have a core that a peer wants.
struct Lookup {
    connection: Arc<Connection>,
    discovery_key: DiscoveryKey,
    turn: Turn,
}

impl Task for Lookup {
    fn turn(&self) -> &Turn {
        &self.turn
    }

    fn run(self: Arc<Self>) -> bool {
        match self.connection.shared.find(&self.discovery_key) {
            // If not, it was just let go of: another turn finds it anew.
            Some(core) => !self.connection.open(&core, true),
            None => {
                self.connection.link.refuse(&self.discovery_key);
                false
            }
        }
    }
}
