//! What all handles of one open core share.

use super::network::Network;
use super::serve::Served;
use crate::crypto::KeyPair;
use crate::crypto::namespace::Namespace;
use crate::manifest::{Manifest, Verifier};
use crate::merkle::{Node, NodeSource, ReadError, Tree};
use crate::storage::StoreError;
use crate::storage::cache::{CoreCache, Lookup};
use crate::storage::engine::{Engine, Lsn, Stamp, Tailed};
use crate::storage::nodes::PageKey;
use crate::storage::op::{CoreId, CoreRecord, Op, Secret};
use crate::storage::tail::{JournalId, Known, Tail};
use hyperspace_api::{CoreError, CoreEvent, DiscoveryKey, Key};
use parking_lot::{Mutex, RwLock};
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tokio::sync::{Notify, broadcast};

/// Events that a slow receiver may fall behind before it misses some. Each takes about 100
/// bytes of every open core that anybody listens to, whether it is used or not.
const EVENTS: usize = 32;

/// Heads that are remembered until they are flushed; with more, the ones between are left
/// out, which only makes [`CoreShared::flushed`] lag.
const UNFLUSHED: usize = 64;

/// Who may write, and how that is checked.
#[derive(Debug)]
pub struct Authority {
    /// Checks and makes signatures.
    pub verifier: Verifier,
    /// The manifest, once known.
    pub manifest: Option<Manifest>,
    /// As stored.
    pub record: CoreRecord,
    signer: Option<Signer>,
}

/// The key pair we sign with. Making it from its seed takes longer than all the rest of
/// opening a core, so that is left for the first signature.
struct Signer {
    seed: [u8; 32],
    pair: OnceLock<KeyPair>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signer(secret)")
    }
}

impl Authority {
    /// From a stored record. `pair`, if it is at hand, is the key pair of the record's secret.
    pub fn new(
        record: CoreRecord,
        primary_key: &[u8; 32],
        pair: Option<KeyPair>,
    ) -> Result<Self, StoreError> {
        let key = Key::from(record.key);
        let manifest = record.manifest.as_deref().map(Manifest::from_slice).transpose()?;
        if manifest.as_ref().is_some_and(|manifest| !manifest.belongs_to(&key)) {
            return Err(StoreError::Damaged(format!("the manifest of core {key}")));
        }
        let verifier = Verifier::new(&key, manifest.as_ref());
        let signer = |seed| Signer { seed, pair: pair.map_or_else(OnceLock::new, OnceLock::from) };
        let signer = match &record.secret {
            Secret::None => None,
            // The key was derived from that very pair.
            Secret::Derived { namespace, name } => {
                Some(signer(Namespace(*namespace).seed(primary_key, name)))
            }
            // Somebody gave it to us: it may be one of several that have to sign.
            Secret::Seed(seed) => Some(signer(*seed)).filter(|signer| verifier.is_sole_signer(signer.pair())),
        };
        Ok(Self { verifier, manifest, record, signer })
    }

    /// The same, with the manifest, which has to belong to the key.
    pub fn with_manifest(&self, key: &Key, manifest: &Manifest) -> Self {
        let mut record = self.record.clone();
        record.manifest = Some(manifest.to_vec().into());
        let verifier = Verifier::new(key, Some(manifest));
        let signer = self.signer.as_ref().and_then(|signer| {
            let signer = Signer { seed: signer.seed, pair: signer.pair.clone() };
            verifier.is_sole_signer(signer.pair()).then_some(signer)
        });
        Self { verifier, manifest: Some(manifest.clone()), record, signer }
    }

    /// The same, frozen.
    pub fn frozen(&self) -> Self {
        let signer =
            self.signer.as_ref().map(|signer| Signer { seed: signer.seed, pair: signer.pair.clone() });
        Self {
            verifier: self.verifier.clone(),
            manifest: self.manifest.clone(),
            record: CoreRecord { frozen: true, ..self.record.clone() },
            signer,
        }
    }

    /// Can this be the core of that name?
    pub fn is_named(&self, namespace: &[u8; 32], name: &[u8]) -> bool {
        match &self.record.secret {
            Secret::Derived { namespace: own_namespace, name: own_name } => {
                own_namespace == namespace && own_name == name
            }
            Secret::Seed(_) => true,
            Secret::None => false,
        }
    }

    /// May we sign alone?
    pub fn can_sign(&self) -> bool {
        self.signer.is_some()
    }

    /// The key pair we sign with, if we may alone.
    pub fn key_pair(&self) -> Option<&KeyPair> {
        self.signer.as_ref().map(Signer::pair)
    }
}

impl Signer {
    fn pair(&self) -> &KeyPair {
        self.pair.get_or_init(|| KeyPair::from_seed(&self.seed))
    }
}

/// One open core.
pub struct CoreShared {
    pub(crate) id: CoreId,
    pub(crate) key: Key,
    pub(crate) discovery_key: DiscoveryKey,
    pub(crate) authority: RwLock<Arc<Authority>>,
    /// Held while the log is changed: changes happen one after the other.
    pub(crate) writer: Mutex<()>,
    /// The log. Locked for moments only.
    pub(crate) tail: RwLock<Tail>,
    pub(crate) cache: Arc<CoreCache>,
    /// Tells everyone who waits that the log has changed, or the core was closed.
    pub(crate) changed: Notify,
    pub(crate) closed: AtomicBool,
    /// Was it opened since the list of idle cores was last looked through?
    pub(crate) used: AtomicBool,
    /// Is it on that list?
    pub(crate) listed: AtomicBool,
    /// What peers were shown last: see [`LocalCore::served`](super::LocalCore::served).
    pub(super) served: Mutex<Option<Arc<Served>>>,
    /// Where its peers are.
    pub(super) network: Network,
    /// A number for [`CoreShared::length`] without a lock.
    length: AtomicU64,
    events: OnceLock<broadcast::Sender<CoreEvent>>,
    unflushed: Mutex<Unflushed>,
}

/// Heads that may not be on the disk yet.
#[derive(Debug, Default)]
struct Unflushed {
    /// The newest (fork, length) that is.
    flushed: (u64, u64),
    /// The ones after it, oldest first.
    heads: VecDeque<(Lsn, u64, u64)>,
}

impl CoreShared {
    /// A core with its state.
    pub fn new(id: CoreId, authority: Authority, tail: Tail, engine: &Engine, network: Network) -> Arc<Self> {
        let key = Key::from(authority.record.key);
        let flushed = (tail.head.fork, tail.head.length);
        Arc::new(Self {
            id,
            key,
            discovery_key: key.discovery_key(),
            authority: RwLock::new(Arc::new(authority)),
            writer: Mutex::new(()),
            length: AtomicU64::new(tail.head.length),
            tail: RwLock::new(tail),
            cache: CoreCache::new(engine.budget()),
            changed: Notify::new(),
            closed: AtomicBool::new(false),
            used: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            served: Mutex::new(None),
            network,
            events: OnceLock::new(),
            unflushed: Mutex::new(Unflushed { flushed, heads: VecDeque::new() }),
        })
    }

    /// Blocks.
    pub fn length(&self) -> u64 {
        self.length.load(Ordering::Acquire)
    }

    /// Who may write.
    pub fn authority(&self) -> Arc<Authority> {
        self.authority.read().clone()
    }

    /// Fails if the core was closed.
    pub fn check_open(&self, engine: &Engine) -> Result<(), CoreError> {
        if self.closed.load(Ordering::Acquire) || engine.is_closed() {
            Err(CoreError::Closed)
        } else {
            Ok(())
        }
    }

    /// Commits ops about this core, and makes them visible to its readers.
    pub fn commit(
        self: &Arc<Self>,
        engine: &Engine,
        ops: Vec<Op>,
        tree: Option<Arc<Tree>>,
    ) -> Result<Stamp, StoreError> {
        engine.commit(ops, Some((self.id, self.clone())), |ops, stamp| {
            let mut tail = self.tail.write();
            let mut cut = false;
            let mut head = false;
            for op in ops {
                tail.apply(op, stamp.journal);
                cut |= matches!(op, Op::Truncate { .. } | Op::Delete { .. });
                head |= matches!(op, Op::Head { .. });
            }
            if tree.is_some() {
                tail.tree = tree;
            }
            if cut {
                self.cache.invalidate(&crate::storage::tail::Stale { everything: true, pages: Vec::new() });
            }
            self.length.store(tail.head.length, Ordering::Release);
            if head {
                self.unflushed.lock().push(stamp.lsn, tail.head.fork, tail.head.length, engine.flushed());
            }
        })
    }

    /// The newest (fork, length) that is known to survive a loss of power. Peers must not be
    /// told of anything beyond it, nor be sent its blocks.
    pub fn flushed(&self, engine: &Engine) -> (u64, u64) {
        let mut unflushed = self.unflushed.lock();
        unflushed.advance(engine.flushed());
        unflushed.flushed
    }

    /// Where events go, if anyone has ever asked for them.
    pub fn emit(&self, event: impl FnOnce() -> CoreEvent) {
        if let Some(events) = self.events.get() {
            // Nobody listening is no failure.
            let _ = events.send(event());
        }
    }

    /// Events from now on. The channel takes some memory, so it is made on demand.
    pub fn subscribe(&self) -> broadcast::Receiver<CoreEvent> {
        self.events.get_or_init(|| broadcast::Sender::new(EVENTS)).subscribe()
    }

    /// Ends the core for all its handles.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.emit(|| CoreEvent::Closed);
            self.changed.notify_waiters();
            if let Some(core) = self.network.get().and_then(|network| network.known(&self.discovery_key)) {
                core.changed();
            }
        }
    }

    /// The tree of the present head.
    pub fn tree(&self, engine: &Engine) -> Result<Arc<Tree>, CoreError> {
        loop {
            let (fork, length) = {
                let tail = self.tail.read();
                if let Some(tree) = &tail.tree {
                    return Ok(tree.clone());
                }
                (tail.head.fork, tail.head.length)
            };
            let loaded = Tree::load(&Nodes { core: self, engine }, fork, length);
            let mut tail = self.tail.write();
            if (tail.head.fork, tail.head.length) != (fork, length) {
                continue;
            }
            let tree = Arc::new(loaded.map_err(|error| damaged_tree(&self.key, error))?);
            if tree.byte_length() != tail.head.byte_length {
                return Err(CoreError::Corrupt(format!(
                    "the roots and the head of core {} disagree",
                    self.key
                )));
            }
            tail.tree = Some(tree.clone());
            return Ok(tree);
        }
    }
}

/// For a tree whose roots have to be there.
fn damaged_tree(key: &Key, error: ReadError<CoreError>) -> CoreError {
    match error {
        ReadError::Source(error) => error,
        other => CoreError::Corrupt(format!("core {key}: {other}")),
    }
}

impl Tailed for CoreShared {
    fn folded(&self, journal: JournalId) {
        // At once, for whoever looks: what has just left the tail must not be looked for in a
        // page that was cached before it was there.
        let mut tail = self.tail.write();
        let stale = tail.folded(journal);
        self.cache.invalidate(&stale);
    }
}

impl Unflushed {
    fn push(&mut self, lsn: Lsn, fork: u64, length: u64, flushed: Lsn) {
        if self.heads.len() >= UNFLUSHED {
            self.advance(flushed);
        }
        // The newest always has a place; what it displaces is the one before.
        if self.heads.len() >= UNFLUSHED {
            self.heads.pop_back();
        }
        self.heads.push_back((lsn, fork, length));
    }

    fn advance(&mut self, flushed: Lsn) {
        while let Some((_, fork, length)) = self.heads.pop_front_if(|(lsn, _, _)| *lsn <= flushed) {
            self.flushed = (fork, length);
        }
    }
}

/// A core's nodes, from memory, cache or database.
pub struct Nodes<'a> {
    pub core: &'a CoreShared,
    pub engine: &'a Engine,
}

impl NodeSource for Nodes<'_> {
    type Error = CoreError;

    fn node(&self, index: u64) -> Result<Option<Node>, CoreError> {
        match self.core.tail.read().node(index) {
            Known::Here(node) => return Ok(Some(node)),
            Known::Gone => return Ok(None),
            Known::Ask => {}
        }
        let (key, slot) = PageKey::of(index);
        let page = match self.core.cache.page(key) {
            Lookup::Hit(page, _) => page,
            Lookup::Miss(generation) => {
                // That there is no such page is worth remembering, too: who fetches a sparse core
                // looks for nodes that are not there all the time.
                let page = self.engine.load_page(self.core.id, key)?.unwrap_or_default();
                if !self.engine.caches() {
                    return Ok(page.get(slot, index));
                }
                self.engine.budget().put_page(&self.core.cache, key, page, generation)
            }
        };
        Ok(page.get(slot, index))
    }
}
