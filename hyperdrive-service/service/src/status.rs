//! Is the server there, is the root drive mounted?

use crate::client::connect;
use crate::config::{self, Config};
use crate::setup::{self, MountState};
use crate::{ClientOptions, ServiceError, paths};
use hyperspace_client::{HyperspaceClient, NetworkInfo};
use serde::Serialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Rates are measured for so long.
const MEASURED: Duration = Duration::from_millis(250);

/// What [`status`] tells.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Of the RPC.
    pub api_version: String,
    /// Of the server.
    pub server_version: Option<String>,
    /// Can peers behind routers reach this computer? `None`: not known.
    pub holepunchable: Option<bool>,
    /// As which address peers see this computer.
    pub remote_address: Option<String>,
    /// The root drive, in hex; `None` if the service never ran.
    pub root_drive_key: Option<String>,
    /// Where it is, or would be, mounted.
    pub mnt: PathBuf,
    /// Does the system list a mount there? It may be a dead one.
    pub mounted: bool,
    /// And how it is.
    pub mount_state: MountState,
    /// How the server is in the network; `None` if it is one that cannot tell.
    pub network: Option<Network>,
}

/// The server's place in the network.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Its node of the DHT; `None` if it has none.
    pub dht: Option<Dht>,
    /// Whom it is connected with.
    pub peers: Vec<Peer>,
    /// Topics that it announces or looks up.
    pub topics: Vec<Topic>,
}

/// A node of the DHT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dht {
    /// Has it found its place among the others?
    pub ready: bool,
    /// Does any other answer?
    pub online: bool,
    /// What routers do to its packets: `open` (nothing), `consistent`, `random`, `unknown`.
    pub nat: String,
    /// The UDP port that it has bound.
    pub port: u16,
    /// How many others it knows.
    pub nodes: u64,
}

/// A peer that is connected.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Its Noise public key, in hex.
    pub remote_public_key: String,
    /// Where it is.
    pub remote_address: String,
    /// By what: `tcp` or `udx`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Did we call?
    pub is_initiator: bool,
    /// Seconds since it connected.
    pub age: f64,
    /// Bytes that have come from it.
    pub received: u64,
    /// Bytes that have gone to it.
    pub sent: u64,
    /// Bytes a second that come, right now.
    pub receive_rate: f64,
    /// Bytes a second that go, right now.
    pub send_rate: f64,
}

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Topic {
    /// Its discovery key, in hex.
    pub discovery_key: String,
    /// Do peers find us?
    pub announce: bool,
    /// Do we look for peers?
    pub lookup: bool,
    /// Peers that were found by it and are connected.
    pub peers: u64,
}

/// Asks the server, the configuration and the system. Needs no root drive.
pub async fn status(options: &ClientOptions) -> Result<Status, ServiceError> {
    let saved = Config::load(&options.config_dir)?;
    let key = match options.key {
        Some(key) => Some(key),
        None => saved.root_drive_key()?,
    };
    let mnt = match options.mnt.clone().or(saved.mnt) {
        Some(mnt) => paths::absolute(&mnt)?,
        None => config::default_mnt()?,
    };
    let client = connect(options.endpoint.clone()).await?;
    let server = client.status().await?;
    let network = network(&client).await;
    let mount_state = setup::state(&mnt).await?;
    Ok(Status {
        api_version: server.api_version,
        server_version: server.version,
        holepunchable: server.holepunchable,
        remote_address: server.remote_address.filter(|address| !address.is_empty()),
        root_drive_key: key.map(|key| key.to_string()),
        mnt,
        mounted: mount_state != MountState::NotMounted,
        mount_state,
        network,
    })
}

/// Asks twice, for the rates, if anybody is connected.
async fn network(client: &HyperspaceClient) -> Option<Network> {
    let networker = client.network();
    let (before, began) = (networker.info().await.ok()?, Instant::now());
    if before.connections.is_empty() {
        return Some(describe(before, &NetworkInfo::default(), MEASURED));
    }
    tokio::time::sleep(MEASURED).await;
    let now = networker.info().await.ok()?;
    Some(describe(now, &before, began.elapsed()))
}

fn describe(now: NetworkInfo, before: &NetworkInfo, elapsed: Duration) -> Network {
    let peers = now.connections.into_iter().map(|connection| {
        // One that came in between has no rate yet.
        let was = before.connections.iter().find(|was| was.peer == connection.peer);
        let rate = |now: u64, was: Option<u64>| {
            was.map_or(0.0, |was| now.saturating_sub(was) as f64 / elapsed.as_secs_f64())
        };
        Peer {
            receive_rate: rate(connection.received, was.map(|was| was.received)),
            send_rate: rate(connection.sent, was.map(|was| was.sent)),
            remote_public_key: connection.peer.remote_public_key.to_string(),
            remote_address: connection.peer.remote_address,
            kind: connection.peer.kind,
            is_initiator: connection.is_initiator,
            age: connection.age.as_secs_f64(),
            received: connection.received,
            sent: connection.sent,
        }
    });
    let topics = now.topics.into_iter().map(|topic| Topic {
        discovery_key: topic.discovery_key.to_string(),
        announce: topic.announce,
        lookup: topic.lookup,
        peers: topic.peers,
    });
    let dht = now.dht.map(|dht| Dht {
        ready: dht.ready,
        online: dht.online,
        nat: dht.nat,
        port: dht.port,
        nodes: dht.nodes,
    });
    Network { dht, peers: peers.collect(), topics: topics.collect() }
}
