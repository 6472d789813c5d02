//! Paths: what is where, through all mounts.

use super::Drive;
use crate::content::Reader;
use crate::path::{join, key_of, path_of};
use crate::view::Item;
use crate::{DriveError, Entry, Stat};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use hyperspace_api::{Core, Corestore, Key};
use std::sync::Arc;
use std::time::Duration;

/// Mounts on the way to one path.
const HOPS_MAX: usize = 64;
/// Mounts that one listing may find: drives that mount each other crosswise have no end
/// of them.
const LISTED_MAX: usize = 65_536;

/// Drives that are asked at a time what is mounted in them,
const AT_ONCE: usize = 64;
/// and how long each has to say so.
const BRIEFLY: Duration = Duration::from_secs(1);

/// Where a path leads.
#[derive(Clone)]
pub struct Located<S: Corestore> {
    /// The drive that holds it; at a mountpoint the one that is mounted there.
    pub drive: Drive<S>,
    /// The path in that drive.
    pub path: String,
    /// What is there.
    pub stat: Stat,
    /// Is another drive mounted here?
    pub is_mountpoint: bool,
}

/// How to walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WalkOptions {
    /// Through mounts, too.
    pub mounts: bool,
}

impl Default for WalkOptions {
    fn default() -> Self {
        Self { mounts: true }
    }
}

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountEntry {
    /// The mountpoint.
    pub path: String,
    /// The drive that is mounted.
    pub key: Key,
    /// Its version, if it stays at one.
    pub version: Option<u64>,
}

impl<S: Corestore> Drive<S> {
    /// The drive that holds `key`, and the key there. A mountpoint at the very end is
    /// entered if `enter`.
    pub(crate) async fn resolve(&self, key: &str, enter: bool) -> Result<(Self, String), DriveError> {
        let mut at = (self.clone(), key.to_owned());
        for _ in 0..HOPS_MAX {
            let (drive, key) = &at;
            if key.is_empty() {
                return Ok(at);
            }
            let view = drive.inner.view().await?;
            at = match view.mounts_on_the_way(key).await?.find(key) {
                Some((_, mount, rest)) if enter || !rest.is_empty() => {
                    let mounted = drive.drives.open(mount.key, mount.version).await?;
                    let inside = mount.remote_path.as_deref().map(key_of).transpose()?.unwrap_or_default();
                    (mounted, join(&inside, rest))
                }
                _ => return Ok(at),
            };
        }
        Err(DriveError::Loop(path_of(key)))
    }

    /// Where `path` leads.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`; `ETIMEDOUT` for what nobody has now.
    pub async fn locate(&self, path: &str) -> Result<Located<S>, DriveError> {
        let key = key_of(path)?;
        let (drive, key) = self.resolve(&key, false).await?;
        let item = drive.inner.view().await?.existing(&key).await.map_err(|error| rename(error, path))?;
        if item.mountpoint {
            let (mounted, inside) = drive.resolve(&key, true).await?;
            // A mountpoint without a record leads nowhere: an empty directory.
            if !mounted.is(&drive) || inside != key {
                let stat = drive.shown(&mounted, &inside, item).await;
                return Ok(Located { drive: mounted, path: path_of(&inside), stat, is_mountpoint: true });
            }
        }
        Ok(Located { drive, path: path_of(&key), stat: item.stat, is_mountpoint: false })
    }

    fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// What a mountpoint shows: the attributes of the mounted root if that drive is
    /// ours, so that changing them has an effect; else those it was mounted with.
    async fn shown(&self, mounted: &Self, inside: &str, point: Item) -> Stat {
        if !mounted.metadata_core().writable() || !inside.is_empty() {
            return point.stat;
        }
        let root = match mounted.inner.view().await {
            Ok(view) => view.root().await,
            Err(error) => Err(error),
        };
        match root {
            Ok(root) if root.explicit => Stat { mount: point.stat.mount, ..root.stat },
            _ => point.stat,
        }
    }

    /// What is at `path`; a link is not followed.
    ///
    /// # Errors
    /// As [`locate`](Self::locate).
    pub async fn stat(&self, path: &str) -> Result<Stat, DriveError> {
        Ok(self.locate(path).await?.stat)
    }

    /// What is in the directory `path`, sorted by name (by bytes).
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`; `ETIMEDOUT` for what nobody has now.
    pub async fn readdir(&self, path: &str) -> Result<Vec<Entry>, DriveError> {
        let (drive, key) = self.resolve(&key_of(path)?, true).await?;
        Ok(drive.entries(&key, path).await?.into_iter().map(|(entry, _)| entry).collect())
    }

    /// The entries of a directory of this very drive, and which are mountpoints.
    async fn entries(&self, key: &str, shown_as: &str) -> Result<Vec<(Entry, bool)>, DriveError> {
        let view = self.inner.view().await?;
        if !key.is_empty() {
            let item = view.existing(key).await.map_err(|error| rename(error, shown_as))?;
            if !item.stat.is_dir() {
                return Err(DriveError::NotDir(shown_as.into()));
            }
        }
        let mut entries = Vec::new();
        for (name, item) in view.children(key).await? {
            let mountpoint = item.mountpoint;
            let stat = if mountpoint {
                match self.resolve(&join(key, &name), true).await {
                    Ok((mounted, inside)) if !mounted.is(self) => self.shown(&mounted, &inside, item).await,
                    _ => item.stat,
                }
            } else {
                item.stat
            };
            entries.push((Entry { name, stat }, mountpoint));
        }
        Ok(entries)
    }

    /// Everything below `path`, and `path` itself first: parents before what is in
    /// them, siblings sorted by name. Links are not followed; a mount of a drive that
    /// the way to it already passes through is shown, and not entered.
    ///
    /// # Errors
    /// As [`readdir`](Self::readdir).
    pub async fn walk(&self, path: &str, options: WalkOptions) -> Result<Vec<(String, Stat)>, DriveError> {
        let start = key_of(path)?;
        let located = self.locate(path).await?;
        let mut found = vec![(path_of(&start), located.stat.clone())];
        if !located.stat.is_dir() {
            return Ok(found);
        }
        struct Step<S: Corestore> {
            drive: Drive<S>,
            /// The directory, in `drive`.
            inside: String,
            /// The directory, as the caller sees it.
            outside: String,
            /// The drives on the way here.
            passed: Arc<[(Key, Option<u64>)]>,
        }
        let name = |drive: &Self| (drive.key(), drive.checked_out());
        let first = Step {
            passed: Arc::new([name(&located.drive)]),
            drive: located.drive,
            inside: key_of(&located.path)?,
            outside: start,
        };
        let mut stack = vec![vec![(first, None)]];
        // Depth first, one level of `stack` for each directory that is open.
        while let Some(level) = stack.last_mut() {
            let Some((step, entry)) = level.pop() else {
                stack.pop();
                continue;
            };
            if let Some(stat) = entry {
                let is_dir = Stat::is_dir(&stat);
                found.push((path_of(&step.outside), stat));
                if !is_dir {
                    continue;
                }
            }
            let (mut drive, mut inside, mut passed) = (step.drive, step.inside, step.passed);
            let (leaf, leaf_key) = drive.resolve(&inside, true).await?;
            if !leaf.is(&drive) || leaf_key != inside {
                if !options.mounts || passed.contains(&name(&leaf)) {
                    continue;
                }
                passed = passed.iter().copied().chain([name(&leaf)]).collect();
                (drive, inside) = (leaf, leaf_key);
            }
            let entries = drive.entries(&inside, &path_of(&step.outside)).await?;
            let below = entries.into_iter().rev().map(|(entry, _)| {
                let step = Step {
                    drive: drive.clone(),
                    inside: join(&inside, &entry.name),
                    outside: join(&step.outside, &entry.name),
                    passed: passed.clone(),
                };
                (step, Some(entry.stat))
            });
            stack.push(below.collect());
        }
        Ok(found)
    }

    /// All bytes of the file at `path`; links are followed.
    ///
    /// # Errors
    /// As [`locate`](Self::locate), `EISDIR`, `ELOOP`, and as [`Reader::read`].
    pub async fn read_file(&self, path: &str) -> Result<Bytes, DriveError> {
        let located = self.locate(&self.follow(path).await?).await?;
        if located.stat.is_dir() {
            return Err(DriveError::IsDir(path.into()));
        }
        let reader: Reader<S> = located.drive.reader(&located.stat);
        reader.read_all().await
    }

    /// What is mounted in this drive, sorted by path; with `recursive` also what is
    /// mounted in those drives, and so on. Drives that do not say so within a second are
    /// listed, but not looked into; a drive within itself ends.
    pub async fn mounts(&self, recursive: bool) -> Result<Vec<MountEntry>, DriveError> {
        let mut found = Vec::new();
        let own = (self.key(), self.checked_out());
        let mut level = vec![(self.clone(), String::new(), vec![own])];
        // One level after the other, so that those who say nothing are waited for together.
        while !level.is_empty() {
            let tables = stream::iter(level).map(async |(drive, prefix, passed)| {
                let mounts = drive.own_mounts(!prefix.is_empty()).await?;
                Ok::<_, DriveError>((drive, prefix, passed, mounts))
            });
            let tables: Vec<_> = tables.buffered(AT_ONCE).try_collect().await?;
            level = Vec::new();
            for (drive, prefix, passed, mounts) in tables {
                for (at, key, version) in mounts {
                    let outside = join(&prefix, &at);
                    found.push(MountEntry { path: path_of(&outside), key, version });
                    if found.len() > LISTED_MAX {
                        return Err(DriveError::Loop(path_of(&outside)));
                    }
                    if recursive && !passed.contains(&(key, version)) {
                        let mounted = drive.drives.open(key, version).await?;
                        level.push((mounted, outside, [passed.as_slice(), &[(key, version)]].concat()));
                    }
                }
            }
        }
        found.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// What is mounted in this very drive, and where; with `briefly`, nothing if that is not
    /// known soon.
    async fn own_mounts(&self, briefly: bool) -> Result<Vec<(String, Key, Option<u64>)>, DriveError> {
        let read = async {
            let view = self.inner.view().await?;
            let mounts = view.mounts().await?;
            Ok(mounts.under("").map(|(at, mount)| (at.to_owned(), mount.key, mount.version)).collect())
        };
        if !briefly {
            return read.await;
        }
        match tokio::time::timeout(BRIEFLY, read).await {
            Ok(Err(error)) if error.is_transient() => Ok(Vec::new()),
            Err(_) => Ok(Vec::new()),
            Ok(read) => read,
        }
    }
}

/// Lets an error name the path that was asked for, and not the one inside a mount.
fn rename(error: DriveError, path: &str) -> DriveError {
    match error {
        DriveError::NotFound(_) => DriveError::NotFound(path.into()),
        DriveError::NotDir(_) => DriveError::NotDir(path.into()),
        error => error,
    }
}
