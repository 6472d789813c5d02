//! What of a drive is held here.

use super::{Drive, WalkOptions};
use crate::path::{key_of, path_of, split};
use crate::{DriveError, Stat};
use futures::{StreamExt, TryStreamExt, stream};
use hyperspace_api::{Core, Corestore, OpenTarget};

/// Files that are fetched at once.
const DOWNLOADS: usize = 32;

/// How much of a file is held here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStats {
    /// Its path.
    pub path: String,
    /// Blocks of its content.
    pub blocks: u64,
    /// Bytes of its content.
    pub size: u64,
    /// Blocks held.
    pub downloaded_blocks: u64,
}

impl<S: Corestore> Drive<S> {
    /// Fetches the content of every file at and below `path`, through mounts; returns
    /// when all of it is held. Dropping the future gives up.
    ///
    /// # Errors
    /// As [`walk`](Self::walk); `ETIMEDOUT` for content that nobody has now.
    pub async fn download(&self, path: &str) -> Result<(), DriveError> {
        let download = async |(drive, _, stat): (Self, String, Stat)| {
            if let Some((core, range)) = drive.blocks_of(&stat).await? {
                core.download(range.start, range.end).await?;
            }
            Ok(())
        };
        stream::iter(self.files(path).await?).map(Ok).try_for_each_concurrent(DOWNLOADS, download).await
    }

    /// Gives back the disk space of every file at and below `path`, through mounts.
    /// The files are still there: their content is fetched again when it is read.
    ///
    /// # Errors
    /// As [`walk`](Self::walk). `EPERM` for a drive of ours: nobody else may have its
    /// content.
    pub async fn clear(&self, path: &str) -> Result<(), DriveError> {
        for (drive, path, stat) in self.files(path).await? {
            if drive.metadata_core().writable() {
                return Err(DriveError::NotPermitted(format!("'{path}' is ours, and may be nowhere else")));
            }
            if let Some((core, range)) = drive.blocks_of(&stat).await? {
                core.clear(range.start, range.end).await?;
            }
        }
        Ok(())
    }

    /// How much of each file at and below `path` is held here; through mounts.
    ///
    /// # Errors
    /// As [`walk`](Self::walk).
    pub async fn stats(&self, path: &str) -> Result<Vec<FileStats>, DriveError> {
        let mut found = Vec::new();
        for (drive, path, stat) in self.files(path).await? {
            let downloaded_blocks = match drive.blocks_of(&stat).await? {
                Some((core, range)) => core.downloaded(range.start, range.end).await?,
                None => stat.blocks,
            };
            found.push(FileStats { path, blocks: stat.blocks, size: stat.size, downloaded_blocks });
        }
        Ok(found)
    }

    /// The files at and below `path`: their drive, the path as the caller sees it, and
    /// their record.
    async fn files(&self, path: &str) -> Result<Vec<(Self, String, Stat)>, DriveError> {
        let mut files = Vec::new();
        // Files of one directory are in one drive.
        let mut at: Option<(String, Self)> = None;
        for (path, stat) in self.walk(path, WalkOptions::default()).await? {
            if !stat.is_file() {
                continue;
            }
            let key = key_of(&path)?;
            let dir = split(&key).map_or("", |(dir, _)| dir);
            let drive = match &at {
                Some((known, drive)) if known == dir => drive.clone(),
                _ => {
                    let (drive, _) = self.resolve(dir, true).await?;
                    at = Some((dir.to_owned(), drive.clone()));
                    drive
                }
            };
            files.push((drive, path_of(&key), stat));
        }
        Ok(files)
    }

    /// The core and the blocks in which a file lies; `None` if it is not committed.
    async fn blocks_of(&self, stat: &Stat) -> Result<Option<(S::Core, std::ops::Range<u64>)>, DriveError> {
        if let Some(mount) = stat.mount.as_ref().filter(|mount| mount.hypercore) {
            let core = self.drives.store().open(OpenTarget::Key(mount.key)).await?;
            let end = core.length();
            return Ok(Some((core, 0..end)));
        }
        let Some(extent) = self.inner.content.committed(stat.extent()) else { return Ok(None) };
        Ok(Some((self.content_core().await?, extent.offset..extent.end())))
    }
}
