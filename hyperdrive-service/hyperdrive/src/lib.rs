//! A filesystem in signed logs: hyperdrive 10 tries, content, mounts, history.
//!
//! A [`Drive`] is two cores. The metadata core, whose key is the drive's, holds a
//! [hypertrie]: the names, each with its [`Stat`]. The content core holds the
//! files' bytes. Both only grow, so every length of the metadata core is a version of
//! the drive that can be looked into. The format is npm hyperdrive 10's, byte for byte.
//!
//! This crate knows cores by the traits of `hyperspace-api` alone: local, remote or in
//! memory, a drive is the same.
//!
//! ```
//! use hyperdrive::{Attrs, DriveOptions, Drives, RenameMode};
//! use hyperspace_api::memory::MemoryStore;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), hyperdrive::DriveError> {
//! let drives = Drives::new(MemoryStore::new(), DriveOptions::default());
//! let drive = drives.create().await?;
//! drive.mkdir("/notes", Attrs::dir()).await?;
//! drive.put_file("/notes/today", "bread, milk", Attrs::file()).await?;
//! drive.rename("/notes", "/lists", RenameMode::Replace).await?;
//! assert_eq!(drive.read_file("/lists/today").await?, "bread, milk");
//! drive.flush().await?;
//! # Ok(()) }
//! ```
//!
//! Changes are done at once for everybody who looks through this process's [`Drives`],
//! and committed a moment later, many together ([`CommitPolicy`]). Other processes may
//! write the same drive: whoever is second does its changes again upon the new version.
#![forbid(unsafe_code)]

mod content;
mod drive;
mod drives;
mod error;
mod mounts;
mod ops;
mod path;
mod proto;
mod stat;
mod symlink;
mod tree;
mod view;

pub use hypertrie as trie;

pub use content::{BLOCK_SIZE, ContentSource, Reader, SMALL_CONTENT};
pub use drive::{
    Change, Cleared, DiffEntry, Drive, FileStats, HistoryEntry, Located, MountEntry, Progress, WalkOptions,
};
pub use drives::{CommitPolicy, DriveOptions, Drives, FindPeers, HintsFor, Others};
pub use error::DriveError;
pub use ops::{Content, Op, RenameMode};
pub use path::{NAME_MAX, PATH_MAX};
pub use proto::stat::StatError;
pub use stat::{AttrChange, Attrs, Entry, Extent, MountRef, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, Stat};
