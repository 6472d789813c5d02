//! Extended attributes: those that are stored, and those that tell of the drive.

use super::Filesystem;
use super::inodes::Place;
use crate::errno::Errno;
use bytes::Bytes;
use hyperdrive::{Located, Op};
use hyperspace_api::Corestore;
use std::ffi::OsStr;

/// What tells of the drive that a path lies in. Every path has these; they are read by
/// name and not listed, so that programs which copy attributes leave them alone.
pub const VIRTUAL: &str = "user.hyperdrive.";
/// All values and names of one path together, in bytes: they travel with each record.
const MOST: usize = 64 << 10;

/// How `setxattr` treats a name that exists, or does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetMode {
    /// Sets it in any case.
    #[default]
    Any,
    /// `EEXIST` if it is there.
    Create,
    /// `ENODATA` if it is not.
    Replace,
}

impl<S: Corestore> Filesystem<S> {
    /// The value of the attribute `name`; `ENODATA` if it has none.
    pub async fn getxattr(&self, ino: u64, name: &OsStr) -> Result<Bytes, Errno> {
        let name = name.to_str().ok_or(Errno::ENODATA)?;
        if name.starts_with("system.") {
            return Err(Errno::EOPNOTSUPP);
        }
        if let Some(stat) = self.orphan(ino) {
            return stat.metadata.get(name).cloned().ok_or(Errno::ENODATA);
        }
        if let Place::Network = self.place(ino)? {
            return Err(Errno::ENODATA);
        }
        let located = self.locate(ino, None).await?.located;
        match name.strip_prefix(VIRTUAL) {
            Some(what) => describe(&located, what),
            None => located.stat.metadata.get(name).cloned().ok_or(Errno::ENODATA),
        }
    }

    /// The names of the stored attributes, each ended by a zero byte.
    pub async fn listxattr(&self, ino: u64) -> Result<Bytes, Errno> {
        let stat = match (self.orphan(ino), self.place(ino)) {
            (Some(stat), _) => stat,
            (None, Ok(Place::Network)) => return Ok(Bytes::new()),
            _ => self.locate(ino, None).await?.located.stat,
        };
        let mut out = Vec::new();
        for name in stat.metadata.keys().filter(|name| !name.starts_with(VIRTUAL)) {
            out.extend_from_slice(name.as_bytes());
            out.push(0);
        }
        Ok(out.into())
    }

    /// Stores an attribute.
    pub async fn setxattr(&self, ino: u64, name: &OsStr, value: &[u8], mode: SetMode) -> Result<(), Errno> {
        let name = settable(name)?;
        let value = Bytes::copy_from_slice(value);
        if let Some(mut stat) = self.orphan(ino) {
            check(&stat, name, value.len(), mode)?;
            stat.metadata.insert(name.to_owned(), value);
            self.put_orphan(ino, stat);
            return Ok(());
        }
        self.writable_path(ino)?;
        let located = self.locate(ino, None).await?.located;
        check(&located.stat, name, value.len(), mode)?;
        let name = name.to_owned();
        self.apply_xattr(ino, |path| Op::SetXattr { path, name, value }).await
    }

    /// Removes an attribute; `ENODATA` if it is not there.
    pub async fn removexattr(&self, ino: u64, name: &OsStr) -> Result<(), Errno> {
        let name = settable(name)?;
        if let Some(mut stat) = self.orphan(ino) {
            stat.metadata.remove(name).ok_or(Errno::ENODATA)?;
            self.put_orphan(ino, stat);
            return Ok(());
        }
        self.writable_path(ino)?;
        self.locate(ino, None).await?;
        let name = name.to_owned();
        self.apply_xattr(ino, |path| Op::RemoveXattr { path, name }).await
    }

    async fn apply_xattr(&self, ino: u64, op: impl FnOnce(String) -> Op) -> Result<(), Errno> {
        let _names = self.names.read().await;
        let (_, path) = self.writable_path(ino)?;
        self.root.apply(vec![op(path)]).await?;
        self.edited();
        self.tell_twins(ino);
        Ok(())
    }

    fn put_orphan(&self, ino: u64, stat: hyperdrive::Stat) {
        if let Some(node) = self.inodes.lock().get_mut(ino) {
            node.orphan = Some(stat);
        }
    }
}

/// `name`, if such an attribute may be stored.
fn settable(name: &OsStr) -> Result<&str, Errno> {
    let name = name.to_str().ok_or(Errno::EINVAL)?;
    match name {
        _ if name.starts_with(VIRTUAL) => Err(Errno::EPERM),
        // ACLs would have to be obeyed, not only kept.
        _ if name.starts_with("system.") => Err(Errno::EOPNOTSUPP),
        _ => Ok(name),
    }
}

fn check(stat: &hyperdrive::Stat, name: &str, value: usize, mode: SetMode) -> Result<(), Errno> {
    let old = stat.metadata.get(name);
    match (mode, old) {
        (SetMode::Create, Some(_)) => return Err(Errno::EEXIST),
        (SetMode::Replace, None) => return Err(Errno::ENODATA),
        _ => {}
    }
    let others = stat.metadata.iter().filter(|(other, _)| *other != name);
    let all: usize = others.map(|(name, value)| name.len() + value.len()).sum();
    if all + name.len() + value > MOST { Err(Errno::ENOSPC) } else { Ok(()) }
}

fn describe<S: Corestore>(located: &Located<S>, what: &str) -> Result<Bytes, Errno> {
    let drive = &located.drive;
    Ok(match what {
        "key" => drive.key().to_string(),
        "discovery-key" => drive.discovery_key().to_string(),
        "version" => drive.version().to_string(),
        "writable" => drive.writable().to_string(),
        "path" => located.path.clone(),
        _ => return Err(Errno::ENODATA),
    }
    .into())
}
