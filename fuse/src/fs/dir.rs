//! Listing directories.
//!
//! `opendir` takes a snapshot of the names, so that a listing is the same however
//! slowly it is read, and whatever is deleted meanwhile. Attributes are taken from the
//! snapshot only as long as nothing has changed since, and asked for anew after that:
//! the kernel believes what `readdirplus` tells it, file sizes included.

use super::found::{Found, Seen};
use super::inodes::{Base, Place};
use super::types::{DirEntry, Entry, Handle, Kind, ROOT};
use super::{Filesystem, NETWORK, Open};
use crate::errno::Errno;
use hyperdrive::Stat;
use hyperspace_api::Corestore;
use std::sync::Arc;

/// A directory as it was when it was opened.
pub(super) struct Listing {
    entries: Vec<Listed>,
    /// Of the drive that the entries are in; foreign owners are not shown.
    ours: bool,
    parent: u64,
    /// What had happened before it was taken.
    seen: Seen,
}

struct Listed {
    name: String,
    stat: Stat,
    /// What the name leads to is not in the directory's drive: the kernel must ask
    /// before it believes what is said here.
    elsewhere: bool,
}

/// Record of a directory that no drive stores.
fn virtual_dir() -> Stat {
    Stat { mode: libc::S_IFDIR | 0o555, ..Stat::default() }
}

impl<S: Corestore> Filesystem<S> {
    /// Opens a directory and reads it.
    pub async fn opendir(&self, ino: u64) -> Result<Handle, Errno> {
        let listing = if self.orphan(ino).is_some() {
            Listing { entries: Vec::new(), ours: false, parent: ino, seen: self.seen() }
        } else {
            self.list(ino).await?
        };
        if let Some(node) = self.inodes.lock().get_mut(ino) {
            node.handles += 1;
        }
        Ok(self.handles.lock().give(Open::Dir(Arc::new(listing))))
    }

    async fn list(&self, ino: u64) -> Result<Listing, Errno> {
        let parent = self.inodes.lock().parent(ino).map_or(ROOT, |(parent, _)| parent);
        let seen = self.seen();
        if let Place::Network = self.place(ino)? {
            let listed = |(name, _)| Listed { name, stat: virtual_dir(), elsewhere: true };
            let entries = self.network.lock().visited().map(listed).collect();
            return Ok(Listing { entries, ours: false, parent, seen });
        }
        let Found { located, network, .. } = self.locate(ino, None).await?;
        let shadows = ino == ROOT && self.options.network;
        let found = self.in_time(located.drive.readdir(&located.path)).await?;
        let mut entries: Vec<_> = found
            .into_iter()
            .filter(|entry| !(shadows && entry.name == NETWORK))
            .map(|entry| Listed { elsewhere: entry.stat.mount.is_some(), name: entry.name, stat: entry.stat })
            .collect();
        if shadows {
            entries.push(Listed { name: NETWORK.to_owned(), stat: virtual_dir(), elsewhere: true });
        }
        Ok(Listing { entries, ours: located.drive.writable() && !network, parent, seen })
    }

    fn listing(&self, handle: Handle) -> Result<Arc<Listing>, Errno> {
        match self.handles.lock().open.get(&handle.0) {
            Some(Open::Dir(listing)) => Ok(listing.clone()),
            _ => Err(Errno::EBADF),
        }
    }

    /// Gives the entries from `offset` on to `sink`, until that says that it is full.
    pub fn readdir(
        &self,
        ino: u64,
        handle: Handle,
        offset: u64,
        mut sink: impl FnMut(DirEntry<'_>) -> bool,
    ) -> Result<(), Errno> {
        let listing = self.listing(handle)?;
        for entry in dots(ino, &listing, offset) {
            if sink(entry) {
                return Ok(());
            }
        }
        for (listed, next) in listing.from(offset) {
            let number = self.inodes.lock().number(ino, &listed.name);
            if sink(listed.shown(number, next)) {
                break;
            }
        }
        Ok(())
    }

    /// As [`readdir`](Self::readdir), with attributes. The entry's last part tells whether
    /// the kernel may keep them. Every entry but `.` and `..` that `sink` took (it returned
    /// `false`) counts as a lookup.
    pub async fn readdirplus(
        &self,
        ino: u64,
        handle: Handle,
        offset: u64,
        mut sink: impl FnMut(DirEntry<'_>, Entry, bool) -> bool + Send,
    ) -> Result<(), Errno> {
        let listing = self.listing(handle)?;
        for entry in dots(ino, &listing, offset) {
            let attr = self.attr_of(entry.ino, &virtual_dir(), false);
            if sink(entry, Entry { attr, generation: 0 }, false) {
                return Ok(());
            }
        }
        for (listed, next) in listing.from(offset) {
            let entry = match self.enter_listed(ino, listed, &listing) {
                Some(entry) => entry,
                None if listed.elsewhere => continue,
                None => match self.lookup(ino, listed.name.as_ref()).await {
                    Ok(entry) => entry,
                    Err(Errno::ENOENT) => continue,
                    Err(error) => return Err(error),
                },
            };
            if sink(listed.shown(entry.attr.ino, next), entry, !listed.elsewhere) {
                self.forget(entry.attr.ino, 1);
                break;
            }
        }
        Ok(())
    }

    /// Makes an entry of a listing known to the kernel. `None` if something has changed since
    /// that is to be looked at, or it cannot be shown any more.
    fn enter_listed(&self, parent: u64, listed: &Listed, listing: &Listing) -> Option<Entry> {
        let mut inodes = self.inodes.lock();
        // Of what is elsewhere the kernel keeps nothing of what is said here.
        if !listed.elsewhere && self.seen() != listing.seen {
            return None;
        }
        let base = match inodes.place(parent)? {
            Place::Network => Base::Drive(self.network.lock().drive(&listed.name)?),
            Place::Drive { .. } if parent == ROOT && self.options.network && listed.name == NETWORK => {
                Base::Network
            }
            Place::Drive { .. } => Base::Inside,
        };
        self.make_known(&mut inodes, (parent, &listed.name), base, (&listed.stat, listing.ours), listing.seen)
    }

    /// Closes a directory.
    pub fn releasedir(&self, ino: u64, handle: Handle) {
        self.handles.lock().open.remove(&handle.0);
        let mut inodes = self.inodes.lock();
        if let Some(node) = inodes.get_mut(ino) {
            node.handles = node.handles.saturating_sub(1);
        }
        inodes.prune(ino);
    }

    /// Returns when everything in the directory's drive is on the disk.
    pub async fn fsyncdir(&self, ino: u64) -> Result<(), Errno> {
        match self.place(ino) {
            Ok(Place::Drive { network: false, .. }) => {
                let located = self.locate(ino, None).await?.located;
                Ok(located.drive.flush().await?)
            }
            _ => Ok(()),
        }
    }
}

impl Listing {
    /// The entries from `offset` on, and the offset after each.
    fn from(&self, offset: u64) -> impl Iterator<Item = (&Listed, u64)> {
        let skip = usize::try_from(offset.saturating_sub(2)).unwrap_or(usize::MAX);
        self.entries.iter().zip(3..).skip(skip)
    }
}

impl Listed {
    fn shown(&self, ino: u64, next: u64) -> DirEntry<'_> {
        DirEntry { name: &self.name, kind: Kind::of(self.stat.mode), ino, next }
    }
}

/// `.` and `..`, as far as `offset` has not passed them.
fn dots(ino: u64, listing: &Listing, offset: u64) -> impl Iterator<Item = DirEntry<'static>> {
    let dots = [(".", ino, 1), ("..", listing.parent, 2)];
    let shown = move |(name, ino, next)| DirEntry { name, kind: Kind::Dir, ino, next };
    dots.into_iter().filter(move |(_, _, next)| *next > offset).map(shown)
}
