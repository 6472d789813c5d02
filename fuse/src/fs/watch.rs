//! What other writers change: from the drives' events to what the kernel must forget.
//!
//! A drive may be seen at several places: the mount's root, mountpoints, `Network`.
//! Each place is an inode, so a rename of what is above it costs nothing here. A change
//! that we make ourselves at one of them is told to the others (the *twins*).

use super::Filesystem;
use super::inodes::Inodes;
use super::types::{Invalidation, ROOT};
use hyperdrive::{Change, Drive, Located};
use hyperspace_api::{Corestore, Key};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{broadcast, mpsc};
use tokio::task::AbortHandle;

/// Invalidations that wait for the kernel; a drive that changes faster waits.
const QUEUE: usize = 4096;

pub(super) struct Watch<S: Corestore> {
    fs: Weak<Filesystem<S>>,
    seen: Mutex<HashMap<Key, Seen>>,
    /// Some drive is seen at two places.
    twins: AtomicBool,
    send: mpsc::Sender<Invalidation>,
    receive: Mutex<Option<mpsc::Receiver<Invalidation>>>,
}

/// A drive that is shown.
struct Seen {
    /// The inodes that are its root.
    roots: Vec<u64>,
    /// Hears its changes.
    task: AbortHandle,
}

impl Drop for Seen {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<S: Corestore> Watch<S> {
    pub(super) fn new(fs: Weak<Filesystem<S>>) -> Self {
        let (send, receive) = mpsc::channel(QUEUE);
        let receive = Mutex::new(Some(receive));
        Self { fs, seen: Mutex::default(), twins: AtomicBool::new(false), send, receive }
    }

    /// `drive` is shown with the inode `root` as its root. `known`: the numbers that are
    /// in use, to let go of drives that are not shown any more.
    pub(super) fn show(&self, drive: &Drive<S>, root: u64, known: impl Fn(u64) -> bool) {
        if drive.checked_out().is_some() {
            return; // A version never changes.
        }
        let mut seen = self.seen.lock();
        if seen.get(&drive.key()).is_some_and(|seen| seen.roots.contains(&root)) {
            return;
        }
        for seen in seen.values_mut() {
            seen.roots.retain(|root| known(*root));
        }
        seen.retain(|_, seen| !seen.roots.is_empty());
        let entry = seen.entry(drive.key()).or_insert_with(|| {
            let hear = hear(self.fs.clone(), self.send.clone(), drive.key(), drive.changes());
            Seen { roots: Vec::new(), task: tokio::spawn(hear).abort_handle() }
        });
        entry.roots.push(root);
        let twins = seen.values().any(|seen| seen.roots.len() > 1);
        self.twins.store(twins, Ordering::Release);
    }

    fn roots(&self, key: Key) -> Vec<u64> {
        self.seen.lock().get(&key).map_or(Vec::new(), |seen| seen.roots.clone())
    }
}

/// Turns the changes of one drive into invalidations, as long as the filesystem lives.
async fn hear<S: Corestore>(
    fs: Weak<Filesystem<S>>,
    send: mpsc::Sender<Invalidation>,
    key: Key,
    mut changes: broadcast::Receiver<Change>,
) {
    loop {
        let paths = match changes.recv().await {
            Ok(Change { paths }) => paths,
            // It lost count, and so did we.
            Err(broadcast::error::RecvError::Lagged(_)) => None,
            Err(broadcast::error::RecvError::Closed) => return,
        };
        let Some(fs) = fs.upgrade() else { return };
        let found = fs.changed(key, paths.as_deref());
        drop(fs);
        for invalidation in found {
            if send.send(invalidation).await.is_err() {
                return;
            }
        }
    }
}

impl<S: Corestore> Filesystem<S> {
    /// What the kernel must forget, as it comes up. Can be taken once; if nobody takes
    /// it, nothing caches.
    pub fn invalidations(&self) -> Option<mpsc::Receiver<Invalidation>> {
        self.watch.receive.lock().take()
    }

    pub(super) fn show(&self, drive: &Drive<S>, root: u64) {
        self.watch.show(drive, root, |ino| self.inodes.lock().get(ino).is_some());
    }

    /// The drive `key` changed at `paths` (`None`: anywhere).
    fn changed(&self, key: Key, paths: Option<&[String]>) -> Vec<Invalidation> {
        let mut out = Vec::new();
        let roots = self.watch.roots(key);
        let inodes = self.inodes.lock();
        self.heard();
        for root in roots {
            match paths {
                Some(paths) => paths.iter().for_each(|path| changed_path(&inodes, root, path, &mut out)),
                None => changed_below(&inodes, root, &mut out),
            }
        }
        for invalidation in &out {
            if let Invalidation::Inode(ino) = invalidation
                && let Some(file) = inodes.get(*ino).and_then(|node| node.content.as_ref())
            {
                file.state().stale = true;
            }
        }
        out
    }

    /// We changed `ino`: wherever else it is seen, that is news.
    pub(super) fn tell_twins(&self, ino: u64) {
        if self.watch.twins.load(Ordering::Acquire)
            && let Some((parent, name)) = { self.inodes.lock().parent(ino) }
        {
            self.tell_twins_of(parent, &name);
        }
    }

    /// We change the name `name` in `parent`.
    pub(super) fn tell_twins_of(&self, parent: u64, name: &str) {
        if !self.watch.twins.load(Ordering::Acquire) {
            return;
        }
        let mut path = format!("/{name}");
        let mut at = parent;
        let others = loop {
            let seen = self.watch.seen.lock();
            if let Some(seen) = seen.values().find(|seen| seen.roots.contains(&at)) {
                break seen.roots.iter().copied().filter(|root| *root != at).collect::<Vec<_>>();
            }
            drop(seen);
            let Some((parent, name)) = self.inodes.lock().parent(at).filter(|_| at != ROOT) else { return };
            path = format!("/{name}{path}");
            at = parent;
        };
        let mut out = Vec::new();
        {
            let inodes = self.inodes.lock();
            self.heard();
            others.into_iter().for_each(|root| changed_path(&inodes, root, &path, &mut out));
        }
        if !out.is_empty() {
            let send = self.watch.send.clone();
            self.runtime.spawn(async move {
                for invalidation in out {
                    if send.send(invalidation).await.is_err() {
                        return;
                    }
                }
            });
        }
    }

    /// What was found is the root of a mounted drive, with the inode `ino`.
    pub(super) fn show_mount(&self, located: &Located<S>, ino: u64) {
        if located.is_mountpoint {
            self.show(&located.drive, ino);
        }
    }
}

/// `path`, in the drive whose root is `root`, changed.
fn changed_path<S: Corestore>(inodes: &Inodes<S>, root: u64, path: &str, out: &mut Vec<Invalidation>) {
    let mut at = root;
    let mut names = path.split('/').filter(|name| !name.is_empty()).peekable();
    while let Some(name) = names.next() {
        let child = inodes.child(at, name);
        if child.is_none() || names.peek().is_none() {
            // The kernel may know that the name was not there.
            out.push(Invalidation::Name { parent: at, name: name.to_owned() });
            out.push(Invalidation::Inode(at));
        }
        match child {
            Some(child) => at = child,
            None => return,
        }
    }
    out.push(Invalidation::Inode(at));
}

/// Everything known below `root` may have changed.
fn changed_below<S: Corestore>(inodes: &Inodes<S>, root: u64, out: &mut Vec<Invalidation>) {
    let mut left = vec![root];
    while let Some(at) = left.pop() {
        out.push(Invalidation::Inode(at));
        for (name, child) in inodes.children(at) {
            out.push(Invalidation::Name { parent: at, name: name.to_string() });
            left.push(child);
        }
    }
}
