//! What all handles of one open core share, and its place in the current connection.

use super::readahead::Ahead;
use crate::cache::CacheId;
use crate::client::Shared;
use crate::extension::Inbox;
use crate::mux::CallError;
use crate::session::{Session, peer, update_peers};
use crate::watch::{Direction, Watches};
use bytes::Bytes;
use hyperspace_api::{CoreError, CoreEvent, DiscoveryKey, Key, Peer};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::{corestore, hypercore};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use tokio::sync::broadcast;
use tokio::time::Instant;

/// Events that a slow receiver may fall behind before it misses some.
const EVENTS: usize = 256;

/// Keeps a core open. Held by every [`super::RemoteHypercore`]; the last one closes.
pub(crate) struct Handle {
    pub state: Arc<CoreState>,
    pub weak: bool,
    /// The names under which it is registered with the client.
    pub names: Mutex<Vec<String>>,
}

/// A core's length, as told by the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub length: u64,
    pub byte_length: u64,
    /// How often it became shorter.
    pub truncations: u64,
    /// Told by an event since the core was last opened: newer than the opening's reply.
    told: bool,
}

enum Binding {
    /// Not opened in any connection yet.
    None,
    Open(Arc<Session>, u32),
}

/// See the [module](self).
pub(crate) struct CoreState {
    pub client: Arc<Shared>,
    identity: OnceLock<(Key, DiscoveryKey)>,
    writable: AtomicBool,
    head: Mutex<Head>,
    binding: Mutex<Binding>,
    /// One opening at a time.
    opening: tokio::sync::Mutex<()>,
    /// Made when first asked for: most cores have no listener.
    events: OnceLock<broadcast::Sender<CoreEvent>>,
    peers: Mutex<Vec<Peer>>,
    closed: AtomicBool,
    cache_id: AtomicU64,
    /// Changes whenever blocks may have gone: what was asked for before is not kept.
    generation: AtomicU64,
    pub ahead: Mutex<Ahead>,
    pub watches: Mutex<Watches>,
    /// Those of this program queue here for the core's lock, one asks the server.
    pub lock: Arc<tokio::sync::Mutex<()>>,
    pub extensions: Mutex<Vec<Weak<Inbox>>>,
}

static NEXT_CACHE_ID: AtomicU64 = AtomicU64::new(1);

impl CoreState {
    pub fn new(client: Arc<Shared>) -> Arc<Self> {
        Arc::new(Self {
            client,
            identity: OnceLock::new(),
            writable: AtomicBool::new(false),
            head: Mutex::default(),
            binding: Mutex::new(Binding::None),
            opening: tokio::sync::Mutex::default(),
            events: OnceLock::new(),
            peers: Mutex::default(),
            closed: AtomicBool::new(false),
            cache_id: AtomicU64::new(NEXT_CACHE_ID.fetch_add(1, Ordering::Relaxed)),
            generation: AtomicU64::new(0),
            ahead: Mutex::default(),
            watches: Mutex::default(),
            lock: Arc::default(),
            extensions: Mutex::default(),
        })
    }

    pub fn set_writable(&self) {
        self.writable.store(true, Ordering::Relaxed);
    }

    /// Its key and discovery key.
    pub fn identity(&self) -> &(Key, DiscoveryKey) {
        self.identity.get().expect("handles are given out only after the server told the key")
    }

    pub fn writable(&self) -> bool {
        self.writable.load(Ordering::Relaxed)
    }

    pub fn head(&self) -> Head {
        *self.head.lock()
    }

    pub fn events(&self) -> &broadcast::Sender<CoreEvent> {
        self.events.get_or_init(|| broadcast::Sender::new(EVENTS))
    }

    pub fn emit(&self, event: CoreEvent) {
        if let Some(events) = self.events.get() {
            // An error means only that nobody listens.
            let _ = events.send(event);
        }
    }

    pub fn peers(&self) -> Vec<Peer> {
        self.peers.lock().clone()
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Under which the cache has its blocks.
    pub fn cache_id(&self) -> CacheId {
        self.cache_id.load(Ordering::Acquire)
    }

    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Blocks are going or have gone: answers to earlier calls must not be kept.
    pub fn new_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// None of the cached blocks is this core's any more.
    pub fn forget_blocks(&self) {
        self.new_generation();
        self.cache_id.store(NEXT_CACHE_ID.fetch_add(1, Ordering::Relaxed), Ordering::Release);
    }

    /// Keeps a block that was asked for in `generation`.
    pub fn keep(&self, generation: u64, index: u64, block: &Bytes, ahead: bool) {
        let id = self.cache_id();
        // In this order: a core that is truncated right now has a new id by then, and
        // the block is lost under the old one.
        if self.generation() == generation {
            self.client.cache.insert(id, index, block.clone(), ahead);
        }
    }

    // What the server tells.

    /// The server says how long the core is.
    pub fn length_told(&self, length: u64, byte_length: u64) {
        self.set_length(length, byte_length, true);
    }

    /// An append of ours, begun when the head was `before`, made it this long.
    pub fn appended(&self, before: &Head, length: u64, byte_length: u64) {
        let grew = {
            let mut head = self.head.lock();
            // Else an event has told us, or what we appended was truncated again.
            let grew = length > head.length && head.truncations == before.truncations;
            if grew {
                (head.length, head.byte_length) = (length, byte_length);
            }
            grew
        };
        if grew {
            self.emit(CoreEvent::Append { length, byte_length });
        }
    }

    fn set_length(&self, length: u64, byte_length: u64, told: bool) {
        let before = {
            let mut head = self.head.lock();
            let before = *head;
            (head.length, head.byte_length) = (length, byte_length);
            head.told |= told;
            if length < before.length {
                head.truncations += 1;
                self.forget_blocks();
            }
            before.length
        };
        match length.cmp(&before) {
            std::cmp::Ordering::Less => self.emit(CoreEvent::Truncate { length, fork: 0 }),
            std::cmp::Ordering::Equal => {}
            std::cmp::Ordering::Greater => self.emit(CoreEvent::Append { length, byte_length }),
        }
    }

    pub fn peer(&self, peer: Peer, there: bool) {
        if update_peers(&mut self.peers.lock(), &peer, there) {
            self.emit(if there { CoreEvent::PeerOpen(peer) } else { CoreEvent::PeerRemove(peer) });
        }
    }

    pub fn downloaded_block(&self, index: u64, byte_length: u64) {
        self.watches.lock().tell(Direction::Down, index, byte_length);
        self.emit(CoreEvent::Download { index, byte_length });
    }

    pub fn uploaded_block(&self, index: u64, byte_length: u64) {
        self.watches.lock().tell(Direction::Up, index, byte_length);
        self.emit(CoreEvent::Upload { index, byte_length });
    }

    pub fn closed_by_server(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            // The id is ours until we give it back.
            if let Some((session, id)) = self.unbind() {
                session.mux.tell::<hypercore::Close>(&m::CloseRequest { id });
            }
            self.emit(CoreEvent::Closed);
        }
    }

    // Its place in a connection.

    /// The connection and the core's id there, opening it first where it must be.
    pub async fn bound(self: &Arc<Self>) -> Result<(Arc<Session>, u32), CoreError> {
        self.bound_until(None).await
    }

    /// [`bound`](Self::bound), waiting for the server until `deadline`, or as long as
    /// the client's options say.
    pub async fn bound_until(
        self: &Arc<Self>,
        deadline: Option<Instant>,
    ) -> Result<(Arc<Session>, u32), CoreError> {
        loop {
            if self.is_closed() {
                return Err(CoreError::Closed);
            }
            if let Some(bound) = self.bound_now() {
                return Ok(bound);
            }
            let session = self.client.session_until(deadline).await?;
            if let Err(error @ CallError::Refused(_)) = self.bind(&session).await {
                return Err(self.client.interrupted(error, &session));
            }
        }
    }

    /// The connection and the id, if they are there without waiting.
    pub fn bound_now(&self) -> Option<(Arc<Session>, u32)> {
        match &*self.binding.lock() {
            Binding::Open(session, id) if session.mux.is_alive() => Some((session.clone(), *id)),
            _ => None,
        }
    }

    /// Its id in `session`, if it is open there.
    pub fn id_in(&self, session: &Session) -> Option<u32> {
        match &*self.binding.lock() {
            Binding::Open(open, id) if std::ptr::eq(Arc::as_ptr(open), session) => Some(*id),
            _ => None,
        }
    }

    /// Opens it by its key in a new connection, with its extensions and watches.
    pub async fn bind(self: &Arc<Self>, session: &Arc<Session>) -> Result<(), CallError> {
        let _one = self.opening.lock().await;
        if self.is_closed() || self.id_in(session).is_some() {
            return Ok(());
        }
        let key = self.identity().0;
        let request =
            m::OpenRequest { key: Some(Bytes::copy_from_slice(key.as_ref())), ..m::OpenRequest::default() };
        self.open(session, request).await?;
        let id = self.id_in(session).ok_or(CallError::Lost)?;
        let watches = self.watches.lock().wanted();
        for direction in watches {
            direction.watch(session, id, true);
        }
        let inboxes: Vec<_> = {
            let mut extensions = self.extensions.lock();
            extensions.retain(|inbox| inbox.strong_count() > 0);
            extensions.iter().filter_map(Weak::upgrade).collect()
        };
        for inbox in inboxes {
            inbox.register(session, id).await?;
        }
        Ok(())
    }

    /// Opens it in `session`, under a new id. `request` has the rest.
    pub async fn open(
        self: &Arc<Self>,
        session: &Arc<Session>,
        mut request: m::OpenRequest,
    ) -> Result<(), CallError> {
        request.id = session.add_core(self);
        self.head.lock().told = false;
        let peers_before = self.peers();
        let opening = Opening { session, id: request.id, done: false };
        let opened = session.mux.call::<corestore::Open>(&request, None, false).await?;
        let Ok(key) = Key::try_from(opened.key.as_ref()) else {
            let error = CoreError::Invalid("The server opened a core without a key".into());
            return Err(CallError::Refused(error));
        };
        let discovery_key = opened.discovery_key.as_deref().and_then(|key| DiscoveryKey::try_from(key).ok());
        let known = self.identity.get_or_init(|| (key, discovery_key.unwrap_or_else(|| key.discovery_key())));
        if known.0 != key {
            let error = CoreError::Invalid(format!("The server opened {key} instead of {}", known.0));
            return Err(CallError::Refused(error));
        }
        self.writable.store(opened.writable, Ordering::Relaxed);
        let peers: Vec<Peer> = opened.peers.into_iter().filter_map(peer).collect();
        for gone in peers_before.into_iter().filter(|before| !peers.contains(before)) {
            self.peer(gone, false);
        }
        for there in peers {
            self.peer(there, true);
        }
        if !self.head().told {
            self.set_length(opened.length, opened.byte_length, false);
        }
        // Whatever became of the core meanwhile (another disk, another history), what
        // was read through an earlier connection is not taken for it.
        self.forget_blocks();
        *self.binding.lock() = Binding::Open(session.clone(), opening.keep());
        Ok(())
    }

    /// It is open nowhere any more; returns where it was.
    pub fn unbind(&self) -> Option<(Arc<Session>, u32)> {
        match std::mem::replace(&mut *self.binding.lock(), Binding::None) {
            Binding::Open(session, id) => {
                session.remove_core(id);
                Some((session, id))
            }
            Binding::None => None,
        }
    }
}

/// Closes an id again whose opening was given up or went wrong.
struct Opening<'a> {
    session: &'a Session,
    id: u32,
    done: bool,
}

impl Opening<'_> {
    fn keep(mut self) -> u32 {
        self.done = true;
        self.id
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.session.remove_core(self.id);
            self.session.mux.tell::<hypercore::Close>(&m::CloseRequest { id: self.id });
        }
    }
}

impl Handle {
    /// Closes it for everybody.
    pub async fn close(&self) -> Result<(), CoreError> {
        let Some((session, id)) = self.release() else { return Ok(()) };
        let closed = session.mux.call::<hypercore::Close>(&m::CloseRequest { id }, None, false).await;
        match closed {
            // A connection that is gone has closed it as well.
            Ok(_) | Err(CallError::Lost) => Ok(()),
            Err(CallError::Refused(error)) => Err(error),
        }
    }

    /// Marks it closed and strikes it off the client's lists.
    fn release(&self) -> Option<(Arc<Session>, u32)> {
        let state = &self.state;
        if state.closed.swap(true, Ordering::AcqRel) {
            return None;
        }
        let this: *const Self = self;
        if let Some((key, _)) = state.identity.get() {
            let mut cores = state.client.cores.lock();
            if cores.get(key).is_some_and(|listed| std::ptr::eq(listed.as_ptr(), this)) {
                cores.remove(key);
            }
        }
        let mut names = state.client.names.lock();
        for name in self.names.lock().drain(..) {
            if names.get(&name).is_some_and(|listed| std::ptr::eq(listed.as_ptr(), this)) {
                names.remove(&name);
            }
        }
        drop(names);
        let bound = state.unbind();
        state.emit(CoreEvent::Closed);
        bound
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some((session, id)) = self.release() {
            session.mux.tell::<hypercore::Close>(&m::CloseRequest { id });
        }
    }
}
