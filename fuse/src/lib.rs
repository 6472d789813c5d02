//! Hyperdrives as a mounted filesystem.
//!
//! [`fs::Filesystem`] is a drive as a filesystem: inodes, handles, staging, commits. It
//! knows no kernel. [`mount()`] puts it behind a FUSE mount: a thin adapter translates
//! each request of the kernel to one of its calls, and tells the kernel what others
//! changed.
#![forbid(unsafe_code)]

mod adapter;
mod errno;
pub mod fs;
mod mount;

pub use errno::Errno;
pub use mount::{MountError, MountOptions, Mounted, force_unmount, mount};
