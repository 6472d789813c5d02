//! A drive as a filesystem, without a kernel.
//!
//! [`Filesystem`] answers what a kernel asks, in terms of its own ([`types`]); the
//! tests drive it directly. Each file of this module holds one group of operations:
//!
//! | file | what |
//! |---|---|
//! | `found` | what a drive says, and what is known better here |
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
//! Locks: `inodes`, `handles` and an open file's state are short, taken in this order, and
//! never held across an await. `names` is held across one `Drive::apply`: shared by what needs a path to
//! stay what it is, exclusive by what changes names. Whatever may wait for peers is
//! looked up before it is taken.

mod commit;
mod dir;
mod file;
mod found;
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
use hyperdrive::{Drive, Drives, Stat};
use hyperspace_api::Corestore;
use inodes::{Inodes, Place};
use open_file::OpenFile;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use tokio::sync::RwLock;
use tokio::task::AbortHandle;
use types::{FsOptions, Handle, ROOT};

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
    /// Counts everything that may make a listing, or another answer of a drive, old.
    edits: AtomicU64,
    /// Counts what was heard of other writers.
    news: AtomicU64,
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
            news: AtomicU64::new(0),
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

    fn open_file(&self, ino: u64) -> Option<Arc<OpenFile<S>>> {
        self.inodes.lock().get(ino)?.content.clone()
    }

    /// The content that `stat`, of `drive`, tells of, for whoever opens it.
    fn open_content(&self, drive: &Drive<S>, stat: &Stat) -> Arc<OpenFile<S>> {
        Arc::new(OpenFile::new(drive.clone(), stat, self.staging.clone()))
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

    /// Drops what nothing needs any more of an inode that was open.
    fn settle(&self, ino: u64) {
        let mut inodes = self.inodes.lock();
        if let Some(node) = inodes.get_mut(ino)
            && node.handles == 0
            && let Some(dirty) = node.content.as_ref().map(|file| file.dirty())
            && (node.orphan.is_some() || !dirty)
        {
            node.content = None;
            if dirty {
                node.left = None; // It would be opened again as what it no longer is.
            }
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
#[cfg(test)]
mod race_tests;
