//! What others answer us, or do not.

use super::super::address::{node_id, write_v4};
use super::super::message::{Reply, internal};
use super::super::query::Answer;
use super::super::requests::{Flight, Purpose};
use super::{Event, Node, OLD, Socket};
use compact_encoding::Writer;
use std::net::SocketAddrV4;
use std::time::Instant;

impl Node {
    pub(super) fn replied(&mut self, now: Instant, socket: Socket, from: SocketAddrV4, reply: &Reply<'_>) {
        // Late ones, second ones, and those that nobody asked for.
        let Some(flight) = self.requests.answered(now, reply.tid, from) else { return };
        self.health.answered();
        self.last_heard = Some(now);
        let id = reply.id.filter(|id| *id == node_id(from));
        if let Some(id) = id {
            self.observe(now, id, from);
        }
        if socket == self.socket() {
            self.sample(id.is_some(), from, reply.to);
        }
        let slow = flight.is_slow();
        let answer = || Answer {
            from,
            id,
            to: reply.to,
            token: reply.token,
            error: reply.error,
            value: reply.value.map(<[u8]>::to_vec),
        };
        match flight.purpose {
            Purpose::Visit(query) => self.visited(now, query, answer(), &reply.closer, slow),
            Purpose::Commit(query) => self.committed(query, from, reply.error == 0),
            Purpose::Check(contact) => {
                self.checks = self.checks.saturating_sub(1);
                if id != Some(contact) {
                    // It is there, but does not want to be a contact any more.
                    self.table.remove(&contact);
                }
            }
            Purpose::Evict { old, newcomer } => self.challenged(old, newcomer, id == Some(old)),
            Purpose::QuickTest => self.tested(now, socket == Socket::Server),
            Purpose::Reachability => self.probed(now, (socket == Socket::Server).then_some(reply.to)),
            Purpose::Hint => {}
            Purpose::Application(request) => {
                self.events.push_back(Event::Answered { request, answer: Some(answer()) });
            }
        }
        self.requests.release(now, &mut self.random, &mut self.out);
    }

    /// A request has been sent often enough, and nothing has come.
    pub(super) fn unanswered(&mut self, now: Instant, flight: Flight) {
        self.health.unanswered();
        // While nothing at all comes from others, it says nothing about a node that it does not
        // answer. Nor does it, if the answer is not the node's own, or was asked for only once.
        let others_are_there = self.last_heard.is_some_and(|last| last >= flight.begun);
        let own_answer =
            !matches!(flight.purpose, Purpose::QuickTest | Purpose::Reachability | Purpose::Application(_));
        if others_are_there && own_answer {
            self.table.remove(&node_id(flight.to));
        }
        let slow = flight.is_slow();
        match flight.purpose {
            Purpose::Visit(query) => self.not_visited(now, query, flight.to, slow),
            Purpose::Commit(query) => self.committed(query, flight.to, false),
            Purpose::Check(_) => self.checks = self.checks.saturating_sub(1),
            Purpose::Evict { old, newcomer } => self.challenged(old, newcomer, !others_are_there),
            Purpose::QuickTest => self.tested(now, false),
            Purpose::Reachability => self.probed(now, None),
            Purpose::Hint => {}
            Purpose::Application(request) => {
                self.events.push_back(Event::Answered { request, answer: None });
            }
        }
    }

    pub(super) fn slow(&mut self, now: Instant, purpose: Purpose) {
        if let Purpose::Visit(query) = purpose {
            self.slowed(now, query);
        }
    }

    fn challenged(&mut self, old: super::Id, newcomer: SocketAddrV4, kept: bool) {
        self.swaps = self.swaps.saturating_sub(1);
        if !kept {
            self.table.remove(&old);
            self.learn(newcomer);
        }
    }

    /// Counts where a node sees us: each node once, and again after a while. Only answers
    /// to what we asked are counted, since nobody can send those but who was asked.
    fn sample(&mut self, has_id: bool, from: SocketAddrV4, seen_at: SocketAddrV4) {
        let tick = self.ticks.now();
        if !has_id {
            let most = self.config.bootstrap.len().max(1);
            if self.strangers.len() < most && self.strangers.insert(from) {
                self.nat.add(seen_at);
            }
        } else if let Some(contact) = self.table.get_mut(&node_id(from))
            && (contact.sampled == 0 || tick - contact.sampled >= OLD)
        {
            contact.sampled = tick;
            self.nat.add(seen_at);
        }
    }

    /// Tells a node that another, which it named, is down.
    pub(super) fn hint(&mut self, now: Instant, to: SocketAddrV4, down: SocketAddrV4) {
        if self.ticks.may_hint() {
            let mut value = Writer::new();
            write_v4(&mut value, down);
            self.send_internal(now, to, Purpose::Hint, internal::DOWN_HINT, Some(value.as_slice()), 0);
        }
    }
}
