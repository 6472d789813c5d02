//! A node on sockets, for tokio: what a program holds in its hands.

use super::driver::{self, Bound, Request};
use super::node::{Dht, Event};
use super::operations::{Announcement, OperationId, Summary};
use super::records::{MutablePut, MutableRecord, Peer, Peers};
use super::storage::Stored;
use crate::dht::Id;
use crate::dht::bootstrap::BootstrapNode;
use crate::key_pair::{KeyPair, PublicKey};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
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
    /// Can strangers not reach it? If they can, this is found out.
    pub firewalled: bool,
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
    /// Where strangers reach it, if that is known.
    pub remote_address: Option<SocketAddrV4>,
    /// How many nodes it knows.
    pub known: usize,
    /// How much it keeps for others.
    pub stored: Stored,
}

/// A node of the DHT that runs in a task of its own, until it is closed or dropped.
#[derive(Debug)]
pub struct Endpoint {
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<Status>,
    address: SocketAddrV4,
    task: tokio::task::JoinHandle<()>,
}

impl Endpoint {
    /// Binds the sockets, and begins to look for other nodes.
    pub async fn bind(options: Options) -> io::Result<Self> {
        let bound = Bound::new(options).await?;
        let address = bound.address();
        let (requests, receiver) = mpsc::channel(QUEUE);
        let (sender, status) = watch::channel(Status::default());
        let task = tokio::spawn(driver::run(bound, receiver, sender));
        Ok(Self { requests, status, address, task })
    }

    /// Where others find it, as it sees itself. Bound to no address, it is there on this
    /// machine.
    pub fn local_address(&self) -> SocketAddrV4 {
        self.address
    }

    /// How it is.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Waits until its status is as wanted. `false` if it was closed before.
    pub async fn wait_until(&self, wanted: impl FnMut(&Status) -> bool) -> bool {
        self.status.clone().wait_for(wanted).await.is_ok()
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
        self.requests.send(request).await.map_err(|_| DhtError::Closed)?;
        Ok(receiver)
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
        Err(DhtError::Closed)
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

    /// Closes it, once the nodes that it knows are remembered.
    pub async fn close(mut self) {
        let (done, wait) = oneshot::channel();
        if self.requests.send(Request::Close(done)).await.is_ok() {
            // It is gone either way.
            let _ = wait.await;
        }
        let _ = (&mut self.task).await;
    }
}

impl Drop for Endpoint {
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
