//! A network of one process for the driver: who announces is in a table, and connections are
//! byte streams in memory.

use hyperswarm::connection::{ConnectionError, Options};
use hyperswarm::dht::Id;
use hyperswarm::swarm::{
    Ask, Change, Dialling, Ended, Found, Gate, Listener, Net, Path, Question, Unanswered,
};
use hyperswarm::{Connection, KeyPair, PublicKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, watch};

const ANYWHERE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);

struct Listening {
    gate: Arc<Gate>,
    incoming: mpsc::Sender<Way>,
}

#[derive(Default)]
struct State {
    topics: BTreeMap<Id, BTreeSet<PublicKey>>,
    listening: HashMap<PublicKey, Listening>,
    /// Nobody answers any more.
    cut: bool,
}

/// What all share.
#[derive(Clone, Default)]
pub struct World {
    state: Arc<Mutex<State>>,
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing fails while it is locked")
    }

    pub fn announced(&self, topic: &Id) -> BTreeSet<PublicKey> {
        self.state().topics.get(topic).cloned().unwrap_or_default()
    }

    pub fn is_listening(&self, key: &PublicKey) -> bool {
        self.state().listening.contains_key(key)
    }

    /// Nobody answers any more.
    pub fn cut(&self) {
        self.state().cut = true;
    }

    /// One host's way into it.
    pub fn host(&self) -> Arc<Host> {
        Arc::new(Host {
            world: self.clone(),
            renewals: watch::Sender::new(0),
            silent: watch::Sender::new(false),
        })
    }
}

/// The network, as one host has it.
pub struct Host {
    world: World,
    pub renewals: watch::Sender<u64>,
    /// It is suspended.
    pub silent: watch::Sender<bool>,
}

/// A way to a peer.
pub struct Way {
    remote: PublicKey,
    pair: KeyPair,
    is_initiator: bool,
    stream: DuplexStream,
}

impl Path for Way {
    fn remote_public_key(&self) -> PublicKey {
        self.remote
    }

    fn remote_address(&self) -> SocketAddr {
        ANYWHERE
    }

    fn is_relayed(&self) -> bool {
        false
    }

    async fn connect(self, options: Options) -> Result<Connection, ConnectionError> {
        Connection::new(self.stream, self.is_initiator, &self.pair, options).await
    }
}

pub struct Reachable {
    world: World,
    key: PublicKey,
}

impl Drop for Reachable {
    fn drop(&mut self) {
        self.world.state().listening.remove(&self.key);
    }
}

impl Listener for Reachable {
    fn announced(&self) -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep(Duration::from_millis(300))
    }

    fn relay_addresses(&self) -> Vec<SocketAddrV4> {
        vec!["127.0.0.1:4242".parse().expect("an address")]
    }

    async fn close(self) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Net for Host {
    type Path = Way;
    type Listener = Reachable;

    async fn ask(
        &self,
        question: Question,
        found: mpsc::Sender<Vec<Found>>,
    ) -> Result<Vec<SocketAddrV4>, Unanswered> {
        assert!(!*self.silent.borrow(), "who is suspended asks nobody");
        let Question { topic, ask, pair, relays, .. } = question;
        tokio::time::sleep(Duration::from_millis(200)).await;
        if self.world.state().cut {
            return std::future::pending().await;
        }
        let peers = self.world.announced(&topic).into_iter();
        let peers = peers.map(|key| Found { key, relays: relays.clone() }).collect();
        // If nobody listens, it is given up soon.
        let _ = found.send(peers).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut state = self.world.state();
        let announced = state.topics.entry(topic).or_default();
        match ask {
            Ask::Lookup => {}
            Ask::Announce { .. } => {
                assert_eq!(relays.len(), 1, "who announces a topic, is announced itself");
                announced.insert(pair.public_key());
            }
            Ask::Withdraw | Ask::WithdrawThere => {
                announced.remove(&pair.public_key());
            }
        }
        Ok(vec!["127.0.0.1:1".parse().expect("an address")])
    }

    async fn listen(
        &self,
        pair: KeyPair,
        gate: Arc<Gate>,
        _relay_through: Vec<PublicKey>,
        incoming: mpsc::Sender<Way>,
    ) -> Result<Reachable, Unanswered> {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let key = pair.public_key();
        let before = self.world.state().listening.insert(key, Listening { gate, incoming });
        assert!(before.is_none(), "it listens only once");
        Ok(Reachable { world: self.world.clone(), key })
    }

    async fn dial(&self, dialling: Dialling) -> Result<Way, Ended> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let Dialling { key, pair, .. } = dialling;
        let own = pair.public_key();
        let incoming = {
            let state = self.world.state();
            let listening = state.listening.get(&key).ok_or(Ended::Anyhow)?;
            if listening.gate.refuses(&own, Some(ANYWHERE)) {
                return Err(Ended::Anyhow);
            }
            listening.incoming.clone()
        };
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        // Of them, only the task of a connection knows the pair: so it is made from a seed.
        let seed = *pair.seed();
        let way = |remote, is_initiator, stream, pair| Way { remote, pair, is_initiator, stream };
        let their_pair = seed_of(&key).ok_or(Ended::Anyhow)?;
        let there = way(own, false, theirs, their_pair);
        incoming.send(there).await.map_err(|_| Ended::Anyhow)?;
        Ok(way(key, true, ours, KeyPair::from_seed(&seed)))
    }

    async fn suspend(&self) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.silent.send_replace(true);
    }

    async fn resume(&self) {
        tokio::time::sleep(Duration::from_millis(10)).await;
        self.silent.send_replace(false);
    }

    async fn changed(&self) -> Change {
        let mut renewals = self.renewals.subscribe();
        renewals.mark_unchanged();
        // It is never dropped while somebody asks.
        let _ = renewals.changed().await;
        Change::Renewed
    }
}

/// The pair of a key: those of this world are made from numbers.
fn seed_of(key: &PublicKey) -> Option<KeyPair> {
    (0..=u8::MAX).map(pair).find(|pair| pair.public_key() == *key)
}

pub fn pair(number: u8) -> KeyPair {
    KeyPair::from_seed(&[number; 32])
}
