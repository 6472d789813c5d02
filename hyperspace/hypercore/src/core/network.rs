//! How a core asks its peers.

use super::LocalCore;
use crate::replication::driver::{CoreTraffic, Extension, ReplicatedCore, Shared};
use crate::replication::replicator::{Demand, Outcome};
use hyperspace_api::{Core, CoreError, GetOptions, Seek};
use parking_lot::RwLock;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// What replicates the cores of a store, if anything does.
#[derive(Clone, Default)]
pub(crate) struct Network(Arc<RwLock<Weak<Shared>>>);

impl Network {
    pub(crate) fn set(&self, shared: Weak<Shared>) {
        *self.0.write() = shared;
    }

    pub(crate) fn get(&self) -> Option<Arc<Shared>> {
        self.0.read().upgrade()
    }
}

impl LocalCore {
    fn network(&self) -> Option<Arc<Shared>> {
        self.shared.network.get()
    }

    /// What replicates it, if anything does at present.
    pub(super) fn replicated(&self) -> Option<Arc<ReplicatedCore>> {
        self.network()?.known(&self.shared.discovery_key)
    }

    /// The core as it is, whatever this handle sees of it.
    pub(crate) fn whole(&self) -> Self {
        Self { view: None, ..self.clone() }
    }

    /// What was exchanged with peers about it, since there is replication of its store.
    pub fn traffic(&self) -> CoreTraffic {
        self.network().map(|network| network.traffic(&self.shared.discovery_key)).unwrap_or_default()
    }

    /// Registers an extension: see [`Extension`]. The core is replicated while it is
    /// registered. Fails if there is no [`Replication`](crate::replication::Replication) of
    /// the store.
    pub fn extension(&self, name: &str) -> Result<Extension, CoreError> {
        self.network().ok_or(CoreError::NotAvailable)?.extension(self, name)
    }

    /// Gives the blocks `start..end` (1,024 at most) that are here, and that peers do not have,
    /// to those peers that take what they did not ask for.
    pub fn push(&self, start: u64, end: u64) {
        if let Some(core) = self.replicated() {
            core.push(start, end);
        }
    }

    /// Wants something of peers. [`Outcome::NotAvailable`] if there is no replication.
    async fn want(&self, demand: Demand) -> Outcome {
        if self.is_frozen() {
            return Outcome::Failed(CoreError::Frozen);
        }
        match self.network() {
            Some(network) => network.wanted(self, demand).await,
            None => Outcome::NotAvailable,
        }
    }

    /// Waits until peers have brought a block, or cannot.
    pub(super) async fn fetch(&self, index: u64, if_available: bool) -> Result<(), CoreError> {
        self.want_blocks(Demand::Block { index, if_available }).await
    }

    async fn want_blocks(&self, demand: Demand) -> Result<(), CoreError> {
        match self.want(demand).await {
            Outcome::Failed(error) => Err(error),
            Outcome::NotAvailable => Err(CoreError::NotAvailable),
            Outcome::Done | Outcome::Found(_) => Ok(()),
        }
    }

    pub(super) async fn update_from_peers(&self, min_length: Option<u64>) -> Result<bool, CoreError> {
        let length = min_length.unwrap_or_else(|| self.length() + 1);
        if self.length() >= length {
            return Ok(true);
        }
        if self.view.is_some() {
            return Ok(false);
        }
        match self.want(Demand::Update { length }).await {
            Outcome::Failed(error) => Err(error),
            _ => Ok(self.length() >= length),
        }
    }

    pub(super) async fn seek_with_peers(&self, bytes: u64, options: GetOptions) -> Result<Seek, CoreError> {
        let here = self.seek_byte(bytes).await;
        if !options.wait || self.view.is_some() || !matches!(here, Err(CoreError::SeekNotAvailable)) {
            return here;
        }
        let if_available = options.if_available;
        within(options.timeout, async {
            match self.want(Demand::Seek { bytes, if_available }).await {
                Outcome::Found(seek) => Ok(seek),
                Outcome::Failed(error) => Err(error),
                Outcome::NotAvailable | Outcome::Done => Err(CoreError::SeekNotAvailable),
            }
        })
        .await
    }

    pub(super) async fn download_range(&self, start: u64, end: u64) -> Result<(), CoreError> {
        self.shared.check_open(&self.engine)?;
        if start > end {
            return Err(CoreError::Invalid("a download ends before it starts".into()));
        }
        let missing = end > self.length() || self.shared.tail.read().held.find(start..end, false).is_some();
        if !missing {
            return Ok(());
        }
        // Few blocks are likely to be read in their order.
        let linear = end - start <= LINEAR;
        self.want_blocks(Demand::Range { start, end, linear }).await
    }
}

/// Downloads of no more blocks are made from the first to the last.
const LINEAR: u64 = 256;

/// Gives up after a while.
pub(super) async fn within<T>(
    timeout: Option<Duration>,
    work: impl Future<Output = Result<T, CoreError>>,
) -> Result<T, CoreError> {
    match timeout {
        None => work.await,
        Some(timeout) => tokio::time::timeout(timeout, work).await.unwrap_or(Err(CoreError::Timeout)),
    }
}
