//! What the server asks of a store beyond opening cores.

use crate::extensions::{ExtensionEnd, Silent};
use hyperspace_api::memory::MemoryStore;
use hyperspace_api::{CoreError, Corestore, Key};
use hyperswarm::KeyPair;
use std::future::Future;

/// A store that a [`Server`](crate::Server) can serve.
pub trait Store: Corestore {
    /// The public key by which this machine is known in the swarm. Derived from the
    /// store's primary key, so that a restored backup keeps its identity.
    fn identity(&self) -> Key;

    /// How often a core's history was rewritten.
    fn fork(core: &Self::Core) -> u64;

    /// Returns when everything appended before is on the disk.
    fn flush(&self) -> impl Future<Output = Result<(), CoreError>> + Send;

    /// Flushes and lets go of the disk.
    fn close(&self) -> impl Future<Output = Result<(), CoreError>> + Send;

    /// A client has `core` open, until what is returned is dropped: peers are to be asked
    /// for it.
    fn follow(&self, _core: &Self::Core) -> Follow {
        Box::new(())
    }

    /// Registers an extension of a core. It is not registered yet.
    fn extension(_core: &Self::Core, _name: &str) -> Result<Box<dyn ExtensionEnd>, CoreError> {
        Ok(Box::new(Silent))
    }
}

/// See [`Store::follow`].
pub type Follow = Box<dyn std::any::Any + Send + Sync>;

/// What the key pair of the swarm is derived from; that name is the custom of npm's
/// users of corestore 7 and hyperswarm 4.
const SWARM_KEY_NAME: &str = "hyperswarm";

/// The key pair by which a store's machine is known in the swarm.
pub(crate) fn swarm_keys(store: &hypercore::Corestore) -> KeyPair {
    KeyPair::from_seed(store.derive_key_pair(store.namespace_bytes(), SWARM_KEY_NAME).seed())
}

impl Store for hypercore::Corestore {
    fn identity(&self) -> Key {
        Key::from(swarm_keys(self).public_key())
    }

    fn fork(core: &Self::Core) -> u64 {
        core.fork()
    }

    async fn flush(&self) -> Result<(), CoreError> {
        self.flush().await
    }

    async fn close(&self) -> Result<(), CoreError> {
        self.close().await
    }
}

/// For tests of what lies above: no keys, no disk.
impl Store for MemoryStore {
    fn identity(&self) -> Key {
        Key::from([0; 32])
    }

    fn fork(_: &Self::Core) -> u64 {
        0
    }

    async fn flush(&self) -> Result<(), CoreError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), CoreError> {
        Ok(())
    }
}
