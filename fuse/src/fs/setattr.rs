//! Changing attributes.

use super::Filesystem;
use super::found::Found;
use super::types::{Attr, Caller, Change, Kind, SetTime, now};
use crate::errno::Errno;
use hyperdrive::{AttrChange, Located, Op, Stat};
use hyperspace_api::Corestore;

const SUID: u32 = libc::S_ISUID;
const SGID: u32 = libc::S_ISGID;
const GROUP_EXECUTE: u32 = libc::S_IXGRP;

/// `mode` without the bits that a change of content or owner takes away.
fn without_privileges(mode: u32) -> u32 {
    // Without group execution, sgid is a mark of mandatory locking and stays.
    let sgid = if mode & GROUP_EXECUTE != 0 { SGID } else { 0 };
    mode & !(SUID | sgid)
}

impl<S: Corestore> Filesystem<S> {
    /// Changes attributes; who may do so is for the kernel to check.
    pub async fn setattr(&self, caller: Caller, ino: u64, change: Change) -> Result<Attr, Errno> {
        match self.set_named(caller, ino, change).await {
            // It has no name, or lost it just now.
            Err(Errno::ENOENT) if let Some(stat) = self.orphan(ino) => self.set_orphan(ino, stat, change),
            done => done,
        }
    }

    async fn set_named(&self, caller: Caller, ino: u64, change: Change) -> Result<Attr, Errno> {
        self.writable_path(ino)?;
        let (kind, mode) = loop {
            let found = self.locate(ino, None).await?;
            if !found.located.drive.writable() {
                return Err(Errno::EROFS);
            }
            let stat = &found.located.stat;
            let kind = Kind::of(stat.mode);
            if let Some(size) = change.size {
                if kind != Kind::File {
                    return Err(if kind == Kind::Dir { Errno::EISDIR } else { Errno::EINVAL });
                }
                if !self.truncate(ino, &found, size).await? {
                    continue; // What was found is older than a commit.
                }
            }
            break (kind, stat.mode & 0o7777);
        };
        let time = |time| match time {
            SetTime::Now => now(),
            SetTime::At(time) => time,
        };
        let mut attrs = AttrChange {
            mode: change.mode.map(|mode| mode & 0o7777),
            uid: change.uid,
            gid: change.gid,
            mtime: change.mtime.map(time),
        };
        let strips =
            (change.uid.is_some() || change.gid.is_some() || (change.size.is_some() && caller.uid != 0))
                && kind == Kind::File;
        if strips && attrs.mode.is_none() {
            attrs.mode = Some(without_privileges(mode)).filter(|stripped| *stripped != mode);
        }
        // An access time alone is not stored, but it is a change of the inode.
        if attrs != AttrChange::default() || change.atime.is_some() {
            if let Some(mtime) = attrs.mtime {
                self.set_mtime(ino, mtime);
            }
            self.set_attrs(ino, attrs).await?;
        }
        self.edited();
        let attr = self.getattr(ino).await?;
        if let Some(cached) = self.inodes.lock().get_mut(ino).and_then(|node| node.cached.as_mut()) {
            *cached = (attr.mtime, attr.size);
        }
        Ok(attr)
    }

    async fn set_attrs(&self, ino: u64, change: AttrChange) -> Result<(), Errno> {
        let _names = self.names.read().await;
        let (_, path) = self.writable_path(ino)?;
        self.root.apply(vec![Op::SetAttrs { path, change }]).await?;
        self.tell_twins(ino);
        Ok(())
    }

    /// A time that was set stands, whatever is committed later.
    fn set_mtime(&self, ino: u64, mtime: u64) {
        let mut inodes = self.inodes.lock();
        let Some(node) = inodes.get_mut(ino) else { return };
        node.touched = 0;
        if let Some(file) = &node.content {
            file.state().mtime = mtime;
        }
    }

    fn set_orphan(&self, ino: u64, mut stat: Stat, change: Change) -> Result<Attr, Errno> {
        if let Some(size) = change.size {
            let file = self.open_file(ino).ok_or(Errno::ENOENT)?;
            file.state().truncate(size, now())?;
        }
        if let Some(mode) = change.mode {
            stat.mode = stat.mode & libc::S_IFMT | mode & 0o7777;
        } else if change.uid.is_some() || change.gid.is_some() {
            stat.mode = without_privileges(stat.mode);
        }
        stat.uid = change.uid.unwrap_or(stat.uid);
        stat.gid = change.gid.unwrap_or(stat.gid);
        stat.ctime = now();
        if let Some(time) = change.mtime {
            stat.mtime = if let SetTime::At(time) = time { time } else { stat.ctime };
            if let Some(file) = self.open_file(ino) {
                file.state().mtime = stat.mtime;
            }
        }
        let attr = self.orphan_attr(ino, &stat);
        if let Some(node) = self.inodes.lock().get_mut(ino) {
            node.orphan = Some(stat);
        }
        Ok(attr)
    }

    /// Sets the length of a file, open or not. `false` if it was committed after it was
    /// found: nothing is done then.
    async fn truncate(&self, ino: u64, found: &Found<S>, size: u64) -> Result<bool, Errno> {
        let (file, open) = {
            let mut inodes = self.inodes.lock();
            let outdated = inodes.committed_since(ino, found.seen.edits);
            let node = inodes.get_mut(ino).ok_or(Errno::ESTALE)?;
            let file = match &node.content {
                Some(file) => file.clone(),
                None if outdated => return Ok(false),
                None => {
                    let Located { drive, stat, .. } = &found.located;
                    node.content.insert(self.open_content(drive, stat)).clone()
                }
            };
            (file, node.handles > 0)
        };
        let old = file.state().size;
        self.room_for(size.saturating_sub(old))?;
        file.state().truncate(size, now())?;
        if !open {
            let committed = self.commit_file(ino).await;
            self.settle(ino);
            committed?;
        }
        Ok(true)
    }

    /// A write by somebody who may not keep a file's suid and sgid bits: takes them away.
    pub async fn drop_privileges(&self, ino: u64) -> Result<(), Errno> {
        if self.is_orphan(ino) {
            return Ok(());
        }
        let mode = self.locate(ino, None).await?.located.stat.mode & 0o7777;
        let stripped = without_privileges(mode);
        if stripped != mode {
            self.set_attrs(ino, AttrChange { mode: Some(stripped), ..AttrChange::default() }).await?;
        }
        Ok(())
    }
}
