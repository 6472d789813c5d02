//! The client beside the mount: each sees what the other has written.
//!
//! A mount commits what was written through it by itself, within moments; a command
//! that comes sooner asks for it, by syncing a folder of the drive that it is about. Drives of
//! others are left alone: nothing is written to them, and their folders may have to be waited
//! for.

use crate::{HyperdriveClient, ServiceError, Target, paths, setup};
use futures::future::join_all;
use hyperdrive::MountEntry;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a mount that is stuck is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

impl HyperdriveClient {
    /// Makes the mount, if there is one, commit what was written through it to the root
    /// drive, and see what was written here. Waits at most five seconds for a mount
    /// that is stuck.
    pub async fn settle(&self) {
        self.sync(vec![self.mnt().to_owned()]).await;
    }

    /// The same for the drive that `target` is about.
    pub async fn settle_target(&self, target: &Target) {
        let folders = match target {
            Target::Path(path) => match self.in_drive(path) {
                Ok(path) => vec![self.folder_of_ours(&path).await],
                Err(_) => return,
            },
            Target::Key(key) if *key == self.root().key() => vec![self.mnt().to_owned()],
            Target::Key(key) => {
                // That the root drive cannot be read is for the command to find.
                let mounts = self.root().mounts(false).await.unwrap_or_default();
                let its = mounts.into_iter().filter(|mount| mount.key == *key && mount.version.is_none());
                join_all(its.map(async |mount| self.folder_of_ours(&mount.path).await)).await
            }
        };
        self.sync(folders).await;
    }

    /// The same for drives mounted at these paths of the root drive.
    pub(crate) async fn settle_mounts(&self, paths: impl Iterator<Item = &str>) {
        self.sync(join_all(paths.map(async |path| self.folder_of_ours(path).await)).await).await;
    }

    /// Commits everything, to the server and to its disk, and lets the mount see it.
    pub async fn flush(&self) -> Result<(), ServiceError> {
        self.drives().flush_all().await?;
        self.settle().await;
        Ok(())
    }

    /// The same after a change at `path` of the root drive.
    pub(crate) async fn flush_at(&self, path: &str) -> Result<(), ServiceError> {
        self.drives().flush_all().await?;
        self.sync(vec![self.folder_of_ours(path).await]).await;
        Ok(())
    }

    /// `path` in the mount; if it lies in a drive that we cannot write, the folder where that
    /// is mounted.
    async fn folder_of_ours(&self, path: &str) -> PathBuf {
        let (mut drive, mut at, mut rest) = (self.root().clone(), String::new(), path.to_owned());
        // That something cannot be read is for the command to find.
        while let Ok(mounts) = drive.mounts(false).await {
            let on_the_way = |mount: &&MountEntry| paths::is_within(&rest, &mount.path);
            let Some(mount) = mounts.iter().filter(on_the_way).min_by_key(|mount| mount.path.len()) else {
                break;
            };
            match self.drives().open(mount.key, mount.version).await {
                Ok(mounted) if mounted.writable() => drive = mounted,
                _ => {
                    let above = mount.path.rsplit_once('/').map_or("", |(above, _)| above);
                    return self.in_mount(&format!("{at}{above}"));
                }
            }
            at.push_str(&mount.path);
            rest.replace_range(..mount.path.len(), "");
        }
        self.in_mount(path)
    }

    fn in_mount(&self, path: &str) -> PathBuf {
        self.mnt().join(path.trim_start_matches('/'))
    }

    /// Syncs folders of the mount; a path that is no folder stands for the one it is in.
    async fn sync(&self, folders: Vec<PathBuf>) {
        if folders.is_empty() || !setup::is_mounted(self.mnt()).unwrap_or(false) {
            return;
        }
        let syncs = folders.into_iter().map(|folder| tokio::task::spawn_blocking(move || sync(&folder)));
        let Ok(done) = tokio::time::timeout(PATIENCE, join_all(syncs)).await else {
            let (mnt, waited) = (self.mnt().display(), PATIENCE.as_secs());
            return tracing::warn!(
                "the mount at {mnt} has not answered for {waited} seconds: \
                 what was just written there, or here, may not be seen by the other yet"
            );
        };
        let errors = done.into_iter().filter_map(|done| done.map_err(io::Error::other).flatten().err());
        for error in errors {
            match error.raw_os_error() {
                // What is not there has nothing to be synced.
                Some(libc::ENOENT | libc::ENOTDIR) => {}
                Some(libc::ENOTCONN) => {
                    let mnt = self.mnt().display();
                    return tracing::warn!(
                        "the mount at {mnt} is dead; to replace it: hyperdrive start --force"
                    );
                }
                _ => tracing::warn!(
                    "what was just written at {} is not committed yet, and not seen here: {error}",
                    self.mnt().display()
                ),
            }
        }
    }
}

fn sync(path: &Path) -> io::Result<()> {
    use nix::fcntl::{OFlag, open};
    let folder = |path: &Path| {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        open(path, flags, nix::sys::stat::Mode::empty()).map(File::from)
    };
    match (folder(path), path.parent()) {
        (
            Err(nix::errno::Errno::ENOENT | nix::errno::Errno::ENOTDIR | nix::errno::Errno::ELOOP),
            Some(above),
        ) => folder(above)?.sync_all(),
        (opened, _) => opened?.sync_all(),
    }
}
