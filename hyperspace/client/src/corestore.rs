//! The cores of a server.

use crate::client::Shared;
use crate::core::{CoreState, Handle, RemoteHypercore};
use crate::retry::repeat;
use bytes::Bytes;
use hyperspace_api::{CoreError, Corestore, Key, OpenTarget};
use hyperspace_schema::messages as m;
use parking_lot::Mutex;
use std::sync::{Arc, Weak};
use tokio::sync::broadcast;

/// The cores that a Hyperspace server keeps. Cheap to clone.
#[derive(Clone)]
pub struct RemoteCorestore {
    client: Arc<Shared>,
    name: Option<Arc<str>>,
}

impl RemoteCorestore {
    pub(crate) fn new(client: Arc<Shared>, name: Option<&str>) -> Self {
        Self { client, name: name.map(Into::into) }
    }

    /// Its namespace.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The store of another namespace. Namespaces are flat over HRPC: this is not a
    /// namespace within this one.
    #[must_use]
    pub fn namespace(&self, name: Option<&str>) -> Self {
        Self::new(self.client.clone(), name)
    }

    /// The core that is named as this namespace; a new one each time if it has no name.
    pub async fn default_core(&self) -> Result<RemoteHypercore, CoreError> {
        self.open(match &self.name {
            Some(name) => OpenTarget::Name(name.to_string()),
            None => OpenTarget::New,
        })
        .await
    }

    /// Opens a core without keeping it in the server: it may be closed beneath the
    /// handle, which then says so ([`hyperspace_api::CoreEvent::Closed`]). Weak handles
    /// are never shared.
    pub async fn open_weak(&self, target: OpenTarget) -> Result<RemoteHypercore, CoreError> {
        self.open_new(&target, true).await
    }

    /// The keys of cores as they are opened in the server: of those that this client
    /// opens (classic servers told of everybody's). A receiver that falls behind
    /// misses some.
    pub fn feeds(&self) -> broadcast::Receiver<Key> {
        self.client.feeds.subscribe()
    }

    fn opened(&self, target: &OpenTarget) -> Option<RemoteHypercore> {
        let handle = match target {
            OpenTarget::Key(key) => self.client.cores.lock().get(key).and_then(Weak::upgrade),
            OpenTarget::Name(name) => self.client.names.lock().get(name).and_then(Weak::upgrade),
            OpenTarget::New => None,
        }?;
        let core = RemoteHypercore { handle };
        (!core.is_closed()).then_some(core)
    }

    async fn open_new(&self, target: &OpenTarget, weak: bool) -> Result<RemoteHypercore, CoreError> {
        let (key, name) = match target {
            OpenTarget::Key(key) => (Some(Bytes::copy_from_slice(key.as_ref())), None),
            OpenTarget::Name(name) if name.is_empty() => {
                return Err(CoreError::Invalid("The name of a core must not be empty".into()));
            }
            OpenTarget::Name(name) => (None, Some(name.clone())),
            OpenTarget::New => (None, None),
        };
        let state = CoreState::new(self.client.clone());
        let request = m::OpenRequest { id: 0, key, name, weak: weak.then_some(true) };
        // A core that nobody named may be made in vain before the connection breaks; it
        // is left empty, and does no harm.
        repeat!(self.client, |session| state.open(&session, request.clone()).await)?;
        Ok(RemoteHypercore { handle: Arc::new(Handle { state, weak, names: Mutex::default() }) })
    }

    /// Makes it the one that later openings of its key and name get. If another task
    /// opened the same core meanwhile, its handle is the one, and ours is closed.
    fn share(&self, core: RemoteHypercore, name: Option<String>) -> RemoteHypercore {
        let key = core.state().identity().0;
        let shared = {
            let mut cores = self.client.cores.lock();
            let listed = cores.get(&key).and_then(Weak::upgrade);
            match listed.map(|handle| RemoteHypercore { handle }).filter(|listed| !listed.is_closed()) {
                Some(listed) => {
                    if core.state().writable() {
                        listed.state().set_writable();
                    }
                    listed
                }
                None => {
                    cores.insert(key, Arc::downgrade(&core.handle));
                    core.clone()
                }
            }
        };
        if let Some(name) = name {
            let mut names = self.client.names.lock();
            names.insert(name.clone(), Arc::downgrade(&shared.handle));
            let mut own = shared.handle.names.lock();
            if !own.contains(&name) {
                own.push(name);
            }
        }
        shared
    }
}

impl Corestore for RemoteCorestore {
    type Core = RemoteHypercore;

    async fn open(&self, target: OpenTarget) -> Result<RemoteHypercore, CoreError> {
        if let Some(core) = self.opened(&target) {
            return Ok(core);
        }
        let core = self.open_new(&target, false).await?;
        let name = match target {
            OpenTarget::Name(name) => Some(name),
            _ => None,
        };
        Ok(self.share(core, name))
    }
}
