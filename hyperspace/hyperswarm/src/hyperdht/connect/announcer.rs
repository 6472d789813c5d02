//! Keeps a server found: announces it to the nodes that are closest, again and again, and
//! sees to it that they can reach us in between.
//!
//! A round finds the three closest nodes and announces there. From then on they are asked
//! every three seconds whether they are there, from the same socket: that keeps our NAT
//! open for what they pass on. A new round comes after five minutes, when too few of them
//! answer, or when we are seen elsewhere.

use super::super::node::{Dht, Event};
use super::super::noise_payload::Relay;
use super::super::operations::{Announcement, OperationId, Summary};
use super::super::records::MAX_RELAYS;
use super::timers::Timer;
use super::{Asked, For};
use crate::dht::{Answer, Asking, Id};
use std::collections::VecDeque;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// How often the nodes are asked.
const PING_EVERY: Duration = Duration::from_secs(3);

/// After so many times (5 min), it is announced anew.
const PINGS: u32 = 100;

/// So many nodes must answer, if there are as many.
const ENOUGH: usize = 3;

/// What peers may know of us: the nodes of so many rounds.
const ROUNDS: usize = 3;

/// What it is doing.
#[derive(Debug, Default, PartialEq, Eq)]
enum Step {
    /// Nothing: we are not there.
    #[default]
    Idle,
    Announcing(OperationId),
    Announced,
    /// What was announced is taken back.
    Withdrawing,
}

/// Of one server.
#[derive(Debug, Default)]
pub(in super::super) struct Announcer {
    step: Step,
    /// The nodes that pass on to us, and our address as each sees it.
    pub relays: Vec<Relay>,
    pub relay_addresses: Vec<SocketAddrV4>,
    /// The nodes of the last rounds, the newest last.
    rounds: VecDeque<Vec<SocketAddrV4>>,
    /// The nodes that were closest in the last round.
    closest: Vec<SocketAddrV4>,
    pings: u32,
    asked: usize,
    answered: usize,
    refresh: bool,
    /// As what we have announced: are we behind a firewall, and where are we seen?
    seen: (bool, Option<SocketAddrV4>),
    closing: bool,
}

impl Announcer {
    /// Is it one of the nodes that pass on to us, or was it lately?
    pub(super) fn is_relay(&self, node: SocketAddrV4) -> bool {
        self.rounds.iter().any(|round| round.contains(&node))
    }

    fn newest(&self) -> Vec<SocketAddrV4> {
        self.rounds.back().cloned().unwrap_or_default()
    }
}

impl Dht {
    fn seen_as(&self) -> (bool, Option<SocketAddrV4>) {
        (self.node.is_firewalled(), self.node.nat().address())
    }

    fn announcer(&mut self, target: Id) -> Option<&mut Announcer> {
        self.connect.servers.get_mut(&target).map(|server| &mut server.announcer)
    }

    pub(super) fn announce_round(&mut self, now: Instant, target: Id) {
        let Some(server) = self.connect.servers.get(&target) else { return };
        if matches!(server.announcer.step, Step::Announcing(_) | Step::Withdrawing) {
            return;
        }
        let nodes = server.announcer.closest.clone();
        let announcement = Announcement { nodes, ..Announcement::new(target, &server.pair, Vec::new()) };
        let operation = self.announce_for(now, announcement, For::Announcer(target));
        if let Some(announcer) = self.announcer(target) {
            announcer.step = Step::Announcing(operation);
            announcer.refresh = false;
        }
        // What was asked before says nothing about what comes now.
        self.forget_asked(now, |asked| *asked == Asked::Relay(target));
    }

    pub(in super::super) fn round_over(&mut self, now: Instant, target: Id, summary: &Summary) {
        let own = self.node.remote_address();
        let seen = self.seen_as();
        let Some(announcer) = self.announcer(target) else { return };
        announcer.step = Step::Announced;
        announcer.seen = seen;
        announcer.relays =
            summary.kept_by.iter().map(|(relay, peer)| Relay { relay: *relay, peer: *peer }).collect();
        let nodes: Vec<_> = summary.kept_by.iter().map(|(node, _)| *node).collect();
        announcer.relay_addresses = own.into_iter().chain(nodes.iter().copied()).take(MAX_RELAYS).collect();
        announcer.closest.clone_from(&summary.outcome.closest);
        let before = announcer.newest();
        let dropped: Vec<_> = before.into_iter().filter(|node| !nodes.contains(node)).collect();
        announcer.rounds.push_back(nodes);
        if announcer.rounds.len() > ROUNDS {
            announcer.rounds.pop_front();
        }
        announcer.pings = 0;
        (announcer.asked, announcer.answered) = (0, 0);
        if announcer.closing {
            return self.withdraw(now, target);
        }
        self.connect.timers.set(Timer::Announcer(target), now + PING_EVERY);
        self.say(Event::Listening { server: target });
        if !dropped.is_empty() {
            self.unannounce_for(now, target, dropped, For::Nobody);
        }
    }

    pub(super) fn announcer_timeout(&mut self, now: Instant, target: Id) {
        let seen = self.seen_as();
        let online = self.node.is_online();
        let Some(announcer) = self.announcer(target) else { return };
        if announcer.step != Step::Announced {
            return;
        }
        announcer.pings += 1;
        let moved = announcer.seen != seen && seen.1.is_some();
        let lost = announcer.refresh || announcer.relays.is_empty() && announcer.pings >= 2;
        if (moved || lost || announcer.pings > PINGS) && online {
            return self.announce_round(now, target);
        }
        self.connect.timers.set(Timer::Announcer(target), now + PING_EVERY);
        let Some(announcer) = self.announcer(target) else { return };
        if announcer.asked > 0 {
            return;
        }
        announcer.answered = 0;
        let nodes: Vec<_> = announcer.relays.iter().map(|relay| relay.relay).collect();
        let mut asked = 0;
        for node in nodes {
            if let Some(request) = self.node.ask(now, &Asking::ping(node)) {
                self.requests.insert(request, Asked::Relay(target));
                asked += 1;
            }
        }
        if let Some(announcer) = self.announcer(target) {
            announcer.asked = asked;
        }
    }

    pub(super) fn relay_answered(&mut self, now: Instant, target: Id, answer: Option<&Answer>) {
        let online = self.node.is_online();
        let Some(announcer) = self.announcer(target) else { return };
        announcer.asked = announcer.asked.saturating_sub(1);
        announcer.answered += usize::from(answer.is_some());
        // Where it saw us when we announced is where it passes on to.
        announcer.refresh |= answer.is_some_and(|answer| {
            announcer.relays.iter().any(|relay| relay.relay == answer.from && relay.peer != answer.to)
        });
        if announcer.asked > 0 {
            return;
        }
        announcer.refresh |= announcer.answered < announcer.relays.len().min(ENOUGH);
        if announcer.refresh && announcer.step == Step::Announced && online {
            self.announce_round(now, target);
        }
    }

    /// The network was away, or is another: all servers say anew where they are.
    pub(in super::super) fn announce_again(&mut self, now: Instant) {
        if self.connect.suspended {
            return;
        }
        let targets: Vec<Id> = self.connect.servers.keys().copied().collect();
        for target in targets {
            self.announce_round(now, target);
        }
    }

    pub(super) fn stop_announcing(&mut self, now: Instant, target: Id) {
        let Some(announcer) = self.announcer(target) else { return };
        if std::mem::replace(&mut announcer.closing, true) {
            return;
        }
        // What is under way may have been heard already: it is waited for.
        if !matches!(announcer.step, Step::Announcing(_)) {
            self.withdraw(now, target);
        }
    }

    fn withdraw(&mut self, now: Instant, target: Id) {
        let Some(announcer) = self.announcer(target) else { return };
        let nodes = announcer.newest();
        announcer.step = Step::Withdrawing;
        self.connect.timers.clear(Timer::Announcer(target));
        if nodes.is_empty() {
            return self.withdrawn(now, target);
        }
        self.unannounce_for(now, target, nodes, For::Withdrawal(target));
    }

    pub(in super::super) fn withdrawn(&mut self, now: Instant, target: Id) {
        let suspended = self.connect.suspended;
        let Some(announcer) = self.announcer(target) else { return };
        if announcer.closing {
            return self.closed_server(target);
        }
        announcer.step = Step::Idle;
        announcer.relays.clear();
        announcer.relay_addresses.clear();
        announcer.rounds.clear();
        if suspended {
            self.rested();
        } else {
            self.announce_round(now, target);
        }
    }

    /// Nobody is to find us for now: everything is taken back.
    pub(in super::super) fn rest(&mut self, now: Instant) {
        self.connect.suspended = true;
        for stream in self.connect.dials.keys().copied().collect::<Vec<_>>() {
            self.end_dial(now, stream);
            self.say(Event::DialFailed { stream, error: super::DialError::Suspended });
        }
        let targets: Vec<Id> = self.connect.servers.keys().copied().collect();
        for target in targets {
            self.end_all_accepting(now, target);
            let Some(announcer) = self.announcer(target) else { continue };
            match announcer.step {
                Step::Announcing(operation) => {
                    // What it has told already is found in what was told before, or is
                    // forgotten by the nodes in time.
                    self.cancel(now, operation);
                    self.withdraw(now, target);
                }
                Step::Announced => self.withdraw(now, target),
                Step::Idle | Step::Withdrawing => {}
            }
        }
        self.rested();
    }

    /// And now we are to be found again.
    pub(in super::super) fn wake(&mut self, now: Instant) {
        self.connect.suspended = false;
        self.announce_again(now);
    }

    /// Has everything been taken back?
    fn rested(&mut self) {
        let withdrawing = |server: &super::Listening| server.announcer.step == Step::Withdrawing;
        if self.connect.suspended && !self.connect.servers.values().any(withdrawing) {
            self.say(Event::Rested);
        }
    }
}
