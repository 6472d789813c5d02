//! Changes: batches of [`Op`]s, and a call for each that comes alone.

use super::Drive;
use crate::ops::{Content, Edit, Op, RenameMode};
use crate::path::{key_of, path_of, split};
use crate::{AttrChange, Attrs, DriveError, SMALL_CONTENT};
use bytes::Bytes;
use hyperspace_api::{Corestore, Key};

impl Op {
    /// The paths it is about, and whether each is a name in its directory (that is not
    /// followed into what is mounted there), or what the name leads to.
    fn paths(&mut self) -> Vec<(&mut String, bool)> {
        match self {
            Self::PutFile { path, .. }
            | Self::CreateFile { path, .. }
            | Self::SetContent { path, .. }
            | Self::Mkdir { path, .. }
            | Self::Symlink { path, .. }
            | Self::Unlink { path }
            | Self::Rmdir { path }
            | Self::Mount { path, .. }
            | Self::Unmount { path } => vec![(path, false)],
            Self::SetAttrs { path, .. } | Self::SetXattr { path, .. } | Self::RemoveXattr { path, .. } => {
                vec![(path, true)]
            }
            Self::Rename { from, to, .. } | Self::Copy { from, to } => vec![(from, false), (to, false)],
        }
    }
}

impl<S: Corestore> Drive<S> {
    /// Does all of `ops`, or nothing. All paths must lead into one and the same drive.
    /// Everybody who looks through this drive sees the changes at once; when they are
    /// committed is a matter of [`CommitPolicy`](crate::CommitPolicy).
    ///
    /// # Errors
    /// Those of POSIX; `EXDEV` for two drives, `EROFS` for one that is not ours. When
    /// each batch is committed at once, also what the cores say; nothing is done then.
    pub async fn apply(&self, mut ops: Vec<Op>) -> Result<(), DriveError> {
        let mut leaf: Option<Self> = None;
        for op in &mut ops {
            for (path, enter) in op.paths() {
                let (drive, key) = self.resolve(&key_of(path)?, enter).await?;
                match &leaf {
                    None => leaf = Some(drive),
                    Some(leaf) if leaf.key() == drive.key() && leaf.checked_out() == drive.checked_out() => {}
                    Some(_) => return Err(DriveError::CrossDrive(path.clone())),
                }
                *path = path_of(&key);
            }
        }
        let Some(leaf) = leaf else { return Ok(()) };
        if !leaf.writable() {
            let first = ops.iter_mut().flat_map(|op| op.paths()).map(|(path, _)| path.clone()).next();
            return Err(DriveError::ReadOnly(first.unwrap_or_default()));
        }
        leaf.inner.apply(ops.into_iter().map(Edit::Op).collect()).await
    }

    /// Creates or replaces a file with these bytes, of any number.
    ///
    /// # Errors
    /// As [`apply`](Self::apply), `EISDIR`.
    pub async fn put_file(
        &self,
        path: &str,
        bytes: impl Into<Bytes>,
        attrs: Attrs,
    ) -> Result<(), DriveError> {
        let bytes = bytes.into();
        let content = match bytes.len() {
            0 => Content::Empty,
            small if small <= SMALL_CONTENT => Content::Bytes(bytes),
            large => {
                let (drive, _) = self.resolve(&key_of(path)?, false).await?;
                Content::Extent(drive.write_content(bytes, large as u64).await?)
            }
        };
        self.apply(vec![Op::PutFile { path: path.into(), attrs, content }]).await
    }

    /// Creates a directory. `EEXIST` if anything is there.
    pub async fn mkdir(&self, path: &str, attrs: Attrs) -> Result<(), DriveError> {
        self.apply(vec![Op::Mkdir { path: path.into(), attrs }]).await
    }

    /// Creates a directory, and those above it that are not there.
    pub async fn mkdir_all(&self, path: &str, attrs: Attrs) -> Result<(), DriveError> {
        let key = key_of(path)?;
        let mut missing = Vec::new();
        let mut at = key.as_str();
        while !at.is_empty() {
            match self.stat(&path_of(at)).await {
                Ok(stat) if stat.is_dir() => break,
                Ok(_) => return Err(DriveError::NotDir(path_of(at))),
                Err(DriveError::NotFound(_)) => missing.push(path_of(at)),
                Err(error) => return Err(error),
            }
            at = split(at).map_or("", |(dir, _)| dir);
        }
        let mkdir = |path| Op::Mkdir { path, attrs: attrs.clone() };
        self.apply(missing.into_iter().rev().map(mkdir).collect()).await
    }

    /// Deletes a file or a link.
    pub async fn unlink(&self, path: &str) -> Result<(), DriveError> {
        self.apply(vec![Op::Unlink { path: path.into() }]).await
    }

    /// Deletes an empty directory, or unmounts what is mounted there.
    pub async fn rmdir(&self, path: &str) -> Result<(), DriveError> {
        self.apply(vec![Op::Rmdir { path: path.into() }]).await
    }

    /// Creates a symbolic link at `path` that points to `target`.
    pub async fn symlink(&self, path: &str, target: &str, attrs: Attrs) -> Result<(), DriveError> {
        self.apply(vec![Op::Symlink { path: path.into(), target: target.into(), attrs }]).await
    }

    /// Renames anything, with all that is in it.
    pub async fn rename(&self, from: &str, to: &str, mode: RenameMode) -> Result<(), DriveError> {
        self.apply(vec![Op::Rename { from: from.into(), to: to.into(), mode }]).await
    }

    /// A second file with the same content.
    pub async fn copy(&self, from: &str, to: &str) -> Result<(), DriveError> {
        self.apply(vec![Op::Copy { from: from.into(), to: to.into() }]).await
    }

    /// Changes attributes.
    pub async fn set_attrs(&self, path: &str, change: AttrChange) -> Result<(), DriveError> {
        self.apply(vec![Op::SetAttrs { path: path.into(), change }]).await
    }

    /// Sets an extended attribute.
    pub async fn set_xattr(&self, path: &str, name: &str, value: impl Into<Bytes>) -> Result<(), DriveError> {
        self.apply(vec![Op::SetXattr { path: path.into(), name: name.into(), value: value.into() }]).await
    }

    /// Removes an extended attribute.
    pub async fn remove_xattr(&self, path: &str, name: &str) -> Result<(), DriveError> {
        self.apply(vec![Op::RemoveXattr { path: path.into(), name: name.into() }]).await
    }

    /// Mounts the drive `key` at `path`.
    pub async fn mount(&self, path: &str, key: Key, version: Option<u64>) -> Result<(), DriveError> {
        self.apply(vec![Op::Mount { path: path.into(), key, version }]).await
    }

    /// Removes a mount.
    pub async fn unmount(&self, path: &str) -> Result<(), DriveError> {
        self.apply(vec![Op::Unmount { path: path.into() }]).await
    }
}
