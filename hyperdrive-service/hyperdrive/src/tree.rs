//! The operations themselves, upon the trie of one drive.
//!
//! Everything an [`Op`] needs is checked before the first node is written, so that a
//! refused one leaves nothing behind; for what fails half-way (a block that cannot be
//! read) the caller rolls the writer back.

use crate::content::{ContentLog, Placed};
use crate::mounts::{RECORDS, record, record_flags, visible_flags};
use crate::ops::{Content, Edit, Op, RenameMode};
use crate::path::{below, join, key_of, path_of, split};
use crate::proto::MountRecord;
use crate::stat::{Attrs, MountRef, S_IFDIR, S_IFLNK, S_IFREG, now_ms};
use crate::trie::{Writer, flags};
use crate::view::{Item, MOUNT, ROOT, View};
use crate::{DriveError, Extent, Stat};
use bytes::Bytes;
use hyperspace_api::{Corestore, Key};
use std::sync::Arc;

/// Bytes that a link's target may have (Linux's own limit).
const TARGET_MAX: usize = 4095;
/// Bytes that the name of an extended attribute may have (Linux's own limit).
const XATTR_NAME_MAX: usize = 255;
/// Bytes that an extended attribute may have (Linux's own limit).
const XATTR_MAX: usize = 64 * 1024;

/// The trie of a drive, being changed.
pub(crate) struct Tree<'w, S: Corestore> {
    writer: &'w mut Writer<S::Core>,
    content: &'w Arc<ContentLog<S>>,
    /// Content that was put among what waits.
    pub(crate) pended: Vec<Extent>,
    /// Did any mount come, go or move?
    pub(crate) mounts_changed: bool,
}

impl<'w, S: Corestore> Tree<'w, S> {
    pub(crate) fn new(writer: &'w mut Writer<S::Core>, content: &'w Arc<ContentLog<S>>) -> Self {
        Self { writer, content, pended: Vec::new(), mounts_changed: false }
    }

    fn view(&self) -> View<S> {
        View::new(self.writer.snapshot(), self.content.clone())
    }

    async fn item(&self, key: &str) -> Result<Option<Item>, DriveError> {
        self.view().item(key).await
    }

    async fn existing(&self, key: &str) -> Result<Item, DriveError> {
        self.view().existing(key).await
    }

    async fn put(&mut self, key: &str, stat: &Stat, mountpoint: bool) -> Result<(), DriveError> {
        let flags = if mountpoint { visible_flags() } else { flags(0, false) };
        self.writer.put(key, Some(stat.encode()), flags).await?;
        Ok(())
    }

    /// Puts back something that was there, with other attributes.
    async fn update(&mut self, key: &str, item: &Item) -> Result<(), DriveError> {
        if key.is_empty() {
            self.writer.put(ROOT, Some(item.stat.encode()), flags(0, true)).await?;
            return Ok(());
        }
        self.put(key, &item.stat, item.mountpoint).await
    }

    /// The directory that `key` is to be in must be there, in this drive.
    async fn check_parent(&self, key: &str) -> Result<Item, DriveError> {
        let (dir, _) = split(key).ok_or_else(|| busy(key))?;
        let item = self.existing(dir).await?;
        if !item.stat.is_dir() {
            return Err(DriveError::NotDir(path_of(dir)));
        }
        if item.mountpoint {
            return Err(DriveError::CrossDrive(path_of(key)));
        }
        Ok(item)
    }

    /// Nothing must be at `key`.
    async fn check_free(&self, key: &str) -> Result<(), DriveError> {
        if self.item(key).await?.is_some() {
            return Err(DriveError::Exists(path_of(key)));
        }
        self.check_parent(key).await?;
        Ok(())
    }

    /// Where the bytes are, or will be.
    async fn place(&mut self, content: &Content) -> Result<Extent, DriveError> {
        match content {
            Content::Empty => Ok(Extent::default()),
            Content::Bytes(bytes) if bytes.is_empty() => Ok(Extent::default()),
            Content::Bytes(bytes) => {
                let extent = self.content.pend(bytes).await?;
                self.pended.push(extent);
                Ok(extent)
            }
            Content::Extent(extent) => match self.content.place(*extent) {
                Placed::Core(extent) => Ok(extent),
                Placed::Pending(_) => Ok(*extent),
                Placed::Unknown => Err(DriveError::Invalid("This content is not the drive's".into())),
            },
        }
    }

    /// Does one step, and makes it one that can be done again on a newer version: its
    /// bytes have their place, its times are settled.
    pub(crate) async fn apply(&mut self, edit: &mut Edit) -> Result<(), DriveError> {
        match edit {
            Edit::Op(op) => {
                settle(op);
                self.operate(op).await
            }
            Edit::PutHidden { key, value } => {
                self.writer.put(key, Some(value.clone()), flags(0, true)).await?;
                Ok(())
            }
            Edit::DelHidden { key } => match self.writer.del(key, true).await? {
                true => Ok(()),
                false => Err(DriveError::NotFound(key.clone())),
            },
        }
    }

    async fn operate(&mut self, op: &mut Op) -> Result<(), DriveError> {
        match op {
            Op::PutFile { path, attrs, content } => {
                let key = &key_of(path)?;
                if self.item(key).await?.is_some_and(|item| item.stat.is_dir()) {
                    return Err(DriveError::IsDir(path_of(key)));
                }
                self.check_parent(key).await?;
                let extent = self.place(content).await?;
                *content = Content::Extent(extent);
                let mut stat = Stat::new(S_IFREG, attrs);
                stat.set_extent(extent);
                self.put(key, &stat, false).await
            }
            Op::CreateFile { path, attrs } => self.create(path, Stat::new(S_IFREG, attrs)).await,
            Op::Mkdir { path, attrs } => self.create(path, Stat::new(S_IFDIR, attrs)).await,
            Op::Symlink { path, target, attrs } => {
                check_target(target)?;
                let stat = Stat { linkname: Some(target.clone()), ..Stat::new(S_IFLNK, attrs) };
                self.create(path, stat).await
            }
            Op::SetContent { path, content, mtime } => {
                let key = &key_of(path)?;
                let mut item = self.existing(key).await?;
                if item.stat.is_dir() {
                    return Err(DriveError::IsDir(path_of(key)));
                }
                if item.stat.is_symlink() {
                    return Err(DriveError::Invalid(format!("'{}' is a symbolic link", path_of(key))));
                }
                let extent = self.place(content).await?;
                *content = Content::Extent(extent);
                item.stat.set_extent(extent);
                item.stat.mount = None;
                item.stat.mtime = *mtime;
                item.stat.ctime = now_ms();
                self.update(key, &item).await
            }
            Op::Unlink { path } => {
                let key = &key_of(path)?;
                if self.existing(key).await?.stat.is_dir() {
                    return Err(DriveError::IsDir(path_of(key)));
                }
                self.writer.del(key, false).await?;
                Ok(())
            }
            Op::Rmdir { path } => self.rmdir(&key_of(path)?).await,
            Op::Rename { from, to, mode } => self.rename(&key_of(from)?, &key_of(to)?, *mode).await,
            Op::Copy { from, to } => self.copy(&key_of(from)?, &key_of(to)?).await,
            Op::SetAttrs { path, change } => {
                let change = *change;
                self.edit(path, |stat| {
                    stat.change(&change);
                    Ok(())
                })
                .await
            }
            Op::SetXattr { path, name, value } => {
                check_xattr(name, value)?;
                self.edit(path, |stat| {
                    stat.metadata.insert(name.clone(), value.clone());
                    stat.ctime = now_ms();
                    Ok(())
                })
                .await
            }
            Op::RemoveXattr { path, name } => {
                self.edit(path, |stat| {
                    stat.ctime = now_ms();
                    let removed = stat.metadata.remove(name);
                    removed.map(drop).ok_or_else(|| DriveError::NoAttr(name.clone()))
                })
                .await
            }
            Op::Mount { path, key, version } => self.mount(&key_of(path)?, *key, *version).await,
            Op::Unmount { path } => {
                let key = &key_of(path)?;
                let item = self.existing(key).await?;
                if item.stat.mount.is_none() && !item.mountpoint {
                    return Err(DriveError::Invalid(format!("'{}' is no mountpoint", path_of(key))));
                }
                self.unmount(key, &item).await
            }
        }
    }

    async fn create(&mut self, path: &str, stat: Stat) -> Result<(), DriveError> {
        let key = &key_of(path)?;
        self.check_free(key).await?;
        self.put(key, &stat, false).await
    }

    async fn edit(
        &mut self,
        path: &str,
        change: impl FnOnce(&mut Stat) -> Result<(), DriveError>,
    ) -> Result<(), DriveError> {
        let key = &key_of(path)?;
        let mut item = self.existing(key).await?;
        change(&mut item.stat)?;
        self.update(key, &item).await
    }

    async fn rmdir(&mut self, key: &str) -> Result<(), DriveError> {
        if key.is_empty() {
            return Err(busy(key));
        }
        let item = self.existing(key).await?;
        if item.mountpoint {
            return self.unmount(key, &item).await;
        }
        if !item.stat.is_dir() {
            return Err(DriveError::NotDir(path_of(key)));
        }
        if item.has_below {
            return Err(DriveError::NotEmpty(path_of(key)));
        }
        self.writer.del(key, false).await?;
        Ok(())
    }

    async fn copy(&mut self, from: &str, to: &str) -> Result<(), DriveError> {
        let mut item = self.existing(from).await?;
        if item.stat.is_dir() {
            return Err(DriveError::IsDir(path_of(from)));
        }
        if self.item(to).await?.is_some_and(|item| item.stat.is_dir()) {
            return Err(DriveError::IsDir(path_of(to)));
        }
        self.check_parent(to).await?;
        if from == to {
            return Ok(());
        }
        item.stat.ctime = now_ms();
        self.put(to, &item.stat, false).await
    }

    async fn mount(&mut self, key: &str, drive: Key, version: Option<u64>) -> Result<(), DriveError> {
        let parent = self.check_parent(key).await?;
        let mut stat = match self.item(key).await? {
            Some(item) if item.mountpoint || !item.stat.is_dir() => {
                return Err(DriveError::Exists(path_of(key)));
            }
            Some(item) if item.has_below => return Err(DriveError::NotEmpty(path_of(key))),
            Some(item) => item.stat,
            None => {
                let Stat { uid, gid, .. } = parent.stat;
                Stat::new(S_IFDIR, &Attrs { uid, gid, ..Attrs::dir() })
            }
        };
        stat.mount = Some(MountRef { key: drive, version, hash: None, hypercore: false });
        let hidden = MountRecord { key: drive, local_path: key.into(), version, remote_path: None };
        let (at, value) = record(key, &hidden);
        self.mounts_changed = true;
        self.writer.put(&at, Some(value), record_flags()).await?;
        self.put(key, &stat, true).await
    }

    async fn unmount(&mut self, key: &str, item: &Item) -> Result<(), DriveError> {
        if item.mountpoint {
            self.mounts_changed = true;
            self.writer.del(&join(RECORDS, key), true).await?;
        }
        self.writer.del(key, false).await?;
        Ok(())
    }

    async fn rename(&mut self, from: &str, to: &str, mode: RenameMode) -> Result<(), DriveError> {
        for key in [from, to] {
            if key.is_empty() {
                return Err(busy(key));
            }
        }
        let source = self.existing(from).await?;
        let inside = |key: &str, dir: &str| below(key, dir).is_some_and(|rest| !rest.is_empty());
        let target = self.item(to).await?;
        self.check_parent(to).await?;
        match (mode, &target) {
            (RenameMode::NoReplace, Some(_)) => return Err(DriveError::Exists(path_of(to))),
            (RenameMode::Exchange, None) => return Err(DriveError::NotFound(path_of(to))),
            _ if from == to => return Ok(()),
            _ if source.stat.is_dir() && inside(to, from) => {
                return Err(DriveError::Invalid(format!("'{}' is in '{}'", path_of(to), path_of(from))));
            }
            (RenameMode::Exchange, Some(target)) => {
                if inside(from, to) {
                    return Err(DriveError::Invalid(format!("'{}' is in '{}'", path_of(from), path_of(to))));
                }
                let one = self.subtree(from, &source).await?;
                let other = self.subtree(to, target).await?;
                self.take(&one, from).await?;
                self.take(&other, to).await?;
                self.give(one, from, to).await?;
                return self.give(other, to, from).await;
            }
            // As Linux has it, whatever the source is.
            (_, Some(_)) if inside(from, to) => return Err(DriveError::NotEmpty(path_of(to))),
            (_, Some(target)) => self.check_replace(&source, to, target)?,
            (_, None) => {}
        }
        let moved = self.subtree(from, &source).await?;
        // What is replaced may have had a node where what comes has none.
        if target.is_some_and(|target| target.explicit) && !source.explicit {
            self.writer.del(to, false).await?;
        }
        self.take(&moved, from).await?;
        self.give(moved, from, to).await
    }

    fn check_replace(&self, source: &Item, to: &str, target: &Item) -> Result<(), DriveError> {
        match (source.stat.is_dir(), target.stat.is_dir()) {
            (false, true) => Err(DriveError::IsDir(path_of(to))),
            (true, false) => Err(DriveError::NotDir(path_of(to))),
            (true, true) if target.has_below || target.mountpoint => Err(DriveError::NotEmpty(path_of(to))),
            _ => Ok(()),
        }
    }

    /// All that moves when `key` does.
    async fn subtree(&self, key: &str, item: &Item) -> Result<Subtree, DriveError> {
        let view = self.view();
        if !item.stat.is_dir() {
            let node = view.snapshot.get(key, false).await?;
            return Ok(Subtree { nodes: node.into_iter().collect(), records: Vec::new() });
        }
        let nodes = view.nodes(key, false).await?;
        // Asked only where there can be any: most directories have no mounts.
        let mounts = nodes.iter().any(|node| node.user_flags() & MOUNT != 0);
        let records = if mounts { view.nodes(&join(RECORDS, key), true).await? } else { Vec::new() };
        Ok(Subtree { nodes, records })
    }

    async fn take(&mut self, subtree: &Subtree, key: &str) -> Result<(), DriveError> {
        for node in &subtree.nodes {
            if below(node.key(), key).is_some() {
                self.writer.del(node.key(), false).await?;
            }
        }
        for node in &subtree.records {
            self.mounts_changed = true;
            self.writer.del(node.key(), true).await?;
        }
        Ok(())
    }

    async fn give(&mut self, subtree: Subtree, from: &str, to: &str) -> Result<(), DriveError> {
        for node in subtree.nodes {
            let Some(rest) = below(node.key(), from) else { continue };
            let mut value = node.value.clone();
            if rest.is_empty()
                && let Some(mut stat) = self.view().decode(&node)
            {
                stat.ctime = now_ms();
                value = Some(stat.encode());
            }
            self.writer.put(&join(to, rest), value, node.flags).await?;
        }
        for node in subtree.records {
            let Some(rest) = below(node.key(), &join(RECORDS, from)) else { continue };
            let key = join(to, rest);
            let moved = node.value.clone().map(MountRecord::decode);
            let Some(Ok(moved)) = moved else { continue };
            let (at, value) = record(&key, &MountRecord { local_path: key.clone(), ..moved });
            self.writer.put(&at, Some(value), node.flags).await?;
        }
        Ok(())
    }
}

/// The nodes of something that moves, and the hidden records of the mounts in it.
struct Subtree {
    nodes: Vec<Arc<crate::trie::Node>>,
    records: Vec<Arc<crate::trie::Node>>,
}

/// Gives `op` the times that it is to have whenever it is done.
fn settle(op: &mut Op) {
    let (Op::PutFile { attrs, .. }
    | Op::CreateFile { attrs, .. }
    | Op::Mkdir { attrs, .. }
    | Op::Symlink { attrs, .. }) = op
    else {
        return;
    };
    let now = now_ms();
    attrs.mtime.get_or_insert(now);
    attrs.ctime.get_or_insert(now);
}

fn busy(key: &str) -> DriveError {
    DriveError::NotPermitted(format!("'{}' is the root of a drive", path_of(key)))
}

fn check_target(target: &str) -> Result<(), DriveError> {
    match target {
        "" => Err(DriveError::NotFound(String::new())),
        _ if target.len() > TARGET_MAX => Err(DriveError::NameTooLong(target.chars().take(64).collect())),
        _ if target.contains('\0') => Err(DriveError::Invalid("A link's target has no NUL".into())),
        _ => Ok(()),
    }
}

fn check_xattr(name: &str, value: &Bytes) -> Result<(), DriveError> {
    if name.is_empty() || name.len() > XATTR_NAME_MAX || name.contains('\0') {
        return Err(DriveError::Invalid(format!("'{}' is no name of an attribute", name.escape_debug())));
    }
    if value.len() > XATTR_MAX {
        return Err(DriveError::Invalid(format!("An attribute has at most {XATTR_MAX} bytes")));
    }
    Ok(())
}
