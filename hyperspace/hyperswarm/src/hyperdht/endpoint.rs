//! A node on sockets, for tokio: what a program holds in its hands.

mod peers;

pub use peers::{DialOptions, Dialed, Server};

use super::connect::Punches;
use super::driver::{self, Bound, Dropped, Request};
use super::node::{Dht, Event};
use super::operations::{Announcement, OperationId, Summary};
use super::records::{MutablePut, MutableRecord, Peer, Peers};
use super::storage::Stored;
use crate::dht::Id;
use crate::dht::bootstrap::BootstrapNode;
use crate::key_pair::{KeyPair, PublicKey};
use crate::udx::Udx;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot, watch};

/// The port that a node has if it is free.
pub const PORT: u16 = 49737;

/// Requests of the program that the node has not looked at yet.
const QUEUE: usize = 64;

/// How a node begins.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes that are always there. None: this one is alone until others find it. The
    /// public ones are [`PUBLIC`](crate::dht::bootstrap::PUBLIC).
    pub bootstrap: Vec<BootstrapNode>,
    /// A file in which nodes are remembered for the next start.
    pub remember: Option<PathBuf>,
    /// Which address to bind.
    pub host: Ipv4Addr,
    /// Which port. If it is taken, one of the four after it, or any; any if it is 0.
    pub port: u16,
    /// `true`: never found by others; `false`: found as soon as the own address is known;
    /// `None`: once it has shown itself to be lasting.
    pub ephemeral: Option<bool>,
    /// Can strangers not reach it?
    pub firewalled: bool,
    /// Is that found out? Otherwise, `firewalled` is taken for true.
    pub test_reachability: bool,
    /// The first of a network: others see it at the address that it binds.
    pub is_first: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bootstrap: Vec::new(),
            remember: None,
            host: Ipv4Addr::UNSPECIFIED,
            port: PORT,
            ephemeral: None,
            firewalled: true,
            test_reachability: true,
            is_first: false,
        }
    }
}

/// Why something could not be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DhtError {
    /// No node has taken what was to be kept.
    #[error("too few nodes of the DHT responded")]
    TooFewNodes,
    /// The node has been closed.
    #[error("the DHT node is closed")]
    Closed,
    /// The node is suspended.
    #[error("the DHT node is suspended")]
    Suspended,
    /// There is a server of that key already.
    #[error("there is a server of that key already")]
    AlreadyListening,
}

/// What stands between a node and the others, as far as it knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatKind {
    /// It does not.
    #[default]
    Unknown,
    /// Nothing: strangers reach it.
    Open,
    /// All see it at the same address.
    Consistent,
    /// Each sees it at another port.
    Random,
}

/// How a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Has it found its place?
    pub ready: bool,
    /// Its id, if others may know it.
    pub id: Option<Id>,
    /// Does it take it that strangers cannot reach it?
    pub firewalled: bool,
    /// Does anybody answer?
    pub online: bool,
    /// Has it been suspended?
    pub suspended: bool,
    /// Where strangers reach it, if that is known.
    pub remote_address: Option<SocketAddrV4>,
    /// What stands before it.
    pub nat: NatKind,
    /// How many nodes it knows.
    pub known: usize,
    /// How much it keeps for others.
    pub stored: Stored,
    /// How it got through to peers.
    pub punches: Punches,
    /// For how many keys it listens.
    pub servers: usize,
    /// How often the network was there again, or another one, or the machine has slept:
    /// each time, connections may be dead, and peers elsewhere.
    pub renewals: u64,
}

/// A node of the DHT that runs in a task of its own, until it is closed, or the last handle
/// to it is dropped. A clone is another handle.
#[derive(Clone, Debug)]
pub struct Endpoint {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    handle: Handle,
    status: watch::Receiver<Status>,
    address: SocketAddrV4,
    task: tokio::task::AbortHandle,
}

/// By which the task is told what to do. Does not keep it.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    requests: mpsc::Sender<Request>,
    /// Each is sent once for something that was begun by a request.
    dropped: mpsc::UnboundedSender<Dropped>,
    udx: Udx,
}

impl Endpoint {
    /// Binds the sockets, and begins to look for other nodes.
    pub async fn bind(options: Options) -> io::Result<Self> {
        let bound = Bound::new(options).await?;
        let address = bound.address();
        let udx = bound.udx();
        let (requests, receiver) = mpsc::channel(QUEUE);
        let (dropped, of_dropped) = mpsc::unbounded_channel();
        let (sender, status) = watch::channel(Status::default());
        let handle = Handle { requests, dropped, udx };
        let run = driver::run(bound, handle.clone(), receiver, of_dropped, sender);
        let task = tokio::spawn(run).abort_handle();
        Ok(Self { inner: Arc::new(Inner { handle, status, address, task }) })
    }

    /// Where others find it, as it sees itself. Bound to no address, it is there on this
    /// machine.
    pub fn local_address(&self) -> SocketAddrV4 {
        self.inner.address
    }

    /// Its sockets and streams.
    pub fn udx(&self) -> &Udx {
        &self.inner.handle.udx
    }

    /// How it is.
    pub fn status(&self) -> Status {
        self.inner.status.borrow().clone()
    }

    /// What stands before it, to be asked by somebody who does not keep it open.
    pub(crate) fn watch_nat(&self) -> impl Fn() -> NatKind + Send + Sync + use<> {
        let status = self.inner.status.clone();
        move || status.borrow().nat
    }

    /// Waits until its status is as wanted. `false` if it was closed before.
    pub async fn wait_until(&self, wanted: impl FnMut(&Status) -> bool) -> bool {
        self.inner.status.clone().wait_for(wanted).await.is_ok()
    }

    /// Waits until it has found its place.
    pub async fn ready(&self) -> bool {
        self.wait_until(|status| status.ready).await
    }

    /// Begins an operation, whose events come in what is given.
    async fn begin(
        &self,
        act: impl FnOnce(&mut Dht, Instant) -> OperationId + Send + 'static,
    ) -> Result<mpsc::UnboundedReceiver<Event>, DhtError> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let request = Request::Begin { act: Box::new(act), events: sender };
        self.request(request).await?;
        Ok(receiver)
    }

    async fn request(&self, request: Request) -> Result<(), DhtError> {
        self.inner.handle.requests.send(request).await.map_err(|_| DhtError::Closed)
    }

    /// Why nothing more comes.
    fn why(&self) -> DhtError {
        let suspended = self.inner.status.borrow().suspended && !self.inner.handle.requests.is_closed();
        if suspended { DhtError::Suspended } else { DhtError::Closed }
    }

    /// Runs an operation to its end.
    async fn run<T>(
        &self,
        act: impl FnOnce(&mut Dht, Instant) -> OperationId + Send + 'static,
        mut wanted: impl FnMut(Event) -> Option<T>,
    ) -> Result<(Vec<T>, Summary), DhtError> {
        let mut events = self.begin(act).await?;
        let mut given = Vec::new();
        while let Some(event) = events.recv().await {
            match event {
                Event::Finished { summary, .. } => return Ok((given, summary)),
                event => given.extend(wanted(event)),
            }
        }
        Err(self.why())
    }

    async fn run_commit(
        &self,
        act: impl FnOnce(&mut Dht, Instant) -> OperationId + Send + 'static,
    ) -> Result<Summary, DhtError> {
        let (_, summary) = self.run(act, |_| None::<()>).await?;
        if summary.outcome.committed == 0 { Err(DhtError::TooFewNodes) } else { Ok(summary) }
    }

    /// Who is interested in a topic?
    pub async fn lookup(&self, topic: Id) -> Result<Lookup, DhtError> {
        Ok(Lookup { events: self.begin(move |dht, now| dht.lookup(now, topic)).await?, summary: None })
    }

    /// The same, beginning with some nodes: the closest of the last time.
    pub async fn lookup_from(&self, topic: Id, nodes: Vec<SocketAddrV4>) -> Result<Lookup, DhtError> {
        let events = self.begin(move |dht, now| dht.lookup_from(now, topic, nodes)).await?;
        Ok(Lookup { events, summary: None })
    }

    /// Announces, and tells who else is interested in the topic. It is done when that is
    /// over: [`Lookup::summary`] tells who keeps it.
    pub async fn announcing(&self, announcement: Announcement) -> Result<Lookup, DhtError> {
        let events = self.begin(move |dht, now| dht.announce(now, announcement)).await?;
        Ok(Lookup { events, summary: None })
    }

    /// Takes that back, and tells who else is interested in the topic.
    pub async fn unannouncing(&self, target: Id, pair: &KeyPair) -> Result<Lookup, DhtError> {
        let pair = pair.clone();
        let events = self.begin(move |dht, now| dht.unannounce(now, target, &pair)).await?;
        Ok(Lookup { events, summary: None })
    }

    /// Which nodes relay to the holder of that key?
    pub async fn find_peer(&self, key: &PublicKey) -> Result<Vec<(SocketAddrV4, Peer)>, DhtError> {
        let key = *key;
        let wanted = |event| match event {
            Event::Peer { from, peer, .. } => Some((from, peer)),
            _ => None,
        };
        Ok(self.run(move |dht, now| dht.find_peer(now, &key), wanted).await?.0)
    }

    /// Tells the nodes closest to the target that we are interested, or who we are.
    pub async fn announce(&self, announcement: Announcement) -> Result<Summary, DhtError> {
        self.run_commit(move |dht, now| dht.announce(now, announcement)).await
    }

    /// Takes that back, wherever it is found.
    pub async fn unannounce(&self, target: Id, pair: &KeyPair) -> Result<Summary, DhtError> {
        let pair = pair.clone();
        Ok(self.run(move |dht, now| dht.unannounce(now, target, &pair), |_| None::<()>).await?.1)
    }

    /// The same, but asks each of those nodes only once, and no others.
    pub async fn unannounce_at(
        &self,
        target: Id,
        pair: &KeyPair,
        nodes: Vec<SocketAddrV4>,
    ) -> Result<Summary, DhtError> {
        let pair = pair.clone();
        let act = move |dht: &mut Dht, now| dht.unannounce_at(now, target, &pair, nodes);
        Ok(self.run(act, |_| None::<()>).await?.1)
    }

    /// Looks for what has that hash.
    pub async fn immutable_get(&self, target: Id) -> Result<Option<Vec<u8>>, DhtError> {
        let wanted = |event| match event {
            Event::Immutable { value, .. } => Some(value),
            _ => None,
        };
        Ok(self.run(move |dht, now| dht.immutable_get(now, target), wanted).await?.0.pop())
    }

    /// Has a value kept under its hash.
    pub async fn immutable_put(&self, value: Vec<u8>) -> Result<Summary, DhtError> {
        self.run_commit(move |dht, now| dht.immutable_put(now, value)).await
    }

    /// Looks for what a key says, of that number or newer: the first that is found, or the
    /// latest of all.
    pub async fn mutable_get(
        &self,
        key: &PublicKey,
        seq: u64,
        latest: bool,
    ) -> Result<Option<MutableRecord>, DhtError> {
        let key = *key;
        let wanted = |event| match event {
            Event::Mutable { record, .. } => Some(record),
            _ => None,
        };
        Ok(self.run(move |dht, now| dht.mutable_get(now, &key, seq, latest), wanted).await?.0.pop())
    }

    /// Has a record of a key kept.
    pub async fn mutable_put(&self, pair: &KeyPair, seq: u64, value: Vec<u8>) -> Result<Summary, DhtError> {
        let put = MutablePut { public_key: pair.public_key(), record: MutableRecord::sign(pair, seq, value) };
        self.run_commit(move |dht, now| dht.mutable_put(now, put)).await
    }

    /// Takes back what its servers have announced, fails what is being dialled, gives up all
    /// connections, and then is silent until [`resume`](Self::resume): once this returns, no
    /// datagram leaves by its sockets. They stay bound, so that it is back where it was.
    pub async fn suspend(&self) -> Result<(), DhtError> {
        let (done, wait) = oneshot::channel();
        self.request(Request::Suspend(done)).await?;
        // Resumed meanwhile, it is as if it had not been.
        let _ = wait.await;
        Ok(())
    }

    /// Is there again: its servers announce themselves anew.
    pub async fn resume(&self) -> Result<(), DhtError> {
        self.request(Request::Resume).await
    }

    /// Says that the network of this machine is another: servers announce themselves anew.
    /// What can be seen of that is seen without being told.
    pub async fn network_changed(&self) -> Result<(), DhtError> {
        self.request(Request::NetworkChanged).await
    }

    /// Closes it, once what its servers have announced is taken back and the nodes that it
    /// knows are remembered. To other handles it is closed then.
    pub async fn close(self) {
        let (done, wait) = oneshot::channel();
        if self.request(Request::Close(done)).await.is_ok() {
            // It is gone either way.
            let _ = wait.await;
        }
        self.inner.handle.requests.closed().await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A lookup that is under way. Dropped, it is ended.
#[derive(Debug)]
pub struct Lookup {
    events: mpsc::UnboundedReceiver<Event>,
    summary: Option<Summary>,
}

impl Lookup {
    /// What the next node says, and which. `None` once it is over.
    pub async fn next(&mut self) -> Option<(SocketAddrV4, Peers)> {
        loop {
            match self.events.recv().await? {
                Event::Peers { from, peers, .. } => return Some((from, peers)),
                Event::Finished { summary, .. } => self.summary = Some(summary),
                _ => {}
            }
        }
    }

    /// How it went, once it is over.
    pub fn summary(&self) -> Option<&Summary> {
        self.summary.as_ref()
    }
}
