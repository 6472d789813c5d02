//! A store whose cores can be made to hang or to fail.

use bytes::Bytes;
use hyperspace_api::memory::{MemoryCore, MemoryStore};
use hyperspace_api::{
    Appended, Core, CoreError, CoreEvent, CoreInfo, Corestore, GetOptions, Key, OpenTarget, Peer, Seek,
};
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast;

#[derive(Clone, Default)]
pub struct FlakyStore {
    inner: MemoryStore,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// Cores whose blocks no peer sends.
    silent: Mutex<HashSet<Key>>,
    /// Nothing can be appended.
    away: AtomicBool,
}

impl FlakyStore {
    pub fn new(inner: MemoryStore) -> Self {
        Self { inner, faults: Arc::default() }
    }

    pub fn silence(&self, key: Key) {
        self.faults.silent.lock().unwrap().insert(key);
    }

    pub fn set_away(&self, away: bool) {
        self.faults.away.store(away, Ordering::SeqCst);
    }
}

#[derive(Clone)]
pub struct FlakyCore {
    inner: MemoryCore,
    faults: Arc<Faults>,
}

impl Corestore for FlakyStore {
    type Core = FlakyCore;

    async fn open(&self, target: OpenTarget) -> Result<FlakyCore, CoreError> {
        Ok(FlakyCore { inner: self.inner.open(target).await?, faults: self.faults.clone() })
    }
}

impl Core for FlakyCore {
    fn key(&self) -> Key {
        self.inner.key()
    }

    /// What is silent is somebody else's.
    fn writable(&self) -> bool {
        self.inner.writable() && !self.faults.silent.lock().unwrap().contains(&self.key())
    }

    fn length(&self) -> u64 {
        self.inner.length()
    }

    fn byte_length(&self) -> u64 {
        self.inner.byte_length()
    }

    async fn append(&self, blocks: Vec<Bytes>, expected_length: Option<u64>) -> Result<Appended, CoreError> {
        if self.faults.away.load(Ordering::SeqCst) {
            return Err(CoreError::Disconnected("as the test wants".into()));
        }
        self.inner.append(blocks, expected_length).await
    }

    async fn get(&self, index: u64, options: GetOptions) -> Result<Bytes, CoreError> {
        if self.faults.silent.lock().unwrap().contains(&self.key()) {
            if !options.wait {
                return Err(CoreError::NotDownloaded);
            }
            tokio::time::sleep(options.timeout.unwrap_or(Duration::from_secs(3600))).await;
            return Err(CoreError::Timeout);
        }
        self.inner.get(index, options).await
    }

    async fn has(&self, index: u64) -> Result<bool, CoreError> {
        self.inner.has(index).await
    }

    async fn update(&self, min_length: Option<u64>) -> Result<bool, CoreError> {
        self.inner.update(min_length).await
    }

    async fn seek(&self, byte_offset: u64, options: GetOptions) -> Result<Seek, CoreError> {
        self.inner.seek(byte_offset, options).await
    }

    async fn download(&self, start: u64, end: u64) -> Result<(), CoreError> {
        self.inner.download(start, end).await
    }

    async fn downloaded(&self, start: u64, end: u64) -> Result<u64, CoreError> {
        self.inner.downloaded(start, end).await
    }

    async fn clear(&self, start: u64, end: u64) -> Result<(), CoreError> {
        self.inner.clear(start, end).await
    }

    async fn flush(&self) -> Result<(), CoreError> {
        if self.faults.away.load(Ordering::SeqCst) {
            return Err(CoreError::Disconnected("as the test wants".into()));
        }
        self.inner.flush().await
    }

    async fn info(&self) -> Result<CoreInfo, CoreError> {
        self.inner.info().await
    }

    fn peers(&self) -> Vec<Peer> {
        self.inner.peers()
    }

    fn events(&self) -> broadcast::Receiver<CoreEvent> {
        self.inner.events()
    }
}
