//! One core on one connection: what the peer asks of us waits here for its turn.

use super::connection::Connection;
use super::core::{Input, ReplicatedCore};
use super::pool::{Task, Turn};
use crate::replication::peer::PeerId;
use crate::replication::replicator::Work;
use crate::replication::upload::{Flooded, UploadQueue, answer, block_of};
use crate::replication::wire::{Message, Sync};
use hyperspace_api::{Core, CoreEvent, Peer, Traffic};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Bytes that are answered before it is somebody else's turn.
const TURN_BYTES: u64 = 256 << 10;

/// Messages, likewise.
const TURN_MESSAGES: usize = 128;

/// See the module's text.
pub(super) struct Channel {
    pub(super) peer: PeerId,
    pub(super) core: Arc<ReplicatedCore>,
    pub(super) connection: Arc<Connection>,
    /// Has the peer opened it, too?
    pub(super) open: AtomicBool,
    closed: AtomicBool,
    greeted: AtomicBool,
    queue: Mutex<UploadQueue>,
    uploaded: Mutex<Traffic>,
    /// What the peer was told last of our state.
    told: Mutex<Option<Sync>>,
    turn: Turn,
}

impl Channel {
    pub(super) fn new(peer: PeerId, core: Arc<ReplicatedCore>, connection: Arc<Connection>) -> Self {
        Self {
            peer,
            core,
            connection,
            open: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            greeted: AtomicBool::new(false),
            queue: Mutex::default(),
            uploaded: Mutex::default(),
            told: Mutex::default(),
            turn: Turn::default(),
        }
    }

    /// Who is at the other end.
    pub(super) fn remote(&self) -> Peer {
        self.connection.info.peer()
    }

    /// Blocks that were sent.
    pub(super) fn uploaded(&self) -> Traffic {
        *self.uploaded.lock()
    }

    /// Adds what the peer asks.
    pub(super) fn ask(self: &Arc<Self>, work: Work) -> Result<(), Flooded> {
        self.queue.lock().push(work)?;
        if !matches!(work, Work::Cancel(_)) {
            self.wake();
        }
        Ok(())
    }

    /// Asks the peer what is asked of everybody who comes, while nothing of the core is here.
    /// That need not wait until the peer has opened the channel as well.
    pub(super) fn greet(self: &Arc<Self>) {
        if self.core.core.length() > 0 {
            return;
        }
        let greetings = self.core.greetings.lock().messages();
        if !greetings.is_empty() && !self.greeted.swap(true, Ordering::AcqRel) {
            for greeting in &greetings {
                self.send(greeting);
            }
        }
    }

    /// Gives the peer blocks: see [`UploadQueue::give`].
    pub(super) fn give(self: &Arc<Self>, fork: u64, length: u64, blocks: &[u64]) {
        self.queue_gifts(|queue| blocks.iter().for_each(|block| queue.give(fork, length, *block)));
    }

    /// The same to a peer that has nothing yet: see [`UploadQueue::give_all`].
    pub(super) fn give_all(self: &Arc<Self>, fork: u64, length: u64, blocks: &[u64]) {
        self.queue_gifts(|queue| blocks.iter().for_each(|block| queue.give_all(fork, length, *block)));
    }

    fn queue_gifts(self: &Arc<Self>, give: impl FnOnce(&mut UploadQueue)) {
        give(&mut self.queue.lock());
        self.wake();
    }

    /// Goes on answering.
    pub(super) fn wake(self: &Arc<Self>) {
        self.connection.pool().wake(self.clone());
    }

    /// Sends a message.
    pub(super) fn send(self: &Arc<Self>, message: &Message) -> bool {
        let Message::Sync(sync) = message else { return self.pass_on(message) };
        // Held until it is sent, for the order counts.
        let mut told = self.told.lock();
        let mut sync = *sync;
        if let Some(before) = told.filter(|before| before.fork == sync.fork) {
            sync.length = sync.length.max(before.length);
        }
        let before = told.replace(sync);
        let sent = self.pass_on(&Message::Sync(sync));
        drop(told);
        if before.is_some_and(|before| before.fork != sync.fork) {
            // What was asked about the older history can be refused now.
            self.wake();
        }
        sent
    }

    /// Is this about the history that the peer was told of, which is no more? It is refused
    /// once the peer knows of the newer one: else it would seem that we lack what we promised.
    fn is_early(&self, work: &Work) -> bool {
        let Work::Request(request) = work else { return false };
        let told = *self.told.lock();
        told.is_some_and(|told| told.fork == request.fork)
            && match self.core.core.served() {
                Ok(Some(served)) => served.tree.fork() != request.fork,
                Ok(None) => true,
                Err(_) => false,
            }
    }

    fn pass_on(&self, message: &Message) -> bool {
        self.connection.link.send(self, message.kind() as u32, &message.to_parts())
    }

    /// Has the peer know how long we are before it is given a tree of that length. A peer of
    /// hypercore 11 that is suddenly longer than it thinks we are looks into whether it can
    /// serve us, forgets to tell of its length when we grow meanwhile, and waits for our
    /// answer to that for ever.
    fn tell_length(&self) {
        let Ok(Some(served)) = self.core.core.served() else { return };
        let (fork, length) = (served.tree.fork(), served.tree.length());
        let mut told = self.told.lock();
        if let Some(sync) = told.as_mut().filter(|told| told.fork == fork && told.length < length) {
            sync.length = length;
            self.pass_on(&Message::Sync(*sync));
        }
    }

    /// The channel is closed, by whomever. Tells the core, if that knew of it.
    pub(super) fn end(self: &Arc<Self>) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        *self.queue.lock() = UploadQueue::default();
        self.connection.forget(self);
        self.core.input(Input::Disconnect { peer: self.peer });
        if self.core.peers.lock().remove(&self.peer).is_some() {
            self.core.core.shared().emit(|| CoreEvent::PeerRemove(self.remote()));
        }
    }

    fn uploaded_block(&self, index: u64, bytes: u64) {
        self.uploaded.lock().add(bytes);
        self.core.uploaded.lock().add(bytes);
        self.core.core.shared().emit(|| CoreEvent::Upload { index, byte_length: bytes });
    }
}

impl Task for Channel {
    fn turn(&self) -> &Turn {
        &self.turn
    }

    fn run(self: Arc<Self>) -> bool {
        let mut more = false;
        self.connection.link.corked(&mut || {
            let mut bytes = 0;
            for _ in 0..TURN_MESSAGES {
                if self.closed.load(Ordering::Acquire) {
                    // Something was queued while it ended: nobody is there to get it, and it
                    // would have its turn again and again.
                    return;
                }
                if bytes >= TURN_BYTES {
                    break;
                }
                if self.connection.link.is_full() {
                    self.connection.wait_for_room(&self);
                    return;
                }
                let Some(work) = self.queue.lock().pop() else { return };
                if self.is_early(&work) {
                    self.queue.lock().put_back(work);
                    return;
                }
                let Some(message) = answer(&self.core.core, &work) else { continue };
                if matches!(&message, Message::Data(data) if data.proof.upgrade.is_some()) {
                    self.tell_length();
                }
                tracing::trace!(target: "hypercore::wire", core = %self.core.core.key(), peer = self.peer, "sent {message}");
                bytes += 64;
                let sent = self.send(&message);
                if let Some((index, size)) = block_of(&message).filter(|_| sent) {
                    bytes += size;
                    self.uploaded_block(index, size);
                }
            }
            more = !self.queue.lock().is_empty();
        });
        more
    }
}
