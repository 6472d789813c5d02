//! A mounted drive in memory, and shell scripts in it.
#![allow(dead_code, reason = "each test file uses a part of it")]

use hyperdrive::{Drive, DriveOptions, Drives};
use hyperdrive_fuse::fs::{Filesystem, types::FsOptions};
use hyperdrive_fuse::{MountOptions, Mounted, mount};
use hyperspace_api::memory::MemoryStore;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

pub struct TestMount {
    pub path: PathBuf,
    pub mounted: Mounted,
    pub drive: Drive<MemoryStore>,
    pub drives: Drives<MemoryStore>,
    _dir: tempfile::TempDir,
}

/// Mounts the drive `root` of `store`; each mount has drives of its own, as each
/// process has.
pub async fn mount_store(store: &MemoryStore) -> TestMount {
    mount_with(store, MountOptions::default(), FsOptions::default()).await
}

pub async fn mount_with(store: &MemoryStore, options: MountOptions, shown: FsOptions) -> TestMount {
    let drives = Drives::new(store.clone(), DriveOptions::default());
    let drive = drives.create_named("root").await.unwrap();
    let fs: Arc<_> = Filesystem::new(drives.clone(), drive.clone(), shown);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mnt");
    let mounted = mount(fs, &path, options).await.unwrap();
    TestMount { path, mounted, drive, drives, _dir: dir }
}

impl Drop for TestMount {
    /// A test that failed leaves nothing behind.
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.path, nix::mount::MntFlags::MNT_DETACH);
    }
}

impl TestMount {
    /// Runs a script in the mount; it must succeed. Its output.
    pub async fn sh(&self, script: &str) -> String {
        sh(&self.path, script).await
    }

    pub async fn unmount(self) {
        self.mounted.unmount().await.unwrap();
        assert_eq!(std::fs::read_dir(&self.path).unwrap().count(), 0, "still mounted");
    }
}

/// Runs a script in `dir`; it must succeed. Its output.
pub async fn sh(dir: &Path, script: &str) -> String {
    let mut command = Command::new("bash");
    command.args(["-euxo", "pipefail", "-c", script]).current_dir(dir).env("LC_ALL", "C");
    for who in ["AUTHOR", "COMMITTER"] {
        command.env(format!("GIT_{who}_NAME"), "a").env(format!("GIT_{who}_EMAIL"), "a@example.org");
    }
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{script}\nended with {}\n{out}\n{err}", output.status);
    out
}

/// Runs blocking code beside the runtime.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}
