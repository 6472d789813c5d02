//! Requests of ours that are under way: numbered, sent again when nothing comes, and held
//! back while too many are out.

use super::address::Id;
use super::message::Request;
use super::node::{Socket, Transmit};
use super::query::QueryId;
use super::random::Random;
use super::timeouts::Timeouts;
use super::window::Window;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// The most that can be under way or wait to be sent; half of the numbers that there are.
const MAX_REQUESTS: usize = 32768;

/// A request that was not answered after so many transmissions is slow.
const SLOW_AFTER: u32 = 2;

/// What a request was made for.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// A step of a query.
    Visit(QueryId),
    /// What a query has found is told to a node.
    Commit(QueryId),
    /// Does a node of the table still answer?
    Check(Id),
    /// The same, and if not, somebody else waits for its place.
    Evict { old: Id, newcomer: SocketAddrV4 },
    /// The first look at whether we can be reached.
    QuickTest,
    /// The thorough one.
    Reachability,
    /// Told to whom it may concern; the answer means nothing.
    Hint,
    /// The application's.
    Application(RequestId),
}

/// Names a request that the application made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

/// How a request is sent.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    pub to: SocketAddrV4,
    pub socket: Socket,
    pub purpose: Purpose,
    /// How many times it is sent again.
    pub retries: u32,
    /// How long is waited each time, if that is not to be learnt.
    pub timeout: Option<Duration>,
    /// Sent at once, whatever else is out.
    pub force: bool,
}

#[derive(Debug)]
pub(crate) struct Flight {
    pub to: SocketAddrV4,
    pub purpose: Purpose,
    /// When it was first sent.
    pub begun: Instant,
    socket: Socket,
    bytes: Vec<u8>,
    attempts: u32,
    retries: u32,
    timeout: Option<Duration>,
    sent: Instant,
    deadline: Option<Instant>,
}

impl Flight {
    /// Has so much time passed that nobody should wait for it?
    pub(crate) fn is_slow(&self) -> bool {
        self.attempts > SLOW_AFTER
    }
}

/// What happened to a request at its time.
#[derive(Debug)]
pub(crate) enum Expired {
    /// It was sent again, and it is not the first time.
    Slow(Purpose),
    /// It was sent often enough.
    Dead(Flight),
}

/// All requests.
pub(crate) struct Requests {
    flying: HashMap<u16, Flight>,
    deadlines: BTreeSet<(Instant, u16)>,
    waiting: VecDeque<u16>,
    next_tid: u16,
    window: Window,
    timeouts: Timeouts,
}

impl Requests {
    pub(crate) fn new(window: usize, first_tid: u16, now: Instant) -> Self {
        Self {
            flying: HashMap::new(),
            deadlines: BTreeSet::new(),
            waiting: VecDeque::new(),
            next_tid: first_tid,
            window: Window::new(window, now),
            timeouts: Timeouts::new(now),
        }
    }

    /// How many are under way or wait.
    pub(crate) fn len(&self) -> usize {
        self.flying.len()
    }

    /// Sends a request, or puts it in the line. Gives its number; none if there are too
    /// many already.
    pub(crate) fn send(
        &mut self,
        now: Instant,
        sending: Sending,
        mut request: Request<'_>,
        random: &mut Random,
        out: &mut VecDeque<Transmit>,
    ) -> Option<u16> {
        if self.flying.len() >= MAX_REQUESTS {
            return None;
        }
        while self.flying.contains_key(&self.next_tid) {
            self.next_tid = self.next_tid.wrapping_add(1);
        }
        let tid = self.next_tid;
        self.next_tid = tid.wrapping_add(1);
        request.tid = tid;
        let Sending { to, socket, purpose, retries, timeout, force } = sending;
        let flight = Flight {
            to,
            purpose,
            begun: now,
            socket,
            bytes: request.encode(),
            attempts: 0,
            retries,
            timeout,
            sent: now,
            deadline: None,
        };
        self.flying.insert(tid, flight);
        if force || (self.waiting.is_empty() && !self.window.is_full(now)) {
            self.transmit(now, tid, random, out);
        } else {
            self.waiting.push_back(tid);
        }
        Some(tid)
    }

    fn transmit(&mut self, now: Instant, tid: u16, random: &mut Random, out: &mut VecDeque<Transmit>) {
        let Some(flight) = self.flying.get_mut(&tid) else { return };
        if flight.attempts == 0 {
            flight.begun = now;
        }
        flight.attempts += 1;
        flight.sent = now;
        let learnt = || self.timeouts.after(flight.to, flight.attempts, now, random);
        let deadline = now + flight.timeout.unwrap_or_else(learnt);
        flight.deadline = Some(deadline);
        self.deadlines.insert((deadline, tid));
        self.window.sent(now);
        out.push_back(Transmit {
            socket: flight.socket,
            to: flight.to,
            bytes: flight.bytes.clone(),
            ttl: None,
        });
    }

    /// The request that a reply from `from` answers, which is done thereby.
    pub(crate) fn answered(&mut self, now: Instant, tid: u16, from: SocketAddrV4) -> Option<Flight> {
        // Whoever was not asked has nothing to answer.
        let asked = self.flying.get(&tid).is_some_and(|flight| flight.to == from && flight.attempts > 0);
        let flight = asked.then(|| self.take(now, tid)).flatten()?;
        if flight.attempts == 1 && flight.timeout.is_none() {
            self.timeouts.measured(from, now.saturating_duration_since(flight.sent), now);
        }
        Some(flight)
    }

    /// Takes a request back.
    pub(crate) fn take(&mut self, now: Instant, tid: u16) -> Option<Flight> {
        let flight = self.flying.remove(&tid)?;
        if let Some(deadline) = flight.deadline {
            self.deadlines.remove(&(deadline, tid));
            self.window.settled(now);
        } else {
            self.waiting.retain(|waiting| *waiting != tid);
        }
        Some(flight)
    }

    /// Takes back those of a kind.
    pub(crate) fn cancel(&mut self, now: Instant, which: impl Fn(&Purpose) -> bool) {
        let tids: Vec<u16> =
            self.flying.iter().filter(|(_, flight)| which(&flight.purpose)).map(|(tid, _)| *tid).collect();
        for tid in tids {
            self.take(now, tid);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(deadline, _)| *deadline);
        let slot = (!self.waiting.is_empty()).then(|| self.window.next_slot());
        deadline.into_iter().chain(slot).min()
    }

    /// Sends what has waited long enough, and gives what has been waited for in vain.
    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        random: &mut Random,
        out: &mut VecDeque<Transmit>,
    ) -> Vec<Expired> {
        let mut expired = Vec::new();
        while let Some(&(deadline, tid)) = self.deadlines.first()
            && deadline <= now
        {
            self.deadlines.pop_first();
            let Some(flight) = self.flying.get_mut(&tid) else { continue };
            flight.deadline = None;
            if flight.attempts <= flight.retries {
                if flight.attempts == SLOW_AFTER {
                    expired.push(Expired::Slow(flight.purpose.clone()));
                }
                self.transmit(now, tid, random, out);
            } else if let Some(flight) = self.flying.remove(&tid) {
                expired.push(Expired::Dead(flight));
            }
        }
        self.release(now, random, out);
        expired
    }

    /// Lets go what has waited in the line, as far as there is room.
    pub(crate) fn release(&mut self, now: Instant, random: &mut Random, out: &mut VecDeque<Transmit>) {
        while !self.waiting.is_empty() && !self.window.is_full(now) {
            if let Some(tid) = self.waiting.pop_front() {
                self.transmit(now, tid, random, out);
            }
        }
    }
}
