//! Peers that the swarm finds, or that find us by it: over UDX.
//!
//! The swarm decides whom to dial, and which of two connections with one peer stays. What
//! runs on a connection is the same as over TCP.

use super::connection::Ended;
use super::{ANSWER, Inner, RETURN, SwarmOptions};
use crate::networker::{DhtInfo, Nat, Presence};
use hyperspace_api::{DiscoveryKey, Key};
use hyperswarm::hyperdht::{self, Endpoint, NatKind};
use hyperswarm::swarm::{Config, Connected, ConnectionId, Discovery, Event, Events, Join, Options, Swarm};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// As clients and people read it.
pub(super) const KIND: &str = "udx";
/// With so many connections, nobody more is dialled (as npm hyperspace 3).
const MAX_PEERS: usize = 256;
/// So many are dialled at a time: a dial is little more than waiting.
const MAX_PARALLEL: usize = 16;
/// So long after somebody was looked for in vain because something is missing, it is not tried
/// again.
const SEARCH_AGAIN: Duration = Duration::from_secs(10);
/// How long the DHT has to be told that we are gone; and how long if nobody answers there.
const FAREWELL: Duration = Duration::from_secs(2);
const SHORT_FAREWELL: Duration = Duration::from_millis(250);

/// Our place in the swarm.
pub(super) struct InSwarm {
    endpoint: Endpoint,
    swarm: Swarm,
    topics: Arc<Mutex<HashMap<DiscoveryKey, Topic>>>,
    taken: watch::Receiver<Taken>,
    /// When all topics were looked up last for a core of none of them, and whether that is
    /// over.
    searched: Mutex<Option<(Instant, CancellationToken)>>,
}

/// The open connections on which cores are asked for already.
type Taken = HashSet<ConnectionId>;

struct Topic {
    presence: Presence,
    discovery: Discovery,
    /// When it was looked up last because something was missing, and whether that is over.
    searched: Option<(Instant, CancellationToken)>,
}

/// Which topics may have peers of a core: its own, or any.
pub(super) type Scope = Option<DiscoveryKey>;

/// Peers are looked for, since something is missing.
pub(super) struct Search {
    /// Cancelled when there are none, or they are connected: by whoever began it.
    pub(super) over: CancellationToken,
    /// Where it was begun now.
    pub(super) begun: Option<Scope>,
}

impl Presence {
    fn join(self) -> Join {
        Join { server: self.announce, client: self.lookup, limit: None }
    }
}

impl InSwarm {
    /// Binds a socket, and takes connections, from now on until `inner` stops.
    pub(super) async fn enter(inner: &Arc<Inner>, options: SwarmOptions) -> io::Result<Self> {
        let endpoint = Endpoint::bind(hyperdht::Options {
            bootstrap: options.bootstrap,
            remember: options.remember,
            port: options.port.unwrap_or(hyperdht::PORT),
            ..hyperdht::Options::default()
        })
        .await?;
        let config = Config { max_peers: MAX_PEERS, max_parallel: MAX_PARALLEL, ..Config::default() };
        let relay_through = options.relays.iter().map(|key| *key.as_bytes()).collect();
        let options = Options { config, relay_through, ..Options::new(inner.keys.clone()) };
        let (swarm, events) = Swarm::new(endpoint.clone(), options)?;
        let (tell, taken) = watch::channel(Taken::new());
        let taking = Taking { inner: inner.clone(), swarm: swarm.clone(), taken: tell };
        inner.tasks.spawn(taking.run(events, endpoint.clone()));
        Ok(Self { endpoint, swarm, topics: Arc::default(), taken, searched: Mutex::default() })
    }

    /// Joins, changes or leaves a topic.
    pub(super) fn set(&self, topic: DiscoveryKey, presence: Presence) {
        let mut topics = self.topics.lock();
        if presence.is_none() {
            // Dropped, it is left: the DHT is told in the background.
            topics.remove(&topic);
            return;
        }
        match topics.get_mut(&topic) {
            Some(joined) => {
                if joined.presence != presence {
                    joined.presence = presence;
                    joined.discovery.change(presence.join());
                }
            }
            None => {
                let discovery = self.swarm.join(*topic.as_bytes(), presence.join());
                topics.insert(topic, Topic { presence, discovery, searched: None });
            }
        }
    }

    /// Ready when a topic, or all of them, is announced and looked up, and whoever was found
    /// has been dialled. At once, if there is none to be; tells whether there was.
    pub(super) fn flushed(&self, topic: Option<DiscoveryKey>) -> impl Future<Output = bool> + Send + use<> {
        let (swarm, taken) = (self.swarm.clone(), self.taken.clone());
        let topics = self.topics.lock();
        let joined = topic.map_or(!topics.is_empty(), |topic| topics.contains_key(&topic));
        let flushed = topic.and_then(|topic| topics.get(&topic)).map(|topic| topic.discovery.flushed());
        async move {
            if joined {
                if let Some(flushed) = flushed {
                    flushed.await;
                }
                swarm.flush().await;
                all_taken(&swarm, taken).await;
            }
            joined
        }
    }

    /// Ready when a topic, or all of them, is looked up, and whoever was found has been dialled
    /// once, or takes too long to answer. (He is dialled on, and again, but not waited for.)
    pub(super) fn exhausted(&self, topic: Scope) -> impl Future<Output = ()> + Send + use<> {
        let (swarm, topics, taken) = (self.swarm.clone(), self.topics.clone(), self.taken.clone());
        async move {
            let busy = match topic {
                Some(topic) => vec![topic],
                None => {
                    let topics = swarm.status().await.topics.into_iter();
                    topics.filter(|topic| topic.is_busy).map(|topic| topic.topic.into()).collect()
                }
            };
            let rounds: Vec<_> = {
                let topics = topics.lock();
                busy.iter().filter_map(|topic| topics.get(topic)).map(|it| it.discovery.flushed()).collect()
            };
            for round in rounds {
                round.await;
            }
            swarm.expecting(topic.map(|topic| *topic.as_bytes()), ANSWER).await;
            all_taken(&swarm, taken).await;
        }
    }

    /// Something of a core is missing, and nobody is connected who could have it: has its topic
    /// looked up anew, or if it is not joined, all that are. Not all the time, though: nothing,
    /// if that was done a moment ago.
    pub(super) fn search(&self, topic: DiscoveryKey) -> Option<Search> {
        let status = self.endpoint.status();
        if !status.online || status.known == 0 {
            return None;
        }
        let now = Instant::now();
        let mut topics = self.topics.lock();
        let mut all = self.searched.lock();
        let (scope, last) = match topics.get_mut(&topic).filter(|joined| joined.presence.lookup) {
            Some(joined) => (Some(topic), &mut joined.searched),
            None => (None, &mut *all),
        };
        if let Some((at, over)) = last {
            if !over.is_cancelled() {
                return Some(Search { over: over.clone(), begun: None });
            }
            if now.saturating_duration_since(*at) < SEARCH_AGAIN {
                return None;
            }
        }
        let over = CancellationToken::new();
        *last = Some((now, over.clone()));
        self.swarm.search(scope.map(|topic| *topic.as_bytes()), SEARCH_AGAIN);
        Some(Search { over, begun: Some(scope) })
    }

    /// By which topics the peers were found that are connected.
    pub(super) fn found(&self) -> impl Future<Output = HashMap<Key, Vec<DiscoveryKey>>> + Send + use<> {
        let status = self.swarm.status();
        async move {
            let peers = status.await.peers.into_iter().filter(|peer| peer.is_connected);
            peers
                .map(|peer| {
                    let topics = peer.topics.into_iter().map(DiscoveryKey::from).collect();
                    (Key::from(peer.public_key), topics)
                })
                .collect()
        }
    }

    /// How the node of the DHT is.
    pub(super) fn dht(&self) -> DhtInfo {
        let status = self.endpoint.status();
        DhtInfo {
            ready: status.ready,
            online: status.online,
            nat: match status.nat {
                NatKind::Open => Nat::Open,
                NatKind::Consistent => Nat::Consistent,
                NatKind::Random => Nat::Random,
                NatKind::Unknown => Nat::Unknown,
            },
            remote_address: status.remote_address.map(Into::into),
            port: self.endpoint.local_address().port(),
            nodes: status.known,
            id: status.id,
        }
    }
}

/// Waits until cores are asked for on every connection that is open.
async fn all_taken(swarm: &Swarm, mut taken: watch::Receiver<Taken>) {
    loop {
        let are = taken.borrow_and_update().clone();
        let open = swarm.status().await.connections;
        if open.iter().all(|connection| are.contains(&connection.id)) || taken.changed().await.is_err() {
            return;
        }
    }
}

/// Takes connections.
struct Taking {
    inner: Arc<Inner>,
    swarm: Swarm,
    taken: watch::Sender<Taken>,
}

impl Taking {
    /// Does so until the server stops; then the swarm is told.
    async fn run(self, mut events: Events, endpoint: Endpoint) {
        let taking = Arc::new(self);
        let inner = &taking.inner;
        // Of each connection, what tells that the swarm knows of its end.
        let mut open = HashMap::new();
        while let Some(Some(event)) = inner.stop.run_until_cancelled(events.next()).await {
            match event {
                Event::Connection(connected) => {
                    let known = CancellationToken::new();
                    open.insert(connected.id, known.clone());
                    let taken = taking.clone().take(connected, known);
                    inner.tasks.spawn(inner.stop.clone().run_until_cancelled_owned(taken));
                }
                Event::Closed(id) => {
                    taking.taken.send_if_modified(|taken| taken.remove(&id));
                    if let Some(known) = open.remove(&id) {
                        known.cancel();
                    }
                }
                Event::Banned(key) => tracing::info!(peer = %Key::from(key), "a peer is not dialled again"),
            }
        }
        let status = endpoint.status();
        let patience = if status.online && status.known > 0 { FAREWELL } else { SHORT_FAREWELL };
        let farewell = async {
            // What happens meanwhile is nobody's business any more.
            let rest = async { while events.next().await.is_some() {} };
            tokio::join!(taking.swarm.close(), rest);
            endpoint.close().await;
        };
        if tokio::time::timeout(patience, farewell).await.is_err() {
            tracing::info!("the DHT was not told in time that we are gone: it forgets us in a while");
        }
    }

    /// Runs a connection until it is over, which the swarm knows once `known` is cancelled.
    async fn take(self: Arc<Self>, connected: Connected, known: CancellationToken) {
        let Connected { id, mut connection, remote_address, .. } = connected;
        let inner = &self.inner;
        let peer = Key::from(connection.remote_public_key());
        let dialled = connection.is_initiator();
        let Ok(_place) = inner.places.clone().try_acquire_owned() else {
            tracing::warn!("too many connections: a peer is turned away");
            return;
        };
        let address = remote_address.to_string();
        let is_taken = |_| {
            self.taken.send_if_modified(|taken| taken.insert(id));
        };
        // Whom we have dialled we dial again, though not for ever, and he may be back in a
        // moment: nothing is unavailable before that is known.
        let over = || {
            if !dialled {
                return;
            }
            let (this, known) = (self.clone(), known.clone());
            let (hope, events) = (inner.replication.expect_peers(), inner.registry.events());
            inner.tasks.spawn(inner.stop.clone().run_until_cancelled_owned(async move {
                let _hope = hope;
                known.cancelled().await;
                if tokio::time::timeout(RETURN, this.inner.registry.returned(peer, events)).await.is_ok() {
                    all_taken(&this.swarm, this.taken.subscribe()).await;
                }
            }));
        };
        // As long as the same peer is connected by an address that we were told to call,
        // this connection rests.
        while let Ended::Superfluous(other) =
            inner.take(&mut connection, KIND, address.clone(), is_taken, over).await
        {
            is_taken(Key::from(other.remote_public_key()));
            tokio::select! {
                _ = other.closed() => {}
                _ = connection.closed() => return,
            }
        }
    }
}
