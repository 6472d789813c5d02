//! Large files: streamed straight into the content core, one at a time.

use super::{BLOCK_SIZE, ContentLog, SMALL_CONTENT, blocks_of, total, wrong_append};
use crate::{DriveError, Extent};
use bytes::{Bytes, BytesMut};
use hyperspace_api::{Core, CoreError, Corestore};
use std::future::Future;
use std::io;

/// Bytes of one append of a large file.
const CHUNK: usize = 32 * BLOCK_SIZE;
/// Another process may come in between so often before we give up.
const ATTEMPTS: usize = 16;

/// Something with bytes at offsets, such as a file.
pub trait ContentSource: Send + Sync {
    /// Up to `len` bytes from `offset`; none at the end. A blocking read belongs
    /// on a thread that may block.
    fn read_at(&self, offset: u64, len: usize) -> impl Future<Output = io::Result<Bytes>> + Send;
}

impl ContentSource for Bytes {
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        Ok(self.slice(start..self.len().min(start.saturating_add(len))))
    }
}

impl<T: ContentSource> ContentSource for &T {
    async fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        T::read_at(self, offset, len).await
    }
}

async fn read_chunk(source: &impl ContentSource, offset: u64, size: u64) -> io::Result<Bytes> {
    let wanted = usize::try_from(size.saturating_sub(offset)).unwrap_or(CHUNK).min(CHUNK);
    if wanted == 0 {
        return Ok(Bytes::new());
    }
    let first = source.read_at(offset, wanted).await?;
    if first.len() == wanted {
        return Ok(first);
    }
    let mut chunk = BytesMut::from(first);
    while chunk.len() < wanted {
        let more = source.read_at(offset + chunk.len() as u64, wanted - chunk.len()).await?;
        if more.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "The source became shorter while it was read",
            ));
        }
        chunk.extend_from_slice(&more[..more.len().min(wanted - chunk.len())]);
    }
    Ok(chunk.freeze())
}

impl<S: Corestore> ContentLog<S> {
    /// Appends `size` bytes of `source` contiguously. When another process appends
    /// in between, starts anew; what was appended until then is left as it is.
    pub(crate) async fn write(&self, source: &impl ContentSource, size: u64) -> Result<Extent, DriveError> {
        if size == 0 {
            return Ok(Extent::default());
        }
        let core = self.core().await?;
        let _turn = self.appending.lock().await;
        // So that what waits gets the place it expects.
        self.drain(core).await?;
        let mut attempt = 1;
        loop {
            match stream(core, source, size).await {
                Err(DriveError::Core(CoreError::Conflict { .. })) if attempt < ATTEMPTS => attempt += 1,
                done => return done,
            }
        }
    }

    /// Makes the file at `extent` longer where it lies, if nothing comes after it.
    pub(crate) async fn extend(&self, extent: Extent, more: &Bytes) -> Result<Option<Extent>, DriveError> {
        if more.is_empty() {
            return Ok(Some(extent));
        }
        if extent.blocks == 0 && extent.size == 0 {
            return Ok(if more.len() <= SMALL_CONTENT { Some(self.pend(more).await?) } else { None });
        }
        if let Some(grown) = self.pending.lock().grow(extent, more) {
            return Ok(Some(grown));
        }
        let core = self.core().await?;
        let _turn = self.appending.lock().await;
        let Some(extent) = self.committed(extent) else { return Ok(None) };
        let end = extent.byte_offset.checked_add(extent.size);
        if core.length() != extent.end() || Some(core.byte_length()) != end {
            return Ok(None);
        }
        let blocks = blocks_of(more);
        let (count, bytes) = (blocks.len() as u64, total(&blocks));
        match core.append(blocks, Some(extent.end())).await {
            Ok(appended) if appended.byte_length.checked_sub(bytes) == end => {
                Ok(Some(Extent { blocks: extent.blocks + count, size: extent.size + bytes, ..extent }))
            }
            Ok(_) | Err(CoreError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

async fn stream(core: &impl Core, source: &impl ContentSource, size: u64) -> Result<Extent, DriveError> {
    let mut extent: Option<Extent> = None;
    let mut chunk = read_chunk(source, 0, size).await?;
    let mut sent = 0;
    loop {
        let blocks = blocks_of(&chunk);
        let (count, bytes) = (blocks.len() as u64, chunk.len() as u64);
        sent += bytes;
        // The next chunk is read while this one is appended.
        let (appended, next) = futures::join!(
            core.append(blocks, extent.map(|extent| extent.end())),
            read_chunk(source, sent, size)
        );
        let appended = appended?;
        let byte_offset = appended.byte_length.checked_sub(bytes).ok_or_else(wrong_append)?;
        let extent = extent.get_or_insert(Extent { offset: appended.first, byte_offset, blocks: 0, size: 0 });
        extent.blocks += count;
        extent.size = sent;
        if sent == size {
            return Ok(*extent);
        }
        chunk = next?;
    }
}
