//! Files and folders of the root drive and of what is mounted in it.

use crate::import::FileSource;
use crate::{HyperdriveClient, ServiceError, Target};
use hyperdrive::{Attrs, Cleared, Content, DriveError, Entry, Op, Progress};
use std::path::Path;
use std::sync::Arc;

impl HyperdriveClient {
    /// What is in a folder, by name; a file gives itself.
    pub async fn list(&self, target: &Target) -> Result<Vec<Entry>, ServiceError> {
        let located = self.locate(target).await?;
        if located.stat.is_dir() {
            return Ok(located.drive.readdir(&located.path).await?);
        }
        let name = located.path.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(vec![Entry { name, stat: located.stat }])
    }

    /// Fetches the content of a file, or of all files of a folder, from peers; it stays
    /// here. `tell` hears how far it is.
    pub async fn download(
        &self,
        target: &Target,
        tell: impl FnMut(Progress),
    ) -> Result<Progress, ServiceError> {
        let located = self.locate(target).await?;
        Ok(located.drive.download(&located.path, tell).await?)
    }

    /// Gives back the disk space of the content of a file, or of all files of a folder.
    /// Refused where the only copy may be ours.
    pub async fn clear(&self, target: &Target) -> Result<Cleared, ServiceError> {
        let located = self.locate(target).await?;
        Ok(located.drive.clear(&located.path).await?)
    }

    /// Removes a file, or with `recursive` a folder and all in it. Mounts in it are
    /// taken away; the mounted drives stay as they are.
    pub async fn remove(&self, path: &Path, recursive: bool) -> Result<(), ServiceError> {
        self.settle_target(&Target::Path(path.to_owned())).await;
        let path = self.in_drive(path)?;
        let at = path.clone();
        if path == "/" {
            return Err(ServiceError::usage("The root of the drive cannot be removed.".to_owned()));
        }
        let stat = self.root().stat(&path).await?;
        let mut ops = Vec::new();
        if stat.mount.is_some() {
            return Err(ServiceError::usage(format!(
                "{path} is a mounted drive. To take it away: hyperdrive unmount PATH"
            )));
        } else if !stat.is_dir() {
            ops.push(Op::Unlink { path });
        } else if !recursive {
            ops.push(Op::Rmdir { path });
        } else {
            let inside = self.root().walk(&path, hyperdrive::WalkOptions { mounts: false }).await?;
            for (at, stat) in inside.into_iter().rev().filter(|(at, _)| *at != path) {
                ops.push(match (&stat.mount, stat.is_dir()) {
                    (Some(_), _) => Op::Unmount { path: at },
                    (None, true) => Op::Rmdir { path: at },
                    (None, false) => Op::Unlink { path: at },
                });
            }
            // An implicit folder is gone with the last thing in it.
            for chunk in ops.chunks(1000) {
                self.root().apply(chunk.to_vec()).await?;
            }
            ops.clear();
            if self.root().stat(&path).await.is_ok() {
                ops.push(Op::Rmdir { path });
            }
        }
        self.root().apply(ops).await?;
        self.flush_at(&at).await
    }

    /// A new folder; with `parents`, those above it too, and no error if it is there.
    pub async fn mkdir(&self, path: &Path, parents: bool) -> Result<(), ServiceError> {
        self.settle_target(&Target::Path(path.to_owned())).await;
        let path = self.in_drive(path)?;
        let whole = path.clone();
        if parents {
            let path = self.root().follow(&path).await?;
            let mut at = String::new();
            for name in path.split('/').filter(|name| !name.is_empty()) {
                at = format!("{at}/{name}");
                match self.root().stat(&at).await {
                    Ok(stat) if stat.is_dir() => {}
                    Ok(_) => return Err(DriveError::NotDir(at).into()),
                    Err(DriveError::NotFound { .. }) => {
                        self.root()
                            .apply(vec![Op::Mkdir { path: at.clone(), attrs: our_attrs(0o755) }])
                            .await?;
                    }
                    Err(e) => return Err(e.into()),
                }
            }
        } else {
            self.root().apply(vec![Op::Mkdir { path, attrs: our_attrs(0o755) }]).await?;
        }
        self.flush_at(&whole).await
    }

    /// Writes the whole of `file` to `path` of the drive, in place of what was there; a
    /// new file is made as whoever runs this process would make one. Returns its size
    /// in bytes and its permissions. A link is followed.
    pub async fn put(&self, path: &Path, file: std::fs::File) -> Result<(u64, u32), ServiceError> {
        self.settle_target(&Target::Path(path.to_owned())).await;
        let path = self.root().follow(&self.in_drive(path)?).await?;
        let at = path.clone();
        let located = match self.root().locate(&path).await {
            Ok(old) if old.stat.is_dir() => return Err(DriveError::IsDir(path).into()),
            Ok(old) => Some(old),
            Err(DriveError::NotFound { .. }) => None,
            Err(e) => return Err(e.into()),
        };
        let attrs = match &located {
            Some(old) => Attrs {
                mode: old.stat.mode & 0o7777,
                uid: old.stat.uid,
                gid: old.stat.gid,
                xattrs: old.stat.metadata.clone(),
                ..Attrs::default()
            },
            None => our_attrs(0o644),
        };
        let size = file.metadata().map_err(|e| ServiceError::io("Could not read the input", e))?.len();
        let mode = attrs.mode;
        // Content belongs to the drive that the file lies in, which may be a mounted one.
        let parent = match path.rsplit_once('/') {
            Some((parent, _)) if !parent.is_empty() => self.root().locate(parent).await?,
            _ => self.root().locate("/").await?,
        };
        let content = match size {
            0 => Content::Empty,
            _ => Content::Extent(parent.drive.write_content(FileSource(Arc::new(file)), size).await?),
        };
        self.root().apply(vec![Op::PutFile { path, attrs, content }]).await?;
        self.flush_at(&at).await?;
        Ok((size, mode))
    }
}

/// Attributes of something made by whoever runs this process.
fn our_attrs(mode: u32) -> Attrs {
    Attrs {
        mode,
        uid: nix::unistd::geteuid().as_raw(),
        gid: nix::unistd::getegid().as_raw(),
        ..Attrs::default()
    }
}
