//! What the server asks of a store beyond opening cores.

use hyperspace_api::memory::MemoryStore;
use hyperspace_api::{CoreError, Corestore, Key};
use std::future::Future;

/// A store that a [`Server`](crate::Server) can serve.
pub trait Store: Corestore {
    /// The public key by which this machine is known in the swarm. Derived from the
    /// store's primary key, so that a restored backup keeps its identity.
    fn identity(&self) -> Key;

    /// Returns when everything appended before is on the disk.
    fn flush(&self) -> impl Future<Output = Result<(), CoreError>> + Send;

    /// Flushes and lets go of the disk.
    fn close(&self) -> impl Future<Output = Result<(), CoreError>> + Send;
}

impl Store for MemoryStore {
    fn identity(&self) -> Key {
        Key::from([0; 32])
    }

    async fn flush(&self) -> Result<(), CoreError> {
        Ok(())
    }

    async fn close(&self) -> Result<(), CoreError> {
        Ok(())
    }
}
