//! A node: what it knows, and the verbs by which it is driven.

mod config;
mod incoming;
mod queries;
mod reachability;
mod replies;
mod ticks;

pub use config::{Asking, Commitment, Config, Event, Incoming, Outcome, Response, Socket, Transmit};

use super::address::{Id, node_id};
use super::health::Health;
use super::message::{Message, Request};
use super::nat::NatSampler;
use super::query::{QueryId, Running};
use super::random::Random;
use super::requests::{Expired, Purpose, RequestId, Requests, Sending};
use super::table::{Added, Contact, Table};
use super::tokens::Tokens;
use reachability::{Bootstrap, Reachability};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::net::SocketAddrV4;
use std::time::Instant;
use ticks::Ticks;

/// A contact counts as seen lately for so many ticks (a minute).
const RECENT: u32 = 12;

/// And as an old acquaintance after so many (half an hour).
const OLD: u32 = 360;

/// The most places of the table that are fought for at a time.
const MAX_SWAPS: usize = 3;

/// The most nodes that are always there.
const MAX_BOOTSTRAP: usize = 64;

/// A node of the DHT.
pub struct Node {
    config: Config,
    random: Random,
    table: Table,
    ephemeral: bool,
    firewalled: bool,
    nat: NatSampler,
    /// Nodes without an id whose word about our address was counted.
    strangers: HashSet<SocketAddrV4>,
    tokens: Tokens,
    requests: Requests,
    queries: HashMap<QueryId, Running>,
    next_number: u64,
    ticks: Ticks,
    bootstrap: Bootstrap,
    reachability: Option<Reachability>,
    /// Counts what is heard.
    heard: u64,
    swaps: usize,
    /// Contacts that are being checked because somebody said that they are down.
    checks: usize,
    health: Health,
    last_heard: Option<Instant>,
    out: VecDeque<Transmit>,
    delayed: BTreeMap<(Instant, u64), Transmit>,
    events: VecDeque<Event>,
    /// How many of the events are requests.
    waiting_requests: usize,
}

impl Node {
    /// A node, which at once begins to look for others. The `seed` is random, and secret.
    pub fn new(config: Config, seed: [u8; 32], now: Instant) -> Self {
        let mut random = Random::new(seed);
        let id = config.public_address.map_or_else(|| random.bytes(), node_id);
        let first_tid = random.below(1 << 16) as u16;
        let mut node = Self {
            table: Table::new(id),
            ephemeral: config.public_address.is_none(),
            firewalled: config.firewalled && config.public_address.is_none(),
            nat: NatSampler::default(),
            strangers: HashSet::new(),
            tokens: Tokens::new(random.bytes(), random.bytes(), now),
            requests: Requests::new(config.window, first_tid, now),
            queries: HashMap::new(),
            next_number: 1,
            ticks: Ticks::new(now, &mut random),
            bootstrap: Bootstrap::default(),
            reachability: None,
            heard: 0,
            swaps: 0,
            checks: 0,
            health: Health::default(),
            last_heard: None,
            out: VecDeque::new(),
            delayed: BTreeMap::new(),
            events: VecDeque::new(),
            waiting_requests: 0,
            config,
            random,
        };
        if let Some(address) = node.config.public_address {
            node.nat.add(address);
        }
        // The one that was heard last is remembered first.
        for address in std::mem::take(&mut node.config.nodes).into_iter().rev() {
            node.learn(address);
        }
        node.begin(now);
        node
    }

    /// Takes a datagram that has come to `socket`. Whatever it is: what is not meant for
    /// us has no effect.
    pub fn handle_datagram(&mut self, now: Instant, socket: Socket, from: SocketAddrV4, datagram: &[u8]) {
        if from.port() == 0 || from.ip().is_unspecified() || from.ip().is_multicast() {
            return;
        }
        match Message::decode(datagram) {
            Ok(Message::Request(request)) => self.asked(now, socket, from, &request),
            Ok(Message::Reply(reply)) => self.replied(now, socket, from, &reply),
            Err(_) => {}
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), unless something happens
    /// before that.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let delayed = self.delayed.first_key_value().map(|((time, _), _)| *time);
        [self.requests.poll_timeout(), delayed, Some(self.ticks.next())].into_iter().flatten().min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some(delayed) = self.delayed.first_entry()
            && delayed.key().0 <= now
        {
            self.out.push_back(delayed.remove());
        }
        for expired in self.requests.handle_timeout(now, &mut self.random, &mut self.out) {
            match expired {
                Expired::Slow(purpose) => self.slow(now, purpose),
                Expired::Dead(flight) => self.unanswered(now, flight),
            }
        }
        if self.ticks.next() <= now {
            self.tick(now);
        }
    }

    /// The next thing that has happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        self.waiting_requests -= usize::from(matches!(event, Event::Request(_)));
        Some(event)
    }

    /// Our id, once others may know it.
    pub fn id(&self) -> Option<Id> {
        (!self.ephemeral).then(|| *self.table.id())
    }

    /// Is our id kept to ourselves?
    pub fn is_ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// Do we take it that strangers cannot reach us?
    pub fn is_firewalled(&self) -> bool {
        self.firewalled
    }

    /// Have we found our place?
    pub fn is_ready(&self) -> bool {
        self.bootstrap.is_done()
    }

    /// Does anybody answer?
    pub fn is_online(&self) -> bool {
        self.health.is_online()
    }

    /// Do many not answer?
    pub fn is_degraded(&self) -> bool {
        self.health.is_degraded()
    }

    /// What others say our address is.
    pub fn nat(&self) -> &NatSampler {
        &self.nat
    }

    /// Where strangers reach us, if that is known.
    pub fn remote_address(&self) -> Option<SocketAddrV4> {
        let address = self.nat.consistent().filter(|_| !self.firewalled)?;
        (self.config.public_address.is_some() || address.port() == self.config.server_port).then_some(address)
    }

    /// The port of our server socket.
    pub fn server_port(&self) -> u16 {
        self.config.server_port
    }

    /// The nodes that we know: those heard last first. To be remembered for the next start.
    pub fn nodes(&self, limit: usize) -> Vec<SocketAddrV4> {
        self.table.by_heard(limit, true).into_iter().map(|contact| contact.address).collect()
    }

    /// How many nodes we know.
    pub fn known(&self) -> usize {
        self.table.len()
    }

    /// There are more nodes that are always there (their names have been looked up), and
    /// they are asked at once.
    pub fn add_bootstrap(&mut self, now: Instant, nodes: impl IntoIterator<Item = SocketAddrV4>) {
        for node in nodes {
            if self.config.bootstrap.len() < MAX_BOOTSTRAP && !self.config.bootstrap.contains(&node) {
                self.config.bootstrap.push(node);
            }
        }
        self.refresh(now);
    }

    /// Asks one node. [`Event::Answered`] tells what came of it. `None` when too much is
    /// under way already.
    pub fn ask(&mut self, now: Instant, asking: &Asking) -> Option<RequestId> {
        let id = RequestId(self.number());
        let sending = Sending {
            to: asking.to,
            socket: asking.socket.unwrap_or_else(|| self.socket()),
            purpose: Purpose::Application(id),
            retries: asking.retries.unwrap_or(self.config.retries),
            timeout: asking.timeout,
            force: false,
        };
        let request = Request {
            tid: 0,
            to: asking.to,
            id: None,
            token: asking.token,
            internal: asking.internal,
            command: asking.command,
            target: asking.target,
            value: asking.value.as_deref(),
        };
        self.send(now, sending, request).then_some(id)
    }

    /// Takes a request back; its answer will not be told.
    pub fn forget(&mut self, now: Instant, request: RequestId) {
        self.requests.cancel(now, |purpose| matches!(purpose, Purpose::Application(id) if *id == request));
        self.requests.release(now, &mut self.random, &mut self.out);
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number - 1
    }

    /// Where requests go out.
    pub fn socket(&self) -> Socket {
        if self.firewalled { Socket::Client } else { Socket::Server }
    }

    /// What is told to others, in what leaves by that socket.
    fn told_id(&self, socket: Socket) -> Option<Id> {
        self.id().filter(|_| socket == Socket::Server)
    }

    fn send(&mut self, now: Instant, sending: Sending, mut request: Request<'_>) -> bool {
        request.id = self.told_id(sending.socket);
        self.requests.send(now, sending, request, &mut self.random, &mut self.out).is_some()
    }

    /// A request of the DHT itself, from where ours are usually sent.
    fn send_internal(
        &mut self,
        now: Instant,
        to: SocketAddrV4,
        purpose: Purpose,
        command: u64,
        value: Option<&[u8]>,
        retries: u32,
    ) -> bool {
        let sending = Sending { to, socket: self.socket(), purpose, retries, timeout: None, force: false };
        let request =
            Request { tid: 0, to, id: None, token: None, internal: true, command, target: None, value };
        self.send(now, sending, request)
    }

    /// A node has told its id: it can be in the table.
    fn observe(&mut self, now: Instant, id: Id, address: SocketAddrV4) {
        self.heard += 1;
        let (tick, heard) = (self.ticks.now(), self.heard);
        if let Some(contact) = self.table.get_mut(&id) {
            contact.pinged = tick;
            contact.heard = heard;
            contact.hinted = false;
        } else if !(self.config.refuses)(address) && self.learn(address) == Added::Full {
            self.challenge(now, id, address);
        }
    }

    fn learn(&mut self, address: SocketAddrV4) -> Added {
        self.heard += 1;
        let (tick, heard) = (self.ticks.now(), self.heard);
        let id = node_id(address);
        if self.table.contains(&id) {
            return Added::Yes;
        }
        self.table.add(Contact { id, address, added: tick, pinged: tick, sampled: 0, hinted: false, heard })
    }

    /// Somebody would like a place in a full row: the one that was not heard for longest
    /// has to show that it is still there.
    fn challenge(&mut self, now: Instant, id: Id, newcomer: SocketAddrV4) {
        if !self.is_ready() || self.swaps >= MAX_SWAPS {
            return;
        }
        let tick = self.ticks.now();
        let asked = |contact: &&Contact| contact.pinged < tick;
        let Some(oldest) =
            self.table.row(&id).iter().filter(asked).min_by_key(|contact| (contact.pinged, contact.added))
        else {
            return;
        };
        if tick - oldest.pinged < RECENT && tick.saturating_sub(oldest.added) > OLD {
            return;
        }
        let (old, address) = (oldest.id, oldest.address);
        if self.ping(now, old, address, Purpose::Evict { old, newcomer }) {
            self.swaps += 1;
        }
    }

    /// Asks a contact whether it is there.
    fn ping(&mut self, now: Instant, id: Id, address: SocketAddrV4, purpose: Purpose) -> bool {
        let tick = self.ticks.now();
        if let Some(contact) = self.table.get_mut(&id) {
            contact.pinged = tick;
        }
        self.send_internal(now, address, purpose, super::message::internal::PING, None, self.config.retries)
    }

    /// We have another id: everything has another place.
    fn move_to(&mut self, id: Id) {
        let old = std::mem::replace(&mut self.table, Table::new(id));
        for contact in old.into_contacts() {
            self.table.add(contact);
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("ephemeral", &self.ephemeral)
            .field("firewalled", &self.firewalled)
            .field("nat", &self.nat.address())
            .field("known", &self.known())
            .field("requests", &self.requests.len())
            .field("queries", &self.queries.len())
            .finish_non_exhaustive()
    }
}
