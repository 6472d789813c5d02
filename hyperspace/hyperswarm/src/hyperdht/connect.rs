//! How peers connect: by keys, over nodes that pass their handshake on, and through their
//! firewalls.
//!
//! Who wants to be found [listens](super::Dht::listen): it announces its key to the three
//! nodes closest to the hash of it, which from then on pass on what others have for it. Who
//! wants to reach it [dials](super::Dht::dial): it looks for these nodes, and sends the
//! first message of a Noise handshake by them. Both messages tell how to go on:
//! * a peer whose address is known to be open is sent to directly;
//! * two in the same private network meet there;
//! * for others, both send datagrams that need not arrive, so that their firewalls let in
//!   the other's: they *punch*. They agree on that over the same nodes, and only the two can
//!   read what they say.
//!
//! What comes of it is the [path](Established) for a stream of [UDX](crate::udx), whose
//! number each side told the other in the handshake, and the keys of a
//! [secret stream](crate::secret_stream).
//!
//! Nothing here knows a socket or a stream: sockets and streams have numbers, and events say
//! which are to be opened. [`Endpoint`](super::Endpoint) has both:
//!
//! ```
//! use hyperswarm::hyperdht::{DialOptions, Endpoint, ListenOptions, Options};
//! use hyperswarm::{Event, KeyPair};
//! use std::net::Ipv4Addr;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let local = || Options { host: Ipv4Addr::LOCALHOST, port: 0, ..Options::default() };
//! let first = Endpoint::bind(Options { is_first: true, ..local() }).await?;
//! let bootstrap = vec![first.local_address().into()];
//! let second = Endpoint::bind(Options { bootstrap, ..local() }).await?;
//! second.ready().await;
//!
//! let (alice, bob) = (KeyPair::generate()?, KeyPair::generate()?);
//! let mut server = second.listen(&bob, ListenOptions::default()).await?;
//! server.announced().await;
//! let serving = tokio::spawn(async move {
//!     let dialed = server.accept().await.ok_or("it was closed")?;
//!     let mut connection = dialed.connect(hyperswarm::Options::default()).await.map_err(|e| e.to_string())?;
//!     connection.pair("greetings", None);
//!     let greeting = connection.next().await;
//!     server.close().await;
//!     Ok::<_, String>(greeting)
//! });
//!
//! let dialed = first.dial(&bob.public_key(), DialOptions::new(&alice)).await?;
//! assert_eq!(dialed.remote_public_key, bob.public_key());
//! let connection = dialed.connect(hyperswarm::Options::default()).await?;
//! connection.open("greetings", b"", "hello")?;
//! let greeting = serving.await??;
//! assert!(matches!(greeting, Some(Event::Requested { handshake, .. }) if handshake == "hello"));
//! # Ok(())
//! # }
//! ```
//!
//! # Bounds
//! * Passing on is stateless: for one datagram, one of at most 44 bytes more (two addresses,
//!   and our id), and by its mode, none is passed on more than three times. What is to be
//!   passed into a private network must come from one.
//! * Of handshakes with our servers, 1,000 a second are looked at, each for the cost of two
//!   multiplications on the curve (some 160 µs); what comes beyond is as if lost. Those that
//!   prove a key cost some 500 µs altogether, and at most [`MAX_HANDSHAKES`] of them are
//!   remembered: until they have led to a connection or 10 s have gone by, and then for
//!   10 s. One costs some kilobytes, most of it for the stream that waits for it.
//! * At most [`MAX_PUNCHERS`] of them, and of our dials, have a socket of their own; one of
//!   all may have 256, for half a minute, and not within 20 s after the last that had.
//! * Punching sends at most 1,750 datagrams of one byte, to a host that has proved to be the
//!   peer's, or 10 to each of at most 8 addresses that the peer named.

mod accept;
mod announcer;
mod dial;
mod error;
mod exchange;
mod listening;
mod local;
mod meet;
mod probing;
mod puncher;
mod relay;
mod sampling;
mod strategy;
mod timers;
mod view;

pub use dial::Dialing;
pub use error::DialError;
pub use listening::{FirewallCheck, ListenOptions, RelayChoice};
pub use puncher::MAX_PUNCHERS;

use super::node::{Dht, Event};
use super::noise_payload::RelayThrough;
use super::operations::OperationId;
use crate::dht::cache::Cache;
use crate::dht::{Id, RequestId, Socket};
use crate::key_pair::PublicKey;
use crate::noise::Keys;
use accept::Accepting;
use dial::Dial;
use listening::Listening;
use puncher::Puncher;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};
use timers::{Bucket, Timer, Timers};

/// The most handshakes with our servers that are remembered.
pub const MAX_HANDSHAKES: usize = 1024;

/// For how long we wait for the other side to connect, and remember that it did.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the answer of a peer may take that is asked over a node, before it is asked again.
/// What is known of the node says nothing about the peer.
const OVER_A_NODE: Duration = Duration::from_secs(1);

/// How many handshakes are looked at in a second, and at once.
const HANDSHAKES_A_SECOND: u32 = 1000;

/// For how many peers it is remembered by which nodes they were reached, twice.
const REMEMBERED: usize = 256;

/// A way to a peer that has proved its key.
#[derive(Clone, Debug)]
pub struct Established {
    /// The number of our stream.
    pub stream: u32,
    /// The target of the server of ours that was dialled; none if we dialled.
    pub server: Option<Id>,
    /// From which socket the peer is reached.
    pub socket: Socket,
    /// Where.
    pub remote: SocketAddrV4,
    /// The number of its stream.
    pub remote_stream: u32,
    /// What was agreed on in the handshake.
    pub keys: Keys,
    /// Where the peer can be found the next time.
    pub relay_addresses: Vec<SocketAddrV4>,
}

/// They are the same if they are of the same stream, and lead to the same place.
impl PartialEq for Established {
    fn eq(&self, other: &Self) -> bool {
        let path = |path: &Self| (path.stream, path.socket, path.remote, path.remote_stream);
        path(self) == path(other)
    }
}

impl Eq for Established {}

/// A peer that cannot be reached directly, or not at once, is to be met at a third one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meeting {
    /// The number of our stream.
    pub stream: u32,
    /// Whom to meet at, and what tells us two from others.
    pub through: RelayThrough,
    /// Are we the one who asked for it?
    pub is_initiator: bool,
    /// As for [`Established`]; the path in it is where the peer would be.
    pub established: Box<Established>,
}

/// What has been done to get through firewalls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Punches {
    /// Peers that could be sent to at once.
    pub open: u64,
    /// Peers that were met in the same private network.
    pub local: u64,
    /// Both sides sent to where the other is seen.
    pub consistent: u64,
    /// One side is seen at another port by each.
    pub random: u64,
    /// It was put off, since another was under way.
    pub try_later: u64,
    /// Peers that were to be met at a third one.
    pub relayed: u64,
}

/// What a request was made for, if not for the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A step of an operation.
    Operation(OperationId),
    /// Is a node that passes on to a server of ours still there?
    Relay(Id),
    /// The first message of a dial, by that node.
    Handshake { stream: u32, by: SocketAddrV4 },
    /// Is the peer there, in our own network?
    Local { stream: u32, at: SocketAddrV4 },
    /// How is a puncher's socket seen?
    Sample { stream: u32, socket: u32 },
    /// A step of the agreement on how to punch.
    Step { stream: u32 },
}

/// For whom an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// The program: it is told by events.
    Program,
    /// A server that announces itself.
    Announcer(Id),
    /// A server that takes its announcement back.
    Withdrawal(Id),
    /// The same, from nodes that it does not need any more: nobody waits for that.
    Nobody,
    /// A dial that looks for its peer.
    Dial(u32),
}

/// All that is known of connections to be.
pub(super) struct Connect {
    pub servers: HashMap<Id, Listening>,
    accepting: HashMap<u32, Accepting>,
    dials: HashMap<u32, Dial>,
    punchers: HashMap<u32, Puncher>,
    /// Whose sockets they are.
    sockets: HashMap<u32, u32>,
    next_socket: u32,
    timers: Timers,
    /// How we are reached in our own networks.
    local: Vec<SocketAddrV4>,
    handshakes: Bucket,
    /// Whether somebody punches with a random NAT, and when somebody last did.
    random_punching: bool,
    last_random: Option<Instant>,
    remembered: Cache<PublicKey, Vec<SocketAddrV4>>,
    pub punches: Punches,
    suspended: bool,
}

impl Connect {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            servers: HashMap::new(),
            accepting: HashMap::new(),
            dials: HashMap::new(),
            punchers: HashMap::new(),
            sockets: HashMap::new(),
            next_socket: 0,
            timers: Timers::default(),
            local: Vec::new(),
            handshakes: Bucket::new(HANDSHAKES_A_SECOND, now),
            random_punching: false,
            last_random: None,
            // Only their number is bounded: they do not grow old by themselves.
            remembered: Cache::new(REMEMBERED, Duration::from_secs(7 * 24 * 3600), now),
            punches: Punches::default(),
            suspended: false,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.timers.next()
    }
}

impl Dht {
    /// Which addresses this machine has in its networks.
    pub fn set_local_hosts(&mut self, hosts: &[Ipv4Addr]) {
        let port = self.node.server_port();
        self.connect.local = hosts.iter().map(|host| SocketAddrV4::new(*host, port)).collect();
    }

    /// What has been done to get through firewalls.
    pub fn punches(&self) -> Punches {
        self.connect.punches
    }

    /// How many connections are being made: those that we dialled, and those of others to
    /// our servers, with the ones that were made lately.
    pub fn connecting(&self) -> (usize, usize) {
        (self.connect.dials.len(), self.connect.accepting.len())
    }

    /// A packet has come for a stream that is not connected to where it came from.
    pub fn stream_heard(&mut self, now: Instant, stream: u32, socket: Socket, from: SocketAddrV4) {
        if self.connect.dials.contains_key(&stream) {
            self.dial_heard(now, stream, socket, from);
        } else if self.connect.accepting.contains_key(&stream) {
            self.accepted(now, stream, socket, from);
        }
        self.drain(now);
    }

    /// A stream is no more, or was never to be: whatever is done for it ends.
    pub fn give_up(&mut self, now: Instant, stream: u32) {
        if self.connect.dials.contains_key(&stream) {
            self.end_dial(now, stream);
        } else {
            self.end_accepting(now, stream);
        }
        self.drain(now);
    }

    /// A meeting at a third peer has come about, or cannot.
    pub fn met(&mut self, now: Instant, stream: u32, well: bool) {
        if self.connect.dials.contains_key(&stream) {
            self.dial_met(now, stream, well);
        } else {
            self.accepting_met(now, stream, well);
        }
        self.drain(now);
    }

    pub(super) fn connect_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.connect.timers.take_due(now) {
            match timer {
                Timer::Announcer(target) => self.announcer_timeout(now, target),
                Timer::Dial(stream) => self.dial_timeout(now, stream),
                Timer::Accepting(stream) => self.accepting_timeout(now, stream),
                Timer::Puncher(stream) => self.puncher_timeout(now, stream),
            }
        }
    }

    /// A request of a connection to be was answered, or was not.
    pub(super) fn connect_answered(
        &mut self,
        now: Instant,
        asked: Asked,
        answer: Option<crate::dht::Answer>,
    ) {
        match asked {
            Asked::Operation(operation) => self.step_done(now, operation, answer.is_some()),
            Asked::Relay(target) => self.relay_answered(now, target, answer.as_ref()),
            Asked::Handshake { stream, by } => self.handshake_answered(now, stream, by, answer),
            Asked::Local { stream, at } => self.local_answered(now, stream, at, answer.is_some()),
            Asked::Sample { stream, socket } => self.sampled(now, stream, socket, answer),
            Asked::Step { stream } => self.step_answered(now, stream, answer),
        }
    }

    /// Takes back what was asked for a connection to be.
    fn forget_asked(&mut self, now: Instant, of: impl Fn(&Asked) -> bool) {
        let requests: Vec<RequestId> =
            self.requests.iter().filter(|(_, asked)| of(asked)).map(|(request, _)| *request).collect();
        for request in requests {
            self.requests.remove(&request);
            self.node.forget(now, request);
        }
    }

    fn say(&mut self, event: Event) {
        self.events.push_back(event);
    }
}
