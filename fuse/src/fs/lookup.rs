//! Finding things and telling what they are.

use super::inodes::Place;
use super::types::{Attr, Entry, ROOT, Space};
use super::{Filesystem, NETWORK, utf8};
use crate::errno::Errno;
use hyperspace_api::Corestore;
use std::ffi::OsStr;

impl<S: Corestore> Filesystem<S> {
    /// Finds `name` in the directory `parent`, and counts that the kernel knows it.
    pub async fn lookup(&self, parent: u64, name: &OsStr) -> Result<Entry, Errno> {
        // What cannot be a name here is not there.
        let name = utf8(name).map_err(|e| if e == Errno::EINVAL { Errno::ENOENT } else { e })?;
        if parent == ROOT && name == NETWORK && self.options.network {
            return self.enter_network();
        }
        if let Place::Network = self.place(parent)? {
            return self.enter_network_drive(name).await;
        }
        loop {
            let found = self.locate(parent, Some(name)).await?;
            if let Some(entry) = self.enter(parent, name, &found)? {
                return Ok(entry);
            }
        }
    }

    /// The kernel forgets `count` lookups of `ino`.
    pub fn forget(&self, ino: u64, count: u64) {
        let times = self.directory_time(ino);
        self.inodes.lock().forget(ino, count);
        if let Some((path, time)) = times {
            self.save_forgotten(ino, path, time);
        }
    }

    /// What `ino` is.
    pub async fn getattr(&self, ino: u64) -> Result<Attr, Errno> {
        if let Some(stat) = self.orphan(ino) {
            return Ok(self.orphan_attr(ino, &stat));
        }
        match self.place(ino)? {
            Place::Network => Ok(self.network_attr(ino)),
            Place::Drive { .. } => match self.locate(ino, None).await {
                Ok(found) => Ok(self.attr(ino, &found)),
                Err(Errno::ENOENT) => match self.orphan(ino) {
                    // Its name was taken away just now.
                    Some(stat) => Ok(self.orphan_attr(ino, &stat)),
                    // Another writer took the name away while we have the file.
                    None => self.vanished_attr(ino),
                },
                Err(error) => Err(error),
            },
        }
    }

    /// Attributes of what has no name any more.
    pub(super) fn orphan_attr(&self, ino: u64, stat: &hyperdrive::Stat) -> Attr {
        let mut attr = Attr { nlink: 0, ..self.attr_of(ino, stat, true) };
        if let Some(file) = self.open_file(ino) {
            let state = file.state();
            attr.size = state.size;
            attr.mtime = state.mtime;
        }
        attr
    }

    fn vanished_attr(&self, ino: u64) -> Result<Attr, Errno> {
        let file = self.open_file(ino).ok_or(Errno::ENOENT)?;
        let state = file.state();
        let (mode, mtime) = (libc::S_IFREG | 0o600, state.mtime);
        let (uid, gid) = (self.options.uid, self.options.gid);
        let stat = hyperdrive::Stat { mode, uid, gid, mtime, ctime: mtime, ..Default::default() };
        let size = state.size;
        drop(state);
        Ok(Attr { nlink: 0, size, ..self.attr_of(ino, &stat, true) })
    }

    /// Where the symbolic link `ino` points, verbatim.
    pub async fn readlink(&self, ino: u64) -> Result<String, Errno> {
        let stat = match self.orphan(ino) {
            Some(stat) => stat,
            None => self.locate(ino, None).await?.located.stat,
        };
        if !stat.is_symlink() {
            return Err(Errno::EINVAL);
        }
        stat.linkname.ok_or(Errno::EIO)
    }

    /// How much space there is: that of the filesystem which keeps the drives.
    pub fn statfs(&self) -> Result<Space, Errno> {
        let stat = nix::sys::statvfs::statvfs(&self.options.storage)
            .map_err(|errno| Errno::from(std::io::Error::from(errno)))?;
        Ok(Space {
            block_size: u32::try_from(stat.fragment_size()).unwrap_or(4096),
            blocks: stat.blocks(),
            free: stat.blocks_free(),
            available: stat.blocks_available(),
            files: stat.files(),
            files_free: stat.files_free(),
        })
    }

    /// A hole of `bytes` will be written as zeros one day: is there room for it?
    pub(super) fn room_for(&self, bytes: u64) -> Result<(), Errno> {
        /// What a check would cost more than it could save.
        const FREE: u64 = 64 << 20;
        if bytes <= FREE {
            return Ok(());
        }
        let space = self.statfs()?;
        let available = space.available.saturating_mul(space.block_size.into());
        if bytes > available { Err(Errno::ENOSPC) } else { Ok(()) }
    }
}
