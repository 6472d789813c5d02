//! Messages between the programs of peers, by topics: as npm `peersockets` 1, over whose
//! network extensions (`peersockets/v0/<topic>`) it speaks with Node programs as well.
//!
//! Delivery is best effort: a message gets to a peer that is connected and has joined the
//! topic, or nowhere.

use crate::extension::{Extension, ExtensionMessage};
use crate::network::RemoteNetworker;
use crate::queue::QUEUE;
use bytes::Bytes;
use hyperspace_api::{CoreError, Key};
use std::collections::HashMap;
use std::sync::{Arc, Weak};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Mutex, broadcast};
use tokio::task::JoinHandle;

const PREFIX: &str = "peersockets/v0/";

/// Joins topics, each of which has one network extension, however often it is joined.
///
/// ```no_run
/// # async fn example(client: hyperspace_client::HyperspaceClient) -> Result<(), hyperspace_api::CoreError> {
/// use hyperspace_client::Peersockets;
///
/// let sockets = Peersockets::new(client.network());
/// let mut chat = sockets.join("chat").await?;
/// chat.broadcast("hello").await?;
/// let message = chat.recv().await;
/// chat.send(message.from, "and hello to you").await?;
/// # Ok(()) }
/// ```
pub struct Peersockets {
    networker: RemoteNetworker,
    topics: Mutex<HashMap<String, Weak<Topic>>>,
}

/// What all who have joined a topic share. It goes with the last of them.
struct Topic {
    extension: Arc<Extension>,
    messages: broadcast::Sender<ExtensionMessage>,
    /// Passes messages on.
    task: JoinHandle<()>,
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Peersockets {
    /// No topic yet.
    pub fn new(networker: RemoteNetworker) -> Self {
        Self { networker, topics: Mutex::default() }
    }

    /// Joins a topic, which is any text. (It is no topic of the swarm: peers have to be
    /// connected already, for whatever reason.)
    pub async fn join(&self, topic: &str) -> Result<Peersocket, CoreError> {
        // Held until it is registered: of two who join at once, the second waits for the
        // first, and neither has an extension of its own.
        let mut topics = self.topics.lock().await;
        if let Some(joined) = topics.get(topic).and_then(Weak::upgrade) {
            return Ok(Peersocket::new(joined));
        }
        topics.retain(|_, topic| topic.strong_count() > 0);
        let extension = self.networker.register_extension(&format!("{PREFIX}{topic}")).await?;
        let extension = Arc::new(extension);
        let messages = broadcast::Sender::new(QUEUE);
        let (incoming, to) = (extension.clone(), messages.clone());
        let task = tokio::spawn(async move {
            loop {
                // An error: nobody has joined any more, and this is about to end.
                let _ = to.send(incoming.next().await);
            }
        });
        let joined = Arc::new(Topic { extension, messages, task });
        topics.insert(topic.to_owned(), Arc::downgrade(&joined));
        Ok(Peersocket::new(joined))
    }
}

/// A topic that is joined, until this is dropped.
pub struct Peersocket {
    topic: Arc<Topic>,
    messages: broadcast::Receiver<ExtensionMessage>,
    missed: u64,
}

impl Peersocket {
    fn new(topic: Arc<Topic>) -> Self {
        Self { messages: topic.messages.subscribe(), topic, missed: 0 }
    }

    /// The topic.
    pub fn topic(&self) -> &str {
        let name = self.topic.extension.name();
        name.strip_prefix(PREFIX).unwrap_or(name)
    }

    /// The next message. May be cancelled.
    pub async fn recv(&mut self) -> ExtensionMessage {
        loop {
            match self.messages.recv().await {
                Ok(message) => return message,
                Err(RecvError::Lagged(missed)) => self.missed += missed,
                // We hold a sender ourselves.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// Sends to one peer. Silently nothing if it is not there, or has not joined.
    pub async fn send(&self, to: Key, data: impl Into<Bytes>) -> Result<(), CoreError> {
        self.topic.extension.send(to, data).await
    }

    /// Sends to every peer that has joined.
    pub async fn broadcast(&self, data: impl Into<Bytes>) -> Result<(), CoreError> {
        self.topic.extension.broadcast(data).await
    }

    /// How many messages were dropped because they were not taken: at most [`QUEUE`] wait.
    pub fn missed(&self) -> u64 {
        self.missed + self.topic.extension.missed()
    }
}
