//! The cores that sessions have open: each once, whoever opened it, with those who
//! listen to it and its advisory lock.
//!
//! A core leaves the hub when the last handle of the last session is gone; the
//! store may then evict it.

use crate::lock::{CoreLock, SessionId};
use crate::mailbox::{Mailbox, Note};
use hyperspace_api::{Core, CoreError, CoreEvent, Corestore, Key, OpenTarget};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Weak};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::AbortHandle;

/// Cores kept open for weak handles alone; the oldest goes first.
const WEAKLY_KEPT: usize = 64;

/// All open cores.
pub(crate) struct Hub<S: Corestore> {
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
    listeners: Mutex<Listeners>,
    hub: Cores<C>,
    task: Mutex<Option<AbortHandle>>,
}

#[derive(Default)]
struct Listeners {
    list: Vec<Listener>,
    /// The length last told to everyone.
    announced: u64,
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

impl<S: Corestore> Hub<S> {
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
        let events = core.events();
        let shared = Arc::new(Shared {
            core: core.clone(),
            lock: CoreLock::default(),
            listeners: Mutex::new(Listeners { list: Vec::new(), announced: core.length() }),
            hub: self.cores.clone(),
            task: Mutex::new(None),
        });
        let task = tokio::spawn(pump(Arc::downgrade(&shared), events));
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

/// Passes a core's events on, until the core is closed.
async fn pump<C: Core>(shared: Weak<Shared<C>>, mut events: broadcast::Receiver<CoreEvent>) {
    loop {
        let event = events.recv().await;
        let Some(shared) = shared.upgrade() else { return };
        match event {
            Ok(event) => shared.happened(event),
            Err(RecvError::Lagged(_)) => shared.set_length(shared.core.length(), shared.core.byte_length()),
            Err(RecvError::Closed) => return,
        }
    }
}

impl<C: Core> Shared<C> {
    /// Tells every listener of a growth, unless they know. Called by who appended,
    /// before it replies, and by the pump; the slower of the two finds it done.
    pub(crate) fn grew(&self, length: u64, byte_length: u64) {
        let mut listeners = self.listeners.lock();
        if length > listeners.announced {
            listeners.tell_length(length, byte_length);
        }
    }

    fn set_length(&self, length: u64, byte_length: u64) {
        let mut listeners = self.listeners.lock();
        if length != listeners.announced {
            listeners.tell_length(length, byte_length);
        }
    }

    fn happened(&self, event: CoreEvent) {
        match event {
            CoreEvent::Append { length, byte_length } => self.grew(length, byte_length),
            // HRPC has no word for it; clients take the length as it is told them.
            CoreEvent::Truncate { length, .. } => self.set_length(length, self.core.byte_length()),
            CoreEvent::Download { index: seq, byte_length } => {
                self.tell(|l| l.downloads.then_some(Note::Download { id: l.id, seq, byte_length }));
            }
            CoreEvent::Upload { index: seq, byte_length } => {
                self.tell(|l| l.uploads.then_some(Note::Upload { id: l.id, seq, byte_length }));
            }
            CoreEvent::PeerOpen(peer) => {
                self.tell(|l| Some(Note::PeerOpen { id: l.id, peer: peer.clone() }));
            }
            CoreEvent::PeerRemove(peer) => {
                self.tell(|l| Some(Note::PeerRemove { id: l.id, peer: peer.clone() }));
            }
            CoreEvent::Closed => self.tell(|l| Some(Note::Close { id: l.id })),
        }
    }

    fn tell(&self, note: impl Fn(&Listener) -> Option<Note>) {
        for listener in &self.listeners.lock().list {
            if let Some(note) = note(listener) {
                listener.mailbox.push(note);
            }
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
        self.listeners.lock().list.push(listener);
        Subscription { core: Arc::downgrade(self), session, id }
    }
}

impl Listeners {
    fn tell_length(&mut self, length: u64, byte_length: u64) {
        self.announced = length;
        for Listener { id, mailbox, .. } in &self.list {
            mailbox.push(Note::Append { id: *id, length, byte_length });
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
        let mut listeners = core.listeners.lock();
        if let Some(l) = listeners.list.iter_mut().find(|l| (l.session, l.id) == (self.session, self.id)) {
            change(l);
        }
    }
}

impl<C: Core> Drop for Subscription<C> {
    fn drop(&mut self) {
        if let Some(core) = self.core.upgrade() {
            core.listeners.lock().list.retain(|l| (l.session, l.id) != (self.session, self.id));
        }
    }
}

impl<C: Core> Drop for Shared<C> {
    fn drop(&mut self) {
        if let Some(task) = self.task.lock().take() {
            task.abort();
        }
        // Whoever listens still holds a weak handle.
        for listener in &self.listeners.lock().list {
            listener.mailbox.push(Note::Close { id: listener.id });
        }
        let mut cores = self.hub.lock();
        let key = self.core.key();
        if cores.get(&key).is_some_and(|shared| shared.strong_count() == 0) {
            cores.remove(&key);
        }
    }
}
