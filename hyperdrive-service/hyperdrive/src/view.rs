//! One version of one drive, mounts not passed through.
//!
//! Turns trie nodes into files and directories. Everything in them may be a
//! stranger's: a record that is none is an error where it is asked for by name, and
//! left out where a directory is listed; names that no directory may hold are not
//! seen at all.

use crate::content::ContentLog;
use crate::mounts::MountTable;
use crate::path::{join, path_of};
use crate::trie::{ListOptions, Node, Snapshot};
use crate::{DriveError, Stat, path};
use hyperspace_api::{Core, CoreError, Corestore, GetOptions};
use std::pin::pin;
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The user flag of a mountpoint's node and of its hidden record.
pub(crate) const MOUNT: u64 = 1;
/// The hidden key of the root's record: the trie has no node for the root itself.
pub(crate) const ROOT: &str = "hyperdrive-root";

/// One version of a drive.
pub(crate) struct View<S: Corestore> {
    pub(crate) snapshot: Snapshot<S::Core>,
    content: Arc<ContentLog<S>>,
    mounts: Arc<OnceCell<MountTable>>,
}

impl<S: Corestore> Clone for View<S> {
    fn clone(&self) -> Self {
        Self { snapshot: self.snapshot.clone(), content: self.content.clone(), mounts: self.mounts.clone() }
    }
}

/// Something that is in a drive.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) stat: Stat,
    /// Has it a node of its own? Directories may be without.
    pub(crate) explicit: bool,
    pub(crate) mountpoint: bool,
    /// Is anything below it?
    pub(crate) has_below: bool,
}

impl<S: Corestore> View<S> {
    pub(crate) fn new(snapshot: Snapshot<S::Core>, content: Arc<ContentLog<S>>) -> Self {
        Self { snapshot, content, mounts: Arc::default() }
    }

    /// A newer version that has the same mounts.
    pub(crate) fn with_same_mounts(&self, snapshot: Snapshot<S::Core>) -> Self {
        Self { snapshot, content: self.content.clone(), mounts: self.mounts.clone() }
    }

    /// An older version.
    pub(crate) fn at(&self, version: u64) -> Self {
        Self::new(self.snapshot.trie().at(version), self.content.clone())
    }

    pub(crate) fn version(&self) -> u64 {
        self.snapshot.version()
    }

    /// The mounts of this drive itself.
    pub(crate) async fn mounts(&self) -> Result<&MountTable, DriveError> {
        self.mounts.get_or_try_init(|| MountTable::read(&self.snapshot)).await
    }

    /// The same, by who is about to look for `key`. If the mounts have to come from peers, it
    /// is looked for at the same time: what leads to it is then here when the mounts are.
    pub(crate) async fn mounts_on_the_way(&self, key: &str) -> Result<&MountTable, DriveError> {
        if let Some(mounts) = self.mounts.get() {
            return Ok(mounts);
        }
        let mut mounts = pin!(self.mounts());
        tokio::select! {
            biased;
            mounts = &mut mounts => mounts,
            // Whether it is there counts only once it is known that no mount covers it.
            _ = self.snapshot.lookup(key, false) => mounts.await,
        }
    }

    /// What is at `key`. `ENOTDIR` if something above it is no directory.
    pub(crate) async fn item(&self, key: &str) -> Result<Option<Item>, DriveError> {
        if key.is_empty() {
            return Ok(Some(self.root().await?));
        }
        let found = self.snapshot.lookup(key, false).await?;
        for above in &found.ancestors {
            if !self.decode(above).is_some_and(|stat| stat.is_dir()) {
                return Err(DriveError::NotDir(path_of(above.key().trim_end_matches('/'))));
            }
        }
        if let Some(node) = found.node {
            return Ok(Some(self.explicit(key, &node, found.has_below)?));
        }
        Ok(found.below.map(|below| Item {
            stat: self.decode(&below).as_ref().map_or_else(Stat::default_root, Stat::implicit_dir),
            explicit: false,
            mountpoint: false,
            has_below: true,
        }))
    }

    /// The same, and `ENOENT` if there is nothing.
    pub(crate) async fn existing(&self, key: &str) -> Result<Item, DriveError> {
        self.item(key).await?.ok_or_else(|| DriveError::NotFound(path_of(key)))
    }

    fn explicit(&self, key: &str, node: &Node, has_below: bool) -> Result<Item, DriveError> {
        let stat = self.decode(node).ok_or_else(|| {
            DriveError::Damaged(format!("what is stored at '{}' is no file's record", path_of(key)))
        })?;
        Ok(Item {
            mountpoint: node.user_flags() & MOUNT != 0 && stat.is_dir(),
            stat,
            explicit: true,
            has_below,
        })
    }

    /// The record in a node's value.
    pub(crate) fn decode(&self, node: &Node) -> Option<Stat> {
        let value = node.value.clone().unwrap_or_default();
        if value.is_empty() && node.user_flags() & MOUNT != 0 {
            // As npm mountable-hypertrie writes a mount that no drive made.
            return Some(Stat::default_root());
        }
        let mut stat = Stat::decode(value).ok()?;
        if let Some(extent) = self.content.committed(stat.extent()) {
            stat.set_extent(extent);
        }
        Some(stat)
    }

    /// The root. Its record is only looked for where that waits for nobody: a drive
    /// that is away has a root all the same.
    pub(crate) async fn root(&self) -> Result<Item, DriveError> {
        let foreign = !self.snapshot.trie().core().writable();
        let node = if foreign {
            let trie = self.snapshot.trie().with_get(GetOptions::LOCAL);
            match trie.at(self.version()).get(ROOT, true).await {
                Err(error) if error.is_transient() => None,
                found => found?,
            }
        } else {
            self.snapshot.get(ROOT, true).await?
        };
        let stored = node.and_then(|node| self.decode(&node)).filter(Stat::is_dir);
        Ok(Item {
            explicit: stored.is_some(),
            stat: stored.unwrap_or_else(Stat::default_root),
            mountpoint: false,
            has_below: true,
        })
    }

    /// What is in the directory `key`, sorted by name.
    pub(crate) async fn children(&self, key: &str) -> Result<Vec<(String, Item)>, DriveError> {
        let children = self.snapshot.children(key, false).await?;
        let mut items = Vec::with_capacity(children.len());
        for child in children {
            if !path::is_name(&child.name) {
                continue;
            }
            let below = join(key, &child.name);
            let item = match child.node {
                Some(node) => self.explicit(&below, &node, child.has_below),
                None => self.existing(&below).await,
            };
            match item {
                Ok(item) => items.push((child.name, item)),
                Err(error @ DriveError::Damaged(_)) => tracing::debug!(%error, "left out of a listing"),
                Err(error) => return Err(error),
            }
        }
        Ok(items)
    }

    /// Every node at or below `key`.
    pub(crate) async fn nodes(&self, key: &str, hidden: bool) -> Result<Vec<Arc<Node>>, CoreError> {
        self.snapshot.list(key, ListOptions { hidden, ..ListOptions::default() }).await
    }
}
