//! Connections, from when they are dialled or come in until they are over; and which of two
//! with the same peer is kept.

use super::Core;
use crate::key_pair::PublicKey;
use crate::swarm::peer::Peer;
use crate::swarm::types::{Action, CloseReason, ConnectionId, Ended, Event};
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// We have dialled it, when so many flushes had been begun.
    Outgoing {
        tick: u64,
        /// It is there, though there may be no way to it yet.
        answered: bool,
    },
    Incoming,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It is being dialled, or accepted.
    Opening,
    /// It came in, and waits until the one that it replaces is over.
    Waiting,
    Open {
        since: Instant,
    },
    /// It was open, and we have given it up.
    Closing,
}

impl State {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) key: PublicKey,
    pub(super) direction: Direction,
    pub(super) state: State,
    /// The one that replaces it, when it is over.
    pub(super) successor: Option<ConnectionId>,
}

impl Connection {
    pub(super) fn is_outgoing(&self) -> bool {
        matches!(self.direction, Direction::Outgoing { .. })
    }

    pub(super) fn has_answered(&self) -> bool {
        !matches!(self.direction, Direction::Outgoing { answered: false, .. })
    }
}

impl Core {
    /// A peer has dialled us, and has proven its key. `None`: it is refused. Otherwise
    /// [`Action::Accept`] follows, at once or when another connection is over.
    /// `established` says whether anything was ever received on the connection
    /// [with the same peer](Core::connection_with), if there is one.
    pub fn incoming(&mut self, now: Instant, key: PublicKey, established: bool) -> Option<ConnectionId> {
        if self.is_stopped() || key == *self.gate.key() || self.gate.is_banned(&key) {
            return None;
        }
        let id = ConnectionId(self.next_number + 1);
        let existing = self.by_key.get(&key).copied();
        let state = existing.and_then(|existing| self.connections.get(&existing)).map(|it| it.state);
        let (Some(existing), Some(state)) = (existing, state) else {
            if self.servers >= self.config.max_server_connections {
                self.stats.refused += 1;
                return None;
            }
            self.number();
            self.accept(id, key);
            return Some(id);
        };
        self.stats.duplicates += 1;
        let is_outdated = match state {
            State::Open { since } => {
                established && now.saturating_duration_since(since) >= self.config.settle
            }
            State::Closing => true,
            State::Opening | State::Waiting => false,
        };
        // If both dial at once, both keep the one that the greater key has dialled.
        if !is_outdated && key < *self.gate.key() {
            if state.is_open() {
                self.actions.push_back(Action::Probe(existing));
            }
            return None;
        }
        self.number();
        if state == State::Opening {
            self.give_up(now, existing, CloseReason::Duplicate);
            self.accept(id, key);
            return Some(id);
        }
        let waiting =
            Connection { key, direction: Direction::Incoming, state: State::Waiting, successor: None };
        self.servers += 1;
        self.connections.insert(id, waiting);
        // Of several that wait, the last is the one that the peer still knows.
        let superseded = self.connections.get_mut(&existing).and_then(|it| it.successor.replace(id));
        if let Some(superseded) = superseded {
            self.give_up(now, superseded, CloseReason::Duplicate);
        }
        self.give_up(now, existing, CloseReason::Duplicate);
        Some(id)
    }

    fn accept(&mut self, id: ConnectionId, key: PublicKey) {
        let accepted =
            Connection { key, direction: Direction::Incoming, state: State::Opening, successor: None };
        self.servers += 1;
        self.connections.insert(id, accepted);
        self.by_key.insert(key, id);
        self.actions.push_back(Action::Accept(id));
    }

    /// A connection is open: the peer is there.
    pub fn opened(&mut self, now: Instant, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.state != State::Opening {
            return;
        }
        connection.state = State::Open { since: now };
        let (key, direction) = (connection.key, connection.direction);
        let peer = self.peers.entry(key).or_insert_with(Peer::new);
        self.events.push_back(Event::Opened(id));
        match direction {
            Direction::Outgoing { tick, .. } => {
                peer.connected(now);
                self.stats.client_opened += 1;
                self.connecting -= 1;
                self.flush_maybe(tick);
            }
            Direction::Incoming => {
                peer.client = false;
                self.stats.server_opened += 1;
            }
        }
        self.drain(now);
    }

    /// A connection is over, or did not open.
    pub fn closed(&mut self, now: Instant, id: ConnectionId, ended: Ended) {
        self.over(now, id, ended);
        self.drain(now);
        self.stopped_maybe(now);
    }

    /// A peer that is dialled has answered. There may be no way to it yet.
    pub fn answered(&mut self, id: ConnectionId) {
        let direction = self.connections.get_mut(&id).map(|connection| &mut connection.direction);
        if let Some(Direction::Outgoing { answered, .. }) = direction {
            *answered = true;
        }
    }

    /// Gives a connection up. An open one is over when the driver says so.
    pub(super) fn give_up(&mut self, now: Instant, id: ConnectionId, reason: CloseReason) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.state {
            State::Closing => {}
            State::Open { .. } => {
                connection.state = State::Closing;
                self.actions.push_back(Action::Close(id, reason));
            }
            State::Opening | State::Waiting => {
                self.actions.push_back(Action::Close(id, reason));
                self.over(now, id, Ended::Anyhow);
            }
        }
    }

    /// Forgets a connection, and goes on with the one that replaces it.
    fn over(&mut self, now: Instant, id: ConnectionId, ended: Ended) {
        let Some(Connection { key, direction, state, successor }) = self.connections.remove(&id) else {
            return;
        };
        if self.by_key.get(&key) == Some(&id) {
            self.by_key.remove(&key);
        }
        if matches!(state, State::Open { .. } | State::Closing) {
            self.events.push_back(Event::Closed(id));
        }
        match direction {
            Direction::Outgoing { tick, .. } => {
                self.stats.client_closed += 1;
                self.clients -= 1;
                if state == State::Opening {
                    self.connecting -= 1;
                    self.flush_maybe(tick);
                }
                self.lost(now, &key, ended);
            }
            Direction::Incoming => {
                self.servers -= 1;
                if matches!(state, State::Open { .. } | State::Closing) {
                    self.stats.server_closed += 1;
                }
            }
        }
        match successor.and_then(|next| self.connections.get_mut(&next).map(|connection| (next, connection)))
        {
            Some((next, connection)) => {
                connection.state = State::Opening;
                self.by_key.insert(key, next);
                self.actions.push_back(Action::Accept(next));
            }
            None => self.forget_maybe(&key),
        }
    }

    /// A connection of ours is over: the peer may be dialled again, after a while.
    fn lost(&mut self, now: Instant, key: &PublicKey, ended: Ended) {
        let Some(peer) = self.peers.get_mut(key) else { return };
        if ended == Ended::NoWay {
            peer.force_relay = true;
            peer.attempts = 0;
        }
        peer.disconnected(now, &self.config);
        let wait = peer.backoff().filter(|_| !self.gate.is_banned(key));
        let Some(peer) = self.peers.get(key) else { return };
        if self.is_wanted(peer)
            && let Some(wait) = wait
            && let Some(peer) = self.peers.get_mut(key)
            && peer.waiting.replace(wait).is_none()
        {
            self.retries.add(wait, *key, now);
        }
    }
}
