//! [`Corestore`]: many cores in one place, found by name or by key.

use crate::core::LocalCore;
use crate::core::network::Network;
use crate::core::shared::{Authority, CoreShared};
use crate::crypto::KeyPair;
use crate::crypto::namespace::Namespace;
use crate::manifest::Manifest;
use crate::replication::driver::Shared as Replicating;
use crate::storage::bitfield::Bitfield;
use crate::storage::engine::Engine;
use crate::storage::op::{CoreId, CoreRecord, Head, Op, Secret};
use crate::storage::tail::Tail;
use crate::storage::{Stats, StoreError, StoreOptions};
use bytes::Bytes;
use hyperspace_api::{Core, CoreError, DiscoveryKey, Key, OpenTarget};
use parking_lot::Mutex;
use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

/// The longest name of a core or a setting.
const MAX_NAME: usize = 4096;

/// The largest value of a setting.
const MAX_SETTING: usize = 16 * 1024 * 1024;

/// The name of the [default core](Corestore::default_core).
const DEFAULT: &str = "default";

/// Keeps many cores in a directory, or in memory. Cheap to clone; clones share the cores.
///
/// A core's key pair is derived from the store's primary key, the namespace and the name
/// (as npm corestore 7 does it), so that whoever has kept those 32 bytes can write all of
/// the store's cores again.
///
/// ```
/// use hypercore::{Corestore, hyperspace_api::{Core, GetOptions}};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Corestore::memory()?;
/// let core = store.open_name("notes")?;
/// core.append(vec!["hello".into()], None).await?;
/// assert_eq!(core.get(0, GetOptions::default()).await?, "hello");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Corestore {
    inner: Arc<Inner>,
    namespace: Namespace,
}

struct Inner {
    engine: Arc<Engine>,
    primary_key: [u8; 32],
    /// How many cores stay open that nobody uses.
    idle_limit: usize,
    registry: Mutex<Registry>,
    network: Network,
}

/// The cores that are open.
#[derive(Default)]
struct Registry {
    cores: HashMap<CoreId, Weak<CoreShared>>,
    /// Cores that stay open for a while, though nobody may use them; longest first.
    idle: VecDeque<Arc<CoreShared>>,
    /// Size of `cores` at which those that are gone are swept out.
    sweep_at: usize,
}

/// A core that a store has, as [`Corestore::list`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedCore {
    /// Its key.
    pub key: Key,
    /// What it is announced under.
    pub discovery_key: DiscoveryKey,
    /// May we append?
    pub writable: bool,
    /// The name it was made by, and the namespace that name is in.
    pub name: Option<([u8; 32], Bytes)>,
    /// Blocks.
    pub length: u64,
    /// Bytes.
    pub byte_length: u64,
}

impl Corestore {
    /// Opens the store in a directory, which is made if need be. Fails with
    /// [`StoreError::InUse`] if another process has it open.
    ///
    /// This may take a while after a crash: call it where blocking does no harm.
    pub fn open(dir: impl AsRef<Path>, options: StoreOptions) -> Result<Self, StoreError> {
        let (engine, primary_key) = Engine::open(dir.as_ref(), &options)?;
        Ok(Self::new(engine, primary_key, options.idle_cores))
    }

    /// A store that keeps everything in memory, and nothing on the disk.
    pub fn memory() -> Result<Self, StoreError> {
        Self::memory_with(StoreOptions::default())
    }

    /// The same with options; those about the disk mean nothing.
    pub fn memory_with(options: StoreOptions) -> Result<Self, StoreError> {
        let primary_key = options.primary_key.map_or_else(random, Ok)?;
        Ok(Self::new(Engine::memory(), primary_key, usize::MAX))
    }

    fn new(engine: Engine, primary_key: [u8; 32], idle_limit: usize) -> Self {
        let inner = Inner {
            engine: Arc::new(engine),
            primary_key,
            idle_limit,
            registry: Mutex::default(),
            network: Network::default(),
        };
        Self { inner: Arc::new(inner), namespace: Namespace::default() }
    }

    fn engine(&self) -> &Engine {
        &self.inner.engine
    }

    /// Waits until there is room for further commits.
    pub(crate) async fn admit(&self) {
        self.engine().admit().await;
    }

    /// Has the cores ask their peers there.
    pub(crate) fn set_replication(&self, replication: Weak<Replicating>) {
        self.inner.network.set(replication);
    }

    /// The 32 bytes from which all key pairs derive. Whoever has them can write all cores.
    pub fn primary_key(&self) -> &[u8; 32] {
        &self.inner.primary_key
    }

    /// The same store, with names looked up in the namespace `name` within this one.
    pub fn namespace(&self, name: impl AsRef<[u8]>) -> Self {
        Self { inner: self.inner.clone(), namespace: self.namespace.child(name.as_ref()) }
    }

    /// The same store, with names looked up in exactly this namespace.
    pub fn with_namespace(&self, namespace: [u8; 32]) -> Self {
        Self { inner: self.inner.clone(), namespace: Namespace(namespace) }
    }

    /// The namespace in which names are looked up; 32 zero bytes for the root.
    pub fn namespace_bytes(&self) -> &[u8; 32] {
        &self.namespace.0
    }

    /// The key pair that `name` has in the namespace `namespace` (32 zero bytes for the root).
    pub fn derive_key_pair(&self, namespace: &[u8; 32], name: impl AsRef<[u8]>) -> KeyPair {
        Namespace(*namespace).key_pair(&self.inner.primary_key, name.as_ref())
    }

    /// Opens a core. The same target gives the same core.
    pub fn open_now(&self, target: OpenTarget) -> Result<LocalCore, CoreError> {
        match target {
            OpenTarget::Key(key) => self.open_key(key),
            OpenTarget::Name(name) => self.open_name(name),
            OpenTarget::New => self.open_new(),
        }
    }

    /// The writable core of a name in this namespace; made if need be.
    pub fn open_name(&self, name: impl AsRef<[u8]>) -> Result<LocalCore, CoreError> {
        let name = Bytes::copy_from_slice(name.as_ref());
        if name.len() > MAX_NAME {
            return Err(CoreError::Invalid(format!("a name has at most {MAX_NAME} bytes")));
        }
        let mut registry = self.inner.registry.lock();
        if let Some(id) = self.engine().alias(&self.namespace.0, &name)?
            && let Some(core) = self.find(&mut registry, id)?
            // A damaged row might lead elsewhere. The way by the key does not depend on it.
            && core.shared().authority().is_named(&self.namespace.0, &name)
        {
            return Ok(core);
        }
        let key_pair = self.namespace.key_pair(&self.inner.primary_key, &name);
        let manifest = Manifest::single_signer(key_pair.public_key());
        let record = CoreRecord {
            key: *manifest.key().as_bytes(),
            manifest: Some(manifest.to_vec().into()),
            secret: Secret::Derived { namespace: self.namespace.0, name: name.clone() },
            frozen: false,
        };
        let alias = Some((self.namespace.0, name));
        self.open_or_make(&mut registry, record, alias, Some(key_pair))
    }

    /// A new writable core, under a random name.
    pub fn open_new(&self) -> Result<LocalCore, CoreError> {
        let name: [u8; 32] = random()?;
        self.open_name(name)
    }

    /// The store's default core: the one named `default` in this namespace.
    pub fn default_core(&self) -> Result<LocalCore, CoreError> {
        self.open_name(DEFAULT)
    }

    /// The core of a key, ours or somebody else's.
    pub fn open_key(&self, key: Key) -> Result<LocalCore, CoreError> {
        let record = CoreRecord { key: *key.as_bytes(), manifest: None, secret: Secret::None, frozen: false };
        self.open_or_make(&mut self.inner.registry.lock(), record, None, None)
    }

    /// The core of a discovery key, if the store has it.
    pub fn open_discovery_key(&self, discovery_key: &DiscoveryKey) -> Result<Option<LocalCore>, CoreError> {
        let mut registry = self.inner.registry.lock();
        match self.engine().core_of(discovery_key.as_bytes())? {
            Some(id) => self.find(&mut registry, id),
            None => Ok(None),
        }
    }

    /// The core that a key pair makes: manifest version 1, one signer.
    pub fn open_key_pair(&self, key_pair: &KeyPair) -> Result<LocalCore, CoreError> {
        self.open_manifest(&Manifest::single_signer(key_pair.public_key()), Some(key_pair))
    }

    /// The core of a manifest; writable if `key_pair` alone may sign for it.
    pub fn open_manifest(
        &self,
        manifest: &Manifest,
        key_pair: Option<&KeyPair>,
    ) -> Result<LocalCore, CoreError> {
        manifest.validate().map_err(|error| CoreError::Invalid(error.to_string()))?;
        let record = CoreRecord {
            key: *manifest.key().as_bytes(),
            manifest: Some(manifest.to_vec().into()),
            secret: key_pair.map_or(Secret::None, |pair| Secret::Seed(*pair.seed())),
            frozen: false,
        };
        self.open_or_make(&mut self.inner.registry.lock(), record, None, key_pair.cloned())
    }

    /// The compat core of a key pair: its key is the public key. For cores made by programs
    /// of before 2024.
    pub fn open_compat(&self, key_pair: &KeyPair) -> Result<LocalCore, CoreError> {
        let record = CoreRecord {
            key: key_pair.public_key(),
            manifest: None,
            secret: Secret::Seed(*key_pair.seed()),
            frozen: false,
        };
        self.open_or_make(&mut self.inner.registry.lock(), record, None, Some(key_pair.clone()))
    }

    /// Opens a core that the store has.
    fn find(&self, registry: &mut Registry, id: CoreId) -> Result<Option<LocalCore>, CoreError> {
        if self.engine().is_closed() {
            return Err(CoreError::Closed);
        }
        let shared = match registry.cores.get(&id).and_then(Weak::upgrade) {
            Some(shared) => shared,
            None => {
                let Some(stored) = self.engine().load_core(id)? else { return Ok(None) };
                let authority = Authority::new(stored.record, &self.inner.primary_key, None)?;
                let tail = Tail::stored(stored.head, stored.held);
                let shared = CoreShared::new(id, authority, tail, self.engine(), self.inner.network.clone());
                registry.cores.insert(id, Arc::downgrade(&shared));
                shared
            }
        };
        registry.keep(&shared, self.inner.idle_limit);
        Ok(Some(LocalCore::new(shared, self.inner.engine.clone())))
    }

    /// Opens the core of that key. If the store has it, what the record says more than the
    /// one that is stored is added to that; if not, it is made.
    fn open_or_make(
        &self,
        registry: &mut Registry,
        record: CoreRecord,
        alias: Option<([u8; 32], Bytes)>,
        key_pair: Option<KeyPair>,
    ) -> Result<LocalCore, CoreError> {
        let discovery_key = Key::from(record.key).discovery_key();
        if let Some(id) = self.engine().core_of(discovery_key.as_bytes())?
            && let Some(core) = self.find(registry, id)?
        {
            if core.discovery_key() != discovery_key {
                return Err(CoreError::Corrupt("the table of cores leads to another core".into()));
            }
            self.learn(&core, record, alias)?;
            return Ok(core);
        }
        let id = self.engine().new_core_id()?;
        let authority = Authority::new(record.clone(), &self.inner.primary_key, key_pair)?;
        let tail = Tail::stored(Head::default(), Bitfield::default());
        let shared = CoreShared::new(id, authority, tail, self.engine(), self.inner.network.clone());
        let mut ops = vec![Op::Core { core: id, record }];
        ops.extend(alias.map(|(namespace, name)| Op::Alias { namespace, name, core: id }));
        shared.commit(self.engine(), ops, None)?;
        registry.cores.insert(id, Arc::downgrade(&shared));
        registry.keep(&shared, self.inner.idle_limit);
        Ok(LocalCore::new(shared, self.inner.engine.clone()))
    }

    /// Adds to a core's record what it lacks.
    fn learn(
        &self,
        core: &LocalCore,
        new: CoreRecord,
        alias: Option<([u8; 32], Bytes)>,
    ) -> Result<(), CoreError> {
        let shared = core.shared();
        let _changes = shared.writer.lock();
        let old = shared.authority();
        let mut record = old.record.clone();
        if record.manifest.is_none() {
            record.manifest = new.manifest;
        }
        if record.secret == Secret::None {
            record.secret = new.secret;
        }
        let mut ops = Vec::new();
        if record != old.record {
            let authority = Authority::new(record.clone(), &self.inner.primary_key, None)?;
            ops.push(Op::Core { core: shared.id, record });
            *shared.authority.write() = Arc::new(authority);
        }
        ops.extend(alias.map(|(namespace, name)| Op::Alias { namespace, name, core: shared.id }));
        if !ops.is_empty() {
            shared.commit(self.engine(), ops, None)?;
        }
        Ok(())
    }

    /// The numbers of all cores.
    pub(crate) async fn core_ids(&self) -> Result<Vec<CoreId>, CoreError> {
        self.engine().settle().await?;
        let mut ids = self.engine().stored_cores()?;
        ids.extend(self.engine().pending_cores());
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// The core of a number.
    pub(crate) fn open_id(&self, id: CoreId) -> Result<Option<LocalCore>, CoreError> {
        self.find(&mut self.inner.registry.lock(), id)
    }

    /// All cores that the store has.
    pub async fn list(&self) -> Result<Vec<ListedCore>, CoreError> {
        let ids = self.core_ids().await?;
        let mut listed = Vec::with_capacity(ids.len());
        for id in ids {
            // One by one, so that thousands of them are not all open at once.
            let open = self.inner.registry.lock().cores.get(&id).and_then(Weak::upgrade);
            let (record, head, writable) = match open {
                Some(shared) => {
                    let authority = shared.authority();
                    let head = shared.tail.read().head.clone();
                    (authority.record.clone(), head, authority.can_sign())
                }
                None => match self.engine().load_core(id)? {
                    Some(stored) => {
                        let writable = stored.record.secret != Secret::None;
                        (stored.record, stored.head, writable)
                    }
                    None => continue,
                },
            };
            let key = Key::from(record.key);
            listed.push(ListedCore {
                key,
                discovery_key: key.discovery_key(),
                writable,
                name: match record.secret {
                    Secret::Derived { namespace, name } => Some((namespace, name)),
                    _ => None,
                },
                length: head.length,
                byte_length: head.byte_length,
            });
        }
        Ok(listed)
    }

    /// Forgets a core and gives its space back. Those who have it open see it closed.
    /// `false` if the store does not have it.
    ///
    /// A writable core can be made again by its name; but whoever has seen it then sees
    /// another log under the same key, and will refuse it.
    pub async fn delete(&self, key: &Key) -> Result<bool, CoreError> {
        let Some(core) = self.open_discovery_key(&key.discovery_key())? else { return Ok(false) };
        let shared = core.shared().clone();
        {
            let mut registry = self.inner.registry.lock();
            let _changes = shared.writer.lock();
            if shared.closed.load(Ordering::Acquire) {
                return Ok(false);
            }
            let alias = match &shared.authority().record.secret {
                Secret::Derived { namespace, name } => Some((*namespace, name.clone())),
                _ => None,
            };
            let discovery_key = *core.discovery_key().as_bytes();
            let stamp = shared.commit(self.engine(), vec![Op::Delete { core: shared.id }], None)?;
            self.engine().forget(discovery_key, alias, stamp);
            registry.cores.remove(&shared.id);
            registry.idle.retain(|idle| !Arc::ptr_eq(idle, &shared));
        }
        shared.close();
        self.engine().settle().await?;
        Ok(true)
    }

    /// A value that is kept for the store as a whole.
    pub fn setting(&self, key: impl AsRef<[u8]>) -> Result<Option<Bytes>, CoreError> {
        Ok(self.engine().setting(&Bytes::copy_from_slice(key.as_ref()))?)
    }

    /// Keeps a value for the store as a whole; `None` removes it. At most 16 MiB.
    pub fn put_setting(&self, key: impl AsRef<[u8]>, value: Option<Bytes>) -> Result<(), CoreError> {
        let key = Bytes::copy_from_slice(key.as_ref());
        if key.len() > MAX_NAME || value.as_ref().is_some_and(|value| value.len() > MAX_SETTING) {
            return Err(CoreError::Invalid("a setting is too large".into()));
        }
        self.engine().commit(vec![Op::Setting { key, value }], None, |_, _| {})?;
        Ok(())
    }

    /// Returns when everything that was done before is on the disk.
    pub async fn flush(&self) -> Result<(), CoreError> {
        Ok(self.engine().flush().await?)
    }

    /// Returns when the space of everything that was cleared before is given back (which
    /// happens by itself within a second), and everything is on the disk.
    pub async fn settle(&self) -> Result<(), CoreError> {
        Ok(self.engine().settle().await?)
    }

    /// Closes all cores, and returns when everything is on the disk. The directory can be
    /// opened again once the last handle is dropped.
    pub async fn close(&self) -> Result<(), CoreError> {
        let open: Vec<_> = {
            let mut registry = self.inner.registry.lock();
            registry.idle.clear();
            std::mem::take(&mut registry.cores).into_values().filter_map(|core| core.upgrade()).collect()
        };
        let closed = self.engine().close().await;
        open.iter().for_each(|core| core.close());
        Ok(closed?)
    }

    /// How many cores are open, used or idle.
    pub fn open_cores(&self) -> usize {
        self.inner.registry.lock().cores.values().filter(|core| core.strong_count() > 0).count()
    }

    /// The store in numbers.
    pub fn stats(&self) -> Result<Stats, CoreError> {
        Ok(self.engine().stats()?)
    }
}

impl hyperspace_api::Corestore for Corestore {
    type Core = LocalCore;

    async fn open(&self, target: OpenTarget) -> Result<LocalCore, CoreError> {
        self.engine().admit().await;
        self.open_now(target)
    }
}

impl Registry {
    /// Remembers that a core was used, and lets go of what was not for long.
    fn keep(&mut self, core: &Arc<CoreShared>, limit: usize) {
        core.used.store(true, Ordering::Relaxed);
        if !core.listed.swap(true, Ordering::Relaxed) {
            self.idle.push_back(core.clone());
        }
        while self.idle.len() > limit {
            let Some(core) = self.idle.pop_front() else { break };
            if core.used.swap(false, Ordering::Relaxed) {
                self.idle.push_back(core);
            } else {
                core.listed.store(false, Ordering::Relaxed);
            }
        }
        if self.cores.len() >= self.sweep_at {
            self.cores.retain(|_, core| core.strong_count() > 0);
            self.sweep_at = 2 * self.cores.len() + 64;
        }
    }
}

/// 32 random bytes from the system.
pub(crate) fn random() -> Result<[u8; 32], StoreError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| StoreError::Io {
        doing: "asking the system for random numbers".into(),
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(bytes)
}
