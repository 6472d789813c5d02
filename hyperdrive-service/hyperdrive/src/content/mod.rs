//! The bytes of files: the content core, and what is still to be appended to it.
//!
//! A file is one contiguous range of blocks. Small files wait in memory
//! ([`pending`]) and go out many in one append; large ones are streamed straight to
//! the core ([`write`]). Nothing here knows the index.

mod ahead;
mod pending;
mod reader;
mod write;

pub use reader::Reader;
pub use write::ContentSource;

use crate::trie::Header;
use crate::{DriveError, Extent};
use bytes::Bytes;
use hyperspace_api::{Core, CoreError, Corestore, GetOptions, Key, OpenTarget};
use parking_lot::Mutex;
use pending::Pending;
pub(crate) use pending::Placed;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// Bytes of a content block that we write (the last of a file may be shorter).
pub const BLOCK_SIZE: usize = 64 * 1024;
/// Content of at most this many bytes may wait in memory for a commit.
pub const SMALL_CONTENT: usize = 1024 * 1024;
/// Bytes that one append carries, about.
const APPEND_BYTES: u64 = 4 * 1024 * 1024;

/// A drive's content core, opened when it is first needed.
pub(crate) struct ContentLog<S: Corestore> {
    store: S,
    metadata: S::Core,
    timeout: Duration,
    core: OnceCell<S::Core>,
    pending: Mutex<Pending>,
    /// Held by whoever appends: a file's blocks must not be parted by another's.
    appending: tokio::sync::Mutex<()>,
}

impl<S: Corestore> ContentLog<S> {
    pub(crate) fn new(store: S, metadata: S::Core, timeout: Duration) -> Self {
        Self {
            store,
            metadata,
            timeout,
            core: OnceCell::new(),
            pending: Mutex::default(),
            appending: tokio::sync::Mutex::default(),
        }
    }

    /// Where the core is kept.
    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    /// How blocks are asked for.
    pub(crate) fn get_options(&self) -> GetOptions {
        GetOptions { timeout: Some(self.timeout), ..GetOptions::default() }
    }

    /// The name under which the store derives the content core of a drive of ours.
    pub(crate) fn name(metadata: &S::Core) -> String {
        format!("{}-content", metadata.key())
    }

    /// The content core.
    pub(crate) async fn core(&self) -> Result<&S::Core, DriveError> {
        self.core.get_or_try_init(|| self.open()).await
    }

    /// Opens the core in the background, and asks peers how long it is: somebody will
    /// read from it soon.
    pub(crate) fn expect(self: &Arc<Self>) {
        let this = self.clone();
        tokio::spawn(async move {
            // Whoever reads hears what is wrong.
            if let Ok(core) = this.core().await
                && core.length() == 0
            {
                let _ = core.update(Some(1)).await;
            }
        });
    }

    async fn open(&self) -> Result<S::Core, DriveError> {
        let block = self.metadata.get(0, self.get_options()).await?;
        let header = Header::from_block(&block).map_err(|_| not_a_drive(&self.metadata))?;
        let key = header.metadata.and_then(|key| Key::try_from(key.as_ref()).ok());
        let key = key.ok_or_else(|| not_a_drive(&self.metadata))?;
        if self.metadata.writable() {
            let ours = self.store.open(OpenTarget::Name(Self::name(&self.metadata))).await?;
            if ours.key() == key {
                return Ok(ours);
            }
        }
        Ok(self.store.open(OpenTarget::Key(key)).await?)
    }

    /// Puts small content among that which waits for a commit.
    pub(crate) async fn pend(&self, content: &Bytes) -> Result<Extent, DriveError> {
        if content.is_empty() {
            return Ok(Extent::default());
        }
        if content.len() > SMALL_CONTENT {
            return Err(DriveError::Invalid(format!(
                "{} bytes are too many to keep in memory: write_content takes them",
                content.len()
            )));
        }
        let core = self.core().await?;
        Ok(self.pending.lock().push(content, core.length(), core.byte_length()))
    }

    /// Where an extent lies now.
    pub(crate) fn place(&self, extent: Extent) -> Placed {
        self.pending.lock().place(extent)
    }

    /// The extent in the core, if it is there.
    pub(crate) fn committed(&self, extent: Extent) -> Option<Extent> {
        match self.place(extent) {
            Placed::Core(extent) => Some(extent),
            Placed::Pending(_) | Placed::Unknown => None,
        }
    }

    /// Bytes that wait for a commit.
    pub(crate) fn pending_bytes(&self) -> u64 {
        self.pending.lock().bytes()
    }

    /// Forgets content that waits and that nobody has seen (unless it was appended
    /// already).
    pub(crate) fn forget(&self, extents: &[Extent]) {
        self.pending.lock().forget(extents);
    }

    /// Appends all that waits.
    pub(crate) async fn commit(&self) -> Result<(), DriveError> {
        if self.pending_bytes() == 0 {
            return Ok(());
        }
        let core = self.core().await?;
        let _turn = self.appending.lock().await;
        Ok(self.drain(core).await?)
    }

    /// The same, by whoever holds `appending`.
    async fn drain(&self, core: &S::Core) -> Result<(), CoreError> {
        loop {
            let blocks = self.pending.lock().seal(APPEND_BYTES);
            if blocks.is_empty() {
                return Ok(());
            }
            let bytes = total(&blocks);
            let appended = core.append(blocks, None).await.inspect_err(|_| self.pending.lock().unseal())?;
            let byte = appended.byte_length.checked_sub(bytes).ok_or_else(wrong_append)?;
            self.pending.lock().settle(appended.first, byte);
        }
    }

    /// Returns when all that was appended is on the disk.
    pub(crate) async fn flush(&self) -> Result<(), DriveError> {
        match self.core.get() {
            Some(core) if core.writable() => Ok(core.flush().await?),
            // Never opened: nothing of ours is in it.
            _ => Ok(()),
        }
    }
}

/// `bytes` in blocks.
fn blocks_of(bytes: &Bytes) -> Vec<Bytes> {
    (0..bytes.len())
        .step_by(BLOCK_SIZE)
        .map(|start| bytes.slice(start..bytes.len().min(start + BLOCK_SIZE)))
        .collect()
}

fn total(blocks: &[Bytes]) -> u64 {
    blocks.iter().map(|block| block.len() as u64).sum()
}

fn wrong_append() -> CoreError {
    CoreError::Corrupt("the core is shorter than what was appended to it".into())
}

pub(crate) fn not_a_drive(core: &impl Core) -> DriveError {
    DriveError::Unsupported(format!("The core {} holds no drive", core.key()))
}
