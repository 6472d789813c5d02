//! What a node is given, and what it gives.

use super::super::address::Id;
use super::super::health::Network;
use super::super::query::{Answer, QueryId};
use super::super::requests::RequestId;
use std::net::SocketAddrV4;
use std::time::Duration;

/// How a node begins.
#[derive(Clone, Debug)]
pub struct Config {
    /// Nodes that are always there, for whoever knows no other.
    pub bootstrap: Vec<SocketAddrV4>,
    /// Nodes that were known the last time, the best first.
    pub nodes: Vec<SocketAddrV4>,
    /// `true`: never persistent; `false`: persistent as soon as the own address is known;
    /// `None`: once it has shown itself to be lasting.
    pub ephemeral: Option<bool>,
    /// Can strangers not reach the server socket?
    pub firewalled: bool,
    /// Is it found out? Otherwise, `firewalled` stays as it is.
    pub test_reachability: bool,
    /// Our address, if it is known beforehand: then the node is persistent at once, as the
    /// first node of a network must be.
    pub public_address: Option<SocketAddrV4>,
    /// The port of the server socket.
    pub server_port: u16,
    /// Are there commands besides those of the DHT itself? They come as [`Event::Request`].
    pub application: bool,
    /// How many times a request is sent again.
    pub retries: u32,
    /// And one of a query.
    pub query_retries: u32,
    /// How many requests may be sent in three quarters of a second.
    pub window: usize,
    /// Nodes that are never taken into the table.
    pub refuses: fn(SocketAddrV4) -> bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            nodes: Vec::new(),
            ephemeral: None,
            firewalled: true,
            test_reachability: true,
            public_address: None,
            server_port: 0,
            application: false,
            retries: 3,
            query_retries: 3,
            window: 80,
            refuses: |_| false,
        }
    }
}

/// One of the sockets of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Socket {
    /// Where others find us.
    Server,
    /// Whence we ask, while others may not be able to reach the other.
    Client,
    /// Another one, that the owner of the node has opened.
    Other(u32),
}

/// A datagram to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// From this socket.
    pub socket: Socket,
    /// To this address.
    pub to: SocketAddrV4,
    /// These bytes.
    pub bytes: Vec<u8>,
    /// How many routers it may pass; as many as usual if not said.
    pub ttl: Option<u8>,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// We have found our place among the nodes there are.
    Ready,
    /// From now on, others may know our id, and find us under it.
    Persistent(Id),
    /// No longer so: we have been away.
    Ephemeral,
    /// The network went, or came.
    Network(Network),
    /// The machine was asleep, or its clock was set: whoever knew us may have forgotten us.
    Woken,
    /// A request for the application, to be answered with
    /// [`Node::respond`](super::Node::respond), or not at all.
    Request(Incoming),
    /// What came of [`Node::ask`](super::Node::ask): `None` when nothing came.
    Answered {
        /// Which.
        request: RequestId,
        /// The answer.
        answer: Option<Answer>,
    },
    /// A node has answered in a query.
    Found {
        /// Which.
        query: QueryId,
        /// The answer, without an error.
        answer: Answer,
    },
    /// A query has found the closest nodes, and wants to know what is to be told to them:
    /// [`Node::commit`](super::Node::commit).
    Commit {
        /// Which.
        query: QueryId,
        /// The closest nodes that answered, the closest first.
        closest: Vec<Answer>,
    },
    /// A query is over.
    Finished {
        /// Which.
        query: QueryId,
        /// How it went.
        outcome: Outcome,
    },
}

/// How a query went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The closest nodes that answered, the closest first.
    pub closest: Vec<SocketAddrV4>,
    /// How many answered.
    pub successes: usize,
    /// How many did not, or with an error.
    pub failures: usize,
    /// How many have taken what was committed.
    pub committed: usize,
    /// Those that have not, or not within the time.
    pub silent_commits: Vec<SocketAddrV4>,
}

/// A request for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Where it arrived.
    pub socket: Socket,
    /// Who asks.
    pub from: SocketAddrV4,
    /// Where it was sent to: us, as the asker sees us.
    pub to: SocketAddrV4,
    /// Its number there.
    pub tid: u16,
    /// The asker's id, if it is a node and its address proves it.
    pub id: Option<Id>,
    /// A token that we gave to that host lately.
    pub token: Option<[u8; 32]>,
    /// What is asked.
    pub command: u64,
    /// About what.
    pub target: Option<Id>,
    /// What else belongs to it.
    pub value: Option<Vec<u8>>,
}

/// What to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// 0, or why not.
    pub error: u64,
    /// The answer proper.
    pub value: Option<&'a [u8]>,
    /// Give a token?
    pub token: bool,
    /// Name the nodes closest to the target?
    pub closer: bool,
}

impl<'a> Response<'a> {
    /// The usual answer: whoever asks may want to commit something next, and goes on to
    /// nodes that are closer.
    pub fn value(value: Option<&'a [u8]>) -> Self {
        Self { error: 0, value, token: true, closer: true }
    }

    /// An error.
    pub fn error(error: u64) -> Self {
        Self { error, value: None, token: false, closer: true }
    }

    /// Done.
    pub fn done() -> Self {
        Self { error: 0, value: None, token: false, closer: false }
    }
}

/// What to ask one node.
#[derive(Clone, Debug)]
pub struct Asking {
    /// Which.
    pub to: SocketAddrV4,
    /// A command of the DHT itself?
    pub internal: bool,
    /// What.
    pub command: u64,
    /// About what.
    pub target: Option<Id>,
    /// What else belongs to it.
    pub value: Option<Vec<u8>>,
    /// A token of that node.
    pub token: Option<[u8; 32]>,
    /// From which socket; the usual one if not said.
    pub socket: Option<Socket>,
    /// How many times to ask again; as usual if not said.
    pub retries: Option<u32>,
    /// How long to wait each time; as learnt if not said.
    pub timeout: Option<Duration>,
}

impl Asking {
    /// An application's command.
    pub fn new(to: SocketAddrV4, command: u64, target: Id) -> Self {
        Self {
            to,
            internal: false,
            command,
            target: Some(target),
            value: None,
            token: None,
            socket: None,
            retries: None,
            timeout: None,
        }
    }

    /// Are you there?
    pub fn ping(to: SocketAddrV4) -> Self {
        let command = super::super::message::internal::PING;
        Self { internal: true, target: None, ..Self::new(to, command, [0; 32]) }
    }

    /// Answer after `delay`, of at most ten seconds: does the way back live that long?
    pub fn delayed_ping(to: SocketAddrV4, delay: Duration) -> Self {
        let command = super::super::message::internal::DELAYED_PING;
        let milliseconds = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
        Self {
            internal: true,
            target: None,
            value: Some(milliseconds.to_le_bytes().to_vec()),
            timeout: Some(delay + Duration::from_secs(1)),
            ..Self::new(to, command, [0; 32])
        }
    }
}

/// What a query tells one of the closest nodes in the end.
#[derive(Clone, Debug)]
pub struct Commitment {
    /// Which.
    pub to: SocketAddrV4,
    /// Its token.
    pub token: [u8; 32],
    /// What.
    pub command: u64,
    /// And what belongs to it.
    pub value: Option<Vec<u8>>,
}
