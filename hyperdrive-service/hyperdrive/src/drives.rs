//! All the drives that a program has open: one [`Drive`] for each key and version.
//!
//! That there is one only matters: what waits for a commit is in it, and everybody
//! who looks must see that.

use crate::content::ContentLog;
use crate::drive::{Drive, Inner};
use crate::{DriveError, trie};
use hyperspace_api::{Core, Corestore, Key, OpenTarget};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Drives that may stay open though nobody holds them.
const IDLE_MAX: usize = 256;

/// How drives behave.
#[derive(Clone, Copy, Debug)]
pub struct DriveOptions {
    /// How long to wait for a block that some peer may have.
    pub timeout: Duration,
    /// When changes are committed.
    pub commit: CommitPolicy,
}

impl Default for DriveOptions {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(15), commit: CommitPolicy::default() }
    }
}

/// When changes are committed. Until then, this process alone sees them.
#[derive(Clone, Copy, Debug)]
pub enum CommitPolicy {
    /// Each batch before its call returns.
    Immediate,
    /// Many batches at once.
    Grouped {
        /// So long after the first of them, at most.
        delay: Duration,
        /// When they have come to so many bytes.
        bytes: u64,
    },
}

impl Default for CommitPolicy {
    fn default() -> Self {
        Self::Grouped { delay: Duration::from_millis(100), bytes: 8 << 20 }
    }
}

/// Opens drives, each once. Clones share them.
pub struct Drives<S: Corestore> {
    registry: Arc<Registry<S>>,
}

impl<S: Corestore> Clone for Drives<S> {
    fn clone(&self) -> Self {
        Self { registry: self.registry.clone() }
    }
}

type Open<S> = HashMap<(Key, Option<u64>), Arc<Inner<S>>>;

/// Makes what tells peers of an index what is looked for in it.
pub type HintsFor<C> = Arc<dyn Fn(&C) -> Arc<dyn trie::hints::Hints> + Send + Sync>;

/// Has peers of an index looked for; ready when they are being looked for, which is before
/// anything is read of it.
pub type FindPeers<C> = Arc<dyn Fn(&C) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What is done about drives that others write.
pub struct Others<C> {
    /// Tells peers what is looked for.
    pub hints: HintsFor<C>,
    /// Looks for peers.
    pub find: FindPeers<C>,
}

struct Registry<S: Corestore> {
    store: S,
    options: DriveOptions,
    others: Option<Others<S::Core>>,
    open: Mutex<Open<S>>,
}

impl<S: Corestore> Drives<S> {
    /// No drive is open yet.
    pub fn new(store: S, options: DriveOptions) -> Self {
        Self { registry: Arc::new(Registry { store, options, others: None, open: Mutex::default() }) }
    }

    /// The same, with peers.
    pub fn with_others(store: S, options: DriveOptions, others: Others<S::Core>) -> Self {
        Self { registry: Arc::new(Registry { store, options, others: Some(others), open: Mutex::default() }) }
    }

    /// Where the drives' cores are kept.
    pub fn store(&self) -> &S {
        &self.registry.store
    }

    /// A new writable drive.
    pub async fn create(&self) -> Result<Drive<S>, DriveError> {
        let core = self.store().open(OpenTarget::New).await?;
        self.made(core).await
    }

    /// The writable drive of that name in this store, made if it is not there.
    pub async fn create_named(&self, name: &str) -> Result<Drive<S>, DriveError> {
        let core = self.store().open(OpenTarget::Name(name.into())).await?;
        self.made(core).await
    }

    async fn made(&self, core: S::Core) -> Result<Drive<S>, DriveError> {
        let drive = self.live(core);
        drive.inner.view().await?;
        Ok(drive)
    }

    /// The drive `key`, or one of its versions, which is read-only. Waits for nobody:
    /// a drive that no peer has now fails when it is first looked into.
    pub async fn open(&self, key: Key, version: Option<u64>) -> Result<Drive<S>, DriveError> {
        let known = self.registry.open.lock().get(&(key, version)).cloned();
        if let Some(inner) = known {
            return Ok(self.handle(inner));
        }
        let live = self.registry.open.lock().get(&(key, None)).cloned();
        let live = match live {
            Some(inner) => self.handle(inner),
            None => {
                let core = self.store().open(OpenTarget::Key(key)).await?;
                if let Some(others) = self.registry.others.as_ref().filter(|_| !core.writable()) {
                    (others.find)(&core).await;
                }
                self.live(core)
            }
        };
        Ok(match version {
            Some(version) => self.pinned(&live, version),
            None => live,
        })
    }

    fn live(&self, core: S::Core) -> Drive<S> {
        self.keep((core.key(), None), || {
            let options = self.registry.options;
            let content = ContentLog::new(self.registry.store.clone(), core.clone(), options.timeout);
            let trie = trie::TrieOptions { get: content.get_options(), ..trie::TrieOptions::default() };
            let others = self.registry.others.as_ref().filter(|_| !core.writable());
            let hints = others.map(|others| (others.hints)(&core));
            let trie = trie::Trie::new(core, trie);
            let trie = match hints {
                Some(hints) => trie.with_hints(hints),
                None => trie,
            };
            Inner::new(trie, Arc::new(content), None, options)
        })
    }

    pub(crate) fn pinned(&self, live: &Drive<S>, version: u64) -> Drive<S> {
        self.keep((live.key(), Some(version)), || live.inner.pinned(version))
    }

    /// The open drive of that name, or a new one.
    fn keep(&self, name: (Key, Option<u64>), new: impl FnOnce() -> Inner<S>) -> Drive<S> {
        let mut open = self.registry.open.lock();
        if open.len() >= IDLE_MAX && !open.contains_key(&name) {
            open.retain(|_, inner| Arc::strong_count(inner) > 1 || inner.is_in_use());
        }
        let inner = open.entry(name).or_insert_with(|| Arc::new(new())).clone();
        drop(open);
        self.handle(inner)
    }

    fn handle(&self, inner: Arc<Inner<S>>) -> Drive<S> {
        Drive { drives: self.clone(), inner }
    }

    fn all(&self) -> Vec<Arc<Inner<S>>> {
        self.registry.open.lock().values().cloned().collect()
    }

    /// Does anything wait for a commit, in any drive?
    pub fn waits(&self) -> bool {
        self.all().iter().any(|inner| inner.waits())
    }

    /// Commits what waits in every drive.
    ///
    /// # Errors
    /// The first there was; all drives are tried.
    pub async fn commit_all(&self) -> Result<(), DriveError> {
        let results = futures::future::join_all(self.all().iter().map(|inner| inner.commit())).await;
        results.into_iter().collect()
    }

    /// Commits what waits in every drive, and returns when it is on the disk.
    ///
    /// # Errors
    /// The first there was; all drives are tried.
    pub async fn flush_all(&self) -> Result<(), DriveError> {
        let results = futures::future::join_all(self.all().iter().map(|inner| inner.flush())).await;
        results.into_iter().collect()
    }
}
