//! A store whose cores are replicated with [`Peers`].

use super::Peers;
use crate::extensions::{ExtensionEnd, Receiving};
use crate::store::{Follow, Store};
use bytes::Bytes;
use hypercore::replication::Extension;
use hypercore::{Corestore, LocalCore};
use hyperspace_api::{Core, CoreError, Key, OpenTarget};
use hypertrie::hints::{self, Query};
use std::sync::Arc;

/// The store of a server with peers.
#[derive(Clone)]
pub struct Replicated {
    store: Corestore,
    peers: Arc<Peers>,
}

impl Replicated {
    /// `store`, of which `peers` has the replication.
    pub fn new(store: Corestore, peers: Arc<Peers>) -> Self {
        Self { store, peers }
    }
}

impl hyperspace_api::Corestore for Replicated {
    type Core = LocalCore;

    async fn open(&self, target: OpenTarget) -> Result<LocalCore, CoreError> {
        self.store.open(target).await
    }
}

impl Store for Replicated {
    fn identity(&self) -> Key {
        self.store.identity()
    }

    fn fork(core: &LocalCore) -> u64 {
        core.fork()
    }

    async fn flush(&self) -> Result<(), CoreError> {
        self.store.flush().await
    }

    async fn close(&self) -> Result<(), CoreError> {
        self.store.close().await
    }

    /// A core that is ours alone is served when a peer asks for it; one that comes from
    /// others is asked for, on every connection.
    fn follow(&self, core: &LocalCore) -> Follow {
        if core.writable() { Box::new(()) } else { Box::new(self.peers.follow(core)) }
    }

    fn extension(core: &LocalCore, name: &str) -> Result<Box<dyn ExtensionEnd>, CoreError> {
        Ok(Box::new(CoreExtension(core.extension(name)?)))
    }
}

/// An extension of a core.
struct CoreExtension(Extension);

impl ExtensionEnd for CoreExtension {
    fn receive(&mut self) -> Receiving<'_> {
        Box::pin(self.0.receive())
    }

    fn send(&self, to: Option<Key>, payload: Bytes) {
        let sent = match to {
            // One peer is enough: what several give is the same.
            None if self.0.name() == hints::EXTENSION && hints::asks_for_blocks(&payload).is_some() => {
                const MOST: u64 = hints::BLOCKS_MAX as u64;
                return self.report(match Query::decode(&payload) {
                    Some(query) if query.head == hints::NEWEST => self.0.greet(payload, MOST),
                    _ => self.0.consult(payload, MOST),
                });
            }
            Some(key) => self.0.send(key, payload),
            None => self.0.broadcast(payload),
        };
        self.report(sent);
    }
}

impl CoreExtension {
    fn report<T>(&self, sent: Result<T, CoreError>) {
        if let Err(error) = sent {
            tracing::debug!(name = self.0.name(), %error, "a message of an extension was not sent");
        }
    }
}
