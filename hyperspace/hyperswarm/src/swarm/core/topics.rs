//! Topics: when they are announced and looked up, and how that is taken back.
//!
//! A topic has rounds: in each, it is announced or looked up, and everybody who is found on
//! the way may be dialled. There is one round at a time; who wants one while there is one,
//! shares it, unless something else is wanted now than when it began.

use super::topic::{Stage, Topic};
use super::{Core, Server};
use crate::dht::Id;
use crate::swarm::types::{Action, Ask, Event, Found, Join, QueryId, SessionId, WaitId};
use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

/// A round that is late by more than this is so because the machine slept.
const LATE: Duration = Duration::from_secs(30);

/// How long after the first announcement of a topic we look for those who announced
/// themselves at the same time: each of two who do so finds nobody, unless one of them looks
/// again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How many of those that a round finds are remembered for the limit of the next.
const MAX_DISCOVERED: usize = 64;

impl Core {
    /// Wants a topic, from now on, or in another way than before. What neither wants to find
    /// nor to be found is left.
    pub fn join(&mut self, now: Instant, session: SessionId, topic: Id, join: Join) {
        if self.closed {
            return;
        }
        if !join.server && !join.client {
            return self.leave(now, session, None);
        }
        if self.sessions.insert(session, topic).is_some_and(|other| other != topic) {
            return;
        }
        if !self.topics.contains_key(&topic) {
            // There are never so many topics that no number is free.
            let number = loop {
                let number = self.random.number() as u32;
                if !self.numbers.contains_key(&number) {
                    break number;
                }
            };
            self.numbers.insert(number, topic);
            self.topics.insert(topic, Topic::new(number));
        }
        if let Some(known) = self.topics.get_mut(&topic) {
            known.sessions.insert(session, join);
            known.limit = join.limit;
        }
        self.refresh_topic(now, &topic);
        self.drain(now);
    }

    /// Does not want a topic any more. Told to `wait` when the DHT knows, if nobody else
    /// wants it.
    pub fn leave(&mut self, now: Instant, session: SessionId, wait: Option<WaitId>) {
        let topic = self.sessions.remove(&session);
        let Some((id, topic)) = topic.and_then(|id| Some((id, self.topics.get_mut(&id)?))) else {
            self.events.extend(wait.map(|wait| Event::Done(wait, !self.closed)));
            return;
        };
        topic.sessions.remove(&session);
        let (server, client) = topic.wanted();
        topic.is_client &= client;
        if topic.sessions.is_empty() {
            topic.leaving.extend(wait);
            self.withdraw_topic(now, &id);
        } else {
            if !server && topic.is_told {
                self.refresh_topic(now, &id);
            }
            self.events.extend(wait.map(|wait| Event::Done(wait, true)));
        }
        self.drain(now);
    }

    /// Begins a round now, unless there is one.
    pub fn refresh(&mut self, now: Instant, session: SessionId) {
        if let Some(topic) = self.sessions.get(&session).copied() {
            self.refresh_topic(now, &topic);
        }
    }

    /// Begins a round now of that topic, or of all that are looked up, unless a peer of it is
    /// connected, or the last one began less than `pause` ago.
    pub fn search(&mut self, now: Instant, topic: Option<&Id>, pause: Duration) {
        let connected: BTreeSet<u32> = self
            .connections
            .values()
            .filter(|connection| connection.state.is_open())
            .filter_map(|connection| self.peers.get(&connection.key))
            .flat_map(|peer| peer.topics.iter().copied())
            .collect();
        let is_due = |known: &Topic| {
            let rested = known.began.is_none_or(|at| now.saturating_duration_since(at) >= pause);
            known.is_client && rested && !known.is_busy() && !connected.contains(&known.number)
        };
        let meant =
            self.topics.iter().filter(|(id, known)| topic.is_none_or(|it| it == *id) && is_due(known));
        for id in meant.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.refresh_topic(now, &id);
        }
    }

    /// Tells `wait` when the round that there is has ended: at once, if there is none.
    pub fn flush_topic(&mut self, session: SessionId, wait: WaitId) {
        let waking = self.is_waking();
        let topic = self.sessions.get(&session).and_then(|topic| self.topics.get_mut(topic));
        match topic {
            // As soon as something can be sent, there is one.
            Some(topic) if waking => topic.flushing.push(wait),
            Some(topic) if topic.is_busy() || matches!(topic.stage, Stage::Withdrawing(_)) => {
                topic.flushing.push(wait);
            }
            topic => {
                let well = topic.is_some_and(|topic| topic.failures == 0);
                self.events.push_back(Event::Done(wait, well));
            }
        }
    }

    pub(super) fn refresh_topic(&mut self, now: Instant, id: &Id) {
        let stopped = self.is_stopped();
        let Some(topic) = self.topics.get_mut(id) else { return };
        if stopped || topic.sessions.is_empty() || matches!(topic.stage, Stage::Withdrawing(_)) {
            return;
        }
        let (server, client) = topic.wanted();
        let same = (server, client) == (topic.is_server, topic.is_client);
        if same && topic.is_busy() {
            return;
        }
        if let Stage::Asking { id: query, .. } = topic.stage {
            self.queries.remove(&query);
            self.actions.push_back(Action::GiveUp(query));
        }
        topic.is_server = server;
        topic.is_client = client;
        if topic.stage != Stage::Queued {
            topic.stage = Stage::Queued;
            self.turn.push_back(*id);
        }
        if let Some(due) = topic.due.take() {
            self.timers.remove(&(due, *id));
        }
        self.begin_rounds(now);
    }

    pub(super) fn begin_rounds(&mut self, now: Instant) {
        while self.queries.len() < self.config.max_queries
            && let Some(id) = self.turn.pop_front()
        {
            let Some(topic) = self.topics.get_mut(&id).filter(|topic| topic.stage == Stage::Queued) else {
                continue;
            };
            if topic.is_server && matches!(self.server, Server::No | Server::Starting | Server::Stopping) {
                topic.stage = Stage::Listening;
                if self.server == Server::No {
                    self.server = Server::Starting;
                    self.actions.push_back(Action::Listen);
                }
            } else {
                self.begin_round(now, &id);
            }
        }
    }

    fn begin_round(&mut self, now: Instant, id: &Id) {
        let query = QueryId(self.number());
        self.stats.refreshes += 1;
        let Some(topic) = self.topics.get_mut(id) else { return };
        // Who cannot be reached need not be found.
        let ask = if std::mem::take(&mut topic.look_again) && topic.is_client {
            Ask::Lookup
        } else if topic.is_server && self.server == Server::Yes {
            topic.is_told = true;
            Ask::Announce { clear: !topic.cleared }
        } else if topic.is_told && !topic.is_server {
            Ask::Withdraw
        } else if topic.is_client {
            Ask::Lookup
        } else {
            topic.stage = Stage::Idle;
            return self.round_ended(now, id, false);
        };
        let by_key = &self.by_key;
        let connected = topic.discovered.iter().filter(|key| by_key.contains_key(*key)).count();
        let left = topic.limit.map(|limit| limit.saturating_sub(connected));
        topic.discovered.clear();
        topic.began = Some(now);
        topic.stage = Stage::Asking { id: query, ask, left };
        let nodes = topic.nodes.clone();
        self.queries.insert(query, *id);
        self.actions.push_back(Action::Ask { id: query, topic: *id, ask, nodes });
    }

    /// A node has told of these.
    pub fn found(&mut self, now: Instant, query: QueryId, peers: &[Found]) {
        let Some(id) = self.queries.get(&query).copied().filter(|_| !self.is_stopped()) else { return };
        for found in peers {
            let Some(topic) = self.topics.get_mut(&id) else { return };
            let Stage::Asking { left, .. } = &mut topic.stage else { return };
            if !topic.is_client {
                break;
            }
            if let Some(left) = left {
                let new = !topic.discovered.contains(&found.key);
                if new && topic.discovered.len() < MAX_DISCOVERED {
                    topic.discovered.insert(found.key);
                }
                // Each counts once, whoever tells of it.
                if *left == 0 && (new || !self.peers.contains_key(&found.key)) {
                    continue;
                }
                if new && !self.by_key.contains_key(&found.key) {
                    *left -= 1;
                }
            }
            self.peer_found(&id, query.0, found);
        }
        self.drain(now);
    }

    /// A question has been answered by all, or cannot be. `Ok` gives the nodes that keep
    /// now what was announced.
    pub fn asked(&mut self, now: Instant, query: QueryId, result: Result<Vec<SocketAddrV4>, ()>) {
        let Some(id) = self.queries.remove(&query) else { return };
        let Some(topic) = self.topics.get_mut(&id) else { return };
        match topic.stage {
            Stage::Withdrawing(withdrawing) if withdrawing == query => self.withdrawn(now, &id),
            Stage::Asking { id: asking, ask, .. } if asking == query => {
                let unreachable = topic.is_server && self.server != Server::Yes;
                let well = result.is_ok() && !(unreachable && ask == Ask::Lookup);
                match (ask, result) {
                    (Ask::Announce { clear }, Ok(nodes)) => {
                        topic.look_again = clear && topic.is_client;
                        topic.cleared = true;
                        topic.nodes = nodes;
                    }
                    (Ask::Withdraw, Ok(_)) => {
                        topic.is_told = false;
                        topic.nodes.clear();
                    }
                    _ => {}
                }
                topic.stage = Stage::Idle;
                self.round_ended(now, &id, well);
            }
            _ => {}
        }
        self.begin_rounds(now);
        self.drain(now);
    }

    fn round_ended(&mut self, now: Instant, id: &Id, well: bool) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        topic.failures = if well { 0 } else { topic.failures.saturating_add(1) };
        let waits = std::mem::take(&mut topic.flushing);
        self.events.extend(waits.into_iter().map(|wait| Event::Done(wait, well)));
        let wait = match topic.failures {
            0 if topic.look_again => LOOK_AGAIN,
            0 => self.config.refresh,
            failures => (self.config.refresh_again * (1 << (failures - 1).min(10))).min(self.config.refresh),
        };
        let jitter = self.config.refresh_jitter.min(if wait == LOOK_AGAIN { 2 * wait } else { wait / 2 });
        self.schedule(id, now + wait, jitter);
        self.flush_topics_maybe(id);
    }

    /// The next round of a topic, at some time from `at` on.
    fn schedule(&mut self, id: &Id, at: Instant, jitter: Duration) {
        let later = Duration::from_millis(self.random.below(jitter.as_millis() as u64 + 1));
        let Some(topic) = self.topics.get_mut(id) else { return };
        if let Some(due) = topic.due.replace(at + later) {
            self.timers.remove(&(due, *id));
        }
        self.timers.insert((at + later, *id));
    }

    pub(super) fn topics_due(&mut self, now: Instant) {
        while let Some((due, id)) = self.timers.first().copied().filter(|(due, _)| *due <= now) {
            self.timers.remove(&(due, id));
            let Some(topic) = self.topics.get_mut(&id) else { continue };
            topic.due = None;
            let late = now.saturating_duration_since(due) > LATE;
            topic.put_off = late && !topic.put_off;
            if topic.put_off {
                // The machine slept, as others did perhaps: not all at once.
                let jitter = self.config.refresh_jitter;
                self.schedule(&id, now, jitter);
            } else {
                self.refresh_topic(now, &id);
            }
        }
    }
}
