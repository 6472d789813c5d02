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
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

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

type Registered<K> = Mutex<HashMap<(K, String), Arc<Shared>>>;

/// One extension, for those who use it.
struct Shared {
    listeners: Mutex<Vec<Listener>>,
    send: mpsc::Sender<(Option<Key>, Bytes)>,
    /// Told when the last listener is gone.
    idle: Notify,
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
    /// Uses the extension `name` of `owner`; `open` registers it if it is not.
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
        let shared = match registered.get(&key) {
            Some(shared) => {
                shared.listeners.lock().push(listener);
                shared.clone()
            }
            None => {
                let end = open()?;
                let (send, to_send) = mpsc::channel(OUTGOING);
                let listeners = Mutex::new(vec![listener]);
                let shared = Arc::new(Shared { listeners, send, idle: Notify::new() });
                registered.insert(key.clone(), shared.clone());
                tokio::spawn(carry(end, shared.clone(), to_send, self.registered.clone(), key));
                shared
            }
        };
        Ok(Use { shared, session, resource })
    }
}

/// Carries messages both ways, until nobody uses the extension any more.
async fn carry<K: Eq + Hash>(
    mut end: Box<dyn ExtensionEnd>,
    shared: Arc<Shared>,
    mut to_send: mpsc::Receiver<(Option<Key>, Bytes)>,
    registered: Arc<Registered<K>>,
    key: (K, String),
) {
    loop {
        tokio::select! {
            Some((peer, data)) = end.receive() => {
                for listener in shared.listeners.lock().iter() {
                    let Listener { id, resource, .. } = *listener;
                    let from = peer.remote_public_key;
                    listener.mailbox.push(Note::Extension { id, resource, from, data: data.clone() });
                }
            }
            Some((to, payload)) = to_send.recv() => end.send(to, payload),
            () = shared.idle.notified() => {
                // Whoever registers it meanwhile either goes on with this one, or finds it
                // let go of.
                let mut registered = registered.lock();
                if shared.listeners.lock().is_empty() {
                    registered.remove(&key);
                    drop(end);
                    return;
                }
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
        let mut listeners = self.shared.listeners.lock();
        listeners.retain(others);
        if listeners.is_empty() {
            self.shared.idle.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// An extension of which there can be one.
    struct Only(Arc<AtomicUsize>);

    impl Only {
        fn open(count: &Arc<AtomicUsize>) -> Result<Box<dyn ExtensionEnd>, CoreError> {
            match count.fetch_add(1, Ordering::SeqCst) {
                0 => Ok(Box::new(Self(count.clone()))),
                _ => Err(CoreError::Invalid("it is registered already".into())),
            }
        }
    }

    impl Drop for Only {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl ExtensionEnd for Only {
        fn receive(&mut self) -> Receiving<'_> {
            Box::pin(std::future::pending())
        }

        fn send(&self, _: Option<Key>, _: Bytes) {}
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_let_go_of_can_be_registered_at_once() {
        let extensions = Extensions::default();
        let (count, mailbox) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mailbox::new(1)));
        let register =
            |resource| extensions.register(7, "x", (1, 1, resource), mailbox.clone(), || Only::open(&count));
        for resource in 0..2000 {
            let used = register(resource).expect("it is free, or still in use");
            drop(used);
            if resource % 3 == 0 {
                tokio::task::yield_now().await;
            }
        }
        while count.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        assert!(extensions.registered.lock().is_empty());
    }
}
