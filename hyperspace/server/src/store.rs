//! What the server asks of a store beyond opening cores.

use hyperspace_api::memory::MemoryStore;
use hyperspace_api::{CoreError, Corestore, Key};
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
}

/// What the key pair of the swarm is derived from; that name is the custom of npm's
/// users of corestore 7 and hyperswarm 4.
const SWARM_KEY_NAME: &str = "hyperswarm";

impl Store for hypercore::Corestore {
    fn identity(&self) -> Key {
        Key::from(self.derive_key_pair(self.namespace_bytes(), SWARM_KEY_NAME).public_key())
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
