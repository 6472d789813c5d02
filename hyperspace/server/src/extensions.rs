//! Extensions: messages of programs to programs of the same kind elsewhere, by way of the
//! peers of one core or of the network as a whole.
//!
//! An extension is registered with the peers once, whichever sessions use it, and let go
//! with the last of them. What comes is passed on to each of those; what they send goes
//! out in its order.

use crate::lock::SessionId;
use crate::mailbox::{Mailbox, Note};
use bytes::Bytes;
use hyperspace_api::{CoreError, Key, Peer};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Messages that wait to be sent, for each extension; whoever has more waits.
const OUTGOING: usize = 64;

/// What [`ExtensionEnd::receive`] waits for.
pub type Receiving<'a> = Pin<Box<dyn Future<Output = Option<(Peer, Bytes)>> + Send + 'a>>;

/// An extension, as whoever is connected with peers has it. Dropped, it is no longer
/// registered.
pub trait ExtensionEnd: Send + 'static {
    /// The next message, and from whom; `None` when there will be no more.
    fn receive(&mut self) -> Receiving<'_>;

    /// Sends to one peer (by its key), or to all that have registered it as well. A peer
    /// that is not there, or reads too slowly, is passed over.
    fn send(&self, to: Option<Key>, payload: Bytes);
}

/// The extension of a network without peers.
pub struct Silent;

impl ExtensionEnd for Silent {
    fn receive(&mut self) -> Receiving<'_> {
        Box::pin(std::future::pending())
    }

    fn send(&self, _: Option<Key>, _: Bytes) {}
}

/// All that are registered, by what they belong to and their name.
pub(crate) struct Extensions<K> {
    registered: Arc<Registered<K>>,
}

type Registered<K> = Mutex<HashMap<(K, String), Weak<Shared>>>;

/// One extension, for those who use it.
struct Shared {
    listeners: Arc<Mutex<Vec<Listener>>>,
    send: mpsc::Sender<(Option<Key>, Bytes)>,
    task: AbortHandle,
}

struct Listener {
    session: SessionId,
    /// The client's id of the core; 0 for the network.
    id: u32,
    resource: u64,
    mailbox: Arc<Mailbox>,
}

/// A session's use of an extension, until it is dropped.
pub(crate) struct Use {
    shared: Arc<Shared>,
    session: SessionId,
    resource: u64,
}

impl<K> Default for Extensions<K> {
    fn default() -> Self {
        Self { registered: Arc::default() }
    }
}

impl<K: Eq + Hash + Clone + Send + 'static> Extensions<K> {
    /// Uses the extension `name` of `owner`; `open` registers it if nobody does yet.
    pub(crate) fn register(
        &self,
        owner: K,
        name: &str,
        (session, id, resource): (SessionId, u32, u64),
        mailbox: Arc<Mailbox>,
        open: impl FnOnce() -> Result<Box<dyn ExtensionEnd>, CoreError>,
    ) -> Result<Use, CoreError> {
        let listener = Listener { session, id, resource, mailbox };
        let mut registered = self.registered.lock();
        let key = (owner, name.to_owned());
        let shared = match registered.get(&key).and_then(Weak::upgrade) {
            Some(shared) => {
                shared.listeners.lock().push(listener);
                shared
            }
            None => {
                let end = open()?;
                let listeners = Arc::new(Mutex::new(vec![listener]));
                let (send, to_send) = mpsc::channel(OUTGOING);
                let task = tokio::spawn(carry(end, listeners.clone(), to_send)).abort_handle();
                let shared = Arc::new(Shared { listeners, send, task });
                registered.retain(|_, shared| shared.strong_count() > 0);
                registered.insert(key, Arc::downgrade(&shared));
                shared
            }
        };
        Ok(Use { shared, session, resource })
    }
}

/// Carries messages both ways.
async fn carry(
    mut end: Box<dyn ExtensionEnd>,
    listeners: Arc<Mutex<Vec<Listener>>>,
    mut to_send: mpsc::Receiver<(Option<Key>, Bytes)>,
) {
    loop {
        tokio::select! {
            received = end.receive() => {
                let Some((peer, data)) = received else { return };
                for listener in listeners.lock().iter() {
                    let Listener { id, resource, .. } = *listener;
                    let from = peer.remote_public_key;
                    listener.mailbox.push(Note::Extension { id, resource, from, data: data.clone() });
                }
            }
            sent = to_send.recv() => match sent {
                Some((to, payload)) => end.send(to, payload),
                None => return,
            }
        }
    }
}

impl Use {
    /// Sends to a peer, or to all; ready when it is on its way.
    pub(crate) fn send(&self, to: Option<Key>, payload: Bytes) -> impl Future<Output = ()> + Send + 'static {
        let send = self.shared.send.clone();
        async move {
            // An error: the network is gone, and so is everybody to send to.
            let _ = send.send((to, payload)).await;
        }
    }
}

impl Drop for Use {
    fn drop(&mut self) {
        let (session, resource) = (self.session, self.resource);
        let others = |listener: &Listener| (listener.session, listener.resource) != (session, resource);
        self.shared.listeners.lock().retain(others);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.task.abort();
    }
}
