//! Making, moving and taking away names.

use super::found::Found;
use super::inodes::{Base, Inodes, Place};
use super::types::{Caller, Entry, Handle, Kind, ROOT, RenameMode, now};
use super::{Filesystem, NETWORK, Open, utf8};
use crate::errno::Errno;
use hyperdrive::{AttrChange, Attrs, Located, Op, Stat};
use hyperspace_api::Corestore;
use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};

/// Makes [`Filesystem::moves`] odd for as long as it lives.
pub(super) struct Moving<'a>(&'a AtomicU64);

impl<'a> Moving<'a> {
    fn begin(moves: &'a AtomicU64) -> Self {
        moves.fetch_add(1, Ordering::AcqRel);
        Self(moves)
    }
}

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// What [`Filesystem::make`] makes.
#[derive(Clone, Copy)]
enum New<'a> {
    File,
    /// A file, with a handle open on it.
    OpenFile,
    Dir,
    /// With its target.
    Symlink(&'a str),
}

impl<S: Corestore> Filesystem<S> {
    /// Creates a regular file and opens it for writing. `mode`: permission bits, the
    /// umask applied. `EEXIST` if the name is taken, which is also what `O_EXCL` wants:
    /// the kernel asks only for names that it did not find.
    pub async fn create(
        &self,
        caller: Caller,
        parent: u64,
        name: &OsStr,
        mode: u32,
        flags: i32,
    ) -> Result<(Entry, Handle), Errno> {
        let made = self.make(caller, parent, name, New::OpenFile, mode).await;
        let entry = match made {
            // Another writer was faster.
            Err(Errno::EEXIST) if flags & libc::O_EXCL == 0 => {
                let entry = self.lookup(parent, name).await?;
                let opened = self.open(entry.attr.ino, flags).await;
                if opened.is_err() {
                    self.forget(entry.attr.ino, 1);
                }
                return Ok((entry, opened?.handle));
            }
            made => made?,
        };
        Ok((entry, self.handles.lock().give(Open::File { writes: true })))
    }

    /// Creates a regular file; `EPERM` for devices, pipes and sockets.
    pub async fn mknod(&self, caller: Caller, parent: u64, name: &OsStr, mode: u32) -> Result<Entry, Errno> {
        if !matches!(mode & libc::S_IFMT, 0 | libc::S_IFREG) {
            return Err(Errno::EPERM);
        }
        self.make(caller, parent, name, New::File, mode).await
    }

    /// Creates a directory.
    pub async fn mkdir(&self, caller: Caller, parent: u64, name: &OsStr, mode: u32) -> Result<Entry, Errno> {
        self.make(caller, parent, name, New::Dir, mode).await
    }

    /// Creates a symbolic link; `target` is kept verbatim.
    pub async fn symlink(
        &self,
        caller: Caller,
        parent: u64,
        name: &OsStr,
        target: &OsStr,
    ) -> Result<Entry, Errno> {
        let target = target.to_str().ok_or(Errno::EINVAL)?;
        self.make(caller, parent, name, New::Symlink(target), 0o777).await
    }

    /// Makes something new in `parent`; the kernel knows it afterwards.
    async fn make(
        &self,
        caller: Caller,
        parent: u64,
        name: &OsStr,
        new: New<'_>,
        mode: u32,
    ) -> Result<Entry, Errno> {
        self.writable_child(parent, name)?;
        let (kind, type_bits, target) = match new {
            New::File | New::OpenFile => (Kind::File, libc::S_IFREG, None),
            New::Dir => (Kind::Dir, libc::S_IFDIR, None),
            New::Symlink(target) => (Kind::Symlink, libc::S_IFLNK, Some(target.to_owned())),
        };
        let directory = self.locate(parent, None).await?.located;
        let (mut gid, mut mode) = (caller.gid, mode & 0o7777);
        if directory.stat.mode & libc::S_ISGID != 0 {
            gid = directory.stat.gid;
            if kind == Kind::Dir {
                mode |= libc::S_ISGID;
            }
        }
        let time = now();
        let (mtime, ctime) = (Some(time), Some(time));
        let attrs = Attrs { mode, uid: caller.uid, gid, mtime, ctime, ..Attrs::default() };

        let _names = self.names.write().await;
        let path = self.writable_child(parent, name)?;
        let op = match new {
            New::File | New::OpenFile => Op::CreateFile { path, attrs },
            New::Dir => Op::Mkdir { path, attrs },
            New::Symlink(target) => Op::Symlink { path, target: target.to_owned(), attrs },
        };
        self.root.apply(vec![op]).await?;
        self.edited();
        self.touch(parent, time);

        let stat = Stat {
            mode: type_bits | mode,
            uid: caller.uid,
            gid,
            mtime: time,
            ctime: time,
            linkname: target,
            ..Stat::default()
        };
        let name = utf8(name)?;
        let (ino, generation) = {
            let mut inodes = self.inodes.lock();
            // Whatever had the name was taken away by another writer.
            inodes.orphan(parent, name, Stat::default(), None);
            let (ino, node) = inodes.enter(parent, name, kind, Base::Inside).ok_or(Errno::ESTALE)?;
            if matches!(new, New::OpenFile) {
                node.handles += 1;
                node.content = Some(self.open_content(&directory.drive, &stat));
            }
            (ino, node.generation)
        };
        self.tell_twins(ino);
        Ok(Entry { attr: self.attr_of(ino, &stat, true), generation })
    }

    /// Deletes a file or a link. What has it open keeps it.
    pub async fn unlink(&self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        self.remove(parent, name, |path| Op::Unlink { path }).await
    }

    /// Deletes an empty directory, or takes a mount away.
    pub async fn rmdir(&self, parent: u64, name: &OsStr) -> Result<(), Errno> {
        self.remove(parent, name, |path| Op::Rmdir { path }).await
    }

    async fn remove(&self, parent: u64, name: &OsStr, op: impl FnOnce(String) -> Op) -> Result<(), Errno> {
        self.writable_child(parent, name)?;
        let name = utf8(name)?;
        let (found, _names) = loop {
            let found = self.locate(parent, Some(name)).await?;
            let names = self.names.write().await;
            if !self.is_outdated(parent, name, &found) {
                break (found, names);
            }
        };
        let path = self.writable_child(parent, name.as_ref())?;
        self.tell_twins_of(parent, name);
        let _moving = Moving::begin(&self.moves);
        self.root.apply(vec![op(path)]).await?;
        self.edited();
        self.touch(parent, now());
        self.take_name(&mut self.inodes.lock(), parent, name, found.located);
        Ok(())
    }

    /// Was `name` in `parent` committed after it was found? To be asked with the names
    /// locked, before what was found is kept.
    fn is_outdated(&self, parent: u64, name: &str, found: &Found<S>) -> bool {
        let inodes = self.inodes.lock();
        inodes.child(parent, name).is_some_and(|ino| inodes.committed_since(ino, found.seen.edits))
    }

    /// The name of what was `located` is gone. Who knows it may go on with it.
    fn take_name(&self, inodes: &mut Inodes<S>, parent: u64, name: &str, located: Located<S>) {
        let Some(ino) = inodes.child(parent, name) else { return };
        let mut stat = located.stat;
        stat.ctime = now();
        if let Some(node) = inodes.get(ino) {
            stat.mtime = stat.mtime.max(node.touched);
        }
        inodes.orphan(parent, name, stat, Some(located.drive));
    }

    /// Renames; whole directories too.
    pub async fn rename(
        &self,
        from: (u64, &OsStr),
        to: (u64, &OsStr),
        mode: RenameMode,
    ) -> Result<(), Errno> {
        if from.0 == ROOT && from.1 == NETWORK && self.options.network {
            return Err(Errno::EPERM);
        }
        self.writable_child(from.0, from.1)?;
        self.writable_child(to.0, to.1)?;
        let (from_name, to_name) = (utf8(from.1)?, utf8(to.1)?);
        let (from_key, to_key) = ((from.0, from_name), (to.0, to_name));
        self.retire_all().await?;
        // Both are looked up before the lock is taken: this may ask peers.
        self.locate(from.0, Some(from_name)).await?;
        let (target, _names) = loop {
            let target = match self.locate(to.0, Some(to_name)).await {
                Ok(found) => Some(found),
                Err(Errno::ENOENT) => None,
                Err(error) => return Err(error),
            };
            let names = self.names.write().await;
            if !target.as_ref().is_some_and(|found| self.is_outdated(to.0, to_name, found)) {
                break (target, names);
            }
        };
        let (old, new) = (self.writable_child(from.0, from.1)?, self.writable_child(to.0, to.1)?);
        if old == new {
            return if mode == RenameMode::NoReplace { Err(Errno::EEXIST) } else { Ok(()) };
        }
        self.tell_twins_of(from.0, from_name);
        self.tell_twins_of(to.0, to_name);
        let _moving = Moving::begin(&self.moves);
        self.root.apply(vec![Op::Rename { from: old, to: new, mode }]).await?;
        self.edited();
        let time = now();
        self.touch(from.0, time);
        self.touch(to.0, time);
        let mut inodes = self.inodes.lock();
        if mode == RenameMode::Exchange {
            inodes.exchange(from_key, to_key);
            return Ok(());
        }
        match target {
            Some(found) => self.take_name(&mut inodes, to.0, to_name, found.located),
            None => drop(inodes.orphan(to.0, to_name, Stat::default(), None)),
        }
        inodes.rename(from_key, to_key);
        Ok(())
    }

    /// Remembers that a name was made or taken away in `directory`. The drive learns
    /// of it later: else every new file would cost it two records.
    fn touch(&self, directory: u64, time: u64) {
        if let Some(node) = self.inodes.lock().get_mut(directory) {
            node.touched = time;
        }
    }

    /// The path of a directory, and when it was touched, if the drive does not know.
    pub(super) fn directory_time(&self, ino: u64) -> Option<(String, u64)> {
        let inodes = self.inodes.lock();
        let touched = inodes.get(ino)?.touched;
        if touched == 0 {
            return None;
        }
        match inodes.place(ino)? {
            Place::Drive { path, network: false, .. } => Some((path, touched)),
            _ => None,
        }
    }

    /// Stores when `directory` was touched, after the kernel forgot it.
    pub(super) fn save_forgotten(&self, ino: u64, path: String, time: u64) {
        if self.inodes.lock().get(ino).is_some() {
            return; // Still known: it is saved with the others.
        }
        let root = self.root.clone();
        let change = AttrChange { mtime: Some(time), ..AttrChange::default() };
        self.runtime.spawn(async move {
            if let Err(error) = root.apply(vec![Op::SetAttrs { path, change }]).await {
                tracing::debug!(%error, "a directory's time was not saved");
            }
        });
    }

    /// Stores when directories were touched.
    pub(super) async fn save_directory_times(&self) -> Result<(), Errno> {
        let numbers = self.inodes.lock().numbers();
        for ino in numbers {
            let Some((path, time)) = self.directory_time(ino) else { continue };
            let change = AttrChange { mtime: Some(time), ..AttrChange::default() };
            match self.root.apply(vec![Op::SetAttrs { path, change }]).await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
            if let Some(node) = self.inodes.lock().get_mut(ino)
                && node.touched == time
            {
                node.touched = 0;
            }
        }
        Ok(())
    }
}
