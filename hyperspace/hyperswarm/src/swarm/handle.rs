//! A swarm, as a program holds it.

use super::config::Config;
use super::core::Core;
use super::driver::{Driver, EVENTS};
use super::gate::{Firewall, Gate};
use super::net::Net;
use super::types::{ConnectionId, Join, PeerInfo, SessionId, Stats, TopicStatus, WaitId};
use crate::connection::{self, Connection};
use crate::dht::Id;
use crate::key_pair::{KeyPair, PublicKey};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long the end of a swarm may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// How a swarm begins.
#[derive(Clone)]
pub struct Options {
    /// Who we are: the key that we are dialled by, and dial with.
    pub pair: KeyPair,
    /// How it behaves.
    pub config: Config,
    /// Who is refused.
    pub firewall: Option<Firewall>,
    /// Peers who pass packets on if there is no other way, one of them at a time: see
    /// [`blind_relay`](crate::blind_relay).
    pub relay_through: Vec<PublicKey>,
    /// How connections are.
    pub connection: connection::Options,
}

impl Options {
    /// What is usual.
    pub fn new(pair: KeyPair) -> Self {
        Self {
            pair,
            config: Config::default(),
            firewall: None,
            relay_through: Vec::new(),
            connection: connection::Options::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("pair", &self.pair)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// A connection that has opened.
#[derive(Debug)]
pub struct Connected {
    /// Names it: [`Event::Closed`] does so.
    pub id: ConnectionId,
    /// It is the program's, who asks it for its events and pairs channels before. Dropped, it
    /// ends.
    pub connection: Connection,
    /// With whom.
    pub peer: PeerInfo,
    /// Where the peer is, as far as we see.
    pub remote_address: SocketAddr,
    /// Packets go through somebody else, who cannot read them.
    pub is_relayed: bool,
}

/// What a swarm tells.
#[derive(Debug)]
pub enum Event {
    /// A connection has opened.
    Connection(Connected),
    /// A connection is over. (The connection itself tells so, too, and why.)
    Closed(ConnectionId),
    /// A peer was banned: by the program, or because the firewall refused it when it was to
    /// be dialled.
    Banned(PublicKey),
}

/// What a handle wants of the task.
pub(super) enum Command {
    Join(SessionId, Id, Join),
    Leave(SessionId, Option<(WaitId, oneshot::Sender<bool>)>),
    Refresh(SessionId),
    FlushTopic(SessionId, WaitId, oneshot::Sender<bool>),
    Flush(WaitId, oneshot::Sender<bool>),
    JoinPeer(PublicKey),
    LeavePeer(PublicKey),
    Ban(PublicKey),
    Unban(PublicKey),
    NetworkChanged,
    Suspend(WaitId, oneshot::Sender<bool>),
    Resume,
    Close(WaitId, oneshot::Sender<bool>),
    Expect(Option<Id>, Duration, WaitId, oneshot::Sender<bool>),
    Search(Option<Id>, Duration),
    Status(oneshot::Sender<Status>),
    Stop,
}

/// Whether what was wanted has come about; `false` if the swarm is no more.
struct Waiting(oneshot::Receiver<bool>);

impl Future for Waiting {
    type Output = bool;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        Pin::new(&mut self.0).poll(cx).map(|well| well.unwrap_or(false))
    }
}

/// How a swarm is.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// The topics that are joined.
    pub topics: Vec<TopicStatus>,
    /// The connections that are open.
    pub connections: Vec<ConnectionStatus>,
    /// Everybody who is known.
    pub peers: Vec<PeerInfo>,
    /// What has happened, and how many there are of what.
    pub stats: Stats,
}

/// An open connection.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// Names it.
    pub id: ConnectionId,
    /// With whom.
    pub public_key: PublicKey,
    /// Where the peer is, as far as we see.
    pub remote_address: SocketAddr,
    /// Did we dial it?
    pub is_initiator: bool,
    /// Packets go through somebody else.
    pub is_relayed: bool,
    /// Since when it is open.
    pub since: Instant,
}

/// A swarm: joins topics, and so on. Cheap to clone, and for use from any task; what it
/// returns to be awaited, borrows nothing of it. Once the swarm is closed, or its [`Events`]
/// are dropped, nothing of it has any effect.
#[derive(Clone)]
pub struct Swarm {
    commands: mpsc::UnboundedSender<Command>,
    next: Arc<AtomicU64>,
    stats: watch::Receiver<Stats>,
    gate: Arc<Gate>,
}

impl Swarm {
    /// A swarm by that network, and what it tells. It runs in a task of its own, until it is
    /// closed or [`Events`] is dropped.
    ///
    /// # Errors
    /// If the system gives no random numbers.
    ///
    /// # Panics
    /// Outside of tokio.
    pub fn over<N: Net>(net: Arc<N>, options: Options) -> io::Result<(Self, Events)> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let now = tokio::time::Instant::now().into_std();
        let gate = Arc::new(Gate::new(options.pair.public_key(), options.firewall.clone()));
        let core = Core::new(options.config.clone(), Arc::clone(&gate), seed, now);
        let (commands, receiver) = mpsc::unbounded_channel();
        let (sender, events) = mpsc::channel(EVENTS);
        let (stats, watch) = watch::channel(Stats::default());
        let driver = Driver::new(net, options, Arc::clone(&gate), core, stats);
        let task = tokio::spawn(driver.run(receiver, sender));
        let swarm = Self { commands, next: Arc::new(AtomicU64::new(1)), stats: watch, gate };
        Ok((swarm, Events { events, task }))
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    fn send(&self, command: Command) {
        // If the swarm is no more, there is nobody to be told.
        let _ = self.commands.send(command);
    }

    /// Has something done now, and waits for its end.
    fn wait(&self, command: impl FnOnce(WaitId, oneshot::Sender<bool>) -> Command) -> Waiting {
        let (sender, receiver) = oneshot::channel();
        self.send(command(WaitId(self.number()), sender));
        Waiting(receiver)
    }

    /// Our key.
    pub fn public_key(&self) -> PublicKey {
        *self.gate.key()
    }

    /// Wants a topic: for as long as what this returns is held. Many may want the same one,
    /// each in its own way: what any of them wants is done.
    pub fn join(&self, topic: Id, join: Join) -> Discovery {
        let session = SessionId(self.number());
        self.send(Command::Join(session, topic, join));
        Discovery { swarm: self.clone(), session, topic, left: false }
    }

    /// Wants a peer, whatever its topics are.
    pub fn join_peer(&self, key: PublicKey) {
        self.send(Command::JoinPeer(key));
    }

    /// Wants it no more than others. A connection stays.
    pub fn leave_peer(&self, key: PublicKey) {
        self.send(Command::LeavePeer(key));
    }

    /// Never connects with a peer again. A connection that there is stays.
    pub fn ban(&self, key: PublicKey) {
        self.send(Command::Ban(key));
    }

    /// Takes that back.
    pub fn unban(&self, key: PublicKey) {
        self.send(Command::Unban(key));
    }

    /// Waits until all topics are announced and looked up, and whoever was found has been
    /// dialled, with or without success. `false`, if the swarm is suspended or closed before.
    /// While [`Events`] are not taken, this may not end.
    pub fn flush(&self) -> impl Future<Output = bool> + Send + use<> {
        self.wait(Command::Flush)
    }

    /// Waits until whoever was found of that topic, or of any, has been dialled once, with or
    /// without success. Who has not answered after `patience` is not waited for; to reach who
    /// has may take up to a minute and a half, since a way through firewalls may have to be
    /// guessed. `false`, if the swarm is no more.
    pub fn expecting(
        &self,
        topic: Option<Id>,
        patience: Duration,
    ) -> impl Future<Output = bool> + Send + use<> {
        self.wait(move |id, sender| Command::Expect(topic, patience, id, sender))
    }

    /// Looks that topic up anew, or all that are, unless a peer of it is connected, or its last
    /// round began less than `pause` ago. Whoever waits for the round or for who is found, from
    /// now on, waits for these.
    pub fn search(&self, topic: Option<Id>, pause: Duration) {
        self.send(Command::Search(topic, pause));
    }

    /// The network is another one: connections may be dead, and peers elsewhere. (What the
    /// DHT notices, need not be told.)
    pub fn network_changed(&self) {
        self.send(Command::NetworkChanged);
    }

    /// Withdraws all announcements, gives up all connections, and suspends the network (the
    /// node of the DHT), until it is [resumed](Swarm::resume); topics stay joined. Waits until
    /// the DHT knows and the last datagram has left; `false` if it is resumed before.
    pub fn suspend(&self) -> impl Future<Output = bool> + Send + use<> {
        self.wait(Command::Suspend)
    }

    /// Goes on.
    pub fn resume(&self) {
        self.send(Command::Resume);
    }

    /// How it is. Empty, if it is no more.
    pub fn status(&self) -> impl Future<Output = Status> + Send + use<> {
        let (sender, receiver) = oneshot::channel();
        self.send(Command::Status(sender));
        async { receiver.await.unwrap_or_default() }
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        *self.stats.borrow()
    }

    /// Waits until that is as wanted. `false` if the swarm is no more.
    pub fn wait_until(&self, wanted: impl FnMut(&Stats) -> bool + Send) -> impl Future<Output = bool> + Send {
        let mut stats = self.stats.clone();
        async move { stats.wait_for(wanted).await.is_ok() }
    }

    /// Withdraws everything, and ends all connections; waits until the DHT knows, ten seconds
    /// at most, and the task has ended. [`Events`] need not be taken meanwhile.
    pub fn close(&self) -> impl Future<Output = ()> + Send + use<> {
        let closed = self.wait(Command::Close);
        let commands = self.commands.clone();
        async move {
            // Without a network, nobody can be told.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, closed).await;
            // It may have ended before.
            let _ = commands.send(Command::Stop);
            commands.closed().await;
        }
    }
}

impl fmt::Debug for Swarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Swarm").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// That a topic is wanted. Dropped, it is no more: the DHT is told in the background.
#[derive(Debug)]
pub struct Discovery {
    swarm: Swarm,
    session: SessionId,
    topic: Id,
    left: bool,
}

impl Discovery {
    /// Which topic.
    pub fn topic(&self) -> Id {
        self.topic
    }

    /// Waits until the round that there is has ended: we are announced, and know whoever was
    /// to be found. `false` if nobody answered.
    pub fn flushed(&self) -> impl Future<Output = bool> + Send + use<> {
        let session = self.session;
        self.swarm.wait(move |id, sender| Command::FlushTopic(session, id, sender))
    }

    /// Has a round now, and waits for its end.
    pub fn refresh(&self) -> impl Future<Output = bool> + Send + use<> {
        self.swarm.send(Command::Refresh(self.session));
        self.flushed()
    }

    /// Wants it in another way from now on. Connections stay, and what is announced and
    /// wanted still, stays announced.
    pub fn change(&self, join: Join) {
        self.swarm.send(Command::Join(self.session, self.topic, join));
    }

    /// Wants it no more, and waits until the DHT knows, if nobody else wants it.
    pub fn destroy(mut self) -> impl Future<Output = ()> + Send + use<> {
        self.left = true;
        let session = self.session;
        let left = self.swarm.wait(move |id, sender| Command::Leave(session, Some((id, sender))));
        async {
            left.await;
        }
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        if !self.left {
            self.swarm.send(Command::Leave(self.session, None));
        }
    }
}

/// What a swarm tells, for its one owner. Dropped, the swarm ends at once, and nobody is
/// told: announcements stay in the DHT until they are forgotten.
#[derive(Debug)]
pub struct Events {
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
}

impl Events {
    /// What happens next. `None` once the swarm is closed. May be cancelled.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.task.abort();
    }
}
