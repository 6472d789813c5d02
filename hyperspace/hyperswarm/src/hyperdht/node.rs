//! The node, as it is driven.

use super::connect::{Asked, Connect, DialError, Established, Meeting};
use super::operations::{Operation, OperationId, Summary};
use super::records::{MutableRecord, Peer, Peers};
use super::storage::{Storage, Stored};
use crate::dht::random::Random;
use crate::dht::{self, Id, Network, Node, RequestId, Socket, Transmit};
use crate::hash::hash;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// Nodes that are known to answer, but to no good.
const REFUSED: [&str; 3] = ["134.209.28.98:49738", "167.99.142.185:49738", "35.233.47.252:9400"];
const REFUSED_HOST: &str = "150.136.142.116";

fn refuses(address: SocketAddrV4) -> bool {
    let is = |text: &str| text.parse() == Ok(address);
    REFUSED_HOST.parse() == Ok(*address.ip()) || REFUSED.into_iter().any(is)
}

/// How a node begins.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// That of the DHT. There is always an application: this one.
    pub dht: dht::Config,
    /// What time it is, since 1970.
    pub wall_clock: Duration,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// We have found our place among the nodes there are.
    Ready,
    /// From now on, others can find us, and we keep things for them.
    Persistent,
    /// No longer so.
    Ephemeral,
    /// The network went, or came.
    Network(Network),
    /// The machine was asleep.
    Woken,
    /// A node has named some who are interested in the topic that is looked up.
    Peers {
        /// In which operation.
        operation: OperationId,
        /// Which node.
        from: SocketAddrV4,
        /// Whom.
        peers: Peers,
    },
    /// A node relays to the peer that is looked for.
    Peer {
        /// In which operation.
        operation: OperationId,
        /// Which node: what is meant for the peer is to be sent there.
        from: SocketAddrV4,
        /// The peer.
        peer: Peer,
    },
    /// The immutable record that is looked for.
    Immutable {
        /// In which operation.
        operation: OperationId,
        /// It has the hash that was asked for.
        value: Vec<u8>,
    },
    /// A mutable record, newer than any before in this operation.
    Mutable {
        /// In which operation.
        operation: OperationId,
        /// It is signed by the key that was asked for.
        record: MutableRecord,
    },
    /// An operation is over.
    Finished {
        /// Which.
        operation: OperationId,
        /// How it went.
        summary: Summary,
    },
    /// A server of ours has announced itself: for the first time, or anew.
    Listening {
        /// The target of its key.
        server: Id,
    },
    /// A server of ours is no more, and nobody is told of it any more.
    Closed {
        /// The target of its key.
        server: Id,
    },
    /// A socket is to be opened, before anything is sent by it.
    OpenSocket {
        /// The number of [`Socket::Other`].
        socket: u32,
    },
    /// A socket is not needed any more, but for streams that are on it.
    CloseSocket {
        /// The number of [`Socket::Other`].
        socket: u32,
    },
    /// Somebody dials a server of ours: a stream is to be opened, before anything is sent.
    Accepting {
        /// Its number.
        stream: u32,
        /// The target of the server's key.
        server: Id,
    },
    /// A peer that is dialled is there; a way to it is still to be found.
    Answered {
        /// The number of its stream.
        stream: u32,
    },
    /// There is a way to a peer: the stream is to be connected.
    Established(Box<Established>),
    /// A peer is to be met at a third one; [`Dht::met`] takes what came of it.
    Meet(Meeting),
    /// A peer that was met at a third one can be reached directly from now on.
    Moved(Box<Established>),
    /// A stream that was opened for somebody who dials is not needed any more.
    GivenUp {
        /// Its number.
        stream: u32,
    },
    /// A dial came to nothing.
    DialFailed {
        /// The number of its stream.
        stream: u32,
        /// Why.
        error: DialError,
    },
    /// Nobody is told of us any more: what was to be suspended can be.
    Rested,
}

/// A node of the DHT that serves peers.
pub struct Dht {
    pub(super) node: Node,
    pub(super) storage: Storage,
    pub(super) random: Random,
    pub(super) operations: HashMap<OperationId, Operation>,
    /// To what a request belongs.
    pub(super) requests: HashMap<RequestId, Asked>,
    pub(super) connect: Connect,
    pub(super) events: VecDeque<Event>,
    started: Instant,
    wall_clock: Duration,
}

impl Dht {
    /// A node, which at once begins to look for others. The `seed` is random, and secret.
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        let dht = dht::Config { application: true, refuses, ..config.dht };
        let mut all = Self {
            node: Node::new(dht, hash(&[&seed, b"node"]), now),
            storage: Storage::new(now),
            random: Random::new(hash(&[&seed, b"dht"])),
            operations: HashMap::new(),
            requests: HashMap::new(),
            connect: Connect::new(now),
            events: VecDeque::new(),
            started: now,
            wall_clock: config.wall_clock,
        };
        all.drain(now);
        all
    }

    /// Takes a datagram that has come to `socket`. Whatever it is: what is not meant for
    /// us has no effect.
    pub fn handle_datagram(&mut self, now: Instant, socket: Socket, from: SocketAddrV4, datagram: &[u8]) {
        match (socket, datagram) {
            // It means nothing in itself: see `connect`.
            (Socket::Other(socket), [_]) => self.byte_arrived(now, socket, from),
            _ => self.node.handle_datagram(now, socket, from, datagram),
        }
        self.drain(now);
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.node.poll_transmit()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), unless something happens
    /// before that.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.node.poll_timeout().into_iter().chain(self.connect.poll_timeout()).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.node.handle_timeout(now);
        self.drain(now);
        self.connect_timeout(now);
        self.drain(now);
    }

    /// The next thing that has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The node beneath.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// There are more nodes that are always there.
    pub fn add_bootstrap(&mut self, now: Instant, nodes: impl IntoIterator<Item = SocketAddrV4>) {
        self.node.add_bootstrap(now, nodes);
        self.drain(now);
    }

    /// How much is kept for others.
    pub fn stored(&self) -> Stored {
        self.storage.stored()
    }

    /// Nobody is to find us for now: dials fail, and servers take back what they announced.
    /// When [`Event::Rested`] comes, nothing needs to be sent any more until
    /// [`resume`](Self::resume).
    pub fn suspend(&mut self, now: Instant) {
        self.rest(now);
        self.drain(now);
    }

    /// We are back, and who knows where.
    pub fn resume(&mut self, now: Instant) {
        self.node.wake_up();
        self.wake(now);
        self.drain(now);
    }

    /// The machine was asleep, and its clock with it: whoever drives this noticed by another.
    pub fn woken(&mut self, now: Instant) {
        self.node.wake_up();
        self.events.push_back(Event::Woken);
        self.announce_again(now);
        self.drain(now);
    }

    /// The network of this machine has changed.
    pub fn network_changed(&mut self, now: Instant) {
        self.announce_again(now);
        self.drain(now);
    }

    /// Milliseconds since 1970.
    pub(super) fn wall_ms(&self, now: Instant) -> u64 {
        (self.wall_clock + now.saturating_duration_since(self.started)).as_millis() as u64
    }

    /// Takes what the node beneath says.
    pub(super) fn drain(&mut self, now: Instant) {
        while let Some(event) = self.node.poll_event() {
            match event {
                dht::Event::Ready => self.events.push_back(Event::Ready),
                dht::Event::Persistent(_) => self.events.push_back(Event::Persistent),
                dht::Event::Ephemeral => self.events.push_back(Event::Ephemeral),
                dht::Event::Network(network) => {
                    self.events.push_back(Event::Network(network));
                    if network == Network::Online {
                        self.announce_again(now);
                    }
                }
                dht::Event::Woken => {
                    self.events.push_back(Event::Woken);
                    self.announce_again(now);
                }
                dht::Event::Request(request) => self.serve(now, &request),
                dht::Event::Answered { request, answer } => {
                    if let Some(asked) = self.requests.remove(&request) {
                        self.connect_answered(now, asked, answer);
                    }
                }
                dht::Event::Found { query, answer } => self.found(now, OperationId(query), answer),
                dht::Event::Commit { query, closest } => self.commit(now, OperationId(query), closest),
                dht::Event::Finished { query, outcome } => self.finished(now, OperationId(query), outcome),
            }
        }
    }
}

impl fmt::Debug for Dht {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dht")
            .field("node", &self.node)
            .field("stored", &self.stored())
            .field("operations", &self.operations.len())
            .finish_non_exhaustive()
    }
}
