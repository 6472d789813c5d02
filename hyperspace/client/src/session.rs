//! One connection's tables: which of our cores and resources its ids stand for, and
//! where the server's events go.

use crate::client::Shared;
use crate::core::CoreState;
use crate::endpoint::Dialer;
use crate::extension::Inbox;
use crate::mux::{EventSink, Limits, Mux};
use hyperspace_api::{Key, Peer};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::Event;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

/// A connection with its tables.
pub(crate) struct Session {
    /// The connection.
    pub mux: Arc<Mux>,
    tables: Arc<Tables>,
    next_core: AtomicU32,
    next_resource: AtomicU64,
    next_wait: AtomicU64,
}

/// What a `Get` calls when it must wait for the network.
pub(crate) type OnWait = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Tables {
    client: Weak<Shared>,
    cores: Mutex<HashMap<u32, Weak<CoreState>>>,
    extensions: Mutex<HashMap<u64, Weak<Inbox>>>,
    waits: Mutex<HashMap<u64, OnWait>>,
}

impl Session {
    /// Connects.
    pub async fn connect(dialer: &Dialer, limits: Limits, client: Weak<Shared>) -> io::Result<Arc<Self>> {
        let socket = dialer.dial().await?;
        let tables = Arc::new(Tables { client, ..Tables::default() });
        let sink: EventSink = {
            let tables = tables.clone();
            Box::new(move |event| tables.take(event))
        };
        let mux = Mux::start(socket, limits, sink);
        Ok(Arc::new(Self {
            mux,
            tables,
            next_core: AtomicU32::new(0),
            next_resource: AtomicU64::new(0),
            // 0 is no id.
            next_wait: AtomicU64::new(1),
        }))
    }

    /// A new id for a core, whose events go to `core` from now on. Ids are not used
    /// twice, so a late event of a closed core finds nobody.
    pub fn add_core(&self, core: &Arc<CoreState>) -> u32 {
        let mut cores = self.tables.cores.lock();
        loop {
            let id = self.next_core.fetch_add(1, Ordering::Relaxed);
            if let std::collections::hash_map::Entry::Vacant(entry) = cores.entry(id) {
                entry.insert(Arc::downgrade(core));
                return id;
            }
        }
    }

    /// The events of this id go nowhere from now on.
    pub fn remove_core(&self, id: u32) {
        self.tables.cores.lock().remove(&id);
    }

    /// A new id for a get, a download or an extension: one name space.
    pub fn resource(&self) -> u64 {
        self.next_resource.fetch_add(1, Ordering::Relaxed)
    }

    /// Messages for this extension go to `inbox`.
    pub fn add_extension(&self, resource: u64, inbox: &Arc<Inbox>) {
        self.tables.extensions.lock().insert(resource, Arc::downgrade(inbox));
    }

    /// No more of them.
    pub fn remove_extension(&self, resource: u64) {
        self.tables.extensions.lock().remove(&resource);
    }

    /// Calls `on_wait` if the get with this id has to wait; until the guard is dropped.
    pub fn add_wait(self: &Arc<Self>, on_wait: OnWait) -> Wait {
        let id = self.next_wait.fetch_add(1, Ordering::Relaxed);
        self.tables.waits.lock().insert(id, on_wait);
        Wait { session: self.clone(), id }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.mux.shutdown();
    }
}

/// A registered [`OnWait`].
pub(crate) struct Wait {
    session: Arc<Session>,
    /// What the server calls it by.
    pub id: u64,
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.session.tables.waits.lock().remove(&self.id);
    }
}

impl Tables {
    fn core(&self, id: u64) -> Option<Arc<CoreState>> {
        self.cores.lock().get(&u32::try_from(id).ok()?)?.upgrade()
    }

    fn peer_event(&self, event: m::PeerEvent, there: bool) {
        if let (Some(core), Some(peer)) = (self.core(event.id), peer(event.peer)) {
            core.peer(peer, there);
        }
    }

    fn network_peer_event(&self, event: m::PeerEvent, there: bool) {
        if let (Some(client), Some(peer)) = (self.client.upgrade(), peer(event.peer)) {
            client.network.peer(peer, there);
        }
    }

    fn extension(&self, message: m::ExtensionMessage) {
        let inbox = self.extensions.lock().get(&message.resource_id).and_then(Weak::upgrade);
        let from = message.remote_public_key.as_deref().and_then(|key| Key::try_from(key).ok());
        if let (Some(inbox), Some(from)) = (inbox, from) {
            inbox.put(from, message.data);
        }
    }

    fn take(&self, event: Event) {
        match event {
            Event::OnFeed(event) => {
                if let (Some(client), Ok(key)) = (self.client.upgrade(), Key::try_from(event.key.as_ref())) {
                    client.fed(key);
                }
            }
            Event::OnAppend(event) => {
                if let Some(core) = self.core(event.id) {
                    core.length_told(event.length, event.byte_length);
                }
            }
            Event::OnClose(event) => {
                if let Some(core) = self.core(event.id) {
                    core.closed_by_server();
                }
            }
            Event::OnPeerOpen(event) => self.peer_event(event, true),
            Event::OnPeerRemove(event) => self.peer_event(event, false),
            Event::OnExtension(message) | Event::OnNetworkExtension(message) => self.extension(message),
            Event::OnWait(event) => {
                let on_wait = self.waits.lock().remove(&event.on_wait_id);
                if let Some(on_wait) = on_wait {
                    on_wait();
                }
            }
            Event::OnDownload(event) => {
                if let Some(core) = self.core(event.id) {
                    core.downloaded_block(event.seq, event.byte_length.unwrap_or(0));
                }
            }
            Event::OnUpload(event) => {
                if let Some(core) = self.core(event.id) {
                    core.uploaded_block(event.seq, event.byte_length);
                }
            }
            Event::OnPeerAdd(event) => self.network_peer_event(event, true),
            Event::OnNetworkPeerRemove(event) => self.network_peer_event(event, false),
        }
    }
}

/// A peer of a message; `None` if its key is no key.
pub(crate) fn peer(peer: m::Peer) -> Option<Peer> {
    Some(Peer {
        remote_public_key: Key::try_from(peer.remote_public_key.as_ref()).ok()?,
        remote_address: peer.remote_address,
        kind: peer.r#type,
    })
}

/// Adds or removes `peer`; `true` if that changed the list.
pub(crate) fn update_peers(list: &mut Vec<Peer>, peer: &Peer, there: bool) -> bool {
    let at = list.iter().position(|known| known.remote_public_key == peer.remote_public_key);
    match (at, there) {
        (None, true) => list.push(peer.clone()),
        (Some(at), false) => drop(list.remove(at)),
        _ => return false,
    }
    true
}
