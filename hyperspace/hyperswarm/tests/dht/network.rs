//! A network in one process: hosts, the way between them, and the time.
//!
//! Every datagram takes the time that its way takes, and some more; some are lost, some
//! come twice, and so, in another order than they were sent. A host can be behind a
//! firewall or a NAT, which lets in only what is answered. What has a low TTL opens the NAT,
//! but does not arrive. The same seed, the same run.

use hyperswarm::dht::{Node, Socket, Transmit};
use hyperswarm::hyperdht::Dht;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

pub const SERVER_PORT: u16 = 49737;
const CLIENT_PORT: u16 = 50000;

/// For how long a firewall or a NAT remembers that something was sent.
const REMEMBERED: Duration = Duration::from_secs(30);

/// What is simulated.
pub trait Machine {
    type Event;
    fn handle_datagram(&mut self, now: Instant, socket: Socket, from: SocketAddrV4, datagram: &[u8]);
    fn handle_timeout(&mut self, now: Instant);
    fn poll_transmit(&mut self) -> Option<Transmit>;
    fn poll_timeout(&self) -> Option<Instant>;
    fn poll_event(&mut self) -> Option<Self::Event>;
}

macro_rules! machine {
    ($type:ty, $event:ty) => {
        impl Machine for $type {
            type Event = $event;
            fn handle_datagram(&mut self, now: Instant, socket: Socket, from: SocketAddrV4, datagram: &[u8]) {
                self.handle_datagram(now, socket, from, datagram);
            }
            fn handle_timeout(&mut self, now: Instant) {
                self.handle_timeout(now);
            }
            fn poll_transmit(&mut self) -> Option<Transmit> {
                self.poll_transmit()
            }
            fn poll_timeout(&self) -> Option<Instant> {
                self.poll_timeout()
            }
            fn poll_event(&mut self) -> Option<$event> {
                self.poll_event()
            }
        }
    };
}

machine!(Node, hyperswarm::dht::Event);
machine!(Dht, hyperswarm::hyperdht::Event);

/// Seeded randomness (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn number(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end
    }

    pub fn chance(&mut self, of: f64) -> bool {
        of > 0.0 && (self.number() as f64) < of * (1u64 << 53) as f64
    }

    pub fn bytes(&mut self) -> [u8; 32] {
        std::array::from_fn(|_| self.number() as u8)
    }
}

/// How a host is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connected {
    /// Everybody can send to it.
    Openly,
    /// Only whom it has sent to, from the same socket.
    BehindFirewall,
    /// The same, and its sockets have other ports for others: for all the same.
    BehindNat,
    /// The same, but each sees another port.
    BehindRandomNat,
}

struct Host<M: Machine> {
    machine: Option<M>,
    address: Ipv4Addr,
    connected: Connected,
    /// And when.
    sent_to: HashMap<(Socket, SocketAddrV4), Instant>,
    /// It does nothing, and hears nothing.
    asleep: bool,
    wake: Option<Instant>,
    events: VecDeque<M::Event>,
    /// Datagrams that it has sent, and that have come.
    messages: u64,
}

enum Happening {
    Arrives { to: SocketAddrV4, from: SocketAddrV4, bytes: Vec<u8> },
    Wakes(usize),
}

struct Entry {
    at: (Instant, u64),
    what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.at.cmp(&other.at)
    }
}

/// What has been carried.
#[derive(Clone, Copy, Debug, Default)]
pub struct Carried {
    pub datagrams: u64,
    pub bytes: u64,
    pub lost: u64,
    pub longest: usize,
}

pub struct Network<M: Machine> {
    pub now: Instant,
    pub random: Random,
    /// How many datagrams are lost, from 0 to 1.
    pub loss: f64,
    /// How many come twice.
    pub doubled: f64,
    pub carried: Carried,
    hosts: Vec<Host<M>>,
    by_address: HashMap<Ipv4Addr, usize>,
    /// Where NATs send from: port by what it stands for, and back. A random one has a port
    /// for each peer.
    mapped: HashMap<(usize, Socket, Option<SocketAddrV4>), u16>,
    unmapped: HashMap<(usize, u16), Socket>,
    queue: BinaryHeap<Reverse<Entry>>,
    number: u64,
}

impl<M: Machine> Network<M> {
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::now(),
            random: Random::new(seed),
            loss: 0.0,
            doubled: 0.0,
            carried: Carried::default(),
            hosts: Vec::new(),
            by_address: HashMap::new(),
            mapped: HashMap::new(),
            unmapped: HashMap::new(),
            queue: BinaryHeap::new(),
            number: 0,
        }
    }

    /// The address of the next host.
    pub fn next_address(&self) -> Ipv4Addr {
        let [_, a, b, c] = (self.hosts.len() as u32).to_be_bytes();
        Ipv4Addr::new(1 + a, 1 + b, c, 1)
    }

    /// Adds a host, which `make` begins to run.
    pub fn add(&mut self, connected: Connected, make: impl FnOnce(Instant, Ipv4Addr) -> M) -> usize {
        let (index, address) = (self.hosts.len(), self.next_address());
        self.by_address.insert(address, index);
        self.hosts.push(Host {
            machine: Some(make(self.now, address)),
            address,
            connected,
            sent_to: HashMap::new(),
            asleep: false,
            wake: None,
            events: VecDeque::new(),
            messages: 0,
        });
        self.after(index);
        index
    }

    /// Does somebody else's NAT stand before it from now on? It is known by no port any more.
    pub fn reconnect(&mut self, host: usize, connected: Connected) {
        self.hosts[host].connected = connected;
        self.hosts[host].sent_to.clear();
        self.mapped.retain(|(index, ..), _| *index != host);
        self.unmapped.retain(|(index, _), _| *index != host);
    }

    /// It is gone without a word.
    pub fn kill(&mut self, host: usize) {
        self.hosts[host].machine = None;
        self.hosts[host].sent_to = HashMap::new();
    }

    pub fn is_alive(&self, host: usize) -> bool {
        self.hosts[host].machine.is_some()
    }

    pub fn alive(&self) -> Vec<usize> {
        (0..self.hosts.len()).filter(|host| self.is_alive(*host)).collect()
    }

    pub fn address(&self, host: usize) -> SocketAddrV4 {
        SocketAddrV4::new(self.hosts[host].address, SERVER_PORT)
    }

    /// How many datagrams a host has sent and received.
    pub fn messages(&self, host: usize) -> u64 {
        self.hosts[host].messages
    }

    pub fn machine(&self, host: usize) -> &M {
        self.hosts[host].machine.as_ref().expect("it is alive")
    }

    /// Does something with a host, and sends what comes of it.
    pub fn with<T>(&mut self, host: usize, act: impl FnOnce(&mut M, Instant) -> T) -> T {
        let machine = self.hosts[host].machine.as_mut().expect("it is alive");
        let result = act(machine, self.now);
        self.after(host);
        result
    }

    /// Does something with a host, and sends nothing.
    pub fn peek<T>(&mut self, host: usize, act: impl FnOnce(&mut M) -> T) -> T {
        act(self.hosts[host].machine.as_mut().expect("it is alive"))
    }

    pub fn events(&mut self, host: usize) -> Vec<M::Event> {
        self.hosts[host].events.drain(..).collect()
    }

    fn push(&mut self, at: Instant, what: Happening) {
        self.number += 1;
        self.queue.push(Reverse(Entry { at: (at, self.number), what }));
    }

    /// It sleeps, or wakes up.
    pub fn sleep(&mut self, host: usize, asleep: bool) {
        self.hosts[host].asleep = asleep;
        self.hosts[host].wake = None;
        self.after(host);
    }

    fn after(&mut self, index: usize) {
        if self.hosts[index].asleep {
            return;
        }
        let Some(mut machine) = self.hosts[index].machine.take() else { return };
        while let Some(transmit) = machine.poll_transmit() {
            self.carry(index, transmit);
        }
        let host = &mut self.hosts[index];
        while let Some(event) = machine.poll_event() {
            host.events.push_back(event);
        }
        let wake = machine.poll_timeout();
        host.machine = Some(machine);
        if let Some(wake) = wake
            && host.wake.is_none_or(|scheduled| wake < scheduled)
        {
            host.wake = Some(wake);
            self.push(wake.max(self.now), Happening::Wakes(index));
        }
    }

    fn carry(&mut self, index: usize, transmit: Transmit) {
        let Transmit { socket, to, bytes, ttl } = transmit;
        self.carried.datagrams += 1;
        self.carried.bytes += bytes.len() as u64;
        self.carried.longest = self.carried.longest.max(bytes.len());
        let host = &mut self.hosts[index];
        host.messages += 1;
        if host.connected != Connected::Openly {
            // A random NAT has another port for everybody: only that one lets it in.
            host.sent_to.insert((socket, to), self.now);
        }
        let (address, connected) = (host.address, host.connected);
        let port = match (connected, socket) {
            (Connected::BehindRandomNat, _) => self.map(index, socket, Some(to)),
            (Connected::BehindNat, _) => self.map(index, socket, None),
            (_, Socket::Server) => SERVER_PORT,
            (_, Socket::Client) => CLIENT_PORT,
            (_, Socket::Other(number)) => (CLIENT_PORT + 1).wrapping_add(number as u16),
        };
        let from = SocketAddrV4::new(address, port);
        if ttl.is_some() {
            return;
        }
        let copies = 1 + u32::from(self.random.chance(self.doubled));
        for _ in 0..copies {
            if self.random.chance(self.loss) {
                self.carried.lost += 1;
                continue;
            }
            let at = self.now + self.way(address, *to.ip());
            self.push(at, Happening::Arrives { to, from, bytes: bytes.clone() });
        }
    }

    fn map(&mut self, index: usize, socket: Socket, to: Option<SocketAddrV4>) -> u16 {
        if let Some(port) = self.mapped.get(&(index, socket, to)) {
            return *port;
        }
        let port = loop {
            let port = 1024 + self.random.below(60_000) as u16;
            if !self.unmapped.contains_key(&(index, port)) {
                break port;
            }
        };
        self.mapped.insert((index, socket, to), port);
        self.unmapped.insert((index, port), socket);
        port
    }

    /// From 5 to 100 ms, the same every time between the same two, and up to 10 ms more.
    fn way(&mut self, a: Ipv4Addr, b: Ipv4Addr) -> Duration {
        let mixed = (u32::from(a) ^ u32::from(b)).wrapping_mul(0x9e37_79b1) >> 16;
        let jitter = self.random.below(10_000);
        Duration::from_micros(5_000 + u64::from(mixed) * 95_000 / 65_536 + jitter)
    }

    fn arrives(&mut self, to: SocketAddrV4, from: SocketAddrV4, bytes: &[u8]) {
        let Some(&index) = self.by_address.get(to.ip()) else { return };
        let host = &self.hosts[index];
        let socket = match (host.connected, to.port()) {
            (Connected::BehindRandomNat | Connected::BehindNat, port) => {
                let Some(socket) = self.unmapped.get(&(index, port)).copied() else { return };
                let whose = if host.connected == Connected::BehindNat { None } else { Some(from) };
                if self.mapped.get(&(index, socket, whose)) != Some(&port) {
                    return;
                }
                socket
            }
            (_, SERVER_PORT) => Socket::Server,
            (_, CLIENT_PORT) => Socket::Client,
            (_, port) => Socket::Other(u32::from(port.wrapping_sub(CLIENT_PORT + 1))),
        };
        let sent = host.sent_to.get(&(socket, from));
        let is_open = sent.is_some_and(|sent| self.now.saturating_duration_since(*sent) <= REMEMBERED);
        if host.asleep || (host.connected != Connected::Openly && !is_open) {
            return;
        }
        self.hosts[index].messages += 1;
        if let Some(machine) = self.hosts[index].machine.as_mut() {
            machine.handle_datagram(self.now, socket, from, bytes);
            self.after(index);
        }
    }

    /// What happens next, unless it is after `until`.
    fn step(&mut self, until: Instant) -> bool {
        if self.queue.peek().is_none_or(|Reverse(next)| next.at.0 > until) {
            self.now = until;
            return false;
        }
        let Some(Reverse(Entry { at, what })) = self.queue.pop() else { return false };
        self.now = at.0;
        match what {
            Happening::Arrives { to, from, bytes } => self.arrives(to, from, &bytes),
            Happening::Wakes(index) => {
                let host = &mut self.hosts[index];
                if host.wake.is_some_and(|wake| wake <= at.0) {
                    host.wake = None;
                    if let Some(machine) = host.machine.as_mut().filter(|_| !host.asleep) {
                        if machine.poll_timeout().is_some_and(|due| due <= at.0) {
                            machine.handle_timeout(at.0);
                            let next = machine.poll_timeout();
                            assert!(next.is_none_or(|next| next > at.0), "it would never sleep");
                        }
                        self.after(index);
                    }
                }
            }
        }
        true
    }

    /// Lets so much time pass.
    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// Lets time pass until a host says something for which `wanted` gives something.
    /// What it says before that is given to `wanted`, too.
    pub fn wait<T>(
        &mut self,
        host: usize,
        most: Duration,
        mut wanted: impl FnMut(M::Event) -> Option<T>,
    ) -> Option<T> {
        let until = self.now + most;
        loop {
            while let Some(event) = self.hosts[host].events.pop_front() {
                if let Some(found) = wanted(event) {
                    return Some(found);
                }
            }
            if !self.step(until) {
                return None;
            }
        }
    }
}
