//! [`Corestore`]: many cores in one place, found by name or by key.

mod listing;
mod opening;
mod registry;

pub use listing::ListedCore;

use crate::core::network::Network;
use crate::crypto::KeyPair;
use crate::crypto::namespace::Namespace;
use crate::replication::driver::Shared as Replicating;
use crate::storage::engine::Engine;
use crate::storage::op::Op;
use crate::storage::{Stats, StoreError, StoreOptions};
use bytes::Bytes;
use hyperspace_api::CoreError;
use parking_lot::Mutex;
use registry::Registry;
use std::path::Path;
use std::sync::{Arc, Weak};

/// The longest name of a core or a setting.
const MAX_NAME: usize = 4096;

/// The largest value of a setting.
const MAX_SETTING: usize = 16 * 1024 * 1024;

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

    /// The store in numbers.
    pub fn stats(&self) -> Result<Stats, CoreError> {
        Ok(self.engine().stats()?)
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
