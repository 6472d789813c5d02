//! What a drive knows of a file, a directory or a link.

use bytes::Bytes;
use hyperspace_api::Key;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// The bits of a mode that tell the type.
pub const S_IFMT: u32 = 0o170000;
/// A regular file.
pub const S_IFREG: u32 = 0o100000;
/// A directory.
pub const S_IFDIR: u32 = 0o040000;
/// A symbolic link.
pub const S_IFLNK: u32 = 0o120000;

/// The mode of a directory that exists only because something is in it.
const IMPLICIT_MODE: u32 = S_IFDIR | 0o755;

/// The record of a file, directory, link or mountpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// Type and permission bits, as in `stat(2)`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes.
    pub size: u64,
    /// Blocks of the content core.
    pub blocks: u64,
    /// The first of them.
    pub offset: u64,
    /// The byte of the content core at which that one starts.
    pub byte_offset: u64,
    /// When the content last changed, in milliseconds since 1970.
    pub mtime: u64,
    /// When anything last changed, in milliseconds since 1970.
    pub ctime: u64,
    /// Where a symbolic link points, verbatim.
    pub linkname: Option<String>,
    /// What is mounted here.
    pub mount: Option<MountRef>,
    /// Extended attributes.
    pub metadata: BTreeMap<String, Bytes>,
}

/// What is mounted at a mountpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountRef {
    /// The drive (or the core, see `hypercore`).
    pub key: Key,
    /// Its version, if it is to stay at one.
    pub version: Option<u64>,
    /// Never written by Node, nor by us; kept.
    pub hash: Option<Bytes>,
    /// A bare core, read as one file, instead of a drive.
    pub hypercore: bool,
}

/// A range of the content core.
///
/// An `offset` of 2^52 or more is content that is not committed yet: the drive
/// that gave it still knows it when it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Extent {
    /// The first block.
    pub offset: u64,
    /// How many.
    pub blocks: u64,
    /// The byte at which the first block starts.
    pub byte_offset: u64,
    /// Bytes.
    pub size: u64,
}

/// The attributes of something new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// In milliseconds since 1970; `None` is now.
    pub mtime: Option<u64>,
    /// In milliseconds since 1970; `None` is now.
    pub ctime: Option<u64>,
    /// Extended attributes.
    pub xattrs: BTreeMap<String, Bytes>,
}

/// Which attributes to change. `ctime` becomes now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttrChange {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// In milliseconds since 1970.
    pub mtime: Option<u64>,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// What it names.
    pub stat: Stat,
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

impl Attrs {
    /// A file of ours: `rw-r--r--`, owned by user and group 0, from now.
    pub fn file() -> Self {
        Self { mode: 0o644, ..Self::default() }
    }

    /// A directory of ours: `rwxr-xr-x`, owned by user and group 0, from now.
    pub fn dir() -> Self {
        Self { mode: 0o755, ..Self::default() }
    }
}

impl Extent {
    /// The block after its last.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.blocks)
    }
}

impl Stat {
    /// Is it a regular file?
    pub fn is_file(&self) -> bool {
        self.mode & S_IFMT == S_IFREG
    }

    /// Is it a directory? Mountpoints of drives are.
    pub fn is_dir(&self) -> bool {
        self.mode & S_IFMT == S_IFDIR
    }

    /// Is it a symbolic link?
    pub fn is_symlink(&self) -> bool {
        self.mode & S_IFMT == S_IFLNK
    }

    /// Where its content lies.
    pub fn extent(&self) -> Extent {
        Extent { offset: self.offset, blocks: self.blocks, byte_offset: self.byte_offset, size: self.size }
    }

    pub(crate) fn set_extent(&mut self, extent: Extent) {
        self.offset = extent.offset;
        self.blocks = extent.blocks;
        self.byte_offset = extent.byte_offset;
        self.size = extent.size;
    }

    /// Something new of the type `kind` (an `S_IF…`).
    pub(crate) fn new(kind: u32, attrs: &Attrs) -> Self {
        let now = now_ms();
        Self {
            mode: kind | attrs.mode & !S_IFMT,
            uid: attrs.uid,
            gid: attrs.gid,
            mtime: attrs.mtime.unwrap_or(now),
            ctime: attrs.ctime.unwrap_or(now),
            metadata: attrs.xattrs.clone(),
            ..Self::default()
        }
    }

    /// A directory without a record of its own: owner and times are those of the
    /// first thing in it, so that who may write that may write beside it.
    pub(crate) fn implicit_dir(child: &Self) -> Self {
        Self {
            mode: IMPLICIT_MODE,
            uid: child.uid,
            gid: child.gid,
            mtime: child.mtime,
            ctime: child.ctime,
            ..Self::default()
        }
    }

    /// The root of a drive that says nothing of it: it belongs to whoever looks, who
    /// could else write nothing in a drive of his own.
    pub(crate) fn default_root() -> Self {
        let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
        Self { mode: IMPLICIT_MODE, uid, gid, ..Self::default() }
    }

    pub(crate) fn change(&mut self, change: &AttrChange) {
        if let Some(mode) = change.mode {
            self.mode = self.mode & S_IFMT | mode & !S_IFMT;
        }
        self.uid = change.uid.unwrap_or(self.uid);
        self.gid = change.gid.unwrap_or(self.gid);
        self.mtime = change.mtime.unwrap_or(self.mtime);
        self.ctime = now_ms();
    }
}
