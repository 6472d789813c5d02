//! A drive: the handle that everybody holds.
//!
//! Each file of this module is one side of it: [`inner`] what all handles share,
//! [`lookup`] paths, [`edit`] changes, [`commit`] how they reach the cores,
//! [`changes`] those of others, [`news`] when they are shown, [`history`] the past,
//! [`storage`] what is held here, [`download`] having more or less of it.

mod changes;
mod commit;
mod download;
mod edit;
mod history;
mod inner;
mod lookup;
mod news;
mod storage;

pub use changes::Change;
pub use download::{Cleared, Progress};
pub use history::{DiffEntry, HistoryEntry};
pub(crate) use inner::Inner;
pub use lookup::{Located, MountEntry, WalkOptions};
pub use storage::FileStats;

use crate::content::{ContentSource, Reader};
use crate::{DriveError, Drives, Extent, Stat};
use bytes::Bytes;
use hyperspace_api::{Core, Corestore, DiscoveryKey, Key};
use std::sync::Arc;
use tokio::sync::broadcast;

/// A drive, live or at a version. Clones are the same drive.
///
/// Paths are absolute in the drive (`/a/b`) and pass through mounts; symbolic links
/// are followed only where that is said.
pub struct Drive<S: Corestore> {
    pub(crate) drives: Drives<S>,
    pub(crate) inner: Arc<Inner<S>>,
}

impl<S: Corestore> Clone for Drive<S> {
    fn clone(&self) -> Self {
        Self { drives: self.drives.clone(), inner: self.inner.clone() }
    }
}

impl<S: Corestore> std::fmt::Debug for Drive<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Drive").field("key", &self.key()).field("version", &self.checked_out()).finish()
    }
}

impl<S: Corestore> Drive<S> {
    /// The key by which everybody knows it: that of its metadata core.
    pub fn key(&self) -> Key {
        self.metadata_core().key()
    }

    /// What its metadata core is announced under.
    pub fn discovery_key(&self) -> DiscoveryKey {
        self.metadata_core().discovery_key()
    }

    /// Blocks of the metadata core, those included that are not committed yet; of a
    /// checkout, its version.
    pub fn version(&self) -> u64 {
        self.inner.version()
    }

    /// May we change it?
    pub fn writable(&self) -> bool {
        self.inner.writable()
    }

    /// The version it stays at, if it is a checkout.
    pub fn checked_out(&self) -> Option<u64> {
        self.inner.pinned_at()
    }

    /// The core of names and attributes.
    pub fn metadata_core(&self) -> &S::Core {
        self.inner.metadata()
    }

    /// The core of the files' bytes; only a drive's first block tells which it is.
    pub async fn content_core(&self) -> Result<S::Core, DriveError> {
        self.inner.view().await?;
        Ok(self.inner.content.core().await?.clone())
    }

    /// The drive as it was after `version` blocks of its metadata core; read-only.
    /// Changes that wait are committed first only if the caller does so.
    ///
    /// # Errors
    /// `EINVAL` for a version that is still to come.
    pub fn checkout(&self, version: u64) -> Result<Self, DriveError> {
        let length = self.metadata_core().length();
        if self.metadata_core().writable() && version > length {
            return Err(DriveError::Invalid(format!(
                "The drive is at version {length}; there is no version {version} yet"
            )));
        }
        Ok(self.drives.pinned(self, version))
    }

    /// Reads the file of which `stat` was found in this drive (the one that
    /// [`locate`](Self::locate) tells, if there are mounts on the way).
    pub fn reader(&self, stat: &Stat) -> Reader<S> {
        let content = self.inner.content.clone();
        match &stat.mount {
            Some(mount) if mount.hypercore => Reader::whole_core(content, mount.key, stat.extent()),
            _ => Reader::new(content, stat.extent()),
        }
    }

    /// Streams `size` bytes of `source` into the content core, for an
    /// [`Op`](crate::Op) to give them to a file. When another process appends at the
    /// same time, `source` is read anew from its start.
    pub async fn write_content(&self, source: impl ContentSource, size: u64) -> Result<Extent, DriveError> {
        self.inner.check_writable("/")?;
        self.inner.view().await?;
        self.inner.content.write(&source, size).await
    }

    /// Makes the content at `extent` longer where it lies. `None` if something comes
    /// after it: then it must be written anew.
    pub async fn extend_content(&self, extent: Extent, more: Bytes) -> Result<Option<Extent>, DriveError> {
        self.inner.check_writable("/")?;
        self.inner.view().await?;
        self.inner.content.extend(extent, &more).await
    }

    /// Commits what waits.
    ///
    /// # Errors
    /// What the cores say. The changes still wait then, and are tried again.
    pub async fn commit(&self) -> Result<(), DriveError> {
        self.inner.commit().await
    }

    /// Commits what waits, and returns when all that was committed is on the disk.
    pub async fn flush(&self) -> Result<(), DriveError> {
        self.inner.flush().await
    }

    /// What others change in this drive from now on (not in those mounted in it).
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.inner.subscribe()
    }
}
