//! What can be done to a drive: one [`Op`] each, any number in one batch.

use crate::stat::{AttrChange, Attrs, Extent};
use bytes::Bytes;
use hyperspace_api::Key;

/// One change. Paths are absolute; links in them are not followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Creates or replaces a file (or a link); `EISDIR` over a directory.
    PutFile {
        /// Where.
        path: String,
        /// Its attributes.
        attrs: Attrs,
        /// Its bytes.
        content: Content,
    },
    /// Creates an empty file; `EEXIST` if anything is there.
    CreateFile {
        /// Where.
        path: String,
        /// Its attributes.
        attrs: Attrs,
    },
    /// Gives a file other bytes; it keeps its attributes. `ENOENT` if it is gone.
    SetContent {
        /// Which file.
        path: String,
        /// Its new bytes.
        content: Content,
        /// Its new mtime, in milliseconds since 1970.
        mtime: u64,
    },
    /// Creates a directory.
    Mkdir {
        /// Where.
        path: String,
        /// Its attributes.
        attrs: Attrs,
    },
    /// Creates a symbolic link; `EEXIST` if anything is there.
    Symlink {
        /// Where.
        path: String,
        /// Where it points; kept verbatim.
        target: String,
        /// Its attributes.
        attrs: Attrs,
    },
    /// Deletes a file or a link; `EISDIR` for a directory.
    Unlink {
        /// Which.
        path: String,
    },
    /// Deletes an empty directory; unmounts a mountpoint.
    Rmdir {
        /// Which.
        path: String,
    },
    /// Renames a file, a link, a mountpoint or a whole directory.
    Rename {
        /// Its old path.
        from: String,
        /// Its new path.
        to: String,
        /// What may happen to something at `to`.
        mode: RenameMode,
    },
    /// A second file with the same content, of which nothing is copied; replaces a
    /// file at `to`.
    Copy {
        /// A file or a link.
        from: String,
        /// The new one.
        to: String,
    },
    /// Changes attributes.
    SetAttrs {
        /// Of what.
        path: String,
        /// Which.
        change: AttrChange,
    },
    /// Sets an extended attribute.
    SetXattr {
        /// Of what.
        path: String,
        /// Its name.
        name: String,
        /// Its value.
        value: Bytes,
    },
    /// Removes an extended attribute; `ENODATA` if it is not there.
    RemoveXattr {
        /// Of what.
        path: String,
        /// Its name.
        name: String,
    },
    /// Mounts another drive. `path` must be free, or an empty directory.
    Mount {
        /// Where.
        path: String,
        /// Which drive.
        key: Key,
        /// Its version, if it is to stay at one.
        version: Option<u64>,
    },
    /// Removes a mount; `EINVAL` if `path` is none.
    Unmount {
        /// The mountpoint.
        path: String,
    },
}

/// One step of a batch.
#[derive(Clone, Debug)]
pub(crate) enum Edit {
    /// A change of files and directories, in this very drive.
    Op(Op),
    /// Stores something under a hidden key.
    PutHidden {
        /// The key.
        key: String,
        /// What.
        value: Bytes,
    },
    /// Deletes a hidden key; `ENOENT` if it is not there.
    DelHidden {
        /// The key.
        key: String,
    },
}

/// What a rename may do to something at its new path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace it: a file by a file, an empty directory by a directory.
    #[default]
    Replace,
    /// Nothing: `EEXIST`.
    NoReplace,
    /// Both change places.
    Exchange,
}

/// The bytes of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Content {
    /// None.
    #[default]
    Empty,
    /// These, kept in memory until the next commit. At most
    /// [`SMALL_CONTENT`](crate::SMALL_CONTENT) bytes; more goes through
    /// [`Drive::write_content`](crate::Drive::write_content) first.
    Bytes(Bytes),
    /// Those in this range of the same drive's content core.
    Extent(Extent),
}
