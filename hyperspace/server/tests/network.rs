//! Network configurations: added up, copied, remembered, withdrawn.

mod support;

use ::hyperspace::networker::{Presence, Swarm, SwarmEvent};
use ::hyperspace::{Options, Server};
use bytes::Bytes;
use hyperspace_api::{DiscoveryKey, Peer};
use hyperspace_schema::messages::*;
use hyperspace_schema::methods::{Event, network};
use parking_lot::Mutex;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use support::*;
use tempfile::TempDir;
use tokio::sync::{Notify, broadcast};

/// Writes down what it is told.
struct Recorder {
    told: Mutex<Vec<(u8, Presence)>>,
    events: broadcast::Sender<SwarmEvent>,
    flush: Arc<Notify>,
}

impl Swarm for Recorder {
    fn set(&self, topic: DiscoveryKey, presence: Presence) {
        self.told.lock().push((topic.as_bytes()[0], presence));
    }
    fn flushed(&self, _: DiscoveryKey) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let flush = self.flush.clone();
        Box::pin(async move { flush.notified().await })
    }
    fn peers(&self) -> Vec<Peer> {
        vec![]
    }
    fn events(&self) -> broadcast::Receiver<SwarmEvent> {
        self.events.subscribe()
    }
    fn remote_address(&self) -> Option<String> {
        Some("192.0.2.1:49737".into())
    }
    fn holepunchable(&self) -> Option<bool> {
        Some(true)
    }
}

/// A server with a recorder for its network, over a store that may outlive it.
struct Networked {
    server: Server<hypercore::Corestore>,
    swarm: Arc<Recorder>,
    socket: PathBuf,
    _folder: TempDir,
}

impl Networked {
    async fn start(store: &hypercore::Corestore, no_announce: bool) -> Self {
        let swarm = Arc::new(Recorder {
            told: Mutex::default(),
            events: broadcast::Sender::new(16),
            flush: Arc::default(),
        });
        let options = Options { no_announce, swarm: Some(swarm.clone()), ..Options::default() };
        let server = Server::new(store.clone(), options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("n.sock");
        let endpoint = ::hyperspace::Endpoint::Unix(socket.clone());
        let listener = ::hyperspace::listen::Listener::bind(endpoint).await.unwrap();
        let accepting = server.clone();
        tokio::spawn(async move { accepting.accept(&listener).await });
        Self { server, swarm, socket, _folder: folder }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.socket).await
    }

    fn told(&self) -> Vec<(u8, Presence)> {
        std::mem::take(&mut *self.swarm.told.lock())
    }
}

const NEITHER: Presence = Presence { announce: false, lookup: false };
const ANNOUNCE: Presence = Presence { announce: true, lookup: false };
const LOOKUP: Presence = Presence { announce: false, lookup: true };
const BOTH: Presence = Presence { announce: true, lookup: true };

fn topic(topic: u8) -> Bytes {
    vec![topic; 32].into()
}

/// Nothing is said of what is `None`.
fn wish(
    t: u8,
    announce: Option<bool>,
    lookup: Option<bool>,
    remember: Option<bool>,
) -> ConfigureNetworkRequest {
    let configuration = NetworkStatus { discovery_key: topic(t), announce, lookup, remember };
    ConfigureNetworkRequest { configuration, flush: None, copy_from: None, overwrite: None }
}

fn set(t: u8, presence: Presence, remember: bool) -> ConfigureNetworkRequest {
    wish(t, Some(presence.announce), Some(presence.lookup), Some(remember))
}

fn shown(status: Option<NetworkStatus>) -> Option<(u8, Presence, bool)> {
    status.map(|s| {
        let presence = Presence { announce: s.announce.unwrap(), lookup: s.lookup.unwrap() };
        (s.discovery_key[0], presence, s.remember.unwrap())
    })
}

async fn configure(c: &mut Client, request: ConfigureNetworkRequest) -> Option<(u8, Presence, bool)> {
    shown(c.call::<network::Configure>(&request).await.unwrap().status)
}

async fn status(c: &mut Client, t: u8) -> Option<(u8, Presence, bool)> {
    let request = NetworkStatusRequest { discovery_key: topic(t) };
    shown(c.call::<network::Status>(&request).await.unwrap().status)
}

#[tokio::test]
async fn wishes_are_added_up_and_go_with_their_session() {
    let server = Networked::start(&hypercore::Corestore::memory().unwrap(), false).await;
    let (mut a, mut b) = (server.client().await, server.client().await);
    assert_eq!(configure(&mut a, set(1, ANNOUNCE, false)).await, Some((1, ANNOUNCE, false)));
    assert_eq!(configure(&mut b, set(1, LOOKUP, false)).await, Some((1, BOTH, false)));
    assert_eq!(configure(&mut b, set(1, LOOKUP, false)).await, Some((1, BOTH, false)));
    assert_eq!(server.told(), [(1, ANNOUNCE), (1, BOTH)], "the swarm hears of changes only");
    assert_eq!(configure(&mut a, set(1, NEITHER, false)).await, Some((1, LOOKUP, false)));
    assert_eq!(configure(&mut a, set(1, ANNOUNCE, false)).await, Some((1, BOTH, false)));
    assert_eq!(configure(&mut b, set(2, LOOKUP, false)).await, Some((2, LOOKUP, false)));
    let mut all = a.call::<network::AllStatuses>(&Void {}).await.unwrap().statuses;
    all.sort_by_key(|s| s.discovery_key[0]);
    let all: Vec<_> = all.into_iter().map(|s| shown(Some(s)).unwrap()).collect();
    assert_eq!(all, [(1, BOTH, false), (2, LOOKUP, false)]);
    server.told();
    drop(a);
    while status(&mut b, 1).await != Some((1, LOOKUP, false)) {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.told(), [(1, LOOKUP)]);
    assert_eq!(configure(&mut b, set(1, NEITHER, false)).await, None);
    assert_eq!(status(&mut b, 1).await, None);
    assert_eq!(server.told(), [(1, NEITHER)]);
}

#[tokio::test]
async fn copying_and_overwriting() {
    let server = Networked::start(&hypercore::Corestore::memory().unwrap(), false).await;
    let mut c = server.client().await;
    configure(&mut c, set(1, ANNOUNCE, true)).await;
    let copy = |t, announce, lookup, remember| ConfigureNetworkRequest {
        copy_from: Some(topic(1)),
        ..wish(t, announce, lookup, remember)
    };
    // What is not said is copied; what is said is not.
    assert_eq!(configure(&mut c, copy(2, None, None, None)).await, Some((2, ANNOUNCE, true)));
    assert_eq!(configure(&mut c, copy(3, None, Some(true), None)).await, Some((3, BOTH, true)));
    assert_eq!(configure(&mut c, copy(4, Some(false), None, None)).await, None);
    assert_eq!(configure(&mut c, copy(5, None, None, Some(false))).await, Some((5, ANNOUNCE, false)));
    // Nothing to copy from; nothing said.
    let from_nowhere =
        ConfigureNetworkRequest { copy_from: Some(topic(99)), ..wish(6, None, Some(true), None) };
    assert_eq!(configure(&mut c, from_nowhere).await, Some((6, LOOKUP, false)));
    assert_eq!(configure(&mut c, wish(7, None, None, None)).await, None);
    // An existing configuration stays, when that is asked for.
    let timid = |t| ConfigureNetworkRequest { overwrite: Some(false), ..set(t, LOOKUP, false) };
    assert_eq!(configure(&mut c, timid(1)).await, Some((1, ANNOUNCE, true)));
    assert_eq!(configure(&mut c, timid(8)).await, Some((8, LOOKUP, false)));
    assert_eq!(configure(&mut c, set(1, LOOKUP, false)).await, Some((1, LOOKUP, false)));
}

#[tokio::test]
async fn what_is_remembered_comes_back() {
    let store = hypercore::Corestore::memory().unwrap();
    let server = Networked::start(&store, false).await;
    let mut c = server.client().await;
    configure(&mut c, set(1, BOTH, true)).await;
    configure(&mut c, set(2, LOOKUP, true)).await;
    configure(&mut c, set(3, ANNOUNCE, true)).await;
    configure(&mut c, set(4, BOTH, false)).await;
    // Forgotten; changed but not forgotten; changed.
    configure(&mut c, set(3, NEITHER, true)).await;
    configure(&mut c, set(1, NEITHER, false)).await;
    configure(&mut c, set(2, BOTH, true)).await;
    configure(&mut c, set(2, LOOKUP, true)).await;
    // The wish of a session counts while it lives, what is remembered afterwards.
    assert_eq!(status(&mut c, 1).await, None);
    drop(c);
    let mut d = server.client().await;
    while status(&mut d, 1).await.is_none() {
        tokio::task::yield_now().await;
    }
    assert_eq!(status(&mut d, 1).await, Some((1, BOTH, true)));
    assert_eq!(status(&mut d, 4).await, None);

    // Lookup-only ones too; with --no-announce nothing is announced.
    for (no_announce, first) in [(false, BOTH), (true, LOOKUP)] {
        let again = Networked::start(&store, no_announce).await;
        let mut told = again.told();
        told.sort_by_key(|(t, _)| *t);
        assert_eq!(told, [(1, first), (2, LOOKUP)]);
        let mut c = again.client().await;
        assert_eq!(status(&mut c, 1).await, Some((1, first, true)));
        if no_announce {
            assert_eq!(configure(&mut c, set(9, BOTH, false)).await, Some((9, LOOKUP, false)));
        }
    }
}

#[tokio::test]
async fn many_changes_are_compacted() {
    let store = hypercore::Corestore::memory().unwrap();
    let server = Networked::start(&store, false).await;
    let mut c = server.client().await;
    for round in 0..1500u32 {
        configure(&mut c, set((round % 7) as u8, if round % 2 == 0 { BOTH } else { LOOKUP }, true)).await;
    }
    configure(&mut c, set(3, NEITHER, true)).await;
    use hyperspace_api::{Core, Corestore, OpenTarget};
    let log = store.open(OpenTarget::Name("@hyperspace/networks".into())).await.unwrap();
    assert!(log.downloaded(0, log.length()).await.unwrap() < 1100);
    let again = Networked::start(&store, false).await;
    let mut topics: Vec<_> = again.told().into_iter().map(|(t, _)| t).collect();
    topics.sort_unstable();
    assert_eq!(topics, [0, 1, 2, 4, 5, 6]);
}

#[tokio::test]
async fn a_flush_waits_and_nothing_else_does() {
    let server = Networked::start(&hypercore::Corestore::memory().unwrap(), false).await;
    let mut c = server.client().await;
    let flushing = ConfigureNetworkRequest { flush: Some(true), ..set(1, BOTH, false) };
    let id = c.ask::<network::Configure>(&flushing).await;
    let status_first = c.call::<hyperspace_schema::methods::hyperspace::Status>(&Void {}).await.unwrap();
    assert_eq!(status_first.remote_address.as_deref(), Some("192.0.2.1:49737"));
    assert_eq!(status_first.holepunchable, Some(true));
    server.swarm.flush.notify_waiters();
    server.swarm.flush.notify_one();
    assert!(c.answer::<network::Configure>(id).await.unwrap().status.is_some());
    // A client that leaves meanwhile does not keep the server from closing.
    c.ask::<network::Configure>(&ConfigureNetworkRequest { flush: Some(true), ..set(2, BOTH, false) }).await;
    drop(c);
    tokio::time::timeout(PATIENCE, server.server.close()).await.unwrap().ok();
}

#[tokio::test]
async fn everybody_hears_of_peers() {
    let server = Networked::start(&hypercore::Corestore::memory().unwrap(), false).await;
    let (mut a, mut b) = (server.client().await, server.client().await);
    a.events().await;
    b.events().await;
    let peer = Peer { remote_public_key: [9; 32].into(), remote_address: "x".into(), kind: "udx".into() };
    server.swarm.events.send(SwarmEvent::PeerAdd(peer.clone())).unwrap();
    server.swarm.events.send(SwarmEvent::PeerRemove(peer)).unwrap();
    for c in [&mut a, &mut b] {
        assert!(
            matches!(c.event().await, Event::OnPeerAdd(e) if e.id == 0 && e.peer.remote_public_key[0] == 9)
        );
        assert!(matches!(c.event().await, Event::OnNetworkPeerRemove(e) if e.peer.r#type == "udx"));
    }
}

#[tokio::test]
async fn the_identity_follows_from_the_primary_key() {
    let mut keys = Vec::new();
    for seed in [1, 1, 2] {
        let options = hypercore::StoreOptions { primary_key: Some([seed; 32]), ..Default::default() };
        let store = hypercore::Corestore::memory_with(options).unwrap();
        let server = Networked::start(&store, false).await;
        let mut c = server.client().await;
        keys.push(c.call::<network::Open>(&Void {}).await.unwrap().public_key);
    }
    assert_eq!(keys[0], keys[1]);
    assert_ne!(keys[0], keys[2]);
}
