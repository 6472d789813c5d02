//! Whom to dial, and when.

use super::Core;
use super::connections::{Connection, Direction, State};
use crate::dht::Id;
use crate::key_pair::PublicKey;
use crate::swarm::peer::Peer;
use crate::swarm::types::{Action, ConnectionId, Event, Found};
use std::time::{Duration, Instant};

/// An explicit peer is dialled out of turn, unless it failed so often.
const MAX_EXPLICIT_ATTEMPTS: u32 = 5;

impl Core {
    /// Wants a peer, whatever its topics are.
    pub fn join_peer(&mut self, now: Instant, key: PublicKey) {
        if key == *self.gate.key() || self.closed {
            return;
        }
        self.peers.entry(key).or_insert_with(Peer::new).explicit = true;
        self.explicit.insert(key);
        if !self.by_key.contains_key(&key) {
            self.enqueue(key);
        }
        self.drain(now);
    }

    /// Wants it no more than others. A connection stays.
    pub fn leave_peer(&mut self, key: &PublicKey) {
        if self.explicit.remove(key)
            && let Some(peer) = self.peers.get_mut(key)
        {
            peer.explicit = false;
            self.forget_maybe(key);
        }
    }

    /// Never connects with a peer again. A connection that there is stays.
    pub fn ban(&mut self, now: Instant, key: PublicKey) {
        if self.gate.ban(key) {
            self.banned(key);
        }
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.waiting = None;
            self.retries.retain(|waiting| *waiting != key);
        }
        self.drain(now);
    }

    /// Takes that back.
    pub fn unban(&mut self, key: &PublicKey) {
        self.gate.unban(key);
    }

    fn banned(&mut self, key: PublicKey) {
        self.stats.banned += 1;
        self.events.push_back(Event::Banned(key));
    }

    /// A topic has a peer.
    pub(super) fn peer_found(&mut self, id: &Id, round: u64, found: &Found) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        let key = found.key;
        if key == *self.gate.key() {
            return;
        }
        if !self.peers.contains_key(&key) {
            let others = self.connections.len() + self.explicit.len();
            let full = self.peers.len() >= self.config.max_known.saturating_add(others)
                || topic.known >= self.config.max_known_by_topic;
            if full {
                return;
            }
            topic.known += 1;
        }
        let number = topic.number;
        let peer = self.peers.entry(key).or_insert_with(|| Peer { found_by: Some(number), ..Peer::new() });
        peer.relays.clone_from(&found.relays);
        if !peer.topics.contains(&number) {
            peer.topics.push(number);
        }
        let first_time = peer.round < round;
        peer.round = peer.round.max(round);
        if self.by_key.contains_key(&key) || !first_time {
            return;
        }
        peer.found_again();
        self.enqueue(key);
    }

    fn enqueue(&mut self, key: PublicKey) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if !self.gate.is_banned(&key) && peer.may_queue() {
            peer.queued = Some(self.flush_tick);
            self.queue.push(peer.priority, key);
        }
    }

    /// These have waited long enough.
    pub(super) fn requeue(&mut self, keys: Vec<PublicKey>) {
        for key in keys {
            let Some(peer) = self.peers.get_mut(&key) else { continue };
            if peer.waiting.take().is_some() && !self.by_key.contains_key(&key) {
                self.enqueue(key);
            }
            self.forget_maybe(&key);
        }
    }

    fn is_within_limits(&self) -> bool {
        let weight = match self.explicit.len() {
            0 => 1,
            1 => 2,
            2 | 3 => 3,
            _ => 4,
        };
        weight * self.by_key.len() < self.config.max_peers
            && self.clients < self.config.max_client_connections
    }

    pub(super) fn has_capacity(&self) -> bool {
        self.connecting < self.config.max_parallel && self.is_within_limits()
    }

    /// Is everybody dialled who can be?
    pub(super) fn is_sated(&self) -> bool {
        self.connecting == 0 && !self.is_within_limits()
    }

    /// Dials whoever may be.
    pub(super) fn drain(&mut self, now: Instant) {
        if self.is_stopped() || self.held {
            return;
        }
        let out_of_turn: Vec<PublicKey> = self.explicit.iter().copied().collect();
        for key in out_of_turn {
            if self.connecting >= self.config.max_parallel {
                break;
            }
            let Some(peer) = self.peers.get(&key) else { continue };
            let rested = peer.disconnected_at.is_none_or(|at| {
                now.saturating_duration_since(at) >= Duration::from_secs(peer.attempts.into())
            });
            if peer.attempts < MAX_EXPLICIT_ATTEMPTS && rested {
                self.dial(key, None);
            }
        }
        while self.has_capacity()
            && let Some(key) = self.queue.pop(&mut self.random)
        {
            let tick = self.peers.get_mut(&key).and_then(|peer| peer.queued.take());
            if !self.dial(key, tick) {
                self.forget_maybe(&key);
                self.flush_maybe(tick.unwrap_or(self.flush_tick));
            }
        }
        self.flush_if_sated();
    }

    /// Whether it is dialled now.
    fn dial(&mut self, key: PublicKey, tick: Option<u64>) -> bool {
        if self.by_key.contains_key(&key) || self.gate.is_banned(&key) {
            return false;
        }
        if self.gate.refuses(&key, None) {
            self.banned(key);
            return false;
        }
        let id = ConnectionId(self.number());
        let Some(peer) = self.peers.get(&key) else { return false };
        self.stats.attempted += 1;
        self.connecting += 1;
        self.clients += 1;
        self.by_key.insert(key, id);
        let tick = tick.unwrap_or(self.flush_tick);
        let direction = Direction::Outgoing { tick, answered: false };
        self.connections.insert(id, Connection { key, direction, state: State::Opening, successor: None });
        let (relays, force_relay) = (peer.relays.clone(), peer.force_relay);
        self.actions.push_back(Action::Dial { id, key, relays, force_relay });
        true
    }

    /// Is there a reason to be connected with that peer?
    pub(super) fn is_wanted(&self, peer: &Peer) -> bool {
        let wanted = |number| {
            let topic = self.numbers.get(number).and_then(|id| self.topics.get(id));
            topic.is_some_and(|topic| topic.is_client)
        };
        !self.is_stopped() && (peer.explicit || peer.topics.iter().any(wanted))
    }

    /// Forgets a peer, if there is no reason to remember it.
    pub(super) fn forget_maybe(&mut self, key: &PublicKey) {
        let idle = self.peers.get(key).is_some_and(Peer::is_idle);
        if idle && !self.by_key.contains_key(key) {
            self.forget(key);
        }
    }

    fn forget(&mut self, key: &PublicKey) {
        let Some(peer) = self.peers.remove(key) else { return };
        let topic = peer.found_by.and_then(|number| self.numbers.get(&number));
        if let Some(topic) = topic.and_then(|id| self.topics.get_mut(id)) {
            topic.known = topic.known.saturating_sub(1);
        }
    }

    /// Forgets all for whom there is no reason to be remembered.
    pub(super) fn forget_idle(&mut self) {
        let all: Vec<PublicKey> = self.peers.keys().copied().collect();
        all.iter().for_each(|key| self.forget_maybe(key));
    }

    /// A topic is left: whoever is known for nothing else, is not dialled any more.
    pub(super) fn forget_topic(&mut self, number: u32) {
        let mut dropped = Vec::new();
        for (key, peer) in &mut self.peers {
            let before = peer.topics.len();
            peer.topics.retain(|topic| *topic != number);
            if peer.topics.len() < before && peer.topics.is_empty() && !peer.explicit {
                peer.waiting = None;
                dropped.push((*key, peer.queued.take()));
            }
        }
        if dropped.is_empty() {
            return;
        }
        let peers = &self.peers;
        self.queue.retain(|key| peers.get(key).is_some_and(|peer| peer.queued.is_some()));
        self.retries.retain(|key| peers.get(key).is_some_and(|peer| peer.waiting.is_some()));
        for (key, queued) in dropped {
            self.forget_maybe(&key);
            if let Some(tick) = queued {
                self.flush_maybe(tick);
            }
        }
    }
}
