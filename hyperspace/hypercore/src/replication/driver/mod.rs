//! Replicates the cores of a store over connections: see [`Replication`].

mod channel;
mod connection;
mod core;
mod extension;
mod link;
mod pool;
mod timers;

pub(crate) use self::core::ReplicatedCore;
pub use self::core::{CoreTraffic, PeerTraffic};
pub use connection::{Attached, MAX_UNPROCESSED};
pub use extension::{Answerer, Extension, Reply};
pub use link::{ConnectionInfo, Link};

use super::replicator::{Demand, Outcome};
use crate::core::LocalCore;
use crate::corestore::{Corestore, random};
use connection::Connection;
use hyperspace_api::{CoreError, DiscoveryKey, Key};
use link::Named;
use parking_lot::Mutex;
use pool::Pool;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};
use timers::Timers;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// How long a peer that lied is refused.
const BANNED_FOR: Duration = Duration::from_secs(600);

/// Cores of which it is remembered what was exchanged while they are not replicated.
const MAX_PAST: usize = 1 << 16;

/// Peers that are remembered for it.
const MAX_BANNED: usize = 4096;

/// How a store is replicated.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReplicationOptions {
    /// Threads that check, store and read; none is started before it is needed.
    pub threads: usize,
    /// Take blocks that we did not ask for, of cores that we have.
    pub allow_push: bool,
}

impl Default for ReplicationOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(4, usize::from).clamp(4, 16);
        Self { threads, allow_push: false }
    }
}

/// Replicates the cores of a store over any number of connections.
///
/// There is one for a store. While it lives, the store's cores ask peers: for blocks, longer
/// trees, bytes ([`Core::get`](hyperspace_api::Core::get) and the like).
///
/// A core that nobody wants anything of costs a connection nothing until the peer asks for it.
pub struct Replication {
    shared: Arc<Shared>,
    timers: JoinHandle<()>,
}

pub(crate) struct Shared {
    store: Corestore,
    options: ReplicationOptions,
    pool: Pool,
    timers: Arc<Timers>,
    runtime: Handle,
    cores: Mutex<HashMap<DiscoveryKey, Arc<ReplicatedCore>>>,
    connections: Mutex<HashMap<u64, Arc<Connection>>>,
    banned: Mutex<HashMap<Key, Instant>>,
    answerers: Mutex<HashMap<String, Arc<dyn Answerer>>>,
    /// What was exchanged about cores that are not replicated at present.
    past: Mutex<HashMap<DiscoveryKey, CoreTraffic>>,
    /// Might peers come soon, whatever core they have?
    expected: AtomicUsize,
    scout: OnceLock<Weak<dyn Scout>>,
    next: AtomicU64,
    seed: u64,
}

/// Why a connection is not replicated on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AttachError {
    /// The peer has lied to us lately.
    #[error("the peer was cut off")]
    Banned,
}

impl Replication {
    /// Replicates a store. To be called within a tokio runtime, in which it then works.
    pub fn new(store: &Corestore, options: ReplicationOptions) -> Result<Self, CoreError> {
        let mut seed = [0; 8];
        seed.copy_from_slice(&random()?[..8]);
        let timers = Arc::new(Timers::default());
        let shared = Arc::new(Shared {
            store: store.clone(),
            pool: Pool::new(options.threads),
            options,
            timers: timers.clone(),
            runtime: Handle::current(),
            cores: Mutex::default(),
            connections: Mutex::default(),
            banned: Mutex::default(),
            answerers: Mutex::default(),
            past: Mutex::default(),
            expected: AtomicUsize::new(0),
            scout: OnceLock::new(),
            next: AtomicU64::new(1),
            seed: u64::from_le_bytes(seed),
        });
        store.set_replication(Arc::downgrade(&shared));
        Ok(Self { shared, timers: tokio::spawn(timers.run()) })
    }

    /// Replicates on a connection: opens what we want, and what the peer wants and we have.
    /// Give what the peer does to what comes back, and drop that when the connection is over.
    pub fn attach<L: Link>(&self, info: ConnectionInfo, link: L) -> Result<Attached<L>, AttachError> {
        if self.shared.is_banned(&info.remote_public_key) {
            return Err(AttachError::Banned);
        }
        let named = Arc::new(Named::new(link));
        let id = self.shared.next_id();
        let connection = Arc::new(Connection::new(id, info, named.clone(), self.shared.clone()));
        self.shared.connections.lock().insert(id, connection.clone());
        self.shared.runtime.spawn(connection.clone().watch());
        let cores: Vec<_> = self.shared.cores.lock().values().cloned().collect();
        for core in cores.iter().filter(|core| core.is_wanted()) {
            connection.open(core, false);
        }
        Ok(Attached::new(connection, named))
    }

    /// Follows a core for as long as the guard lives: it is open on all connections, and grows
    /// as peers have more. What it holds is not fetched by that.
    pub fn follow(&self, core: &LocalCore) -> Followed {
        loop {
            let replicated = self.shared.core(core);
            if replicated.follow(true) {
                return Followed(replicated);
            }
        }
    }

    /// Says that peers of a core are being looked for, for as long as the guard lives: till
    /// then, nothing is called unavailable.
    pub fn looking(&self, core: &LocalCore) -> Looking {
        loop {
            let replicated = self.shared.core(core);
            if replicated.look_up(true) {
                return Looking(replicated);
            }
        }
    }

    /// Says that peers may come soon that have any of the cores (a call is under way, say), for
    /// as long as the guard lives: till then, nothing is called unavailable.
    pub fn expect_peers(&self) -> Expected {
        if self.shared.expected.fetch_add(1, Ordering::AcqRel) == 0 {
            self.shared.hopes_changed();
        }
        Expected(Arc::downgrade(&self.shared))
    }

    /// From now on, `scout` is told of cores that lack peers. Only the first is.
    pub fn set_scout(&self, scout: Weak<dyn Scout>) {
        // Whoever comes later is not asked, as is said.
        let _ = self.shared.scout.set(scout);
    }

    /// Gives `answerer` whatever peers send by the extension `name`, besides those who have
    /// registered it for a core.
    pub fn answer(&self, name: &str, answerer: Arc<dyn Answerer>) {
        self.shared.answerers.lock().insert(name.to_owned(), answerer);
    }

    /// Cores that are replicated, or wait for a peer.
    pub fn cores(&self) -> usize {
        self.shared.cores.lock().len()
    }

    /// Connections.
    pub fn connections(&self) -> usize {
        self.shared.connections.lock().len()
    }

    /// Is the peer refused, for having lied?
    pub fn is_banned(&self, peer: &Key) -> bool {
        self.shared.is_banned(peer)
    }
}

impl Drop for Replication {
    fn drop(&mut self) {
        self.timers.abort();
        self.shared.store.set_replication(Weak::new());
        // They hold what holds them.
        let cores = std::mem::take(&mut *self.shared.cores.lock());
        let connections = std::mem::take(&mut *self.shared.connections.lock());
        for connection in connections.values() {
            connection.link.give_up("replication has ended");
        }
        cores.values().for_each(|core| core.end());
        drop((cores, connections));
    }
}

/// Looks for peers where they are missing.
pub trait Scout: Send + Sync + 'static {
    /// Something is wanted of a core that nobody who is connected has open. To have it
    /// [looked for](Replication::looking) now keeps it from being called unavailable.
    /// `is_waited_for`: somebody waits for it, and will have an error if it is.
    fn alone(&self, core: &LocalCore, is_waited_for: bool);
}

/// While it lives, a core is followed: see [`Replication::follow`].
pub struct Followed(Arc<ReplicatedCore>);

impl Drop for Followed {
    fn drop(&mut self) {
        self.0.follow(false);
    }
}

/// While it lives, peers are being looked for: see [`Replication::looking`].
pub struct Looking(Arc<ReplicatedCore>);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.look_up(false);
    }
}

/// While it lives, peers may come: see [`Replication::expect_peers`].
pub struct Expected(Weak<Shared>);

impl Drop for Expected {
    fn drop(&mut self) {
        if let Some(shared) = self.0.upgrade()
            && shared.expected.fetch_sub(1, Ordering::AcqRel) == 1
        {
            shared.hopes_changed();
        }
    }
}

impl Shared {
    /// Whether peers may come soon has changed.
    fn hopes_changed(&self) {
        let cores: Vec<_> = self.cores.lock().values().cloned().collect();
        cores.iter().filter(|core| core.is_wanted()).for_each(ReplicatedCore::changed);
    }

    fn next_id(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn next_seed(&self) -> u64 {
        self.seed.wrapping_add(self.next_id())
    }

    /// What replicates a core, if anything does.
    pub(crate) fn known(&self, key: &DiscoveryKey) -> Option<Arc<ReplicatedCore>> {
        self.cores.lock().get(key).cloned()
    }

    /// What replicates a core.
    pub(crate) fn core(self: &Arc<Self>, core: &LocalCore) -> Arc<ReplicatedCore> {
        let key = core.shared().discovery_key;
        let mut cores = self.cores.lock();
        if let Some(known) = cores.get(&key)
            && Arc::ptr_eq(known.core.shared(), core.shared())
        {
            return known.clone();
        }
        let past = self.past.lock().remove(&key).unwrap_or_default();
        let replicated = Arc::new(ReplicatedCore::new(core.whole(), self.clone(), past));
        cores.insert(key, replicated.clone());
        replicated
    }

    /// The core that a peer wants, if we have it.
    fn find(self: &Arc<Self>, key: &DiscoveryKey) -> Option<Arc<ReplicatedCore>> {
        if let Some(known) = self.known(key) {
            return Some(known);
        }
        match self.store.open_discovery_key(key) {
            Ok(core) => core.map(|core| self.core(&core)),
            Err(error) => {
                tracing::warn!("opening a core for a peer: {error}");
                None
            }
        }
    }

    /// Opens a core on all connections.
    fn open_everywhere(&self, core: &Arc<ReplicatedCore>) {
        let connections: Vec<_> = self.connections.lock().values().cloned().collect();
        for connection in connections {
            connection.open(core, false);
        }
    }

    /// A core is no longer replicated: nobody wants it, and it has no peers.
    fn retire(&self, core: &Arc<ReplicatedCore>) {
        let mut cores = self.cores.lock();
        let key = core.core.shared().discovery_key;
        if cores.get(&key).is_some_and(|known| Arc::ptr_eq(known, core)) {
            cores.remove(&key);
            let (past, mut all) = (core.traffic(), self.past.lock());
            if past != CoreTraffic::default() && (all.len() < MAX_PAST || all.contains_key(&key)) {
                all.insert(key, past);
            }
        }
    }

    /// What was exchanged about a core.
    pub(crate) fn traffic(&self, key: &DiscoveryKey) -> CoreTraffic {
        // Under the lock, so that it is on one side or the other.
        let cores = self.cores.lock();
        match cores.get(key) {
            Some(core) => core.traffic(),
            None => self.past.lock().get(key).cloned().unwrap_or_default(),
        }
    }

    fn ban(&self, peer: Key) {
        let now = Instant::now();
        let mut banned = self.banned.lock();
        banned.retain(|_, until| *until > now);
        if banned.len() < MAX_BANNED {
            banned.insert(peer, now + BANNED_FOR);
        }
    }

    fn is_banned(&self, peer: &Key) -> bool {
        self.banned.lock().get(peer).is_some_and(|until| *until > Instant::now())
    }

    /// Wants something of a core's peers, until it has come or is dropped.
    pub(crate) async fn wanted(self: Arc<Self>, core: &LocalCore, demand: Demand) -> Outcome {
        loop {
            if let Some(wanted) = self.core(core).want(demand) {
                return wanted.outcome().await;
            }
        }
    }

    fn ask_scout(&self, core: &LocalCore, is_waited_for: bool) {
        if let Some(scout) = self.scout.get().and_then(Weak::upgrade) {
            scout.alone(core, is_waited_for);
        }
    }

    /// Registers an extension of a core.
    pub(crate) fn extension(self: &Arc<Self>, core: &LocalCore, name: &str) -> Result<Extension, CoreError> {
        loop {
            let replicated = self.core(core);
            let extension = Extension::register(replicated.clone(), name)?;
            if replicated.look_again() {
                return Ok(extension);
            }
        }
    }
}
