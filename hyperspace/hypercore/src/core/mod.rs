//! A core of this store: [`LocalCore`].

mod append;
mod conflict;
pub(crate) mod network;
mod read;
mod receive;
mod serve;
pub(crate) mod shared;

use crate::manifest::Manifest;
use crate::merkle::Tree;
use crate::storage::engine::Engine;
use crate::storage::op::Op;
use bytes::Bytes;
use hyperspace_api::{
    Appended, Core, CoreError, CoreEvent, CoreInfo, DiscoveryKey, GetOptions, Key, Peer, Seek,
};
use shared::{CoreShared, Nodes};
use std::fmt;
use std::sync::Arc;
use tokio::sync::broadcast;

pub use receive::{Accepted, Received, Refused};
pub use serve::{NotServed, Served};

/// The largest block that may be appended.
pub const MAX_BLOCK: usize = 15 * 1024 * 1024;

/// The longest name, and the largest value, of user data.
const MAX_USER_KEY: usize = 1024;
const MAX_USER_VALUE: usize = 1024 * 1024;

/// A core kept in this process's [`Corestore`](crate::Corestore).
///
/// Cheap to clone; all handles of one core share its state. A [`snapshot`](Self::snapshot)
/// is a handle that stays at the length it was made with.
#[derive(Clone)]
pub struct LocalCore {
    shared: Arc<CoreShared>,
    engine: Arc<Engine>,
    view: Option<View>,
}

/// What a snapshot sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct View {
    fork: u64,
    length: u64,
    byte_length: u64,
}

impl LocalCore {
    pub(crate) fn new(shared: Arc<CoreShared>, engine: Arc<Engine>) -> Self {
        Self { shared, engine, view: None }
    }

    pub(crate) fn shared(&self) -> &Arc<CoreShared> {
        &self.shared
    }

    /// How often its history was rewritten.
    pub fn fork(&self) -> u64 {
        self.view.map_or_else(|| self.shared.tail.read().head.fork, |view| view.fork)
    }

    /// The manifest, once it is known. A compat core has none.
    pub fn manifest(&self) -> Option<Manifest> {
        self.shared.authority().manifest.clone()
    }

    /// The signature over the tree of its length; empty for an empty core.
    pub fn signature(&self) -> Bytes {
        self.shared.tail.read().head.signature.clone()
    }

    /// Every block below this one is held.
    pub fn contiguous_length(&self) -> u64 {
        self.shared.tail.read().held.contiguous().min(self.length())
    }

    /// The core as it is now, for good: appends do not show, and it cannot be written. What
    /// is truncated or cleared from the core is gone from here too.
    pub fn snapshot(&self) -> Self {
        let view = self.view.unwrap_or_else(|| {
            let tail = self.shared.tail.read();
            View { fork: tail.head.fork, length: tail.head.length, byte_length: tail.head.byte_length }
        });
        Self { view: Some(view), ..self.clone() }
    }

    /// Is this a [`snapshot`](Self::snapshot)?
    pub fn is_snapshot(&self) -> bool {
        self.view.is_some()
    }

    /// Up to which length peers may be told of the core and sent its blocks: what survives a
    /// loss of power. After more was appended, [`flush`](Core::flush) raises it.
    ///
    /// A writer who showed more could, after a power cut, come to sign a second and different
    /// log of a length that somebody has seen; its readers would call that a fork.
    pub fn flushed_length(&self) -> u64 {
        let (fork, length) = self.shared.flushed(&self.engine);
        if fork == self.fork() { length.min(self.length()) } else { 0 }
    }

    /// A value that the user keeps with the core. Not replicated.
    pub fn user_data(&self, key: &[u8]) -> Result<Option<Bytes>, CoreError> {
        if conflict::is_reserved(key) { Ok(None) } else { self.read_user_data(key) }
    }

    fn read_user_data(&self, key: &[u8]) -> Result<Option<Bytes>, CoreError> {
        use crate::storage::tail::Known;
        self.shared.check_open(&self.engine)?;
        match self.shared.tail.read().user_data(key) {
            Known::Here(value) => return Ok(Some(value)),
            Known::Gone => return Ok(None),
            Known::Ask => {}
        }
        Ok(self.engine.load_user_data(self.shared.id, key)?)
    }

    /// Keeps a value with the core; `None` removes it. Names have at most 1,024 bytes, values
    /// 1 MiB; names that begin with a zero byte are the core's own.
    pub fn set_user_data(&self, key: &[u8], value: Option<Bytes>) -> Result<(), CoreError> {
        self.shared.check_open(&self.engine)?;
        if key.len() > MAX_USER_KEY || value.as_ref().is_some_and(|value| value.len() > MAX_USER_VALUE) {
            return Err(CoreError::Invalid("user data is too large".into()));
        }
        if conflict::is_reserved(key) {
            return Err(CoreError::Invalid("a name of user data must not begin with a zero byte".into()));
        }
        let op = Op::UserData { core: self.shared.id, key: Bytes::copy_from_slice(key), value };
        let _changes = self.shared.writer.lock();
        self.shared.commit(&self.engine, vec![op], None)?;
        Ok(())
    }

    /// Fork, length and signature, of one moment.
    pub(crate) fn signed_head(&self) -> (u64, u64, Bytes) {
        let tail = self.shared.tail.read();
        (tail.head.fork, tail.head.length, tail.head.signature.clone())
    }

    /// The tree of the core as it is now, whatever this handle sees.
    pub(crate) fn present_tree(&self) -> Result<Arc<Tree>, CoreError> {
        self.shared.tree(&self.engine)
    }

    pub(crate) fn nodes(&self) -> Nodes<'_> {
        Nodes { core: &self.shared, engine: &self.engine }
    }
}

impl fmt::Debug for LocalCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalCore")
            .field("key", &self.shared.key)
            .field("length", &self.length())
            .field("snapshot", &self.view.is_some())
            .finish()
    }
}

impl Core for LocalCore {
    fn key(&self) -> Key {
        self.shared.key
    }

    fn discovery_key(&self) -> DiscoveryKey {
        self.shared.discovery_key
    }

    fn writable(&self) -> bool {
        self.view.is_none() && self.shared.authority.read().can_sign()
    }

    fn length(&self) -> u64 {
        self.view.map_or_else(|| self.shared.length(), |view| view.length)
    }

    fn byte_length(&self) -> u64 {
        self.view.map_or_else(|| self.shared.tail.read().head.byte_length, |view| view.byte_length)
    }

    async fn append(&self, blocks: Vec<Bytes>, expected_length: Option<u64>) -> Result<Appended, CoreError> {
        self.engine.admit().await;
        self.append_now(&blocks, expected_length)
    }

    async fn get(&self, index: u64, options: GetOptions) -> Result<Bytes, CoreError> {
        self.get_block(index, options).await
    }

    fn get_now(&self, index: u64) -> Option<Bytes> {
        self.read_now(index)
    }

    async fn has(&self, index: u64) -> Result<bool, CoreError> {
        self.shared.check_open(&self.engine)?;
        Ok(index < self.length() && self.shared.tail.read().held.get(index))
    }

    async fn update(&self, min_length: Option<u64>) -> Result<bool, CoreError> {
        self.shared.check_open(&self.engine)?;
        self.update_from_peers(min_length).await
    }

    async fn seek(&self, byte_offset: u64, options: GetOptions) -> Result<Seek, CoreError> {
        self.seek_with_peers(byte_offset, options).await
    }

    async fn download(&self, start: u64, end: u64) -> Result<(), CoreError> {
        self.download_range(start, end).await
    }

    async fn downloaded(&self, start: u64, end: u64) -> Result<u64, CoreError> {
        self.shared.check_open(&self.engine)?;
        let end = end.min(self.length());
        Ok(if start < end { self.shared.tail.read().held.count(start..end) } else { 0 })
    }

    async fn clear(&self, start: u64, end: u64) -> Result<(), CoreError> {
        self.engine.admit().await;
        self.clear_now(start, end)
    }

    async fn flush(&self) -> Result<(), CoreError> {
        Ok(self.engine.flush().await?)
    }

    async fn info(&self) -> Result<CoreInfo, CoreError> {
        self.shared.check_open(&self.engine)?;
        self.describe()
    }

    fn peers(&self) -> Vec<Peer> {
        self.replicated().map(|core| core.peers()).unwrap_or_default()
    }

    fn events(&self) -> broadcast::Receiver<CoreEvent> {
        self.shared.subscribe()
    }
}
