//! Runs queries.

use super::super::address::is_plausible;
use super::super::message::Request;
use super::super::query::{Answer, Query, QueryId, Running, Seeds};
use super::super::requests::{Purpose, Sending};
use super::super::table::K;
use super::{Commitment, Event, Node, Outcome};
use std::net::SocketAddrV4;
use std::time::Instant;

impl Node {
    /// Begins a query. [`Event::Found`] tells of every answer, [`Event::Finished`] of the
    /// end.
    pub fn query(&mut self, now: Instant, query: Query) -> QueryId {
        let id = QueryId(self.number());
        self.ticks.queried();
        self.queries.insert(id, Running::new(query, *self.table.id()));
        self.pump(now, id);
        id
    }

    /// Ends a query early; nothing more is told of it.
    pub fn cancel_query(&mut self, now: Instant, query: QueryId) {
        self.queries.remove(&query);
        self.requests.cancel(
            now,
            |purpose| matches!(purpose, Purpose::Visit(id) | Purpose::Commit(id) if *id == query),
        );
        self.requests.release(now, &mut self.random, &mut self.out);
    }

    /// Answers [`Event::Commit`]: what is told to whom. With nothing to tell, the query is
    /// over.
    pub fn commit(&mut self, now: Instant, query: QueryId, commitments: Vec<Commitment>) {
        let Some(running) = self.queries.get(&query) else { return };
        let target = running.query.target;
        let retries = running.query.retries.unwrap_or(self.config.retries);
        let mut in_flight = 0;
        let mut failures = Vec::new();
        for commitment in commitments {
            let sending = Sending {
                to: commitment.to,
                socket: self.socket(),
                purpose: Purpose::Commit(query),
                retries,
                timeout: None,
                force: false,
            };
            let request = Request {
                tid: 0,
                to: commitment.to,
                id: None,
                token: Some(commitment.token),
                internal: false,
                command: commitment.command,
                target: Some(target),
                value: commitment.value.as_deref(),
            };
            if self.send(now, sending, request) {
                in_flight += 1;
            } else {
                failures.push(commitment.to);
            }
        }
        if let Some(running) = self.queries.get_mut(&query) {
            running.commits.in_flight += in_flight;
            running.commits.failures.extend(failures);
        }
        self.end_if_committed(query);
    }

    /// Asks whoever can be asked, and ends the query when nobody is left.
    pub(super) fn pump(&mut self, now: Instant, id: QueryId) {
        // Taken out, so that the rest of the node can be used.
        let Some(mut running) = self.queries.remove(&id) else { return };
        while let Some(seeds) = running.wants_seeds() {
            self.seed(&mut running, seeds);
        }
        loop {
            while let Some(address) = running.next() {
                if !self.visit(now, id, &running.query, address) {
                    running.silent(address, false);
                }
            }
            match running.wants_seeds() {
                Some(seeds) => self.seed(&mut running, seeds),
                None => break,
            }
        }
        if !running.is_over() || running.commits.asked {
            self.queries.insert(id, running);
        } else if running.query.commit {
            running.commits.asked = true;
            self.events.push_back(Event::Commit { query: id, closest: running.closest().cloned().collect() });
            self.queries.insert(id, running);
        } else {
            self.finish(now, id, &running);
        }
    }

    fn seed(&mut self, running: &mut Running, seeds: Seeds) {
        let nodes = match seeds {
            Seeds::Table => &self.table.closest(&running.query.target, K),
            Seeds::Bootstrap | Seeds::Nowhere => &self.config.bootstrap,
        };
        for address in nodes {
            running.add(*address, None);
        }
    }

    fn visit(&mut self, now: Instant, id: QueryId, query: &Query, to: SocketAddrV4) -> bool {
        let retries = if query.force { 0 } else { query.retries.unwrap_or(self.config.query_retries) };
        let purpose = Purpose::Visit(id);
        let sending =
            Sending { to, socket: self.socket(), purpose, retries, timeout: None, force: query.force };
        let request = Request {
            tid: 0,
            to,
            id: None,
            token: None,
            internal: query.internal,
            command: query.command,
            target: Some(query.target),
            value: query.value.as_deref(),
        };
        self.send(now, sending, request)
    }

    pub(super) fn visited(
        &mut self,
        now: Instant,
        id: QueryId,
        answer: Answer,
        closer: &[SocketAddrV4],
        slow: bool,
    ) {
        self.first_answer(now, id, answer.from);
        let Some(running) = self.queries.get_mut(&id) else { return };
        if answer.error == 0 && !running.query.quiet {
            self.events.push_back(Event::Found { query: id, answer: answer.clone() });
        }
        let from = answer.from;
        let refuses = self.config.refuses;
        let closer: Vec<_> = closer
            .iter()
            .copied()
            .filter(|address| is_plausible(*address, from) && !refuses(*address))
            .collect();
        let down = running.answered(answer, &closer, slow);
        for address in down {
            self.hint(now, from, address);
        }
        self.pump(now, id);
    }

    pub(super) fn not_visited(&mut self, now: Instant, id: QueryId, address: SocketAddrV4, slow: bool) {
        let Some(running) = self.queries.get_mut(&id) else { return };
        for referrer in running.silent(address, slow) {
            self.hint(now, referrer, address);
        }
        self.pump(now, id);
    }

    pub(super) fn slowed(&mut self, now: Instant, id: QueryId) {
        if let Some(running) = self.queries.get_mut(&id) {
            running.slowed();
            self.pump(now, id);
        }
    }

    pub(super) fn committed(&mut self, id: QueryId, node: SocketAddrV4, well: bool) {
        if let Some(running) = self.queries.get_mut(&id) {
            let commits = &mut running.commits;
            commits.in_flight = commits.in_flight.saturating_sub(1);
            if well {
                commits.successes += 1;
            } else {
                commits.failures.push(node);
            }
        }
        self.end_if_committed(id);
    }

    fn end_if_committed(&mut self, id: QueryId) {
        let over = |running: &Running| running.commits.asked && running.commits.in_flight == 0;
        if self.queries.get(&id).is_some_and(over)
            && let Some(running) = self.queries.remove(&id)
        {
            self.events.push_back(Event::Finished { query: id, outcome: outcome(&running) });
        }
    }

    fn finish(&mut self, now: Instant, id: QueryId, running: &Running) {
        if running.query.quiet {
            self.bootstrapped(now, id);
        } else {
            self.events.push_back(Event::Finished { query: id, outcome: outcome(running) });
        }
    }
}

fn outcome(running: &Running) -> Outcome {
    Outcome {
        closest: running.closest().map(|answer| answer.from).collect(),
        successes: running.successes,
        failures: running.failures,
        committed: running.commits.successes,
        silent_commits: running.commits.failures.clone(),
    }
}
