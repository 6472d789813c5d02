//! What all handles of a drive share.

use super::changes::{Change, watch};
use super::commit::{InDoubt, Writing};
use crate::content::{ContentLog, not_a_drive};
use crate::trie::hints::NEWEST;
use crate::trie::{Header, Trie};
use crate::view::View;
use crate::{DriveError, DriveOptions};
use bytes::Bytes;
use hyperspace_api::{Core, CoreError, Corestore, OpenTarget};
use parking_lot::{Mutex, RwLock};
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, OnceCell, broadcast};
use tokio_util::task::AbortOnDropHandle;

/// Changes that a slow listener may fall behind before it is told that it missed some.
const CHANGES: usize = 256;

/// A drive that is open.
pub(crate) struct Inner<S: Corestore> {
    pub(super) trie: Trie<S::Core>,
    pub(crate) content: Arc<ContentLog<S>>,
    pub(super) options: DriveOptions,
    pinned: Option<u64>,
    loaded: OnceCell<()>,
    /// What readers see. Written by whoever holds `writing`; of a drive that is not
    /// ours, by its watcher.
    view: RwLock<Option<Arc<View<S>>>>,
    /// Changes that wait; `None` until there was one.
    pub(super) writing: tokio::sync::Mutex<Option<Writing<S>>>,
    /// Held by whoever commits, or follows others who did; taken before `writing`.
    pub(super) committing: tokio::sync::Mutex<InDoubt>,
    /// Commit now, not when the delay is over.
    pub(super) urgent: Notify,
    pub(super) changes: broadcast::Sender<Change>,
    /// What is shown is not the newest version that is known of.
    outdated: Arc<Notify>,
    watcher: Mutex<Option<AbortOnDropHandle<()>>>,
}

impl<S: Corestore> Inner<S> {
    pub(crate) fn new(
        trie: Trie<S::Core>,
        content: Arc<ContentLog<S>>,
        pinned: Option<u64>,
        options: DriveOptions,
    ) -> Self {
        Self {
            trie,
            content,
            options,
            pinned,
            loaded: OnceCell::new(),
            view: RwLock::default(),
            writing: tokio::sync::Mutex::default(),
            committing: tokio::sync::Mutex::default(),
            urgent: Notify::new(),
            changes: broadcast::Sender::new(CHANGES),
            outdated: Arc::default(),
            watcher: Mutex::default(),
        }
    }

    /// The same drive at `version`.
    pub(crate) fn pinned(&self, version: u64) -> Self {
        Self::new(self.trie.clone(), self.content.clone(), Some(version.max(1)), self.options)
    }

    pub(super) fn metadata(&self) -> &S::Core {
        self.trie.core()
    }

    /// How long data is waited for.
    pub(super) fn timeout(&self) -> std::time::Duration {
        self.options.timeout
    }

    pub(super) fn pinned_at(&self) -> Option<u64> {
        self.pinned
    }

    pub(super) fn writable(&self) -> bool {
        self.pinned.is_none() && self.metadata().writable()
    }

    pub(super) fn check_writable(&self, path: &str) -> Result<(), DriveError> {
        if self.writable() { Ok(()) } else { Err(DriveError::ReadOnly(path.into())) }
    }

    pub(super) fn version(&self) -> u64 {
        let seen = self.view.read().as_ref().map(|view| view.version());
        seen.or(self.pinned).unwrap_or_else(|| self.metadata().length())
    }

    pub(super) fn subscribe(self: &Arc<Self>) -> broadcast::Receiver<Change> {
        self.changes.subscribe()
    }

    /// Would somebody miss it, though nobody holds a handle?
    pub(crate) fn is_in_use(&self) -> bool {
        self.changes.receiver_count() > 0 || self.waits()
    }

    /// Does anything wait for a commit?
    pub(crate) fn waits(&self) -> bool {
        self.content.pending_bytes() > 0
            || self.writing.try_lock().map_or(true, |writing| writing.as_ref().is_some_and(Writing::waits))
    }

    /// What the drive holds now.
    pub(crate) async fn view(self: &Arc<Self>) -> Result<Arc<View<S>>, DriveError> {
        if let Some(view) = self.view_now() {
            return Ok(view);
        }
        self.loaded.get_or_try_init(|| self.load()).await?;
        self.view_now().ok_or_else(|| not_a_drive(self.metadata()))
    }

    /// The same, if it was looked into before.
    pub(crate) fn view_now(&self) -> Option<Arc<View<S>>> {
        self.view.read().clone()
    }

    pub(super) fn publish(&self, view: View<S>) {
        *self.view.write() = Some(Arc::new(view));
    }

    async fn load(self: &Arc<Self>) -> Result<(), DriveError> {
        if self.pinned.is_none() {
            // Listening comes first, so that nothing is missed in between.
            let events = self.metadata().events();
            let watcher = tokio::spawn(watch(Arc::downgrade(self), events, self.outdated.clone()));
            *self.watcher.lock() = Some(AbortOnDropHandle::new(watcher));
        }
        let foreign = !self.metadata().writable();
        let grown = async {
            match self.pinned {
                Some(version) => self.wait_for(version).await,
                None if self.metadata().length() == 0 && !foreign => self.initialise().await,
                None => self.wait_for(1).await,
            }
        };
        // Over a long line what can be asked for at once is.
        if foreign {
            if self.pinned.is_none() && self.metadata().length() == 0 {
                self.look_ahead(NEWEST);
            }
            tokio::try_join!(grown, self.read_header())?;
            self.content.expect();
        } else {
            grown.await?;
            self.read_header().await?;
        }
        loop {
            let length = self.metadata().length();
            let version = match self.pinned {
                Some(version) => version,
                None if !foreign => length,
                None => self.newest(length).await?,
            };
            let mut view = self.view.write();
            if view.is_some() {
                return Ok(());
            }
            // Looked at under the lock: what is appended later is seen by the watcher.
            if self.pinned.is_none() && self.metadata().length() != length {
                continue;
            }
            *view = Some(Arc::new(View::new(self.trie.at(version), self.content.clone())));
            if version < length && self.pinned.is_none() {
                self.outdated.notify_one();
            }
            return Ok(());
        }
    }

    async fn read_header(&self) -> Result<(), DriveError> {
        match self.trie.read_header().await {
            Ok(_) => Ok(()),
            Err(CoreError::Corrupt(why)) => Err(DriveError::Unsupported(why)),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until somebody has sent us that the core is so long.
    async fn wait_for(&self, length: u64) -> Result<(), DriveError> {
        if self.metadata().length() >= length {
            return Ok(());
        }
        let mut events = self.metadata().events();
        let grown = tokio::time::timeout(self.options.timeout, async {
            if !self.metadata().update(Some(length)).await? {
                return Err(CoreError::NotAvailable);
            }
            // That it has grown may be told here before how long it is.
            while self.metadata().length() < length {
                match events.recv().await {
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(CoreError::Closed),
                }
            }
            Ok(())
        });
        Ok(grown.await.unwrap_or(Err(CoreError::Timeout))?)
    }

    async fn initialise(&self) -> Result<(), DriveError> {
        let name = ContentLog::<S>::name(self.metadata());
        let content = self.content.store().open(OpenTarget::Name(name)).await?;
        let key = Bytes::copy_from_slice(content.key().as_bytes());
        let header = Header::new(Some(key), Some("hyperdrive")).to_block();
        match self.metadata().append(vec![header], Some(0)).await {
            // Another process was faster: then the drive is there as well.
            Ok(_) | Err(CoreError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
