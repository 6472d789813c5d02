//! Extensions: messages of the program's own between peers of a core, or of the
//! whole network.

use crate::client::Shared;
use crate::core::{Handle, RemoteHypercore};
use crate::mux::CallError;
use crate::queue::Queue;
use crate::retry::repeat;
use crate::session::Session;
use bytes::Bytes;
use futures::Stream;
use hyperspace_api::{CoreError, Key};
use hyperspace_schema::messages as m;
use hyperspace_schema::methods::{hypercore, network};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

/// A message of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionMessage {
    /// Who sent it.
    pub from: Key,
    /// What.
    pub data: Bytes,
}

/// Where an extension's messages wait, and what is needed to register it anew.
pub(crate) struct Inbox {
    name: String,
    /// Absent for network extensions.
    core: Option<Arc<Handle>>,
    queue: Queue<ExtensionMessage>,
    /// The connection it is registered with, and its id there.
    at: Mutex<Option<(Weak<Session>, u64)>>,
}

impl Inbox {
    /// A message came in.
    pub fn put(&self, from: Key, data: Bytes) {
        self.queue.put(ExtensionMessage { from, data: crate::mux::unshare(data) });
    }

    /// Registers with a connection.
    pub async fn register(self: &Arc<Self>, session: &Arc<Session>, core: u32) -> Result<(), CallError> {
        // Opening its core again has registered it already.
        if self.at.lock().as_ref().is_some_and(|(with, _)| with.as_ptr() == Arc::as_ptr(session)) {
            return Ok(());
        }
        let resource = session.resource();
        session.add_extension(resource, self);
        let request =
            m::RegisterExtensionRequest { id: core.into(), resource_id: resource, name: self.name.clone() };
        let registered = match self.core {
            Some(_) => session.mux.call::<hypercore::RegisterExtension>(&request, None, false).await,
            None => session.mux.call::<network::RegisterExtension>(&request, None, false).await,
        };
        match registered {
            Ok(_) => *self.at.lock() = Some((Arc::downgrade(session), resource)),
            Err(_) => session.remove_extension(resource),
        }
        registered.map(drop)
    }
}

/// A registered extension: a stream of what peers send, and the way to send.
///
/// Unregistered when dropped. Registered anew when the server was away.
pub struct Extension {
    client: Arc<Shared>,
    inbox: Arc<Inbox>,
}

impl Extension {
    pub(crate) async fn of_core(core: &RemoteHypercore, name: &str) -> Result<Self, CoreError> {
        let inbox = Arc::new(Inbox {
            name: name.to_owned(),
            core: Some(core.handle.clone()),
            queue: Queue::default(),
            at: Mutex::default(),
        });
        let state = core.state();
        state.extensions.lock().push(Arc::downgrade(&inbox));
        repeat!(state, |(session, id)| inbox.register(&session, id).await)?;
        Ok(Self { client: state.client.clone(), inbox })
    }

    pub(crate) async fn of_network(client: &Arc<Shared>, name: &str) -> Result<Self, CoreError> {
        let inbox = Arc::new(Inbox {
            name: name.to_owned(),
            core: None,
            queue: Queue::default(),
            at: Mutex::default(),
        });
        client.network.extensions.lock().push(Arc::downgrade(&inbox));
        repeat!(client, |session| inbox.register(&session, 0).await)?;
        Ok(Self { client: client.clone(), inbox })
    }

    /// The name that both sides know it by.
    pub fn name(&self) -> &str {
        &self.inbox.name
    }

    /// Sends to one peer. Silently nothing if that peer is not there, or has no such
    /// extension.
    pub async fn send(&self, to: Key, data: impl Into<Bytes>) -> Result<(), CoreError> {
        self.transmit(Some(Bytes::copy_from_slice(to.as_ref())), data.into()).await
    }

    /// Sends to every peer.
    pub async fn broadcast(&self, data: impl Into<Bytes>) -> Result<(), CoreError> {
        self.transmit(None, data.into()).await
    }

    async fn transmit(&self, remote_public_key: Option<Bytes>, data: Bytes) -> Result<(), CoreError> {
        let core = match &self.inbox.core {
            Some(handle) => Some(handle.state.bound().await?),
            None => None,
        };
        let (session, id) = match core {
            Some(bound) => bound,
            None => (self.client.session().await?, 0),
        };
        let at = self.inbox.at.lock().clone();
        let resource_id = match at {
            Some((with, resource)) if with.as_ptr() == Arc::as_ptr(&session) => resource,
            _ => return Err(CoreError::Disconnected("the extension is not registered again yet".into())),
        };
        let message = m::ExtensionMessage { id: id.into(), resource_id, remote_public_key, data };
        let sent = match self.inbox.core {
            Some(_) => session.mux.call::<hypercore::SendExtension>(&message, None, false).await,
            None => session.mux.call::<network::SendExtension>(&message, None, false).await,
        };
        sent.map(drop).map_err(|error| self.client.interrupted(error, &session))
    }

    /// The next message.
    pub async fn recv(&mut self) -> ExtensionMessage {
        self.next().await
    }

    /// The same; of several who wait at once, only the last is woken.
    pub(crate) async fn next(&self) -> ExtensionMessage {
        std::future::poll_fn(|context| self.inbox.queue.poll(context)).await
    }

    /// How many messages were dropped because nobody took them.
    pub fn missed(&self) -> u64 {
        self.inbox.queue.missed()
    }
}

/// Never ends by itself.
impl Stream for Extension {
    type Item = ExtensionMessage;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<ExtensionMessage>> {
        self.inbox.queue.poll(context).map(Some)
    }
}

impl Drop for Extension {
    fn drop(&mut self) {
        let list = match &self.inbox.core {
            Some(handle) => &handle.state.extensions,
            None => &self.client.network.extensions,
        };
        list.lock().retain(|listed| listed.as_ptr() != Arc::as_ptr(&self.inbox));
        let Some((session, resource_id)) = self.inbox.at.lock().take() else { return };
        let Some(session) = session.upgrade() else { return };
        session.remove_extension(resource_id);
        match &self.inbox.core {
            Some(handle) => {
                if let Some(id) = handle.state.id_in(&session) {
                    let request = m::UnregisterExtensionRequest { id: id.into(), resource_id };
                    session.mux.tell::<hypercore::UnregisterExtension>(&request);
                }
            }
            None => {
                let request = m::UnregisterExtensionRequest { id: 0, resource_id };
                session.mux.tell::<network::UnregisterExtension>(&request);
            }
        }
    }
}
