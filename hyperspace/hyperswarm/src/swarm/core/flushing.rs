//! Waiting until everybody who can be reached now has been dialled.

use super::Core;
use super::connections::State;
use super::topic::Topic;
use crate::dht::Id;
use crate::swarm::peer::Peer;
use crate::swarm::types::{Event, WaitId};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[derive(Debug)]
enum Until {
    /// The rounds of these topics have ended.
    Topics(BTreeSet<Id>),
    /// Of those who were to be dialled when so many flushes had been begun, so many more
    /// have been.
    Peers { missing: usize, tick: u64 },
}

/// Somebody waits for those who are dialled for the first time.
#[derive(Debug)]
pub(super) struct Expecting {
    wait: WaitId,
    topic: Option<Id>,
    /// Till then, for those as well who have not answered.
    until: Option<Instant>,
}

#[derive(Debug)]
pub(super) struct Flush {
    pub(super) wait: WaitId,
    until: Until,
}

impl Core {
    /// Tells `wait` when the rounds that there are have ended, and whoever was found has been
    /// dialled, with or without success; or when there are as many connections as there may
    /// be. It is `false` if the swarm is suspended or closed before.
    pub fn flush(&mut self, wait: WaitId) {
        // As soon as something can be sent, all topics have a round.
        let waking = self.is_waking();
        if self.is_stopped() && !waking {
            return self.events.push_back(Event::Done(wait, false));
        }
        let busy = |topic: &Topic| topic.is_busy() || (waking && !topic.sessions.is_empty());
        let busy: BTreeSet<Id> =
            self.topics.iter().filter(|(_, topic)| busy(topic)).map(|(id, _)| *id).collect();
        if busy.is_empty() {
            self.flush_peers(wait);
        } else {
            self.flushes.push(Flush { wait, until: Until::Topics(busy) });
        }
    }

    fn flush_peers(&mut self, wait: WaitId) {
        let opening =
            self.connections.values().filter(|it| it.is_outgoing() && it.state == State::Opening).count();
        let missing = self.queue.len() + opening;
        if missing == 0 || self.is_sated() {
            return self.events.push_back(Event::Done(wait, true));
        }
        let tick = self.flush_tick;
        self.flush_tick += 1;
        self.flushes.push(Flush { wait, until: Until::Peers { missing, tick } });
    }

    /// Tells `wait` when whoever was found of that topic, or of any, has been dialled once;
    /// after `patience`, only those are waited for who have answered meanwhile. (That anybody
    /// is dialled again is no reason to expect him.)
    pub fn expect(&mut self, now: Instant, topic: Option<Id>, patience: Duration, wait: WaitId) {
        self.expecting.push(Expecting { wait, topic, until: Some(now + patience) });
    }

    /// When somebody's patience ends.
    pub(super) fn patience_ends(&self) -> Option<Instant> {
        self.expecting.iter().filter_map(|expecting| expecting.until).min()
    }

    pub(super) fn end_patience(&mut self, now: Instant) {
        for expecting in &mut self.expecting {
            expecting.until = expecting.until.filter(|until| *until > now);
        }
    }

    /// Looks whether that is so. (Seldom does anybody wait.)
    pub(super) fn expected_maybe(&mut self) {
        let mut expecting = std::mem::take(&mut self.expecting);
        expecting.retain(|expecting| {
            let expected = self.is_anybody_expected(expecting);
            if !expected {
                self.events.push_back(Event::Done(expecting.wait, true));
            }
            expected
        });
        self.expecting = expecting;
    }

    fn is_anybody_expected(&self, expecting: &Expecting) -> bool {
        if self.is_stopped() {
            return false;
        }
        let number = expecting.topic.map(|topic| self.topics.get(&topic).map(|topic| topic.number));
        let is_meant = |peer: &Peer| match number {
            None => true,
            Some(number) => number.is_some_and(|number| peer.topics.contains(&number)),
        };
        let opening = |key| {
            let connection = self.by_key.get(key).and_then(|id| self.connections.get(id));
            connection.filter(|connection| connection.state == State::Opening)
        };
        let mut new = self.peers.iter().filter(|(_, peer)| peer.is_new() && is_meant(peer));
        let patient = expecting.until.is_some();
        new.any(|(key, peer)| match opening(key) {
            Some(connection) => patient || connection.has_answered(),
            None => patient && peer.queued.is_some(),
        })
    }

    /// The round of a topic has ended, or will not.
    pub(super) fn flush_topics_maybe(&mut self, id: &Id) {
        let mut ready = Vec::new();
        self.flushes.retain_mut(|flush| {
            let Until::Topics(busy) = &mut flush.until else { return true };
            busy.remove(id);
            if busy.is_empty() {
                ready.push(flush.wait);
            }
            !busy.is_empty()
        });
        ready.into_iter().for_each(|wait| self.flush_peers(wait));
    }

    /// A peer that was queued then has been dialled, with or without success, or will not be.
    pub(super) fn flush_maybe(&mut self, queued: u64) {
        let events = &mut self.events;
        self.flushes.retain_mut(|flush| {
            let Until::Peers { missing, tick } = &mut flush.until else { return true };
            if queued > *tick {
                return true;
            }
            *missing -= 1;
            if *missing == 0 {
                events.push_back(Event::Done(flush.wait, true));
            }
            *missing > 0
        });
    }

    /// No more can be dialled.
    pub(super) fn flush_if_sated(&mut self) {
        if self.flushes.is_empty() || !self.is_sated() {
            return;
        }
        let events = &mut self.events;
        self.flushes.retain(|flush| {
            let waits = matches!(flush.until, Until::Topics(_));
            if !waits {
                events.push_back(Event::Done(flush.wait, true));
            }
            waits
        });
    }
}
