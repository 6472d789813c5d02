//! What goes in and out of [`Filesystem`](super::Filesystem): no kernel types.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Inode number of the mount's root.
pub const ROOT: u64 = 1;

/// How a drive is shown as a filesystem.
#[derive(Clone, Debug)]
pub struct FsOptions {
    /// Whose files those are that come from drives we can only read.
    pub uid: u32,
    /// Their group.
    pub gid: u32,
    /// Refuse every change with `EROFS`.
    pub read_only: bool,
    /// Show `Network/<key>` at the root.
    pub network: bool,
    /// A path on the filesystem that keeps the drives: its free space is ours.
    pub storage: PathBuf,
    /// Where large files are staged while they are written (unlinked files).
    pub staging: PathBuf,
    /// How long one look-up or read may wait for peers, all in all, before it fails
    /// with `ETIMEDOUT`.
    pub timeout: Duration,
}

impl Default for FsOptions {
    /// The process's owner, writable, with `Network`; everything in the temp dir; 15 s.
    fn default() -> Self {
        Self {
            uid: nix::unistd::geteuid().as_raw(),
            gid: nix::unistd::getegid().as_raw(),
            read_only: false,
            network: true,
            storage: std::env::temp_dir(),
            staging: std::env::temp_dir(),
            timeout: Duration::from_secs(15),
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its user.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
}

/// What kind of thing an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
}

impl Kind {
    /// From the type bits of a mode.
    pub(crate) fn of(mode: u32) -> Self {
        match mode & libc::S_IFMT {
            libc::S_IFDIR => Self::Dir,
            libc::S_IFLNK => Self::Symlink,
            _ => Self::File,
        }
    }
}

/// What `stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: u64,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with suid, sgid and sticky.
    pub perm: u32,
    /// Links: 0 for what was unlinked.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Last change of the content, ms since 1970.
    pub mtime: u64,
    /// Last change of anything, ms since 1970.
    pub ctime: u64,
}

/// A name found or made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its inode.
    pub attr: Attr,
    /// Tells two uses of one inode number apart.
    pub generation: u64,
}

/// Stands for an open file or directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub u64);

/// What `open` gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The handle.
    pub handle: Handle,
    /// What is cached of the file is still right.
    pub keep: bool,
}

/// A time to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The present.
    Now,
    /// Ms since 1970.
    At(u64),
}

/// What `setattr` changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Length in bytes.
    pub size: Option<u64>,
    /// Accepted, but not stored: the access time reads as the modification time.
    pub atime: Option<SetTime>,
    /// Modification time.
    pub mtime: Option<SetTime>,
}

/// One name of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry<'a> {
    /// The name.
    pub name: &'a str,
    /// What it is.
    pub kind: Kind,
    /// An inode number to show. Says nothing of the inode table.
    pub ino: u64,
    /// Where to go on after this entry.
    pub next: u64,
}

/// How `rename` treats a name that exists.
pub use hyperdrive::RenameMode;

/// What `statfs` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Unit of the three counts below, in bytes.
    pub block_size: u32,
    /// All blocks.
    pub blocks: u64,
    /// Free ones.
    pub free: u64,
    /// Free ones that an ordinary user may take.
    pub available: u64,
    /// Inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
}

/// What the kernel must forget, since another writer changed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalidation {
    /// A name in a directory, whether it was there or not.
    Name {
        /// The directory.
        parent: u64,
        /// The name.
        name: String,
    },
    /// Attributes and cached content of an inode.
    Inode(u64),
}

/// Ms since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
