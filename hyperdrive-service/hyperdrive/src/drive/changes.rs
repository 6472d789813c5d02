//! What others change, and who is told.

use super::Inner;
use crate::path::{is_key, path_of};
use crate::view::{ROOT, View};
use crate::{DriveError, Stat};
use hyperspace_api::{Core, CoreEvent, Corestore};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::sync::broadcast::{self, error::RecvError};

/// Paths told one by one; more are told as "anything".
const PATHS_MAX: usize = 4096;

/// How long until a change that could not be followed is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Another writer changed the drive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The paths that are not what they were; `None`: any may have changed.
    pub paths: Option<Vec<String>>,
}

/// Follows the metadata core until the drive is closed. `outdated` says that it was
/// opened at an older version than the newest.
pub(super) async fn watch<S: Corestore>(
    inner: Weak<Inner<S>>,
    mut events: broadcast::Receiver<CoreEvent>,
    outdated: Arc<Notify>,
) {
    let mut behind = false;
    loop {
        let pause = if behind { RETRY } else { Duration::MAX };
        let event = tokio::select! {
            event = events.recv() => Some(event),
            () = outdated.notified() => None,
            () = tokio::time::sleep(pause) => None,
        };
        let Some(inner) = inner.upgrade() else { return };
        let newest = || inner.metadata().length();
        let followed = match event {
            Some(Ok(CoreEvent::Append { length, .. })) => inner.follow(length).await,
            Some(Ok(CoreEvent::Truncate { length, .. })) => inner.truncated(length).await,
            Some(Ok(CoreEvent::Closed) | Err(RecvError::Closed)) => return,
            // Whoever came may have what nobody had.
            Some(Ok(CoreEvent::PeerOpen(_))) if behind => inner.follow(newest()).await,
            Some(Err(RecvError::Lagged(_))) | None => inner.follow(newest()).await,
            Some(Ok(_)) => continue,
        };
        behind = followed.is_err();
        if let Err(error) = followed {
            tracing::debug!(drive = %inner.metadata().key(), %error, "a change by another writer could not be followed yet");
        }
    }
}

impl<S: Corestore> Inner<S> {
    /// Shows readers a version in which nothing of ours waits. The versions between
    /// which something changed.
    pub(super) fn advance(&self, length: u64) -> Range<u64> {
        // Not looked into yet: whoever does will see the newest.
        let Some(view) = self.view_now() else { return length..length };
        let old = view.version();
        if length > old {
            self.publish(view.at(length));
        }
        old..length
    }

    pub(super) fn tell_all(&self) {
        let _ = self.changes.send(Change { paths: None });
    }

    /// Tells what others changed between two versions.
    pub(super) async fn tell(&self, versions: Range<u64>) {
        if versions.is_empty() || self.changes.receiver_count() == 0 {
            return;
        }
        let paths = self.changed_paths(versions.start, versions.end).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "what changed cannot be told");
            None
        });
        if paths.as_ref().is_none_or(|paths| !paths.is_empty()) {
            let _ = self.changes.send(Change { paths });
        }
    }

    async fn changed_paths(&self, old: u64, new: u64) -> Result<Option<Vec<String>>, DriveError> {
        let (old, new) = (self.trie.at(old), self.trie.at(new));
        let view = View::new(new.clone(), self.content.clone());
        let mut diff = new.diff_iter(&old, "", false).await?;
        let mut paths = BTreeSet::new();
        while let Some(entry) = diff.next().await? {
            let stat = |node: Option<_>| -> Option<Option<Stat>> {
                node.map(|node: Arc<crate::trie::Node>| view.decode(&node))
            };
            if entry.is_change() && is_key(&entry.key) && stat(entry.left) != stat(entry.right) {
                paths.insert(path_of(&entry.key));
            }
            if paths.len() > PATHS_MAX {
                return Ok(None);
            }
        }
        let root = |node: Option<Arc<crate::trie::Node>>| node.map(|node| node.seq);
        if root(new.get(ROOT, true).await?) != root(old.get(ROOT, true).await?) {
            paths.insert("/".into());
        }
        Ok(Some(paths.into_iter().collect()))
    }
}
