//! What the drives say of something, and what this mount knows better.
//!
//! A drive is asked without a lock, and a commit may be over before its answer is used:
//! the answer is then of the file as it was, and nothing waits any more that would say
//! so. Therefore each answer is stamped with the count of edits *before* the drive was
//! asked, and an inode remembers its last commit by the same count. An answer that is
//! older than the commit is set right by what the commit left behind.
//!
//! News of other writers is counted, too: what was asked before some came in, and is to
//! be made known to the kernel after it was told of them, is asked anew.

use super::inodes::{Base, Inodes, Node, Place};
use super::types::{Attr, Entry, Kind};
use super::{Filesystem, join};
use crate::errno::Errno;
use hyperdrive::{Located, Stat};
use hyperspace_api::Corestore;
use std::future::Future;
use std::sync::atomic::Ordering;

/// What had happened before a drive was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Edits of any kind.
    pub(super) edits: u64,
    /// News of other writers.
    news: u64,
}

/// A drive's answer.
pub(super) struct Found<S: Corestore> {
    pub(super) located: Located<S>,
    /// Reached through `Network`.
    pub(super) network: bool,
    pub(super) seen: Seen,
}

impl<S: Corestore> Filesystem<S> {
    /// Something changed that listings and answers of drives show. Returns the count.
    pub(super) fn edited(&self) -> u64 {
        self.edits.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Other writers changed something. To be called with the inodes locked that the
    /// kernel is then told to forget.
    pub(super) fn heard(&self) {
        self.news.fetch_add(1, Ordering::AcqRel);
        self.edited();
    }

    /// What has happened so far.
    pub(super) fn seen(&self) -> Seen {
        Seen { edits: self.edits.load(Ordering::Acquire), news: self.news.load(Ordering::Acquire) }
    }

    /// Finds `ino`, or `child` in it, in the drives. A rename that happens meanwhile is
    /// no reason not to find it.
    pub(super) async fn locate(&self, ino: u64, child: Option<&str>) -> Result<Found<S>, Errno> {
        loop {
            let (moves, seen) = (self.moves.load(Ordering::Acquire), self.seen());
            let Place::Drive { drive, path, network } = self.place(ino)? else {
                return Err(Errno::EISDIR);
            };
            let path = child.map_or_else(|| path.clone(), |name| join(&path, name));
            let found = self.in_time(drive.locate(&path)).await;
            if moves.is_multiple_of(2) && moves == self.moves.load(Ordering::Acquire) {
                return Ok(Found { located: found?, network, seen });
            }
            // Wait for the rename to be over.
            drop(self.names.read().await);
        }
    }

    /// What waits for peers, as long as it may. Each block has a limit of its own, but
    /// one operation may need many, or have to wait for its turn.
    pub(super) async fn in_time<T, E: Into<Errno>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Errno> {
        match tokio::time::timeout(self.options.timeout, work).await {
            Ok(done) => done.map_err(Into::into),
            Err(_) => Err(Errno::ETIMEDOUT),
        }
    }

    /// What `ino` is, given what its drive says of it.
    pub(super) fn attr(&self, ino: u64, found: &Found<S>) -> Attr {
        let ours = found.located.drive.writable() && !found.network;
        let attr = self.attr_of(ino, &found.located.stat, ours);
        match self.inodes.lock().get(ino) {
            Some(node) => overlay(attr, node, found.seen),
            None => attr,
        }
    }

    /// What a record says, with owners as they are shown here.
    pub(super) fn attr_of(&self, ino: u64, stat: &Stat, ours: bool) -> Attr {
        let kind = Kind::of(stat.mode);
        let perm = stat.mode & 0o7777;
        let size = match (&stat.linkname, kind) {
            (Some(target), Kind::Symlink) => target.len() as u64,
            (_, Kind::Dir) => 4096,
            _ => stat.size,
        };
        Attr {
            ino,
            kind,
            // Foreign owners mean nothing here, and suid bits must not.
            perm: if ours { perm } else { perm & 0o555 },
            nlink: if kind == Kind::Dir { 2 } else { 1 },
            uid: if ours { stat.uid } else { self.options.uid },
            gid: if ours { stat.gid } else { self.options.gid },
            size,
            mtime: stat.mtime,
            ctime: stat.ctime,
        }
    }

    /// Makes what was found known to the kernel. `None`: the answer may be too old, and
    /// the drive must be asked again.
    pub(super) fn enter(&self, parent: u64, name: &str, found: &Found<S>) -> Result<Option<Entry>, Errno> {
        let Found { located, network, seen } = found;
        let ours = located.drive.writable() && !network;
        let entry = {
            let mut inodes = self.inodes.lock();
            // May the answer be too old?
            if self.news.load(Ordering::Acquire) != seen.news || inodes.is_doubtful(parent, name, seen.edits)
            {
                return Ok(None);
            }
            let what = (&located.stat, ours);
            self.make_known(&mut inodes, (parent, name), Base::Inside, what, *seen).ok_or(Errno::ESTALE)?
        };
        self.show_mount(located, entry.attr.ino);
        Ok(Some(entry))
    }

    /// Makes `name` in `parent` known as what a drive, asked at `seen`, told of it.
    pub(super) fn make_known(
        &self,
        inodes: &mut Inodes<S>,
        (parent, name): (u64, &str),
        base: Base<S>,
        (stat, ours): (&Stat, bool),
        seen: Seen,
    ) -> Option<Entry> {
        let (ino, node) = inodes.enter(parent, name, Kind::of(stat.mode), base)?;
        let attr = overlay(self.attr_of(ino, stat, ours), node, seen);
        Some(Entry { attr, generation: node.generation })
    }
}

/// Sets `attr`, which a drive told of `node` when asked at `seen`, right.
fn overlay<S: Corestore>(mut attr: Attr, node: &Node<S>, seen: Seen) -> Attr {
    attr.mtime = attr.mtime.max(node.touched);
    attr.ctime = attr.ctime.max(node.touched);
    let since = node.committed > seen.edits;
    let better = match &node.content {
        Some(file) => {
            let state = file.state();
            (since || state.dirty()).then_some((state.mtime, state.size))
        }
        None => node.cached.filter(|_| since),
    };
    if let Some((mtime, size)) = better {
        attr.size = size;
        attr.mtime = mtime;
        attr.ctime = attr.ctime.max(mtime);
    }
    attr
}
