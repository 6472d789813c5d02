//! The cores that sessions have open: each once, whoever opened it, with those who
//! listen to it and its advisory lock.
//!
//! A core leaves the hub when the last handle of the last session is gone; the
//! store may then evict it.

use crate::lock::{CoreLock, SessionId};
use crate::mailbox::{Length, Mailbox, Note};
use crate::store::{Follow, Store};
use hyperspace_api::{Core, CoreError, CoreEvent, Key, OpenTarget, Peer};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::AbortHandle;

/// Cores kept open for weak handles alone; the oldest goes first.
const WEAKLY_KEPT: usize = 64;

/// All open cores.
pub(crate) struct Hub<S: Store> {
    store: S,
    cores: Cores<S::Core>,
    weakly_kept: Mutex<VecDeque<Arc<Shared<S::Core>>>>,
}

type Cores<C> = Arc<Mutex<HashMap<Key, Weak<Shared<C>>>>>;

/// One open core, shared by every handle on it.
pub(crate) struct Shared<C: Core> {
    /// As it was first opened.
    pub(crate) core: C,
    /// Its advisory lock.
    pub(crate) lock: CoreLock,
    told: Mutex<Told>,
    fork: fn(&C) -> u64,
    hub: Cores<C>,
    /// Peers are asked for it as long as it is open.
    _follow: Follow,
    task: Mutex<Option<AbortHandle>>,
}

/// Who is told of a core, and what they were told.
struct Told {
    listeners: Vec<Listener>,
    /// What is still to be told.
    events: Receiver<CoreEvent>,
    /// The length last told to everyone.
    length: u64,
    /// The fork it is of, as far as told.
    fork: u64,
    /// The peers that were told of, or that were there before anybody listened.
    peers: Vec<Peer>,
}

struct Listener {
    session: SessionId,
    id: u32,
    mailbox: Arc<Mailbox>,
    downloads: bool,
    uploads: bool,
}

/// Ends a listener's events when dropped.
pub(crate) struct Subscription<C: Core> {
    core: Weak<Shared<C>>,
    session: SessionId,
    id: u32,
}

impl<S: Store> Hub<S> {
    /// No core open yet.
    pub(crate) fn new(store: S) -> Self {
        Self { store, cores: Arc::default(), weakly_kept: Mutex::default() }
    }

    /// The store beneath.
    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    /// Opens a core, or finds it open. The first of the two is the caller's own
    /// handle, which may be writable where an older one is not.
    pub(crate) async fn open(
        &self,
        target: OpenTarget,
        weak: bool,
    ) -> Result<(S::Core, Arc<Shared<S::Core>>), CoreError> {
        let core = self.store.open(target).await?;
        let shared = self.share(&core);
        if weak {
            let mut kept = self.weakly_kept.lock();
            kept.push_back(shared.clone());
            let oldest = if kept.len() > WEAKLY_KEPT { kept.pop_front() } else { None };
            drop(kept);
            drop(oldest);
        }
        Ok((core, shared))
    }

    fn share(&self, core: &S::Core) -> Arc<Shared<S::Core>> {
        let key = core.key();
        let mut cores = self.cores.lock();
        if let Some(shared) = cores.get(&key).and_then(Weak::upgrade) {
            return shared;
        }
        // In this order: nothing happens between them that is not noticed.
        let (fork, events) = (S::fork(core), core.events());
        let told = Told { listeners: Vec::new(), events, length: core.length(), fork, peers: core.peers() };
        let shared = Arc::new(Shared {
            core: core.clone(),
            lock: CoreLock::default(),
            told: Mutex::new(told),
            fork: S::fork,
            hub: self.cores.clone(),
            _follow: self.store.follow(core),
            task: Mutex::new(None),
        });
        let task = tokio::spawn(pump(Arc::downgrade(&shared), core.events()));
        *shared.task.lock() = Some(task.abort_handle());
        cores.insert(key, Arc::downgrade(&shared));
        shared
    }

    /// Lets go of what is kept for weak handles alone.
    pub(crate) fn release_weak(&self) {
        let kept = std::mem::take(&mut *self.weakly_kept.lock());
        drop(kept);
    }

    /// How many cores are open.
    pub(crate) fn open_cores(&self) -> usize {
        self.cores.lock().len()
    }
}

/// Passes a core's events on when there are any, until the core is closed.
async fn pump<C: Core>(shared: Weak<Shared<C>>, mut events: Receiver<CoreEvent>) {
    loop {
        let event = events.recv().await;
        let Some(shared) = shared.upgrade() else { return };
        shared.tell_news();
        if event == Err(RecvError::Closed) {
            return;
        }
    }
}

impl<C: Core> Shared<C> {
    /// Tells every listener what has happened to the core by now, in the order in which
    /// it happened. Called by who appended, before it replies, and by the pump; the
    /// slower of the two finds it done.
    pub(crate) fn tell_news(&self) {
        let mut told = self.told.lock();
        loop {
            match told.events.try_recv() {
                Ok(event) => self.happened(&mut told, event),
                Err(TryRecvError::Lagged(_)) => self.catch_up(&mut told),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// The same, and waits until everybody has been told that the core is so long: that is
    /// known a moment before it is told.
    pub(crate) async fn tell_length(&self, length: u64) {
        // Before looking: what is told after that, wakes us.
        let mut events = self.core.events();
        loop {
            self.tell_news();
            let is_told = self.told.lock().length >= length;
            // It may have been cut again.
            if is_told || self.core.length() < length || events.recv().await == Err(RecvError::Closed) {
                return;
            }
        }
    }

    /// Some events were missed. What happened since, if anything, is told again after
    /// this, which ends at the same length.
    fn catch_up(&self, told: &mut Told) {
        let fork = (self.fork)(&self.core);
        if fork != told.fork {
            // How far it was cut, nobody knows any more.
            told.fork = fork;
            told.cut(Length { blocks: 0, bytes: 0 });
        }
        let now = Length { blocks: self.core.length(), bytes: self.core.byte_length() };
        told.grown(now);
        let there = self.core.peers();
        for gone in told.peers.clone().into_iter().filter(|peer| !there.contains(peer)) {
            told.peer_removed(gone);
        }
        there.into_iter().for_each(|peer| told.peer_opened(peer));
    }

    fn happened(&self, told: &mut Told, event: CoreEvent) {
        match event {
            CoreEvent::Append { length, byte_length } => {
                told.grown(Length { blocks: length, bytes: byte_length });
            }
            CoreEvent::Truncate { length, fork } => {
                told.fork = told.fork.max(fork);
                // The event does not say how many bytes are left. If it has grown again
                // by now, the event of that is next and will be right.
                told.cut(Length { blocks: length, bytes: self.core.byte_length() });
            }
            CoreEvent::Download { index: seq, byte_length } => {
                told.tell(|l| l.downloads.then_some(Note::Download { id: l.id, seq, byte_length }));
            }
            CoreEvent::Upload { index: seq, byte_length } => {
                told.tell(|l| l.uploads.then_some(Note::Upload { id: l.id, seq, byte_length }));
            }
            CoreEvent::PeerOpen(peer) => told.peer_opened(peer),
            CoreEvent::PeerRemove(peer) => told.peer_removed(peer),
            // Who asks for anything more is told by an error.
            CoreEvent::Frozen => {}
            CoreEvent::Closed => told.tell(|l| Some(Note::Close { id: l.id })),
        }
    }

    /// Sends the core's events to `mailbox`, as those of the client's core `id`.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        session: SessionId,
        id: u32,
        mailbox: Arc<Mailbox>,
    ) -> Subscription<C> {
        let listener = Listener { session, id, mailbox, downloads: false, uploads: false };
        self.told.lock().listeners.push(listener);
        Subscription { core: Arc::downgrade(self), session, id }
    }
}

impl Told {
    fn grown(&mut self, length: Length) {
        if length.blocks > self.length {
            self.length = length.blocks;
            self.tell(|l| Some(Note::Append { id: l.id, length }));
        }
    }

    fn peer_opened(&mut self, peer: Peer) {
        if !self.peers.contains(&peer) {
            self.tell(|l| Some(Note::PeerOpen { id: l.id, peer: peer.clone() }));
            self.peers.push(peer);
        }
    }

    fn peer_removed(&mut self, peer: Peer) {
        if let Some(at) = self.peers.iter().position(|known| *known == peer) {
            self.peers.swap_remove(at);
            self.tell(|l| Some(Note::PeerRemove { id: l.id, peer: peer.clone() }));
        }
    }

    /// Nobody has anything to forget who was never told of more.
    fn cut(&mut self, length: Length) {
        if length.blocks < self.length {
            self.length = length.blocks;
            self.tell(|l| Some(Note::Truncate { id: l.id, length }));
        }
    }

    fn tell(&self, note: impl Fn(&Listener) -> Option<Note>) {
        for listener in &self.listeners {
            if let Some(note) = note(listener) {
                listener.mailbox.push(note);
            }
        }
    }
}

impl<C: Core> Subscription<C> {
    /// Turns the events of downloaded blocks on or off.
    pub(crate) fn watch_downloads(&self, on: bool) {
        self.change(|listener| listener.downloads = on);
    }

    /// Turns the events of uploaded blocks on or off.
    pub(crate) fn watch_uploads(&self, on: bool) {
        self.change(|listener| listener.uploads = on);
    }

    fn change(&self, change: impl FnOnce(&mut Listener)) {
        let Some(core) = self.core.upgrade() else { return };
        let mut told = core.told.lock();
        if let Some(l) = told.listeners.iter_mut().find(|l| (l.session, l.id) == (self.session, self.id)) {
            change(l);
        }
    }
}

impl<C: Core> Drop for Subscription<C> {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            core.told.lock().listeners.retain(|l| (l.session, l.id) != (self.session, self.id));
        }
    }
}

impl<C: Core> Drop for Shared<C> {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        // Whoever listens still holds a weak handle.
        for listener in &self.told.lock().listeners {
            listener.mailbox.push(Note::Close { id: listener.id });
        }
        let mut cores = self.hub.lock();
        let key = self.core.key();
        if cores.get(&key).is_some_and(|shared| shared.strong_count() == 0) {
            cores.remove(&key);
        }
    }
}
