//! How the server is in the network: for people to read.

use crate::session::peer;
use hyperspace_api::{CoreError, DiscoveryKey, Peer};
use hyperspace_schema::messages as m;
use std::time::Duration;

/// What [`RemoteNetworker::info`](crate::RemoteNetworker::info) tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkInfo {
    /// Its node of the DHT, if it has one.
    pub dht: Option<DhtInfo>,
    /// Its connections.
    pub connections: Vec<ConnectionInfo>,
    /// The topics it has joined.
    pub topics: Vec<TopicInfo>,
}

/// How a node of the DHT is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhtInfo {
    /// Has it found its place among the others?
    pub ready: bool,
    /// Does any other answer?
    pub online: bool,
    /// What routers do to its packets: `open` (nothing), `consistent`, `random`, or `unknown`.
    pub nat: String,
    /// The address by which others see it.
    pub remote_address: Option<String>,
    /// The UDP port that it has bound.
    pub port: u16,
    /// How many others it knows.
    pub nodes: u64,
    /// Its id, once others can find it.
    pub id: Option<[u8; 32]>,
}

/// A connection with a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionInfo {
    /// Who.
    pub peer: Peer,
    /// Did the server call?
    pub is_initiator: bool,
    /// Since when it is open.
    pub age: Duration,
    /// Bytes that have come.
    pub received: u64,
    /// Bytes that have gone.
    pub sent: u64,
}

/// A topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// Which.
    pub discovery_key: DiscoveryKey,
    /// Do peers find us?
    pub announce: bool,
    /// Do we look for peers?
    pub lookup: bool,
    /// Peers that were found by it and are connected.
    pub peers: u64,
}

impl NetworkInfo {
    pub(crate) fn read(info: m::NetworkInfo) -> Result<Self, CoreError> {
        let connections = info.connections.into_iter().filter_map(|connection| {
            Some(ConnectionInfo {
                peer: peer(connection.peer)?,
                is_initiator: connection.initiator,
                age: Duration::from_millis(connection.age),
                received: connection.received,
                sent: connection.sent,
            })
        });
        let topics = info.topics.into_iter().map(|topic| {
            let discovery_key = DiscoveryKey::try_from(topic.discovery_key.as_ref()).map_err(|_| {
                CoreError::Invalid("The server told of a topic whose key is not of 32 bytes".into())
            })?;
            let m::TopicInfo { announce, lookup, peers, .. } = topic;
            Ok(TopicInfo { discovery_key, announce, lookup, peers })
        });
        Ok(Self {
            dht: info.dht.map(DhtInfo::read),
            connections: connections.collect(),
            topics: topics.collect::<Result<_, CoreError>>()?,
        })
    }
}

impl DhtInfo {
    fn read(dht: m::DhtInfo) -> Self {
        Self {
            ready: dht.ready,
            online: dht.online,
            nat: dht.nat,
            remote_address: dht.remote_address,
            port: u16::try_from(dht.port).unwrap_or(0),
            nodes: dht.nodes,
            id: dht.id.and_then(|id| id.as_ref().try_into().ok()),
        }
    }
}
