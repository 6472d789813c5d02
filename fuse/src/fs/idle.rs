//! What was written is committed after a while, even if nobody closes the file.
//!
//! This also tries again what could not be committed when its file was closed.

use super::Filesystem;
use hyperspace_api::Corestore;
use std::collections::HashMap;
use std::sync::Weak;
use std::time::Duration;

/// How often is looked. A file that did not change between two looks is committed.
const EVERY: Duration = Duration::from_secs(5);
/// A longer file is left alone until somebody asks: each commit may write it anew.
const LONGEST: u64 = 64 << 20;

/// Runs as long as the filesystem lives.
pub(super) async fn commit_idle<S: Corestore>(fs: Weak<Filesystem<S>>) {
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + EVERY, EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = HashMap::new();
    loop {
        ticks.tick().await;
        let Some(fs) = fs.upgrade() else { return };
        seen = fs.commit_unchanged(&seen).await;
    }
}

impl<S: Corestore> Filesystem<S> {
    /// Commits the files that have no more changes than in `seen`; what to compare with
    /// next time.
    async fn commit_unchanged(&self, seen: &HashMap<u64, u64>) -> HashMap<u64, u64> {
        let mut changes = HashMap::new();
        let files = self.inodes.lock().contents();
        for (ino, file) in files {
            let (dirty, now, size) = {
                let state = file.state();
                (state.dirty(), state.changes, state.size)
            };
            if !dirty {
                continue;
            }
            if seen.get(&ino) == Some(&now)
                && size <= LONGEST
                && let Err(error) = self.commit_file(ino).await
            {
                tracing::warn!(%error, "a file could not be saved yet");
            }
            drop(file);
            self.settle(ino);
            changes.insert(ino, now);
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use crate::fs::Filesystem;
    use crate::fs::types::{Caller, FsOptions, ROOT};
    use hyperdrive::{DriveOptions, Drives};
    use hyperspace_api::memory::MemoryStore;
    use std::collections::HashMap;

    #[tokio::test]
    async fn a_file_that_stays_open_is_saved() {
        let drives = Drives::new(MemoryStore::new(), DriveOptions::default());
        let root = drives.create().await.unwrap();
        let fs = Filesystem::new(drives, root.clone(), FsOptions::default());
        let me = Caller { uid: 0, gid: 0 };
        let (entry, _) = fs.create(me, ROOT, "log".as_ref(), 0o644, 0).await.unwrap();
        fs.write(entry.attr.ino, 0, b"line").unwrap();
        let seen = fs.commit_unchanged(&HashMap::new()).await;
        fs.write(entry.attr.ino, 4, b"s").unwrap();
        let seen = fs.commit_unchanged(&seen).await;
        assert_eq!(root.read_file("/log").await.unwrap(), "", "it is still being written");
        fs.commit_unchanged(&seen).await;
        assert_eq!(root.read_file("/log").await.unwrap(), "lines");
    }
}
