//! A drive as a filesystem, without a kernel.
//!
//! [`Filesystem`] answers what a kernel asks, in terms of its own ([`types`]); the
//! tests drive it directly. Each file of this module holds one group of operations:
//!
//! | file | what |
//! |---|---|
//! | `lookup` | lookup, getattr, readlink, statfs |
//! | `names` | create, mkdir, symlink, unlink, rmdir, rename |
//! | `setattr` | size, mode, owner, times |
//! | `dir` | opendir, readdir, readdirplus |
//! | `file` | open, read, write, release, copies |
//! | `stream` | large files, while they are written |
//! | `commit` | from staged bytes to the drive |
//! | `idle` | commits that nobody asked for |
//! | `xattr` | extended attributes, stored and virtual |
//! | `network` | the virtual directory `Network` |
//! | `watch` | what others changed |
//!
//! Locks: `inodes`, `handles` and an open file's state are short and never held across
//! an await. `names` is held across one `Drive::apply`: shared by what needs a path to
//! stay what it is, exclusive by what changes names. Whatever may wait for peers is
//! looked up before it is taken.

mod commit;
mod dir;
mod file;
mod idle;
mod inodes;
mod lookup;
mod names;
mod network;
mod open_file;
mod ranges;
mod setattr;
mod staging;
mod stream;
mod sync_log;
pub mod types;
mod watch;
pub mod xattr;

use crate::errno::Errno;
use hyperdrive::{Drive, Drives, Located, Stat};
use hyperspace_api::Corestore;
use inodes::{Inodes, Place};
use open_file::OpenFile;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::future::Future;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use tokio::sync::RwLock;
use tokio::task::AbortHandle;
use types::{Attr, Entry, FsOptions, Handle, Kind, ROOT};

/// Longest name, in bytes.
const NAME_MAX: usize = 255;

/// The name of the virtual directory at the root.
pub const NETWORK: &str = "Network";

/// A drive as a filesystem.
///
/// ```
/// use hyperdrive::{DriveOptions, Drives};
/// use hyperdrive_fuse::fs::{Filesystem, types::{Caller, FsOptions, ROOT}};
/// use hyperspace_api::memory::MemoryStore;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let drives = Drives::new(MemoryStore::new(), DriveOptions::default());
/// let root = drives.create().await?;
/// let fs = Filesystem::new(drives, root, FsOptions::default());
///
/// let me = Caller { uid: 0, gid: 0 };
/// let (entry, handle) = fs.create(me, ROOT, "hello".as_ref(), 0o644, 0).await?;
/// fs.write(entry.attr.ino, 0, b"hello, world")?;
/// fs.flush(entry.attr.ino, handle).await?;
/// assert_eq!(fs.read(entry.attr.ino, 7, 100).await?, "world");
/// fs.release(entry.attr.ino, handle).await?;
/// # Ok(()) }
/// ```
pub struct Filesystem<S: Corestore> {
    drives: Drives<S>,
    root: Drive<S>,
    options: FsOptions,
    staging: Arc<PathBuf>,
    inodes: Mutex<Inodes<S>>,
    handles: Mutex<Handles>,
    names: RwLock<()>,
    /// Odd while a name is being taken away or moved.
    moves: AtomicU64,
    /// Counts everything that may make a directory listing old.
    edits: AtomicU64,
    network: Mutex<network::Recent<Drive<S>>>,
    watch: watch::Watch<S>,
    idle: Mutex<Option<AbortHandle>>,
    runtime: tokio::runtime::Handle,
    sync_log: sync_log::SyncLog<S::Core>,
    /// For tasks that may outlive the mount.
    this: Weak<Self>,
    /// Ms since 1970.
    started: u64,
}

/// What the handles given out stand for.
#[derive(Default)]
struct Handles {
    last: u64,
    open: HashMap<u64, Open>,
}

enum Open {
    File { writes: bool },
    Dir(Arc<dir::Listing>),
}

impl Handles {
    fn give(&mut self, open: Open) -> Handle {
        self.last += 1;
        self.open.insert(self.last, open);
        Handle(self.last)
    }
}

impl<S: Corestore> Drop for Filesystem<S> {
    fn drop(&mut self) {
        if let Some(idle) = self.idle.lock().take() {
            idle.abort();
        }
    }
}

impl<S: Corestore> Filesystem<S> {
    /// Shows `root`, and by `Network` any drive that `drives` can open.
    ///
    /// Must be called within a tokio runtime: a task of it follows what other writers do.
    pub fn new(drives: Drives<S>, root: Drive<S>, options: FsOptions) -> Arc<Self> {
        let staging = Arc::new(options.staging.clone());
        let fs = Arc::new_cyclic(|weak| Self {
            inodes: Mutex::new(Inodes::new(root.clone())),
            handles: Mutex::default(),
            names: RwLock::default(),
            moves: AtomicU64::new(0),
            edits: AtomicU64::new(0),
            network: Mutex::default(),
            watch: watch::Watch::new(weak.clone()),
            idle: Mutex::default(),
            runtime: tokio::runtime::Handle::current(),
            sync_log: sync_log::SyncLog::default(),
            this: weak.clone(),
            started: types::now(),
            drives,
            root: root.clone(),
            options,
            staging,
        });
        fs.show(&root, ROOT);
        let idle = tokio::spawn(idle::commit_idle(Arc::downgrade(&fs)));
        *fs.idle.lock() = Some(idle.abort_handle());
        fs
    }

    /// The drive at the root.
    pub fn root(&self) -> &Drive<S> {
        &self.root
    }

    /// How it is shown.
    pub fn options(&self) -> &FsOptions {
        &self.options
    }

    /// Something changed that listings show.
    fn edited(&self) {
        self.edits.fetch_add(1, Ordering::AcqRel);
    }

    fn open_file(&self, ino: u64) -> Option<Arc<OpenFile<S>>> {
        self.inodes.lock().get(ino)?.content.clone()
    }

    fn is_orphan(&self, ino: u64) -> bool {
        self.inodes.lock().get(ino).is_none_or(|node| node.orphan.is_some())
    }

    fn orphan(&self, ino: u64) -> Option<Stat> {
        self.inodes.lock().get(ino)?.orphan.clone()
    }

    fn place(&self, ino: u64) -> Result<Place<S>, Errno> {
        let inodes = self.inodes.lock();
        match inodes.place(ino) {
            Some(place) => Ok(place),
            // Known, but its name is gone; or never heard of.
            None if inodes.get(ino).is_some() => Err(Errno::ENOENT),
            None => Err(Errno::ESTALE),
        }
    }

    /// The path of `ino` in the root drive, for a change; `EROFS` where none is allowed.
    fn writable_path(&self, ino: u64) -> Result<(Drive<S>, String), Errno> {
        match self.place(ino)? {
            _ if self.options.read_only => Err(Errno::EROFS),
            Place::Drive { drive, path, network: false } => Ok((drive, path)),
            _ => Err(Errno::EROFS),
        }
    }

    /// [`Self::writable_path`] of a name in the directory `parent`.
    fn writable_child(&self, parent: u64, name: &OsStr) -> Result<String, Errno> {
        let (_, directory) = self.writable_path(parent)?;
        let name = utf8(name)?;
        if parent == ROOT && name == NETWORK && self.options.network {
            return Err(Errno::EPERM);
        }
        Ok(join(&directory, name))
    }

    /// Finds `ino`, or `child` in it, in the drives. A rename that happens meanwhile is
    /// no reason not to find it.
    async fn locate(&self, ino: u64, child: Option<&str>) -> Result<(Located<S>, bool), Errno> {
        loop {
            let moves = self.moves.load(Ordering::Acquire);
            let Place::Drive { drive, path, network } = self.place(ino)? else {
                return Err(Errno::EISDIR);
            };
            let path = child.map_or_else(|| path.clone(), |name| join(&path, name));
            let found = self.in_time(drive.locate(&path)).await;
            if moves.is_multiple_of(2) && moves == self.moves.load(Ordering::Acquire) {
                return Ok((found?, network));
            }
            // Wait for the rename to be over.
            drop(self.names.read().await);
        }
    }

    /// What waits for peers, as long as it may. Each block has a limit of its own, but
    /// one operation may need many, or have to wait for its turn.
    async fn in_time<T, E: Into<Errno>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, Errno> {
        match tokio::time::timeout(self.options.timeout, work).await {
            Ok(done) => done.map_err(Into::into),
            Err(_) => Err(Errno::ETIMEDOUT),
        }
    }

    /// What `ino` is, given what its drive says of it and what is not committed yet.
    fn attr(&self, ino: u64, located: &Located<S>, network: bool) -> Attr {
        let ours = located.drive.writable() && !network;
        let attr = self.attr_of(ino, &located.stat, ours);
        let (touched, file) = {
            let inodes = self.inodes.lock();
            let node = inodes.get(ino);
            (node.map_or(0, |node| node.touched), node.and_then(|node| node.content.clone()))
        };
        self.overlay(attr, touched, file.as_deref())
    }

    /// Adds what the drive does not know yet.
    fn overlay(&self, mut attr: Attr, touched: u64, file: Option<&OpenFile<S>>) -> Attr {
        attr.mtime = attr.mtime.max(touched);
        attr.ctime = attr.ctime.max(touched);
        if let Some(file) = file {
            let state = file.state();
            if state.dirty() {
                attr.size = state.size;
                attr.mtime = state.mtime;
                attr.ctime = attr.ctime.max(state.mtime);
            }
        }
        attr
    }

    /// What a record says, with owners as they are shown here.
    fn attr_of(&self, ino: u64, stat: &Stat, ours: bool) -> Attr {
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

    /// Makes what was found known to the kernel.
    fn enter(&self, parent: u64, name: &str, located: &Located<S>, network: bool) -> Result<Entry, Errno> {
        let (ino, generation) = {
            let mut inodes = self.inodes.lock();
            let kind = Kind::of(located.stat.mode);
            let (ino, node) = inodes.enter(parent, name, kind, inodes::Base::Inside).ok_or(Errno::ESTALE)?;
            (ino, node.generation)
        };
        self.show_mount(located, ino);
        Ok(Entry { attr: self.attr(ino, located, network), generation })
    }

    /// Drops what nothing needs any more of an inode that was open.
    fn settle(&self, ino: u64) {
        let mut inodes = self.inodes.lock();
        if let Some(node) = inodes.get_mut(ino)
            && node.handles == 0
            && node.content.as_ref().is_some_and(|file| node.orphan.is_some() || !file.dirty())
        {
            node.content = None;
        }
        inodes.prune(ino);
    }
}

/// A name as drives keep it.
fn utf8(name: &OsStr) -> Result<&str, Errno> {
    if name.len() > NAME_MAX {
        return Err(Errno::ENAMETOOLONG);
    }
    name.to_str().filter(|name| !name.is_empty()).ok_or(Errno::EINVAL)
}

fn join(directory: &str, name: &str) -> String {
    let slash = if directory.ends_with('/') { "" } else { "/" };
    format!("{directory}{slash}{name}")
}

#[cfg(test)]
mod model_tests;
