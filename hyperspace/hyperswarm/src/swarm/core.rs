//! The mind of a swarm: knows neither sockets nor the time, and is driven by whoever has
//! them.
//!
//! What is wanted and what has happened is told by methods; what is to be done comes from
//! [`Core::poll_action`], what has come of it from [`Core::poll_event`]; and
//! [`Core::handle_timeout`] is called at [`Core::poll_timeout`].

mod connections;
mod dialling;
mod flushing;
mod reachable;
mod topic;
mod topics;

use super::config::Config;
use super::gate::Gate;
use super::peer::Peer;
use super::queue::Queue;
use super::retry::Retries;
use super::types::{
    Action, CloseReason, ConnectionId, Event, PeerInfo, QueryId, SessionId, Stats, TopicStatus, WaitId,
};
use crate::dht::Id;
use crate::dht::random::Random;
use crate::key_pair::PublicKey;
use connections::{Connection, State};
use flushing::{Expecting, Flush};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use topic::{Stage, Topic};

/// How long a server that could not be had is not tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(10);

/// Are we reachable under our key?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    No,
    Starting,
    Yes,
    /// It did not work; tried again at that time.
    Failed(Instant),
    Stopping,
}

/// May something be sent?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    No,
    /// Since [`Action::Rest`].
    Beginning,
    Yes,
    /// Since [`Action::Wake`].
    Ending,
}

/// See the [module](super).
pub struct Core {
    config: Config,
    gate: Arc<Gate>,
    random: Random,
    topics: BTreeMap<Id, Topic>,
    /// Topics have numbers, by which peers remember them.
    numbers: HashMap<u32, Id>,
    sessions: HashMap<SessionId, Id>,
    queries: HashMap<QueryId, Id>,
    /// Topics whose turn it is next to be looked up.
    turn: VecDeque<Id>,
    timers: BTreeSet<(Instant, Id)>,
    server: Server,
    peers: BTreeMap<PublicKey, Peer>,
    explicit: BTreeSet<PublicKey>,
    queue: Queue,
    retries: Retries,
    connections: BTreeMap<ConnectionId, Connection>,
    by_key: HashMap<PublicKey, ConnectionId>,
    connecting: usize,
    clients: usize,
    servers: usize,
    flushes: Vec<Flush>,
    flush_tick: u64,
    expecting: Vec<Expecting>,
    /// Who waits until the swarm is suspended or closed.
    stopping: Vec<WaitId>,
    suspended: bool,
    rest: Rest,
    closed: bool,
    held: bool,
    next_number: u64,
    actions: VecDeque<Action>,
    events: VecDeque<Event>,
    stats: Stats,
}

impl Core {
    /// A swarm that has joined nothing yet. The same seed, the same choices.
    pub fn new(config: Config, gate: Arc<Gate>, seed: [u8; 32], now: Instant) -> Self {
        let mut random = Random::new(seed);
        let retries = Retries::new(&config, now, &mut random);
        Self {
            config,
            gate,
            random,
            topics: BTreeMap::new(),
            numbers: HashMap::new(),
            sessions: HashMap::new(),
            queries: HashMap::new(),
            turn: VecDeque::new(),
            timers: BTreeSet::new(),
            server: Server::No,
            peers: BTreeMap::new(),
            explicit: BTreeSet::new(),
            queue: Queue::default(),
            retries,
            connections: BTreeMap::new(),
            by_key: HashMap::new(),
            connecting: 0,
            clients: 0,
            servers: 0,
            flushes: Vec::new(),
            flush_tick: 0,
            expecting: Vec::new(),
            stopping: Vec::new(),
            suspended: false,
            rest: Rest::No,
            closed: false,
            held: false,
            next_number: 0,
            actions: VecDeque::new(),
            events: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// What is to be done next.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// What has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        if self.events.is_empty() {
            self.expected_maybe();
        }
        self.events.pop_front()
    }

    /// When something is to be done.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_stopped() {
            return None;
        }
        let topic = self.timers.first().map(|(at, _)| *at);
        let server = match self.server {
            Server::Failed(at) if self.wants_server() => Some(at),
            _ => None,
        };
        [topic, self.retries.poll_timeout(), server, self.patience_ends()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.is_stopped() {
            return;
        }
        self.end_patience(now);
        let released = self.retries.release(now);
        self.requeue(released);
        if matches!(self.server, Server::Failed(at) if at <= now) && self.wants_server() {
            self.server = Server::Starting;
            self.actions.push_back(Action::Listen);
        }
        self.topics_due(now);
        self.drain(now);
    }

    /// The network is another one, or there again, or the machine has slept: connections may
    /// be dead, and peers elsewhere.
    pub fn network_changed(&mut self, now: Instant) {
        if self.is_stopped() {
            return;
        }
        // Before anything else, find out which of them are dead.
        let open = self.connections.iter().filter(|(_, connection)| connection.state.is_open());
        self.actions.extend(open.map(|(id, _)| Action::Probe(*id)));
        if matches!(self.server, Server::Failed(_)) && self.wants_server() {
            self.server = Server::Starting;
            self.actions.push_back(Action::Listen);
        }
        let topics: Vec<Id> = self.topics.keys().copied().collect();
        for topic in topics {
            // Where we are announced may be elsewhere: to look is not enough.
            if let Some(topic) = self.topics.get_mut(&topic) {
                topic.look_again = false;
            }
            self.refresh_topic(now, &topic);
        }
        let waiting = self.retries.release_all();
        self.requeue(waiting);
        self.drain(now);
    }

    /// Nobody takes the connections that there are: with `true`, nobody is dialled.
    pub fn hold(&mut self, now: Instant, held: bool) {
        self.held = held;
        self.drain(now);
    }

    /// Is nobody dialled, since nobody takes connections?
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Withdraws everything, and gives up all connections, until [`Core::resume`]. Told to
    /// `wait` when the DHT knows, and nothing is sent any more.
    pub fn suspend(&mut self, now: Instant, wait: WaitId) {
        if !self.suspended {
            self.suspended = true;
            self.close_all(now);
            self.forget_waiting(now);
            self.withdraw_all(now);
        }
        self.stopping.push(wait);
        self.stopped_maybe(now);
    }

    /// Goes on after [`Core::suspend`].
    pub fn resume(&mut self, now: Instant) {
        if !std::mem::take(&mut self.suspended) || self.closed {
            return;
        }
        for wait in std::mem::take(&mut self.stopping) {
            self.events.push_back(Event::Done(wait, false));
        }
        match self.rest {
            Rest::No => self.go_on(now),
            Rest::Beginning | Rest::Yes => {
                self.rest = Rest::Ending;
                self.actions.push_back(Action::Wake);
            }
            Rest::Ending => {}
        }
    }

    fn go_on(&mut self, now: Instant) {
        let topics: Vec<Id> = self.topics.keys().copied().collect();
        for topic in topics {
            self.refresh_topic(now, &topic);
        }
        self.drain(now);
    }

    /// Nothing is sent any more, since [`Action::Rest`].
    pub fn rested(&mut self, now: Instant) {
        if self.rest == Rest::Beginning {
            self.rest = Rest::Yes;
            self.stopped_maybe(now);
        }
    }

    /// Something can be sent again, since [`Action::Wake`].
    pub fn woken(&mut self, now: Instant) {
        if self.rest == Rest::Ending {
            self.rest = Rest::No;
            self.go_on(now);
            self.stopped_maybe(now);
        }
    }

    /// Withdraws everything, and then gives up all connections, for good. Told to `wait`.
    pub fn close(&mut self, now: Instant, wait: WaitId) {
        if !self.closed {
            self.closed = true;
            self.sessions.clear();
            self.topics.values_mut().for_each(Topic::leave_all);
            self.forget_waiting(now);
            self.withdraw_all(now);
        }
        self.stopping.push(wait);
        self.stopped_maybe(now);
    }

    fn withdraw_all(&mut self, now: Instant) {
        let topics: Vec<Id> = self.topics.keys().copied().collect();
        for topic in topics {
            self.withdraw_topic(now, &topic);
        }
        if matches!(self.server, Server::Starting | Server::Yes) {
            self.server = Server::Stopping;
            self.actions.push_back(Action::Unlisten);
        } else if matches!(self.server, Server::Failed(_)) {
            self.server = Server::No;
        }
    }

    /// Nobody is to be dialled any more.
    fn forget_waiting(&mut self, now: Instant) {
        self.queue = Queue::default();
        self.retries = Retries::new(&self.config, now, &mut self.random);
        for peer in self.peers.values_mut() {
            peer.queued = None;
            peer.waiting = None;
        }
        self.forget_idle();
        for flush in std::mem::take(&mut self.flushes) {
            self.events.push_back(Event::Done(flush.wait, false));
        }
    }

    fn close_all(&mut self, now: Instant) {
        let all: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in all {
            self.give_up(now, id, CloseReason::Stopped);
        }
    }

    /// Is everything withdrawn?
    fn stopped_maybe(&mut self, now: Instant) {
        let withdrawn = matches!(self.server, Server::No)
            && self.topics.values().all(|topic| matches!(topic.stage, Stage::Idle));
        if !(self.suspended || self.closed) || !withdrawn || self.stopping.is_empty() {
            return;
        }
        if self.closed {
            self.close_all(now);
        } else if self.rest != Rest::Yes {
            // Peers learn by their connections that these are over.
            if self.rest != Rest::Beginning && self.connections.is_empty() {
                self.rest = Rest::Beginning;
                self.actions.push_back(Action::Rest);
            }
            return;
        }
        for wait in std::mem::take(&mut self.stopping) {
            self.events.push_back(Event::Done(wait, true));
        }
    }

    /// Is it suspended or closed?
    pub fn is_stopped(&self) -> bool {
        self.suspended || self.closed || self.rest != Rest::No
    }

    /// Is it to go on, and cannot send yet?
    fn is_waking(&self) -> bool {
        self.rest == Rest::Ending && !self.suspended && !self.closed
    }

    fn wants_server(&self) -> bool {
        !self.is_stopped() && self.topics.values().any(|topic| topic.is_server)
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    /// The connection with that peer, if it is open.
    pub fn connection_with(&self, key: &PublicKey) -> Option<ConnectionId> {
        let id = self.by_key.get(key)?;
        self.connections.get(id).filter(|connection| connection.state.is_open()).map(|_| *id)
    }

    /// What is known of a peer.
    pub fn peer(&self, key: &PublicKey) -> Option<PeerInfo> {
        let peer = self.peers.get(key)?;
        let connection = self.by_key.get(key).and_then(|id| self.connections.get(id));
        Some(PeerInfo {
            public_key: *key,
            topics: peer.topics.iter().filter_map(|number| self.numbers.get(number)).copied().collect(),
            relay_addresses: peer.relays.clone(),
            is_initiator: connection.is_some_and(|connection| connection.is_outgoing()),
            is_connected: connection.is_some_and(|connection| matches!(connection.state, State::Open { .. })),
            is_explicit: peer.explicit,
            is_banned: self.gate.is_banned(key),
            attempts: peer.attempts,
        })
    }

    /// Everybody who is known.
    pub fn peers(&self) -> impl Iterator<Item = PeerInfo> {
        self.peers.keys().filter_map(|key| self.peer(key))
    }

    /// How the topics are.
    pub fn topics(&self) -> impl Iterator<Item = TopicStatus> {
        let known = |number: u32| self.peers.values().filter(|peer| peer.topics.contains(&number)).count();
        self.topics.iter().map(move |(id, topic)| topic.status(*id, known(topic.number)))
    }

    /// With whom a connection is.
    pub fn key_of(&self, id: ConnectionId) -> Option<&PublicKey> {
        self.connections.get(&id).map(|connection| &connection.key)
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        Stats {
            connections: self.connections.values().filter(|connection| connection.state.is_open()).count(),
            connecting: self.connecting,
            queued: self.queue.len(),
            known: self.peers.len(),
            topics: self.topics.len(),
            ..self.stats
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
