//! What import and export share: their events, their key files, the arithmetic of
//! paths, and waiting for a change.

use crate::ServiceError;
use hyperspace_api::Key;
use serde::Serialize;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

/// Something that an import or an export did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// What there is to look at.
    Total {
        /// Files, folders and links.
        entries: u64,
        /// Bytes of all files.
        bytes: u64,
    },
    /// Written to the other side.
    Written {
        /// From the top of both.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// The same on both sides.
    Unchanged {
        /// From the top of both.
        path: String,
        /// Its size.
        bytes: u64,
    },
    /// Removed from the other side.
    Removed {
        /// From the top of both.
        path: String,
    },
    /// Left out because it could not be read or written.
    Failed {
        /// From the top of both.
        path: String,
        /// Why.
        error: String,
    },
}

/// `path` from `base`, if it is `base` or lies beneath it; both absolute in a drive,
/// or both relative.
pub(crate) fn relative<'a>(base: &str, path: &'a str) -> Option<&'a str> {
    let base = base.trim_end_matches('/');
    match path.strip_prefix(base)? {
        "" => Some(""),
        rest if base.is_empty() => Some(rest.trim_start_matches('/')),
        rest => rest.strip_prefix('/'),
    }
}

/// `base/path`.
pub(crate) fn join(base: &str, path: &str) -> String {
    format!("{}/{path}", base.trim_end_matches('/'))
}

/// The type bits of a mode.
pub(crate) fn kind(mode: u32) -> u32 {
    mode & libc::S_IFMT
}

/// The key in a key file; `None` if there is no such file.
pub(crate) fn read_key(path: &Path) -> Result<Option<Key>, ServiceError> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(ServiceError::io(format!("Could not read {}", path.display()), e)),
        Ok(bytes) => Key::try_from(bytes.as_slice()).map(Some).map_err(|_| {
            ServiceError::usage(format!("{} holds no key. Remove it, or give the key.", path.display()))
        }),
    }
}

/// Writes a key file, unless it says the same already.
pub(crate) fn write_key(path: &Path, key: Key) -> Result<(), ServiceError> {
    if matches!(read_key(path), Ok(Some(there)) if there == key) {
        return Ok(());
    }
    let failed = |e| ServiceError::io(format!("Could not write {}", path.display()), e);
    let mut file = std::fs::File::create(path).map_err(failed)?;
    file.write_all(key.as_bytes()).map_err(failed)
}

/// Tells when something in a folder changed, a moment after it became quiet again.
pub struct FolderWatch {
    _watcher: notify::RecommendedWatcher,
    events: tokio::sync::mpsc::Receiver<()>,
}

/// How long a folder must be quiet before its change is told.
const QUIET: Duration = Duration::from_millis(200);
/// A folder that is never quiet is told of this often.
const NEVER_QUIET: Duration = Duration::from_secs(2);

impl FolderWatch {
    /// Watches `dir` and everything in it.
    pub fn new(dir: &Path) -> Result<Self, ServiceError> {
        use notify::Watcher;
        let failed = |e: notify::Error| {
            ServiceError::io(format!("Could not watch {}", dir.display()), std::io::Error::other(e))
        };
        // One waiting token is enough: the folder is looked at whole.
        let (tell, events) = tokio::sync::mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if !matches!(event, Ok(ref e) if e.kind.is_access()) {
                let _ = tell.try_send(());
            }
        })
        .map_err(failed)?;
        watcher.watch(dir, notify::RecursiveMode::Recursive).map_err(failed)?;
        Ok(Self { _watcher: watcher, events })
    }

    /// Waits for the next change.
    pub async fn changed(&mut self) {
        if self.events.recv().await.is_none() {
            return std::future::pending().await;
        }
        let settle =
            async { while let Ok(Some(())) = tokio::time::timeout(QUIET, self.events.recv()).await {} };
        let _ = tokio::time::timeout(NEVER_QUIET, settle).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(relative("/", "/a/b"), Some("a/b"));
        assert_eq!(relative("/", "/"), Some(""));
        assert_eq!(relative("/a", "/a/b"), Some("b"));
        assert_eq!(relative("/a", "/a"), Some(""));
        assert_eq!(relative("/a", "/ab"), None);
        assert_eq!(relative("a", "a/b"), Some("b"));
        assert_eq!(join("/", "x"), "/x");
        assert_eq!(join("/a", "x/y"), "/a/x/y");
    }

    #[test]
    fn key_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        assert_eq!(read_key(&path).unwrap(), None);
        write_key(&path, Key::from([5; 32])).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [5; 32]);
        assert_eq!(read_key(&path).unwrap(), Some(Key::from([5; 32])));
        std::fs::write(&path, "short").unwrap();
        assert!(read_key(&path).is_err());
    }

    #[tokio::test]
    async fn a_change_is_told_once_it_is_quiet() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = FolderWatch::new(dir.path()).unwrap();
        std::fs::write(dir.path().join("a"), "1").unwrap();
        std::fs::write(dir.path().join("b"), "2").unwrap();
        watch.changed().await;
        let again = tokio::time::timeout(Duration::from_millis(50), watch.changed());
        assert!(again.await.is_err());
    }
}
