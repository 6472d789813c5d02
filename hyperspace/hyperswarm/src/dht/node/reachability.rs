//! The beginning of a node, and how it finds out whether strangers reach it.
//!
//! To begin with, a node looks for its own id: whoever is closest will be its neighbour.
//! The first that answers is asked to answer to the server socket as well. Comes that, it
//! is worth asking more of them; if most of their answers come, and all see us at the same
//! address, strangers can reach us.

use super::super::address::{Id, node_id};
use super::super::message::internal;
use super::super::nat::NatSampler;
use super::super::query::{Query, QueryId};
use super::super::requests::Purpose;
use super::{Event, Node};
use std::net::SocketAddrV4;
use std::time::Instant;

/// How many nodes are asked whether they can reach us, and how many must.
const ASKED: usize = 5;
const MUST: usize = 3;

/// How many nodes are asked at once while nobody waits for the outcome.
const BACKGROUND: usize = 3;

/// What a node does first.
#[derive(Debug, Default)]
pub(super) struct Bootstrap {
    step: Step,
    quick: Quick,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Idle,
    /// The query for our own id.
    First(QueryId),
    /// It is over; the quick test is not.
    Quick,
    /// The thorough test.
    Thorough,
    /// The same query again, from the socket that others reach.
    Second(QueryId),
    Done,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Quick {
    #[default]
    NotAsked,
    Asked,
    Passed,
    Failed,
}

impl Bootstrap {
    pub(super) fn is_done(&self) -> bool {
        self.step == Step::Done
    }
}

/// A thorough test.
#[derive(Debug)]
pub(super) struct Reachability {
    /// Become persistent if it turns out well?
    persist: bool,
    outstanding: usize,
    must: usize,
    answers: usize,
    seen_at: NatSampler,
}

impl Node {
    pub(super) fn begin(&mut self, now: Instant) {
        let query = self.look_for_ourselves(now);
        self.bootstrap.step = Step::First(query);
        // It is over already, if there is nobody.
        if !self.queries.contains_key(&query) {
            self.bootstrapped(now, query);
        }
    }

    fn look_for_ourselves(&mut self, now: Instant) -> QueryId {
        self.look_around(now, *self.table.id())
    }

    /// A query of our own: who it meets, and who meets us, is what it is for.
    pub(super) fn look_around(&mut self, now: Instant, target: Id) -> QueryId {
        self.query(now, Query { concurrency: BACKGROUND, quiet: true, ..Query::find_node(target) })
    }

    /// A query was answered: if it is our first one, whoever answered can help.
    pub(super) fn first_answer(&mut self, now: Instant, query: QueryId, from: SocketAddrV4) {
        let first = self.bootstrap.step == Step::First(query) && self.bootstrap.quick == Quick::NotAsked;
        if first && self.firewalled && self.config.test_reachability && self.config.ephemeral != Some(false) {
            self.bootstrap.quick = Quick::Asked;
            self.ping_nat(now, from, Purpose::QuickTest, 1);
        }
    }

    /// Asks a node to answer to our server socket.
    fn ping_nat(&mut self, now: Instant, to: SocketAddrV4, purpose: Purpose, retries: u32) -> bool {
        let port = self.config.server_port.to_le_bytes();
        self.send_internal(now, to, purpose, internal::PING_NAT, Some(&port), retries)
    }

    /// The quick test is over.
    pub(super) fn tested(&mut self, now: Instant, passed: bool) {
        self.bootstrap.quick = if passed { Quick::Passed } else { Quick::Failed };
        if self.bootstrap.step == Step::Quick {
            self.after_first(now);
        }
    }

    /// A query of our own is over.
    pub(super) fn bootstrapped(&mut self, now: Instant, query: QueryId) {
        if self.bootstrap.step == Step::First(query) {
            self.after_first(now);
        } else if self.bootstrap.step == Step::Second(query) {
            self.ready();
        }
    }

    fn after_first(&mut self, now: Instant) {
        let persist = self.config.ephemeral == Some(false);
        match self.bootstrap.quick {
            Quick::Asked => self.bootstrap.step = Step::Quick,
            Quick::NotAsked | Quick::Failed if !persist => self.ready(),
            _ => {
                self.bootstrap.step = Step::Thorough;
                self.test(now, persist);
            }
        }
    }

    fn ready(&mut self) {
        self.bootstrap.step = Step::Done;
        self.events.push_back(Event::Ready);
    }

    /// Begins a thorough test, unless there is nothing to find out.
    pub(super) fn test(&mut self, now: Instant, persist: bool) {
        if !self.ephemeral || self.reachability.is_some() || self.nat.consistent().is_none() {
            return self.test_over(now, false);
        }
        if self.firewalled && !self.config.test_reachability {
            return self.test_over(now, false);
        }
        if !self.firewalled {
            let seen_at = self.nat.clone();
            return self.test_passed(now, persist, seen_at);
        }
        let contacts = self.table.by_heard(ASKED, true);
        let mut nodes: Vec<_> = contacts.into_iter().map(|contact| contact.address).collect();
        if nodes.len() < ASKED {
            let others = self.config.bootstrap.iter().filter(|address| !nodes.contains(address));
            nodes.extend(others.copied().take(ASKED).collect::<Vec<_>>());
        }
        let must = if nodes.len() < ASKED { 1 } else { MUST };
        let sent = nodes.iter().filter(|node| self.ping_nat(now, **node, Purpose::Reachability, 1)).count();
        if sent == 0 {
            return self.test_over(now, false);
        }
        let seen_at = NatSampler::default();
        self.reachability = Some(Reachability { persist, outstanding: sent, must, answers: 0, seen_at });
    }

    /// One of the nodes that were asked has answered to the server socket, or has not.
    pub(super) fn probed(&mut self, now: Instant, seen_at: Option<SocketAddrV4>) {
        let Some(test) = &mut self.reachability else { return };
        test.outstanding = test.outstanding.saturating_sub(1);
        if let Some(address) = seen_at {
            test.answers += 1;
            test.seen_at.add(address);
        }
        if test.outstanding > 0 {
            return;
        }
        let Some(test) = self.reachability.take() else { return };
        let port = test.seen_at.consistent().map(|address| address.port());
        let passed = test.answers >= test.must
            && test.seen_at.host() == self.nat.host()
            && port == Some(self.config.server_port);
        if passed {
            self.test_passed(now, test.persist, test.seen_at);
        } else {
            self.test_over(now, false);
        }
    }

    fn test_passed(&mut self, now: Instant, persist: bool, seen_at: NatSampler) {
        self.firewalled = false;
        self.nat = seen_at;
        if let Some(address) = self.nat.consistent().filter(|_| persist) {
            self.ephemeral = false;
            let id = node_id(address);
            if id != *self.table.id() {
                self.move_to(id);
                if self.is_ready() {
                    self.refresh(now);
                }
            }
            self.events.push_back(Event::Persistent(id));
        }
        self.test_over(now, true);
    }

    fn test_over(&mut self, now: Instant, passed: bool) {
        if self.bootstrap.step != Step::Thorough {
            return;
        }
        if !passed {
            return self.ready();
        }
        // Once more, so that the neighbours hear of us.
        let query = self.look_for_ourselves(now);
        if self.queries.contains_key(&query) {
            self.bootstrap.step = Step::Second(query);
        } else {
            self.ready();
        }
    }
}
