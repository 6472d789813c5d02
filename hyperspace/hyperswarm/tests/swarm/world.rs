//! The world: hosts with a swarm each, a DHT, and the time.
//!
//! A host can be killed, cut off, and started again with the same key. What is dialled is
//! open on our side once two ways were gone, and known on the other side after a third, as it
//! is with the DHT. The same seed, the same run.

use hyperswarm::dht::Id;
use hyperswarm::swarm::{
    Action, Ask, Config, ConnectionId, Core, CoreEvent, Ended, Found, Gate, Join, QueryId, SessionId, WaitId,
};
use hyperswarm::{KeyPair, PublicKey};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A dead peer is noticed after so long.
pub const NOTICED: Duration = Duration::from_secs(13);

pub fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Seeded randomness (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % end
    }
}

mod happening;
mod hosts;

pub type Host = usize;
type LinkId = u64;

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct End {
    host: Host,
    life: u32,
    id: ConnectionId,
}

#[derive(Debug)]
struct Link {
    dialler: End,
    /// Once it is known there.
    dialled: Option<End>,
    to: Host,
    /// In which of its lives it answered.
    life: u32,
    /// What each side has heard of the other.
    dialler_heard: bool,
    /// Each end was given up.
    over: [bool; 2],
}

#[derive(Debug)]
enum Happening {
    Wakes(Host),
    Found(Host, u32, QueryId, Vec<Found>),
    Asked(Host, u32, QueryId, Id, Ask),
    Listening(Host, u32),
    Unlistened(Host, u32),
    /// Nothing leaves it any more.
    Rested(Host, u32, u32),
    /// And now it can again.
    Woken(Host, u32, u32),
    /// The dialler knows that the other side is there, or that it is not.
    Dialled(LinkId, bool),
    /// The first packet of a link arrives.
    Arrives(LinkId),
    /// And the answer to it.
    Answered(LinkId),
    /// That an end was given up is known at the other.
    Ended(LinkId, usize),
    /// A host that is cut off has not answered for so long.
    Unanswered(Host, u32),
}

struct Entry {
    at: Instant,
    order: u64,
    what: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.order) == (other.at, other.order)
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
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

pub struct Machine {
    pub key: PublicKey,
    pub gate: Arc<Gate>,
    pub core: Core,
    life: u32,
    alive: bool,
    online: bool,
    pub listening: bool,
    links: HashMap<ConnectionId, LinkId>,
    /// How often it was to be silent, or to be so no more.
    rests: u32,
    asking: BTreeSet<QueryId>,
    pub most_asking: usize,
    pub last_query: Option<QueryId>,
    wake: Option<Instant>,
    /// What the swarm has told: `(when, what)`.
    pub events: Vec<(Instant, CoreEvent)>,
    /// Whom it has dialled.
    pub dials: Vec<(Instant, PublicKey)>,
    /// What it has asked.
    pub asks: Vec<(Instant, Id, Ask)>,
}

pub struct World {
    pub now: Instant,
    pub random: Random,
    seed: u64,
    queue: BinaryHeap<Reverse<Entry>>,
    order: u64,
    pub hosts: Vec<Machine>,
    by_key: HashMap<PublicKey, Host>,
    /// What the DHT knows: who, and since when.
    pub records: BTreeMap<Id, BTreeMap<PublicKey, Instant>>,
    links: BTreeMap<LinkId, Link>,
    next: u64,
    pub config: Config,
    /// Hosts do not take longer than this to hear of each other.
    pub slowest: u64,
}

impl World {
    pub fn new(seed: u64) -> Self {
        Self {
            now: Instant::now(),
            random: Random::new(seed),
            seed,
            queue: BinaryHeap::new(),
            order: 0,
            hosts: Vec::new(),
            by_key: HashMap::new(),
            records: BTreeMap::new(),
            links: BTreeMap::new(),
            next: 1 << 32,
            config: Config::default(),
            slowest: 100,
        }
    }

    pub fn topic(&self, number: u8) -> Id {
        [number; 32]
    }

    fn core(&mut self, key: PublicKey, gate: &Arc<Gate>) -> Core {
        let mut seed = key;
        self.next += 1;
        seed[..8].copy_from_slice(&(self.seed << 32 ^ self.next).to_le_bytes());
        assert_eq!(*gate.key(), key);
        Core::new(self.config.clone(), Arc::clone(gate), seed, self.now)
    }

    pub fn add(&mut self) -> Host {
        self.add_with(|key| Gate::new(key, None))
    }

    pub fn add_with(&mut self, gate: impl FnOnce(PublicKey) -> Gate) -> Host {
        let host = self.hosts.len();
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(self.seed.wrapping_mul(1000) + host as u64).to_le_bytes());
        let key = KeyPair::from_seed(&seed).public_key();
        let gate = Arc::new(gate(key));
        let core = self.core(key, &gate);
        self.hosts.push(Machine {
            key,
            gate,
            core,
            life: 0,
            alive: true,
            online: true,
            listening: false,
            links: HashMap::new(),
            rests: 0,
            asking: BTreeSet::new(),
            most_asking: 0,
            last_query: None,
            wake: None,
            events: Vec::new(),
            dials: Vec::new(),
            asks: Vec::new(),
        });
        self.by_key.insert(key, host);
        host
    }

    pub fn key(&self, host: Host) -> PublicKey {
        self.hosts[host].key
    }

    fn at(&mut self, after: Duration, what: Happening) {
        self.order += 1;
        self.queue.push(Reverse(Entry { at: self.now + after, order: self.order, what }));
    }

    fn way(&mut self) -> Duration {
        ms(1 + self.random.below(self.slowest))
    }

    /// Does something to a swarm, and sees to what comes of it.
    pub fn with<T>(&mut self, host: Host, act: impl FnOnce(&mut Core, Instant) -> T) -> T {
        let done = act(&mut self.hosts[host].core, self.now);
        self.after(host);
        done
    }

    /// The connection that a host has dialled last.
    pub fn dialled(&self, host: Host) -> ConnectionId {
        *self.hosts[host].links.keys().max().expect("it has dialled somebody")
    }

    pub fn session(&mut self) -> SessionId {
        self.next += 1;
        SessionId(self.next)
    }

    pub fn wait_id(&mut self) -> WaitId {
        self.next += 1;
        WaitId(self.next)
    }

    pub fn join(&mut self, host: Host, topic: Id, join: Join) -> SessionId {
        let session = self.session();
        self.with(host, |core, now| core.join(now, session, topic, join));
        session
    }

    pub fn join_both(&mut self, host: Host, topic: Id) -> SessionId {
        self.join(host, topic, Join::default())
    }

    pub fn leave(&mut self, host: Host, session: SessionId) {
        self.with(host, |core, now| core.leave(now, session, None));
    }

    /// Waits for `Done`, and gives what it said.
    pub fn wait(
        &mut self,
        host: Host,
        most: Duration,
        act: impl FnOnce(&mut Core, Instant, WaitId),
    ) -> Option<bool> {
        let wait = self.wait_id();
        self.with(host, |core, now| act(core, now, wait));
        self.done(host, most, wait)
    }

    pub fn done(&mut self, host: Host, most: Duration, wait: WaitId) -> Option<bool> {
        let until = self.now + most;
        loop {
            let found = self.hosts[host].events.iter().find_map(|(_, event)| match event {
                CoreEvent::Done(id, well) if *id == wait => Some(*well),
                _ => None,
            });
            if found.is_some() || !self.step(until) {
                return found;
            }
        }
    }

    fn live(&self, host: Host, life: u32) -> bool {
        self.hosts[host].alive && self.hosts[host].life == life
    }

    fn after(&mut self, host: Host) {
        while let Some(action) = self.hosts[host].core.poll_action() {
            self.act(host, action);
        }
        while let Some(event) = self.hosts[host].core.poll_event() {
            let now = self.now;
            self.hosts[host].events.push((now, event));
        }
        if self.hosts[host].core.poll_timeout() != self.hosts[host].wake
            && let Some(at) = self.hosts[host].core.poll_timeout()
        {
            self.hosts[host].wake = Some(at);
            let after = at.saturating_duration_since(self.now);
            self.at(after, Happening::Wakes(host));
        }
    }

    fn act(&mut self, host: Host, action: Action) {
        let life = self.hosts[host].life;
        let online = self.hosts[host].online;
        match action {
            Action::Listen => {
                self.at(if online { ms(300) } else { secs(4) }, Happening::Listening(host, life))
            }
            Action::Unlisten => {
                self.hosts[host].listening = false;
                self.at(ms(300), Happening::Unlistened(host, life));
            }
            Action::Ask { id, topic, ask, nodes: _ } => {
                let now = self.now;
                let machine = &mut self.hosts[host];
                machine.asks.push((now, topic, ask));
                machine.asking.insert(id);
                machine.last_query = Some(id);
                if !matches!(ask, Ask::Withdraw | Ask::WithdrawThere) {
                    machine.most_asking = machine.most_asking.max(machine.asking.len());
                }
                if !online {
                    return self.at(secs(6), Happening::Asked(host, life, id, topic, ask));
                }
                if ask != Ask::WithdrawThere {
                    self.tell(host, id, &topic);
                }
                let time = ms(500 + self.random.below(500));
                self.at(time, Happening::Asked(host, life, id, topic, ask));
            }
            Action::GiveUp(id) => {
                self.hosts[host].asking.remove(&id);
            }
            Action::Dial { id, key, .. } => self.dial(host, id, key),
            Action::Accept(id) => {
                let link = self.hosts[host].links[&id];
                let way = self.way();
                self.at(way, Happening::Answered(link));
                let now = self.now;
                self.hosts[host].core.opened(now, id);
            }
            Action::Close(id, _) => {
                if let Some(link) = self.hosts[host].links.get(&id).copied() {
                    self.end(link, host);
                    // The driver notices, and says so; if it was never open, that does nothing.
                    let now = self.now;
                    self.hosts[host].core.closed(now, id, Ended::Anyhow);
                }
            }
            Action::Probe(_) => {}
            Action::Rest => {
                assert_eq!(self.stats(host).connections, 0);
                self.hosts[host].rests += 1;
                let rest = self.hosts[host].rests;
                self.at(ms(5), Happening::Rested(host, life, rest));
            }
            Action::Wake => {
                self.hosts[host].rests += 1;
                let rest = self.hosts[host].rests;
                self.at(ms(5), Happening::Woken(host, life, rest));
            }
        }
    }

    /// Nodes of the DHT tell who is there: three of them, each of some.
    fn tell(&mut self, host: Host, id: QueryId, topic: &Id) {
        let life = self.hosts[host].life;
        let lasting = secs(20 * 60);
        let all: Vec<PublicKey> = self.records.get(topic).map_or_else(Vec::new, |records| {
            records.iter().filter(|(_, since)| self.now < **since + lasting).map(|(key, _)| *key).collect()
        });
        for node in 0..3 {
            let mut some = all.clone();
            while some.len() > 20 {
                let at = self.random.below(some.len() as u64) as usize;
                some.swap_remove(at);
            }
            let found = some.into_iter().map(|key| Found { key, relays: Vec::new() }).collect();
            let time = ms(100 + 100 * node + self.random.below(100));
            self.at(time, Happening::Found(host, life, id, found));
        }
    }

    fn dial(&mut self, host: Host, id: ConnectionId, key: PublicKey) {
        let (now, life) = (self.now, self.hosts[host].life);
        self.hosts[host].dials.push((now, key));
        self.next += 1;
        let link = self.next;
        let dialler = End { host, life, id };
        self.hosts[host].links.insert(id, link);
        let to = self.by_key.get(&key).copied();
        let there = |machine: &Machine| machine.alive && machine.online && machine.listening;
        let refused = to.is_some_and(|to| {
            let ours = self.hosts[host].key;
            self.hosts[to].gate.refuses(&ours, None)
        });
        let reached = self.hosts[host].online && to.is_some_and(|to| there(&self.hosts[to])) && !refused;
        let whom = to.unwrap_or(host);
        self.links.insert(
            link,
            Link { dialler, dialled: None, to: whom, life: 0, dialler_heard: false, over: [false, false] },
        );
        let time = if reached { self.way() + self.way() } else { ms(100 + self.random.below(3000)) };
        self.at(time, Happening::Dialled(link, reached));
    }

    /// An end of a link is given up: the other hears of it.
    fn end(&mut self, link: LinkId, host: Host) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let side = usize::from(state.dialler.host != host);
        if !std::mem::replace(&mut state.over[side], true) {
            let way = self.way();
            self.at(way, Happening::Ended(link, 1 - side));
        }
    }

    fn tell_closed(&mut self, end: End) {
        if self.live(end.host, end.life) && self.hosts[end.host].links.remove(&end.id).is_some() {
            self.with(end.host, |core, now| core.closed(now, end.id, Ended::Anyhow));
        }
    }

    pub fn step(&mut self, until: Instant) -> bool {
        if self.queue.peek().is_none_or(|Reverse(next)| next.at > until) {
            self.now = until;
            return false;
        }
        let Some(Reverse(Entry { at, what, .. })) = self.queue.pop() else { return false };
        self.now = self.now.max(at);
        self.happens(what);
        true
    }

    pub fn run(&mut self, time: Duration) {
        let until = self.now + time;
        while self.step(until) {}
    }

    /// The clock is moved on, and nothing happened meanwhile.
    pub fn jump(&mut self, time: Duration) {
        self.now += time;
    }

    /// Lets time pass until it is so; how long that took.
    pub fn until(&mut self, most: Duration, mut wanted: impl FnMut(&Self) -> bool) -> Option<Duration> {
        let started = self.now;
        while !wanted(self) {
            if !self.step(started + most) {
                return wanted(self).then_some(most);
            }
        }
        Some(self.now - started)
    }
}
