//! How the server is in the network, for people to read.

use super::Networker;
use hyperspace_api::Peer;
use hyperspace_schema::messages as m;
use std::net::SocketAddr;
use std::time::Duration;

/// How the node of the DHT is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhtInfo {
    /// Has it found its place among the nodes?
    pub ready: bool,
    /// Does any node answer?
    pub online: bool,
    /// What is between us and the others.
    pub nat: Nat,
    /// Our address as the nodes see it.
    pub remote_address: Option<SocketAddr>,
    /// The UDP port that is bound.
    pub port: u16,
    /// How many nodes are known.
    pub nodes: usize,
    /// Its id, once others can find it.
    pub id: Option<[u8; 32]>,
}

/// What a router does to our packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// Nothing: strangers reach us.
    Open,
    /// They come from the same address, whoever they go to: others reach us there, once we
    /// have written to them.
    Consistent,
    /// They come from another address for everybody they go to.
    Random,
    /// It is not known.
    Unknown,
}

impl Nat {
    /// As it is told to clients.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Consistent => "consistent",
            Self::Random => "random",
            Self::Unknown => "unknown",
        }
    }
}

/// A connection, and what went over it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Who is at the other end.
    pub peer: Peer,
    /// Did we call?
    pub is_initiator: bool,
    /// Since when it is open.
    pub age: Duration,
    /// Bytes.
    pub received: u64,
    /// Bytes.
    pub sent: u64,
}

impl Networker {
    /// How all of it is.
    pub(crate) async fn info(&self) -> m::NetworkInfo {
        let found = self.swarm.found().await;
        let bytes = bytes::Bytes::copy_from_slice;
        let dht = self.swarm.dht().map(|dht| m::DhtInfo {
            ready: dht.ready,
            online: dht.online,
            nat: dht.nat.as_str().into(),
            remote_address: dht.remote_address.map(|address| address.to_string()),
            port: dht.port.into(),
            nodes: dht.nodes as u64,
            id: dht.id.map(|id| bytes(&id)),
        });
        let connections = self.swarm.connections().into_iter().map(|connection| m::ConnectionInfo {
            peer: crate::mailbox::peer(connection.peer),
            initiator: connection.is_initiator,
            age: connection.age.as_millis() as u64,
            received: connection.received,
            sent: connection.sent,
        });
        let topics: Vec<_> = self.topics.lock().iter().map(|(key, topic)| (*key, topic.live)).collect();
        let topics = topics.into_iter().filter(|(_, live)| !live.is_none()).map(|(key, live)| m::TopicInfo {
            discovery_key: bytes(key.as_bytes()),
            announce: live.announce,
            lookup: live.lookup,
            peers: found.values().filter(|topics| topics.contains(&key)).count() as u64,
        });
        m::NetworkInfo { dht, connections: connections.collect(), topics: topics.collect() }
    }
}
