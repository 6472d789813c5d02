//! A query: step by step towards the nodes that are closest to a target.
//!
//! Asked are the closest that we have heard of, and whoever answers names others. It ends
//! when the [`K`] closest that answered are known and nobody closer is left to ask.
//!
//! Bounds: at most [`MAX_SEEN`] addresses are remembered in one query, and so at most as
//! many asked, whatever the nodes answer.

use super::address::{Id, distance, node_id};
use super::message::MAX_CLOSER;
use super::table::K;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddrV4;

/// The most addresses that one query takes in.
pub const MAX_SEEN: usize = 1000;

/// Those who named an address and want to know that it is down.
const MAX_REFERRERS: usize = 8;

/// With fewer answers than this, a query that was begun with given nodes asks the table.
const TOO_FEW: usize = K / 4;

/// Names a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId(pub(crate) u64);

/// What is asked of every node on the way.
#[derive(Clone, Debug)]
pub struct Query {
    /// Towards what.
    pub target: Id,
    /// A command of the DHT itself?
    pub internal: bool,
    /// What is asked.
    pub command: u64,
    /// And what belongs to it.
    pub value: Option<Vec<u8>>,
    /// Is something to be told to the closest nodes in the end? Then
    /// [`Event::Commit`](super::Event::Commit) comes.
    pub commit: bool,
    /// How many are asked at once.
    pub concurrency: usize,
    /// Nodes to begin with, before those of the table.
    pub nodes: Vec<SocketAddrV4>,
    /// Ask nobody but them.
    pub only_nodes: bool,
    /// Ask each only once, and do not wait for others.
    pub force: bool,
    /// How many times a question is sent again; the node's default if none.
    pub retries: Option<u32>,
    /// One of the node's own, of which nobody is told.
    pub(crate) quiet: bool,
}

impl Query {
    /// A query of an application's command, with what is usual.
    pub fn new(command: u64, target: Id) -> Self {
        Self {
            target,
            internal: false,
            command,
            value: None,
            commit: false,
            concurrency: 10,
            nodes: Vec::new(),
            only_nodes: false,
            force: false,
            retries: None,
            quiet: false,
        }
    }

    /// Merely finds the closest nodes.
    pub fn find_node(target: Id) -> Self {
        Self { internal: true, ..Self::new(super::message::internal::FIND_NODE, target) }
    }
}

/// A node's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Who answered.
    pub from: SocketAddrV4,
    /// Its id, if it is a node that others may be told of.
    pub id: Option<Id>,
    /// Our address, as it sees us.
    pub to: SocketAddrV4,
    /// To commit something there.
    pub token: Option<[u8; 32]>,
    /// 0, or why it did not do what was asked.
    pub error: u64,
    /// The answer proper.
    pub value: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Seen {
    Waiting(Vec<SocketAddrV4>),
    Done,
    Down,
}

/// A query that is under way.
#[derive(Debug)]
pub(crate) struct Running {
    pub query: Query,
    own_id: Id,
    /// Who may be asked, by distance.
    pending: BTreeMap<Id, SocketAddrV4>,
    seen: HashMap<SocketAddrV4, Seen>,
    closest: BTreeMap<Id, Answer>,
    in_flight: usize,
    slow: usize,
    pub successes: usize,
    pub failures: usize,
    seeds: Seeds,
    pub commits: Commits,
}

/// Where the next nodes to begin with are to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seeds {
    Table,
    Bootstrap,
    Nowhere,
}

/// The second half of a query.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    pub asked: bool,
    pub in_flight: usize,
    pub successes: usize,
    pub failures: Vec<SocketAddrV4>,
}

impl Running {
    pub(crate) fn new(query: Query, own_id: Id) -> Self {
        let mut running = Self {
            own_id,
            pending: BTreeMap::new(),
            seen: HashMap::new(),
            closest: BTreeMap::new(),
            in_flight: 0,
            slow: 0,
            successes: 0,
            failures: 0,
            seeds: Seeds::Table,
            commits: Commits::default(),
            query,
        };
        for node in std::mem::take(&mut running.query.nodes) {
            running.add(node, None);
        }
        running
    }

    /// Are there too few to ask, or too few that answered? Then, where others are known.
    pub(crate) fn wants_seeds(&mut self) -> Option<Seeds> {
        let nobody_asked = self.in_flight + self.successes + self.failures == 0;
        let few =
            if nobody_asked { self.pending.len() < K } else { self.is_over() && self.successes < TOO_FEW };
        if !few || self.query.only_nodes || self.commits.asked {
            return None;
        }
        let from = self.seeds;
        self.seeds = match from {
            Seeds::Table => Seeds::Bootstrap,
            Seeds::Bootstrap | Seeds::Nowhere => Seeds::Nowhere,
        };
        (from != Seeds::Nowhere).then_some(from)
    }

    /// Takes an address in. `true` if it was known to be down.
    pub(crate) fn add(&mut self, address: SocketAddrV4, referrer: Option<SocketAddrV4>) -> bool {
        match self.seen.get_mut(&address) {
            Some(Seen::Down) => return true,
            Some(Seen::Done) => return false,
            Some(Seen::Waiting(referrers)) => {
                if let Some(referrer) = referrer
                    && referrers.len() < MAX_REFERRERS
                {
                    referrers.push(referrer);
                }
                return false;
            }
            None => {}
        }
        if self.seen.len() >= MAX_SEEN || address.port() == 0 {
            return false;
        }
        let id = node_id(address);
        let distance = distance(&id, &self.query.target);
        if id == self.own_id || !self.is_closer(&distance) {
            return false;
        }
        self.seen.insert(address, Seen::Waiting(referrer.into_iter().collect()));
        self.pending.insert(distance, address);
        false
    }

    fn is_closer(&self, distance: &Id) -> bool {
        self.closest.len() < K || self.closest.last_key_value().is_some_and(|(worst, _)| distance < worst)
    }

    /// Whom to ask next, if somebody can be asked now.
    pub(crate) fn next(&mut self) -> Option<SocketAddrV4> {
        if self.commits.asked || self.in_flight >= self.query.concurrency + self.slow {
            return None;
        }
        let (distance, address) = self.pending.pop_first()?;
        if !self.is_closer(&distance) {
            // Nor is anybody after it.
            self.pending.clear();
            return None;
        }
        self.in_flight += 1;
        Some(address)
    }

    /// A question has been sent again and again.
    pub(crate) fn slowed(&mut self) {
        self.slow += 1;
    }

    fn landed(&mut self, was_slow: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.slow = self.slow.saturating_sub(usize::from(was_slow));
    }

    /// Somebody has answered, and named `closer`. Gives those of them that are down.
    pub(crate) fn answered(
        &mut self,
        answer: Answer,
        closer: &[SocketAddrV4],
        was_slow: bool,
    ) -> Vec<SocketAddrV4> {
        self.landed(was_slow);
        self.seen.insert(answer.from, Seen::Done);
        let from = answer.from;
        match (answer.error, answer.id) {
            (0, id) => {
                self.successes += 1;
                if let Some(id) = id {
                    let distance = distance(&id, &self.query.target);
                    self.closest.insert(distance, answer);
                    if self.closest.len() > K {
                        self.closest.pop_last();
                    }
                }
            }
            _ => self.failures += 1,
        }
        if self.query.only_nodes {
            return Vec::new();
        }
        let named = closer.iter().take(MAX_CLOSER);
        named.copied().filter(|address| self.add(*address, Some(from))).collect()
    }

    /// Somebody has not answered. Gives those who had named it.
    pub(crate) fn silent(&mut self, address: SocketAddrV4, was_slow: bool) -> Vec<SocketAddrV4> {
        self.landed(was_slow);
        self.failures += 1;
        match self.seen.insert(address, Seen::Down) {
            Some(Seen::Waiting(referrers)) => referrers,
            _ => Vec::new(),
        }
    }

    /// Has everybody been asked who might matter? Once enough have answered, nobody waits
    /// for those who take long.
    pub(crate) fn is_over(&self) -> bool {
        let awaited = if self.closest.len() >= K { self.slow } else { 0 };
        self.pending.is_empty() && self.in_flight <= awaited
    }

    /// The closest nodes that answered, the closest first.
    pub(crate) fn closest(&self) -> impl Iterator<Item = &Answer> {
        self.closest.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn address(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new([192, 0, 2, 1].into(), port)
    }

    fn answer(port: u16) -> Answer {
        let (from, id) = (address(port), Some(node_id(address(port))));
        Answer { from, id, to: address(1), token: None, error: 0, value: None }
    }

    fn running(nodes: impl IntoIterator<Item = u16>) -> Running {
        let nodes = nodes.into_iter().map(address).collect();
        Running::new(Query { nodes, ..Query::find_node([7; 32]) }, [9; 32])
    }

    #[test]
    fn asks_the_closest_first_and_only_so_many_at_once() {
        let mut query = running(1..=100);
        let asked: Vec<_> = std::iter::from_fn(|| query.next()).collect();
        assert_eq!(asked.len(), 10);
        let mut sorted: Vec<_> = (1..=100).map(address).collect();
        sorted.sort_by_key(|address| distance(&node_id(*address), &[7; 32]));
        assert_eq!(asked, sorted[..10]);
        // One takes long: another may be asked meanwhile.
        query.slowed();
        assert_eq!(query.next(), Some(sorted[10]));
        assert_eq!(query.next(), None);
    }

    #[test]
    fn ends_with_the_closest_of_all() {
        let mut sorted: Vec<_> = (1..=300).map(address).collect();
        sorted.sort_by_key(|address| distance(&node_id(*address), &[7; 32]));
        // Each knows every fifth, and names the closest of them.
        let mut query = running([1]);
        let mut asked = 0;
        while let Some(next) = query.next() {
            asked += 1;
            let known = sorted.iter().filter(|node| (node.port() * 7 + next.port() * 11) / 3 % 4 == 0);
            let closer: Vec<_> = known.take(20).copied().collect();
            assert!(query.answered(answer(next.port()), &closer, false).is_empty());
        }
        assert!(query.is_over() && asked < 100);
        let found: Vec<_> = query.closest().map(|answer| answer.from).collect();
        assert_eq!(found, sorted[..20]);
    }

    #[test]
    fn who_named_a_dead_node_is_told() {
        let mut query = running([1, 2]);
        while query.next().is_some() {}
        assert!(query.answered(answer(1), &[address(3)], false).is_empty());
        assert_eq!(query.next(), Some(address(3)));
        assert!(query.answered(answer(2), &[address(3), address(1)], false).is_empty());
        assert_eq!(query.silent(address(3), false), [address(1), address(2)]);
        assert!(query.is_over());
    }

    #[test]
    fn errors_lead_on_but_do_not_count() {
        let mut query = running([1]);
        query.next();
        let error = Answer { error: 1, ..answer(1) };
        query.answered(error, &[address(2)], false);
        assert_eq!(query.next(), Some(address(2)));
        let ephemeral = Answer { id: None, ..answer(2) };
        query.answered(ephemeral, &[], false);
        assert_eq!((query.successes, query.failures, query.closest().count()), (1, 1, 0));
        assert!(query.is_over());
    }

    #[test]
    fn nobody_waits_for_the_slow_once_there_are_enough() {
        let mut query = running(1..=30);
        let slow = query.next().expect("somebody");
        query.slowed();
        assert!(!query.is_over());
        while let Some(next) = query.next() {
            query.answered(answer(next.port()), &[], false);
        }
        assert!(query.is_over());
        query.silent(slow, true);
        assert!(query.is_over());
    }

    proptest! {
        #[test]
        fn stays_small_whatever_is_answered(ports in proptest::collection::vec(any::<u16>(), 0..3000)) {
            let mut query = running([1]);
            let mut ports = ports.into_iter();
            while let Some(next) = query.next() {
                let closer: Vec<_> = ports.by_ref().take(30).map(address).collect();
                query.answered(Answer { from: next, ..answer(next.port()) }, &closer, false);
                prop_assert!(query.seen.len() <= MAX_SEEN && query.closest.len() <= K);
                prop_assert!(query.pending.len() <= MAX_SEEN);
            }
            prop_assert!(query.is_over());
        }
    }
}
