//! Being found: what is announced is taken back, and the server that peers dial comes and
//! goes.

use super::topic::Stage;
use super::{Core, LISTEN_AGAIN, Server};
use crate::dht::Id;
use crate::swarm::types::{Action, Ask, Event, QueryId};
use std::time::Instant;

impl Core {
    /// Has it taken back that we are there.
    pub(super) fn withdraw_topic(&mut self, now: Instant, id: &Id) {
        let query = QueryId(self.number());
        let Some(topic) = self.topics.get_mut(id) else { return };
        if let Some(due) = topic.due.take() {
            self.timers.remove(&(due, *id));
        }
        // The next round, if there is one, is to announce it anew.
        topic.look_again = false;
        let mut partly = false;
        match topic.stage {
            Stage::Asking { id: asking, ask, .. } => {
                self.queries.remove(&asking);
                self.actions.push_back(Action::GiveUp(asking));
                partly = matches!(ask, Ask::Announce { .. });
            }
            Stage::Withdrawing(_) => return,
            _ => {}
        }
        let waits = std::mem::take(&mut topic.flushing);
        self.events.extend(waits.into_iter().map(|wait| Event::Done(wait, false)));
        if !topic.is_told {
            self.withdrawn(now, id);
            return self.begin_rounds(now);
        }
        topic.stage = Stage::Withdrawing(query);
        // If we were just about to tell some more nodes, it is not known which.
        let (ask, nodes) = if partly || topic.nodes.is_empty() {
            (Ask::Withdraw, topic.nodes.clone())
        } else {
            (Ask::WithdrawThere, std::mem::take(&mut topic.nodes))
        };
        self.queries.insert(query, *id);
        self.actions.push_back(Action::Ask { id: query, topic: *id, ask, nodes });
        self.flush_topics_maybe(id);
        self.begin_rounds(now);
    }

    /// Nobody knows any more that we are there.
    pub(super) fn withdrawn(&mut self, now: Instant, id: &Id) {
        let Some(topic) = self.topics.get_mut(id) else { return };
        topic.stage = Stage::Idle;
        topic.is_told = false;
        topic.nodes.clear();
        let waits = std::mem::take(&mut topic.leaving);
        self.events.extend(waits.into_iter().map(|wait| Event::Done(wait, true)));
        if topic.sessions.is_empty() {
            let waits = std::mem::take(&mut topic.flushing);
            self.events.extend(waits.into_iter().map(|wait| Event::Done(wait, false)));
            let number = topic.number;
            self.topics.remove(id);
            self.numbers.remove(&number);
            self.forget_topic(number);
            self.flush_topics_maybe(id);
        } else {
            self.refresh_topic(now, id);
        }
        self.stopped_maybe(now);
    }

    /// We are reachable under our key, or cannot be.
    pub fn listening(&mut self, now: Instant, well: bool) {
        if self.server != Server::Starting {
            return;
        }
        self.server = if well { Server::Yes } else { Server::Failed(now + LISTEN_AGAIN) };
        self.end_listening(now, well);
    }

    /// Topics go on that waited for that, and those that did without it are announced.
    fn end_listening(&mut self, now: Instant, well: bool) {
        let all: Vec<Id> = self.topics.keys().copied().collect();
        for id in all {
            let Some(topic) = self.topics.get_mut(&id) else { continue };
            if topic.stage == Stage::Listening {
                topic.stage = Stage::Queued;
                self.turn.push_back(id);
            } else if well && topic.is_server && topic.stage == Stage::Idle {
                self.refresh_topic(now, &id);
            }
        }
        self.begin_rounds(now);
    }

    /// We are reachable no more, since [`Action::Unlisten`], or for a reason of its own.
    pub fn unlistened(&mut self, now: Instant) {
        match self.server {
            Server::Stopping => self.server = Server::No,
            Server::Starting | Server::Yes => self.server = Server::Failed(now + LISTEN_AGAIN),
            Server::No | Server::Failed(_) => return,
        }
        // It may be wanted again by now.
        if self.server == Server::No && self.wants_server() {
            self.server = Server::Starting;
            self.actions.push_back(Action::Listen);
        } else {
            self.end_listening(now, false);
        }
        self.stopped_maybe(now);
    }
}
