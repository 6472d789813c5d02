//! What of a drive is held here.

use super::{Drive, WalkOptions};
use crate::path::{key_of, path_of, split};
use crate::{DriveError, Stat};
use hyperspace_api::{Core, Corestore, OpenTarget};

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
    pub(super) async fn files(&self, path: &str) -> Result<Vec<(Self, String, Stat)>, DriveError> {
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
    pub(super) async fn blocks_of(
        &self,
        stat: &Stat,
    ) -> Result<Option<(S::Core, std::ops::Range<u64>)>, DriveError> {
        if let Some(mount) = stat.mount.as_ref().filter(|mount| mount.hypercore) {
            let core = self.drives.store().open(OpenTarget::Key(mount.key)).await?;
            let end = core.length();
            return Ok(Some((core, 0..end)));
        }
        let Some(extent) = self.inner.content.committed(stat.extent()) else { return Ok(None) };
        Ok(Some((self.content_core().await?, extent.offset..extent.end())))
    }
}
