//! The past: what differs from an earlier version, every write, and names for
//! versions.

use super::Drive;
use crate::ops::Edit;
use crate::path::{is_key, key_of, path_of};
use crate::proto::{read_varint, varint};
use crate::trie::{ListOptions, Node};
use crate::{DriveError, Stat};
use bytes::Bytes;
use hyperspace_api::{Core, Corestore};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Where tags are, hidden.
const TAGS: &str = "hyperdrive-tags";

/// A path that is not the same in two versions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffEntry {
    /// The path in the drive.
    pub path: String,
    /// What is there now, if anything.
    pub new: Option<Stat>,
    /// What was there, if anything.
    pub old: Option<Stat>,
}

/// One node of the drive's trie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The version that it made.
    pub version: u64,
    /// The path that was written. A removal shows as a path beside the one that is
    /// gone, written again as it was.
    pub path: String,
    /// What was written; `None` for what is no file's record.
    pub stat: Option<Stat>,
}

impl<S: Corestore> Drive<S> {
    /// What differs at and below `prefix` from what was there at `version`, sorted by
    /// path. Mounts are not passed through.
    ///
    /// # Errors
    /// As [`locate`](Self::locate); `EINVAL` for a version that is still to come.
    pub async fn diff(&self, version: u64, prefix: &str) -> Result<Vec<DiffEntry>, DriveError> {
        let (drive, key) = self.resolve(&key_of(prefix)?, true).await?;
        let mut view = drive.inner.view().await?;
        if drive.writable() && version > drive.metadata_core().length() && version <= view.version() {
            // A version that is not in the core yet cannot be read from it.
            drive.commit().await?;
            view = drive.inner.view().await?;
        }
        if version > view.version() {
            return Err(DriveError::Invalid(format!(
                "The drive is at version {}; there is no version {version} yet",
                view.version()
            )));
        }
        let old = view.at(version);
        let mut diff = view.snapshot.diff_iter(&old.snapshot, &key, false).await?;
        let mut entries = Vec::new();
        while let Some(entry) = diff.next().await? {
            let stat = |node: Option<Arc<Node>>| node.and_then(|node| view.decode(&node));
            let changed = entry.is_change() && is_key(&entry.key);
            let (new, old) = (stat(entry.left), stat(entry.right));
            if changed && new != old {
                entries.push(DiffEntry { path: path_of(&entry.key), new, old });
            }
        }
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(entries)
    }

    /// The newest `limit` writes, the newest first.
    pub async fn history(&self, limit: usize) -> Result<Vec<HistoryEntry>, DriveError> {
        let view = self.inner.view().await?;
        let mut history = view.snapshot.history(1..view.version(), true);
        let mut entries = Vec::new();
        while entries.len() < limit
            && let Some(node) = history.next().await?
        {
            if !node.hidden() && is_key(node.key()) {
                let (version, path) = (node.seq + 1, path_of(node.key()));
                entries.push(HistoryEntry { version, path, stat: view.decode(&node) });
            }
        }
        Ok(entries)
    }

    /// Names a version; without one, the newest (what waits is committed first, so
    /// that it has a version). An old name is given anew.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub async fn create_tag(&self, name: &str, version: Option<u64>) -> Result<(), DriveError> {
        let key = tag_key(name)?;
        self.inner.check_writable("/")?;
        let version = match version {
            Some(version) => version,
            None => {
                self.commit().await?;
                self.inner.view().await?.version()
            }
        };
        let mut value = Vec::new();
        varint(&mut value, version);
        self.inner.apply(vec![Edit::PutHidden { key, value: value.into() }]).await
    }

    /// Takes a name away. `ENOENT` if there is none.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub async fn delete_tag(&self, name: &str) -> Result<(), DriveError> {
        let key = tag_key(name)?;
        self.inner.check_writable("/")?;
        self.inner.apply(vec![Edit::DelHidden { key }]).await
    }

    /// Every tag, and the version it names.
    pub async fn tags(&self) -> Result<BTreeMap<String, u64>, DriveError> {
        let view = self.inner.view().await?;
        let options = ListOptions { hidden: true, gt: true, ..ListOptions::default() };
        let nodes = view.snapshot.list(TAGS, options).await?;
        let tag = |node: &Arc<Node>| {
            let name = node.key().strip_prefix(TAGS)?.strip_prefix('/')?;
            let value: Bytes = node.value.clone()?;
            Some((name.to_owned(), read_varint(&mut value.as_ref()).ok()?))
        };
        Ok(nodes.iter().filter_map(tag).collect())
    }
}

fn tag_key(name: &str) -> Result<String, DriveError> {
    let name = key_of(name)?;
    if name.is_empty() {
        return Err(DriveError::Invalid("A tag needs a name".into()));
    }
    Ok(format!("{TAGS}/{name}"))
}
