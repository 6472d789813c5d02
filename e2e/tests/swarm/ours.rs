//! A swarm of ours: it has whatever it is connected with echo something, and knows with whom
//! that went well.

use hyperspace_e2e::process::PATIENCE;
use hyperswarm::hyperdht::{Endpoint, Options as DhtOptions};
use hyperswarm::swarm::{Config, Connected, ConnectionId, Event, Events, Options, Swarm};
use hyperswarm::{Connection, Event as ChannelEvent, KeyPair};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The connections that echo.
pub type Echoing = BTreeMap<ConnectionId, [u8; 32]>;

pub struct Ours {
    pub swarm: Swarm,
    pub endpoint: Endpoint,
    pub key: [u8; 32],
    echoing: watch::Receiver<Echoing>,
    task: tokio::task::JoinHandle<()>,
}

/// Has it echo something, and then waits for its end.
async fn echo(mut connection: Connection, id: ConnectionId, echoing: watch::Sender<Echoing>) {
    let Ok(channel) = connection.open("echo", b"", "") else { return };
    if connection.send(channel, 0, id_bytes(id)).is_err() {
        return;
    }
    while let Some(event) = connection.next().await {
        if let ChannelEvent::Message { payload, .. } = event {
            assert_eq!(payload, id_bytes(id));
            let key = connection.remote_public_key();
            echoing.send_modify(|all| {
                all.insert(id, key);
            });
        }
    }
    echoing.send_modify(|all| {
        all.remove(&id);
    });
}

fn id_bytes(id: ConnectionId) -> Vec<u8> {
    format!("{id:?}").into_bytes()
}

async fn take(mut events: Events, echoing: watch::Sender<Echoing>) {
    let mut echoes = JoinSet::new();
    while let Some(event) = events.next().await {
        while let Some(ended) = echoes.try_join_next() {
            ended.expect("what is sent comes back");
        }
        if let Event::Connection(Connected { id, connection, peer, .. }) = event {
            assert_eq!(connection.remote_public_key(), peer.public_key);
            assert_eq!(connection.is_initiator(), peer.is_initiator);
            echoes.spawn(echo(connection, id, echoing.clone()));
        }
    }
    while let Some(ended) = echoes.join_next().await {
        ended.expect("what is sent comes back");
    }
}

impl Ours {
    pub async fn start(bootstrap: SocketAddrV4, seed: u8) -> Self {
        Self::start_with(bootstrap, seed, Config::default()).await
    }

    pub async fn start_with(bootstrap: SocketAddrV4, seed: u8, config: Config) -> Self {
        let options = DhtOptions {
            bootstrap: vec![bootstrap.into()],
            host: Ipv4Addr::LOCALHOST,
            port: 0,
            ..DhtOptions::default()
        };
        let endpoint = Endpoint::bind(options).await.expect("sockets");
        assert!(tokio::time::timeout(PATIENCE, endpoint.ready()).await.expect("in time"));
        let pair = KeyPair::from_seed(&[seed; 32]);
        let key = pair.public_key();
        let (swarm, events) =
            Swarm::new(endpoint.clone(), Options { config, ..Options::new(pair) }).expect("random numbers");
        let (sender, echoing) = watch::channel(Echoing::new());
        let task = tokio::spawn(take(events, sender));
        Self { swarm, endpoint, key, echoing, task }
    }

    /// Waits until the connections that echo are as wanted.
    pub async fn until(&self, what: &str, most: Duration, wanted: impl FnMut(&Echoing) -> bool) {
        let mut echoing = self.echoing.clone();
        let reached = tokio::time::timeout(most, echoing.wait_for(wanted)).await.is_ok();
        if !reached {
            let status = self.swarm.status().await;
            panic!("{what}: not after {most:?}; {:?}; {status:#?}", self.echoing.borrow().values());
        }
    }

    /// Waits until each of these echoes once, and nobody else does.
    pub async fn echo_with(&self, keys: &[[u8; 32]]) {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        let wanted = |all: &Echoing| {
            let mut echoing: Vec<_> = all.values().copied().collect();
            echoing.sort_unstable();
            echoing == keys
        };
        self.until(&format!("{} peers echo", keys.len()), PATIENCE, wanted).await;
    }

    pub fn echoing(&self) -> Vec<[u8; 32]> {
        self.echoing.borrow().values().copied().collect()
    }

    /// Who is found by that topic.
    pub async fn lookup(&self, topic: [u8; 32]) -> Vec<[u8; 32]> {
        let mut lookup = self.endpoint.lookup(topic).await.expect("it runs");
        let mut found = std::collections::BTreeSet::new();
        while let Some((_, peers)) = lookup.next().await {
            found.extend(peers.peers.iter().map(|peer| peer.public_key));
        }
        found.into_iter().collect()
    }

    /// Is gone, and takes nothing back.
    pub async fn vanish(self) {
        self.task.abort();
        assert!(self.task.await.is_err_and(|error| error.is_cancelled()));
    }

    pub async fn stop(self) {
        self.swarm.close().await;
        self.endpoint.close().await;
        self.task.await.expect("nothing fails");
    }
}
