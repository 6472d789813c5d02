//! What this machine announces and looks up in the swarm: every session's wishes
//! put together, and what is remembered beyond them.
//!
//! A session has at most one wish per topic, and a topic is announced (looked up)
//! if any session wishes so. When no session has a wish, what was remembered
//! applies; without that the topic is left. (Reference: npm hyperspace 3.19.)
//!
//! The network itself is behind [`Swarm`]; this module knows no sockets.

pub(crate) mod addresses;
mod info;
pub(crate) mod remembered;

pub use info::{ConnectionInfo, DhtInfo, Nat};

use crate::extensions::{ExtensionEnd, Silent};
use crate::lock::SessionId;
use hyperspace_api::{CoreError, DiscoveryKey, Key, Peer};
use hyperspace_schema::messages as m;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::broadcast;

/// What to do about a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// Let others find us.
    pub announce: bool,
    /// Look for others.
    pub lookup: bool,
}

impl Presence {
    /// Neither: leave the topic.
    pub fn is_none(self) -> bool {
        !self.announce && !self.lookup
    }

    fn or(self, other: Self) -> Self {
        Self { announce: self.announce || other.announce, lookup: self.lookup || other.lookup }
    }
}

/// An address that is called, and how that goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddress {
    /// `HOST:PORT`.
    pub address: String,
    /// Who is connected there.
    pub connected: Option<Key>,
    /// Why nobody is.
    pub error: Option<String>,
}

/// Somebody came or went.
#[derive(Clone, Debug)]
pub enum SwarmEvent {
    /// A peer connected.
    PeerAdd(Peer),
    /// A peer left.
    PeerRemove(Peer),
}

/// The network, as the server sees it. All methods return at once.
pub trait Swarm: Send + Sync + 'static {
    /// Joins, changes or leaves a topic. Called only when something changes.
    fn set(&self, topic: DiscoveryKey, presence: Presence);

    /// Ready when the topic's latest change is carried out: announced, looked up,
    /// and the connections found meanwhile are made.
    fn flushed(&self, topic: DiscoveryKey) -> Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Everybody connected.
    fn peers(&self) -> Vec<Peer>;

    /// Comings and goings from now on.
    fn events(&self) -> broadcast::Receiver<SwarmEvent>;

    /// Our address as others see it, once known.
    fn remote_address(&self) -> Option<String>;

    /// Can others reach us through NATs? `None` while unknown.
    fn holepunchable(&self) -> Option<bool>;

    /// Calls the peer at `HOST:PORT` from now on.
    ///
    /// # Errors
    /// If that is no address, or there are too many.
    fn add_peer(&self, _address: &str) -> Result<(), CoreError> {
        Err(CoreError::Invalid("This server calls no peers".into()))
    }

    /// No longer does, and hangs up. `false` if it did not.
    fn remove_peer(&self, _address: &str) -> bool {
        false
    }

    /// The addresses that are called.
    fn peer_addresses(&self) -> Vec<PeerAddress> {
        Vec::new()
    }

    /// How the node of the DHT is, if there is one.
    fn dht(&self) -> Option<DhtInfo> {
        None
    }

    /// All connections.
    fn connections(&self) -> Vec<ConnectionInfo> {
        Vec::new()
    }

    /// By which topics peers were found that are connected.
    fn found(&self) -> Pin<Box<dyn Future<Output = HashMap<Key, Vec<DiscoveryKey>>> + Send>> {
        Box::pin(std::future::ready(HashMap::new()))
    }

    /// Registers an extension of all connections. It is not registered yet.
    fn extension(&self, _name: &str) -> Result<Box<dyn ExtensionEnd>, CoreError> {
        Ok(Box::new(Silent))
    }

    /// Ends all connections; ready when that is done.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(std::future::ready(()))
    }
}

/// No network: nobody comes, and every wish is carried out at once.
pub struct Offline(broadcast::Sender<SwarmEvent>);

impl Default for Offline {
    fn default() -> Self {
        Self(broadcast::Sender::new(1))
    }
}

impl Swarm for Offline {
    fn set(&self, _: DiscoveryKey, _: Presence) {}

    fn flushed(&self, _: DiscoveryKey) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }

    fn peers(&self) -> Vec<Peer> {
        Vec::new()
    }

    fn events(&self) -> broadcast::Receiver<SwarmEvent> {
        self.0.subscribe()
    }

    fn remote_address(&self) -> Option<String> {
        None
    }

    fn holepunchable(&self) -> Option<bool> {
        None
    }
}

/// Keeps the configurations of all topics.
pub(crate) struct Networker {
    pub(crate) swarm: Arc<dyn Swarm>,
    pub(crate) identity: Key,
    no_announce: bool,
    max_topics: usize,
    topics: Mutex<HashMap<DiscoveryKey, Topic>>,
}

#[derive(Default)]
struct Topic {
    wishes: HashMap<SessionId, Presence>,
    stored: Option<Presence>,
    /// What the swarm was told last.
    live: Presence,
    /// As the latest call had it.
    remember: bool,
}

/// What became of a `Configure` call.
#[derive(Debug)]
pub(crate) struct Configured {
    /// The answer.
    pub(crate) status: Option<m::NetworkStatus>,
    /// To be remembered before answering.
    pub(crate) store: Option<(DiscoveryKey, Presence)>,
    /// The topic whose change the caller wants to wait for.
    pub(crate) flush: Option<DiscoveryKey>,
}

impl Topic {
    fn wanted(&self) -> Presence {
        if self.wishes.is_empty() {
            self.stored.unwrap_or_default()
        } else {
            self.wishes.values().copied().fold(Presence::default(), Presence::or)
        }
    }

    /// Tells the swarm if what is wanted has changed.
    fn apply(&mut self, key: DiscoveryKey, swarm: &dyn Swarm) {
        let wanted = self.wanted();
        if wanted != self.live {
            self.live = wanted;
            swarm.set(key, wanted);
        }
    }

    /// `None` when the topic is not joined.
    fn status(&self, key: DiscoveryKey) -> Option<m::NetworkStatus> {
        (!self.live.is_none()).then(|| status(key, self.live, self.remember))
    }

    fn is_idle(&self) -> bool {
        self.wishes.is_empty() && self.stored.is_none() && self.live.is_none()
    }
}

fn status(key: DiscoveryKey, presence: Presence, remember: bool) -> m::NetworkStatus {
    m::NetworkStatus {
        discovery_key: bytes::Bytes::copy_from_slice(key.as_bytes()),
        announce: Some(presence.announce),
        lookup: Some(presence.lookup),
        remember: Some(remember),
    }
}

fn discovery_key(bytes: &[u8], otherwise: &str) -> Result<DiscoveryKey, CoreError> {
    DiscoveryKey::try_from(bytes).map_err(|_| CoreError::Invalid(otherwise.into()))
}

impl Networker {
    /// Nothing joined. `no_announce`: see [`Options`](crate::Options).
    pub(crate) fn new(swarm: Arc<dyn Swarm>, identity: Key, no_announce: bool, max_topics: usize) -> Self {
        Self { swarm, identity, no_announce, max_topics, topics: Mutex::default() }
    }

    /// Takes up what was remembered before the server started.
    pub(crate) fn restore(&self, stored: impl IntoIterator<Item = (DiscoveryKey, Presence)>) {
        let mut topics = self.topics.lock();
        for (key, mut presence) in stored.into_iter().take(self.max_topics) {
            presence.announce &= !self.no_announce;
            let topic = topics.entry(key).or_default();
            topic.stored = Some(presence);
            topic.remember = true;
            topic.apply(key, &*self.swarm);
        }
    }

    /// One session's wish.
    pub(crate) fn configure(
        &self,
        session: SessionId,
        request: &m::ConfigureNetworkRequest,
    ) -> Result<Configured, CoreError> {
        let asked = &request.configuration;
        let key = discovery_key(&asked.discovery_key, "Invalid discovery key.")?;
        let copy_from = match &request.copy_from {
            Some(bytes) if !bytes.is_empty() => {
                Some(discovery_key(bytes, "Must copy from a valid discovery key.")?)
            }
            _ => None,
        };
        let mut topics = self.topics.lock();
        if !request.overwrite.unwrap_or(true)
            && let Some(topic) = topics.get(&key)
            && let Some(status) =
                topic.status(key).or_else(|| topic.stored.map(|stored| status(key, stored, true)))
        {
            return Ok(Configured { status: Some(status), store: None, flush: None });
        }
        let copied = copy_from.and_then(|key| topics.get(&key)).map(|topic| {
            let presence = if topic.live.is_none() { topic.stored.unwrap_or_default() } else { topic.live };
            (presence, topic.remember)
        });
        let (copied, copied_remember) = copied.unwrap_or_default();
        let wish = Presence {
            announce: asked.announce.unwrap_or(copied.announce) && !self.no_announce,
            lookup: asked.lookup.unwrap_or(copied.lookup),
        };
        let remember = asked.remember.unwrap_or(copied_remember);
        if topics.len() >= self.max_topics && !topics.contains_key(&key) {
            return Err(CoreError::Invalid(format!("At most {} topics can be configured", self.max_topics)));
        }
        let topic = topics.entry(key).or_default();
        topic.wishes.insert(session, wish);
        topic.remember = remember;
        if remember {
            topic.stored = (!wish.is_none()).then_some(wish);
        }
        topic.apply(key, &*self.swarm);
        Ok(Configured {
            status: topic.status(key),
            store: remember.then_some((key, wish)),
            flush: request.flush.unwrap_or(false).then_some(key),
        })
    }

    /// A session is gone, and with it its wishes.
    pub(crate) fn withdraw(&self, session: SessionId) {
        self.topics.lock().retain(|key, topic| {
            if topic.wishes.remove(&session).is_some() {
                topic.apply(*key, &*self.swarm);
                if topic.wishes.is_empty() {
                    topic.remember = topic.stored.is_some();
                }
            }
            !topic.is_idle()
        });
    }

    /// The live configuration of a topic.
    pub(crate) fn status(&self, key: &[u8]) -> Result<Option<m::NetworkStatus>, CoreError> {
        let key = discovery_key(key, "Invalid discovery key.")?;
        Ok(self.topics.lock().get(&key).and_then(|topic| topic.status(key)))
    }

    /// All live configurations.
    pub(crate) fn all(&self) -> Vec<m::NetworkStatus> {
        self.topics.lock().iter().filter_map(|(key, topic)| topic.status(*key)).collect()
    }
}
