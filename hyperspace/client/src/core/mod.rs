//! A core in the server, as the program sees it.

mod append;
mod calls;
mod get;
mod readahead;
mod state;

pub use get::GetWith;
pub(crate) use state::{CoreState, Handle};

use crate::download::{Download, DownloadRange};
use crate::extension::Extension;
use crate::lock::LockGuard;
use crate::read_stream::{ReadStream, ReadStreamOptions};
use crate::watch::{Direction, Watch};
use crate::write_stream::WriteStream;
use bytes::Bytes;
use hyperspace_api::{
    Appended, Core, CoreError, CoreEvent, CoreInfo, DiscoveryKey, GetOptions, Key, Peer, Seek,
};
use std::fmt;
use std::sync::Arc;
use tokio::sync::broadcast;

/// A core that a Hyperspace server keeps.
///
/// Cheap to clone; every clone, and every other opening of the same key by the same
/// client, is the same handle. The last one dropped closes it in the server. Most of
/// what it can do is in its implementation of [`Core`].
///
/// Blocks come through the client's cache; reading one after the other makes it read
/// ahead. Blocks are immutable while the core's history stands, so the cache can
/// only be outdated by a truncation, which empties it. A block cleared *through this
/// client* is gone from it at once; one that another program cleared may still be
/// read from it, and its bytes are right.
#[derive(Clone)]
pub struct RemoteHypercore {
    pub(crate) handle: Arc<Handle>,
}

impl RemoteHypercore {
    pub(crate) fn state(&self) -> &Arc<CoreState> {
        &self.handle.state
    }

    /// Was it opened as a weak handle, beneath which the server may close the core?
    pub fn is_weak(&self) -> bool {
        self.handle.weak
    }

    /// [`Core::get`], with a call when the block has to come from the network.
    pub async fn get_with(&self, index: u64, with: GetWith) -> Result<Bytes, CoreError> {
        get::get_with(self.state(), index, with).await
    }

    /// [`Core::update`] in full: `if_available: false` waits until the core has
    /// `min_length` blocks, however long that takes; `hash: false` is content with
    /// a length that nobody signed.
    pub async fn update_with(
        &self,
        min_length: Option<u64>,
        if_available: bool,
        hash: bool,
    ) -> Result<bool, CoreError> {
        calls::update(self.state(), min_length, if_available, hash).await
    }

    /// [`Core::seek`] among the blocks `start..end` only, `end` 0 being the core's.
    pub async fn seek_within(
        &self,
        byte_offset: u64,
        start: u64,
        end: u64,
        options: GetOptions,
    ) -> Result<Seek, CoreError> {
        calls::seek(self.state(), byte_offset, Some((start, end)), options).await
    }

    /// Fetches blocks; see [`Download`]. Nothing is fetched before it is polled.
    pub fn download_range(&self, range: DownloadRange) -> Download {
        Download::new(self.clone(), range)
    }

    /// Waits for the core's advisory lock, which one holder has at a time, whatever
    /// program it is in. Released when the guard is dropped.
    pub async fn lock(&self) -> Result<LockGuard, CoreError> {
        LockGuard::acquire(self).await
    }

    /// Registers an extension of the core's peers.
    pub async fn register_extension(&self, name: &str) -> Result<Extension, CoreError> {
        Extension::of_core(self, name).await
    }

    /// Tells of every block that comes in from a peer, until dropped. The first such
    /// watch makes the server tell, and the last one dropped makes it stop; meanwhile
    /// [`Core::events`] has [`CoreEvent::Download`] too.
    pub fn watch_downloads(&self) -> Watch {
        Watch::new(self.clone(), Direction::Down)
    }

    /// Tells of every block that goes out to a peer; see
    /// [`watch_downloads`](Self::watch_downloads).
    pub fn watch_uploads(&self) -> Watch {
        Watch::new(self.clone(), Direction::Up)
    }

    /// The blocks in order, as a stream.
    pub fn read_stream(&self, options: ReadStreamOptions) -> ReadStream {
        ReadStream::new(self.clone(), options)
    }

    /// Appends bytes as they come, cut into blocks of at most `max_block` bytes.
    pub fn write_stream(&self, max_block: usize) -> WriteStream {
        WriteStream::new(self.clone(), max_block)
    }

    /// Closes it, for every clone, and returns when the server has. Later calls fail
    /// with [`CoreError::Closed`]; a new opening gives a new handle.
    pub async fn close(&self) -> Result<(), CoreError> {
        self.handle.close().await
    }

    /// Was it closed, here or by the server?
    pub fn is_closed(&self) -> bool {
        self.state().is_closed()
    }
}

impl fmt::Debug for RemoteHypercore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteHypercore")
            .field("key", &self.key())
            .field("length", &self.length())
            .field("writable", &self.writable())
            .finish_non_exhaustive()
    }
}

impl Core for RemoteHypercore {
    fn key(&self) -> Key {
        self.state().identity().0
    }

    fn discovery_key(&self) -> DiscoveryKey {
        self.state().identity().1
    }

    fn writable(&self) -> bool {
        self.state().writable()
    }

    fn length(&self) -> u64 {
        self.state().head().length
    }

    fn byte_length(&self) -> u64 {
        self.state().head().byte_length
    }

    async fn append(&self, blocks: Vec<Bytes>, expected_length: Option<u64>) -> Result<Appended, CoreError> {
        append::append(self.state(), blocks, expected_length).await
    }

    async fn get(&self, index: u64, options: GetOptions) -> Result<Bytes, CoreError> {
        get::get(self.state(), index, options).await
    }

    /// From the block cache.
    fn get_now(&self, index: u64) -> Option<Bytes> {
        get::get_now(self.state(), index)
    }

    async fn has(&self, index: u64) -> Result<bool, CoreError> {
        calls::has(self.state(), index).await
    }

    async fn update(&self, min_length: Option<u64>) -> Result<bool, CoreError> {
        calls::update(self.state(), min_length, true, true).await
    }

    async fn seek(&self, byte_offset: u64, options: GetOptions) -> Result<Seek, CoreError> {
        calls::seek(self.state(), byte_offset, None, options).await
    }

    async fn download(&self, start: u64, end: u64) -> Result<(), CoreError> {
        if start >= end {
            return Ok(());
        }
        self.download_range(DownloadRange::blocks(start, end)).await
    }

    async fn downloaded(&self, start: u64, end: u64) -> Result<u64, CoreError> {
        calls::downloaded(self.state(), start, end).await
    }

    async fn clear(&self, start: u64, end: u64) -> Result<(), CoreError> {
        calls::clear(self.state(), start, end).await
    }

    async fn flush(&self) -> Result<(), CoreError> {
        calls::flush(self.state()).await
    }

    async fn info(&self) -> Result<CoreInfo, CoreError> {
        calls::info(self.state()).await
    }

    fn peers(&self) -> Vec<Peer> {
        self.state().peers()
    }

    /// Append, truncate, peer and close events; those of [`CoreEvent::Download`] and
    /// [`CoreEvent::Upload`] only while somebody [watches](RemoteHypercore::watch_downloads)
    /// them. HRPC does not tell the fork of a [`CoreEvent::Truncate`]: it is 0 there;
    /// ask [`Core::info`].
    fn events(&self) -> broadcast::Receiver<CoreEvent> {
        self.state().events().subscribe()
    }
}
