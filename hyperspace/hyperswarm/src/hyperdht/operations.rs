//! What is asked of other nodes. Each is a query towards a target; some then tell the
//! closest nodes something.

use super::connect::{Asked, For};
use super::node::{Dht, Event};
use super::records::{MAX_PEERS, MutablePut, MutableRecord, Peer, Peers};
use super::signing::{ForNode, target_of};
use super::wire::command;
use crate::dht::{Answer, Asking, Commitment, Id, Outcome, Query, QueryId};
use crate::hash::hash;
use crate::key_pair::{KeyPair, PublicKey};
use compact_encoding::Writer;
use std::net::SocketAddrV4;
use std::time::Instant;

/// How many nodes keep the announcement of a key.
const FORWARDS: usize = 3;

/// Names an operation that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(pub(super) QueryId);

/// What is announced, and how.
#[derive(Clone, Debug)]
pub struct Announcement {
    /// Under what: a topic, or, for one's own key, [`target_of`] it.
    pub target: Id,
    /// Who.
    pub pair: KeyPair,
    /// Nodes through which it is reached, at most [`MAX_RELAYS`](super::MAX_RELAYS).
    pub relays: Vec<SocketAddrV4>,
    /// Asks for attention, with milliseconds since 1970.
    pub bump: Option<u64>,
    /// Take back what was announced before, wherever it is found on the way.
    pub clear: bool,
    /// Nodes to begin with: the closest of the last time.
    pub nodes: Vec<SocketAddrV4>,
}

impl Announcement {
    /// Of a topic.
    pub fn new(target: Id, pair: &KeyPair, relays: Vec<SocketAddrV4>) -> Self {
        Self { target, pair: pair.clone(), relays, bump: None, clear: false, nodes: Vec::new() }
    }
}

/// How an operation went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Of the query.
    pub outcome: Outcome,
    /// The nodes that keep what was to be kept, and our address as each sees it.
    pub kept_by: Vec<(SocketAddrV4, SocketAddrV4)>,
    /// How many nodes have taken back what was to be taken back.
    pub unannounced: usize,
}

/// An operation that is under way.
pub(super) struct Operation {
    owner: For,
    kind: Kind,
    target: Id,
    summary: Summary,
    /// Requests that are awaited before it goes on.
    awaited: usize,
    /// What it does when they are there.
    then: Option<Then>,
}

enum Then {
    Commit(Vec<Answer>),
    Finish(Outcome),
}

enum Kind {
    Lookup,
    FindPeer,
    Announce(Announcement),
    Unannounce(KeyPair),
    ImmutableGet,
    ImmutablePut(Vec<u8>),
    MutableGet { key: PublicKey, latest: bool, best: Option<u64> },
    MutablePut(MutablePut),
}

fn is_own_key(pair: &KeyPair, target: &Id) -> bool {
    target_of(&pair.public_key()) == *target
}

impl Dht {
    fn begin(&mut self, now: Instant, kind: Kind, query: Query) -> OperationId {
        let id = self.begin_for(now, kind, query, For::Program);
        self.drain(now);
        id
    }

    fn begin_for(&mut self, now: Instant, kind: Kind, query: Query, owner: For) -> OperationId {
        let target = query.target;
        let id = OperationId(self.node.query(now, query));
        let operation =
            Operation { owner, kind, target, summary: Summary::default(), awaited: 0, then: None };
        self.operations.insert(id, operation);
        id
    }

    /// Who is interested in a topic? [`Event::Peers`] tells.
    pub fn lookup(&mut self, now: Instant, topic: Id) -> OperationId {
        self.begin(now, Kind::Lookup, Query::new(command::LOOKUP, topic))
    }

    /// The same, beginning with some nodes: the closest of the last time.
    pub fn lookup_from(&mut self, now: Instant, topic: Id, nodes: Vec<SocketAddrV4>) -> OperationId {
        self.begin(now, Kind::Lookup, Query { nodes, ..Query::new(command::LOOKUP, topic) })
    }

    /// Which nodes relay to the holder of that key? [`Event::Peer`] tells.
    pub fn find_peer(&mut self, now: Instant, key: &PublicKey) -> OperationId {
        self.begin(now, Kind::FindPeer, Query::new(command::FIND_PEER, target_of(key)))
    }

    /// The same, for one that is dialled, beginning with some nodes.
    pub(super) fn find_for(
        &mut self,
        now: Instant,
        target: Id,
        nodes: Vec<SocketAddrV4>,
        owner: For,
    ) -> OperationId {
        let query = Query { nodes, ..Query::new(command::FIND_PEER, target) };
        self.begin_for(now, Kind::FindPeer, query, owner)
    }

    /// Tells the nodes closest to the target that we are interested, or who we are. Of a
    /// topic, [`Event::Peers`] tells who else is.
    pub fn announce(&mut self, now: Instant, announcement: Announcement) -> OperationId {
        let id = self.announce_for(now, announcement, For::Program);
        self.drain(now);
        id
    }

    pub(super) fn announce_for(
        &mut self,
        now: Instant,
        announcement: Announcement,
        owner: For,
    ) -> OperationId {
        let Announcement { target, pair, nodes, .. } = &announcement;
        let command = if is_own_key(pair, target) { command::FIND_PEER } else { command::LOOKUP };
        let query = Query { commit: true, nodes: nodes.clone(), ..Query::new(command, *target) };
        self.begin_for(now, Kind::Announce(announcement), query, owner)
    }

    /// Takes that back, wherever it is found.
    pub fn unannounce(&mut self, now: Instant, target: Id, pair: &KeyPair) -> OperationId {
        self.storage.drop_peer(&target, &pair.public_key());
        let command = if is_own_key(pair, &target) { command::FIND_PEER } else { command::LOOKUP };
        self.begin(now, Kind::Unannounce(pair.clone()), Query::new(command, target))
    }

    /// The same, but asks each of those nodes only once, and no others: for whoever is in
    /// a hurry, and knows where it announced.
    pub fn unannounce_at(
        &mut self,
        now: Instant,
        target: Id,
        pair: &KeyPair,
        nodes: Vec<SocketAddrV4>,
    ) -> OperationId {
        self.storage.drop_peer(&target, &pair.public_key());
        let command = if is_own_key(pair, &target) { command::FIND_PEER } else { command::LOOKUP };
        let query = Query { nodes, only_nodes: true, force: true, ..Query::new(command, target) };
        self.begin(now, Kind::Unannounce(pair.clone()), query)
    }

    /// The same of a server of ours.
    pub(super) fn unannounce_for(&mut self, now: Instant, target: Id, nodes: Vec<SocketAddrV4>, owner: For) {
        let Some(server) = self.connect.servers.get(&target) else { return };
        let kind = Kind::Unannounce(server.pair.clone());
        let query = Query { nodes, only_nodes: true, force: true, ..Query::new(command::FIND_PEER, target) };
        self.begin_for(now, kind, query, owner);
    }

    /// Looks for what has that hash. [`Event::Immutable`] tells, at most once.
    pub fn immutable_get(&mut self, now: Instant, target: Id) -> OperationId {
        self.begin(now, Kind::ImmutableGet, Query::new(command::IMMUTABLE_GET, target))
    }

    /// Has a value kept, of at most about a thousand bytes, under its hash.
    pub fn immutable_put(&mut self, now: Instant, value: Vec<u8>) -> OperationId {
        let query = Query { commit: true, ..Query::new(command::IMMUTABLE_GET, hash(&[&value])) };
        self.begin(now, Kind::ImmutablePut(value), query)
    }

    /// Looks for what a key says, of that number or newer. [`Event::Mutable`] tells: of the
    /// first that is found, or, with `latest`, of every one that is newer still.
    pub fn mutable_get(&mut self, now: Instant, key: &PublicKey, seq: u64, latest: bool) -> OperationId {
        let mut writer = Writer::new();
        writer.uint(seq);
        let value = Some(writer.into_vec());
        let query = Query { value, ..Query::new(command::MUTABLE_GET, target_of(key)) };
        self.begin(now, Kind::MutableGet { key: *key, latest, best: None }, query)
    }

    /// Has a record of a key kept.
    pub fn mutable_put(&mut self, now: Instant, put: MutablePut) -> OperationId {
        let query = Query {
            value: Some(vec![0]),
            commit: true,
            ..Query::new(command::MUTABLE_GET, target_of(&put.public_key))
        };
        self.begin(now, Kind::MutablePut(put), query)
    }

    /// Ends an operation; nothing more is told of it.
    pub fn cancel(&mut self, now: Instant, operation: OperationId) {
        self.operations.remove(&operation);
        self.node.cancel_query(now, operation.0);
        let of_it = self.requests.iter().filter(|(_, asked)| **asked == Asked::Operation(operation));
        let requests: Vec<_> = of_it.map(|(request, _)| *request).collect();
        for request in requests {
            self.requests.remove(&request);
            self.node.forget(now, request);
        }
    }

    /// A node has answered in a query.
    pub(super) fn found(&mut self, now: Instant, id: OperationId, answer: Answer) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let from = answer.from;
        let value = answer.value.as_deref();
        let names_peers = match &operation.kind {
            Kind::Lookup => true,
            Kind::Announce(Announcement { pair, .. }) | Kind::Unannounce(pair) => {
                !is_own_key(pair, &operation.target)
            }
            _ => false,
        };
        if names_peers && let Some(peers) = value.and_then(|value| Peers::decode(value).ok()) {
            self.events.push_back(Event::Peers { operation: id, from, peers });
        }
        match &mut operation.kind {
            Kind::Lookup => {}
            Kind::FindPeer => {
                let peer = value.and_then(|value| Peer::decode(value).ok());
                // A node may say what it wants: it must at least be the peer we asked for.
                if let Some(peer) = peer.filter(|peer| target_of(&peer.public_key) == operation.target) {
                    match operation.owner {
                        For::Dial(stream) => self.dial_found(now, stream, from),
                        _ => self.events.push_back(Event::Peer { operation: id, from, peer }),
                    }
                }
            }
            Kind::Announce(announcement) if announcement.clear => {
                let pair = announcement.pair.clone();
                self.take_back(now, id, &pair, &answer);
            }
            Kind::Unannounce(pair) => {
                let pair = pair.clone();
                self.take_back(now, id, &pair, &answer);
            }
            Kind::ImmutableGet => {
                if let Some(value) = value.filter(|value| hash(&[value]) == operation.target) {
                    self.events.push_back(Event::Immutable { operation: id, value: value.to_vec() });
                    self.finish_early(now, id);
                }
            }
            Kind::MutableGet { key, latest, best } => {
                let record = value.and_then(|value| MutableRecord::decode(value).ok());
                let newer = |record: &MutableRecord| best.is_none_or(|best| record.seq > best);
                if let Some(record) = record.filter(newer).filter(|record| record.is_by(key)) {
                    *best = Some(record.seq);
                    let latest = *latest;
                    self.events.push_back(Event::Mutable { operation: id, record });
                    if !latest {
                        self.finish_early(now, id);
                    }
                }
            }
            Kind::Announce(_) | Kind::ImmutablePut(_) | Kind::MutablePut(_) => {}
        }
    }

    /// What was looked for has been found.
    fn finish_early(&mut self, now: Instant, id: OperationId) {
        self.node.cancel_query(now, id.0);
        self.finished(now, id, Outcome::default());
    }

    /// Tells a node to drop us, if it has us, or may have us among more than it tells of.
    fn take_back(&mut self, now: Instant, id: OperationId, pair: &KeyPair, answer: &Answer) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        let (Some(node), Some(token), Some(value)) = (answer.id, answer.token, &answer.value) else { return };
        let key = pair.public_key();
        let has_us = if is_own_key(pair, &operation.target) {
            Peer::decode(value).is_ok_and(|peer| peer.public_key == key)
        } else {
            let peers = Peers::decode(value).unwrap_or_default().peers;
            peers.len() >= MAX_PEERS || peers.iter().any(|peer| peer.public_key == key)
        };
        if !has_us {
            return;
        }
        let target = operation.target;
        let for_node = ForNode { command: command::UNANNOUNCE, target: &target, node: &node, token: &token };
        let peer = Peer { public_key: key, relays: Vec::new() };
        let asking = Asking {
            value: Some(for_node.announce(pair, &peer, None).encode()),
            token: Some(token),
            ..Asking::new(answer.from, command::UNANNOUNCE, target)
        };
        if let Some(request) = self.node.ask(now, &asking) {
            operation.awaited += 1;
            self.requests.insert(request, Asked::Operation(id));
        }
    }

    /// One of those requests is over.
    pub(super) fn step_done(&mut self, now: Instant, id: OperationId, well: bool) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        operation.summary.unannounced += usize::from(well);
        operation.awaited -= 1;
        if operation.awaited == 0 {
            match operation.then.take() {
                Some(Then::Commit(closest)) => self.commit(now, id, closest),
                Some(Then::Finish(outcome)) => self.finished(now, id, outcome),
                None => {}
            }
        }
    }

    /// The closest nodes are known: what is told to them?
    pub(super) fn commit(&mut self, now: Instant, id: OperationId, closest: Vec<Answer>) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        if operation.awaited > 0 {
            operation.then = Some(Then::Commit(closest));
            return;
        }
        let target = operation.target;
        let most = match &operation.kind {
            Kind::Announce(announcement) if is_own_key(&announcement.pair, &target) => FORWARDS,
            _ => closest.len(),
        };
        let mut commitments = Vec::new();
        for answer in closest.iter().take(most) {
            let (Some(node), Some(token)) = (answer.id, answer.token) else { continue };
            let (command, value) = match &operation.kind {
                Kind::Announce(Announcement { pair, relays, bump, .. }) => {
                    let command = command::ANNOUNCE;
                    let for_node = ForNode { command, target: &target, node: &node, token: &token };
                    let peer = Peer { public_key: pair.public_key(), relays: relays.clone() };
                    (command, for_node.announce(pair, &peer, *bump).encode())
                }
                Kind::ImmutablePut(value) => (command::IMMUTABLE_PUT, value.clone()),
                Kind::MutablePut(put) => (command::MUTABLE_PUT, put.encode()),
                _ => continue,
            };
            operation.summary.kept_by.push((answer.from, answer.to));
            commitments.push(Commitment { to: answer.from, token, command, value: Some(value) });
        }
        self.node.commit(now, id.0, commitments);
        self.drain(now);
    }

    pub(super) fn finished(&mut self, now: Instant, id: OperationId, outcome: Outcome) {
        let Some(operation) = self.operations.get_mut(&id) else { return };
        if operation.awaited > 0 {
            operation.then = Some(Then::Finish(outcome));
            return;
        }
        if let Some(operation) = self.operations.remove(&id) {
            let mut summary = operation.summary;
            summary.kept_by.retain(|(node, _)| !outcome.silent_commits.contains(node));
            summary.outcome = outcome;
            match operation.owner {
                For::Program => self.events.push_back(Event::Finished { operation: id, summary }),
                For::Announcer(target) => self.round_over(now, target, &summary),
                For::Withdrawal(target) => self.withdrawn(now, target),
                For::Dial(stream) => self.dial_searched(now, stream),
                For::Nobody => {}
            }
        }
    }
}
