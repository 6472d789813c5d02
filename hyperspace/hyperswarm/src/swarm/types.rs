//! The nouns that a swarm and its driver share.

use crate::dht::Id;
use crate::key_pair::PublicKey;
use std::net::SocketAddrV4;

/// One use of a topic; of several, a topic is what all of them want together. Whoever drives
/// the core gives the numbers, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// A connection, from when it is dialled or comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) u64);

/// Something that is asked of the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(pub(super) u64);

/// Something that somebody waits for: [`Event::Done`] tells. Whoever drives the core gives
/// the numbers, each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WaitId(pub u64);

/// What is wanted of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// To be found by others: we announce ourselves.
    pub server: bool,
    /// To find others: we look them up, and dial them.
    pub client: bool,
    /// At most so many peers are dialled that one round finds.
    pub limit: Option<usize>,
}

impl Default for Join {
    fn default() -> Self {
        Self { server: true, client: true, limit: None }
    }
}

/// A peer that a node of the DHT tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Who.
    pub key: PublicKey,
    /// Nodes through which it is reached.
    pub relays: Vec<SocketAddrV4>,
}

/// What is asked of the DHT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Who is there?
    Lookup,
    /// The same, and tell that we are there; with `clear`, first take back what was told
    /// before, wherever it is found.
    Announce {
        /// The first time of this run.
        clear: bool,
    },
    /// The same as a lookup, and take back that we are there, wherever it is found.
    Withdraw,
    /// Take it back at just the nodes that are named, in a hurry.
    WithdrawThere,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Be reachable under our key: [`Core::listening`](super::Core::listening) when it is.
    Listen,
    /// Be so no more, and have it taken back: [`Core::unlistened`](super::Core::unlistened).
    Unlisten,
    /// Ask the DHT: [`Core::found`](super::Core::found) for what is found on the way,
    /// [`Core::asked`](super::Core::asked) at the end.
    Ask {
        /// Names it.
        id: QueryId,
        /// About which topic.
        topic: Id,
        /// What.
        ask: Ask,
        /// Nodes to begin with.
        nodes: Vec<SocketAddrV4>,
    },
    /// Give that up; nothing more is to be told of it.
    GiveUp(QueryId),
    /// Dial a peer: [`Core::opened`](super::Core::opened), or
    /// [`Core::closed`](super::Core::closed).
    Dial {
        /// Names the connection.
        id: ConnectionId,
        /// Whom.
        key: PublicKey,
        /// Nodes through which it may be reached.
        relays: Vec<SocketAddrV4>,
        /// There is no other way to it than through a relay.
        force_relay: bool,
    },
    /// Take a connection that came in: [`Core::opened`](super::Core::opened), or
    /// [`Core::closed`](super::Core::closed).
    Accept(ConnectionId),
    /// Give a connection up, in whatever state it is. If it was open, `closed` is to be
    /// told; if not, it is over with that.
    Close(ConnectionId, CloseReason),
    /// Find out whether a connection is still alive, by sending something.
    Probe(ConnectionId),
    /// Nothing is to be sent any more: [`Core::rested`](super::Core::rested) when it is not.
    Rest,
    /// Something may be sent again: [`Core::woken`](super::Core::woken) when it can. If that
    /// of before has not been told yet, it need not be.
    Wake,
}

/// Why we give a connection up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// There is another one with the same peer.
    Duplicate,
    /// The swarm is suspended or closed.
    Stopped,
}

impl CloseReason {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "Duplicate connection",
            Self::Stopped => "Swarm has been destroyed",
        }
    }
}

/// Why a connection is over, as far as it matters for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// For any reason.
    Anyhow,
    /// There was no way between the two NATs: a relay would help.
    NoWay,
}

/// What the swarm tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection is open.
    Opened(ConnectionId),
    /// It is over.
    Closed(ConnectionId),
    /// A peer has been banned.
    Banned(PublicKey),
    /// What somebody waited for is over: well, or not.
    Done(WaitId, bool),
}

/// What a swarm knows of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo {
    /// Who it is.
    pub public_key: PublicKey,
    /// The topics of ours by which we have found it. Empty for one that has found us.
    pub topics: Vec<Id>,
    /// Nodes through which it is reached.
    pub relay_addresses: Vec<SocketAddrV4>,
    /// Did we dial the connection that there is?
    pub is_initiator: bool,
    /// Is it connected?
    pub is_connected: bool,
    /// Is it one that we want whatever its topics are?
    pub is_explicit: bool,
    /// Is it banned?
    pub is_banned: bool,
    /// How often it was dialled in vain, or lost, since all was well.
    pub attempts: u32,
}

/// How a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicStatus {
    /// Which.
    pub topic: Id,
    /// Is it wanted that we are found by it?
    pub server: bool,
    /// Is it wanted that we find others by it?
    pub client: bool,
    /// How many nodes of the DHT know that we are there.
    pub announced_by: usize,
    /// How many peers we know by it.
    pub peers: usize,
    /// Is it being looked up or announced now?
    pub is_busy: bool,
}

/// What has happened so far, and how many there are of what now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Peers that were dialled.
    pub attempted: u64,
    /// Connections that we dialled and that opened.
    pub client_opened: u64,
    /// What we dialled and is over, whether it had opened or not.
    pub client_closed: u64,
    /// Connections of others that opened.
    pub server_opened: u64,
    /// Those of them that are over.
    pub server_closed: u64,
    /// Of two connections with one peer, one was given up.
    pub duplicates: u64,
    /// Connections that were refused because there were too many.
    pub refused: u64,
    /// Peers that were banned.
    pub banned: u64,
    /// Rounds of all topics.
    pub refreshes: u64,
    /// Connections that are open now.
    pub connections: usize,
    /// Peers that are being dialled now.
    pub connecting: usize,
    /// Peers that wait to be dialled.
    pub queued: usize,
    /// Peers that are known.
    pub known: usize,
    /// Topics that are joined.
    pub topics: usize,
}
